"""Moving the embedded database to another major version of PostgreSQL: a proven backup, a restore, an exchange.

The old data folder is kept. Until the exchange, which happens last and at once, nothing of it changes.
"""

from typing import TYPE_CHECKING

from junkie_cli.core.backup import dump
from junkie_cli.core.backup.dump import BackupOptions
from junkie_cli.core.database import Database, locate
from junkie_cli.core.embedded.cluster import DATABASE, USER
from junkie_cli.core.embedded.installations import Installation
from junkie_cli.core.embedded.migration import MajorMigration
from junkie_cli.core.errors import DatabaseError, JunkieError
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.restore import whole
from junkie_cli.core.restore.target import open_target
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    from pathlib import Path

    from junkie_cli.core.settings import Settings

REASON = "before a migration"
# What a dump of one database does not hold.
_OTHERS = """
SELECT 'database ' || datname FROM pg_database WHERE NOT datistemplate AND datname NOT IN ('postgres', $1)
UNION ALL SELECT 'role ' || rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> $2
UNION ALL SELECT 'tablespace ' || spcname FROM pg_tablespace WHERE spcname !~ '^pg_' ORDER BY 1
"""


@frozen
class Moved:
    """A finished migration: the backup it was made from, the folder with the old data, and a later failure."""

    backup: "Path"
    kept: "Path"
    problem: str = ""


async def move_to(settings: "Settings", old: Installation, new: Installation, progress: Progress = SILENT) -> Moved:
    """Move the embedded database of these settings from the version of `old` to that of `new`.

    Raises DatabaseError or BackupError; then everything is as it was.
    """
    progress.step(f"starting PostgreSQL {old.version} and {new.version}")
    async with MajorMigration(settings.data_dir, old, new) as servers:
        label = f"embedded PostgreSQL {{}} in {settings.data_dir}"
        source = Database(servers.old, embedded=True, label=label.format(old.major))
        target = Database(servers.new, embedded=True, label=label.format(new.major))
        await _refuse_others(source)
        options = BackupOptions(pg_bin=new.path, require_verified=True, whole_database=True, reason=REASON)
        made = await dump.make_backup(source, settings, options, progress)
        planned = await whole.plan(made.path, target, settings, replace_data=False, pg_bin=new.path)
        await whole.restore(planned, target, settings, progress=progress)
        progress.step("exchanging the data folders")
        kept = settings.data_dir / await servers.commit()
    return Moved(made.path, kept, await _back_up_anew(settings, progress))


async def _refuse_others(source: Database) -> None:
    async with open_target(source) as (_, connection), connection.transaction():
        others = [row[0] for row in await connection.fetch(_OTHERS, DATABASE, USER)]
    if others:
        raise DatabaseError(
            f"{source.label} also holds {', '.join(others[:10])}, which junkie did not make and does not move",
            hint="move it by hand (pg_dumpall), or drop it; nothing has changed",
            code="embedded_migration",
        )


async def _back_up_anew(settings: "Settings", progress: Progress) -> str:
    """Begin the backups of the new server, which the folder would refuse as another one; why that failed."""
    options = BackupOptions(new_database=True)
    try:
        await dump.make_backup(await locate(settings), settings, options, progress)
    except JunkieError as error:
        return f"{error.message}; run junkie backup --embedded --new-database"
    return ""
