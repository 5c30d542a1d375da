"""The staging schema, where a restored schema is completed and checked before it is renamed into place.

pg_dump's script uses the name of the source schema. So an existing schema of that name is renamed at the beginning of
the script's transaction and renamed back at the end: others see only the old one. The swap is a second, short
transaction.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from junkie_cli.core.backup.manifest import Extension, TableContent
from junkie_cli.core.errors import BackupError
from junkie_cli.core.restore import extensions
from junkie_cli.core.restore.extensions import Inside
from junkie_cli.core.schema.tables import quoted
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

_STAGED = "_restoring_[0-9]{8}T[0-9]{6}Z$"
_NAME_BYTES = 63


@frozen
class Names:
    """The names of the restored schema, of its staging schema, and of the renamed old schema."""

    schema: str
    staging: str
    aside: str


def names(schema: str, at: datetime) -> Names:
    """Return names for a restore of `schema` at time `at`."""
    stamp = f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    return Names(schema, _suffixed(schema, f"_restoring_{stamp}"), _suffixed(schema, f"_before_{stamp}"))


def _suffixed(name: str, suffix: str) -> str:
    return name.encode()[: _NAME_BYTES - len(suffix)].decode("utf-8", "ignore") + suffix


def before_sql(
    found: Names,
    *,
    exists: bool,
    create: bool,
    extension_schemas: Sequence[str],
    moved: Sequence[Inside] = (),
    made: Sequence[Extension] = (),
) -> str:
    """Return the first statements of the restore; `create` if the archive's entries do not create the schema.

    `moved` are the extensions in the schema, which the restored tables need in the same place; `made` are those that
    the archive's entries do not create.
    """
    statements = [f"CREATE SCHEMA IF NOT EXISTS {quoted(name)};" for name in extension_schemas]
    if exists:
        statements.append(f"ALTER SCHEMA {quoted(found.schema)} RENAME TO {quoted(found.aside)};")
    if create:
        statements.append(f"CREATE SCHEMA {quoted(found.schema)};")
    statements += extensions.move_sql(moved, found.schema)
    statements += [
        f"CREATE EXTENSION IF NOT EXISTS {quoted(each.name)} WITH SCHEMA {quoted(each.schema)};" for each in made
    ]
    return "\n".join(statements) + "\n"


def after_sql(found: Names, check: str, *, exists: bool, moved: Sequence[Inside] = ()) -> str:
    """Return the last statements: the comparison with the manifest, then the rename to staging."""
    statements = [
        check,
        f"ALTER SCHEMA {quoted(found.schema)} RENAME TO {quoted(found.staging)};",
    ]
    if exists:
        statements.append(f"ALTER SCHEMA {quoted(found.aside)} RENAME TO {quoted(found.schema)};")
        statements += extensions.move_sql(moved, found.schema)
    return "\n".join(statements)


async def leftovers(connection: "asyncpg.Connection[Any]") -> list[str]:
    """Find staging schemas that killed restores left."""
    async with connection.transaction():
        rows = await connection.fetch("SELECT nspname FROM pg_namespace WHERE nspname ~ $1", _STAGED)
    return [row[0] for row in rows]


async def drop(connection: "asyncpg.Connection[Any]", staging: str) -> None:
    """Drop a staging schema with its contents."""
    async with connection.transaction():
        await connection.execute(f"DROP SCHEMA IF EXISTS {quoted(staging)} CASCADE")


async def lock_out_writers(connection: "asyncpg.Connection[Any]", schema: str, seconds: float) -> None:
    """Wait for writers of the schema and block new ones, in the caller's transaction; readers continue.

    Raises BackupError after `seconds`.
    """
    import asyncpg

    rows = await connection.fetch(_TABLES, schema)
    await connection.execute(f"SET LOCAL lock_timeout = {int(seconds * 1000)}")
    try:
        for row in rows:
            await connection.execute(f"LOCK TABLE {quoted(schema)}.{quoted(row[0])} IN EXCLUSIVE MODE")
    except asyncpg.LockNotAvailableError:
        raise BackupError(
            f"table {schema}.{row[0]} was locked by another session for {seconds:g} seconds; nothing was changed",
            hint="stop the bot, or wait for that session to end, and try again",
            code="restore_table_locked",
        ) from None


_TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1
"""


async def put_in_place(connection: "asyncpg.Connection[Any]", found: Names, *, keep_old: bool) -> None:
    """Rename the staged schema into place, in the caller's transaction; rename the old one, or drop it if empty.

    Extensions in it keep their schema.
    """
    for statement in extensions.move_sql(await extensions.inside(connection, found.schema), found.staging):
        await connection.execute(statement)
    exists = await connection.fetchval("SELECT true FROM pg_namespace WHERE nspname = $1", found.schema)
    if exists and keep_old:
        await connection.execute(f"ALTER SCHEMA {quoted(found.schema)} RENAME TO {quoted(found.aside)}")
    elif exists:
        await connection.execute(f"DROP SCHEMA {quoted(found.schema)}")
    await connection.execute(f"ALTER SCHEMA {quoted(found.staging)} RENAME TO {quoted(found.schema)}")


async def count(
    connection: "asyncpg.Connection[Any]", schema: str, tables: Sequence[TableContent]
) -> list[tuple[str, int]]:
    """Count the rows of tables of `schema`, in the caller's transaction."""
    counted = []
    for table in tables:
        rows = await connection.fetchval(f"SELECT count(*) FROM {quoted(schema)}.{quoted(table.table)}")
        counted.append((table.name, int(rows)))
    return counted
