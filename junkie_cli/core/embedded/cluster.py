"""Creates, starts, inspects and stops one PostgreSQL cluster, under locks that end with their processes.

Which process lives is never judged by a number in a file, which can be stale, or another program's by now. A server
inherits a locked descriptor of its data folder's `PG_VERSION`, so the kernel holds that lock exactly as long as one of
the server's processes lives. When it is free, `postmaster.pid` and the socket are leftovers and are removed.
"""

import contextlib
import fcntl
import locale
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path

from junkie_cli.core.embedded import wire
from junkie_cli.core.embedded.account import (
    LOG,
    NEW_DATA,
    NEXT_DATA,
    OLD_DATA,
    DataFolder,
    clean_environment,
    disk_full,
    do_not_run,
    memory_full,
    not_yours,
    unusable,
)
from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.files import sync_folder
from junkie_cli.core.value_class import frozen

USER = "junkie"
DATABASE = "junkie"
BUILTIN_LOCALES_SINCE = 17
LOG_LIMIT, LOG_KEPT = 1 << 20, 1 << 18  # bytes
LOG_LINES = 3
LOCK_WAIT = 60.0  # seconds for another process to start or stop the server
START_WAIT = 60.0  # seconds after which the starter gets an error; the server continues to start
PATIENT_WAIT = 2.0  # seconds after which a long step is reported
POLITE_WAIT = 10.0  # seconds for clients that came in the very moment of a stop
STOP_WAIT = 60.0  # seconds for the last checkpoint
PAUSE = 0.005

# A desktop's or a small server's share. Connections are few, and every client is one of ours.
TUNING: Mapping[str, str] = {
    "max_connections": "50",
    "shared_buffers": "64MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "64MB",
    "min_wal_size": "32MB",
    "max_wal_size": "512MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # A client that hangs must not block the others for ever; an export's snapshot may stay open for a while.
    "idle_in_transaction_session_timeout": "1h",
    "lock_timeout": "2min",
}
# Messages of people must not be in the log: no statements, no values, no details of a violated key.
QUIET_LOG: Mapping[str, str] = {
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length_on_error": "0",
    "log_checkpoints": "off",
}


@frozen
class PidFile:
    """`postmaster.pid`: the server's process id, its socket folder (None: the data folder's own), and its status."""

    pid: int
    socket_folder: str | None
    status: str


def read_pid_file(path: str) -> PidFile | None:
    """Parse a `postmaster.pid`; None if it is missing or incomplete. It may be stale; the caller checks that."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        lines = os.fsdecode(file.read(4096)).split("\n")
    if len(lines) < 8 or not lines[0].isdigit():
        return None
    own = lines[4].startswith("/proc/self/fd/") or not lines[4]
    return PidFile(int(lines[0]), None if own else lines[4], lines[7].strip())


def open_lock(path: str, *, create: bool = True) -> int:
    """Open a lock file, and create it if it is missing, unless `create` is off. Raises OSError."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    return os.open(path, flags, 0o600)


def try_lock(fd: int) -> bool:
    """Take the lock; False if another process holds it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def start_lock(path: str, folder: str, *, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock file `path`. Raises DatabaseError when another process holds it for LOCK_WAIT seconds."""
    fd = open_lock(path)
    try:
        begun = time.monotonic()
        while not try_lock(fd):
            waited = time.monotonic() - begun
            if on_wait is not None and waited > PATIENT_WAIT:
                on_wait()
                on_wait = None
            if waited > LOCK_WAIT:
                raise DatabaseError(
                    f"another process has been starting or stopping the embedded PostgreSQL in {folder}"
                    f" for {LOCK_WAIT:.0f} seconds",
                    hint=f"wait and try again; see {folder}/{LOG}",
                    code="embedded_busy",
                )
            time.sleep(2 * PAUSE)
        yield
    finally:
        os.close(fd)


class Cluster:
    """The cluster in a data folder, for a process that holds its start lock or owns the folder alone."""

    def __init__(self, place: DataFolder, *, data: str = "data", sockets: str = "run") -> None:
        self.place = place
        self.major = place.major
        self.data = place.at(data)
        self.own_sockets = place.at(sockets)
        self.socket_folder = self.own_sockets
        self.port = wire.PORT
        self.child: subprocess.Popen[bytes] | None = None

    @property
    def exists(self) -> bool:
        """Whether a complete data folder exists. Raises DatabaseError for an incomplete one."""
        data = Path(self.data)
        if (data / "PG_VERSION").exists():
            return True
        if data.exists() and any(data.iterdir()):
            raise DatabaseError(
                f"{self.place.folder}/data is not a complete database: PG_VERSION is missing",
                hint="put back the whole folder, or move it away and restore a backup",
                code="embedded_damaged",
            )
        return False

    # --- making it ----------------------------------------------------------------------------------------------------

    def create(
        self,
        *,
        hba: Sequence[str] = (),
        arguments: Sequence[str] = (),
        tuning: Mapping[str, str] = TUNING,
        statements: Sequence[str] = (f"CREATE DATABASE {DATABASE}",),
    ) -> None:
        """Make the cluster in a folder of another name and rename it when it is complete. Raises DatabaseError.

        `hba` lines come before our own, `arguments` go to initdb, `statements` are run in it, each without line breaks.
        """
        half = self.place.at(NEW_DATA + os.urandom(4).hex())
        try:
            self._initdb(half, arguments)
            with Path(half, "postgresql.conf").open("a") as file:  # initdb's --set is newer than some servers
                file.writelines(f"{name} = '{value}'\n" for name, value in tuning.items())
            self.write_access(half, hba)
            if statements:
                text = "".join(f"{statement};\n" for statement in statements)
                self._run("postgres", ["--single", "-D", half, "template1"], text)
            sync_folder(Path(half))
            Path(half).rename(self.data)
            sync_folder(Path(self.place.path))
        except OSError as error:
            raise unusable(self.place.folder, error) from None
        finally:
            shutil.rmtree(half, ignore_errors=True)

    def remove_incomplete(self) -> None:
        """Remove the incomplete data of a creation that was killed."""
        for path in Path(self.place.path).glob(f"{NEW_DATA}*"):
            shutil.rmtree(path, ignore_errors=True)

    def finish_migration(self) -> None:
        """Complete or discard the exchange of data folders of a migration that was killed."""
        following, data = Path(self.place.at(NEXT_DATA)), Path(self.data)
        if following.exists():
            following.rename(self.place.at(f"{NEW_DATA}dropped") if data.exists() else data)
            sync_folder(Path(self.place.path))

    def replace(self, other: "Cluster") -> str:
        """Replace the data of `other` by this cluster's; return the name under which they are kept. Both are stopped.

        `NEXT_DATA` says, should this be killed, that the new data are complete: see `finish_migration`.
        """
        kept = free_name(Path(self.place.path), f"{OLD_DATA}{other.major}")
        following = self.place.at(NEXT_DATA)
        for old, new in ((self.data, following), (other.data, self.place.at(kept)), (following, other.data)):
            Path(old).rename(new)
            sync_folder(Path(self.place.path))
        return kept

    def _initdb(self, folder: str, arguments: Sequence[str]) -> None:
        words = ["-D", folder, "-U", USER, "-A", "peer", "-E", "UTF8", "--no-instructions"]
        self._run("initdb", [*words, *_locale_words(int(self.major)), *arguments])

    def _run(self, program: str, arguments: Sequence[str], text: str = "") -> None:
        try:
            done = subprocess.run(
                [f"{self.place.programs}/{program}", *arguments],
                input=text.encode(),
                capture_output=True,
                env=clean_environment(),
                pass_fds=self.place.inherited,
            )
        except OSError as error:
            raise do_not_run(self.place.programs, str(error)) from None
        words = done.stderr.decode(errors="replace")
        if done.returncode == 127 or "error while loading shared libraries" in words:
            raise do_not_run(self.place.programs, " ".join(words.split()))
        # A single-user server continues after an error and exits with 0.
        if done.returncode != 0 or "ERROR:" in words:
            raise self._failure("embedded_create", "cannot be created", words.splitlines())

    def write_access(self, folder: str, hba: Sequence[str] = ()) -> None:
        """Write pg_hba.conf: root and the owner connect by `peer`; `hba` adds rules."""
        names = dict.fromkeys(["root", self.place.account.name])
        ident = "".join(f'junkie "{name}" {USER}\n' for name in names)
        rules = "".join(f"{line}\n" for line in [*hba, "local all all peer map=junkie"])
        for name, text in (("pg_ident.conf", ident), ("pg_hba.conf", rules)):
            path = Path(folder, name)
            if not path.exists() or path.read_text() != text:
                _replace(path, text)

    # --- starting and stopping it -------------------------------------------------------------------------------------

    def start(self, options: Mapping[str, str], *, after: Mapping[float, Callable[[], None]] | None = None) -> None:
        """Start the server and wait until it answers, however long a recovery takes. Raises DatabaseError.

        `after` is what to call when it takes longer than so many seconds.
        """
        try:
            self._check()
            lock = open_lock(f"{self.data}/PG_VERSION", create=False)
            try:
                self._wait_for_old_server(lock)
                self._clear_leftovers()
                begin = trim_log(self.place.at(LOG))
                self.child = self._spawn(lock, options)
            finally:
                os.close(lock)
        except OSError as error:
            raise unusable(self.place.folder, error) from None
        self._wait_until_ready(begin, dict(after or {}))

    def _check(self) -> None:
        """Refuse data that this server cannot run, with a clearer error than the server's own."""
        folder, data = self.place.folder, Path(self.data)
        info = data.stat()
        if info.st_uid != self.place.account.uid:
            raise not_yours(f"{folder}/data", info.st_uid, self.place.account.uid)
        if info.st_mode & 0o077:
            data.chmod(0o700)
        version = (data / "PG_VERSION").read_text().strip()
        if version != self.major:
            raise _other_major(folder, version, self.major)

    def _wait_for_old_server(self, lock: int) -> None:
        """Wait for the processes of a killed server to exit; the lock is free when the last one has."""
        begun = time.monotonic()
        while not try_lock(lock):
            if time.monotonic() - begun > STOP_WAIT:
                raise self._stuck()
            time.sleep(PAUSE)

    def _clear_leftovers(self) -> None:
        """Remove what a killed server left: its number may be another program's by now, and would stop the start.

        Data that was put here with its server still running from another path has a live number: that is refused.
        """
        if self._own_server() is not None:
            raise self._stuck()
        socket = wire.socket_path(self.socket_folder, self.port)
        for path in (f"{self.data}/postmaster.pid", socket, f"{socket}.lock"):
            Path(path).unlink(missing_ok=True)

    def _stuck(self) -> DatabaseError:
        return DatabaseError(
            f"processes of an earlier embedded PostgreSQL in {self.place.folder} do not end",
            hint=f"look for them (lsof {self.place.folder}/data/PG_VERSION), end them and try again",
            code="embedded_stuck",
        )

    def _spawn(self, lock: int, options: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        quoted = '"' + self.socket_folder.replace('"', '""') + '"'
        settings = {**QUIET_LOG, "unix_socket_directories": quoted, "port": str(self.port), **options}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        log = os.open(self.place.at(LOG), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            return subprocess.Popen(
                [f"{self.place.programs}/postgres", "-D", self.data, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=clean_environment(),
                pass_fds=(lock, *self.place.inherited),
                start_new_session=True,
            )
        except OSError as error:
            raise do_not_run(self.place.programs, str(error)) from None
        finally:
            os.close(log)

    def _wait_until_ready(self, log_begin: int, after: dict[float, Callable[[], None]]) -> None:
        assert self.child is not None
        begun = time.monotonic()
        while not self.is_ready():
            if self.child.poll() is not None:
                self.child = None
                raise self._failure("embedded_start", "does not start", read_log(self.place.at(LOG), log_begin))
            for due in [seconds for seconds in after if time.monotonic() - begun > seconds]:
                after.pop(due)()
            time.sleep(PAUSE)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server and wait until it has gone.

        SIGTERM lets clients finish, SIGINT disconnects them and shuts down cleanly, SIGQUIT exits immediately.
        """
        begun = time.monotonic()
        sent: signal.Signals | None = None
        self._says_ready()
        while self.is_alive():
            how = _sterner(how, time.monotonic() - begun)
            pid = self._own_server() if sent != how else None
            if pid is not None:
                os.kill(pid, how)
                sent = how
            time.sleep(PAUSE)
        self._clear_socket_folder()

    def abandon(self) -> None:
        """Kill a server of this process, without regard to its data."""
        if self.child is not None:
            self.child.send_signal(signal.SIGQUIT)
            self.child.wait()
            self.child = None
        self._clear_socket_folder()

    def _clear_socket_folder(self) -> None:
        """Remove a short socket folder elsewhere; the server itself, when it could, has removed the socket."""
        if not self.place.contains(self.socket_folder):
            for path in Path(self.socket_folder).glob(".s.PGSQL.*"):
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                Path(self.socket_folder).rmdir()

    # --- looking at it ------------------------------------------------------------------------------------------------

    def pid_file(self) -> PidFile | None:
        """The content of `postmaster.pid`; stale if the server was killed."""
        return read_pid_file(f"{self.data}/postmaster.pid")

    def is_ready(self) -> bool:
        """Whether a server of this cluster accepts connections now."""
        return self._says_ready() and wire.takes_connections(
            self.socket_folder, user=USER, database="postgres", port=self.port
        )

    def lost_socket(self) -> bool:
        """Whether the server is ready but its socket was removed, so that no client can connect."""
        return self._says_ready() and not Path(wire.socket_path(self.socket_folder, self.port)).exists()

    def _says_ready(self) -> bool:
        """Whether `postmaster.pid` calls the server ready; the socket folder that it names is then used here.

        In a copy of a folder whose server ran, that file names the original's socket: a server of ours must be alive.
        """
        pid_file = self.pid_file()
        if pid_file is None or pid_file.status != "ready" or not self.is_alive():
            return False
        self.socket_folder = pid_file.socket_folder or self.own_sockets
        return True

    def is_alive(self) -> bool:
        """Whether any process of a server is alive, ready or not."""
        if self.child is not None and self.child.poll() is not None:
            self.child = None
        try:
            fd = open_lock(f"{self.data}/PG_VERSION", create=False)
        except FileNotFoundError:
            return False
        try:
            return not try_lock(fd)
        finally:
            os.close(fd)

    def clients(self) -> int:
        """How many connections the server has, without this one. Raises WireError."""
        self._says_ready()  # another keeper may have started it, elsewhere
        answer = wire.ask(
            self.socket_folder,
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type IN ('client backend', 'walsender')"
            " AND pid <> pg_backend_pid()",
            user=USER,
            database="postgres",
            port=self.port,
        )
        return int(answer[0][0] or 0)

    def _own_server(self) -> int | None:
        """The process id of this cluster's server, and of no other program that got its number later."""
        if self.child is not None and self.child.poll() is None:
            return self.child.pid
        pid_file = self.pid_file()
        if pid_file is None or not _is_postgres(pid_file.pid):
            return None
        try:
            at_home = Path(f"/proc/{pid_file.pid}/cwd").stat()
        except FileNotFoundError:
            return None if Path("/proc/self/cwd").exists() else pid_file.pid
        except PermissionError:
            return None  # another user's
        return pid_file.pid if os.path.samestat(at_home, Path(self.data).stat()) else None

    def _failure(self, code: str, what: str, lines: Sequence[str]) -> DatabaseError:
        """The error for a program that failed, with its last lines of output."""
        told = [line.strip() for line in lines if line.strip()]
        if any('"/PostgreSQL.' in line and "No space left on device" in line for line in told):
            return memory_full()
        if any("No space left on device" in line or "Disk quota exceeded" in line for line in told):
            return disk_full(self.place.folder)
        marks = ("FATAL:", "PANIC:", "ERROR:", "error:")
        reasons = [line.split(mark)[-1].strip() for line in told for mark in marks if mark in line]
        reason = f": {reasons[-1]}" if reasons else ""
        last = "\n".join(told[-LOG_LINES:])
        return DatabaseError(
            f"the embedded PostgreSQL in {self.place.folder} {what}{reason}",
            hint=f"its last words:\n{last}" if last else f"see {self.place.folder}/{LOG}",
            code=code,
        )


def free_name(folder: Path, name: str) -> str:
    """`name`, with a number appended if it exists in `folder`."""
    numbered = (f"{name}-{number}" for number in count(2))
    return next(each for each in chain([name], numbered) if not (folder / each).exists())


def _sterner(how: signal.Signals, waited: float) -> signal.Signals:
    """What to send after `waited` seconds."""
    if waited > STOP_WAIT:
        return signal.SIGQUIT
    return signal.SIGINT if waited > POLITE_WAIT and how == signal.SIGTERM else how


def trim_log(path: str) -> int:
    """Truncate a large log to its end, in place: a running server continues to append. Return its size in bytes."""
    try:
        with Path(path).open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            if size <= LOG_LIMIT:
                return size
            file.seek(size - LOG_KEPT)
            kept = file.read().partition(b"\n")[2]
            file.seek(0)
            file.truncate()
            file.write(kept)
            return len(kept)
    except FileNotFoundError:
        return 0


def read_log(path: str, begin: int = 0) -> list[str]:
    """The log's lines from byte `begin` on."""
    try:
        with Path(path).open("rb") as file:
            file.seek(begin)
            return file.read(LOG_LIMIT).decode(errors="replace").splitlines()
    except OSError:
        return []


def _is_postgres(pid: int) -> bool:
    """Whether process `pid` is a PostgreSQL server."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "postgres"
    except OSError:
        if Path("/proc/self/comm").exists():
            return False
    words = ["ps", "-o", "comm=", "-p", str(pid)]
    done = subprocess.run(words, capture_output=True, text=True, env=clean_environment())
    return Path(done.stdout.strip()).name == "postgres"


def _locale_words(major: int) -> list[str]:
    """C.UTF-8 for everything; where the C library has none, the server's own for text and C for the rest."""
    builtin = major >= BUILTIN_LOCALES_SINCE
    words = ["--locale-provider=builtin"] if builtin else []
    try:
        locale.setlocale(locale.LC_ALL, "C.UTF-8")
    except locale.Error:
        return [*words, "--locale=C", *(["--builtin-locale=C.UTF-8"] if builtin else [])]
    return [*words, "--locale=C.UTF-8"]


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    with new.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _other_major(folder: str, version: str, major: str) -> DatabaseError:
    return DatabaseError(
        f"the data in {folder} was written by PostgreSQL {version}, and there is none of that version here (only"
        f" {major})",
        hint=f"install PostgreSQL {version} (Debian, Ubuntu: postgresql-{version}; macOS: brew install"
        f" postgresql@{version}), or name its programs with JUNKIE_PG_BIN; then junkie doctor --fix embedded.major can"
        f" move the data to PostgreSQL {major}",
        code="embedded_version",
    )
