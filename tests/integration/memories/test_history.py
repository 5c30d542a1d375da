"""Taking changes back, and recording the changes of other programs."""

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import DatabaseError, NotFoundError, UsageError
from junkie_cli.core.memories.edits import (
    add_memory,
    clear_memories,
    delete_memories,
    edit_memory,
    preview_clear,
)
from junkie_cli.core.memories.history import (
    list_history,
    preview_undo,
    record_others,
    text_in,
    undo,
)
from junkie_cli.core.memories.listing import MemoryFilter, list_memories
from junkie_cli.core.settings import Settings
from tests.support.generations import ALL, Administration, Make, as_role, named, new_role, reader

# Everything in the table, in one text that does not depend on the order of rows.
WHOLE = "SELECT string_agg(m::text, '|' ORDER BY memory_id) FROM ai.user_memories m"


async def ids(settings: Settings, user_id: str) -> list[str]:
    page = await list_memories(settings, MemoryFilter(user_id))
    return [memory.memory_id for memory in page.memories]


@pytest.mark.parametrize("generation", ALL)
async def test_each_change_is_taken_back_to_the_byte(written_by: Make, admin: Administration, generation: str) -> None:
    url = written_by(generation)
    settings = admin.settings(url)
    whole = named(generation, WHOLE)
    before = await admin.value(url, whole)
    first, *_ = await ids(settings, "ada")
    for change in (
        lambda: edit_memory(settings, first, "quite another"),
        lambda: delete_memories(settings, [first]),
        lambda: clear_memories(settings, "ada"),
        lambda: clear_memories(settings, None),
        lambda: add_memory(settings, "eve", "new", ("a", "b")),
    ):
        done = await change()
        assert await admin.value(url, whole) != before
        undone = await undo(settings, done.undo)
        assert (undone.conflict_count, undone.change.batch) == (0, done.undo)
        assert await admin.value(url, whole) == before


async def test_what_is_not_undone_yet_is_shown_step_by_step(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    settings = admin.settings(url)
    before = await admin.value(url, WHOLE)
    with pytest.raises(NotFoundError, match=r"nothing (can be undone|to undo)"):
        await preview_undo(settings)
    for user in ("eve", "ada", "eve"):
        await add_memory(settings, user, "text")
    for user in ("eve", "ada", "eve"):
        change = await preview_undo(settings)
        assert (change.by, change.added, change.updated, change.deleted) == ("junkie", 1, 0, 0)
        assert (change.users, change.user_ids) == (1, (user,))
        undone = await undo(settings, change.batch)
        assert (undone.restored, undone.removed, undone.reverted, undone.change) == (0, 1, 0, change)
    assert await admin.value(url, WHOLE) == before
    with pytest.raises(NotFoundError):
        await preview_undo(settings)


async def test_without_a_batch_the_newest_change_is_undone_once(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    settings = admin.settings(url)
    older = await add_memory(settings, "ada", "of ada")
    await clear_memories(settings, "bob")
    undone = await undo(settings)
    assert (undone.restored, undone.change.user_ids) == (1, ("bob",))
    before = await admin.value(url, WHOLE)
    for _ in range(2):
        with pytest.raises(NotFoundError, match="was undone already") as caught:
            await undo(settings)
        assert caught.value.code == "already_undone"
        assert f"of 'ada': junkie memories undo {older.undo}" in caught.value.hint
    assert await admin.value(url, WHOLE) == before


async def test_a_batch_that_was_undone_is_not_undone_again(written_by: Make, admin: Administration) -> None:
    url = written_by("2.9")
    settings = admin.settings(url)
    first, *_ = await ids(settings, "ada")
    for change in (
        lambda: add_memory(settings, "ada", "new"),
        lambda: edit_memory(settings, first, "another"),
        lambda: delete_memories(settings, [first]),
    ):
        done = await change()
        await undo(settings, done.undo)
        before = await admin.value(url, WHOLE)
        with pytest.raises(NotFoundError, match="was undone already"):
            await undo(settings, done.undo)
        assert await admin.value(url, WHOLE) == before


async def test_the_rest_of_a_batch_is_undone_later(written_by: Make, admin: Administration) -> None:
    url = written_by("2.9")
    settings = admin.settings(url)
    before = await admin.value(url, WHOLE)
    cleared = await clear_memories(settings, None)
    inserted = "INSERT INTO ai.user_memories (memory_id, memory, user_id, created_at, updated_at)"
    some = await admin.value(url, "SELECT min(memory_id) FROM ai.junkie_history")
    await admin.do(url, f"{inserted} VALUES ('{some}', '\"other\"', 'ada', 1, 1)")
    first = await undo(settings, cleared.undo)
    assert (first.restored, first.conflict_count) == (3, 1)
    await admin.do(url, f"DELETE FROM ai.user_memories WHERE memory_id = '{some}'")
    rest = await undo(settings, cleared.undo)
    assert (rest.restored, rest.already, rest.conflict_count) == (1, 3, 0)
    assert await admin.value(url, WHOLE) == before


async def test_an_undo_can_be_undone(written_by: Make, admin: Administration) -> None:
    settings = admin.settings(written_by("3.1"))
    cleared = await clear_memories(settings, "ada")
    undone = await undo(settings, cleared.undo)
    assert len(await ids(settings, "ada")) == 2
    again = await undo(settings, undone.batch)
    assert (again.undone, await ids(settings, "ada")) == (2, [])


async def test_what_was_changed_again_since_is_refused_with_both_texts(written_by: Make, admin: Administration) -> None:
    url = written_by("2.9")
    settings = admin.settings(url)
    first, second = await ids(settings, "ada")
    old = {memory.memory_id: memory.memory for memory in (await preview_clear(settings, "ada")).samples}
    cleared = await clear_memories(settings, "ada")
    await admin.do(
        url,
        "INSERT INTO ai.user_memories (memory_id, memory, user_id, created_at, updated_at)"
        f" VALUES ('{first}', '\"newer\"', 'ada', 1, 1)",
    )
    undone = await undo(settings, cleared.undo)
    assert undone.undone == undone.conflict_count == 1
    (conflict,) = undone.conflicts
    assert (conflict.memory_id, conflict.now, conflict.then) == (first, "newer", old[first])
    assert set(await ids(settings, "ada")) == {first, second}


async def test_an_edit_undone_after_another_edit(written_by: Make, admin: Administration) -> None:
    settings = admin.settings(written_by("3.1"))
    first, *_ = await ids(settings, "ada")
    edited = await edit_memory(settings, first, "second text")
    await edit_memory(settings, first, "third text")
    undone = await undo(settings, edited.undo)
    assert (undone.undone, undone.batch) == (0, None)
    assert undone.conflicts[0].now == "third text"


@pytest.mark.parametrize(
    ("batch", "error"), [("nonsense", UsageError), ("00000000-0000-0000-0000-000000000000", NotFoundError)]
)
async def test_batches_that_are_none(
    written_by: Make, admin: Administration, batch: str, error: type[Exception]
) -> None:
    settings = admin.settings(written_by("3.1"))
    await add_memory(settings, "eve", "x")
    with pytest.raises(error):
        await undo(settings, batch)


async def test_history_pages_and_filters(written_by: Make, admin: Administration) -> None:
    settings = admin.settings(written_by("3.1"))
    assert (await list_history(settings)).kept is False
    for number in range(5):
        await add_memory(settings, f"u{number % 2}", str(number))
    page = await list_history(settings, limit=2)
    seen = list(page.changes)
    while page.next:
        page = await list_history(settings, limit=2, after=page.next)
        seen += page.changes
    assert [text_in(change.after) for change in seen] == ["4", "3", "2", "1", "0"]
    assert len((await list_history(settings, user_id="u0")).changes) == 3
    (only,) = (await list_history(settings, seen[0].memory_id)).changes
    assert only == seen[0]


# --- other programs ---------------------------------------------------------------------------------------------------

BOT = "bot_without_rights"


async def with_bot(admin: Administration, url: DatabaseUrl) -> DatabaseUrl:
    """The database as the bot's own role sees it: rights on agno's tables, none on ours."""
    await admin.do(url, *new_role(BOT), f"GRANT USAGE ON SCHEMA ai TO {BOT}", f"GRANT ALL ON ai.user_memories TO {BOT}")
    return as_role(url, BOT)


@pytest.mark.parametrize("generation", ["2.2", "3.1"])
async def test_the_bots_writes_are_seen_and_go_on_working(
    written_by: Make, admin: Administration, generation: str
) -> None:
    url = written_by(generation)
    settings, bot = admin.settings(url), await with_bot(admin, url)
    assert await record_others(settings, on=True) is False
    assert await record_others(settings, on=True) is True
    await admin.do(bot, "UPDATE ai.user_memories SET input = 'x' WHERE user_id = 'ada'")
    await admin.do(bot, "DELETE FROM ai.user_memories WHERE user_id = 'bob'")
    changes = (await list_history(settings)).changes
    assert [(change.by, change.action, change.user_id) for change in changes] == [
        ("other", "deleted", "bob"),
        ("other", "updated", "ada"),
        ("other", "updated", "ada"),
    ]
    assert (await undo(settings, changes[0].batch)).undone == 1
    assert len(await ids(settings, "bob")) == 1
    assert await record_others(settings, on=False) is True
    await admin.do(bot, "DELETE FROM ai.user_memories WHERE user_id = 'bob'")
    assert (await list_history(settings)).changes[0].by == "junkie"


@pytest.mark.parametrize(
    "fault",
    [
        "DROP TABLE ai.junkie_history",
        "ALTER TABLE ai.junkie_history ADD CHECK (by <> 'other')",
        "ALTER TABLE ai.junkie_history ALTER COLUMN memory_id TYPE bigint USING 1",
    ],
)
async def test_a_broken_history_never_fails_the_bot(written_by: Make, admin: Administration, fault: str) -> None:
    url = written_by("3.1")
    bot = await with_bot(admin, url)
    await record_others(admin.settings(url), on=True)
    await admin.do(url, fault)
    await admin.do(bot, "UPDATE ai.user_memories SET input = 'x'", "DELETE FROM ai.user_memories WHERE user_id = 'bob'")
    assert await admin.value(url, "SELECT count(*) FROM ai.user_memories WHERE input = 'x'") == 3


async def test_our_own_changes_are_written_down_once(written_by: Make, admin: Administration) -> None:
    settings = admin.settings(written_by("3.1"))
    await record_others(settings, on=True)
    done = await add_memory(settings, "eve", "x")
    await edit_memory(settings, done.memories[0].memory_id, "y")
    await undo(settings)
    await clear_memories(settings, "eve", undo=False)
    changes = (await list_history(settings)).changes
    assert [change.by for change in changes] == ["junkie"] * 3


async def test_switching_it_on_needs_rights(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await admin.do(url, *reader("plain"))
    with pytest.raises(DatabaseError, match="cannot be created"):
        await record_others(admin.settings(as_role(url, "plain")), on=True)
