"""What doctor reports when clocks are wrong or time has passed; libfaketime sets the time of a server or `junkie`."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.postgres.connect import open_connection
from tests.support.clock import Clock
from tests.support.debian_postgres import DebianServer
from tests.support.doctor import Doctor, assert_result
from tests.support.generations import Make
from tests.support.junkie import Junkie
from tests.support.newer_postgres import newer_server
from tests.support.postgres import execute, scratch_server
from tests.support.standby import PRIMARY_HBA, PRIMARY_SETTINGS, Standby

LONG = ("--timeout", "100")


@pytest.fixture(scope="module")
def clock() -> Iterator[Clock]:
    """The clock of `server`, which runs as another user."""
    with tempfile.TemporaryDirectory(prefix="junkie-clock-") as folder:
        Path(folder).chmod(0o755)
        yield Clock(Path(folder), live=True)


@pytest.fixture(scope="module")
def server(clock: Clock) -> Iterator[DebianServer]:
    """PostgreSQL 15, whose clock is `clock`."""
    with DebianServer(clock.environment) as server:
        yield server


@pytest.fixture(autouse=True)
def right(clock: Clock) -> None:
    clock.be_ahead(0)


@pytest.fixture
def doctor(tmp_path: Path, server: DebianServer) -> Doctor:
    return Doctor(tmp_path).use(server.socket_url())


def test_clocks_that_differ(doctor: Doctor, clock: Clock) -> None:
    for seconds, words in ((90, " s ahead of this"), (-90, " s behind this")):
        clock.be_ahead(seconds)
        assert_result(doctor.one("database.time"), "warning", words, "NTP")
    clock.be_ahead(0)  # as NTP does
    assert doctor.status("database.time") == "ok"


async def test_a_transaction_that_does_not_end(doctor: Doctor, server: DebianServer, clock: Clock) -> None:
    idler = await open_connection(server.socket_url(), application_name="forgotten window")
    try:
        transaction = idler.transaction()
        await transaction.start()
        await idler.fetchval("SELECT 1")
        found = await doctor._examine(doctor.context(), ("database.activity",), False, 60)
        assert found["database.activity"].status == "ok"
        clock.be_ahead(660)
        found = await doctor._examine(doctor.context(), ("database.activity",), False, 60)
        result = found["database.activity"]
        assert_result(
            result, "warning", f"process {idler.get_server_pid()}", "(forgotten window)", "is open for long", "11 min"
        )
        assert "idle" in result.detail
        await transaction.rollback()  # "let it end"
    finally:
        await idler.close()
    found = await doctor._examine(doctor.context(), ("database.activity",), False, 60)
    assert found["database.activity"].status == "ok"


def test_a_version_whose_support_has_ended(junkie: Junkie, server: DebianServer, tmp_path: Path) -> None:
    later = Clock(tmp_path)
    later.show("2028-01-01")

    def examined(url: DatabaseUrl) -> dict[str, str]:
        env = {"POSTGRES_URL": url.libpq(), **later.environment}
        result = junkie.run("doctor", "database.server", "--json", *LONG, env=env)
        return dict(result.ok().json()["checks"][0])

    told = examined(server.socket_url())
    assert told["status"] == "warning"
    assert told["detail"] == "PostgreSQL 15 is no longer supported: its last release was on 2027-11-11"
    assert told["hint"] == "upgrade the server to 19"
    with newer_server() as newer:
        told = examined(newer.url)
        assert (told["status"], told["detail"]) == ("ok", "PostgreSQL 18.6")


def test_a_replica_that_lags(tmp_path: Path, clock: Clock) -> None:
    with (
        scratch_server(settings=PRIMARY_SETTINGS, hba=PRIMARY_HBA) as primary,
        Standby(primary, environment=clock.environment) as standby,
    ):
        doctor = Doctor(tmp_path).use(primary.url, POSTGRES_READ_URL=standby.url.libpq())
        execute(primary, "CREATE TABLE seen (id int)")
        standby.catch_up()
        assert doctor.status("database.replica") == "ok"

        execute(standby, "SELECT pg_wal_replay_pause()")
        until(standby, "pg_get_wal_replay_pause_state() = 'paused'")
        execute(primary, "INSERT INTO seen VALUES (1)")
        standby.receive()
        clock.be_ahead(300)
        behind = ("warning", "s behind: lists and exports lack the newest", "replication", "unset POSTGRES_READ_URL")
        assert_result(doctor.one("database.replica"), *behind)
        execute(standby, "SELECT pg_wal_replay_resume()")
        standby.catch_up()
        assert doctor.status("database.replica") == "ok"

        where = str(execute(standby, "SELECT quote_literal(current_setting('primary_conninfo'))")[0][0])
        execute(standby, "ALTER SYSTEM SET primary_conninfo = 'host=/nowhere'")
        execute(standby, "SELECT pg_reload_conf()")
        until(standby, "NOT EXISTS (SELECT FROM pg_stat_wal_receiver)")
        assert_result(doctor.one("database.replica"), *behind)
        execute(standby, f"ALTER SYSTEM SET primary_conninfo = {where}")
        execute(standby, "SELECT pg_reload_conf()")
        until(standby, "EXISTS (SELECT FROM pg_stat_wal_receiver)")
        assert doctor.status("database.replica") == "ok"


def until(standby: Standby, condition: str) -> None:
    """A standby applies a setting after a while."""
    end = time.monotonic() + 60
    while execute(standby, f"SELECT {condition}") != [("t",)]:
        assert time.monotonic() < end, condition
        time.sleep(0.02)


def test_a_backup_that_grew_old(junkie: Junkie, written_by: Make, tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    env = {"POSTGRES_URL": written_by("3.1").libpq(), **clock.environment}
    ask = ("doctor", "backup.age", "--nagios", *LONG)
    junkie.run("backup", env=env).ok()
    assert junkie.run(*ask, "--max-backup-age", "26", env=env).exit_code == 0
    clock.be_ahead(27 * 3600)
    late = junkie.run(*ask, "--max-backup-age", "26", env=env)
    assert (late.exit_code, " is 27 h " in late.stdout) == (2, True), late
    assert junkie.run(*ask, env=env).exit_code == 0
    clock.be_ahead(8 * 86_400)
    assert junkie.run(*ask, env=env).exit_code == 1
    junkie.run("backup", env=env).ok()
    assert junkie.run(*ask, "--max-backup-age", "26", env=env).exit_code == 0
