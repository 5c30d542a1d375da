"""The embedded server when nothing goes wrong: made, met, shared, left."""

import asyncio
import contextlib
import fcntl
import os
import pwd
import stat
from pathlib import Path

import asyncpg
import pytest

from junkie_cli.core import embedded
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded import account, client, wire
from junkie_cli.core.errors import DatabaseError, SettingsError
from junkie_cli.core.progress import Progress
from tests.support import embedded as support
from tests.support.embedded import (
    answer,
    ask,
    child,
    finish,
    folder,
    insist,
    keepers,
    prepared,
    server_pid,
    server_processes,
    until,
)

__all__ = ["folder", "prepared"]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


async def test_each_test_has_a_database_of_its_own(database: DatabaseUrl) -> None:
    connection = await asyncpg.connect(**database.asyncpg_arguments())
    try:
        assert await connection.fetchval("select count(*) from pg_tables where schemaname = 'public'") == 0
        await connection.execute("create table public.mine ()")
    finally:
        await connection.close()


async def test_and_again_a_fresh_one(database: DatabaseUrl) -> None:
    await test_each_test_has_a_database_of_its_own(database)


async def test_it_is_made_once_and_met_afterwards(folder: Path) -> None:
    said: list[str] = []
    assert not embedded.exists(folder)
    first = await embedded.ensure_running(folder, create=True, progress=Progress(step=said.append))
    assert embedded.exists(folder)
    assert said == ["creating the embedded database..."]
    pid = server_pid(folder)
    second = await embedded.ensure_running(folder, create=False, progress=Progress(step=said.append))
    assert (first, len(said), server_pid(folder)) == (second, 1, pid)
    connection = await asyncpg.connect(**first.asyncpg_arguments())
    try:
        assert await connection.fetchval("select current_database() || ' ' || current_user") == "junkie junkie"
    finally:
        await connection.close()


async def test_meeting_a_running_server_starts_no_process(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = await embedded.ensure_running(prepared, create=False)

    def no_process(*_: object, **__: object) -> int:
        raise AssertionError("a process was started")

    monkeypatch.setattr(client, "launch", no_process)
    assert await embedded.ensure_running(prepared, create=False) == url


async def test_without_create_nothing_is_made(folder: Path) -> None:
    with pytest.raises(DatabaseError) as caught:
        await embedded.ensure_running(folder, create=False)
    assert caught.value.code == "database_none"
    assert not folder.exists()


async def test_it_keeps_to_itself(folder: Path) -> None:
    await embedded.ensure_running(folder, create=True)
    assert [mode(folder / name) for name in ("", "data", "run", "server.log")] == [0o700, 0o700, 0o700, 0o600]
    wanted = {
        "listen_addresses": "",
        "fsync": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "server_encoding": "UTF8",
        "shared_buffers": "64MB",
        "max_connections": "50",
    }
    assert {name: ask(folder, f"show {name}") for name in wanted} == wanted
    locale = "select concat_ws(' ', datlocprovider, datcollate, datctype, datlocale) from pg_database"
    assert ask(folder, f"{locale} where datname = 'junkie'") == "b C.UTF-8 C.UTF-8 C.UTF-8"


async def test_its_environment_holds_no_secret_and_nothing_that_steers_it(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk_secret")
    monkeypatch.setenv("PGOPTIONS", "-c fsync=off")
    monkeypatch.setenv("PGDATA", "/nonexistent")
    await embedded.ensure_running(prepared, create=False)
    for pid in (server_pid(prepared), *keepers(prepared)):
        environment = Path(f"/proc/{pid}/environ").read_text()
        assert "gsk_secret" not in environment
        assert "PGOPTIONS" not in environment


async def test_its_log_holds_nothing_that_people_said(prepared: Path) -> None:
    url = await embedded.ensure_running(prepared, create=False)
    connection = await asyncpg.connect(**url.asyncpg_arguments())
    try:
        await connection.execute("create table said (words text primary key)")
        for _ in range(2):
            with contextlib.suppress(asyncpg.UniqueViolationError):
                await connection.execute("insert into said values ('a most private thing')")
        with pytest.raises(asyncpg.UndefinedTableError):
            await connection.execute("select 'a most private thing' from nowhere")
    finally:
        await connection.close()
    assert "private" not in (prepared / "server.log").read_text()
    assert "duplicate key" in (prepared / "server.log").read_text()


async def test_many_at_once_on_an_empty_folder_make_one_server(folder: Path) -> None:
    children = [child(folder, sql="select pg_postmaster_start_time()") for _ in range(8)]
    said = [finish(one) for one in children]
    assert {lines[0]["socket"] for lines in said} == {f"{folder}/run"}
    assert len({lines[1]["rows"][0][0] for lines in said}) == 1
    await until(lambda: len(keepers(folder)) == 1, "one keeper is left")
    assert len([pid for pid in server_processes(folder) if pid == server_pid(folder)]) == 1


async def test_it_stops_after_its_last_client_and_starts_again(folder: Path) -> None:
    await embedded.ensure_running(folder, create=True, linger=0.2)
    await insist(folder, "create table if not exists kept (one int primary key)", linger=0.2)
    await insist(folder, "insert into kept values (1) on conflict do nothing", linger=0.2)
    await until(lambda: support.all_gone(folder), "the server has stopped by itself")
    assert not (folder / "data/postmaster.pid").exists()
    assert "database system is shut down" in (folder / "server.log").read_text()
    assert await insist(folder, "select one from kept", linger=0.2) == "1"
    assert "automatic recovery" not in (folder / "server.log").read_text()


async def test_it_stays_as_long_as_somebody_is_connected(prepared: Path) -> None:
    url = await embedded.ensure_running(prepared, create=False, linger=0.5)
    connection = await asyncpg.connect(**url.asyncpg_arguments())
    looks = "select sum(sessions) from pg_stat_database"
    try:
        before = int(await connection.fetchval(looks))
        while int(await connection.fetchval(looks)) < before + 10:  # the keeper's own looks, three in a linger
            await asyncio.sleep(0.02)
    finally:
        await connection.close()
    await until(lambda: support.all_gone(prepared), "the server has stopped by itself")


async def test_whoever_meets_it_keeps_it_for_a_while(prepared: Path) -> None:
    """Nobody is connected meanwhile, for longer than it would stay alone."""
    linger = 2.0
    clock = asyncio.get_running_loop().time
    await embedded.ensure_running(prepared, create=False, linger=linger)
    started = ask(prepared, "select pg_postmaster_start_time()")
    began = met = clock()
    while met - began < linger * 1.25:
        await embedded.ensure_running(prepared, create=False)
        if clock() - met > linger / 2:  # this machine is too busy to come often enough: from the beginning
            started = ask(prepared, "select pg_postmaster_start_time()")
            began = clock()
        met = clock()
        await asyncio.sleep(0.1)
    assert ask(prepared, "select pg_postmaster_start_time()") == started


async def test_coming_and_going_never_cuts_off_a_client(prepared: Path) -> None:
    """The server stops all the time here; who is in stays in, and who comes too late starts it anew."""
    await embedded.ensure_running(prepared, create=False, linger=0.01)
    refused = {"57P03", ""}  # shutting down; not listening
    starts: set[str] = set()

    async def client_process(rounds: int) -> None:
        for number in range(rounds):
            await asyncio.sleep(0.03 * (number % 5))
            for _ in range(20):
                url = await embedded.ensure_running(prepared, create=False, linger=0.01)
                sql = "select pg_postmaster_start_time() from pg_sleep(0.02)"
                try:
                    rows = await asyncio.to_thread(wire.ask, url.hosts[0].name, sql, user="junkie", database="junkie")
                except wire.WireError as error:
                    assert error.sqlstate in refused, error
                    assert "closed the connection" not in str(error)
                    continue
                starts.add(str(rows[0][0]))
                break
            else:
                pytest.fail("the server could not be met in 20 tries")

    await asyncio.gather(*(client_process(12) for _ in range(4)))
    assert len(starts) > 1, "the server never stopped: nothing was tested"


async def test_who_waits_for_another_is_reported(prepared: Path) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    with (prepared / "start.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        task = asyncio.create_task(
            embedded.ensure_running(prepared, create=False, progress=Progress(step=said.put_nowait))
        )
        assert "waiting for another junkie" in await said.get()
    await task
    assert ask(prepared, "select 1") == "1"


async def test_the_time_that_it_stays_can_be_set(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUNKIE_EMBEDDED_LINGER", "soon")
    with pytest.raises(SettingsError):
        await embedded.ensure_running(prepared, create=False)
    monkeypatch.setenv("JUNKIE_EMBEDDED_LINGER", "0.1")
    await embedded.ensure_running(prepared, create=False)
    await until(lambda: support.all_gone(prepared), "the server has stopped by itself")


async def test_stop_ends_it_whoever_is_connected(prepared: Path) -> None:
    url = await embedded.ensure_running(prepared, create=False)
    connection = await asyncpg.connect(**url.asyncpg_arguments())
    await embedded.stop(prepared)
    assert server_processes(prepared) == []
    with pytest.raises((asyncpg.PostgresError, OSError, asyncpg.InterfaceError)):
        await connection.fetchval("select 1")
    await connection.close()
    await until(lambda: support.all_gone(prepared), "the keeper has left too")
    await embedded.stop(prepared)  # nothing to stop is no error


async def test_it_is_left_running_when_its_starter_is_cancelled(folder: Path) -> None:
    said = asyncio.Event()
    task = asyncio.create_task(
        embedded.ensure_running(folder, create=True, progress=Progress(step=lambda _: said.set()))
    )
    await said.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: embedded.exists(folder), "it has been made all the same")
    await embedded.ensure_running(folder, create=False)


async def test_a_child_says_what_it_met(folder: Path) -> None:
    """The helper that the other tests rest on."""
    one = child(folder, create=False)
    assert answer(one)["code"] == "database_none"
    assert one.wait() == 4
    assert one.stdout is not None
    one.stdout.close()


async def test_the_server_runs_as_the_folders_owner_or_for_root_as_a_user_without_rights(folder: Path) -> None:
    await embedded.ensure_running(folder, create=True)
    name = account.service_account().name if support.ROOT else pwd.getpwuid(os.geteuid()).pw_name
    owner = pwd.getpwnam(name).pw_uid
    assert Path(f"/proc/{server_pid(folder)}").stat().st_uid == owner
    assert {folder.stat().st_uid, (folder / "data").stat().st_uid, (folder / "server.log").stat().st_uid} == {owner}
    assert {Path(f"/proc/{pid}").stat().st_uid for pid in keepers(folder)} == {owner}
    assert folder.parent.stat().st_uid == os.geteuid()
    assert mode(folder.parent) == 0o700
