"""Reading memories: every generation, filters, pages, owners, rights; and single changes."""

from datetime import UTC, datetime

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
from junkie_cli.core.memories.history import undo
from junkie_cli.core.memories.listing import MemoryFilter, get_memory, list_memories
from junkie_cli.core.memories.search import search_memories
from junkie_cli.core.settings import Settings
from tests.support.generations import ALL, Administration, Make, as_role, new_role, reader


async def texts(settings: Settings, **wanted: str | None) -> list[str]:
    page = await list_memories(settings, MemoryFilter(**wanted))
    return sorted({memory.memory for memory in page.memories})


@pytest.mark.parametrize("generation", [one for one in ALL if one != "2.3"])
async def test_filters_in_every_generation(written_by: Make, admin: Administration, generation: str) -> None:
    settings = admin.settings(written_by(generation, schema="My Schema"), JUNKIE_SCHEMA="My Schema")
    cello, tea = "Ada plays the cello", "Ada is called Ada and prefers tea"
    assert await texts(settings) == [tea, cello, "Bob lives in Kraków 🏰", "Somebody without a name was here"]
    assert await texts(settings, user_id="ada") == [tea, cello]
    assert await texts(settings, topic="MUSIC") == [cello]
    assert await texts(settings, user_id="ada", topic="drinks") == [tea]
    assert await texts(settings, search="kraków 🏰") == ["Bob lives in Kraków 🏰"]
    assert await texts(settings, user_id="ada", search="CELLO") == [cello]
    assert await texts(settings, since="2020-01-01") != []
    assert await texts(settings, until="2020-01-01") == await texts(settings, since="1m", until="1d") == []
    assert await texts(settings, user_id="nobody") == await texts(settings, topic="x") == []
    page = await list_memories(settings, MemoryFilter(user_id="ada"))
    assert all((memory.created_at is None) is (generation == "2.2") for memory in page.memories)


async def test_text_in_the_search_is_just_text(written_by: Make, admin: Administration) -> None:
    settings = admin.settings(written_by("3.1"))
    odd = r"""100% of a_b \ "quoted" 'it''s'"""
    await add_memory(settings, "eve", odd)
    for search in ("100%", "a_b", "\\", '"quoted"', "'it''s'", odd):
        assert await texts(settings, search=search) == [odd]
        assert (await search_memories(settings, search)).memories[0].memory == odd
    for search in ("100_", "a%b", "%%%", "\\\\"):
        assert await texts(settings, search=search) == []
    for search in ("%%%", "\\\\"):
        assert (await search_memories(settings, search)).memories == ()


async def test_pages_are_walked_by_index_and_never_by_offset(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await admin.do(
        url,
        "INSERT INTO ai.user_memories (memory_id, memory, user_id, created_at, updated_at)"
        " SELECT n::text, to_jsonb('m' || n), 'u' || n % 50, n, n FROM generate_series(1, 20000) n",
        "CREATE INDEX junkie_memories_user_updated ON ai.user_memories (user_id, updated_at DESC, memory_id DESC)",
        "VACUUM ANALYZE ai.user_memories",
    )
    table = "schemaname = 'ai' AND relname = 'user_memories'"
    reading = f"SELECT sum(idx_tup_read)::int FROM pg_stat_all_indexes WHERE {table}"
    scanning = f"SELECT seq_tup_read FROM pg_stat_all_tables WHERE {table}"
    read, scanned = await admin.counted(url, reading), await admin.counted(url, scanning)
    settings = admin.settings(url)
    page = await list_memories(settings, MemoryFilter("u7"), limit=10)
    for _ in range(20):
        page = await list_memories(settings, MemoryFilter("u7"), limit=10, after=page.next)
    assert await admin.counted(url, scanning) == scanned
    assert await admin.counted(url, reading) - read < 500, "a page reads its own rows, not all that come before it"


@pytest.mark.parametrize("cursor", ["x", "bm90IG91cnM"])
async def test_a_cursor_of_something_else_is_refused(written_by: Make, admin: Administration, cursor: str) -> None:
    with pytest.raises(UsageError):
        await list_memories(admin.settings(written_by("3.1")), MemoryFilter(), after=cursor)


async def test_nobodys_memories_can_be_addressed(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await admin.do(
        url,
        "INSERT INTO ai.user_memories (memory_id, memory, user_id, created_at, updated_at)"
        " VALUES ('n1', '\"of NULL\"', NULL, 1, 1), ('n2', '\"of the empty id\"', '', 1, 1)",
    )
    settings = admin.settings(url)
    assert await texts(settings, user_id="") == ["of NULL", "of the empty id"]
    assert await texts(settings, user_id="default") == ["Somebody without a name was here"]
    assert (await edit_memory(settings, "n1", "changed")).memories[0].user_id is None
    cleared = await clear_memories(settings, "")
    assert (cleared.before, cleared.deleted, cleared.remaining) == (2, 2, 0)
    assert (await undo(settings)).undone == 2
    assert await texts(settings, user_id="") == ["changed", "of the empty id"]


async def test_odd_rows_are_shown_as_they_are(written_by: Make, admin: Administration) -> None:
    url = written_by("2.2")
    await admin.do(
        url,
        r"""INSERT INTO ai.user_memories (memory_id, memory, topics, user_id, updated_at) VALUES
        ('o1', '"nul \u0000 here"', '["a\u0000b"]', 'odd', 1), ('o2', '"half \ud83c"', 'null', 'odd', 2),
        ('o3', '{"a": [1]}', '"one"', 'odd', 999999999999999999), ('o4', '"x"', '[1, {"b": 2}]', 'odd', NULL)""",
    )
    settings = admin.settings(url)
    page = await list_memories(settings, MemoryFilter("odd"))
    assert {memory.memory_id: (memory.memory, memory.topics) for memory in page.memories} == {
        "o1": ("nul \x00 here", ("a\x00b",)),
        "o2": ("half \ufffd", ()),
        "o3": ('{"a": [1]}', ("one",)),
        "o4": ("x", ("1", '{"b": 2}')),
    }
    times = {memory.memory_id: memory.updated_at for memory in page.memories}
    assert times["o3"] == datetime(2001, 9, 9, 1, 46, 39, tzinfo=UTC)  # nanoseconds
    assert times["o4"] is None
    assert await texts(settings, search="nul ") == ["nul \x00 here"]
    assert await texts(settings, topic="ab") == ["nul \x00 here"]
    assert (await clear_memories(settings, "odd")).deleted == 4
    assert (await undo(settings)).undone == 4


async def test_where_a_memory_came_from(written_by: Make, admin: Administration) -> None:
    for generation in ("2.2", "2.9-then-3.1", "3.1"):
        settings = admin.settings(written_by(generation))
        page = await list_memories(settings, MemoryFilter("ada", search="cello"))
        detail = await get_memory(settings, page.memories[0].memory_id)
        assert detail.origin is not None
        assert detail.origin.session_id == "channel-7"
        with pytest.raises(NotFoundError):
            await get_memory(settings, "no such id")


# --- three different nothings -----------------------------------------------------------------------------------------


async def test_no_table_an_empty_one_and_no_server_differ(
    database: DatabaseUrl, written_by: Make, admin: Administration
) -> None:
    missing = await list_memories(admin.settings(database), MemoryFilter())
    assert (missing.memories, missing.table_missing) == ((), "user_memories")
    assert (await clear_memories(admin.settings(database), "ada")).before == 0
    assert await admin.value(database, "SELECT to_regclass('ai.user_memories')") is None
    emptied = written_by("3.1")
    await admin.do(emptied, "TRUNCATE ai.user_memories")
    empty = await list_memories(admin.settings(emptied), MemoryFilter())
    assert (empty.memories, empty.table_missing) == ((), "")
    nowhere = DatabaseUrl.parse("postgresql://postgres@127.0.0.1:1/nowhere")
    with pytest.raises(DatabaseError) as caught:
        await list_memories(admin.settings(nowhere), MemoryFilter())
    assert caught.value.code == "database_refused"


# --- rights -----------------------------------------------------------------------------------------------------------


async def test_a_reader_reads_and_is_reported_that_it_may_not_write(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await admin.do(url, *reader("plain"))
    settings = admin.settings(as_role(url, "plain"))
    assert len(await texts(settings)) == 4
    memory_id = (await list_memories(settings, MemoryFilter("ada"))).memories[0].memory_id
    for change in (
        clear_memories(settings, "ada"),
        edit_memory(settings, memory_id, "x"),
        delete_memories(settings, [memory_id]),
        add_memory(settings, "ada", "x"),
    ):
        with pytest.raises(DatabaseError) as caught:
            await change
        assert caught.value.code == "database_rights"
    assert (await preview_clear(settings, "ada")).undo_days == 0


async def test_no_rights_on_the_table(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await admin.do(url, *new_role("outsider"), "GRANT USAGE ON SCHEMA ai TO outsider")
    for role in ("outsider",):
        with pytest.raises(DatabaseError) as caught:
            await list_memories(admin.settings(as_role(url, role)), MemoryFilter())
        assert caught.value.code == "database_rights"
        assert "user_memories" in caught.value.message + caught.value.hint


# --- single changes ---------------------------------------------------------------------------------------------------


async def test_the_first_memory_of_an_empty_database(database: DatabaseUrl, admin: Administration) -> None:
    settings = admin.settings(database)
    done = await add_memory(settings, "ada", "prefers tea", ("drinks",))
    assert (done.memories[0].memory, done.memories[0].topics) == ("prefers tea", ("drinks",))
    assert await texts(settings) == ["prefers tea"]


async def test_delete_is_all_or_nothing(written_by: Make, admin: Administration) -> None:
    settings = admin.settings(written_by("3.1"))
    page = await list_memories(settings, MemoryFilter("ada"))
    ids = [memory.memory_id for memory in page.memories]
    with pytest.raises(NotFoundError, match="no memory nope; nothing was changed"):
        await delete_memories(settings, [*ids, "nope"])
    assert len(await texts(settings, user_id="ada")) == 2
    done = await delete_memories(settings, [*ids, ids[0]], undo=False)
    assert (len(done.memories), done.undo) == (2, None)
    assert await texts(settings, user_id="ada") == []


@pytest.mark.parametrize(("user_id", "text"), [("", "x"), ("ada", "  ")])
async def test_a_memory_needs_text_and_owner(
    database: DatabaseUrl, admin: Administration, user_id: str, text: str
) -> None:
    with pytest.raises(UsageError):
        await add_memory(admin.settings(database), user_id, text)
