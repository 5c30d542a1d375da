"""The target database of a restore: what it contains, and whether it can restore the backup."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from junkie_cli.core.backup.manifest import Manifest
from junkie_cli.core.backup.source import open_pinned
from junkie_cli.core.backup.verify import needs_of
from junkie_cli.core.errors import BackupError, DatabaseError
from junkie_cli.core.postgres.connect import close_connection
from junkie_cli.core.postgres.errors import translate_errors
from junkie_cli.core.schema.tables import quoted, transaction
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

    from junkie_cli.core.database import Database
    from junkie_cli.core.database_url import DatabaseUrl


@frozen
class Target:
    """The state of a database. `schemas` are its non-empty schemas; `rows` PostgreSQL's estimates for the schema."""

    url: "DatabaseUrl | None"
    label: str
    version: str
    schemas: tuple[str, ...]
    schema_exists: bool
    tables: tuple[tuple[str, int], ...]
    outside_dependents: tuple[str, ...]
    superuser: bool = False

    def occupied(self, schema: str) -> bool:
        """Return whether `schema` contains anything."""
        return schema in self.schemas


@asynccontextmanager
async def open_target(database: "Database") -> "AsyncIterator[tuple[DatabaseUrl, asyncpg.Connection[Any]]]":
    """Connect to the target; yield the URL of the host that answered, for psql, too. Raises DatabaseError."""
    url, connection = await open_pinned(database)
    try:
        with translate_errors(url):
            yield url, connection
    finally:
        await close_connection(connection)


_OCCUPIED = """
SELECT n.nspname FROM pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND EXISTS (
  SELECT FROM (
    SELECT 'pg_class'::regclass, oid, relnamespace FROM pg_class UNION ALL
    SELECT 'pg_proc'::regclass, oid, pronamespace FROM pg_proc UNION ALL
    SELECT 'pg_type'::regclass, oid, typnamespace FROM pg_type) o(class, id, namespace)
  WHERE o.namespace = n.oid AND NOT EXISTS (SELECT FROM pg_depend d
    WHERE d.classid = o.class AND d.objid = o.id AND d.deptype IN ('e', 'i')))
ORDER BY 1
"""
_TABLES = """
SELECT c.relname, greatest(c.reltuples, 0)::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1
"""
# Objects outside that use something in the schema (views, foreign keys, defaults, functions, ...) follow it when it is
# renamed. Objects that belong to a table (a rule, a default, a trigger) are named by that table.
_DEPENDENTS = """
SELECT DISTINCT coalesce(holder.identity, self.identity) FROM pg_depend d
CROSS JOIN LATERAL pg_identify_object(d.refclassid, d.refobjid, 0) used
CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, 0) self
LEFT JOIN LATERAL (SELECT i.schema, i.identity FROM pg_depend p
  CROSS JOIN LATERAL pg_identify_object(p.refclassid, p.refobjid, 0) i
  WHERE p.classid = d.classid AND p.objid = d.objid AND p.deptype IN ('a', 'i')
    AND p.refclassid = 'pg_class'::regclass LIMIT 1) holder ON true
WHERE d.deptype = 'n' AND d.refobjid >= 16384 AND used.schema = $1
  AND coalesce(holder.schema, self.schema, '') <> $1 ORDER BY 1
"""


_ABSENT = "SELECT name FROM unnest($1::text[]) name WHERE to_regnamespace(name) IS NULL"


async def look(connection: "asyncpg.Connection[Any]", url: "DatabaseUrl | None", label: str, schema: str) -> Target:
    """Read the state of the target."""
    async with transaction(connection):
        return Target(
            url,
            label,
            await connection.fetchval("SELECT current_setting('server_version')"),
            tuple(row[0] for row in await connection.fetch(_OCCUPIED)),
            bool(await connection.fetchval("SELECT true FROM pg_namespace WHERE nspname = $1", schema)),
            tuple((row[0], row[1]) for row in await connection.fetch(_TABLES, schema)),
            tuple(row[0] for row in await connection.fetch(_DEPENDENTS, schema)),
            bool(await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")),
        )


async def exact_rows(connection: "asyncpg.Connection[Any]", schema: str, tables: Sequence[str]) -> dict[str, int]:
    """Count the rows of each table."""
    async with connection.transaction():
        return {
            table: await connection.fetchval(f"SELECT count(*) FROM {quoted(schema)}.{quoted(table)}")
            for table in tables
        }


async def check_fit(connection: "asyncpg.Connection[Any]", manifest: Manifest, schema: str) -> None:
    """Raise an error if the target lacks what the backup needs, or the role cannot create a schema there."""
    async with connection.transaction():
        available = {row[0] for row in await connection.fetch("SELECT name FROM pg_available_extensions")}
        collations = {row[0] for row in await connection.fetch("SELECT collname FROM pg_collation")}
        absent = await connection.fetch(_ABSENT, list(manifest.outside.schemas))
        may_create = await connection.fetchval("SELECT has_database_privilege(current_database(), 'CREATE')")
        owner = await connection.fetchval(
            "SELECT NOT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = $1", schema
        )
    missing = [f"extension {found.name}" for found in needs_of(manifest).needed_extensions]
    missing = [name for name in missing if name.removeprefix("extension ") not in available]
    missing += [f"collation {name}" for name in manifest.collations if name not in collations]
    if absent:
        raise BackupError(
            f"the target has no schema {', '.join(row[0] for row in absent)}, and this backup references"
            f" {', '.join(manifest.outside.objects[:10])}",
            hint="restore into a database that has them, or use a backup made with --whole-database",
            code="restore_lacks",
        )
    if missing:
        raise BackupError(
            f"the target server lacks {', '.join(missing)}, which this backup needs",
            hint="install it on the server, or use another server: --into URL",
            code="restore_lacks",
        )
    if not may_create or owner:
        raise DatabaseError(
            f"this role cannot {'replace' if owner else 'create'} schema {schema}",
            hint="restore as the owner of the schema with the CREATE privilege on the database, or as a superuser",
            code="database_rights",
        )
