"""Migrations of our own tables: from every earlier shape, several processes at once, and with rights missing."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from junkie_cli.core import reporting, sessions
from junkie_cli.core.database_url import DatabaseUrl, Host
from junkie_cli.core.embedded.cluster import USER
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.memories import change_log
from junkie_cli.core.memories.change_log import MemoryChange
from junkie_cli.core.memories.edits import (
    add_memory,
    clear_memories,
    delete_memories,
    edit_memory,
)
from junkie_cli.core.memories.history import record_others, undo
from junkie_cli.core.memories.listing import MemoryFilter, list_memories
from junkie_cli.core.schema import migrations, own_tables, registry
from junkie_cli.core.schema import tables as schema
from junkie_cli.core.schema.registry import Feature
from junkie_cli.core.table_layout import Layout
from junkie_cli.core.users.erase import erase_user
from tests.support.documents import ROOT
from tests.support.generations import FOLDER, Administration, Make, as_role, reader
from tests.support.postgres import execute, scratch_server
from tests.support.standby import PRIMARY_HBA, PRIMARY_SETTINGS, Standby

# What junkie made before migrations were numbered; the last two tables were made by the features that use them.
_FIRST = """
CREATE TABLE ai.junkie_versions (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE ai.junkie_pending (
  pending_id uuid PRIMARY KEY, user_id text NOT NULL, session_id text, run_id text, message text NOT NULL,
  context text NOT NULL DEFAULT '', team_id text, attempts integer NOT NULL DEFAULT 0, last_error text,
  created_at timestamptz NOT NULL DEFAULT now(), next_try timestamptz NOT NULL DEFAULT now(),
  set_aside boolean NOT NULL DEFAULT false);
CREATE INDEX junkie_pending_user ON ai.junkie_pending (user_id);
CREATE TABLE ai.junkie_history (
  change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, batch uuid NOT NULL,
  at timestamptz NOT NULL DEFAULT now(), by text NOT NULL, action text NOT NULL, memory_id text NOT NULL,
  user_id text, before json, after json, undo_of uuid);
CREATE INDEX junkie_history_batch ON ai.junkie_history (batch);
CREATE INDEX junkie_history_memory ON ai.junkie_history (memory_id);
CREATE INDEX junkie_history_user ON ai.junkie_history (user_id, change_id DESC);
CREATE INDEX junkie_history_at ON ai.junkie_history (at);
CREATE TABLE ai.junkie_tombstones (user_hash text PRIMARY KEY, erased_at timestamptz NOT NULL);
CREATE TABLE ai.junkie_erasures (
  erasure_id uuid PRIMARY KEY, user_hash text NOT NULL, erased_at timestamptz NOT NULL, counts json NOT NULL);
INSERT INTO ai.junkie_versions VALUES ('schema', '1'), ('salt', 'pepper');
"""
_LEARNED = """
CREATE TABLE ai.junkie_learned (
  line_id uuid PRIMARY KEY, user_id text NOT NULL, learned_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX junkie_learned_user ON ai.junkie_learned (user_id);
INSERT INTO ai.junkie_learned (line_id, user_id) VALUES (gen_random_uuid(), 'ada');
"""
_CASCADES = """
CREATE TABLE ai.junkie_cascades (
  batch uuid NOT NULL, table_name text NOT NULL, rows bigint NOT NULL, at timestamptz NOT NULL DEFAULT now());
CREATE INDEX junkie_cascades_batch ON ai.junkie_cascades (batch);
"""
UNNUMBERED = {
    "none": "",
    "first": _FIRST,
    "with learned lines": _FIRST + _LEARNED,
    "with cascades": _FIRST + _CASCADES,
    "with both": _FIRST + _LEARNED + _CASCADES,
    "without its number": _FIRST + "DELETE FROM ai.junkie_versions WHERE name = 'schema'",
    "with a table dropped": _FIRST + "DROP TABLE ai.junkie_erasures",
    "with no number in it": _FIRST + "UPDATE ai.junkie_versions SET value = 'x' WHERE name = 'schema'",
}

BATCH = "11111111-1111-1111-1111-111111111111"
DELETED = f"""
WITH gone AS (DELETE FROM ai.user_memories WHERE user_id = 'ada' RETURNING *)
INSERT INTO ai.junkie_history (batch, by, action, memory_id, user_id, before)
SELECT '{BATCH}', 'junkie', 'deleted', memory_id, user_id, row_to_json(gone) FROM gone
"""

SHAPE = """
SELECT jsonb_agg(t ORDER BY t.name) FROM (
  SELECT c.relname AS name,
    (SELECT jsonb_agg(jsonb_build_array(attname, format_type(atttypid, atttypmod), attnotnull) ORDER BY attnum)
       FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped) AS columns,
    (SELECT jsonb_agg(pg_get_indexdef(indexrelid) ORDER BY indexrelid::regclass::text)
       FROM pg_index WHERE indrelid = c.oid) AS indexes
  FROM pg_class c WHERE relnamespace = 'ai'::regnamespace AND relkind = 'r' AND relname LIKE 'junkie%') t
"""
NUMBERS = "SELECT jsonb_object_agg(name, value)::text FROM ai.junkie_versions WHERE name IN ('version', 'schema')"
CURRENT = f'{{"schema": "1", "version": "{migrations.LATEST}"}}'


async def prepare(admin: Administration, url: DatabaseUrl, schema_name: str = "ai") -> schema.SchemaState:
    async with admin.connection(url) as connection:
        return await own_tables.prepare(connection, Layout(schema_name))


async def up_to(admin: Administration, url: DatabaseUrl, number: int) -> None:
    """The tables as the junkie made them whose last migration is `number`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:number])
        patch.setattr(migrations, "LATEST", number)
        await prepare(admin, url)


def test_each_migration_has_its_file_and_its_number() -> None:
    numbers = [migration.number for migration in migrations.MIGRATIONS]
    assert numbers == list(range(1, migrations.LATEST + 1))
    folder = ROOT / "junkie_cli/core/schema/migrations"
    assert sorted(path.name for path in folder.glob("*.sql")) == [
        f"{migration.number:04}_{migration.name}.sql" for migration in migrations.MIGRATIONS
    ]
    assert all(migration.oldest_writer <= migration.number for migration in migrations.MIGRATIONS)


async def test_a_migration_can_be_run_again(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await prepare(admin, url)
    fresh = await admin.value(url, SHAPE)
    for migration in migrations.MIGRATIONS:
        await admin.do(url, migration.sql.replace("@schema", "ai"))
        assert await admin.value(url, SHAPE) == fresh


@pytest.mark.parametrize("shape", UNNUMBERED)
async def test_every_shape_from_before_the_numbers_is_brought_up(
    written_by: Make, admin: Administration, shape: str
) -> None:
    fresh, old = written_by("3.1"), written_by("3.1")
    await prepare(admin, fresh)
    await admin.do(old, UNNUMBERED[shape] or "SELECT 1")
    settings = admin.settings(old)
    if shape != "none":
        await admin.do(old, DELETED)
    state = await prepare(admin, old)
    assert all(state.keeps(feature) for feature in Feature)
    assert await admin.value(old, SHAPE) == await admin.value(fresh, SHAPE)
    assert await admin.value(old, NUMBERS) == await admin.value(fresh, NUMBERS) == CURRENT
    if shape != "none":
        assert await admin.value(old, "SELECT value FROM ai.junkie_versions WHERE name = 'salt'") == "pepper"
        assert (await undo(settings, BATCH)).restored == 2
        assert len((await list_memories(settings, MemoryFilter("ada"))).memories) == 2


@pytest.mark.parametrize("number", range(1, migrations.LATEST + 1))
async def test_every_version_is_brought_up(written_by: Make, admin: Administration, number: int) -> None:
    fresh, old = written_by("3.1"), written_by("3.1")
    await prepare(admin, fresh)
    await up_to(admin, old, number)
    assert f'"version": "{number}"' in await admin.value(old, NUMBERS)
    await admin.do(old, DELETED)
    await prepare(admin, old)
    assert await admin.value(old, SHAPE) == await admin.value(fresh, SHAPE)
    assert await admin.value(old, NUMBERS) == CURRENT
    assert (await undo(admin.settings(old), BATCH)).restored == 2


@pytest.mark.parametrize("shape", ["none", "first", "with both"])
async def test_many_processes_migrate_at_once(written_by: Make, admin: Administration, shape: str) -> None:
    fresh, old = written_by("3.1"), written_by("3.1")
    await prepare(admin, fresh)
    await admin.do(old, UNNUMBERED[shape] or "SELECT 1")

    async def one() -> bool:
        async with admin.connection(old) as connection:
            return await own_tables.ensure_own_tables(connection, Layout("ai"))

    assert await asyncio.gather(*(one() for _ in range(8))) == [True] * 8
    assert await admin.value(old, SHAPE) == await admin.value(fresh, SHAPE)
    assert await admin.value(old, "SELECT count(*) FROM ai.junkie_versions") == 3


async def test_a_migration_that_fails_leaves_everything_as_it_was(
    written_by: Make, admin: Administration, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = written_by("3.1")
    await prepare(admin, url)
    shape = await admin.value(url, SHAPE)
    with_a_newer_junkie(monkeypatch, "CREATE TABLE @schema.junkie_new (a int); SELECT 1/0")
    with pytest.raises(Exception, match="division by zero"):
        await prepare(admin, url)
    assert await admin.value(url, SHAPE) == shape
    assert await admin.value(url, NUMBERS) == CURRENT


# --- rights -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def reports() -> Iterator[list[str]]:
    found: list[str] = []
    reporting.set_reporter(found.append)
    yield found
    reporting.set_reporter(None)


def writer(role: str) -> tuple[str, ...]:
    """A role that may change every row, and create nothing."""
    return (
        *reader(role),
        f"GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ai TO {role}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA ai TO {role}",
    )


async def test_without_the_right_to_create_old_tables_are_used_as_they_are(
    written_by: Make, admin: Administration, reports: list[str]
) -> None:
    url = written_by("3.1")
    await admin.do(url, _FIRST, *writer("plain_writer"))
    settings = admin.settings(as_role(url, "plain_writer"))
    done = await add_memory(settings, "eve", "x")
    assert done.undo is not None
    assert (await undo(settings, done.undo)).removed == 1
    await erase_user(settings, "bob")
    (report,) = reports
    assert "junkie_learned" in report and "memories learn" in report
    assert "history and undo" not in report
    assert await admin.value(url, "SELECT count(*) FROM ai.junkie_versions") == 2


@pytest.mark.parametrize("table", registry.own_tables())
async def test_a_missing_table_switches_off_its_feature_alone(
    written_by: Make, admin: Administration, reports: list[str], table: str
) -> None:
    url = written_by("3.1")
    await prepare(admin, url)
    await admin.do(url, f"DROP TABLE ai.{table}", *writer("plain_writer"))
    state = await prepare(admin, as_role(url, "plain_writer"))
    off = registry.entry_of(table).feature
    assert [feature for feature in Feature if not state.keeps(feature)] == [off]
    assert off is not None
    assert any(table in report and off.value in report for report in reports)
    settings = admin.settings(as_role(url, "plain_writer"))
    done = await add_memory(settings, "eve", "x")
    assert (done.undo is None) is (off is Feature.HISTORY)
    assert (await clear_memories(settings, "ada")).deleted == 2
    await erase_user(settings, "bob")


async def test_a_table_that_was_dropped_is_made_again(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await prepare(admin, url)
    shape = await admin.value(url, SHAPE)
    for table in registry.own_tables():
        await admin.do(url, f"DROP TABLE ai.{table}")
        await prepare(admin, url)
        assert await admin.value(url, SHAPE) == shape


async def test_tables_of_another_owner_are_used_as_they_are(written_by: Make, admin: Administration) -> None:
    """Whoever may create, and does not own the tables, changes nothing of them, and goes on."""
    url = written_by("3.1")
    await admin.do(url, _FIRST, *writer("creating"), "GRANT CREATE ON SCHEMA ai TO creating")
    await admin.do(url, "DELETE FROM ai.junkie_versions WHERE name = 'schema'")  # the first migration is due
    settings = admin.settings(as_role(url, "creating"))
    assert (await add_memory(settings, "eve", "x")).undo
    await admin.do(url, "REVOKE ALL ON ai.junkie_versions FROM creating")
    assert (await add_memory(settings, "eve", "y")).undo


async def test_numbers_hidden_by_row_security_are_not_taken_for_none(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await prepare(admin, url)
    await admin.do(url, *writer("filtered_writer"), "GRANT CREATE ON SCHEMA ai TO filtered_writer")
    await admin.do(url, "ALTER TABLE ai.junkie_versions ENABLE ROW LEVEL SECURITY")
    with pytest.raises(DatabaseError, match="row security") as refused:
        await add_memory(admin.settings(as_role(url, "filtered_writer")), "eve", "x")
    assert refused.value.code == "row_security"
    assert await admin.value(url, NUMBERS) == CURRENT


async def test_a_standby_is_read_and_never_migrated(admin: Administration) -> None:
    with scratch_server(settings=PRIMARY_SETTINGS, hba=PRIMARY_HBA) as primary:
        execute(primary, (FOLDER / "agno-3.1.sql").read_text("utf-8"), "postgres")
        execute(primary, _FIRST, "postgres")
        with Standby(primary) as standby:
            settings = admin.settings(DatabaseUrl((Host("127.0.0.1", standby.port),), USER, None, "postgres"))
            assert (await list_memories(settings, MemoryFilter("ada"))).memories
            with pytest.raises(DatabaseError) as refused:
                await add_memory(settings, "eve", "x")
            assert refused.value.code == "database_readonly"


async def test_a_database_without_an_encoding_is_brought_up(
    postgres_server: ScratchServer, admin: Administration
) -> None:
    name = f"ascii_{uuid4().hex}"
    execute(postgres_server, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    try:
        execute(postgres_server, (FOLDER / "agno-3.1.sql").read_text("utf-8"), name)
        execute(postgres_server, _FIRST, name)
        state = await prepare(admin, postgres_server.url.with_database(name))
        assert all(state.keeps(feature) for feature in Feature)
    finally:
        execute(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


# --- an older junkie --------------------------------------------------------------------------------------------------


def with_a_newer_junkie(patch: pytest.MonkeyPatch, sql: str, *, oldest_writer: int = 1) -> None:
    """This process is the junkie of the next version, whose migration is `sql`."""
    number = migrations.LATEST + 1
    new: Any = SimpleNamespace(number=number, name="new", oldest_writer=oldest_writer, sql=sql)
    patch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, new))
    patch.setattr(migrations, "LATEST", number)


async def test_after_an_additive_change_an_older_junkie_reads_and_writes(
    written_by: Make, admin: Administration
) -> None:
    url = written_by("3.1")
    with pytest.MonkeyPatch.context() as patch:
        with_a_newer_junkie(patch, "CREATE TABLE @schema.junkie_new (a int)")
        await prepare(admin, url)
    numbers = await admin.value(url, NUMBERS)
    assert numbers == f'{{"schema": "1", "version": "{migrations.LATEST + 1}"}}'
    settings = admin.settings(url)
    done = await add_memory(settings, "eve", "x")
    await undo(settings, done.undo)
    await erase_user(settings, "ada")
    assert await admin.value(url, NUMBERS) == numbers


async def test_after_any_other_change_an_older_junkie_reads_and_refuses_to_write(
    written_by: Make, admin: Administration
) -> None:
    url = written_by("3.1")
    settings = admin.settings(url)
    done = await add_memory(settings, "eve", "x")
    (memory,) = done.memories
    with pytest.MonkeyPatch.context() as patch:
        newer = migrations.LATEST + 1
        with_a_newer_junkie(patch, "ALTER TABLE @schema.junkie_history RENAME at TO noted_at", oldest_writer=newer)
        await prepare(admin, url)
        await prepare(admin, url)
    whole = "SELECT string_agg(t::text, '|' ORDER BY t::text) FROM {} t"
    tables = ("ai.user_memories", "ai.agent_sessions", "ai.junkie_history", "ai.junkie_tombstones")
    before = [await admin.value(url, whole.format(table)) for table in tables]
    session_id = await admin.value(url, "SELECT min(session_id) FROM ai.agent_sessions")
    for change in (
        lambda: add_memory(settings, "eve", "y"),
        lambda: edit_memory(settings, memory.memory_id, "y"),
        lambda: delete_memories(settings, [memory.memory_id]),
        lambda: clear_memories(settings, "ada"),
        lambda: undo(settings),
        lambda: record_others(settings, on=True),
        lambda: erase_user(settings, "ada"),
        lambda: sessions.delete_session(settings, session_id),
    ):
        with pytest.raises(DatabaseError, match="newer junkie") as refused:
            await change()
        assert refused.value.code == "own_tables_newer"
    assert [await admin.value(url, whole.format(table)) for table in tables] == before
    assert len((await list_memories(settings, MemoryFilter("eve"))).memories) == 1


async def test_an_older_junkie_that_began_before_the_change_refuses_too(
    written_by: Make, admin: Administration
) -> None:
    """A chat that was opened yesterday: what it knows of the tables is old, and each of its writes asks again."""
    url = written_by("3.1")
    async with admin.connection(url) as connection:
        state = await own_tables.prepare(connection, Layout("ai"))
        with pytest.MonkeyPatch.context() as patch:
            with_a_newer_junkie(patch, "SELECT 1", oldest_writer=migrations.LATEST + 1)
            await prepare(admin, url)
        with pytest.raises(DatabaseError, match="newer junkie"):
            async with connection.transaction():
                change = MemoryChange("added", "m1", "eve", "x")
                await change_log.apply_changes(connection, state, [change], by="team")


async def test_a_change_that_is_not_additive_waits_for_writers(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    async with admin.connection(url) as connection, admin.connection(url) as watching:
        state = await own_tables.prepare(connection, Layout("ai"))
        transaction = connection.transaction()
        await transaction.start()
        await change_log.lock_user(connection, state, "eve")
        with pytest.MonkeyPatch.context() as patch:
            with_a_newer_junkie(patch, "SELECT 1", oldest_writer=migrations.LATEST + 1)
            migrating = asyncio.create_task(prepare(admin, url))
            async with asyncio.timeout(60):
                while not await watching.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                    await asyncio.sleep(0.01)
            assert not migrating.done()
            await change_log.apply_changes(connection, state, [MemoryChange("added", "m1", "eve", "x")], by="team")
            await transaction.commit()
            await migrating
    assert await admin.value(url, "SELECT count(*) FROM ai.user_memories WHERE memory_id = 'm1'") == 1


async def test_a_junkie_from_before_the_numbers_writes_beside_this_one(written_by: Make, admin: Administration) -> None:
    """It asks whether the row `schema` is above its version, which is 1, and writes rows of the first shape."""
    url = written_by("3.1")
    await prepare(admin, url)
    assert int(await admin.value(url, "SELECT value FROM ai.junkie_versions WHERE name = 'schema'")) <= 1
    await admin.do(url, DELETED)
    assert (await undo(admin.settings(url))).restored == 2
