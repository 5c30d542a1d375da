"""Finds a person's rows outside the schema: in the bot's own tables (`messages`, access lists, triggers, ...)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.schema import row_security
from junkie_cli.core.schema.foreign_keys import Going, label
from junkie_cli.core.schema.registry import OWNER_COLUMNS
from junkie_cli.core.schema.tables import quoted
from junkie_cli.core.users.user_data import is_user
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

_FIND = """
SELECT n.nspname AS schema, c.relname AS name, array_agg(a.attname::text) AS columns,
  array_agg(format_type(a.atttypid, NULL)) AS kinds,
  bool_and(has_schema_privilege(n.oid, 'USAGE')) AND bool_and(has_table_privilege(c.oid, 'SELECT')) AS readable,
  bool_or(row_security_active(c.oid)) AS row_security
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attname = ANY($2::text[]) AND n.nspname <> $1
  AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
GROUP BY n.nspname, c.relname ORDER BY n.nspname, c.relname
"""


@frozen
class OutsideRows:
    """A person's rows outside the schema, by table, and a sentence for each table that could not be searched."""

    rows: tuple[Going, ...]
    unreadable: tuple[str, ...]


async def find(connection: "asyncpg.Connection[Any]", schema: str, user_id: str, *, delete: bool) -> OutsideRows:
    """Find this person's rows outside `schema` by the columns that name an owner.

    Raises DatabaseError if rows are to be deleted and row security can hide some of them.
    """
    rows, unreadable = [], []
    for table in await connection.fetch(_FIND, schema, list(OWNER_COLUMNS)):
        place = (table["schema"], table["name"])
        if not table["readable"]:
            unreadable.append(f"{label(place)}: this role cannot read it")
            continue
        if table["row_security"]:
            hidden = f"row security can hide rows of {label(place)} from this role"
            if delete:
                raise DatabaseError(f"{hidden}; nothing was changed", hint=row_security.HINT, code=row_security.CODE)
            unreadable.append(hidden)
        columns = zip(table["columns"], table["kinds"], strict=True)
        owned = " OR ".join(_holds(column, kind, user_id) for column, kind in columns)
        rows.append(Going(place, f"({owned})", [user_id], "$1::text"))
    return OutsideRows(tuple(rows), tuple(unreadable))


async def count(connection: "asyncpg.Connection[Any]", rows: Sequence[Going]) -> Mapping[str, int]:
    """Count rows by `schema.table`."""
    counts = {}
    for each in rows:
        counted = f"SELECT count(*) FROM {each.sql} WHERE {each.condition}"
        counts[label(each.table)] = await connection.fetchval(counted, *each.arguments)
    return {table: number for table, number in counts.items() if number}


def _holds(column: str, kind: str, user_id: str) -> str:
    """Return SQL that is true for the user id. The bot stores Discord ids as bigint, compared as such for an index."""
    if kind == "bigint" and user_id.isascii() and user_id.isdigit() and int(user_id) < 2**63:
        return f"{quoted(column)} = $1::text::bigint"
    return is_user(quoted(column), kind)
