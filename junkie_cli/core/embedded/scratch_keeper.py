"""The process beside a scratch server: runs it as long as its starter lives, and leaves nothing behind.

The starter holds the other end of our stdin. The kernel closes that end when the starter dies, by whatever signal, so
the end of stdin is the request to stop. The order comes there too, on a first line: it may hold a password.
"""

import contextlib
import os
import resource
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

from junkie_cli.core.embedded.account import DataFolder, open_scratch_folder
from junkie_cli.core.embedded.cluster import PAUSE, USER, Cluster
from junkie_cli.core.embedded.keeper import (
    Order,
    StarterPipe,
    main_by_stdin,
    make_socket_folder,
    wait_for,
    wake_on_child,
)
from junkie_cli.core.errors import DatabaseError

PORT_TRIES = 5
# Roles that own one database and nothing else, in which a dump is tried (core/backup/scratch.py). Before PostgreSQL 16
# no rule can have a pattern: there everybody but the superuser needs a password, which only these roles have.
PATTERNS_SINCE = 16
PROOF_RULES = ('local all "/^junkie_proof_[0-9a-f]+$" scram-sha-256',)
PROOF_RULES_BEFORE = (f"local all {USER} peer map=junkie", "local all all scram-sha-256")
# Speed before safety: what is lost with this server was only lent to it.
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "min_wal_size": "32MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def main() -> None:
    """Carry out the order that comes on stdin."""
    main_by_stdin(scratch)


def scratch(order: Order, report: StarterPipe) -> None:
    """Run a throw-away server until stdin ends."""
    folder = f"{order['folder']}/junkie-scratch-{os.urandom(6).hex()}"
    Path(folder).mkdir(mode=0o700)
    worker = os.fork() if os.geteuid() == 0 else 0
    if worker:
        # Only root can remove the folder itself when its parent is root's; the worker removes what is in it.
        report.close()
        os.waitpid(worker, 0)
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
        return
    place = open_scratch_folder(folder, order["installation"])
    try:
        _run(place, order, report)
    finally:
        for path in Path(place.path).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        with contextlib.suppress(OSError):
            Path(folder).rmdir()


def _run(place: DataFolder, order: Order, report: StarterPipe) -> None:
    _bound(order["memory"])
    cluster = Cluster(place)
    cluster.socket_folder = make_socket_folder(place, f"/tmp/{Path(place.folder).name}")  # noqa: S108  checked there
    try:
        statements = [_password(order["password"])] if order["password"] else []
        arguments = ["--no-sync", *order["initdb"]]
        rules = PROOF_RULES if int(place.major) >= PATTERNS_SINCE else PROOF_RULES_BEFORE
        cluster.create(hba=[*order["hba"], *rules], arguments=arguments, tuning={}, statements=statements)
        for name, content in order["files"].items():
            Path(cluster.data, name).write_bytes(bytes.fromhex(content))
        _start(cluster, order)
        assert cluster.child is not None
        wake = wake_on_child()
        report.ready(
            socket=place.outside(cluster.socket_folder), port=cluster.port, pid=cluster.child.pid, folder=place.folder
        )
        while cluster.is_alive():
            # A killed server's other processes follow it in a moment, of which the kernel sends no word.
            if wait_for(wake, 0, timeout=None if cluster.child else PAUSE) and not os.read(0, 1024):
                break
    finally:
        cluster.abandon()


def _bound(memory: int | None) -> None:
    """Limit the memory of the processes to come, where this system can."""
    if memory is not None:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _start(cluster: Cluster, order: Order) -> None:
    """Start on the named port or a free one, which another program may have taken since it was found."""
    for left in reversed(range(PORT_TRIES)):
        cluster.port = order["port"] or _free_port()
        try:
            cluster.start({**SETTINGS, **order["settings"]})
        except DatabaseError as error:
            if order["port"] or not left or "Address already in use" not in error.hint:
                raise
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _password(password: str) -> str:
    """The statement that sets it, on one line."""
    quoted = password.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"ALTER ROLE {USER} PASSWORD E'{quoted}'"
