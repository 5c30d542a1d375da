"""The lock of a backup folder: a flock on a file that is never deleted.

The descriptor is inherited by pg_dump and other children, so that an orphan of a killed run holds the lock until it
ends. Deleting the file would allow two runs to lock two files of the same name.
"""

import asyncio
import errno
import fcntl
import os
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from junkie_cli.core.errors import BackupError, LockedError

NAME = ".junkie-backup.lock"
_POLL = 0.1  # seconds; flock with a timeout needs an alarm signal, which an event loop cannot use


@asynccontextmanager
async def hold(folder: Path, *, wait: float = 0, purpose: str) -> AsyncIterator[int]:
    """Hold the folder's lock and yield its descriptor, to be inherited by children.

    `wait` is the number of seconds to try. Raises LockedError (exit 7) if another run holds it, BackupError if the lock
    file cannot be created.
    """
    descriptor = _open(folder / NAME)
    try:
        await _acquire(descriptor, folder, wait)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{purpose}, process {os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise BackupError(
            f"cannot write in {path.parent}: {error.strerror}",
            hint="check the folder's owner and permissions, or use another one: -o",
            code="backup_folder",
        ) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BackupError(
            f"{path} is not a regular file, so it cannot be a lock",
            hint="delete it if nothing else uses it, or use another folder: -o",
            code="backup_folder",
        )
    return descriptor


async def _acquire(descriptor: int, folder: Path, wait: float) -> None:
    deadline = time.monotonic() + wait
    while not _try(descriptor, folder):
        if time.monotonic() >= deadline:
            raise LockedError(
                f"another run holds the lock of {folder} ({_holder(descriptor)})",
                hint="wait for it to end, or use --wait-lock SECONDS",
            )
        await asyncio.sleep(_POLL)


def _try(descriptor: int, folder: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES, errno.EINTR}:
            return False
        raise BackupError(
            f"{folder} is on a file system without locks: {error.strerror}",
            hint="use a local folder: -o",
            code="backup_folder",
        ) from error
    return True


def _holder(descriptor: int) -> str:
    text = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
    return text or "its process is starting"
