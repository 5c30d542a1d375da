"""PostgreSQL for tests: one throw-away server a worker, one template database, a clone of it for each test."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded import wire
from junkie_cli.core.embedded.cluster import USER
from junkie_cli.core.embedded.scratch import ScratchServer

_numbers = count(1)
_MEMORY = Path("/dev/shm")
_ROOM = 4 << 30  # bytes; a container's is often too small


def memory_folder() -> Path | None:
    """Where files of a server are in memory, None where that has no room."""
    return _MEMORY if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM else None


def scratch_server(**arguments: Any) -> ScratchServer:
    """A throw-away server, in memory if it can be: a database is cloned there in a third of the time.

    JUNKIE_TEST_PG_BIN names the folder of another installation's programs (`make servers`).
    """
    named = os.environ.get("JUNKIE_TEST_PG_BIN")
    return ScratchServer(memory_folder(), **{"bin_dir": Path(named) if named else None, **arguments})


def execute(server: ScratchServer, sql: str, database: str = "postgres") -> list[tuple[str | None, ...]]:
    """Run SQL as the server's superuser, without a driver or an event loop; rows as text."""
    return wire.ask(str(server.socket_dir), sql, user=USER, database=database, port=server.port, timeout=60)


@contextmanager
def clone(server: ScratchServer, template: str = "template0") -> Iterator[DatabaseUrl]:
    """A fresh database made from `template`, dropped afterwards whoever is connected."""
    name = f"test_{next(_numbers)}"
    execute(server, f'CREATE DATABASE {name} TEMPLATE "{template}" STRATEGY FILE_COPY')
    try:
        yield server.url.with_database(name)
    finally:
        execute(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[ScratchServer]:
    """The worker's throw-away server (socket only); it lets in every role."""
    with scratch_server(hba=["local all all trust"]) as server:
        yield server


@pytest.fixture(scope="session")
def empty_template(postgres_server: ScratchServer) -> str:
    """A database without anything in it."""
    execute(postgres_server, "CREATE DATABASE empty_template")
    return "empty_template"


@pytest.fixture(scope="session")
def template_database(empty_template: str) -> str:
    """The database that `database` clones: empty here; the conftest.py of some folders names another."""
    return empty_template


@pytest.fixture
def database(postgres_server: ScratchServer, template_database: str) -> Iterator[DatabaseUrl]:
    """A fresh database of this test alone."""
    with clone(postgres_server, template_database) as url:
        yield url
