"""Creates agno's tables, once: by agno's own definitions, under a lock, all or none.

Agno would make each table at its first write, where a race between two processes loses the write in silence, and
where a server that is away at that moment spoils the instance for good. So it is done here, when a chat is opened, by
an instance that lives no longer than this. It works on the one connection that holds the lock, inside its transaction:
behind a pooler there may be no second one.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agno.db.postgres import AsyncPostgresDb
from agno.db.postgres.engine import create_async_postgres_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import StaticPool

from junkie_cli.core.database import Database
from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.postgres.connect import close_connection
from junkie_cli.core.postgres.errors import translate_errors
from junkie_cli.core.reporting import report
from junkie_cli.core.schema import own_tables, registry, row_security
from junkie_cli.core.schema import tables as schemas
from junkie_cli.core.schema.tables import SchemaState
from junkie_cli.core.table_layout import Layout, TableRef
from junkie_cli.core.turns.connections import Connections
from junkie_cli.core.turns.types import TablesNeededError

if TYPE_CHECKING:
    from junkie_cli.core.postgres.connection import Connection


_KINDS: dict[TableRef, str] = {
    schemas.SESSIONS: "sessions",
    schemas.RUNS: "runs",
    schemas.MEMORIES: "memories",
    registry.VERSIONS: "versions",
}


async def ensure_tables(connections: Connections, layout: Layout, *, may_add_tables: bool) -> SchemaState:
    """The state of a schema that a team can work on, with agno's tables and ours made where they are missing.

    Raises DatabaseError `schema_old` for tables of agno 2.2, in which memories cannot be kept, TablesNeededError when
    tables of agno 2 would get company and `may_add_tables` is False, and what the server says against making them.
    """
    async with connections.transaction(read_only=True) as connection:
        state = await schemas.inspect(connection, layout)
        versions = await own_tables.read_versions(connection, state)
    ready = own_tables.is_ready(state, versions)
    _check(state, connections.database, may_add_tables)
    read = (schemas.MEMORIES, schemas.SESSIONS, schemas.RUNS)
    for warning in row_security.warnings(state, *read, effect="memories and earlier turns may be missing"):
        report(f"{warning.message}; {warning.hint}")
    if state.tables_agno_3_adds():
        state = await _made(connections, layout)
    if ready:
        own_tables.report_missing(state)
        return state
    return await _add_own(connections, state)


def _check(state: SchemaState, database: Database, may_add_tables: bool) -> None:
    state.require_tables()
    # A tombstone that is hidden would let an erased person come back; what is pending would never be found.
    row_security.require_all_rows(state, *registry.own_tables(), undone="the conversation was not begun")
    if state.generation == "2.2":
        raise DatabaseError(
            f"the tables in schema {state.schema} were made by agno 2.2, whose memories this agno cannot keep",
            hint="bring them up to date, after a backup: junkie doctor --fix schema.version",
            code="schema_old",
        )
    if state.generation != "2.3" or may_add_tables:
        return
    # Who agreed to our first tables is not asked again when a later junkie adds one.
    own = () if state.has(registry.OWN_VERSIONS) else registry.own_tables()
    missing = (*state.tables_agno_3_adds(), *own)
    if missing:
        raise TablesNeededError(missing, database.label)


async def _made(connections: Connections, layout: Layout) -> SchemaState:
    try:
        return await _make(connections, layout)
    except DatabaseError:
        # Somebody who does not know our lock, the bot say, may have been making the same tables at this moment.
        return await _make(connections, layout)


async def _make(connections: Connections, layout: Layout) -> SchemaState:
    connection = await connections.open()
    try:
        with translate_errors(connections.database.url):
            # The isolation that SQLAlchemy asks for: its transactions are savepoints in this one.
            async with connection.transaction(isolation="read_committed"):
                await own_tables.lock(connection, layout)
                state = await schemas.inspect(connection, layout)
                if not state.exists:  # agno does not quote the name
                    await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schemas.quoted(layout.schema)}")
                await _create(connection, state, connections.database)
                await _index(connection, state.layout, state.tables_agno_3_adds())
                return await schemas.inspect(connection, layout)
    finally:
        await close_connection(connection)  # SQLAlchemy has set codecs on it


async def _create(connection: "Connection", state: SchemaState, database: Database) -> None:
    maker = AsyncPostgresDb(
        db_engine=_engine_on(connection),
        db_schema=state.schema,
        session_table=state.layout.sessions,
        runs_table=state.layout.runs,
        memory_table=state.layout.memories,
        create_schema=False,
    )
    missing = state.tables_agno_3_adds()
    try:
        for kind in (kind for table, kind in _KINDS.items() if state.name(table) in missing):
            await maker._get_table(kind, create_table_if_not_found=True)
    except SQLAlchemyError as error:
        raise _translated(error, database) from None


async def _index(connection: "Connection", layout: Layout, made: Sequence[str]) -> None:
    """Our indexes on tables that are empty yet, where they cost nothing; on those of others only `doctor` makes any.

    Not the one for full text: each memory would pay for a search that few need.
    """
    state = await schemas.inspect(connection, layout)
    for table, name, definition in state.missing_indexes():
        if table in made and not schemas.is_for_search(definition):
            await connection.execute(f"CREATE INDEX {schemas.quoted(name)} ON {state.qualified(table)} {definition}")


def _engine_on(connection: "Connection") -> AsyncEngine:
    """SQLAlchemy's engine over this one connection, which it neither opens nor closes; it logs no parameters."""

    async def this_one(**_: Any) -> "Connection":
        return connection

    arguments = {"async_creator_fn": this_one, "prepared_statement_cache_size": 0}
    return create_async_postgres_engine(
        "postgresql+asyncpg://", connect_args=arguments, poolclass=StaticPool, hide_parameters=True, pool_pre_ping=False
    )


def _translated(error: SQLAlchemyError, database: Database) -> DatabaseError:
    """SQLAlchemy's error as the one of ours that asyncpg's, which it wraps, stands for."""
    cause: BaseException | None = getattr(error, "orig", None)
    while cause is not None and cause.__cause__ is not None:
        cause = cause.__cause__
    try:
        with translate_errors(database.url):
            raise cause or error
    except DatabaseError as translated:
        return translated
    except SQLAlchemyError:
        return DatabaseError("agno's tables could not be made", hint="run: junkie doctor", code="database_error")


async def _add_own(connections: Connections, state: SchemaState) -> SchemaState:
    """Create our tables next to agno's. Chat also works on a read-only database: each turn reports it."""
    try:
        async with connections.transaction() as connection:
            return await own_tables.prepare(connection, state.layout)
    except DatabaseError as error:
        if error.code != "database_readonly":
            raise
        return state
