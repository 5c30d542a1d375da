"""docs/architecture.md lists the tables and columns that the program and agno create."""

import asyncio
import json
import re

import asyncpg

from junkie_cli.core.database_url import DatabaseUrl
from tests.support.documents import ROOT
from tests.support.junkie import Junkie

MODEL = (ROOT / "docs/architecture.md").read_text().partition("## Data model")[2].partition("### Files")[0]
COLUMNS = """
SELECT table_name, array_agg(column_name::text) AS columns
FROM information_schema.columns WHERE table_schema = 'ai' GROUP BY table_name
"""


async def _tables(database: DatabaseUrl) -> dict[str, set[str]]:
    connection = await asyncpg.connect(database.libpq())
    try:
        return {row["table_name"]: set(row["columns"]) for row in await connection.fetch(COLUMNS)}
    finally:
        await connection.close()


def _first_cells(title: str) -> set[str]:
    """The columns in the table below the paragraph that begins with `title`."""
    rows = MODEL.partition(f"**{title}**")[2].partition("\n**")[0]
    return {
        name for cell in re.findall(r"^\| (`[^|]*) \|", rows, re.MULTILINE) for name in re.findall(r"`(\w+)`", cell)
    }


def _own() -> dict[str, set[str]]:
    rows = re.findall(r"^\| `(junkie_\w+)` \| ([^|]*) \|", MODEL, re.MULTILINE)
    return {table: set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", columns))) for table, columns in rows}


def test_the_data_model_is_what_is_created(junkie: Junkie, database: DatabaseUrl) -> None:
    env = {"POSTGRES_URL": database.libpq()}
    junkie.run("chat", "--offline", "-u", "ada", "I prefer tea.", env=env).ok()
    line = json.dumps({"user_id": "bob", "session_id": "s", "message": "I like chess."})
    (junkie.cwd / "talk.jsonl").write_text(line + "\n")
    junkie.run("memories", "learn", "talk.jsonl", "--offline", env=env).ok()
    tables = asyncio.run(_tables(database))
    own = {name: columns for name, columns in tables.items() if name.startswith("junkie_")}
    assert _own() == own
    assert _first_cells("Memories") == tables["user_memories"]
    assert _first_cells("Sessions") - {"runs"} == tables["agent_sessions"]
    assert _first_cells("Runs") == tables["agent_sessions_runs"]
    for name in tables["agno_schema_versions"]:
        assert f"`{name}`" in MODEL
