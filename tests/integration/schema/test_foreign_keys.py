"""Rows that reference what is deleted: counted first, never other people's, and undo reports what it cannot restore."""

import asyncio
from typing import Any

import pytest

from junkie_cli.core import sessions
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import DatabaseError, ExitCode
from junkie_cli.core.memories.edits import (
    add_memory,
    clear_memories,
    delete_memories,
    edit_memory,
    preview_clear,
    preview_delete,
)
from junkie_cli.core.memories.history import undo
from junkie_cli.core.memories.listing import MemoryFilter, list_memories
from junkie_cli.core.settings import Settings
from junkie_cli.core.users.erase import erase_user
from tests.support.generations import Administration, Make, as_role, new_role
from tests.support.junkie import Junkie
from tests.support.schemas import validate

MEMORIES = "SELECT string_agg(m::text, '|' ORDER BY memory_id) FROM ai.user_memories m"


async def ids(settings: Settings, user: str = "ada") -> list[str]:
    return [memory.memory_id for memory in (await list_memories(settings, MemoryFilter(user))).memories]


async def noted(
    admin: Administration, url: DatabaseUrl, action: str, *, owner: str | None = "ada", table: str = "ai.notes"
) -> list[str]:
    """Give each memory of ada two rows of `table`, with a tag each in another schema; returns ada's memories."""
    mine = await ids(admin.settings(url))
    await admin.do(
        url,
        f"CREATE TABLE {table} (note int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, author_id text,"
        f" memory_id varchar REFERENCES ai.user_memories ON DELETE {action})",
        f"CREATE TABLE public.tags (note int REFERENCES {table} ON DELETE CASCADE)",
    )
    async with admin.connection(url) as connection:
        for memory_id in (*mine, *mine):
            await connection.execute(f"INSERT INTO {table} (author_id, memory_id) VALUES ($1, $2)", owner, memory_id)
        await connection.execute(f"INSERT INTO public.tags SELECT note FROM {table}")
    return mine


@pytest.mark.parametrize("owner", ["ada", "", None])
async def test_what_cascades_is_counted_and_undo_reports_it(
    written_by: Make, admin: Administration, owner: str | None
) -> None:
    url = written_by("3.1")
    settings = admin.settings(url)
    mine = await noted(admin, url, "CASCADE", owner=owner)
    expected = {"notes": 2 * len(mine), "public.tags": 2 * len(mine)}
    before = await admin.value(url, MEMORIES)
    assert (await preview_clear(settings, "ada")).cascaded == expected
    assert (await preview_delete(settings, mine)).cascaded == expected
    assert await admin.value(url, "SELECT count(*) FROM public.tags") == 2 * len(mine)
    cleared = await clear_memories(settings, "ada")
    assert cleared.cascaded == expected
    assert await admin.value(url, "SELECT (SELECT count(*) FROM ai.notes) + (SELECT count(*) FROM public.tags)") == 0
    undone = await undo(settings)
    assert (undone.undone, undone.lost, undone.cascaded) == (len(mine), expected, {})
    assert await admin.value(url, MEMORIES) == before
    one = await noted_again(admin, url, mine[0])
    assert (await delete_memories(settings, [mine[0]])).cascaded == one
    assert (await undo(settings)).lost == one


async def noted_again(admin: Administration, url: DatabaseUrl, memory_id: str) -> dict[str, int]:
    await admin.do(url, f"INSERT INTO ai.notes (memory_id) VALUES ('{memory_id}')")
    return {"notes": 1}


async def test_undoing_an_edit_leaves_what_references_the_memory(written_by: Make, admin: Administration) -> None:
    """Once the row was deleted and inserted again: its notes went with it."""
    for action in ("CASCADE", "RESTRICT", "SET NULL"):
        url = written_by("3.1")
        settings = admin.settings(url)
        mine = await noted(admin, url, action)
        before = await admin.value(url, MEMORIES)
        await edit_memory(settings, mine[0], "something else")
        assert (await undo(settings)).undone == 1
        assert await admin.value(url, MEMORIES) == before
        assert await admin.value(url, "SELECT count(memory_id) FROM ai.notes") == 2 * len(mine)


async def test_undoing_an_addition_counts_what_goes_with_it(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    settings = admin.settings(url)
    await noted(admin, url, "CASCADE")
    added = (await add_memory(settings, "ada", "x")).memories[0]
    once = await noted_again(admin, url, added.memory_id)
    undone = await undo(settings)
    assert (undone.undone, undone.cascaded) == (1, once)
    assert undone.batch is not None
    assert (await undo(settings, undone.batch)).lost == once


@pytest.mark.parametrize("owner", ["ada", "bob"])
@pytest.mark.parametrize("action", ["RESTRICT", "NO ACTION"])
async def test_what_stands_in_the_way_is_named(
    written_by: Make, admin: Administration, action: str, owner: str
) -> None:
    url = written_by("3.1")
    settings = admin.settings(url)
    mine = await noted(admin, url, action, owner=owner)
    await admin.do(url, "DELETE FROM public.tags")
    before = await admin.value(url, MEMORIES)
    for attempt in (
        preview_clear(settings, "ada"),
        clear_memories(settings, "ada"),
        preview_delete(settings, mine),
        delete_memories(settings, mine),
    ):
        with pytest.raises(DatabaseError) as refused:
            await attempt
        assert refused.value.code == "rows_referenced"
        assert f"{2 * len(mine)} rows of ai.notes (foreign key notes_memory_id_fkey)" in refused.value.message
    assert await admin.value(url, MEMORIES) == before


@pytest.mark.parametrize("table", ["ai.notes", "public.notes"])
async def test_rows_of_others_are_not_deleted(written_by: Make, admin: Administration, table: str) -> None:
    url = written_by("3.1")
    settings = admin.settings(url)
    mine = await noted(admin, url, "CASCADE", table=table)
    await admin.do(url, f"UPDATE {table} SET author_id = 'bob' WHERE note = 1")
    before = await admin.value(url, MEMORIES)
    for attempt in (
        preview_clear(settings, "ada"),
        clear_memories(settings, "ada"),
        clear_memories(settings, None),
        delete_memories(settings, mine),
    ):
        with pytest.raises(DatabaseError) as refused:
            await attempt
        assert refused.value.code == "rows_of_others"
        assert f"1 row of other users in {table} (foreign key notes_memory_id_fkey)" in refused.value.message
    assert await admin.value(url, MEMORIES) == before
    assert await admin.value(url, f"SELECT count(*) FROM {table}") == 2 * len(mine)


async def test_a_reference_that_is_cleared_does_not_hinder(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    mine = await noted(admin, url, "SET NULL", owner="bob")
    cleared = await clear_memories(admin.settings(url), "ada")
    assert (cleared.deleted, cleared.cascaded) == (len(mine), {})
    assert await admin.value(url, "SELECT count(*) FROM ai.notes WHERE memory_id IS NULL") == 2 * len(mine)


async def test_a_chain_of_rows_that_reference_one_another(written_by: Make, admin: Administration) -> None:
    """Rows of one table, several steps deep, in partitions, by two columns: each counted once."""
    url = written_by("3.1")
    mine = await ids(admin.settings(url))
    await admin.do(
        url,
        "ALTER TABLE ai.user_memories ADD UNIQUE (memory_id, user_id)",
        "CREATE TABLE ai.thread (part int, id int, parent_part int, parent int, memory_id varchar, user_id varchar,"
        " PRIMARY KEY (part, id), FOREIGN KEY (parent_part, parent) REFERENCES ai.thread ON DELETE CASCADE,"
        " FOREIGN KEY (memory_id, user_id) REFERENCES ai.user_memories (memory_id, user_id) ON DELETE CASCADE)"
        " PARTITION BY LIST (part)",
        "CREATE TABLE ai.thread_0 PARTITION OF ai.thread FOR VALUES IN (0)",
        "CREATE TABLE ai.thread_1 PARTITION OF ai.thread FOR VALUES IN (1)",
        f"INSERT INTO ai.thread VALUES (0, 0, NULL, NULL, '{mine[0]}', 'ada')",
        "INSERT INTO ai.thread SELECT n % 2, n, (n - 1) % 2, n - 1, NULL, NULL FROM generate_series(1, 9) n",
        f"INSERT INTO ai.thread VALUES (1, 11, 0, 8, '{mine[0]}', 'ada')",
    )
    done = await clear_memories(admin.settings(url), "ada")
    assert done.cascaded == {"thread": 11}
    assert await admin.value(url, "SELECT count(*) FROM ai.thread") == 0


async def test_rows_that_cannot_be_counted_are_not_deleted(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await noted(admin, url, "CASCADE")
    await admin.do(
        url,
        *new_role("counting"),
        "GRANT ALL ON SCHEMA ai TO counting",
        "GRANT ALL ON ALL TABLES IN SCHEMA ai TO counting",
        "REVOKE ALL ON ai.notes FROM counting",
    )
    settings = admin.settings(as_role(url, "counting"))
    with pytest.raises(DatabaseError, match="may not read them") as refused:
        await clear_memories(settings, "ada")
    assert refused.value.hint.startswith('GRANT SELECT ON "ai"."notes"')
    await admin.do(url, "GRANT SELECT ON ai.notes TO counting", "ALTER TABLE ai.notes ENABLE ROW LEVEL SECURITY")
    with pytest.raises(DatabaseError, match="row security") as hidden:
        await clear_memories(settings, "ada")
    assert hidden.value.code == "row_security"


async def test_as_commands(junkie: Junkie, written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    mine = await noted(admin, url, "CASCADE")
    junkie._extra["POSTGRES_URL"] = url.libpq()
    count = 2 * len(mine)

    def document(*arguments: str, shape: str) -> Any:
        found = junkie.run(*arguments, "--json").ok().json()
        validate(found, shape)
        return found

    expected = {"notes": count, "public.tags": count}
    assert document("memories", "clear", "-u", "ada", "--dry-run", shape="memories.clear")["cascaded"] == expected
    assert document("memories", "delete", *mine, "--dry-run", shape="memories.delete")["cascaded"] == expected
    sentence = f"rows of notes that foreign keys delete with them, and undo cannot restore: {count}"
    assert sentence in junkie.run("memories", "clear", "-u", "ada", "--dry-run").ok().stderr
    asked = junkie.run("memories", "clear", "-u", "ada", "--yes").ok()
    assert sentence in asked.stderr
    undone = junkie.run("memories", "undo", "--json").ok()
    validate(undone.json(), "memories.undo")
    assert undone.json()["lost"] == expected
    assert f"rows of notes that foreign keys deleted with these memories cannot be restored: {count}" in undone.stderr
    await admin.do(url, f"INSERT INTO ai.notes (author_id, memory_id) VALUES ('bob', '{mine[0]}')")
    refused = junkie.run("memories", "clear", "-u", "ada", "--yes", "--json")
    assert refused.exit_code == ExitCode.DATABASE
    assert refused.json()["error"]["code"] == "rows_of_others"


async def test_a_row_that_is_being_added_is_waited_for(written_by: Make, admin: Administration) -> None:
    """Not committed when the counting begins, it would go with the memory uncounted."""
    url = written_by("3.1")
    mine = await noted(admin, url, "CASCADE")
    async with admin.connection(url) as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("INSERT INTO ai.notes (author_id, memory_id) VALUES ('bob', $1)", mine[0])
        clearing = asyncio.create_task(clear_memories(admin.settings(url), "ada"))
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        while not clearing.done() and not await admin.value(url, waits):
            await asyncio.sleep(0.01)
        await transaction.commit()
    with pytest.raises(DatabaseError) as refused:
        await clearing
    assert refused.value.code == "rows_of_others"
    assert await admin.value(url, "SELECT count(*) FROM ai.notes WHERE author_id = 'bob'") == 1


# --- erasing ----------------------------------------------------------------------------------------------------------

ADAS = "SELECT count(*) FROM ai.user_memories WHERE user_id = 'ada'"


async def projects(admin: Administration, url: DatabaseUrl, schema: str, action: str) -> None:
    """Two projects of bob and one of ada, each with a task of each of the two and one of nobody."""
    await admin.do(
        url,
        f"CREATE SCHEMA IF NOT EXISTS {schema}",
        f"CREATE TABLE {schema}.projects (project int PRIMARY KEY, user_id text)",
        f"CREATE TABLE {schema}.a_tasks (project int REFERENCES {schema}.projects ON DELETE {action}, user_id text)",
        f"INSERT INTO {schema}.projects VALUES (1, 'bob'), (2, 'bob'), (3, 'ada')",
        f"INSERT INTO {schema}.a_tasks SELECT p, u FROM generate_series(1, 3) p, unnest(ARRAY['bob', 'ada', NULL]) u",
    )


@pytest.mark.parametrize(("schema", "whole"), [("ai", False), ("ai", True), ("work", True)])
async def test_erasing_stops_before_rows_of_others_go(
    written_by: Make, admin: Administration, schema: str, whole: bool
) -> None:
    url = written_by("3.1")
    settings = admin.settings(url)
    await projects(admin, url, schema, "CASCADE")
    for dry_run in (True, False):
        with pytest.raises(DatabaseError) as refused:
            await erase_user(settings, "bob", whole_database=whole, dry_run=dry_run)
        assert refused.value.code == "rows_of_others"
        named = f"2 rows of other users in {schema}.a_tasks (foreign key a_tasks_project_fkey)"
        assert named in refused.value.message
        assert f"give the row of {schema}.projects" in refused.value.hint
    assert await admin.value(url, f"SELECT count(*) FROM {schema}.a_tasks") == 9
    assert await admin.value(url, "SELECT count(*) FROM ai.user_memories WHERE user_id = 'bob'") > 0
    # The way out, as the hint names it.
    await admin.do(
        url,
        f"UPDATE {schema}.projects SET user_id = 'ada' WHERE project = 1",
        f"UPDATE {schema}.a_tasks SET project = 3 WHERE project = 2 AND user_id = 'ada'",
    )
    done = await erase_user(settings, "bob", whole_database=whole)
    counts = done.erased if schema == "ai" else done.elsewhere
    label = "" if schema == "ai" else "work."
    assert (counts[f"{label}projects"], counts[f"{label}a_tasks"]) == (1, 4)
    assert await admin.value(url, f"SELECT count(*) FROM {schema}.a_tasks WHERE user_id = 'ada'") == 3


async def test_outside_the_schema_a_cascade_is_no_matter_unless_rows_there_go(
    written_by: Make, admin: Administration
) -> None:
    url = written_by("3.1")
    await projects(admin, url, "work", "CASCADE")
    done = await erase_user(admin.settings(url), "bob")
    assert done.elsewhere == {"work.projects": 2, "work.a_tasks": 3}
    assert await admin.value(url, "SELECT count(*) FROM work.a_tasks") == 9


async def test_own_rows_go_in_the_order_that_references_want(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await admin.do(
        url,
        "CREATE TABLE ai.a_first (id int PRIMARY KEY, user_id text)",
        "CREATE TABLE ai.z_second (id int REFERENCES ai.a_first ON DELETE RESTRICT, user_id text)",
        "INSERT INTO ai.a_first VALUES (1, 'ada'), (2, 'bob')",
        "INSERT INTO ai.z_second VALUES (1, 'ada'), (2, 'bob')",
    )
    done = await erase_user(admin.settings(url), "ada")
    assert (done.erased["a_first"], done.erased["z_second"], done.remaining) == (1, 1, 0)
    await admin.do(url, "INSERT INTO ai.z_second VALUES (2, 'eve')")
    with pytest.raises(DatabaseError, match=r"1 row of ai\.z_second \(foreign key z_second_id_fkey\)"):
        await erase_user(admin.settings(url), "bob")
    assert await admin.value(url, "SELECT count(*) FROM ai.a_first") == 1


async def test_references_that_are_cleared_are_reported(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await projects(admin, url, "ai", "SET NULL")
    done = await erase_user(admin.settings(url), "bob")
    assert done.references_cleared == {"a_tasks": 4}
    assert await admin.value(url, "SELECT count(*) FROM ai.a_tasks WHERE project IS NULL") == 4


async def test_what_a_trigger_deletes_of_others_stops_an_erasure(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await projects(admin, url, "ai", "CASCADE")
    await admin.do(
        url,
        "ALTER TABLE ai.a_tasks DROP CONSTRAINT a_tasks_project_fkey",
        "CREATE FUNCTION ai.tidy() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN DELETE FROM ai.a_tasks WHERE project = OLD.project; RETURN NULL; END $$",
        "CREATE TRIGGER tidy AFTER DELETE ON ai.projects FOR EACH ROW EXECUTE FUNCTION ai.tidy()",
    )
    with pytest.raises(DatabaseError, match=r"of ai\.a_tasks would be deleted that were not counted") as refused:
        await erase_user(admin.settings(url), "bob")
    assert refused.value.code == "rows_not_counted"
    assert await admin.value(url, "SELECT count(*) FROM ai.a_tasks") == 9
    await admin.do(url, "DROP TRIGGER tidy ON ai.projects")
    assert (await erase_user(admin.settings(url), "bob")).erased["a_tasks"] == 3


# --- deleting a session -----------------------------------------------------------------------------------------------


async def test_a_session_is_deleted_with_what_references_it_and_everybody_is_named(
    written_by: Make, admin: Administration
) -> None:
    url = written_by("3.1")
    settings = admin.settings(url)
    await admin.do(
        url,
        "CREATE TABLE public.votes (run_id varchar REFERENCES ai.agent_sessions_runs ON DELETE CASCADE, user_id text)",
        "INSERT INTO public.votes SELECT run_id, 'eve' FROM ai.agent_sessions_runs",
    )
    dry = await sessions.delete_session(settings, "channel-7", dry_run=True)
    runs = dry.deleted["agent_sessions_runs"]
    assert dry.deleted == {"agent_sessions": 1, "agent_sessions_runs": runs, "public.votes": runs}
    assert {"ada", "bob", "eve"} <= set(dry.users)
    done = await sessions.delete_session(settings, "channel-7")
    assert (done.deleted, done.users, done.remaining) == (dry.deleted, dry.users, 0)
    await admin.do(
        url,
        "ALTER TABLE public.votes DROP CONSTRAINT votes_run_id_fkey",
        "ALTER TABLE public.votes ADD CONSTRAINT kept FOREIGN KEY (run_id) REFERENCES ai.agent_sessions_runs",
    )
    with pytest.raises(DatabaseError, match=r"of public\.votes \(foreign key kept\)"):
        await sessions.delete_session(settings, "c1")
    assert await admin.value(url, "SELECT count(*) FROM ai.agent_sessions WHERE session_id = 'c1'") == 1
