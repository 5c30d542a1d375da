"""Rows of tables other than memories in a batch: recording them, and undoing them next to the memories.

Data flows: a command that changes rows of any registered table -> `record_rows` in its transaction -> `undo` -> the
rows as they were. A row that was changed again since is left as it is and counted, as a memory is. Nothing goes that
was not in the batch: where a foreign key would delete rows that were written since, the undo is refused.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.postgres.sql import count_of, require_all_changed
from junkie_cli.core.schema import foreign_keys, registry, row_security
from junkie_cli.core.schema.foreign_keys import Going
from junkie_cli.core.schema.registry import ROWS, Feature
from junkie_cli.core.schema.tables import SchemaState, as_agno_stores, literal, plain_json, quoted
from junkie_cli.core.table_layout import TableRef
from junkie_cli.core.value_class import field, frozen

if TYPE_CHECKING:
    import asyncpg

_TIME = "updated_at"
"""A row of which only this column changed counts as unchanged."""


@frozen
class RowChange:
    """A row of `table` that was changed: `before` and `after` as JSON text, None where there was or is none.

    Of a row that was there and stays, both may hold the changed columns alone.
    """

    table: TableRef
    key: Mapping[str, Any]
    user_id: str | None
    before: str | None
    after: str | None

    @property
    def action(self) -> str:
        """`added`, `updated` or `deleted`."""
        return "added" if self.before is None else "deleted" if self.after is None else "updated"


@frozen
class UndoneRows:
    """What an undo did to other tables than memories, by table: rows changed back, and rows that it left alone.

    `already` counts rows that were as before anyway.
    """

    undone: Mapping[str, int] = field(default_factory=dict)
    conflicts: Mapping[str, int] = field(default_factory=dict)
    already: int = 0


def _tables() -> list[TableRef]:
    """The tables of whose rows this is, those that others reference first; rows of memories are in the history."""
    return [table for table in registry.undoable() if table is not registry.MEMORIES]


async def record_rows(
    connection: "asyncpg.Connection[Any]", state: SchemaState, batch: str, rows: Sequence[RowChange]
) -> bool:
    """Record changed rows with their batch, in the caller's transaction; False where they cannot be recorded.

    Raises ValueError for a table that the registry does not allow in a batch.
    """
    if unknown := {row.table for row in rows} - set(_tables()):
        raise ValueError(f"rows of {unknown} cannot be undone")
    if not rows or not state.keeps(Feature.BATCHES):
        return not rows
    await connection.executemany(
        f"INSERT INTO {state.qualified(ROWS)} (batch, table_name, key, user_id, action, before, after)"
        " VALUES ($1::text::uuid, $2, $3::text::json, $4, $5, $6::text::json, $7::text::json)",
        [
            (
                batch,
                registry.stored_name(row.table),
                json.dumps(dict(row.key)),
                row.user_id,
                row.action,
                row.before,
                row.after,
            )
            for row in rows
        ],
    )
    return True


async def count_rows(connection: "asyncpg.Connection[Any]", state: SchemaState, batch: str) -> Mapping[str, int]:
    """How many rows of other tables than memories a batch changed, by table."""
    if not state.may("SELECT", ROWS):
        return {}
    rows = await connection.fetch(
        "SELECT table_name, count(DISTINCT key::text) AS rows"
        f" FROM {state.qualified(ROWS)} WHERE batch = $1::text::uuid GROUP BY 1 ORDER BY 1",
        batch,
    )
    names = {registry.stored_name(table): state.name(table) for table in _tables()}
    return {names.get(row["table_name"], row["table_name"]): row["rows"] for row in rows}


async def undo_rows(
    connection: "asyncpg.Connection[Any]", state: SchemaState, batch: str, new_batch: str
) -> UndoneRows:
    """Make the rows of `batch` what they were, in the caller's transaction, and record that as `new_batch`.

    Raises DatabaseError where a table is not there, is filtered by row security, or where rows that were written since
    would be deleted with a row.
    """
    tables = await _tables_in(connection, state, batch)
    if not tables:
        return UndoneRows()
    await _compare(connection, state, batch, tables)
    await connection.execute(
        f"INSERT INTO {state.qualified(ROWS)} (batch, table_name, key, user_id, action, before, after)"
        " SELECT $1::text::uuid, table_name, key, user_id, CASE WHEN now IS NULL THEN 'added' WHEN before IS NULL THEN"
        " 'deleted' ELSE 'updated' END, now, before FROM pg_temp.junkie_undo_rows WHERE unchanged",
        new_batch,
    )
    counts = await connection.fetch(
        "SELECT table_name, count(*) FILTER (WHERE unchanged) AS undone, count(*) FILTER (WHERE already) AS already,"
        " count(*) FILTER (WHERE NOT unchanged AND NOT already) AS conflicts FROM pg_temp.junkie_undo_rows GROUP BY 1"
    )
    await _put_back(connection, state, tables, sum(row["undone"] for row in counts))
    names = {registry.stored_name(table): state.name(table) for table in tables}
    return UndoneRows(
        {names[row["table_name"]]: row["undone"] for row in counts if row["undone"]},
        {names[row["table_name"]]: row["conflicts"] for row in counts if row["conflicts"]},
        sum(row["already"] for row in counts),
    )


async def _tables_in(connection: "asyncpg.Connection[Any]", state: SchemaState, batch: str) -> list[TableRef]:
    """The tables of which the batch holds rows, those that others reference first."""
    if not state.keeps(Feature.BATCHES):
        return []
    rows = await connection.fetch(
        f"SELECT DISTINCT table_name FROM {state.qualified(ROWS)} WHERE batch = $1::text::uuid", batch
    )
    found = {row["table_name"] for row in rows}
    tables = [table for table in _tables() if registry.stored_name(table) in found]
    missing = found - {registry.stored_name(table) for table in tables if state.has(table)}
    if missing:
        raise DatabaseError(
            f"the batch changed rows of {', '.join(sorted(missing))}, and schema {state.schema} has no such table now;"
            " nothing was changed",
            hint="see: junkie doctor --only schema.tables,schema.junkie",
            code="undo_table_missing",
        )
    row_security.require_all_rows(state, *tables)
    return tables


# First and last state of each row of the batch.
_NET = """
SELECT DISTINCT ON (table_name, key::text) table_name, key, user_id, first_value(before) OVER w AS before,
  last_value(after) OVER w AS after
FROM {rows} WHERE batch = $1::text::uuid WINDOW w AS
  (PARTITION BY table_name, key::text ORDER BY change_id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
"""


async def _compare(
    connection: "asyncpg.Connection[Any]", state: SchemaState, batch: str, tables: Sequence[TableRef]
) -> None:
    """Fill `junkie_undo_rows`: each row before and after the batch, and now; `unchanged` since is what may go back."""
    plain = any("json" in state.table(table).columns.values() for table in tables)
    before, after = (plain_json(side) if plain else side for side in ("before", "after"))
    await connection.execute(
        f"CREATE TEMP TABLE junkie_undo_rows ON COMMIT DROP AS SELECT table_name, key, user_id, {before} AS before,"
        f" {after} AS after, NULL::json AS now, true AS unchanged, false AS already"
        f" FROM ({_NET.format(rows=state.qualified(ROWS))}) net WHERE before IS NOT NULL OR after IS NOT NULL",
        batch,
    )
    await connection.execute("ANALYZE pg_temp.junkie_undo_rows")
    for table in tables:
        same = _same_row(state, table)
        await connection.execute(
            f"WITH t AS MATERIALIZED (SELECT t.* FROM {state.qualified(table)} t JOIN pg_temp.junkie_undo_rows u"
            f" ON {same} FOR UPDATE OF t) UPDATE pg_temp.junkie_undo_rows u SET now = row_to_json(t),"
            f" unchanged = u.after IS NOT NULL AND {_same_content(state, table, 'u.after')},"
            f" already = u.before IS NOT NULL AND {_same_content(state, table, 'u.before')} FROM t WHERE {same}"
        )
    await connection.execute(
        "UPDATE pg_temp.junkie_undo_rows SET unchanged = false, already = before IS NULL"
        " WHERE now IS NULL AND after IS NOT NULL"
    )
    await connection.execute("UPDATE pg_temp.junkie_undo_rows SET already = false WHERE already AND unchanged")


def _same_row(state: SchemaState, table: TableRef) -> str:
    """SQL: `u` is about the row `t` of `table`."""
    keys = registry.entry_of(table).key
    columns = state.table(table).columns
    pairs = [f"t.{quoted(name)} = (u.key ->> {literal(name)})::{columns[name]}" for name in keys]
    return " AND ".join([f"u.table_name = {literal(registry.stored_name(table))}", *pairs])


def _same_content(state: SchemaState, table: TableRef, side: str) -> str:
    """SQL: the row `t` equals `side` in every column that both have."""
    ignored = {*registry.entry_of(table).key, _TIME}
    tests = []
    for name, kind in state.table(table).writable.items():
        if name in ignored:
            continue
        value = plain_json(f"t.{quoted(name)}") if kind == "json" else f"to_json(t.{quoted(name)})"
        stored = f"({side} -> {literal(name)})"
        tests.append(f"({stored} IS NULL OR {stored}::text = coalesce({value}::text, 'null'))")
    return f"({' AND '.join(tests) or 'true'})"


async def _put_back(
    connection: "asyncpg.Connection[Any]", state: SchemaState, tables: Sequence[TableRef], wanted: int
) -> None:
    await _require_alone(connection, state, tables)
    done = 0
    for table in reversed(tables):
        done += count_of(
            await connection.execute(
                f"DELETE FROM {state.qualified(table)} t USING pg_temp.junkie_undo_rows u"
                f" WHERE u.unchanged AND u.before IS NULL AND {_same_row(state, table)}"
            )
        )
    for table in tables:
        done += await _put_back_into(connection, state, table)
    require_all_changed(done, wanted)


async def _require_alone(connection: "asyncpg.Connection[Any]", state: SchemaState, tables: Sequence[TableRef]) -> None:
    """Raise DatabaseError where deleting the rows that the batch added would delete rows that it did not add."""
    going = [
        Going(
            (state.schema, state.name(table)),
            "EXISTS (SELECT 1 FROM pg_temp.junkie_undo_rows u WHERE u.unchanged AND u.before IS NULL"
            f" AND {_same_row(state, table)})",
            [],
            f"t.{quoted(registry.entry_of(table).owner or 'user_id')}",
        )
        for table in tables
    ]
    found = await foreign_keys.follow(connection, going)
    found.require_unblocked()
    if others := found.counts(state.schema):
        listed = ", ".join(f"{table} ({count})" for table, count in others.items())
        raise DatabaseError(
            f"rows that were written since would be deleted by cascade, in {listed}; nothing was changed",
            hint="delete these rows first if they are not needed, and run this again",
            code="undo_rows_since",
        )


async def _put_back_into(connection: "asyncpg.Connection[Any]", state: SchemaState, table: TableRef) -> int:
    """Update and insert the rows of one table as they were; returns how many."""
    name, columns = state.qualified(table), state.table(table).writable
    # A json column's text is taken as it stands: a record would write its escapes in another way.
    raw = {each: f"coalesce(u.before -> {literal(each)}, 'null')" for each, kind in columns.items() if kind == "json"}
    values = as_agno_stores("r", columns) | raw
    stored = f"pg_temp.junkie_undo_rows u, json_populate_record(NULL::{name}, u.before) r"
    changed = ", ".join(
        f"{quoted(each)} = CASE WHEN (u.before -> {literal(each)}) IS NULL THEN t.{quoted(each)} ELSE {value} END"
        for each, value in values.items()
        if each not in registry.entry_of(table).key
    )
    updated = await connection.execute(
        f"UPDATE {name} t SET {changed} FROM {stored} WHERE u.unchanged AND u.before IS NOT NULL AND u.now IS NOT NULL"
        f" AND {_same_row(state, table)}"
    )
    inserted = values | {each: f"r.{quoted(each)}" for each in state.table(table).identities}
    added = await connection.execute(
        f"INSERT INTO {name} ({', '.join(map(quoted, inserted))}) OVERRIDING SYSTEM VALUE"
        f" SELECT {', '.join(inserted.values())} FROM {stored} WHERE u.unchanged AND u.before IS NOT NULL"
        f" AND u.now IS NULL AND u.table_name = {literal(registry.stored_name(table))}"
    )
    return count_of(updated) + count_of(added)
