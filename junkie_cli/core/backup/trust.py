"""Checks who else could have changed a backup: owners and permissions of its files and their folder.

Checksums detect damage, but not an attacker who also writes the manifest. A dump contains code that a restore runs, so
files that another user could have written cause a warning, and root refuses them without --trust-owner.
"""

import grp
import os
import pwd
import stat
from pathlib import Path

from junkie_cli.core.backup import manifest as manifests
from junkie_cli.core.errors import BackupError
from junkie_cli.core.os_account import login_name


def check(path: Path, *, trust_owner: bool) -> list[str]:
    """Return messages about who else could have changed the backup `path`.

    Raises BackupError for root, unless `trust_owner`.
    """
    doubts = _doubts(path)
    if doubts and os.geteuid() == 0 and not trust_owner:
        raise BackupError(
            f"another user could have changed {path}: {'; '.join(doubts)}",
            hint="a restore runs code from the backup: use --trust-owner if you trust that user, or use a backup"
            " that belongs to root in a folder that only root can write to",
            code="backup_not_trusted",
        )
    return [f"another user could have changed {path.name}: {doubt}" for doubt in doubts]


def _doubts(path: Path) -> list[str]:
    found = []
    for file in (path, manifests.path_for(path)):
        if info := _stat(file):
            found += _doubts_of(file.name, info)
    folder = path.resolve().parent
    if (info := _stat(folder)) and not _keeps_names(info):
        found += _doubts_of(str(folder), info)
    return found


def _doubts_of(name: str, info: os.stat_result) -> list[str]:
    found = []
    if is_foreign(info):
        found.append(f"{name} belongs to {_user(info.st_uid)}")
    if open_to_all(info):
        found.append(f"every user can write to {name}")
    elif info.st_mode & stat.S_IWGRP and not _is_private(info):
        found.append(f"group {_group(info.st_gid)} can write to {name}")
    return found


def is_foreign(info: os.stat_result) -> bool:
    """Return whether a file belongs to neither this user nor root, who can change everything anyway."""
    return info.st_uid not in {os.geteuid(), 0}


def open_to_all(info: os.stat_result) -> bool:
    """Return whether every user of the machine can write to it."""
    return bool(info.st_mode & stat.S_IWOTH)


def _keeps_names(info: os.stat_result) -> bool:
    """Return whether the folder is sticky, like /tmp: nobody can rename other users' files, so owners are reliable."""
    return bool(info.st_mode & stat.S_ISVTX) and not is_foreign(info)


def _is_private(info: os.stat_result) -> bool:
    """Return whether the group is root's, or the owner's private group."""
    try:
        owner, group = pwd.getpwuid(info.st_uid), grp.getgrgid(info.st_gid)
    except KeyError:
        return info.st_gid == 0
    others = [name for name in group.gr_mem if name != owner.pw_name]
    return not others and (group.gr_gid == 0 or (group.gr_gid == owner.pw_gid and group.gr_name == owner.pw_name))


def _user(uid: int) -> str:
    name = login_name(uid)
    return f"user {name}" if name else f"user id {uid}"


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


# --- a folder to back up into -----------------------------------------------------------------------------------------


def is_open(folder: Path) -> bool:
    """Return whether every user can create files in `folder`; False if it does not exist."""
    info = _stat(folder)
    return info is not None and stat.S_ISDIR(info.st_mode) and open_to_all(info)


def can_close(folder: Path) -> bool:
    """Return whether to offer `close`: the folder belongs to this user, and is not shared like /tmp."""
    info = _stat(folder)
    return info is not None and info.st_uid == os.geteuid() and not info.st_mode & stat.S_ISVTX


def close(folder: Path) -> None:
    """Remove all permissions on `folder` except the owner's. Raises BackupError."""
    try:
        folder.chmod(0o700)
    except OSError as error:
        raise _refusal(folder, f"its permissions cannot be changed: {error.strerror}") from error
    if is_open(folder):
        raise _refusal(folder, "its file system does not keep permissions")


def require_closed(folder: Path) -> None:
    """Raise BackupError if every user of the machine can create files in `folder`."""
    if is_open(folder):
        raise _refusal(folder, "a backup there could be replaced, and contains personal data")


def _refusal(folder: Path, why: str) -> BackupError:
    own = f"chmod 700 {folder}" if can_close(folder) else f"use a folder of your own: -o {folder}/junkie-backups"
    return BackupError(
        f"every user of this machine can write to {folder}: {why}",
        hint=f"{own}; or accept it as it is: --trust-owner",
        code="backup_folder_open",
    )
