"""Who else could have changed a backup: the owners and permissions of its files and their folder.

The checksums of a backup show damage, and nobody who wrote the manifest too. A dump holds code that a restore runs, so
what another user of the machine could have put there is worth a warning, and root does not run it without being told.
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
    """Who else could have changed the backup `path`, for people; empty when nobody could.

    Raises BackupError for root, unless `trust_owner`.
    """
    doubts = _doubts(path)
    if doubts and os.geteuid() == 0 and not trust_owner:
        raise BackupError(
            f"another user could have changed {path}: {'; '.join(doubts)}",
            hint="a restore runs code that is in it: give --trust-owner if you trust whoever that is, else use a backup"
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
    """Whether a file belongs to neither this user nor root, who may change everything anyhow."""
    return info.st_uid not in {os.geteuid(), 0}


def open_to_all(info: os.stat_result) -> bool:
    """Whether every user of the machine can write to it."""
    return bool(info.st_mode & stat.S_IWOTH)


def _keeps_names(info: os.stat_result) -> bool:
    """Whether a folder such as /tmp lets nobody remove or rename another user's files: their owners tell enough."""
    return bool(info.st_mode & stat.S_ISVTX) and not is_foreign(info)


def _is_private(info: os.stat_result) -> bool:
    """Whether the group is root's, or that of the owner alone, as many systems make one for each user."""
    try:
        owner, group = pwd.getpwuid(info.st_uid), grp.getgrgid(info.st_gid)
    except KeyError:
        return info.st_gid == 0
    others = [name for name in group.gr_mem if name != owner.pw_name]
    return not others and (group.gr_gid == 0 or (group.gr_gid == owner.pw_gid and group.gr_name == owner.pw_name))


def _user(uid: int) -> str:
    name = login_name(uid)
    return f"user {name}" if name else f"user number {uid}"


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
    """Whether every user of the machine can put files into `folder`; False when it is not there."""
    info = _stat(folder)
    return info is not None and stat.S_ISDIR(info.st_mode) and open_to_all(info)


def can_close(folder: Path) -> bool:
    """Whether `close` may be offered: it is this user's own folder, and not one that all users share, like /tmp."""
    info = _stat(folder)
    return info is not None and info.st_uid == os.geteuid() and not info.st_mode & stat.S_ISVTX


def close(folder: Path) -> None:
    """Take all rights on `folder` from everybody but its owner. Raises BackupError."""
    try:
        folder.chmod(0o700)
    except OSError as error:
        raise _refusal(folder, f"its permissions cannot be changed: {error.strerror}") from error
    if is_open(folder):
        raise _refusal(folder, "its file system does not keep permissions")


def require_closed(folder: Path) -> None:
    """Raise BackupError when every user of the machine can put files into `folder`."""
    if is_open(folder):
        raise _refusal(folder, "a backup there could be replaced, and what it holds is personal")


def _refusal(folder: Path, why: str) -> BackupError:
    own = f"chmod 700 {folder}" if can_close(folder) else f"use a folder of your own: -o {folder}/junkie-backups"
    return BackupError(
        f"every user of this machine can write to {folder}: {why}",
        hint=f"{own}; or take it as it is with --trust-owner",
        code="backup_folder_open",
    )
