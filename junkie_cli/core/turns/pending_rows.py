"""Rows of extractions that have not succeeded yet: written before the first try, deleted with the result.

Each function runs in the caller's transaction.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from junkie_cli.core.memories.change_log import lock_user
from junkie_cli.core.postgres.sql import bind
from junkie_cli.core.schema.registry import PENDING
from junkie_cli.core.schema.runs import LEASE
from junkie_cli.core.schema.stored_text import storable
from junkie_cli.core.schema.tables import RUNS, SchemaState, transaction
from junkie_cli.core.turns.types import Pending

if TYPE_CHECKING:
    from junkie_cli.core.postgres.connection import Connection

MAX_ATTEMPTS = 8
_MOST_OUTAGES = 4

_COLUMNS = (
    "pending_id::text AS pending_id, user_id, session_id, run_id, message, context, team_id, attempts, last_error,"
    " created_at, next_try, set_aside"
)


def insert_statement(state: SchemaState, source: str = "") -> str:
    """SQL that inserts an extraction from the values of `pending_values`; `source` is SQL behind its SELECT list."""
    return f"""
        INSERT INTO {state.qualified(PENDING)} (pending_id, user_id, session_id, run_id, message, context, team_id,
            attempts, last_error, created_at, next_try)
        SELECT :pending_id::text::uuid, :pending_user::text, :pending_session::text, :pending_run::text,
            :pending_message::text, :pending_context::text, :pending_team::text, :attempts::int, :last_error::text,
            coalesce(:said::timestamptz, now()), now() + make_interval(secs => :lease::float8)
        {source} ON CONFLICT DO NOTHING"""


def pending_values(pending: Pending, lease: float) -> dict[str, Any]:
    """The parameters of `insert_statement`; no other process tries the extraction for `lease` seconds."""
    return {
        "pending_id": pending.pending_id,
        "pending_user": pending.user_id,
        "pending_session": pending.session_id,
        "pending_run": pending.run_id,
        "pending_message": storable(pending.message),
        "pending_context": storable(pending.context),
        "pending_team": pending.team_id,
        "attempts": pending.attempts,
        "last_error": pending.last_error,
        "said": pending.created_at,
        "lease": float(lease),
    }


async def write_pending(
    connection: "Connection", state: SchemaState, pending: Pending, *, began: datetime | None = None, lease: float = 0
) -> None:
    """Write an extraction before it is tried; writing the same `pending_id` again changes nothing.

    Raises ErasedError as `lock_user` does.
    """
    await lock_user(connection, state, pending.user_id, began=began)
    await connection.execute(*bind(insert_statement(state), **pending_values(pending, lease)))


async def write_with_run(connection: "Connection", state: SchemaState, pending: Pending, lease: float) -> None:
    """Write an extraction unless its run is stored already; one that is still there gets a new lease.

    Where the run is stored the extraction was written with it, and may have been completed since.
    """
    table, runs = state.qualified(PENDING), state.qualified(RUNS)
    statement = f"""
        WITH renewed AS (
            UPDATE {table} SET next_try = now() + make_interval(secs => :lease::float8)
            WHERE pending_id = :pending_id::text::uuid RETURNING 1
        )""" + insert_statement(
        state,
        f"""
        WHERE NOT EXISTS (SELECT 1 FROM {runs} WHERE run_id = :pending_run::text)
            AND NOT EXISTS (SELECT 1 FROM renewed)""",
    )
    await connection.execute(*bind(statement, **pending_values(pending, lease)))


async def renew_lease(connection: "Connection", state: SchemaState, pending_id: str, lease: float) -> None:
    """Renew the lease of an extraction for `lease` seconds from now, if it still exists."""
    statement = f"""
        UPDATE {state.qualified(PENDING)} SET next_try = greatest(next_try, now() + make_interval(secs => :lease))
        WHERE pending_id = :pending_id::text::uuid"""
    await connection.execute(*bind(statement, pending_id=pending_id, lease=float(lease)))


async def delete_pending(connection: "Connection", state: SchemaState, pending_id: str) -> bool:
    """Delete a pending extraction, in the transaction that writes its memories.

    False when it was deleted already (another process was faster): the caller must then write nothing.
    """
    statement = f"DELETE FROM {state.qualified(PENDING)} WHERE pending_id = :pending_id::text::uuid"
    return bool(await connection.execute(*bind(statement, pending_id=pending_id)) == "DELETE 1")


async def record_failure(
    connection: "Connection",
    state: SchemaState,
    pending_id: str,
    error: str,
    *,
    retry_after: float = 0,
    outage: bool = False,
) -> bool:
    """Record that an attempt failed: the next one waits 30 s, then twice as long each time, at most a day.

    `retry_after` (seconds) is the least wait that the provider asked for. After MAX_ATTEMPTS the extraction is set
    aside, and True is returned. An `outage` has nothing to do with the message: it never sets an extraction aside, and
    the waits grow to eight minutes only.
    """
    count = f"greatest(attempts, least(attempts + 1, {_MOST_OUTAGES}))" if outage else "attempts + 1"
    aside = "set_aside" if outage else f"attempts + 1 >= {MAX_ATTEMPTS}"
    statement = f"""
        UPDATE {state.qualified(PENDING)} SET attempts = {count}, last_error = left(:error, 500), set_aside = {aside},
            next_try = now() + make_interval(secs => greatest(:retry_after::float8, least(86400, 30 * 2 ^ attempts)))
        WHERE pending_id = :pending_id::text::uuid RETURNING set_aside"""
    set_aside: bool | None = await connection.fetchval(
        *bind(statement, pending_id=pending_id, error=storable(error), retry_after=retry_after)
    )
    return bool(set_aside)


async def claim_pending(
    connection: "Connection", state: SchemaState, user_id: str | None, passed_over: Sequence[str]
) -> Pending | None:
    """The oldest extraction that is due (of one user, or of all), with its lease renewed; None when none is.

    Processes that claim at once get different ones. Ids in `passed_over` are skipped.
    """
    table = state.qualified(PENDING)
    statement = f"""
        UPDATE {table} SET next_try = now() + make_interval(secs => :lease)
        WHERE pending_id = (
            SELECT pending_id FROM {table}
            WHERE next_try <= now() AND NOT set_aside AND (:user_id::text IS NULL OR user_id = :user_id)
                AND pending_id <> ALL (:passed_over::text[]::uuid[])
            ORDER BY created_at, pending_id LIMIT 1 FOR UPDATE SKIP LOCKED
        ) RETURNING {_COLUMNS}"""
    row = await connection.fetchrow(*bind(statement, user_id=user_id, passed_over=list(passed_over), lease=LEASE))
    return None if row is None else Pending(**dict(row))


async def release_pending(connection: "Connection", state: SchemaState, pending_id: str) -> None:
    """Release a claimed extraction without a try."""
    statement = f"UPDATE {state.qualified(PENDING)} SET next_try = now() WHERE pending_id = :pending_id::text::uuid"
    await connection.execute(*bind(statement, pending_id=pending_id))


async def make_due(connection: "Connection", state: SchemaState, user_id: str | None) -> None:
    """Make all extractions of a user (None: of all users) due now, also those that were set aside."""
    statement = f"""
        UPDATE {state.qualified(PENDING)} SET next_try = now(), set_aside = false
        WHERE (:user_id::text IS NULL OR user_id = :user_id) AND (set_aside OR next_try > now())"""
    await connection.execute(*bind(statement, user_id=user_id))


async def count_pending(connection: "Connection", state: SchemaState, user_id: str | None) -> int:
    """How many extractions are pending, of one user or of all."""
    statement = f"SELECT count(*) FROM {state.qualified(PENDING)} WHERE :user_id::text IS NULL OR user_id = :user_id"
    count: int = await connection.fetchval(*bind(statement, user_id=user_id))
    return count


async def list_pending(connection: "Connection", state: SchemaState, user_id: str | None = None) -> list[Pending]:
    """Pending extractions, oldest first, of one user or of all. Empty if the table does not exist."""
    if not state.has(PENDING):
        return []
    statement = f"""
        SELECT {_COLUMNS} FROM {state.qualified(PENDING)}
        WHERE :user_id::text IS NULL OR user_id = :user_id ORDER BY created_at, pending_id"""
    async with transaction(connection):
        rows = await connection.fetch(*bind(statement, user_id=user_id))
    return [Pending(**dict(row)) for row in rows]
