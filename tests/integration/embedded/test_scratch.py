"""The throw-away server: as asked for, gone without a trace, whoever dies."""

import asyncio
import json
import os
import ssl
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from junkie_cli.core import embedded
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import DatabaseError
from tests.support.embedded import REPOSITORY, kill, until
from tests.support.postgres import clone, execute


def gone(server: ScratchServer) -> bool:
    return not Path(f"/proc/{server.pid}/exe").exists() and not server.socket_dir.parent.exists()


async def test_it_comes_and_goes() -> None:
    async with ScratchServer() as server:
        folder = server.socket_dir.parent
        assert folder.name.startswith("junkie-scratch-")
        connection = await asyncpg.connect(**server.url.asyncpg_arguments())
        assert await connection.fetchval("show listen_addresses") == ""
        assert await connection.fetchval("show fsync") == "off"
        await connection.close()
    assert gone(server)
    assert not folder.exists()
    server.stop()


async def test_it_lies_where_it_should_and_leaves_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "beside").write_text("mine")
    before = tmp_path.stat()
    with ScratchServer(tmp_path) as server:
        assert server.socket_dir.is_relative_to(tmp_path) or server.socket_dir.parent == Path("/tmp")
        assert len(list(tmp_path.glob("junkie-scratch-*"))) == 1
        assert execute(server, "select 1") == [("1",)]
    assert [path.name for path in tmp_path.iterdir()] == ["beside"]
    assert (tmp_path.stat().st_uid, tmp_path.stat().st_mode) == (before.st_uid, before.st_mode)


async def test_a_long_parent_gets_a_short_socket(tmp_path: Path) -> None:
    parent = tmp_path / ("long" * 30)
    parent.mkdir()
    with ScratchServer(parent) as server:
        assert execute(server, "select 1") == [("1",)]
        assert server.socket_dir.parent == Path("/tmp")
    assert not server.socket_dir.exists()
    assert list(parent.iterdir()) == []


@pytest.mark.parametrize("password", ["plain", 'it\'s \\ "a"\npässword'])
async def test_it_takes_settings_rules_a_password_and_a_port(password: str) -> None:
    settings = {"listen_addresses": "127.0.0.1", "work_mem": "9MB"}
    rules = ["host all all 127.0.0.1/32 scram-sha-256", "local all all scram-sha-256"]
    with ScratchServer(settings=settings, hba=rules, password=password, initdb=["--wal-segsize=1"]) as server:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=server.port, user="junkie", password=password, database="postgres", ssl=False
        )
        assert await connection.fetchval("show work_mem") == "9MB"
        assert await connection.fetchval("show wal_segment_size") == "1MB"
        await connection.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(host=str(server.socket_dir), port=server.port, user="junkie", password="wrong")
    assert gone(server)


async def test_a_port_that_is_taken_is_reported() -> None:
    with ScratchServer(settings={"listen_addresses": "127.0.0.1"}) as first:
        with pytest.raises(DatabaseError) as caught:
            ScratchServer(settings={"listen_addresses": "127.0.0.1"}, port=first.port).start()
        assert caught.value.code == "embedded_start"
        assert execute(first, "select 1") == [("1",)]


async def test_it_speaks_tls_with_the_files_that_it_is_given(tmp_path: Path) -> None:
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    words += ["-addext", "subjectAltName=DNS:localhost", "-keyout", "server.key", "-out", "server.crt"]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    files = {name: (tmp_path / name).read_bytes() for name in ("server.key", "server.crt")}
    settings = {"listen_addresses": "localhost", "ssl": "on"}
    rule = "hostssl all all 127.0.0.1/32 scram-sha-256"
    with ScratchServer(settings=settings, files=files, hba=[rule], password="secret") as server:
        context = ssl.create_default_context(cafile=str(tmp_path / "server.crt"))
        connection = await asyncpg.connect(
            host="localhost", port=server.port, user="junkie", password="secret", database="postgres", ssl=context
        )
        assert await connection.fetchval("select ssl from pg_stat_ssl where pid = pg_backend_pid()")
        await connection.close()


async def test_a_start_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError) as caught:
        ScratchServer(tmp_path, settings={"work_mem": "lots"}).start()
    assert caught.value.code == "embedded_start"
    assert "work_mem" in caught.value.message + caught.value.hint
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DatabaseError) as caught:
        ScratchServer(tmp_path / "nowhere").start()
    assert caught.value.code == "embedded_folder"


async def test_it_dies_with_its_starter() -> None:
    code = (
        "import json, sys, time; from junkie_cli.core.embedded.scratch import ScratchServer;"
        " server = ScratchServer().start();"
        " print(json.dumps([server.pid, str(server.socket_dir)]), flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid, socket_dir = json.loads(starter.stdout.readline())
        os.kill(pid, 0)
        starter.kill()
    folder = Path(socket_dir).parent
    await until(lambda: not Path(f"/proc/{pid}/exe").exists(), "the server has died with its starter")
    await until(lambda: not folder.exists(), "its folder has gone")


async def test_a_killed_scratch_server_leaves_nothing_either() -> None:
    server = ScratchServer().start()
    kill([server.pid])
    await until(lambda: not server.socket_dir.parent.exists(), "its folder has gone")
    server.stop()


async def test_ctrl_c_at_the_terminal_does_not_reach_it() -> None:
    with ScratchServer() as server:
        assert os.getsid(server.pid) != os.getsid(0)


async def test_programs_of_another_installation_serve_as_well() -> None:
    with ScratchServer(bin_dir=embedded.bin_dir() / ".." / "bin") as server:
        assert server.bin_dir != embedded.bin_dir()
        assert execute(server, "select 1") == [("1",)]
    with pytest.raises(DatabaseError) as caught:
        ScratchServer(bin_dir=Path("/nonexistent/bin")).start()
    assert caught.value.code == "embedded_programs"


async def test_several_at_once_do_not_meet(tmp_path: Path) -> None:
    servers = [ScratchServer(tmp_path) for _ in range(3)]
    await asyncio.gather(*(asyncio.to_thread(server.start) for server in servers))
    for number, server in enumerate(servers):
        execute(server, f"create table only_{number} ()")
    tables = [execute(server, "select relname from pg_class where relname like 'only\\_%'") for server in servers]
    assert tables == [[("only_0",)], [("only_1",)], [("only_2",)]]
    await asyncio.gather(*(asyncio.to_thread(server.stop) for server in servers))
    assert list(tmp_path.iterdir()) == []


def test_clones_are_fresh_and_are_dropped(postgres_server: ScratchServer) -> None:
    with clone(postgres_server) as url:
        name = url.database
        execute(postgres_server, "create table mine ()", str(name))
    assert execute(postgres_server, f"select 1 from pg_database where datname = '{name}'") == []
