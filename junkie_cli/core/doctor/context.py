"""The state that the checks of one run share."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any, TypeVar

from junkie_cli.core.database import Database
from junkie_cli.core.env_file import EnvFile
from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.postgres.connect import close_connection, open_connection
from junkie_cli.core.postgres.errors import translate_errors
from junkie_cli.core.settings import Problem, Settings

if TYPE_CHECKING:
    import asyncpg

    from junkie_cli.core.schema.tables import SchemaState

T = TypeVar("T")

NAME = "junkie doctor"
"""The application_name of all connections of doctor."""

MOST_CONNECTIONS = 4
"""Maximum number of open connections: doctor must not use up the last slots."""

STATEMENT_TIMEOUT = 4.0
"""Statement timeout in seconds: less than the limit of a check, so that the server reports the timeout."""


@dataclass(slots=True)
class Context:
    """The options, and results of checks for dependent checks.

    `environ` is the original environment: `core/agent/agno_environment.py` removes variables later. `patience`
    multiplies every time limit; `clock` is this machine's, in seconds since 1970. `offline` uses the
    rehearsal model instead of the configured models. `windows` are context windows in tokens, by URL and model.
    """

    environ: Mapping[str, str]
    named_env_file: Path | None = None
    cwd: Path | None = None
    max_backup_age: float | None = None
    patience: float = 1.0
    clock: Callable[[], float] = time
    offline: bool = False

    env_file: EnvFile | None = None
    settings_in_force: Settings | None = None
    problems: list[Problem] = field(default_factory=list)
    located: Database | None = None
    state: "SchemaState | None" = None
    models: dict[str, tuple[str, ...]] = field(default_factory=dict)
    windows: dict[tuple[str, str], int] = field(default_factory=dict)
    _places: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(MOST_CONNECTIONS))

    @property
    def settings(self) -> Settings:
        """The settings, with defaults in the place of invalid values; for checks that need `settings.values`."""
        assert self.settings_in_force is not None
        return self.settings_in_force

    @property
    def database(self) -> Database:
        """The database; for checks that need `database.reachable`."""
        assert self.located is not None
        return self.located

    @property
    def schema(self) -> "SchemaState":
        """The state of the schema; for checks that need `schema.tables`."""
        assert self.state is not None
        return self.state

    def problem(self, *names: str) -> Problem | None:
        """Return the first problem with one of the variables `names`."""
        return next((problem for problem in self.problems if problem.name in names), None)

    @asynccontextmanager
    async def connection(self, *, read_only: bool = True) -> "AsyncIterator[asyncpg.Connection[Any]]":
        """Open a connection whose statements end after a few seconds. Raises DatabaseError."""
        async with self.place():
            connection = await self.patiently(lambda: self._open(read_only))
            try:
                with translate_errors(self.database.url):
                    yield connection
            finally:
                await close_connection(connection)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for one of the few connection slots."""
        while not self._places.acquire(blocking=False):
            await asyncio.sleep(0.01)
        try:
            yield
        finally:
            self._places.release()

    async def patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return the result of `attempt`, retried while the server has no free slot, until the time limit."""
        while True:
            try:
                return await attempt()
            except DatabaseError as error:
                if error.code != "database_connections":
                    raise
            await asyncio.sleep(0.2)

    async def _open(self, read_only: bool) -> "asyncpg.Connection[Any]":
        return await open_connection(
            self.database.url,
            timeout=5 * self.patience,
            statement_timeout=STATEMENT_TIMEOUT * self.patience,
            read_only=read_only,
            application_name=NAME,
        )
