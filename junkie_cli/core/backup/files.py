"""Files of a backup folder: a file gets its final name when it is complete, verified and synced.

A dump is written as `.NAME.junkie-partial`; at the end the manifest gets its name, then the dump (never replacing
another file), each synced with its folder. A killed run leaves files that `sweep` recognizes and deletes, under the
lock of the folder.
"""

import asyncio
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from junkie_cli.core.backup import manifest as manifests
from junkie_cli.core.backup.manifest import Manifest
from junkie_cli.core.errors import BackupError, UsageError
from junkie_cli.core.files import is_standard_output, sync_folder
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.regular_files import open_regular

DUMP_SUFFIX = ".dump"
PARTIAL_SUFFIX = ".junkie-partial"
_CHUNK = 256 << 10  # bytes hashed between two yields to the event loop


def partial_of(final: Path) -> Path:
    """Return the name under which `final` is written until it is complete."""
    return final.with_name(f".{final.name}{PARTIAL_SUFFIX}")


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Convert errors of the operating system to BackupError."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise no_space(what) from error
        raise BackupError(
            f"{what}: {error.strerror}", hint="check the folder's owner, permissions and disk", code="backup_folder"
        ) from error


def no_space(what: str) -> BackupError:
    """Return the error for a full disk."""
    return BackupError(
        f"{what}: the disk is full; older backups are unchanged",
        hint="free some space, delete old backups (junkie backup prune) or use another folder: -o",
        code="backup_no_space",
    )


def prepare_folder(folder: Path) -> None:
    """Create `folder` (0700) if it does not exist. Raises BackupError if it cannot be used."""
    with translate_errors(f"cannot use {folder} as the backup folder"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BackupError(
            f"cannot write in {folder}", hint="check its owner and permissions, or use -o", code="backup_folder"
        )


def check_creatable(folder: Path) -> None:
    """Raise BackupError unless `prepare_folder` could create `folder`."""
    with translate_errors(f"cannot use {folder} as the backup folder"):
        parent = next(path for path in folder.parents if path.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise BackupError(
            f"cannot create {folder}: {parent} is not a folder that this user can write to",
            hint="check its owner and permissions, or set JUNKIE_BACKUP_DIR to another folder",
            code="backup_folder",
        )


def resolve_target(target: Path | None, default: Path) -> tuple[Path, str | None]:
    """Return the backup folder, and the file name if the user gave one.

    A path that is a folder, or has no suffix, is a folder. Raises UsageError for stdout.
    """
    if target is None:
        return default, None
    if is_standard_output(target):
        raise UsageError(
            "a backup cannot be written to stdout: it is verified, and has a manifest",
            hint="name a folder or a file with -o",
        )
    if target.is_dir() or not target.suffix:
        return target.absolute(), None
    return target.absolute().parent, target.name


def free_name(folder: Path, database: str, at: datetime) -> Path:
    """Return a free name from the database name and the time in UTC. Call it under the lock."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in database)[:60] or "database"
    stem = f"junkie-{safe}-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    for number in range(1, 1000):
        path = folder / (stem + (f"-{number}" if number > 1 else "") + DUMP_SUFFIX)
        if not path.exists() and not manifests.path_for(path).exists():
            return path
    raise BackupError(f"no free file name in {folder}", hint="check the clock of this machine", code="backup_folder")


def create_partial(final: Path) -> Path:
    """Create the empty partial file of `final`, readable only by its owner.

    Raises BackupError if `final` exists, or the file cannot be created.
    """
    if final.exists() or manifests.path_for(final).exists():
        raise BackupError(
            f"{final} exists already", hint="use another file name; backups are never overwritten", code="backup_exists"
        )
    partial = partial_of(final)
    with translate_errors(f"cannot write {partial}"):
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.fchmod(descriptor, 0o600)
        os.close(descriptor)
    return partial


def sync_file(path: Path) -> None:
    """Sync the content of the file to the disk."""
    with translate_errors(f"cannot write {path} to the disk"):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def commit(final: Path, manifest: Manifest) -> None:
    """Rename the finished, synced partial file to `final` and write its manifest. Never replaces a file.

    A kill at any point leaves no backup or a complete one: a manifest whose dump is still partial is swept.
    """
    with translate_errors(f"cannot name {final}"):
        manifest_path = manifests.path_for(final)
        _write_synced(partial_of(manifest_path), manifests.to_text(manifest))
        _rename_new(partial_of(manifest_path), manifest_path)
        sync_folder(final.parent)
        _rename_new(partial_of(final), final)
        sync_folder(final.parent)


def _write_synced(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)


def _rename_new(source: Path, target: Path) -> None:
    try:
        os.link(source, target)  # the only rename of the standard library that refuses an existing name
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}:
            raise
        if target.exists():  # a file system without hard links; the lock of the folder excludes other runs
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        source.rename(target)
        return
    source.unlink()


def rewrite_manifest(dump: Path, manifest: Manifest) -> None:
    """Replace the manifest of `dump` atomically. Call it under the lock."""
    path = manifests.path_for(dump)
    with translate_errors(f"cannot write {path}"):
        partial_of(path).unlink(missing_ok=True)
        _write_synced(partial_of(path), manifests.to_text(manifest))
        partial_of(path).replace(path)
        sync_folder(path.parent)


def discard(final: Path) -> None:
    """Delete the files of an unfinished run for `final`; never fails, never deletes a finished backup."""
    with suppress(OSError):
        if not final.exists() and partial_of(final).exists():
            manifests.path_for(final).unlink(missing_ok=True)
        partial_of(manifests.path_for(final)).unlink(missing_ok=True)
        partial_of(final).unlink(missing_ok=True)


def remove(dump: Path) -> None:
    """Delete the dump and manifest of a backup. After a kill, the next run sweeps the rest."""
    with translate_errors(f"cannot remove {dump}"):
        dump.rename(partial_of(dump))
        manifests.path_for(dump).unlink(missing_ok=True)
        partial_of(dump).unlink()
        sync_folder(dump.parent)


def is_unfinished(final: Path) -> bool:
    """Return whether a run is, or was killed, between naming the manifest and naming the dump."""
    return partial_of(final).exists() and not final.exists()


def sweep(folder: Path) -> list[Path]:
    """Delete files that killed runs left in `folder`; return them. Call it under the lock."""
    swept = []
    with translate_errors(f"cannot clear {folder}"):
        for partial in sorted(folder.glob(f".*{PARTIAL_SUFFIX}")):
            if not stat.S_ISREG(partial.lstat().st_mode):
                continue  # runs create only files
            final = folder / partial.name[1 : -len(PARTIAL_SUFFIX)]
            manifest = manifests.path_for(final)
            if not final.exists() and manifest.exists():
                manifest.unlink()
            partial.unlink()
            swept.append(partial)
    return swept


async def sha256(path: Path, progress: Progress = SILENT) -> str:
    """Return the SHA-256 of a regular file in hexadecimal. Raises BackupError if it cannot be read.

    Of a growing file, only slightly more than its initial size is read: enough to detect the change.
    """
    digest = hashlib.sha256()
    with translate_errors(f"cannot read {path}"), open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        while file.tell() <= size and (chunk := file.read(_CHUNK)):
            digest.update(chunk)
            progress.reach(file.tell(), size)
            await asyncio.sleep(0)
    return digest.hexdigest()
