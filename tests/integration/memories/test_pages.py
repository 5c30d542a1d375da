"""Pages are the same whichever way they are found: newest rows of all first, by sorting, or by our index."""

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.memories import listing
from junkie_cli.core.memories.listing import MemoryFilter, list_memories
from junkie_cli.core.postgres.connect import open_connection
from junkie_cli.core.settings import Settings
from tests.benchmarks import data
from tests.support.generations import Administration

ROWS = 400


@pytest.fixture
async def settings(database: DatabaseUrl, admin: Administration) -> Settings:
    """400 memories, many of them written in the same second, and one without a time."""
    connection = await open_connection(database)
    try:
        await data.fill(connection, ROWS)
        await connection.execute("UPDATE ai.user_memories SET updated_at = updated_at / 864000 * 864000")
        await connection.execute(
            "UPDATE ai.user_memories SET updated_at = NULL WHERE memory_id = (SELECT min(memory_id)"
            f" FROM ai.user_memories WHERE user_id = '{data.user_id(0)}')"
        )
    finally:
        await connection.close()
    return admin.settings(database)


async def pages(settings: Settings, wanted: MemoryFilter, limit: int) -> list[str]:
    """The ids of all pages."""
    found: list[str] = []
    cursor = None
    while True:
        page = await list_memories(settings, wanted, limit=limit, after=cursor)
        found += [memory.memory_id for memory in page.memories]
        cursor = page.next
        if cursor is None:
            return found


@pytest.mark.parametrize("user", [data.user_id(0), data.user_id(1), None])
@pytest.mark.parametrize(("many", "newest"), [(1, 1), (1, 40), (1, ROWS), (ROWS, ROWS)])
async def test_every_way_to_a_page_finds_the_same(
    settings: Settings, admin: Administration, monkeypatch: pytest.MonkeyPatch, user: str | None, many: int, newest: int
) -> None:
    monkeypatch.setattr(listing, "_MANY", many)
    monkeypatch.setattr(listing, "NEWEST", newest)
    condition = "true" if user is None else f"user_id = '{user}'"
    assert settings.postgres_url is not None
    ordered = await admin.value(
        settings.postgres_url,
        "SELECT array_agg(memory_id::text ORDER BY updated_at DESC NULLS LAST, memory_id DESC)"
        f" FROM ai.user_memories WHERE {condition}",
    )
    assert await pages(settings, MemoryFilter(user), 23) == ordered
    with_topic = [
        memory.memory_id
        for memory in (await list_memories(settings, MemoryFilter(user), limit=ROWS)).memories
        if "topic 5" in memory.topics
    ]
    assert await pages(settings, MemoryFilter(user, topic="topic 5"), 2) == with_topic
