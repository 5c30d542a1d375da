"""A dump of a hostile schema: its code runs while it is proven, verified and read for one person, and can do nothing.

Every way that code gets into a table's restore is tried (`VEHICLES`), each with every deed (`DEEDS`): the code tries
them one after another and fails loudly, as a breach, when one succeeds.
"""

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from junkie_cli.core.backup import scratch
from junkie_cli.core.backup.verify import verify
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import BackupError, NotFoundError
from junkie_cli.core.restore import person
from tests.support.backups import back_up, database_of, load, settings_for, sql
from tests.support.debian_postgres import DebianServer, debian_server
from tests.support.postgres import execute, scratch_server

__all__ = ["debian_server"]

DEEDS = (
    "copy (select 1) to program 'touch {mark}'",
    "copy (select 1) to '{mark}'",
    "copy ai.got from program 'touch {mark}; echo x'",
    "copy ai.got from '/etc/passwd'",
    "select pg_read_file('/etc/passwd')",
    "select pg_read_binary_file('/etc/passwd')",
    "select pg_ls_dir('/etc')",
    "select pg_stat_file('/etc/passwd')",
    "select lo_import('/etc/passwd')",
    "select lo_export(lo_from_bytea(0, 'x'), '{mark}')",
    "create subscription s connection 'host=127.0.0.1 port={port} dbname=x user=x password=x' publication p"
    " with (create_slot = false, slot_name = none)",
    "create extension dblink",
    "create extension postgres_fdw",
    "create extension file_fdw",
    "create extension adminpack",
    "create foreign data wrapper w",
    "create function pg_temp.c(int) returns int language c as '/lib/x86_64-linux-gnu/libc.so.6', 'exit'",
    "create function pg_temp.i(int, int) returns int language internal as 'int4pl'",
    "create event trigger e on ddl_command_start execute function ai.quiet()",
    "create event trigger e on login execute function ai.quiet()",
    "load '/lib/x86_64-linux-gnu/libc.so.6'",
    "alter role current_user superuser",
    "alter role current_user createrole",
    "create role friend superuser login",
    "grant pg_execute_server_program to current_user",
    "set role junkie",
    "set session authorization junkie",
    "reset session authorization; copy (select 1) to '{mark}'",
    "set log_min_messages = 'debug5'",
    "set temp_file_limit = -1",
    "set session_preload_libraries = 'x'",
    "alter role junkie set search_path = 'ai'",
    "alter system set archive_command = 'touch {mark}'",
    "select pg_reload_conf()",
    "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'junkie' and pid <> pg_backend_pid()",
    "create or replace function pg_catalog.now() returns timestamptz language sql as 'select null::timestamptz'",
)

HOSTILE = """
create table ai.got (line text);
create function ai.quiet() returns event_trigger language plpgsql as 'begin end';
create function ai.act() returns void language plpgsql {definer} as $f$
declare deed text; done text := ''; ok boolean;
begin
  {first}
  if exists (select from pg_roles where rolname = current_user
      and (rolsuper or rolcreaterole or rolcreatedb or rolreplication or not rolbypassrls))
    or session_user <> current_user then done := 'it has rights'; end if;
  foreach deed in array array[{deeds}] loop
    begin execute deed; ok := true; exception when others then ok := false; end;
    if ok then done := done || ' ' || deed; end if;
  end loop;
  if done <> '' then raise exception 'breach: %', done; end if;
end $f$;
create function ai.f(given text) returns text language plpgsql immutable {definer} as $f$
begin
  if current_database() like 'junkie_proof_%' then perform ai.act(); end if;
  return given;
end $f$;
create function ai.fire() returns trigger language plpgsql as 'begin perform ai.f(''x''); return new; end';
"""

# How code comes to run: while rows are copied, while indexes are made, while rows are read.
VEHICLES = {
    "constraint": "alter table ai.user_memories add constraint c check (ai.f(memory_id) is not null)",
    "default": "alter table ai.user_memories alter column agent_id set default ai.f('x')",
    "generated": "alter table ai.user_memories add column g text generated always as (ai.f(memory_id)) stored",
    "index": "create index on ai.user_memories (ai.f(memory_id))",
    "partial index": "create index on ai.user_memories (user_id) where ai.f(memory_id) is not null",
    "policy": "create policy p on ai.user_memories using (ai.f(memory_id) is not null);"
    " alter table ai.user_memories enable row level security; alter table ai.user_memories force row level security",
    "trigger": "create trigger t before insert on ai.user_memories for each row execute function ai.fire();"
    " alter table ai.user_memories enable always trigger t",
    "rule": "create rule r as on insert to ai.user_memories do also select ai.f(new.memory_id)",
    "domain": "create domain ai.d as text check (value is null or ai.f(value) is not null);"
    " alter table ai.user_memories alter column agent_id type ai.d",
    "cast": "create function ai.g(ai.user_memories) returns text language sql as 'select ai.f(''x'')';"
    " create cast (ai.user_memories as text) with function ai.g(ai.user_memories)",
    "operator": "create function ai.same(ai.user_memories, ai.user_memories) returns boolean language sql as"
    " 'select ai.f(''x'') is not null'; create operator ai.= (leftarg = ai.user_memories, rightarg = ai.user_memories,"
    " function = ai.same)",
    "collation": "create collation ai.odd (provider = builtin, locale = 'C.UTF-8');"
    " alter table ai.user_memories alter column agent_id type text collate ai.odd;"
    " create index on ai.user_memories (ai.f(agent_id) collate ai.odd)",
    "view": "create view ai.v as select ai.f(memory_id) from ai.user_memories",
    "materialized view": "create materialized view ai.v as select ai.f(memory_id) from ai.user_memories",
    "partition": "create table ai.parts (a text) partition by list (ai.f(a));"
    " create table ai.part partition of ai.parts for values in ('x'); insert into ai.parts values ('x')",
    "range": "create function ai.least(text, text) returns float8 language sql immutable as 'select length(ai.f($1))';"
    " create type ai.span as range (subtype = text, subtype_diff = ai.least);"
    " create table ai.spans (s ai.span); insert into ai.spans select ai.span('a', 'b') from generate_series(1, 9);"
    " create index on ai.spans using gist (s)",
}
RUNS = (
    "constraint", "generated", "index", "partial index", "domain", "collation", "materialized view", "partition"
)  # fmt: skip
NOT_CALLED = "all that are not called"
VEHICLES[NOT_CALLED] = ";".join(code for vehicle, code in VEHICLES.items() if vehicle not in RUNS)


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[ScratchServer]:
    with scratch_server(hba=["local all mighty trust"]) as server:
        yield server


@pytest.fixture(scope="module")
def template_database(postgres_server: ScratchServer) -> str:
    """A database of agno 3.1, with two memories of one person."""
    execute(postgres_server, "CREATE DATABASE hostile_template")
    url = postgres_server.url.with_database("hostile_template")
    load(url)
    sql(
        url,
        "INSERT INTO ai.user_memories (memory_id, memory, user_id, agent_id, created_at)"
        " VALUES ('h1', '1', 'h', 'a', 1), ('h2', '2', 'h', 'b', 2)",
    )
    return "hostile_template"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A port of this machine to which nobody should connect."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        found.listen()
        found.setblocking(False)
        yield found


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file that is not there unless a deed succeeded; any user may make it."""
    open_to_all = Path("/tmp") / f"junkie-hostile-{tmp_path.name}-{tmp_path.parent.name}"
    open_to_all.mkdir(mode=0o777, exist_ok=True)
    open_to_all.chmod(0o777)
    return open_to_all / "breach"


def plant(url: DatabaseUrl, vehicle: str, mark: Path, *, port: int = 1, definer: str = "", first: str = "") -> None:
    """Put the hostile code into the database."""
    deeds = ", ".join("$d$" + deed.format(mark=mark, port=port) + "$d$" for deed in DEEDS)
    sql(url, HOSTILE.format(deeds=deeds, definer=definer, first=first))
    sql(url, VEHICLES[vehicle])


def assert_unharmed(mark: Path, listener: socket.socket) -> None:
    assert not mark.exists()
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize("definer", ["", "security definer"])
@pytest.mark.parametrize("vehicle", [*RUNS, NOT_CALLED])
async def test_code_in_a_dump_can_do_nothing_while_it_is_proven(
    database: DatabaseUrl, folder: Path, mark: Path, listener: socket.socket, vehicle: str, definer: str
) -> None:
    plant(database, vehicle, mark, port=listener.getsockname()[1], definer=definer)
    made = await back_up(database, folder)
    assert made.manifest.unverified_because == ""
    assert made.manifest.verified_at
    assert_unharmed(mark, listener)


@pytest.mark.parametrize("vehicle", [*RUNS, NOT_CALLED])
async def test_the_code_does_run_where_it_is_thought_to(
    database: DatabaseUrl, folder: Path, mark: Path, vehicle: str
) -> None:
    """Without this the test above would show nothing; casts, operators and policies are not called at all."""
    plant(database, vehicle, mark, first="raise exception 'it ran';")
    made = await back_up(database, folder)
    assert (made.manifest.verified_at is None) == (vehicle in RUNS)


async def test_nor_on_the_server_that_is_backed_up(database: DatabaseUrl, folder: Path) -> None:
    """A cast that the schema's owner made is not called with the rights of who makes the backup."""
    sql(
        database,
        "create function ai.g(ai.user_memories) returns text language plpgsql as"
        " $$begin raise exception 'called'; end$$;"
        " create cast (ai.user_memories as text) with function ai.g(ai.user_memories)",
    )
    assert (await back_up(database, folder)).manifest.verified_at


@pytest.mark.parametrize("own_server", [True, False])
async def test_nor_while_it_is_verified_or_read_for_one_person(
    database: DatabaseUrl, folder: Path, mark: Path, listener: socket.socket, own_server: bool
) -> None:
    plant(database, "constraint", mark, port=listener.getsockname()[1])
    into = None if own_server else database.with_database("postgres")
    made = await back_up(database, folder, verify=False)
    assert (await verify(made.path, into=into)).manifest.verified_at
    settings = settings_for(database, folder)
    planned = await person.plan(made.path, "h", database_of(database), settings, replace_data=False, verify_into=into)
    assert len(planned.items) == 2
    with pytest.raises(NotFoundError):
        await person.plan(made.path, "x", database_of(database), settings, replace_data=False, verify_into=into)
    assert_unharmed(mark, listener)


@pytest.mark.parametrize("own_server", [True, False])
async def test_code_that_never_ends_is_stopped(
    database: DatabaseUrl, folder: Path, mark: Path, own_server: bool
) -> None:
    plant(database, "constraint", mark, first="loop end loop;")
    into = None if own_server else database.with_database("postgres")
    made = await back_up(database, folder, verify_timeout=2, verify_into=into)
    assert made.manifest.unverified_because == "its restore was stopped: it was not done after 2 seconds"
    assert made.path.exists()
    left = "select count(*) from pg_database where datname like 'junkie_proof_%'"
    assert sql(database, left) == "0"
    assert sql(database, "select count(*) from pg_roles where rolname like 'junkie_proof_%'") == "0"


@pytest.mark.parametrize("table", ["create temp table full_disk", "create table ai.full_disk"])
@pytest.mark.parametrize("own_server", [True, False])
async def test_code_that_fills_the_disk_is_stopped(
    database: DatabaseUrl, folder: Path, mark: Path, own_server: bool, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "_LEAST_BYTES", 128 << 20)
    monkeypatch.setattr(scratch, "_LOOK_ELSEWHERE", 1)
    name = table.split()[-1]
    rows = f"insert into {name} select repeat(n::text, 200) from generate_series(1, 9999) n;"
    first = f"{table} (filler text); loop {rows} end loop;"
    plant(database, "constraint", mark, first=first)
    into = None if own_server else database.with_database("postgres")
    made = await back_up(database, folder, verify_into=into, verify_timeout=120)
    assert "far more than its data" in made.manifest.unverified_because


async def test_code_that_takes_all_memory_is_stopped(
    database: DatabaseUrl, folder: Path, mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "_MEMORY", 1 << 30)
    plant(database, "constraint", mark, first="for n in 1..100 loop done := done || repeat('x', 20000000); end loop;")
    made = await back_up(database, folder, verify_into=None)
    assert "out of memory" in made.manifest.unverified_because


async def test_a_log_that_is_filled_without_end_is_not_written(database: DatabaseUrl, folder: Path, mark: Path) -> None:
    plant(database, "constraint", mark, first="for n in 1..100000 loop raise log 'more and more'; end loop;")
    assert (await back_up(database, folder, verify_into=None)).manifest.verified_at


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (
            "create extension dblink; create view ai.v as select * from public.dblink('', '') t(a int)",
            "extension dblink is not marked as trusted in PostgreSQL, so verification does not create it",
        ),
        (
            "create function ai.c(int, int) returns int language internal as 'int4pl'",
            "permission denied for language internal",
        ),
        (
            "create function ai.c() returns trigger language c as '$libdir/autoinc', 'autoinc'",
            "permission denied for language c",
        ),
    ],
)
async def test_what_only_a_superuser_could_restore_is_unverified_and_says_so(
    database: DatabaseUrl, folder: Path, statement: str, reason: str
) -> None:
    sql(database, statement)
    made = await back_up(database, folder)
    assert made.manifest.verified_at is None
    assert reason in made.manifest.unverified_because
    with pytest.raises(BackupError) as refused:
        await back_up(database, folder, require_verified=True)
    assert refused.value.code == "backup_unprovable"


async def test_needed_extensions_that_do_no_harm_are_made_by_the_superuser(database: DatabaseUrl, folder: Path) -> None:
    """Also one that lies in the backed-up schema, or in a schema that the whole database's dump makes itself."""
    sql(
        database,
        "create extension hstore schema ai; create schema more; create extension citext schema more;"
        " create extension moddatetime; alter table ai.user_memories add column h ai.hstore, add column c more.citext;"
        " create trigger m before update on ai.user_memories for each row execute function moddatetime(updated_at)",
    )
    for whole in (False, True):
        assert (await back_up(database, folder, whole_database=whole)).manifest.verified_at


async def test_event_triggers_are_in_the_dump_and_not_tried(database: DatabaseUrl, folder: Path) -> None:
    sql(
        database,
        "create function public.e() returns event_trigger language plpgsql as 'begin end';"
        " create event trigger e on ddl_command_end execute function public.e()",
    )
    assert (await back_up(database, folder, whole_database=True)).manifest.verified_at


@pytest.mark.parametrize("rights", ["SUPERUSER", "CREATEDB BYPASSRLS"])
async def test_the_role_named_for_a_proof_may_be_a_superuser_or_have_no_right_but_to_make_databases(
    database: DatabaseUrl, folder: Path, mark: Path, postgres_server: ScratchServer, rights: str
) -> None:
    execute(postgres_server, "DROP ROLE IF EXISTS mighty")
    execute(postgres_server, f"CREATE ROLE mighty LOGIN {rights}")
    plant(database, "policy", mark)
    sql(database, VEHICLES["constraint"])
    made = await back_up(database, folder, verify_into=_as(database.with_database("postgres"), "mighty"))
    # The plain role is the owner itself, and may make databases: that is all that the deeds find.
    expected = "" if rights == "SUPERUSER" else "breach: it has rights"
    assert expected in made.manifest.unverified_because
    assert (made.manifest.verified_at is not None) == (rights == "SUPERUSER")
    assert not mark.exists()


async def test_a_superuser_of_an_older_server_makes_the_role_there_too(
    debian_server: DebianServer, folder: Path
) -> None:
    """Over the network, with a password and TLS."""
    name = debian_server.new_database()
    debian_server.execute("CREATE SCHEMA ai; CREATE TABLE ai.t (a text); CREATE EXTENSION citext SCHEMA ai", name)
    debian_server.execute("ALTER TABLE ai.t ADD COLUMN c ai.citext CHECK (current_user <> 'nobody')", name)
    made = await back_up(debian_server.url(name), folder, verify_into=debian_server.url())
    assert made.manifest.verified_at
    assert debian_server.execute("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'junkie_proof%'") == [("0",)]


async def test_a_role_that_could_do_harm_is_not_taken_for_a_proof(
    database: DatabaseUrl, folder: Path, postgres_server: ScratchServer
) -> None:
    execute(postgres_server, "DROP ROLE IF EXISTS mighty")
    execute(postgres_server, "CREATE ROLE mighty LOGIN CREATEDB CREATEROLE")
    into = database.with_database("postgres")
    with pytest.raises(scratch.Unprovable, match="privileges that code in the dump must not have"):
        await scratch._foreign(_as(into, "mighty"), [], 17, 1, 1)


def _as(url: DatabaseUrl, role: str) -> DatabaseUrl:
    return replace(url, user=role)
