"""Everything that the conversations of one process share: database, models, teams. Opened once, closed once."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module

from junkie_cli.core.agent import agno_environment
from junkie_cli.core.agent.agno_adapter import TeamDatabase
from junkie_cli.core.agent.agno_rows import add_tokens
from junkie_cli.core.agent.endpoints import Offline
from junkie_cli.core.agent.model_errors import ModelError
from junkie_cli.core.agent.models import TeamModels, build_models
from junkie_cli.core.agent.tables import ensure_tables
from junkie_cli.core.agent.team import HeroTeam, TeamCache, build_team
from junkie_cli.core.database import Database
from junkie_cli.core.schema.tables import SchemaState
from junkie_cli.core.settings import Settings
from junkie_cli.core.turns.connections import Connections
from junkie_cli.core.turns.in_memory_store import InMemoryTurnStore
from junkie_cli.core.turns.postgres_store import PostgresTurnStore
from junkie_cli.core.turns.spool import Spool, identity
from junkie_cli.core.turns.spooling_store import SpoolingTurnStore
from junkie_cli.core.turns.store import TurnStore


@dataclass(slots=True)
class TeamEngine:
    """The open engine. `turns` stores in the database, or in this process where there are no `connections`."""

    settings: Settings
    models: TeamModels
    teams: TeamCache
    turns: TurnStore
    memory: bool
    connections: Connections | None
    state: SchemaState | None

    @property
    def database(self) -> Database | None:
        """The database, None if nothing is stored."""
        return self.connections.database if self.connections else None

    async def close(self) -> None:
        """Close all connections and clients; safe to call twice."""
        await self.teams.close()
        await self.models.close()
        if self.connections is not None:
            await self.connections.close()


# What agno, openai and anyio load in the middle of the first turn otherwise: a tenth of a second before the first
# word. Names that a later version does not have are passed over.
_LOADED_LATE = (
    "agno.agent._response",
    "agno.team._hooks",
    "agno.team._run_options",
    "agno.team._telemetry",
    "agno.utils.callables",
    "agno.utils.json_schema",
    "agno.utils.media_offload",
    "anyio._backends._asyncio",
    "jiter",
    "openai.resources.chat.chat",
    "openai.resources.chat.completions.completions",
)


def load() -> None:
    """Import what a turn needs; slow, and safe in a thread while the user types."""
    for name in _LOADED_LATE:
        with suppress(ImportError):
            import_module(name)


async def open_engine(
    settings: Settings, connections: Connections | None, *, offline: Offline, memory: bool, may_add_tables: bool
) -> TeamEngine:
    """Prepare models and tables; without `connections` nothing is stored.

    Raises SettingsError (no provider), TablesNeededError, DatabaseError; the connections are then still the caller's.
    """
    agno_environment.quiet_loop()
    models = build_models(settings, offline=offline)
    for choice in (models.main_choice, models.memory_choice):  # the certificates of the machine take 20 ms to load
        with suppress(ModelError):  # a client that cannot be made fails the first request, where it is reported
            await asyncio.to_thread(models.clients.get, choice.endpoint)
    if connections is None:
        return _engine(settings, models, InMemoryTurnStore(), False, None, None)
    state = await ensure_tables(connections, settings.layout, may_add_tables=may_add_tables)
    store = PostgresTurnStore(
        connections,
        state,
        history_days=settings.history_days,
        languages=settings.search_languages,
        add_tokens=add_tokens,
    )
    async with connections.transaction(read_only=True) as connection:
        known = await identity(connection, state)
        await store.detect_timeline(connection)
    spool = Spool(known, connections.database.label) if known else None
    return _engine(settings, models, SpoolingTurnStore(store, spool), memory, connections, state)


def _engine(
    settings: Settings,
    models: TeamModels,
    turns: TurnStore,
    memory: bool,
    connections: Connections | None,
    state: SchemaState | None,
) -> TeamEngine:
    database = TeamDatabase(state.layout if state else settings.layout)

    def build(user_id: str) -> HeroTeam:
        return build_team(settings, models, database, turns, user_id, memory=memory)

    return TeamEngine(settings, models, TeamCache(build, settings.max_agents), turns, memory, connections, state)
