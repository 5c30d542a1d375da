"""Handles extensions in the schema to be replaced: they belong to the database, so they stay when the schema moves.

A backup does not contain the functions and types of extensions, only that it needs them. The extension would move with
the renamed old schema, and later be dropped with it. So it is moved into the restored schema in the same transactions;
columns and indexes of the old tables still work, because they reference it by oid and not by name.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from junkie_cli.core.errors import BackupError
from junkie_cli.core.schema.tables import quoted
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg


@frozen
class Inside:
    """An extension in the schema; `movable` if its author allows another schema, `owned` if this role can move it."""

    name: str
    movable: bool
    owned: bool


_INSIDE = """
SELECT e.extname, e.extrelocatable, pg_has_role(e.extowner, 'USAGE')
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE n.nspname = $1 ORDER BY 1
"""


async def inside(connection: "asyncpg.Connection[Any]", schema: str) -> tuple[Inside, ...]:
    """Find the extensions in `schema`, in the caller's transaction."""
    return tuple(Inside(*row) for row in await connection.fetch(_INSIDE, schema))


def check(found: Sequence[Inside], schema: str) -> None:
    """Raise BackupError if one of them cannot stay while the schema is renamed."""
    fixed = [extension.name for extension in found if not extension.movable]
    if fixed:
        raise BackupError(
            f"extension {', '.join(fixed)} is in schema {schema} and cannot be moved to another, so the schema cannot"
            " be renamed; nothing was changed",
            hint="restore into an empty database: --into URL",
            code="restore_extension",
        )
    foreign = [extension.name for extension in found if not extension.owned]
    if foreign:
        raise BackupError(
            f"extension {', '.join(foreign)} is in schema {schema} and belongs to another role, so this one cannot keep"
            " it there when the schema is renamed; nothing was changed",
            hint=f"restore as its owner or a superuser, or have one of them run first: ALTER EXTENSION"
            f" {quoted(foreign[0])} SET SCHEMA public",
            code="restore_extension",
        )


def move_sql(found: Sequence[Inside], schema: str) -> list[str]:
    """Return statements that move them into `schema`."""
    return [f"ALTER EXTENSION {quoted(extension.name)} SET SCHEMA {quoted(schema)};" for extension in found]
