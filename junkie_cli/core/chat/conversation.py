"""One person's conversation with the team: opened once, then turn after turn."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from junkie_cli.core.chat.events import (
    ChatEvent,
    Exchange,
    Memory,
    MemoryEntry,
    SessionEntry,
    Status,
    Warning,
    memory_event,
)
from junkie_cli.core.errors import DatabaseError, JunkieError, NotFoundError, UsageError
from junkie_cli.core.journal import MemoryChange, storable
from junkie_cli.core.owners import check_id
from junkie_cli.core.retrying import Retried, move_spool, retry_owed
from junkie_cli.core.settings import Settings
from junkie_cli.core.team.opening import open_team

if TYPE_CHECKING:
    from junkie_cli.core.chat.turn import TurnRunner, Unstored
    from junkie_cli.core.team.endpoints import Offline
    from junkie_cli.core.team.engine import TeamEngine
    from junkie_cli.core.team.records import Records

NO_DATABASE = "[DB] No POSTGRES_URL configured - sessions and memories will not persist!"
"""What `--no-database` says, word for word as the Junkie bot does."""

NO_JOURNAL = (
    "this database user may not use junkie's own tables: memories cannot be taken back, and those that the memory "
    "model fails to find are not looked for again"
)

_SEE = {"memory": "see /memories, or junkie memories list", "session": "see /sessions, or junkie sessions list"}

MOST_ASKED = 1000
"""Extractions that one `/retry` makes; how many are left is told."""


class Conversation:
    """A conversation of `user_id`; make it with `open`, end it with `close` (or use it as `async with`).

    All of it belongs to the event loop that opened it. One turn at a time: `send` raises UsageError while another
    turn is under way.
    """

    def __init__(self, engine: "TeamEngine", user_id: str, session_id: str, notes: tuple[str, ...]) -> None:
        self._engine = engine
        self._turn: asyncio.Task[None] | None = None
        self._retrying: asyncio.Task[None] | None = None
        self._why: tuple[MemoryEntry, ...] = ()
        self._unstored: list[Unstored] = []
        self._told_cap: set[str] = set()
        self.user_id = user_id
        self.session_id = session_id
        self.notes = notes
        """What the user should be told before the first answer, one sentence each."""

    @classmethod
    async def open(
        cls,
        settings: Settings,
        user_id: str,
        *,
        session_id: str | None = None,
        continue_latest: bool = False,
        offline: "Offline" = False,
        memory: bool = True,
        database: bool = True,
        may_add_tables: bool = False,
        on_progress: Callable[[str], None] | None = None,
    ) -> "Conversation":
        """Load the team and make the database ready (creating the embedded one): call it while the user types.

        `session_id` goes on with that session or begins it, `continue_latest` with the user's latest (none: a new
        one, and a note says so). `memory=False` puts no memories in and extracts none; `database=False` keeps nothing.
        Raises TablesNeededError, SettingsError (no provider), DatabaseError, UsageError (a bad user or session id),
        NotFoundError (somebody else's session).
        """
        check_id("user", user_id)
        if session_id is not None:
            check_id("session", session_id)
        engine = await open_team(
            settings,
            on_progress,
            also="junkie_cli.core.chat.turn",
            offline=offline,
            memory=memory,
            database=database,
            may_add_tables=may_add_tables,
        )
        notes = _notes(engine)
        try:
            if session_id is not None:
                await engine.records.session_ids(user_id, session_id)
            elif continue_latest:
                latest = await engine.records.sessions(user_id, limit=1)
                session_id = latest[0].session_id if latest else None
                if session_id is None:
                    notes.append("there is no earlier session to go on with: this is a new one")
        except BaseException:
            await engine.close()
            raise
        return cls(engine, user_id, session_id or str(uuid4()), tuple(notes))

    # -- turns ---------------------------------------------------------------------------------------------------------

    async def send(self, message: str) -> AsyncIterator[ChatEvent]:
        """One turn. Never raises for a provider or database failure: `Done.error` and `Warning` tell it.

        Cancelling the task that iterates, or leaving the loop early, stores what was streamed so far, marked
        CANCELLED, before it goes on; during extraction the turn is already stored and the extraction stays pending.
        A second cancellation leaves at once. `stop` does the same while the events go on to `Done`.
        """
        from junkie_cli.core.chat.turn import TurnRunner

        if not message.strip():
            raise UsageError("there is nothing to send: the message is empty", hint="say something")
        if self._turn is not None:
            raise UsageError("another turn is under way in this conversation", hint="wait for its end, or stop it")
        queue: asyncio.Queue[ChatEvent | None] = asyncio.Queue()
        runner = TurnRunner(self._engine, queue.put_nowait, tell_cap=self.user_id not in self._told_cap)
        task = self._turn = asyncio.create_task(self._run(runner, message, queue.put_nowait))
        task.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            task.cancel()
            try:
                await asyncio.wait({task})
            finally:
                self._turn = None
                if task.done() and not task.cancelled():
                    task.exception()  # raised below, unless a cancellation goes on here
                if runner.unstored is not None:
                    self._unstored.append(runner.unstored)
        if not task.cancelled():
            task.result()

    async def _run(self, runner: "TurnRunner", message: str, emit: Callable[[ChatEvent], None]) -> None:
        try:
            stored = await self._store_earlier()
        except asyncio.CancelledError:
            runner.done(self.user_id, self.session_id)
            return
        if stored:
            emit(Warning(f"{stored} earlier exchange(s) that could not be stored then are stored now"))
        await runner.run(self.user_id, self.session_id, message)
        if runner.turn is not None:
            self._why = runner.turn.memories
            if runner.turn.memories_left_out:
                self._told_cap.add(self.user_id)

    def stop(self) -> bool:
        """Stop the turn under way as Ctrl-C does; `send` goes on to its `Done`. False when there is none."""
        return self._turn is not None and self._turn.cancel()

    async def _store_earlier(self) -> int:
        """Store turns that the database did not take before, in order; those that it must not take are dropped."""
        count = await move_spool(self._engine)
        while self._unstored:
            owed = self._unstored[0]
            try:
                await self._engine.records.store(owed.turn, pending=owed.pending)
                count += 1
            except DatabaseError:
                break
            except JunkieError:
                pass
            self._unstored.pop(0)
        return count

    # -- what is owed --------------------------------------------------------------------------------------------------

    async def retry(self) -> Retried:
        """Make this user's pending extractions now, those that wait and those set aside too. Raises DatabaseError.

        A provider's failure is in `Retried.error`.
        """
        await self._retrying_over()
        return await retry_owed(self._engine, self.user_id, everything=True, most=MOST_ASKED)

    def retry_behind(self, tell: Callable[[Memory], None] | None = None) -> None:
        """Begin to make up, behind the conversation, for a few of this user's extractions that are due.

        Each memory that comes of it goes to `tell`. Failures are noted with the extraction and not told: it was told
        that it is pending. Does nothing while an earlier call is still at it.
        """
        if self._retrying is None or self._retrying.done():
            self._retrying = asyncio.create_task(self._retry_due(self.user_id, tell))

    async def _retry_due(self, user_id: str, tell: Callable[[Memory], None] | None) -> None:
        with suppress(JunkieError):
            done = await retry_owed(self._engine, user_id)
            if tell is not None and user_id == self.user_id:
                for change in done.changes:
                    tell(memory_event(change))

    async def _retrying_over(self, *, stop: bool = False) -> None:
        if self._retrying is not None and not self._retrying.done():
            if stop:
                self._retrying.cancel()
            await asyncio.wait({self._retrying})

    # -- memories ------------------------------------------------------------------------------------------------------

    async def memories(self, text: str | None = None) -> list[MemoryEntry]:
        """The user's memories, newest first, at most 1,000; with `text` those that contain it, in any case."""
        return await self._engine.records.memories(self.user_id, text)

    async def remember(self, text: str) -> MemoryEntry:
        """Write a memory in these words, without a model. Raises UsageError, ErasedError, DatabaseError."""
        if not text.strip():
            raise UsageError("there is nothing to remember", hint="say what")
        change = MemoryChange("added", str(uuid4()), self.user_id, memory=storable(text).strip())
        await self._records().commit_memories([change], None, by="junkie")
        return await self._memory(change.memory_id)

    async def forget(self, memory_id: str) -> MemoryEntry:
        """Delete one memory of this user and return what went; a prefix of the id is enough when it is unique.

        Raises NotFoundError when there is none, UsageError when several begin so.
        """
        records = self._records()
        found = _only(await records.memory_ids(self.user_id, memory_id), "memory", memory_id)
        entry = await self._memory(found)
        made = await records.commit_memories([MemoryChange("deleted", found, self.user_id)], None, by="junkie")
        if not made:
            raise NotFoundError(f"memory {memory_id} is gone already", hint=_SEE["memory"])
        self._why = tuple(memory for memory in self._why if memory.memory_id != found)
        return entry

    async def _memory(self, memory_id: str) -> MemoryEntry:
        entry = await self._records().memory(self.user_id, memory_id)
        if entry is None:
            raise NotFoundError(f"there is no memory {memory_id} of this user", hint=_SEE["memory"])
        return entry

    def why(self) -> tuple[MemoryEntry, ...]:
        """The memories that went into the last answer's prompt."""
        return self._why

    def _records(self) -> "Records":
        from junkie_cli.core.team.records import Records

        if not isinstance(self._engine.records, Records):
            raise UsageError("this conversation keeps nothing", hint="begin one without --no-database")
        return self._engine.records

    # -- sessions ------------------------------------------------------------------------------------------------------

    async def history(self, limit: int = 200) -> list[Exchange]:
        """The last exchanges of this session, oldest first."""
        return await self._engine.records.exchanges(self.user_id, session_id=self.session_id, limit=limit)

    async def sessions(self, limit: int = 20) -> list[SessionEntry]:
        """This user's sessions, newest first."""
        return await self._engine.records.sessions(self.user_id, limit=limit)

    async def resume(self, session_id: str) -> None:
        """Go on with a session of this user; a unique prefix of its id is enough. Raises NotFoundError, UsageError."""
        self._check_idle()
        found = await self._engine.records.session_ids(self.user_id, session_id) if session_id else []
        self.session_id = _only(found, "session", session_id)
        self._why = ()

    def new(self) -> str:
        """Begin a new session and return its id."""
        self._check_idle()
        self.session_id = str(uuid4())
        self._why = ()
        return self.session_id

    async def switch_user(self, user_id: str) -> None:
        """Go on as another person, in a new session. Raises UsageError for an id that is none."""
        self._check_idle()
        check_id("user", user_id)
        self.user_id = user_id
        self.new()

    def _check_idle(self) -> None:
        if self._turn is not None:
            raise UsageError("a turn is under way", hint="wait for its end, or stop it")

    async def status(self) -> Status:
        """What this conversation stands on. Raises DatabaseError."""
        from junkie_cli.core.team.records import MEMORY_BUDGET

        engine = self._engine
        counts = await engine.records.counts(self.user_id)
        return Status(
            user_id=self.user_id,
            session_id=self.session_id,
            model=engine.models.main_choice.model,
            provider=engine.models.provider,
            memory_model=engine.models.memory_choice.model,
            offline=engine.models.offline,
            memory=engine.memory,
            database=engine.database.label if engine.database else "",
            history_runs=engine.settings.agent_history_runs,
            pending=counts.pending + len(engine.spool.pending(self.user_id) if engine.spool else ()),
            memories=counts.memories,
            memories_in_context=await engine.records.memories_in_context(self.user_id) if engine.memory else 0,
            memory_budget=MEMORY_BUDGET,
        )

    async def close(self) -> None:
        """Store what is still owed, as far as the database takes it, and give everything back; safe to call twice.

        What lies in the spool waits there. Raises DatabaseError when exchanges that were shown are lost: neither could
        be stored to the end.
        """
        if self._turn is not None:
            self._turn.cancel()
            await asyncio.wait({self._turn})
        await self._retrying_over(stop=True)
        try:
            await self._store_earlier()
        finally:
            await self._engine.close()
        lost, self._unstored = len(self._unstored), []
        if lost:
            raise DatabaseError(
                f"{lost} exchange(s) of this conversation could not be stored, and are lost",
                hint="see why: junkie doctor",
                code="database_lost",
            )

    async def __aenter__(self) -> "Conversation":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _notes(engine: "TeamEngine") -> list[str]:
    if engine.database is None:
        return [NO_DATABASE]
    return [NO_JOURNAL] if engine.memory and not engine.records.keeps_pending else []


def _only(found: list[str], what: str, wanted: str) -> str:
    if not found:
        raise NotFoundError(f"this user has no {what} whose id is or begins with {wanted!r}", hint=_SEE[what])
    if len(found) > 1:
        raise UsageError(f"several ids begin with {wanted!r}", hint="give more of it")
    return found[0]
