"""What a backup holds, and that it is proven: against real servers of two majors."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from junkie_cli.core.backup import catalogue, process, tools
from junkie_cli.core.backup.tools import major_of
from junkie_cli.core.backup.verify import verify
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded import bin_dir
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import BackupError, DatabaseError, UsageError
from junkie_cli.core.progress import Progress
from tests.support.backups import GENERATIONS, back_up, dumps, fill, load, names, sql
from tests.support.debian_postgres import BIN as DEBIAN_BIN
from tests.support.debian_postgres import DebianServer, debian_server, need_debian_postgres
from tests.support.postgres import clone, execute, scratch_server

__all__ = ["debian_server"]


class Heard:
    """Remembers what is reported."""

    def __init__(self) -> None:
        self.progress: list[str] = []
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.reached: list[tuple[int, int]] = []
        self.reported = Progress(step=self.progress.append, reach=self._reach, note=self.notes.append, warn=self._warn)

    def _warn(self, warning: str) -> None:
        """What a backup warns of; how old the PostgreSQL of this machine is depends on the day."""
        if not any(words in warning for words in ("fixes bugs", "has CVE-")):
            self.warnings.append(warning)

    def _reach(self, done: int, total: int) -> None:
        self.reached.append((done, total))


@pytest.fixture
def bot(database: DatabaseUrl) -> DatabaseUrl:
    """A database of agno 3.1 with a table of the bot's outside the schema."""
    load(database)
    sql(database, "CREATE TABLE public.messages (message_id bigint PRIMARY KEY); INSERT INTO messages VALUES (1), (2)")
    return database


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_databases_of_every_agno_are_backed_up_whole_and_proven(
    database: DatabaseUrl, folder: Path, generation: str
) -> None:
    load(database, generation)
    made = await back_up(database, folder)
    counted = sql(database, "SELECT relname FROM pg_class WHERE relnamespace = 'ai'::regnamespace AND relkind = 'r'")
    assert {table.name for table in made.manifest.tables} == set(counted.split())
    for table in made.manifest.tables:
        assert table.rows == int(sql(database, f"SELECT count(*) FROM ai.{table.name}"))
    assert made.manifest.verified_at
    assert made.manifest.verified_with == "17.10"
    assert made.manifest.compression == "zstd:3"
    assert (await catalogue.inspect(made.path, thorough=True)).status == "verified"
    assert names(folder) == [made.path.name, f"{made.path.name}.json"]


async def test_our_own_tables_are_in_it_and_tables_outside_are_named(bot: DatabaseUrl, folder: Path) -> None:
    sql(bot, "CREATE TABLE ai.junkie_versions (name text PRIMARY KEY, value text NOT NULL)")
    heard = Heard()
    made = await back_up(bot, folder, progress=heard.reported)
    assert "junkie_versions" in {table.name for table in made.manifest.tables}
    assert made.manifest.left_out == ("public.messages",)
    assert any("public.messages" in note for note in heard.notes)
    assert [warning for warning in heard.warnings if "repairs faults" not in warning] == []


async def test_the_whole_database_takes_the_bots_tables_along(bot: DatabaseUrl, folder: Path) -> None:
    made = await back_up(bot, folder, whole_database=True)
    tables = {table.name: table.rows for table in made.manifest.tables}
    assert tables["public.messages"] == 2
    assert "user_memories" in tables
    assert made.manifest.left_out == ()
    assert made.manifest.verified_at


async def test_a_stock_pg_restore_reads_it(bot: DatabaseUrl, folder: Path, postgres_server: ScratchServer) -> None:
    made = await back_up(bot, folder)
    with clone(postgres_server) as other:
        words = [bin_dir() / "pg_restore", "-1", "-d", other.database, made.path]
        subprocess.run(words, check=True, env=other.tool_environment())
        for table in made.manifest.tables:
            assert int(sql(other, f"SELECT count(*) FROM ai.{table.name}")) == table.rows


async def test_counts_are_those_of_the_dump_while_writers_are_at_work(database: DatabaseUrl, folder: Path) -> None:
    """The proof compares the file with what was counted: rows that come and go meanwhile must not show."""
    fill(database, 20_000)
    over = threading.Event()

    def write(first: int) -> None:
        number = first
        while not over.is_set():
            number += 2
            sql(
                database,
                f"INSERT INTO ai.user_memories SELECT 'w{number}-' || n, '1', NULL, NULL, NULL, NULL, 'w', NULL, n, n"
                f" FROM generate_series(1, 50) n; DELETE FROM ai.user_memories WHERE memory_id = 'm{number}';"
                f" UPDATE ai.user_memories SET memory = '2' WHERE memory_id = 'm{number + 10_000}'",
            )
            at_work.release()

    at_work = threading.Semaphore(0)
    writers = [threading.Thread(target=write, args=(first,)) for first in (0, 1)]
    for writer in writers:
        writer.start()
    assert at_work.acquire(timeout=60)
    try:
        made = await back_up(database, folder)
    finally:
        over.set()
        for writer in writers:
            writer.join()
    assert made.manifest.verified_at
    assert made.manifest.rows < int(sql(database, "SELECT count(*) FROM ai.user_memories"))


async def test_a_schema_whose_name_must_be_quoted(database: DatabaseUrl, folder: Path) -> None:
    from dataclasses import replace

    from junkie_cli.core.backup.dump import BackupOptions, make_backup
    from tests.support.backups import database_of, settings_for

    name = 'My "odd*" schema.ai?'
    load(database)
    sql(database, f"""CREATE SCHEMA my; CREATE TABLE my.trap (a int); ALTER SCHEMA ai RENAME TO {quoted(name)}""")
    settings = replace(settings_for(database, folder), schema=name)
    made = await make_backup(database_of(database), settings, BackupOptions())
    assert made.manifest.verified_at
    assert {table.schema for table in made.manifest.tables} == {name}


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


async def test_odd_columns_and_texts_come_back_exactly(database: DatabaseUrl, folder: Path) -> None:
    load(database)
    sql(
        database,
        """CREATE TYPE ai.mood AS ENUM ('sad', 'ok');
        CREATE TABLE ai."odd table" (id serial PRIMARY KEY, "Key" text, at timestamptz DEFAULT now(), f float8, b bytea,
          m ai.mood, j json, d interval, n numeric, a text[], gone int, twice text GENERATED ALWAYS AS ("Key" || '!')
          STORED);
        INSERT INTO ai."odd table" ("Key", f, b, m, j, d, n, a) VALUES
          (E'tab\\tline\\nback\\\\slash é 😀 '' "', 'NaN', '\\x00ff', 'ok', '{"a": "\\u0000"}', '1 mon 3 days', 1e40,
           ARRAY['x', NULL, '']), ('', 0.1::float4, NULL, NULL, 'null', NULL, NULL, '{}'), (NULL, 1e-310, '', 'sad',
           NULL, '-2 years', 0.10, NULL), (repeat('x', 1000000), -0.0, NULL, NULL, NULL, NULL, NULL, NULL);
        ALTER TABLE ai."odd table" DROP COLUMN gone; """
        + f"ALTER DATABASE {database.database} SET datestyle = 'German';"
        + f"ALTER DATABASE {database.database} SET timezone = 'Asia/Tokyo'",
    )
    made = await back_up(database, folder)
    assert made.manifest.verified_at
    assert {table.name: table.rows for table in made.manifest.tables}["odd table"] == 4


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_databases_of_other_encodings(postgres_server: ScratchServer, folder: Path, encoding: str) -> None:
    name = f"enc_{encoding.lower()}"
    locale = "LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
    execute(postgres_server, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' {locale}")
    try:
        url = postgres_server.url.with_database(name)
        sql(url, "CREATE SCHEMA ai; CREATE TABLE ai.t (a text); INSERT INTO ai.t VALUES (chr(228))")
        made = await back_up(url, folder)
        assert made.manifest.verified_at
        assert made.manifest.origin.encoding == encoding
    finally:
        execute(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


async def test_extensions_that_the_schema_needs_are_restored_and_others_do_not_matter(
    database: DatabaseUrl, folder: Path
) -> None:
    load(database)
    sql(
        database,
        "CREATE SCHEMA extensions; CREATE EXTENSION pg_trgm SCHEMA extensions; CREATE EXTENSION hstore;"
        " CREATE EXTENSION fuzzystrmatch;"
        " CREATE INDEX ON ai.user_memories USING gin (input extensions.gin_trgm_ops);"
        " ALTER TABLE ai.user_memories ADD COLUMN h public.hstore DEFAULT 'a=>1'",
    )
    made = await back_up(database, folder)
    assert made.manifest.verified_at
    needed = {extension.name: extension.needed for extension in made.manifest.extensions}
    assert needed == {"pg_trgm": True, "hstore": True, "fuzzystrmatch": False}


async def test_policies_roles_triggers_views_and_partitions(
    database: DatabaseUrl, folder: Path, postgres_server: ScratchServer
) -> None:
    load(database)
    execute(postgres_server, "DROP ROLE IF EXISTS policy_reader; CREATE ROLE policy_reader")
    sql(
        database,
        """CREATE POLICY own ON ai.user_memories TO policy_reader USING (user_id = current_user);
        ALTER TABLE ai.user_memories ENABLE ROW LEVEL SECURITY;
        CREATE FUNCTION ai.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
        CREATE TRIGGER t BEFORE INSERT ON ai.user_memories FOR EACH ROW EXECUTE FUNCTION ai.f();
        CREATE VIEW ai.v AS SELECT user_id, count(*) FROM ai.user_memories GROUP BY 1;
        CREATE MATERIALIZED VIEW ai.mv AS SELECT * FROM ai.v;
        CREATE TABLE ai.log (at date, what text) PARTITION BY RANGE (at);
        CREATE TABLE ai.log_1 PARTITION OF ai.log FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
        INSERT INTO ai.log VALUES ('2026-05-05', 'x');""",
    )
    made = await back_up(database, folder)
    assert made.manifest.verified_at
    assert made.manifest.roles == ("policy_reader",)
    assert {table.name: table.rows for table in made.manifest.tables}["log_1"] == 1


# --- what stops a backup ----------------------------------------------------------------------------------------------


async def test_nothing_to_back_up_is_a_failure(database: DatabaseUrl, folder: Path) -> None:
    sql(database, "CREATE SCHEMA ai; CREATE TABLE public.messages (a int); INSERT INTO messages VALUES (1)")
    with pytest.raises(BackupError) as refused:
        await back_up(database, folder)
    assert refused.value.code == "backup_empty"
    assert names(folder) == []


async def test_a_database_that_shrank_by_more_than_half_is_a_failure(bot: DatabaseUrl, folder: Path) -> None:
    first = await back_up(bot, folder, verify=False)
    rows = first.manifest.rows
    sql(bot, "TRUNCATE ai.agent_sessions CASCADE; TRUNCATE ai.user_memories")
    with pytest.raises(BackupError, match=f"the database had {rows} rows at the last backup") as refused:
        await back_up(bot, folder, verify=False)
    assert refused.value.code == "backup_shrunk"
    assert dumps(folder) == [first.path]
    allowed = await back_up(bot, folder, verify=False, allow_shrink=True)
    assert (await back_up(bot, folder, verify=False)).path != allowed.path


async def test_memories_alone_may_not_halve_either(database: DatabaseUrl, folder: Path) -> None:
    fill(database, 40)
    sql(database, "CREATE TABLE ai.agent_sessions (session_id text); INSERT INTO ai.agent_sessions"
                  " SELECT n FROM generate_series(1, 1000) n")  # fmt: skip
    await back_up(database, folder, verify=False)
    sql(database, "DELETE FROM ai.user_memories WHERE created_at > 15")
    with pytest.raises(BackupError, match="user_memories had 40 rows"):
        await back_up(database, folder, verify=False)


async def test_a_folder_belongs_to_one_server(bot: DatabaseUrl, folder: Path) -> None:
    await back_up(bot, folder, verify=False)
    with scratch_server() as other, clone(other) as elsewhere:
        load(elsewhere)
        with pytest.raises(BackupError) as refused:
            await back_up(elsewhere, folder, verify=False)
        assert refused.value.code == "backup_other_cluster"
        await back_up(elsewhere, folder, verify=False, new_database=True)
        await back_up(elsewhere, folder, verify=False)
    with pytest.raises(BackupError, match="another PostgreSQL server"):
        await back_up(bot, folder, verify=False)


async def test_a_missing_right_is_named(bot: DatabaseUrl, folder: Path, postgres_server: ScratchServer) -> None:
    from dataclasses import replace

    execute(postgres_server, "DROP ROLE IF EXISTS half_blind; CREATE ROLE half_blind LOGIN")
    sql(bot, "GRANT USAGE ON SCHEMA ai TO half_blind; GRANT SELECT ON ai.user_memories TO half_blind")
    with pytest.raises(DatabaseError, match=r"half_blind cannot read ai\.agent_sessions") as refused:
        await back_up(replace(bot, user="half_blind"), folder, verify=False)
    assert refused.value.code == "database_rights"
    sql(bot, "GRANT SELECT ON ALL TABLES IN SCHEMA ai TO half_blind; ALTER TABLE ai.user_memories ENABLE ROW LEVEL"
             " SECURITY; CREATE POLICY p ON ai.user_memories USING (user_id = 'ada')")  # fmt: skip
    with pytest.raises(DatabaseError, match="row security hides rows"):
        await back_up(replace(bot, user="half_blind"), folder, verify=False)
    sql(bot, "ALTER TABLE ai.user_memories DISABLE ROW LEVEL SECURITY")
    assert (await back_up(replace(bot, user="half_blind"), folder, verify_into=bot)).manifest.verified_at


async def test_a_locked_table_is_given_up_and_its_holder_named(bot: DatabaseUrl, folder: Path) -> None:
    from junkie_cli.core.postgres.connect import close_connection, open_connection

    holder = await open_connection(bot, application_name="a migration")
    try:
        async with holder.transaction():
            await holder.execute("LOCK TABLE ai.user_memories IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(BackupError, match=r"process \d+ \(a migration\) on user_memories") as refused:
                await back_up(bot, folder, lock_timeout=0.3)
        assert refused.value.code == "backup_table_locked"
    finally:
        await close_connection(holder)


async def test_two_at_once_is_one_too_many(bot: DatabaseUrl, folder: Path) -> None:
    results = await asyncio.gather(*(back_up(bot, folder, verify=False) for _ in range(2)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["BackupResult", "LockedError"]
    both = await asyncio.gather(*(back_up(bot, folder, verify=False, wait_lock=60) for _ in range(2)))
    assert len({result.path for result in both}) == 2


async def test_an_unwritable_folder(bot: DatabaseUrl, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BackupError, match="cannot use"):
        await back_up(bot, tmp_path / "file" / "backups")


# --- no proof ---------------------------------------------------------------------------------------------------------


async def test_the_proof_starts_a_server_of_its_own(bot: DatabaseUrl, folder: Path) -> None:
    assert (await back_up(bot, folder, verify_into=None)).manifest.verified_with == "17.10"


async def test_without_proof_it_is_unverified_and_verify_makes_up_for_it(bot: DatabaseUrl, folder: Path) -> None:
    made = await back_up(bot, folder, verify=False)
    entry = await catalogue.inspect(made.path)
    assert (entry.status, entry.problem) == ("unverified", "verification was switched off (--no-verify)")
    assert (await verify(made.path)).recorded
    assert (await catalogue.inspect(made.path)).status == "verified"


async def test_how_far_the_file_is_read_is_reported(bot: DatabaseUrl, folder: Path) -> None:
    made = await back_up(bot, folder, verify=False)
    heard = Heard()
    await verify(made.path, progress=heard.reported)
    assert heard.reached[0] == (made.manifest.bytes, made.manifest.bytes)
    assert all(done <= total == made.manifest.bytes for done, total in heard.reached)


async def test_how_far_a_child_has_read_is_reported(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(b"x" * 10_000)
    reached: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
    script = f"import os; os.read(os.open({str(archive)!r}, os.O_RDONLY), 1000); os.read(0, 1)"
    async with (
        process.start([sys.executable, "-c", script], env=process.environment(), stdin=process.PIPE) as child,
        process.reading_told(child.pid, archive, Progress(reach=lambda *place: reached.put_nowait(place))),
        asyncio.timeout(30),
    ):
        assert await reached.get() == (1000, 10_000)


async def test_a_child_that_writes_without_an_end_is_ended() -> None:
    """A crafted file can make pg_restore list and write anything."""
    endless = "import os\nwhile True: os.write(1, b'x' * 65536)"
    with pytest.raises(BackupError, match="more than 256 MB"):
        await process.run([sys.executable, "-c", endless], env=process.environment(), capture=True)


async def test_what_no_scratch_server_can_take_is_reported_before_the_dump(
    debian_server: DebianServer, folder: Path
) -> None:
    name = debian_server.new_database()
    debian_server.execute('CREATE SCHEMA ai; CREATE TABLE ai.t (a text COLLATE "en-x-icu")', name)
    heard = Heard()
    made = await back_up(debian_server.url(name), folder, progress=heard.reported, verify_into=None)
    manifest = made.manifest
    if manifest.verified_at:  # a bundled server with ICU has that collation, and proves it
        assert [warning for warning in heard.warnings if "repairs faults" not in warning] == []
        return
    assert "collation en-x-icu" in manifest.unverified_because
    assert "unverified" in heard.warnings[0]
    with pytest.raises(BackupError) as refused:
        await back_up(debian_server.url(name), folder, verify_into=None, require_verified=True)
    assert refused.value.code == "backup_unprovable"


async def test_another_server_can_be_named_for_the_proof(
    bot: DatabaseUrl, folder: Path, postgres_server: ScratchServer
) -> None:
    made = await back_up(bot, folder, verify_into=postgres_server.url)
    assert made.manifest.verified_at
    left = execute(postgres_server, "SELECT count(*) FROM pg_database WHERE datname LIKE 'junkie_proof%'")
    assert left == [("0",)]


# --- tools ------------------------------------------------------------------------------------------------------------


async def test_the_servers_own_major_is_taken_else_the_next_newer_never_an_older_one(database: DatabaseUrl) -> None:
    need_debian_postgres()
    found = await tools.discover(None)
    assert {15, 17} <= {each.major for each in found}
    for version, expected in (("15.18", 15), ("16.2", 17), ("17.10", 17)):
        chosen = await tools.choose(found, version, database)
        assert chosen.major == expected
        assert bool(tools.mismatch(chosen, version)) == (chosen.major != major_of(version))
    with pytest.raises(BackupError, match="an older one cannot dump a newer server") as refused:
        await tools.choose(found, "20.1", database)
    assert "postgresql-client-20" in refused.value.hint


async def test_pg_bin_is_taken_at_its_word(database: DatabaseUrl, bot: DatabaseUrl, folder: Path) -> None:
    need_debian_postgres()
    assert [each.major for each in await tools.discover(DEBIAN_BIN)] == [15]
    with pytest.raises(BackupError, match="an older one cannot dump a newer server"):
        await back_up(bot, folder, pg_bin=DEBIAN_BIN)
    with pytest.raises(BackupError, match="does not contain"):
        await tools.discover(Path("/usr"))


async def test_the_codec_is_found_out_before_the_dump(bot: DatabaseUrl, folder: Path) -> None:
    for wanted in ("none", "gzip:6", "lz4", "zstd:1"):
        assert (await back_up(bot, folder, verify=False, compress=wanted)).manifest.compression == wanted
    with pytest.raises(UsageError):
        await back_up(bot, folder, compress="rar")
    need_debian_postgres()
    [debian] = await tools.discover(DEBIAN_BIN)
    assert await tools.compression(debian, None) == tools.Compression("1", "gzip:1")
    with pytest.raises(BackupError, match="cannot compress with zstd"):
        await tools.compression(debian, "zstd")
