"""Reads in one statement what a turn needs: its session, the last runs, and memories that fit the budget.

The size of the result does not grow with the number of turns or memories.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from junkie_cli.core.foreign_values import objects
from junkie_cli.core.postgres.sql import bind
from junkie_cli.core.ranking.query import Query
from junkie_cli.core.schema.tables import MEMORIES, RUNS, SESSIONS, SchemaState
from junkie_cli.core.turns.history import CONTEXT_STATUSES, last_answer
from junkie_cli.core.turns.memory_choice import MEMORY_BUDGET, MOST_MEMORIES, chosen, memories_sql, memory_values
from junkie_cli.core.turns.reads import check_owner, legacy_runs
from junkie_cli.core.turns.types import MemoryEntry, Reading, SessionRow, Turn

if TYPE_CHECKING:
    from junkie_cli.core.postgres.connection import Connection

CONTEXT_LENGTH = 2000
"""Characters of the assistant's last words that an extraction gets, counted from their end."""

_LATEST = "ORDER BY r.run_index DESC, r.created_at DESC, r.run_id DESC"


async def read_turn(
    connection: "Connection",
    state: SchemaState,
    user_id: str,
    session_id: str,
    message: str,
    reading: Reading,
    clock: str,
    languages: Sequence[str],
) -> Turn:
    """The turn as it begins. `clock` is SQL of the server's timeline. Raises NotFoundError for a foreign session."""
    query = Query.of(message, languages)
    most_runs = max(1, reading.history_runs)  # one even for none: an extraction needs the words that were answered
    row = await connection.fetchrow(
        *bind(
            _turn_statement(connection, state, reading, clock, query),
            user_id=user_id,
            session_id=session_id,
            heard=list(CONTEXT_STATUSES),
            most_runs=most_runs,
            **memory_values(query),
        )
    )
    assert row is not None
    check_owner(row["session_id"], row["user_id"], row["session_type"], user_id)
    runs = [objects(run) for run in reversed(row["runs"])]
    if len(runs) < most_runs and row["has_legacy_runs"]:
        runs = await legacy_runs(connection, state, user_id, session_id, most_runs - len(runs)) + runs
    memories, newest = chosen(row["memories"], query, reading.memory_budget) if row["memories"] else ((), 0)
    return Turn(
        user_id=user_id,
        session_id=session_id,
        run_id=str(uuid4()),
        message=message,
        began=row["began"],
        timeline=row["timeline"],
        session=_session(row),
        runs=tuple(runs[-reading.history_runs :] if reading.history_runs else ()),
        context=last_answer(runs)[-CONTEXT_LENGTH:],
        memories=memories,
        memories_left_out=newest + row["more_memories"] - len(memories),
    )


async def read_candidates(
    connection: "Connection", state: SchemaState, user_id: str, message: str, languages: Sequence[str]
) -> tuple[MemoryEntry, ...]:
    """The memories that an extraction of `message` may be shown."""
    query = Query.of(message, languages)
    statement = f"SELECT {memories_sql(state, query, encoding=connection.server_encoding)}"
    stored = await connection.fetchval(*bind(statement, user_id=user_id, **memory_values(query)))
    return chosen(stored, query, MEMORY_BUDGET)[0]


def _turn_statement(connection: "Connection", state: SchemaState, reading: Reading, clock: str, query: Query) -> str:
    memories = "NULL::text"
    if reading.memory_budget:
        memories = memories_sql(state, query, encoding=connection.server_encoding)
    more = _more_memories(state) if reading.memory_budget and reading.count_left_out else "0"
    # Runs are made into text after they were chosen: before, all of a long session's would be.
    return f"""
        SELECT clock_timestamp() AS began, {clock} AS timeline,
            s.session_id, s.user_id, s.session_type, s.team_id, s.created_at,
            s.session_data::text AS session_data, s.metadata::text AS metadata,
            {"s.runs IS NOT NULL" if state.has_runs_column else "false"} AS has_legacy_runs,
            ARRAY(
                SELECT r.run_data::text FROM (
                    SELECT r.* FROM {state.qualified(RUNS)} r
                    WHERE r.session_id = :session_id AND r.user_id = :user_id AND r.parent_run_id IS NULL
                        AND coalesce(r.status, 'COMPLETED') = ANY(:heard::text[])
                    {_LATEST} LIMIT :most_runs
                ) r {_LATEST}
            ) AS runs,
            {memories} AS memories, {more} AS more_memories
        FROM (SELECT 1) one LEFT JOIN {state.qualified(SESSIONS)} s ON s.session_id = :session_id"""


def _more_memories(state: SchemaState) -> str:
    """SQL of how many memories `:user_id` has beyond the newest."""
    table = state.qualified(MEMORIES)
    return f"(SELECT count(*) FROM (SELECT 1 FROM {table} m WHERE m.user_id = :user_id OFFSET {MOST_MEMORIES}) more)"


def _session(row: Any) -> SessionRow | None:
    if row["session_id"] is None:
        return None
    return SessionRow(
        session_id=row["session_id"],
        user_id=row["user_id"],
        team_id=row["team_id"],
        data=objects(row["session_data"]),
        metadata=objects(row["metadata"]) or None,
        created_at=row["created_at"],
    )
