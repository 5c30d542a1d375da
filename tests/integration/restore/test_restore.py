"""Restoring whole backups: nothing is touched that should not be, and what comes back can be used."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from junkie_cli.core.backup import catalogue
from junkie_cli.core.backup.verify import verify
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import BackupError
from junkie_cli.core.restore import whole
from junkie_cli.core.restore.whole import WholeResult
from junkie_cli.core.users.erase import erase_user
from tests.support.backups import GENERATIONS, back_up, database_of, dumps, fill, load, settings_for, sql
from tests.support.debian_postgres import DebianServer, debian_server
from tests.support.postgres import clone, execute

__all__ = ["debian_server"]


@pytest.fixture
def empty(postgres_server: ScratchServer) -> Iterator[DatabaseUrl]:
    """A second database with nothing in it."""
    with clone(postgres_server) as url:
        yield url


async def restore(path: Path, url: DatabaseUrl, folder: Path, *, replace_data: bool = False) -> WholeResult:
    database, used = database_of(url), settings_for(url, folder)
    planned = await whole.plan(path, database, used, replace_data=replace_data)
    return await whole.restore(planned, database, used)


def content(url: DatabaseUrl) -> dict[str, str]:
    """Everything in every schema of ours, as text."""
    tables = sql(
        url,
        "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables WHERE schemaname !~ '^pg_'"
        " AND schemaname <> 'information_schema' ORDER BY 1",
    )
    return {
        table: sql(url, f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {table} t")
        for table in tables.split("\n")
        if table
    }


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_a_backup_of_every_agno_comes_back_into_an_empty_database(
    database: DatabaseUrl, empty: DatabaseUrl, folder: Path, generation: str
) -> None:
    load(database, generation)
    made = await back_up(database, folder, verify=False)
    result = await restore(made.path, empty, folder)
    assert content(empty) == content(database)
    assert dict(result.tables) == {table.name: table.rows for table in made.manifest.tables}
    assert (result.aside, result.safety_backup, result.erased_again) == ("", None, 0)


async def test_data_is_never_restored_over_without_replace(database: DatabaseUrl, folder: Path) -> None:
    load(database)
    made = await back_up(database, folder, verify=False)
    before = content(database)
    with pytest.raises(BackupError) as refused:
        await restore(made.path, database, folder)
    assert refused.value.code == "restore_not_empty"
    assert content(database) == before


async def test_replace_keeps_what_was_there_as_a_backup_and_as_a_schema(database: DatabaseUrl, folder: Path) -> None:
    load(database)
    made = await back_up(database, folder, verify=False)
    at_backup = content(database)
    sql(database, "DELETE FROM ai.user_memories; CREATE TABLE ai.extra (a int); INSERT INTO ai.extra VALUES (1)")
    before = content(database)
    result = await restore(made.path, database, folder, replace_data=True)
    now = content(database)
    assert {name: value for name, value in now.items() if name.startswith("ai.")} == at_backup
    aside = {name.replace(f'"{result.aside}"', "ai"): value for name, value in now.items() if result.aside in name}
    assert aside == before
    assert result.safety_backup is not None
    kept = await catalogue.require_good(result.safety_backup)
    assert kept.status == "verified"
    assert kept.manifest is not None
    assert {table.name: table.rows for table in kept.manifest.tables}["extra"] == 1


async def test_after_replace_the_bot_still_reads_writes_and_counts_on(
    database: DatabaseUrl, folder: Path, postgres_server: ScratchServer
) -> None:
    """Owners, grants (columns too), default privileges and sequences are those of the schema that was replaced."""
    load(database)
    execute(
        postgres_server, "DROP ROLE IF EXISTS the_bot, a_reader; CREATE ROLE the_bot LOGIN; CREATE ROLE a_reader LOGIN"
    )
    sql(
        database,
        """CREATE TABLE ai.counted (id serial PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY);
        INSERT INTO ai.counted DEFAULT VALUES; INSERT INTO ai.counted DEFAULT VALUES;
        CREATE FUNCTION ai.secret() RETURNS int LANGUAGE sql AS 'SELECT 1';
        REVOKE ALL ON FUNCTION ai.secret() FROM PUBLIC; GRANT EXECUTE ON FUNCTION ai.secret() TO the_bot;""",
    )
    made = await back_up(database, folder, verify=False)
    sql(
        database,
        """GRANT USAGE ON SCHEMA ai TO the_bot, a_reader; GRANT CREATE ON SCHEMA ai TO the_bot;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ai TO the_bot;
        GRANT USAGE ON ALL SEQUENCES IN SCHEMA ai TO the_bot;
        GRANT SELECT (user_id) ON ai.user_memories TO a_reader WITH GRANT OPTION;
        ALTER TABLE ai.agent_sessions OWNER TO the_bot;
        ALTER DEFAULT PRIVILEGES IN SCHEMA ai GRANT SELECT ON TABLES TO a_reader;""",
    )
    result = await restore(made.path, database, folder, replace_data=True)
    assert result.warnings == ()
    bot, reader = replace(database, user="the_bot"), replace(database, user="a_reader")
    assert sql(bot, "SELECT count(*) > 0 FROM ai.user_memories") == "t"
    sql(bot, "UPDATE ai.agent_sessions SET updated_at = 1; ALTER TABLE ai.agent_sessions ADD COLUMN mine int")
    assert sql(bot, "INSERT INTO ai.counted DEFAULT VALUES RETURNING id, n") == "3|3"
    assert sql(bot, "SELECT ai.secret()") == "1"
    assert sql(reader, "SELECT count(user_id) > 0 FROM ai.user_memories") == "t"
    for forbidden in ("SELECT input FROM ai.user_memories", "SELECT ai.secret()"):
        with pytest.raises(AssertionError, match="permission denied"):
            sql(reader, forbidden)
    sql(database, "CREATE TABLE ai.later (a int)")
    assert sql(reader, "SELECT count(*) FROM ai.later") == "0"


async def test_owners_and_grants_of_the_backup_reach_another_server_as_far_as_the_roles_are_there(
    database: DatabaseUrl, empty: DatabaseUrl, folder: Path, postgres_server: ScratchServer
) -> None:
    load(database)
    execute(postgres_server, "DROP ROLE IF EXISTS here, gone; CREATE ROLE here LOGIN; CREATE ROLE gone")
    sql(
        database,
        "ALTER TABLE ai.user_memories OWNER TO here; GRANT USAGE ON SCHEMA ai TO here, gone;"
        " GRANT SELECT ON ai.agent_sessions TO here, gone",
    )
    made = await back_up(database, folder, verify=False)
    sql(database, "DROP OWNED BY gone")
    execute(postgres_server, "DROP ROLE gone")
    result = await restore(made.path, empty, folder)
    assert [warning for warning in result.warnings if "role gone does not exist" in warning] == list(result.warnings)
    as_here = replace(empty, user="here")
    assert sql(as_here, "SELECT count(*) > 0 FROM ai.agent_sessions") == "t"
    sql(as_here, "ALTER TABLE ai.user_memories ADD COLUMN mine int")


async def test_a_bot_at_work_loses_nothing_it_wrote_before_the_swap(database: DatabaseUrl, folder: Path) -> None:
    """Its last writes are in the schema that moved aside; from then on it writes to the restored one."""
    fill(database, 3000)
    made = await back_up(database, folder, verify=False)
    over = asyncio.Event()
    written: list[str] = []

    async def bot() -> None:
        from junkie_cli.core.postgres.connect import close_connection, open_connection

        connection = await open_connection(database)
        while not over.is_set():
            name = f"bot{len(written)}"
            await connection.execute(
                f"INSERT INTO ai.user_memories VALUES ('{name}', '1', NULL, NULL, NULL, NULL, 'bot', NULL, 1, 1)"
            )
            written.append(name)
            await asyncio.sleep(0)
        await close_connection(connection)

    task = asyncio.create_task(bot())
    result = await restore(made.path, database, folder, replace_data=True)
    over.set()
    await task
    query = "SELECT memory_id FROM {}.user_memories WHERE user_id = 'bot'"
    found = sql(database, query.format("ai") + " UNION ALL " + query.format(f'"{result.aside}"')).split()
    assert sorted(found) == sorted(written)


async def test_an_older_agno_does_not_take_a_newer_ones_place(
    database: DatabaseUrl, empty: DatabaseUrl, folder: Path
) -> None:
    load(database, "agno-2.3")
    load(empty, "agno-3.1")
    made = await back_up(database, folder, verify=False)
    before = content(empty)
    with pytest.raises(BackupError, match=r"tables of agno 2\.3") as refused:
        await restore(made.path, empty, folder, replace_data=True)
    assert refused.value.code == "restore_generation"
    assert content(empty) == before


async def test_a_whole_database_comes_back_whole_into_an_empty_one_and_by_its_schema_elsewhere(
    database: DatabaseUrl, empty: DatabaseUrl, folder: Path
) -> None:
    load(database)
    sql(database, "CREATE TABLE public.messages (a int); INSERT INTO messages VALUES (1), (2)")
    made = await back_up(database, folder, verify=False, whole_database=True)
    await restore(made.path, empty, folder)
    assert content(empty) == content(database)
    sql(empty, "DELETE FROM ai.user_memories; DELETE FROM messages")
    result = await restore(made.path, empty, folder, replace_data=True)
    assert sql(empty, "SELECT count(*) FROM ai.user_memories") == sql(database, "SELECT count(*) FROM ai.user_memories")
    assert sql(empty, "SELECT count(*) FROM messages") == "0", "what is outside the schema is left alone"
    assert result.aside


async def test_needed_extensions_come_along(database: DatabaseUrl, empty: DatabaseUrl, folder: Path) -> None:
    load(database)
    sql(
        database,
        "CREATE SCHEMA extensions; CREATE EXTENSION pg_trgm SCHEMA extensions; CREATE EXTENSION hstore;"
        " CREATE INDEX ON ai.user_memories USING gin (input extensions.gin_trgm_ops)",
    )
    made = await back_up(database, folder, verify=False)
    await restore(made.path, empty, folder)
    assert sql(empty, "SELECT string_agg(extname, ' ' ORDER BY extname) FROM pg_extension") == "pg_trgm plpgsql"
    again = await restore(made.path, empty, folder, replace_data=True)
    assert again.aside


async def test_a_restore_that_fails_changes_nothing(database: DatabaseUrl, folder: Path) -> None:
    load(database)
    sql(database, "CREATE TYPE public.mood AS ENUM ('x'); ALTER TABLE ai.user_memories ADD COLUMN mood public.mood")
    made = await back_up(database, folder, verify=False)
    sql(database, "ALTER TABLE ai.user_memories DROP COLUMN mood; DROP TYPE public.mood")
    before = content(database)
    with pytest.raises(BackupError, match=r"public\.mood"):
        await restore(made.path, database, folder, replace_data=True)
    assert content(database) == before


async def test_a_staging_schema_that_a_killed_restore_left_is_dropped_by_the_next(
    database: DatabaseUrl, empty: DatabaseUrl, folder: Path
) -> None:
    load(database)
    made = await back_up(database, folder, verify=False)
    sql(empty, 'CREATE SCHEMA "ai_restoring_20260101T000000Z"; CREATE TABLE "ai_restoring_20260101T000000Z".t (a int)')
    await restore(made.path, empty, folder)
    assert content(empty) == content(database)


async def test_erased_people_do_not_come_back(database: DatabaseUrl, folder: Path) -> None:
    load(database)
    made = await back_up(database, folder, verify=False)
    used = settings_for(database, folder, XDG_STATE_HOME=str(folder / "state"))
    await erase_user(used, "ada")
    sql(database, "DELETE FROM ai.user_memories")
    result = await restore(made.path, database, folder, replace_data=True)
    assert result.erased_again == 1
    query = "SELECT coalesce(string_agg(DISTINCT user_id, ' '), '') FROM ai."
    for table in ("user_memories", "agent_sessions", "agent_sessions_runs"):
        assert "ada" not in sql(database, query + table)
    assert "bob" in sql(database, query + "user_memories")


async def test_erased_people_do_not_come_back_when_the_database_is_gone_too(
    database: DatabaseUrl, empty: DatabaseUrl, folder: Path
) -> None:
    """Only the file beside the backups knows it then."""
    load(database)
    made = await back_up(database, folder, verify=False)
    await erase_user(settings_for(database, folder, XDG_STATE_HOME=str(folder / "state")), "ada")
    result = await restore(made.path, empty, folder)
    assert result.erased_again == 1
    assert sql(empty, "SELECT count(*) FROM ai.user_memories WHERE user_id = 'ada'") == "0"


async def test_who_was_erased_before_the_backup_and_came_back_stays(database: DatabaseUrl, folder: Path) -> None:
    load(database)
    await erase_user(settings_for(database, folder, XDG_STATE_HOME=str(folder / "state")), "ada")
    sql(database, "INSERT INTO ai.user_memories VALUES ('new', '\"x\"', NULL, NULL, NULL, NULL, 'ada', NULL, 1, 1)")
    made = await back_up(database, folder, verify=False)
    result = await restore(made.path, database, folder, replace_data=True)
    assert result.erased_again == 0
    assert sql(database, "SELECT count(*) FROM ai.user_memories WHERE user_id = 'ada'") == "1"


# --- files that must be refused ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def backed_up(postgres_server: ScratchServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Any]]:
    """A backup, and the settings with which it would be restored."""
    folder = tmp_path_factory.mktemp("altered")
    with clone(postgres_server) as url, clone(postgres_server) as target:
        fill(url, 2000)
        made = asyncio.run(back_up(url, folder, verify=False))
        yield made.path, (database_of(target), settings_for(target, folder))


def altered(path: Path, data: bytes) -> Path:
    """A copy of a backup with other bytes and the same manifest, its time set back."""
    other = path.parent / "altered" / path.name
    other.parent.mkdir(exist_ok=True)
    other.write_bytes(data)
    other.with_name(f"{path.name}.json").write_bytes(path.with_name(f"{path.name}.json").read_bytes())
    info = path.stat()
    os.utime(other, ns=(info.st_atime_ns, info.st_mtime_ns))
    return other


@given(data=st.data())
@settings(max_examples=60)
def test_a_byte_changed_anywhere_is_always_found(backed_up: tuple[Path, Any], data: st.DataObject) -> None:
    path, target = backed_up
    content = bytearray(path.read_bytes())
    where = data.draw(st.integers(0, len(content) - 1))
    content[where] ^= data.draw(st.integers(1, 255))
    other = altered(path, bytes(content))
    for attempt in (verify(other), whole.plan(other, *target, replace_data=False)):
        with pytest.raises(BackupError) as refused:
            asyncio.run(attempt)
        assert refused.value.code == "backup_damaged"


def test_truncated_at_every_block_boundary_it_is_refused(backed_up: tuple[Path, Any]) -> None:
    path, target = backed_up
    content = path.read_bytes()
    assert len(content) > 20 * 4096
    for size in range(0, len(content), 4096):
        with pytest.raises(BackupError) as refused:
            asyncio.run(whole.plan(altered(path, content[:size]), *target, replace_data=False))
        assert refused.value.code == "backup_damaged"


def test_foreign_files_are_refused(backed_up: tuple[Path, Any], tmp_path: Path) -> None:
    path, target = backed_up
    (tmp_path / "copy.dump").write_bytes(path.read_bytes())  # a dump, but nobody knows of what
    (tmp_path / "plain.sql").write_text("DROP SCHEMA ai CASCADE;")
    (tmp_path / "empty.dump").touch()
    for name in ("copy.dump", "plain.sql", "empty.dump"):
        with pytest.raises(BackupError) as refused:
            asyncio.run(whole.plan(tmp_path / name, *target, replace_data=False))
        assert refused.value.code == "backup_unknown"


# --- another major ----------------------------------------------------------------------------------------------------


async def test_a_debian_server_over_tls_with_an_awful_password_there_and_back(
    debian_server: DebianServer, folder: Path
) -> None:
    name = debian_server.new_database()
    url = debian_server.url(name)
    load(url)
    made = await back_up(url, folder, verify_into=None)
    assert made.manifest.verified_with == made.manifest.pg_dump_version, "proven in a server of that version"
    assert made.manifest.pg_dump_version.startswith("15.")
    assert made.manifest.compression == "gzip:1"
    before = content(url)
    sql(url, "DELETE FROM ai.user_memories")
    await restore(made.path, url, folder, replace_data=True)
    now = {table: value for table, value in content(url).items() if table.startswith("ai.")}
    assert now == before


async def test_a_dump_made_with_newer_tools_comes_back_into_its_older_server(
    debian_server: DebianServer, folder: Path
) -> None:
    """What pg_restore 17 alone cannot do: it says SET transaction_timeout to a server that does not know it."""
    from junkie_cli.core.embedded import bin_dir

    name = debian_server.new_database()
    url = debian_server.url(name)
    load(url)
    warned: list[str] = []
    from junkie_cli.core.progress import Progress

    made = await back_up(url, folder, verify=False, pg_bin=bin_dir(), progress=Progress(warn=warned.append))
    assert made.manifest.pg_dump_version == "17.10"
    assert "pg_restore 17 cannot restore this into PostgreSQL 15, but junkie restore can" in warned[0]
    other = debian_server.url(debian_server.new_database())
    await restore(made.path, other, folder)
    assert content(other) == content(url)


async def test_hashes_are_the_same_on_every_major(
    debian_server: DebianServer, database: DatabaseUrl, folder: Path
) -> None:
    load(database)
    old = debian_server.url(debian_server.new_database())
    load(old)
    first = await back_up(database, folder / "17", verify=False)
    second = await back_up(old, folder / "15", verify=False)
    assert first.manifest.tables == second.manifest.tables
    assert dumps(folder / "17") != dumps(folder / "15")
