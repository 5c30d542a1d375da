"""What logical replication knows of the tables being replaced: it holds on to tables, not to their names.

When the old schema moves aside its tables take their membership in publications with them. So the membership is read
before, shown in the plan, and given to the restored tables in the transaction of the swap. What subscribers have is
another matter: the restored rows were never sent to them.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from junkie_cli.core.schema.tables import quoted
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg


@frozen
class Membership:
    """A table of the schema in a publication, with the columns and rows that are sent (all: None).

    An empty `table` is the whole schema (`FOR TABLES IN SCHEMA`). `owned`: this role may change the publication.
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
    """The publications that tables of `schema` are named in, in the caller's transaction.

    Names in conditions are complete only while `search_path` is `pg_catalog`.
    """
    rows = await connection.fetch(_SINCE_15 if connection.get_server_version().major >= 15 else _BEFORE_15, schema)
    return tuple(Membership(row[0], row[1], tuple(row[2]) if row[2] else None, row[3], row[4]) for row in rows)


async def subscriptions(connection: "asyncpg.Connection[Any]", schema: str) -> tuple[tuple[str, str], ...]:
    """(subscription, tables of `schema` that it writes to), in the caller's transaction."""
    return tuple((row[0], row[1]) for row in await connection.fetch(_SUBSCRIBED, schema))


def warnings(
    schema: str,
    published: Sequence[Membership],
    subscribed: Sequence[tuple[str, str]],
    is_restored: Callable[[str], bool],
) -> list[str]:
    """What to know before `schema` is replaced; `is_restored` says whether a table will be there afterwards."""
    told = []
    for name in dict.fromkeys(membership.publication for membership in published):
        those = [membership for membership in published if membership.publication == name]
        tables = [membership.table or f"all tables of schema {schema}" for membership in those]
        told.append(
            f"publication {name} sends changes of {', '.join(tables)}: the restored tables take their place in it, but"
            " subscribers keep the rows they have until they are copied anew (empty the table there, then ALTER"
            " SUBSCRIPTION ... REFRESH PUBLICATION)"
        )
        gone = [membership.table for membership in those if membership.table and not is_restored(membership.table)]
        if gone:
            told.append(f"not in the backup, so no longer in publication {name} afterwards: {', '.join(gone)}")
        if not those[0].owned:
            told.append(
                f"this role may not change publication {name}: its owner has to put the restored tables into it"
            )
    told += [
        f"subscription {name} writes to {tables}: after the restore run ALTER SUBSCRIPTION {quoted(name)} REFRESH"
        " PUBLICATION"
        for name, tables in subscribed
    ]
    return told


async def give(connection: "asyncpg.Connection[Any]", found: Sequence[Membership], *, old: str, new: str) -> list[str]:
    """In the caller's transaction: the tables of schema `new` take the place of those of `old` in publications.

    What could not be done, for people.
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
            told = str(error) if not isinstance(error, asyncpg.InsufficientPrivilegeError) else "not allowed here"
            refused.append(
                f"publication {membership.publication} still holds the old table ({told}); have its owner or a"
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
