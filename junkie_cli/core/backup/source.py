"""The database to back up, in one snapshot: what a dump will contain, and whether it is possible.

Everything is read in one read-only transaction, whose snapshot pg_dump uses, too, so that counts and hashes match the
dump even on a busy database.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from junkie_cli.core import formatting
from junkie_cli.core.backup import access, content_hash, outside
from junkie_cli.core.backup.manifest import Extension, Origin, TableContent
from junkie_cli.core.backup.outside import Outside
from junkie_cli.core.database import naming_origin
from junkie_cli.core.errors import BackupError, DatabaseError
from junkie_cli.core.postgres.connect import close_connection, open_connection
from junkie_cli.core.postgres.errors import translate_errors
from junkie_cli.core.progress import Progress
from junkie_cli.core.schema import registry
from junkie_cli.core.schema.ledger import Erasure, read_ledger
from junkie_cli.core.schema.tables import inspect, quoted
from junkie_cli.core.table_layout import Layout
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

    from junkie_cli.core.database import Database
    from junkie_cli.core.database_url import DatabaseUrl


@frozen
class SourceTable:
    """A table in the dump; `bytes` is its size without indexes. Without `data`, only its structure is dumped."""

    schema: str
    table: str
    bytes: int
    data: bool = True


@frozen
class BackupSource:
    """The contents of the dump. `collations` are those of the operating system or ICU that its columns use."""

    url: "DatabaseUrl"
    origin: Origin
    snapshot: str
    tables: tuple[SourceTable, ...]
    extensions: tuple[Extension, ...]
    collations: tuple[str, ...]
    roles: tuple[str, ...]
    access: access.Access
    left_out: tuple[str, ...]
    outside: Outside
    erasures: tuple[Erasure, ...]

    @property
    def bytes(self) -> int:
        """Return the size of all tables, without indexes."""
        return sum(table.bytes for table in self.tables if table.data)


@asynccontextmanager
async def open_source(
    database: "Database", layout: Layout, *, whole_database: bool, lock_timeout: float
) -> "AsyncIterator[tuple[asyncpg.Connection[Any], BackupSource]]":
    """Open a snapshot of `database` and read what a dump of a schema (or of everything) will contain.

    `lock_timeout` is in seconds. Raises DatabaseError, and BackupError if there is nothing to dump or a privilege is
    missing.
    """
    url, connection = await open_pinned(database)
    try:
        with translate_errors(url):
            # Never rolled back: the transaction ends with its connection, which may be dead and would block a ROLLBACK.
            await connection.transaction(isolation="repeatable_read", readonly=True).start()
            await connection.execute(_limits(connection.get_server_version().major, lock_timeout))
            origin = await _origin(connection, database.label, layout.schema, whole_database)
            yield connection, await _read(connection, url, origin, layout, lock_timeout)
    finally:
        await close_connection(connection)


async def open_pinned(database: "Database") -> "tuple[DatabaseUrl, asyncpg.Connection[Any]]":
    """Connect, and return the URL of the host that answered: pg_dump must use the same server for the snapshot."""
    failures: list[DatabaseError] = []
    for host in database.url.hosts:
        one = replace(database.url, hosts=(host,))
        try:
            with naming_origin(database.origin):
                return one, await open_connection(one)
        except DatabaseError as error:
            failures.append(error)
    raise failures[0]


def _limits(major: int, lock_timeout: float) -> str:
    limits = {
        "statement_timeout": 0,
        "idle_in_transaction_session_timeout": 0,
        "lock_timeout": int(lock_timeout * 1000),
    }
    if major >= 17:
        limits["transaction_timeout"] = 0
    return "".join(f"SET LOCAL {name} = {value};" for name, value in limits.items()) + content_hash.settings_sql()


_ORIGIN = """
SELECT current_database() AS database, current_setting('server_version') AS server_version,
  (SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()) AS encoding,
  has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') AS may_identify
"""


async def _origin(connection: "asyncpg.Connection[Any]", label: str, schema: str, whole: bool) -> Origin:
    row = await connection.fetchrow(_ORIGIN)
    assert row is not None
    identifier = ""
    if row["may_identify"]:
        identifier = await connection.fetchval("SELECT system_identifier::text FROM pg_control_system()")
    return Origin(label, row["database"], schema, whole, identifier, row["server_version"], row["encoding"], "")


_TABLES = """
SELECT n.nspname AS schema, c.relname AS name, c.relkind::text AS kind, c.oid,
  n.nspname = $1 OR $2 AS wanted, c.relrowsecurity AND row_security_active(c.oid) AS hidden,
  has_schema_privilege(n.oid, 'USAGE') AND CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'SELECT')
    ELSE has_table_privilege(c.oid, 'SELECT') END AS readable
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'S') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
"""

# Objects that depend on a member of an extension: those of the schema, or all that belong to no extension.
_EXTENSIONS = """
WITH wanted(class, object) AS (
  SELECT 'pg_class'::regclass, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
    WHERE nspname = $1 OR $2
  UNION ALL
  SELECT 'pg_type'::regclass, t.oid FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace WHERE nspname = $1 OR $2
  UNION ALL
  SELECT 'pg_proc'::regclass, p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname = $1 OR $2
  UNION ALL
  SELECT 'pg_constraint'::regclass, k.oid FROM pg_constraint k JOIN pg_namespace n ON n.oid = connamespace
    WHERE nspname = $1 OR $2
  UNION ALL
  SELECT x.class, x.object FROM (
    SELECT 'pg_attrdef'::regclass, oid, adrelid FROM pg_attrdef UNION ALL
    SELECT 'pg_rewrite'::regclass, oid, ev_class FROM pg_rewrite UNION ALL
    SELECT 'pg_trigger'::regclass, oid, tgrelid FROM pg_trigger UNION ALL
    SELECT 'pg_policy'::regclass, oid, polrelid FROM pg_policy) x(class, object, relation)
  JOIN pg_class c ON c.oid = x.relation JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = $1 OR $2)
SELECT e.extname AS name, n.nspname AS schema, e.extversion AS version, EXISTS (
  SELECT FROM pg_depend member
  JOIN pg_depend d ON d.refclassid = member.classid AND d.refobjid = member.objid AND d.deptype IN ('n', 'a')
  JOIN wanted w ON w.class = d.classid AND w.object = d.objid
  WHERE member.refclassid = 'pg_extension'::regclass AND member.refobjid = e.oid AND member.deptype = 'e'
    AND NOT EXISTS (SELECT FROM pg_depend own WHERE own.classid = d.classid AND own.objid = d.objid
                      AND own.deptype = 'e')) AS needed
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY 1
"""

_COLLATIONS = """
SELECT DISTINCT co.collname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN LATERAL (
  SELECT attcollation FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
  UNION SELECT unnest(indcollation::oid[]) FROM pg_index WHERE indrelid = c.oid) used(id) ON true
JOIN pg_collation co ON co.oid = used.id JOIN pg_namespace cn ON cn.oid = co.collnamespace
WHERE (n.nspname = $1 OR $2 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')
  AND cn.nspname = 'pg_catalog' AND co.collname NOT IN ('default', 'C', 'POSIX') ORDER BY 1
"""

_ROLES = """
SELECT DISTINCT r.rolname FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL unnest(p.polroles) role(id)
JOIN pg_roles r ON r.oid = role.id WHERE n.nspname = $1 OR $2 ORDER BY 1
"""


_SIZES = "SELECT id, pg_table_size(id) FROM unnest($1::oid[]) id"


async def _read(
    connection: "asyncpg.Connection[Any]", url: "DatabaseUrl", origin: Origin, layout: Layout, lock_timeout: float
) -> BackupSource:
    scope = (origin.schema, origin.whole_database)
    found = await connection.fetch(_TABLES, *scope)
    wanted = [row for row in found if row["wanted"]]
    _check_readable(wanted, url.role)
    held = [row for row in wanted if row["kind"] == "r"]
    if not held:
        raise BackupError(
            f"nothing to back up: database {origin.database} has no tables"
            + ("" if origin.whole_database else f" in schema {origin.schema}"),
            hint="check POSTGRES_URL and JUNKIE_SCHEMA; create tables: junkie chat",
            code="backup_empty",
        )
    await _lock([(row["schema"], row["name"]) for row in held], connection, lock_timeout)
    state = await inspect(connection, layout)
    erasures = await read_ledger(connection, state)
    origin = replace(origin, generation=state.generation, names=state.layout.document)
    without_data = {(layout.schema, name) for name in registry.structure_only(state.layout)}
    sizes = {row[0]: row[1] for row in await connection.fetch(_SIZES, [row["oid"] for row in held])}
    extensions = [Extension(**dict(row)) for row in await connection.fetch(_EXTENSIONS, *scope)]
    return BackupSource(
        url,
        origin,
        await connection.fetchval("SELECT pg_export_snapshot()"),
        tuple(
            SourceTable(*(name := (row["schema"], row["name"])), sizes[row["oid"]], name not in without_data)
            for row in held
        ),
        tuple(extension for extension in extensions if extension.name != "plpgsql"),
        tuple(row[0] for row in await connection.fetch(_COLLATIONS, *scope)),
        tuple(row[0] for row in await connection.fetch(_ROLES, *scope)),
        await access.read(connection, origin.schema),
        tuple(f"{row['schema']}.{row['name']}" for row in found if row["kind"] == "r" and not row["wanted"]),
        Outside() if origin.whole_database else await outside.read(connection, origin.schema),
        tuple(erasures),
    )


def _check_readable(rows: "list[asyncpg.Record]", role: str) -> None:
    unreadable = [f"{row['schema']}.{row['name']}" for row in rows if not row["readable"]]
    if unreadable:
        raise DatabaseError(
            f"role {role} cannot read {', '.join(unreadable[:5])}, so a backup would be incomplete",
            hint=f"have the owner run: GRANT USAGE ON SCHEMA ... TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA ... TO"
            f" {role}; GRANT SELECT ON ALL SEQUENCES IN SCHEMA ... TO {role}",
            code="database_rights",
        )
    hidden = [f"{row['schema']}.{row['name']}" for row in rows if row["hidden"]]
    if hidden:
        raise DatabaseError(
            f"row security hides rows of {', '.join(hidden[:5])} from role {role}, so a backup would be incomplete",
            hint="back up as the owner of the tables, or as a role with BYPASSRLS",
            code="row_security",
        )


async def _lock(tables: Sequence[tuple[str, str]], connection: "asyncpg.Connection[Any]", lock_timeout: float) -> None:
    """Take the locks that pg_dump needs, to detect a locked table before pg_dump waits for it.

    Even a query for the size or index of a table waits for such a lock. Raises BackupError, naming the holder, after
    `lock_timeout` seconds.
    """
    import asyncpg

    names = ", ".join(f"ONLY {quoted(schema)}.{quoted(table)}" for schema, table in tables)
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {names} IN ACCESS SHARE MODE")
    except asyncpg.LockNotAvailableError:
        holders = await connection.fetch(_HOLDERS, [table for _, table in tables])
        named = "; ".join(f"process {row['pid']} ({row['name'] or 'unnamed'}) on {row['table']}" for row in holders)
        raise BackupError(
            f"a table was locked by another session for {lock_timeout:g} seconds" + (f": {named}" if named else ""),
            hint="wait for that session to end (a migration, a LOCK TABLE), and run the backup again",
            code="backup_table_locked",
        ) from None


_HOLDERS = """
SELECT l.pid, a.application_name AS name, c.relname AS table FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.granted AND l.mode = 'AccessExclusiveLock' AND l.database = (SELECT oid FROM pg_database
  WHERE datname = current_database()) AND c.relname = ANY($1::text[]) ORDER BY 1, 3 LIMIT 5
"""


async def count_and_hash(
    connection: "asyncpg.Connection[Any]", source: BackupSource, progress: Progress
) -> tuple[TableContent, ...]:
    """Count and hash every table in the snapshot of the source; tables without data count as empty."""
    contents = []
    for table in source.tables:
        own = table.schema == source.origin.schema
        name = table.table if own else f"{table.schema}.{table.table}"
        if not table.data:
            contents.append(TableContent(name, table.schema, table.table, 0, content_hash.shown(0)))
            continue
        progress.step(f"counting and hashing {name} ({formatting.size(table.bytes)})")
        rows, digits = await content_hash.read(connection, table.schema, table.table, encoding=source.origin.encoding)
        contents.append(TableContent(name, table.schema, table.table, rows, digits))
    return tuple(contents)
