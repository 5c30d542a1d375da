"""Rows of a turn: its session, its runs, its pending extraction. Each function runs in the caller's transaction.

A turn is opened without an answer, so that a kill in mid-answer costs neither message nor memory: under the locks that
every writer of a turn takes, one statement writes the session's row, the run without an answer and the pending
extraction; all of them or none. What is there already stays: nothing that has ended is ever undone by it.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from junkie_cli.core.errors import DatabaseError, NotFoundError
from junkie_cli.core.foreign_values import document, objects
from junkie_cli.core.memories import change_log
from junkie_cli.core.postgres.sql import EPOCH_NOW, bind
from junkie_cli.core.schema.runs import RUNNING, elements
from junkie_cli.core.schema.tables import RUNS, SESSIONS, SchemaState
from junkie_cli.core.turns import pending_rows
from junkie_cli.core.turns.history import TEAM_ID, to_json
from junkie_cli.core.turns.reads import check_owner
from junkie_cli.core.turns.types import RunRow, TurnRecord

if TYPE_CHECKING:
    from junkie_cli.core.postgres.connection import Connection

AddTokens: TypeAlias = Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]
"""Gives a session's data with the tokens of a run added. Raises TypeError, ValueError, AttributeError, KeyError."""

TIMELINE = "left(pg_walfile_name(pg_current_wal_lsn()), 8)"
"""SQL of the server's timeline: a standby that is promoted begins a new one. An error on one that is not."""


# --- opening ----------------------------------------------------------------------------------------------------------


async def open_turn(connection: "Connection", state: SchemaState, record: TurnRecord, lease: float) -> bool:
    """Store a turn without an answer; whether it is stored now and has not ended.

    False if the session is another user's, or was deleted since the turn began. A session that is missing on another
    timeline was lost by a failover, and is created again. For `lease` seconds the extraction belongs to this process.
    Raises ErasedError.
    """
    await change_log.lock_user(connection, state, record.user_id, began=record.began)
    await _lock_session(connection, record.session_id)
    values = _turn_values(record) | _run_values(record.run)
    if record.pending is not None:
        values |= pending_rows.pending_values(record.pending, lease)
    there: bool = await connection.fetchval(*bind(_open_statement(state, pending=record.pending is not None), **values))
    return there


def _open_statement(state: SchemaState, *, pending: bool) -> str:
    sessions, runs = state.qualified(SESSIONS), state.qualified(RUNS)
    data, team = (state.column_type(SESSIONS, column) for column in ("session_data", "team_data"))
    is_new = f"(NOT :session_exists::bool OR (:timeline::text <> '' AND {TIMELINE} <> :timeline::text))"
    extraction = f", pending AS ({pending_rows.insert_statement(state, 'FROM run')})" if pending else ""
    # A session that is there is only updated: an insertion that meets a row which is being deleted waits, and then
    # brings it back.
    return f"""WITH kept AS (
            UPDATE {sessions} SET updated_at = {EPOCH_NOW}
            WHERE NOT {is_new} AND session_id = :session_id::text AND user_id = :user_id::text
                AND session_type = 'team'
            RETURNING session_id
        ), begun AS (
            INSERT INTO {sessions} AS s (session_id, session_type, team_id, user_id, session_data, team_data,
                created_at, updated_at)
            SELECT :session_id::text, 'team', :team::text, :user_id::text, '{{}}'::{data}, :team_data::text::{team},
                {EPOCH_NOW}, {EPOCH_NOW}
            WHERE {is_new}
            ON CONFLICT (session_id) DO UPDATE SET updated_at = excluded.updated_at
                WHERE s.user_id = excluded.user_id AND s.session_type = excluded.session_type
            RETURNING session_id
        ), session AS (
            TABLE kept UNION ALL TABLE begun
        ), run AS (
            INSERT INTO {runs} (run_id, session_id, run_type, team_id, user_id, status, run_index, run_data,
                created_at, updated_at)
            SELECT :run_id::text, :session_id::text, :run_type::text, :run_team::text, :user_id::text, :status::text,
                {_next_index(state)}, :data::text::{state.column_type(RUNS, "run_data")}, :created_at::bigint,
                {EPOCH_NOW}
            FROM session ON CONFLICT DO NOTHING
            RETURNING run_id
        ){extraction}
        SELECT EXISTS (SELECT 1 FROM run)
            OR EXISTS (SELECT 1 FROM {runs} WHERE run_id = :run_id::text AND status = '{RUNNING}')"""


async def renew_turn(connection: "Connection", state: SchemaState, record: TurnRecord, lease: float) -> None:
    """Show that the turn is still running, and keep its extraction for this process for `lease` seconds more."""
    statement = f"""
        UPDATE {state.qualified(RUNS)} SET updated_at = {EPOCH_NOW} WHERE run_id = :run_id AND status = '{RUNNING}'"""
    await connection.execute(*bind(statement, run_id=record.run_id))
    if record.pending is not None:
        await pending_rows.renew_lease(connection, state, record.pending.pending_id, lease)


async def discard_turn(connection: "Connection", state: SchemaState, record: TurnRecord) -> None:
    """Delete what was opened of a turn that must not be stored."""
    statement = f"""
        DELETE FROM {state.qualified(RUNS)} WHERE run_id = :run_id AND user_id = :user_id AND status = '{RUNNING}'"""
    await connection.execute(*bind(statement, run_id=record.run_id, user_id=record.user_id))
    if record.pending is not None:
        await pending_rows.delete_pending(connection, state, record.pending.pending_id)


# --- completing -------------------------------------------------------------------------------------------------------


async def complete_turn(
    connection: "Connection", state: SchemaState, record: TurnRecord, lease: float, add_tokens: AddTokens
) -> None:
    """Write the turn's session row, its runs and its pending extraction; doing it again changes nothing.

    Raises NotFoundError when the session is another user's or was deleted since the turn began, ErasedError.
    """
    await change_log.lock_user(connection, state, record.user_id, began=record.began)
    if record.pending is not None:
        await pending_rows.write_with_run(connection, state, record.pending, lease)
    await _lock_session(connection, record.session_id)
    place = f"""
        SELECT {_next_index(state)} AS index, r.status FROM (SELECT 1) one
        LEFT JOIN {state.qualified(RUNS)} r ON r.run_id = :run_id"""
    row = await connection.fetchrow(*bind(place, session_id=record.session_id, run_id=record.run_id))
    assert row is not None
    await _store_session(connection, state, record, add_tokens, is_counted=row["status"] == record.run.status)
    # The turn's own run first: opened, it has its place already, before those of its members.
    first = row["index"] - (row["status"] is not None)
    for offset, run in enumerate(record.runs):
        await _store_run(connection, state, record, run, first + offset)


async def _store_session(
    connection: "Connection", state: SchemaState, record: TurnRecord, add_tokens: AddTokens, *, is_counted: bool
) -> None:
    """Write the session's row, with the run's tokens added unless they are counted there already."""
    table = state.qualified(SESSIONS)
    found = f"""
        SELECT session_id, user_id, session_type, session_data::text AS session_data FROM {table}
        WHERE session_id = :session_id FOR UPDATE"""
    row = await connection.fetchrow(*bind(found, session_id=record.session_id))
    if row is None:
        await _insert_session(connection, state, record, add_tokens)
        return
    check_owner(row["session_id"], row["user_id"], row["session_type"], record.user_id)
    update = f"""
        UPDATE {table} SET session_data = :data::text::{state.column_type(SESSIONS, "session_data")},
            updated_at = {EPOCH_NOW}
        WHERE session_id = :session_id"""
    data = row["session_data"] if is_counted else _session_data(record, row["session_data"], add_tokens)
    await connection.execute(*bind(update, session_id=record.session_id, data=data))


async def _insert_session(
    connection: "Connection", state: SchemaState, record: TurnRecord, add_tokens: AddTokens
) -> None:
    # Missing, it was deleted; or it had not reached the server that took over meanwhile.
    if record.session_exists and not await _has_changed_server(connection, record):
        raise NotFoundError(
            f"session {record.session_id} was deleted during this turn, which is therefore not stored",
            hint="begin a new session",
            code="session_deleted",
        )
    data, team = (state.column_type(SESSIONS, column) for column in ("session_data", "team_data"))
    statement = f"""
        INSERT INTO {state.qualified(SESSIONS)} (session_id, session_type, team_id, user_id, session_data, team_data,
            created_at, updated_at)
        VALUES (:session_id, 'team', :team, :user_id, :data::text::{data}, :team_data::text::{team}, {EPOCH_NOW},
            {EPOCH_NOW})"""
    values = _turn_values(record) | {"data": _session_data(record, None, add_tokens)}
    await connection.execute(*bind(statement, **values))


async def _store_run(connection: "Connection", state: SchemaState, record: TurnRecord, run: RunRow, index: int) -> None:
    statement = f"""
        INSERT INTO {state.qualified(RUNS)} AS r (run_id, session_id, run_type, agent_id, team_id, user_id,
            parent_run_id, status, run_index, run_data, created_at, updated_at)
        VALUES (:run_id, :session_id, :run_type, :agent_id, :run_team, :user_id, :parent_run_id, :status, :index,
            :data::text::{state.column_type(RUNS, "run_data")}, :created_at, {EPOCH_NOW})
        ON CONFLICT (run_id) DO UPDATE
            SET status = excluded.status, run_data = excluded.run_data, updated_at = excluded.updated_at
            WHERE r.user_id = excluded.user_id AND r.session_id = excluded.session_id"""
    values = _turn_values(record) | _run_values(run) | {"index": index}
    if await connection.execute(*bind(statement, **values)) != "INSERT 0 1":
        raise DatabaseError(
            f"run {run.run_id} could not be stored",
            hint="is a trigger or a rule on the table? junkie doctor schema.tables",
            code="database_error",
        )


def _session_data(record: TurnRecord, stored: str | None, add_tokens: AddTokens) -> str | None:
    """The session's data as it is in the table now, with this run's tokens added: a name given meanwhile stays.

    What another program keeps there in a shape of its own stays as it is, and the tokens are not counted.
    """
    data = document(stored, unreadable=stored)
    if not isinstance(data, dict | None):
        return stored
    try:
        return to_json(add_tokens(data or {}, objects(record.run.data)))
    except (TypeError, ValueError, AttributeError, KeyError):
        return stored


# --- shared -----------------------------------------------------------------------------------------------------------


async def _lock_session(connection: "Connection", session_id: str) -> None:
    """Hold, to the transaction's end, the key with which agno's own adapter guards run_index: a bot waits for us."""
    statement = "SELECT pg_advisory_xact_lock(hashtext('agno_run_index'), hashtext(:session_id))"
    await connection.execute(*bind(statement, session_id=session_id))


def _next_index(state: SchemaState) -> str:
    """SQL of the next run_index of `:session_id`; right only while its lock is held."""
    first = "0"
    if state.has_runs_column:  # behind the runs that agno 2 keeps there, should they be moved some day
        old = f"{state.qualified(SESSIONS)} s, LATERAL {elements(state, 's.runs')}"
        first = f"(SELECT count(*) FROM {old} WHERE s.session_id = :session_id::text)"
    return f"""(SELECT greatest(coalesce(max(r.run_index) + 1, 0), {first})
        FROM {state.qualified(RUNS)} r WHERE r.session_id = :session_id::text)"""


async def _has_changed_server(connection: "Connection", record: TurnRecord) -> bool:
    """Whether another server took over since the turn began: what this one lacks may not have reached it."""
    return bool(record.timeline) and record.timeline != await connection.fetchval(f"SELECT {TIMELINE}")


def _turn_values(record: TurnRecord) -> dict[str, Any]:
    return {
        "user_id": record.user_id,
        "session_id": record.session_id,
        "session_exists": record.session_exists,
        "timeline": record.timeline,
        "team": TEAM_ID,
        "team_data": record.team_data,
    }


def _run_values(run: RunRow) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "run_type": run.run_type,
        "agent_id": run.agent_id,
        "run_team": run.team_id,
        "parent_run_id": run.parent_run_id,
        "status": run.status,
        "data": run.data,
        "created_at": run.created_at,
    }
