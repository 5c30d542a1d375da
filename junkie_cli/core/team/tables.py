"""Making agno's tables, once: by agno's own definitions, under a lock, and only after the server has answered.

Agno would make each table at its first write, where a race between two processes loses the write in silence, and
where a server that is away at that moment spoils the instance for good. So it is done here, when a chat is opened,
by an instance that lives no longer than this.
"""

from agno.db.postgres import AsyncPostgresDb
from agno.db.postgres.engine import create_async_postgres_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool

from junkie_cli.core import schema as schemas
from junkie_cli.core.database import Database, engine_options, translate_errors
from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.schema import SchemaState
from junkie_cli.core.team.connections import STATEMENT_TIMEOUT, Connections
from junkie_cli.core.team.values import TablesNeededError

_KINDS = {
    schemas.SESSIONS: "sessions",
    schemas.RUNS: "runs",
    schemas.MEMORIES: "memories",
    schemas.VERSIONS: "versions",
}


def make_engine(database: Database) -> AsyncEngine:
    """SQLAlchemy's engine for agno: opens a connection only when a table is made, and logs no parameters."""
    options = engine_options(database.url, statement_timeout=STATEMENT_TIMEOUT)
    return create_async_postgres_engine(
        database.url.sqlalchemy(), poolclass=NullPool, hide_parameters=True, pool_pre_ping=False, **options
    )


async def ensure_tables(
    connections: Connections, engine: AsyncEngine, schema: str, *, may_add_tables: bool
) -> SchemaState:
    """The state of a schema that a team can work on, with agno's tables and ours made where they are missing.

    Raises DatabaseError `schema_old` for tables of agno 2.2, in which memories cannot be kept, TablesNeededError when
    tables of agno 2 would get company and `may_add_tables` is False, and what the server says against making them.
    """
    async with connections.transaction(read_only=True) as connection:
        state = await schemas.inspect(connection, schema)
    _check(state, connections.database, may_add_tables)
    if state.tables_agno_3_adds():
        state = await _make(connections, engine, schema)
    if not state.has_own_tables:
        state = await _add_own(connections, state)
    return state


def _check(state: SchemaState, database: Database, may_add_tables: bool) -> None:
    if state.generation == "2.2":
        raise DatabaseError(
            f"the tables in schema {state.schema} were made by agno 2.2, whose memories this agno cannot keep",
            hint="bring them up to date, after a backup: junkie doctor --fix schema.version",
            code="schema_old",
        )
    if state.generation != "2.3" or may_add_tables:
        return
    missing = (*state.tables_agno_3_adds(), *(table for table in schemas.OWN_TABLES if not state.has(table)))
    if missing:
        raise TablesNeededError(missing, database.label)


async def _make(connections: Connections, engine: AsyncEngine, schema: str) -> SchemaState:
    async with connections.transaction() as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 7316))", f"junkie tables {schema}")
        state = await schemas.inspect(connection, schema)
        for attempt in (1, 2):
            try:
                await _create(engine, state)
                break
            except SQLAlchemyError as error:
                # Somebody who does not know our lock, the bot say, may be making the same table at this moment.
                state = await schemas.inspect(connection, schema)
                if attempt == 2 and state.tables_agno_3_adds():
                    raise _translated(error, connections.database) from None
        return await schemas.inspect(connection, schema)


async def _create(engine: AsyncEngine, state: SchemaState) -> None:
    if not state.exists:  # agno does not quote the name
        async with engine.begin() as connection:
            await connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {schemas.quoted(state.schema)}")
    maker = AsyncPostgresDb(
        db_engine=engine,
        db_schema=state.schema,
        session_table=schemas.SESSIONS,
        memory_table=schemas.MEMORIES,
        create_schema=False,
    )
    for table in state.tables_agno_3_adds():
        await maker._get_table(_KINDS[table], create_table_if_not_found=True)


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
    """Our tables beside agno's. A database that takes no writes now can still be talked on: it says so at each turn."""
    try:
        async with connections.transaction() as connection:
            return await schemas.prepare(connection, state.schema)
    except DatabaseError as error:
        if error.code != "database_readonly":
            raise
        return state
