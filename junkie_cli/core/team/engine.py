"""Everything that the conversations of one process share: database, models, teams. Opened once, closed once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from junkie_cli.core.database import Database, locate
from junkie_cli.core.settings import Settings
from junkie_cli.core.team import guard
from junkie_cli.core.team.connections import Connections
from junkie_cli.core.team.models import TeamModels, build_models
from junkie_cli.core.team.records import Records
from junkie_cli.core.team.storage import TeamDatabase
from junkie_cli.core.team.tables import ensure_tables, make_engine
from junkie_cli.core.team.team import HeroTeam, TeamCache, build_team
from junkie_cli.core.team.volatile import VolatileRecords


@dataclass(slots=True)
class TeamEngine:
    """The open engine. `records` are the database's, or this process' own when `database` is None."""

    settings: Settings
    models: TeamModels
    teams: TeamCache
    records: Records | VolatileRecords
    memory: bool
    database: Database | None
    connections: Connections | None

    async def close(self) -> None:
        """Give everything back; safe to call twice."""
        await self.teams.close()
        await self.models.close()
        if self.connections is not None:
            await self.connections.close()


async def open_engine(
    settings: Settings,
    *,
    offline: bool,
    memory: bool,
    database: bool,
    may_add_tables: bool,
    on_progress: Callable[[str], None] | None = None,
) -> TeamEngine:
    """Models, connections and tables made ready, the embedded database too.

    Raises SettingsError (no provider), TablesNeededError, DatabaseError.
    """
    guard.quiet_loop()
    models = build_models(settings, offline=offline)
    if not database:
        volatile = VolatileRecords()
        return _engine(settings, models, volatile, TeamDatabase(_no_engine(), settings.schema), False, None, None)
    located = await locate(settings, create=True, on_progress=on_progress)
    connections = Connections(settings, located)
    engine = make_engine(located)
    try:
        state = await ensure_tables(connections, engine, settings.schema, may_add_tables=may_add_tables)
    except BaseException:
        await connections.close()
        raise
    records = Records(connections, state, history_days=settings.history_days)
    return _engine(
        settings, models, records, TeamDatabase(engine, settings.schema), memory, connections.database, connections
    )


def _engine(
    settings: Settings,
    models: TeamModels,
    records: Records | VolatileRecords,
    storage: TeamDatabase,
    memory: bool,
    database: Database | None,
    connections: Connections | None,
) -> TeamEngine:
    def build(user_id: str) -> HeroTeam:
        return build_team(settings, models, storage, records, user_id, memory=memory)

    return TeamEngine(settings, models, TeamCache(build, settings.max_agents), records, memory, database, connections)


def _no_engine() -> AsyncEngine:
    """An engine that connects to nothing: agno's storage cannot be made without one."""

    def refuse() -> NoReturn:
        raise PermissionError("this conversation has no database")

    return create_async_engine("postgresql+asyncpg://", creator=refuse)
