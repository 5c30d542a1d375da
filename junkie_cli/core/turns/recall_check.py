"""Checks what prompts recall: for each question of a file, which memories would be among those that its prompt gets.

Data flows: a line (user, question, texts that must be recalled and that must not be) -> the choice of memories that a
turn with this question makes -> texts that are missing or that should not be there. Reads only, one line at a time;
no model is asked.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, TypeVar

from junkie_cli.core.database import connect
from junkie_cli.core.errors import DatabaseError, UsageError
from junkie_cli.core.files import converting_errors, open_to_read
from junkie_cli.core.json_lines import object_of_line
from junkie_cli.core.postgres.sql import bind
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.ranking.reason import Reason
from junkie_cli.core.schema import row_security, tables
from junkie_cli.core.schema.stored_text import storable
from junkie_cli.core.schema.tables import MEMORIES, SchemaState
from junkie_cli.core.settings import Settings
from junkie_cli.core.turns.turn_start import read_candidates
from junkie_cli.core.turns.types import MemoryEntry
from junkie_cli.core.value_class import field, frozen

if TYPE_CHECKING:
    from junkie_cli.core.postgres.connection import Connection

_Value = TypeVar("_Value")

LONGEST_LINE = 65_536
"""Bytes of a line."""

MOST_NAMED = 1_000
"""Lines that do not hold, and bad lines, that are named; all of them are counted."""

_FIELDS = ("user", "question", "recalled", "not_recalled")


@frozen
class Expectation:
    """A line of the file: `number` counts from 1; the texts are ids of memories, or parts of their texts."""

    number: int
    user: str
    question: str
    recalled: tuple[str, ...]
    not_recalled: tuple[str, ...]


@frozen
class Missing:
    """A text that must be recalled and is not."""

    text: str
    stored: bool
    """whether the user has such a memory: it was not chosen"""


@frozen
class Unwanted:
    """A text that must not be recalled, and the first memory in the prompt that has it."""

    text: str
    memory_id: str
    memory: str
    reason: Reason | None


@frozen
class Unmet:
    """A line that does not hold."""

    line: int
    user: str
    question: str
    missing: tuple[Missing, ...]
    unwanted: tuple[Unwanted, ...]
    chosen: int
    """how many memories the prompt would get"""


@frozen
class InvalidLine:
    """A line, counted from 1, that could not be checked, and why."""

    line: int
    reason: str


@frozen
class Checked:
    """How many lines hold, do not hold, and could not be checked; of the latter two the first 1,000 each."""

    held: int
    failed: int
    bad: int
    unmet: tuple[Unmet, ...] = field(default=())
    """lines that do not hold"""
    bad_lines: tuple[InvalidLine, ...] = field(default=())
    """lines that could not be checked"""


async def check_recall(settings: Settings, path: Path, *, progress: Progress = SILENT) -> Checked:
    """Check each line of a JSON Lines file; `-` is stdin.

    Raises UsageError for a file without lines, FileError, and DatabaseError, also where row security may hide memories.
    """
    held, unmet, bad = 0, _First[Unmet](), _First[InvalidLine]()
    with await open_to_read(path) as file:
        async with connect(settings, read_only=True, progress=progress) as connection:
            async with connection.transaction():
                state = await tables.inspect(connection, settings.layout)
            _require_memories(state)
            progress.step("checking")
            async for number, raw in _lines(path, file):
                try:
                    wanted = parse(number, raw)
                except UsageError as error:
                    bad.add(InvalidLine(number, error.message))
                    continue
                async with connection.transaction():
                    found = await _check(connection, state, settings, wanted)
                held += found is None
                if found is not None:
                    unmet.add(found)
                progress.reach(held + unmet.count + bad.count, 0)
    if not held + unmet.count + bad.count:
        raise UsageError(f"{path} has no lines: nothing was checked", hint="see docs/operations.md for an example")
    return Checked(held, unmet.count, bad.count, tuple(unmet.kept), tuple(bad.kept))


class _First(Generic[_Value]):
    """Counts values, and keeps the first ones."""

    def __init__(self) -> None:
        self.count = 0
        self.kept: list[_Value] = []

    def add(self, value: _Value) -> None:
        self.count += 1
        if self.count <= MOST_NAMED:
            self.kept.append(value)


def _require_memories(state: SchemaState) -> None:
    """Refuse to check what cannot be seen. Raises DatabaseError."""
    if not state.has(MEMORIES):
        raise DatabaseError(
            f"table {state.schema}.{state.name(MEMORIES)} does not exist; nothing was checked",
            hint="check POSTGRES_URL and JUNKIE_SCHEMA",
        )
    if state.generation == "2.2":
        raise DatabaseError(
            f"the tables in schema {state.schema} were made by agno 2.2, whose memories no prompt gets",
            hint="bring them up to date, after a backup: junkie doctor --fix schema.version",
            code="schema_old",
        )
    row_security.require_all_rows(state, MEMORIES, undone="nothing was checked")


# --- reading the file -------------------------------------------------------------------------------------------------


async def _lines(path: Path, file: BinaryIO) -> AsyncIterator[tuple[int, bytes]]:
    """Number and bytes of each line that is not blank; of one that is too long only its beginning."""
    number = 0
    with converting_errors(path):
        while raw := await asyncio.to_thread(file.readline, LONGEST_LINE + 1):
            number += 1
            rest = raw
            while len(rest) > LONGEST_LINE and not rest.endswith(b"\n"):
                rest = await asyncio.to_thread(file.readline, LONGEST_LINE + 1)
            line = (raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw).strip()
            if rest is not raw:
                yield number, raw
            elif line:
                yield number, line


def parse(number: int, raw: bytes) -> Expectation:
    """What a line expects. Raises UsageError, whose message reads after "line N"."""
    if len(raw) > LONGEST_LINE:
        raise UsageError(f"is longer than {LONGEST_LINE:,} bytes")
    document = object_of_line(raw)
    for name in document:
        if name not in _FIELDS:
            raise UsageError(f"has a field that is not known: {name[:40]}")
    user, question = _text(document, "user"), storable(_text(document, "question"))
    if storable(user) != user:
        raise UsageError("has a user that no memory can have")
    recalled, not_recalled = _texts(document, "recalled"), _texts(document, "not_recalled")
    if not recalled and not not_recalled:
        raise UsageError("has nothing to check: neither recalled nor not_recalled")
    return Expectation(number, user, question, recalled, not_recalled)


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"has no {name}")
    return value


def _texts(document: dict[str, Any], name: str) -> tuple[str, ...]:
    values = document.get(name, [])
    if not isinstance(values, list) or not all(isinstance(value, str) and storable(value).strip() for value in values):
        raise UsageError(f"has a {name} that is not a list of texts")
    return tuple(map(storable, values))


# --- checking a line --------------------------------------------------------------------------------------------------


async def _check(connection: "Connection", state: SchemaState, settings: Settings, wanted: Expectation) -> Unmet | None:
    """What a line expects and does not get; None when it holds."""
    languages = settings.search_languages
    prompt = await read_candidates(connection, state, wanted.user, wanted.question, languages)
    missing = tuple(
        [
            Missing(text, await _is_stored(connection, state, wanted.user, text))
            for text in wanted.recalled
            if _first_with(text, prompt) is None
        ]
    )
    unwanted = tuple(
        Unwanted(text, entry.memory_id, entry.memory, entry.reason)
        for text in wanted.not_recalled
        if (entry := _first_with(text, prompt)) is not None
    )
    if not missing and not unwanted:
        return None
    return Unmet(wanted.number, wanted.user, wanted.question, missing, unwanted, len(prompt))


def _first_with(text: str, prompt: tuple[MemoryEntry, ...]) -> MemoryEntry | None:
    """The first memory with this id, or with this text inside of its own, in any case of the letters."""
    part = text.strip().lower()
    return next((entry for entry in prompt if entry.memory_id == text or part in entry.memory.lower()), None)


async def _is_stored(connection: "Connection", state: SchemaState, user: str, text: str) -> bool:
    statement = f"""
        SELECT EXISTS (
            SELECT 1 FROM {state.qualified(MEMORIES)} m WHERE m.user_id = :user_id
                AND (m.memory_id = :text OR strpos(lower({state.memory_text()}), lower(:part)) > 0)
        )"""
    return bool(await connection.fetchval(*bind(statement, user_id=user, text=text, part=text.strip())))
