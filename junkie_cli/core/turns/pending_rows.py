"""Extractions that have not succeeded yet, as rows: written before the first try, deleted with the result."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from junkie_cli.core.memories.change_log import guard_user
from junkie_cli.core.schema.stored_text import LEASE, storable
from junkie_cli.core.schema.tables import (
    PENDING,
    RUNS,
    SchemaState,
    transaction,
)
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    from junkie_cli.core.postgres.connection import Connection


@frozen
class Pending:
    """An extraction that is yet to succeed: the user's message, and the assistant's words it answers (or "").

    Times are the server's, in UTC; `set_aside` once it has failed too often to be tried again unasked.
    """

    pending_id: str
    user_id: str
    session_id: str | None
    run_id: str | None
    message: str
    context: str = ""
    team_id: str | None = None
    attempts: int = 0
    last_error: str | None = None
    created_at: datetime | None = None
    next_try: datetime | None = None
    set_aside: bool = False
    spooled: bool = False
    """Whether it lies in this machine's spool because the database could not take it yet."""


def pending_insert(state: SchemaState, *, first: int, source: str) -> str:
    """SQL that writes an extraction down from `pending_arguments`, $first and on, for each row of `source`."""
    at = [f"${first + place}" for place in range(_PENDING_ARGUMENTS)]
    return (
        f"INSERT INTO {state.qualified(PENDING)} (pending_id, user_id, session_id, run_id, message, context, team_id,"
        f" attempts, last_error, next_try) SELECT {at[0]}::text::uuid, {at[1]}::text, {at[2]}::text, {at[3]}::text,"
        f" {at[4]}::text, {at[5]}::text, {at[6]}::text, {at[7]}::int, {at[8]}::text,"
        f" now() + make_interval(secs => {at[9]}::float8){source} ON CONFLICT DO NOTHING"
    )


_PENDING_ARGUMENTS = 10


def pending_arguments(pending: Pending, lease: float) -> list[Any]:
    """What `pending_insert` takes; nobody else tries the extraction for `lease` seconds."""
    return [
        pending.pending_id,
        pending.user_id,
        pending.session_id,
        pending.run_id,
        storable(pending.message),
        storable(pending.context),
        pending.team_id,
        pending.attempts,
        pending.last_error,
        float(lease),
    ]


async def write_pending(
    connection: "Connection",
    state: SchemaState,
    pending: Pending,
    *,
    began: datetime | None = None,
    lease: float = 0,
    unless_stored: bool = False,
) -> None:
    """Write an extraction down before it is tried; writing the same `pending_id` again changes nothing.

    Nobody else tries it for `lease` seconds. With `unless_stored` nothing is written when its run is there already:
    then it was written with that run, and may have been struck off since; if it is still there, the lease begins anew.
    Raises ErasedError as `guard_user` does.
    """
    await guard_user(connection, state, pending.user_id, began=began)
    table = state.qualified(PENDING)
    renewed, source = "", ""
    if unless_stored:
        renewed = (
            f"WITH renewed AS (UPDATE {table} SET next_try = now() + make_interval(secs => $10::float8)"
            " WHERE pending_id = $1::text::uuid RETURNING 1) "
        )
        source = (
            f" WHERE NOT EXISTS (SELECT 1 FROM {state.qualified(RUNS)} WHERE run_id = $4)"
            " AND NOT EXISTS (SELECT 1 FROM renewed)"
        )
    await connection.execute(
        renewed + pending_insert(state, first=1, source=source), *pending_arguments(pending, lease)
    )


async def renew_lease(connection: "Connection", state: SchemaState, pending_id: str, lease: float) -> None:
    """Keep an extraction this process' own for `lease` seconds from now, if it is still there."""
    await connection.execute(
        f"UPDATE {state.qualified(PENDING)} SET next_try = greatest(next_try, now() + make_interval(secs => $2))"
        " WHERE pending_id = $1::text::uuid",
        pending_id,
        float(lease),
    )


async def strike_off(connection: "Connection", state: SchemaState, pending_id: str) -> bool:
    """Strike a pending extraction off, in the transaction that writes its memories.

    False when it was struck off already (another process was faster): the caller must then write nothing.
    """
    done = await connection.execute(
        f"DELETE FROM {state.qualified(PENDING)} WHERE pending_id = $1::text::uuid",
        pending_id,
    )
    return bool(done == "DELETE 1")


MAX_ATTEMPTS = 8
_MOST_OUTAGES = 4


async def record_failure(
    connection: "Connection",
    state: SchemaState,
    pending_id: str,
    error: str,
    *,
    retry_after: float = 0,
    outage: bool = False,
) -> bool:
    """Note that an attempt failed: the next one waits 30 s, then twice as long each time, at most a day.

    `retry_after` (seconds) is what the provider asked for at least. After MAX_ATTEMPTS it is set aside, and True
    returned. An `outage` has nothing to do with the message: however long it lasts it sets nothing aside, and the
    waits grow to eight minutes only.
    """
    count = f"greatest(attempts, least(attempts + 1, {_MOST_OUTAGES}))" if outage else "attempts + 1"
    aside = "set_aside" if outage else f"attempts + 1 >= {MAX_ATTEMPTS}"
    set_aside: bool | None = await connection.fetchval(
        f"UPDATE {state.qualified(PENDING)} SET attempts = {count}, last_error = left($2, 500),"
        " next_try = now() + make_interval(secs => greatest($3::float8, least(86400, 30 * 2 ^ attempts))),"
        f" set_aside = {aside} WHERE pending_id = $1::text::uuid RETURNING set_aside",
        pending_id,
        storable(error),
        retry_after,
    )
    return bool(set_aside)


async def claim_pending(
    connection: "Connection", state: SchemaState, user_id: str | None, passed_over: Sequence[str]
) -> Pending | None:
    """The oldest extraction that is due (of one user, or of all), with its lease renewed; None when none is.

    Processes that claim at once get different ones. Those with an id in `passed_over` are left alone.
    """
    row = await connection.fetchrow(
        f"UPDATE {state.qualified(PENDING)} SET next_try = now() + make_interval(secs => $3) WHERE pending_id ="
        f" (SELECT pending_id FROM {state.qualified(PENDING)} WHERE next_try <= now() AND NOT set_aside"
        " AND ($1::text IS NULL OR user_id = $1) AND pending_id <> ALL ($2::text[]::uuid[])"
        f" ORDER BY created_at, pending_id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING {_PENDING_COLUMNS}",
        user_id,
        list(passed_over),
        LEASE,
    )
    return None if row is None else Pending(**dict(row))


async def release_pending(connection: "Connection", state: SchemaState, pending_id: str) -> None:
    """Give a claim back untried."""
    await connection.execute(
        f"UPDATE {state.qualified(PENDING)} SET next_try = now() WHERE pending_id = $1::text::uuid", pending_id
    )


async def make_due(connection: "Connection", state: SchemaState, user_id: str | None) -> None:
    """Have everything tried again at once, what was set aside too: somebody asked for it."""
    await connection.execute(
        f"UPDATE {state.qualified(PENDING)} SET next_try = now(), set_aside = false"
        " WHERE ($1::text IS NULL OR user_id = $1) AND (set_aside OR next_try > now())",
        user_id,
    )


_PENDING_COLUMNS = (
    "pending_id::text AS pending_id, user_id, session_id, run_id, message, context, team_id, attempts, last_error,"
    " created_at, next_try, set_aside"
)


async def list_pending(connection: "Connection", state: SchemaState, user_id: str | None = None) -> list[Pending]:
    """Extractions that have not succeeded, oldest first; of one user, or of all. Empty where our tables are not."""
    if not state.has(PENDING):
        return []
    async with transaction(connection):
        rows = await connection.fetch(
            f"SELECT {_PENDING_COLUMNS} FROM {state.qualified(PENDING)}"
            " WHERE $1::text IS NULL OR user_id = $1 ORDER BY created_at, pending_id",
            user_id,
        )
    return [Pending(**dict(row)) for row in rows]
