"""Writes files completely or not at all, private by default.

A regular file is written under another name, synced and renamed. Devices, FIFOs and descriptors of this process
(`/dev/stdout`, `/dev/fd/3`) are written to directly.
"""

import errno
import io
import os
import re
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from junkie_cli.core.errors import JunkieError

STANDARD_STREAM = Path("-")
"""The name for stdout when a file is written, and for stdin when a file is read."""

LONGEST_LINE = 256 << 20
"""Bytes of the longest line that is read: the most that PostgreSQL takes as one text in JSON."""

_BUFFER = 1 << 18  # bytes; an export writes pieces of 9 kB, and larger writes save a fifth of its work
_MOST_LINKS = 40
_TO_WRITE = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class FileError(JunkieError):
    """Raised if a file or folder of the user cannot be read or written."""

    default_code = "file"


class OutputError(JunkieError):
    """Raised if the answer cannot be written to stdout; `errno` is the system's reason."""

    default_code = "output_failed"

    def __init__(self, error: OSError) -> None:
        reason = "stdout is closed" if error.errno == errno.EBADF else error.strerror
        super().__init__(f"the answer could not be written: {reason}", hint="write to another file or free some space")
        self.errno = error.errno


def unwritable(error: OSError) -> Exception:
    """Return the exception for an answer that cannot be written: the original error if the reader is gone."""
    return error if isinstance(error, BrokenPipeError) else OutputError(error)


_writing: "dict[int, CompleteWriter]" = {}
"""The writer whose `write` each thread is executing, by the id of the thread."""


def stop_write(error: BaseException) -> None:
    """Raise `error` in this thread if it is blocked in a write; called by signal handlers.

    A write that is not blocked raises it before its next piece.
    """
    writer = _writing.get(threading.get_ident())
    if writer is not None:
        writer.stop(error)


_PIECE = 4096  # bytes: PIPE_BUF of Linux
_PATIENCE = 200  # milliseconds


class CompleteWriter(io.FileIO):
    """A descriptor to which every write is complete, or raises the exception that `failed` returns.

    A plain FileIO returns early if the disk or a non-blocking pipe is full, and the rest is lost unless the caller
    checks. After a failure, or after a signal handler ended a write, nothing more is written, so that no piece follows
    a gap or waits for the same reader again.
    """

    def __init__(self, descriptor: int, failed: Callable[[OSError], Exception], *, closefd: bool = True) -> None:
        super().__init__(descriptor, "w", closefd=closefd)
        self._failed = failed
        self._failure: OSError | None = None
        self._stopped_by: BaseException | None = None
        self._waits = not stat.S_ISREG(os.fstat(descriptor).st_mode)

    def write(self, data: Any, /) -> int:
        """Write all of `data`; wait for a slow reader."""
        if self._failure is not None:
            raise self._failed(self._failure) from None
        view = memoryview(data).cast("B")
        thread = threading.get_ident()
        _writing[thread] = self
        try:
            return self._write_all(view)
        except OSError as error:
            self._failure = error
            raise self._failed(error) from None
        except BaseException:
            self._failure = OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
            raise
        finally:
            _writing.pop(thread, None)
            self._stopped_by = None

    def stop(self, error: BaseException) -> None:
        """End the write that this thread is executing with `error`, immediately if it is blocked."""
        self._stopped_by = error
        if not self._has_room(0):
            raise error

    def _write_all(self, view: "memoryview[int]") -> int:
        # A system call that begins to wait just after a signal came waits on, and no handler runs: no call may wait
        # for long. A pipe with room takes a piece of this size at once.
        done, size = 0, _PIECE if self._waits else len(view)
        while done < len(view):
            if self._stopped_by is not None:
                raise self._stopped_by
            if not self._waits or self._has_room(_PATIENCE):
                done += super().write(view[done : done + size]) or 0
        return done

    def _has_room(self, patience: int) -> bool:
        """Return whether a write is possible within `patience` milliseconds."""
        import select

        poll = select.poll()
        poll.register(self.fileno(), select.POLLOUT)
        return bool(poll.poll(patience))


# --- writing ----------------------------------------------------------------------------------------------------------


@contextmanager
def complete_file(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """Open a file to write to. A regular file replaces `path` when the block succeeds; otherwise nothing is left.

    Links are followed. An existing file keeps its mode and owner (unless `private`), a new one is readable only by its
    owner. Devices, FIFOs and descriptors of this process are written to directly; a FIFO waits for its reader. Raises
    FileError if the file cannot be created, written or renamed; immediately if the folder is not writable.
    """
    with converting_errors(path), ExitStack() as stack:
        descriptor = _open_existing(path)
        before = None if descriptor is None else os.fstat(descriptor)
        if descriptor is None or before is None or _is_replaced(path, before):
            if descriptor is not None:
                os.close(descriptor)
            writing = _replacing(Path(os.path.realpath(path)), before, private)
        else:
            writing = _direct(path, descriptor)
        yield stack.enter_context(writing)


@asynccontextmanager
async def awaited_file(path: Path) -> AsyncIterator[BinaryIO]:
    """As `complete_file`, but waiting for the reader of a FIFO can be cancelled."""
    import asyncio

    with ExitStack() as stack:
        writing = complete_file(path)
        if _is_fifo(path):
            yield await asyncio.to_thread(stack.enter_context, writing)
        else:
            yield stack.enter_context(writing)


def check_writable(path: Path) -> None:
    """Raise FileError if `complete_file` could not write to `path`; write nothing, open no FIFO."""
    with converting_errors(path):
        if _is_fifo(path):
            return
        descriptor = _open_existing(path)
        regular = True
        if descriptor is not None:
            regular = _is_replaced(path, os.fstat(descriptor))
            os.close(descriptor)
        folder = os.path.dirname(os.path.realpath(path))  # noqa: PTH120
        if regular and not stat.S_ISDIR(os.stat(folder).st_mode):  # noqa: PTH116
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if regular and not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def is_standard_output(path: Path) -> bool:
    """Return whether `path` is this process' stdout: `-`, `/dev/stdout`, `/dev/fd/1`."""
    return path == STANDARD_STREAM or _own_descriptor(path) == 1


def _open_existing(path: Path) -> int | None:
    """Open `path` for writing and return the descriptor; None if it does not exist.

    The system refuses what must not be written, including links in shared folders.
    """
    own = _own_descriptor(path)
    if own is not None:
        return os.dup(own)
    if _is_fifo(path):
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        descriptor = os.open(path, _TO_WRITE)
    except FileNotFoundError:
        if not path.is_symlink():
            return None
        descriptor = os.open(path, _TO_WRITE | os.O_CREAT, 0o600)
    os.set_blocking(descriptor, True)
    return descriptor


def _own_descriptor(path: Path) -> int | None:
    """Return the descriptor of this process that `path` names, following links; None for any other path."""
    if path == STANDARD_STREAM:
        return 1
    name = os.path.abspath(path)  # noqa: PTH100
    for _ in range(_MOST_LINKS):
        folder, last = os.path.split(name)
        folder = os.path.realpath(folder)
        if last.isdecimal() and re.fullmatch(rf"/proc/{os.getpid()}(/task/[0-9]+)?/fd|/dev/fd", folder):
            return int(last)
        name = f"{folder}/{last}"
        if not os.path.islink(name):  # noqa: PTH114
            break
        name = os.path.join(folder, os.readlink(name))  # noqa: PTH115, PTH118
    return None


def _is_fifo(path: Path) -> bool:
    try:
        return stat.S_ISFIFO(path.stat().st_mode) and _own_descriptor(path) is None
    except OSError:
        return False


def _is_replaced(path: Path, before: os.stat_result) -> bool:
    return stat.S_ISREG(before.st_mode) and _own_descriptor(path) is None


@contextmanager
def _replacing(path: Path, before: os.stat_result | None, private: bool) -> Iterator[BinaryIO]:
    """Open a file next to `path` that replaces it at the end, with owner and mode of the file `before`."""
    part = path.with_name(f".junkie-{os.urandom(6).hex()}.part")
    with _created(part) as file:
        try:
            if before is not None:
                _keep_owner(file.fileno(), before)
            yield file
            file.flush()
            if before is not None and not private:
                os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
            os.fsync(file.fileno())
            part.replace(path)
            sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise


def _created(path: Path) -> BinaryIO:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)  # regardless of the umask
    return os.fdopen(descriptor, "wb", buffering=_BUFFER)


def _keep_owner(descriptor: int, before: os.stat_result) -> None:
    made = os.fstat(descriptor)
    if (made.st_uid, made.st_gid) == (before.st_uid, before.st_gid):
        return
    try:
        os.fchown(descriptor, before.st_uid, before.st_gid)
    except PermissionError:
        raise PermissionError(errno.EPERM, "its owner or group would change; use another file") from None


@contextmanager
def _direct(path: Path, descriptor: int) -> Iterator[BinaryIO]:
    def failed(error: OSError) -> Exception:
        if is_standard_output(path):
            return unwritable(error)
        if isinstance(error, BrokenPipeError):
            return FileError(
                f"{path}: the reader closed it too early",
                hint="run the command again with a reader that reads everything",
            )
        return file_error(path, error)

    with io.BufferedWriter(CompleteWriter(descriptor, failed), _BUFFER) as file:
        yield file


# --- reading ----------------------------------------------------------------------------------------------------------


async def open_to_read(path: Path) -> BinaryIO:
    """Open a user's file; `-` is stdin. Waiting for the writer of a FIFO can be cancelled."""
    import asyncio

    with converting_errors(path):
        if path == STANDARD_STREAM:
            return os.fdopen(os.dup(0), "rb")
        if _is_fifo(path):
            return await asyncio.to_thread(path.open, "rb")
        return path.open("rb")


async def read_lines(file: BinaryIO, size: int) -> list[bytes]:
    """Return the next lines, about `size` bytes in total; none at the end. Pipes are read in a thread.

    Raises OSError (EFBIG) for a line longer than LONGEST_LINE, for example of /dev/zero.
    """
    import asyncio

    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return _next_lines(file, size)
    return await asyncio.to_thread(_next_lines, file, size)


def _next_lines(file: BinaryIO, size: int) -> list[bytes]:
    lines: list[bytes] = []
    while size > 0 and (line := file.readline(LONGEST_LINE + 1)):
        if len(line) > LONGEST_LINE:
            raise OSError(errno.EFBIG, f"a line is longer than {LONGEST_LINE >> 20} MB")
        lines.append(line)
        size -= len(line)
    return lines


# --- syncing and appending --------------------------------------------------------------------------------------------


def sync_folder(folder: Path) -> None:
    """Sync the names in `folder`, if its file system and permissions allow that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:  # a folder that is writable, but not readable
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {
            errno.EINVAL,
            errno.ENOTSUP,
        }:  # some network file systems cannot sync; disk errors are raised
            raise
    finally:
        os.close(descriptor)


def append_line(path: Path, line: bytes) -> None:
    """Append one line to a private file and sync it; create the file and its folder. Raises FileError.

    An incomplete last line (a full disk, a crash) is terminated first, so that it does not damage the new one.
    """
    with converting_errors(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = _opened_to_append(path)
        with os.fdopen(descriptor, "wb", buffering=_BUFFER) as file:
            is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            size = os.fstat(descriptor).st_size if is_regular else 0
            cut = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            file.write((b"\n" if cut else b"") + line + b"\n")
            file.flush()
            if is_regular:
                os.fsync(descriptor)


def _opened_to_append(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


# --- errors -----------------------------------------------------------------------------------------------------------


@contextmanager
def converting_errors(path: Path) -> Iterator[None]:
    """Convert system errors with `path` to FileError; closed pipes and lost connections are not errors of a file."""
    try:
        yield
    except ConnectionError:
        raise
    except OSError as error:
        raise file_error(path, error) from None


def file_error(path: Path, error: OSError) -> FileError:
    """Convert the system's `error` with `path` to FileError."""
    reason = error.strerror or "input/output error"
    return FileError(f"{path}: {reason[:1].lower()}{reason[1:]}", hint="check the path, its permissions and the disk")
