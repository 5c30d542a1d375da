"""Pages that others write between: all that is there is read, in its latest form, and nothing twice as it stands.

Somebody reads a list in small pages while rows are added, changed and deleted: by programs whose clocks are wrong, with
times of long ago (as import and undo bring them), in transactions that stay open over several pages, in savepoints.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Any

import asyncpg
import pytest

from junkie_cli.core import sessions
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import UsageError
from junkie_cli.core.memories.edits import add_memory, clear_memories, edit_memory
from junkie_cli.core.memories.history import list_history, undo
from junkie_cli.core.memories.listing import MemoryFilter, list_memories
from junkie_cli.core.postgres.connect import open_connection
from junkie_cli.core.postgres.sql import decode_cursor, encode_cursor
from junkie_cli.core.settings import Settings
from junkie_cli.core.users.listing import list_users
from tests.support.generations import Administration, Make

NOW = 1_700_000_000
Read = Callable[[Settings, str | None, int], Awaitable[tuple[dict[str, Any], str | None]]]


class Writers:
    """Programs that write to the three tables, some in transactions of their own that they end later."""

    def __init__(self, random: Random, connection: "asyncpg.Connection[Any]") -> None:
        self._random = random
        self._connection = connection
        self._open: asyncpg.transaction.Transaction | None = None
        self._number = 0

    async def write(self, open_another: Callable[[], Awaitable["asyncpg.Connection[Any]"]]) -> None:
        """A few changes; perhaps in a transaction that is left open, perhaps ending the one that was."""
        for _ in range(self._random.randrange(3)):
            await self._one(self._connection)
        if self._open is None and self._random.random() < 0.4:
            other = await open_another()
            self._open = other.transaction()
            await self._open.start()
            await self._one(other, add_only=True)
            async with other.transaction():  # a savepoint: what it writes bears another number
                await self._one(other, add_only=True)
        elif self._open is not None and self._random.random() < 0.5:
            await self.finish()

    async def finish(self) -> None:
        """End the transaction that is open."""
        if self._open is not None:
            await (self._open.commit() if self._random.random() < 0.8 else self._open.rollback())
            self._open = None

    async def _one(self, connection: "asyncpg.Connection[Any]", *, add_only: bool = False) -> None:
        self._number += 1
        at = self._random.choice([NOW, NOW, NOW + 1, self._random.randrange(NOW), NOW * 2, None])
        kind = "add" if add_only else self._random.choice(["add", "edit", "edit", "delete"])
        user = f"u{self._random.randrange(40):02}"
        text = f"text {self._number} {self._random.choice(['even', 'odd'])}"
        for table, key in (("user_memories", "memory_id"), ("agent_sessions", "session_id")):
            if kind == "add":
                await connection.execute(
                    f"INSERT INTO ai.{table} ({key}, user_id, updated_at, created_at"
                    f"{', memory) VALUES' if key == 'memory_id' else ', session_type, session_data) VALUES'}"
                    f" ($1, $2, $3, 5, {self._data(key)})",
                    f"new{self._random.random()}",
                    user,
                    at,
                    text,
                )
                continue
            some = f"(SELECT {key} FROM ai.{table} ORDER BY md5({key} || $1) LIMIT 1)"
            if kind == "edit":
                column = "memory = to_jsonb($2::text)" if key == "memory_id" else f"session_data = {self._name('$2')}"
                await connection.execute(
                    f"UPDATE ai.{table} SET {column}, updated_at = $3 WHERE {key} = {some}", text, text, at
                )
            else:
                await connection.execute(f"DELETE FROM ai.{table} WHERE {key} = {some}", text)

    def _data(self, key: str) -> str:
        return "to_jsonb($4::text)" if key == "memory_id" else f"'team', {self._name('$4')}"

    @staticmethod
    def _name(argument: str) -> str:
        return f"jsonb_build_object('session_name', {argument}::text)"


async def of_memories(settings: Settings, after: str | None, limit: int, **wanted: str) -> tuple[Any, str | None]:
    page = await list_memories(settings, MemoryFilter(**wanted), limit=limit, after=after)
    return [(memory.memory_id, memory) for memory in page.memories], page.next


async def of_sessions(settings: Settings, after: str | None, limit: int, **wanted: str) -> tuple[Any, str | None]:
    page = await sessions.list_sessions(settings, wanted.get("user_id"), limit=limit, after=after)
    return [(session.session_id, session) for session in page.sessions], page.next


async def of_users(settings: Settings, after: str | None, limit: int, **_: str) -> tuple[Any, str | None]:
    page = await list_users(settings, limit=limit, after=after)
    return [(user.user_id, user) for user in page.users], page.next


@pytest.fixture
async def url(written_by: Make, admin: Administration) -> DatabaseUrl:
    """Sixty memories and as many sessions of twenty users, some without a time."""
    url = written_by("3.1")
    await admin.do(
        url,
        "INSERT INTO ai.user_memories (memory_id, memory, user_id, created_at, updated_at) SELECT 'm' || n,"
        " to_jsonb('memory ' || n || CASE WHEN n % 2 = 0 THEN ' even' ELSE ' odd' END), 'u' || n % 20 + 10, 5,"
        f" CASE WHEN n % 12 > 0 THEN {NOW} - n / 3 END FROM generate_series(1, 60) n",
        "INSERT INTO ai.agent_sessions (session_id, session_type, user_id, created_at, updated_at) SELECT 's' || n,"
        f" 'team', 'u' || n % 20 + 10, 5, CASE WHEN n % 12 > 0 THEN {NOW} - n / 3 END FROM generate_series(1, 60) n",
    )
    return url


@pytest.fixture
async def connections(url: DatabaseUrl) -> AsyncIterator[Callable[[], Awaitable["asyncpg.Connection[Any]"]]]:
    """Opens connections, and closes them when the test ends."""
    opened: list[asyncpg.Connection[Any]] = []

    async def another() -> "asyncpg.Connection[Any]":
        opened.append(await open_connection(url))
        return opened[-1]

    yield another
    for connection in opened:
        await connection.close()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("read", "wanted"),
    [
        (of_memories, {}),
        (of_memories, {"search": "even"}),
        (of_memories, {"user_id": "u11", "until": "2023-11-20"}),
        (of_sessions, {}),
        (of_sessions, {"user_id": "u12"}),
        (of_users, {}),
    ],
)
async def test_all_is_read_while_others_write(
    url: DatabaseUrl,
    admin: Administration,
    connections: Callable[[], Awaitable["asyncpg.Connection[Any]"]],
    read: Callable[..., Awaitable[tuple[Any, str | None]]],
    wanted: dict[str, str],
    seed: int,
) -> None:
    random = Random(seed)
    settings, writers = admin.settings(url), Writers(random, await connections())
    limit = random.randrange(2, 9) if "user_id" not in wanted else 2
    await writers.write(connections)  # may leave a transaction open before the first page
    seen: list[tuple[str, Any]] = []
    cursor: str | None = None
    for page in range(1000):
        rows, cursor = await read(settings, cursor, limit, **wanted)
        seen += rows
        if cursor is None:
            break
        assert rows
        if page < 12:  # nobody writes for ever: a list that grows faster than it is read has no end
            await writers.write(connections)
    assert cursor is None
    assert len(seen) == len(set(seen)), "nothing twice in the same form"
    there, _ = await read(settings, None, 10_000, **wanted)
    latest = dict(seen)
    if read is of_users:  # counted at the moment of their page
        assert latest.keys() >= dict(there).keys()
    else:
        assert {key: latest.get(key) for key, _ in there} == dict(there)
    await writers.finish()


async def test_what_was_written_meanwhile_comes_at_the_end_and_is_counted(
    url: DatabaseUrl, admin: Administration
) -> None:
    settings = admin.settings(url)
    first = await list_memories(settings, MemoryFilter(), limit=60)
    assert (len(first.memories), first.late) == (60, 0)
    edited = first.memories[7].memory_id
    await edit_memory(settings, edited, "another text")
    added = (await add_memory(settings, "eve", "a new one")).memories[0].memory_id
    page = await list_memories(settings, MemoryFilter(), limit=60, after=first.next)
    assert page.next is None
    assert page.late == 2
    assert {memory.memory_id for memory in page.memories[-2:]} == {edited, added}
    whole = await list_memories(settings, MemoryFilter(), limit=1000)
    assert (whole.next, whole.late) == (None, 0)
    assert {memory.memory_id for memory in (*first.memories, *page.memories)} == {m.memory_id for m in whole.memories}


async def test_what_was_written_meanwhile_has_pages_too(url: DatabaseUrl, admin: Administration) -> None:
    settings = admin.settings(url)
    page = await list_memories(settings, MemoryFilter(), limit=64)
    assert page.next is None  # as many as fit: there is no page after, and nothing to go on behind
    page = await list_memories(settings, MemoryFilter(), limit=32)
    await admin.do(url, "UPDATE ai.user_memories SET memory = '\"again\"'")
    seen, late = [*page.memories], []
    while page.next:
        page = await list_memories(settings, MemoryFilter(), limit=32, after=page.next)
        late.append((len(page.memories), page.late))
        seen += page.memories
    assert late == [(32, 32), (32, 32)]
    assert [memory.memory for memory in seen].count("again") == 64
    assert len(seen) == 32 + 64


async def test_undo_brings_old_times_and_is_read(url: DatabaseUrl, admin: Administration) -> None:
    settings = admin.settings(url)
    await clear_memories(settings, "u11")
    page = await list_memories(settings, MemoryFilter(), limit=55)
    before = [memory.memory_id for memory in page.memories]
    undone = await undo(settings)
    page = await list_memories(settings, MemoryFilter(), limit=55, after=page.next)
    assert page.next is None
    assert len(before) + len(page.memories) == 64
    assert page.late == undone.undone == 3


async def test_a_change_in_an_open_transaction_is_read_when_it_is_there(
    url: DatabaseUrl, admin: Administration
) -> None:
    settings = admin.settings(url)
    async with admin.connection(url) as other:
        async with other.transaction():
            await other.execute("SELECT txid_current()")
            async with other.transaction():
                await other.execute("UPDATE ai.user_memories SET memory = '\"slow\"' WHERE memory_id = 'm1'")
            page = await list_memories(settings, MemoryFilter(), limit=40)
            assert "m1" in {memory.memory_id for memory in page.memories}
        last = await list_memories(settings, MemoryFilter(), limit=40, after=page.next)
    assert [memory.memory for memory in last.memories][-1] == "slow"


async def test_every_change_of_the_history_is_read(url: DatabaseUrl, admin: Administration) -> None:
    settings = admin.settings(url)
    for number in range(9):
        await add_memory(settings, "eve", f"memory {number}")
    seen: list[str] = []
    cursor, pages = None, 0
    while pages == 0 or cursor:
        page = await list_history(settings, limit=4, after=cursor)
        seen += [change.memory_id for change in page.changes]
        cursor, pages = page.next, pages + 1
        if cursor:
            await add_memory(settings, "eve", f"memory {9 + pages}")
    kept = await admin.value(url, "SELECT array_agg(memory_id) FROM ai.junkie_history")
    assert sorted(seen) == sorted(kept)
    assert len(kept) == 9 + pages - 1


async def test_a_quiet_table_costs_no_second_look(url: DatabaseUrl, admin: Administration) -> None:
    settings = admin.settings(url)
    scans = "SELECT seq_scan + idx_scan FROM pg_stat_user_tables WHERE relname = 'user_memories'"
    page = await list_memories(settings, MemoryFilter(), limit=60)
    before = await admin.counted(url, scans)
    page = await list_memories(settings, MemoryFilter(), limit=60, after=page.next)
    assert (len(page.memories), page.next) == (4, None)
    assert await admin.counted(url, scans) - before == 1, "those without a time, and no look at all others"


# --- cursors ----------------------------------------------------------------------------------------------------------


async def test_cursors_of_older_versions_go_on_where_they_were(url: DatabaseUrl, admin: Administration) -> None:
    settings = admin.settings(url)
    first = await list_memories(settings, MemoryFilter(), limit=10)
    assert first.next is not None
    old = encode_cursor(decode_cursor(first.next, int, str, str, str)[:2])
    one = await list_memories(settings, MemoryFilter(), limit=10, after=first.next)
    assert (await list_memories(settings, MemoryFilter(), limit=10, after=old)).memories == one.memories
    assert (await list_users(settings, limit=1, after=encode_cursor(["u10"]))).users[0].user_id == "u11"
    assert (await sessions.list_sessions(settings, limit=1, after=encode_cursor([NOW, "s1"]))).sessions


@pytest.mark.parametrize("moment", ["", "x", "1 x", "-1", "1 -1", "12345678901", "9" * 5000, None])
async def test_a_moment_of_something_else_is_refused(url: DatabaseUrl, admin: Administration, moment: Any) -> None:
    cursor = encode_cursor([1, "m", moment, None])
    with pytest.raises(UsageError):
        await list_memories(admin.settings(url), MemoryFilter(), after=cursor)
