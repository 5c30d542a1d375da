"""Which database a command gets, and which of several servers: really located, started, failed over, promoted."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from junkie_cli.core import embedded
from junkie_cli.core.database import connect, locate, require_named_database
from junkie_cli.core.database_url import DatabaseUrl, Host
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import DatabaseError, ExitCode, SettingsError
from junkie_cli.core.postgres.connect import close_connection, engine_options, open_connection
from junkie_cli.core.postgres.errors import translate_errors
from junkie_cli.core.progress import Progress
from junkie_cli.core.settings import Settings, load_settings
from tests.support.lanes import agreed, failure
from tests.support.postgres import scratch_server
from tests.support.proxy import Proxy
from tests.support.standby import PRIMARY_HBA, PRIMARY_SETTINGS, Standby


def settings_of(folder: Path, **variables: str) -> Settings:
    environ = {"HOME": str(folder), "JUNKIE_DATA_DIR": str(folder / "data"), **variables}
    return load_settings(environ=environ, cwd=folder)


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[Settings]:
    """Settings without a POSTGRES_URL; an embedded server that was started is stopped."""
    settings = settings_of(tmp_path)
    yield settings
    await embedded.stop(settings.data_dir)


# --- which database ---------------------------------------------------------------------------------------------------


async def test_a_named_database_is_taken_as_it_is_named(tmp_path: Path, database: DatabaseUrl) -> None:
    settings = settings_of(tmp_path, POSTGRES_URL=database.libpq())
    found = await locate(settings, create=True)
    assert (found.url, found.embedded, found.label) == (database, False, database.masked())
    assert not embedded.exists(settings.data_dir)
    async with connect(settings) as connection, connection.transaction():
        assert await connection.fetchval("SELECT current_database()") == database.database
        assert await connection.fetchval("SELECT current_setting('application_name')") == "junkie"


async def test_the_label_holds_no_password(tmp_path: Path) -> None:
    found = await locate(settings_of(tmp_path, POSTGRES_URL="postgresql://u:hunter2@h/d"))
    assert "hunter2" not in repr(found) + found.label


async def test_no_database_yet_is_said_and_none_is_made(settings: Settings) -> None:
    for attempt in (locate(settings), connect(settings).__aenter__()):
        with pytest.raises(DatabaseError) as caught:
            await attempt
        assert (caught.value.code, caught.value.exit_code) == ("database_none", ExitCode.DATABASE)
        assert str(settings.data_dir) in caught.value.message
    assert not settings.data_dir.exists()


async def test_a_file_that_was_not_read_is_named(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    with pytest.raises(DatabaseError) as caught:
        await locate(replace(settings, ignored_env_files=(path,)))
    assert f"not read, because it belongs to another user: {path}; to read it: --env-file" in caught.value.hint


async def test_the_embedded_database_is_made_once_and_then_found(settings: Settings) -> None:
    progress: list[str] = []
    found = await locate(settings, create=True, progress=Progress(step=progress.append))
    assert found.embedded
    assert found.label == f"embedded PostgreSQL in {settings.data_dir}"
    assert progress
    async with connect(settings) as connection:
        await connection.execute("CREATE TABLE kept (id int)")
    await embedded.stop(settings.data_dir)
    async with connect(settings) as connection, connection.transaction():
        assert await connection.fetchval("SELECT count(*) FROM kept") == 0


async def test_a_server_that_is_just_stopping_is_started_again(settings: Settings) -> None:
    async with connect(settings, create=True):
        pass

    async def once() -> None:
        async with connect(settings):
            pass

    for _ in range(3):
        await asyncio.gather(embedded.stop(settings.data_dir), once(), once())


@pytest.mark.parametrize(
    ("named", "option", "interactive", "said"),
    [
        (False, False, False, "POSTGRES_URL is not set"),
        (False, False, True, ""),
        (False, True, False, ""),
        (True, False, False, ""),
        (True, True, False, "--embedded was given"),
    ],
)
def test_unattended_commands_want_a_named_database(
    tmp_path: Path, named: bool, option: bool, interactive: bool, said: str
) -> None:
    settings = settings_of(tmp_path, **({"POSTGRES_URL": "postgresql://u:hunter2@h/d"} if named else {}))
    if not said:
        require_named_database(settings, embedded_option=option, interactive=interactive)
        return
    with pytest.raises(SettingsError) as caught:
        require_named_database(settings, embedded_option=option, interactive=interactive)
    assert said in caught.value.message
    assert "hunter2" not in caught.value.message
    assert caught.value.exit_code == ExitCode.SETTINGS
    assert caught.value.hint


# --- connect ----------------------------------------------------------------------------------------------------------


async def test_errors_inside_are_translated_and_the_connection_is_closed(tmp_path: Path, database: DatabaseUrl) -> None:
    settings = settings_of(tmp_path, POSTGRES_URL=database.libpq())
    with pytest.raises(DatabaseError) as caught:
        async with connect(settings) as connection:
            await connection.execute("SELECT * FROM nowhere")
    assert caught.value.code == "database_table"
    assert connection.is_closed()
    with pytest.raises(KeyError):
        async with connect(settings) as connection:
            raise KeyError
    assert connection.is_closed()


async def test_an_interrupted_statement_is_stopped_on_the_server_too(tmp_path: Path, database: DatabaseUrl) -> None:
    settings = settings_of(tmp_path, POSTGRES_URL=database.libpq())
    asked = asyncio.Event()

    async def work() -> None:
        async with connect(settings) as connection, connection.transaction():
            await connection.execute("SET LOCAL application_name = 'interrupted'")
            asked.set()
            await connection.execute("SELECT pg_sleep(600)")

    task = asyncio.create_task(work())
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with connect(settings) as connection:
        busy = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'interrupted'"
        while await connection.fetchval(busy):
            await asyncio.sleep(0.01)


async def test_a_statement_may_take_so_long_and_no_longer(tmp_path: Path, database: DatabaseUrl) -> None:
    settings = settings_of(tmp_path, POSTGRES_URL=database.libpq())
    with pytest.raises(DatabaseError) as caught:
        async with connect(settings, statement_timeout=0.1) as connection, connection.transaction():
            await connection.execute("SELECT pg_sleep(60)")
    assert caught.value.code == "database_timeout"


async def test_read_only_connections_go_to_the_replica_and_change_nothing(
    tmp_path: Path, database: DatabaseUrl, postgres_server: ScratchServer
) -> None:
    settings = settings_of(tmp_path, POSTGRES_URL=database.libpq())
    replica = settings_of(tmp_path, POSTGRES_URL="postgresql://u@nowhere.invalid/d", POSTGRES_READ_URL=database.libpq())
    for named in (settings, replica):
        with pytest.raises(DatabaseError) as caught:
            async with connect(named, read_only=True) as connection, connection.transaction():
                await connection.execute("CREATE TABLE x (id int)")
        assert caught.value.code == "database_readonly"
    with pytest.raises(DatabaseError) as caught:
        async with connect(replica):
            pass
    assert caught.value.code == "database_dns"
    elsewhere = settings_of(tmp_path, POSTGRES_READ_URL=database.libpq())
    async with connect(elsewhere, read_only=True) as connection:
        assert await connection.fetchval("SELECT current_database()") == database.database


async def test_engines_show_no_password(database: DatabaseUrl) -> None:
    url = replace(database, password="hunter2")
    engine = create_async_engine(url.sqlalchemy(), **engine_options(url))
    assert "hunter2" not in repr(engine) + repr(engine.url)
    await engine.dispose()


# --- several servers --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def primary() -> Iterator[ScratchServer]:
    with scratch_server(settings=PRIMARY_SETTINGS, hba=PRIMARY_HBA) as server:
        yield server


@pytest.fixture(scope="module")
def standby(primary: ScratchServer) -> Iterator[Standby]:
    with Standby(primary) as standby:
        yield standby


def both(primary: ScratchServer, standby: Standby, attrs: str) -> list[DatabaseUrl]:
    """The two servers in either order."""
    hosts = (Host("127.0.0.1", primary.port), Host("127.0.0.1", standby.port))
    query = (("target_session_attrs", attrs),)
    return [DatabaseUrl(order, "junkie", None, "postgres", query) for order in (hosts, hosts[::-1])]


@pytest.mark.parametrize(
    ("attrs", "is_standby"),
    [
        ("read-write", [False, False]),
        ("primary", [False, False]),
        ("read-only", [True, True]),
        ("standby", [True, True]),
        ("prefer-standby", [True, True]),
        ("any", [False, True]),
    ],
)
async def test_target_session_attrs_means_the_same_in_all_lanes(
    primary: ScratchServer, standby: Standby, attrs: str, is_standby: list[bool]
) -> None:
    ports = {False: primary.port, True: standby.port}
    for url, wanted in zip(both(primary, standby, attrs), is_standby, strict=True):
        assert (await agreed(url, primary))["port"] == ports[wanted]


async def test_no_server_fits(primary: ScratchServer, standby: Standby) -> None:
    hosts = (Host("127.0.0.1", standby.port), Host("127.0.0.1", standby.port))
    url = DatabaseUrl(hosts, "junkie", None, "postgres", (("target_session_attrs", "read-write"),))
    error = await failure(url)
    assert error.code == "database_readonly"
    assert "is a server that takes writes" in error.message
    url = both(primary, standby, "prefer-standby")[0]
    only = replace(url, hosts=url.hosts[:1])
    await close_connection(await open_connection(only))


async def test_a_standby_refuses_writes(standby: Standby) -> None:
    connection = await open_connection(standby.url)
    with pytest.raises(DatabaseError) as caught, translate_errors(standby.url):
        await connection.execute("CREATE TABLE x (id int)")
    await close_connection(connection)
    assert caught.value.code == "database_readonly"
    assert "standby" in caught.value.message


async def test_a_server_in_recovery(primary: ScratchServer) -> None:
    with Standby(primary, hot=False) as cold:
        error = await failure(cold.url)
        place = cold.url.hosts[0]
        assert error.code == "database_starting"
        assert error.message == f"the server at {place} does not accept connections at the moment"
        url = replace(cold.url, hosts=(place, Host("127.0.0.1", primary.port)))
        assert (await agreed(url, primary))["port"] == primary.port


async def test_dead_and_silent_servers_are_passed_over(primary: ScratchServer) -> None:
    alive = Host("127.0.0.1", primary.port)
    with Proxy(DatabaseUrl((alive,))) as proxy:
        proxy.stall()
        silent = Host("127.0.0.1", proxy.port)
        hosts = (Host("nowhere.invalid"), Host("/nowhere"), silent, alive)
        connection = await open_connection(DatabaseUrl(hosts, "junkie", None, "postgres"), timeout=0.5)
        await close_connection(connection)
        error = await failure(DatabaseUrl((silent, Host("nowhere.invalid")), "junkie"), timeout=0.2)
    assert error.code == "database_dns"
    assert error.message.startswith("no server of 2 could be used: 127.0.0.1:")
    assert "did not answer" in error.message


async def test_fail_over_to_a_promoted_standby() -> None:
    with scratch_server(settings=PRIMARY_SETTINGS, hba=PRIMARY_HBA) as primary, Standby(primary) as standby:
        url = both(primary, standby, "read-write")[0]
        connection: Any = await open_connection(url)
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS id")
        await asyncio.to_thread(standby.catch_up)
        await asyncio.to_thread(primary.stop)
        with pytest.raises(DatabaseError) as caught, translate_errors(url):
            await connection.execute("SELECT 1")
        assert caught.value.code == "database_lost"
        await close_connection(connection)
        assert (await failure(url)).code in {"database_refused", "database_readonly"}
        await asyncio.to_thread(standby.promote)
        connection = await open_connection(url)
        await connection.execute("INSERT INTO kept VALUES (2)")
        assert await connection.fetchval("SELECT count(*) FROM kept") == 2
        await close_connection(connection)
