"""The process beside a migration of the data folder to another major version of PostgreSQL.

It runs both servers, the old one on the data as they are and a new one on a new, empty folder, each on a socket that
no other process knows, and holds the start lock: nothing can be written that would not be copied. The starter copies
the data and then writes a line to our stdin: only then the new data take the place of the old ones, which are kept.
Without that line, because the starter has failed or died, everything is as before.
"""

import contextlib
import os
import signal
from pathlib import Path

from junkie_cli.core.embedded.account import NEW_DATA, START_LOCK, open_for_migration
from junkie_cli.core.embedded.cluster import Cluster, start_lock
from junkie_cli.core.embedded.keeper import (
    OTHERS_AT_WORK,
    Order,
    StarterPipe,
    main_by_stdin,
    make_socket_folder,
    wait_for,
    wake_on_child,
)
from junkie_cli.core.errors import DatabaseError

SOCKETS_OLD, SOCKETS_NEW = "run-old", "run-new"


def main() -> None:
    """Carry out the order that comes on stdin."""
    main_by_stdin(migrate)


def migrate(order: Order, report: StarterPipe) -> None:
    """Run both servers until the starter reports that the data are copied, then put the new data in place."""
    old_place, new_place = open_for_migration(order["folder"], order["old"], order["new"])
    with start_lock(old_place.at(START_LOCK), old_place.folder, on_wait=lambda: report.progress(OTHERS_AT_WORK)):
        Cluster(old_place).stop(signal.SIGINT)
        old = Cluster(old_place, sockets=SOCKETS_OLD)
        old.finish_migration()
        old.remove_incomplete()
        new = Cluster(new_place, data=f"{NEW_DATA}migrated", sockets=SOCKETS_NEW)
        try:
            _start(old, new, order["short"])
            sockets = [new.place.outside(each.socket_folder) for each in (old, new)]
            report.partly_ready(old=sockets[0], new=sockets[1])
            kept = _finish(old, new)
        finally:
            old.stop(signal.SIGINT)
            new.abandon()
            old.remove_incomplete()
            for name in (SOCKETS_OLD, SOCKETS_NEW):
                with contextlib.suppress(FileNotFoundError):
                    Path(old_place.at(name)).rmdir()
    report.ready(kept=kept)


def _start(old: Cluster, new: Cluster, short: str) -> None:
    if not old.exists:
        raise DatabaseError(
            f"there is no database in {old.place.folder}", hint="nothing needs to be migrated", code="database_none"
        )
    old.write_access(old.data)
    new.create(arguments=["--data-checksums"])
    for cluster, name in ((old, SOCKETS_OLD), (new, SOCKETS_NEW)):
        cluster.socket_folder = make_socket_folder(cluster.place, f"{short}-{name}", name)
        cluster.start({"listen_addresses": ""})


def _finish(old: Cluster, new: Cluster) -> str:
    """Wait for the starter's word, then exchange the data; the name under which the old ones are kept.

    Raises DatabaseError when it does not come or a server ends by itself.
    """
    wake = wake_on_child()
    while not wait_for(wake, 0):
        if not (old.is_alive() and new.is_alive()):
            raise _ended(old)
    if not os.read(0, 1024):
        raise DatabaseError(
            "the migration was ended before it was complete", hint="nothing has changed", code="embedded_migration"
        )
    for cluster in (old, new):
        cluster.stop(signal.SIGINT)
    return new.replace(old)


def _ended(old: Cluster) -> DatabaseError:
    return DatabaseError(
        f"a server ended in the middle of the migration of {old.place.folder}",
        hint=f"nothing has changed; see {old.place.folder}/server.log, then try again",
        code="embedded_migration",
    )
