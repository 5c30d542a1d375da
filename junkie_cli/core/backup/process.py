"""Runs PostgreSQL's tools: each child in its own process group, monitored, and ended with this process.

A child ends by itself, by a deadline or lack of progress (SIGTERM, then SIGKILL: pg_dump on a dead network ignores the
first), or with this process (on Linux, killed by the kernel). It inherits the lock of the folder, so that no other run
starts while an orphan is alive.
"""

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from junkie_cli.core.errors import BackupError
from junkie_cli.core.progress import Progress
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    from junkie_cli.core.database_url import DatabaseUrl

_PR_SET_PDEATHSIG = 1
_GRACE = 5.0  # seconds between SIGTERM and SIGKILL
_LOOK = 0.2  # seconds between two checks of a child's progress
_STDERR_KEPT = 64 << 10  # bytes
_STDOUT_KEPT = 256 << 20  # bytes
_KEPT_VARIABLES = ("PATH", "HOME", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "KRB5CCNAME", "KRB5_CONFIG")
PIPE = asyncio.subprocess.PIPE
DEVNULL = asyncio.subprocess.DEVNULL


@frozen
class Finished:
    """The end of a child: its exit code (negative: killed by that signal) and the end of its stderr."""

    exit_code: int
    stdout: bytes
    stderr: str

    @property
    def words(self) -> str:
        """Return the error of the child on one line."""
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        errors = "; ".join(line for line in lines if "error" in line.lower() or "fatal" in line.lower()) or " ".join(
            lines
        )
        if errors:
            return errors[:600]
        return f"killed by signal {-self.exit_code}" if self.exit_code < 0 else f"exit code {self.exit_code}"


@frozen
class Watch:
    """When to abort a child: after `deadline` seconds, or `stall` seconds without a change of `progress()`."""

    deadline: float | None = None
    stall: float | None = None
    progress: Callable[[], int] | None = None


def environment(url: "DatabaseUrl | None" = None, **more: str) -> dict[str, str]:
    """Build the environment of a child: few variables of ours, address and password, English messages."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    kept |= {name: value for name, value in os.environ.items() if name.startswith("PG")}
    base = url.tool_environment(kept) if url else {name: kept[name] for name in kept if not name.startswith("PG")}
    return {"PGCONNECT_TIMEOUT": "15"} | base | {"LC_ALL": "C", "PGTZ": "UTC"} | more


def connection_option(url: "DatabaseUrl") -> str:
    """Return connection settings without a variable as a conninfo without secrets; they detect dead peers."""
    defaults = {
        "keepalives_idle": "30",
        "keepalives_interval": "10",
        "keepalives_count": "3",
        "tcp_user_timeout": "60000",
    }
    own = {name: value for name, value in url.query.items() if name.startswith("keepalives") or name in defaults}
    return " ".join(f"{name}={int(value)}" for name, value in (defaults | own).items() if value.isdigit())


def _prctl() -> Callable[..., int] | None:
    if not sys.platform.startswith("linux"):
        return None
    found: Callable[..., int] = ctypes.CDLL(None, use_errno=True).prctl
    return found


def _dying_with(parent: int) -> Callable[[], None] | None:
    prctl = _prctl()
    if prctl is None:
        return None

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died between the fork and the line above
            os._exit(1)

    return tie


@asynccontextmanager
async def start(
    arguments: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    inherit: Sequence[int | None] = (),
    stdin: int = DEVNULL,
    stdout: int = DEVNULL,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a child with stderr in a pipe; when the block ends, its process group is dead in any case.

    `inherit` are descriptors to inherit. Raises BackupError if the program cannot be started.
    """
    try:
        child = await asyncio.create_subprocess_exec(
            *(str(argument) for argument in arguments),
            env=env,
            stdin=stdin,
            stdout=stdout,
            stderr=PIPE,
            cwd="/",
            umask=0o077,
            start_new_session=True,
            pass_fds=tuple(descriptor for descriptor in inherit if descriptor is not None),
            preexec_fn=_dying_with(os.getpid()),
            limit=1 << 17,  # bytes; twice as many may wait in memory
        )
    except OSError as error:
        raise BackupError(
            f"cannot run {arguments[0]}: {error.strerror}",
            hint="use another folder: --pg-bin",
            code="backup_tools",
        ) from error
    try:
        yield child
    finally:
        _signal_group(child, signal.SIGKILL)
        with suppress(asyncio.CancelledError):
            await _bury(child)


async def _bury(child: asyncio.subprocess.Process) -> None:
    """Wait for a child to end. asyncio waits for its pipes, so their contents must be read."""
    for stream in (child.stdout, child.stderr):
        while stream is not None and await stream.read(1 << 20):
            pass
    await child.wait()


def _signal_group(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if child.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, number)


async def read_tail(stream: asyncio.StreamReader | None) -> str:
    """Read `stream` until it closes; return the first and the last 32 KiB."""
    assert stream is not None
    said = b""
    while piece := await stream.read(1 << 16):
        said += piece
        if len(said) > _STDERR_KEPT:
            said = said[: _STDERR_KEPT // 2] + said[-_STDERR_KEPT // 2 :]
    return said.decode("utf-8", "replace")


async def run(
    arguments: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    lock: int | None = None,
    watch: Watch | None = None,
    capture: bool = False,
) -> Finished:
    """Run a child until it ends; with `capture`, also return its stdout.

    Raises BackupError if it cannot be started or was aborted.
    """
    async with (
        start(arguments, env=env, inherit=(lock,), stdout=PIPE if capture else DEVNULL) as child,
        gathered(_read_all(child.stdout), read_tail(child.stderr), child.wait()) as ended,
    ):
        if reason := await _watch(ended, watch or Watch()):
            await end(child)
            raise BackupError(
                f"{Path(arguments[0]).name} was aborted: {reason}",
                hint="check the network and the server, or allow more time: --timeout",
                code="backup_timeout",
            )
        stdout, stderr, exit_code = await ended
    return Finished(exit_code, stdout, stderr)


@asynccontextmanager
async def gathered(*work: Coroutine[Any, Any, Any]) -> "AsyncIterator[asyncio.Future[Any]]":
    """Run `work` during the block; cancel what is unfinished when the block ends, and wait for it."""
    future = asyncio.gather(*work)
    try:
        yield future
    finally:
        future.cancel()
        await asyncio.wait({future})
        if not future.cancelled():
            future.exception()  # retrieved, so that the loop does not log it


async def _read_all(stream: asyncio.StreamReader | None) -> bytes:
    """Read stdout. Raises BackupError if it is larger than any valid file causes."""
    pieces: list[bytes] = []
    left = _STDOUT_KEPT
    while stream is not None and (piece := await stream.read(1 << 20)):
        pieces.append(piece)
        left -= len(piece)
        if left < 0:
            raise BackupError(
                f"a PostgreSQL tool printed more than {_STDOUT_KEPT >> 20} MB about the file",
                hint="junkie cannot use its table of contents: use another backup",
                code="backup_unreadable",
            )
    return b"".join(pieces)


@asynccontextmanager
async def reading_told(pid: int, archive: Path, progress: Progress) -> AsyncIterator[None]:
    """Report repeatedly how much of the archive pg_restore has read."""
    size = os.stat(archive).st_size  # noqa: PTH116

    async def look() -> None:
        place = last = 0
        while place or not last:
            if place:
                progress.reach(place, size)
            await asyncio.sleep(_LOOK)
            place, last = _place_in(pid, archive), place or last
        progress.step("building indexes and comparing all tables")

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.wait({looking})


def _place_in(pid: int, path: Path) -> int:
    """Return the position of a process in an open file, in bytes; 0 if it is not open, or not on Linux."""
    with suppress(OSError, ValueError):  # it has ended, or closed the file in the meantime
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            if descriptor.exists() and descriptor.samefile(path):
                return int(Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text("ascii").split()[1])
    return 0


def kill(child: asyncio.subprocess.Process) -> None:
    """Kill the child's process group; the end of the block waits for it."""
    _signal_group(child, signal.SIGKILL)


async def end(child: asyncio.subprocess.Process) -> None:
    """Terminate the child's process group, and kill it if it does not end."""
    _signal_group(child, signal.SIGTERM)
    with suppress(TimeoutError):
        await asyncio.wait_for(child.wait(), _GRACE)
    _signal_group(child, signal.SIGKILL)


async def _watch(ended: "asyncio.Future[Any]", watch: Watch) -> str:
    """Wait for the end; return why the child must be aborted, or an empty string if it ended by itself."""
    began = moved = time.monotonic()
    seen = watch.progress() if watch.progress else 0
    limits = [limit for limit in (watch.deadline, watch.stall) if limit]
    tick = min(5.0, min(limits) / 4) if limits else None
    while True:
        done, _ = await asyncio.wait({ended}, timeout=tick)
        if done:
            return ""
        now = time.monotonic()
        if watch.progress and (current := watch.progress()) != seen:
            seen, moved = current, now
        if watch.deadline and now - began > watch.deadline:
            return f"not done after {watch.deadline:g} seconds"
        if watch.stall and watch.progress and now - moved > watch.stall:
            return f"no progress in {watch.stall:g} seconds"
