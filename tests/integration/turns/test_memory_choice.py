"""A person with thousands of memories: what goes into prompts is bounded, matches the message, and is reported."""

import json

import pytest

from junkie_cli.core.chat.pending_retry import retry_memories
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.memories import search_words
from junkie_cli.core.schema.tables import MEMORIES, MEMORIES_BY_USER
from junkie_cli.core.turns.memory_choice import choose
from junkie_cli.core.turns.types import MemoryEntry
from tests.support.conversations import memories, rows, say, settings_for, talking
from tests.support.model_server import HttpError, ModelServer, Request, calls
from tests.support.proxy import Proxy

TOKENS_A_MINUTE = 8000


async def fill(database: DatabaseUrl, count: int) -> None:
    """`count` memories of ada, and one among the oldest that will matter."""
    insert = (
        "INSERT INTO ai.user_memories (memory_id, user_id, memory, topics, created_at, updated_at)"
        " SELECT gen_random_uuid()::text, 'ada', to_json(({text})::text)::jsonb, '[]', {at}, {at}"
        " FROM generate_series(1, $1) n"
    )
    text = "'User once visited the town number ' || n || ' and stayed there for several days'"
    await rows(database, insert.format(text=text, at="1000000 + n"), count)
    await rows(database, insert.format(text="'User is allergic to peanuts'", at="1000 + n"), 1)


def size(request: Request) -> int:
    """Tokens of a request, as providers count them for their limits: about four bytes each."""
    return len(json.dumps(request.body, ensure_ascii=False).encode()) // 4


async def test_with_five_thousand_memories_one_can_talk_on_eight_thousand_tokens_a_minute(
    database: DatabaseUrl, model: ModelServer
) -> None:
    await fill(database, 5000)
    model.queue_memory(calls(("add_memory", {"memory": "User wants peanut butter"})))
    async with talking(settings_for(database, model)) as conversation:
        said = (await say(conversation, "I want a sandwich with peanut butter. Is that fine with my allergies?")).ok()
        [cap] = [warning for warning in said.warnings if "memories go into the prompt" in warning]
        assert "of 5001 memories" in cap
        assert "allergic to peanuts" in model.main_requests[0].system
        assert "town number 5000" in model.main_requests[0].system
        assert "allergic to peanuts" in model.memory_requests[0].system
        assert any("allergic" in memory.memory for memory in conversation.why())
    assert size(model.main_requests[0]) + size(model.memory_requests[0]) < 6000
    assert sum(size(request) for request in model.requests) < TOKENS_A_MINUTE


async def test_why_a_memory_was_chosen_is_known(database: DatabaseUrl, model: ModelServer) -> None:
    await fill(database, 1000)
    async with talking(settings_for(database, model)) as conversation:
        said = (await say(conversation, "Am I allergic to peanuts?")).ok()
        used = conversation.why()
        assert said.done.memories == used
        reasons = {entry.memory: entry.reason for entry in used}
        best = reasons.pop("User is allergic to peanuts")
        assert best is not None
        assert (best.kind, best.rank, best.words) == ("words", 1, ("allergic", "peanuts"))
        assert {reason and (reason.kind, reason.rank, reason.words) for reason in reasons.values()} == {
            ("newest", None, ())
        }
    await rows(database, "DELETE FROM ai.user_memories WHERE memory #>> '{}' LIKE '%town%'")
    async with talking(settings_for(database, model)) as conversation:
        await say(conversation, "Am I allergic to peanuts?")
        assert [entry.reason and entry.reason.kind for entry in conversation.why()] == ["all"]
    async with talking(settings_for(database, model), memory=False) as conversation:
        assert (await say(conversation, "Am I allergic to peanuts?")).done.memories == ()


async def test_a_turn_reads_as_much_with_ten_thousand_memories_as_with_one_thousand(
    database: DatabaseUrl, model: ModelServer
) -> None:
    received = []
    for count in (1000, 9000):
        await fill(database, count)
        with Proxy(database) as proxy:
            async with talking(settings_for(proxy.url(database), model)) as conversation:
                for _ in range(0, 10_002, search_words.BATCH):
                    await conversation._engine.turns.refresh_search("ada")
                start = proxy.received
                (await say(conversation, "Which town did I visit, and am I allergic to peanuts?")).ok()
                received.append(proxy.received - start)
    assert received[1] < received[0] * 1.1


async def test_a_retried_extraction_is_shown_what_is_near_to_its_message(
    database: DatabaseUrl, model: ModelServer
) -> None:
    await fill(database, 3000)
    settings = settings_for(database, model)
    model.queue_memory(HttpError(500))
    async with talking(settings) as conversation:
        await say(conversation, "My peanut allergy is gone.")
    before = len(model.memory_requests)
    [old] = await rows(database, "SELECT memory_id FROM ai.user_memories WHERE memory #>> '{}' LIKE '%peanuts'")
    model.queue_memory(calls(("update_memory", {"memory_id": old["memory_id"], "memory": "User can eat peanuts"})))
    done = await retry_memories(settings, everything=True)
    assert done.memories == {"added": 0, "updated": 1, "deleted": 0}
    assert ("ada", "User can eat peanuts") in await memories(database)
    assert all(size(request) < 3500 for request in model.memory_requests[before:])


@pytest.mark.parametrize("indexed", [True, False])
async def test_the_newest_are_the_same_with_our_index_and_without(
    database: DatabaseUrl, model: ModelServer, indexed: bool
) -> None:
    """Old agno left memories that were never changed without a time of change: the time they were made counts."""
    await rows(
        database,
        "INSERT INTO ai.user_memories (memory_id, user_id, memory, topics, created_at, updated_at)"
        " SELECT 'm' || n, CASE n % 9 WHEN 0 THEN 'bob' ELSE 'ada' END, to_json('Thing ' || n::text)::jsonb, '[]',"
        " 1000 + n / 2, CASE n % 7 WHEN 0 THEN NULL ELSE 1000 + n / 2 END FROM generate_series(1, 900) n",
    )
    await rows(
        database,
        "INSERT INTO ai.user_memories (memory_id, user_id, memory, topics, created_at)"
        " SELECT 'old', 'ada', to_json('Long ago there was a trombone'::text)::jsonb, '[]', 1",
    )
    if not indexed:
        await rows(database, "DROP INDEX ai.junkie_memories_user_updated")
    async with talking(settings_for(database, model)) as conversation:
        turns, state = conversation._engine.turns, conversation._engine.state
        assert state is not None
        assert state.has_index(MEMORIES, *MEMORIES_BY_USER) is indexed
        found = [entry.memory_id for entry in await turns.memories("ada", limit=100)]
        (await say(conversation, "My trombone is out of tune.")).ok()
    of_ada = [n for n in range(1, 901) if n % 9]
    newest = sorted(of_ada, key=lambda n: (n // 2, f"m{n}"), reverse=True)
    assert found == [f"m{n}" for n in newest[:100]]
    assert "Long ago there was a trombone" in model.main_requests[0].system
    assert f"Thing {newest[0]}\n" in model.main_requests[0].system


async def test_a_message_that_looks_like_a_pattern_or_has_no_words_does_no_harm(
    database: DatabaseUrl, model: ModelServer
) -> None:
    await fill(database, 400)
    async with talking(settings_for(database, model)) as conversation:
        pasted = ("x" * 20_000, "0f" * 100_000)
        for message in ("((((", "a|b.*[", "?!", "\\y(peanut", *pasted, "ok", "'; DROP TABLE x; --", "%_"):
            (await say(conversation, message)).ok()


def entry(number: int, memory: str) -> MemoryEntry:
    return MemoryEntry(str(number), memory, (), None)


def test_what_matches_comes_before_what_is_new() -> None:
    known = [entry(n, f"User lives in street {n:03}, where the bus goes") for n in range(100)]
    known.append(entry(100, "User's violin is from Cremona"))
    chosen = choose(known, "Does the bus go where I play the violin?", 200, ["english"])
    assert known[100] in chosen
    assert known[0] in chosen
    assert [known.index(each) for each in chosen] == sorted(known.index(each) for each in chosen)
    assert choose(known[:3], "violin", 10_000, ["english"]) == tuple(known[:3])
    assert choose(known, "violin", 0, ["english"]) == ()
    few, more = (choose(known, "no such word", 200, ["english"], extra=extra) for extra in (22, 0))
    assert len(few) < len(more)
