"""Migrates our own tables, and checks whether this junkie may write them.

Data flows: `prepare` before every change -> the two stored numbers -> migrations, where rights allow them -> the state
of the schema. A table that is missing switches off its feature, with a report, and nothing else.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.postgres.locks import LOCK_TABLES
from junkie_cli.core.reporting import report
from junkie_cli.core.schema import migrations
from junkie_cli.core.schema.migrations import Migration
from junkie_cli.core.schema.registry import OWN_VERSIONS, Feature
from junkie_cli.core.schema.tables import SchemaState, inspect, quoted, transaction
from junkie_cli.core.table_layout import Layout
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

VERSION, OLDEST_WRITER = "version", "schema"
"""The names of the two numbers in `junkie_versions`."""


@frozen
class Versions:
    """The two stored numbers: the last migration that was applied (0: none), and the oldest version that may write."""

    version: int
    oldest_writer: int

    @property
    def is_current(self) -> bool:
        """Whether there is no migration to apply."""
        return self.version >= migrations.LATEST

    def require_writer(self, schema: str) -> None:
        """Raise DatabaseError `own_tables_newer` where this junkie is too old to write."""
        if self.oldest_writer > migrations.LATEST:
            raise newer(schema, self.oldest_writer)


def newer(schema: str, oldest_writer: int) -> DatabaseError:
    """The error for tables that this junkie is too old to write."""
    return DatabaseError(
        f"the junkie tables in schema {schema} were made by a newer junkie: version {oldest_writer} or later may write"
        f" them, and this one has version {migrations.LATEST}; nothing was changed",
        hint="use that newer junkie here",
        code="own_tables_newer",
    )


def number_in(value: str | None) -> int:
    """A stored number; 0 for none, and for what is no number."""
    return int(value) if value and value.isascii() and value.isdigit() else 0


async def read_versions(connection: "asyncpg.Connection[Any]", state: SchemaState) -> Versions | None:
    """The two numbers; None where this database user cannot read them (reliably)."""
    if not state.has(OWN_VERSIONS):
        return Versions(0, 0)
    if not state.may("SELECT", OWN_VERSIONS) or state.filtered(OWN_VERSIONS):
        return None
    async with transaction(connection):
        rows = await connection.fetch(
            f"SELECT name, value FROM {state.qualified(OWN_VERSIONS)} WHERE name IN ('{VERSION}', '{OLDEST_WRITER}')"
        )
    values = {row["name"]: number_in(row["value"]) for row in rows}
    oldest_writer = values.get(OLDEST_WRITER, 0)
    # Before migrations were numbered there was one number, 1.
    return Versions(values.get(VERSION, min(oldest_writer, 1)), oldest_writer)


async def require_writer(connection: "asyncpg.Connection[Any]", state: SchemaState) -> None:
    """Raise DatabaseError `own_tables_newer` where this junkie is too old to write in this schema."""
    if (versions := await read_versions(connection, state)) is not None:
        versions.require_writer(state.schema)


async def prepare(connection: "asyncpg.Connection[Any]", layout: Layout) -> SchemaState:
    """Prepare a change: create or migrate our own tables if privileges allow it; return the state of the schema.

    Features whose tables are missing are reported. Raises DatabaseError where a view stands for a table of agno's, and
    `own_tables_newer` where only a newer junkie may write.
    """
    state = await inspect(connection, layout)
    state.require_tables()
    # In the caller's transaction the numbers stay unread until the lock is held: a migration may wait for readers.
    if connection.is_in_transaction() or not is_ready(state, await read_versions(connection, state)):
        await ensure_own_tables(connection, layout)
        state = await inspect(connection, layout)
    report_missing(state)
    return state


def is_ready(state: SchemaState, versions: Versions | None) -> bool:
    """Whether our tables need no migration, or none can be made. Raises DatabaseError `own_tables_newer`."""
    if versions is None:
        return True
    versions.require_writer(state.schema)
    return not state.may_migrate or (versions.is_current and not state.missing_own_tables())


def report_missing(state: SchemaState) -> None:
    """Report features that are off because their tables are not there or may not be used."""
    off = [feature.value for feature in Feature if not state.keeps(feature)]
    if off:
        report(
            f"{', '.join(state.unusable_own_tables())} in schema {state.schema} cannot be used, so these are off:"
            f" {'; '.join(off)} (see: junkie doctor --only schema.junkie,database.rights)"
        )


async def ensure_own_tables(connection: "asyncpg.Connection[Any]", layout: Layout) -> bool:
    """Apply the migrations that are missing, all or none; whether our tables are there and up to date now.

    Where somebody dropped a table, all migrations run again. Safe from several processes at once. False when the
    database user lacks a right. Raises DatabaseError `own_tables_newer`.
    """
    async with _alone(connection):
        state = await inspect(connection, layout)
        if state.may_migrate:
            await lock(connection, layout)
            state = await inspect(connection, layout)
        versions = await read_versions(connection, state)
        if is_ready(state, versions):
            return versions is not None and versions.is_current and not state.missing_own_tables()
        assert versions is not None  # not readable is ready
        applied = 0 if state.missing_own_tables() else versions.version
        wanted = [migration for migration in migrations.MIGRATIONS if migration.number > applied]
        return await _migrated(connection, state, versions, wanted)


def _alone(connection: "asyncpg.Connection[Any]") -> Any:
    """The caller's transaction, else one in which each statement sees what others committed while it waited."""
    if connection.is_in_transaction():
        return transaction(connection)
    return connection.transaction(isolation="read_committed")


async def lock(connection: "asyncpg.Connection[Any]", layout: Layout) -> None:
    """Hold off everybody else who makes tables in this schema, until the transaction ends."""
    await connection.execute(LOCK_TABLES, layout.schema)


async def _migrated(
    connection: "asyncpg.Connection[Any]", state: SchemaState, versions: Versions, wanted: Iterable[Migration]
) -> bool:
    """Apply `wanted` and store the numbers; False, with nothing changed, where a right is missing."""
    import asyncpg

    try:
        async with connection.transaction():
            await _apply(connection, state, versions, list(wanted))
    except asyncpg.InsufficientPrivilegeError:
        return False
    return True


async def _apply(
    connection: "asyncpg.Connection[Any]", state: SchemaState, versions: Versions, wanted: list[Migration]
) -> None:
    if not state.exists:  # even IF NOT EXISTS asks for a right on the database, which a table's owner may lack
        await connection.execute(f"CREATE SCHEMA {quoted(state.schema)}")
    oldest_writer = max(versions.oldest_writer, *(migration.oldest_writer for migration in wanted))
    if oldest_writer > versions.oldest_writer and state.has(OWN_VERSIONS):
        # Every writer reads this table first (`change_log.lock_user`): those under way end before the change.
        await connection.execute(f"LOCK TABLE {state.qualified(OWN_VERSIONS)} IN ACCESS EXCLUSIVE MODE")
    for migration in wanted:
        await connection.execute(migration.sql.replace("@schema", quoted(state.schema)))
    table = state.identifier(OWN_VERSIONS)
    await connection.execute(
        f"INSERT INTO {table} AS v (name, value) VALUES ('{OLDEST_WRITER}', $1), ('{VERSION}', $2),"
        " ('salt', replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''))"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE v.name <> 'salt'",
        str(oldest_writer),
        str(max(versions.version, wanted[-1].number)),
    )
