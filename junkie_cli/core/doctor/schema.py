"""Checks of tables: columns, agno's version, row security, indexes, dead rows, other schemas."""

from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version as installed_version

from junkie_cli.core.doctor.bot import is_bots_file
from junkie_cli.core.doctor.context import Context
from junkie_cli.core.doctor.fixes import add_own_tables, build_index, migrate
from junkie_cli.core.doctor.model import OK, Check, DependencyNotMet, Finding, Fix, failed, ok, together, warning
from junkie_cli.core.schema import migrations, own_tables, registry
from junkie_cli.core.schema.registry import VERSIONS, Feature
from junkie_cli.core.schema.tables import MEMORIES, RUNS, SESSIONS, Index, SchemaState, inspect, is_for_search, quoted
from junkie_cli.core.table_layout import VARIABLES, Role, TableRef

AGNO_SCHEMA = "3.0.0"
"""The version that the installed agno writes into its tables; a contract test compares it with agno's own."""

ROWS_TO_INDEX = 10_000
"""Rows from which a missing index is noticeable. Measured on two busy cores: with so many, the search of an
absent word takes 35 ms and one user's sessions 1 ms; with 200,000 they take a second and 70 ms."""

_DEAD_ROWS, _DEAD_SHARE = 1000, 0.2  # autovacuum's own default share; fewer rows are read as fast as none
_ROWS_TO_VACUUM = 10_000

_MEMORY_COLUMNS = {
    "memory_id": "varchar",
    "memory": "jsonb",
    "topics": "jsonb",
    "input": "text",
    "user_id": "varchar",
    "agent_id": "varchar",
    "team_id": "varchar",
    "updated_at": "bigint",
}
_SESSION_COLUMNS = {
    "session_id": "varchar",
    "session_type": "varchar",
    "team_id": "varchar",
    "user_id": "varchar",
    "session_data": "jsonb",
    "team_data": "jsonb",
    "metadata": "jsonb",
    "summary": "jsonb",
    "created_at": "bigint",
    "updated_at": "bigint",
}
_RUN_COLUMNS = {
    "run_id": "varchar",
    "session_id": "varchar",
    "run_type": "varchar",
    "agent_id": "varchar",
    "team_id": "varchar",
    "user_id": "varchar",
    "parent_run_id": "varchar",
    "status": "varchar",
    "run_index": "integer",
    "run_data": "jsonb",
    "created_at": "bigint",
    "updated_at": "bigint",
}
_TEXTS = frozenset({"character varying", "text", "citext", "character"})
_FIT = {
    "varchar": _TEXTS,
    "text": _TEXTS,
    "jsonb": frozenset({"json", "jsonb"}),
    "bigint": frozenset({"bigint"}),
    "integer": frozenset({"integer", "bigint", "smallint"}),
}
"""The types that all commands can read, by agno's type of a column."""

_COLUMNS: Mapping[Role, Mapping[str, str]] = {MEMORIES: _MEMORY_COLUMNS, SESSIONS: _SESSION_COLUMNS, RUNS: _RUN_COLUMNS}
_NEEDED: tuple[TableRef, ...] = (*_COLUMNS, VERSIONS)


# --- tables and versions ----------------------------------------------------------------------------------------------


async def _tables(context: Context) -> Finding:
    async with context.connection() as connection:
        state = context.state = await inspect(connection, context.settings.layout)
    if state.generation == "none":
        return ok(f"schema {state.schema} has no agno tables yet; the first chat creates them")
    findings = [
        failed(
            f"{state.name(table)} lacks {', '.join(missing)}",
            f"ALTER TABLE {state.identifier(table)} "
            + ", ".join(f"ADD COLUMN {quoted(name)} {columns[name]}" for name in missing),
        )
        for table, columns in _COLUMNS.items()
        if state.has(table) and (missing := [name for name in columns if not state.has_column(table, name)])
    ]
    findings += [
        failed(
            f"{state.name(table)}.{column} has type {is_} instead of {wanted}",
            f"ALTER TABLE {state.identifier(table)} ALTER COLUMN {quoted(column)} TYPE {wanted} USING ...",
            blocks=False,
        )
        for table, columns in _COLUMNS.items()
        for column, wanted in columns.items()
        if state.has_column(table, column) and (is_ := state.column_type(table, column)) not in _FIT[wanted]
    ]
    findings += [_view(state, table) for table in _COLUMNS if state.has(table) and state.table(table).is_view]
    there = [state.name(table) for table in _COLUMNS if state.has(table)]
    return together(
        findings, ok(f"{', '.join(there)} in schema {state.schema}, as created by agno {_written_by(state)}")
    )


def _view(state: SchemaState, role: Role) -> Finding:
    return warning(
        f"{state.name(role)} is a view, which can only be read",
        f"set {VARIABLES[role]} to the underlying table, and JUNKIE_SCHEMA to its schema",
    )


def _written_by(state: SchemaState) -> str:
    return {"2.2": "2.0 to 2.2", "2.3": "2.3 to 2.9", "3": "3"}[state.generation]


async def _version(context: Context) -> Finding:
    state = context.schema
    agno = installed_version("agno")
    if state.generation == "none":
        return ok(f"no tables yet; agno {agno} will create them")
    versions = await _stamped(context, state)
    if state.generation == "2.2":
        return _outdated(
            context,
            failed,
            "the tables were created by agno 2.0 to 2.2: agno 3 reads no memories there and silently drops new ones",
        )
    if newer := [table for table, version in versions.items() if _parts(version) > _parts(AGNO_SCHEMA)]:
        return failed(
            f"{', '.join(newer)} were written by a newer agno than the installed {agno}",
            "upgrade junkie: pip install --upgrade junkie-cli",
            blocks=False,
        )
    if state.generation == "2.3":
        return _outdated(
            context,
            warning,
            f"the tables were created by agno 2.3 to 2.9: agno {agno} adds its own tables and reads the runs of both",
        )
    if older := [table for table, version in versions.items() if _parts(version) < _parts(AGNO_SCHEMA)]:
        return _outdated(
            context,
            warning,
            f"{', '.join(older)} were created by agno 2 and are used by agno {agno}: old runs are merged on every read",
        )
    return ok(f"current version for agno {agno} ({AGNO_SCHEMA})")


def _outdated(context: Context, tell: Callable[..., Finding], detail: str) -> Finding:
    if is_bots_file(context):
        return tell(
            f"{detail}; the bot's variables are set, and the bot needs agno 2 and these tables",
            "leave them to the bot, and use another schema for chats: JUNKIE_SCHEMA=junkie",
            blocks=False,
        )
    database = context.database.url.database_name
    fix = Fix(
        "schema.version",
        (
            f"back up {database} into {context.settings.backup_dir}, and verify that backup",
            f"run agno's own migration of schema {context.settings.schema} of {database}; agno 2 cannot use it then",
        ),
        migrate,
        severe=True,
    )
    return tell(
        detail,
        "stop all programs that use agno 2, then: junkie doctor --fix schema.version",
        blocks=False,
        fixes=[fix],
    )


async def _stamped(context: Context, state: SchemaState) -> dict[str, str]:
    """Return versions by table from agno's own table of versions; empty before 2.3, or if it cannot be read."""
    if not state.may("SELECT", VERSIONS):
        return {}
    async with context.connection() as connection, connection.transaction():
        rows = await connection.fetch(f"SELECT table_name, version FROM {state.qualified(VERSIONS)}")
    names = state.layout.names.values()
    return {row["table_name"]: row["version"] for row in rows if row["table_name"] in names}


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


async def _own(context: Context) -> Finding:
    state = context.schema
    missing = state.missing_own_tables()
    if len(missing) == len(registry.own_tables()) and state.generation == "none":
        return ok("not created yet; the first change of a memory creates them")
    fix = Fix(
        "schema.junkie",
        (f"make {', '.join(registry.own_tables())} in schema {state.schema}, in version {migrations.LATEST}",),
        add_own_tables,
    )
    hint = "junkie doctor --fix schema.junkie"
    if len(missing) == len(registry.own_tables()):
        return warning(
            "not created yet; nothing can be undone until the first change of a memory creates them", hint, fixes=[fix]
        )
    async with context.connection() as connection:
        found = await own_tables.read_versions(connection, state)
    if found is None:
        return warning("their version cannot be read", "junkie doctor --only database.rights,schema.row_security")
    if found.oldest_writer > migrations.LATEST:
        return failed(
            f"created by a newer junkie: writing needs version {found.oldest_writer} of the tables, and this junkie has"
            f" version {migrations.LATEST}",
            "upgrade junkie: pip install --upgrade junkie-cli",
        )
    if missing or not found.is_current:
        lacking = f", and {', '.join(missing)} is missing" if missing else ""
        features = "; ".join(feature.value for feature in Feature if not state.keeps(feature))
        off = f" (off: {features})" if missing else ""
        return warning(f"version {found.version} instead of {migrations.LATEST}{lacking}{off}", hint, fixes=[fix])
    newer = (
        f", created by a newer junkie (this one has version {migrations.LATEST})"
        if found.version > migrations.LATEST
        else ""
    )
    return ok(f"all {len(registry.own_tables())}, version {found.version}{newer}")


# --- row security -----------------------------------------------------------------------------------------------------


async def _row_security(context: Context) -> Finding:
    state = context.schema
    filtered = state.filtered()
    if not filtered:
        return ok("no policy hides rows from this role")
    async with context.connection() as connection, connection.transaction():
        role = await connection.fetchval("SELECT quote_ident(current_user)")
    return failed(
        f"row security can hide rows of {', '.join(filtered)} from {role}: counts and lists can be incomplete,"
        " and junkie refuses to export, change or erase there",
        f"as a superuser: ALTER ROLE {role} BYPASSRLS; or use another role in POSTGRES_URL",
    )


# --- indexes ----------------------------------------------------------------------------------------------------------


async def _indexes(context: Context) -> Finding:
    state = context.schema
    if state.generation == "none":
        return ok("no tables yet")
    half_made = {index.name for index in state.indexes if not index.valid}
    missing = [index for index in state.missing_indexes() if index[1] not in half_made]
    rows = {table: await _rows(context, table) for table, _, _ in missing}
    findings = [_invalid(state, index) for index in state.indexes if not index.valid]
    findings += [_slow(state, *index) for index in missing if rows[index[0]] >= ROWS_TO_INDEX]
    if not missing:
        return together(findings, ok("all indexes for lists, search and erasure exist"))
    return together(findings, _early(state, missing, max(rows.values())))


async def _rows(context: Context, table: TableRef) -> int:
    """Count rows up to ROWS_TO_INDEX; return ROWS_TO_INDEX if the table cannot be read."""
    state = context.schema
    if not state.may("SELECT", table):
        return ROWS_TO_INDEX
    async with context.connection() as connection, connection.transaction():
        some = f"SELECT 1 FROM {state.qualified(table)} LIMIT {ROWS_TO_INDEX}"
        return int(await connection.fetchval(f"SELECT count(*) FROM ({some}) first"))


def _slow(state: SchemaState, table: str, name: str, definition: str) -> Finding:
    return warning(
        f"{table} has {ROWS_TO_INDEX:,} rows or more, and no index on {_columns(definition)}",
        "junkie doctor --fix schema.indexes",
        fixes=[_make(state, table, name, definition)],
    )


def _early(state: SchemaState, missing: "list[tuple[str, str, str]]", rows: int) -> Finding:
    """Report indexes that are not needed yet, with a fix to create them anyway."""
    detail = f"not needed below {ROWS_TO_INDEX:,} rows (now: {rows:,})"
    return Finding(OK, detail, fixes=tuple(_make(state, *index) for index in missing))


def _make(state: SchemaState, table: str, name: str, definition: str) -> Fix:
    statement = f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {quoted(name)} ON {state.qualified(table)} {definition}"
    return Fix("schema.indexes", (statement,), partial(build_index, name, statement))


def _columns(definition: str) -> str:
    return "its text, for search" if is_for_search(definition) else definition.strip("()")


def _invalid(state: SchemaState, index: Index) -> Finding:
    """Report an index whose build was interrupted: it slows down writes and is not used."""
    drop = f"DROP INDEX CONCURRENTLY {state.qualified(index.name)}"
    make = index.definition.replace("CREATE INDEX ", "CREATE INDEX CONCURRENTLY ", 1)
    make = make.replace("CREATE UNIQUE INDEX ", "CREATE UNIQUE INDEX CONCURRENTLY ", 1)
    return warning(
        f"the build of index {index.name} was interrupted, so it is not used",
        "junkie doctor --fix schema.indexes",
        fixes=[Fix("schema.indexes", (drop, make), partial(build_index, index.name, make))],
    )


# --- dead rows, other schemas -----------------------------------------------------------------------------------------

_STATISTICS = """
SELECT relname AS name, n_live_tup AS live, n_dead_tup AS dead,
  coalesce(last_vacuum, last_autovacuum) IS NULL AS never_vacuumed
FROM pg_stat_user_tables WHERE schemaname = $1 ORDER BY relname
"""


async def _bloat(context: Context) -> Finding:
    state = context.schema
    async with context.connection() as connection, connection.transaction():
        rows = await connection.fetch(_STATISTICS, state.schema)
    findings = []
    for row in rows:
        command = f"VACUUM (ANALYZE) {state.qualified(row['name'])}"
        if row["dead"] > _DEAD_ROWS and row["dead"] > _DEAD_SHARE * max(row["live"], 1):
            detail = f"{row['name']} has {row['dead']:,} dead rows and {row['live']:,} live rows"
            hint = f"{command}; if that does not help, check for old transactions and autovacuum"
            findings.append(warning(detail, hint))
        elif row["never_vacuumed"] and row["live"] > _ROWS_TO_VACUUM:
            detail = f"{row['name']} has {row['live']:,} rows and was never vacuumed"
            findings.append(warning(detail, f"{command}; check that autovacuum is on"))
    return together(findings, ok("no table has many dead rows"))


_ELSEWHERE = """
SELECT n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname <> $1 AND c.relname = ANY($2::text[]) AND n.nspname !~ '^pg_'
  AND (n.nspname = 'public' OR $3) ORDER BY 1, 2
"""


async def _location(context: Context) -> Finding:
    state = context.schema
    names = list(state.layout.names.values())
    async with context.connection() as connection, connection.transaction():
        # If our own schema is empty, the tables can be in any other; otherwise only public is misleading.
        rows = await connection.fetch(_ELSEWHERE, state.schema, names, state.generation == "none")
    if not rows:
        return ok(f"only schema {state.schema} has these tables")
    schemas = list(dict.fromkeys(row["schema"] for row in rows))
    listed = ", ".join(f"{row['schema']}.{row['name']}" for row in rows[:3])
    if state.generation == "none":
        return warning(
            f"schema {state.schema} has no agno tables, but other schemas do: {listed}",
            f"if these are the right ones, set JUNKIE_SCHEMA={schemas[0]}",
        )
    moves = "; ".join(
        f"ALTER TABLE {quoted(row['schema'])}.{quoted(row['name'])} RENAME TO {quoted(row['name'] + '_old')}"
        for row in rows
    )
    return warning(
        f"tables of the same name exist in other schemas: {listed}; queries without a schema name use those",
        f"check their contents, then: {moves}",
    )


def require_tables_of_today(state: SchemaState) -> None:
    """Raise Waits unless all tables exist that a chat needs."""
    if state.generation == "none" or any(not state.has(table) for table in _NEEDED):
        raise DependencyNotMet("schema.tables", "the first chat creates agno's tables")
    if state.missing_own_tables() or not state.keeps(Feature.HISTORY):
        raise DependencyNotMet("schema.junkie", "junkie's own tables do not exist")


_SCHEMA = ("JUNKIE_SCHEMA",)
_SEEN = ("schema.tables",)
CHECKS = (
    Check(
        "schema.tables",
        "agno's tables",
        _tables,
        ("database.reachable",),
        (),
        _SCHEMA,
        about="agno's tables exist, with the columns that junkie reads",
        advice="Follow the hint; the first `junkie chat` creates missing tables",
    ),
    Check(
        "schema.version",
        "agno's version",
        _version,
        _SEEN,
        about="Which version of agno created the tables",
        advice=(
            "`junkie doctor --fix schema.version` migrates them, after a verified backup and after you type "
            "the database name"
        ),
    ),
    Check(
        "schema.row_security",
        "Row security",
        _row_security,
        _SEEN,
        about="No row security policy hides rows from this role",
        advice="Connect as a role with BYPASSRLS, or as the owner of the tables where row security is not forced",
    ),
    Check(
        "schema.junkie",
        "junkie's own tables",
        _own,
        _SEEN,
        about="junkie's own tables exist (history, undo, pending extractions)",
        advice="`junkie doctor --fix schema.junkie`; otherwise the first change of a memory creates them",
    ),
    Check(
        "schema.indexes",
        "Indexes",
        _indexes,
        _SEEN,
        about="Tables with 10,000 rows or more have the indexes that keep them fast",
        advice="`junkie doctor --fix schema.indexes` builds them without blocking other sessions",
    ),
    Check(
        "schema.bloat",
        "Dead rows",
        _bloat,
        _SEEN,
        about="Few dead rows",
        advice="Run the VACUUM that is shown; check that autovacuum is on",
    ),
    Check(
        "schema.location",
        "Tables in other schemas",
        _location,
        _SEEN,
        about="No tables of the same names in other schemas",
        advice="Set `JUNKIE_SCHEMA` to the schema that you use",
    ),
)
