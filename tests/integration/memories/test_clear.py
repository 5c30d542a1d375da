"""Clearing: counted, twice at once, cut in the middle."""

import asyncio

import pytest

from junkie_cli.core.errors import DatabaseError, UsageError
from junkie_cli.core.memories.edits import add_memory, clear_memories, preview_clear
from junkie_cli.core.memories.listing import MemoryFilter, list_memories
from tests.support.generations import ALL, Administration, Make
from tests.support.proxy import Proxy

COUNT = "SELECT count(*) FROM ai.user_memories"


@pytest.mark.parametrize("generation", ALL)
async def test_one_user_and_nobody_else(written_by: Make, admin: Administration, generation: str) -> None:
    url = written_by(generation, schema="My Schema")
    settings = admin.settings(url, JUNKIE_SCHEMA="My Schema")
    mine = len((await list_memories(settings, MemoryFilter("ada"))).memories)
    others = len((await list_memories(settings, MemoryFilter())).memories) - mine
    preview = await preview_clear(settings, "ada")
    assert (preview.before, len(preview.samples), preview.undo_days) == (mine, min(mine, 3), 30)
    done = await clear_memories(settings, "ada", expect=mine)
    assert (done.before, done.deleted, done.remaining) == (mine, mine, 0)
    assert len((await list_memories(settings, MemoryFilter())).memories) == others
    again = await clear_memories(settings, "ada")
    assert (again.before, again.deleted, again.undo) == (0, 0, None)


async def test_another_number_than_expected_deletes_nothing(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    with pytest.raises(UsageError) as caught:
        await clear_memories(admin.settings(url), "ada", expect=3)
    assert caught.value.code == "unexpected_count"
    assert await admin.value(url, COUNT) == 4


async def test_the_nearest_ids_are_a_hint(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await admin.do(
        url,
        "INSERT INTO ai.user_memories (memory_id, memory, user_id, created_at, updated_at)"
        " SELECT n::text, '\"x\"', 'user' || n, n, n FROM generate_series(1, 2000) n",
    )
    settings = admin.settings(url)
    assert "ada" in (await preview_clear(settings, "Ada ")).nearest
    assert (await preview_clear(settings, "user2001")).nearest
    assert (await preview_clear(settings, "#!?")).nearest == ()


async def test_two_at_once_count_what_each_deleted_itself(written_by: Make, admin: Administration) -> None:
    for generation in ("2.2", "3.1"):
        url = written_by(generation)
        settings = admin.settings(url)
        done = await asyncio.gather(*(clear_memories(settings, "ada") for _ in range(3)))
        assert sorted(one.deleted for one in done) == [0, 0, 2]
        assert sorted(one.before for one in done) == [0, 0, 2]
        assert await admin.value(url, "SELECT count(*) FROM ai.junkie_history") == 2


@pytest.mark.parametrize("moment", [b"DELETE FROM", b"COMMIT"])
async def test_a_connection_cut_in_the_middle_leaves_all(
    written_by: Make, admin: Administration, moment: bytes
) -> None:
    url = written_by("3.1")
    await add_memory(admin.settings(url), "eve", "x")  # our tables are there: the next COMMIT is the deletion's
    with Proxy(url) as proxy:
        settings = admin.settings(proxy.url(url))
        preview = await preview_clear(settings, "ada")
        proxy.cut_when(b"pg_advisory_xact_lock") if moment == b"COMMIT" else proxy.cut_when(moment)
        with pytest.raises(DatabaseError) as caught:
            await clear_memories(settings, "ada")
        assert proxy.cuts == 1
    assert caught.value.code == "database_lost"
    assert preview.before == 2
    assert await admin.value(url, COUNT) == 5
    assert await admin.value(url, "SELECT count(*) FROM ai.junkie_history WHERE action = 'deleted'") == 0


async def test_the_server_ends_the_connection(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    settings = admin.settings(url)
    async with admin.connection(url) as blocker, blocker.transaction():
        await blocker.execute("SELECT 1 FROM ai.user_memories WHERE user_id = 'ada' FOR UPDATE")
        clearing = asyncio.create_task(clear_memories(settings, "ada"))
        ended = None
        async with asyncio.timeout(30):
            while not ended:
                ended = await admin.value(
                    url,
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%DELETE%'"
                    " AND pid <> pg_backend_pid()",
                )
    with pytest.raises(DatabaseError):
        await clearing
    assert await admin.value(url, COUNT) == 4


async def test_ctrl_c_in_the_middle_leaves_all(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    async with admin.connection(url) as blocker, blocker.transaction():
        await blocker.execute("SELECT 1 FROM ai.user_memories WHERE user_id = 'ada' FOR UPDATE")
        clearing = asyncio.create_task(clear_memories(admin.settings(url), "ada"))
        async with asyncio.timeout(30):
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%DELETE%'"
            while not await admin.value(url, waiting):
                await asyncio.sleep(0.01)
        clearing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await clearing
    assert await admin.value(url, COUNT) == 4


async def test_what_others_write_meanwhile_is_counted(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await admin.do(
        url,
        "CREATE FUNCTION ai.back() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO ai.user_memories SELECT OLD.*; RETURN NULL; END $$",
        "CREATE TRIGGER back AFTER DELETE ON ai.user_memories FOR EACH ROW EXECUTE FUNCTION ai.back()",
    )
    done = await clear_memories(admin.settings(url), "ada")
    assert (done.deleted, done.remaining) == (2, 2)


async def test_everybodys(written_by: Make, admin: Administration) -> None:
    url = written_by("2.9")
    done = await clear_memories(admin.settings(url), None, undo=False)
    assert (done.deleted, done.undo) == (4, None)
    assert await admin.value(url, "SELECT count(*) FROM ai.junkie_history") == 0
