"""Makes the safety backup of data that a restore will replace, and checks whether it is possible.

It has the extent of the backup that is restored: a backup of the complete database is usually needed because the schema
references others, and a copy of the schema alone would not restore.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from junkie_cli.core.backup import dump
from junkie_cli.core.backup.dump import BackupOptions
from junkie_cli.core.backup.manifest import Manifest
from junkie_cli.core.progress import Progress

if TYPE_CHECKING:
    from junkie_cli.core.database import Database
    from junkie_cli.core.settings import Settings


def options_for(
    manifest: Manifest, *, pg_bin: Path | None = None, wait_lock: float = 0, trust_owner: bool = False
) -> BackupOptions:
    """Return the options of the safety backup for a restore of `manifest`."""
    return BackupOptions(
        pg_bin=pg_bin,
        wait_lock=wait_lock,
        allow_shrink=True,
        new_database=True,
        whole_database=manifest.origin.whole_database,
        reason=dump.BEFORE_RESTORE,
        trust_owner=trust_owner,
    )


async def make(database: "Database", settings: "Settings", options: BackupOptions, progress: Progress) -> Path:
    """Make the backup; return its path. Raises as `make_backup`."""
    progress.step("backing up existing data")
    return (await dump.make_backup(database, settings, options, progress)).path


async def check(database: "Database", settings: "Settings", options: BackupOptions, progress: Progress) -> None:
    """Do the checks of `make` before its dump. Raises as `make_backup`."""
    progress.step("checking whether existing data can be backed up")
    await dump.check_backup(database, settings, options, progress)
