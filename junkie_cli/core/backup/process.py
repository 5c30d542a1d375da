"""Running PostgreSQL's own tools: each child in a process group of its own, watched, and never outliving us.

Three things can end a child: its own work, a deadline or silence (SIGTERM, then SIGKILL: pg_dump on a dead network
ignores the first), and our own death (on Linux the kernel kills it then). It inherits the folder's lock, so that even
where it does outlive us no other run starts beside it.
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
_LOOK = 0.2  # seconds between two looks at how far a child is
_STDERR_KEPT = 64 << 10  # bytes
_STDOUT_KEPT = 256 << 20  # bytes
_KEPT_VARIABLES = ("PATH", "HOME", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "KRB5CCNAME", "KRB5_CONFIG")
PIPE = asyncio.subprocess.PIPE
DEVNULL = asyncio.subprocess.DEVNULL


@frozen
class Finished:
    """How a child ended: its exit code (negative: killed by that signal) and the last of what it said on stderr."""

    exit_code: int
    stdout: bytes
    stderr: str

    @property
    def words(self) -> str:
        """What it complained of, on one line, for a message to the operator."""
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        told = "; ".join(line for line in lines if "error" in line.lower() or "fatal" in line.lower()) or " ".join(
            lines
        )
        if told:
            return told[:600]
        return f"killed by signal {-self.exit_code}" if self.exit_code < 0 else f"exit code {self.exit_code}"


@frozen
class Watch:
    """When a child is given up: after `deadline` seconds, or after `stall` seconds without a change of `progress()`."""

    deadline: float | None = None
    stall: float | None = None
    progress: Callable[[], int] | None = None


def environment(url: "DatabaseUrl | None" = None, **more: str) -> dict[str, str]:
    """The child's whole environment: little of ours, the database's address and password, messages in English."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    kept |= {name: value for name, value in os.environ.items() if name.startswith("PG")}
    base = url.tool_environment(kept) if url else {name: kept[name] for name in kept if not name.startswith("PG")}
    return {"PGCONNECT_TIMEOUT": "15"} | base | {"LC_ALL": "C", "PGTZ": "UTC"} | more


def connection_option(url: "DatabaseUrl") -> str:
    """Connection settings that have no variable, as a conninfo without any secret: dead peers are noticed."""
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
        if os.getppid() != parent:  # it died between the fork and the line above
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
    """Start a child with stderr in a pipe; whatever happens, its whole group is dead when the block is left.

    `inherit` are descriptors that it gets too. Raises BackupError when the program cannot be started.
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
            hint="name another folder with --pg-bin",
            code="backup_tools",
        ) from error
    try:
        yield child
    finally:
        _signal_group(child, signal.SIGKILL)
        with suppress(asyncio.CancelledError):
            await _bury(child)


async def _bury(child: asyncio.subprocess.Process) -> None:
    """Wait for a child that is ending. asyncio counts it as ended when its pipes are: what is in them must be read."""
    for stream in (child.stdout, child.stderr):
        while stream is not None and await stream.read(1 << 20):
            pass
    await child.wait()


def _signal_group(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if child.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, number)


async def read_tail(stream: asyncio.StreamReader | None) -> str:
    """All that the child says until it closes `stream`; the first and the last 32 KiB are kept."""
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
    """Run a child to its end and say how it ended; with `capture`, stdout too.

    Raises BackupError when it cannot be started or was given up.
    """
    async with (
        start(arguments, env=env, inherit=(lock,), stdout=PIPE if capture else DEVNULL) as child,
        gathered(_read_all(child.stdout), read_tail(child.stderr), child.wait()) as ended,
    ):
        if reason := await _watch(ended, watch or Watch()):
            await end(child)
            raise BackupError(
                f"{Path(arguments[0]).name} was given up: {reason}",
                hint="check the network and the server, or give it longer with --timeout",
                code="backup_timeout",
            )
        stdout, stderr, exit_code = await ended
    return Finished(exit_code, stdout, stderr)


@asynccontextmanager
async def gathered(*work: Coroutine[Any, Any, Any]) -> "AsyncIterator[asyncio.Future[Any]]":
    """The results of `work`, done meanwhile; what is not done when the block is left is cancelled, and waited for."""
    future = asyncio.gather(*work)
    try:
        yield future
    finally:
        future.cancel()
        await asyncio.wait({future})
        if not future.cancelled():
            future.exception()  # looked at, so that the loop does not complain of it


async def _read_all(stream: asyncio.StreamReader | None) -> bytes:
    """All of stdout. Raises BackupError when that is more than any file of ours makes a tool write."""
    pieces: list[bytes] = []
    left = _STDOUT_KEPT
    while stream is not None and (piece := await stream.read(1 << 20)):
        pieces.append(piece)
        left -= len(piece)
        if left < 0:
            raise BackupError(
                f"a tool of PostgreSQL wrote more than {_STDOUT_KEPT >> 20} MB about the file",
                hint="its table of contents is not one that junkie can use: take another backup",
                code="backup_unreadable",
            )
    return b"".join(pieces)


@asynccontextmanager
async def reading_told(pid: int, archive: Path, progress: Progress) -> AsyncIterator[None]:
    """Tell, again and again, how far pg_restore has read the archive, and when it is through with it."""
    size = os.stat(archive).st_size  # noqa: PTH116

    async def look() -> None:
        place = last = 0
        while place or not last:
            if place:
                progress.reach(place, size)
            await asyncio.sleep(_LOOK)
            place, last = _place_in(pid, archive), place or last
        progress.step("making indexes, and comparing every table")

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.wait({looking})


def _place_in(pid: int, path: Path) -> int:
    """Where a process stands in an open file, in bytes; 0 where it has not opened it, or this is not Linux."""
    with suppress(OSError, ValueError):  # it has ended, or closed the file meanwhile
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            if descriptor.exists() and descriptor.samefile(path):
                return int(Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text("ascii").split()[1])
    return 0


def kill(child: asyncio.subprocess.Process) -> None:
    """Kill the child's group; leaving its block waits for it."""
    _signal_group(child, signal.SIGKILL)


async def end(child: asyncio.subprocess.Process) -> None:
    """Ask the child's group to end, and kill it when it does not."""
    _signal_group(child, signal.SIGTERM)
    with suppress(TimeoutError):
        await asyncio.wait_for(child.wait(), _GRACE)
    _signal_group(child, signal.SIGKILL)


async def _watch(ended: "asyncio.Future[Any]", watch: Watch) -> str:
    """Wait for the end; why the child is given up, or an empty string when it ended by itself."""
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
