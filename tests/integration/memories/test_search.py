"""Searching: rows with every word first, the best match first, with and without the full-text index."""

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import UsageError
from junkie_cli.core.memories import search
from junkie_cli.core.memories.edits import add_memory
from junkie_cli.core.memories.search import search_memories
from junkie_cli.core.schema import tables
from junkie_cli.core.settings import Settings
from junkie_cli.core.table_layout import Layout
from tests.support.generations import ALL, Administration, Make

TEXTS = {
    "m1": "Prefers green tea in the morning",
    "m2": "Steam engines are his hobby, and tea",
    "m3": "Owns a steam locomotive",
    "m4": "tea, green, is what she likes",
    "m5": "ÉCLAIRS and Straße",
    "m6": "100% sure_thing",
}


@pytest.fixture
async def settings(database: DatabaseUrl, admin: Administration) -> Settings:
    settings = admin.settings(database)
    await add_memory(settings, "eve", "something else")
    for number, (memory_id, text) in enumerate(TEXTS.items()):
        await admin.do(
            database,
            "INSERT INTO ai.user_memories (memory_id, memory, user_id, created_at, updated_at)"
            f" VALUES ('{memory_id}', to_jsonb('{text}'::text), 'u{number % 2}', {number}, {number})",
        )
    return settings


async def found(settings: Settings, text: str, **options: object) -> list[str]:
    result = await search_memories(settings, text, **options)  # type: ignore[arg-type]
    return [memory.memory_id for memory in result.memories]


async def test_rows_with_every_word_come_first_and_whole_words_before_parts(settings: Settings) -> None:
    assert set((await found(settings, "green tea"))[:2]) == {"m1", "m4"}
    assert set((await found(settings, "tea"))[:3]) == {"m1", "m2", "m4"}
    assert (await found(settings, "tea"))[3:] == ["m3"]
    assert set(await found(settings, "TEA", user_id="u1")) == {"m2", "m4"}
    assert await found(settings, "éclairs") == ["m5"]
    assert (await found(settings, "tea locomotive"))[0] == "m3"
    assert await found(settings, "absent") == []
    assert await found(settings, "%") == ["m6"]


async def test_what_was_found_has_its_reason(settings: Settings) -> None:
    result = await search_memories(settings, "green TEA?")
    reasons = dict(zip((memory.memory_id for memory in result.memories), result.reasons, strict=True))
    assert reasons["m1"].words == reasons["m4"].words == ("green", "tea")
    assert reasons["m2"].words == reasons["m3"].words == ("tea",)  # in "steam", too
    assert [reason.rank for reason in result.reasons] == [1, 2, 3, 4]
    assert all((reason.score or 0) > 0 for reason in result.reasons)
    [signs] = (await search_memories(settings, "%")).reasons
    assert (signs.kind, signs.rank, signs.score, signs.words) == ("words", 1, None, ("%",))
    assert (await search_memories(settings, "absent")).reasons == ()


async def test_a_question_finds_its_answer(settings: Settings) -> None:
    assert (await found(settings, "What does she drink in the mornings?"))[0] == "m1"
    assert (await found(settings, "Who owns locomotives, and why?", user_id="u0"))[0] == "m3"
    assert await found(settings, "eclair") == ["m5"]
    assert await found(settings, "strasse") == ["m5"]
    with pytest.raises(UsageError):
        await found(settings, "  ")


async def test_more_than_asked_for_is_reported(settings: Settings) -> None:
    result = await search_memories(settings, "tea", limit=2)
    assert (len(result.memories), result.more) == (2, True)


async def test_old_rows_are_found_beyond_the_newest(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "NEWEST", 2)
    result = await search_memories(settings, "tea")
    assert {memory.memory_id for memory in result.memories} == {"m1", "m2", "m3", "m4"}
    assert result.newest_only == 2


async def test_with_the_full_text_index(
    settings: Settings, database: DatabaseUrl, admin: Administration, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with admin.connection(database) as connection:
        state = await tables.inspect(connection, Layout("ai"))
        for table, name, rest in state.missing_indexes():
            await connection.execute(f"CREATE INDEX {name} ON {state.qualified(table)} {rest}")
        await connection.execute(
            "INSERT INTO ai.user_memories (memory_id, memory, user_id, created_at, updated_at)"
            " SELECT 'f' || n, to_jsonb('filler ' || n), 'f', n, n FROM generate_series(1000, 3000) n"
        )
        await connection.execute("VACUUM ANALYZE ai.user_memories")
    monkeypatch.setattr(search, "_PROBED", 2)
    monkeypatch.setattr(search, "NEWEST", 2)
    assert set(await found(settings, "gre te")) == {"m4", "m1"}
    assert set(await found(settings, "tea")) == {"m4", "m2", "m1"}
    assert set(await found(settings, "tea", anywhere=True)) == {"m4", "m2", "m1", "m3"}
    assert (await found(settings, "100% sure_"))[0] == "m6"
    result = await search_memories(settings, "steam")
    assert result.words_only
    assert {memory.memory_id for memory in result.memories} == {"m2", "m3"}


@pytest.mark.parametrize("generation", ALL)
async def test_in_every_generation(written_by: Make, admin: Administration, generation: str) -> None:
    settings = admin.settings(written_by(generation))
    result = await search_memories(settings, "prefers TEA")
    assert {memory.memory for memory in result.memories} <= {
        "Ada is called Ada and prefers tea",
        "User's name is Ada and she prefers tea",
    }
    assert result.memories
    if generation != "2.3":
        assert [memory.user_id for memory in (await search_memories(settings, "KRAKÓW 🏰")).memories][:1] == ["bob"]


async def test_without_a_table(database: DatabaseUrl, admin: Administration) -> None:
    assert (await search_memories(admin.settings(database), "x")).table_missing == "user_memories"
