"""What was learned of a model at a server, kept in the state folder: above all which way of asking works with it.

`$XDG_STATE_HOME/junkie/extraction-methods.json`, one entry for each base URL and model:

    {"http://localhost:8080/v1 qwen2.5": {"method": "schema", "failures": 0, "in_text": false, "used": "2026-12-01"}}

`method` is "" where only something else is known: `"unmarked_thoughts": true` of a model whose answers begin with
thoughts that no opening mark tells from text.

The first extraction with a model tries the ways in their order and keeps the first that gives a usable reply. After
MOST_FAILURES unusable replies in a row the entry is dropped, and the next extraction tries all again: models and
servers are exchanged behind an address. A file that cannot be read or written costs these attempts and nothing else.
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
from junkie_cli.core.settings import state_dir
from junkie_cli.values import frozen

METHOD_NAMES = {"tools": "tool calls", "schema": "a JSON schema", "json": "JSON in plain words"}
"""The methods for people."""

MOST_FAILURES = 3
_MOST_ENTRIES = 100


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
        return _field(self._read().get(_key(url, model)), "unmarked_thoughts") is True

    def note_unmarked_thoughts(self, url: str, model: str) -> None:
        """An answer of `model` began with thoughts without an opening mark."""
        self._put(url, model, self.get(url, model), unmarked_thoughts=True)

    def _put(self, url: str, model: str, known: Known | None, *, unmarked_thoughts: bool = False) -> None:
        entries = self._read()
        key = _key(url, model)
        before = entries.pop(key, None)
        kept = {"unmarked_thoughts": True} if unmarked_thoughts or _field(before, "unmarked_thoughts") is True else {}
        if known is not None or kept:
            known = known or Known("")
            entries[key] = {
                "method": known.method,
                "failures": known.failures,
                "in_text": known.in_text,
                "used": date.today().isoformat(),
                **kept,
            }
        if entries.get(key) == before:
            return
        newest = sorted(entries.items(), key=lambda entry: str(_field(entry[1], "used")))[-_MOST_ENTRIES:]
        with suppress(FileError, OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with complete_file(self._path) as file:
                file.write(json.dumps(dict(newest), indent=1, ensure_ascii=False).encode() + b"\n")

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def _key(url: str, model: str) -> str:
    """Server and model, without a user name, a password or a query that may stand in the address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path} {model}"


def _field(entry: Any, name: str) -> Any:
    return entry.get(name) if isinstance(entry, Mapping) else None


def _known(entry: Any) -> Known | None:
    method, failures = _field(entry, "method"), _field(entry, "failures")
    if method not in METHODS or not isinstance(failures, int):
        return None
    return Known(method, failures, bool(_field(entry, "in_text")))
