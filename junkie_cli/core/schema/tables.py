"""The one place that knows agno's tables and ours: columns, generations, indexes, and how ours are made.

Agno's tables are named by their role (`MEMORIES`, `SESSIONS`, `RUNS`), for each application names them as it likes
(`core/table_layout.py`); every other table is named by its name.

Agno's tables are never changed here. Ours (`junkie_*`) live beside them in the same schema, so that one dump of the
schema holds both, and are made on the first change of a memory, under a transaction-level lock that a pooler keeps.
"""

import json
import re
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.foreign_values import is_text
from junkie_cli.core.reporting import report
from junkie_cli.core.schema.views import ROWS_FILTERED
from junkie_cli.core.table_layout import VARIABLES, Layout, Role, TableRef
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

MEMORIES = Role.MEMORIES
SESSIONS = Role.SESSIONS
RUNS = Role.RUNS
VERSIONS = "agno_schema_versions"

PENDING = "junkie_pending"
HISTORY = "junkie_history"
TOMBSTONES = "junkie_tombstones"
ERASURES = "junkie_erasures"
OWN_VERSIONS = "junkie_versions"
LEARNED = "junkie_learned"  # made by `memories learn` alone, so it is none of OWN_TABLES
CASCADES = "junkie_cascades"  # made where a foreign key deletes rows with a memory
OWN_TABLES = (PENDING, HISTORY, TOMBSTONES, ERASURES, OWN_VERSIONS)
OWN_VERSION = 1

# Our own index on memories, as `pg_get_indexdef` prints its columns: every page of every user in a millisecond.
MEMORIES_BY_USER = ("user_id", "updated_at DESC", "memory_id DESC")
SESSIONS_BY_USER = ("user_id", "updated_at DESC")
_SEARCH_INDEX = "USING gin (to_tsvector('simple'::regconfig, (memory #>> '{}'::text[])))"

# What agno 3 makes by itself at its first write when the schema lacks it (it never alters an existing table).
_AGNO_3_TABLES: tuple[TableRef, ...] = (SESSIONS, RUNS, MEMORIES, VERSIONS)

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

    @property
    def has_own_tables(self) -> bool:
        """Whether all of our tables are there and the current user may write history and read tombstones."""
        return (
            all(self.has(table) for table in OWN_TABLES)
            and {"SELECT", "INSERT", "DELETE"} <= self.tables[HISTORY].privileges
            and self.may("SELECT", TOMBSTONES)
            and self.may("SELECT", OWN_VERSIONS)
        )

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
        """Names of the tables that agno 3 will make here at its first write, in its order; none when all are there."""
        return tuple(self.name(table) for table in _AGNO_3_TABLES if not self.has(table))

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


async def prepare(connection: "asyncpg.Connection[Any]", layout: Layout) -> SchemaState:
    """The state of the schema before a change: with our own tables made or brought up, where rights allow it.

    Raises DatabaseError where a view stands for a table of agno's.
    """
    state = await inspect(connection, layout)
    state.require_tables()
    if state.has_own_tables and await _own_version(connection, state) == OWN_VERSION:
        return state
    return await inspect(connection, layout) if await ensure_own_tables(connection, layout) else state


def tables_lock(layout: Layout) -> str:
    """The text that stands for the making of tables in a schema, in an advisory lock."""
    return f"junkie tables {layout.schema}"


async def ensure_own_tables(connection: "asyncpg.Connection[Any]", layout: Layout) -> bool:
    """Make our tables, or bring them up to this version, and say whether they can be used.

    Safe from several processes at once. False when the database user lacks the right to make or to use them: history,
    undo and pending extractions are then off. Raises DatabaseError when they were made by a newer junkie.
    """
    async with transaction(connection):
        state = await inspect(connection, layout)
        if state.has_own_tables and await _own_version(connection, state) == OWN_VERSION:
            return True
        if not state.may_create:
            return state.has_own_tables
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 7316))", tables_lock(layout))
        state = await inspect(connection, layout)
        await _upgrade(connection, state)
        return True


async def ensure_memories_table(connection: "asyncpg.Connection[Any]", layout: Layout) -> None:
    """Make the table of memories as agno 3 does, where it is missing: a memory may be added before the first turn."""
    async with transaction(connection):
        state = await inspect(connection, layout)
        if state.has(MEMORIES):
            return
        if state.generation == "2.2":
            raise DatabaseError(
                f"schema {state.schema} was made by agno 2.2, which has not made its table {state.name(MEMORIES)} yet",
                hint="let the bot remember something first, or have the schema migrated: junkie doctor",
                code="memories_missing",
            )
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 7316))", tables_lock(layout))
        if not state.exists:
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(state.schema)}")
        await connection.execute(_memories_3(state))


async def ensure_learned_table(connection: "asyncpg.Connection[Any]", layout: Layout) -> None:
    """Make the table of the lines that were learned, where it is missing. It names users: erasing finds it by that."""
    async with transaction(connection):
        if (await inspect(connection, layout)).has(LEARNED):
            return
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 7316))", tables_lock(layout))
        await connection.execute(_LEARNED.replace("@schema", quoted(layout.schema)))


async def ensure_cascades_table(connection: "asyncpg.Connection[Any]", state: SchemaState) -> bool:
    """Make the table of what went by cascade with a batch, where it is missing; False where that is not allowed."""
    if state.has(CASCADES):
        return {"SELECT", "INSERT"} <= state.tables[CASCADES].privileges
    if not state.may_create:
        return False
    lock = f"junkie tables {state.schema}"
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 7316))", lock)
    await connection.execute(_CASCADES.replace("@schema", quoted(state.schema)))
    return True


async def _own_version(connection: "asyncpg.Connection[Any]", state: SchemaState) -> int:
    if not state.may("SELECT", OWN_VERSIONS):
        return 0
    async with transaction(connection):
        found = await connection.fetchval(f"SELECT value FROM {state.qualified(OWN_VERSIONS)} WHERE name = 'schema'")
    version = int(found or 0)
    if version > OWN_VERSION:
        raise DatabaseError(
            f"the junkie tables in schema {state.schema} were made by a newer junkie (version {version})",
            hint="use that newer junkie here",
            code="own_tables_newer",
        )
    return version


async def _upgrade(connection: "asyncpg.Connection[Any]", state: SchemaState) -> None:
    if state.has(OWN_VERSIONS) and await _own_version(connection, state) == OWN_VERSION:
        return
    if not state.exists:  # even IF NOT EXISTS asks for a right on the database, which a table's owner may lack
        await connection.execute(f"CREATE SCHEMA {quoted(state.schema)}")
    await connection.execute(_VERSION_1.replace("@schema", quoted(state.schema)))
    await connection.execute(
        f"INSERT INTO {state.qualified(OWN_VERSIONS)} (name, value) VALUES"
        " ('schema', $1), ('salt', replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''))"
        " ON CONFLICT (name) DO NOTHING",
        str(OWN_VERSION),
    )


# As agno 3.1 makes it; a contract test compares the two.
_MEMORIES_3 = """
CREATE TABLE IF NOT EXISTS @table (
  memory_id varchar NOT NULL PRIMARY KEY, memory jsonb NOT NULL, feedback text, input text, agent_id varchar,
  team_id varchar, user_id varchar, topics jsonb, created_at bigint NOT NULL, updated_at bigint);
CREATE INDEX IF NOT EXISTS @by_user ON @table (user_id);
CREATE INDEX IF NOT EXISTS @by_created ON @table (created_at);
CREATE INDEX IF NOT EXISTS @by_updated ON @table (updated_at);
CREATE TABLE IF NOT EXISTS @schema.agno_schema_versions (
  table_name varchar NOT NULL PRIMARY KEY, version varchar NOT NULL, created_at varchar NOT NULL, updated_at varchar);
CREATE INDEX IF NOT EXISTS idx_agno_schema_versions_created_at ON @schema.agno_schema_versions (created_at);
INSERT INTO @schema.agno_schema_versions (table_name, version, created_at, updated_at)
  SELECT @name, '3.0.0', t, t FROM to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') t
  ON CONFLICT DO NOTHING;
"""


def _memories_3(state: SchemaState) -> str:
    name = state.name(MEMORIES)
    values = {
        "table": state.identifier(MEMORIES),
        "schema": quoted(state.schema),
        "name": literal(name),
        "by_user": quoted(f"idx_{name}_user_id"),
        "by_created": quoted(f"idx_{name}_created_at"),
        "by_updated": quoted(f"idx_{name}_updated_at"),
    }
    return re.sub(r"@(\w+)", lambda match: values[match[1]], _MEMORIES_3)


# History holds whole rows as json, not jsonb: agno 2.2's json columns may hold \\u0000, which jsonb refuses.
_VERSION_1 = """
CREATE TABLE IF NOT EXISTS @schema.junkie_versions (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE IF NOT EXISTS @schema.junkie_pending (
  pending_id uuid PRIMARY KEY, user_id text NOT NULL, session_id text, run_id text, message text NOT NULL,
  context text NOT NULL DEFAULT '', team_id text, attempts integer NOT NULL DEFAULT 0, last_error text,
  created_at timestamptz NOT NULL DEFAULT now(), next_try timestamptz NOT NULL DEFAULT now(),
  set_aside boolean NOT NULL DEFAULT false);
CREATE INDEX IF NOT EXISTS junkie_pending_user ON @schema.junkie_pending (user_id);
CREATE TABLE IF NOT EXISTS @schema.junkie_history (
  change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, batch uuid NOT NULL,
  at timestamptz NOT NULL DEFAULT now(), by text NOT NULL, action text NOT NULL, memory_id text NOT NULL,
  user_id text, before json, after json, undo_of uuid);
CREATE INDEX IF NOT EXISTS junkie_history_batch ON @schema.junkie_history (batch);
CREATE INDEX IF NOT EXISTS junkie_history_memory ON @schema.junkie_history (memory_id);
CREATE INDEX IF NOT EXISTS junkie_history_user ON @schema.junkie_history (user_id, change_id DESC);
CREATE INDEX IF NOT EXISTS junkie_history_at ON @schema.junkie_history (at);
CREATE TABLE IF NOT EXISTS @schema.junkie_tombstones (user_hash text PRIMARY KEY, erased_at timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS @schema.junkie_erasures (
  erasure_id uuid PRIMARY KEY, user_hash text NOT NULL, erased_at timestamptz NOT NULL, counts json NOT NULL);
"""

_LEARNED = """
CREATE TABLE IF NOT EXISTS @schema.junkie_learned (
  line_id uuid PRIMARY KEY, user_id text NOT NULL, learned_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX IF NOT EXISTS junkie_learned_user ON @schema.junkie_learned (user_id);
"""

# What undo cannot put back: rows of other tables that a foreign key deleted with the memories of a batch.
_CASCADES = """
CREATE TABLE IF NOT EXISTS @schema.junkie_cascades (
  batch uuid NOT NULL, table_name text NOT NULL, rows bigint NOT NULL, at timestamptz NOT NULL DEFAULT now());
CREATE INDEX IF NOT EXISTS junkie_cascades_batch ON @schema.junkie_cascades (batch);
"""
