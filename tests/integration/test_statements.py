"""No N+1: each command sends as many statements for a thousand rows as for a few, and plans that stay fast at size.

The server counts (pg_stat_statements), the planner tells (EXPLAIN): nothing here is a matter of seconds.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from junkie_cli.core import sessions, stats
from junkie_cli.core.chat import Conversation
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.memories import search
from junkie_cli.core.memories.edits import clear_memories
from junkie_cli.core.memories.export import export_memories
from junkie_cli.core.memories.import_file import import_memories
from junkie_cli.core.memories.listing import MemoryFilter, list_memories
from junkie_cli.core.memories.search import search_memories
from junkie_cli.core.postgres.connect import open_connection
from junkie_cli.core.postgres.sql import encode_cursor
from junkie_cli.core.settings import Settings, load_settings
from junkie_cli.core.users.erase import erase_user
from junkie_cli.core.users.listing import list_users
from tests.benchmarks import data
from tests.support.model_server import ModelServer
from tests.support.postgres import clone, execute, scratch_server

FEW, MANY = 300, 6_000
Call = Callable[[Settings], Awaitable[Any]]


@pytest.fixture(scope="module")
def counting_server() -> Iterator[ScratchServer]:
    """A server that counts statements."""
    settings = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track": "top"}
    with scratch_server(settings=settings) as server:
        yield server


@pytest.fixture(scope="module")
def filled(counting_server: ScratchServer) -> dict[int, str]:
    """Template databases with the benchmark's data in two sizes, by number of memories."""

    async def fill(name: str, rows: int) -> None:
        connection = await open_connection(counting_server.url.with_database(name))
        try:
            await data.fill(connection, rows)
            await connection.execute("CREATE EXTENSION pg_stat_statements")
        finally:
            await connection.close()

    for rows in (FEW, MANY):
        execute(counting_server, f"CREATE DATABASE filled_{rows}")
        asyncio.run(fill(f"filled_{rows}", rows))
    return {rows: f"filled_{rows}" for rows in (FEW, MANY)}


@pytest.fixture
def sized(counting_server: ScratchServer, filled: dict[int, str]) -> Iterator[dict[int, DatabaseUrl]]:
    """A fresh database of each size."""
    with clone(counting_server, filled[FEW]) as few, clone(counting_server, filled[MANY]) as many:
        yield {FEW: few, MANY: many}


def settings_of(url: DatabaseUrl, folder: Path, **more: str) -> Settings:
    environ = {"HOME": str(folder), "JUNKIE_BACKUP_DIR": str(folder / "backups"), "POSTGRES_URL": url.libpq(), **more}
    return load_settings(environ=environ, cwd=folder)


class Counter:
    """Statements that one database was sent."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def reset(self) -> None:
        await self._connection.execute("SELECT pg_stat_statements_reset()")

    async def statements(self) -> list[str]:
        """Each one as often as it was sent, constants left out, and limits that travel in the message of a BEGIN."""
        rows = await self._connection.fetch(
            "SELECT query, calls FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid"
            " WHERE d.datname = current_database() AND query !~ 'pg_stat_statements'"
            " AND query !~ '^SET LOCAL (lock_timeout|standard_conforming_strings)'"
            " AND query !~ '^SELECT pg_catalog.set_config'"
            " ORDER BY query"
        )
        return [row["query"] for row in rows for _ in range(row["calls"])]


async def counter(url: DatabaseUrl) -> AsyncIterator[Counter]:
    connection = await open_connection(url)
    try:
        yield Counter(connection)
    finally:
        await connection.close()


async def sent(url: DatabaseUrl, folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What `call` sends."""
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    async for counted in counter(url):
        await counted.reset()
        await call(settings_of(url, folder))
        return await counted.statements()
    raise AssertionError


COMMANDS: dict[str, tuple[int, Call]] = {
    "memories list": (6, lambda s: list_memories(s, MemoryFilter(), limit=1000)),
    "memories list -u": (6, lambda s: list_memories(s, MemoryFilter(data.user_id(0)), limit=1000)),
    "memories search": (6, lambda s: search_memories(s, data.COMMON, limit=100)),
    "users list": (7, lambda s: list_users(s, limit=1000)),
    "sessions list": (6, lambda s: sessions.list_sessions(s, limit=1000)),
    "stats": (14, lambda s: stats.collect_stats(s)),
    "stats -u": (14, lambda s: stats.collect_stats(s, user_id=data.user_id(0))),
    "stats --approximate": (8, lambda s: stats.collect_stats(s, approximate=True)),
    "memories export": (5, lambda s: export_memories(s, write=lambda _: None)),
    "memories clear": (17, lambda s: clear_memories(s, data.user_id(0))),
    "users erase": (56, lambda s: erase_user(s, data.user_id(0))),
}


@pytest.mark.parametrize("name", COMMANDS)
async def test_as_many_statements_for_many_rows_as_for_few(
    name: str, sized: dict[int, DatabaseUrl], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most, call = COMMANDS[name]
    few = await sent(sized[FEW], tmp_path, call, monkeypatch)
    many = await sent(sized[MANY], tmp_path, call, monkeypatch)
    assert few, "nothing was counted"
    assert not any("typeinfo" in query for query in many), "asyncpg had to ask for a type: cast it to text in the query"
    assert len(many) <= len(few), "\n".join(many)
    assert len(many) <= most, "\n".join(many)


async def test_an_import_sends_as_many_statements_for_many_rows_as_for_few(
    sized: dict[int, DatabaseUrl], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    for rows, url in sized.items():
        lines = tmp_path / f"{rows}.jsonl"
        await export_memories(settings_of(url, tmp_path), path=lines)
        await clear_memories(settings_of(url, tmp_path), None)

        async def bring_back(settings: Settings, lines: Path = lines) -> None:
            assert (await import_memories(settings, lines)).added == int(lines.stem)

        counts.append(len(await sent(url, tmp_path, bring_back, monkeypatch)))
    assert counts[0] == counts[1] <= 25


async def test_a_turn_costs_the_same_statements_however_long_the_session_and_however_much_is_remembered(
    sized: dict[int, DatabaseUrl], tmp_path: Path
) -> None:
    """Turn 13 and turn 24 of a session (the history of ten runs is full in both), with few memories and with many."""
    counts = {}
    with ModelServer() as provider:
        for rows, url in sized.items():
            settings = settings_of(url, tmp_path, AGENT_RETRIES="0", **provider.environment())
            async for counted in counter(url):
                async with await Conversation.open(settings, data.user_id(0), may_add_tables=True) as conversation:
                    for turn in range(1, 25):
                        await counted.reset()
                        async for _ in conversation.send("Tell me more."):
                            pass
                        counts[rows, turn] = len(await counted.statements())
    assert counts[FEW, 13] == counts[FEW, 24] == counts[MANY, 13] == counts[MANY, 24], counts


# --- plans ------------------------------------------------------------------------------------------------------------


async def plans(url: DatabaseUrl, folder: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The plan of each query on agno's tables that `call` sends, as the server makes it for these very arguments."""
    found: dict[str, str] = {}
    fetch = asyncpg.Connection.fetch

    async def explained(self: Any, query: str, *arguments: Any, **options: Any) -> Any:
        if re.match(r"\s*(SELECT|WITH)\b", query) and '"ai".' in query:
            rows = await fetch(self, f"EXPLAIN {query}", *arguments)
            found[query] = "\n".join(row[0] for row in rows)
        return await fetch(self, query, *arguments, **options)

    monkeypatch.setattr(asyncpg.Connection, "fetch", explained)
    monkeypatch.setenv("HOME", str(folder))
    await call(settings_of(url, folder))
    monkeypatch.undo()
    assert found
    return found


async def prefer_indexes(url: DatabaseUrl) -> None:
    """A table of this size would be read whole: what matters is that the query can be answered by the index."""
    connection = await open_connection(url)
    await connection.execute(f"ALTER DATABASE {url.database} SET enable_seqscan = off")
    await connection.close()


async def test_statistics_read_the_index_alone(
    sized: dict[int, DatabaseUrl], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prefer_indexes(sized[MANY])
    found = await plans(sized[MANY], tmp_path, lambda s: stats.collect_stats(s), monkeypatch)
    [grouped] = [plan for query, plan in found.items() if "sum(n) OVER" in query]
    assert "Index Only Scan" in grouped
    assert "idx_user_memories_user_id" in grouped


@pytest.mark.parametrize("user", [None, data.user_id(MANY // 200)])
async def test_no_page_is_counted_off_from_the_start(
    sized: dict[int, DatabaseUrl], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: str | None
) -> None:
    """Deep pages start at their cursor: no OFFSET, and with our index no row is read that is not shown, nor sorted."""
    url = sized[MANY]
    connection = await open_connection(url)
    await connection.execute(
        "CREATE INDEX ON ai.user_memories (user_id, updated_at DESC, memory_id DESC); ANALYZE ai.user_memories"
    )
    await connection.close()
    wanted = MemoryFilter(user)
    first = await list_memories(settings_of(url, tmp_path), wanted, limit=10)
    deep = lambda s: list_memories(s, wanted, limit=10, after=first.next)  # noqa: E731
    found = await plans(url, tmp_path, deep, monkeypatch)
    assert not any("OFFSET" in query for query in found)
    [page] = [plan for query, plan in found.items() if "updated_at IS NOT NULL" in query]
    assert "Index Scan" in page
    assert not re.search(r"^\s*(->\s+)?Sort\s+\(", page, re.MULTILINE), page


async def test_large_tables_may_be_read_in_parallel(
    sized: dict[int, DatabaseUrl], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that junkie sends or sets keeps the server from using several workers for a search through all."""
    url = sized[MANY]
    monkeypatch.setattr(search, "NEWEST", 10)
    connection = await open_connection(url)
    for setting in ("min_parallel_table_scan_size", "parallel_setup_cost", "parallel_tuple_cost"):
        await connection.execute(f"ALTER DATABASE {url.database} SET {setting} = 0")
    await connection.close()
    wanted = MemoryFilter(search=data.ABSENT)
    for reader in (
        lambda s: search_memories(s, data.ABSENT),
        lambda s: list_memories(s, wanted),
        lambda s: list_memories(s, wanted, after=encode_cursor([1 << 40, "m", "3", None])),
    ):
        found = await plans(url, tmp_path, reader, monkeypatch)
        assert any("Parallel Seq Scan" in plan for plan in found.values()), found
