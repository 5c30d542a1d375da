"""Backups of a schema that refers to other schemas, as on hosted platforms: verified where possible, else unverified
with the reason; never refused.
"""

from pathlib import Path

import pytest

from junkie_cli.core.backup import manifest
from junkie_cli.core.backup.verify import verify
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import BackupError
from junkie_cli.core.progress import Progress
from junkie_cli.core.restore import whole
from tests.support.backups import back_up, database_of, load, psql, settings_for, sql
from tests.support.postgres import execute

OTHERS = """
create schema auth; create schema "Odd one";
create type auth.level as enum ('low', 'it''s high');
create domain auth.name as text check (value <> '');
create type auth.pair as (a int, b auth.level);
create table auth.users (id text primary key, level auth.level, other int);
create function auth.uid() returns text language sql stable as 'select ''ada''::text';
create function auth.is_low(auth.level) returns boolean language sql immutable as 'select $1 = ''low''';
create function auth.touch() returns trigger language plpgsql as 'begin new.updated_at = 1; return new; end';
create function "Odd one"."Given"(text) returns text language sql immutable as 'select upper($1)';
create collation auth.plain (locale = 'C');
create sequence auth.numbers;
create view auth.levels as select id, level from auth.users;
insert into auth.users values ('u1', 'low', 1);
"""
# How the schema refers to them, and an object that is named then.
FORMS = {
    "foreign key": (
        "alter table ai.user_memories add column owner text references auth.users; "
        "update ai.user_memories set owner = 'u1'",
        "auth.users",
    ),
    "foreign key, odd names": (
        'create table ai."odd one" (owner text constraint "my key" references auth.users);'
        " insert into ai.\"odd one\" values ('u1')",
        "auth.users",
    ),
    "enum": ("alter table ai.user_memories add column l auth.level default 'it''s high'", "auth.level"),
    "enum array": ("alter table ai.user_memories add column l auth.level[] default '{low}'", "auth.level"),
    "domain": ("alter table ai.user_memories add column n auth.name default 'x'", "auth.name"),
    "composite": ("alter table ai.user_memories add column p auth.pair default row(1, 'low')", "auth.pair"),
    "row type": ("alter table ai.user_memories add column p auth.users default row('x', 'low', 1)", "auth.users"),
    "trigger function": (
        "create trigger t before update on ai.user_memories for each row execute function auth.touch()",
        "auth.touch()",
    ),
    "default": ("alter table ai.user_memories alter column user_id set default auth.uid()", "auth.uid()"),
    "sequence": (
        "alter table ai.user_memories add column n bigint default nextval('auth.numbers')",
        "auth.numbers",
    ),
    "policy": (
        "create policy p on ai.user_memories using (user_id = auth.uid());"
        " alter table ai.user_memories enable row level security",
        "auth.uid()",
    ),
    "policy on a table": (
        "create policy p on ai.user_memories using (exists (select from auth.users u where u.id = user_id"
        " and u.level = 'low')); alter table ai.user_memories enable row level security",
        "auth.users",
    ),
    "collation": ("alter table ai.user_memories add column t text collate auth.plain default 'x'", "auth.plain"),
    "view": (
        "create view ai.v as select m.memory_id, u.level from ai.user_memories m"
        " join auth.levels u on u.id = m.user_id",
        "auth.levels",
    ),
    "check": (
        "alter table ai.user_memories add column l auth.level default 'low';"
        " alter table ai.user_memories add check (auth.is_low(l))",
        "auth.is_low(auth.level)",
    ),
    "index": (
        'create index on ai.user_memories ("Odd one"."Given"(user_id))',
        '"Odd one"."Given"(pg_catalog.text)',
    ),
    "function": (
        "create function ai.f(auth.level) returns setof auth.users language sql as 'select * from auth.users'",
        "auth.level",
    ),
}
# What cannot be had empty in the proof, and what the reason names.
HOPELESS = {
    "inheritance": ("create table ai.more () inherits (auth.users)", "auth.users"),
    "generated": (
        'alter table ai.user_memories add column g text generated always as ("Odd one"."Given"(user_id)) stored',
        '"Odd one"."Given"',
    ),
    "operator": (
        "create function auth.eq(text, text) returns boolean language sql immutable as 'select $1 = $2';"
        " create operator auth.=== (leftarg = text, rightarg = text, function = auth.eq);"
        " alter table ai.user_memories add check (memory_id operator(auth.===) memory_id)",
        "auth.===",
    ),
    "aggregate": (
        "create aggregate auth.total(int) (sfunc = int4pl, stype = int);"
        " create view ai.v as select auth.total(1) from ai.user_memories",
        "auth.total",
    ),
    "hidden in a body": (
        "create function ai.g(text) returns boolean language plpgsql as 'begin return auth.uid() is not null; end';"
        " alter table ai.user_memories add check (ai.g(memory_id))",
        "auth",
    ),
}


@pytest.fixture(scope="module")
def template_database(postgres_server: ScratchServer) -> str:
    execute(postgres_server, "CREATE DATABASE outside_template")
    url = postgres_server.url.with_database("outside_template")
    load(url)
    sql(url, "INSERT INTO ai.user_memories (memory_id, memory, user_id, created_at) VALUES ('h1', '1', 'h', 1)")
    sql(url, OTHERS)
    return "outside_template"


@pytest.mark.parametrize("form", FORMS)
async def test_what_lies_in_other_schemas_is_made_empty_and_the_backup_is_verified(
    database: DatabaseUrl, folder: Path, form: str
) -> None:
    statement, named = FORMS[form]
    sql(database, statement)
    made = await back_up(database, folder)
    assert made.manifest.unverified_because == ""
    assert made.manifest.verified_at
    assert named in made.manifest.outside.objects
    assert manifest.load(manifest.path_for(made.path)) == made.manifest
    assert (await verify(made.path, into=database.with_database("postgres"))).manifest.verified_at


async def test_all_forms_at_once(database: DatabaseUrl, folder: Path) -> None:
    for statement in (FORMS[form][0] for form in ("foreign key", "enum", "policy", "collation", "view", "index")):
        sql(database, statement)
    assert (await back_up(database, folder)).manifest.verified_at


@pytest.mark.parametrize("form", HOPELESS)
async def test_what_cannot_be_made_leaves_the_backup_unverified_and_is_named(
    database: DatabaseUrl, folder: Path, form: str
) -> None:
    statement, named = HOPELESS[form]
    sql(database, statement)
    warnings: list[str] = []
    made = await back_up(database, folder, progress=_warned(warnings))
    assert made.manifest.verified_at is None
    assert named in made.manifest.unverified_because
    assert made.path.exists()
    assert any(named in warning and "--whole-database" in warning for warning in warnings)
    assert (await back_up(database, folder, whole_database=True)).manifest.verified_at


def _warned(warnings: list[str]) -> Progress:
    return Progress(warn=warnings.append)


async def test_a_schema_by_itself_refers_to_nothing(database: DatabaseUrl, folder: Path) -> None:
    sql(database, "create extension citext; alter table ai.user_memories add column c citext")
    assert (await back_up(database, folder)).manifest.outside.objects == ()


async def test_a_restore_says_what_the_target_lacks(
    database: DatabaseUrl, folder: Path, postgres_server: ScratchServer
) -> None:
    sql(database, FORMS["default"][0])
    made = await back_up(database, folder)
    sql(
        database,
        "alter table ai.user_memories alter column user_id drop default; drop schema ai cascade;"
        " drop schema auth cascade",
    )
    with pytest.raises(BackupError, match=r"auth\.uid\(\)") as refused:
        await whole.plan(made.path, database_of(database), settings_for(database, folder), replace_data=False)
    assert refused.value.code == "restore_lacks"


# --- client_encoding --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
async def test_a_client_encoding_of_the_role_or_the_database_plays_no_part(
    database: DatabaseUrl, folder: Path, encoding: str
) -> None:
    """The rows and a table's name have characters that it lacks; there and back."""
    sql(
        database,
        'create table ai."schön ☃" (note text); insert into ai."schön ☃" values (\'naïve 🙂\');'
        f" alter database {database.database_name} set client_encoding = '{encoding}';"
        f" alter role junkie in database {database.database_name} set client_encoding = '{encoding}'",
    )
    made = await back_up(database, folder)
    assert made.manifest.verified_at
    settings = settings_for(database, folder)
    planned = await whole.plan(made.path, database_of(database), settings, replace_data=True)
    restored = await whole.restore(planned, database_of(database), settings)
    assert ("schön ☃", 1) in restored.tables


async def test_names_in_a_database_of_another_encoding_come_back(postgres_server: ScratchServer, folder: Path) -> None:
    locale = "LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
    execute(postgres_server, f"CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' {locale}")
    try:
        url = postgres_server.url.with_database("latin")
        made_of = 'create schema ai; create table ai."schön" (note text); insert into ai."schön" values (\'naïve\')'
        psql(url, "-c", "set client_encoding = utf8", "-c", made_of)
        made = await back_up(url, folder)
        assert made.manifest.verified_at
        sql(url, "set client_min_messages = warning; drop schema ai cascade")
        settings = settings_for(url, folder)
        planned = await whole.plan(made.path, database_of(url), settings, replace_data=False)
        assert (await whole.restore(planned, database_of(url), settings)).tables == (("schön", 1),)
    finally:
        execute(postgres_server, "DROP DATABASE latin WITH (FORCE)")
