"""Batches: who made a change, and rows of other tables than memories that are undone with them."""

import json
import os
import pwd
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from junkie_cli.core import actor
from junkie_cli.core.actor import Actor
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import DatabaseError, NotFoundError
from junkie_cli.core.memories import batch_rows, change_log
from junkie_cli.core.memories.batch_rows import RowChange
from junkie_cli.core.memories.change_log import MemoryChange
from junkie_cli.core.memories.edits import (
    add_memory,
    clear_memories,
    delete_memories,
    edit_memory,
)
from junkie_cli.core.memories.export import export_memories
from junkie_cli.core.memories.history import (
    Change,
    list_history,
    preview_undo,
    undo,
)
from junkie_cli.core.memories.import_file import import_memories
from junkie_cli.core.memories.listing import MemoryFilter, list_memories
from junkie_cli.core.schema import own_tables
from junkie_cli.core.schema.registry import MEMORIES, PENDING, RUNS, SESSIONS, TOMBSTONES
from junkie_cli.core.table_layout import Layout, TableRef
from junkie_cli.core.users.erase import erase_user
from tests.support.generations import Administration, Make, as_role, named, reader

LOGIN = pwd.getpwuid(os.geteuid()).pw_name
WITH_RUNS = ("2.9-then-3.1", "2.9-migrated", "3.1", "os-3.1")
WHOLE = """
SELECT json_build_array((SELECT json_agg(m ORDER BY memory_id) FROM ai.user_memories m),
  (SELECT json_agg(s ORDER BY session_id) FROM ai.agent_sessions s),
  (SELECT json_agg(r ORDER BY run_id) FROM ai.agent_sessions_runs r))::text
"""


@pytest.fixture(autouse=True)
def as_a_library() -> Iterator[None]:
    """No command and no client, whatever ran in this process before."""
    actor.set_command(None)
    yield
    actor.set_command(None)
    actor.set_client(None)


async def last(admin: Administration, url: DatabaseUrl) -> Change:
    return (await list_history(admin.settings(url))).changes[0]


# --- who --------------------------------------------------------------------------------------------------------------


async def test_every_command_stores_who_ran_it(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    settings = admin.settings(url)
    first, *_ = (await list_memories(settings, MemoryFilter("ada"))).memories
    await export_memories(settings, path=admin.folder / "all.jsonl")
    lines = admin.folder / "all.jsonl"
    for command, change in (
        ("memories add", lambda: add_memory(settings, "eve", "x")),
        ("memories edit", lambda: edit_memory(settings, first.memory_id, "y")),
        ("memories delete", lambda: delete_memories(settings, [first.memory_id])),
        ("memories undo", lambda: undo(settings)),
        ("memories clear", lambda: clear_memories(settings, "bob")),
        ("memories import", lambda: import_memories(settings, lines, overwrite=True)),
    ):
        actor.set_command(command)
        await change()
        assert (await last(admin, url)).actor == Actor("login", LOGIN, command)
    undoable = await preview_undo(settings)
    assert undoable.actor == Actor("login", LOGIN, "memories import")
    assert await admin.value(url, "SELECT count(*) FROM ai.junkie_batches") == 6
    assert await admin.value(url, "SELECT count(*) FROM ai.junkie_batches WHERE undo_of IS NOT NULL") == 1


async def test_the_team_and_an_mcp_client_are_named(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    async with admin.connection(url) as connection:
        state = await own_tables.prepare(connection, Layout("ai"))
        async with connection.transaction():
            change = MemoryChange("added", "m1", "eve", "x", team_id="junkie")
            await change_log.apply_changes(connection, state, [change], by="team")
    assert (await last(admin, url)).actor == Actor("team", "junkie", None)
    actor.set_client("claude")
    await add_memory(admin.settings(url), "eve", "y")
    assert (await last(admin, url)).actor == Actor("mcp", "claude", None)


async def test_without_the_table_nobody_is_named_and_history_goes_on(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    settings = admin.settings(url)
    await add_memory(settings, "eve", "x")
    await admin.do(url, "DROP TABLE ai.junkie_batches", *reader("plain_writer"))
    await admin.do(url, "GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ai TO plain_writer")
    await admin.do(url, "GRANT USAGE ON ALL SEQUENCES IN SCHEMA ai TO plain_writer")
    limited = admin.settings(as_role(url, "plain_writer"))
    done = await add_memory(limited, "eve", "y")
    assert (await last(admin, url)).actor is None
    assert (await undo(limited, done.undo)).removed == 1


async def test_old_batches_are_forgotten_with_their_changes(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    settings = admin.settings(url)
    await add_memory(settings, "eve", "x")
    old = ", ".join(f"ai.junkie_{name}" for name in ("history", "batches", "rows"))
    for table in old.split(", "):
        await admin.do(url, f"UPDATE {table} SET at = at - interval '31 days'")
    await add_memory(settings, "eve", "y")
    assert await admin.value(url, "SELECT count(*) FROM ai.junkie_batches") == 1
    assert await admin.value(url, "SELECT count(*) FROM ai.junkie_history") == 1


# --- rows of other tables ---------------------------------------------------------------------------------------------


async def changed(
    admin: Administration, url: DatabaseUrl, generation: str, *statements: tuple[TableRef, str], memory: bool = True
) -> str:
    """One batch: each statement, over a table `t`, changes rows of a table; `memory` deletes ada's memories too."""
    batch = str(uuid4())
    async with admin.connection(url) as connection:
        state = await own_tables.prepare(connection, Layout("ai"))
        async with connection.transaction():
            rows = []
            for table, statement in statements:
                rows += await run(connection, state, table, named(generation, statement))
            assert await batch_rows.record_rows(connection, state, batch, rows)
            if memory:
                await change_log.delete_where(connection, state, "m.user_id = $1", ["ada"], batch=batch)
            await change_log.close_batch(connection, state, batch, 30)
    return batch


async def run(connection: Any, state: Any, table: TableRef, statement: str) -> list[RowChange]:
    """Run a statement and compare the table before and after it."""
    [key] = {SESSIONS: ["session_id"], RUNS: ["run_id"]}[table]  # type: ignore[index]
    query = f"SELECT {key} AS id, user_id, row_to_json(t)::text AS row FROM {state.qualified(table)} t"
    before = {row["id"]: row for row in await connection.fetch(query)}
    await connection.execute(statement)
    after = {row["id"]: row for row in await connection.fetch(query)}
    found = []
    for row_id in before.keys() | after.keys():
        old, new = before.get(row_id), after.get(row_id)
        if (old and old["row"]) != (new and new["row"]):
            row = new or old
            texts = (old and old["row"], new and new["row"])
            found.append(RowChange(table, {key: row_id}, row["user_id"], *texts))
    return found


NEW_SESSION = (
    "INSERT INTO ai.agent_sessions (session_id, session_type, user_id, session_data, created_at)"
    " VALUES ('new', 'team', 'ada', '{\"a\": 1}', 1)"
)
NEW_RUN = (
    "INSERT INTO ai.agent_sessions_runs"
    " (run_id, session_id, run_type, user_id, status, run_index, run_data, created_at)"
    " VALUES ('new', 'new', 'team', 'ada', 'COMPLETED', 0, '{\"b\": [2]}', 1)"
)
OWNER = "UPDATE ai.agent_sessions SET user_id = 'eve' WHERE user_id = 'ada'"
RUNS_OWNER = "UPDATE ai.agent_sessions_runs SET user_id = 'eve' WHERE user_id = 'ada'"
GONE = "DELETE FROM ai.agent_sessions_runs WHERE user_id = 'bob'"


@pytest.mark.parametrize("generation", WITH_RUNS)
async def test_rows_of_every_table_are_undone_in_one_go(
    written_by: Make, admin: Administration, generation: str
) -> None:
    url = written_by(generation)
    settings = admin.settings(url)
    whole = named(generation, WHOLE)
    before = await admin.value(url, whole)
    batch = await changed(
        admin,
        url,
        generation,
        (SESSIONS, OWNER),
        (SESSIONS, NEW_SESSION),
        (RUNS, NEW_RUN),
        (RUNS, RUNS_OWNER),
        (RUNS, GONE),
    )
    after = await admin.value(url, whole)
    change = await preview_undo(settings)
    sessions, runs = (named(generation, name) for name in ("agent_sessions", "agent_sessions_runs"))
    assert (change.batch, set(change.rows)) == (batch, {sessions, runs})
    undone = await undo(settings, batch)
    assert (undone.restored, undone.rows.conflicts) == (change.deleted, {})
    assert change.deleted >= 2
    assert undone.rows.undone == change.rows
    assert await admin.value(url, whole) == before
    with pytest.raises(NotFoundError, match="was undone already"):
        await undo(settings, batch)
    again = await undo(settings, undone.batch)
    assert again.rows.undone == change.rows
    assert await admin.value(url, whole) == after


async def test_a_batch_without_memories_is_undone_as_the_newest(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    settings = admin.settings(url)
    added = await add_memory(settings, "eve", "x")
    before = await admin.value(url, WHOLE)
    batch = await changed(admin, url, "3.1", (SESSIONS, OWNER), memory=False)
    undone = await undo(settings)
    assert (undone.change.batch, undone.undone, bool(undone.rows.undone)) == (batch, 0, True)
    assert await admin.value(url, WHOLE) == before
    with pytest.raises(NotFoundError, match="was undone already") as caught:
        await undo(settings)
    assert f"junkie memories undo {added.undo}" in caught.value.hint


async def test_a_row_that_was_changed_since_is_left_alone_and_counted(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    settings = admin.settings(url)
    batch = await changed(admin, url, "3.1", (SESSIONS, OWNER), (RUNS, RUNS_OWNER))
    await admin.do(url, "UPDATE ai.agent_sessions SET session_data = '{\"now\": 1}' WHERE user_id = 'eve'")
    undone = await undo(settings, batch)
    assert undone.restored == 2
    assert "agent_sessions" in undone.rows.conflicts and "agent_sessions_runs" in undone.rows.undone
    assert await admin.value(url, "SELECT count(*) FROM ai.agent_sessions WHERE session_data ->> 'now' = '1'")
    await admin.do(url, "UPDATE ai.agent_sessions SET updated_at = updated_at + 1")  # a time alone is no change
    assert await admin.value(url, "SELECT count(*) FROM ai.agent_sessions_runs WHERE user_id = 'eve'") == 0


async def test_part_of_a_row_is_enough_for_a_change(written_by: Make, admin: Administration) -> None:
    """What changes one column of many rows need not keep what people said in them."""
    url = written_by("3.1")
    before = await admin.value(url, WHOLE)
    ids = json.loads(
        await admin.value(url, "SELECT json_agg(session_id)::text FROM ai.agent_sessions WHERE user_id = 'ada'")
    )
    batch = str(uuid4())
    async with admin.connection(url) as connection:
        state = await own_tables.prepare(connection, Layout("ai"))
        async with connection.transaction():
            await connection.execute(OWNER)
            rows = [
                RowChange(SESSIONS, {"session_id": each}, "eve", '{"user_id": "ada"}', '{"user_id": "eve"}')
                for each in ids
            ]
            assert await batch_rows.record_rows(connection, state, batch, rows)
            await change_log.close_batch(connection, state, batch, 30)
    assert (await undo(admin.settings(url), batch)).rows.undone == {"agent_sessions": len(ids)}
    assert await admin.value(url, WHOLE) == before


async def test_nothing_goes_that_was_written_since(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    settings = admin.settings(url)
    batch = await changed(admin, url, "3.1", (SESSIONS, NEW_SESSION), memory=True)
    await admin.do(url, NEW_RUN)
    before = await admin.value(url, WHOLE)
    with pytest.raises(DatabaseError, match=r"agent_sessions_runs \(1\)") as refused:
        await undo(settings, batch)
    assert refused.value.code == "undo_rows_since"
    assert await admin.value(url, WHOLE) == before
    await admin.do(url, "DELETE FROM ai.agent_sessions_runs WHERE run_id = 'new'")
    undone = await undo(settings, batch)
    assert (undone.restored, undone.rows.undone) == (2, {"agent_sessions": 1})


@pytest.mark.parametrize("table", [MEMORIES, PENDING, TOMBSTONES, "messages"])
async def test_rows_are_recorded_of_registered_tables_alone(
    written_by: Make, admin: Administration, table: TableRef
) -> None:
    async with admin.connection(written_by("3.1")) as connection:
        state = await own_tables.prepare(connection, Layout("ai"))
        row = RowChange(table, {"id": "1"}, "ada", None, "{}")
        async with connection.transaction():
            if table == PENDING:
                assert await batch_rows.record_rows(connection, state, str(uuid4()), [row])
            else:
                with pytest.raises(ValueError, match="cannot be undone"):
                    await batch_rows.record_rows(connection, state, str(uuid4()), [row])


async def test_a_person_is_erased_from_batches(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    settings = admin.settings(url)
    await changed(admin, url, "3.1", (RUNS, "UPDATE ai.agent_sessions_runs SET status = 'ERROR' WHERE user_id = 'ada'"))
    await add_memory(settings, "bob", "x")
    await admin.do(url, "UPDATE ai.junkie_batches SET actor_name = 'ada'")
    erased = await erase_user(settings, "ada")
    assert erased.erased["junkie_rows"] > 0
    for table in ("junkie_rows", "junkie_batches", "junkie_history"):
        assert "ada" not in (await admin.value(url, f"SELECT json_agg(t)::text FROM ai.{table} t") or "")
