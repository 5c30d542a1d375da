"""Memories in, from JSON Lines as `export` writes them: all lines are right and all fit, or nothing is imported.

Data flows file -> each line checked as it is streamed by COPY into a temporary table -> compared with what is stored
-> inserted with its history. One transaction, flat memory.
"""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from junkie_cli.core import memory_ids
from junkie_cli.core.database import connect
from junkie_cli.core.errors import UsageError
from junkie_cli.core.files import open_to_read
from junkie_cli.core.foreign_values import scaled
from junkie_cli.core.memories import change_log
from junkie_cli.core.memories.export import UNQUOTED
from junkie_cli.core.memories.import_lines import NAMED_LINES, TIMES, Lines, named_line
from junkie_cli.core.postgres.locks import LOCK_MOVING
from junkie_cli.core.postgres.sql import EPOCH_NOW, count_of, kept_from_changing, require_all_changed, sha256_of
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.schema import memories_table, own_tables, row_security
from junkie_cli.core.schema.registry import HISTORY, OWN_VERSIONS, TOMBSTONES
from junkie_cli.core.schema.tables import MEMORIES, SchemaState, as_agno_stores, literal, plain_json, quoted
from junkie_cli.core.settings import Settings
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg


@frozen
class Imported:
    """The result of an import, or of its `dry_run`. `undo` is the batch to undo it."""

    read: int
    added: int
    updated: int
    unchanged: int
    undo: str | None
    """batch for memories undo; null when no history is kept"""
    dry_run: bool


async def import_memories(
    settings: Settings,
    path: Path,
    *,
    overwrite: bool = False,
    dry_run: bool = False,
    undo: bool = True,
    even_erased: bool = False,
    progress: Progress = SILENT,
) -> Imported:
    """Add the memories of a JSON Lines file; those that are there already, the same in all that a line says, stay.

    `-` is stdin. A line whose id is stored with another content is a conflict, unless `overwrite`; with another owner
    always. Two at once follow one another. Raises UsageError naming lines or ids, FileError when the file cannot be
    read, LockedError when another program stored the same ids meanwhile; nothing is imported then.
    """
    with await open_to_read(path) as file:
        async with connect(settings, create=True) as connection:
            await memories_table.ensure_memories_table(connection, settings.layout)
            state = await own_tables.prepare(connection, settings.layout)
            row_security.require_all_rows(state, *row_security.CHANGED_WITH_MEMORIES, undone="nothing was imported")
            # After waiting for another import each statement has to see what that one committed.
            transaction = connection.transaction(isolation="read_committed")
            await transaction.start()
            try:
                lines = Lines(path, file, state, progress, encoding=connection.server_encoding)
                await _stage(connection, lines)
                progress.step("waiting for other writers of memories")
                await connection.execute(LOCK_MOVING, state.schema)
                progress.step("comparing with what is stored")
                await _refuse_erased(connection, state, even_erased)
                await _refuse_conflicts(connection, state, overwrite)
                keeps = undo and change_log.records_history(state, settings.history_days)
                batch = str(uuid4()) if keeps else None
                progress.step("storing")
                with change_log.refusing_rows_that_are_there():
                    done = await _merge(connection, state, lines.read, batch, overwrite=overwrite)
                if keeps:
                    await change_log.close_batch(connection, state, done[3], settings.history_days)
            except BaseException:
                await transaction.rollback()
                raise
            await (transaction.rollback() if dry_run else transaction.commit())
    return Imported(lines.read, *done[:3], undo=None if dry_run else done[3], dry_run=dry_run)


# --- staging and merging ----------------------------------------------------------------------------------------------


async def _stage(connection: "asyncpg.Connection[Any]", lines: Lines) -> None:
    await connection.execute(
        "CREATE TEMP TABLE junkie_import (line bigint, row jsonb,"
        " memory_id text GENERATED ALWAYS AS (row ->> 'memory_id') STORED) ON COMMIT DROP"
    )
    await _unless_lost(
        connection,
        connection.copy_to_table(
            "junkie_import", schema_name="pg_temp", source=lines.pieces(), columns=["line", "row"], **UNQUOTED
        ),
    )
    lines.check()
    await connection.execute("ANALYZE pg_temp.junkie_import")
    await _refuse_doubles(connection)


async def _unless_lost(connection: "asyncpg.Connection[Any]", copying: Coroutine[Any, Any, Any]) -> None:
    """Await a copy to the server, and end when the connection does.

    asyncpg waits for room to send, and for ever when the connection is lost just then.
    """
    task = asyncio.ensure_future(copying)

    def lost(_: Any) -> None:
        task.cancel()

    connection.add_termination_listener(lost)
    try:
        await task
    except asyncio.CancelledError:
        if connection.is_closed():
            raise ConnectionResetError from None
        raise
    finally:
        connection.remove_termination_listener(lost)


async def _refuse_doubles(connection: "asyncpg.Connection[Any]") -> None:
    """The same line twice counts once; two lines with one id and another content are a fault of the file."""
    ids = await connection.fetch("SELECT memory_id FROM pg_temp.junkie_import GROUP BY memory_id HAVING count(*) > 1")
    if not ids:
        return
    doubles = await connection.fetch(
        "SELECT array_agg(line ORDER BY line) AS lines, count(DISTINCT row) AS contents FROM pg_temp.junkie_import"
        " WHERE memory_id = ANY($1::text[]) GROUP BY memory_id",
        [row["memory_id"] for row in ids],
    )
    different = [double["lines"] for double in doubles if double["contents"] > 1][:NAMED_LINES]
    if different:
        named = "; ".join(f"{named_line(lines[1])} has the memory_id of {named_line(lines[0])}" for lines in different)
        raise UsageError(named, hint="correct the file; nothing was imported", code="import_bad_line")
    again = [line for double in doubles for line in double["lines"][1:]]
    await connection.execute("DELETE FROM pg_temp.junkie_import WHERE line = ANY($1::bigint[])", again)


async def _refuse_erased(connection: "asyncpg.Connection[Any]", state: SchemaState, even_erased: bool) -> None:
    """No erased person comes back by an old file; an erasure that is under way waits for us, and finds our rows."""
    if even_erased or not state.may("SELECT", TOMBSTONES) or not state.may("SELECT", OWN_VERSIONS):
        return
    await change_log.hold_off_erasures(connection, state)
    row = await connection.fetchrow(
        "SELECT count(*) AS users, min(line) AS line FROM (SELECT row ->> 'user_id' AS user_id, min(line) AS line"
        f" FROM pg_temp.junkie_import GROUP BY 1) u JOIN {state.qualified(TOMBSTONES)} t ON t.user_hash ="
        f" (SELECT {sha256_of('value || u.user_id')} FROM {state.qualified(OWN_VERSIONS)}"
        " WHERE name = 'salt')"
    )
    if row["users"]:
        raise UsageError(
            f"{row['users']} of its users were erased (the first is in {named_line(row['line'])});"
            " nothing was imported",
            hint="leave their lines out, or bring them back with --even-erased",
            code="import_erased",
        )


async def _refuse_conflicts(connection: "asyncpg.Connection[Any]", state: SchemaState, overwrite: bool) -> None:
    await memory_ids.require_unique(connection, state, "memory_id IN (SELECT memory_id FROM pg_temp.junkie_import)")
    await connection.execute(
        f"SELECT 1 FROM {state.qualified(MEMORIES)} m JOIN pg_temp.junkie_import i USING (memory_id) FOR UPDATE OF m"
    )
    other_owner = "coalesce(m.user_id, '') <> coalesce(i.row ->> 'user_id', '')"
    conflict = other_owner if overwrite else f"({other_owner} OR NOT {_same(state)})"
    rows = await connection.fetch(
        f"SELECT i.line, i.memory_id, {other_owner} AS other_owner, count(*) OVER () AS total"
        f" FROM pg_temp.junkie_import i JOIN {state.qualified(MEMORIES)} m USING (memory_id) WHERE {conflict}"
        f" ORDER BY i.line LIMIT {NAMED_LINES}"
    )
    if not rows:
        return
    named = "; ".join(
        f"{named_line(row['line'])}: {row['memory_id']}"
        f" {'has another owner' if row['other_owner'] else 'says something else'}"
        for row in rows
    )
    only_owners = all(row["other_owner"] for row in rows)
    raise UsageError(
        f"{rows[0]['total']} conflicts with what is stored; nothing was imported: {named}",
        hint="an owner never changes" if only_owners else "to take the file's version of them: --overwrite",
        code="import_conflict",
    )


def _same(state: SchemaState) -> str:
    """SQL: the stored row `m` says what the line `i.row` says, in every field that the line has."""
    stored = {
        name: _as_jsonb(f"m.{quoted(name)}", name, kind)
        for name, kind in state.table(MEMORIES).writable.items()
        if name != "memory_id"
    }
    tests = [
        f"(NOT i.row ? {literal(name)} OR i.row -> {literal(name)} = coalesce({value}, 'null'))"
        for name, value in stored.items()
    ]
    return f"({' AND '.join(tests)})"


def _as_jsonb(column: str, name: str, kind: str) -> str:
    """SQL of a column as a line has it: times are in seconds there."""
    if kind == "json":
        return f"({plain_json(column)})::jsonb"
    return f"to_jsonb({scaled(column) if kind == 'bigint' and name in TIMES else column})"


_DIFFERING = "SELECT count(*) FROM {memories} m JOIN pg_temp.junkie_import i USING (memory_id) WHERE NOT {same}"
_LEFT_OUT = (
    "SELECT count(*) FROM pg_temp.junkie_import i"
    " WHERE NOT EXISTS (SELECT 1 FROM {memories} m WHERE m.memory_id = i.memory_id)"
)


async def _merge(
    connection: "asyncpg.Connection[Any]", state: SchemaState, read: int, batch: str | None, *, overwrite: bool
) -> tuple[int, int, int, str | None]:
    """Insert what is new, overwrite what differs: (added, updated, unchanged, batch)."""
    await change_log.mark_writer(connection, "junkie")
    arguments = [batch] if batch else []
    updated = 0
    if overwrite:
        differing = await connection.fetchval(_DIFFERING.format(memories=state.qualified(MEMORIES), same=_same(state)))
        updated = count_of(await connection.execute(_update(state, batch), *arguments))
        require_all_changed(updated, differing)
    added = count_of(await connection.execute(_insert(state, batch), *arguments))
    left_out = await connection.fetchval(_LEFT_OUT.format(memories=state.qualified(MEMORIES)))
    if left_out:
        raise kept_from_changing(left_out)
    return added, updated, read - added - updated, batch if added or updated else None


def _update(state: SchemaState, batch: str | None) -> str:
    memories = state.qualified(MEMORIES)
    kept = {"memory_id", "user_id"}
    values = ", ".join(
        f"{quoted(name)} = CASE WHEN i.row ? {literal(name)} THEN {value} ELSE m.{quoted(name)} END"
        for name, value in as_agno_stores("r", state.table(MEMORIES).writable).items()
        if name not in kept
    )
    if batch is None:
        return (
            f"UPDATE {memories} m SET {values} FROM pg_temp.junkie_import i,"
            f" jsonb_populate_record(NULL::{memories}, i.row) r WHERE m.memory_id = i.memory_id AND NOT {_same(state)}"
        )
    return (
        f"WITH old AS MATERIALIZED (SELECT m.memory_id, row_to_json(m) AS row FROM {memories} m"
        f" JOIN pg_temp.junkie_import i USING (memory_id) WHERE NOT {_same(state)}),"
        f" new AS (UPDATE {memories} m SET {values} FROM old, pg_temp.junkie_import i,"
        f" jsonb_populate_record(NULL::{memories}, i.row) r"
        " WHERE m.memory_id = old.memory_id AND i.memory_id = old.memory_id"
        " RETURNING m.memory_id, m.user_id, row_to_json(m) AS row)"
        f" INSERT INTO {state.qualified(HISTORY)} (batch, by, action, memory_id, user_id, before, after)"
        " SELECT $1::text::uuid, 'junkie', 'updated', new.memory_id, new.user_id, old.row, new.row"
        " FROM new JOIN old USING (memory_id)"
    )


def _insert(state: SchemaState, batch: str | None) -> str:
    memories = state.qualified(MEMORIES)
    columns = as_agno_stores("r", state.table(MEMORIES).writable)
    if "created_at" in columns:  # exports of agno 2.2 lack it
        columns["created_at"] = f"coalesce(r.created_at, r.updated_at, {EPOCH_NOW})"
    insert = (
        f"INSERT INTO {memories} AS m ({', '.join(quoted(name) for name in columns)})"
        f" SELECT {', '.join(columns.values())} FROM pg_temp.junkie_import i,"
        f" jsonb_populate_record(NULL::{memories}, i.row) r"
        f" WHERE NOT EXISTS (SELECT 1 FROM {memories} o WHERE o.memory_id = i.memory_id)"
    )
    if batch is None:
        return insert
    return (
        f"WITH new AS ({insert} RETURNING m.memory_id, m.user_id, row_to_json(m) AS row)"
        f" INSERT INTO {state.qualified(HISTORY)} (batch, by, action, memory_id, user_id, after)"
        " SELECT $1::text::uuid, 'junkie', 'added', memory_id, user_id, row FROM new"
    )
