"""Files that are complete or not there at all, private unless the user's own file says otherwise.

A regular file is written under another name, synced and renamed. Devices, FIFOs and what a descriptor of this process
names (`/dev/stdout`, `/dev/fd/3`) are written to as they are: whoever reads there is not cut off.
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
"""The name that stands for stdout where a file is written, and for stdin where one is read."""

_BUFFER = 1 << 18  # bytes; the pieces of an export are 9 kB: more at once is a fifth of its work less
_MOST_LINKS = 40
_TO_WRITE = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class FileError(JunkieError):
    """A file or folder of the user's cannot be read or written."""

    default_code = "file"


class OutputError(JunkieError):
    """The answer cannot be written to stdout; `errno` is the system's reason."""

    default_code = "output_failed"

    def __init__(self, error: OSError) -> None:
        reason = "stdout is closed" if error.errno == errno.EBADF else error.strerror
        super().__init__(f"the answer could not be written: {reason}", hint="send it to another place")
        self.errno = error.errno


def unwritable(error: OSError) -> Exception:
    """What to raise for an answer that cannot be written: the error itself when the reader has left."""
    return error if isinstance(error, BrokenPipeError) else OutputError(error)


_writing: "dict[int, CompleteWriter]" = {}
"""The writer that each thread is inside a write of, by the thread's number."""


def stop_write(error: BaseException) -> None:
    """For a signal's handler: raise `error` where this thread is inside a write that waits for its reader.

    A write that still proceeds raises it before its next piece, if there is one.
    """
    writer = _writing.get(threading.get_ident())
    if writer is not None:
        writer.stop(error)


_PIECE = 4096  # bytes: PIPE_BUF of Linux
_PATIENCE = 200  # milliseconds


class CompleteWriter(io.FileIO):
    """A descriptor to which every write is complete, or raises what `failed` makes of the system's error.

    A plain FileIO returns early when a disk fills up or a pipe that does not block is full, and the rest is lost where
    nobody counts. After a failure, or when a signal's handler ended a write, nothing more is written, so that no later
    piece follows a gap or waits for the same reader again.
    """

    def __init__(self, descriptor: int, failed: Callable[[OSError], Exception], *, closefd: bool = True) -> None:
        super().__init__(descriptor, "w", closefd=closefd)
        self._failed = failed
        self._failure: OSError | None = None
        self._stopped_by: BaseException | None = None
        self._waits = not stat.S_ISREG(os.fstat(descriptor).st_mode)

    def write(self, data: Any, /) -> int:
        """Write all of `data`; waits for a reader that is slow."""
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
        """End the write that this thread is inside of with `error`, at once where it waits."""
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
        """Whether something can be written within `patience` milliseconds."""
        import select

        poll = select.poll()
        poll.register(self.fileno(), select.POLLOUT)
        return bool(poll.poll(patience))


# --- writing ----------------------------------------------------------------------------------------------------------


@contextmanager
def complete_file(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """A file to write to. A regular file takes `path`'s place when the block ends well; else nothing is left of it.

    Links are followed. A file that is there keeps its mode and owner, a new one is readable by its owner alone; with
    `private` one that is there is, too. Devices, FIFOs and descriptors of this process are written to directly; a FIFO
    waits for its reader. Raises FileError when the file cannot be made, written or named, before anything else when the
    folder is not writable.
    """
    with told(path), ExitStack() as stack:
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
    """As `complete_file`, but the reader of a FIFO is waited for in a way that ends when the task is cancelled."""
    import asyncio

    with ExitStack() as stack:
        writing = complete_file(path)
        if _is_fifo(path):
            yield await asyncio.to_thread(stack.enter_context, writing)
        else:
            yield stack.enter_context(writing)


def check_writable(path: Path) -> None:
    """Raise FileError when `complete_file` could not write to `path`; nothing is written, no FIFO is opened."""
    with told(path):
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
    """Whether what is written to `path` is this process' stdout: `-`, `/dev/stdout`, `/dev/fd/1`."""
    return path == STANDARD_STREAM or _own_descriptor(path) == 1


def _open_existing(path: Path) -> int | None:
    """A descriptor of what is at `path`, opened as any program would to write there; None when nothing is.

    So the system itself refuses what may not be written, links in shared folders included.
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
    """The number of the open file of this process that `path` names, following links; None for any other path."""
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
    """A file beside `path` that takes its place at the end, with the owner and mode of what was there `before`."""
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
    os.fchmod(descriptor, 0o600)  # whatever the umask takes away
    return os.fdopen(descriptor, "wb", buffering=_BUFFER)


def _keep_owner(descriptor: int, before: os.stat_result) -> None:
    made = os.fstat(descriptor)
    if (made.st_uid, made.st_gid) == (before.st_uid, before.st_gid):
        return
    try:
        os.fchown(descriptor, before.st_uid, before.st_gid)
    except PermissionError:
        raise PermissionError(errno.EPERM, "its owner or group would change; name another file") from None


@contextmanager
def _direct(path: Path, descriptor: int) -> Iterator[BinaryIO]:
    def failed(error: OSError) -> Exception:
        if is_standard_output(path):
            return unwritable(error)
        if isinstance(error, BrokenPipeError):
            return FileError(f"{path}: its reader left before the end", hint="run it again with a reader that stays")
        return file_error(path, error)

    with io.BufferedWriter(CompleteWriter(descriptor, failed), _BUFFER) as file:
        yield file


# --- reading ----------------------------------------------------------------------------------------------------------


async def open_to_read(path: Path) -> BinaryIO:
    """Open a user's file; `-` is stdin. The writer of a FIFO is waited for in a way that ends when cancelled."""
    import asyncio

    with told(path):
        if path == STANDARD_STREAM:
            return os.fdopen(os.dup(0), "rb")
        if _is_fifo(path):
            return await asyncio.to_thread(path.open, "rb")
        return path.open("rb")


async def read_lines(file: BinaryIO, size: int) -> list[bytes]:
    """The next lines, of about `size` bytes together; none at the end. A pipe's are waited for in a thread."""
    import asyncio

    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file.readlines(size)
    return await asyncio.to_thread(file.readlines, size)


# --- small things -----------------------------------------------------------------------------------------------------


def sync_folder(folder: Path) -> None:
    """Force the names in `folder` to the disk, where its file system and its permissions allow that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:  # a folder that one may write in and not list
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # some network file systems cannot; a disk error can
            raise
    finally:
        os.close(descriptor)


def append_line(path: Path, line: bytes) -> None:
    """Append one line to a private file, made with its folder when missing, and sync it. Raises FileError.

    A last line that was cut (a full disk, a crash) is ended first, so that it spoils no other.
    """
    with told(path):
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
def told(path: Path) -> Iterator[None]:
    """Turn the system's errors with `path` into FileError; a closed pipe and a lost connection are not a file's."""
    try:
        yield
    except ConnectionError:
        raise
    except OSError as error:
        raise file_error(path, error) from None


def file_error(path: Path, error: OSError) -> FileError:
    """What the system's `error` with `path` is to the user."""
    reason = error.strerror or "input/output error"
    return FileError(f"{path}: {reason[:1].lower()}{reason[1:]}", hint="check the path, its rights and the disk")
