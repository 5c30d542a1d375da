"""A command that waits for a lock reports who holds it, and ends in time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from junkie_cli.core import lock_watch, reporting, sessions, stats
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import DatabaseError, ExitCode
from junkie_cli.core.memories.edits import add_memory, clear_memories
from junkie_cli.core.memories.export import export_memories
from junkie_cli.core.memories.listing import MemoryFilter, list_memories
from junkie_cli.core.postgres import connect
from junkie_cli.core.postgres.connect import open_connection
from junkie_cli.core.settings import Settings
from junkie_cli.core.users.erase import erase_user
from junkie_cli.core.users.export import export_user
from tests.support.generations import Administration, Make, as_role, new_role
from tests.support.junkie import Junkie
from tests.support.pgbouncer import SERVER_HBA, SERVER_SETTINGS, PgBouncer
from tests.support.postgres import execute, scratch_server

PROGRAM = "a migration \x1b[31m"


class Reports:
    """Sentences of the core; `arrived` once there is one."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.arrived = asyncio.Event()

    def take(self, sentence: str) -> None:
        self.sentences.append(sentence)
        self.arrived.set()


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reports]:
    monkeypatch.setattr(lock_watch, "FIRST_LOOK", 0.05)
    found = Reports()
    reporting.set_reporter(found.take)
    yield found
    reporting.set_reporter(None)


@asynccontextmanager
async def held(url: DatabaseUrl, statement: str) -> AsyncIterator[tuple[int, Callable[[], Awaitable[None]]]]:
    """A session that holds a lock: its process, and what releases the lock."""
    connection = await open_connection(url, application_name=PROGRAM)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(statement)
    try:
        yield await connection.fetchval("SELECT pg_backend_pid()"), transaction.rollback
    finally:
        await connection.close()


TABLE = "LOCK TABLE ai.user_memories IN ACCESS EXCLUSIVE MODE"
ROW = "SELECT 1 FROM ai.user_memories WHERE user_id = 'ada' FOR UPDATE"
USER = "SELECT pg_advisory_xact_lock(hashtextextended('junkie user ai ada', 7317))"
CASES: dict[str, tuple[str, Callable[[Settings, Administration], Awaitable[Any]]]] = {
    "list": (TABLE, lambda settings, _: list_memories(settings, MemoryFilter())),
    "stats": (TABLE, lambda settings, _: stats.collect_stats(settings)),
    "export": (TABLE, lambda settings, admin: export_memories(settings, path=admin.folder / "x")),
    "export of a user": (TABLE, lambda settings, admin: export_user(settings, "ada", admin.folder / "y")),
    "add": (USER, lambda settings, _: add_memory(settings, "ada", "new")),
    "clear": (ROW, lambda settings, _: clear_memories(settings, "ada")),
    "erase": (ROW, lambda settings, _: erase_user(settings, "ada")),
    "delete a session": (
        "SELECT 1 FROM ai.agent_sessions WHERE session_id = 'c1' FOR UPDATE",
        lambda settings, _: sessions.delete_session(settings, "c1"),
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_who_holds_the_lock_is_reported(
    written_by: Make, admin: Administration, reports: Reports, case: str
) -> None:
    url, (lock, start) = written_by("3.1"), CASES[case]
    settings = admin.settings(url)
    await add_memory(settings, "eve", "so that our tables are there")
    async with held(url, lock) as (process, release):
        task = asyncio.ensure_future(start(settings, admin))
        async with asyncio.timeout(60):
            await reports.arrived.wait()
        assert not task.done()
        await release()
        await task
    assert reports.sentences[0].startswith(f"waiting for a lock held by process {process} (a migration")
    assert "idle in transaction" in reports.sentences[0]


async def test_each_holder_is_reported_once(
    written_by: Make, admin: Administration, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seconds that pass are no news; the holder of the next row is."""
    looks = count(1)
    monkeypatch.setattr(lock_watch, "_NEXT_LOOK", 0.01)
    monkeypatch.setattr(lock_watch, "_named", lambda rows: f"{rows[0]['pid']} (look {next(looks)})")
    url = written_by("3.1")
    settings = admin.settings(url)
    await add_memory(settings, "eve", "so that our tables are there")
    one = "SELECT 1 FROM ai.user_memories WHERE memory_id = (SELECT {}(memory_id) FROM ai.user_memories"
    one += " WHERE user_id = 'ada') FOR UPDATE"
    async with (
        asyncio.timeout(60),
        held(url, one.format("min")) as (first, release_first),
        held(url, one.format("max")) as (second, release_second),
    ):
        releases = {str(first): release_first, str(second): release_second}
        task = asyncio.ensure_future(clear_memories(settings, "ada"))
        for number in (1, 2):
            await reports.arrived.wait()
            seen = next(looks)
            while next(looks) < seen + 20:  # half of these numbers are looks
                await asyncio.sleep(0.05)
            assert len(reports.sentences) == number
            reports.arrived.clear()
            await releases.pop(reports.sentences[-1].split()[-3])()
        await task
    assert len(reports.sentences) == 2


async def test_the_wait_ends(written_by: Make, admin: Administration, monkeypatch: pytest.MonkeyPatch) -> None:
    url = written_by("3.1")
    settings = admin.settings(url)
    await add_memory(settings, "eve", "so that our tables are there")
    monkeypatch.setattr(connect, "LOCK_TIMEOUT", 0.2)
    async with held(url, ROW):
        with pytest.raises(DatabaseError) as caught:
            await clear_memories(settings, "ada")
    assert (caught.value.code, caught.value.exit_code) == ("database_locked", ExitCode.LOCKED)
    assert len((await list_memories(settings, MemoryFilter("ada"))).memories) == 2


CANCEL = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


async def test_the_error_names_who_held_the_lock(written_by: Make, admin: Administration, reports: Reports) -> None:
    url = written_by("3.1")
    settings = admin.settings(url)
    async with held(url, ROW) as (process, _):
        task = asyncio.ensure_future(clear_memories(settings, "ada"))
        async with asyncio.timeout(60):
            await reports.arrived.wait()
        assert await admin.value(url, CANCEL + " AND datname = current_database()") == 1
        with pytest.raises(DatabaseError) as caught:
            await task
    assert caught.value.code == "database_locked"
    assert f"process {process} (a migration" in caught.value.message
    assert "pg_terminate_backend" in caught.value.hint


async def test_a_role_that_sees_nothing_of_others_learns_the_process(
    written_by: Make, admin: Administration, reports: Reports
) -> None:
    url = written_by("3.1")
    await admin.do(
        url,
        *new_role("watcher"),
        "GRANT USAGE ON SCHEMA ai TO watcher",
        "GRANT SELECT ON ALL TABLES IN SCHEMA ai TO watcher",
    )
    settings = admin.settings(as_role(url, "watcher"))
    async with held(url, TABLE) as (process, release):
        task = asyncio.ensure_future(list_memories(settings, MemoryFilter()))
        async with asyncio.timeout(60):
            await reports.arrived.wait()
        await release()
        await task
    assert f"process {process}" in reports.sentences[0]


async def test_behind_a_pooler_the_right_session_is_found(reports: Reports, admin: Administration) -> None:
    with scratch_server(settings=SERVER_SETTINGS, hba=SERVER_HBA) as server:
        execute(server, "CREATE ROLE pooled SUPERUSER LOGIN PASSWORD 'x'")
        with PgBouncer(server, user="pooled", password="x", pool_size=3) as pooler:
            settings = admin.settings(pooler.url())
            await add_memory(settings, "ada", "tea")
            async with held(server.url, TABLE) as (process, release):
                task = asyncio.ensure_future(list_memories(settings, MemoryFilter()))
                async with asyncio.timeout(60):
                    await reports.arrived.wait()
                await release()
                await task
    assert f"process {process} (a migration" in reports.sentences[0]


async def test_a_statement_that_only_takes_long_is_not_said_to_wait(
    written_by: Make, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()
    named = lock_watch._BLOCKERS
    connection = await open_connection(written_by("3.1"))
    assert connection._watch is not None
    real = connection._watch._connect

    async def connect() -> Any:
        second = await real()
        fetch = second.fetch

        async def seen(query: str, *arguments: Any) -> Any:
            rows = await fetch(query, *arguments)
            if query == named:
                asked.set()
            return rows

        monkeypatch.setattr(second, "fetch", seen, raising=False)
        return second

    connection._watch._connect = connect
    task = asyncio.ensure_future(connection.fetchval("SELECT pg_sleep(1000)"))
    async with asyncio.timeout(60):
        await asked.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await connection.close()
    assert reports.sentences == []


LOOKED = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'junkie'
  AND state = 'idle' AND query LIKE 'COMMIT%'"""


async def test_the_command_ends_with_its_own_code(junkie: Junkie, written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    env = {"POSTGRES_URL": url.libpq() + "&options=-c%20lock_timeout%3D0"}
    async with held(url, TABLE) as (process, _), admin.connection(replace(url, parameters=())) as other:
        running = asyncio.ensure_future(asyncio.to_thread(junkie.run, "memories", "list", "--json", env=env))
        async with asyncio.timeout(60):
            while not await other.fetchval(LOOKED + f" AND pid <> {other.get_server_pid()}"):
                await asyncio.sleep(0.02)
        await other.fetchval(CANCEL + " AND datname = current_database()")
        done = await running
    assert done.exit_code == ExitCode.LOCKED
    error = done.json()["error"]
    assert error["code"] == "database_locked"
    assert f"process {process} (a migration" in error["message"]
    assert f"waiting for a lock held by process {process}" in done.stderr.replace("\n", " ")
    assert "\x1b[31m" not in done.stderr
