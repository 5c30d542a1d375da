"""Tables under other names: agno's own, those of an application, both at once, a view, and columns with other names."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from junkie_cli.core import reporting, sessions, stats
from junkie_cli.core.chat import Conversation
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.memories.edits import add_memory, clear_memories
from junkie_cli.core.memories.export import export_memories
from junkie_cli.core.memories.history import list_history, record_others, undo
from junkie_cli.core.memories.listing import MemoryFilter, list_memories
from junkie_cli.core.memories.search import search_memories
from junkie_cli.core.restore import person, person_write
from junkie_cli.core.settings import Settings
from junkie_cli.core.users.erase import erase_user
from junkie_cli.core.users.export import export_user
from junkie_cli.core.users.listing import list_users
from tests.support.backups import back_up, database_of, settings_for, sql
from tests.support.doctor import Doctor, assert_result
from tests.support.generations import Administration, Make

OWN = {"JUNKIE_MEMORY_TABLE": "facts", "JUNKIE_SESSION_TABLE": "talks", "JUNKIE_RUNS_TABLE": "turns of talks"}
RENAME = (
    "ALTER TABLE ai.user_memories RENAME TO facts",
    "ALTER TABLE ai.agent_sessions RENAME TO talks",
    'ALTER TABLE ai.agent_sessions_runs RENAME TO "turns of talks"',
)


@pytest.fixture
def reports() -> Iterator[list[str]]:
    """What the core reports while this test runs."""
    sentences: list[str] = []
    reporting.set_reporter(sentences.append)
    yield sentences
    reporting.set_reporter(None)


async def listed(settings: Settings, user_id: str = "ada") -> set[str]:
    return {memory.memory for memory in (await list_memories(settings, MemoryFilter(user_id))).memories}


TEA, CELLO = "Ada is called Ada and prefers tea", "Ada plays the cello"


async def test_agnos_own_names_are_used_and_reported_once(
    written_by: Make, admin: Administration, reports: list[str]
) -> None:
    settings = admin.settings(written_by("os-3.1"))
    assert await listed(settings) == {TEA, CELLO}
    assert len((await list_users(settings)).users) == 4
    assert reports == [
        "schema ai has agno's default table names, and these are used: agno_memories, agno_sessions, agno_runs"
    ]


async def test_names_that_were_configured(written_by: Make, admin: Administration, reports: list[str]) -> None:
    url = written_by("3.1")
    await admin.do(url, *RENAME)
    settings = admin.settings(url, **OWN)
    assert await listed(settings) == {TEA, CELLO}
    found = await stats.collect_stats(settings)
    assert (found.memories, found.sessions, found.runs) == (4, 4, 7)
    cleared = await clear_memories(settings, "ada")
    assert (cleared.deleted, (await undo(settings)).undone) == (2, 2)
    assert (await sessions.delete_session(settings, "c2")).deleted == {"turns of talks": 1, "talks": 1}
    assert (await erase_user(settings, "ada", dry_run=True)).erased["facts"] == 2
    assert not reports


async def test_both_at_once_are_distinguished(written_by: Make, admin: Administration, reports: list[str]) -> None:
    url = written_by("3.1")
    await admin.do(url, "CREATE TABLE ai.agno_memories (LIKE ai.user_memories)")
    assert await listed(admin.settings(url)) == {TEA, CELLO}
    [sentence] = reports
    assert "agno_memories, which are not read; user_memories, agent_sessions, agent_sessions_runs are" in sentence
    assert "JUNKIE_MEMORY_TABLE" in sentence
    assert await listed(admin.settings(url, JUNKIE_MEMORY_TABLE="agno_memories")) == set()


async def test_a_configured_table_that_is_not_there_is_named(
    written_by: Make, admin: Administration, reports: list[str]
) -> None:
    page = await list_memories(admin.settings(written_by("3.1"), JUNKIE_MEMORY_TABLE="memoires"), MemoryFilter())
    assert (page.memories, page.table_missing) == ((), "memoires")
    assert reports == ["schema ai has no table memoires (JUNKIE_MEMORY_TABLE); it has user_memories"]


@pytest.mark.parametrize("generation", ["os-3.1", "own"])
async def test_chat_remembers_in_the_same_tables(written_by: Make, admin: Administration, generation: str) -> None:
    url = written_by("3.1" if generation == "own" else generation)
    if generation == "own":
        await admin.do(url, *RENAME)
    settings = admin.settings(url, **(OWN if generation == "own" else {}))
    conversation = await Conversation.open(settings, "eve", offline=True)
    try:
        assert [event async for event in conversation.send("My name is Eve.")]
        session_id = conversation.session_id
    finally:
        await conversation.close()
    assert await listed(settings, "eve")
    assert [run.user_id for run in (await sessions.get_runs(settings, session_id)).runs] == ["eve"]
    tables = sql(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'ai'").split("\n")
    assert not {"user_memories", "agent_sessions", "agent_sessions_runs"} & set(tables)


async def test_a_first_memory_makes_the_table_that_was_named(database: DatabaseUrl, admin: Administration) -> None:
    name = 'mem "o\'ries" @table'
    settings = admin.settings(database, JUNKIE_MEMORY_TABLE=name)
    await add_memory(settings, "ada", TEA)
    assert await listed(settings) == {TEA}
    assert await admin.value(database, "SELECT table_name FROM ai.agno_schema_versions") == name
    await record_others(settings, on=True)
    await admin.do(database, "UPDATE ai.{} SET memory = '\"x\"'".format('"' + name.replace('"', '""') + '"'))
    changes = (await list_history(settings)).changes
    assert [(change.by, change.action) for change in changes] == [("other", "updated"), ("junkie", "added")]


async def test_history_of_others_is_kept_for_agnos_names(written_by: Make, admin: Administration) -> None:
    url = written_by("os-3.1")
    settings = admin.settings(url)
    assert await record_others(settings, on=True) is False
    await admin.do(url, "DELETE FROM ai.agno_memories WHERE user_id = 'ada'")
    assert (await undo(settings, (await list_history(settings)).changes[0].batch)).undone == 2
    assert await listed(settings) == {TEA, CELLO}


# --- backups ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", ["3.1", "os-3.1"])
async def test_one_person_returns_under_the_names_that_the_target_has(
    written_by: Make, tmp_path: Path, there: str
) -> None:
    made = await back_up(written_by("os-3.1"), tmp_path / "backups")
    assert made.manifest.origin.names["memories"] == "agno_memories"
    target = written_by(there)
    settings = settings_for(target, tmp_path / "backups")
    await erase_user(settings, "ada")
    planned = await person.plan(
        made.path,
        "ada",
        database_of(target),
        settings,
        replace_data=False,
        even_erased=True,
        verify_into=target.with_database("postgres"),
    )
    memory = "agno_memories" if there == "os-3.1" else "user_memories"
    assert {item.table for item in planned.items} >= {memory}
    done = await person_write.carry_out(planned, database_of(target), settings, even_erased=True)
    assert (memory, 2, 0, 0) in done.counts
    assert await listed(settings) == {TEA, CELLO}


# --- what is no table of agno's ---------------------------------------------------------------------------------------

VIEW = (
    "CREATE SCHEMA behind",
    "ALTER TABLE ai.user_memories SET SCHEMA behind",
    "CREATE VIEW ai.user_memories AS SELECT * FROM behind.user_memories",
)
VIEW_OF_THE_SCHEMA = (
    "ALTER TABLE ai.user_memories RENAME TO stored",
    "CREATE VIEW ai.user_memories AS SELECT * FROM ai.stored",
)
OTHER_COLUMNS = (
    "ALTER TABLE ai.user_memories RENAME user_id TO person",
    "ALTER TABLE ai.user_memories RENAME memory TO fact",
)


async def test_a_view_is_read_and_never_written_to(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await admin.do(url, *VIEW)
    settings = admin.settings(url)
    assert await listed(settings) == {TEA, CELLO}
    assert (await stats.collect_stats(settings)).memories == 4
    assert (await search_memories(settings, "tea")).memories
    before = sql(url, "SELECT md5(string_agg(m::text, '|' ORDER BY m::text)) FROM behind.user_memories m")
    refused = [
        add_memory(settings, "ada", "x"),
        clear_memories(settings, "ada"),
        erase_user(settings, "ada"),
        Conversation.open(settings, "ada", offline=True),
    ]
    for attempt in refused:
        with pytest.raises(DatabaseError) as caught:
            await attempt
        assert caught.value.code == "table_is_view"
        assert "ai.user_memories is a view" in caught.value.message
    assert sql(url, "SELECT md5(string_agg(m::text, '|' ORDER BY m::text)) FROM behind.user_memories m") == before


async def test_a_person_is_exported_through_a_view(written_by: Make, admin: Administration) -> None:
    """Whether the table behind it is in the schema or not; and whoever reads the export learns that it is a view."""
    for statements in (VIEW, VIEW_OF_THE_SCHEMA):
        url = written_by("3.1")
        await admin.do(url, *statements)
        done = await export_user(admin.settings(url), "ada", admin.folder / "ada.jsonl")
        lines = [json.loads(line) for line in (admin.folder / "ada.jsonl").read_text("utf-8").splitlines()]
        assert {line["row"]["memory"] for line in lines if line["table"] == "user_memories"} == {TEA, CELLO}
        assert done.lines["user_memories"] == 2
        assert [warning.code for warning in done.warnings] == ["table_is_view"]
        assert "ai.user_memories" in done.warnings[0].message
    url = written_by("3.1")
    assert not (await export_user(admin.settings(url), "ada", admin.folder / "table.jsonl")).warnings


async def test_renamed_columns_are_named_by_every_command(
    written_by: Make, admin: Administration, tmp_path: Path
) -> None:
    url = written_by("3.1")
    await admin.do(url, *OTHER_COLUMNS)
    settings = admin.settings(url)
    for attempt in (
        list_memories(settings, MemoryFilter()),
        search_memories(settings, "tea"),
        add_memory(settings, "ada", "x"),
        clear_memories(settings, "ada"),
        export_memories(settings, path=tmp_path / "x.jsonl"),
        list_users(settings),
        export_user(settings, "ada", tmp_path / "y.jsonl"),
        erase_user(settings, "ada"),
        stats.collect_stats(settings),
    ):
        with pytest.raises(DatabaseError) as caught:
            print("not refused", await attempt)
        assert caught.value.code == "table_columns"
        assert "table ai.user_memories has no column memory, user_id; it has memory_id, fact" in caught.value.message


def test_doctor_names_a_view_and_other_columns(written_by: Make, tmp_path: Path) -> None:
    doctor = Doctor(tmp_path)
    for statements, status, words in (
        (VIEW, "warning", ("user_memories is a view", "JUNKIE_MEMORY_TABLE")),
        (OTHER_COLUMNS, "failed", ("user_memories lacks memory, user_id",)),
    ):
        url = written_by("3.1")
        sql(url, ";".join(statements))
        assert_result(doctor.use(url).one("schema.tables"), status, *words)


def test_doctor_checks_and_writes_under_agnos_names(written_by: Make, tmp_path: Path) -> None:
    doctor = Doctor(tmp_path).use(written_by("os-3.1"))
    doctor.fix("schema.junkie")
    assert_result(doctor.one("schema.tables"), "ok", "agno_memories, agno_sessions, agno_runs in schema ai")
    assert_result(doctor.one("memory.roundtrip", deep=True), "ok", "erased completely")
