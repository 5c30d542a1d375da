"""The backup that a restore makes of what it is about to replace, and whether it could be made.

It reaches as far as the backup that is being restored: whoever backed up the whole database usually did so because the
schema refers to others, and a copy of the schema alone would not restore.
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
    """How to back up what the backup of `manifest` replaces."""
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
    """Make it; where it is. Raises as `make_backup`."""
    progress.step("backing up what is there")
    return (await dump.make_backup(database, settings, options, progress)).path


async def check(database: "Database", settings: "Settings", options: BackupOptions, progress: Progress) -> None:
    """Do all that `make` checks before it dumps. Raises as `make_backup`."""
    progress.step("checking whether what is there can be backed up")
    await dump.check_backup(database, settings, options, progress)
