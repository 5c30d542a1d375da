"""What a turn reads and writes, in our own SQL, in agno's tables: a session, its runs, and memories of one user.

A turn reads once, in one statement: its session, the last runs of it, and the memories that fit the budget; what comes
back does not grow with the number of turns. It is written once, in one transaction: session row, runs, and the
extraction that is owed for it.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from agno.db.utils import build_single_run_row
from agno.run.base import RunStatus
from agno.run.team import TeamRunOutput
from agno.session import TeamSession
from agno.team._session import update_session_metrics

from junkie_cli.core.agent.agno_adapter import Turn
from junkie_cli.core.errors import DatabaseError, NotFoundError
from junkie_cli.core.extraction.reply import LONGEST_MEMORY
from junkie_cli.core.foreign_values import document, objects
from junkie_cli.core.memories import change_log
from junkie_cli.core.memories.change_log import ErasedError, MemoryChange
from junkie_cli.core.memories.duplicates import without_duplicates
from junkie_cli.core.postgres.locks import LOCK_SHARED
from junkie_cli.core.postgres.sql import EPOCH_NOW
from junkie_cli.core.schema import runs, stored_text
from junkie_cli.core.schema.tables import MEMORIES, PENDING, RUNS, SESSIONS, SchemaState
from junkie_cli.core.turns import pending_rows, provisional_run
from junkie_cli.core.turns.connections import Connections
from junkie_cli.core.turns.history import HEARD, TEAM_ID, heard, last_answer, to_json, without_prompt
from junkie_cli.core.turns.pending_rows import Pending
from junkie_cli.core.turns.ranking import choose, patterns_of, stems_of, within_budget
from junkie_cli.core.turns.reads import ENTRY, NEWEST, Lookups, check_owner, legacy_runs, memory_entry
from junkie_cli.core.turns.types import MemoryEntry, shortened
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    from junkie_cli.core.postgres.connection import Connection


MEMORY_BUDGET = 2000
"""Tokens, about, that memories may take of a prompt: on 8,000 a minute (Groq's free tier) one can still talk."""

MOST_MEMORIES = 300
"""Newest memories looked at for a prompt; more would not fit the budget however short they are."""

MOST_NEAR = 60
"""Older memories looked at for a prompt because they share words with the message."""

MOST_SEARCHED = 10_000
"""Memories, behind the newest, that are searched for those words: a few milliseconds."""

_LATEST = "ORDER BY r.run_index DESC, r.created_at DESC, r.run_id DESC"

CONTEXT_LENGTH = 2000
"""Characters of the assistant's last words that an extraction gets, counted from their end."""


@frozen
class Reading:
    """How much a turn reads: the last `history_runs` runs, and memories of about `memory_budget` tokens (0: none).

    Those left out for lack of room are counted only if `count_left_out`: that takes a look at all of them.
    """

    history_runs: int
    memory_budget: int
    count_left_out: bool = True


class Records(Lookups):
    """The conversation's rows in one schema of one database."""

    def __init__(self, connections: Connections, state: SchemaState, *, history_days: int) -> None:
        super().__init__(connections, state)
        self._history_days = history_days
        self._timeline = "''"

    async def look_for_timeline(self, connection: "Connection") -> None:
        """Have turns keep the server's timeline if it tells it: not all that speak as PostgreSQL do."""
        from asyncpg import PostgresError

        with suppress(PostgresError):
            async with connection.transaction():
                await connection.fetchval(f"SELECT {provisional_run.TIMELINE}")
                self._timeline = f"CASE WHEN pg_is_in_recovery() THEN '' ELSE {provisional_run.TIMELINE} END"

    @property
    def keeps_pending(self) -> bool:
        """Whether extractions can be written down before they are tried: our table is there and may be written."""
        return all(self.state.may(right, PENDING) for right in ("INSERT", "UPDATE", "DELETE"))

    # -- reading -------------------------------------------------------------------------------------------------------

    async def begin(self, user_id: str, session_id: str, message: str, reading: Reading) -> Turn:
        """Read what the turn needs. Raises NotFoundError for somebody else's session, DatabaseError.

        A connection that is lost here has done nothing yet: it is tried once more.
        """
        try:
            return await self._begin(user_id, session_id, message, reading)
        except DatabaseError as error:
            if error.code != "database_lost":
                raise
        return await self._begin(user_id, session_id, message, reading)

    async def _begin(self, user_id: str, session_id: str, message: str, reading: Reading) -> Turn:
        limit = max(1, reading.history_runs)  # one even for none: an extraction needs the words that were answered
        limits = (LONGEST_MEMORY + 1, patterns_of(stems_of(message))) if reading.memory_budget else ()
        async with self._connections.statement() as connection:
            row = await connection.fetchrow(
                self._begin_statement(reading), session_id, user_id, list(HEARD), limit, *limits
            )
            assert row is not None
            check_owner(row["session_id"], row["user_id"], row["session_type"], user_id)
            said = [objects(run) for run in reversed(row["runs"])]
            if len(said) < limit and row["has_legacy_runs"]:
                said = await legacy_runs(connection, self.state, user_id, session_id, limit - len(said)) + said
        found = [shortened(memory_entry(entry)) for entry in json.loads(row["memories"])]
        memories = choose(found, message, reading.memory_budget)
        return Turn(
            user_id=user_id,
            session_id=session_id,
            run_id=str(uuid4()),
            message=message,
            began=row["began"],
            timeline=row["timeline"],
            session=_session(row, said[-reading.history_runs :] if reading.history_runs else []),
            context=last_answer(said)[-CONTEXT_LENGTH:],
            memories=memories,
            memories_left_out=min(len(found), MOST_MEMORIES) + row["more_memories"] - len(memories),
        )

    def _begin_statement(self, reading: Reading) -> str:
        state = self.state
        memories, more = self._memories_sql() if reading.memory_budget else ("'[]'", "0")
        if not reading.count_left_out:
            more = "0"
        return (
            f"SELECT clock_timestamp() AS began, {self._timeline} AS timeline,"
            " s.session_id, s.user_id, s.session_type, s.team_id, s.created_at,"
            " s.session_data::text AS session_data, s.metadata::text AS metadata,"
            f" {'s.runs IS NOT NULL' if state.has_runs_column else 'false'} AS has_legacy_runs,"
            # Made into text after they were chosen: before, all of a long session's would be.
            f" ARRAY(SELECT r.run_data::text FROM (SELECT r.* FROM {state.qualified(RUNS)} r WHERE r.session_id = $1"
            " AND r.user_id = $2 AND r.parent_run_id IS NULL AND coalesce(r.status, 'COMPLETED') = ANY($3::text[])"
            f" {_LATEST} LIMIT $4) r {_LATEST}) AS runs,"
            f" {memories} AS memories, {more} AS more_memories"
            f" FROM (SELECT 1) one LEFT JOIN {state.qualified(SESSIONS)} s ON s.session_id = $1"
        )

    def _memories_sql(self) -> tuple[str, str]:
        """SQL of the candidates for a prompt (a JSON array), and of how many memories there are beside them.

        $2 is the user, $5 characters of a memory; beyond the MOST_MEMORIES newest, up to MOST_NEAR of the next
        MOST_SEARCHED are taken that are LIKE any of $6 (NULL: none), those that are like most of them first.
        """
        text = "left(m.memory #>> '{}', $5)"
        # Made into JSON after they were chosen: before, all of the user's would be.
        entry = f"json_build_array({ENTRY.format(text=text)})"
        newest = f"SELECT {entry} FROM {self.newest_memories('m.user_id = $2', str(MOST_MEMORIES))} {NEWEST}"
        next_ones = self.newest_memories(
            "m.user_id = $2 AND $6::text[] IS NOT NULL", str(MOST_SEARCHED), offset=MOST_MEMORIES
        )
        likenesses = f"(SELECT count(*) FROM unnest($6::text[]) stem WHERE lower({text}) LIKE stem)"
        near = (
            f"SELECT {entry} FROM {next_ones} WHERE lower({text}) LIKE ANY($6::text[])"
            f" ORDER BY {likenesses} DESC LIMIT {MOST_NEAR}"
        )
        table = self.state.qualified(MEMORIES)
        more = f"SELECT count(*) FROM (SELECT 1 FROM {table} m WHERE m.user_id = $2 OFFSET {MOST_MEMORIES}) more"
        return f"array_to_json(ARRAY({newest}) || ARRAY({near}))::text", f"({more})"

    async def known(self, user_id: str, message: str) -> tuple[MemoryEntry, ...]:
        """The candidates that an extraction of `message` is shown a choice of. Raises DatabaseError."""
        memories, _ = self._memories_sql()
        async with self._reading() as connection:
            found = await connection.fetchval(
                f"SELECT {memories} FROM (SELECT $1::text, $3::text, $4::text) unused",
                *(None, user_id, None, None, LONGEST_MEMORY + 1, patterns_of(stems_of(message))),
            )
        candidates = [shortened(memory_entry(entry)) for entry in json.loads(found)]
        return choose(candidates, message, MEMORY_BUDGET)

    async def memories_in_context(self, user_id: str) -> int:
        """How many of the user's memories go into a prompt now."""
        found = await self.memories(user_id, limit=MOST_MEMORIES)
        return len(within_budget([shortened(entry) for entry in found], MEMORY_BUDGET))

    # -- writing -------------------------------------------------------------------------------------------------------

    async def write_ahead(self, turn: Turn, run: TeamRunOutput, *, pending: Pending | None, lease: float = 0) -> bool:
        """Write the turn down with `run`, which has no answer yet, and what is owed for it, in one transaction.

        Whatever is there stays as it is. False when the turn must not be stored, or has ended already: its end tells.
        A connection that is lost here is tried once more, so that a session which is missing at the end was deleted.
        Raises ErasedError, DatabaseError.
        """
        try:
            return await self._write_ahead(turn, run, pending, lease)
        except DatabaseError as error:
            if error.code != "database_lost":
                raise
        return await self._write_ahead(turn, run, pending, lease)

    async def _write_ahead(self, turn: Turn, run: TeamRunOutput, pending: Pending | None, lease: float) -> bool:
        async with self._connections.transaction() as connection:
            return await provisional_run.write_ahead(connection, self.state, turn, run, pending, lease)

    async def stay_alive(self, run_id: str, *, pending: Pending | None, lease: float) -> None:
        """Show that a turn written ahead is still under way. Raises DatabaseError."""
        async with self._connections.transaction() as connection:
            await provisional_run.stay_alive(connection, self.state, run_id, pending, lease)

    async def settle(self, user_id: str | None) -> int:
        """Mark turns CANCELLED that were killed before their answer was whole; how many. Raises DatabaseError."""
        async with self._connections.transaction() as connection:
            return await runs.settle(connection, self.state, user_id)

    async def store(self, turn: Turn, *, pending: Pending | None, lease: float = 0) -> None:
        """Write the turn's session row, its runs and what is owed for it, in one transaction; again changes nothing.

        For `lease` seconds the extraction is this process' own.

        Raises NotFoundError when the session is another user's or was deleted since the turn began, ErasedError when
        the user was erased since, DatabaseError. What was written ahead of a turn that must not be stored is gone then.
        """
        try:
            async with self._connections.transaction() as connection:
                await self._store(connection, turn, pending, lease)
        except (NotFoundError, ErasedError):
            async with self._connections.transaction() as connection:
                await provisional_run.withdraw(connection, self.state, turn, pending)
            raise

    async def _store(self, connection: "Connection", turn: Turn, pending: Pending | None, lease: float) -> None:
        assert turn.run is not None
        if pending is None:
            await change_log.guard_user(connection, self.state, turn.user_id, began=turn.began)
        else:
            await pending_rows.write_pending(
                connection, self.state, pending, began=turn.began, lease=lease, unless_stored=True
            )
        await provisional_run.lock_session(connection, turn.session_id)
        row = await connection.fetchrow(
            f"SELECT {provisional_run.next_index(self.state, '$1::text')} AS index, r.status FROM (SELECT 1) one"
            f" LEFT JOIN {self.state.qualified(RUNS)} r ON r.run_id = $2",
            turn.session_id,
            turn.run_id,
        )
        assert row is not None
        await self._store_session(connection, turn, counted=row["status"] == _status(turn))
        # The turn's own run first: written ahead, it has its place already, before those of its members.
        first = row["index"] - (row["status"] is not None)
        for offset, run in enumerate([turn.run, *turn.member_runs]):
            await self._store_run(connection, turn, run, first + offset)

    async def _store_session(self, connection: "Connection", turn: Turn, *, counted: bool) -> None:
        """Write the session's row, with the run's tokens added unless they are `counted` there already."""
        table = self.state.qualified(SESSIONS)
        row = await connection.fetchrow(
            "SELECT session_id, user_id, session_type, session_data::text AS session_data"
            f" FROM {table} WHERE session_id = $1 FOR UPDATE",
            turn.session_id,
        )
        if row is None:
            await self._insert_session(connection, turn)
            return
        check_owner(row["session_id"], row["user_id"], row["session_type"], turn.user_id)
        await connection.execute(
            f"UPDATE {table} SET session_data = $2::text::{self.state.column_type(SESSIONS, 'session_data')},"
            f" updated_at = {EPOCH_NOW} WHERE session_id = $1",
            turn.session_id,
            row["session_data"] if counted else _session_data(turn, row["session_data"]),
        )

    async def _insert_session(self, connection: "Connection", turn: Turn) -> None:
        # Missing, it was deleted; or it had not reached the server that took over meanwhile.
        if turn.session_begun and not await provisional_run.has_changed_server(connection, turn):
            raise NotFoundError(
                f"session {turn.session_id} was deleted during this turn, which is therefore not stored",
                hint="begin a new session",
                code="session_deleted",
            )
        data, team = (self.state.column_type(SESSIONS, column) for column in ("session_data", "team_data"))
        await connection.execute(
            f"INSERT INTO {self.state.qualified(SESSIONS)} (session_id, session_type, team_id, user_id, session_data,"
            f" team_data, created_at, updated_at) VALUES ($1, 'team', $2, $3, $4::text::{data}, $5::text::{team},"
            f" {EPOCH_NOW}, {EPOCH_NOW})",
            turn.session_id,
            TEAM_ID,
            turn.user_id,
            _session_data(turn, None),
            to_json(turn.session_row.get("team_data")),
        )

    async def _store_run(self, connection: "Connection", turn: Turn, run: Any, index: int) -> None:
        row = build_single_run_row(run=run, session_id=turn.session_id, user_id=turn.user_id, run_index=index)
        done = await connection.execute(
            f"INSERT INTO {self.state.qualified(RUNS)} AS r (run_id, session_id, run_type, agent_id, team_id, user_id,"
            " parent_run_id, status, run_index, run_data, created_at, updated_at)"
            f" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::{self.state.column_type(RUNS, 'run_data')},"
            f" $11, {EPOCH_NOW}) ON CONFLICT (run_id) DO UPDATE SET status = excluded.status,"
            " run_data = excluded.run_data, updated_at = excluded.updated_at"
            " WHERE r.user_id = excluded.user_id AND r.session_id = excluded.session_id",
            row["run_id"],
            row["session_id"],
            row["run_type"],
            row["agent_id"],
            row["team_id"],
            row["user_id"],
            row["parent_run_id"],
            row["status"],
            row["run_index"],
            to_json(without_prompt(row["run_data"])),
            int(row["created_at"]),
        )
        if done != "INSERT 0 1":
            raise DatabaseError(
                f"run {row['run_id']} could not be stored",
                hint="is a trigger or a rule on the table? junkie doctor schema.tables",
                code="database_error",
            )

    async def is_stored(self, turn: Turn) -> bool:
        """Whether the turn's run can be read back as it ended: asked after the commit, alone. Raises DatabaseError."""
        async with self._connections.statement() as connection:
            # The simple protocol takes one round trip instead of two; UUID() leaves nothing to inject.
            done = await connection.execute(
                f"SELECT 1 FROM {self.state.qualified(RUNS)} WHERE run_id = '{UUID(turn.run_id)}'"
                f" AND status = '{_status(turn)}'"
            )
        return bool(done == "SELECT 1")

    async def commit_memories(
        self,
        changes: Sequence[MemoryChange],
        pending_id: str | None,
        *,
        by: str,
        began: datetime | None = None,
        take: "Callable[[Connection], Awaitable[bool]] | None" = None,
    ) -> tuple[change_log.AppliedChange, ...] | None:
        """Make `changes` of one user and strike the extraction off, in one transaction, and read them back.

        What another memory of the user says already, or was deleted since `began`, is left out (see `duplicates`).

        `began` is when the database's clock stood at what is remembered (None: now). None when another process had
        done this extraction meanwhile, or `take`, which runs in the transaction, says so. Raises OwnershipError,
        ErasedError, DatabaseError.
        """
        async with self._connections.transaction() as connection:
            began = began or await stored_text.database_time(connection)
            for user_id in sorted({change.user_id for change in changes if change.user_id}):
                # Before any row: an erasure, which holds this lock alone, waits for rows of its person.
                await connection.execute(LOCK_SHARED, stored_text.lock_name(self.state, user_id))
            if pending_id is not None and not await pending_rows.strike_off(connection, self.state, pending_id):
                return None
            if take is not None and not await take(connection):
                return None
            for user_id in sorted({change.user_id for change in changes if change.user_id}):
                changes = await without_duplicates(connection, self.state, user_id, changes, began)
            applied = await change_log.apply_changes(
                connection, self.state, changes, by=by, keep_days=self._history_days, began=began
            )
        await self._verify(applied.changes)
        return applied.changes

    async def _verify(self, changes: Sequence[change_log.AppliedChange]) -> None:
        last = {change.memory_id: change.action for change in changes}
        if not last:
            return
        async with self._reading() as connection:
            there = await connection.fetchval(
                f"SELECT ARRAY(SELECT memory_id::text FROM {self.state.qualified(MEMORIES)}"
                " WHERE memory_id = ANY($1::text[]))",
                list(last),
            )
        if {memory_id for memory_id, action in last.items() if action != "deleted"} != set(there):
            raise DatabaseError(
                "memories were written, and are not so when they are read back",
                hint="another program may be changing them: junkie memories history",
                code="database_error",
            )

    # -- what is owed --------------------------------------------------------------------------------------------------

    async def record_failure(
        self, pending_id: str, error: str, *, retry_after: float = 0, outage: bool = False
    ) -> bool:
        """Note why an extraction failed, and when it may be tried again; True when it is set aside. DatabaseError."""
        async with self._connections.transaction() as connection:
            return await pending_rows.record_failure(
                connection, self.state, pending_id, error, retry_after=retry_after, outage=outage
            )

    async def claim(self, user_id: str | None, passed_over: Sequence[str]) -> Pending | None:
        """The oldest extraction that is due and is now this process', None when none is. Raises DatabaseError."""
        async with self._connections.transaction() as connection:
            return await pending_rows.claim_pending(connection, self.state, user_id, passed_over)

    async def renew_lease(self, pending_id: str, lease: float) -> None:
        """Keep an extraction this process' own for `lease` seconds more."""
        async with self._connections.transaction() as connection:
            await pending_rows.renew_lease(connection, self.state, pending_id, lease)

    async def release(self, pending_id: str) -> None:
        """Give a claim back untried. Raises DatabaseError."""
        async with self._connections.transaction() as connection:
            await pending_rows.release_pending(connection, self.state, pending_id)

    async def make_due(self, user_id: str | None) -> None:
        """Have all that is owed tried again at once. Raises DatabaseError."""
        async with self._connections.transaction() as connection:
            await pending_rows.make_due(connection, self.state, user_id)

    async def drop_pending(self, pending_id: str) -> None:
        """Strike an extraction off that must not be made any more. Raises DatabaseError."""
        async with self._connections.transaction() as connection:
            await pending_rows.strike_off(connection, self.state, pending_id)

    async def count_pending(self, user_id: str | None) -> int:
        """How many extractions are owed, of one user or of all. Raises DatabaseError."""
        async with self._reading() as connection:
            count: int = await connection.fetchval(
                f"SELECT count(*) FROM {self.state.qualified(PENDING)} WHERE $1::text IS NULL OR user_id = $1", user_id
            )
        return count


def _status(turn: Turn) -> str:
    assert turn.run is not None
    return RunStatus(turn.run.status).value


def _session(row: Any, runs: list[dict[str, Any]]) -> TeamSession | None:
    if row["session_id"] is None:
        return None
    return TeamSession(
        session_id=row["session_id"],
        team_id=row["team_id"],
        user_id=row["user_id"],
        session_data=objects(row["session_data"]),
        metadata=objects(row["metadata"]) or None,
        created_at=row["created_at"],
        runs=[run for run in map(heard, runs) if run is not None],
    )


def _session_data(turn: Turn, stored: str | None) -> str | None:
    """The session's data as it is in the table now, with this run's tokens added: a name given meanwhile stays.

    What another program keeps there in a shape of its own stays as it is, and the tokens are not counted.
    """
    assert turn.run is not None
    data = document(stored, unreadable=stored)
    if not isinstance(data, dict | None):
        return stored
    now = TeamSession(session_id=turn.session_id, session_data=data or {})
    try:
        update_session_metrics(None, session=now, run_response=turn.run)  # type: ignore[arg-type]  # the team is unused
    except (TypeError, ValueError, AttributeError, KeyError):
        return stored
    return to_json(now.session_data)
