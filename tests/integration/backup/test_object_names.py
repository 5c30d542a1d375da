"""A manifest's names are held against the dump, whatever the objects of a schema are called."""

import json
from pathlib import Path

import pytest

from junkie_cli.core.backup import manifest as manifests
from junkie_cli.core.backup.verify import verify
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import BackupError
from junkie_cli.core.restore import whole
from tests.support.backups import back_up, database_of, load, psql, settings_for, sql
from tests.support.postgres import clone

ODD = """
CREATE TABLE ai."a table (x" (id serial PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, "c ö" text);
CREATE TABLE ai."line
break" (id int); CREATE TABLE ai."it's "" $junkie$ 100%" (id int);
CREATE TABLE ai.parts (id int) PARTITION BY RANGE (id);
CREATE TABLE ai.part1 PARTITION OF ai.parts FOR VALUES FROM (1) TO (9);
CREATE VIEW ai."a view" AS SELECT 1 AS one; CREATE MATERIALIZED VIEW ai.mat AS SELECT 1 AS one;
CREATE TYPE ai.mood AS ENUM ('a'); CREATE TYPE ai."a pair" AS (a int); CREATE DOMAIN ai.dom AS int;
CREATE TYPE ai.span AS RANGE (subtype = int); CREATE SEQUENCE ai."Seq";
CREATE FUNCTION ai.f(a int, VARIADIC b ai.mood[]) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION ai."odd ""name (x"(INOUT t text) LANGUAGE sql AS 'SELECT t';
CREATE PROCEDURE ai.p() LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE ai.total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
"""
EXTENSION = "CREATE EXTENSION citext SCHEMA ai; CREATE TABLE ai.folded (name ai.citext)"
GRANTS = """
GRANT SELECT ON ALL TABLES IN SCHEMA ai TO a_reader; GRANT USAGE ON ALL SEQUENCES IN SCHEMA ai TO a_reader;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA ai TO a_reader; GRANT USAGE ON TYPE ai.mood, ai.span TO a_reader;
GRANT USAGE ON DOMAIN ai.dom TO a_reader; GRANT SELECT ("c ö") ON ai."a table (x" TO PUBLIC;
"""


@pytest.fixture
def odd(database: DatabaseUrl) -> DatabaseUrl:
    load(database)
    sql(database, "DROP ROLE IF EXISTS a_reader")
    sql(database, "CREATE ROLE a_reader")
    psql(database, input=ODD + GRANTS)
    return database


async def test_objects_of_every_kind_and_name_are_backed_up_and_come_back_with_their_grants(
    odd: DatabaseUrl, folder: Path, postgres_server: ScratchServer
) -> None:
    sql(odd, EXTENSION)
    made = await back_up(odd, folder)
    assert made.manifest.verified_at
    await verify(made.path, into=odd.with_database("postgres"))
    with clone(postgres_server) as empty:
        planned = await whole.plan(made.path, database_of(empty), settings_for(empty, folder), replace_data=False)
        result = await whole.restore(planned, database_of(empty), settings_for(empty, folder))
        assert result.warnings == ()
        assert _rights(empty) == _rights(odd)
        sql(empty, "DROP OWNED BY a_reader")
    sql(odd, "DROP OWNED BY a_reader")


def _rights(url: DatabaseUrl) -> str:
    return sql(
        url,
        "SELECT o.name, x.* FROM ("
        "SELECT relname, relacl FROM pg_class WHERE relnamespace = 'ai'::regnamespace UNION ALL"
        # A range type's constructors are made with it, and pg_dump keeps no grants on them either.
        " SELECT proname, proacl FROM pg_proc WHERE pronamespace = 'ai'::regnamespace AND proname !~ '^span' UNION ALL"
        " SELECT typname, typacl FROM pg_type WHERE typnamespace = 'ai'::regnamespace) o(name, acl),"
        " aclexplode(o.acl) x ORDER BY 1, 2, 3, 4, 5",
    )


@pytest.mark.parametrize("place", ["table", "grant", "owner"])
async def test_a_changed_name_in_an_older_manifest_is_found_by_the_dump(
    odd: DatabaseUrl, folder: Path, place: str
) -> None:
    made = await back_up(odd, folder, verify=False)
    path = manifests.path_for(made.path)
    document = json.loads(path.read_text())
    del document["checksum"]
    if place == "table":
        document["tables"][0]["table"] += "x"
    else:
        (entry, *_) = [entry for entry in document["access"] if entry[:2] == [place, "TABLE"]]
        entry[2] += "x"
    path.write_text(json.dumps(document))
    for reading in (
        verify(made.path, into=odd.with_database("postgres")),
        whole.plan(made.path, database_of(odd), settings_for(odd, folder), replace_data=True),
    ):
        with pytest.raises(BackupError, match="does not contain everything in its manifest"):
            await reading
    sql(odd, "DROP OWNED BY a_reader")
