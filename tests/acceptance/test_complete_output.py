"""Every answer on stdout is complete, or the command fails; and -o FILE writes to what is there."""

import fcntl
import json
import os
import re
import signal
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from tests.support.generations import Administration, Make
from tests.support.junkie import SCRIPT, Junkie, Result
from tests.support.mounts import device
from tests.support.needs import need_root
from tests.support.pipes import wait_until_full

ROWS = 3000
FAILED = "error: the answer could not be written: "
# Each prints something on stdout.
COMMANDS = (
    "--help",
    "memories --help",
    "--version",
    "",
    "config show",
    "config show --json",
    "memories list",
    "memories list --json",
    "memories export",
    "users list",
    "users export ada -o -",
    "stats",
    "doctor --only database.url",
    "doctor --only database.url --json",
    "chat --offline hello",
    "chat --offline --json hello",
)


@pytest.fixture
def bot(junkie: Junkie, written_by: Make) -> Junkie:
    junkie._extra["POSTGRES_URL"] = written_by("3.1").libpq()
    return junkie


async def filled(admin: Administration, url: DatabaseUrl) -> None:
    await admin.do(
        url,
        "INSERT INTO ai.user_memories (memory_id, memory, user_id, created_at, updated_at)"
        f" SELECT 'm' || n, to_jsonb(repeat('x', 100)), 'zoe', n, n FROM generate_series(1, {ROWS}) n",
    )


def run_to(junkie: Junkie, stdout: int, *arguments: str, unbuffered: bool = False) -> Result:
    done = subprocess.run(
        [SCRIPT, *arguments],
        env=junkie.environment({"PYTHONUNBUFFERED": "1" if unbuffered else None}),
        cwd=junkie.cwd,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        timeout=120,
    )
    return Result(arguments, done.returncode, "", done.stderr)


# --- stdout -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_room_and_no_stdout_are_failures(bot: Junkie, command: str, unbuffered: bool) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run_to(bot, full.fileno(), *command.split(), unbuffered=unbuffered)
    assert (done.exit_code, FAILED + "No space left on device" in done.stderr) == (1, True), done.stderr
    assert "Traceback" not in done.stderr and "unexpected" not in done.stderr
    assert not re.search("exported|erased|deleted", done.stderr)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_closed_stdout_is_a_failure(bot: Junkie, command: str) -> None:
    done = bot.run(*command.split(), prefix=("sh", "-c", 'exec "$@" >&-', "sh"))
    assert (done.exit_code, done.stdout, FAILED + "stdout is closed" in done.stderr) == (1, "", True), done.stderr


def test_what_answers_nothing_needs_no_stdout(bot: Junkie) -> None:
    bot.run("backup", prefix=("sh", "-c", 'exec "$@" >&-', "sh")).ok()


@pytest.mark.parametrize("unbuffered", [False, True])
async def test_a_disk_that_fills_up_is_a_failure(
    bot: Junkie, admin: Administration, tmp_path: Path, unbuffered: bool
) -> None:
    need_root("a disk to mount")
    await filled(admin, DatabaseUrl.parse(bot.environment()["POSTGRES_URL"]))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)], check=True)
    try:
        with (tmp_path / "out").open("wb") as file:
            done = run_to(bot, file.fileno(), "memories", "export", unbuffered=unbuffered)
        named = bot.run("memories", "export", "-o", str(tmp_path / "named"))
        left = sorted(each.name for each in tmp_path.iterdir())
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)
    assert (done.exit_code, "exported" in done.stderr) == (1, False)
    assert FAILED + "No space left on device" in done.stderr
    assert (named.exit_code, "no space left" in named.stderr, left) == (1, True, ["out"])


@pytest.mark.parametrize("unbuffered", [False, True])
async def test_a_pipe_that_does_not_block_gets_everything(bot: Junkie, admin: Administration, unbuffered: bool) -> None:
    await filled(admin, DatabaseUrl.parse(bot.environment()["POSTGRES_URL"]))
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETFL, fcntl.fcntl(writing, fcntl.F_GETFL) | os.O_NONBLOCK)
    got: list[bytes] = []

    def read_slowly() -> None:
        time.sleep(0.5)  # the pipe is full by then, or is not: either way everything arrives
        with os.fdopen(reading, "rb") as file:
            got.append(file.read())

    reader = threading.Thread(target=read_slowly)
    reader.start()
    done = run_to(bot, writing, "memories", "export", unbuffered=unbuffered).ok()
    os.close(writing)
    reader.join(60)
    lines = got[0].splitlines()
    assert len(lines) == ROWS + 4
    assert all(json.loads(line)["memory_id"] for line in lines)
    assert f"exported {ROWS + 4} memories" in done.stderr.replace(",", "")


# --- -o FILE ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["memories export", "users export ada", "users erase ada --yes --receipt"])
def test_devices_fifos_and_links_stay_what_they_are(bot: Junkie, command: str) -> None:
    words = command.split() if "--receipt" in command else [*command.split(), "-o"]
    null, fifo, target, link = (bot.cwd / name for name in ("null", "fifo", "target", "link"))
    device(null, 3)
    os.mkfifo(fifo)
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to("target")
    if "erase" not in command:
        bot.run(*words, "null").ok()
        bot.run(*words, "fifo", prefix=("sh", "-c", 'cat fifo >got & "$@"; code=$?; wait; exit $code', "sh")).ok()
        assert json.loads((bot.cwd / "got").read_text().splitlines()[0])
    bot.run(*words, "link").ok()
    assert json.loads(target.read_text().splitlines()[0] if "erase" not in command else target.read_text())
    assert stat.S_ISCHR(null.stat().st_mode) and stat.S_ISFIFO(fifo.stat().st_mode)
    assert link.is_symlink() and stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_receipt_goes_to_a_fifo_and_to_stdout(bot: Junkie) -> None:
    os.mkfifo(bot.cwd / "fifo")
    erasing = ("users", "erase", "ada", "--yes", "--receipt")
    refused = bot.run(*erasing, "-", "--json")
    assert (refused.exit_code, "cannot both go to stdout" in refused.stderr) == (2, True)
    bot.run(*erasing, "fifo", prefix=("sh", "-c", 'cat fifo >got & "$@"; code=$?; wait; exit $code', "sh")).ok()
    assert json.loads((bot.cwd / "got").read_text())["user_id"] == "ada"
    done = bot.run("users", "erase", "bob", "--yes", "--receipt", "-").ok()
    assert json.loads(done.stdout)["user_id"] == "bob"


def test_a_full_device_is_an_error(bot: Junkie) -> None:
    device(bot.cwd / "full", 7)
    done = bot.run("memories", "export", "-o", "full")
    assert (done.exit_code, "no space left on device" in done.stderr, "exported" in done.stderr) == (1, True, False)


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
def test_a_dash_is_stdout_and_stdin(bot: Junkie, name: str) -> None:
    exported = bot.run("memories", "export", "-o", name).ok()
    assert exported.stdout == bot.run("memories", "export").ok().stdout
    assert bot.run("users", "export", "ada", "-o", name).ok().json_lines()[0]["table"]
    assert bot.run("memories", "export", "-o", name, "--json").exit_code == 2
    assert bot.run("users", "export", "ada", "-o", name, "--json").exit_code == 2
    assert bot.run("backup", "-o", name).exit_code == 2
    bot.run("memories", "clear", "-u", "ada", "--yes").ok()
    there = {"-": "-", "/dev/stdout": "/dev/stdin", "/dev/fd/1": "/dev/fd/0"}[name]
    done = bot.run("memories", "import", there, "--json", input=exported.stdout).ok().json()
    assert (done["read"], done["added"]) == (4, 2)
    assert list(bot.cwd.iterdir()) == []


@pytest.mark.parametrize("command", ["memories export -o fifo", "users export ada -o fifo", "memories import fifo"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_waiting_for_the_other_end_of_a_fifo_ends(bot: Junkie, command: str, number: signal.Signals) -> None:
    os.mkfifo(bot.cwd / "fifo")
    running = bot.start(*command.split())
    wait_until_blocked(running.process.pid, "wait_for_partner", "fifo_open")
    running.send(number)
    done = running.wait()
    assert done.exit_code == {signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    assert stat.S_ISFIFO((bot.cwd / "fifo").stat().st_mode)


def wait_until_blocked(pid: int, *where: str) -> None:
    """Wait until a thread of the process sleeps in one of these functions of the kernel."""
    for _ in range(1200):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            if any(name in (thread / "wchan").read_text() for name in where):
                return
        time.sleep(0.05)
    pytest.fail(f"it does not wait in {' or '.join(where)}")


@pytest.mark.parametrize(
    "command", ["memories list", "memories list --json", "memories export", "users export zoe -o -"]
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("together", [False, True])
async def test_a_signal_ends_a_write_that_waits_for_its_reader(
    junkie: Junkie, written_by: Make, admin: Administration, command: str, number: signal.Signals, together: bool
) -> None:
    url = written_by("3.1")
    await admin.do(url, "UPDATE ai.user_memories SET user_id = 'zoe', memory = to_jsonb(repeat('x', 60000))")
    environment = junkie.environment({"POSTGRES_URL": url.libpq()})
    readable, writable = os.pipe()
    try:
        process = subprocess.Popen(
            [str(SCRIPT), *command.split()],
            env=environment,
            cwd=junkie.cwd,
            stdin=subprocess.DEVNULL,
            stdout=writable,
            stderr=writable if together else subprocess.DEVNULL,
        )
        wait_until_full(writable)
        process.send_signal(number)
        assert process.wait(60) == {signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    finally:
        os.close(readable)
        os.close(writable)
