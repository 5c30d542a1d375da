"""The lines of a file of memories, checked one by one as they stream; those that are wrong are named.

A plain line is decoded by msgspec, in a sixth of the time that Python takes to decode and check it. Whatever is not
plain (a fault, an empty line, a byte order mark, a `\\u0000` of agno 2.2, a field that is not there) is looked into.
"""

import json
import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec

from junkie_cli.core.errors import UsageError
from junkie_cli.core.files import read_lines, told
from junkie_cli.core.schema import MEMORIES, SchemaState

_TEXTS = ("user_id", "input", "agent_id", "team_id", "feedback")
_TIMES = ("created_at", "updated_at")
NAMED_LINES = 10
"""How many lines that are wrong are named."""

_KNOWN = frozenset({"memory_id", "memory", "topics", *_TEXTS, *_TIMES})
_SHAPES = 100  # sets of fields that are kept in mind
_PIECE = 1 << 16  # bytes sent at a time


def _plain_memory(columns: Collection[str]) -> "msgspec.json.Decoder[Any]":
    """Decodes a memory with fields from `columns` alone, each of its type, and refuses all else."""
    second = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    types: dict[str, Any] = {"topics": list[str]} | dict.fromkeys(_TEXTS, str) | dict.fromkeys(_TIMES, second)
    optional = [(name, kind | None, None) for name, kind in types.items() if name in columns]
    required = [("memory_id", Annotated[str, msgspec.Meta(min_length=1)]), ("memory", str)]
    return msgspec.json.Decoder(
        msgspec.defstruct("PlainMemory", [*required, *optional], forbid_unknown_fields=True, gc=False)
    )


class Lines:
    """The lines of a file, checked as they stream. After the last one `check` names those that are wrong."""

    def __init__(
        self, path: Path, file: BinaryIO, state: SchemaState, on_progress: Callable[[int, int], None] | None
    ) -> None:
        self.read = 0
        self._path = path
        self._file = file
        self._columns = frozenset(state.table(MEMORIES).columns)
        self._decode = _plain_memory(self._columns).decode
        self._on_progress = on_progress
        self._homeless: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._bad: list[str] = []
        self._bad_count = 0

    async def pieces(self) -> AsyncIterator[bytes]:
        """The lines in COPY's form, each with its number before it."""
        before = 0
        with told(self._path):
            while lines := await read_lines(self._file, _PIECE):
                piece = bytearray()
                for number, line in enumerate(lines, before + 1):
                    text = line[:-1] if self._is_plain(line) else self._made_fit(number, line)
                    if text is not None:
                        piece += b"%d\x02%b\n" % (number, text)
                        self.read += 1
                before += len(lines)
                if not self._bad_count:
                    yield bytes(piece)
                self._tell()

    def _tell(self) -> None:
        if self._on_progress:
            self._on_progress(self.read, self._guessed_lines())

    def _guessed_lines(self) -> int:
        """How many lines there are, about, should the rest be as long as those read so far; 0 for a pipe."""
        size = os.fstat(self._file.fileno()).st_size
        if not size:
            return 0
        guess = round(self.read * size / self._file.tell())
        return max(round(guess, 3 - len(str(guess))), self.read)

    def _is_plain(self, line: bytes) -> bool:
        """Whether the line can be stored as it stands: nearly all can, and are looked at no further."""
        try:
            self._decode(line)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return False
        return line[-1:] == b"\n" and b"\r" not in line and b"\\u0000" not in line

    def _made_fit(self, number: int, line: bytes) -> bytes | None:
        """The line as it can be stored; None for an empty one, and for one that cannot, which is kept in mind."""
        text = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
        if not text:
            return None
        try:
            row = _DECODER.decode(text.decode())
            problem = self._problem(row)
            if problem is None:
                return _storable(row, text)
        except UnicodeError:
            problem = "is not UTF-8, or has half a character"
        except (ValueError, RecursionError):
            problem = "is not JSON"
        self._bad_count += 1
        if self._bad_count <= NAMED_LINES:
            self._bad.append(f"line {number} {problem}")
        return None

    def _problem(self, row: Any) -> str | None:
        """What is wrong with a parsed line, said after `line N`; None when it can be stored."""
        if not isinstance(row, dict):
            return "is not an object"
        if not isinstance(row.get("memory_id"), str) or not row["memory_id"]:
            return "has no memory_id"
        if row.get("memory") is None:
            return "has no memory"
        return _mistyped(row) or self._misfit(row)

    def _misfit(self, row: dict[str, Any]) -> str | None:
        """Which field cannot be held here; looked up once for all lines that have the same fields."""
        names = tuple(row)
        homeless = self._homeless.get(names)
        if homeless is None:
            homeless = tuple(name for name in names if name not in self._columns)
            if len(self._homeless) < _SHAPES:
                self._homeless[names] = homeless
        for name in homeless:
            if name not in _KNOWN:
                return f"has a field that no memory has: {name[:40]}"
            if row[name] is not None:
                return f"has {name}, which this database (agno 2.2) cannot hold"
        return None

    def check(self) -> None:
        """Raise UsageError naming the bad lines, the first ten of them."""
        if self._bad_count:
            more = f"; and {self._bad_count - NAMED_LINES} more" if self._bad_count > NAMED_LINES else ""
            raise UsageError(
                f"{'; '.join(self._bad)}{more}", hint="mend the file; nothing was imported", code="import_bad_line"
            )


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _mistyped(row: Mapping[str, Any]) -> str | None:
    topics = row.get("topics")
    if topics is not None and not (isinstance(topics, list) and all(isinstance(topic, str) for topic in topics)):
        return "has topics that are not a list of texts"
    for name in _TEXTS:
        text = row.get(name)
        if text is not None and not isinstance(text, str):
            return f"has a {name} that is not a text"
    for name in _TIMES:
        time = row.get(name)
        if time is not None and (type(time) is not int or not -(2**63) <= time < 2**63):
            return f"has a {name} that is not a whole number of seconds"
    return None


def _storable(row: dict[str, Any], text: bytes) -> bytes:
    """The line as jsonb takes it. Only agno 2.2 could store \\u0000: it is left out, as every newer one does."""
    if b"\\u0000" in text:
        row = _without_nul(row)
    elif b"\\u" not in text or b"\\ud" not in text.lower():
        return text.replace(b"\r", b" ")
    return json.dumps(row, ensure_ascii=False).encode()


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    return {name: _without_nul(item) for name, item in value.items()} if isinstance(value, dict) else value
