"""PostgreSQL of our own, started on demand: `ensure_running` and nothing else is what most of the program needs.

The server belongs to a data folder, listens on a socket only, and is shared by all processes that name that folder.
A keeper process of its own (keeper.py) starts it and stops it a while after its last client has left.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from junkie_cli.core.progress import SILENT, Progress

if TYPE_CHECKING:
    from junkie_cli.core.database_url import DatabaseUrl

__all__ = ["bin_dir", "ensure_running", "exists", "running", "stop"]


def exists(data_dir: Path) -> bool:
    """Whether an embedded database was made in `data_dir`, running or not; true where this user may not look."""
    from junkie_cli.core.embedded import client

    return client.exists(client.absolute(data_dir))


def running(data_dir: Path) -> "DatabaseUrl | None":
    """The address of the embedded server in `data_dir` if it runs now; nothing is started, made or waited for."""
    from junkie_cli.core.embedded import client

    return client.running(client.absolute(data_dir))


def bin_dir(pg_bin: Path | None = None) -> Path:
    """The folder of the PostgreSQL programs for a new embedded database, which the current user can run.

    Raises DatabaseError (`embedded_programs`) when there are none.
    """
    from junkie_cli.core.embedded.installations import installations

    return installations(pg_bin)[0].path


async def ensure_running(
    data_dir: Path,
    *,
    create: bool,
    progress: Progress = SILENT,
    linger: float | None = None,
    pg_bin: Path | None = None,
) -> "DatabaseUrl":
    """The address of the embedded server in `data_dir`, which is running and takes connections.

    Starts it when it is not; with `create` also makes it, telling `progress` what takes long. It stays for
    `linger` seconds (default 30) after its last client has left or this was last called, whichever is later: a caller
    that finds it gone later calls again. `pg_bin` is a folder of programs that is preferred to the others
    (JUNKIE_PG_BIN). Raises DatabaseError: `database_none` when there is nothing to start, else a code `embedded_...`.
    """
    from junkie_cli.core.embedded.client import ensure_running

    return await ensure_running(data_dir, create=create, progress=progress, linger=linger, pg_bin=pg_bin)


async def stop(data_dir: Path) -> None:
    """Stop the embedded server of `data_dir`, whoever uses it; nothing happens when none runs. Raises DatabaseError."""
    from junkie_cli.core.embedded.client import stop

    await stop(data_dir)
