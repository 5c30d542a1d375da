"""Ids that several memories have: a table without a key allows them, and no statement may take one for the other.

Data flows: the catalogue tells whether a key keeps ids unique (`SchemaState.has_unique_ids`); only where none does are
the rows themselves asked.
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
    """What to raise for an id that several memories have; `owners` are theirs."""
    named = ", ".join("nobody" if not owner else repr(owner) for owner in owners[:_NAMED_OWNERS])
    return JunkieError(
        f"{len(owners)} memories have the id {quoted_id(memory_id)} (of {named}); nothing was changed",
        hint="each needs an id of its own: junkie doctor --only memory.ids names them all",
        code="memory_id_not_unique",
    )


async def require_distinct(
    connection: "asyncpg.Connection[Any]", state: SchemaState, condition: str, arguments: Sequence[Any]
) -> None:
    """Refuse what is to be put back one by one where memories `m` that meet `condition` share id and owner."""
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
    """Refuse where one of the memories `m` that meet `condition` shares its id with another of them."""
    if state.has_unique_ids:
        return
    row = await connection.fetchrow(
        f"SELECT memory_id, array_agg(m.user_id) AS owners FROM {state.qualified(MEMORIES)} m WHERE {condition}"
        " GROUP BY memory_id HAVING count(*) > 1 LIMIT 1"
    )
    if row is not None:
        raise not_unique(row["memory_id"], row["owners"])
