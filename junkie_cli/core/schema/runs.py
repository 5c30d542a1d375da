"""Runs of every generation as one table: agno 3's `agent_sessions_runs`, and the `runs` column that agno 2 fills.

A run's own user says who spoke: in a shared channel it is not the session's. After an upgrade the old column stays
filled beside the new table; a run that is in both counts once.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from junkie_cli.core.foreign_values import as_time, seconds
from junkie_cli.core.postgres.sql import EPOCH_NOW, count_of
from junkie_cli.core.schema.tables import RUNS, SESSIONS, SchemaState, plain_json, transaction
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

RUNNING = "RUNNING"
"""Agno's status of a run that has not ended."""

LEASE = 120.0
"""Seconds that whoever answers or extracts has for itself before others take it for dead, and may try."""

AHEAD = {"junkie": "ahead"}
"""Metadata of a run that was written down before its answer was there: ours alone are settled, not a bot's."""


@frozen
class RunKey:
    """Which run: its session, its id, and when it was made (UTC)."""

    session_id: str
    run_id: str
    at: datetime | None


def table(state: SchemaState, *, data: bool = False, sessions: str = "true") -> str:
    """SQL of all runs: session_id, run_id, user_id, parent_run_id, status, created_at, position, and `data` as text.

    `sessions` is a condition on `agent_sessions AS s` (for the old column) and on `s.session_id` alone for the new
    table; a run of agno 2 that names no user was spoken by its session's.
    """
    parts = []
    if state.has(RUNS):
        payload = ", s.run_data::text AS data" if data else ""
        parts.append(
            "SELECT s.session_id, s.run_id, s.user_id, s.parent_run_id, s.status, s.created_at,"
            f" s.run_index AS position{payload} FROM {state.versioned(RUNS)} s WHERE {sessions}"
        )
    if state.has_runs_column:
        parts.append(_old_column(state, data, sessions))
    if not parts:
        names = ("session_id", "run_id", "user_id", "parent_run_id", "status", *(("data",) if data else ()))
        texts = ", ".join(f"NULL::text AS {name}" for name in names)
        parts.append(f"SELECT {texts}, NULL::bigint AS created_at, NULL::bigint AS position WHERE false")
    return "(" + " UNION ALL ".join(parts) + ")"


def _old_column(state: SchemaState, data: bool, sessions: str) -> str:
    run = state.safe_json("e.run", SESSIONS, "runs")
    payload = ", e.run::text AS data" if data else ""
    created_at = seconds(f"{run} ->> 'created_at'")
    unmoved = ""
    if state.has(RUNS):
        unmoved = f" AND NOT EXISTS (SELECT 1 FROM {state.qualified(RUNS)} t WHERE t.run_id = ({run} ->> 'run_id'))"
    return (
        f"SELECT s.session_id, {run} ->> 'run_id' AS run_id, coalesce({run} ->> 'user_id', s.user_id) AS user_id,"
        f" {run} ->> 'parent_run_id' AS parent_run_id, {run} ->> 'status' AS status,"
        f" {created_at} AS created_at, e.position - 1000000000 AS position{payload}"
        f" FROM {state.versioned(SESSIONS)} s, LATERAL {elements(state, 's.runs')} WHERE {sessions}{unmoved}"
    )


def elements(state: SchemaState, column: str) -> str:
    """SQL of the old column's runs: `e(run, position)`, position from 1; anything but a list has none."""
    kind = state.column_type(SESSIONS, "runs")
    return (
        f"{kind}_array_elements(CASE {kind}_typeof({column}) WHEN 'array' THEN {column} ELSE '[]' END)"
        " WITH ORDINALITY AS e(run, position)"
    )


async def settle(connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str | None = None) -> int:
    """Mark turns CANCELLED whose process ended before their answer did, of one user or of all; how many there were.

    Turns that gave a sign of life within a lease are left alone, and so is what others write. Should one of them come
    to its end after all, that is stored over this.
    """
    if not state.may("UPDATE", RUNS):
        return 0
    table = state.qualified(RUNS)
    dead = (
        f"r.status = '{RUNNING}' AND ($1::text IS NULL OR r.user_id = $1) AND r.run_data #>> '{{metadata,junkie}}'"
        f" = '{AHEAD['junkie']}' AND r.updated_at < {EPOCH_NOW} - {LEASE:.0f}"
    )
    async with transaction(connection):
        # Looked for first: a server that takes no writes is not asked for one in vain.
        found = await connection.fetch(f"SELECT r.run_id FROM {table} r WHERE {dead}", user_id)
        if not found:
            return 0
        kind = state.column_type(RUNS, "run_data")
        done = await connection.execute(
            f"UPDATE {table} r SET status = 'CANCELLED', updated_at = {EPOCH_NOW}, run_data ="
            " (r.run_data::jsonb - 'metadata' || '{\"status\": \"CANCELLED\"}')"
            f"::{kind} WHERE r.run_id = ANY($2::text[]) AND {dead}",
            user_id,
            [row["run_id"] for row in found],
        )
    return count_of(done)


async def find_by_message(
    connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str | None, message: str | None
) -> RunKey | None:
    """The latest run in which this user said `message`; None when there is none, or none is left."""
    if not message or not state.has(SESSIONS):
        return None
    # The bot's own turns of nobody are remembered for the user `default`.
    row = await connection.fetchrow(
        f"SELECT session_id, run_id, created_at FROM {table(state, data=True)} r"
        " WHERE (user_id = $1 OR ($1 IS NULL OR $1 = 'default') AND user_id IS NULL)"
        f" AND ({_safe_data(state)} -> 'input' ->> 'input_content') = $2 ORDER BY created_at DESC NULLS LAST LIMIT 1",
        user_id,
        message,
    )
    return None if row is None else RunKey(row["session_id"], row["run_id"], as_time(row["created_at"]))


def _safe_data(state: SchemaState) -> str:
    kinds = [state.column_type(SESSIONS, "runs")] if state.has_runs_column else []
    kinds += [state.column_type(RUNS, "run_data")] if state.has(RUNS) else []
    return plain_json("r.data::json") if "json" in kinds else "r.data::jsonb"
