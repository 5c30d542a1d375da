"""The keeper process of an embedded server: starts it, counts its clients, stops it after the last one has left.

Started as a program of its own (`python -I -S -c BOOT KIND ORDER`) by whoever needs the server, detached from it, and
free of everything that is not in the standard library: it outlives the command, its terminal and its systemd unit.
It reports to its starter by JSON lines on stdout: `{"progress": TEXT}`, then `{"ready": {...}}` or
`{"error": {"message", "hint", "code"}}`. Locks in the data folder, beside the server's own (cluster.py):

- `start.lock`: held while the server is started or stopped. Clients hold it shared, and touch it, while they look
  whether a server runs: one that is about to stop waits for them, and they for one that is stopping.
- `keeper.lock`: held by the one keeper for its life. A keeper ends only under `start.lock` and with no server running,
  so a running server without a keeper means that the keeper was killed; the next client starts another.
"""

import contextlib
import json
import os
import select
import signal
import socket
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from junkie_cli.core.embedded import wire
from junkie_cli.core.embedded.account import KEEPER_LOCK, LOG, START_LOCK, DataFolder, open_data_folder, unusable
from junkie_cli.core.embedded.cluster import (
    PATIENT_WAIT,
    PAUSE,
    START_WAIT,
    Cluster,
    open_lock,
    start_lock,
    trim_log,
    try_lock,
)
from junkie_cli.core.errors import DatabaseError, JunkieError

SOCKET_PATH_LIMIT = 100  # bytes; the systems' own limits are 104 (macOS) and 108 (Linux)
LONGEST_PAUSE = 10.0  # seconds between two counts of clients
SUCCESSOR_WAIT = 2.0  # seconds for a keeper that is just leaving
CREATING = "creating the embedded database..."
SLOW_START = "the embedded database is still starting; it may be recovering from a crash..."
OTHERS_AT_WORK = "waiting for another junkie that starts or stops the embedded database..."

Order = Mapping[str, Any]


class StarterPipe:
    """The pipe to the starter. If the starter has exited, the keeper continues."""

    def __init__(self) -> None:
        self._fd: int | None = os.dup(1)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.close(null)

    def _send(self, **line: Any) -> None:
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.write(self._fd, json.dumps(line).encode() + b"\n")

    def progress(self, text: str) -> None:
        """Report a step that takes long."""
        self._send(progress=text)

    def partly_ready(self, **what: Any) -> None:
        """Report what the starter has to work with before it answers."""
        self._send(ready=what)

    def ready(self, **what: Any) -> None:
        """Report success and close the pipe."""
        self._send(ready=what)
        self.close()

    def failed(self, error: Exception) -> None:
        """Report the error and close the pipe."""
        if not isinstance(error, JunkieError):
            error = DatabaseError(
                f"the keeper of the embedded PostgreSQL failed: {error!r}",
                hint="try again; if it fails again, please report this line",
                code="embedded_keeper",
            )
        self._send(error={"message": error.message, "hint": error.hint, "code": error.code})
        self.close()

    def close(self) -> None:
        """Close the pipe: the starter continues."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def main(kind: str, text: str) -> None:
    """Carry out an order, detached from the starter: `keep` (start the server and stay with it) or `stop`."""
    os.umask(0o077)
    os.chdir("/")
    if os.fork():
        os._exit(0)
    os.setsid()
    run({"keep": keep, "stop": stop}[kind], json.loads(text))


def main_by_stdin(work: Callable[[Order, StarterPipe], None]) -> None:
    """Carry out the order on the first line of stdin, which may hold a password; its end is the starter's death."""
    os.umask(0o077)
    os.chdir("/")
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(0, 1 << 16)
        if not more:
            return
        line += more
    run(work, json.loads(line))


def run(work: Callable[[Order, StarterPipe], None], order: Order) -> None:
    """Do `work`, and report what it raises."""
    report = StarterPipe()
    try:
        work(order, report)
    except OSError as error:
        report.failed(unusable(order["folder"], error))
    except Exception as error:
        report.failed(error)
    finally:
        report.close()


def keep(order: Order, report: StarterPipe) -> None:
    """Start the server if it does not run, report that it is ready, and stay until its last client has left."""
    cluster = Cluster(open_data_folder(order["folder"], order["installations"]))
    place = cluster.place

    with start_lock(place.at(START_LOCK), place.folder, on_wait=lambda: report.progress(OTHERS_AT_WORK)):
        watch = open_lock(place.at(KEEPER_LOCK))
        _ensure(cluster, order, report)
        mine = try_lock(watch)
    report.ready(socket=place.outside(cluster.socket_folder))
    if mine or _become_keeper(watch):
        watch_server(cluster, float(order["linger"]))


def stop(order: Order, report: StarterPipe) -> None:
    """Stop the server now, even if it has clients."""
    cluster = Cluster(open_data_folder(order["folder"], order["installations"]))
    with start_lock(cluster.place.at(START_LOCK), cluster.place.folder):
        cluster.stop(signal.SIGINT)
    report.ready()


# --- starting ---------------------------------------------------------------------------------------------------------


def _ensure(cluster: Cluster, order: Order, report: StarterPipe) -> None:
    """Use the running server, or create what is missing and start it. Runs under the start lock."""
    if _settle(cluster, report):
        return
    cluster.finish_migration()
    cluster.remove_incomplete()
    if not cluster.exists:
        if not order["create"]:
            raise no_database(cluster.place.folder)
        report.progress(CREATING)
        cluster.create(arguments=["--data-checksums"])
    cluster.write_access(cluster.data)
    cluster.socket_folder = make_socket_folder(cluster.place, order["short"])
    cluster.start(
        {"listen_addresses": ""},
        after={
            PATIENT_WAIT: lambda: report.progress(SLOW_START),
            START_WAIT: lambda: report.failed(_still_starting(cluster.place.folder)),
        },
    )


def _settle(cluster: Cluster, report: StarterPipe) -> bool:
    """Whether a server runs; one that is on its way up or down is waited for, one that lost its socket is ended."""
    begun, told = time.monotonic(), False
    while not cluster.is_ready():
        if not cluster.is_alive():
            return False
        if not told and time.monotonic() - begun > PATIENT_WAIT:
            told = True
            report.progress(SLOW_START)
        if cluster.lost_socket():
            cluster.stop(signal.SIGTERM)
            return False
        if time.monotonic() - begun > START_WAIT:
            raise _still_starting(cluster.place.folder)
        time.sleep(PAUSE)
    return True


def no_database(folder: str) -> DatabaseError:
    """The error for a data folder without a database."""
    return DatabaseError(
        f"there is no database yet: POSTGRES_URL is not set, and no embedded PostgreSQL is in {folder}",
        hint="set POSTGRES_URL, or create an embedded database: junkie chat",
        code="database_none",
    )


def _still_starting(folder: str) -> DatabaseError:
    return DatabaseError(
        f"the embedded PostgreSQL in {folder} is still starting; it may be recovering from a crash",
        hint=f"try again in a minute; see {folder}/{LOG}",
        code="embedded_starting",
    )


def make_socket_folder(place: DataFolder, short: str, name: str = "run") -> str:
    """The folder of the socket: `name` inside the data folder, or a short path elsewhere that is provably ours.

    `short` is a path in /tmp with `{uid}` in it. Clients learn from the server's `postmaster.pid` which one it is.
    """
    own = Path(place.at(name))
    if _fits(f"{place.folder}/{name}"):
        own.mkdir(mode=0o700, exist_ok=True)
        return str(own)
    short = short.replace("{uid}", str(os.geteuid()))
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    candidates = [f"{runtime}/{Path(short).name}"] if _is_private(runtime) else []
    for path in [*candidates, short, f"{short}-{os.urandom(4).hex()}"]:
        if _fits(path):
            with contextlib.suppress(OSError):
                Path(path).mkdir(mode=0o700)
            if _is_private(path) and not _is_in_use(path):
                return path
    raise DatabaseError(
        f"the path {place.folder} is too long for a socket, and no short private folder can be created in /tmp",
        hint="name a shorter folder with JUNKIE_DATA_DIR",
        code="embedded_path",
    )


def _fits(folder: str) -> bool:
    return len(os.fsencode(wire.socket_path(folder))) < SOCKET_PATH_LIMIT and "\n" not in folder


def _is_in_use(path: str) -> bool:
    """Whether a server listens here: that of a folder which was moved away from this path while it ran."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        return connection.connect_ex(wire.socket_path(path)) == 0


def _is_private(path: str) -> bool:
    """Whether this is a real folder that only this user can access: in /tmp another user may have created it."""
    try:
        info = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid() and not info.st_mode & 0o077


# --- staying ----------------------------------------------------------------------------------------------------------


def _become_keeper(watch: int) -> bool:
    """Whether this process becomes the keeper: wait a moment for one that is just leaving, or a client just looking."""
    begun = time.monotonic()
    while not try_lock(watch):
        if time.monotonic() - begun > SUCCESSOR_WAIT:
            return False
        time.sleep(2 * PAUSE)
    return True


def watch_server(cluster: Cluster, linger: float) -> None:
    """Stay until the server has gone, or has had no client for `linger` seconds and was stopped."""
    wake = wake_on_child()
    pause = min(max(linger / 3, 4 * PAUSE), LONGEST_PAUSE)
    used, met = time.monotonic(), 0
    while True:
        running = cluster.is_alive()
        wait_for(wake, timeout=pause if running else 4 * PAUSE)
        try:
            if running and (_is_used(cluster) or met != _met(cluster)):
                used, met = time.monotonic(), _met(cluster)
            elif (not running or time.monotonic() - used >= linger) and _leave(cluster, met):
                return
            trim_log(cluster.place.at(LOG))
        except OSError:  # the data folder is gone
            cluster.abandon()
            return


def wake_on_child() -> int:
    """A descriptor that becomes readable when the server ends."""
    receive, send = os.pipe()
    os.set_blocking(receive, False)
    os.set_blocking(send, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(send, warn_on_full_buffer=False)
    return receive


def wait_for(wake: int, *others: int, timeout: float | None = None) -> list[int]:
    """Wait until the server ends, one of the `others` can be read or `timeout` seconds have gone; which of them."""
    ready, _, _ = select.select([wake, *others], [], [], timeout)
    if wake in ready:
        os.read(wake, 1024)
    return [fd for fd in ready if fd != wake]


def _met(cluster: Cluster) -> int:
    """A number that changes whenever a client meets the server."""
    return Path(cluster.place.at(START_LOCK)).stat().st_mtime_ns


def _is_used(cluster: Cluster) -> bool:
    """Whether the server has clients, by its own list; one that cannot be asked but lives is taken as used."""
    try:
        return cluster.clients() > 0
    except wire.WireError:
        return cluster.is_alive()


def _leave(cluster: Cluster, met: int) -> bool:
    """Stop the server unless a client has connected; return whether this keeper is done. Holds the start lock."""
    lock = open_lock(cluster.place.at(START_LOCK), create=False)
    try:
        if not try_lock(lock):
            return False
        if cluster.is_alive() and (met != _met(cluster) or _is_used(cluster)):
            return False
        cluster.stop(signal.SIGTERM)
        return True
    finally:
        os.close(lock)
