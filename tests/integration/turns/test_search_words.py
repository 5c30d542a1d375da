"""The stored words of memories: derived after a turn, never relied on when they are out of date, never left behind."""

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.memories import search_words
from junkie_cli.core.users.erase import erase_user
from tests.support.conversations import rows, say, settings_for, talking
from tests.support.generations import as_role
from tests.support.model_server import ModelServer

STORED = "SELECT user_id, memory_id, words::text AS words FROM ai.junkie_search_words ORDER BY memory_id"
INSERT = (
    "INSERT INTO ai.user_memories (memory_id, user_id, memory, topics, created_at, updated_at)"
    " SELECT 'm' || n, $1, to_jsonb('Visited the town ' || n), '[]', n, n FROM generate_series(1, $2::int) n"
)


async def add(database: DatabaseUrl, memory_id: str, text: str, user_id: str = "ada") -> None:
    await rows(
        database,
        "INSERT INTO ai.user_memories (memory_id, user_id, memory, topics, created_at, updated_at)"
        " VALUES ($1, $2, to_jsonb($3::text), '[\"topic\"]', 5, 5)",
        memory_id,
        user_id,
        text,
    )


async def test_words_of_every_memory_are_stored_after_a_turn(database: DatabaseUrl, model: ModelServer) -> None:
    async with talking(settings_for(database, model)) as conversation:
        await add(database, "m1", "Has two cats")
        await add(database, "m2", "Likes trains", "bob")
        await say(conversation, "Hello")
        [stored] = await rows(database, STORED)
        assert (stored["user_id"], stored["memory_id"]) == ("ada", "m1")
        assert "'cat'" in stored["words"] and "'topic'" in stored["words"]
        await rows(database, "UPDATE ai.user_memories SET memory = to_jsonb('Has a dog'::text) WHERE memory_id = 'm1'")
        await add(database, "m3", "Has a parrot")
        await say(conversation, "Hello again")
        stored_words = {row["memory_id"]: row["words"] for row in await rows(database, STORED)}
        assert "'dog'" in stored_words["m1"] and "'cat'" not in stored_words["m1"]
        assert set(stored_words) == {"m1", "m3"}
        await rows(database, "DELETE FROM ai.user_memories WHERE memory_id = 'm1'")
        await say(conversation, "And again")
        assert [row["memory_id"] for row in await rows(database, STORED)] == ["m3"]


@pytest.mark.parametrize("refreshed", [True, False])
async def test_an_old_memory_is_found_with_stored_words_and_without(
    database: DatabaseUrl, model: ModelServer, refreshed: bool
) -> None:
    async with talking(settings_for(database, model)) as conversation:
        await rows(database, INSERT, "ada", 1000)
        await add(database, "old", "Allergisch gegen Nüsse")
        if refreshed:
            await say(conversation, "Hello")
            stored = {row["memory_id"]: row["words"] for row in await rows(database, STORED)}
            assert (len(stored), "nuss" in stored["old"]) == (1001, True)
        await say(conversation, "Kann ich die Nuss essen? Eine Nuss!")
        assert "Allergisch gegen Nüsse" in model.main_requests[-1].system


async def test_a_memory_that_was_changed_since_is_found_by_its_new_text(
    database: DatabaseUrl, model: ModelServer
) -> None:
    async with talking(settings_for(database, model)) as conversation:
        await rows(database, INSERT, "ada", 1000)
        await say(conversation, "Hello")
        await rows(
            database,
            "UPDATE ai.user_memories SET memory = to_jsonb('Plays the oboe'::text), updated_at = 4"
            " WHERE memory_id = 'm3'",
        )
        await say(conversation, "My oboe is broken")
        assert "Plays the oboe" in model.main_requests[-1].system
        await say(conversation, "Which town?")
        assert "Plays the oboe" not in model.main_requests[-1].system


async def test_many_memories_are_derived_in_batches(
    database: DatabaseUrl, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_words, "BATCH", 100)
    async with talking(settings_for(database, model)) as conversation:
        await rows(database, INSERT, "ada", 250)
        counts = []
        for _ in range(4):
            await say(conversation, "Hello")
            counts.append(len(await rows(database, STORED)))
    assert counts == [100, 200, 250, 250]


async def test_erasing_a_person_erases_the_words(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    async with talking(settings) as conversation:
        await add(database, "m1", "Has two cats")
        await add(database, "m2", "Has a dog", "bob")
        await say(conversation, "Hello")
    async with talking(settings, "bob") as conversation:
        await say(conversation, "Hello")
    await erase_user(settings, "ada")
    assert [row["user_id"] for row in await rows(database, STORED)] == ["bob"]


async def test_a_role_that_may_not_use_the_table_finds_memories_by_their_text(
    database: DatabaseUrl, model: ModelServer
) -> None:
    async with talking(settings_for(database, model)):
        pass
    await rows(
        database,
        "DO $$ BEGIN CREATE ROLE reader_of_memories LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
    )
    await rows(database, "GRANT USAGE ON SCHEMA ai TO reader_of_memories")
    await rows(database, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ai TO reader_of_memories")
    await rows(database, "REVOKE ALL ON ai.junkie_search_words FROM reader_of_memories")
    await rows(database, INSERT, "ada", 1000)
    await add(database, "old", "Owns a trombone")
    weak = as_role(database, "reader_of_memories")
    async with talking(settings_for(weak, model)) as conversation:
        (await say(conversation, "My trombone is out of tune")).ok()
    assert "Owns a trombone" in model.main_requests[-1].system
    assert await rows(database, STORED) == []
