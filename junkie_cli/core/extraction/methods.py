"""What was learned of a model at a server, kept in the state folder: above all which way of asking works with it.

`$XDG_STATE_HOME/junkie/extraction-methods.json`, one entry for each base URL and model:

    {"http://localhost:8080/v1 qwen2.5": {"method": "schema", "failures": 0, "in_text": false, "used": "2026-12-01"}}

`method` is "" where only something else is known of the model's answers in a chat: `unmarked_thoughts`, whether they
begin with thoughts that no opening mark tells from text (true or false, once an answer came), and `calls_in_answers`,
when it wrote a tool call into an answer: how many answers without one must follow until that is forgotten.

The first extraction with a model tries the ways in their order and keeps the first that gives a usable reply. After
MOST_FAILURES unusable replies in a row the entry is dropped, and the next extraction tries all again: models and
servers are exchanged behind an address. Where the file cannot be written, for example in a read-only home or in
another user's, this process remembers for itself, and the next one tries again; whatever is found in the file's place
costs no more.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from junkie_cli.core.extraction.prompt import METHODS
from junkie_cli.core.files import FileError, complete_file
from junkie_cli.core.regular_files import read_regular
from junkie_cli.core.settings import state_dir
from junkie_cli.core.value_class import frozen

METHOD_NAMES = {"tools": "tool calls", "schema": "a JSON schema", "json": "JSON in plain words"}
"""The methods for people."""

MOST_FAILURES = 3
GOOD_ANSWERS = 3
"""Answers in a row without a tool call in them, until a model does not count as one that writes them any more."""

_MOST_ENTRIES = 100
_MOST_BYTES = 2**20
_ABOUT_ANSWERS = ("unmarked_thoughts", "calls_in_answers")


_unwritten: dict[Path, dict[str, Mapping[str, Any]]] = {}
"""What the files of this process would hold if they could be written."""


@frozen
class Known:
    """What is known of a model: the `method` that worked, and how often it has failed since.

    `in_text` when the model wrote its calls into the text instead of the protocol's field.
    """

    method: str
    failures: int = 0
    in_text: bool = False


class MethodStore:
    """The file of one state folder. Each call reads it anew: several processes use it."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or state_dir() / "extraction-methods.json"

    def get(self, url: str, model: str) -> Known | None:
        """What is known of `model` at `url`; None when nothing is."""
        return _known(self._read().get(_key(url, model)))

    def note_success(self, url: str, model: str, method: str, *, in_text: bool) -> None:
        """`method` gave a usable reply."""
        self._put(url, model, Known(method, 0, in_text))

    def note_failure(self, url: str, model: str, method: str) -> None:
        """`method` gave a reply that cannot be used; once too often, nothing is known any more."""
        before = self.get(url, model) or Known(method)
        failures = before.failures + 1
        self._put(url, model, None if failures >= MOST_FAILURES else Known(method, failures, before.in_text))

    def has_unmarked_thoughts(self, url: str, model: str) -> bool:
        """Whether answers of `model` begin with thoughts without an opening mark."""
        return self._answers(url, model, "unmarked_thoughts") is True

    def note_unmarked_thoughts(self, url: str, model: str) -> None:
        """An answer of `model` began with thoughts without an opening mark."""
        self._note_answers(url, model, "unmarked_thoughts", value=True)

    def has_known_answers(self, url: str, model: str) -> bool:
        """Whether it is known how answers of `model` begin."""
        return self._answers(url, model, "unmarked_thoughts") is not None

    def note_plain_answers(self, url: str, model: str) -> None:
        """An answer of `model` held no thoughts, or only such that are marked.

        Of a model that used to leave the mark out nothing is known any more: another one may answer in its place.
        """
        value = None if self.has_unmarked_thoughts(url, model) else False
        self._note_answers(url, model, "unmarked_thoughts", value=value)

    def has_calls_in_answers(self, url: str, model: str) -> bool:
        """Whether `model` wrote a tool call into one of its last answers."""
        return self._answers_to_come(url, model) > 0

    def note_calls_in_answers(self, url: str, model: str) -> None:
        """`model` wrote a tool call into an answer."""
        self._note_answers(url, model, "calls_in_answers", value=GOOD_ANSWERS)

    def note_answer_without_calls(self, url: str, model: str) -> None:
        """An answer of `model`, which was offered tools, held no call."""
        before = self._answers_to_come(url, model)
        if before:
            self._note_answers(url, model, "calls_in_answers", value=before - 1 or None)

    def _answers_to_come(self, url: str, model: str) -> int:
        value = self._answers(url, model, "calls_in_answers")
        return min(value, GOOD_ANSWERS) if isinstance(value, int) and value > 0 else 0

    def _answers(self, url: str, model: str, name: str) -> Any:
        return self._read().get(_key(url, model), {}).get(name)

    def _note_answers(self, url: str, model: str, name: str, *, value: int | None) -> None:
        self._put(url, model, self.get(url, model), {name: value})

    def _put(self, url: str, model: str, known: Known | None, answers: Mapping[str, int | None] | None = None) -> None:
        entries = self._read()
        key = _key(url, model)
        before = entries.pop(key, {})
        kept = {name: before[name] for name in _ABOUT_ANSWERS if name in before} | dict(answers or {})
        kept = {name: value for name, value in kept.items() if value is not None}
        if known is not None or kept:
            known = known or Known("")
            entries[key] = {
                "method": known.method,
                "failures": known.failures,
                "in_text": known.in_text,
                "used": date.today().isoformat(),
                **kept,
            }
        if entries.get(key, {}) != before:
            self._write(entries)

    def _write(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        newest = sorted(entries.items(), key=lambda entry: str(entry[1].get("used")))[-_MOST_ENTRIES:]
        text = json.dumps(dict(newest), indent=1)
        _unwritten[self._path] = dict(newest)
        with suppress(FileError, OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._path.exists() and not self._path.is_file():  # a pipe would wait for its reader
                return
            with complete_file(self._path) as file:
                file.write(text.encode() + b"\n")
            _unwritten.pop(self._path, None)  # another thread may have been faster

    def _read(self) -> dict[str, dict[str, Any]]:
        """The entries of the file: objects of plain values; what else stands there is left out."""
        unwritten = _unwritten.get(self._path)
        if unwritten is not None:
            return {key: dict(entry) for key, entry in unwritten.items()}
        try:
            found = json.loads(read_regular(self._path, limit=_MOST_BYTES).decode())
        except (OSError, ValueError, RecursionError):
            return {}
        entries = found.items() if isinstance(found, dict) else ()
        return {key: _plain(entry) for key, entry in entries if isinstance(entry, dict)}


def _plain(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if isinstance(value, str | int)}


def _key(url: str, model: str) -> str:
    """Server and model, without a user name, a password or a query that may stand in the address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path} {model}"


def _known(entry: Mapping[str, Any] | None) -> Known | None:
    method, failures = (entry or {}).get("method"), (entry or {}).get("failures")
    if method not in METHODS or not isinstance(method, str) or not isinstance(failures, int):
        return None
    return Known(method, failures, bool((entry or {}).get("in_text")))
