"""The embedded server when processes are killed, files are stale, disks are full: it comes back, or says why not."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from junkie_cli.core import embedded
from junkie_cli.core.embedded import client, installations
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import DatabaseError
from tests.support import embedded as support
from tests.support.embedded import (
    answer,
    ask,
    child,
    folder,
    insist,
    keepers,
    kill,
    prepare,
    prepared,
    public,
    server_pid,
    server_processes,
    socket_folder,
    until,
)
from tests.support.needs import need_root

__all__ = ["folder", "prepared", "public"]


async def refusal(folder: Path, *, create: bool = True) -> DatabaseError:
    with pytest.raises(DatabaseError) as caught:
        await embedded.ensure_running(folder, create=create)
    return caught.value


# --- kill -9 ----------------------------------------------------------------------------------------------------------


async def test_a_killed_client_harms_nobody_and_does_not_keep_the_server(prepared: Path) -> None:
    url = await embedded.ensure_running(prepared, create=False, linger=0.3)
    connection = await asyncpg.connect(**url.asyncpg_arguments())
    others = "select count(*) from pg_stat_activity where query like '%pg_sleep%' and pid <> pg_backend_pid()"
    try:
        with child(prepared, create=False, sql="select pg_sleep(1000)") as victim:
            while await connection.fetchval(others) == 0:
                await asyncio.sleep(0.01)
            victim.kill()
        assert await connection.fetchval("select 1") == 1
        await connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where query ~ '^select pg_sl'")
    finally:
        await connection.close()
    await until(lambda: support.all_gone(prepared), "the server has stopped by itself")


async def test_the_starter_may_be_killed(folder: Path) -> None:
    with child(folder, sql="select pg_sleep(1000)") as starter:
        assert answer(starter)["socket"]
        starter.kill()
    assert ask(folder, "select 1") == "1"


async def test_all_may_be_killed_while_it_is_being_made(folder: Path) -> None:
    with child(folder) as starter:
        await until(lambda: list(folder.glob("new-data-*/base")), "it is being made")
        starter.kill()
        kill([*keepers(folder), *support.makers(folder)])
    assert not (folder / "data").exists()
    await embedded.ensure_running(folder, create=True)
    assert list(folder.glob("new-data-*")) == []
    assert ask(folder, "select 1") == "1"


async def test_a_killed_keeper_is_replaced(prepared: Path) -> None:
    await embedded.ensure_running(prepared, create=False)
    pid = server_pid(prepared)
    kill(keepers(prepared))
    assert ask(prepared, "select 1") == "1"
    await embedded.ensure_running(prepared, create=False, linger=0.2)
    assert server_pid(prepared) == pid
    await until(lambda: support.all_gone(prepared), "the new keeper has stopped the server")
    assert "database system is shut down" in (prepared / "server.log").read_text()


async def test_a_killed_server_is_started_again(prepared: Path) -> None:
    await embedded.ensure_running(prepared, create=False)
    kill([server_pid(prepared)])
    await embedded.ensure_running(prepared, create=False)
    assert ask(prepared, "select word from kept") == "safe"
    await until(lambda: len(keepers(prepared)) == 1, "one keeper is left")


async def test_a_killed_backend_does_not_end_it(prepared: Path) -> None:
    url = await embedded.ensure_running(prepared, create=False)
    connection = await asyncpg.connect(**url.asyncpg_arguments())
    pid = server_pid(prepared)
    kill([await connection.fetchval("select pg_backend_pid()")])
    with pytest.raises((asyncpg.PostgresError, OSError, asyncpg.InterfaceError)):
        await connection.fetchval("select 1")
    await connection.close()
    await embedded.ensure_running(prepared, create=False)
    assert (ask(prepared, "select 1"), server_pid(prepared)) == ("1", pid)


async def crashed(folder: Path) -> None:
    """As after a power failure: nobody lives, all files are there, what was committed is in them."""
    await embedded.ensure_running(folder, create=False)
    ask(folder, "insert into kept values ('late')")
    kill([*keepers(folder), *server_processes(folder)])
    await until(lambda: support.all_gone(folder), "all are dead")
    assert (folder / "data/postmaster.pid").exists()
    assert (folder / "run/.s.PGSQL.5432").exists()


async def test_it_comes_back_after_a_crash_of_the_whole_machine(prepared: Path) -> None:
    await crashed(prepared)
    await embedded.ensure_running(prepared, create=False)
    assert ask(prepared, "select word from kept") == "safe"


async def test_a_stale_number_that_another_program_has_got_is_no_server(prepared: Path) -> None:
    await crashed(prepared)
    with subprocess.Popen(["sleep", "600"]) as stranger:
        take_over_number(prepared, stranger.pid)
        assert await insist(prepared, "select word from kept", linger=0.2) == "safe"
        await until(lambda: support.all_gone(prepared), "it has stopped")
        assert stranger.poll() is None
        stranger.kill()


async def test_a_stale_number_that_another_postgresql_has_got_is_no_server(
    prepared: Path, postgres_server: ScratchServer
) -> None:
    await crashed(prepared)
    take_over_number(prepared, postgres_server.pid)
    await embedded.stop(prepared)
    await embedded.ensure_running(prepared, create=False)
    assert ask(prepared, "select word from kept") == "safe"
    os.kill(postgres_server.pid, 0)


def take_over_number(folder: Path, pid: int) -> None:
    for path in (folder / "data/postmaster.pid", folder / "run/.s.PGSQL.5432.lock"):
        first, _, rest = path.read_text().partition("\n")
        assert first.isdigit()
        path.write_text(f"{pid}\n{rest}")


async def test_a_removed_socket_is_made_again(prepared: Path) -> None:
    await embedded.ensure_running(prepared, create=False)
    (prepared / "run/.s.PGSQL.5432").unlink()
    await embedded.ensure_running(prepared, create=False)
    assert ask(prepared, "select word from kept") == "safe"


async def test_a_removed_folder_takes_its_server_along(prepared: Path) -> None:
    await embedded.ensure_running(prepared, create=False, linger=0.3)
    pids = [*keepers(prepared), *server_processes(prepared)]
    subprocess.run(["rm", "-rf", prepared], check=True)
    await until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in pids), "all of it has gone")
    assert not prepared.exists()


async def test_every_process_and_the_server_killed_at_random(prepared: Path) -> None:
    """Whatever is killed at whatever moment: what was committed is there afterwards."""
    await insist(prepared, "create table if not exists counted (number int primary key)", linger=0.1)
    for number in range(6):
        await insist(prepared, f"insert into counted values ({number}) on conflict do nothing", linger=0.1)
        with child(prepared, create=False, linger=0.1, sql="select pg_sleep(0.05)") as victim:
            await asyncio.sleep(0.04 * number)
            kill([(keepers(prepared) or [victim.pid])[0] if number % 2 else victim.pid])
            kill(server_processes(prepared)[:1] if number % 3 == 0 else [])
            victim.kill()
    assert await insist(prepared, "select count(*) from counted", linger=0.1) == "6"


# --- systemd ----------------------------------------------------------------------------------------------------------


@contextmanager
def unit(name: str) -> Iterator[Path]:
    """A control group that looks like a systemd unit's."""
    need_root()
    for root in map(Path, ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")):
        group = root / name
        try:
            group.mkdir()
            break
        except OSError:
            continue
    else:
        pytest.skip("control groups cannot be made here")
    try:
        yield group
    finally:
        end_unit(group)
        group.rmdir()


def end_unit(group: Path) -> None:
    """What systemd does to a unit's processes at last, however detached they are."""
    while pids := [int(line) for line in (group / "cgroup.procs").read_text().split()]:
        kill(pids)


def in_group(group: Path, folder: Path, programs: Path) -> "subprocess.Popen[str]":
    """A client inside the control group, which finds `programs` first."""
    enter = ["/bin/sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    return child(folder, sql="select pg_sleep(1000)", prefix=enter, env=environment)


async def test_the_end_of_a_unit_does_not_end_the_server_that_it_started(prepared: Path, tmp_path: Path) -> None:
    name = f"junkie-test-{os.getpid()}"
    with unit(f"{name}.service") as service, unit(f"{name}.scope") as scope:
        stub = tmp_path / "bin/systemd-run"
        stub.parent.mkdir()
        stub.write_text(
            f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n'
            f'while [ "$1" != -- ]; do shift; done; shift; echo $$ > {scope}/cgroup.procs; exec "$@"\n'
        )
        stub.chmod(0o755)
        with in_group(service, prepared, stub.parent) as starter:
            assert answer(starter)["socket"]
            end_unit(service)
            starter.wait()
        assert (tmp_path / "asked").read_text().startswith("--scope --collect --quiet")
        assert ask(prepared, "select 1") == "1"
        assert len(keepers(prepared)) == 1


async def test_without_an_answer_from_systemd_it_starts_all_the_same(prepared: Path, tmp_path: Path) -> None:
    with unit(f"junkie-test-{os.getpid()}.service") as service:
        stub = tmp_path / "bin/systemd-run"
        stub.parent.mkdir()
        stub.write_text("#!/bin/sh\necho 'Failed to connect to bus' >&2\nexit 1\n")
        stub.chmod(0o755)
        with in_group(service, prepared, stub.parent) as starter:
            assert answer(starter)["socket"]
            end_unit(service)
            starter.wait()
    await until(lambda: support.all_gone(prepared), "the unit's end has taken the server along")
    await embedded.ensure_running(prepared, create=False)
    assert ask(prepared, "select 1") == "1"


# --- data that cannot be run ------------------------------------------------------------------------------------------


async def test_data_of_another_major_version_are_left_alone(prepared: Path) -> None:
    for version in ("99", "16"):
        (prepared / "data/PG_VERSION").write_text(f"{version}\n")
        error = await refusal(prepared)
        assert error.code == "embedded_version"
        assert f"written by PostgreSQL {version}, and there is none of that version here" in error.message
        assert f"postgresql-{version}" in error.hint


async def test_a_half_made_data_folder_is_reported(prepared: Path) -> None:
    (prepared / "data/PG_VERSION").unlink()
    error = await refusal(prepared)
    assert (error.code, "PG_VERSION is missing" in error.message) == ("embedded_damaged", True)


async def test_a_server_that_does_not_start_is_reported_with_the_logs_last_lines(prepared: Path) -> None:
    (prepared / "data/global/pg_control").unlink()
    error = await refusal(prepared)
    assert error.code == "embedded_start"
    assert "pg_control" in error.message + error.hint
    assert 1 <= len(error.hint.splitlines()) <= 4
    await until(lambda: not keepers(prepared), "no keeper is left")


async def test_leftovers_of_a_killed_creation_are_removed_by_the_next_start(prepared: Path) -> None:
    (prepared / "new-data-0000").mkdir()
    (prepared / "new-data-0000/PG_VERSION").write_text("17\n")
    shutil.chown(prepared / "new-data-0000", prepared.stat().st_uid)
    await embedded.ensure_running(prepared, create=False)
    assert not (prepared / "new-data-0000").exists()


async def test_too_open_data_is_closed_again(prepared: Path) -> None:
    for path in (prepared, prepared / "data"):
        path.chmod(0o755)
    await embedded.ensure_running(prepared, create=False)
    assert [path.stat().st_mode & 0o777 for path in (prepared, prepared / "data")] == [0o700, 0o700]


# --- folders and disks ------------------------------------------------------------------------------------------------


async def test_a_long_path_gets_a_short_socket_that_is_ours_alone(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    try:
        await embedded.ensure_running(folder, create=True, linger=1)
        short = Path(socket_folder(folder))
        assert len(f"{short}/.s.PGSQL.5432") < 100
        assert short.stat().st_mode & 0o777 == 0o700
        assert short.stat().st_uid == folder.stat().st_uid
        assert ask(folder, "select 1") == "1"
        await until(lambda: support.all_gone(folder), "it has stopped")
        assert not short.exists()
    finally:
        support.end(folder)


async def test_a_short_socket_folder_that_somebody_else_made_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    try:
        await embedded.ensure_running(folder, create=True, linger=0.3)
        usual = Path(socket_folder(folder))
        await until(lambda: support.all_gone(folder), "it has stopped")
        for trap in (lambda: usual.mkdir(mode=0o777), lambda: usual.symlink_to(tmp_path)):
            trap()
            await embedded.ensure_running(folder, create=False, linger=0.3)
            used = Path(socket_folder(folder))
            assert used != usual
            assert used.name.startswith(usual.name)
            await until(lambda: support.all_gone(folder), "it has stopped")
            usual.rmdir() if usual.is_dir() and not usual.is_symlink() else usual.unlink()
    finally:
        support.end(folder)


async def test_a_path_that_the_system_cannot_take_is_reported(tmp_path: Path) -> None:
    assert (await refusal(tmp_path / ("x" * 300))).code == "embedded_path"
    assert (await refusal(tmp_path.joinpath(*["x" * 200] * 25))).code == "embedded_path"


async def test_a_folder_with_strange_characters_works(tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s, "a" ünï $HOME'
    try:
        await embedded.ensure_running(folder, create=True)
        assert ask(folder, "select 1") == "1"
    finally:
        support.end(folder)


async def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    before = tmp_path.stat()
    assert (await refusal(tmp_path)).code == "embedded_folder"
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    assert (tmp_path.stat().st_mode, tmp_path.stat().st_uid) == (before.st_mode, before.st_uid)


async def test_a_file_in_the_folders_place_is_reported(folder: Path) -> None:
    folder.write_text("")
    assert (await refusal(folder)).code == "embedded_folder"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, 16 MB small."""
    need_root()
    mount = tmp_path / "disk"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=755", "none", mount], check=True)
    try:
        yield mount
    finally:
        support.end(mount / "junkie")
        subprocess.run(["umount", "--lazy", mount], check=True)


def resize(disk: Path, megabytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={megabytes}m", disk], check=True)


async def test_a_full_disk_is_reported_and_leaves_nothing_half_made(disk: Path) -> None:
    folder = disk / "junkie"
    error = await refusal(folder)
    assert (error.code, str(folder) in error.message) == ("embedded_disk_full", True)
    assert [path.name for path in folder.iterdir() if path.name.startswith(("data", "new-data"))] == []
    resize(disk, 200)
    await embedded.ensure_running(folder, create=True)
    assert ask(folder, "select 1") == "1"


async def test_a_disk_that_is_full_at_a_later_start_is_reported_and_nothing_is_lost(disk: Path) -> None:
    resize(disk, 200)
    folder = disk / "junkie"
    prepare(folder)
    free = shutil.disk_usage(disk).free
    with (disk / "ballast").open("wb") as file:
        file.write(b"x" * free)
    assert (await refusal(folder)).code == "embedded_disk_full"
    (disk / "ballast").unlink()
    await embedded.ensure_running(folder, create=False)
    assert ask(folder, "select word from kept") == "safe"


async def test_a_read_only_disk_is_reported(disk: Path) -> None:
    resize(disk, 200)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    error = await refusal(disk / "junkie")
    assert (error.code, "Read-only file system" in error.message) == ("embedded_folder", True)


# --- programs ---------------------------------------------------------------------------------------------------------


async def test_missing_programs_are_reported(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(installations, "PROVIDERS", (installations.System((str(tmp_path / "nothing"),)),))
    with pytest.raises(DatabaseError) as caught:
        embedded.bin_dir()
    assert caught.value.code == "embedded_programs"
    assert (await refusal(folder)).code == "embedded_programs"
    assert not folder.exists()


async def test_programs_that_do_not_run_here_are_reported(
    folder: Path, monkeypatch: pytest.MonkeyPatch, public: Path
) -> None:
    for name in ("postgres", "initdb"):
        program = public / name
        program.write_text(
            "#!/bin/sh\ntest $1 = --version && echo 'postgres (PostgreSQL) 17.12' && exit\n"
            "echo 'initdb: error while loading shared libraries: libz.so.1' >&2\nexit 127\n"
        )
        program.chmod(0o755)
    monkeypatch.setattr(installations, "PROVIDERS", (installations.System((str(public),)),))
    error = await refusal(folder)
    assert (error.code, "libz.so.1" in error.message) == ("embedded_programs", True)


async def test_a_keeper_that_is_killed_at_once_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "BOOT", "import os; os.fork() and os._exit(0); os.kill(os.getpid(), 9)  # {0}")
    assert (await refusal(folder)).code == "embedded_keeper"
