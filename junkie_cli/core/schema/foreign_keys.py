"""What deleting rows does to other rows: foreign keys from the catalogue, followed before anything is deleted.

PostgreSQL deletes by cascade without counting, as the owner of the tables and past row security. So the rows that are
to go are collected first (`Going` -> a temporary table of this transaction), each cascade is followed from there by
(tableoid, ctid), and what it reaches is counted by foreign key: whose rows go, which rows stand in the way, and which
only lose their reference. Structure decides, not names: a row belongs to whom its `user_id` or `author_id` names, and
without either to the owner of the row that it depends on.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.formatting import plural
from junkie_cli.core.postgres.sql import count_of
from junkie_cli.core.schema import row_security
from junkie_cli.core.schema.registry import OWNER_COLUMNS
from junkie_cli.core.schema.tables import quoted
from junkie_cli.core.value_class import field, frozen

if TYPE_CHECKING:
    import asyncpg

_CASCADE, _RESTRICTING, _CLEARING = "c", "ar", "nd"
_GOING = "pg_temp.junkie_going"
_NAMED_OWNERS = 20

_READ = """
SELECT json_agg(json_build_object('name', k.conname, 'action', k.confdeltype::text,
  'table', json_build_array(cn.nspname, c.relname), 'child', json_build_array(rn.nspname, r.relname),
  'target', json_build_array(pn.nspname, p.relname), 'parent', json_build_array(qn.nspname, q.relname),
  'columns', (SELECT json_agg(a.attname ORDER BY n) FROM unnest(k.conkey) WITH ORDINALITY u(number, n)
     JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number),
  'target_columns', (SELECT json_agg(a.attname ORDER BY n) FROM unnest(k.confkey) WITH ORDINALITY u(number, n)
     JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number),
  'owners', (SELECT coalesce(json_agg(a.attname ORDER BY a.attname DESC), '[]') FROM pg_catalog.pg_attribute a
     WHERE a.attrelid = k.conrelid AND a.attname = ANY($1::text[]) AND NOT a.attisdropped),
  'readable', has_schema_privilege(cn.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'),
  'row_security', row_security_active(c.oid), 'lockable', has_table_privilege(p.oid, 'UPDATE'))
  ORDER BY cn.nspname, c.relname, k.conname)::text
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
JOIN pg_catalog.pg_class p ON p.oid = k.confrelid JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
JOIN pg_catalog.pg_class r ON r.oid = coalesce(pg_partition_root(c.oid), c.oid)
JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
JOIN pg_catalog.pg_class q ON q.oid = coalesce(pg_partition_root(p.oid), p.oid)
JOIN pg_catalog.pg_namespace qn ON qn.oid = q.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0
"""


@frozen
class ForeignKey:
    """A foreign key: `columns` of `table` hold what `target_columns` of `target` hold; tables are (schema, name).

    `child` and `parent` are the same tables, of partitions the partitioned one. `action` is ON DELETE's, as the
    catalogue has it: `c` cascade, `a` no action, `r` restrict, `n` set null, `d` set default.
    """

    name: str
    action: str
    table: tuple[str, str]
    child: tuple[str, str]
    target: tuple[str, str]
    parent: tuple[str, str]
    columns: tuple[str, ...]
    target_columns: tuple[str, ...]
    owners: tuple[str, ...]
    readable: bool
    row_security: bool
    lockable: bool


@frozen
class Going:
    """Rows that are to be deleted: those of `table` (schema, name), as `alias`, that meet `condition`.

    `owner` is SQL of whose rows they are. Both may use `arguments` as $1 and on.
    """

    table: tuple[str, str]
    condition: str
    arguments: Sequence[Any]
    owner: str
    alias: str = "t"

    @property
    def sql(self) -> str:
        """The table with its alias."""
        return f"{identifier(self.table)} {self.alias}"


@frozen
class Reached:
    """What one foreign key reaches: how many rows, and how many of them are other people's than the row deleted."""

    key: ForeignKey
    rows: int
    others: int = 0
    owners: tuple[str, ...] = ()


@frozen
class Consequences:
    """What a deletion does besides: rows deleted by cascade, rows that stand in the way, rows that lose a reference.

    `order` lists the tables that were given, those that reference others before these; `direct` counts their rows,
    where foreign keys matter for them.
    """

    deleted: tuple[Reached, ...] = ()
    blocked: tuple[Reached, ...] = ()
    cleared: tuple[Reached, ...] = ()
    order: tuple[tuple[str, str], ...] = ()
    direct: Mapping[tuple[str, str], int] = field(default_factory=dict)

    @property
    def planned(self) -> dict[tuple[str, str], int]:
        """Rows that go by cascade, by table."""
        counts: dict[tuple[str, str], int] = {}
        for each in self.deleted:
            counts[each.key.child] = counts.get(each.key.child, 0) + each.rows
        return counts

    def counts(self, schema: str) -> dict[str, int]:
        """Rows that go by cascade, by table; those outside `schema` with theirs."""
        return _counts(self.deleted, schema)

    def references(self, schema: str) -> dict[str, int]:
        """Rows that stay and lose their reference, by table."""
        return _counts(self.cleared, schema)

    @property
    def owners(self) -> tuple[str, ...]:
        """Other people whose rows go, the first of them."""
        return tuple(sorted({owner for reached in self.deleted for owner in reached.owners}))

    def require_unblocked(self) -> None:
        """Raise DatabaseError `rows_referenced` where the server would refuse the deletion."""
        if not self.blocked:
            return
        first = self.blocked[0].key
        raise DatabaseError(
            f"what is to be deleted is still referenced by {_listed(self.blocked)}; nothing was changed",
            hint=f"delete these rows or change what they reference, and run this again; see them:"
            f" SELECT * FROM {identifier(first.table)}",
            code="rows_referenced",
        )

    def require_own(self) -> None:
        """Raise DatabaseError `rows_of_others` where a cascade reaches other people's rows."""
        others = [reached for reached in self.deleted if reached.others]
        if not others:
            return
        key = others[0].key
        raise DatabaseError(
            f"{_listed(others, others=True)} would be deleted by cascade; nothing was changed",
            hint=f"let these rows reference a row that stays, or give the row of {label(key.target)} that they"
            f" reference to their owner, and run this again; see them: SELECT * FROM {identifier(key.table)}",
            code="rows_of_others",
        )


def label(table: tuple[str, str]) -> str:
    """`schema.table`, for people."""
    return ".".join(table)


def _counts(reached: Iterable[Reached], schema: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for each in reached:
        name = each.key.child[1] if each.key.child[0] == schema else label(each.key.child)
        counts[name] = counts.get(name, 0) + each.rows
    return counts


def _listed(reached: Sequence[Reached], *, others: bool = False) -> str:
    """`2 rows of other users in ai.notes (foreign key notes_memory_fkey)`, one after the other."""
    return ", ".join(
        f"{plural(each.others if others else each.rows, 'row', 'rows')} of{' other users in' if others else ''}"
        f" {label(each.key.table)} (foreign key {each.key.name})"
        for each in reached
    )


async def read(connection: "asyncpg.Connection[Any]") -> tuple[ForeignKey, ...]:
    """All foreign keys of the database, in the caller's transaction."""
    found = await connection.fetchval(_READ, list(OWNER_COLUMNS))
    return tuple(_key(entry) for entry in json.loads(found or "[]"))


def _key(entry: dict[str, Any]) -> ForeignKey:
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
    return ForeignKey(**fields)


_DELETED = """
SELECT n.nspname AS schema, r.relname AS name, sum(pg_stat_get_xact_tuples_deleted(c.oid))::bigint AS rows
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_class r ON r.oid = coalesce(pg_partition_root(c.oid), c.oid)
JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND pg_stat_get_xact_tuples_deleted(c.oid) > 0
  AND EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = ANY($1::text[]))
GROUP BY 1, 2 ORDER BY 1, 2
"""


async def deleted(connection: "asyncpg.Connection[Any]") -> dict[tuple[str, str], int]:
    """How many rows of tables with owners this transaction has deleted so far, by cascades and triggers too.

    The server's own count; nothing where its statistics are off (`track_counts`).
    """
    rows = await connection.fetch(_DELETED, list(OWNER_COLUMNS))
    return {(row["schema"], row["name"]): row["rows"] for row in rows}


def require_planned(gone: Mapping[tuple[str, str], int], planned: Mapping[tuple[str, str], int]) -> None:
    """Raise DatabaseError where more rows of a table are `gone` than are `planned`."""
    for table, count in gone.items():
        if (more := count - planned.get(table, 0)) > 0:
            raise DatabaseError(
                f"{plural(more, 'row', 'rows')} of {label(table)} would be deleted that were not counted before, by a"
                " trigger or because they were written meanwhile; nothing was changed",
                hint=f"run this again; if it fails again, check the triggers that delete from {label(table)}",
                code="rows_not_counted",
            )


async def follow(
    connection: "asyncpg.Connection[Any]", going: Sequence[Going], keys: Sequence[ForeignKey] | None = None
) -> Consequences:
    """What deleting the rows of `going` would do besides, in the caller's transaction; nothing is deleted.

    `keys` are all foreign keys, where they were read already. Raises DatabaseError where rows that a cascade reaches
    cannot be counted by this database user.
    """
    keys = await read(connection) if keys is None else keys
    order = _children_first(dict.fromkeys(each.table for each in going), keys)
    concerned = _reachable({each.table for each in going}, keys)
    if not concerned:
        return Consequences(order=order)
    _require_countable(concerned)
    await connection.execute(
        "CREATE TEMP TABLE junkie_going (leaf oid, row_id tid, step int, via int, owner text,"
        " PRIMARY KEY (leaf, row_id)) ON COMMIT DROP"
    )
    touched = {table for key in concerned for table in (key.parent, key.child)}
    starts = [each for each in going if each.table in touched]
    direct = {}
    for each in starts:
        done = await connection.execute(
            f"INSERT INTO {_GOING} SELECT {each.alias}.tableoid, {each.alias}.ctid, 0, NULL,"
            f" coalesce({each.owner}, '') FROM {each.sql} WHERE {each.condition}"
            f"{_lock(each, concerned)} ON CONFLICT DO NOTHING",
            *each.arguments,
        )
        direct[each.table] = count_of(done)
    await connection.execute(f"ANALYZE {_GOING}")
    await _spread(connection, concerned, {each.table for each in starts})
    reached = await _count(connection, concerned)
    await connection.execute(f"DROP TABLE {_GOING}")
    return Consequences(
        tuple(each for each in reached if each.key.action == _CASCADE),
        tuple(each for each in reached if each.key.action in _RESTRICTING),
        tuple(each for each in reached if each.key.action in _CLEARING),
        order,
        direct,
    )


def _lock(going: Going, keys: Iterable[ForeignKey]) -> str:
    """SQL that holds the rows, so that nobody adds one that references them once they are counted."""
    own = [key for key in keys if key.parent == going.table]
    return f" FOR UPDATE OF {going.alias}" if own and all(key.lockable for key in own) else ""


def _reachable(tables: set[tuple[str, str]], keys: Iterable[ForeignKey]) -> list[ForeignKey]:
    """The foreign keys that reference `tables`, or a table that cascades from them reach."""
    found: dict[ForeignKey, None] = {}
    reached, frontier = set(tables), set(tables)
    while frontier:
        new = [key for key in keys if key.parent in frontier and key not in found]
        found |= dict.fromkeys(new)
        frontier = {key.child for key in new if key.action == _CASCADE} - reached
        reached |= frontier
    return list(found)


def _children_first(tables: Iterable[tuple[str, str]], keys: Iterable[ForeignKey]) -> tuple[tuple[str, str], ...]:
    """`tables`, each after those that reference it; where they reference one another in a circle, as they come."""
    left, ordered = list(tables), list[tuple[str, str]]()
    references = {(key.child, key.parent) for key in keys if key.child != key.parent}
    while left:
        free = [table for table in left if not any((child, table) in references for child in left)]
        ordered += free or left[:1]
        left = [table for table in left if table not in ordered]
    return tuple(ordered)


def _require_countable(keys: Iterable[ForeignKey]) -> None:
    for key in keys:
        if key.action in _RESTRICTING:
            continue  # the server itself refuses
        if not key.readable:
            raise DatabaseError(
                f"rows of {label(key.table)} would go or change by the foreign key {key.name}, and this database user"
                " may not read them; nothing was changed",
                hint=f"GRANT SELECT ON {identifier(key.table)} to this database user",
                code="database_rights",
            )
        if key.row_security:
            raise DatabaseError(
                f"row security may hide rows of {label(key.table)} from this database user, which would go or change"
                f" by the foreign key {key.name}; nothing was changed",
                hint=row_security.HINT,
                code=row_security.CODE,
            )


async def _spread(
    connection: "asyncpg.Connection[Any]", keys: Sequence[ForeignKey], frontier: set[tuple[str, str]]
) -> None:
    """Add the rows that cascades reach, from those of the step before, until there are no new ones."""
    step = 0
    while frontier:
        reached = set()
        for via, key in enumerate(keys):
            if key.action != _CASCADE or key.parent not in frontier:
                continue
            done = await connection.execute(
                f"INSERT INTO {_GOING} SELECT c.tableoid, c.ctid, {step + 1}, {via}, g.owner"
                f" FROM {_referencing(key)} WHERE g.step = {step} ON CONFLICT DO NOTHING"
            )
            if count_of(done):
                reached.add(key.child)
        frontier, step = reached, step + 1


def _referencing(key: ForeignKey) -> str:
    """SQL: rows `c` that reference a row `p` which goes, `g`."""
    pairs = zip(key.columns, key.target_columns, strict=True)
    same = " AND ".join(f"c.{quoted(column)} = p.{quoted(target)}" for column, target in pairs)
    return (
        f"{_GOING} g JOIN {identifier(key.target)} p ON p.tableoid = g.leaf AND p.ctid = g.row_id"
        f" JOIN {identifier(key.table)} c ON {same}"
    )


async def _count(connection: "asyncpg.Connection[Any]", keys: Sequence[ForeignKey]) -> list[Reached]:
    counts = [_counting(via, key) for via, key in enumerate(keys) if key.readable and not key.row_security]
    if not counts:
        return []
    rows = await connection.fetch(" UNION ALL ".join(counts))
    return [
        Reached(keys[row["via"]], row["rows"], row["others"], tuple(row["owners"] or ())) for row in rows if row["rows"]
    ]


def _counting(via: int, key: ForeignKey) -> str:
    if key.action != _CASCADE:
        stays = f"NOT EXISTS (SELECT 1 FROM {_GOING} x WHERE x.leaf = c.tableoid AND x.row_id = c.ctid)"
        return (
            f"SELECT {via} AS via, count(DISTINCT (c.tableoid, c.ctid)) AS rows, 0::bigint AS others,"
            f" NULL::text[] AS owners FROM {_referencing(key)} WHERE {stays}"
        )
    named = [f"nullif(c.{quoted(column)}::text, '')" for column in key.owners] or ["NULL::text"]
    own = " OR ".join(f"coalesce({owner} = g.owner, false)" for owner in named)
    other = f"coalesce({', '.join(named)}) IS NOT NULL AND NOT ({own})"
    return (
        f"SELECT {via} AS via, count(*) AS rows, count(*) FILTER (WHERE {other}) AS others,"
        f" (array_agg(DISTINCT coalesce({', '.join(named)})) FILTER (WHERE {other}))[1:{_NAMED_OWNERS}] AS owners"
        f" FROM {_GOING} g JOIN {identifier(key.table)} c ON c.tableoid = g.leaf AND c.ctid = g.row_id"
        f" WHERE g.via = {via}"
    )


def identifier(table: tuple[str, str]) -> str:
    """`table` quoted for SQL."""
    return ".".join(map(quoted, table))
