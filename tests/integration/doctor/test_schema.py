"""What doctor says of tables of every generation, of rights on them and of what they hold; each remedy is followed."""

import asyncio
import json
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from agno.db.migrations.manager import MigrationManager

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.doctor import memory, schema
from junkie_cli.core.doctor.model import Result
from junkie_cli.core.errors import BackupError, JunkieError
from junkie_cli.core.extraction.reply import LONGEST_MEMORY
from junkie_cli.core.postgres.connect import open_connection
from junkie_cli.core.progress import SILENT
from junkie_cli.core.schema import migrations
from junkie_cli.core.turns.turn_start import MEMORY_BUDGET
from tests.support.backups import back_up, fill, sql
from tests.support.doctor import Doctor, assert_result
from tests.support.embedded import public_packages, public_python, run_as
from tests.support.generations import Make, as_role, new_role, reader
from tests.support.junkie import SCRIPT
from tests.support.model_server import ModelServer
from tests.support.needs import need_root
from tests.support.proxy import Proxy


def remedy(result: Result, pattern: str) -> str:
    """The statement in a hint that begins as `pattern` does."""
    found = re.search(pattern, result.hint)
    assert found, result
    return found[0]


def do(url: DatabaseUrl, *statements: str) -> None:
    for statement in statements:
        sql(url, statement)


# --- generations ------------------------------------------------------------------------------------------------------


def test_what_this_agno_writes_is_known() -> None:
    assert str(MigrationManager.available_versions[-1][1]) == schema.AGNO_SCHEMA
    assert (memory.PROMPT_TOKENS, memory.LONGEST_MEMORY) == (MEMORY_BUDGET, LONGEST_MEMORY)


STATUSES = {
    "2.2": ("ok", "failed", "reads no memories there and silently drops new ones"),
    "2.3": ("ok", "warning", "agno 2.3 to 2.9"),
    "2.9": ("ok", "warning", "agno 2.3 to 2.9"),
    "2.9-then-3.1": ("ok", "warning", "were created by agno 2"),
    "2.9-migrated": ("ok", "ok", "for agno 3"),
    "3.1": ("ok", "ok", "for agno 3"),
}


@pytest.mark.parametrize("generation", STATUSES)
def test_generations_are_distinguished(doctor: Doctor, written_by: Make, generation: str) -> None:
    tables, version, words = STATUSES[generation]
    found = doctor.use(written_by(generation)).examine("schema.tables", "schema.version")
    assert found["schema.tables"].status == tables
    assert_result(found["schema.version"], version, words)


def test_an_empty_database(doctor: Doctor, database: DatabaseUrl) -> None:
    found = doctor.use(database).examine("schema", "memory")
    assert {key: result.status for key, result in found.items() if result.status != "ok"} == {}
    assert "the first chat creates them" in found["schema.tables"].detail


def test_agnos_migration_after_a_proven_backup(doctor: Doctor, written_by: Make) -> None:
    url = written_by("2.2")
    before = sql(url, "SELECT user_id, memory #>> '{}' FROM ai.user_memories ORDER BY memory_id")
    doctor.use(url)
    doctor.fix("schema.indexes")  # one of them is on a column whose type the migration changes
    (fix,) = doctor.one("schema.version").fixes
    assert fix.severe
    assert "back up" in fix.what[0]
    (told,) = doctor.fix("schema.version")
    assert {doctor.status(name) for name in ("schema.version", "schema.indexes")} == {"ok"}
    assert sql(url, "SELECT user_id, memory #>> '{}' FROM ai.user_memories ORDER BY memory_id") == before
    (manifest,) = (json.loads(path.read_text()) for path in (doctor.folder / "backups").glob("*.dump.json"))
    assert manifest["verified_at"]
    assert manifest["file"] in told


def test_the_bot_keeps_its_tables(doctor: Doctor, written_by: Make) -> None:
    url = written_by("2.2")
    doctor.use(url)
    (fix,) = doctor.one("schema.version").fixes
    doctor.use(url, DISCORD_TOKEN="t")
    result = doctor.one("schema.version")
    assert_result(result, "failed", "the bot needs agno 2", "JUNKIE_SCHEMA=junkie")
    assert not result.fixes
    context = doctor.context()

    async def anyway() -> None:
        await doctor._examine(context, ("schema.version",), False, 60)
        await fix.run(context, SILENT)

    with pytest.raises(JunkieError, match="the bot needs agno 2"):
        asyncio.run(anyway())
    assert not (doctor.folder / "backups").exists()
    doctor.environ["JUNKIE_SCHEMA"] = "junkie"
    assert doctor.status("schema.version") == "ok"


def test_without_a_backup_nothing_is_migrated(doctor: Doctor, written_by: Make) -> None:
    url = written_by("2.2")
    (doctor.folder / "backups").write_text("in the way")
    doctor.use(url)
    with pytest.raises(BackupError):
        doctor.fix("schema.version")
    assert doctor.status("schema.version") == "failed"


def test_tables_of_a_newer_agno(doctor: Doctor, written_by: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    url = written_by("3.1")
    do(url, "UPDATE ai.agno_schema_versions SET version = '4.0.0' WHERE table_name = 'agent_sessions'")
    assert_result(
        doctor.use(url).one("schema.version"), "failed", "agent_sessions", "newer agno", "pip install --upgrade"
    )
    monkeypatch.setattr(schema, "AGNO_SCHEMA", "4.0.0")  # as in a junkie with that agno
    do(url, "UPDATE ai.agno_schema_versions SET version = '4.0.0'")
    assert doctor.status("schema.version") == "ok"


def test_columns_that_are_missing(doctor: Doctor, written_by: Make) -> None:
    url = written_by("3.1")
    do(url, "ALTER TABLE ai.user_memories DROP COLUMN topics, DROP COLUMN team_id")
    found = doctor.use(url).examine("schema", "memory.owners")
    assert_result(found["schema.tables"], "failed", "user_memories lacks topics, team_id")
    assert found["memory.owners"].detail == "waits for schema.tables"
    do(url, remedy(found["schema.tables"], "ALTER TABLE .*"))
    assert doctor.status("schema.tables") == "ok"


# --- our own tables ---------------------------------------------------------------------------------------------------


def test_our_tables_are_made_and_brought_up(doctor: Doctor, written_by: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    url = written_by("3.1")
    assert_result(doctor.use(url).one("schema.junkie"), "warning", "not created yet", "--fix schema.junkie")
    doctor.fix("schema.junkie")
    assert doctor.status("schema.junkie") == "ok"
    salt = sql(url, "SELECT value FROM ai.junkie_versions WHERE name = 'salt'")
    do(url, "DROP TABLE ai.junkie_erasures", "UPDATE ai.junkie_versions SET value = '1' WHERE name = 'version'")
    assert_result(
        doctor.one("schema.junkie"),
        "warning",
        f"version 1 instead of {migrations.LATEST}",
        "junkie_erasures is missing (off: remembering who was erased)",
    )
    doctor.fix("schema.junkie")
    assert doctor.status("schema.junkie") == "ok"
    do(url, "DROP TABLE ai.junkie_history")
    assert doctor.status("schema.junkie") == "warning"
    doctor.fix("schema.junkie")
    assert doctor.status("schema.junkie") == "ok"
    assert sql(url, "SELECT value FROM ai.junkie_versions WHERE name = 'salt'") == salt
    do(url, "UPDATE ai.junkie_versions SET value = '99' WHERE name = 'schema'")
    assert_result(doctor.one("schema.junkie"), "failed", "newer junkie", "pip install --upgrade junkie-cli")
    monkeypatch.setattr(migrations, "LATEST", 99)  # as in that junkie
    do(url, "UPDATE ai.junkie_versions SET value = '99' WHERE name = 'version'")
    assert doctor.status("schema.junkie") == "ok"


# --- indexes, dead rows, places ---------------------------------------------------------------------------------------


MANY = {
    "2.2": "INSERT INTO ai.user_memories (memory_id, user_id, memory) SELECT 'd' || n, 'many', '\"x\"'"
    " FROM generate_series(1, 10000) n",
    "3.1": "INSERT INTO ai.user_memories (memory_id, user_id, memory, created_at)"
    " SELECT 'd' || n, 'many', '\"x\"', 1 FROM generate_series(1, 10000) n",
}


@pytest.mark.parametrize("generation", MANY)
def test_indexes_are_made_while_others_write(doctor: Doctor, written_by: Make, generation: str) -> None:
    url = written_by(generation)
    assert_result(doctor.use(url).one("schema.indexes"), "ok", "not needed below 10,000 rows (now: ")
    do(url, MANY[generation])
    result = doctor.one("schema.indexes")
    assert_result(
        result, "warning", "user_memories has 10,000 rows or more", "updated_at DESC, memory_id DESC", "search"
    )
    assert "agent_sessions" not in result.detail
    assert all("CREATE INDEX CONCURRENTLY" in fix.what[0] for fix in result.fixes)
    doctor.fix("schema.indexes")
    assert_result(doctor.one("schema.indexes"), "ok", "not needed below 10,000 rows")
    doctor.fix("schema.indexes")  # who asks for it gets those of small tables, too
    assert_result(doctor.one("schema.indexes"), "ok", "all indexes for lists, search and erasure exist")
    assert len(re.findall("junkie_", sql(url, "SELECT indexname FROM pg_indexes WHERE schemaname = 'ai'"))) == 3


def test_an_index_that_was_not_made_to_its_end(doctor: Doctor, written_by: Make) -> None:
    url = written_by("3.1")
    doctor.use(url).fix("schema.indexes")
    do(url, "DROP INDEX ai.junkie_sessions_user_updated")
    # What a broken CREATE INDEX CONCURRENTLY leaves: made here by two rows that a unique one cannot hold.
    with pytest.raises(AssertionError):
        do(url, "CREATE UNIQUE INDEX CONCURRENTLY junkie_sessions_user_updated ON ai.agent_sessions (session_type)")
    result = doctor.one("schema.indexes")
    assert_result(result, "warning", "junkie_sessions_user_updated was interrupted")
    assert result.fixes[0].what[0].startswith("DROP INDEX CONCURRENTLY")
    do(url, "DELETE FROM ai.agent_sessions WHERE session_id <> (SELECT min(session_id) FROM ai.agent_sessions)")
    doctor.fix("schema.indexes")
    doctor.fix("schema.indexes")
    assert "was interrupted" not in doctor.one("schema.indexes").detail


def test_dead_rows(doctor: Doctor, written_by: Make) -> None:
    url = written_by("3.1")
    do(
        url,
        "ALTER TABLE ai.user_memories SET (autovacuum_enabled = off)",
        "INSERT INTO ai.user_memories SELECT 'd' || n, '\"x\"', NULL, NULL, NULL, NULL, 'dead', NULL, 1, 1"
        " FROM generate_series(1, 3000) n",
        "DELETE FROM ai.user_memories WHERE user_id = 'dead'",
    )
    result = doctor.use(url).one("schema.bloat")
    assert_result(result, "warning", "user_memories has 3,000 dead rows")
    do(url, remedy(result, 'VACUUM .*?"user_memories"'))
    assert doctor.status("schema.bloat") == "ok"


def test_tables_that_were_never_vacuumed(doctor: Doctor, written_by: Make) -> None:
    url = written_by("3.1")
    do(
        url,
        "ALTER TABLE ai.user_memories SET (autovacuum_enabled = off)",
        "INSERT INTO ai.user_memories SELECT 'd' || n, '\"x\"', NULL, NULL, NULL, NULL, 'many', NULL, 1, 1"
        " FROM generate_series(1, 11000) n",
    )
    result = doctor.use(url).one("schema.bloat")
    assert_result(result, "warning", "was never vacuumed")
    do(url, remedy(result, 'VACUUM .*?"user_memories"'))
    assert doctor.status("schema.bloat") == "ok"


def test_tables_of_the_same_name_in_public(doctor: Doctor, written_by: Make) -> None:
    url = written_by("3.1")
    do(url, "CREATE TABLE public.user_memories (id int)")
    result = doctor.use(url).one("schema.location")
    assert_result(result, "warning", "public.user_memories")
    do(url, remedy(result, "ALTER TABLE .*"))
    assert doctor.status("schema.location") == "ok"


def test_tables_in_another_schema_than_named(doctor: Doctor, written_by: Make) -> None:
    doctor.use(written_by("3.1", schema="bot"))
    result = doctor.one("schema.location")
    assert_result(result, "warning", "bot.user_memories")
    doctor.environ["JUNKIE_SCHEMA"] = remedy(result, "(?<=JUNKIE_SCHEMA=)[a-z]+")
    assert doctor.status("schema.location") == "ok"
    assert doctor.one("schema.tables").detail.startswith("user_memories")


# --- rights -----------------------------------------------------------------------------------------------------------


def test_a_role_that_may_only_read(doctor: Doctor, written_by: Make) -> None:
    url = written_by("3.1")
    do(url, *reader("doctor_reader"))
    doctor.use(as_role(url, "doctor_reader"))
    found = doctor.examine("database.rights", "memory.owners")
    assert_result(found["database.rights"], "failed", "missing privilege on user_memories: INSERT, UPDATE, DELETE")
    assert found["memory.owners"].status == "warning"
    for statement in found["database.rights"].hint.split("; "):
        do(url, statement)
    assert doctor.status("database.rights") == "ok"


def test_a_role_that_may_nothing(doctor: Doctor, written_by: Make) -> None:
    url = written_by("3.1")
    do(url, *new_role("doctor_stranger"))
    doctor.use(as_role(url, "doctor_stranger"))
    result = doctor.one("database.rights")
    assert_result(result, "failed", "no USAGE privilege on schema ai")
    for statement in result.hint.split("; "):
        do(url, statement)
    assert doctor.status("database.rights") == "ok"


def test_a_role_that_may_not_make_the_schema(doctor: Doctor, database: DatabaseUrl) -> None:
    do(database, *new_role("doctor_stranger"))
    doctor.use(as_role(database, "doctor_stranger"))
    result = doctor.one("database.rights")
    assert_result(result, "failed", "schema ai does not exist")
    do(database, result.hint)
    assert doctor.status("database.rights") == "ok"


def test_a_role_that_may_make_no_tables(doctor: Doctor, written_by: Make, database: DatabaseUrl) -> None:
    do(database, "CREATE SCHEMA ai", *new_role("doctor_guest"), "GRANT USAGE ON SCHEMA ai TO doctor_guest")
    result = doctor.use(as_role(database, "doctor_guest")).one("database.rights")
    assert_result(result, "failed", "no privilege to create tables in schema ai: agno's tables cannot be created")
    do(database, result.hint)
    assert doctor.status("database.rights") == "ok"

    url = written_by("3.1")  # where only junkie's own tables are missing
    do(url, "GRANT USAGE ON SCHEMA ai TO doctor_guest")
    do(url, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ai TO doctor_guest")
    result = doctor.use(as_role(url, "doctor_guest")).one("database.rights")
    assert_result(result, "warning", "junkie's own tables, needed for undo, cannot be created")
    do(url, result.hint)
    assert doctor.status("database.rights") == "ok"


# --- what is remembered -----------------------------------------------------------------------------------------------


def test_owners_that_are_none(doctor: Doctor, written_by: Make) -> None:
    url = written_by("3.1")
    do(
        url,
        "UPDATE ai.user_memories SET user_id = NULL WHERE memory_id = (SELECT min(memory_id) FROM ai.user_memories"
        " WHERE user_id = 'ada')",
        "UPDATE ai.user_memories SET user_id = 'Ada ' WHERE user_id = 'bob'",
    )
    result = doctor.use(url).one("memory.owners")
    assert result.detail.count("'ada'") == 1
    assert_result(result, "warning", "1 memory has no owner", "user 'default'", "'Ada ' / 'ada'")
    for words in ("memories clear --no-owner", "memories clear -u default", "users erase"):
        assert f"junkie {words}" in result.hint
        follow(doctor, *words.split(), *(["Ada "] if "erase" in words else []), "--yes")
    assert doctor.status("memory.owners") == "ok"


def follow(doctor: Doctor, *words: str) -> str:
    """Do what a hint says with `junkie`; what it printed."""
    environment = {**doctor.environ, "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [SCRIPT, *words], env=environment, cwd=doctor.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_id_of_many_memories_is_one_user(doctor: Doctor, database: DatabaseUrl) -> None:
    fill(database, 200)
    assert doctor.use(database).status("memory.owners") == "ok"


def test_sessions_of_several_users(doctor: Doctor, written_by: Make) -> None:
    url = written_by("3.1")
    result = doctor.use(url).one("memory.sharing")
    assert_result(result, "warning", "1 session with several users", "junkie sessions delete channel-7")
    assert doctor.use(url, DISCORD_TOKEN="t").status("memory.sharing") == "ok"
    del doctor.environ["DISCORD_TOKEN"]
    assert "channel-7" in follow(doctor, "sessions", "show", "channel-7", "--json")
    follow(doctor, *remedy(result, "(?<=junkie )sessions delete [^ ;]+").split(), "--yes")
    assert doctor.status("memory.sharing") == "ok"


def test_extractions_left_undone(doctor: Doctor, written_by: Make) -> None:
    url = written_by("3.1")
    doctor.use(url).fix("schema.junkie")
    columns, values = "pending_id, user_id, message", "gen_random_uuid(), 'ada', 'x'"
    insert = f"INSERT INTO ai.junkie_pending ({columns}, {{}}) VALUES ({values}, {{}})"
    do(url, insert.format("attempts", "0"))
    assert_result(doctor.one("memory.pending"), "ok", "1 in progress")
    do(url, insert.format("attempts, set_aside", "8, true"), insert.format("created_at", "now() - interval '1 day'"))
    result = doctor.one("memory.pending")
    assert_result(result, "warning", "2 messages are", "1 of them set aside")
    with ModelServer(smart=True) as server:
        doctor.environ |= server.groq_environment()
        follow(doctor, *remedy(result, "(?<=junkie )memories retry --all").split())
    assert_result(doctor.one("memory.pending"), "ok", "no pending extractions")


@pytest.mark.parametrize("generation", ["2.2", "3.1"])
def test_too_much_duplicates_and_keys(doctor: Doctor, written_by: Make, generation: str) -> None:
    url = written_by(generation)
    assert doctor.use(url).status("memory.size") == "ok"
    kind = "json" if generation == "2.2" else "jsonb"
    dated = ("", "") if generation == "2.2" else (", created_at", ", 1")
    insert = (
        f"INSERT INTO ai.user_memories (memory_id, user_id, memory{dated[0]}) SELECT '{{id}}' || n, 'zoe',"
        f" to_json({{text}})::{kind}{dated[1]} FROM generate_series(1, {{n}}) n"
    )
    do(
        url,
        insert.format(id="long", text="repeat('word ', 190) || n", n=8),
        insert.format(id="same", text="'likes tea'::text", n=3),
        insert.format(id="key", text="'my key is gsk_abcdefghijklmnopqrstuvwxyz'::text", n=1),
    )
    result = doctor.one("memory.size")
    assert_result(
        result, "warning", "zoe (12, about 2,", "2 duplicate memories", "1 memory seems to contain a key", "key1"
    )
    assert "abcdefghijkl" not in result.detail + result.hint
    for found in re.findall(r"junkie (memories delete (?!ID)[^;,]+)", result.hint):
        follow(doctor, *found.split(), "--yes")
    ids = json.loads(follow(doctor, *remedy(result, "(?<=junkie )memories list -u zoe").split(), "--json"))["memories"]
    follow(doctor, "memories", "delete", *(each["memory_id"] for each in ids if each["memory"][:4] == "word"), "--yes")
    assert doctor.status("memory.size") == "ok"


def test_ids_of_several_people_are_not_given_to_a_command(doctor: Doctor, written_by: Make) -> None:
    url = written_by("3.1")
    do(
        url,
        "ALTER TABLE ai.user_memories DROP CONSTRAINT user_memories_pkey",
        "INSERT INTO ai.user_memories (memory_id, user_id, memory, created_at) VALUES"
        " ('one', 'zoe', '\"likes tea\"', 1), ('two', 'zoe', '\"likes tea\"', 1), ('two', 'ada', '\"other\"', 1),"
        " ('key', 'zoe', '\"my key is gsk_abcdefghijklmnopqrstuvwxyz\"', 1), ('key', 'ada', '\"another\"', 1)",
    )
    result = doctor.use(url).one("memory.size")
    assert_result(
        result,
        "warning",
        "1 duplicate memory",
        "1 memory seems to contain",
        "1 memory shares its id with another: give each",
    )
    assert "junkie memories delete" not in result.hint


# --- backups ----------------------------------------------------------------------------------------------------------


def test_no_backup_and_a_damaged_one(doctor: Doctor, written_by: Make) -> None:
    url = written_by("3.1")
    doctor.use(url)
    assert_result(doctor.one("backup.age"), "warning", "no verified backup", "junkie backup")
    assert_result(doctor.one("backup.age", max_backup_age=26), "failed", "no verified backup")
    asyncio.run(back_up(url, doctor.folder / "backups"))
    assert doctor.status("backup.age", max_backup_age=26) == "ok"
    (dump,) = (doctor.folder / "backups").glob("*.dump")
    dump.write_bytes(dump.read_bytes()[:-1])
    result = doctor.one("backup.age")
    assert_result(result, "warning", "is damaged", "no verified backup")
    subprocess.run(["sh", "-c", remedy(result, r"rm \S+")], check=True)
    assert not any((doctor.folder / "backups").glob("*.dump*"))
    follow(doctor, "backup")
    assert doctor.status("backup.age") == "ok"


def test_nobody_is_reminded_of_backups_on_the_first_day(doctor: Doctor, written_by: Make) -> None:
    url = written_by("3.1")
    doctor.use(url)
    tables = ("user_memories", "agent_sessions", "agent_sessions_runs")
    for age, status in ((23, "ok"), (25, "warning")):
        do(url, *(f"UPDATE ai.{table} SET created_at = extract(epoch FROM now()) - {age} * 3600" for table in tables))
        assert doctor.status("backup.age") == status
        assert doctor.status("backup.age", max_backup_age=26) == "failed"


def test_backups_that_others_can_read(doctor: Doctor, written_by: Make) -> None:
    folder = doctor.folder / "backups"
    folder.mkdir(mode=0o700)
    doctor.use(written_by("3.1"))
    assert doctor.status("backup.permissions") == "ok"
    folder.chmod(0o755)
    (folder / "a.dump").write_text("x")
    (folder / "a.dump").chmod(0o644)
    result = doctor.one("backup.permissions")
    assert_result(result, "warning", f"other users can access {folder}", "other users can read", f"chmod 700 {folder}")
    doctor.fix("backup.permissions")
    assert doctor.status("backup.permissions") == "ok"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_disk_that_is_too_small(doctor: Doctor, written_by: Make, small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    with ballast.open("wb") as file:
        file.write(b"x" * shutil.disk_usage(small_disk).free)
    doctor.use(written_by("3.1"), JUNKIE_BACKUP_DIR=str(small_disk))
    assert_result(doctor.one("backup.space"), "failed", "B free in", "needed", "JUNKIE_BACKUP_DIR")
    doctor.environ["JUNKIE_BACKUP_DIR"] = str(doctor.folder / "backups")
    assert doctor.status("backup.space") == "ok"
    doctor.environ["JUNKIE_BACKUP_DIR"] = str(small_disk)
    ballast.unlink()  # "free some space there"
    assert doctor.status("backup.space") == "ok"


def test_a_backup_folder_of_another_user(public: Path) -> None:
    """As an ordinary user who meets root's closed folder."""
    need_root()
    closed = public / "closed"
    (closed / "backups").mkdir(parents=True)
    closed.chmod(0o700)
    script = (
        "import asyncio, json, sys; sys.path.insert(0, sys.argv[1]);"
        "from junkie_cli.core.doctor import backup; from junkie_cli.core.doctor.context import Context;"
        "from junkie_cli.core.settings import load_settings;"
        "settings = load_settings(environ={'POSTGRES_URL': 'postgresql://h/d', 'JUNKIE_BACKUP_DIR': sys.argv[2]});"
        "context = Context({}, settings_in_force=settings);"
        "told = [asyncio.run(check(context)).status for check in (backup._age, backup._space, backup._permissions)];"
        "print(*told)"
    )
    words = [public_python(), "-I", "-c", script, str(public_packages()), str(closed / "backups")]
    done = run_as("nobody", *words)
    assert done.stdout == "failed failed failed\n", done.stderr
    nobody = pwd.getpwnam("nobody")
    os.chown(closed, nobody.pw_uid, nobody.pw_gid)  # "have its owner run: chown"
    os.chown(closed / "backups", nobody.pw_uid, nobody.pw_gid)
    (closed / "backups").chmod(0o700)
    done = run_as("nobody", *words)
    assert done.stdout == "warning ok ok\n", done.stderr  # none yet: `junkie backup` makes one


def test_what_cannot_be_read_in_time_is_unknown(doctor: Doctor, written_by: Make) -> None:
    url = written_by("3.1")
    with Proxy(url) as proxy:
        proxy.stall_when(b"row_number")
        doctor.use(proxy.url(url))
        result = doctor.one("memory.size", patience=0.3)
        assert_result(result, "unknown", "timed out", "--only memory.size --timeout 240")
        proxy.resume()
        assert doctor.status("memory.size") == "ok"


async def test_who_holds_a_table(doctor: Doctor, written_by: Make) -> None:
    url = written_by("3.1")
    doctor.use(url)
    holder = await open_connection(url, application_name="migration by hand")
    try:
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute("LOCK TABLE ai.user_memories IN ACCESS EXCLUSIVE MODE")
        pid = holder.get_server_pid()
        found = await doctor._examine(doctor.context(patience=0.5), ("schema.tables",), False, 60)
        assert_result(found["schema.tables"], "unknown", "lock")  # whose it is where that was known in time
        found = await doctor._examine(doctor.context(), ("database.activity",), False, 60)
        assert_result(
            found["database.activity"], "warning", f"process {pid}", "(migration by hand)", "holds a table", "idle"
        )
        await asyncio.to_thread(do, url, remedy(found["database.activity"], "SELECT .*"))
    finally:
        holder.terminate()
    found = await doctor._examine(doctor.context(), ("database.activity", "schema.tables"), False, 60)
    assert {result.status for result in found.values()} == {"ok"}, found


async def test_who_keeps_others_waiting(doctor: Doctor, written_by: Make) -> None:
    url = written_by("3.1")
    doctor.use(url)
    holder, waiter = await open_connection(url), await open_connection(url)
    try:
        await holder.transaction().start()
        change = "UPDATE ai.user_memories SET updated_at = 1"
        await holder.execute(change)
        waiting = asyncio.create_task(waiter.execute(change))
        async with asyncio.timeout(30):
            while not await holder.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.01)
        found = await doctor._examine(doctor.context(), ("database.activity",), False, 60)
        assert_result(
            found["database.activity"], "warning", f"process {holder.get_server_pid()}", "blocks 1 other session"
        )
        holder.terminate()
        await waiting
    finally:
        holder.terminate()
        await waiter.close()
    assert (await doctor._examine(doctor.context(), ("database.activity",), False, 60))[
        "database.activity"
    ].status == "ok"
