"""Before a backup is restored into a real database, the code that it brings is shown."""

import re

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded.scratch import ScratchServer
from tests.support.backups import environment, load, sql
from tests.support.junkie import Junkie
from tests.support.postgres import clone
from tests.support.schemas import validate

CODE = """
CREATE FUNCTION ai.plain(text, integer) RETURNS text LANGUAGE sql AS 'select $1';
CREATE FUNCTION ai.mighty() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'begin return new; end';
CREATE PROCEDURE ai.proceed() LANGUAGE sql AS 'select 1';
CREATE AGGREGATE ai.total(int) (sfunc = int4pl, stype = int);
CREATE TRIGGER fires BEFORE INSERT ON ai.user_memories FOR EACH ROW EXECUTE FUNCTION ai.mighty();
CREATE RULE quiet AS ON DELETE TO ai.user_memories DO ALSO SELECT 1;
CREATE FUNCTION public.elsewhere() RETURNS event_trigger LANGUAGE plpgsql AS 'begin end';
CREATE EVENT TRIGGER everywhere ON sql_drop EXECUTE FUNCTION public.elsewhere();
"""
OF_SCHEMA = {
    ("function", "ai", "plain(text, integer)", False),
    ("function", "ai", "mighty()", True),
    ("procedure", "ai", "proceed()", False),
    ("aggregate", "ai", "total(integer)", False),
    ("trigger", "ai", "user_memories fires", False),
    ("rule", "ai", "user_memories quiet", False),
}
OUTSIDE = {("function", "public", "elsewhere()", False), ("event trigger", "", "everywhere", False)}


@pytest.fixture
def env(database: DatabaseUrl, junkie: Junkie) -> dict[str, str]:
    load(database)
    return dict(environment(database, junkie.backup_dir))


def found(document: dict[str, object]) -> set[tuple[str, str, str, bool]]:
    entries = document["code"]
    assert isinstance(entries, list)
    return {(entry["kind"], entry["schema"], entry["name"], entry["security_definer"]) for entry in entries}


def test_the_documents_list_it_and_a_run_without_a_terminal_warns_of_it(
    junkie: Junkie, env: dict[str, str], database: DatabaseUrl, postgres_server: ScratchServer
) -> None:
    sql(database, CODE)
    junkie.run("backup", "--no-verify", env=env).ok()
    sql(database, "DROP EVENT TRIGGER everywhere")
    with clone(postgres_server) as other:
        planned = junkie.run("restore", "latest", "--into", other.libpq(), "--dry-run", "--json", env=env).ok().json()
        validate(planned, "restore")
        assert found(planned) == OF_SCHEMA
        done = junkie.run("restore", "latest", "--into", other.libpq(), "--json", env=env).ok()
        assert found(done.json()) == OF_SCHEMA
        assert "function ai.mighty() (SECURITY DEFINER)" in done.stderr
        assert "trigger ai.user_memories fires" in done.stderr
        assert "this role is a superuser" in done.stderr


def test_a_person_is_shown_it_before_the_question(
    junkie: Junkie, env: dict[str, str], database: DatabaseUrl, postgres_server: ScratchServer
) -> None:
    sql(database, CODE)
    junkie.run("backup", "--no-verify", env=env).ok()
    sql(database, "DROP EVENT TRIGGER everywhere")
    with clone(postgres_server) as other:
        child = junkie.terminal("restore", "latest", "--into", other.libpq(), env=env, columns=120)
        child.expect("adds code to the database")
        child.expect(re.escape("ai.mighty()"))
        child.expect("Restore into")
        child.sendline("n")
        child.wait()
        assert sql(other, "SELECT count(*) FROM pg_namespace WHERE nspname = 'ai'") == "0"


def test_of_a_whole_database_only_what_is_restored_is_listed(
    junkie: Junkie, env: dict[str, str], database: DatabaseUrl, postgres_server: ScratchServer
) -> None:
    sql(database, CODE)
    junkie.run("backup", "--no-verify", "--whole-database", env=env).ok()
    sql(database, "DROP EVENT TRIGGER everywhere")
    with clone(postgres_server) as other:
        words = ("restore", "latest", "--into", other.libpq(), "--dry-run", "--json")
        assert found(junkie.run(*words, env=env).ok().json()) == OF_SCHEMA | OUTSIDE
        sql(other, "CREATE TABLE public.there (a int)")
        assert found(junkie.run(*words, env=env).ok().json()) == OF_SCHEMA


def test_without_any_nothing_is_said(junkie: Junkie, env: dict[str, str], postgres_server: ScratchServer) -> None:
    junkie.run("backup", "--no-verify", env=env).ok()
    with clone(postgres_server) as other:
        done = junkie.run("restore", "latest", "--into", other.libpq(), "--json", env=env).ok()
        assert done.json()["code"] == []
        assert "code" not in done.stderr
