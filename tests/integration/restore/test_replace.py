"""Replacing a schema that is tied to the rest of its database: to other schemas, publications, extensions."""

from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path

import pytest

from junkie_cli.core.backup import catalogue, lock
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import BackupError, JunkieError
from junkie_cli.core.restore import person, person_write, whole
from junkie_cli.core.restore.whole import WholePlan
from tests.support.backups import back_up, database_of, load, names, settings_for, sql
from tests.support.debian_postgres import DebianServer, debian_server
from tests.support.postgres import clone, execute

__all__ = ["debian_server"]


def planning(path: Path, url: DatabaseUrl, folder: Path) -> Awaitable[WholePlan]:
    return whole.plan(path, database_of(url), settings_for(url, folder), replace_data=True)


async def replaced(path: Path, url: DatabaseUrl, folder: Path) -> whole.WholeResult:
    """What `restore --replace` does, its dry run first."""
    database, used = database_of(url), settings_for(url, folder)
    planned = await planning(path, url, folder)
    await whole.check(planned, database, used)
    return await whole.restore(planned, database, used)


TIED = """
CREATE TABLE public.people (id text PRIMARY KEY); CREATE SCHEMA auth; CREATE TYPE public.mood AS ENUM ('a');
CREATE FUNCTION auth.uid() RETURNS text LANGUAGE sql AS 'SELECT ''x''';
INSERT INTO people SELECT DISTINCT user_id FROM ai.user_memories;
ALTER TABLE ai.user_memories ADD FOREIGN KEY (user_id) REFERENCES people, ADD m mood DEFAULT 'a',
  ADD d text DEFAULT auth.uid();
CREATE POLICY own ON ai.user_memories USING (user_id = auth.uid());
CREATE EXTENSION citext SCHEMA public; ALTER TABLE ai.user_memories ADD c citext DEFAULT 'C';
"""


async def test_a_backup_of_the_whole_database_replaces_a_schema_that_cannot_stand_alone(
    database: DatabaseUrl, folder: Path
) -> None:
    load(database)
    sql(database, TIED)
    made = await back_up(database, folder, whole_database=True)
    sql(database, "DELETE FROM ai.user_memories")
    result = await replaced(made.path, database, folder)
    assert sql(database, "SELECT count(*) FROM ai.user_memories") == "4"
    assert result.safety_backup is not None
    kept = await catalogue.require_good(result.safety_backup)
    assert (kept.status, kept.manifest and kept.manifest.origin.whole_database) == ("verified", True)


async def test_out_of_a_whole_database_a_schema_comes_with_the_extensions_that_it_needs(
    database: DatabaseUrl, folder: Path, postgres_server: ScratchServer
) -> None:
    load(database)
    sql(database, "CREATE SCHEMA tools; CREATE EXTENSION citext SCHEMA tools")
    sql(database, "ALTER TABLE ai.user_memories ADD c tools.citext DEFAULT 'C'")
    made = await back_up(database, folder, whole_database=True, verify=False)
    with clone(postgres_server) as other:
        sql(other, "CREATE TABLE public.kept (id int)")
        await replaced(made.path, other, folder)
        assert sql(other, "SELECT DISTINCT c OPERATOR(tools.=) 'c' FROM ai.user_memories") == "t"


# --- a dry run --------------------------------------------------------------------------------------------------------


async def outcome(work: Awaitable[object]) -> str:
    try:
        await work
    except JunkieError as error:
        return error.code
    return "done"


@pytest.mark.parametrize("obstacle", ["lock", "right", "room", "tools", "folder"])
async def test_what_stops_a_restore_stops_its_dry_run(
    database: DatabaseUrl, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    """Each obstacle is met by both, and neither changes anything."""
    load(database)
    made = await back_up(database, folder, verify=False)
    url, used = database, settings_for(database, folder)
    if obstacle == "right":
        sql(database, "CREATE ROLE half LOGIN; GRANT CREATE ON DATABASE " + database.database_name + " TO half")
        sql(database, "ALTER SCHEMA ai OWNER TO half; GRANT SELECT ON ai.user_memories TO half")
        url = replace(database, user="half")
    if obstacle == "room":
        monkeypatch.setattr("junkie_cli.core.backup.checks.shutil.disk_usage", lambda _: _Full())
    if obstacle == "folder":
        (tmp_path / "file").write_text("")
        used = settings_for(database, tmp_path / "file")
    before = sql(database, "SELECT nspname, oid FROM pg_namespace ORDER BY 1"), names(folder)

    async def run(*, dry: bool) -> str:
        planned = await whole.plan(
            made.path,
            database_of(url),
            used,
            replace_data=True,
            pg_bin=tmp_path if obstacle == "tools" else None,
        )
        work = whole.check if dry else whole.restore
        return await outcome(work(planned, database_of(url), used))

    if obstacle == "lock":
        async with lock.hold(folder, purpose="another"):
            met = [await run(dry=True), await run(dry=False)]
    else:
        met = [await outcome(_told(run(dry=dry))) for dry in (True, False)]
    assert len(set(met)) == 1
    assert met[0] != "done"
    assert (sql(database, "SELECT nspname, oid FROM pg_namespace ORDER BY 1"), names(folder)) == before
    sql(database, "DO $$ BEGIN DROP OWNED BY half CASCADE; DROP ROLE half; EXCEPTION WHEN others THEN END $$")


class _Full:
    free = 1
    total = used = 1 << 40


async def _told(run: Awaitable[str]) -> None:
    if (code := await run) != "done":
        raise JunkieError(code, code=code)


USERS = """
CREATE VIEW public.v AS SELECT user_id FROM ai.user_memories; CREATE MATERIALIZED VIEW public.mv AS SELECT * FROM v;
CREATE TABLE public.votes (id text REFERENCES ai.user_memories); CREATE SEQUENCE ai.numbers;
CREATE TABLE public."my defaults" (n bigint DEFAULT nextval('ai.numbers'));
CREATE TABLE public.kind (k ai.user_memories);
CREATE FUNCTION public.counted() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM ai.user_memories; END;
CREATE FUNCTION public.first(ai.user_memories) RETURNS text LANGUAGE sql AS 'SELECT $1.memory_id';
CREATE FUNCTION ai.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TABLE public.noted (n int); CREATE TRIGGER t BEFORE INSERT ON noted FOR EACH ROW EXECUTE FUNCTION ai.note();
CREATE VIEW ai.inside AS SELECT * FROM ai.user_memories; CREATE TABLE public.free (n int); CREATE VIEW w AS TABLE free;
"""


async def test_all_that_uses_the_old_schema_from_outside_is_named(database: DatabaseUrl, folder: Path) -> None:
    """When that schema is dropped afterwards, as the message suggests, these go with it: whole columns among them."""
    load(database)
    sql(database, USERS)
    made = await back_up(database, folder)
    planned = await planning(made.path, database, folder)
    found = [warning.partition(" will still use ")[0] for warning in planned.warnings if " will still use " in warning]
    assert found == [
        'public."my defaults"',
        "public.counted()",
        "public.first(ai.user_memories)",
        "public.kind",
        "public.noted",
        "public.v",
        "public.votes",
    ]


async def test_a_dry_run_makes_no_backup_folder(database: DatabaseUrl, folder: Path, tmp_path: Path) -> None:
    load(database)
    made = await back_up(database, folder, verify=False)
    elsewhere = tmp_path / "x" / "y"
    used = settings_for(database, elsewhere)
    planned = await whole.plan(made.path, database_of(database), used, replace_data=True)
    await whole.check(planned, database_of(database), used)
    assert not elsewhere.parent.exists()


async def test_a_dry_run_for_one_person_checks_the_rights_and_the_backup_before(
    database: DatabaseUrl, folder: Path
) -> None:
    load(database)
    made = await back_up(database, folder, verify=False)
    someone = sql(database, "SELECT user_id FROM ai.user_memories LIMIT 1")
    sql(
        database,
        "UPDATE ai.user_memories SET topics = '[]'; CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA ai TO reader",
    )
    sql(database, "GRANT SELECT ON ALL TABLES IN SCHEMA ai TO reader")
    used = settings_for(database, folder)
    planned = await person.plan(made.path, someone, database_of(database), used, replace_data=True,
                                verify_into=database.with_database("postgres"))  # fmt: skip
    assert await outcome(person_write.check(planned, database_of(replace(database, user="reader")), used)) == (
        "database_rights"
    )
    async with lock.hold(folder, purpose="another"):
        assert await outcome(person_write.check(planned, database_of(database), used)) == "locked"
    assert await outcome(person_write.check(planned, database_of(database), used)) == "done"
    sql(database, "DROP OWNED BY reader; DROP ROLE reader")


# --- publications -----------------------------------------------------------------------------------------------------

PUBLISHED = """
CREATE TABLE ai.parts (id int, note text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE ai.part1 PARTITION OF ai.parts FOR VALUES FROM (1) TO (9);
CREATE TABLE public.outside (id int PRIMARY KEY);
CREATE FUNCTION ai.sent(text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true';
CREATE PUBLICATION named FOR TABLE ai.user_memories (memory_id, user_id) WHERE (user_id <> 'secret'), ai.parts,
  public.outside;
CREATE PUBLICATION schemas FOR TABLES IN SCHEMA ai, public;
CREATE PUBLICATION everything FOR ALL TABLES;
"""
MEMBERS = """
SELECT pubname, schemaname, tablename, attnames, rowfilter FROM pg_publication_tables
WHERE schemaname !~ '_before_' ORDER BY 1, 2, 3
"""


async def test_restored_tables_take_the_place_of_the_old_ones_in_publications(
    database: DatabaseUrl, folder: Path
) -> None:
    load(database)
    sql(database, PUBLISHED)
    before = sql(database, MEMBERS)
    made = await back_up(database, folder)
    result = await replaced(made.path, database, folder)
    assert sql(database, MEMBERS) == before
    still = sql(database, "SELECT pubname FROM pg_publication_tables WHERE schemaname ~ '_before_' GROUP BY 1")
    assert still == "everything"  # of all tables, the old ones too, until they are dropped
    assert [" ".join(warning.split()[:2]) for warning in result.warnings] == [
        "publication named",
        "publication schemas",
    ]


async def test_tables_that_the_backup_lacks_leave_their_publication_and_that_is_reported_first(
    database: DatabaseUrl, folder: Path
) -> None:
    load(database)
    made = await back_up(database, folder)
    sql(
        database,
        "CREATE TABLE ai.later (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE ai.later, ai.user_memories",
    )
    planned = await planning(made.path, database, folder)
    assert "not in the backup, so removed from publication p: later" in planned.warnings
    await replaced(made.path, database, folder)
    assert sql(database, "SELECT schemaname, tablename FROM pg_publication_tables") == "ai|user_memories"


async def test_who_may_not_change_a_publication_is_reported_what_its_owner_has_to_do(
    database: DatabaseUrl, folder: Path, postgres_server: ScratchServer
) -> None:
    load(database)
    execute(postgres_server, f"CREATE ROLE owning LOGIN; GRANT CREATE ON DATABASE {database.database_name} TO owning")
    sql(database, "ALTER SCHEMA ai OWNER TO owning")
    for table in sql(database, "SELECT tablename FROM pg_tables WHERE schemaname = 'ai'").split():
        sql(database, f"ALTER TABLE ai.{table} OWNER TO owning")
    sql(database, "CREATE PUBLICATION p FOR TABLE ai.user_memories (memory_id)")
    owner = replace(database, user="owning")
    made = await back_up(database, folder)
    planned = await planning(made.path, owner, folder)
    assert any("cannot change publication p" in warning for warning in planned.warnings)
    result = await whole.restore(planned, database_of(owner), settings_for(owner, folder))
    (told,) = [warning for warning in result.warnings if "still contains the old table" in warning]
    sql(database, told.partition("run: ")[2])
    assert sql(database, "SELECT schemaname, attnames FROM pg_publication_tables") == "ai|{memory_id}"
    sql(database, "REASSIGN OWNED BY owning TO junkie; DROP OWNED BY owning")
    execute(postgres_server, "DROP ROLE owning")


async def test_publications_of_older_servers(debian_server: DebianServer, folder: Path) -> None:
    url = debian_server.socket_url(debian_server.new_database())
    load(url)
    sql(url, PUBLISHED)
    before = sql(url, MEMBERS)
    made = await back_up(url, folder, verify=False)
    database, used = database_of(url), settings_for(url, folder)
    planned = await planning(made.path, url, folder)
    await whole.restore(planned, database, used)
    assert sql(url, MEMBERS) == before


# --- extensions -------------------------------------------------------------------------------------------------------

INSIDE = """
CREATE EXTENSION citext SCHEMA ai; CREATE EXTENSION pg_trgm SCHEMA ai;
ALTER TABLE ai.user_memories ADD c ai.citext DEFAULT 'C'; CREATE INDEX t ON ai.user_memories (c);
CREATE INDEX g ON ai.user_memories USING gin (user_id ai.gin_trgm_ops);
CREATE TABLE public.outside (c ai.citext); INSERT INTO public.outside VALUES ('A');
"""
PLACES = "SELECT extname, extnamespace::regnamespace FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1"


@pytest.mark.parametrize("whole_database", [False, True])
async def test_an_extension_in_the_schema_stays_in_it(
    database: DatabaseUrl, folder: Path, whole_database: bool
) -> None:
    load(database)
    sql(database, INSIDE)
    made = await back_up(database, folder, whole_database=whole_database)
    sql(database, "DELETE FROM ai.user_memories")
    for _ in range(2):
        result = await replaced(made.path, database, folder)
        assert sql(database, PLACES) == "citext|ai\npg_trgm|ai"
        assert sql(database, "SELECT count(*) FROM ai.user_memories WHERE c OPERATOR(ai.=) 'c'") == "4"
    sql(database, f'DROP SCHEMA "{result.aside}" CASCADE')
    assert sql(database, PLACES) == "citext|ai\npg_trgm|ai"
    assert sql(database, "SELECT c OPERATOR(ai.=) 'a' FROM public.outside") == "t"


async def test_an_extension_that_the_backup_does_not_know_stays_too(database: DatabaseUrl, folder: Path) -> None:
    load(database)
    made = await back_up(database, folder)
    sql(database, "CREATE EXTENSION citext SCHEMA ai; CREATE TABLE public.outside (c ai.citext)")
    await replaced(made.path, database, folder)
    assert sql(database, PLACES) == "citext|ai"
    sql(database, "INSERT INTO public.outside VALUES ('a')")


async def test_a_schema_with_nothing_but_an_extension_is_restored_into(
    database: DatabaseUrl, folder: Path, postgres_server: ScratchServer
) -> None:
    load(database)
    sql(database, INSIDE)
    made = await back_up(database, folder)
    with clone(postgres_server) as other:
        sql(other, "CREATE SCHEMA ai; CREATE EXTENSION citext SCHEMA ai")
        await replaced(made.path, other, folder)
        assert sql(other, PLACES) == "citext|ai\npg_trgm|ai"


@pytest.mark.parametrize("why", ["its author", "its owner"])
async def test_an_extension_that_cannot_be_moved_stops_it_before_anything_is_done(
    database: DatabaseUrl, folder: Path, postgres_server: ScratchServer, why: str
) -> None:
    load(database)
    sql(database, INSIDE)
    made = await back_up(database, folder)
    url = database
    if why == "its author":
        sql(database, "UPDATE pg_extension SET extrelocatable = false WHERE extname = 'citext'")
    else:
        execute(postgres_server, f"CREATE ROLE tenant LOGIN; GRANT CREATE ON DATABASE {url.database_name} TO tenant")
        sql(database, "ALTER SCHEMA ai OWNER TO tenant; GRANT SELECT ON ALL TABLES IN SCHEMA ai TO tenant")
        url = replace(database, user="tenant")
    before = sql(database, PLACES), names(folder)
    with pytest.raises(BackupError) as refused:
        await planning(made.path, url, folder)
    assert refused.value.code == "restore_extension"
    assert (sql(database, PLACES), names(folder)) == before
    if why == "its owner":
        sql(database, "ALTER SCHEMA ai OWNER TO junkie; DROP OWNED BY tenant")
        execute(postgres_server, "DROP ROLE tenant")
