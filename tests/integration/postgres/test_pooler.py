"""Behind a real PgBouncer in transaction mode, on both lanes: nothing clashes, nothing is left behind.

With fewer server connections than clients every transaction may land on another one. That the ground is slippery is
shown by a control: the driver as it comes fails here.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.postgres.connect import close_connection, engine_options, open_connection
from junkie_cli.core.postgres.errors import translate_errors
from tests.support.lanes import failure
from tests.support.pgbouncer import SERVER_HBA, SERVER_SETTINGS, PgBouncer
from tests.support.postgres import execute, scratch_server

PASSWORD = 'p@ss/w%rd:# "quoted"'


@pytest.fixture(scope="module")
def server() -> Iterator[ScratchServer]:
    with scratch_server(settings=SERVER_SETTINGS, hba=SERVER_HBA) as server:
        execute(server, f"CREATE ROLE pooled LOGIN PASSWORD '{PASSWORD}'")
        execute(server, "CREATE TABLE seen (client int, number int, data jsonb); GRANT ALL ON seen TO pooled")
        yield server


@pytest.fixture(scope="module")
def pooler(server: ScratchServer) -> Iterator[PgBouncer]:
    with PgBouncer(server, user="pooled", password=PASSWORD, pool_size=3) as pooler:
        yield pooler


@asynccontextmanager
async def engine_for(url: DatabaseUrl, **options: Any) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(url.sqlalchemy(), pool_pre_ping=True, **engine_options(url), **options)
    try:
        yield engine
    finally:
        await engine.dispose()


async def test_many_connections_over_few_by_asyncpg(server: ScratchServer, pooler: PgBouncer) -> None:
    execute(server, "TRUNCATE seen")

    async def client(client: int) -> None:
        connection = await open_connection(pooler.url())
        for number in range(20):
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", number % 3)
                await connection.execute("INSERT INTO seen VALUES ($1, $2, $3::jsonb)", client, number, '{"a": 1}')
                rows = await connection.fetch("SELECT number, data::text FROM seen WHERE client = $1", client)
                assert len(rows) == number + 1
        await connection.close()

    await asyncio.gather(*(client(number) for number in range(8)))
    assert execute(server, "SELECT count(*), count(DISTINCT client) FROM seen") == [("160", "8")]


async def test_many_connections_over_few_by_sqlalchemy(server: ScratchServer, pooler: PgBouncer) -> None:
    execute(server, "TRUNCATE seen")
    insert = text("INSERT INTO seen VALUES (:client, :number, CAST(:data AS jsonb))")
    select = text("SELECT data FROM seen WHERE client = :client")

    async def client(client: int, engine: AsyncEngine) -> None:
        for number in range(10):
            async with engine.begin() as connection:
                await connection.execute(insert, {"client": client, "number": number, "data": '{"a": 1}'})
                rows = (await connection.execute(select, {"client": client})).scalars().all()
                assert rows == [{"a": 1}] * (number + 1)

    async with engine_for(pooler.url(), pool_size=8) as engine:
        await asyncio.gather(*(client(number, engine) for number in range(8)))
    assert execute(server, "SELECT count(*), count(DISTINCT client) FROM seen") == [("80", "8")]


async def test_nothing_is_left_on_the_servers_connection(server: ScratchServer) -> None:
    async def look(connection: Any) -> Any:
        async with connection.transaction():
            return tuple(
                await connection.fetchrow(
                    """SELECT (SELECT count(*) FROM pg_prepared_statements WHERE name <> ''),
                    current_setting('statement_timeout'), current_setting('transaction_read_only'),
                    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory')"""
                )
            )

    with PgBouncer(server, user="pooled", password=PASSWORD, pool_size=1) as pooler:
        strict = await open_connection(pooler.url(), statement_timeout=5, read_only=True)
        assert (await look(strict))[1:3] == ("5s", "on")
        async with strict.transaction():
            assert [row[0] async for row in strict.cursor("SELECT generate_series(1, $1::int)", 120)][-1] == 120
            cursor = await strict.cursor("SELECT generate_series(1, $1::int)", 9)
            prepared = await strict.prepare("SELECT $1::int")
            assert [len(await cursor.fetch(4)), await prepared.fetchval(5), len(await cursor.fetch(9))] == [4, 5, 5]
        async with engine_for(pooler.url()) as engine, engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": 7})
            rows = await connection.stream(text("SELECT generate_series(1, CAST(:n AS int))"), {"n": 120})
            assert len([row async for row in rows]) == 120
        other = await open_connection(pooler.url())
        assert await look(other) == (0, "0", "off", 0)
        await strict.close()
        await other.close()


async def test_statements_are_kept_where_no_pooler_stands_between(server: ScratchServer, pooler: PgBouncer) -> None:
    async def kept(url: DatabaseUrl) -> tuple[bool, int]:
        connection = await open_connection(url)
        await connection.keep_statements()
        for number in range(3):
            async with connection.transaction():
                assert await connection.fetchval("SELECT $1::int", number) == number
        async with connection.transaction():
            named = await connection.fetchval(
                "SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT $1::int'"
            )
        await connection.close()
        return connection.keeps_statements, named

    assert await kept(pooler.url()) == (False, 0)
    assert await kept(server.url) == (True, 1)


SCRIPT = """
import asyncio, sys, asyncpg
from junkie_cli.core.postgres.connect import close_connection, engine_options, open_connection
from junkie_cli.core.database_url import DatabaseUrl

url = DatabaseUrl.parse(sys.argv[2])

async def asyncpg_as_it_comes():
    connection = await asyncpg.connect(url.libpq())
    print(await connection.fetchval("SELECT $1::int", 1))

async def asyncpg_as_ours():
    connection = await open_connection(url)
    async with connection.transaction():
        statement = await connection.prepare("SELECT $1::int")
        rows = [row async for row in connection.cursor("SELECT $1::int", 1)]
        print(await connection.fetchval("SELECT $1::int", 1), await statement.fetchval(1), rows)

async def sqlalchemy_as_ours():
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine
    async with create_async_engine(url.sqlalchemy(), **engine_options(url)).connect() as connection:
        print((await connection.execute(text("SELECT CAST(:n AS int)"), {"n": 1})).scalar_one())

asyncio.run(globals()[sys.argv[1]]())
"""


@pytest.mark.parametrize(
    ("how", "works"), [("asyncpg_as_it_comes", False), ("asyncpg_as_ours", True), ("sqlalchemy_as_ours", True)]
)
def test_statement_names_of_two_processes_do_not_clash(server: ScratchServer, how: str, works: bool) -> None:
    with PgBouncer(server, user="pooled", password=PASSWORD, pool_size=1) as pooler:
        command = [sys.executable, "-c", SCRIPT, how, pooler.url().libpq()]
        done = [subprocess.run(command, capture_output=True, text=True, timeout=60) for _ in range(2)]
    assert done[0].returncode == 0, done[0].stderr
    assert (done[1].returncode == 0) == works, done[1].stderr
    assert works or "prepared statement" in done[1].stderr


async def test_a_statement_is_stopped_in_time(pooler: PgBouncer) -> None:
    connection = await open_connection(pooler.url(), statement_timeout=0.2)
    with pytest.raises(DatabaseError) as caught, translate_errors(pooler.url()):
        async with connection.transaction():
            await connection.execute("SELECT pg_sleep(60)")
    assert caught.value.code == "database_timeout"
    async with connection.transaction():
        assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def test_target_session_attrs_over_a_pooler(pooler: PgBouncer) -> None:
    url = pooler.url(query="?target_session_attrs=read-write")
    await (await open_connection(url)).close()
    with pytest.raises(DatabaseError) as caught:
        await open_connection(pooler.url(query="?target_session_attrs=standby"))
    assert caught.value.code == "database_readonly"


async def test_what_the_pooler_refuses_is_distinguished(server: ScratchServer) -> None:
    settings = {"max_client_conn": "1", "query_wait_timeout": "1", "server_login_retry": "1"}
    with PgBouncer(server, user="pooled", password=PASSWORD, settings=settings) as pooler:
        assert (await failure(replace(pooler.url(), password="hunter2"))).code == "database_password"
        assert (await failure(replace(pooler.url(), user="stranger"))).code == "database_password"
        assert (await failure(pooler.url(query="?options=-c%20work_mem%3D7MB"))).code == "database_pooler"
        with pytest.raises(DatabaseError) as caught:
            await open_connection(pooler.url("nowhere"))
        assert caught.value.code == "database_missing"
        connection = await open_connection(pooler.url())
        error = await failure(pooler.url())
        assert (error.code, error.message) == (
            "database_connections",
            f"the pooler at 127.0.0.1:{pooler.port} accepts no more connections",
        )
        await connection.close()


async def test_a_pooler_without_its_server() -> None:
    settings = {"query_wait_timeout": "2", "server_login_retry": "1"}
    with (
        scratch_server(settings=SERVER_SETTINGS, hba=SERVER_HBA) as server,
        PgBouncer(server, user="pooled", password=PASSWORD, settings=settings) as pooler,
    ):
        execute(server, f"CREATE ROLE pooled LOGIN PASSWORD '{PASSWORD}'")
        connection = await open_connection(pooler.url())
        server.stop()
        with pytest.raises(DatabaseError) as caught, translate_errors(pooler.url()):
            async with connection.transaction():
                await connection.execute("SELECT 1")
        await close_connection(connection)
    assert caught.value.code in {"database_refused", "database_connections", "database_lost"}, caught.value.message
