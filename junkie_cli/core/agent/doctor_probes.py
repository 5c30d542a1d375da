"""What doctor wants to know of the team: how it is built, whether SQLAlchemy connects, and agno's own migration."""

from typing import Any
from uuid import uuid4

from agno.db.migrations.manager import MigrationManager
from agno.db.postgres import AsyncPostgresDb
from agno.db.postgres.engine import create_async_postgres_engine
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from junkie_cli.core.agent.agno_adapter import TeamDatabase
from junkie_cli.core.agent.models import build_models
from junkie_cli.core.agent.team import build_team
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.postgres.connect import engine_options
from junkie_cli.core.postgres.errors import translate_errors, while_connecting
from junkie_cli.core.settings import Settings
from junkie_cli.core.table_layout import Layout
from junkie_cli.core.turns.in_memory_store import InMemoryTurnStore
from junkie_cli.core.value_class import frozen


@frozen
class TeamFacts:
    """Read off the team as built: not what was asked for, but what agno made of it."""

    memories_enabled: bool
    manager_present: bool
    database_present: bool
    history_runs: int
    telemetry: bool


async def describe_team(settings: Settings, *, offline: bool) -> TeamFacts:
    """Build the team that a chat would talk to, and look at it. Raises SettingsError when no provider is configured."""
    models = build_models(settings, offline=offline)
    try:
        hero = build_team(settings, models, TeamDatabase(settings.layout), InMemoryTurnStore(), "junkie-doctor")
        team = hero.team
        return TeamFacts(
            memories_enabled=bool(team.add_memories_to_context) and hero.memory is not None,
            manager_present=team.memory_manager is not None and team.memory_manager is hero.memory,
            database_present=isinstance(team.db, TeamDatabase),
            history_runs=(team.num_history_runs or 0) if team.add_history_to_context else 0,
            telemetry=bool(team.telemetry) or any(getattr(member, "telemetry", False) for member in _members(team)),
        )
    finally:
        await models.close()


def _members(team: Any) -> list[Any]:
    return team.members if isinstance(team.members, list) else []


async def connect_by_sqlalchemy(url: DatabaseUrl, *, seconds: float, application_name: str) -> None:
    """Connect with the `postgresql+asyncpg://` form alone, as another program would. Raises DatabaseError.

    `seconds` bounds the connection and the statement.
    """
    arguments: dict[str, Any] = {
        "timeout": seconds,
        "command_timeout": seconds,
        "server_settings": {"application_name": application_name},
        # What SQLAlchemy prescribes behind a pooler: no cache, and names that no other client uses.
        "statement_cache_size": 0,
        "prepared_statement_cache_size": 0,
        "prepared_statement_name_func": lambda: f"__junkie_{uuid4().hex}__",
    }
    engine = create_async_engine(url.sqlalchemy(), connect_args=arguments, poolclass=NullPool, hide_parameters=True)
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    except (SQLAlchemyError, OSError, ValueError, TypeError) as error:
        raise _translated(error, url, seconds) from None
    finally:
        await engine.dispose()


def _translated(error: BaseException, url: DatabaseUrl, seconds: float) -> DatabaseError:
    """The DatabaseError that stands for what SQLAlchemy has wrapped."""
    cause: Any = getattr(error, "orig", None) or error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    try:
        with translate_errors(url):
            raise while_connecting(cause, url, url.hosts[0], seconds)
    except DatabaseError as translated:
        return translated
    except Exception as unknown:
        return DatabaseError(
            f"something stands against it ({type(unknown).__name__})",
            hint="look at the parameters of POSTGRES_URL",
            code="database_error",
        )


async def migrate(url: DatabaseUrl, layout: Layout) -> None:
    """Run agno's own migration of sessions and memories. Raises DatabaseError.

    Agno works step by step, each in a transaction of its own: after a failure it can be run again.
    """
    engine = create_async_postgres_engine(url.sqlalchemy(), **engine_options(url), hide_parameters=True)
    database = AsyncPostgresDb(
        db_engine=engine,
        db_schema=layout.schema,
        session_table=layout.sessions,
        runs_table=layout.runs,
        memory_table=layout.memories,
    )
    try:
        for kind in ("memories", "sessions"):
            await MigrationManager(database).up(table_type=kind)
    except Exception as error:  # agno raises whatever it meets
        raise _translated(error, url, 10) from None
    finally:
        await database.close()
