"""Extracts memories from existing conversations: reads JSON Lines, commits memories line by line.

Several users are processed concurrently, each user's lines strictly in order. A line is marked as learned in the
transaction that commits its memories, so a run that was killed continues where it stopped and learns nothing twice. A
line that causes a failure becomes a pending extraction; a provider that is unavailable ends the run, and the next run
continues. Loads nothing heavy itself.
"""

import asyncio
import fcntl
import json
import os
import re
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import UUID, uuid5

from junkie_cli.core.agent.team_loader import open_team
from junkie_cli.core.chat.pending_retry import ABOUT_THIS_MESSAGE, MOST_FAILURES, is_outage
from junkie_cli.core.chat.waits import Waits
from junkie_cli.core.errors import DatabaseError, JunkieError, LockedError, UsageError
from junkie_cli.core.files import converting_errors
from junkie_cli.core.foreign_values import as_time
from junkie_cli.core.json_lines import object_of_line
from junkie_cli.core.memories import change_log
from junkie_cli.core.memories.change_log import ErasedError
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.schema import stored_text
from junkie_cli.core.schema.registry import LEARNED, Feature
from junkie_cli.core.schema.stored_text import storable
from junkie_cli.core.schema.user_ids import check_id
from junkie_cli.core.settings import Settings
from junkie_cli.core.turns import pending_rows
from junkie_cli.core.turns.types import Pending
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    from junkie_cli.core.agent.engine import TeamEngine
    from junkie_cli.core.postgres.connection import Connection


CONCURRENCY = 4
"""Users that are processed concurrently, by default."""

WINDOW = 2000
"""Lines read ahead to find users that are not being processed."""

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds between the tries of one line; a provider's own Retry-After counts when it is longer."""

LONGEST_WAIT = 120.0
"""Seconds for which a run waits for the provider; if the provider asks for more, the run ends."""

MOST_NAMED = 1000
"""Bad lines that are named one by one; all of them are counted and set aside."""

_YEARS = range(1900, 3000)  # of messages: what is outside is a mistake, and cannot be counted with
_BATCH = 200
_NAMESPACE = UUID("5b0f0c1e-3a59-4c53-9a8e-2f6f6d3d7a11")


@frozen
class Line:
    """A line of the file. `line_id` is the same for the same words in the same place of any file.

    `created_at` is when the message was written, which gives "tomorrow" its date; None when that is not known.
    """

    number: int
    user_id: str
    session_id: str | None
    message: str
    created_at: datetime | None = None

    @property
    def line_id(self) -> str:
        """The id under which a learned line is stored."""
        return str(uuid5(_NAMESPACE, json.dumps([self.number, self.user_id, self.session_id, self.message])))


@frozen
class BadLine:
    """A line, counted from 1, that is not learned, and why."""

    line: int
    reason: str


@dataclass(slots=True)
class Learned:
    """The result of a run: of `total` lines it `read` some, and each of these is learned, skipped, failed or pending.

    `skipped` lines were learned by an earlier run; `failed` ones are bad, and in the file `set_aside`; `pending` ones
    are retried by `memories retry`. `refused` counts calls of the memory model for data of other users,
    `left_out` what extractions left out, by the kinds of `pending_retry.LEFT_OUT`. `error` is why the run ended before
    the end of the file.
    """

    total: int = 0
    learned: int = 0
    skipped: int = 0
    failed: int = 0
    pending: int = 0
    refused: int = 0
    memories: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    bad: list[BadLine] = field(default_factory=list)
    set_aside: Path | None = None
    seconds: float = 0
    error: JunkieError | None = None

    @property
    def read(self) -> int:
        """Lines that were processed, with any result."""
        return self.learned + self.skipped + self.failed + self.pending


async def learn_file(
    settings: Settings,
    path: Path,
    *,
    concurrency: int = CONCURRENCY,
    offline: bool = False,
    even_erased: bool = False,
    progress: Progress = SILENT,
) -> Learned:
    """Learn from the lines of `path` that are not learned yet.

    `even_erased` accepts lines of people who were erased; otherwise these are bad lines. `progress` gets how many lines
    were processed, of how many, how many of them an earlier run learned, and what the run waits for. Raises LockedError
    if another run uses this file, FileError, SettingsError (no provider), DatabaseError. If it is cancelled, the
    counted lines are learned, and the same call continues.
    """
    began = time.monotonic()
    with _opened(path) as file:
        total = await asyncio.to_thread(_count_lines, file)
        engine = await open_team(settings, offline=offline)
        try:
            learner = _Learner(engine, _LineReader(file, path), even_erased, progress)
            learner.done.total = total
            await learner.run(concurrency)
        finally:
            await engine.close()
    learner.done.seconds = round(time.monotonic() - began, 3)
    return learner.done


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    with converting_errors(path):
        if path.exists() and not path.is_file():
            raise UsageError(
                f"{path} is not a file", hint="a run that can be continued needs a regular file: save the input first"
            )
        file = path.open("rb")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LockedError(f"another run is learning from {path}", hint="wait until it ends") from None
        yield file


def _count_lines(file: BinaryIO) -> int:
    count = sum(1 for line in file if line.strip())
    file.seek(0)
    return count


# --- reading ----------------------------------------------------------------------------------------------------------


class _LineReader:
    """Reads the file, and writes its bad lines unchanged into `FILE.bad` next to it."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._number = 0
        self.over = False
        self.set_aside: Path | None = None
        self._bad_file: BinaryIO | None = None

    def next(self) -> tuple[int, bytes] | None:
        """Number and bytes of the next line that is not blank, None at the end."""
        while raw := self._file.readline():
            self._number += 1
            if raw.strip():
                return self._number, raw
        self.over = True
        return None

    def put_aside(self, raw: bytes) -> None:
        """Keep a bad line, where a regular file can be made or is; `set_aside` is None when one could not be kept."""
        path = self._path.with_name(f"{self._path.name}.bad")
        try:
            if self._bad_file is None:
                self._bad_file = _emptied(path)
                self.set_aside = path
            self._bad_file.write(raw.rstrip(b"\r\n") + b"\n")
            self._bad_file.flush()
        except OSError:
            self.set_aside = None

    def close(self) -> None:
        if self._bad_file is not None:
            with suppress(OSError):
                self._bad_file.close()


def _emptied(path: Path) -> BinaryIO:
    """An empty regular file to write to, private when it is new; what an earlier run left there goes."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    os.ftruncate(descriptor, 0)  # refused by what is no regular file
    return os.fdopen(descriptor, "wb")


def parse(number: int, raw: bytes) -> Line:
    """The line in `raw`. Raises UsageError, whose message reads after "line N"."""
    document = object_of_line(raw)
    user_id, session_id, message = (document.get(name) for name in ("user_id", "session_id", "message"))
    if not isinstance(user_id, str):
        raise UsageError("has no user_id")
    check_id("user", user_id)
    if session_id is not None and not isinstance(session_id, str):
        raise UsageError("has a session_id that is no text")
    if session_id:
        check_id("session", session_id)
    if not isinstance(message, str) or not message.strip():
        raise UsageError("has no message")
    created_at = document.get("created_at")
    written = None if created_at is None else _time_of(created_at)
    return Line(number, user_id, session_id or None, storable(message), written)


def _time_of(value: Any) -> datetime:
    """The time in a line: ISO-8601, by default in the zone of this machine, or epoch seconds. Raises UsageError."""
    given = as_time(value)
    try:
        if isinstance(value, str) and not re.fullmatch(r"[\d.]{9,}", value.strip()):
            given = datetime.fromisoformat(value.strip()).astimezone()
        if given is not None and given.astimezone().year in _YEARS:
            return given
    except (ValueError, OverflowError, OSError):
        pass
    raise UsageError("has a created_at that is no time")


# --- learning ---------------------------------------------------------------------------------------------------------


class _Learner:
    """One run: the waiting lines by user, the users being processed, and when the provider may be called again."""

    def __init__(
        self,
        engine: "TeamEngine",
        reader: _LineReader,
        even_erased: bool,
        progress: Progress,
    ) -> None:
        assert engine.connections is not None
        assert engine.state is not None
        self.done = Learned()
        self._engine = engine
        self._connections = engine.connections
        self._turns = engine.turns
        self._state = engine.state
        self._reader = reader
        self._even_erased = even_erased
        self._progress = progress
        self._waits = Waits(progress.wait)
        self._waiting: OrderedDict[str, deque[tuple[Line, bytes]]] = OrderedDict()
        self._count = 0
        self._busy: set[str] = set()
        self._news = asyncio.Condition()
        self._not_before = 0.0
        self._why_later = ""
        self._failures = 0

    async def run(self, concurrency: int) -> None:
        """Learn until the end of the file, or until continuing is pointless."""
        if not (self._turns.keeps_pending and self._state.keeps(Feature.LEARNED)):
            raise DatabaseError(
                "this database user may not use junkie's own tables, which record the learned lines",
                hint="grant it CREATE on the schema, or run this as the owner of the schema",
                code="database_rights",
            )
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(self._work())
        finally:
            self._reader.close()
            self.done.set_aside = self._reader.set_aside

    async def _work(self) -> None:
        while (found := await self._next()) is not None:
            line, raw = found
            try:
                await self._learn(line, raw)
            except DatabaseError as error:
                self._end(error)
            finally:
                async with self._news:
                    self._busy.discard(line.user_id)
                    self._news.notify_all()
            self._report_progress()

    # Choosing the next line

    async def _next(self) -> tuple[Line, bytes] | None:
        """The next line of a user who is not being processed, and mark the user; None at the end."""
        async with self._news:
            while self.done.error is None:
                found = self._take()
                if found is not None:
                    return found
                if self._count < WINDOW and not self._reader.over:
                    await self._read_on()
                elif self._count or self._busy:
                    await self._news.wait()
                else:
                    return None
            return None

    def _take(self) -> tuple[Line, bytes] | None:
        for user_id, lines in self._waiting.items():
            if user_id not in self._busy:
                self._busy.add(user_id)
                self._count -= 1
                found = lines.popleft()
                self._waiting.move_to_end(user_id)
                if not lines:
                    del self._waiting[user_id]
                return found
        return None

    async def _read_on(self) -> None:
        try:
            await self._read()
        except DatabaseError as error:
            self._end(error)
        self._news.notify_all()

    async def _read(self) -> None:
        """Read a batch of lines, without those that are bad or learned."""
        batch: list[tuple[Line, bytes]] = []
        for _ in range(_BATCH):
            found = self._reader.next()
            if found is None:
                break
            number, raw = found
            try:
                batch.append((parse(number, raw), raw))
            except UsageError as error:
                self._refuse(number, raw, error.message)
        known = await self._retry_transient(lambda: self._learned_already([line.line_id for line, _ in batch]))
        for line, raw in batch:
            if line.line_id in known:
                self.done.skipped += 1
            else:
                self._waiting.setdefault(line.user_id, deque()).append((line, raw))
                self._count += 1
        self._report_progress()

    async def _learned_already(self, line_ids: Sequence[str]) -> set[str]:
        table = self._state.qualified(LEARNED)
        async with self._connections.transaction(read_only=True) as connection:
            rows = await connection.fetch(
                f"SELECT line_id::text AS line_id FROM {table} WHERE line_id = ANY ($1::text[]::uuid[])", line_ids
            )
        return {row["line_id"] for row in rows}

    def _refuse(self, number: int, raw: bytes, reason: str) -> None:
        self.done.failed += 1
        if len(self.done.bad) < MOST_NAMED:
            self.done.bad.append(BadLine(number, reason))
        self._reader.put_aside(raw)

    def _report_progress(self) -> None:
        self._progress.reach(self.done.read, self.done.total, self.done.skipped)

    # One line

    async def _learn(self, line: Line, raw: bytes) -> None:
        for tries, pause in enumerate((*PAUSES, None), 1):
            await self._provider_ready()
            try:
                await self._retry_transient(lambda: self._refuse_erased(line))
                await self._extract(line)
            except ErasedError:
                return self._refuse(line.number, raw, "belongs to a person who was erased")
            except JunkieError as error:
                if isinstance(error, DatabaseError):
                    raise
                if not self._may_try_again(error, tries, pause):
                    return await self._give_up(line, error)
            else:
                self._failures = 0
                return None
            if self.done.error is not None:
                return None
        return None

    async def _provider_ready(self) -> None:
        seconds = self._not_before - asyncio.get_running_loop().time()
        if seconds > 0:
            with self._waits.for_next_try(self._why_later):
                await asyncio.sleep(seconds)

    def _may_try_again(self, error: JunkieError, tries: int, pause: float | None) -> bool:
        """Whether to retry a line after a pause; all lines wait if the provider asked for it."""
        asked: float = getattr(error, "retry_after", None) or 0
        if pause is None or asked > LONGEST_WAIT:
            return False
        if error.code in ABOUT_THIS_MESSAGE:
            return tries < 3  # immediately: the provider refused this text
        if is_outage(error) and not asked and error.code != "provider_rate_limited":
            return False  # waiting does not make a refused key valid
        until = asyncio.get_running_loop().time() + max(pause, asked)
        self._not_before = max(self._not_before, until)
        self._why_later = error.message
        return True

    async def _give_up(self, line: Line, error: JunkieError) -> None:
        """Leave the line pending if it caused the error; else end the run, which continues with this line next time."""
        self._failures += 1
        if is_outage(error) or self._failures >= MOST_FAILURES:
            return self._end(error)
        pending = Pending(
            line.line_id,
            line.user_id,
            line.session_id,
            None,
            line.message,
            attempts=1,
            last_error=error.message,
        )

        async def hand_over() -> None:
            async with self._connections.transaction() as connection:
                if await self._mark(connection, line):
                    await pending_rows.write_pending(
                        connection, self._state, pending, began=await stored_text.database_time(connection)
                    )

        await self._retry_transient(hand_over)
        self.done.pending += 1
        return None

    def _end(self, error: JunkieError) -> None:
        self.done.error = self.done.error or error

    async def _extract(self, line: Line) -> None:
        async with self._engine.teams.lease(line.user_id) as hero, hero.extracting:
            assert hero.memory is not None
            known = await self._retry_transient(lambda: self._turns.candidates(line.user_id, line.message))
            with self._waits.of_one():
                extraction = await hero.memory.extract(line.user_id, line.message, "", known, line.created_at)
            self.done.refused += extraction.refused_calls
            # A line is learned if all of its reply was usable; otherwise the usable part is kept.
            take = None if extraction.error else lambda connection: self._mark(connection, line)
            made = await self._retry_transient(
                lambda: self._turns.commit_memories(extraction.changes, None, by="team", take=take)
            )
        if extraction.error is not None:
            self.done.memories.update(change.action for change in made or ())
            raise extraction.error
        if made is None:
            self.done.skipped += 1  # learned by another run of the same file
            return
        self.done.learned += 1
        self.done.left_out.update(extraction.left_out)
        self.done.memories.update(change.action for change in made)

    async def _refuse_erased(self, line: Line) -> None:
        if self._even_erased:
            return
        async with self._connections.transaction(read_only=True) as connection:
            if await stored_text.erased_at(connection, self._state, line.user_id) is not None:
                raise ErasedError("this user was erased")

    async def _mark(self, connection: "Connection", line: Line) -> bool:
        """Mark the line as learned; False if it was marked already."""
        state = self._state
        await change_log.lock_user(
            connection,
            state,
            line.user_id,
            began=await stored_text.database_time(connection) if self._even_erased else None,
        )
        done = await connection.execute(
            f"INSERT INTO {state.qualified(LEARNED)} (line_id, user_id) VALUES ($1::text::uuid, $2)"
            " ON CONFLICT DO NOTHING",
            line.line_id,
            line.user_id,
        )
        return bool(done == "INSERT 0 1")

    async def _retry_transient(self, work: Callable[[], Any]) -> Any:
        """Return the result of `work`, retried while the database restarts or fails over. Raises DatabaseError."""
        for pause in PAUSES:
            try:
                return await work()
            except DatabaseError as error:
                if not error.transient:
                    raise
            await asyncio.sleep(pause)
        return await work()
