"""Applies fixes of findings after confirmation; the check runs again afterwards."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from junkie_cli.core.database import locate
from junkie_cli.core.doctor.bot import is_bots_file
from junkie_cli.core.doctor.context import NAME, Context
from junkie_cli.core.doctor.model import Fix
from junkie_cli.core.errors import DatabaseError, JunkieError
from junkie_cli.core.postgres.connect import close_connection, open_connection
from junkie_cli.core.postgres.errors import translate_errors
from junkie_cli.core.progress import Progress
from junkie_cli.core.schema.own_tables import ensure_own_tables
from junkie_cli.core.schema.tables import MEMORIES, RUNS, SESSIONS, SchemaState, inspect
from junkie_cli.core.table_layout import TableRef

if TYPE_CHECKING:
    import asyncpg


_LOOK_EVERY = 0.5  # seconds


async def apply(fix: Fix, context: Context, progress: Progress) -> str:
    """Apply a fix; return a note for the user, or an empty string.

    Restarts the embedded server if it stopped while the user was asked.
    """
    if context.located is not None and context.located.embedded:
        context.located = await locate(context.settings)
    return await fix.run(context, progress)


async def build_index(name: str, statement: str, context: Context, progress: Progress) -> str:
    """Build an index without blocking writers. Drops an incomplete index of that name first.

    CONCURRENTLY cannot run in a transaction, and can wait long for other transactions: it has no time limit.
    """
    progress.step(f"building {name}")
    layout = context.settings.layout
    connection = await open_connection(context.database.url, application_name=NAME)
    try:
        with translate_errors(context.database.url):
            state = await inspect(connection, layout)
            if any(index.name == name and not index.valid for index in state.indexes):
                await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {state.qualified(name)}")
            async with _reporting_progress(name, context, progress):
                await connection.execute(statement)
    finally:
        await close_connection(connection)
    return ""


@asynccontextmanager
async def _reporting_progress(name: str, context: Context, progress: Progress) -> AsyncIterator[None]:
    """Report the progress of the index build inside the block."""
    watching = asyncio.ensure_future(_watch(name, context, progress))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)  # errors of the progress query must not fail the build


async def _watch(name: str, context: Context, progress: Progress) -> None:
    connection = await open_connection(context.database.url, application_name=NAME)
    try:
        while True:
            async with connection.transaction():
                row = await connection.fetchrow(
                    "SELECT phase, blocks_total >= tuples_total AS blocks, greatest(blocks_total, tuples_total) AS"
                    " total, CASE WHEN blocks_total >= tuples_total THEN blocks_done ELSE tuples_done END AS done"
                    " FROM pg_catalog.pg_stat_progress_create_index p"
                    " JOIN pg_catalog.pg_class i ON i.oid = p.index_relid"
                    " WHERE p.datname = current_database() AND i.relname = $1",
                    name,
                )
            if row is not None:
                of = f", {row['done']:,} of {row['total']:,} {'blocks' if row['blocks'] else 'rows'}"
                progress.step(f"building {name}: {row['phase']}{of if row['total'] else ''}")
            await asyncio.sleep(_LOOK_EVERY)
    finally:
        await close_connection(connection)


async def add_own_tables(context: Context, progress: Progress) -> str:
    """Create junkie's own tables, or migrate them to this version."""
    progress.step("creating junkie's own tables")
    async with context.connection(read_only=False) as connection:
        if not await ensure_own_tables(connection, context.settings.layout):
            raise DatabaseError(
                f"this role cannot create tables in schema {context.settings.schema}",
                hint="have its owner grant CREATE: junkie doctor --only database.rights",
                code="database_rights",
            )
    return ""


# --- agno's migration -------------------------------------------------------------------------------------------------


async def migrate(context: Context, progress: Progress) -> str:
    """Make a verified backup, run agno's own migration, and count again; return the path of the backup.

    Raises JunkieError if the bot's variables are set, BackupError if no verified backup could be made, and
    DatabaseError, with the path of the backup, if the migration failed or rows are missing after it.
    """
    if is_bots_file(context):
        raise JunkieError(
            "the bot's variables are set, and the bot needs agno 2: its tables are not migrated",
            hint="if the bot is gone, use a settings file without its variables: junkie --env-file FILE doctor ...",
            code="bot_needs_agno_2",
        )
    backup = await _backed_up(context, progress)
    before = await _counts(context)
    progress.step("running agno's migration")
    from junkie_cli.core.doctor.team import load_team

    await load_team()
    from junkie_cli.core.agent import doctor_probes

    try:
        await doctor_probes.migrate(context.database.url, context.schema.layout)
        after = await _counts(context)
    except DatabaseError as error:
        raise DatabaseError(
            f"agno's migration failed: {error.message}",
            hint=f"run it again, or restore the backup: junkie restore {backup} --replace",
            code=error.code,
        ) from None
    if any(after[table] < count for table, count in before.items()):
        raise DatabaseError(
            f"after agno's migration there are fewer rows ({after} instead of {before})",
            hint=f"restore the backup: junkie restore {backup} --replace",
            code="migration_incomplete",
        )
    return f"backup from before the migration: {backup}"


async def _backed_up(context: Context, progress: Progress) -> str:
    from junkie_cli.core.backup.dump import BackupOptions, make_backup

    options = BackupOptions(require_verified=True, reason="before a migration")
    done = await make_backup(context.database, context.settings, options, progress)
    return str(done.path)


async def _counts(context: Context) -> dict[str, int]:
    """Count sessions, memories, and runs in both places."""
    async with context.connection() as connection:
        state = await inspect(connection, context.settings.layout)
        async with connection.transaction():
            return {
                "memories": await _rows(connection, state, MEMORIES),
                "sessions": await _rows(connection, state, SESSIONS),
                "runs": await _runs(connection, state),
            }


async def _rows(connection: "asyncpg.Connection[Any]", state: SchemaState, table: TableRef) -> int:
    if not state.has(table):
        return 0
    return int(await connection.fetchval(f"SELECT count(*) FROM {state.qualified(table)}"))


async def _runs(connection: "asyncpg.Connection[Any]", state: SchemaState) -> int:
    from junkie_cli.core.schema import runs

    if not (state.has(RUNS) or state.has_runs_column):
        return 0
    return int(await connection.fetchval(f"SELECT count(*) FROM {runs.table(state)} r"))
