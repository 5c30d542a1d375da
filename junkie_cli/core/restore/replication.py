"""Keeps logical replication working when tables are replaced: publications reference tables, not names.

Tables of the renamed old schema stay in their publications. So the membership is read before, shown in the plan, and
applied to the restored tables in the transaction of the swap. Subscribers do not get the restored rows.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from junkie_cli.core.schema.tables import quoted
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg


@frozen
class Membership:
    """A table of the schema in a publication, with the published columns and rows (all: None).

    An empty `table` is the complete schema (`FOR TABLES IN SCHEMA`). `owned`: this role can change the publication.
    """

    publication: str
    table: str
    columns: tuple[str, ...] | None
    condition: str | None
    owned: bool


_COLUMNS = "pg_has_role(p.pubowner, 'USAGE') FROM pg_publication p"
_BEFORE_15 = f"""
SELECT p.pubname, c.relname, NULL, NULL, {_COLUMNS} JOIN pg_publication_rel r ON r.prpubid = p.oid
JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 ORDER BY 1, 2
"""
_SINCE_15 = f"""
SELECT p.pubname, c.relname,
  (SELECT array_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a
    WHERE a.attrelid = r.prrelid AND a.attnum = ANY (r.prattrs)),
  pg_get_expr(r.prqual, r.prrelid), {_COLUMNS} JOIN pg_publication_rel r ON r.prpubid = p.oid
JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1
UNION ALL
SELECT p.pubname, '', NULL, NULL, {_COLUMNS} JOIN pg_publication_namespace r ON r.pnpubid = p.oid
JOIN pg_namespace n ON n.oid = r.pnnspid WHERE n.nspname = $1 ORDER BY 1, 2
"""
_SUBSCRIBED = """
SELECT s.subname, string_agg(c.relname, ', ' ORDER BY c.relname) FROM pg_subscription_rel r
JOIN pg_subscription s ON s.oid = r.srsubid JOIN pg_class c ON c.oid = r.srrelid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 GROUP BY 1 ORDER BY 1
"""


async def memberships(connection: "asyncpg.Connection[Any]", schema: str) -> tuple[Membership, ...]:
    """Read the publications of tables of `schema`, in the caller's transaction.

    Names in conditions are qualified only while `search_path` is `pg_catalog`.
    """
    rows = await connection.fetch(_SINCE_15 if connection.get_server_version().major >= 15 else _BEFORE_15, schema)
    return tuple(Membership(row[0], row[1], tuple(row[2]) if row[2] else None, row[3], row[4]) for row in rows)


async def subscriptions(connection: "asyncpg.Connection[Any]", schema: str) -> tuple[tuple[str, str], ...]:
    """Read (subscription, tables of `schema` that it writes to), in the caller's transaction."""
    return tuple((row[0], row[1]) for row in await connection.fetch(_SUBSCRIBED, schema))


def warnings(
    schema: str,
    published: Sequence[Membership],
    subscribed: Sequence[tuple[str, str]],
    is_restored: Callable[[str], bool],
) -> list[str]:
    """Return warnings before `schema` is replaced; `is_restored` tells whether a table will exist afterwards."""
    messages = []
    for name in dict.fromkeys(membership.publication for membership in published):
        those = [membership for membership in published if membership.publication == name]
        tables = [membership.table or f"all tables of schema {schema}" for membership in those]
        messages.append(
            f"publication {name} publishes {', '.join(tables)}: the restored tables replace them in it, but"
            " subscribers keep their old rows until the tables are copied again (empty the table there, then ALTER"
            " SUBSCRIPTION ... REFRESH PUBLICATION)"
        )
        gone = [membership.table for membership in those if membership.table and not is_restored(membership.table)]
        if gone:
            messages.append(f"not in the backup, so removed from publication {name}: {', '.join(gone)}")
        if not those[0].owned:
            messages.append(f"this role cannot change publication {name}: its owner has to add the restored tables")
    messages += [
        f"subscription {name} writes to {tables}: after the restore run ALTER SUBSCRIPTION {quoted(name)} REFRESH"
        " PUBLICATION"
        for name, tables in subscribed
    ]
    return messages


async def give(connection: "asyncpg.Connection[Any]", found: Sequence[Membership], *, old: str, new: str) -> list[str]:
    """Replace tables of schema `old` by those of `new` in publications, in the caller's transaction.

    Returns messages about what failed.
    """
    import asyncpg

    there = {row[0] for row in await connection.fetch(_TABLES, new)}
    refused = []
    for membership in found:
        statements = [_change(membership, "DROP", old)]
        if not membership.table or membership.table in there:
            statements.append(_change(membership, "ADD", new))
        try:
            async with connection.transaction():
                for statement in statements:
                    await connection.execute(statement)
        except asyncpg.PostgresError as error:
            messages = str(error) if not isinstance(error, asyncpg.InsufficientPrivilegeError) else "missing privilege"
            refused.append(
                f"publication {membership.publication} still contains the old table ({messages}); have its owner or a"
                f" superuser run: {'; '.join(statements)}"
            )
    return refused


_TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')
"""


def _change(membership: Membership, action: str, schema: str) -> str:
    change = f"ALTER PUBLICATION {quoted(membership.publication)} {action}"
    if not membership.table:
        return f"{change} TABLES IN SCHEMA {quoted(schema)}"
    table = f"{change} TABLE ONLY {quoted(schema)}.{quoted(membership.table)}"
    if action == "DROP":
        return table
    columns = f" ({', '.join(map(quoted, membership.columns))})" if membership.columns else ""
    return table + columns + (f" WHERE ({membership.condition})" if membership.condition else "")
