"""Batches of the history: what one command or one extraction changed, and which of them an undo means."""

from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from junkie_cli.core.errors import NotFoundError, UsageError
from junkie_cli.core.schema.registry import HISTORY
from junkie_cli.core.schema.tables import SchemaState
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

_NAMED_USERS = 5


@frozen
class Batch:
    """What a batch changed: when (UTC), by what (`junkie`, `team`, `other`), how many changes of each kind, and whose.

    `user_ids` names the first five of `users`; None is nobody.
    """

    batch: str
    at: datetime
    by: str
    added: int
    updated: int
    deleted: int
    users: int
    user_ids: tuple[str | None, ...]


async def summary(connection: "asyncpg.Connection[Any]", state: SchemaState, batch: str) -> Batch:
    """What this batch changed. Raises UsageError for a name that is no batch's, NotFoundError for one of no batch."""
    try:
        UUID(batch)
    except ValueError:
        raise UsageError(f"{batch!r} is not a batch", hint="batches are listed by: junkie memories history") from None
    row = await connection.fetchrow(
        "SELECT min(at) AS at, min(by) AS by, count(*) FILTER (WHERE action = 'added') AS added,"
        " count(*) FILTER (WHERE action = 'updated') AS updated, count(*) FILTER (WHERE action = 'deleted') AS deleted,"
        " array_agg(DISTINCT user_id) AS user_ids"
        f" FROM {state.qualified(HISTORY)} WHERE batch = $1::text::uuid",
        batch,
    )
    assert row is not None  # an aggregate
    if row["at"] is None:
        raise NotFoundError(f"no batch {batch}", hint="it may be older than is kept: junkie memories history")
    user_ids = row["user_ids"]
    return Batch(
        batch,
        row["at"],
        row["by"],
        row["added"],
        row["updated"],
        row["deleted"],
        len(user_ids),
        tuple(user_ids[:_NAMED_USERS]),
    )


async def newest(connection: "asyncpg.Connection[Any]", state: SchemaState) -> str:
    """The newest batch of ours. Raises NotFoundError when it is an undo, and names the batch to undo next."""
    row = await connection.fetchrow(
        f"SELECT batch::text AS batch, undo_of::text AS undo_of FROM {state.qualified(HISTORY)}"
        " WHERE by IN ('junkie', 'team') ORDER BY change_id DESC LIMIT 1"
    )
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
    table = state.qualified(HISTORY)
    found: str | None = await connection.fetchval(
        f"SELECT batch::text FROM {table} h WHERE undo_of IS NULL AND by IN ('junkie', 'team')"
        f" AND NOT EXISTS (SELECT 1 FROM {table} u WHERE u.undo_of = h.batch) ORDER BY change_id DESC LIMIT 1"
    )
    return found


def _nothing() -> NotFoundError:
    return NotFoundError("nothing to undo", hint="see what was changed: junkie memories history")
