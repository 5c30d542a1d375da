"""Verifies a backup again, at any time and on any machine, without the source database."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from junkie_cli.core.backup import catalogue, files, lock, names, proof, script, tools, trust
from junkie_cli.core.backup.manifest import Manifest
from junkie_cli.core.backup.scratch import Needs, Unprovable, open_scratch
from junkie_cli.core.backup.tools import major_of
from junkie_cli.core.errors import BackupError, JunkieError
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    from junkie_cli.core.database_url import DatabaseUrl

_EXPANSION = 12  # a zstd dump restored, with its indexes, at most (measured: 5)


@frozen
class Verified:
    """A verified backup; `recorded` is False if its manifest could not be written."""

    path: Path
    manifest: Manifest
    recorded: bool


def needs_of(manifest: Manifest) -> Needs:
    """Return what a server needs to restore this backup."""
    return Needs(manifest.origin, manifest.extensions, manifest.collations, manifest.roles, manifest.outside)


async def verify(
    path: Path,
    *,
    pg_bin: Path | None = None,
    preferred: Path | None = None,
    into: "DatabaseUrl | None" = None,
    seconds: float | None = None,
    trust_owner: bool = False,
    progress: Progress = SILENT,
) -> Verified:
    """Read the complete file, restore it into a scratch server and compare every table with its manifest.

    `preferred` is a folder of programs that comes first (JUNKIE_PG_BIN), `seconds` bounds the restore and its
    comparison. Raises BackupError when the file is damaged or unknown, when it
    does not restore to what its manifest says, when no scratch server here can take it, and for root when another user
    could have changed it, unless `trust_owner`.
    """
    for doubt in trust.check(path, trust_owner=trust_owner):
        progress.warn(doubt)
    progress.step(f"reading {path.name}")
    entry = await catalogue.require_good(path, progress)
    manifest = entry.manifest
    assert manifest is not None
    needs = needs_of(manifest)
    available = await tools.discover(None, preferred) + (await tools.discover(pg_bin) if pg_bin else [])
    dumped_with = major_of(manifest.pg_dump_version)
    try:
        async with open_scratch(
            available,
            needs,
            dumped_with=dumped_with,
            into=into,
            room=_EXPANSION * manifest.bytes,
            fallback=path.parent,
            seconds=seconds,
        ) as server:
            contents = await script.list_contents(path, server.tools, encoding=manifest.origin.encoding)
            names.check(contents, manifest)
            progress.step(f"restoring into a scratch PostgreSQL {server.version}")
            await proof.prove(server, path, needs, manifest.tables, progress=progress)
            proven = manifest.proven(at=datetime.now(UTC), by=server.version)
    except Unprovable as unprovable:
        raise BackupError(
            f"{path} is unaltered, but cannot be verified here: {unprovable.reason}",
            hint=unprovable.hint or "use another server: --verify-into URL; or verify on another machine",
            code="backup_unprovable",
        ) from None
    return Verified(path, proven, await _record(path, proven))


async def _record(path: Path, proven: Manifest) -> bool:
    """Record the verification in the manifest; False on a read-only medium, or during another backup run."""
    try:
        async with lock.hold(path.parent, purpose="junkie backup verify"):
            files.rewrite_manifest(path, proven)
    except JunkieError:
        return False
    return True
