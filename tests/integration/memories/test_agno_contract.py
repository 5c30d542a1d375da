"""What agno writes we read, and what we write agno reads: this fails when agno changes its tables."""

from agno.db.postgres import AsyncPostgresDb
from agno.db.schemas import UserMemory

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.memories.edits import add_memory
from junkie_cli.core.memories.listing import MemoryFilter, list_memories
from tests.support.generations import Administration


def agno(url: DatabaseUrl) -> AsyncPostgresDb:
    return AsyncPostgresDb(
        db_url=url.sqlalchemy(), db_schema="ai", session_table="agent_sessions", memory_table="user_memories"
    )


async def test_from_agno_to_us(database: DatabaseUrl, admin: Administration) -> None:
    db = agno(database)
    written = UserMemory("prefers tea 🏰", "m1", ["drinks", "tea"], "ada", "I prefer tea", team_id="hero-team")
    await db.upsert_user_memory(written)
    await db.upsert_user_memory(UserMemory("no topics", "m2", None, "ada"))
    (second, first) = (await list_memories(admin.settings(database), MemoryFilter("ada"))).memories
    if first.memory_id != "m1":
        first, second = second, first
    assert (first.memory, first.topics, first.input, first.team_id) == (
        "prefers tea 🏰",
        ("drinks", "tea"),
        "I prefer tea",
        "hero-team",
    )
    assert second.topics == ()
    await db.close()


async def test_from_us_to_agno(database: DatabaseUrl, admin: Administration) -> None:
    settings = admin.settings(database)
    ours = (await add_memory(settings, "ada", "prefers tea 🏰", ("drinks",))).memories[0]
    await add_memory(settings, "ada", "no topics")
    db = agno(database)
    read = {memory.memory: memory for memory in await db.get_user_memories(user_id="ada")}
    assert read["prefers tea 🏰"].memory_id == ours.memory_id
    assert read["prefers tea 🏰"].topics == ["drinks"]
    assert not read["no topics"].topics
    # agno takes the table for its own, and goes on writing to it.
    await db.upsert_user_memory(UserMemory("from agno", None, ["x"], "ada"))
    assert len((await list_memories(settings, MemoryFilter("ada"))).memories) == 3
    await db.close()
