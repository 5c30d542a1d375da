"""Extensions that live in the schema being replaced: they belong to the database, so they stay when the schema moves.

A backup holds no extension's functions and types, only that it needs them. When the old schema is renamed aside the
extension would go with it, and be dropped with it one day. So it is moved into the restored schema, within the same
transactions; columns and indexes of the old tables follow it, as they refer to it by number and not by name.
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
    """An extension in the schema; `movable` if its author allows another schema, `owned` if this role may move it."""

    name: str
    movable: bool
    owned: bool


_INSIDE = """
SELECT e.extname, e.extrelocatable, pg_has_role(e.extowner, 'USAGE')
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE n.nspname = $1 ORDER BY 1
"""


async def inside(connection: "asyncpg.Connection[Any]", schema: str) -> tuple[Inside, ...]:
    """The extensions in `schema`, in the caller's transaction."""
    return tuple(Inside(*row) for row in await connection.fetch(_INSIDE, schema))


def check(found: Sequence[Inside], schema: str) -> None:
    """Raise BackupError when one of them cannot stay while the schema moves aside."""
    fixed = [extension.name for extension in found if not extension.movable]
    if fixed:
        raise BackupError(
            f"extension {', '.join(fixed)} is in schema {schema} and cannot be moved to another, so the schema cannot"
            " be moved aside; nothing was changed",
            hint="restore into an empty database (--into URL)",
            code="restore_extension",
        )
    foreign = [extension.name for extension in found if not extension.owned]
    if foreign:
        raise BackupError(
            f"extension {', '.join(foreign)} is in schema {schema} and belongs to another role, so this one cannot keep"
            " it there when the schema moves aside; nothing was changed",
            hint=f"restore as its owner or a superuser, or have one of them run first: ALTER EXTENSION"
            f" {quoted(foreign[0])} SET SCHEMA public",
            code="restore_extension",
        )


def move_sql(found: Sequence[Inside], schema: str) -> list[str]:
    """Statements that move them into `schema`."""
    return [f"ALTER EXTENSION {quoted(extension.name)} SET SCHEMA {quoted(schema)};" for extension in found]
