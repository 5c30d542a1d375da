"""Who runs the embedded server, and how that user gets at its folder and its programs.

PostgreSQL refuses to run as root. As root the keeper therefore becomes an unprivileged user before it touches anything
inside the data folder (a root process that writes into another user's folder can be led astray by links), and no
permission outside that folder is ever changed:

- a data folder under closed parents (/root, a test's temporary folder) is reached through an open descriptor;
- programs that this user may not read (a virtual environment under /root) are copied once to /var/cache/junkie, owned
  by root: the data folder belongs to the unprivileged user, and root neither writes nor runs anything in there.
"""

import errno
import os
import pwd
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from junkie_cli.core.errors import DatabaseError

ACCOUNTS = ("junkie", "postgres", "nobody")
# What may lie in a data folder: everything of ours, and what a file system of its own brings.
OURS = ("data", "new-data", "run", "start.lock", "keeper.lock", "server.lock", "server.log", "lost+found")
NEEDED_PROGRAMS = ("postgres", "initdb")
OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Account:
    """A system user: the one who owns the data and runs the server."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of ours as the server's user reaches it.

    `folder` is its path for people and clients, `path` the one to use here (they differ under closed parents), `fd`
    the descriptor that the latter rests on and that every child must inherit, `programs` the folder that holds
    `bin/postgres`.
    """

    folder: str
    path: str
    fd: int | None
    account: Account
    programs: str

    def at(self, *names: str) -> str:
        """A path inside the folder."""
        return "/".join((self.path, *names))

    @property
    def inherited(self) -> tuple[int, ...]:
        """Descriptors that a child needs in order to reach the folder."""
        return () if self.fd is None else (self.fd,)


def account_of(uid: int) -> Account:
    """The user with this id. Raises DatabaseError when it has no name: PostgreSQL needs one."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise DatabaseError(
            f"user id {uid} has no name on this system, and PostgreSQL does not run without one",
            hint="add the user to /etc/passwd, or set POSTGRES_URL",
            code="embedded_account",
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def service_account() -> Account:
    """The unprivileged user who runs the server for root. Raises DatabaseError when there is none."""
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise DatabaseError(
        "PostgreSQL does not run as root, and there is no user junkie, postgres or nobody to run it",
        hint="add a system user named junkie, or set POSTGRES_URL",
        code="embedded_account",
    )


def open_data_folder(folder: str, programs: str, cache: str) -> Place:
    """Make `folder` when it is missing, become its owner's user, and see to readable programs.

    As root this process is the unprivileged user afterwards, for good. Raises DatabaseError.
    """
    try:
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(folder, OPEN_FOLDER)
    except OSError as error:
        raise unusable(folder, error) from None
    if os.geteuid() != 0:
        return _own_folder(folder, fd, programs)
    account = _owner_for_root(folder, fd)
    return _become(account, folder, fd, programs, cache)


def open_scratch_folder(folder: str, programs: str, cache: str) -> Place:
    """As `open_data_folder`, for a new and empty folder that this process has just made."""
    fd = os.open(folder, OPEN_FOLDER)
    if os.geteuid() != 0:
        return _own_folder(folder, fd, programs)
    account = service_account()
    os.fchown(fd, account.uid, account.gid)
    return _become(account, folder, fd, programs, cache)


def _own_folder(folder: str, fd: int, programs: str) -> Place:
    info = os.fstat(fd)
    if info.st_uid != os.geteuid():
        raise not_yours(folder, info.st_uid, os.geteuid())
    _refuse_foreign(folder, os.listdir(fd))
    if info.st_mode & 0o077:
        os.fchmod(fd, 0o700)
    os.close(fd)
    return Place(folder, folder, None, account_of(os.geteuid()), programs)


def _owner_for_root(folder: str, fd: int) -> Account:
    """The user who is to run the server: the folder's owner; a root-owned folder that is ours is handed over."""
    info = os.fstat(fd)
    if info.st_uid != 0:
        return account_of(info.st_uid)
    _refuse_foreign(folder, os.listdir(fd))
    account = _owner_of_data(fd) or service_account()
    os.fchown(fd, account.uid, account.gid)
    os.fchmod(fd, 0o700)
    return account


def _owner_of_data(fd: int) -> Account | None:
    try:
        uid = os.stat("data", dir_fd=fd, follow_symlinks=False).st_uid
    except OSError:
        return None
    return account_of(uid) if uid else None


def _refuse_foreign(folder: str, names: Iterable[str]) -> None:
    """A folder with other things in it is somebody's home or mount point: its mode and owner are not ours to set."""
    if not set(names) <= set(OURS):
        raise DatabaseError(
            f"{folder} holds other files than the embedded database",
            hint="name an empty or a new folder with JUNKIE_DATA_DIR",
            code="embedded_folder",
        )


def _become(account: Account, folder: str, fd: int, programs: str, cache: str) -> Place:
    """Turn root into `account`, for good; unreadable programs are copied while this process still may."""
    os.initgroups(account.name, account.gid)
    with _acting_as(account):
        readable = _usable(programs)
    if not readable:
        programs = _copy(programs, cache)
    os.setgid(account.gid)
    os.setuid(account.uid)
    return _reach(account, folder, fd, programs)


@contextmanager
def _acting_as(account: Account) -> Iterator[None]:
    os.setegid(account.gid)
    os.seteuid(account.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def _usable(programs: str) -> bool:
    bin_files = [f"{programs}/bin/{name}" for name in NEEDED_PROGRAMS]
    folders = [f"{programs}/{name}" for name in ("bin", "lib", "share")]
    return all(os.access(path, os.R_OK | os.X_OK, effective_ids=True) for path in bin_files + folders)


def _reach(account: Account, folder: str, fd: int, programs: str) -> Place:
    """The folder by its path where the user may walk there, else by the descriptor that root opened."""
    try:
        by_path = os.stat(folder)
        if os.path.samestat(by_path, os.fstat(fd)):
            os.close(fd)
            return Place(folder, folder, None, account, programs)
    except OSError:
        pass
    path = f"/proc/self/fd/{fd}"
    if not os.path.isdir(path):
        raise DatabaseError(
            f"the user {account.name}, who runs the embedded PostgreSQL for root, cannot reach {folder}",
            hint="name a folder that is reachable for everybody with JUNKIE_DATA_DIR, such as /var/lib/junkie",
            code="embedded_unreachable",
        )
    os.set_inheritable(fd, True)
    return Place(folder, path, fd, account, programs)


def _copy(programs: str, cache: str) -> str:
    """Copy the programs to a root-owned folder that everybody may read, once; its name is given when complete."""
    if _usable(cache):
        return cache
    half = f"{cache}.new-{os.getpid()}"
    try:
        Path(cache).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        shutil.copytree(programs, half, ignore=shutil.ignore_patterns("*.a"))
        for parent, folders, names in os.walk(half):
            for name in (".", *folders, *names):
                path = os.path.join(parent, name)
                os.chmod(path, os.stat(path).st_mode | (0o555 if os.access(path, os.X_OK) else 0o444))
        os.rename(half, cache)
    except OSError as error:
        if not _usable(cache):
            raise unusable(cache, error) from None
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return cache


def not_yours(folder: str, owner: int, user: int) -> DatabaseError:
    """The sentence for a folder that belongs to another user."""
    return DatabaseError(
        f"{folder} belongs to {_name(owner)}, not to {_name(user)}",
        hint="run as that user, or name a folder of your own with JUNKIE_DATA_DIR",
        code="embedded_owner",
    )


def unusable(folder: str, error: Exception) -> DatabaseError:
    """The sentence for a folder that cannot be made, read or written."""
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(folder)
    if number == errno.ENAMETOOLONG:
        return DatabaseError(
            f"the path of the data folder is too long: {len(os.fsencode(folder))} bytes",
            hint="name a shorter one with JUNKIE_DATA_DIR",
            code="embedded_path",
        )
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return DatabaseError(
        f"{folder} cannot be used for the embedded database: {reason}",
        hint="mend it, or name another folder with JUNKIE_DATA_DIR",
        code="embedded_folder",
    )


def disk_full(folder: str) -> DatabaseError:
    """The sentence for a full disk."""
    return DatabaseError(
        f"the disk that holds {folder} is full, the embedded PostgreSQL cannot run there",
        hint="make room (df, du), then run the command again; what was stored is safe",
        code="embedded_disk_full",
    )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"


def clean_environment() -> dict[str, str]:
    """What the server's programs get to see: no PG* variable that would steer them, and none of our keys."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "ICU_DATA") if name in os.environ}
    return {"PATH": os.defpath, **kept, "LC_ALL": "C", "LANG": "C", "PYTHONIOENCODING": "utf-8"}
