"""Checks that can stop a backup: another cluster, a shrunken database, no space, a failing pg_dump."""

import errno
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from junkie_cli import __version__
from junkie_cli.core import formatting
from junkie_cli.core.backup import files
from junkie_cli.core.backup.catalogue import CatalogueEntry
from junkie_cli.core.backup.manifest import Manifest, Origin, TableContent
from junkie_cli.core.backup.process import Finished
from junkie_cli.core.backup.scratch import Scratch
from junkie_cli.core.backup.source import BackupSource
from junkie_cli.core.backup.tools import Tools
from junkie_cli.core.embedded.installations import WHEELS
from junkie_cli.core.errors import BackupError, DatabaseError, JunkieError
from junkie_cli.core.formatting import plural
from junkie_cli.core.postgres import releases
from junkie_cli.core.schema import registry

if TYPE_CHECKING:
    from junkie_cli.core.database import Database
    from junkie_cli.core.settings import Settings

_ENOUGH_TO_TELL = 20  # rows; losing half of a smaller table is normal
_LOST = (
    "server closed the connection",
    "connection to server",
    "could not receive data",
    "could not send data",
    "terminating connection",
    "no connection to the server",
    "ssl syscall error",
    "ssl error",
    "pqgetcopydata() failed",
    "connection timed out",
    "the database system is",
)


def same_cluster(entries: Sequence[CatalogueEntry], origin: Origin, *, allowed: bool) -> None:
    """Raise BackupError if the newest backup in the folder is from another database cluster."""
    last = next((entry.manifest for entry in entries if entry.manifest and entry.regular), None)
    if allowed or last is None or not (last.origin.system_identifier and origin.system_identifier):
        return
    if last.origin.system_identifier != origin.system_identifier:
        raise BackupError(
            f"{entries[0].path.parent} contains backups of another PostgreSQL server ({last.origin.label}),"
            f" not of {origin.label}",
            hint="check POSTGRES_URL; if the server was replaced, use --new-database; or use another folder: -o",
            code="backup_other_cluster",
        )


def last_good(entries: Iterable[CatalogueEntry], origin: Origin) -> Manifest | None:
    """Return the newest good backup of the same job, without those made by a restore."""
    good = (entry.manifest for entry in entries if entry.good and entry.regular and entry.manifest)
    return next((manifest for manifest in good if manifest.origin.job == origin.job), None)


def shrunk(entries: Sequence[CatalogueEntry], origin: Origin, tables: Sequence[TableContent], *, allowed: bool) -> None:
    """Raise BackupError if the database has lost more than half of its rows since the last backup.

    Checked for all tables together, and for memories, sessions and runs individually: junkie's own tables can shrink.
    """
    last = last_good(entries, origin)
    if allowed or last is None:
        return
    before, now = _rows(last.tables), _rows(tables)
    pairs = [("the database", sum(before.values()), sum(now.values()))]
    pairs += [(name, rows, now.get(name, 0)) for name, rows in before.items() if name in origin.names.values()]
    for name, rows, left in pairs:
        if left * 2 < rows and (name == "the database" or rows >= _ENOUGH_TO_TELL):
            raise BackupError(
                f"{name} had {plural(rows, 'row', 'rows')} at the last backup ({last.file}) and has {left} now",
                hint="if this is expected, use --allow-shrink; older backups are unchanged",
                code="backup_shrunk",
            )


def _rows(tables: Sequence[TableContent]) -> dict[str, int]:
    return {table.name: table.rows for table in tables if table.table not in registry.own_tables()}


def room(folder: Path, entries: Sequence[CatalogueEntry], source: BackupSource) -> None:
    """Raise BackupError if the dump will probably not fit: 1.25 times the last one, or half of the size of the tables.

    Measured: docs/decisions/0016-a-backup-is-named-when-it-is-proven.md.
    """
    last = last_good(entries, source.origin)
    needed = int(last.bytes * 1.25) if last else source.bytes // 2
    there = next(
        path for path in (folder, *folder.parents) if path.exists()
    )  # a check can run before the folder exists
    free = shutil.disk_usage(there).free
    if free < needed:
        raise BackupError(
            f"not enough space in {folder}: about {formatting.size(needed)} needed, {formatting.size(free)} free",
            hint="free some space, delete old backups (junkie backup prune), or use -o FOLDER or --no-space-check",
            code="backup_no_space",
        )


def own_disk(folder: Path, settings: "Settings", database: "Database", target: Path | None) -> str:
    """Return a note if the default folder is on the disk of the database; empty after the first backup."""
    chosen = target is not None or not settings.is_default("JUNKIE_BACKUP_DIR")
    if chosen or any(folder.glob(f"*{files.DUMP_SUFFIX}")) or not database.embedded:
        return ""
    try:
        same = folder.stat().st_dev == settings.data_dir.stat().st_dev
    except OSError:
        return ""
    if not same:
        return ""
    return (
        f"{folder} is on the same disk as the database: it protects from mistakes, but not from the loss of the disk;"
        " set JUNKIE_BACKUP_DIR to another disk, or copy the files elsewhere"
    )


def old_releases(
    entries: Sequence[CatalogueEntry], source: BackupSource, tools: Tools, scratch: Scratch | None, *, embedded: bool
) -> tuple[list[str], bool]:
    """Return messages about outdated PostgreSQL versions, and whether the newest backup was made with the same ones.

    In that case they were reported already, and repeating them would only make cron mail ignorable.
    """
    version = source.origin.server_version
    proving = [] if scratch is None or scratch.folder is None else [scratch.tools]
    found = old_programs(version, tools, proving, embedded=embedded)
    last = next((entry.manifest for entry in entries if entry.manifest and entry.regular), None)
    before = last and (last.origin.server_version, last.pg_dump_version, last.junkie_version)
    return [str(old) for old in found], before == (version, tools.version, __version__)


def old_programs(
    server_version: str, tools: Tools | None, proving: Sequence[Tools], *, embedded: bool
) -> list[releases.Outdated]:
    """What is old of the PostgreSQL in use: a server, the tools, and the server that proves a backup."""
    used = [*([tools] if tools else []), *proving]
    system = {one.version for one in used if one.source not in WHEELS}
    ours = {one.version for one in used if one.source in WHEELS} | ({server_version} if embedded else set())
    return releases.outdated(
        server="" if embedded else server_version, tools=sorted(system), ours=sorted(ours - system)
    )


def dump_failure(ended: Finished, partial: Path, source: BackupSource) -> JunkieError:
    """Describe why pg_dump failed."""
    said = ended.stderr.lower()
    if _is_full(said, partial, ended.exit_code):
        return files.no_space(f"the dump could not be written to {partial.parent}")
    if any(words in said for words in _LOST):
        return DatabaseError(
            f"the connection to {source.origin.label} was lost during the dump",
            hint="no backup was made, older ones are unchanged; check the server and the network, and try again",
            code="database_lost",
        )
    if "permission denied" in said:
        return DatabaseError(
            f"role {source.url.role} lacks a privilege that the dump needs: {ended.words}",
            hint="have the owner grant it; to see what is missing: junkie doctor --only database.rights",
            code="database_rights",
        )
    if "lock table" in said or "lock timeout" in said:
        return BackupError(
            "a table was locked by another session for too long",
            hint="wait for that session to end (a migration, a LOCK TABLE), and run the backup again",
            code="backup_table_locked",
        )
    return BackupError(
        f"pg_dump failed: {ended.words}",
        hint="no backup was made, older ones are unchanged; behind a pooler, use the direct connection",
        code="backup_dump_failed",
    )


def _is_full(said: str, partial: Path, exit_code: int) -> bool:
    if any(os.strerror(number).lower() in said for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)):
        return True
    # A full disk can also suppress pg_dump's own message; SIGXFSZ (25) is the limit of `ulimit -f`.
    return exit_code == -25 or (not said.strip() and shutil.disk_usage(partial.parent).free < 1 << 16)
