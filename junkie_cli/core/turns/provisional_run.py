"""A turn written down before its answer is there, so that a kill in mid-answer costs neither message nor memory.

Under the locks that every writer of a turn takes, one statement writes the session's row, the run without an answer
and the extraction that is owed for it; all of them or none. What is there already stays: nothing that came to its end
is ever undone by this.
"""

from typing import TYPE_CHECKING

from agno.run.team import TeamRunOutput

from junkie_cli.core.agent.agno_adapter import Turn
from junkie_cli.core.memories import change_log
from junkie_cli.core.postgres.sql import EPOCH_NOW
from junkie_cli.core.schema.runs import RUNNING, elements
from junkie_cli.core.schema.tables import RUNS, SESSIONS, SchemaState
from junkie_cli.core.turns import pending_rows
from junkie_cli.core.turns.history import TEAM_ID, to_json
from junkie_cli.core.turns.pending_rows import Pending

if TYPE_CHECKING:
    from junkie_cli.core.postgres.connection import Connection


TIMELINE = "left(pg_walfile_name(pg_current_wal_lsn()), 8)"
"""SQL of the server's timeline: a standby that is promoted begins a new one. An error on one that is not."""


async def has_changed_server(connection: "Connection", turn: Turn) -> bool:
    """Whether another server took over since the turn began: what this one lacks may not have reached it."""
    return bool(turn.timeline) and turn.timeline != await connection.fetchval(f"SELECT {TIMELINE}")


async def lock_session(connection: "Connection", session_id: str) -> None:
    """Hold, to the transaction's end, the key with which agno's own adapter guards run_index: a bot waits for us."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('agno_run_index'), hashtext($1))", session_id)


def next_index(state: SchemaState, session: str) -> str:
    """SQL of the next run_index of `session` (SQL, too); right only while its lock is held."""
    first = "0"
    if state.has_runs_column:  # behind the runs that agno 2 keeps there, should they be moved some day
        old = f"{state.qualified(SESSIONS)} s, LATERAL {elements(state, 's.runs')}"
        first = f"(SELECT count(*) FROM {old} WHERE s.session_id = {session})"
    return (
        f"(SELECT greatest(coalesce(max(r.run_index) + 1, 0), {first})"
        f" FROM {state.qualified(RUNS)} r WHERE r.session_id = {session})"
    )


async def write_ahead(
    connection: "Connection", state: SchemaState, turn: Turn, run: TeamRunOutput, pending: Pending | None, lease: float
) -> bool:
    """Write the turn down with `run`, in the caller's transaction, and say whether it is there now, not yet ended.

    It is not when the session is somebody else's, or was deleted since the turn began; one that is missing on another
    timeline was lost, and is begun anew. The extraction is this process' own for `lease` seconds. Raises ErasedError.
    """
    await change_log.guard_user(connection, state, turn.user_id, began=turn.began)
    await lock_session(connection, turn.session_id)
    owed = pending_rows.pending_arguments(pending, lease) if pending is not None else []
    there: bool = await connection.fetchval(
        _statement(state, owed=bool(owed)),
        turn.user_id,
        turn.session_id,
        TEAM_ID,
        to_json(turn.session_row.get("team_data")),
        not turn.session_begun,
        turn.run_id,
        to_json(run.to_dict()),
        run.created_at,
        turn.timeline,
        *owed,
    )
    return there


def _statement(state: SchemaState, *, owed: bool) -> str:
    """SQL of `write_ahead`: $1 user, $2 session, $3 team, $4 its data, $5 whether the session is new, $6 run, $7 its
    data, $8 its time, $9 the timeline, $10 and on the extraction.
    """
    parts = [_session(state), f"run AS ({_run(state)})"]
    if owed:
        parts.append(f"owed AS ({pending_rows.pending_insert(state, first=10, source=' FROM run')})")
    there = f"SELECT 1 FROM {state.qualified(RUNS)} WHERE run_id = $6::text AND status = '{RUNNING}'"
    return f"WITH {', '.join(parts)} SELECT EXISTS (SELECT 1 FROM run) OR EXISTS ({there})"


def _session(state: SchemaState) -> str:
    # One that is there is only updated: an insertion that meets a row which is being deleted waits, and then brings it
    # back.
    table = state.qualified(SESSIONS)
    data, team = (state.column_type(SESSIONS, column) for column in ("session_data", "team_data"))
    new = f"($5::bool OR ($9::text <> '' AND {TIMELINE} <> $9::text))"
    kept = (
        f"UPDATE {table} SET updated_at = {EPOCH_NOW} WHERE NOT {new} AND session_id = $2::text"
        " AND user_id = $1::text AND session_type = 'team' RETURNING session_id"
    )
    begun = (
        f"INSERT INTO {table} AS s (session_id, session_type, team_id, user_id, session_data, team_data, created_at,"
        f" updated_at) SELECT $2::text, 'team', $3::text, $1::text, '{{}}'::{data}, $4::text::{team}, {EPOCH_NOW},"
        f" {EPOCH_NOW} WHERE {new} ON CONFLICT (session_id) DO UPDATE SET updated_at = excluded.updated_at"
        " WHERE s.user_id = excluded.user_id AND s.session_type = excluded.session_type RETURNING session_id"
    )
    return f"kept AS ({kept}), begun AS ({begun}), talk AS (TABLE kept UNION ALL TABLE begun)"


def _run(state: SchemaState) -> str:
    return (
        f"INSERT INTO {state.qualified(RUNS)} (run_id, session_id, run_type, team_id, user_id, status, run_index,"
        f" run_data, created_at, updated_at) SELECT $6::text, $2::text, 'team', $3::text, $1::text, '{RUNNING}',"
        f" {next_index(state, '$2::text')}, $7::text::{state.column_type(RUNS, 'run_data')}, $8::bigint, {EPOCH_NOW}"
        " FROM talk ON CONFLICT DO NOTHING RETURNING run_id"
    )


async def stay_alive(
    connection: "Connection", state: SchemaState, run_id: str, pending: Pending | None, lease: float
) -> None:
    """Show that the turn is still under way, and keep its extraction this process' own for `lease` seconds more."""
    await connection.execute(
        f"UPDATE {state.qualified(RUNS)} SET updated_at = {EPOCH_NOW} WHERE run_id = $1 AND status = '{RUNNING}'",
        run_id,
    )
    if pending is not None:
        await pending_rows.renew_lease(connection, state, pending.pending_id, lease)


async def withdraw(connection: "Connection", state: SchemaState, turn: Turn, pending: Pending | None) -> None:
    """Take back what was written ahead of a turn that must not be stored."""
    await connection.execute(
        f"DELETE FROM {state.qualified(RUNS)} WHERE run_id = $1 AND user_id = $2 AND status = '{RUNNING}'",
        turn.run_id,
        turn.user_id,
    )
    if pending is not None:
        await pending_rows.strike_off(connection, state, pending.pending_id)
