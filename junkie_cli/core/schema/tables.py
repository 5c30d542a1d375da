"""What is in the schema, from the catalogue: tables, columns, generations of agno, indexes, rights.

Agno's tables are named by their role (`MEMORIES`, `SESSIONS`, `RUNS`), for each application names them as it likes
(`core/table_layout.py`); every other table is named by its name. `registry` says what each table is for, `own_tables`
makes ours (`junkie_*`), which live next to agno's in the same schema, so that one dump of the schema holds both.
"""

import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.foreign_values import is_text
from junkie_cli.core.reporting import report
from junkie_cli.core.schema import registry
from junkie_cli.core.schema.registry import MEMORIES as MEMORIES
from junkie_cli.core.schema.registry import OWN_VERSIONS, Feature, TableEntry
from junkie_cli.core.schema.registry import RUNS as RUNS
from junkie_cli.core.schema.registry import SESSIONS as SESSIONS
from junkie_cli.core.schema.views import ROWS_FILTERED
from junkie_cli.core.table_layout import VARIABLES, Layout, Role, TableRef
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

# Our own index on memories, as `pg_get_indexdef` prints its columns: every page of every user in a millisecond.
MEMORIES_BY_USER = ("user_id", "updated_at DESC", "memory_id DESC")
SESSIONS_BY_USER = ("user_id", "updated_at DESC")
_SEARCH_INDEX = "USING gin (to_tsvector('simple'::regconfig, (memory #>> '{}'::text[])))"

# What every generation has and every statement here may name.
_ESSENTIAL: Mapping[Role, tuple[str, ...]] = {
    MEMORIES: ("memory_id", "memory", "topics", "input", "user_id", "agent_id", "team_id", "updated_at"),
    SESSIONS: ("session_id", "user_id", "session_data", "created_at", "updated_at"),
    RUNS: ("run_id", "session_id", "user_id", "parent_run_id", "status", "run_index", "run_data", "created_at"),
}


# What junkie writes of a memory, apart from times: what somebody said, whose it is and where it came from.
MEMORY_COLUMNS = frozenset({"memory_id", "memory", "topics", "input", "user_id", "agent_id", "team_id"})


def literal(text: str) -> str:
    """`text` as a quoted SQL string."""
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """`name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


@frozen
class Table:
    """A table as the catalogue has it: columns by name with their SQL type, and what the current user may do.

    `rows` is the planner's figure, -1 when the table was never analysed. `row_security` is True where policies decide
    which rows the current user gets: whatever is counted or read there may be incomplete. `is_view` is True for a view
    or a foreign table that stands where a table of agno's is expected: it is read, and never written to.
    PostgreSQL fills `generated` columns and `identities` (GENERATED ALWAYS) itself and takes no value for them.
    `loose_owner`: to the database several spellings of `user_id` are equal (citext, a nondeterministic collation).
    """

    columns: Mapping[str, str]
    privileges: frozenset[str]
    rows: float
    row_security: bool = False
    is_view: bool = False
    generated: frozenset[str] = frozenset()
    identities: frozenset[str] = frozenset()
    loose_owner: bool = False

    @property
    def writable(self) -> dict[str, str]:
        """The columns that take a value, with their type."""
        filled = self.generated | self.identities
        return {name: kind for name, kind in self.columns.items() if name not in filled}


@frozen
class Index:
    """An index: its table, its name, its definition as `pg_get_indexdef` prints it, and whether it can be used."""

    table: str
    name: str
    definition: str
    valid: bool


@frozen
class SchemaState:
    """What is in the schema now, as far as the current database user can see.

    `generation` is `none` (no table of agno), `2.2` (memories without created_at), `2.3` (2.3 to 2.9: runs inside
    the sessions) or `3` (a table of runs; an unmigrated one may hold older runs in the old column too). `layout` holds
    the names in force, `tables` what is there by its name.
    """

    layout: Layout
    exists: bool
    may_create: bool
    tables: Mapping[str, Table]
    indexes: tuple[Index, ...]

    @property
    def schema(self) -> str:
        """The schema's name."""
        return self.layout.schema

    def name(self, table: TableRef) -> str:
        """The name of `table`, for people and for what the catalogue calls it."""
        return self.layout.name(table)

    def qualified(self, table: TableRef) -> str:
        """`table` with its schema, quoted for SQL. Raises DatabaseError where agno's columns have other names there."""
        if isinstance(table, Role):
            self.require_columns(table)
        return self.identifier(table)

    def versioned(self, table: TableRef) -> str:
        """`table` for a FROM that gives it an alias, and for statements that ask for `xmin`.

        A view has none: its rows count as written long ago.
        """
        name = self.qualified(table)
        return (
            f"(SELECT v.*, '2'::xid AS xmin FROM {name} v)" if self.has(table) and self.table(table).is_view else name
        )

    def identifier(self, table: TableRef) -> str:
        """`table` with its schema, quoted for SQL, whatever its columns are."""
        return f"{quoted(self.schema)}.{quoted(self.name(table))}"

    def require_columns(self, role: Role) -> None:
        """Raise DatabaseError where agno's columns have other names in the table of this role."""
        missing = [name for name in _ESSENTIAL[role] if self.has(role) and not self.has_column(role, name)]
        if missing:
            raise DatabaseError(
                f"table {self.schema}.{self.name(role)} has no column {', '.join(missing)}; it has"
                f" {', '.join(self.table(role).columns)}",
                hint=f"junkie reads tables as agno makes them: give the columns those names, or name another table with"
                f" {VARIABLES[role]}",
                code="table_columns",
            )

    def has(self, table: TableRef) -> bool:
        """Whether `table` is in the schema."""
        return self.name(table) in self.tables

    def table(self, table: TableRef) -> Table:
        """A table that is there. Raises KeyError when it is not."""
        return self.tables[self.name(table)]

    def has_column(self, table: TableRef, column: str) -> bool:
        """Whether `table` is there and has `column`."""
        return self.has(table) and column in self.table(table).columns

    def column_type(self, table: TableRef, column: str) -> str:
        """SQL type of a column that is there. Raises KeyError when it is not."""
        return self.table(table).columns[column]

    def may(self, privilege: str, table: TableRef) -> bool:
        """Whether the current user holds `privilege` (SELECT, INSERT, UPDATE, DELETE) on `table`; False without it."""
        return self.has(table) and privilege in self.table(table).privileges

    def filtered(self, *tables: TableRef) -> tuple[str, ...]:
        """Those of `tables` (without any: of all in the schema) whose rows row security may hide from this user."""
        names = [self.name(table) for table in tables] or sorted(self.tables)
        return tuple(name for name in names if self.has(name) and self.tables[name].row_security)

    def require_tables(self, *roles: Role) -> None:
        """Raise DatabaseError where a view stands for one of agno's tables: what is to be changed is behind it.

        `roles` are the tables that are changed; without any, all of them.
        """
        for role in roles or Role:
            if self.has(role) and self.table(role).is_view:
                raise DatabaseError(
                    f"{self.schema}.{self.name(role)} is a view, and junkie changes tables only; nothing was changed",
                    hint=f"name the table behind it with {VARIABLES[role]}, and its schema with JUNKIE_SCHEMA",
                    code="table_is_view",
                )

    @property
    def generation(self) -> str:
        """Which agno wrote these tables: `none`, `2.2`, `2.3` or `3`."""
        if self.has(MEMORIES) and not self.has_column(MEMORIES, "created_at"):
            return "2.2"
        if self.has(SESSIONS) and self.has_column(SESSIONS, "runs") and not self.has(RUNS):
            return "2.2" if self.column_type(SESSIONS, "runs") == "json" else "2.3"
        return "3" if any(self.has(table) for table in (MEMORIES, SESSIONS, RUNS)) else "none"

    @property
    def has_runs_column(self) -> bool:
        """Whether runs may lie in `agent_sessions.runs`, as agno 2 keeps them (agno 3 leaves that column behind)."""
        return self.has_column(SESSIONS, "runs") and self.column_type(SESSIONS, "runs") in ("json", "jsonb")

    def keeps(self, feature: Feature) -> bool:
        """Whether the tables of a feature are there and the current user holds the rights that it needs."""
        return all(self._usable(entry) for entry in registry.of_feature(feature))

    def _usable(self, entry: TableEntry) -> bool:
        return self.has(entry.table) and entry.rights <= self.table(entry.table).privileges

    def unusable_own_tables(self) -> tuple[str, ...]:
        """Our tables that are not there, or that the current user may not use."""
        return tuple(str(entry.table) for entry in registry.entries() if entry.is_own and not self._usable(entry))

    def missing_own_tables(self) -> tuple[str, ...]:
        """Our tables that are not there."""
        return tuple(name for name in registry.own_tables() if not self.has(name))

    @property
    def may_migrate(self) -> bool:
        """Whether the current user may make our tables and store their version."""
        if not self.has(OWN_VERSIONS):
            return self.may_create
        versions = self.table(OWN_VERSIONS)
        return self.may_create and not versions.row_security and {"SELECT", "INSERT", "UPDATE"} <= versions.privileges

    @property
    def memories_can_be_put_back(self) -> bool:
        """Whether a memory that was deleted could be inserted again as it was; undo is promised only then."""
        writable = self.table(MEMORIES).writable if self.may("INSERT", MEMORIES) else {}
        return writable.keys() >= MEMORY_COLUMNS and all(map(is_text, writable))

    def require_writable(self) -> None:
        """Raise DatabaseError where PostgreSQL itself fills a column that junkie writes of a memory."""
        filled = MEMORY_COLUMNS - self.table(MEMORIES).writable.keys()
        if filled:
            raise DatabaseError(
                f"PostgreSQL fills column {', '.join(sorted(filled))} of {self.schema}.{self.name(MEMORIES)} itself, so"
                " no memory can be written there; nothing was changed",
                hint="agno needs ordinary columns: see what the table's owner made of them",
                code="column_generated",
            )

    def tables_agno_3_adds(self) -> tuple[str, ...]:
        """Names of the tables that agno 3 will make here at its first write, in its order; none when all are there.

        It never alters a table that is there.
        """
        return tuple(self.name(table) for table in registry.agno_tables() if not self.has(table))

    def has_index(self, table: TableRef, *columns: str) -> bool:
        """Whether a usable index on `table` begins with `columns`, each as `pg_get_indexdef` prints it."""
        wanted = "(" + ", ".join(columns)
        return any(
            index.valid
            and index.table == self.name(table)
            and _begins(index.definition, wanted)
            and " WHERE " not in index.definition
            for index in self.indexes
        )

    @property
    def has_unique_ids(self) -> bool:
        """Whether the database itself keeps two memories from having one id."""
        memories = self.name(MEMORIES)
        return any(
            index.valid
            and index.table == memories
            and index.definition.startswith("CREATE UNIQUE ")
            and _covers(index.definition, "(memory_id)")
            for index in self.indexes
        )

    @property
    def has_search_index(self) -> bool:
        """Whether memories have the full-text index that search can use."""
        memories = self.name(MEMORIES)
        return any(
            index.valid and index.table == memories and _SEARCH_INDEX in index.definition for index in self.indexes
        )

    def missing_indexes(self) -> tuple[tuple[str, str, str], ...]:
        """Indexes worth having that are not there: table, name, and what follows `CREATE INDEX name ON table`."""
        memories, sessions = self.name(MEMORIES), self.name(SESSIONS)
        wanted = (
            (memories, "junkie_memories_user_updated", self.has_index(MEMORIES, *MEMORIES_BY_USER), MEMORIES_BY_USER),
            (sessions, "junkie_sessions_user_updated", self.has_index(SESSIONS, "user_id"), SESSIONS_BY_USER),
        )
        found = [(table, name, f"({', '.join(names)})") for table, name, there, names in wanted if not there]
        if not self.has_search_index:
            found.append((memories, "junkie_memories_text", "USING gin (to_tsvector('simple', memory #>> '{}'))"))
        return tuple(index for index in found if self.has(index[0]) and not self.tables[index[0]].is_view)

    def safe_json(self, expression: str, table: TableRef, column: str) -> str:
        """`expression` of the type of `column`, such that every operator can read it.

        json (agno 2.2) may hold escapes on which operators fail; jsonb cannot.
        """
        return plain_json(expression) if self.column_type(table, column) == "json" else expression

    def memory_text(self, expression: str = "m.memory") -> str:
        """SQL for the text in `expression`, of the type of the memories' column, whatever type that has.

        agno 2.2 escapes non-ASCII in its json, so the JSON text itself cannot be searched.
        """
        if self.column_type(MEMORIES, "memory") not in ("json", "jsonb"):
            return f"({expression}::text)"
        return f"({self.safe_json(expression, MEMORIES, 'memory')} #>> ARRAY[]::text[])"


def is_for_search(definition: str) -> bool:
    """Whether a definition from `SchemaState.missing_indexes` is that of the full-text index."""
    return definition.startswith("USING gin")


def as_agno_stores(source: str, columns: Mapping[str, str]) -> dict[str, str]:
    """SQL of each column of the record `source`: agno writes JSON null, not NULL, where a JSON column has nothing."""
    return {
        name: f"coalesce({source}.{quoted(name)}, 'null')" if kind in ("json", "jsonb") else f"{source}.{quoted(name)}"
        for name, kind in columns.items()
    }


def plain_json(expression: str) -> str:
    """SQL of type json: `expression` without escapes that operators fail on.

    \\u0000 goes, half a pair becomes U+FFFD, and what the server's encoding does not have becomes a question mark.
    Each pattern takes an even number of backslashes before its own, so that an escaped backslash stays one.
    """
    even = r"(?<!\\)((?:\\\\)*)"
    high, low = r"\\u[dD][89abAB][[:xdigit:]]{2}", r"\\u[dD][c-fC-F][[:xdigit:]]{2}"
    # A server with UTF8 translates every character; the others, what their encoding has for certain.
    translated = "CASE getdatabaseencoding() WHEN 'LATIN1' THEN '00' ELSE '00[0-7]' END"
    beyond = (
        "CASE getdatabaseencoding() WHEN 'UTF8' THEN '($^)'"
        rf" ELSE '{even}\\u(?!' || {translated} || ')[[:xdigit:]]{{4}}' END"
    )
    fixed = f"{expression}::text"
    for pattern, replacement in (
        (rf"'{even}\\u0000'", r"\1"),
        (rf"'{even}{high}(?!{low})'", r"\1\\ufffd"),
        (rf"'(?<!{high}){even}{low}'", r"\1\\ufffd"),
        (beyond, r"\1?"),
    ):
        fixed = f"regexp_replace({fixed}, {pattern}, '{replacement}', 'g')"
    suspicious = r"CASE getdatabaseencoding() WHEN 'UTF8' THEN '\\u(0000|[dD][89a-fA-F])' ELSE '\\u' END"
    suspect = f"{expression}::text ~ {suspicious}"
    return f"(CASE WHEN {suspect} THEN {fixed}::json ELSE {expression} END)"


def _covers(definition: str, columns: str) -> bool:
    """Whether an index is on these columns and no others, for every row."""
    _, _, rest = definition.partition(" USING btree ")
    return (rest == columns or rest.startswith(f"{columns} ")) and " WHERE " not in rest


def _begins(definition: str, wanted: str) -> bool:
    _, _, rest = definition.partition(" USING btree ")
    return rest.startswith((wanted + ",", wanted + ")"))


_INSPECT = f"""
SELECT n.oid IS NOT NULL AS exists,
  CASE WHEN n.oid IS NULL THEN has_database_privilege(current_database(), 'CREATE')
       ELSE has_schema_privilege(n.oid, 'CREATE') AND has_schema_privilege(n.oid, 'USAGE') END AS may_create,
  (SELECT json_agg(json_build_object('name', c.relname, 'rows', c.reltuples,
      'row_security', row_security_active(c.oid) OR {ROWS_FILTERED}, 'is_view', c.relkind NOT IN ('r', 'p'), 'columns',
      (SELECT json_object_agg(a.attname, format_type(a.atttypid, NULL) ORDER BY a.attnum)
         FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
      'filled', (SELECT json_object_agg(a.attname, a.attgenerated <> '') FROM pg_catalog.pg_attribute a
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
           AND (a.attgenerated <> '' OR a.attidentity = 'a')),
      'loose_owner', EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
         LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
         LEFT JOIN pg_catalog.pg_collation o ON o.oid = a.attcollation
         WHERE a.attrelid = c.oid AND a.attname = 'user_id'
           AND ('citext' IN (t.typname, b.typname) OR NOT o.collisdeterministic)),
      'privileges', (SELECT json_agg(p) FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p
                      WHERE has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, p))))
     FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f'))::text
     AS tables,
  (SELECT json_agg(json_build_object('table', t.relname, 'name', c.relname, 'valid', i.indisvalid,
      'definition', pg_get_indexdef(i.indexrelid)))
     FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
     JOIN pg_catalog.pg_class t ON t.oid = i.indrelid WHERE c.relnamespace = n.oid)::text AS indexes
FROM (SELECT set_config('quote_all_identifiers', 'off', true)) one
  LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = $1
"""


async def inspect(connection: "asyncpg.Connection[Any]", layout: Layout) -> SchemaState:
    """Read the catalogue once: what is in the schema, and under which names; a schema that is not there is a state."""
    async with transaction(connection):
        row = await connection.fetchrow(_INSPECT, layout.schema)
    assert row is not None
    there = {table["name"]: _table(table) for table in json.loads(row["tables"] or "[]")}
    found = layout.found_in(there)
    _report_names(layout, found, there)
    # Views matter only where one stands for a table of agno's: what is counted or erased is in the tables.
    tables = {name: table for name, table in there.items() if not table.is_view or name in found.names.values()}
    indexes = tuple(Index(**index) for index in json.loads(row["indexes"] or "[]"))
    return SchemaState(found, row["exists"], row["may_create"], tables, indexes)


def _table(row: Mapping[str, Any]) -> Table:
    filled = row["filled"] or {}
    return Table(
        row["columns"] or {},
        frozenset(row["privileges"] or ()),
        row["rows"],
        row["row_security"],
        row["is_view"],
        frozenset(name for name, generated in filled.items() if generated),
        frozenset(name for name, generated in filled.items() if not generated),
        row["loose_owner"],
    )


def _report_names(layout: Layout, found: Layout, there: Mapping[str, Table]) -> None:
    """Report names that nobody configured, tables that are passed over, and configured tables that are not there."""
    own = ", ".join(name for name in found.names.values() if name in there)
    for role in layout.chosen:
        if found.name(role) not in there and (known := layout.known_names(role, there)):
            report(f"schema {layout.schema} has no table {found.name(role)} ({VARIABLES[role]}); it has {known[0]}")
    if found is not layout:
        report(f"schema {layout.schema} has agno's default table names, and these are used: {own}")
    elif own and (others := layout.agno_names_among(there)):
        report(
            f"schema {layout.schema} also has {', '.join(others)}, which are not read; {own} are."
            f" To use the others: {', '.join(VARIABLES.values())}"
        )


def transaction(connection: "asyncpg.Connection[Any]") -> AbstractAsyncContextManager[Any]:
    """A transaction for statements that may already stand in one: a pooler needs one, a savepoint costs two trips."""
    return nullcontext() if connection.is_in_transaction() else connection.transaction()
