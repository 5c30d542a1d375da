"""What agno's own database class does for the same question: `list USER`, `search TEXT` or `stats`."""

import asyncio
import os
import sys

os.environ["AGNO_TELEMETRY"] = "false"

from agno.db.postgres import AsyncPostgresDb


async def main(what: str, value: str = "") -> None:
    url = os.environ["POSTGRES_URL"].replace("postgresql://", "postgresql+asyncpg://")
    db = AsyncPostgresDb(db_url=url, db_schema="ai", memory_table="user_memories", session_table="agent_sessions")
    if what == "list":
        found = await db.get_user_memories(user_id=value, limit=50)
    elif what == "search":
        found = await db.get_user_memories(search_content=value, limit=20)
    else:
        found, _ = await db.get_user_memory_stats(limit=10)
    print(len(found))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
