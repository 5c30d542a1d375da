"""Checks for ids shared by several memories, which a table without a key allows.

Data flows: the catalogue shows whether a key keeps ids unique (`SchemaState.has_unique_ids`); only without a key are
the rows checked.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from junkie_cli.core.errors import JunkieError
from junkie_cli.core.sanitize import quoted_id
from junkie_cli.core.schema.tables import MEMORIES, SchemaState

if TYPE_CHECKING:
    import asyncpg

_NAMED_OWNERS = 5


def not_unique(memory_id: str, owners: Sequence[str | None]) -> JunkieError:
    """Return the error for an id of several memories; `owners` are their owners."""
    named = ", ".join("nobody" if not owner else repr(owner) for owner in owners[:_NAMED_OWNERS])
    return JunkieError(
        f"{len(owners)} memories have the id {quoted_id(memory_id)} (of {named}); nothing was changed",
        hint="give each its own id; to list them: junkie doctor --only memory.ids",
        code="memory_id_not_unique",
    )


async def require_distinct(
    connection: "asyncpg.Connection[Any]", state: SchemaState, condition: str, arguments: Sequence[Any]
) -> None:
    """Raise an error if memories `m` that meet `condition` share id and owner: they could not be restored singly."""
    if state.has_unique_ids:
        return
    row = await connection.fetchrow(
        f"SELECT memory_id, array_agg(m.user_id) AS owners FROM {state.qualified(MEMORIES)} m WHERE {condition}"
        " GROUP BY memory_id, coalesce(m.user_id, '') HAVING count(*) > 1 LIMIT 1",
        *arguments,
    )
    if row is not None:
        raise not_unique(row["memory_id"], row["owners"])


async def require_unique(connection: "asyncpg.Connection[Any]", state: SchemaState, condition: str) -> None:
    """Raise an error if memories `m` that meet `condition` share an id."""
    if state.has_unique_ids:
        return
    row = await connection.fetchrow(
        f"SELECT memory_id, array_agg(m.user_id) AS owners FROM {state.qualified(MEMORIES)} m WHERE {condition}"
        " GROUP BY memory_id HAVING count(*) > 1 LIMIT 1"
    )
    if row is not None:
        raise not_unique(row["memory_id"], row["owners"])
