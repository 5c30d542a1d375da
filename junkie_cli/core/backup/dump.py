"""Makes one backup: controls the run from the database to the named file, and decides what stops it.

Everything that can fail is checked before the dump (privileges, tools, codec, space, scratch server), the source is
released as soon as the dump is written, and the final name is given after the verification. Any failure leaves the
folder unchanged.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from junkie_cli import __version__
from junkie_cli.core import formatting
from junkie_cli.core.backup import catalogue, checks, files, lock, names, process, proof, script, tools, trust
from junkie_cli.core.backup.catalogue import CatalogueEntry
from junkie_cli.core.backup.manifest import REGULAR, Manifest, TableContent
from junkie_cli.core.backup.prune import prune_job
from junkie_cli.core.backup.retention import Policy
from junkie_cli.core.backup.scratch import Needs, Scratch, Unprovable, open_scratch
from junkie_cli.core.backup.source import BackupSource, count_and_hash, open_source
from junkie_cli.core.backup.tools import Compression, Tools
from junkie_cli.core.errors import BackupError, DatabaseError
from junkie_cli.core.files import FileError
from junkie_cli.core.postgres.errors import translate_errors
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.schema.ledger import complete_ledger_file
from junkie_cli.core.table_layout import Layout
from junkie_cli.core.value_class import field, frozen

if TYPE_CHECKING:
    import asyncpg

    from junkie_cli.core.database import Database
    from junkie_cli.core.database_url import DatabaseUrl
    from junkie_cli.core.settings import Settings

LOCK_TIMEOUT = 60.0
"""Seconds to wait for a table that another session has locked, before the backup fails."""
STALL_TIMEOUT = 600.0
"""Seconds without progress after which pg_dump is aborted."""
BEFORE_RESTORE = "before a restore"
"""The reason in manifests of safety backups, which do not decide which server a folder belongs to."""
_FLOOR = 2e6  # bytes per second; slower hashing counts as hung


@frozen
class BackupOptions:
    """The options of a backup; times in seconds. `target` is a folder or a file; None: JUNKIE_BACKUP_DIR."""

    target: Path | None = None
    keep: Policy = field(default_factory=Policy)
    verify: bool = True
    require_verified: bool = False
    verify_into: "DatabaseUrl | None" = None
    verify_timeout: float | None = None
    compress: str | None = None
    pg_bin: Path | None = None
    wait_lock: float = 0
    lock_timeout: float = LOCK_TIMEOUT
    stall_timeout: float = STALL_TIMEOUT
    allow_shrink: bool = False
    new_database: bool = False
    whole_database: bool = False
    check_space: bool = True
    trust_owner: bool = False
    reason: str = REGULAR


@frozen
class BackupResult:
    """A finished backup: path, manifest, and the older backups that retention deleted."""

    path: Path
    manifest: Manifest
    pruned: tuple[Path, ...]


async def make_backup(
    database: "Database", settings: "Settings", options: BackupOptions, progress: Progress = SILENT
) -> BackupResult:
    """Back up `database` into the folder of `options`, verify the backup, and prune by its policy.

    Raises LockedError if another run uses the folder, DatabaseError if the database cannot be read, BackupError for
    all other failures; the folder is then unchanged.
    """
    folder, name = files.resolve_target(options.target, settings.backup_dir)
    files.prepare_folder(folder)
    _require_closed(folder, options)
    async with lock.hold(folder, wait=options.wait_lock, purpose="junkie backup") as descriptor:
        files.sweep(folder)
        run = _BackupRun(
            database,
            settings.layout,
            options,
            progress,
            folder,
            name,
            descriptor,
            await catalogue.scan(folder),
            settings.pg_bin,
        )
        path, manifest = await run.run(checks.own_disk(folder, settings, database, options.target))
        pruned = await prune_job(folder, manifest.origin.job, options.keep, protect=path.name)
    return BackupResult(path, manifest, tuple(pruned))


def _require_closed(folder: Path, options: BackupOptions) -> None:
    if not options.trust_owner:
        trust.require_closed(folder)


async def check_backup(
    database: "Database", settings: "Settings", options: BackupOptions, progress: Progress = SILENT
) -> None:
    """Do all checks of `make_backup` before its dump: folder, lock, privileges, tools, codec, space, scratch server.

    Raises as `make_backup`; does not create the folder.
    """
    folder, name = files.resolve_target(options.target, settings.backup_dir)
    if not folder.exists():
        files.check_creatable(folder)
        await _BackupRun(database, settings.layout, options, progress, folder, name, -1, (), settings.pg_bin).check()
        return
    files.prepare_folder(folder)
    _require_closed(folder, options)
    async with lock.hold(folder, wait=options.wait_lock, purpose="junkie restore --dry-run") as descriptor:
        entries = await catalogue.scan(folder)
        await _BackupRun(
            database, settings.layout, options, progress, folder, name, descriptor, entries, settings.pg_bin
        ).check()


@frozen
class _Plan:
    """Decisions before the dump: tools, codec, and the scratch server, or why there is none."""

    tools: Tools
    compression: Compression
    scratch: Scratch | None
    unprovable: Unprovable | None


@frozen
class _BackupRun:
    database: "Database"
    layout: Layout
    options: BackupOptions
    progress: Progress
    folder: Path
    name: str | None
    lock: int
    entries: Sequence[CatalogueEntry]
    preferred: Path | None

    async def run(self, reported_once: str) -> tuple[Path, Manifest]:
        """Make the backup; return its path and manifest."""
        started_at, began = datetime.now(UTC), time.monotonic()
        self.progress.step(f"reading {self.database.label}")
        async with self._source() as (connection, source), self._plan(source) as plan:
            self._warn_before_dump(source, plan, reported_once)
            self._complete_ledger(source)
            final = (
                self.folder / self.name
                if self.name
                else files.free_name(self.folder, source.origin.database, started_at)
            )
            partial = files.create_partial(final)
            try:
                tables = await self._dump(connection, source, plan, partial)
                checks.shrunk(self.entries, source.origin, tables, allowed=self.options.allow_shrink)
                manifest = await self._examine(final, source, plan, tables, started_at)
                manifest = await self._prove(partial, manifest, plan, _needs(source))
                manifest = replace(manifest, seconds=round(time.monotonic() - began, 3))
                files.commit(final, manifest)
            finally:
                files.discard(final)
        if self.options.require_verified and manifest.verified_at is None:
            raise BackupError(
                f"{final} is kept as unverified: {manifest.unverified_because}",
                hint="leave out --require-verified to accept it",
                code="backup_unprovable",
            )
        return final, manifest

    async def check(self) -> None:
        """Do the checks of `run` before it writes anything."""
        async with self._source() as (_, source), self._plan(source) as plan:
            self._warn_before_dump(source, plan, "")

    @asynccontextmanager
    async def _source(self) -> "AsyncIterator[tuple[asyncpg.Connection[Any], BackupSource]]":
        async with open_source(
            self.database,
            self.layout,
            whole_database=self.options.whole_database,
            lock_timeout=self.options.lock_timeout,
        ) as (connection, source):
            checks.same_cluster(self.entries, source.origin, allowed=self.options.new_database)
            yield connection, source

    @asynccontextmanager
    async def _plan(self, source: BackupSource) -> AsyncIterator[_Plan]:
        available = await tools.discover(self.options.pg_bin, self.preferred)
        chosen = await tools.choose(available, source.origin.server_version, source.url)
        compression = await tools.compression(chosen, self.options.compress)
        if self.options.check_space:
            checks.room(self.folder, self.entries, source)
        if not self.options.verify:
            yield _Plan(chosen, compression, None, Unprovable("verification was switched off (--no-verify)"))
            return
        self.progress.step("starting a scratch server for verification")
        others = [*available, *(await tools.discover(None, self.preferred) if self.options.pg_bin else ())]
        try:
            async with open_scratch(
                others,
                _needs(source),
                dumped_with=chosen.major,
                into=self.options.verify_into,
                room=3 * source.bytes,
                fallback=self.folder,
                seconds=self.options.verify_timeout,
            ) as server:
                yield _Plan(chosen, compression, server, None)
        except Unprovable as unprovable:
            yield _Plan(chosen, compression, None, unprovable)

    def _complete_ledger(self, source: BackupSource) -> None:
        """Add erasures of the schema that are missing in the folder's list, because older backups lack them."""
        try:
            complete_ledger_file(self.folder, source.erasures)
        except FileError as error:
            self.progress.warn(
                f"the list of erasures in the folder is incomplete, so a restore could restore erased people:"
                f" {error.message}; {error.hint}, then run junkie backup again"
            )

    def _warn_before_dump(self, source: BackupSource, plan: _Plan, reported_once: str) -> None:
        """Print warnings before the dump. Raises BackupError if verification is required and impossible."""
        if reported_once:
            self.progress.note(reported_once)
        if warning := tools.mismatch(plan.tools, source.origin.server_version):
            self.progress.warn(warning)
        old, already_reported = checks.old_releases(
            self.entries, source, plan.tools, plan.scratch, embedded=self.database.embedded
        )
        for text in old:
            (self.progress.note if already_reported else self.progress.warn)(text)
        if source.left_out:
            self.progress.note(
                f"not in this backup: {_some(source.left_out)} (outside schema {self.layout.schema};"
                " --whole-database includes them)"
            )
        if source.outside.objects:
            self.progress.note(
                f"schema {self.layout.schema} references {_some(source.outside.objects)}: a restore needs them there;"
                " --whole-database includes them"
            )
        if not plan.unprovable:
            return
        if self.options.require_verified:
            raise BackupError(
                f"this backup cannot be verified: {plan.unprovable}",
                hint="use another server: --verify-into URL; or leave out --require-verified",
                code="backup_unprovable",
            )
        tell = self.progress.warn if self.options.verify else self.progress.note
        tell(f"this backup will be unverified: {plan.unprovable}")

    async def _dump(
        self, connection: "asyncpg.Connection[Any]", source: BackupSource, plan: _Plan, partial: Path
    ) -> tuple[TableContent, ...]:
        hashing = asyncio.create_task(self._hash(connection, source))
        dumping = asyncio.create_task(self._run_pg_dump(source, plan, partial))
        try:
            await asyncio.wait({hashing, dumping}, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            hashing.cancel()
            dumping.cancel()
            ended = await asyncio.gather(dumping, hashing, return_exceptions=True)
        for failure in sorted(ended, key=_clarity):
            if isinstance(failure, BaseException):
                raise failure
        return hashing.result()

    async def _hash(self, connection: "asyncpg.Connection[Any]", source: BackupSource) -> tuple[TableContent, ...]:
        """Count and hash in the snapshot; detect a dead connection."""
        with translate_errors(source.url):
            async with asyncio.timeout(self.options.stall_timeout + source.bytes / _FLOOR):
                return await count_and_hash(connection, source, self.progress)

    async def _run_pg_dump(self, source: BackupSource, plan: _Plan, partial: Path) -> None:
        arguments: list[str | Path] = [plan.tools.pg_dump, "-Fc", "-Z", plan.compression.argument, "-f", partial, "-w"]
        arguments += ["--no-sync", f"--snapshot={source.snapshot}"]
        # A client_encoding set for the role or the database can lack characters of the rows.
        arguments += [f"--encoding={source.origin.encoding}"]
        for table in source.tables:
            if not table.data:
                arguments += [f"--exclude-table-data={_pattern(table.schema)}.{_pattern(table.table)}"]
        arguments += [f"--lock-wait-timeout={int(self.options.lock_timeout * 1000)}"]
        if not self.options.whole_database:
            arguments += ["-n", _pattern(self.layout.schema), "--strict-names"]
            arguments += ["-e", "*"] if source.extensions and plan.tools.major >= 14 else []

        def written() -> int:
            size = partial.stat().st_size
            self.progress.step(f"dumping {self.database.label}: {formatting.size(size)} written")
            return size

        ended = await process.run(
            [*arguments, "-d", process.connection_option(source.url)],
            env=process.environment(source.url),
            lock=self.lock,
            watch=process.Watch(stall=self.options.stall_timeout, progress=written),
        )
        if ended.exit_code != 0:
            raise checks.dump_failure(ended, partial, source)

    async def _examine(
        self, final: Path, source: BackupSource, plan: _Plan, tables: tuple[TableContent, ...], started_at: datetime
    ) -> Manifest:
        partial = files.partial_of(final)
        files.sync_file(partial)
        contents = await script.list_contents(partial, plan.tools, encoding=source.origin.encoding)
        proof.check_missing_data(contents, tables)
        self.progress.step(f"reading the file ({formatting.size(partial.stat().st_size)})")
        digest = await files.sha256(partial, self.progress)
        info = partial.stat()
        manifest = Manifest(
            file=final.name,
            bytes=info.st_size,
            sha256=digest,
            modified_ns=info.st_mtime_ns,
            started_at=started_at,
            seconds=0,
            origin=source.origin,
            pg_dump_version=plan.tools.version,
            compression=plan.compression.label,
            junkie_version=__version__,
            tables=tables,
            extensions=source.extensions,
            collations=source.collations,
            roles=source.roles,
            access=source.access.entries(),
            left_out=source.left_out,
            outside=source.outside,
            reason=self.options.reason,
            keep=self.options.keep,
            unverified_because=plan.unprovable.reason if plan.unprovable else "",
        )
        names.check(contents, manifest)
        return manifest

    async def _prove(self, partial: Path, manifest: Manifest, plan: _Plan, needs: Needs) -> Manifest:
        if plan.scratch is None:
            return manifest
        self.progress.step(f"restoring into a scratch PostgreSQL {plan.scratch.version}")
        try:
            await proof.prove(plan.scratch, partial, needs, manifest.tables, lock=self.lock, progress=self.progress)
        except Unprovable as unprovable:
            self.progress.warn(f"this backup is unverified: {unprovable}")
            return replace(manifest, unverified_because=unprovable.reason)
        if await files.sha256(partial) != manifest.sha256:
            raise BackupError("the file changed during verification", hint="check the disk", code="backup_damaged")
        return manifest.proven(at=datetime.now(UTC), by=plan.scratch.version)


def _clarity(ended: object) -> int:
    """Return a sort key for failures of pg_dump and of hashing: the clearest first, because both can fail."""
    kinds = (DatabaseError, BackupError, asyncio.CancelledError)
    return next((number for number, kind in enumerate(kinds) if isinstance(ended, kind)), len(kinds))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _needs(source: BackupSource) -> Needs:
    return Needs(source.origin, source.extensions, source.collations, source.roles, source.outside)


def _pattern(schema: str) -> str:
    """Return a pattern for pg_dump that matches only this schema."""
    return '"' + schema.replace('"', '""') + '"'
