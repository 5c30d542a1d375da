"""Memories that say what another memory of the same user says already: found in SQL, among all of them.

Plain SQL in the caller's transaction, under a lock on the user, so that two extractions at once do not both add the
same. What counts as the same is `text_normalizer`'s rule.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from junkie_cli.core.journal import LOCK_ALONE, MemoryChange
from junkie_cli.core.schema import MEMORIES, SchemaState
from junkie_cli.core.text_normalizer import normalized_sql

if TYPE_CHECKING:
    from typing import TypeAlias

    import asyncpg

    Connection: TypeAlias = asyncpg.Connection[Any]


async def without_duplicates(
    connection: "Connection", state: SchemaState, user_id: str, changes: Sequence[MemoryChange]
) -> list[MemoryChange]:
    """`changes` of one user's memories without those that would make a duplicate.

    An added memory that is there already is left out. An updated one that becomes what another memory says is deleted:
    that other one stays. Memories that `changes` themselves update or delete do not count. Takes a lock on the user,
    for the rest of the transaction, that the caller must not hold in another connection.
    """
    written = [change for change in changes if change.memory is not None]
    if not written:
        return list(changes)
    await connection.execute(LOCK_ALONE, f"junkie remember {state.schema} {user_id}")
    twins = await _twins(connection, state, user_id, written, [change.memory_id for change in changes])
    kept = []
    for change in changes:
        if change.memory_id not in twins:
            kept.append(change)
        elif change.action == "updated":
            kept.append(replace(change, action="deleted", memory=None, topics=None, input=None))
    return kept


async def _twins(
    connection: "Connection",
    state: SchemaState,
    user_id: str,
    written: Sequence[MemoryChange],
    touched: Sequence[str],
) -> set[str]:
    """The ids in `written` whose text another memory has, or one that comes earlier in `written`."""
    encoding = str(connection.get_settings().server_encoding)
    stored = state.memory_text()
    rows = await connection.fetch(
        "WITH written AS (SELECT t.memory_id, t.place, "
        f"{normalized_sql('t.text', encoding=encoding)} AS key"
        " FROM unnest($2::text[], $3::text[]) WITH ORDINALITY t (memory_id, text, place))"
        " SELECT w.memory_id FROM written w"
        " WHERE EXISTS (SELECT 1 FROM written e WHERE e.place < w.place AND e.key = w.key)"
        f" OR w.key IN (SELECT {normalized_sql(stored, encoding=encoding)} FROM {state.qualified(MEMORIES)} m"
        " WHERE m.user_id = $1 AND m.memory_id <> ALL ($4::text[]))",
        user_id,
        [change.memory_id for change in written],
        [change.memory or "" for change in written],
        list(touched),
    )
    return {row["memory_id"] for row in rows}
