"""Removes outdated changes and duplicates from what an extraction requests.

An extraction may run hours after its message: it must not undo later changes, nor add a known memory again. Plain SQL
in the caller's transaction, under a lock on the user, so that concurrent extractions do not add the same memory twice.
`text_normalizer` defines which texts are equal.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from junkie_cli.core.foreign_values import scaled
from junkie_cli.core.memories.change_log import MemoryChange
from junkie_cli.core.postgres.locks import LOCK_ALONE
from junkie_cli.core.postgres.sql import bind
from junkie_cli.core.schema.registry import HISTORY
from junkie_cli.core.schema.stored_text import storable
from junkie_cli.core.schema.tables import MEMORIES, SchemaState
from junkie_cli.core.text_normalizer import normalized_sql

if TYPE_CHECKING:
    from junkie_cli.core.postgres.connection import Connection


async def without_outdated(
    connection: "Connection", state: SchemaState, user_id: str, changes: Sequence[MemoryChange], said: datetime
) -> list[MemoryChange]:
    """Return `changes` without those that would undo changes made after the message was `said`.

    A memory that was added or changed since keeps its words: an update of it becomes a memory of its own (which
    `without_duplicates` then leaves out if its words are known, or were replaced since), a deletion of it is dropped.
    What an earlier try of the same message changed does not count. Junkie's own changes are compared to the moment;
    those of other programs, where no history is kept of them, by `updated_at`, which has whole seconds: one within
    about a second after the message is not seen. Takes the lock of `without_duplicates`.
    """
    aimed = [change for change in changes if change.action != "added" and change.user_id == user_id]
    if not aimed:
        return list(changes)
    await connection.execute(LOCK_ALONE, _lock_name(state, user_id))
    newer = await _changed_since(connection, state, user_id, aimed, said)
    kept = []
    for change in changes:
        if change.memory_id not in newer or change.action == "added":
            kept.append(change)
        elif change.action == "updated":
            kept.append(replace(change, action="added", memory_id=str(uuid4())))
    return kept


async def _changed_since(
    connection: "Connection", state: SchemaState, user_id: str, aimed: Sequence[MemoryChange], said: datetime
) -> set[str]:
    """Ids of the memories in `aimed` that another message or program changed after `said`; their rows are locked."""
    dated = recorded = "false"
    if state.has_column(MEMORIES, "updated_at"):
        at = scaled("m.updated_at")
        dated = f"""{at} > ceil(extract(epoch FROM :said::timestamptz)) AND {at} <= ceil(extract(epoch FROM now()))
            AND (aimed.input IS NULL OR m.input IS DISTINCT FROM aimed.input)"""
    if state.may("SELECT", HISTORY):
        recorded = f"""EXISTS (
            SELECT 1 FROM {state.qualified(HISTORY)} h
            WHERE h.user_id = :user_id AND h.memory_id = m.memory_id AND h.at > :said::timestamptz
                AND h.action <> 'deleted' AND (h.by <> 'team' OR h.after ->> 'input' IS DISTINCT FROM aimed.input)
        )"""
    statement = f"""
        SELECT m.memory_id FROM {state.qualified(MEMORIES)} m
        JOIN unnest(:memory_ids::text[], :inputs::text[]) aimed (memory_id, input) ON aimed.memory_id = m.memory_id
        WHERE m.user_id = :user_id AND (({dated}) OR {recorded})
        ORDER BY m.memory_id FOR UPDATE OF m"""
    rows = await connection.fetch(
        *bind(
            statement,
            user_id=user_id,
            said=said,
            memory_ids=[change.memory_id for change in aimed],
            inputs=[change.input and storable(change.input) for change in aimed],
        )
    )
    return {row["memory_id"] for row in rows}


def _lock_name(state: SchemaState, user_id: str) -> str:
    return f"junkie remember {state.schema} {user_id}"


async def without_duplicates(
    connection: "Connection", state: SchemaState, user_id: str, changes: Sequence[MemoryChange], said: datetime
) -> list[MemoryChange]:
    """`changes` of one user's memories, made of a message that was `said` then, fitted to what is there now.

    An added memory that is there already is left out, and so is one that was deleted or replaced since the message was
    said: a late extraction must not bring it back. An updated memory that becomes what another memory says is deleted:
    that other one stays. One that is gone meanwhile is added, in its new words. Memories that `changes` themselves
    update or delete do not count as others. Takes a lock on the user, for the rest of the transaction, that the caller
    must not hold in another connection.
    """
    written = [change for change in changes if change.memory is not None]
    if not written:
        return list(changes)
    await connection.execute(LOCK_ALONE, _lock_name(state, user_id))
    twins, gone = await _compare(connection, state, user_id, written, [change.memory_id for change in changes], said)
    kept = []
    for change in changes:
        if change.memory_id in gone and change.memory_id not in twins and change.action == "updated":
            kept.append(replace(change, action="added", memory_id=str(uuid4())))
        elif change.memory_id not in twins:
            kept.append(change)
        elif change.action == "updated":
            kept.append(replace(change, action="deleted", memory=None, topics=None, input=None))
    return kept


async def _compare(
    connection: "Connection",
    state: SchemaState,
    user_id: str,
    written: Sequence[MemoryChange],
    touched: Sequence[str],
    said: datetime,
) -> tuple[set[str], set[str]]:
    """The ids in `written` whose text is not to be written, and those that no memory has.

    Not to be written is what another memory says, or one that comes earlier in `written`, or a text that was deleted
    or replaced after `said`.
    """
    encoding = connection.server_encoding
    stored = state.memory_text()
    before = ""
    if state.may("SELECT", HISTORY):
        text = normalized_sql("(h.before ->> 'memory')", encoding=encoding)
        before = (
            f" OR w.added AND w.key IN (SELECT {text} FROM {state.qualified(HISTORY)} h WHERE h.user_id = $1"
            " AND h.at >= (TABLE said) AND h.action IN ('deleted', 'updated') AND h.before IS NOT NULL)"
        )
    mine = f"{state.qualified(MEMORIES)} m WHERE m.user_id = $1"
    rows = await connection.fetch(
        "WITH said AS (SELECT $6::timestamptz), written AS (SELECT t.memory_id, t.added, t.place, "
        f"{normalized_sql('t.text', encoding=encoding)} AS key"
        " FROM unnest($2::text[], $3::text[], $5::bool[]) WITH ORDINALITY t (memory_id, text, added, place))"
        " SELECT w.memory_id, EXISTS (SELECT 1 FROM written e WHERE e.place < w.place AND e.key = w.key)"
        f" OR w.key IN (SELECT {normalized_sql(stored, encoding=encoding)} FROM {mine}"
        f" AND m.memory_id <> ALL ($4::text[])){before} AS twin,"
        f" NOT EXISTS (SELECT 1 FROM {state.qualified(MEMORIES)} m WHERE m.memory_id = w.memory_id) AS gone"
        " FROM written w",
        user_id,
        [change.memory_id for change in written],
        [change.memory or "" for change in written],
        list(touched),
        [change.action == "added" for change in written],
        said,
    )
    return {row["memory_id"] for row in rows if row["twin"]}, {row["memory_id"] for row in rows if row["gone"]}
