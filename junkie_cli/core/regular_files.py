"""Reads files from untrusted folders: only regular files of limited size.

A named pipe can block a reader forever, a device such as /dev/zero never ends, and opening some devices has side
effects. So the kind of file is checked before and after opening, nothing blocks, and reads are limited.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: Path) -> BinaryIO:
    """Open the regular file at `path`, following links, for unbuffered reading. Raises OSError."""
    _require_regular(path.stat(), path)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        _require_regular(os.fstat(descriptor), path)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb", buffering=0)


def read_regular(path: Path, *, limit: int) -> bytes:
    """Read the regular file at `path`. Raises OSError, also if it has more than `limit` bytes."""
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > limit:
            raise _too_large(path, limit)
        pieces, room = [], limit + 1
        while room and (piece := file.read(room)):
            pieces.append(piece)
            room -= len(piece)
    if not room:
        raise _too_large(path, limit)
    return b"".join(pieces)


def _require_regular(info: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(info.st_mode):
        kind = _KINDS.get(stat.S_IFMT(info.st_mode), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, not a regular file", str(path))


def _too_large(path: Path, limit: int) -> OSError:
    return OSError(errno.EINVAL, f"it has more than {limit:,} bytes", str(path))
