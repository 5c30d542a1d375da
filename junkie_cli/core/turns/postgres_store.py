"""Stores turns in PostgreSQL, in agno's tables and ours: one statement reads a turn, one transaction writes it."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from junkie_cli.core.errors import DatabaseError, NotFoundError
from junkie_cli.core.memories import change_log, search_words
from junkie_cli.core.memories.change_log import AppliedChange, ErasedError, MemoryChange
from junkie_cli.core.memories.duplicates import without_duplicates, without_outdated
from junkie_cli.core.postgres.locks import LOCK_SHARED
from junkie_cli.core.postgres.sql import bind
from junkie_cli.core.schema import runs, stored_text
from junkie_cli.core.schema.registry import PENDING
from junkie_cli.core.schema.tables import MEMORIES, RUNS, SchemaState
from junkie_cli.core.turns import pending_rows, search, turn_rows
from junkie_cli.core.turns.connections import Connections
from junkie_cli.core.turns.memory_choice import MEMORY_BUDGET, MOST_MEMORIES, shortened, within_budget
from junkie_cli.core.turns.reads import Reads
from junkie_cli.core.turns.turn_rows import TIMELINE, AddTokens
from junkie_cli.core.turns.turn_start import read_candidates, read_turn
from junkie_cli.core.turns.types import Exchange, Flushed, MemoryEntry, Pending, Reading, Turn, TurnRecord

if TYPE_CHECKING:
    from junkie_cli.core.postgres.connection import Connection

T = TypeVar("T")


class PostgresTurnStore(Reads):
    """The turn store of one schema of one database."""

    def __init__(
        self,
        connections: Connections,
        state: SchemaState,
        *,
        history_days: int,
        languages: Sequence[str],
        add_tokens: AddTokens,
    ) -> None:
        super().__init__(connections, state)
        self._languages = tuple(languages)
        self._history_days = history_days
        self._add_tokens = add_tokens
        self._timeline = "''"

    async def detect_timeline(self, connection: "Connection") -> None:
        """Store the server's timeline with turns if the server reports one: not every compatible server does."""
        from asyncpg import PostgresError

        with suppress(PostgresError):
            async with connection.transaction():
                await connection.fetchval(f"SELECT {TIMELINE}")
                self._timeline = f"CASE WHEN pg_is_in_recovery() THEN '' ELSE {TIMELINE} END"

    @property
    def keeps_pending(self) -> bool:
        """Whether extractions can be recorded before they are tried: our table exists and may be written."""
        return all(self.state.may(right, PENDING) for right in ("INSERT", "UPDATE", "DELETE"))

    # -- a turn --------------------------------------------------------------------------------------------------------

    async def begin(self, user_id: str, session_id: str, message: str, reading: Reading) -> Turn:
        """Read what the turn needs. Raises NotFoundError for somebody else's session, DatabaseError.

        A connection that is lost here has done nothing yet: it is tried once more.
        """

        async def read() -> Turn:
            async with self._connections.statement() as connection:
                return await read_turn(
                    connection, self.state, user_id, session_id, message, reading, self._timeline, self._languages
                )

        return await _retry_once_when_lost(read)

    async def open(self, record: TurnRecord, *, lease: float = 0) -> bool:
        """Store a turn that has no answer yet; see `TurnStore`.

        A connection that is lost here is tried once more, so that a session which is missing at the end was deleted.
        """

        async def write() -> bool:
            async with self._connections.transaction() as connection:
                return await turn_rows.open_turn(connection, self.state, record, lease)

        return await _retry_once_when_lost(write)

    async def renew(self, record: TurnRecord, *, lease: float) -> None:
        """Show that an open turn is still running. Raises DatabaseError."""
        async with self._connections.transaction() as connection:
            await turn_rows.renew_turn(connection, self.state, record, lease)

    async def complete(self, record: TurnRecord, *, lease: float = 0) -> None:
        """Store a turn that has ended, and read it back; see `TurnStore`."""
        try:
            async with self._connections.transaction() as connection:
                await turn_rows.complete_turn(connection, self.state, record, lease, self._add_tokens)
        except (NotFoundError, ErasedError):
            await self.discard(record)
            raise
        if not await self.is_stored(record):
            raise DatabaseError(
                "the exchange was written, but is missing when it is read back",
                hint="is a trigger or a rule on the table? junkie doctor schema.tables",
                code="database_error",
            )

    async def is_stored(self, record: TurnRecord) -> bool:
        """Whether the turn's run can be read back as it ended: asked after the commit. Raises DatabaseError."""
        async with self._connections.statement() as connection:
            # The simple protocol takes one round trip instead of two; a UUID and a known word leave nothing to inject.
            done = await connection.execute(
                f"SELECT 1 FROM {self.state.qualified(RUNS)} WHERE run_id = '{UUID(record.run_id)}'"
                f" AND status = '{record.run.status}'"
            )
        return bool(done == "SELECT 1")

    async def discard(self, record: TurnRecord) -> None:
        """Delete what `open` stored of a turn that must not be stored. Raises DatabaseError."""
        async with self._connections.transaction() as connection:
            await turn_rows.discard_turn(connection, self.state, record)

    def keep(self, record: TurnRecord) -> str:
        """Keep nothing: a turn that the database did not store is lost."""
        return ""

    async def flush(self) -> Flushed:
        """Nothing is kept anywhere else."""
        return Flushed()

    async def settle(self, user_id: str | None) -> int:
        """Mark open turns CANCELLED whose process has ended; how many there were. Raises DatabaseError."""
        async with self._connections.transaction() as connection:
            return await runs.settle(connection, self.state, user_id)

    # -- memories ------------------------------------------------------------------------------------------------------

    async def candidates(self, user_id: str, message: str) -> tuple[MemoryEntry, ...]:
        """The memories that an extraction of `message` may be shown. Raises DatabaseError."""
        async with self._reading() as connection:
            return await read_candidates(connection, self.state, user_id, message, self._languages)

    async def search_memories(self, user_id: str, text: str, *, limit: int) -> list[MemoryEntry]:
        """The user's memories that match `text`, best first. Raises DatabaseError."""
        async with self._reading() as connection:
            return await search.search_memories(connection, self.state, user_id, text, self._languages, limit)

    async def search_exchanges(self, user_id: str, text: str, *, limit: int) -> list[Exchange]:
        """The user's exchanges that match `text`, best first. Raises DatabaseError."""
        async with self._reading() as connection:
            return await search.search_exchanges(connection, self.state, user_id, text, self._languages, limit)

    async def memories_in_context(self, user_id: str) -> int:
        """How many of the user's memories go into a prompt now."""
        found = await self.memories(user_id, limit=MOST_MEMORIES)
        return within_budget([shortened(entry) for entry in found], MEMORY_BUDGET)

    async def commit_memories(
        self,
        changes: Sequence[MemoryChange],
        pending_id: str | None,
        *,
        by: str,
        began: datetime | None = None,
        take: "Callable[[Connection], Awaitable[bool]] | None" = None,
    ) -> tuple[AppliedChange, ...] | None:
        """Make `changes` and complete the extraction, in one transaction; see `TurnStore`."""
        async with self._connections.transaction() as connection:
            began = began or await stored_text.database_time(connection)
            for user_id in sorted({change.user_id for change in changes if change.user_id}):
                # Before any row: an erasure, which holds this lock alone, waits for rows of its person.
                await connection.execute(LOCK_SHARED, stored_text.lock_name(self.state, user_id))
            if pending_id is not None and not await pending_rows.delete_pending(connection, self.state, pending_id):
                return None
            if take is not None and not await take(connection):
                return None
            for user_id in sorted({change.user_id for change in changes if change.user_id}):
                if by == "team":
                    changes = await without_outdated(connection, self.state, user_id, changes, began)
                changes = await without_duplicates(connection, self.state, user_id, changes, began)
            applied = await change_log.apply_changes(
                connection, self.state, changes, by=by, keep_days=self._history_days, began=began
            )
            await self._verify(connection, applied.changes)
        return applied.changes

    async def refresh_search(self, user_id: str) -> None:
        """Derive the words that the user's memories are found by; where that fails, their texts are searched."""
        with suppress(DatabaseError, ErasedError):
            async with self._connections.transaction() as connection:
                await search_words.refresh(connection, self.state, user_id, self._languages, search_words.BATCH)

    async def _verify(self, connection: "Connection", changes: Sequence[AppliedChange]) -> None:
        """Read memories back before the commit: afterwards other programs may change them.

        Deferred triggers have run by then. Raises DatabaseError, which rolls back the transaction.
        """
        last = {change.memory_id: change.action for change in changes}
        if not last:
            return
        await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        statement = f"""
            SELECT ARRAY(SELECT memory_id::text FROM {self.state.qualified(MEMORIES)}
                WHERE memory_id = ANY(:memory_ids::text[]))"""
        there = await connection.fetchval(*bind(statement, memory_ids=list(last)))
        if {memory_id for memory_id, action in last.items() if action != "deleted"} != set(there):
            raise DatabaseError(
                "memories were written, but differ when they are read back; none was changed",
                hint="is a trigger or a rule on the table? junkie doctor schema.tables",
                code="database_error",
            )

    # -- pending extractions -------------------------------------------------------------------------------------------

    async def record_failure(
        self, pending_id: str, error: str, *, retry_after: float = 0, outage: bool = False
    ) -> bool:
        """Record why an extraction failed, and when it may be tried again; True when it is set aside. DatabaseError."""
        async with self._connections.transaction() as connection:
            return await pending_rows.record_failure(
                connection, self.state, pending_id, error, retry_after=retry_after, outage=outage
            )

    async def claim_pending(self, user_id: str | None, passed_over: Sequence[str]) -> Pending | None:
        """The oldest extraction that is due and now belongs to this process, None when none is. DatabaseError."""
        async with self._connections.transaction() as connection:
            return await pending_rows.claim_pending(connection, self.state, user_id, passed_over)

    async def renew_pending(self, pending_id: str, lease: float) -> None:
        """Keep an extraction for this process for `lease` seconds more. Raises DatabaseError."""
        async with self._connections.transaction() as connection:
            await pending_rows.renew_lease(connection, self.state, pending_id, lease)

    async def release_pending(self, pending_id: str) -> None:
        """Give a claimed extraction back untried. Raises DatabaseError."""
        async with self._connections.transaction() as connection:
            await pending_rows.release_pending(connection, self.state, pending_id)

    async def make_due(self, user_id: str | None) -> None:
        """Make all pending extractions due now. Raises DatabaseError."""
        async with self._connections.transaction() as connection:
            await pending_rows.make_due(connection, self.state, user_id)

    async def drop_pending(self, pending_id: str) -> None:
        """Delete an extraction that must not be made any more. Raises DatabaseError."""
        async with self._connections.transaction() as connection:
            await pending_rows.delete_pending(connection, self.state, pending_id)

    async def count_pending(self, user_id: str | None) -> int:
        """How many extractions are pending, of one user or of all. Raises DatabaseError."""
        async with self._reading() as connection:
            return await pending_rows.count_pending(connection, self.state, user_id)


async def _retry_once_when_lost(work: Callable[[], Awaitable[T]]) -> T:
    """What `work` gives; once more where the connection is lost."""
    try:
        return await work()
    except DatabaseError as error:
        if error.code != "database_lost":
            raise
    return await work()
