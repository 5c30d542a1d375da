"""What is in the schema: every generation, and our own tables beside agno's."""

import asyncio
import json
import re
from typing import Any

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.schema import memories_table, own_tables
from junkie_cli.core.schema import tables as schema
from junkie_cli.core.schema.registry import PENDING, Feature
from junkie_cli.core.table_layout import Layout
from tests.support.generations import Administration, Make, as_role, reader


@pytest.mark.parametrize(
    ("generation", "expected"),
    [("2.2", "2.2"), ("2.3", "2.3"), ("2.9", "2.3"), ("2.9-then-3.1", "3"), ("2.9-migrated", "3"), ("3.1", "3")],
)
async def test_generations(written_by: Make, admin: Administration, generation: str, expected: str) -> None:
    async with admin.connection(written_by(generation)) as connection:
        state = await schema.inspect(connection, Layout("ai"))
    assert state.generation == expected
    assert state.has_column(schema.MEMORIES, "created_at") is (generation != "2.2")
    assert state.has(schema.RUNS) is (expected == "3")
    assert state.has_runs_column is (generation != "3.1")


@pytest.mark.parametrize(
    ("generation", "added"),
    [
        ("2.2", ("agent_sessions_runs", "agno_schema_versions")),
        ("2.3", ("agent_sessions_runs",)),
        ("3.1", ()),
    ],
)
async def test_what_agno_3_would_add(
    written_by: Make, admin: Administration, generation: str, added: tuple[str, ...]
) -> None:
    async with admin.connection(written_by(generation)) as connection:
        assert (await schema.inspect(connection, Layout("ai"))).tables_agno_3_adds() == added


async def test_nothing_there(database: DatabaseUrl, admin: Administration) -> None:
    async with admin.connection(database) as connection:
        state = await schema.inspect(connection, Layout("ai"))
    assert (state.exists, state.generation, state.may_create) == (False, "none", True)
    assert state.tables_agno_3_adds() == (
        "agent_sessions",
        "agent_sessions_runs",
        "user_memories",
        "agno_schema_versions",
    )


async def test_a_name_that_needs_quotes(written_by: Make, admin: Administration) -> None:
    name = 'My "Schema" {}'
    async with admin.connection(written_by("3.1", schema=name)) as connection:
        state = await own_tables.prepare(connection, Layout(name))
        assert state.keeps(Feature.HISTORY)
        assert await connection.fetchval(f"SELECT count(*) FROM {state.qualified(schema.MEMORIES)}") == 4


async def test_six_processes_make_our_tables_at_once(database: DatabaseUrl, admin: Administration) -> None:
    async def ensure() -> bool:
        async with admin.connection(database) as connection:
            return await own_tables.ensure_own_tables(connection, Layout("ai"))

    assert await asyncio.gather(*(ensure() for _ in range(6))) == [True] * 6
    assert await admin.value(database, "SELECT count(*) FROM ai.junkie_versions") == 3


async def test_without_the_right_to_create_history_is_off(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await admin.do(url, *reader("plain"))
    async with admin.connection(as_role(url, "plain")) as connection:
        assert await own_tables.ensure_own_tables(connection, Layout("ai")) is False
        assert not (await own_tables.prepare(connection, Layout("ai"))).keeps(Feature.HISTORY)


async def test_tables_of_a_newer_junkie_are_left_alone(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    async with admin.connection(url) as connection:
        await own_tables.prepare(connection, Layout("ai"))
        await connection.execute("UPDATE ai.junkie_versions SET value = '99' WHERE name = 'schema'")
        with pytest.raises(DatabaseError, match="newer junkie"):
            await own_tables.prepare(connection, Layout("ai"))


async def test_row_security_counts_for_whom_it_filters(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await admin.do(url, *reader("plain"), "ALTER TABLE ai.user_memories ENABLE ROW LEVEL SECURITY")

    async def filtered(who: DatabaseUrl) -> tuple[str, ...]:
        async with admin.connection(who) as connection:
            state = await schema.inspect(connection, Layout("ai"))
        assert state.filtered(schema.SESSIONS, PENDING) == ()
        assert state.filtered() == state.filtered(schema.MEMORIES, schema.SESSIONS)
        return state.filtered()

    assert await filtered(url) == ()  # a superuser sees everything
    assert await filtered(as_role(url, "plain")) == ("user_memories",)
    await admin.do(url, "ALTER TABLE ai.user_memories OWNER TO plain")
    assert await filtered(as_role(url, "plain")) == ()
    await admin.do(url, "ALTER TABLE ai.user_memories FORCE ROW LEVEL SECURITY")
    assert await filtered(as_role(url, "plain")) == ("user_memories",)


async def test_an_index_counts_when_it_begins_with_the_columns(written_by: Make, admin: Administration) -> None:
    async with admin.connection(written_by("3.1")) as connection:
        before = await schema.inspect(connection, Layout("ai"))
        for table, name, rest in before.missing_indexes():
            await connection.execute(f"CREATE INDEX {name} ON {before.qualified(table)} {rest}")
        after = await schema.inspect(connection, Layout("ai"))
    assert before.has_index(schema.MEMORIES, "user_id")
    assert not before.has_index(schema.MEMORIES, *schema.MEMORIES_BY_USER)
    assert after.has_index(schema.MEMORIES, *schema.MEMORIES_BY_USER)
    assert after.has_search_index
    assert after.missing_indexes() == ()


PLAIN = ("plain", "a\x00b", "\x00\x00", "\\\x00", "\\u0000", "\\\\u0000\x00", 'quote"\x00', "🏰", "\\🏰", "\\ud83c")
HALVES = ("\ud83c", "x\ud83c\ud83c", "\udff0", "\udff0🏰\ud83c", "\ud83c\\\udff0", "\\\ud83c", "🏰\udff0\udff0")


async def test_json_of_agno_2_is_read_whatever_is_escaped_in_it(database: DatabaseUrl, admin: Administration) -> None:
    expression = schema.plain_json("$1::text::json")
    async with admin.connection(database) as connection:
        for text in PLAIN + HALVES:
            found = await connection.fetchval(f"SELECT {expression} #>> ARRAY[]::text[]", json.dumps(text))
            assert found == re.sub("[\ud800-\udfff]", "\ufffd", text.replace("\x00", ""))


async def test_our_memories_table_is_the_one_that_agno_makes(
    database: DatabaseUrl, admin: Administration, written_by: Make
) -> None:
    ours = database
    async with admin.connection(ours) as connection:
        await memories_table.ensure_memories_table(connection, Layout("ai"))
    shapes = [await shape(admin, url) for url in (ours, written_by("3.1"))]
    assert shapes[0] == shapes[1]
    async with admin.connection(written_by("2.2")) as connection:
        await connection.execute("DROP TABLE ai.user_memories")
        with pytest.raises(DatabaseError, match=r"agno 2\.2"):
            await memories_table.ensure_memories_table(connection, Layout("ai"))


async def shape(admin: Administration, url: DatabaseUrl) -> Any:
    async with admin.connection(url) as connection:
        state = await schema.inspect(connection, Layout("ai"))
        version = await connection.fetchval(
            "SELECT version FROM ai.agno_schema_versions WHERE table_name = 'user_memories'"
        )
    indexes = {index.definition for index in state.indexes if index.table == "user_memories"}
    return state.table(schema.MEMORIES).columns, indexes, version
