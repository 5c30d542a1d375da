"""What doctor says of servers that refuse, hang, are read-only, full or elsewhere; each made for real."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from junkie_cli.core.database_url import DatabaseUrl, Host
from junkie_cli.core.doctor import database as checks
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.postgres.connect import open_connection
from tests.support.doctor import Doctor, assert_result
from tests.support.model_server import ModelServer
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import execute, scratch_server
from tests.support.proxy import Proxy
from tests.support.standby import PRIMARY_HBA, PRIMARY_SETTINGS, Standby
from tests.support.tls import SERVER_SETTINGS, Authority, server_files

SECRET = "hunter2"
OLD = ("database.release",)  # the servers of the tests are as old as the bundled programs
DEPENDENT = ("database.server", "database.rights", "schema.tables", "schema.version", "memory.owners", "backup.tools")


@pytest.fixture(scope="module")
def server() -> Iterator[ScratchServer]:
    hba = (*PRIMARY_HBA[:1], "host all guarded 127.0.0.1/32 scram-sha-256", *PRIMARY_HBA[1:], "local all few trust")
    with scratch_server(settings={**PRIMARY_SETTINGS, "max_connections": "20"}, hba=hba) as server:
        execute(
            server,
            f"CREATE ROLE guarded LOGIN PASSWORD '{SECRET}'; CREATE ROLE plain LOGIN; CREATE ROLE few LOGIN;"
            "GRANT CREATE ON DATABASE postgres TO guarded, plain, few",
        )
        yield server


@pytest.fixture
def url(server: ScratchServer) -> DatabaseUrl:
    return DatabaseUrl((Host("127.0.0.1", server.port),), "plain", None, "postgres")


@pytest.fixture
def guarded(url: DatabaseUrl) -> DatabaseUrl:
    return replace(url, user="guarded", password=SECRET)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- all is well ------------------------------------------------------------------------------------------------------


def test_a_server_that_answers(doctor: Doctor, guarded: DatabaseUrl) -> None:
    found = doctor.use(guarded).examine("database", "schema", "backup.tools", "backup.space")
    assert {key: result.status for key, result in found.items() if result.status != "ok" and key not in OLD} == {}
    assert found["database.url"].detail.startswith(f"postgresql://guarded:********@127.0.0.1:{guarded.hosts[0].port}")
    assert "postgresql+asyncpg://guarded:********@" in found["database.async_url"].detail
    assert "PostgreSQL 17" in found["database.server"].detail
    assert not [result for result in found.values() if SECRET in f"{result.detail} {result.hint}"]


def test_the_form_of_the_url_is_reported(doctor: Doctor, guarded: DatabaseUrl) -> None:
    doctor.use(guarded.libpq().replace("postgresql://", "postgresql+asyncpg://") + "?pgbouncer=true")
    found = doctor.examine("database.url", "database.async_url")
    assert_result(found["database.url"], "ok", "role guarded, database postgres", "pgbouncer")
    assert found["database.async_url"].status == "ok"


def test_no_database_is_never_made(doctor: Doctor) -> None:
    found = doctor.examine("database", "backup", "schema")
    assert_result(found["database.reachable"], "warning", "no database yet", "create one: junkie chat")
    assert found["schema.tables"].detail == "waits for database.reachable"
    assert found["backup.age"].status == "ok"
    assert not (doctor.folder / "data").exists()


# --- not reached ------------------------------------------------------------------------------------------------------


def test_nothing_listens(doctor: Doctor, url: DatabaseUrl) -> None:
    found = doctor.use(replace(url, hosts=(Host("127.0.0.1", free_port()),))).examine("database", *DEPENDENT)
    assert_result(found["database.reachable"], "failed", "no server is listening", "start PostgreSQL", "its log:")
    for check_id in DEPENDENT:
        assert (found[check_id].status, found[check_id].detail) == ("skipped", "waits for database.reachable")
    assert doctor.use(url).status("database.reachable") == "ok"


def test_a_name_that_nobody_knows(doctor: Doctor, url: DatabaseUrl) -> None:
    doctor.use(replace(url, hosts=(Host("db.invalid"),)))
    assert_result(doctor.one("database.reachable"), "failed", "db.invalid cannot be resolved", "its log: on db.invalid")
    assert doctor.use(url).status("database.reachable") == "ok"


def test_a_server_that_accepts_and_never_answers(doctor: Doctor, url: DatabaseUrl) -> None:
    with Proxy(url) as proxy:
        proxy.stall()
        doctor.use(proxy.url(url))
        found = doctor.examine("database", *DEPENDENT, patience=0.2)
        assert_result(found["database.reachable"], "failed", "did not answer within 1 seconds", "firewall")
        assert found["schema.tables"].detail == "waits for database.reachable"
        proxy.resume()
        assert doctor.status("database.reachable") == "ok"


def test_a_server_that_falls_silent_later(doctor: Doctor, url: DatabaseUrl) -> None:
    with Proxy(url) as proxy:
        proxy.stall_when(b"pg_is_in_recovery")
        doctor.use(proxy.url(url))
        found = doctor.examine("database", patience=0.3)
        assert found["database.reachable"].status == "ok"
        assert_result(found["database.server"], "unknown")
        proxy.resume()
        assert doctor.status("database.server") == "ok"


def test_a_wrong_password(doctor: Doctor, guarded: DatabaseUrl) -> None:
    doctor.use(replace(guarded, password="not " + SECRET))
    result = doctor.one("database.reachable")
    assert_result(result, "failed", "rejects the password of role guarded", "correct the password")
    assert SECRET not in result.detail + result.hint
    assert doctor.use(guarded).status("database.reachable") == "ok"


def test_a_role_or_a_database_that_is_not_there(doctor: Doctor, server: ScratchServer, url: DatabaseUrl) -> None:
    doctor.use(replace(url, user="nobody_there"))
    assert_result(
        doctor.one("database.reachable"), "failed", "role nobody_there does not exist", "CREATE ROLE ... LOGIN"
    )
    execute(server, "CREATE ROLE nobody_there LOGIN")
    assert doctor.status("database.reachable") == "ok"
    doctor.use(replace(url, database="not_there"))
    assert_result(doctor.one("database.reachable"), "failed", "database not_there does not exist", "CREATE DATABASE")
    execute(server, "CREATE DATABASE not_there")
    assert doctor.status("database.reachable") == "ok"


def test_an_expired_certificate(doctor: Doctor, tmp_path: Path) -> None:
    authority = Authority()
    old = authority.issue("127.0.0.1", "127.0.0.1", days=(-3, -1))
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    settings = {**SERVER_SETTINGS, "listen_addresses": "127.0.0.1"}
    hba = ("host all all 127.0.0.1/32 trust",)
    with scratch_server(settings=settings, hba=hba, files=server_files(old, authority)) as server:
        base = f"postgresql://junkie@127.0.0.1:{server.port}/postgres?sslrootcert={tmp_path}/ca.crt&sslmode="
        assert_result(doctor.use(base + "verify-full").one("database.reachable"), "failed", "has expired", "renew")
        new = authority.issue("127.0.0.1", "127.0.0.1")
        data = Path(execute(server, "SHOW data_directory")[0][0] or "")
        for name, content in server_files(new, authority).items():
            (data / name).write_bytes(content)
        execute(server, "SELECT pg_reload_conf()")
        _until_ok(doctor.use(base + "verify-full"), "database.reachable")


def _until_ok(doctor: Doctor, check_id: str) -> None:
    """A reload is taken up by the server in its own time."""
    end = time.monotonic() + 30
    while (found := doctor.one(check_id)).status != "ok":
        assert time.monotonic() < end, found


def test_a_server_that_is_recovering(doctor: Doctor, server: ScratchServer) -> None:
    with Standby(server, hot=False) as standby:
        assert_result(doctor.use(standby.url).one("database.reachable"), "failed", "try again")
        standby.promote()
        assert doctor.status("database.reachable") == "ok"


# --- what it is -------------------------------------------------------------------------------------------------------


def test_a_standby(doctor: Doctor, server: ScratchServer, url: DatabaseUrl) -> None:
    with Standby(server) as standby:
        doctor.use(standby.url, POSTGRES_READ_URL=url.libpq())
        found = doctor.examine("database")
        assert_result(
            found["database.server"],
            "failed",
            "the server is a standby",
            "both hosts with target_session_attrs=read-write",
        )
        assert found["database.replica"].status == "ok"
        both = replace(standby.url, hosts=(*standby.url.hosts, *url.hosts))
        doctor.use(f"{both.libpq()}?target_session_attrs=read-write")
        assert doctor.status("database.server") == "ok"
        doctor.use(url, POSTGRES_READ_URL=standby.url.libpq())
        found = doctor.examine("database")
        assert found["database.server"].status == "ok"
        assert_result(found["database.replica"], "ok", "0 s behind")


def test_a_replica_that_is_not_there(doctor: Doctor, url: DatabaseUrl) -> None:
    doctor.use(url, POSTGRES_READ_URL=f"postgresql://plain@127.0.0.1:{free_port()}/postgres")
    assert_result(doctor.one("database.replica"), "failed", "no server is listening", "POSTGRES_READ_URL")
    doctor.environ["POSTGRES_READ_URL"] = "postgresql://plain@:port"
    assert_result(
        doctor.one("database.replica"),
        "failed",
        "POSTGRES_READ_URL has a port that is not a number",
        "correct or unset",
    )
    doctor.environ["POSTGRES_READ_URL"] = url.libpq()
    assert doctor.status("database.replica") == "ok"
    del doctor.environ["POSTGRES_READ_URL"]
    assert doctor.status("database.replica") == "ok"


def test_a_database_that_is_set_read_only(doctor: Doctor, server: ScratchServer, url: DatabaseUrl) -> None:
    execute(server, "CREATE DATABASE frozen")
    execute(server, "ALTER DATABASE frozen SET default_transaction_read_only = on")
    doctor.use(replace(url, database="frozen"))
    assert_result(doctor.one("database.server"), "failed", "read-only", "RESET default_transaction_read_only")
    execute(server, "ALTER DATABASE frozen RESET default_transaction_read_only")
    assert doctor.status("database.server") == "ok"


def test_a_pooler_in_between(doctor: Doctor, server: ScratchServer, guarded: DatabaseUrl) -> None:
    with PgBouncer(server, user="guarded", password=SECRET) as pooler:
        found = doctor.use(pooler.url()).examine("database", "schema", "memory.owners")
        assert {key: result.status for key, result in found.items() if result.status != "ok" and key not in OLD} == {}
        assert "through a pooler" in found["database.server"].detail
    assert "pooler" not in doctor.use(guarded).one("database.server").detail


@pytest.mark.parametrize(("major", "day", "status"), [(12, "2026-01-01", "failed"), (14, "2026-01-01", "ok")])
def test_versions_that_are_supported(major: int, day: str, status: str) -> None:
    assert checks._version(major, date.fromisoformat(day)).status == status


# --- how many ---------------------------------------------------------------------------------------------------------


def test_a_role_with_few_connections(doctor: Doctor, server: ScratchServer, url: DatabaseUrl) -> None:
    execute(server, "ALTER ROLE few CONNECTION LIMIT 4")
    doctor.use(replace(url, user="few"))
    found = doctor.examine("database")
    assert_result(
        found["database.connections"], "warning", " of 4", "role few", 'ALTER ROLE "few" CONNECTION LIMIT 100'
    )
    assert found["database.rights"].status == "ok"
    execute(server, 'ALTER ROLE "few" CONNECTION LIMIT 100')
    assert doctor.status("database.connections") == "ok"


async def test_a_limit_that_is_reached(doctor: Doctor, server: ScratchServer, url: DatabaseUrl) -> None:
    execute(server, "ALTER ROLE few CONNECTION LIMIT 1")
    few = replace(url, user="few")
    taken = await open_connection(few)
    try:
        doctor.use(few)
        context = doctor.context()
        found = await doctor._examine(context, ("database.reachable",), False, 60)
        assert_result(
            found["database.reachable"],
            "failed",
            "accepts no more connections for role few",
            "close connections of other",
        )
    finally:
        await taken.close()
    found = await doctor._examine(doctor.context(), ("database.reachable", "database.rights"), False, 60)
    assert {result.status for result in found.values()} == {"ok"}
    execute(server, "ALTER ROLE few CONNECTION LIMIT -1")


def test_a_database_with_few_connections(doctor: Doctor, server: ScratchServer, url: DatabaseUrl) -> None:
    execute(server, "CREATE DATABASE narrow CONNECTION LIMIT 4")
    result = doctor.use(replace(url, database="narrow")).one("database.connections")
    assert_result(result, "warning", "4 of 4 connections are free for database narrow")
    execute(server, result.hint.partition(" (")[0])
    assert doctor.status("database.connections") == "ok"


def test_the_bot_needs_more(doctor: Doctor, server: ScratchServer, guarded: DatabaseUrl) -> None:
    doctor.use(guarded, DISCORD_TOKEN="t")
    assert_result(doctor.one("database.connections"), "warning", "the bot opens up to 25", "use a pooler")
    with PgBouncer(server, user="guarded", password=SECRET) as pooler:
        assert doctor.use(pooler.url()).status("database.connections") == "ok"


async def test_a_server_that_is_full(doctor: Doctor, url: DatabaseUrl) -> None:
    taken = []
    try:
        with pytest.raises(DatabaseError, match="accepts no more connections"):
            while True:
                taken.append(await open_connection(url))
        found = await doctor.use(url)._examine(doctor.context(), ("database.reachable",), False, 60)
        assert_result(
            found["database.reachable"], "failed", "accepts no more connections", "close connections of other programs"
        )
        assert len(taken) > 2
        for connection in taken[2:]:
            await connection.close()
        found = await doctor._examine(doctor.context(), ("database",), False, 60)
        assert {key: result.status for key, result in found.items() if result.status != "ok" and key not in OLD} == {}
    finally:
        for connection in taken[:2]:
            await connection.close()


def test_agnos_own_connection_is_cut(doctor: Doctor, url: DatabaseUrl) -> None:
    with Proxy(url) as proxy:
        doctor.use(proxy.url(url))
        proxy.cut_when(b"pg_catalog.version")  # SQLAlchemy's first question, and nobody else's
        found = doctor.examine("database.async_url", "database.server")
        assert_result(found["database.async_url"], "failed", "SQLAlchemy cannot connect with postgresql+asyncpg://")
        assert (found["database.server"].status, proxy.cuts) == ("ok", 1)
        assert doctor.status("database.async_url") == "ok"


# --- rights, files, places --------------------------------------------------------------------------------------------


def test_rules_that_let_nobody_in(doctor: Doctor, server: ScratchServer, url: DatabaseUrl) -> None:
    doctor.use(replace(url, hosts=(Host(str(server.socket_dir), server.port),), user="guarded"))
    assert_result(
        doctor.one("database.reachable"), "failed", "does not accept connections of role guarded", "pg_hba.conf"
    )
    rules = Path(execute(server, "SHOW hba_file")[0][0] or "")
    before = rules.read_text()
    rules.write_text(f"local all guarded trust\n{before}")
    execute(server, "SELECT pg_reload_conf()")
    _until_ok(doctor, "database.reachable")
    rules.write_text(before)
    execute(server, "SELECT pg_reload_conf()")


def test_a_socket_that_is_not_there(doctor: Doctor, server: ScratchServer, url: DatabaseUrl) -> None:
    doctor.use(replace(url, hosts=(Host(str(doctor.folder), server.port),), user="few"))
    assert_result(
        doctor.one("database.reachable"), "failed", "no server is listening at the socket", "correct the folder"
    )
    doctor.use(replace(url, hosts=(Host(str(server.socket_dir), server.port),), user="few"))
    assert doctor.status("database.reachable") == "ok"


def test_tls_that_does_not_fit(doctor: Doctor, url: DatabaseUrl, tmp_path: Path) -> None:
    assert_result(
        doctor.use(f"{url.libpq()}?sslmode=require").one("database.reachable"), "failed", "offers no TLS", "sslmode"
    )
    assert doctor.use(f"{url.libpq()}?sslmode=prefer").status("database.reachable") == "ok"
    authority = Authority()
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    files = server_files(authority.issue("db.example", "db.example"), authority)
    settings = {**SERVER_SETTINGS, "listen_addresses": "127.0.0.1"}
    with scratch_server(settings=settings, hba=("host all all 127.0.0.1/32 trust",), files=files) as server:
        base = f"postgresql://junkie@127.0.0.1:{server.port}/postgres?sslmode="
        other = f"&sslrootcert={tmp_path}/other.crt"
        (tmp_path / "other.crt").write_bytes(Authority().pem)
        result = doctor.use(f"{base}verify-ca{other}").one("database.reachable")
        assert_result(result, "failed", "not signed by a trusted authority", "sslrootcert=FILE")
        right = f"&sslrootcert={tmp_path}/ca.crt"
        result = doctor.use(f"{base}verify-full{right}").one("database.reachable")
        assert_result(result, "failed", "is not for 127.0.0.1", "or sslmode=verify-ca")
        assert doctor.use(f"{base}verify-ca{right}").status("database.reachable") == "ok"


def test_where_the_log_is(doctor: Doctor, url: DatabaseUrl) -> None:
    nowhere = replace(url, hosts=(Host("127.0.0.1", free_port()),))
    compose = doctor.folder / "compose.yaml"
    compose.write_text("services:\n  db:\n    image: postgres:17\n")
    assert_result(doctor.use(nowhere).one("database.reachable"), "failed", f"its log: docker compose -f {compose} logs")


def test_an_embedded_server_that_cannot_start(doctor: Doctor) -> None:
    data = doctor.folder / "data" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("9.6\n")
    result = doctor.one("database.reachable")
    assert_result(result, "failed", f"its log: {doctor.folder}/data/server.log")


def test_the_port_of_something_else(doctor: Doctor, url: DatabaseUrl) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        doctor.use(f"postgresql://u:{SECRET}@127.0.0.1:{port}/d")
        assert_result(doctor.one("database.reachable", patience=0.1), "failed", "did not answer")
    with ModelServer() as server:
        doctor.use(f"postgresql://u:{SECRET}@{server.url.split('/')[2]}/d?sslmode=disable")
        result = doctor.one("database.reachable")
        assert_result(result, "failed", "does not use the PostgreSQL protocol", "correct host and port")
    assert doctor.use(url).status("database.reachable") == "ok"
