"""The client side of the embedded server: finds the running server cheaply, else starts a keeper."""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded import wire
from junkie_cli.core.embedded.account import KEEPER_LOCK, NEXT_DATA, START_LOCK, clean_environment
from junkie_cli.core.embedded.cluster import DATABASE, USER, read_pid_file
from junkie_cli.core.embedded.keeper import no_database
from junkie_cli.core.errors import DatabaseError, SettingsError
from junkie_cli.core.progress import SILENT, Progress

LINGER = 30.0  # seconds
LINGER_VARIABLE = "JUNKIE_EMBEDDED_LINGER"  # for tests: another number of seconds
TRIES = 3
LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
SCOPE_WAIT = 10.0  # seconds for systemd to answer
BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from junkie_cli.core.embedded import {0}; {0}.main(*sys.argv[2:])"


def order_for(folder: str, pg_bin: Path | None, **more: Any) -> dict[str, Any]:
    """The order of a keeper of a data folder: where to work, and which programs there are."""
    from junkie_cli.core.embedded.installations import installations

    return {"folder": folder, "installations": [one.order() for one in installations(pg_bin)], **more}


def keeper_command(module: str, *arguments: str) -> list[str]:
    """The command line of a keeper: free of the environment and of site-packages, so that it starts in 10 ms."""
    root = str(Path(__file__).parents[3])
    return [sys.executable, "-I", "-S", "-c", BOOT.format(module), root, *arguments]


def keeper_environment() -> dict[str, str]:
    """The server's clean environment, and where to find systemd and a private folder."""
    kept = {name: os.environ[name] for name in ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS") if name in os.environ}
    return {**clean_environment(), **kept}


async def ensure_running(
    data_dir: Path,
    *,
    create: bool,
    progress: Progress,
    linger: float | None,
    pg_bin: Path | None,
) -> DatabaseUrl:
    """See the package."""
    folder = absolute(data_dir)
    found = await asyncio.to_thread(meet, folder)
    if found is None:
        if not create and not await asyncio.to_thread(exists, folder):
            raise no_database(folder)
        found = await _start(folder, create, progress, LINGER if linger is None else linger, pg_bin)
    return DatabaseUrl.socket(found, user=USER, database=DATABASE)


async def stop(data_dir: Path) -> None:
    """See the package."""
    folder = absolute(data_dir)
    if await asyncio.to_thread(exists, folder):
        async with _Keeper("stop", order_for(folder, None)) as keeper:
            await keeper.result(SILENT)


def absolute(data_dir: Path) -> str:
    """The absolute path of the folder: every process must use the same path."""
    return str(data_dir.expanduser().absolute())


def exists(folder: str) -> bool:
    """Whether `folder` contains data, or might: a folder that cannot be read is not reported as empty."""
    for name in ("data", NEXT_DATA):
        try:
            os.lstat(f"{folder}/{name}")
        except PermissionError:
            return True
        except OSError:
            continue
        return True
    return False


def meet(folder: str) -> str | None:
    """The socket folder of a server that runs and is being looked after; None when a keeper has to see to it.

    A few system calls, without a process or a wait. The touch shows the keeper that a client connected.
    """
    try:
        fd = os.open(f"{folder}/{START_LOCK}", LOOK)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.utime(fd)
        pid_file = read_pid_file(f"{folder}/data/postmaster.pid")
        if pid_file is None or pid_file.status != "ready" or not _has_keeper(folder):
            return None
        found = pid_file.socket_folder or f"{folder}/run"
        return found if wire.takes_connections(found, user=USER, database=DATABASE) else None
    except OSError:
        return None
    finally:
        os.close(fd)


def running(folder: str) -> DatabaseUrl | None:
    """See the package."""
    found = meet(folder)
    return DatabaseUrl.socket(found, user=USER, database=DATABASE) if found else None


def _has_keeper(folder: str) -> bool:
    fd = os.open(f"{folder}/{KEEPER_LOCK}", LOOK)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def short_folder(folder: str) -> str:
    """Where the socket of a folder with a long path goes, for the user `{uid}`; the keeper checks whose it is."""
    return f"/tmp/junkie-{{uid}}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"  # noqa: S108


async def _start(folder: str, create: bool, progress: Progress, linger: float, pg_bin: Path | None) -> str:
    order = order_for(folder, pg_bin, create=create, short=short_folder(folder), linger=_linger(linger))
    for _ in range(TRIES):
        async with _Keeper("keep", order) as keeper:
            with contextlib.suppress(EOFError):  # it was killed before it could answer
                return str((await keeper.result(progress))["socket"])
    raise DatabaseError(
        f"the process that starts the embedded PostgreSQL in {folder} ends before it can answer",
        hint="look for what kills it (memory: dmesg), then try again",
        code="embedded_keeper",
    )


def _linger(seconds: float) -> float:
    text = os.environ.get(LINGER_VARIABLE) or str(seconds)
    try:
        return max(0.0, float(text))
    except ValueError:
        raise SettingsError(f"{LINGER_VARIABLE} must be a number of seconds", hint="correct or unset it") from None


class _Keeper:
    """A keeper at work, as its starter sees it: the read end of its report."""

    def __init__(self, kind: str, order: Mapping[str, Any]) -> None:
        self._kind = kind
        self._command = keeper_command("keeper", kind, json.dumps(order))

    async def __aenter__(self) -> "_Keeper":
        receive = await asyncio.to_thread(launch, self._command, own_scope=self._kind == "keep")
        self._reader = asyncio.StreamReader()
        pipe = os.fdopen(receive, "rb")
        protocol = asyncio.StreamReaderProtocol(self._reader)
        self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._transport.close()

    async def result(self, progress: Progress) -> dict[str, Any]:
        """Return what the keeper started. Raises DatabaseError as it reports, EOFError if it was killed."""
        async for line in self._reader:
            told = json.loads(line)
            if "progress" in told:
                progress.step(told["progress"])
            else:
                return ready_or_raise(told)
        raise EOFError


def ready_or_raise(told: Mapping[str, Any]) -> dict[str, Any]:
    """The result in a keeper's last line. Raises the error that it reports."""
    if "error" in told:
        raise DatabaseError(told["error"]["message"], hint=told["error"]["hint"], code=told["error"]["code"])
    return dict(told["ready"])


def launch(command: list[str], *, own_scope: bool) -> int:
    """Start a keeper that outlives us, and with `own_scope` our systemd unit; the read end of its report."""
    receive, send = os.pipe()
    try:
        for words in [*(scopes(command) if own_scope else ()), command]:
            if _run(words, send):
                break
    except OSError as error:
        os.close(receive)
        raise DatabaseError(
            f"no process can be started: {error.strerror}",
            hint="see the limits of this user and this container (ulimit -u, memory), then try again",
            code="embedded_keeper",
        ) from None
    finally:
        os.close(send)
    return receive


def _run(words: list[str], send: int) -> bool:
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=send, stderr=subprocess.DEVNULL, env=keeper_environment(), cwd="/"
    )
    try:
        return process.wait(SCOPE_WAIT if words[0].endswith("systemd-run") else None) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False


def scopes(command: list[str]) -> list[list[str]]:
    """The command in a systemd scope of its own, when we run in a unit that systemd may end; else nothing.

    Everything in a unit's control group is killed with the unit, however detached it is; a transient scope is a
    control group that nobody ends. Where systemd does not answer, the plain start follows.
    """
    systemd_run = shutil.which("systemd-run") if in_unit(_own_cgroup()) else None
    if systemd_run is None:
        return []
    manager = [] if os.geteuid() == 0 else ["--user"]
    words = [systemd_run, "--scope", "--collect", "--quiet", "--description=embedded PostgreSQL of junkie", *manager]
    return [[*words, "--", *command]]


def in_unit(cgroup: str) -> bool:
    """Whether `/proc/self/cgroup` names a service or a session of systemd."""
    paths = [line.split(":", 2)[-1] for line in cgroup.splitlines()]
    return any(part.endswith((".service", ".scope")) for path in paths for part in path.split("/"))


def _own_cgroup() -> str:
    try:
        return Path("/proc/self/cgroup").read_text()
    except OSError:
        return ""
