"""Batches of the history: what one command or one extraction changed, and which of them an undo means."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from junkie_cli.core.actor import TEAM, Actor
from junkie_cli.core.errors import NotFoundError, UsageError
from junkie_cli.core.memories.batch_rows import count_rows
from junkie_cli.core.schema.registry import BATCHES, HISTORY, ROWS
from junkie_cli.core.schema.tables import SchemaState
from junkie_cli.core.value_class import field, frozen

if TYPE_CHECKING:
    import asyncpg

_NAMED_USERS = 5


@frozen
class Batch:
    """What a batch changed: when (UTC), by what (`junkie`, `team`, `other`), how many changes of each kind, and whose.

    `user_ids` names the first five of `users`; None is nobody. `rows` counts changed rows of tables other than
    memories, by table. `actor` is who made the batch, None where that was not recorded.
    """

    batch: str
    at: datetime
    by: str
    added: int
    updated: int
    deleted: int
    users: int
    user_ids: tuple[str | None, ...]
    rows: Mapping[str, int] = field(default_factory=dict)
    actor: Actor | None = None


def actor_sql(state: SchemaState, batch: str) -> str:
    """SQL: who made the batch that the SQL `batch` names, as a JSON list of an Actor's fields; NULL where unknown."""
    if not state.may("SELECT", BATCHES):
        return "NULL::text"
    return (
        "(SELECT json_build_array(b.actor_kind, b.actor_name, b.command)::text"
        f" FROM {state.qualified(BATCHES)} b WHERE b.batch = {batch})"
    )


def actor_of(row: str | None) -> Actor | None:
    """The Actor in what `actor_sql` gives."""
    return None if row is None else Actor(*json.loads(row))


async def delete_empty_batches(connection: "asyncpg.Connection[Any]", state: SchemaState) -> None:
    """Delete the records of batches of which no change is left, in the caller's transaction."""
    if not (state.may("DELETE", BATCHES) and state.may("SELECT", HISTORY) and state.may("SELECT", ROWS)):
        return
    changes = [f"SELECT 1 FROM {state.qualified(table)} c WHERE c.batch = b.batch" for table in (HISTORY, ROWS)]
    await connection.execute(
        f"DELETE FROM {state.qualified(BATCHES)} b WHERE NOT EXISTS ({changes[0]}) AND NOT EXISTS ({changes[1]})"
    )


async def summary(connection: "asyncpg.Connection[Any]", state: SchemaState, batch: str) -> Batch:
    """What this batch changed. Raises UsageError for a name that is no batch's, NotFoundError for one of no batch."""
    try:
        UUID(batch)
    except ValueError:
        raise UsageError(f"{batch!r} is not a batch", hint="batches are listed by: junkie memories history") from None
    row = await connection.fetchrow(
        "SELECT min(at) AS at, min(by) AS by, count(*) FILTER (WHERE action = 'added') AS added,"
        " count(*) FILTER (WHERE action = 'updated') AS updated, count(*) FILTER (WHERE action = 'deleted') AS deleted,"
        f" array_agg(DISTINCT user_id) AS user_ids, {actor_sql(state, '$1::text::uuid')} AS actor"
        f" FROM ({_changes(state)}) changes",
        batch,
    )
    assert row is not None  # an aggregate
    if row["at"] is None:
        raise NotFoundError(f"no batch {batch}", hint="it may be older than is kept: junkie memories history")
    user_ids, actor = row["user_ids"], actor_of(row["actor"])
    by = row["by"] or (TEAM if actor is not None and actor.kind == TEAM else "junkie")
    return Batch(
        batch,
        row["at"],
        by,
        row["added"],
        row["updated"],
        row["deleted"],
        len(user_ids),
        tuple(user_ids[:_NAMED_USERS]),
        await count_rows(connection, state, batch),
        actor,
    )


def _changes(state: SchemaState) -> str:
    """SQL of the changes of batch $1; those of other tables than memories have neither `by` nor `action`."""
    history = f"SELECT at, by, action, user_id FROM {state.qualified(HISTORY)} WHERE batch = $1::text::uuid"
    if not state.may("SELECT", ROWS):
        return history
    rows = f"SELECT at, NULL, NULL, user_id FROM {state.qualified(ROWS)} WHERE batch = $1::text::uuid"
    return f"{history} UNION ALL {rows}"


def _newest(state: SchemaState, *, undoable: bool) -> str:
    """SQL of our batches, newest first: batch, undo_of. With `undoable` those alone that are no undo nor undone."""
    keeps_rows = state.may("SELECT", ROWS) and state.may("SELECT", BATCHES)
    history, undone = state.qualified(HISTORY), []
    if undoable:
        undone.append(f"NOT EXISTS (SELECT 1 FROM {history} u WHERE u.undo_of = h.batch)")
        if keeps_rows:
            undone.append(f"NOT EXISTS (SELECT 1 FROM {state.qualified(BATCHES)} u WHERE u.undo_of = h.batch)")
    conditions = " AND ".join(["h.by IN ('junkie', 'team')", *(["h.undo_of IS NULL"] if undoable else []), *undone])
    sources = [
        f"(SELECT batch, undo_of, at FROM {history} h WHERE {conditions} ORDER BY change_id DESC LIMIT 1)",
    ]
    if keeps_rows:
        own = " AND ".join([*(["h.undo_of IS NULL"] if undoable else []), *undone]) or "true"
        sources.append(
            f"(SELECT r.batch, h.undo_of, r.at FROM {state.qualified(ROWS)} r JOIN {state.qualified(BATCHES)} h"
            f" USING (batch) WHERE {own} ORDER BY r.change_id DESC LIMIT 1)"
        )
    return (
        f"SELECT batch::text AS batch, undo_of::text AS undo_of FROM ({' UNION ALL '.join(sources)}) newest"
        " ORDER BY at DESC LIMIT 1"
    )


async def newest(connection: "asyncpg.Connection[Any]", state: SchemaState) -> str:
    """The newest batch of ours. Raises NotFoundError when it is an undo, and names the batch to undo next."""
    row = await connection.fetchrow(_newest(state, undoable=False))
    if row is None:
        raise _nothing()
    if row["undo_of"] is None:
        return str(row["batch"])
    raise await already_undone(connection, state, row["undo_of"], row["batch"])


async def newest_not_undone(connection: "asyncpg.Connection[Any]", state: SchemaState) -> str:
    """The newest batch of ours that is no undo and was not undone. Raises NotFoundError when there is none."""
    found = await _not_undone(connection, state)
    if found is None:
        raise _nothing()
    return found


async def already_undone(
    connection: "asyncpg.Connection[Any]", state: SchemaState, batch: str, undone_by: str | None = None
) -> NotFoundError:
    """The error for a batch that was undone before, with the batch that can be undone next."""
    how = f" (by batch {undone_by})" if undone_by else ""
    older = await _not_undone(connection, state)
    hint = "no older change can be undone: see junkie memories history"
    if older is not None:
        before = await summary(connection, state, older)
        whose = ", ".join("nobody" if user is None else repr(user) for user in before.user_ids)
        hint = f"the change before it, of {whose}: junkie memories undo {older}"
    return NotFoundError(
        f"batch {batch} was undone already{how}; nothing was changed", hint=hint, code="already_undone"
    )


async def _not_undone(connection: "asyncpg.Connection[Any]", state: SchemaState) -> str | None:
    found: str | None = await connection.fetchval(_newest(state, undoable=True))
    return found


def _nothing() -> NotFoundError:
    return NotFoundError("nothing to undo", hint="see what was changed: junkie memories history")
