"""What takes over a second says on the terminal what it is at, with counts; and Ctrl-C leaves all as it was.

Nothing is timed: a row takes a minute to be read, or another session holds a lock, so that the command is in the middle
for as long as the test wants.
"""

import asyncio
import json
from dataclasses import replace

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.memories.edits import add_memory
from tests.support.generations import Administration, Make, as_role, reader
from tests.support.junkie import Junkie

ROWS = "SELECT 1 FROM ai.user_memories WHERE user_id = 'ada' FOR UPDATE"
WRITERS = "LOCK TABLE ai.user_memories IN SHARE ROW EXCLUSIVE MODE"
SESSION = "SELECT 1 FROM ai.agent_sessions WHERE session_id = 'c1' FOR UPDATE"

# what is typed, of which table each row takes a minute to be read, and what is said meanwhile
READING = [
    ("memories list", "user_memories", "looking through about 5 memories, newest first"),
    ("memories search cello", "user_memories", "ranking the newest 20,000 of about 5 memories"),
    ("memories search cello -u ada", "user_memories", "ranking the memories of ada"),
    ("memories show {id}", "user_memories", "searching for the memory"),
    ("memories history", "junkie_history", "reading the history"),
    ("users list", "user_memories", "searching for user ids"),
    ("sessions list", "agent_sessions", "searching about 4 sessions"),
    ("sessions show c1", "agent_sessions", "reading the session"),
    ("stats", "user_memories", "counting about 5 memories"),
]
SLOW_VIEW = """
ALTER TABLE ai.user_memories RENAME TO stored_memories;
CREATE VIEW ai.user_memories AS SELECT * FROM ai.stored_memories WHERE pg_sleep(60) IS NOT NULL;
"""
SLOW_JSON = """
CREATE TYPE slow AS ENUM ('slow');
CREATE FUNCTION slowly(slow) RETURNS json LANGUAGE sql AS 'SELECT to_json(pg_sleep(60) IS NULL)';
CREATE CAST (slow AS json) WITH FUNCTION slowly(slow);
ALTER TABLE ai.user_memories ADD COLUMN slow slow DEFAULT 'slow';
"""
# what is typed, what makes reading slow, and what is said meanwhile; these refuse what row security may have narrowed
READING_ALL = [
    ("memories clear -u ada --dry-run", SLOW_VIEW, "counting those to clear among all memories"),
    ("users export ada -o ada.jsonl", SLOW_JSON, "exporting user_memories"),
]
# what is typed, what another session holds, and what is said meanwhile
CHANGING = [
    ("memories add tea -u ada", WRITERS, "adding 1 memory"),
    ("memories edit {id} tea", ROWS, "changing 1 memory"),
    ("memories delete {id} --yes", ROWS, "deleting 1 memory"),
    ("memories clear -u ada --yes", ROWS, "deleting 2 memories, keeping them for undo"),
    ("memories clear -u ada --yes --no-undo", ROWS, "deleting 2 memories"),
    ("memories undo --yes", WRITERS, "putting back 1 memory"),
    ("memories import new.jsonl", WRITERS, "storing"),
    ("memories history on", WRITERS, "waiting for other programs that write memories"),
    ("users erase ada --dry-run", ROWS, "counting rows: ai.user_memories ("),
    ("users erase ada --yes", ROWS, "erasing ada: ai.user_memories ("),
    ("sessions delete c1 --yes", SESSION, "deleting the session: waiting"),
]


@pytest.fixture
async def url(written_by: Make, admin: Administration) -> DatabaseUrl:
    """A database of agno 3.1 with our tables, one change that can be undone, and figures for the planner."""
    url = written_by("3.1")
    await add_memory(admin.settings(url), "eve", "likes tea")
    await admin.do(url, "ANALYZE")
    return url


async def everything(url: DatabaseUrl, admin: Administration) -> list[str]:
    """Every row of every table, and the triggers."""
    async with admin.connection(url) as connection:
        names = await connection.fetch("SELECT format('ai.%I', tablename) FROM pg_tables WHERE schemaname = 'ai'")
        rows = [f"SELECT '{name}' || t::text AS row FROM {name} t" for (name,) in names]
        rows.append("SELECT tgname::text FROM pg_trigger WHERE NOT tgisinternal")
        return [row[0] for row in await connection.fetch(" UNION ALL ".join(rows) + " ORDER BY 1")]


@pytest.mark.parametrize(("command", "table", "said"), READING, ids=[command for command, *_ in READING])
async def test_what_is_looked_at_is_said_and_ctrl_c_ends_it(
    junkie: Junkie, url: DatabaseUrl, admin: Administration, command: str, table: str, said: str
) -> None:
    await admin.do(
        url,
        *reader("plain"),
        f"ALTER TABLE ai.{table} ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY slow ON ai.{table} USING (pg_sleep(60) IS NOT NULL)",
    )
    await interrupted(junkie, as_role(url, "plain"), admin, command, said)
    assert not any(path.name.startswith("ada") for path in junkie.cwd.iterdir())


@pytest.mark.parametrize(("command", "slow", "said"), READING_ALL, ids=[command for command, *_ in READING_ALL])
async def test_what_is_read_in_full_is_reported_and_ctrl_c_ends_it(
    junkie: Junkie, url: DatabaseUrl, admin: Administration, command: str, slow: str, said: str
) -> None:
    await admin.do(url, slow)
    await interrupted(junkie, url, admin, command, said)
    assert not any(path.name.startswith("ada") for path in junkie.cwd.iterdir())


@pytest.mark.parametrize(("command", "held", "said"), CHANGING, ids=[command for command, *_ in CHANGING])
async def test_what_is_being_changed_is_said_and_ctrl_c_leaves_all(
    junkie: Junkie, url: DatabaseUrl, admin: Administration, command: str, held: str, said: str
) -> None:
    (junkie.cwd / "new.jsonl").write_text(json.dumps({"memory_id": "n", "memory": "new", "user_id": "ada"}) + "\n")
    before = await everything(url, admin)
    async with admin.connection(url) as blocker, blocker.transaction():
        await blocker.execute(held)
        await interrupted(junkie, url, admin, command, said, others=1)
    assert await everything(url, admin) == before


async def interrupted(
    junkie: Junkie, url: DatabaseUrl, admin: Administration, command: str, said: str, *, others: int = 0
) -> None:
    """Start `command`, press Ctrl-C as soon as `said` is to be seen, and wait until the server has ended it, too."""
    owner = replace(url, parameters=())
    if "{id}" in command:
        memory_id = "SELECT min(memory_id) FROM ai.user_memories WHERE user_id = 'ada'"
        command = command.replace("{id}", await admin.value(owner, memory_id))
    words = command.split()
    screen = junkie.terminal(*words, env={"POSTGRES_URL": url.libpq()}, columns=120)
    await asyncio.to_thread(screen.expect_exact, said)
    screen.sendintr()
    await asyncio.to_thread(screen.read)
    screen.wait()
    assert screen.exitstatus == 130
    running = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    async with asyncio.timeout(30):
        while await admin.value(owner, running) > others:
            await asyncio.sleep(0.01)


async def test_an_index_is_built_before_ones_eyes(junkie: Junkie, url: DatabaseUrl, admin: Administration) -> None:
    async with admin.connection(url) as writer:
        async with writer.transaction():
            await writer.execute("UPDATE ai.user_memories SET topics = topics")
            screen = junkie.terminal(
                *("doctor", "--only", "database.reachable,schema,schema.indexes", "--fix", "--yes", "schema.indexes"),
                env={"POSTGRES_URL": url.libpq()},
                columns=120,
            )
            await asyncio.to_thread(screen.expect_exact, "building junkie_memories_user_updated: waiting for writers")
        await asyncio.to_thread(screen.read)
        screen.wait()
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ai.junkie_memories_user_updated'::regclass"
    assert await admin.value(url, valid)


async def test_what_is_quick_says_nothing(junkie: Junkie, url: DatabaseUrl) -> None:
    screen = junkie.terminal("memories", "list", env={"POSTGRES_URL": url.libpq()}, columns=120)
    shown = await asyncio.to_thread(screen.read)
    screen.wait()
    assert screen.exitstatus == 0
    assert "likes tea" in shown
    assert "looking" not in shown
