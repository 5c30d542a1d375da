"""The ways in which `junkie` reaches PostgreSQL, each used as the program uses it, and what the server says of each."""

import asyncio
import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.postgres.connect import engine_options, open_connection

WHO = """SELECT json_build_object('user', session_user, 'database', current_database(),
    'tls', (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), 'name', current_setting('application_name'),
    'work_mem', current_setting('work_mem'), 'address', host(inet_server_addr()), 'port', inet_server_port())::text"""


async def by_asyncpg(url: DatabaseUrl) -> Any:
    connection = await open_connection(url)
    try:
        async with connection.transaction():
            return json.loads(await connection.fetchval(WHO))
    finally:
        await connection.close()


async def by_engine(url: DatabaseUrl, options: Mapping[str, Any]) -> Any:
    engine = create_async_engine(url.sqlalchemy(), **options)
    try:
        async with engine.connect() as connection:
            return json.loads((await connection.execute(text(WHO))).scalar_one())
    finally:
        await engine.dispose()


async def by_psql(arguments: list[str], environment: Mapping[str, str], server: ScratchServer) -> Any:
    process = await asyncio.create_subprocess_exec(
        str(server.bin_dir / "psql"),
        *(*arguments, "-X", "-w", "-A", "-t", "-c", WHO),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    if process.returncode:
        raise ConnectionError(err.decode())
    return json.loads(out)


async def in_all_lanes(url: DatabaseUrl, server: ScratchServer) -> dict[str, Any]:
    """What the server says of us, by lane; an exception where it let us not in."""
    home = {"HOME": os.environ["HOME"], "PATH": os.environ["PATH"]}
    lanes = {
        "asyncpg": by_asyncpg(url),
        "engine, URL alone": by_engine(url, {}),
        "engine, our connections": by_engine(url, engine_options(url)),
        "psql, environment": by_psql([], url.tool_environment(), server),
        "psql, URL": by_psql([url.libpq()], home, server),
    }
    told = await asyncio.gather(*lanes.values(), return_exceptions=True)
    return dict(zip(lanes, told, strict=True))


async def agreed(url: DatabaseUrl, server: ScratchServer) -> Any:
    """What all lanes get alike."""
    told = await in_all_lanes(url, server)
    assert not [told for told in told.values() if isinstance(told, BaseException)], told
    # Each client names itself unless the URL does; the port and database show where it is.
    kinds = {json.dumps({k: v for k, v in one.items() if k != "name"}) for one in told.values()}
    assert len(kinds) == 1, told
    return {**told["asyncpg"], "names": {one["name"] for one in told.values()}}


async def failure(url: DatabaseUrl, **options: Any) -> DatabaseError:
    """How opening `url` fails, alike by asyncpg and through an engine; `options` as of `open_connection`."""
    with pytest.raises(DatabaseError) as caught:
        await open_connection(url, **options)
    engine = create_async_engine(url.sqlalchemy(), **engine_options(url, **options))
    with pytest.raises(DatabaseError) as again:
        async with engine.connect():
            pass
    await engine.dispose()
    assert (again.value.code, again.value.message) == (caught.value.code, caught.value.message)
    assert caught.value.hint
    return caught.value
