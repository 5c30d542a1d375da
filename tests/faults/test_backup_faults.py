"""Whatever happens to a backup, the folder holds what it held before or one complete new file more.

Real signals, a real full disk, a network that really dies. `FAULT_ROUNDS` (`make faults KILLS=30`) is how often a
run is killed at a random moment.
"""

import os
import random
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from junkie_cli.core.backup import catalogue
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded.scratch import ScratchServer
from tests.support.backups import dumps, environment, fill, names
from tests.support.junkie import SCRIPT, Junkie, Running
from tests.support.needs import need
from tests.support.postgres import execute, scratch_server
from tests.support.proxy import Proxy

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "8"))
PATIENCE = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[ScratchServer]:
    """A server that can also be reached by TCP, and so by the proxy, with a database that takes a while to dump."""
    settings = {"listen_addresses": "127.0.0.1"}
    with scratch_server(settings=settings, hba=["host all all 127.0.0.1/32 trust"]) as server:
        execute(server, "CREATE DATABASE big")
        fill(server.url.with_database("big"), 60_000)
        yield server


@pytest.fixture
def big(server: ScratchServer) -> DatabaseUrl:
    return server.url.with_database("big")


@pytest.fixture
def folder(junkie: Junkie) -> Path:
    return junkie.backup_dir


@pytest.fixture
def proxied(server: ScratchServer, big: DatabaseUrl) -> Iterator[tuple[Proxy, DatabaseUrl]]:
    """The database by way of a proxy that sees what is said."""
    from dataclasses import replace

    from junkie_cli.core.database_url import Host

    target = replace(big, hosts=(Host("127.0.0.1", server.port),), parameters=(("sslmode", "disable"),))
    with Proxy(target) as proxy:
        yield proxy, proxy.url(target)


async def check(folder: Path, expected: int) -> None:
    """Every file with a final name is a whole backup, and there are as many as expected."""
    found = await catalogue.scan(folder)
    assert [entry.path for entry in reversed(found)] == dumps(folder)
    for path in dumps(folder):
        assert (await catalogue.require_good(path)).good
    assert len(found) == expected


def processes_using(folder: Path) -> list[str]:
    """Command lines of processes that mention the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(folder) in words:
                found.append(words)
    return found


def wait_until_none_uses(folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while processes_using(folder):
        assert time.monotonic() < deadline, processes_using(folder)
        time.sleep(0.02)


async def test_killed_at_any_moment_it_leaves_nothing_with_a_final_name_that_does_not_verify(
    junkie: Junkie, big: DatabaseUrl, folder: Path
) -> None:
    variables = environment(big, folder)
    began = time.monotonic()
    junkie.run("backup", env=variables).ok()
    whole = time.monotonic() - began
    dice = random.Random()
    seed = dice.randrange(2**32)
    dice.seed(seed)
    for round_ in range(ROUNDS):
        running = junkie.start("backup", env=variables)
        try:
            running.process.wait(dice.uniform(0.1, 1.1) * whole)
        except subprocess.TimeoutExpired:
            running.send(signal.SIGKILL)
        running.wait()
        wait_until_none_uses(folder)
        found = await catalogue.scan(folder)
        assert {entry.status for entry in found} == {"verified"}, f"round {round_} of seed {seed}"
        for path in dumps(folder):
            assert (await catalogue.require_good(path)).good, f"round {round_} of seed {seed}"
    before = len(dumps(folder))
    junkie.run("backup", env=variables).ok()
    await check(folder, before + 1)
    left = [name for name in names(folder) if not name.endswith((".dump", ".dump.json"))]
    assert left == [], "the next run clears what the dead ones left"


def stalled(junkie: Junkie, proxy: Proxy, url: DatabaseUrl, folder: Path, *options: str) -> Running:
    """A backup whose dump has begun and gets no further."""
    stalls = proxy.stalls
    proxy.stall_when(b"COPY ai.user_memories")
    running = junkie.start("backup", *options, env=environment(url, folder))
    deadline = time.monotonic() + PATIENCE
    while not any("pg_dump" in words for words in processes_using(folder)):
        assert time.monotonic() < deadline
        assert running.process.poll() is None, running.wait()
        time.sleep(0.01)
    proxy.wait(lambda proxy: proxy.stalls > stalls)  # what resumes before would be stalled after it, for good
    return running


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
async def test_a_signal_ends_it_at_once_and_nothing_is_left(
    junkie: Junkie,
    proxied: tuple[Proxy, DatabaseUrl],
    folder: Path,
    number: signal.Signals,
    code: int,
) -> None:
    proxy, url = proxied
    running = stalled(junkie, proxy, url, folder)
    running.send(number)
    result = running.wait()
    assert result.exit_code == code, result.stderr
    assert names(folder) == []
    assert processes_using(folder) == []


async def test_pg_dump_never_outlives_a_killed_run(
    junkie: Junkie, proxied: tuple[Proxy, DatabaseUrl], big: DatabaseUrl, folder: Path
) -> None:
    proxy, url = proxied
    running = stalled(junkie, proxy, url, folder)
    running.send(signal.SIGKILL)
    running.wait()
    wait_until_none_uses(folder)
    proxy.resume()
    junkie.run("backup", "--no-verify", env=environment(big, folder)).ok()
    await check(folder, 1)


async def test_a_connection_cut_in_mid_dump_is_a_failure_that_removes_nothing(
    junkie: Junkie, proxied: tuple[Proxy, DatabaseUrl], big: DatabaseUrl, folder: Path
) -> None:
    for _ in range(2):
        junkie.run("backup", "--no-verify", env=environment(big, folder)).ok()
    before = names(folder)
    proxy, url = proxied
    proxy.cut_when(b"m40000\t", from_server=True)
    result = junkie.run("backup", "--keep-last", "1", "--json", env=environment(url, folder))
    assert proxy.cuts == 1
    assert result.exit_code == 4
    assert result.json()["error"]["code"] == "database_lost"
    assert "lost during the dump" in result.stderr
    assert names(folder) == before, "retention is for runs that succeeded"


async def test_a_network_that_falls_silent_is_given_up(
    junkie: Junkie, proxied: tuple[Proxy, DatabaseUrl], folder: Path
) -> None:
    """pg_dump ignores SIGTERM on a dead network: its cancel request goes down the same path."""
    proxy, url = proxied
    proxy.stall_when(b"COPY ai.user_memories")
    result = junkie.run("backup", "--timeout", "1", "--json", env=environment(url, folder))
    assert result.exit_code == 5
    assert result.json()["error"]["code"] == "backup_timeout"
    assert names(folder) == []
    assert processes_using(folder) == []


async def test_a_server_that_ends_the_dump_is_a_lost_connection(
    junkie: Junkie, server: ScratchServer, proxied: tuple[Proxy, DatabaseUrl], folder: Path
) -> None:
    proxy, url = proxied
    running = stalled(junkie, proxy, url, folder)
    execute(server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'big'", "postgres")
    proxy.resume()
    result = running.wait()
    assert result.exit_code == 4, result.stderr
    assert names(folder) == []


def _can_unshare() -> bool:
    return os.geteuid() == 0 or subprocess.run(["unshare", "--mount", "--map-root-user", "true"]).returncode == 0


def on_small_disk(folder: Path, commands: str) -> list[str]:
    """Words of a shell that sees `folder` as a disk of two megabytes. In a mount namespace: nothing to clean up."""
    need(_can_unshare(), "a kernel that lets this user mount in a namespace of its own")
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    mount = f"mount -t tmpfs -o size=2m,mode=755 tmpfs {shlex.quote(str(folder))}"
    return ["unshare", "--mount", *as_root, "sh", "-c", f"{mount} && {commands}"]


def test_a_full_disk_is_reported_and_leaves_nothing(junkie: Junkie, big: DatabaseUrl, folder: Path) -> None:
    folder.mkdir()
    command = f"{SCRIPT} backup --no-verify --no-space-check --json; echo exit $?; ls -A"
    done = subprocess.run(
        on_small_disk(folder, f"cd {shlex.quote(str(folder))} && {command}"),
        env=junkie.environment(dict(environment(big, folder))),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[1:] == ["exit 5", ".junkie-backup.lock"], done.stderr
    assert '"backup_no_space"' in done.stdout
    assert "the disk is full; older backups are unchanged" in done.stderr


def test_room_is_looked_for_first(junkie: Junkie, big: DatabaseUrl, folder: Path) -> None:
    folder.mkdir()
    done = subprocess.run(
        on_small_disk(folder, f"{SCRIPT} backup --no-verify; echo exit $?"),
        env=junkie.environment(dict(environment(big, folder))),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "exit 5\n"
    assert "not enough space" in done.stderr


def test_a_limit_on_file_size_is_reported_as_what_it_is(junkie: Junkie, big: DatabaseUrl, folder: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", f"ulimit -f 1000; exec {SCRIPT} backup --no-verify"],
        env=junkie.environment(dict(environment(big, folder))),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5, done.stderr
    assert "the disk is full" in done.stderr
    assert names(folder) == []


def test_two_processes_at_once(junkie: Junkie, proxied: tuple[Proxy, DatabaseUrl], folder: Path) -> None:
    proxy, url = proxied
    running = stalled(junkie, proxy, url, folder, "--no-verify")
    busy = junkie.run("backup", "--json", env=environment(url, folder))
    assert busy.exit_code == 7
    assert busy.json()["error"]["code"] == "locked"
    assert f"process {running.process.pid}" in busy.stderr
    waiting = junkie.start("backup", "--no-verify", "--wait-lock", "60", env=environment(url, folder))
    proxy.resume()
    running.wait().ok()
    waiting.wait().ok()
    assert len(dumps(folder)) == 2
