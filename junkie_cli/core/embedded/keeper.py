"""The process beside an embedded server: starts it, counts its clients, stops it when the last has left.

Started as a program of its own (`python -I -S -c BOOT KIND ORDER`) by whoever needs the server, detached from it, and
free of everything that is not in the standard library: it outlives the command, its terminal and its systemd unit.
It tells its starter how things go by JSON lines on stdout: `{"progress": TEXT}`, then `{"ready": {...}}` or
`{"error": {"message", "hint", "code"}}`. Locks in the data folder (see cluster.py):

- `start.lock`: held while the server is started or stopped. Clients hold it shared, and touch it, while they look
  whether a server runs: one that is about to stop waits for them, and they for one that is stopping.
- `keeper.lock`: held by the one keeper for its life. A keeper ends only under `start.lock` and with no server running,
  so a running server without a keeper means that the keeper was killed; the next client starts another.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import stat
import sys
import time
from collections.abc import Mapping
from typing import Any

from junkie_cli.core.embedded import account, wire
from junkie_cli.core.embedded.account import Place
from junkie_cli.core.embedded.cluster import (
    KEEPER_LOCK,
    PAUSE,
    START_LOCK,
    START_WAIT,
    Cluster,
    locked,
    open_lock,
    trim_log,
    try_lock,
)
from junkie_cli.core.embedded.cluster import LOG as SERVER_LOG
from junkie_cli.core.errors import DatabaseError, JunkieError

SOCKET_PATH_LIMIT = 100  # bytes; the systems' own limits are 104 (macOS) and 108 (Linux)
LONGEST_PAUSE = 10.0  # seconds between two counts of clients
PORT_TRIES = 5


class Report:
    """The pipe to the starter; a starter that has gone is no reason to stop."""

    def __init__(self) -> None:
        self.fd: int | None = os.dup(1)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.close(null)

    def send(self, **line: Any) -> None:
        """Write one line."""
        if self.fd is not None:
            with contextlib.suppress(OSError):
                os.write(self.fd, json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """Nothing more is told."""
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def progress(self, text: str) -> None:
        """Tell people what takes long."""
        self.send(progress=text)

    def failed(self, error: Exception) -> None:
        """Tell the sentence of what went wrong."""
        if not isinstance(error, JunkieError):
            error = DatabaseError(f"the keeper of the embedded PostgreSQL failed: {error!r}", code="embedded_keeper")
        self.send(error={"message": error.message, "hint": error.hint, "code": error.code})
        self.close()


def main(kind: str, order: str) -> None:
    """Carry out an order: `keep` (start, and stay), `stop`, or `scratch` (the order comes as a line on stdin)."""
    os.umask(0o077)
    os.chdir("/")
    if kind == "keep":
        if os.fork():
            os._exit(0)
        os.setsid()
    report = Report()
    try:
        {"keep": keep, "stop": stop, "scratch": scratch}[kind](json.loads(order or _line_of_stdin()), report)
    except Exception as error:
        report.failed(error)
    finally:
        report.close()


def _line_of_stdin() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(0, 1 << 16)
        if not more:
            break
        line += more
    return line


def keep(order: Mapping[str, Any], report: Report) -> None:
    """See to a running server, say so, and look after it until its last client has left."""
    place = account.open_data_folder(order["folder"], order["programs"], order["cache"])
    cluster = Cluster(place, place.at("run"))
    watch = open_lock(place.at(KEEPER_LOCK), place.folder)

    def waiting() -> None:
        report.progress("waiting for another junkie that starts or stops the embedded database...")

    with locked(place.at(START_LOCK), place.folder, on_wait=waiting):
        _ensure(cluster, order, report)
        mine = try_lock(watch)
    report.send(ready={"socket": _for_clients(cluster)})
    report.close()
    if mine or _inherit(watch):
        look_after(cluster, float(order["linger"]))


def _inherit(watch: int) -> bool:
    """Wait a moment for a keeper that is just leaving, or for a client that is just looking."""
    for _ in range(200):
        if try_lock(watch):
            return True
        time.sleep(2 * PAUSE)
    return False


def _for_clients(cluster: Cluster) -> str:
    return _outside(cluster.place, cluster.socket_folder)


def _outside(place: Place, path: str) -> str:
    """A path as other processes reach it."""
    return place.folder + path[len(place.path) :] if path.startswith(place.path) else path


def _ensure(cluster: Cluster, order: Mapping[str, Any], report: Report) -> None:
    """Meet the running server, or create what is missing and start it. Under the start lock."""
    if _settle(cluster):
        return
    if not cluster.exists:
        if not order["create"]:
            raise no_database(cluster.place.folder)
        report.progress("creating the embedded database...")
        cluster.create(hba=())
    cluster.write_access(cluster.data, ())
    cluster.socket_folder = _socket_folder(cluster.place, order["short"])

    def slow() -> None:
        report.failed(_still_starting(cluster.place.folder))

    cluster.start(options={"listen_addresses": ""}, on_slow=slow)


def _settle(cluster: Cluster) -> bool:
    """Whether a server runs; one that is on its way up or down is waited for, one that lost its socket is ended."""
    begun = time.monotonic()
    while not cluster.is_ready():
        if not cluster.is_alive():
            return False
        pid_file = cluster.pid_file()
        folder = (pid_file and pid_file.socket_folder) or cluster.place.at("run")
        if pid_file and pid_file.status == "ready" and not os.path.exists(wire.socket_path(folder)):
            cluster.stop(signal.SIGTERM)
            return False
        if time.monotonic() - begun > START_WAIT:
            raise _still_starting(cluster.place.folder)
        time.sleep(PAUSE)
    return True


def no_database(folder: str) -> DatabaseError:
    """The sentence for a data folder without a database."""
    return DatabaseError(
        f"there is no database yet: POSTGRES_URL is not set, and {folder} holds no embedded database",
        hint="set POSTGRES_URL, or make one with: junkie chat",
        code="database_none",
    )


def _still_starting(folder: str) -> DatabaseError:
    return DatabaseError(
        f"the embedded PostgreSQL in {folder} is still starting, perhaps repairing itself after a crash",
        hint=f"try again in a minute; {folder}/{SERVER_LOG} says how far it is",
        code="embedded_starting",
    )


def _socket_folder(place: Place, short: str) -> str:
    """Make the folder of the socket: inside the data folder, or a short path elsewhere that is provably ours."""
    own = place.at("run")
    if _fits(f"{place.folder}/run"):
        with contextlib.suppress(FileExistsError):
            os.mkdir(own, 0o700)
        return own
    short = short.replace("{uid}", str(os.geteuid()))
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    candidates = [f"{runtime}/{os.path.basename(short)}"] if _is_private(runtime) else []
    for path in [*candidates, short, f"{short}-{os.urandom(4).hex()}"]:
        if not _fits(path):
            continue
        with contextlib.suppress(OSError):
            os.mkdir(path, 0o700)
        if _is_private(path):
            return path
    raise DatabaseError(
        f"the path {place.folder} is too long for a socket, and no short folder of our own can be made in /tmp",
        hint="name a shorter folder with JUNKIE_DATA_DIR",
        code="embedded_path",
    )


def _fits(folder: str) -> bool:
    return len(os.fsencode(wire.socket_path(folder))) < SOCKET_PATH_LIMIT


def _is_private(path: str) -> bool:
    """Whether this is a real folder of ours that nobody else gets into: in /tmp anybody may have made it before us."""
    try:
        info = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid() and not info.st_mode & 0o077


def look_after(cluster: Cluster, linger: float) -> None:
    """Stay until the server has gone, or has had no client for `linger` seconds and was stopped."""
    wake = _wake_on_child()
    pause = min(max(linger / 3, 0.02), LONGEST_PAUSE)
    used, met = time.monotonic(), 0
    while True:
        select.select([wake], [], [], pause)
        try:
            if _is_used(cluster) or met != _met(cluster):
                used, met = time.monotonic(), _met(cluster)
            elif (time.monotonic() - used >= linger or not cluster.is_alive()) and _leave(cluster, met):
                return
            trim_log(cluster.place.at(SERVER_LOG))
        except (OSError, DatabaseError):
            return cluster.abandon()  # the data folder is gone


def _wake_on_child() -> int:
    """A descriptor that becomes readable when the server ends."""
    receive, send = os.pipe()
    os.set_blocking(send, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(send, warn_on_full_buffer=False)
    return receive


def _met(cluster: Cluster) -> int:
    """Changes whenever a client meets the server."""
    return os.stat(cluster.place.at(START_LOCK)).st_mtime_ns


def _is_used(cluster: Cluster) -> bool:
    """Whether the server has clients, by its own list; one that cannot be asked but lives is taken as used."""
    try:
        return cluster.clients() > 0
    except wire.WireError:
        return cluster.is_alive()


def _leave(cluster: Cluster, met: int) -> bool:
    """Stop the server unless somebody came; whether this keeper is done. Nobody can start or meet it meanwhile."""
    fd = open_lock(cluster.place.at(START_LOCK), cluster.place.folder)
    try:
        if not try_lock(fd) or met != _met(cluster) or _is_used(cluster):
            return False
        cluster.stop(signal.SIGTERM)
        if not cluster.socket_folder.startswith(cluster.place.path):
            with contextlib.suppress(OSError):
                os.rmdir(cluster.socket_folder)
        return True
    finally:
        os.close(fd)


def stop(order: Mapping[str, Any], report: Report) -> None:
    """Stop the server now, whoever uses it."""
    place = account.open_data_folder(order["folder"], order["programs"], order["cache"])
    cluster = Cluster(place, place.at("run"))
    with locked(place.at(START_LOCK), place.folder):
        cluster.stop(signal.SIGINT)
    report.send(ready={})


def scratch(order: Mapping[str, Any], report: Report) -> None:
    """Run a throw-away server until stdin ends, that is until the starter has closed it or died; leave nothing."""
    folder = _new_folder(order["parent"])
    supervisor = os.geteuid() == 0 and os.fork()
    if supervisor:
        # Only root may remove the folder itself when its parent belongs to root; everything in it goes before.
        report.close()
        os.waitpid(supervisor, 0)
        with contextlib.suppress(OSError):
            os.rmdir(folder)
        return
    place = account.open_scratch_folder(folder, order["programs"], order["cache"])
    try:
        _run_scratch(place, order, report)
    finally:
        shutil.rmtree(place.path, ignore_errors=True)


def _new_folder(parent: str) -> str:
    folder = f"{parent}/junkie-scratch-{os.urandom(6).hex()}"
    try:
        os.mkdir(folder, 0o700)
    except OSError as error:
        raise account.unusable(parent, error) from None
    return folder


def _run_scratch(place: Place, order: Mapping[str, Any], report: Report) -> None:
    cluster = Cluster(place, place.at("run"))
    cluster.socket_folder = _socket_folder(place, f"/tmp/{os.path.basename(place.folder)}")  # noqa: S108
    try:
        cluster.create(hba=order["hba"], arguments=order["initdb"], tuning=SCRATCH, database=None)
        for name, text in order["files"].items():
            with open(f"{cluster.data}/{name}", "wb") as file:
                file.write(bytes.fromhex(text))
        _start_scratch(cluster, order)
        if order["password"]:
            _set_password(cluster, order["password"])
        assert cluster.child is not None
        socket_folder = _for_clients(cluster)
        report.send(ready={"socket": socket_folder, "port": cluster.port, "pid": cluster.child.pid})
        report.close()
        wake = _wake_on_child()
        while cluster.child.poll() is None and not _ended(wake):
            pass
    finally:
        cluster.abandon()
        if not cluster.socket_folder.startswith(place.path):
            shutil.rmtree(cluster.socket_folder, ignore_errors=True)


def _start_scratch(cluster: Cluster, order: Mapping[str, Any]) -> None:
    """Start on the named port or a free one, which another program may have taken since it was found."""
    for left in reversed(range(PORT_TRIES)):
        cluster.port = order["port"] or _free_port()
        try:
            return cluster.start(options={"listen_addresses": "", **order["settings"]})
        except DatabaseError as error:
            if order["port"] or not left or "Address already in use" not in error.hint:
                raise


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _set_password(cluster: Cluster, password: str) -> None:
    quoted = password.replace("'", "''")
    sql = f"SET standard_conforming_strings = on; ALTER ROLE junkie PASSWORD '{quoted}'"
    wire.ask(cluster.socket_folder, sql, user="junkie", database="postgres", port=cluster.port)


def _ended(wake: int) -> bool:
    """Wait for something to happen; whether stdin has ended."""
    ready, _, _ = select.select([0, wake], [], [])
    if wake in ready:
        os.read(wake, 1024)
    return 0 in ready and not os.read(0, 1024)


# Speed before safety: what is lost with this server was only lent to it.
SCRATCH: Mapping[str, str] = {
    "shared_buffers": "32MB",
    "max_connections": "100",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "min_wal_size": "32MB",
    "max_wal_size": "1GB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
