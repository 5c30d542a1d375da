"""The lines of a file of memories, checked one by one as they stream; those that are wrong are named.

A line is a memory as `export` writes it, or a document of `memories list`, `search` or `show --json`. A plain memory is
decoded by msgspec, in a sixth of the time that Python takes to decode and check it. Whatever is not plain (a fault, an
empty line, a byte order mark, a `\\u0000` of agno 2.2, a field that is not there, a time that is not in seconds) is
examined further.
"""

import json
import os
import re
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec

from junkie_cli.core.errors import UsageError
from junkie_cli.core.files import converting_errors, read_lines
from junkie_cli.core.foreign_values import FIRST_BEYOND, seconds_of
from junkie_cli.core.progress import Progress
from junkie_cli.core.schema.tables import MEMORIES, SchemaState

_TEXTS = ("user_id", "input", "agent_id", "team_id", "feedback")
TIMES = ("created_at", "updated_at")
"""Columns that hold epoch seconds."""

NAMED_LINES = 10
"""How many lines that are wrong are named."""

_INSIDE = 1 << 32  # lines are fewer: a memory inside a document has its line times this, and its place, as a number
_HIGHEST_EXPONENT = 100_000  # of a number that PostgreSQL takes

_KNOWN = frozenset({"memory_id", "memory", "topics", *_TEXTS, *TIMES})
_HALF = re.compile("[\ud800-\udfff]")
_SHAPES = 100  # sets of fields that are kept in mind
_PIECE = 1 << 16  # bytes sent at a time


def _plain_memory(columns: Collection[str]) -> "msgspec.json.Decoder[Any]":
    """Decodes a memory with fields from `columns` alone, each of its type, and refuses all else."""
    second = Annotated[int, msgspec.Meta(gt=-FIRST_BEYOND, lt=FIRST_BEYOND)]
    types: dict[str, Any] = {"topics": list[str]} | dict.fromkeys(_TEXTS, str) | dict.fromkeys(TIMES, second)
    optional = [(name, kind | None, None) for name, kind in types.items() if name in columns]
    required = [("memory_id", Annotated[str, msgspec.Meta(min_length=1)]), ("memory", str)]
    return msgspec.json.Decoder(
        msgspec.defstruct("PlainMemory", [*required, *optional], forbid_unknown_fields=True, gc=False)
    )


class Lines:
    """The lines of a file, checked as they stream. After the last one `check` names those that are wrong."""

    def __init__(
        self, path: Path, file: BinaryIO, state: SchemaState, progress: Progress, *, encoding: str = "UTF8"
    ) -> None:
        self.read = 0
        # Other encodings refuse some or all escapes of JSON for characters that they can store.
        self._unescapes = encoding != "UTF8"
        self._path = path
        self._file = file
        self._columns = frozenset(state.table(MEMORIES).columns)
        self._decode = _plain_memory(self._columns).decode
        self._progress = progress
        self._homeless: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._bad: list[str] = []
        self._bad_count = 0

    async def pieces(self) -> AsyncIterator[bytes]:
        """The lines in COPY's form, each with its number before it."""
        before = 0
        with converting_errors(self._path):
            while lines := await read_lines(self._file, _PIECE):
                piece = bytearray()
                for number, line in enumerate(lines, before + 1):
                    if self._is_plain(line):
                        piece += b"%d\x02%b" % (number, line)
                        self.read += 1
                        continue
                    for row, text in self._made_fit(number, line):
                        piece += b"%d\x02%b\n" % (row, text)
                        self.read += 1
                before += len(lines)
                if not self._bad_count:
                    yield bytes(piece)
                self._tell()

    def _tell(self) -> None:
        self._progress.reach(self.read, self._guessed_lines())

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
        if line[-1:] != b"\n" or b"\r" in line or b"\\u0000" in line:
            return False
        return not (self._unescapes and b"\\u" in line)

    def _made_fit(self, number: int, line: bytes) -> list[tuple[int, bytes]]:
        """The memories of a line as they can be stored, each with its number; one that cannot be is kept in mind."""
        text = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
        if not text:
            return []
        try:
            row = _DECODER.decode(text.decode())
        except UnicodeError:
            return self._refuse(number, "is not UTF-8, or has half a character")
        except RecursionError:
            return self._refuse(number, "is nested too deep")
        except ValueError as error:
            return self._refuse(number, str(error) if isinstance(error, _UnfitError) else "is not JSON")
        inside = _memories_of(row)
        if inside is None:
            return self._checked(number, row, None if self._unescapes and b"\\u" in text else text)
        return [
            fit
            for place, memory in enumerate(inside, 1)
            for fit in self._checked(number * _INSIDE + place, memory, None)
        ]

    def _checked(self, number: int, row: Any, text: bytes | None) -> list[tuple[int, bytes]]:
        """The memory `row`, whose line is `text` if it is alone there, as it can be stored: none or one."""
        if problem := self._problem(row):
            return self._refuse(number, problem)
        try:
            return [(number, _storable(row, text))]
        except UnicodeError:
            return self._refuse(number, "is not UTF-8, or has half a character")
        except ValueError:
            return self._refuse(number, "has a number that is too large")

    def _refuse(self, number: int, problem: str) -> list[tuple[int, bytes]]:
        self._bad_count += 1
        if self._bad_count <= NAMED_LINES:
            self._bad.append(f"{named_line(number)} {problem}")
        return []

    def _problem(self, row: Any) -> str | None:
        """What is wrong with a parsed line, said after `line N`; None when it can be stored."""
        if not isinstance(row, dict):
            return "is not an object"
        if not isinstance(row.get("memory_id"), str) or not row["memory_id"]:
            return "has no memory_id"
        if "memory" not in row:
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
                f"{'; '.join(self._bad)}{more}", hint="correct the file; nothing was imported", code="import_bad_line"
            )


def named_line(number: int) -> str:
    """How a line is called, or a memory inside the document of a line."""
    line, place = divmod(number, _INSIDE)
    return f"memory {place} of line {line}" if line else f"line {number}"


def _memories_of(row: Any) -> list[Any] | None:
    """The memories in a document of `memories list`, `search` or `show`; None when it is not one."""
    if not isinstance(row, dict):
        return None
    if "memory_id" not in row and isinstance(row.get("memories"), list):
        return list(map(_as_stored, row["memories"]))
    return [_as_stored({name: row[name] for name in row if name != "origin"})] if "origin" in row else None


def _as_stored(memory: Any) -> Any:
    """A memory as a command prints it: what it shows as no topics may be none, or an empty list."""
    if isinstance(memory, dict) and memory.get("topics") == []:
        return {name: memory[name] for name in memory if name != "topics"}
    return memory


class _UnfitError(ValueError):
    """A value in JSON that PostgreSQL cannot hold."""


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _whole(digits: str) -> int | float:
    # Python refuses to read very long numbers; the line itself is what is stored.
    return int(digits) if len(digits) < 100 else float(digits)


def _real(digits: str) -> float:
    exponent = digits.lower().partition("e")[2]
    if len(exponent.lstrip("+-0")) > 6 or abs(int(exponent or 0)) > _HIGHEST_EXPONENT:
        raise _UnfitError("has a number that is too large, or too small")
    return float(digits)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_whole, parse_float=_real)


def _mistyped(row: Mapping[str, Any]) -> str | None:
    """A field that its column cannot hold. The JSON columns, memory and topics, hold whatever an export has there."""
    for name in _TEXTS:
        text = row.get(name)
        if text is not None and not isinstance(text, str):
            return f"has a {name} that is not a text"
    for name in TIMES:
        time = row.get(name)
        if time is not None and seconds_of(time) is None:
            return f"has a {name} that is no time (epoch seconds or ISO-8601)"
    return None


def _storable(row: dict[str, Any], text: bytes | None) -> bytes:
    """The line `text`, or `row`, as jsonb takes it, with times in seconds.

    Only agno 2.2 could store \\u0000: it is left out, as every newer one does.
    """
    times = {name: seconds_of(row[name]) for name in TIMES if row.get(name) is not None}
    converted = any(type(row[name]) is not int or row[name] != time for name, time in times.items())
    if text is not None and not converted and b"\\u0000" not in text and not _has_half(text, row):
        return text.replace(b"\r", b" ")
    return json.dumps(_without_nul(row) | times, ensure_ascii=False, allow_nan=False).encode()


def _has_half(text: bytes, row: dict[str, Any]) -> bool:
    """Whether an escape in the line is half a character, which jsonb refuses; two halves were read as one character."""
    return b"\\ud" in text.lower() and bool(_HALF.search(json.dumps(row, ensure_ascii=False)))


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    return {name: _without_nul(item) for name, item in value.items()} if isinstance(value, dict) else value
