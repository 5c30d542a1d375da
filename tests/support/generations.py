"""Databases as each generation of agno wrote them, from the dumps in tests/data, and ways to work on one."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.postgres.connect import open_connection
from junkie_cli.core.settings import Settings, load_settings
from tests.support.postgres import clone, execute

FOLDER = Path(__file__).parents[1] / "data"
ALL = ("2.2", "2.3", "2.9", "2.9-then-3.1", "2.9-migrated", "3.1", "os-3.1")
"""Every dump. In all but 2.3: ada (2 memories, session c1, first in channel-7), bob, nobody, and the user `default`."""

AGNO_NAMES = {
    "user_memories": "agno_memories",
    "agent_sessions": "agno_sessions",
    "agent_sessions_runs": "agno_runs",
}

Make = Callable[..., DatabaseUrl]


@pytest.fixture(scope="session")
def generation_templates(postgres_server: ScratchServer) -> Callable[[str], str]:
    """Gives the name of a template database that holds a generation; each is loaded once a worker."""
    made: dict[str, str] = {}

    def template(generation: str) -> str:
        if generation not in made:
            name = f"agno_{generation}"
            execute(postgres_server, f'CREATE DATABASE "{name}"')
            execute(postgres_server, (FOLDER / f"agno-{generation}.sql").read_text("utf-8"), name)
            made[generation] = name
        return made[generation]

    return template


@pytest.fixture
def written_by(postgres_server: ScratchServer, generation_templates: Callable[[str], str]) -> Iterator[Make]:
    """`written_by("2.2", schema="My Schema")` is a fresh database as that agno wrote it."""
    with ExitStack() as stack:

        def make(generation: str, *, schema: str = "ai") -> DatabaseUrl:
            url = stack.enter_context(clone(postgres_server, generation_templates(generation)))
            if schema != "ai":
                quoted = schema.replace('"', '""')
                execute(postgres_server, f'ALTER SCHEMA ai RENAME TO "{quoted}"', url.database or "")
            return url

        yield make


def named(generation: str, text: str) -> str:
    """`text` about agno's tables, with the names that they have in that dump."""
    if generation != "os-3.1":
        return text
    return re.sub(r"\b(user_memories|agent_sessions_runs|agent_sessions)\b", lambda found: AGNO_NAMES[found[1]], text)


class Administration:
    """Settings and plain statements for one test; its folders are the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {
            "HOME": str(folder),
            "XDG_STATE_HOME": str(folder / "state"),
            "JUNKIE_DATA_DIR": str(folder / "data"),
            "JUNKIE_BACKUP_DIR": str(folder / "backups"),
        }

    def settings(self, url: DatabaseUrl, **variables: str) -> Settings:
        """Settings that name the database `url`."""
        environ = self.environ | {"POSTGRES_URL": url.libpq()} | variables
        return load_settings(environ=environ, cwd=self.folder)

    @asynccontextmanager
    async def connection(self, url: DatabaseUrl) -> AsyncIterator["asyncpg.Connection[Any]"]:
        """A connection of the test's own."""
        connection = await open_connection(url)
        try:
            yield connection
        finally:
            await connection.close()

    async def value(self, url: DatabaseUrl, sql: str, *arguments: Any) -> Any:
        """The one value that a statement gives."""
        async with self.connection(url) as connection:
            return await connection.fetchval(sql, *arguments)

    async def counted(self, url: DatabaseUrl, sql: str) -> Any:
        """A value of the server's statistics, with all that others have done: a session reports as it ends."""
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        async with self.connection(url) as connection, asyncio.timeout(30):
            while await connection.fetchval(others):
                await asyncio.sleep(0.01)
            return await connection.fetchval(sql)

    async def do(self, url: DatabaseUrl, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""
        async with self.connection(url) as connection:
            for statement in statements:
                await connection.execute(statement)


@pytest.fixture
def admin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Administration:
    """Settings and statements of this test; state folders of this process are the test's own, too."""
    administration = Administration(tmp_path)
    for name in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, administration.environ[name])
    return administration


def as_role(url: DatabaseUrl, role: str) -> DatabaseUrl:
    """`url` with the rights of `role` (lower case) and no others."""
    return replace(url, parameters=(*url.parameters, ("options", f"-c role={role}")))


def reader(role: str, schema: str = "ai") -> tuple[str, ...]:
    """Statements that make a role which may read everything in `schema`, and do nothing else."""
    return (
        *new_role(role),
        f'GRANT USAGE ON SCHEMA "{schema}" TO {role}',
        f'GRANT SELECT ON ALL TABLES IN SCHEMA "{schema}" TO {role}',
    )


def new_role(role: str) -> tuple[str, ...]:
    """Statements that make a role without rights, unless another database of this server has it already."""
    there = f"IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '{role}')"
    return (f"DO $$ BEGIN {there} THEN CREATE ROLE {role}; END IF; END $$",)
