"""Changes of memories with their trace, erased users kept out, and pending extractions."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from junkie_cli.core.memories import change_log
from junkie_cli.core.memories.change_log import ErasedError, MemoryChange, OwnershipError
from junkie_cli.core.memories.history import list_history
from junkie_cli.core.schema import own_tables, stored_text, tables
from junkie_cli.core.table_layout import Layout
from junkie_cli.core.turns import pending_rows
from junkie_cli.core.turns.types import Pending
from junkie_cli.core.users.erase import erase_user
from tests.support.generations import ALL, Administration, Make, as_role, new_role

GENERATIONS = ("2.2", "2.3", "3.1")


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_a_change_and_its_trace_are_one(written_by: Make, admin: Administration, generation: str) -> None:
    url = written_by(generation)
    async with admin.connection(url) as connection:
        state = await own_tables.prepare(connection, Layout("ai"))
        async with connection.transaction():
            done = await change_log.apply_changes(
                connection,
                state,
                [
                    MemoryChange("added", "m1", "eve", "likes tea\x00 🏰", ["drinks"], "I like tea"),
                    MemoryChange("updated", "m1", "eve", 'likes "coffee"'),
                    MemoryChange("added", "m2", "eve", "rides"),
                    MemoryChange("deleted", "m2", "eve"),
                    MemoryChange("deleted", "gone", "eve"),
                ],
                by="team",
            )
    assert [change.action for change in done.changes] == ["added", "updated", "added", "deleted"]
    assert done.missing == ("gone",)
    first = done.changes[0].after
    assert first is not None and first["memory"] == "likes tea 🏰"
    assert first["topics"] == ["drinks"]
    kept = await list_history(admin.settings(url), user_id="eve")
    assert {change.batch for change in kept.changes} == {done.batch}
    assert [change.by for change in kept.changes] == ["team"] * 4
    stored = await admin.value(
        url, "SELECT memory::text || topics::text || input FROM ai.user_memories WHERE user_id = 'eve'"
    )
    assert stored == '"likes \\"coffee\\""["drinks"]I like tea'


async def test_another_users_memory_is_refused_and_the_rest_undone(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    theirs = await admin.value(url, "SELECT memory_id FROM ai.user_memories WHERE user_id = 'bob'")
    async with admin.connection(url) as connection:
        state = await own_tables.prepare(connection, Layout("ai"))
        for action in ("added", "updated", "deleted"):
            with pytest.raises(OwnershipError):
                async with connection.transaction():
                    mine = MemoryChange("added", "m1", "eve", "mine")
                    change = MemoryChange(action, theirs, "eve", "Bob is a liar")
                    await change_log.apply_changes(connection, state, [mine, change], by="team")
    assert await admin.value(url, "SELECT count(*) FROM ai.user_memories WHERE user_id = 'eve'") == 0
    assert (
        await admin.value(url, "SELECT memory::text FROM ai.user_memories WHERE user_id = 'bob'")
        == '"Bob lives in Kraków 🏰"'
    )


async def test_old_history_goes_with_the_next_write(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    async with admin.connection(url) as connection:
        state = await own_tables.prepare(connection, Layout("ai"))
        for memory_id in ("m1", "m2"):
            async with connection.transaction():
                change = MemoryChange("added", memory_id, "eve", "x")
                await change_log.apply_changes(connection, state, [change], by="junkie", keep_days=30)
            await connection.execute("UPDATE ai.junkie_history SET at = at - interval '31 days' WHERE memory_id = 'm1'")
    assert await admin.value(url, "SELECT string_agg(memory_id, ',') FROM ai.junkie_history") == "m2"


@pytest.mark.parametrize("keep_days", [0, 30])
async def test_no_history_where_none_is_wanted_or_possible(
    written_by: Make, admin: Administration, keep_days: int
) -> None:
    url = written_by("3.1")
    role = "writer"
    await admin.do(
        url, *new_role(role), f"GRANT USAGE ON SCHEMA ai TO {role}", f"GRANT ALL ON ai.user_memories TO {role}"
    )
    where = url if keep_days == 0 else as_role(url, role)
    async with admin.connection(where) as connection:
        state = await own_tables.prepare(connection, Layout("ai"))
        async with connection.transaction():
            change = MemoryChange("added", "m1", "eve", "x")
            done = await change_log.apply_changes(connection, state, [change], by="junkie", keep_days=keep_days)
    assert done.batch is None
    assert await admin.value(url, "SELECT count(*) FROM ai.user_memories WHERE user_id = 'eve'") == 1


async def test_a_turn_that_began_before_an_erasure_is_refused(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    async with admin.connection(url) as connection:
        began = await stored_text.database_time(connection)
        await erase_user(admin.settings(url), "ada")
        state = await own_tables.prepare(connection, Layout("ai"))
        change = MemoryChange("added", "m1", "ada", "late")
        for moment in (began, None):
            with pytest.raises(ErasedError):
                async with connection.transaction():
                    await change_log.apply_changes(connection, state, [change], by="team", began=moment)
            with pytest.raises(ErasedError):
                async with connection.transaction():
                    await pending_rows.write_pending(connection, state, pending("ada"), began=moment)
        async with connection.transaction():
            now = await stored_text.database_time(connection)
            await change_log.apply_changes(connection, state, [change], by="team", began=now)


async def test_an_erasure_waits_for_a_write_under_way_and_finds_it(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    async with admin.connection(url) as connection:
        state = await own_tables.prepare(connection, Layout("ai"))
        async with connection.transaction():
            change = MemoryChange("added", "m1", "ada", "just in time")
            await change_log.apply_changes(connection, state, [change], by="team")
            erasing = asyncio.create_task(erase_user(admin.settings(url), "ada"))
            await until_waiting(admin, url)
    done = await erasing
    assert done.erased["user_memories"] == 3
    assert done.remaining == 0


async def until_waiting(admin: Administration, url: object) -> None:
    """Until some connection waits for an advisory lock."""
    async with asyncio.timeout(30):
        while not await admin.value(url, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):  # type: ignore[arg-type]
            await asyncio.sleep(0.01)


def pending(user_id: str) -> Pending:
    return Pending(str(uuid4()), user_id, "s1", "r1", "yes, exactly\x00", "Do you like tea?")


async def test_pending_is_written_once_fails_and_is_completed(written_by: Make, admin: Administration) -> None:
    async with admin.connection(written_by("2.2")) as connection:
        state = await tables.inspect(connection, Layout("ai"))
        assert await pending_rows.list_pending(connection, state) == []
        state = await own_tables.prepare(connection, Layout("ai"))
        entry = pending("ada")
        async with connection.transaction():
            await pending_rows.write_pending(connection, state, entry)
            await pending_rows.write_pending(connection, state, entry)
            await pending_rows.write_pending(connection, state, pending("bob"))
        (found,) = await pending_rows.list_pending(connection, state, "ada")
        assert (found.message, found.context, found.attempts) == ("yes, exactly", "Do you like tea?", 0)
        async with connection.transaction():
            await pending_rows.record_failure(connection, state, entry.pending_id, "429", retry_after=600)
        (found,) = await pending_rows.list_pending(connection, state, "ada")
        assert found.created_at and found.next_try
        assert found.next_try - found.created_at >= timedelta(seconds=600)
        assert (found.attempts, found.last_error, found.set_aside) == (1, "429", False)
        for _ in range(pending_rows.MAX_ATTEMPTS):
            async with connection.transaction():
                await pending_rows.record_failure(connection, state, entry.pending_id, "500")
        (found,) = await pending_rows.list_pending(connection, state, "ada")
        assert found.set_aside
        async with connection.transaction():
            assert await pending_rows.delete_pending(connection, state, entry.pending_id)
            assert not await pending_rows.delete_pending(connection, state, entry.pending_id)
        assert [left.user_id for left in await pending_rows.list_pending(connection, state)] == ["bob"]


@pytest.mark.parametrize("generation", ALL)
async def test_our_tables_fit_beside_every_generation(written_by: Make, admin: Administration, generation: str) -> None:
    async with admin.connection(written_by(generation, schema="My Schema")) as connection:
        assert await own_tables.ensure_own_tables(connection, Layout("My Schema"))
        assert await own_tables.ensure_own_tables(connection, Layout("My Schema"))
