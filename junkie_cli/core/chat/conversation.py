"""One person's conversation with the team: opened once, then turn after turn."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from junkie_cli.core.agent.team_loader import open_team
from junkie_cli.core.chat.events import (
    ChatEvent,
    Exchange,
    MemoryEntry,
    MemoryEvent,
    SessionEntry,
    Status,
    Warning,
    memory_event,
)
from junkie_cli.core.chat.pending_retry import Retried, retry_pending
from junkie_cli.core.chat.turn_events import RunningTurn, TurnEvents
from junkie_cli.core.errors import DatabaseError, JunkieError, NotFoundError, UsageError
from junkie_cli.core.memories.change_log import MemoryChange
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.schema.spellings import spelling_warnings
from junkie_cli.core.schema.stored_text import storable
from junkie_cli.core.schema.user_ids import check_id
from junkie_cli.core.settings import Settings

if TYPE_CHECKING:
    from junkie_cli.core.agent.endpoints import Offline
    from junkie_cli.core.agent.engine import TeamEngine
    from junkie_cli.core.chat.turn_runner import TurnRunner

NO_DATABASE = "[DB] No POSTGRES_URL configured - sessions and memories will not persist!"
"""The note of `--no-database`, word for word the Junkie bot's."""

NO_JOURNAL = (
    "this database user may not use junkie's own tables: changes of memories cannot be undone, and an extraction "
    "that fails is not retried"
)

_SEE = {"memory": "see /memories, or junkie memories list", "session": "see /sessions, or junkie sessions list"}

LONGEST_MESSAGE = 8 * 2**20
"""Characters of one message: more than any model reads."""

MOST_FOUND = 50
"""Memories that a search returns at most."""

MOST_ASKED = 1000
"""Extractions that one `/retry` makes at most; it reports how many remain."""


class Conversation:
    """A conversation of `user_id`; make it with `open`, end it with `close` (or use it as `async with`).

    All of it belongs to the event loop that opened it (a process may have several loops, each with conversations of its
    own), and ends with `close`: everything raises UsageError elsewhere and afterwards. One turn at a time.
    """

    def __init__(self, engine: "TeamEngine", user_id: str, session_id: str, notes: tuple[str, ...]) -> None:
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._turn: RunningTurn | None = None
        self._retrying: asyncio.Task[None] | None = None
        self._why: tuple[MemoryEntry, ...] = ()
        self._reported_left_out: set[str] = set()
        self._reported_history_cut: set[str] = set()
        self.user_id = user_id
        self.session_id = session_id
        self.notes = notes
        """Notes to show before the first answer, one sentence each."""

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
        progress: Progress = SILENT,
    ) -> "Conversation":
        """Load the team and make the database ready (creating the embedded one): call it while the user types.

        `session_id` continues that session or begins it, `continue_latest` the user's latest (none: a new one,
        with a note). `memory=False` puts no memories in and extracts none; `database=False` keeps nothing.
        Raises TablesNeededError, SettingsError (no provider), DatabaseError, UsageError (a bad user or session id),
        NotFoundError (somebody else's session).
        """
        check_id("user", user_id)
        if session_id is not None:
            check_id("session", session_id)
        engine = await open_team(
            settings,
            progress,
            also="junkie_cli.core.chat.turn_runner",
            offline=offline,
            memory=memory,
            database=database,
            may_add_tables=may_add_tables,
        )
        notes = _notes(engine)
        try:
            notes += await _spellings(engine, user_id)
            if session_id is not None:
                await engine.turns.session_ids(user_id, session_id)
            elif continue_latest:
                latest = await engine.turns.sessions(user_id, limit=1)
                session_id = latest[0].session_id if latest else None
                if session_id is None:
                    notes.append("there is no earlier session to continue; this is a new one")
        except BaseException:
            await engine.close()
            raise
        return cls(engine, user_id, session_id or str(uuid4()), tuple(notes))

    # -- turns ---------------------------------------------------------------------------------------------------------

    def send(self, message: str, *, hold: bool = False) -> TurnEvents:
        """One turn, as an async iterator of its events; it begins with the first of them.

        Some models write their reasoning as text and mark only its end. With `hold` the first answer of a model is
        given out when it is known to be none, and comes as `Provisional` before; without, `Done.answer` alone is free
        of it, and a Warning reports it.

        Never raises for a provider or database failure: `Done.error` and `Warning` report it. Raises UsageError while
        another turn is under way, for a message that is empty or longer than LONGEST_MESSAGE, after `close`, and in
        another event loop.

        Cancelling the task that iterates, or leaving the loop early, stores what was streamed so far, marked
        CANCELLED; during extraction the turn is already stored and the extraction stays pending. The next `send` waits
        for that. A second cancellation leaves at once. `stop` does the same while the events continue to `Done`.
        """
        return TurnEvents(lambda: self._begin(message, hold))

    def _begin(self, message: str, hold: bool) -> RunningTurn:
        from junkie_cli.core.chat.turn_runner import TurnRunner

        engine = self._usable()
        check_message(message)
        self._check_idle()
        earlier, turn = self._turn, RunningTurn()
        emit = turn.events.put_nowait
        runner = TurnRunner(
            engine,
            emit,
            report_left_out=self.user_id not in self._reported_left_out,
            report_history_cut=self.session_id not in self._reported_history_cut,
            hold=hold,
        )
        ids = (self.user_id, self.session_id)
        turn.start(asyncio.create_task(self._run(runner, ids, message, emit, earlier)))
        turn.task.add_done_callback(lambda _: self._turn_over(turn))
        self._turn = turn
        return turn

    def _turn_over(self, turn: RunningTurn) -> None:
        if self._turn is turn:
            self._turn = None

    async def _run(
        self,
        runner: "TurnRunner",
        ids: tuple[str, str],
        message: str,
        emit: Callable[[ChatEvent], None],
        earlier: RunningTurn | None,
    ) -> None:
        try:
            if earlier is not None:  # its reader has left
                earlier.leave()
                await asyncio.wait({earlier.task})
            await self._retrying_over(stop=True)  # a server with one place would answer after the extraction
            stored = (await self._engine.turns.flush()).stored
        except asyncio.CancelledError:
            runner.done(*ids)
            return
        if stored:
            emit(Warning(f"{stored} earlier exchange(s) that could not be stored then are stored now"))
        await runner.run(*ids, message)
        if runner.turn is not None:
            self._why = runner.turn.memories
            if runner.turn.memories_left_out:
                self._reported_left_out.add(ids[0])
        if runner.history_cut:
            self._reported_history_cut.add(ids[1])

    def stop(self) -> bool:
        """Stop the turn under way as Ctrl-C does, from any thread; `send` continues to `Done`. False without one."""
        turn = self._turn
        if turn is None or turn.task.done():
            return False
        self._loop.call_soon_threadsafe(turn.task.cancel)
        return True

    # -- pending extractions -------------------------------------------------------------------------------------------

    async def retry(self) -> Retried:
        """Retry all pending extractions of this user, also those that wait or were set aside. Raises DatabaseError.

        A provider's failure is in `Retried.error`.
        """
        engine = self._usable()
        await self._retrying_over()
        return await retry_pending(engine, self.user_id, everything=True, most=MOST_ASKED)

    def retry_behind(self, tell: Callable[[MemoryEvent], None] | None = None) -> None:
        """Retry a few of this user's extractions that are due, in the background.

        It begins when no turn is under way and is stopped by the next one: a server is never asked for both at once.
        Each change of a memory goes to `tell`. Failures are noted with the extraction and not reported: it was
        reported as pending. Does nothing while an earlier call has not ended.
        """
        self._usable()
        if self._retrying is None or self._retrying.done():
            self._retrying = asyncio.create_task(self._retry_due(self.user_id, tell))

    async def retried(self) -> None:
        """Wait for the end of what `retry_behind` started."""
        self._usable()
        await self._retrying_over()

    async def _retry_due(self, user_id: str, tell: Callable[[MemoryEvent], None] | None) -> None:
        if self._turn is not None:
            await asyncio.wait({self._turn.task})
        with suppress(JunkieError):
            done = await retry_pending(self._engine, user_id)
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
        """The user's memories, newest first, at most 1,000; with `text` those that match it, best first."""
        turns = self._usable().turns
        if text is None:
            return await turns.memories(self.user_id)
        return await turns.search_memories(self.user_id, text, limit=MOST_FOUND)

    async def remember(self, text: str) -> MemoryEntry:
        """Store a memory with this text, without a model. Raises UsageError, ErasedError, DatabaseError."""
        if not text.strip():
            raise UsageError("the memory has no text", hint="enter some text")
        change = MemoryChange("added", str(uuid4()), self.user_id, memory=storable(text).strip())
        await self._usable().turns.commit_memories([change], None, by="junkie")
        return await self._memory(change.memory_id)

    async def forget(self, memory_id: str) -> MemoryEntry:
        """Delete one memory of this user and return it; a unique prefix of the id is enough.

        Raises NotFoundError when there is none, UsageError when several begin so.
        """
        turns = self._usable().turns
        found = _only(await turns.memory_ids(self.user_id, memory_id), "memory", memory_id)
        entry = await self._memory(found)
        made = await turns.commit_memories([MemoryChange("deleted", found, self.user_id)], None, by="junkie")
        if not made:
            raise NotFoundError(f"memory {memory_id} was deleted already", hint=_SEE["memory"])
        self._why = tuple(memory for memory in self._why if memory.memory_id != found)
        return entry

    async def _memory(self, memory_id: str) -> MemoryEntry:
        entry = await self._usable().turns.memory(self.user_id, memory_id)
        if entry is None:
            raise NotFoundError(f"this user has no memory {memory_id}", hint=_SEE["memory"])
        return entry

    def why(self) -> tuple[MemoryEntry, ...]:
        """The memories that went into the last answer's prompt, each with the reason why it was chosen."""
        return self._why

    # -- sessions ------------------------------------------------------------------------------------------------------

    async def history(self, limit: int = 200) -> list[Exchange]:
        """The last exchanges of this session, oldest first."""
        return await self._usable().turns.exchanges(self.user_id, session_id=self.session_id, limit=limit)

    async def sessions(self, limit: int = 20) -> list[SessionEntry]:
        """This user's sessions, newest first."""
        return await self._usable().turns.sessions(self.user_id, limit=limit)

    async def resume(self, session_id: str) -> None:
        """Continue a session of this user; a unique prefix of its id is enough. Raises NotFoundError, UsageError."""
        self._check_idle()
        turns = self._usable().turns
        found = await turns.session_ids(self.user_id, session_id) if session_id else []
        self.session_id = _only(found, "session", session_id)
        self._why = ()

    def new(self) -> str:
        """Begin a new session and return its id."""
        self._check_idle()
        self.session_id = str(uuid4())
        self._why = ()
        return self.session_id

    async def switch_user(self, user_id: str) -> None:
        """Switch to another user, in a new session. Raises UsageError for an invalid id."""
        self._check_idle()
        check_id("user", user_id)
        self.user_id = user_id
        self.new()

    def _check_idle(self) -> None:
        if self._turn is not None and not self._turn.was_left:
            raise UsageError("another turn is running in this conversation", hint="wait until it ends, or stop it")

    def _usable(self) -> "TeamEngine":
        """The engine. Raises UsageError after `close`, and in another event loop than the one that opened it."""
        if self._closed:
            raise UsageError("this conversation is closed", hint="open another one")
        if asyncio.get_running_loop() is not self._loop:
            raise UsageError(
                "this conversation belongs to another event loop", hint="open one in each loop that needs one"
            )
        return self._engine

    async def status(self) -> Status:
        """The status of this conversation. Raises DatabaseError."""
        from junkie_cli.core.turns.memory_choice import MEMORY_BUDGET

        engine = self._usable()
        counts = await engine.turns.counts(self.user_id)
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
            pending=counts.pending,
            memories=counts.memories,
            memories_in_context=await engine.turns.memories_in_context(self.user_id) if engine.memory else 0,
            memory_budget=MEMORY_BUDGET,
        )

    async def close(self) -> None:
        """Store what is not stored yet, as far as the database takes it, and close everything; safe to call twice.

        Raises DatabaseError when exchanges that were shown are lost: they could be stored and kept nowhere.
        """
        if self._closed:
            return
        self._usable()
        self._closed = True
        if self._turn is not None:
            self._turn.leave()
            await asyncio.wait({self._turn.task})
        await self._retrying_over(stop=True)
        try:
            lost = (await self._engine.turns.flush()).in_memory
        finally:
            await self._engine.close()
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


def check_message(message: str) -> None:
    """Raises UsageError for a message that cannot be sent."""
    if not message.strip():
        raise UsageError("there is nothing to send: the message is empty", hint="enter some text")
    if len(message) > LONGEST_MESSAGE:
        raise UsageError(
            f"the message is too long: {len(message)} characters, of at most {LONGEST_MESSAGE}",
            hint="send it in parts, or a part of it",
        )


def _notes(engine: "TeamEngine") -> list[str]:
    if engine.database is None:
        return [NO_DATABASE]
    return [NO_JOURNAL] if engine.memory and not engine.turns.keeps_pending else []


async def _spellings(engine: "TeamEngine", user_id: str) -> list[str]:
    """Warnings if the prompt also gets memories of another spelling of the user id."""
    state = engine.state
    if engine.connections is None or state is None or not any(table.loose_owner for table in state.tables.values()):
        return []
    async with engine.connections.transaction(read_only=True) as connection:
        warnings = await spelling_warnings(connection, state, user_id)
    return [f"{warning.message} to the model; {warning.hint}" for warning in warnings]


def _only(found: list[str], what: str, wanted: str) -> str:
    if not found:
        raise NotFoundError(f"this user has no {what} whose id begins with {wanted!r}", hint=_SEE[what])
    if len(found) > 1:
        raise UsageError(f"several ids begin with {wanted!r}", hint="use a longer prefix")
    return found[0]
