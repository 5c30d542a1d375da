"""The same command twice at once: the second waits for the first, and reports what it found then."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import LockedError, NotFoundError
from junkie_cli.core.memories.edits import add_memory, clear_memories, delete_memories
from junkie_cli.core.memories.history import undo
from junkie_cli.core.memories.import_file import import_memories
from junkie_cli.core.settings import Settings
from junkie_cli.core.users.erase import erase_user
from tests.support.generations import Administration, Make

WHOLE = "SELECT string_agg(m::text, '|' ORDER BY memory_id) FROM ai.user_memories m"
ISOLATIONS = ("read committed", "repeatable read", "serializable")


async def both(
    admin: Administration, url: DatabaseUrl, lock: str, start: Callable[[], Awaitable[Any]]
) -> tuple[Any, Any]:
    """Start two, both of them held up by `lock` until both wait; what each returned or raised."""
    async with admin.connection(url) as holder:
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute(lock)
        tasks = [asyncio.ensure_future(start()) for _ in range(2)]
        await waiting(holder, 2)
        await transaction.rollback()
    one, other = await asyncio.gather(*tasks, return_exceptions=True)
    return one, other


async def waiting(connection: "asyncpg.Connection[Any]", count: int) -> None:
    async with asyncio.timeout(60):
        while await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < count:
            await asyncio.sleep(0.02)


@pytest.fixture(params=ISOLATIONS)
async def url(request: pytest.FixtureRequest, written_by: Make, admin: Administration) -> DatabaseUrl:
    """A database whose transactions are of this isolation unless they say otherwise."""
    url: DatabaseUrl = written_by("3.1")
    await add_memory(admin.settings(url), "eve", "older")
    await admin.do(url, f"ALTER DATABASE \"{url.database}\" SET default_transaction_isolation TO '{request.param}'")
    return url


HELD = "LOCK TABLE ai.user_memories IN SHARE MODE"


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("change", ["clear", "add"])
async def test_two_undos(url: DatabaseUrl, admin: Administration, named: bool, change: str) -> None:
    settings = admin.settings(url)
    before = await admin.value(url, WHOLE)
    if change == "clear":
        batch = (await clear_memories(settings, "ada")).undo
    else:
        batch = (await add_memory(settings, "ada", "new")).undo
    done = await both(admin, url, HELD, lambda: undo(settings, batch if named else None))
    assert sorted(type(each).__name__ for each in done) == ["NotFoundError", "Undone"], done
    error = next(each for each in done if isinstance(each, NotFoundError))
    assert error.code == "already_undone"
    assert await admin.value(url, WHOLE) == before


async def test_two_imports(url: DatabaseUrl, admin: Administration) -> None:
    settings, path = admin.settings(url), admin.folder / "file"
    lines = [{"memory_id": f"m{n}", "memory": "x", "user_id": "zoe"} for n in range(20)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    one, other = await both(admin, url, HELD, lambda: import_memories(settings, path))
    assert sorted([(one.added, one.unchanged), (other.added, other.unchanged)]) == [(0, 20), (20, 0)]
    assert {one.undo is None, other.undo is None} == {True, False}
    assert await admin.value(url, "SELECT count(*) FROM ai.user_memories WHERE user_id = 'zoe'") == 20


async def test_two_clears(url: DatabaseUrl, admin: Administration) -> None:
    settings = admin.settings(url)
    one, other = await both(admin, url, HELD, lambda: clear_memories(settings, "ada"))
    assert sorted([(one.before, one.deleted), (other.before, other.deleted)]) == [(0, 0), (2, 2)]
    assert {one.undo is None, other.undo is None} == {True, False}


async def test_an_undo_during_an_erasure_brings_nobody_back(url: DatabaseUrl, admin: Administration) -> None:
    settings = admin.settings(url)
    batch = (await clear_memories(settings, "ada")).undo
    async with admin.connection(url) as holder:
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute("LOCK TABLE ai.junkie_history IN SHARE MODE")  # the erasure has left its tombstone by now
        erasing = asyncio.ensure_future(erase_user(settings, "ada"))
        await waiting(holder, 1)
        undoing = asyncio.ensure_future(undo(settings, batch))
        await waiting(holder, 2)
        await transaction.rollback()
    erased = await erasing
    assert erased.remaining == 0
    with pytest.raises(NotFoundError):
        await undoing
    assert await admin.value(url, "SELECT count(*) FROM ai.user_memories WHERE user_id = 'ada'") == 0


async def another_program_stores(
    admin: Administration, url: DatabaseUrl, memory_id: str, run: Awaitable[Any]
) -> BaseException | None:
    """Run something while another program stores a memory of this id, and commits when the other waits for it."""
    async with admin.connection(url) as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute(
            "INSERT INTO ai.user_memories (memory_id, memory, user_id, created_at, updated_at)"
            " VALUES ($1, '\"theirs\"', 'ada', 1, 1)",
            memory_id,
        )
        task = asyncio.ensure_future(run)
        await waiting(other, 1)
        await transaction.commit()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    return result if isinstance(result, BaseException) else None


@pytest.mark.parametrize("what", ["undo", "import"])
async def test_a_row_that_another_program_stores_meanwhile(
    written_by: Make, admin: Administration, tmp_path: Path, what: str
) -> None:
    url = written_by("3.1")
    settings: Settings = admin.settings(url)
    path = tmp_path / "file"
    path.write_text('{"memory_id": "new", "memory": "ours", "user_id": "ada"}\n')
    memory_id, run = "new", None
    if what == "undo":
        memory_id = await admin.value(url, "SELECT min(memory_id) FROM ai.user_memories WHERE user_id = 'ada'")
        deleted = await delete_memories(settings, [memory_id])
        run = undo(settings, deleted.undo)
    else:
        await add_memory(settings, "eve", "makes our tables")
        run = import_memories(settings, path)
    error = await another_program_stores(admin, url, memory_id, run)
    assert isinstance(error, LockedError), error
    assert (error.exit_code, error.code) == (7, "stored_at_once")
    assert "user_memories_pkey" in error.message
    assert await admin.value(
        url, f"SELECT memory #>> '{{}}' FROM ai.user_memories WHERE memory_id = '{memory_id}'"
    ) == ("theirs")
