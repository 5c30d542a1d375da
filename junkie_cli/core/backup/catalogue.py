"""Lists the backups in a folder, newest first, with their status.

Reading needs no lock and no database. A file with the recorded size and mtime is trusted; any other is hashed again.
Only `verify` reads every byte each time.
"""

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from junkie_cli.core.backup import files
from junkie_cli.core.backup import manifest as manifests
from junkie_cli.core.backup.manifest import Manifest
from junkie_cli.core.errors import BackupError, NotFoundError
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.regular_files import open_regular
from junkie_cli.core.value_class import frozen

Status = Literal["verified", "unverified", "damaged", "unknown"]
VERIFIED: Final = "verified"
UNVERIFIED: Final = "unverified"
DAMAGED: Final = "damaged"
UNKNOWN: Final = "unknown"
_MAGIC = b"PGDMP"


@frozen
class CatalogueEntry:
    """A dump in the folder. `status` is `verified`, `unverified`, `damaged` or `unknown` (no readable manifest).

    `problem` is why it is not verified; `bytes` is the current size, 0 for a missing file.
    """

    path: Path
    made_at: datetime
    bytes: int
    status: Status
    manifest: Manifest | None
    problem: str = ""

    @property
    def good(self) -> bool:
        """Return whether it can be restored: complete, unaltered, with its manifest."""
        return self.status in {VERIFIED, UNVERIFIED}

    @property
    def regular(self) -> bool:
        """Return whether it is an ordinary backup, not one made by a restore of the data to be replaced."""
        return self.manifest is not None and self.manifest.reason == manifests.REGULAR


async def scan(folder: Path) -> list[CatalogueEntry]:
    """List all dumps in `folder`, newest first; empty if it does not exist. Raises BackupError if it is unreadable.

    Dumps are files with a manifest, or named `*.dump`; unfinished runs are not listed.
    """
    entries = []
    for name in _dumps(folder):
        if not files.is_unfinished(folder / name):
            with suppress(NotFoundError):  # deleted in the meantime by the retention of another run
                entries.append(await inspect(folder / name))
    return sorted(entries, key=lambda entry: (entry.made_at, entry.path.name), reverse=True)


def _dumps(folder: Path) -> set[str]:
    with files.translate_errors(f"cannot read {folder}"):
        if not folder.is_dir():  # raises also below an inaccessible folder
            return set()
        names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    named = {name.removesuffix(manifests.SUFFIX) for name in names if _names_dump(folder, name)}
    return named | {name for name in names if name.endswith(files.DUMP_SUFFIX)}


def _names_dump(folder: Path, name: str) -> bool:
    if not name.endswith(manifests.SUFFIX):
        return False
    try:
        return manifests.load(folder / name).file == name.removesuffix(manifests.SUFFIX)
    except BackupError:
        return name.endswith(files.DUMP_SUFFIX + manifests.SUFFIX)


async def inspect(path: Path, *, thorough: bool = False, progress: Progress = SILENT) -> CatalogueEntry:
    """Check one dump file; `thorough` reads all of it, whatever its mtime.

    Raises NotFoundError if neither the file nor its manifest exists.
    """
    manifest, problem = _manifest_of(path)
    info = _stat(path)
    if info is None and manifest is not None:
        return CatalogueEntry(path, manifest.started_at, 0, DAMAGED, manifest, "the dump file is gone")
    if info is None or manifest is None:
        return _unknown(path, problem)
    unchanged = info.st_mtime_ns == manifest.modified_ns and not thorough
    problem = await _damage(path, manifest, info.st_size, unchanged, progress)
    status: Status = DAMAGED if problem else VERIFIED if manifest.verified_at else UNVERIFIED
    reason = problem or manifest.unverified_because
    return CatalogueEntry(path, manifest.started_at, info.st_size, status, manifest, reason)


def _unknown(path: Path, problem: str) -> CatalogueEntry:
    """Return the entry of a dump without a readable manifest, or of an unreadable manifest without a dump."""
    for odd in (path, manifests.path_for(path)):
        with suppress(OSError):
            info = odd.lstat()
            size = info.st_size if odd == path else 0
            problem = _foreign(path) or problem
            return CatalogueEntry(path, _as_time(info.st_mtime), size, UNKNOWN, None, problem)
    raise NotFoundError(f"no backup {path}", hint="to list backups: junkie backup list")


def _as_time(seconds: float) -> datetime:
    """Convert a file's time; the earliest possible date for times out of range."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _manifest_of(path: Path) -> tuple[Manifest | None, str]:
    manifest_path = manifests.path_for(path)
    if not manifest_path.exists():
        return None, "it has no manifest"
    try:
        return manifests.load(manifest_path), ""
    except manifests.ManifestError as error:
        return None, f"its manifest cannot be read: {error.reason}"


def _foreign(path: Path) -> str:
    try:
        with open_regular(path) as file:
            return "" if file.read(len(_MAGIC)) == _MAGIC else "it is not a dump in pg_dump's custom format"
    except OSError as error:
        return f"the dump cannot be read: {error.strerror}"


async def _damage(path: Path, manifest: Manifest, size: int, unchanged: bool, progress: Progress) -> str:
    if size != manifest.bytes:
        return f"it has {size} bytes instead of {manifest.bytes} as in its manifest"
    if unchanged:
        return ""
    try:
        return (
            "" if await files.sha256(path, progress) == manifest.sha256 else "its content does not match its manifest"
        )
    except BackupError as error:
        return error.message


async def find(name: str, folder: Path) -> Path:
    """Return the requested dump: a path, a name in the folder, or `latest` (the newest good one).

    A safety backup made by a restore is `latest` only if there is no other: restoring the latest backup twice must not
    revert the first restore. Raises NotFoundError if there is no backup.
    """
    if name == "latest":
        good = [entry for entry in await scan(folder) if entry.good]
        for entry in sorted(good, key=lambda entry: not entry.regular):
            return entry.path
        raise NotFoundError(f"no backup in {folder}", hint="create one: junkie backup")
    if path := _named(name, folder):
        return path
    raise NotFoundError(f"no backup {name}", hint="to list backups: junkie backup list")


def _named(name: str, folder: Path) -> Path | None:
    for path in (Path(name).expanduser(), folder / name):
        if path.is_file() or manifests.path_for(path).is_file():
            return path.absolute()
    return None


async def require_good(path: Path, progress: Progress = SILENT) -> CatalogueEntry:
    """Read the complete file and return its entry. Raises BackupError (exit 5) unless it is unaltered."""
    entry = await inspect(path, thorough=True, progress=progress)
    if entry.good:
        return entry
    hint = "use another backup: junkie backup list"
    if entry.status == UNKNOWN:
        hint = "put its manifest (the .json file made with it) next to it; without it the backup cannot be verified"
    raise BackupError(f"{path} cannot be trusted: {entry.problem}", hint=hint, code=f"backup_{entry.status}")
