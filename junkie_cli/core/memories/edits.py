"""Changing memories: add, edit, delete, clear. Each is one transaction, counted in it and read again after it.

Data flows settings -> connection -> `own_tables.prepare` (our tables made where rights allow) -> change log -> what is
now.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from junkie_cli.core.database import connect
from junkie_cli.core.errors import NotFoundError, UsageError
from junkie_cli.core.formatting import plural
from junkie_cli.core.memories import change_log
from junkie_cli.core.memories.change_log import MemoryChange
from junkie_cli.core.memories.listing import find_memory
from junkie_cli.core.memories.model import Memory, columns, memory_of
from junkie_cli.core.memory_ids import not_unique
from junkie_cli.core.postgres.locks import LOCK_ALONE
from junkie_cli.core.postgres.sql import Where, kept_from_changing
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.schema import memories_table, own_tables, row_security, spellings, stored_text, user_ids
from junkie_cli.core.schema import tables as schema
from junkie_cli.core.schema.estimates import all_memories
from junkie_cli.core.schema.registry import HISTORY, Feature
from junkie_cli.core.schema.tables import MEMORIES, SchemaState
from junkie_cli.core.settings import Settings
from junkie_cli.core.table_layout import Layout
from junkie_cli.core.value_class import field, frozen

if TYPE_CHECKING:
    import asyncpg

SAMPLES = 3


@frozen
class Changed:
    """What one change left: the memories as they are stored now (or were, when deleted), and the batch that undoes it.

    `undo` is None when no history is kept; `erased_at` is when this person was erased before. `cascaded` counts
    rows of other tables that foreign keys deleted with the memories, by table: undo does not bring them back.
    """

    memories: tuple[Memory, ...]
    undo: str | None
    erased_at: datetime | None = None
    cascaded: Mapping[str, int] = field(default_factory=dict)


@frozen
class DeletePreview:
    """What a deletion would delete: these memories, and rows of other tables by foreign keys, counted by table."""

    memories: tuple[Memory, ...]
    cascaded: Mapping[str, int]


@frozen
class ClearPreview:
    """What a clear would delete: how many, a few of them, and whether undo would keep them.

    `database` is the server's name of the database; `nearest` holds similar user ids when there is nothing to clear.
    """

    user_id: str | None
    database: str
    before: int
    samples: tuple[Memory, ...]
    undo_days: int
    table_missing: str
    nearest: tuple[str, ...]
    cascaded: Mapping[str, int] = field(default_factory=dict)


@frozen
class Cleared:
    """What a clear did: counted in its transaction, `remaining` read again after it (what others wrote meanwhile)."""

    user_id: str | None
    before: int
    deleted: int
    remaining: int
    undo: str | None
    cascaded: Mapping[str, int] = field(default_factory=dict)


async def _prepare(connection: "asyncpg.Connection[Any]", layout: Layout) -> SchemaState:
    """The state of the schema for a change that sees every row which it counts or compares."""
    state = await own_tables.prepare(connection, layout)
    row_security.require_all_rows(state, *row_security.CHANGED_WITH_MEMORIES)
    return state


async def add_memory(settings: Settings, user_id: str, text: str, topics: tuple[str, ...] = ()) -> Changed:
    """Store a new memory of a user. Raises UsageError for an empty text, and for an invalid id."""
    _require_text(text, *topics, hint='for example: junkie memories add "Ada prefers tea" -u ada')
    if not user_id:
        raise UsageError("a new memory needs an owner", hint="name one with --user")
    user_ids.check_id("user", user_id)
    change = MemoryChange("added", str(uuid4()), user_id, text, list(topics) or None)
    async with connect(settings) as connection:
        await memories_table.ensure_memories_table(connection, settings.layout)
        state = await _prepare(connection, settings.layout)
        async with connection.transaction():
            erased_at = await stored_text.erased_at(connection, state, user_id)
            began = await stored_text.database_time(connection)
            done = await change_log.apply_changes(
                connection, state, [change], by="junkie", keep_days=settings.history_days, began=began
            )
        return Changed((await _again(connection, state, change.memory_id),), done.batch, erased_at)


def _require_text(text: str, *topics: str, hint: str) -> None:
    if not text.strip():
        raise UsageError("a memory needs a text", hint=hint)
    if any(stored_text.storable(each) != each for each in (text, *topics)):
        raise UsageError(
            "the text has bytes that are not UTF-8, or a zero byte", hint="convert it first, for example with iconv"
        )


async def edit_memory(settings: Settings, memory_id: str, text: str) -> Changed:
    """Give a memory another text; owner and topics stay. Raises NotFoundError, UsageError for an empty text."""
    _require_text(text, hint="to remove it: junkie memories delete ID")
    async with connect(settings) as connection:
        state = await _prepare(connection, settings.layout)
        async with connection.transaction():
            found = await find_memory(connection, state, memory_id)
            began = await stored_text.database_time(connection)
            change = MemoryChange("updated", memory_id, found.user_id, text)
            done = await change_log.apply_changes(
                connection, state, [change], by="junkie", keep_days=settings.history_days, began=began
            )
            _require_all(done)
        return Changed((await _again(connection, state, memory_id),), done.batch)


async def _again(connection: "asyncpg.Connection[Any]", state: SchemaState, memory_id: str) -> Memory:
    async with connection.transaction():
        return await find_memory(connection, state, memory_id)


def _require_all(done: change_log.AppliedChanges) -> None:
    if done.missing:
        raise NotFoundError(
            f"no memory {', '.join(done.missing)}; nothing was changed", hint="to list memories: junkie memories list"
        )


async def preview_delete(settings: Settings, memory_ids: list[str]) -> DeletePreview:
    """The memories with these ids, and what would go with them.

    Raises NotFoundError naming those that are not there, DatabaseError for a deletion that is not possible.
    """
    async with connect(settings) as connection, connection.transaction():
        state = await schema.inspect(connection, settings.layout)
        row_security.require_all_rows(state, *row_security.CHANGED_WITH_MEMORIES)
        found = await _find_all(connection, state, memory_ids)
        ids = [memory.memory_id for memory in found]
        return DeletePreview(
            found, await change_log.cascades(connection, state, "m.memory_id = ANY($1::text[])", [ids])
        )


async def delete_memories(settings: Settings, memory_ids: list[str], *, undo: bool = True) -> Changed:
    """Delete these memories, all or none, and return what they were. Raises NotFoundError."""
    async with connect(settings) as connection:
        state = await _prepare(connection, settings.layout)
        async with connection.transaction():
            found = await _find_all(connection, state, memory_ids)
            began = await stored_text.database_time(connection)
            changes = [MemoryChange("deleted", memory.memory_id, memory.user_id) for memory in found]
            done = await change_log.apply_changes(
                connection,
                state,
                changes,
                by="junkie",
                history=undo,
                keep_days=settings.history_days,
                began=began,
            )
            _require_all(done)
        return Changed(found, done.batch, cascaded=done.cascaded)


async def _find_all(
    connection: "asyncpg.Connection[Any]", state: SchemaState, memory_ids: list[str]
) -> tuple[Memory, ...]:
    wanted = list(dict.fromkeys(memory_ids))
    rows: list[Any] = []
    if state.has(MEMORIES):
        rows = await connection.fetch(
            f"SELECT {columns(state)} FROM {state.qualified(MEMORIES)} m WHERE m.memory_id = ANY($1::text[])", wanted
        )
    found = {row["memory_id"]: memory_of(row) for row in rows}
    if len(rows) > len(found):
        ids = [row["memory_id"] for row in rows]
        twice = next(memory_id for memory_id in ids if ids.count(memory_id) > 1)
        raise not_unique(twice, [row["user_id"] for row in rows if row["memory_id"] == twice])
    missing = [memory_id for memory_id in wanted if memory_id not in found]
    if missing:
        raise NotFoundError(
            f"no memory {', '.join(missing)}; nothing was changed", hint="to list memories: junkie memories list"
        )
    return tuple(found[memory_id] for memory_id in wanted)


async def preview_clear(
    settings: Settings, user_id: str | None, *, expect: int | None = None, progress: Progress = SILENT
) -> ClearPreview:
    """What `clear_memories` would delete now; `user_id` None is everybody, "" what belongs to nobody.

    Raises UsageError `unexpected_count` as `clear_memories` does.
    """
    async with connect(settings) as connection, connection.transaction():
        state = await schema.inspect(connection, settings.layout)
        row_security.require_all_rows(state, *row_security.CHANGED_WITH_MEMORIES)
        database = await connection.fetchval("SELECT current_database()")
        recorded = state.keeps(Feature.HISTORY) or (state.may_migrate and not state.has(HISTORY))
        kept = recorded and state.has(MEMORIES) and state.memories_can_be_put_back
        undo_days = settings.history_days if kept else 0
        before, samples, cascaded = 0, tuple[Memory, ...](), dict[str, int]()
        missing = "" if state.has(MEMORIES) else state.name(MEMORIES)
        if state.has(MEMORIES):
            progress.step(f"counting those to clear among {all_memories(state)}")
            before = await _count(connection, state, user_id)
            samples = await _newest(connection, state, user_id) if before else ()
            cascaded = dict(await _cascades(connection, state, user_id)) if before else {}
        _require_count(before, expect)
        nearest = await user_ids.nearest(connection, state, user_id) if user_id and not before else ()
        return ClearPreview(user_id, database, before, samples, undo_days, missing, nearest, cascaded)


async def _cascades(
    connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str | None
) -> Mapping[str, int]:
    where = Where().owned_by("m.user_id", user_id)
    return await change_log.cascades(connection, state, where.sql, where.arguments)


async def _newest(connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str | None) -> tuple[Memory, ...]:
    where = Where().owned_by("m.user_id", user_id)
    # What one user has is sorted: the index on updated_at would be walked past everybody else's rows.
    order = "m.updated_at" if user_id is None else "(m.updated_at + 0)"
    rows = await connection.fetch(
        f"SELECT {columns(state)} FROM {state.qualified(MEMORIES)} m WHERE {where.sql}"
        f" ORDER BY {order} DESC LIMIT {SAMPLES}",
        *where.arguments,
    )
    return tuple(memory_of(row) for row in rows)


async def _count(connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str | None) -> int:
    where = Where().owned_by("m.user_id", user_id)
    query = f"SELECT count(*) FROM {state.qualified(MEMORIES)} m WHERE {where.sql}"
    count: int = await connection.fetchval(query, *where.arguments)
    return count


async def clear_memories(
    settings: Settings,
    user_id: str | None,
    *,
    undo: bool = True,
    expect: int | None = None,
    progress: Progress = SILENT,
) -> Cleared:
    """Delete all memories of one user (None: of everybody, "": of nobody) in one transaction.

    Concurrent calls run one after the other, so that each counts its own deletions. Raises UsageError
    `unexpected_count` if `expect` is given and differs from the actual count.
    """
    async with connect(settings) as connection:
        state = await _prepare(connection, settings.layout)
        if not state.has(MEMORIES):
            _require_count(0, expect)
            return Cleared(user_id, 0, 0, 0, None)
        await spellings.require_one_spelling(connection, state, user_id, undone="nothing was changed")
        keeps = undo and change_log.records_history(state, settings.history_days)
        batch = str(uuid4()) if keeps else None
        where = Where().owned_by("m.user_id", user_id)
        async with connection.transaction(isolation="read_committed"):
            progress.step("waiting for other writers of the same user")
            await connection.execute(LOCK_ALONE, stored_text.lock_name(state, user_id or ""))
            progress.step(f"counting those to clear among {all_memories(state)}")
            before = await _count(connection, state, user_id)
            _require_count(before, expect)
            if not before:
                return Cleared(user_id, 0, 0, 0, None)
            progress.step(
                f"deleting {plural(before, 'memory', 'memories')}{', keeping them for undo' if keeps else ''}"
            )
            cascaded = await _cascades(connection, state, user_id)
            deleted = await change_log.delete_where(connection, state, where.sql, where.arguments, batch=batch)
            if deleted < before and (left := await _count(connection, state, user_id)):
                raise kept_from_changing(left)
            if keeps:
                await change_log.record_cascades(connection, state, batch, cascaded)
                await change_log.close_batch(connection, state, batch, settings.history_days)
        progress.step(f"{plural(deleted, 'memory', 'memories')} deleted; counting the rest")
        async with connection.transaction():
            remaining = await _count(connection, state, user_id)
        return Cleared(user_id, before, deleted, remaining, batch if deleted else None, cascaded)


def _require_count(before: int, expect: int | None) -> None:
    if expect is not None and expect != before:
        raise UsageError(
            f"{plural(before, 'memory is', 'memories are')} found, not {expect} as expected; nothing was deleted",
            hint="count them again: junkie memories clear --dry-run",
            code="unexpected_count",
        )
