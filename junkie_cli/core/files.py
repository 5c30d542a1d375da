"""Files that are complete or not there: written under another name, synced, renamed. 0600: they hold people's text."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from junkie_cli.core.errors import JunkieError


class FileError(JunkieError):
    """A file or folder of the user's cannot be read or written."""

    default_code = "file"


@contextmanager
def complete_file(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes `path`'s place when the block ends well; when it fails nothing is left of it.

    Raises FileError when the file cannot be made, written or named, before anything else when the folder is not
    writable.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with told(path), _private(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            part.replace(path)
            _sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise


def _private(path: Path, flags: int) -> BinaryIO:
    # The pieces of an export are 9 kB: more at once is a fifth of its work less.
    return os.fdopen(os.open(path, flags, 0o600), "wb", buffering=1 << 18)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_line(path: Path, line: bytes) -> None:
    """Append one line to a private file, made with its folder when missing, and sync it. Raises FileError."""
    with told(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _private(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as file:
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn the system's errors with `path` into FileError; a closed pipe and a lost connection are not a file's."""
    try:
        yield
    except ConnectionError:
        raise
    except OSError as error:
        reason = error.strerror or "input/output error"
        raise FileError(
            f"{path}: {reason[:1].lower()}{reason[1:]}", hint="check the path, its rights and the disk"
        ) from None
