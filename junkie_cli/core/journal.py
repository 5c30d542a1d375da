"""The one home of every change of a memory, with its history, and of extractions that have not succeeded yet.

Everything here is plain SQL that runs inside the caller's transaction (see `schema.transaction`): a change and its
trace are committed together or not at all. Writers hold a shared lock on their user and look for a tombstone under
it; an erasure holds the same lock alone, so no write of ours can slip in behind it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from junkie_cli.core import foreign_keys, memory_ids
from junkie_cli.core.errors import JunkieError, LockedError
from junkie_cli.core.foreign import objects
from junkie_cli.core.foreign_keys import Going
from junkie_cli.core.query import EPOCH_NOW, count_of, kept_from_changing, require_all_changed
from junkie_cli.core.schema import (
    CASCADES,
    HISTORY,
    MEMORIES,
    OWN_VERSIONS,
    PENDING,
    RUNS,
    TOMBSTONES,
    SchemaState,
    ensure_cascades_table,
    transaction,
)
from junkie_cli.text import quoted_id
from junkie_cli.values import field, frozen

if TYPE_CHECKING:
    from typing import TypeAlias

    import asyncpg

    Connection: TypeAlias = asyncpg.Connection[Any]


class OwnershipError(JunkieError):
    """A change names a memory that belongs to another user; nothing of its transaction may be kept."""

    default_code = "ownership"


class ErasedError(JunkieError):
    """The user was erased after this write began, or was erased at all; nothing may be written."""

    default_code = "erased"


@frozen
class MemoryChange:
    """One change of a memory; `action` is `added`, `updated` or `deleted`.

    For `updated`, None in `topics`, `input`, `agent_id` and `team_id` leaves the stored value as it is.
    """

    action: str
    memory_id: str
    user_id: str | None
    memory: str | None = None
    topics: list[str] | None = None
    input: str | None = None
    agent_id: str | None = None
    team_id: str | None = None


@frozen
class AppliedChange:
    """A change as made: `before` and `after` are the whole rows, None where there was or is none."""

    action: str
    memory_id: str
    user_id: str | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@frozen
class AppliedChanges:
    """What `apply_changes` did: the batch to undo (None: no history), the changes made, and ids that were not there.

    `cascaded` counts rows of other tables that foreign keys deleted with memories, by table: no undo brings them back.
    """

    batch: str | None
    changes: tuple[AppliedChange, ...]
    missing: tuple[str, ...]
    cascaded: Mapping[str, int] = field(default_factory=dict)


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


# -- guarding a user ---------------------------------------------------------------------------------------------------

# Two statements, not one: the second's snapshot must be taken when the lock is held.
LOCK_SHARED = "SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 7317))"
LOCK_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended($1, 7317))"

LOCK_MOVING = "SELECT pg_advisory_xact_lock(hashtextextended('junkie memories ' || $1, 7319))"
"""Holds off others who store memories under ids that they did not draw themselves; takes the schema's name."""


async def hold_off_erasures(connection: "Connection", state: SchemaState) -> None:
    """Wait for an erasure that is under way; one that begins later waits for this transaction, and finds its rows."""
    if state.may("DELETE", TOMBSTONES):
        await connection.execute(f"LOCK TABLE {state.qualified(TOMBSTONES)} IN SHARE MODE")


@contextmanager
def refusing_rows_that_are_there() -> Iterator[None]:
    """Raise LockedError where the database refuses a row whose key is taken: another program was faster."""
    import asyncpg

    try:
        yield
    except asyncpg.UniqueViolationError as error:
        constraint = getattr(error, "constraint_name", None) or "unknown"
        raise LockedError(
            f"rows of the same key are there (constraint {constraint}): another program may have stored them just now;"
            " nothing was changed",
            hint=f"run it again; if it fails again, see what constraint {constraint} requires",
            code="stored_at_once",
        ) from None


def tombstone_statement(state: SchemaState) -> str:
    """SQL that takes a user id as $1 and gives the time of that user's erasure, or no row."""
    return (
        f"SELECT t.erased_at FROM {state.qualified(TOMBSTONES)} t JOIN {state.qualified(OWN_VERSIONS)} v"
        " ON v.name = 'salt' WHERE t.user_hash = encode(sha256(convert_to(v.value || $1, 'UTF8')), 'hex')"
    )


def lock_name(state: SchemaState, user_id: str) -> str:
    """The text that stands for a user in LOCK_SHARED and LOCK_ALONE."""
    return f"junkie user {state.schema} {user_id}"


async def database_time(connection: "Connection") -> datetime:
    """The server's clock: what a turn keeps as the moment it began, for `guard_user`."""
    async with transaction(connection):
        time: datetime = await connection.fetchval("SELECT clock_timestamp()")
    return time


async def erased_at(connection: "Connection", state: SchemaState, user_id: str) -> datetime | None:
    """When this user was erased, None if never, or if that cannot be known."""
    if not user_id or not state.may("SELECT", TOMBSTONES) or not state.may("SELECT", OWN_VERSIONS):
        return None
    time: datetime | None = await connection.fetchval(tombstone_statement(state), user_id)
    return time


async def guard_user(
    connection: "Connection", state: SchemaState, user_id: str | None, *, began: datetime | None = None
) -> None:
    """Hold this user's shared lock until the transaction ends, and refuse when the user was erased.

    With `began` (by the server's clock) only an erasure since then refuses: a person who comes back may be remembered
    again. Raises ErasedError.
    """
    if not user_id:
        return
    await connection.execute(LOCK_SHARED, lock_name(state, user_id))
    erased = await erased_at(connection, state, user_id)
    if erased is not None and (began is None or erased >= began):
        raise ErasedError(
            f"this user was erased at {erased.isoformat(timespec='seconds')}; nothing was written",
            hint="what is written for this person from now on must begin after the erasure",
        )


# -- changing memories -------------------------------------------------------------------------------------------------


async def mark_writer(connection: "Connection", by: str) -> None:
    """Tell the history trigger, for this transaction, that these changes are ours and already written down."""
    await connection.execute("SELECT set_config('junkie.writer', $1, true)", by)


async def apply_changes(
    connection: "Connection",
    state: SchemaState,
    changes: Sequence[MemoryChange],
    *,
    by: str,
    history: bool = True,
    keep_days: int = 30,
    began: datetime | None = None,
) -> AppliedChanges:
    """Make `changes` of memories in the caller's transaction, and write them down for undo.

    `by` is `junkie` or `team`. Each owner is checked in SQL under a row lock; an id of another user raises
    OwnershipError, an erased user ErasedError (see `guard_user` for `began`), and the caller's transaction must then
    be rolled back. Ids that are not there are returned as `missing` (an `added` id that is there is updated). History
    is written when our tables can be used and `keep_days` is above 0; entries older than `keep_days` are pruned.
    """
    await mark_writer(connection, by)
    for user_id in sorted({change.user_id or "" for change in changes}):
        await guard_user(connection, state, user_id, began=began)
    deleted = [change for change in changes if change.action == "deleted"]
    cascaded = await cascades(connection, state, *_named(deleted)) if deleted else {}
    made = [await _apply(connection, state, change) for change in changes]
    applied = tuple(change for change in made if change is not None)
    missing = tuple(change.memory_id for change, done in zip(changes, made, strict=True) if done is None)
    batch = None
    if applied and history and records_history(state, keep_days):
        batch = await _record(connection, state, applied, by)
        await record_cascades(connection, state, batch, cascaded)
        await prune_history(connection, state, keep_days)
    return AppliedChanges(batch, tuple(_parsed(change) for change in applied), missing, cascaded)


def _named(changes: Sequence[MemoryChange]) -> tuple[str, list[list[str]]]:
    """SQL with its arguments: the memory `m` is one of these, of the owner that each of them names."""
    return (
        "m.memory_id = ANY($1::text[]) AND (m.memory_id, coalesce(m.user_id, '')) IN"
        " (SELECT * FROM unnest($1::text[], $2::text[]))",
        [[change.memory_id for change in changes], [change.user_id or "" for change in changes]],
    )


def records_history(state: SchemaState, keep_days: int) -> bool:
    """Whether changes are written down for undo: our tables can be used, memories can be put back, and history is kept.

    Before the first memory there is no table yet, and nothing stands against it.
    """
    return state.has_own_tables and keep_days > 0 and (not state.has(MEMORIES) or state.memories_can_be_put_back)


@frozen
class _Made:
    action: str
    memory_id: str
    user_id: str | None
    before: str | None
    after: str | None


async def _apply(connection: "Connection", state: SchemaState, change: MemoryChange) -> _Made | None:
    table = state.qualified(MEMORIES)
    rows = await connection.fetch(
        f"SELECT user_id, row_to_json(m)::text AS row FROM {table} m WHERE memory_id = $1 FOR UPDATE",
        change.memory_id,
    )
    if not rows:
        if change.action != "added":
            return None
        return _Made("added", change.memory_id, change.user_id, None, await _insert(connection, state, change))
    own = [row for row in rows if (row["user_id"] or None) == (change.user_id or None)]
    if len(own) > 1:
        raise memory_ids.not_unique(change.memory_id, [row["user_id"] for row in rows])
    if not own:
        raise OwnershipError(
            f"memory {quoted_id(change.memory_id)} belongs to another user; nothing was changed",
            hint="see whose it is: junkie memories show ID",
        )
    [row] = own
    if change.action == "deleted":
        done = await connection.execute(
            f"DELETE FROM {table} WHERE memory_id = $1 AND coalesce(user_id, '') = $2",
            change.memory_id,
            change.user_id or "",
        )
        require_all_changed(count_of(done), 1)
        return _Made("deleted", change.memory_id, row["user_id"], row["row"], None)
    after = await _update(connection, state, change)
    return _Made("updated", change.memory_id, row["user_id"], row["row"], after)


async def _insert(connection: "Connection", state: SchemaState, change: MemoryChange) -> str:
    state.require_writable()
    kind = state.column_type(MEMORIES, "memory")
    times = [name for name in ("updated_at", "created_at") if name in state.table(MEMORIES).writable]
    text: str | None = await connection.fetchval(
        f"INSERT INTO {state.qualified(MEMORIES)} AS m"
        f" ({', '.join(('memory_id, user_id, memory, topics, input, agent_id, team_id', *times))})"
        f" VALUES ($1, $2, to_json($3::text)::{kind}, $4::text::{state.column_type(MEMORIES, 'topics')},"
        f" {', '.join(('$5, $6, $7', *(EPOCH_NOW for _ in times)))}) RETURNING row_to_json(m)::text",
        change.memory_id,
        change.user_id or None,
        storable(change.memory or ""),
        # Nothing is JSON null, as agno's.
        json.dumps(change.topics and [storable(topic) for topic in change.topics], ensure_ascii=False),
        None if change.input is None else storable(change.input),
        change.agent_id,
        change.team_id,
    )
    if text is None:
        raise kept_from_changing(1)
    return text


async def _update(connection: "Connection", state: SchemaState, change: MemoryChange) -> str:
    state.require_writable()
    dated = f", updated_at = {EPOCH_NOW}" if "updated_at" in state.table(MEMORIES).writable else ""
    kind = state.column_type(MEMORIES, "memory")
    text: str | None = await connection.fetchval(
        f"UPDATE {state.qualified(MEMORIES)} AS m SET memory = coalesce(to_json($2::text)::{kind}, memory),"
        f" topics = coalesce($3::text::{state.column_type(MEMORIES, 'topics')}, topics), input = coalesce($4, input),"
        f" agent_id = coalesce($5, agent_id), team_id = coalesce($6, team_id){dated}"
        " WHERE memory_id = $1 AND coalesce(user_id, '') = $7 RETURNING row_to_json(m)::text",
        change.memory_id,
        None if change.memory is None else storable(change.memory),
        None if change.topics is None else json.dumps([storable(topic) for topic in change.topics], ensure_ascii=False),
        None if change.input is None else storable(change.input),
        change.agent_id,
        change.team_id,
        change.user_id or "",
    )
    if text is None:
        raise kept_from_changing(1)
    return text


def storable(text: str) -> str:
    """`text` as PostgreSQL can hold it: without NUL, which no text column takes, and without lone surrogates."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()


def _parsed(made: _Made) -> AppliedChange:
    before, after = (None if row is None else objects(row) for row in (made.before, made.after))
    return AppliedChange(made.action, made.memory_id, made.user_id, before, after)


async def _record(connection: "Connection", state: SchemaState, made: Sequence[_Made], by: str) -> str:
    batch = str(uuid4())
    await connection.executemany(
        f"INSERT INTO {state.qualified(HISTORY)} (batch, by, action, memory_id, user_id, before, after)"
        " VALUES ($1::text::uuid, $2, $3, $4, $5, $6::text::json, $7::text::json)",
        [(batch, by, change.action, change.memory_id, change.user_id, change.before, change.after) for change in made],
    )
    return batch


async def cascades(
    connection: "Connection", state: SchemaState, condition: str, arguments: Sequence[Any]
) -> Mapping[str, int]:
    """Rows of other tables, by table, that foreign keys delete with the memories `m` that meet `condition`.

    Raises DatabaseError where rows stand in the way of the deletion, or other people's rows would go with it.
    """
    going = Going((state.schema, state.name(MEMORIES)), condition, arguments, "m.user_id", "m")
    found = await foreign_keys.follow(connection, [going])
    found.require_unblocked()
    found.require_own()
    return found.counts(state.schema)


async def record_cascades(
    connection: "Connection", state: SchemaState, batch: str | None, cascaded: Mapping[str, int]
) -> None:
    """Keep with `batch` what its undo will not bring back, where our tables can be made."""
    if batch is None or not cascaded or not await ensure_cascades_table(connection, state):
        return
    await connection.executemany(
        f"INSERT INTO {state.qualified(CASCADES)} (batch, table_name, rows) VALUES ($1::text::uuid, $2, $3)",
        [(batch, table, count) for table, count in cascaded.items()],
    )


async def prune_history(connection: "Connection", state: SchemaState, keep_days: int) -> None:
    """Forget changes older than `keep_days` days, in the caller's transaction."""
    await connection.execute(
        f"DELETE FROM {state.qualified(HISTORY)} WHERE at < now() - make_interval(days => $1)",
        keep_days,
    )
    if state.may("DELETE", CASCADES):
        await connection.execute(
            f"DELETE FROM {state.qualified(CASCADES)} WHERE at < now() - make_interval(days => $1)", keep_days
        )


async def delete_where(
    connection: "Connection", state: SchemaState, condition: str, arguments: Sequence[Any], *, batch: str | None
) -> int:
    """Delete the memories `m` that meet `condition` (SQL over `m`, with `arguments` as $1...), one statement for all.

    With `batch` each row is kept in the history under it, in the same statement. Returns how many were deleted.
    """
    table = f"{state.qualified(MEMORIES)} AS m"
    await mark_writer(connection, "junkie")
    if batch is None:
        done = await connection.execute(f"DELETE FROM {table} WHERE {condition}", *arguments)
        return int(done.rpartition(" ")[2])
    await memory_ids.require_distinct(connection, state, condition, arguments)
    count: int = await connection.fetchval(
        f"WITH gone AS (DELETE FROM {table} WHERE {condition} RETURNING m.*),"
        f" kept AS (INSERT INTO {state.qualified(HISTORY)} (batch, by, action, memory_id, user_id, before)"
        f" SELECT ${len(arguments) + 1}::text::uuid, 'junkie', 'deleted', memory_id, user_id, row_to_json(gone)"
        " FROM gone RETURNING 1) SELECT count(*) FROM kept",
        *arguments,
        batch,
    )
    return count


# -- pending extractions -----------------------------------------------------------------------------------------------


LEASE = 120.0
"""Seconds that whoever answers or extracts has for itself before others take it for dead, and may try."""


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
