"""Changes memories and records the history.

Everything here is plain SQL in the caller's transaction (see `schema.transaction`): a change and its history are
committed together or not at all. A writer holds a shared lock on its user and checks for a tombstone under it; an
erasure holds the same lock exclusively, so nothing is written for an erased user.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from junkie_cli.core import memory_ids
from junkie_cli.core.actor import Actor, current
from junkie_cli.core.errors import JunkieError, LockedError
from junkie_cli.core.foreign_values import objects
from junkie_cli.core.postgres.locks import LOCK_SHARED
from junkie_cli.core.postgres.sql import EPOCH_NOW, count_of, kept_from_changing, require_all_changed
from junkie_cli.core.sanitize import quoted_id
from junkie_cli.core.schema import foreign_keys, migrations, own_tables
from junkie_cli.core.schema.foreign_keys import Going
from junkie_cli.core.schema.registry import BATCHES, CASCADES, HISTORY, ROWS, TOMBSTONES, Feature
from junkie_cli.core.schema.stored_text import lock_name, read_marks, storable
from junkie_cli.core.schema.tables import MEMORIES, SchemaState
from junkie_cli.core.value_class import field, frozen

if TYPE_CHECKING:
    from junkie_cli.core.postgres.connection import Connection


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
    """A change that was made: `before` and `after` are the full rows, None if there was or is no row."""

    action: str
    memory_id: str
    user_id: str | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@frozen
class AppliedChanges:
    """What `apply_changes` did: the batch to undo (None: no history), the changes made, and ids that were not there.

    `cascaded` counts rows of other tables that foreign keys deleted with memories, by table; undo cannot restore them.
    """

    batch: str | None
    changes: tuple[AppliedChange, ...]
    missing: tuple[str, ...]
    cascaded: Mapping[str, int] = field(default_factory=dict)


# -- locking a user ----------------------------------------------------------------------------------------------------


async def hold_off_erasures(connection: "Connection", state: SchemaState) -> None:
    """Wait for a running erasure; one that starts later waits for this transaction, and finds its rows."""
    if state.may("DELETE", TOMBSTONES):
        await connection.execute(f"LOCK TABLE {state.qualified(TOMBSTONES)} IN SHARE MODE")


@contextmanager
def refusing_rows_that_are_there() -> Iterator[None]:
    """Raise LockedError if the database refuses a row whose key exists: another program was faster."""
    import asyncpg

    try:
        yield
    except asyncpg.UniqueViolationError as error:
        constraint = getattr(error, "constraint_name", None) or "unknown"
        raise LockedError(
            f"rows with the same key exist (constraint {constraint}): another program may have stored them just now;"
            " nothing was changed",
            hint=f"run it again; if it fails again, see what constraint {constraint} requires",
            code="stored_at_once",
        ) from None


async def lock_user(
    connection: "Connection", state: SchemaState, user_id: str | None, *, began: datetime | None = None
) -> None:
    """Hold the user's shared lock until the transaction ends; refuse an erased user, and tables that are too new.

    With `began` (by the server's clock) only an erasure since then refuses: a person who returns may be remembered
    again. Raises ErasedError, DatabaseError `own_tables_newer`.
    """
    if not user_id:
        return
    # A statement of its own: the next one's snapshot must be taken when the lock is held.
    await connection.execute(LOCK_SHARED, lock_name(state, user_id))
    oldest_writer, erased = await read_marks(connection, state, user_id)
    if oldest_writer > migrations.LATEST:
        raise own_tables.newer(state.schema, oldest_writer)
    if erased is not None and (began is None or erased >= began):
        raise ErasedError(
            f"this user was erased at {erased.isoformat(timespec='seconds')}; nothing was written",
            hint="data of this person can be written again if it is from after the erasure",
        )


# -- changing memories -------------------------------------------------------------------------------------------------


async def mark_writer(connection: "Connection", by: str) -> None:
    """Mark the changes of this transaction as recorded, so that the history trigger skips them."""
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
    """Apply `changes` of memories in the caller's transaction, and record them for undo.

    `by` is `junkie` or `team`. Each owner is checked in SQL under a row lock; an id of another user raises
    OwnershipError, an erased user ErasedError (see `lock_user` for `began`), and the caller's transaction must then
    be rolled back. Ids that are not there are returned as `missing` (an `added` id that is there is updated). History
    is written when our table can be used and `keep_days` is above 0; entries older than `keep_days` are pruned.
    """
    await mark_writer(connection, by)
    for user_id in sorted({change.user_id or "" for change in changes}):
        await lock_user(connection, state, user_id, began=began)
    deleted = [change for change in changes if change.action == "deleted"]
    cascaded = await cascades(connection, state, *_named(deleted)) if deleted else {}
    made = [await _apply(connection, state, change) for change in changes]
    applied = tuple(change for change in made if change is not None)
    missing = tuple(change.memory_id for change, done in zip(changes, made, strict=True) if done is None)
    batch = None
    if applied and history and records_history(state, keep_days):
        batch = await _record(connection, state, applied, by)
        await record_cascades(connection, state, batch, cascaded)
        team = next((change.team_id for change in changes if change.team_id), "") if by == "team" else None
        await close_batch(connection, state, batch, keep_days, current(team))
    return AppliedChanges(batch, tuple(_parsed(change) for change in applied), missing, cascaded)


def _named(changes: Sequence[MemoryChange]) -> tuple[str, list[list[str]]]:
    """SQL with its arguments: the memory `m` is one of these, of the owner that each of them names."""
    return (
        "m.memory_id = ANY($1::text[]) AND (m.memory_id, coalesce(m.user_id, '')) IN"
        " (SELECT * FROM unnest($1::text[], $2::text[]))",
        [[change.memory_id for change in changes], [change.user_id or "" for change in changes]],
    )


def records_history(state: SchemaState, keep_days: int) -> bool:
    """Whether changes are written down for undo: our table can be used, memories can be put back, and history is kept.

    Before the first memory there is no table yet, and nothing stands against it.
    """
    if keep_days <= 0 or not state.keeps(Feature.HISTORY):
        return False
    return not state.has(MEMORIES) or state.memories_can_be_put_back


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
    """Record with `batch` the rows that its undo cannot restore, if the table exists."""
    if batch is None or not cascaded or not state.keeps(Feature.CASCADES):
        return
    await connection.executemany(
        f"INSERT INTO {state.qualified(CASCADES)} (batch, table_name, rows) VALUES ($1::text::uuid, $2, $3)",
        [(batch, table, count) for table, count in cascaded.items()],
    )


async def close_batch(
    connection: "Connection",
    state: SchemaState,
    batch: str | None,
    keep_days: int,
    actor: Actor | None = None,
    *,
    undo_of: str | None = None,
) -> None:
    """End a batch in the transaction of its changes: store who made it, and forget changes older than `keep_days` days.

    One statement. Without an `actor` it is the one of this process; with `batch` None nothing changed.
    """
    old = "at < now() - make_interval(days => $1)"
    parts = [
        f"old_{number} AS (DELETE FROM {state.qualified(table)} WHERE {old})"
        for number, table in enumerate((CASCADES, BATCHES, ROWS))
        if state.may("DELETE", table)
    ]
    arguments: list[Any] = [keep_days]
    if batch is not None and state.keeps(Feature.BATCHES):
        actor = actor or current()
        parts.append(
            f"made AS (INSERT INTO {state.qualified(BATCHES)} (batch, actor_kind, actor_name, command, undo_of)"
            " VALUES ($2::text::uuid, $3, $4, $5, $6::text::uuid) ON CONFLICT DO NOTHING)"
        )
        arguments += [batch, actor.kind, actor.name and storable(actor.name), actor.command, undo_of]
    found = f"WITH {', '.join(parts)} " if parts else ""
    await connection.execute(f"{found}DELETE FROM {state.qualified(HISTORY)} WHERE {old}", *arguments)


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
