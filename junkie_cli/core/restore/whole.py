"""Restores a complete backup: first a plan, for confirmation, then its execution."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from junkie_cli.core import embedded
from junkie_cli.core.backup import access, catalogue, names, proof, script, tools, trust
from junkie_cli.core.backup.catalogue import CatalogueEntry
from junkie_cli.core.backup.dump import BackupOptions
from junkie_cli.core.backup.manifest import GENERATIONS, Extension, Manifest, TableContent
from junkie_cli.core.backup.scratch import Unprovable, folder_with
from junkie_cli.core.backup.script import Contents
from junkie_cli.core.backup.tools import Tools, major_of
from junkie_cli.core.backup.verify import needs_of
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import BackupError, JunkieError
from junkie_cli.core.formatting import plural
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.restore import code, erasures, extensions, replication, safety, staging
from junkie_cli.core.restore.code import Code
from junkie_cli.core.restore.extensions import Inside
from junkie_cli.core.restore.target import Target, check_fit, exact_rows, look, open_target
from junkie_cli.core.schema.tables import inspect, quoted
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

    from junkie_cli.core.database import Database
    from junkie_cli.core.settings import Settings

_LIKENESS = 64 << 20  # bytes of an empty server
LOCK_TIMEOUT = 30.0
"""Seconds to wait for writers of the old schema before the swap fails."""


@frozen
class WholePlan:
    """The plan of a restore. `existing` are tables and rows of the schema to rename; `everything`: all schemas.

    `left_alone` are schemas of the backup that are not restored, because the target has its own data. `tools` read the
    file, whose contents are `contents`; `inside` are the extensions in the schema to replace; `safety` are the options
    of the backup made first. `code` is the code in the backup.
    """

    entry: CatalogueEntry
    manifest: Manifest
    target: Target
    schema: str
    tables: tuple[TableContent, ...]
    existing: tuple[tuple[str, int], ...]
    replaces: bool
    everything: bool
    left_alone: tuple[str, ...]
    warnings: tuple[str, ...]
    tools: Tools
    contents: Contents
    inside: tuple[Inside, ...]
    safety: BackupOptions
    code: tuple[Code, ...] = ()

    @property
    def only_schema(self) -> str | None:
        """Return the schema to extract from a larger backup; None if all of it is restored."""
        return None if self.everything or not self.manifest.origin.whole_database else self.schema

    @property
    def backs_up_first(self) -> bool:
        """Return whether existing data is backed up before it is replaced."""
        return self.replaces and bool(self.existing)


@frozen
class WholeResult:
    """A finished restore: its tables, the name of the old schema, and the number of people erased again."""

    path: Path
    label: str
    schema: str
    tables: tuple[tuple[str, int], ...]
    aside: str
    safety_backup: Path | None
    erased_again: int
    warnings: tuple[str, ...]


async def plan(
    path: Path,
    database: "Database",
    settings: "Settings",
    *,
    replace_data: bool,
    pg_bin: Path | None = None,
    wait_lock: float = 0,
    trust_owner: bool = False,
    progress: Progress = SILENT,
) -> WholePlan:
    """Read the complete file and check the target; change nothing.

    Raises BackupError if the file cannot be trusted or read, or conflicts with the target.
    """
    doubts = trust.check(path, trust_owner=trust_owner)
    entry = await catalogue.require_good(path, progress)
    manifest = entry.manifest
    assert manifest is not None
    schema = manifest.origin.schema
    _check_schema(manifest, settings)
    async with open_target(database) as (url, connection):
        target = await look(connection, url, database.label, schema)
        await check_fit(connection, manifest, schema)
        generation = (await inspect(connection, settings.layout.within(schema))).generation
        existing = await exact_rows(connection, schema, [name for name, _ in target.tables])
        async with connection.transaction():
            inside = await extensions.inside(connection, schema)
            published = await replication.memberships(connection, schema)
            subscribed = await replication.subscriptions(connection, schema)
    occupied = target.occupied(schema)
    if occupied and not replace_data:
        rows = sum(existing.values())
        raise BackupError(
            f"schema {schema} of {target.label} is not empty: {plural(len(existing), 'table', 'tables')},"
            f" {plural(rows, 'row', 'rows')}",
            hint="to back it up and replace it: --replace; to restore into another database: --into URL",
            code="restore_not_empty",
        )
    _check_generation(manifest, generation, occupied=occupied)
    extensions.check(inside, schema)
    chosen, contents = await _readable(entry, target, pg_bin, settings)
    everything = manifest.origin.whole_database and not target.schemas
    own = tuple(table for table in manifest.tables if everything or table.schema == schema)
    left = () if everything else tuple(sorted({table.schema for table in manifest.tables} - {schema}))
    warnings = doubts + [
        f"{name} will still use objects in the old schema: recreate it before you drop that schema"
        for name in target.outside_dependents
    ]
    warnings += replication.warnings(
        schema, published, subscribed, lambda table: names.has_table(contents, schema, table)
    )
    planned = WholePlan(
        entry,
        manifest,
        target,
        schema,
        own,
        tuple(existing.items()),
        occupied,
        everything,
        left,
        tuple(warnings),
        chosen,
        contents,
        inside,
        safety.options_for(manifest, pg_bin=pg_bin, wait_lock=wait_lock, trust_owner=trust_owner),
    )
    return await _with_code(planned)


async def plan_into_new(
    path: Path,
    settings: "Settings",
    *,
    pg_bin: Path | None = None,
    trust_owner: bool = False,
    progress: Progress = SILENT,
) -> WholePlan:
    """Plan a restore into an embedded database that does not exist yet. Raises BackupError as `plan`."""
    doubts = tuple(trust.check(path, trust_owner=trust_owner))
    entry = await catalogue.require_good(path, progress)
    manifest = entry.manifest
    assert manifest is not None
    schema = manifest.origin.schema
    _check_schema(manifest, settings)
    try:
        folder = folder_with(_LIKENESS, path.parent)
    except Unprovable as unprovable:
        raise BackupError(
            f"a temporary server to plan this cannot be started: {unprovable.reason}",
            hint="set TMPDIR to a folder with enough space",
            code="backup_no_space",
        ) from None
    programs = embedded.bin_dir(settings.pg_bin)
    async with (
        ScratchServer(folder, bin_dir=programs) as likeness,
        open_target(likeness_of(likeness)) as (_, connection),
    ):
        version = str(connection.get_settings().server_version)
        await check_fit(connection, manifest, schema)
    target = Target(
        None, f"a new embedded PostgreSQL in {settings.data_dir}", version, (), False, (), (), superuser=True
    )
    chosen, contents = await _readable(entry, target, pg_bin, settings)
    whole, options = manifest.origin.whole_database, safety.options_for(manifest)
    planned = WholePlan(
        entry, manifest, target, schema, manifest.tables, (), False, whole, (), doubts, chosen, contents, (), options
    )
    return await _with_code(planned)


async def _with_code(planned: WholePlan) -> WholePlan:
    found = await code.read(
        planned.entry.path,
        planned.contents,
        planned.tools,
        encoding=planned.manifest.origin.encoding,
        only_schema=planned.only_schema,
    )
    return replace(planned, code=found)


def likeness_of(server: ScratchServer) -> "Database":
    """Return a database on a server that is configured like the future embedded one."""
    from junkie_cli.core.database import Database

    return Database(server.url, embedded=True, label="a new embedded PostgreSQL")


async def _readable(
    entry: CatalogueEntry, target: Target, pg_bin: Path | None, settings: "Settings"
) -> tuple[Tools, Contents]:
    """Choose the tools that restore this file into `target`, and read its contents. Raises BackupError."""
    manifest = entry.manifest
    assert manifest is not None
    dumped_with = major_of(manifest.pg_dump_version)
    available = await tools.discover(pg_bin, settings.pg_bin)
    chosen = await tools.choose_for_restore(available, dumped_with, target.version, target.url)
    contents = await script.list_contents(entry.path, chosen, encoding=manifest.origin.encoding)
    names.check(contents, manifest)
    return chosen, contents


async def check(planned: WholePlan, database: "Database", settings: "Settings", *, progress: Progress = SILENT) -> None:
    """Do the checks of `restore` that `plan` has not done; change nothing. Raises as `restore`."""
    if planned.backs_up_first:
        await safety.check(database, settings, planned.safety, progress)


def _check_schema(manifest: Manifest, settings: "Settings") -> None:
    schema = manifest.origin.schema
    if schema != settings.schema:
        raise BackupError(
            f"this backup contains schema {schema}, but JUNKIE_SCHEMA is {settings.schema}",
            hint=f"set JUNKIE_SCHEMA={schema} to restore it",
            code="restore_other_schema",
        )


def _check_generation(manifest: Manifest, generation: str, *, occupied: bool) -> None:
    """Refuse to replace tables of a newer agno by those of an older one: programs that use them expect the newer."""
    before = manifest.origin.generation
    older = GENERATIONS.index(before) < GENERATIONS.index(generation)
    if occupied and older and before != "none":
        raise BackupError(
            f"the backup contains tables of agno {before}, and the database those of agno {generation}, which"
            " its bot and chat use: they would not find the columns that they expect",
            hint="restore it into an empty database (--into URL), migrate that with junkie doctor --fix"
            " schema.version, then back that up and restore it here",
            code="restore_generation",
        )


async def restore(
    planned: WholePlan, database: "Database", settings: "Settings", *, progress: Progress = SILENT
) -> WholeResult:
    """Execute the plan: a backup of existing data, the staged restore, the erasures, the swap.

    Raises BackupError or DatabaseError; the database is then unchanged.
    """
    found = staging.names(planned.schema, datetime.now(UTC))
    async with open_target(database) as (_, connection):  # kept open: an embedded server runs while it has a client
        kept = await safety.make(database, settings, planned.safety, progress) if planned.backs_up_first else None
        for leftover in await staging.leftovers(connection):
            await staging.drop(connection, leftover)
        progress.step("restoring")
        await _stage(planned, found, progress)
        progress.step("renaming the restored schema into place")
        result = await _put_in_place(planned, found, database, settings)
    return replace(result, safety_backup=kept)


async def _put_in_place(
    planned: WholePlan, found: staging.Names, database: "Database", settings: "Settings"
) -> WholeResult:
    """Swap the schemas on a new connection: the first was idle during the restore."""
    async with open_target(database) as (_, connection):
        try:
            result = await _swap(connection, planned, found, settings)
        except BaseException:
            with suppress(JunkieError):
                await staging.drop(connection, found.staging)
            raise
        await _analyze(connection, planned)
        return result


async def _stage(planned: WholePlan, found: staging.Names, progress: Progress) -> None:
    needs = needs_of(planned.manifest)
    assert planned.target.url is not None
    exists, only = planned.target.schema_exists, planned.only_schema
    schemas = (
        [extension.schema for extension in needs.needed_extensions] if only else proof.schemas_of_extensions(needs)
    )
    await script.apply(
        planned.entry.path,
        _wanted(planned, needs.needed_extensions),
        tools=planned.tools,
        url=planned.target.url,
        server_major=major_of(planned.target.version),
        only_schema=only,
        before=staging.before_sql(
            found,
            exists=exists,
            create=only is not None or bool(planned.inside),
            extension_schemas=[name for name in schemas if name not in {planned.schema, "pg_catalog", "public"}],
            moved=planned.inside,
            made=needs.needed_extensions if only else (),  # entries of extensions have no schema
        ),
        after=staging.after_sql(
            found, proof.check_sql(planned.manifest.origin, planned.tables), exists=exists, moved=planned.inside
        ),
        progress=progress,
    )


def _wanted(planned: WholePlan, needed: Sequence[Extension]) -> Contents:
    """Return the entries to restore, without the schema itself if its extensions need it before them."""
    contents = planned.contents.without(script.unwanted_extensions([extension.name for extension in needed]))
    if not planned.inside:
        return contents
    made = contents.schema_entries({planned.schema})
    return contents.without(lambda entry: entry in made)


async def _swap(
    connection: "asyncpg.Connection[Any]", planned: WholePlan, found: staging.Names, settings: "Settings"
) -> WholeResult:
    """Run the transaction that others see: apply erasures, rename the old schema, rename the new one into place."""
    recorded = access.Access.from_entries(planned.manifest.access)
    async with connection.transaction():
        await staging.lock_out_writers(connection, found.schema, LOCK_TIMEOUT)
        still = await look(connection, None, planned.target.label, found.schema)
        if still.occupied(found.schema) and not planned.replaces:
            raise BackupError(
                f"another program wrote to schema {found.schema} in the meantime; nothing was changed",
                hint="check its contents, and use --replace if they can be replaced",
                code="restore_not_empty",
            )
        erased = await erasures.apply(connection, found, planned.entry.path, settings)
        own = [table for table in planned.tables if table.schema == found.schema]
        counted = await staging.count(connection, found.staging, own)
        _check_counts(own, counted, erased)
        await connection.execute("SET LOCAL search_path = pg_catalog")  # as when the names in the backup were read
        live = await access.read(connection, found.schema)
        published = await replication.memberships(connection, found.schema)
        await staging.put_in_place(connection, found, keep_old=planned.replaces)
        warnings = await replication.give(connection, published, old=found.aside, new=found.schema)
        warnings += await access.give(connection, found.schema, live.over(recorded))
    others = [(table.name, table.rows) for table in planned.tables if table.schema != found.schema]
    return WholeResult(
        planned.entry.path,
        planned.target.label,
        found.schema,
        tuple(counted + others),
        found.aside if planned.replaces else "",
        None,
        erased,
        (*planned.warnings, *warnings),
    )


def _check_counts(wanted: Sequence[TableContent], counted: Sequence[tuple[str, int]], erased: int) -> None:
    """Compare the staged tables with the manifest before the swap; only erasures can have removed rows."""
    for table, (_, rows) in zip(wanted, counted, strict=True):
        if rows != table.rows and not erased:
            raise BackupError(
                f"{table.name} has {plural(rows, 'row', 'rows')} after the restore instead of {table.rows};"
                " nothing was changed",
                hint="try again; if it happens again, verify the backup: junkie backup verify FILE",
                code="backup_differs",
            )


async def _analyze(connection: "asyncpg.Connection[Any]", planned: WholePlan) -> None:
    """Update the planner's statistics; errors are ignored."""
    import asyncpg

    for table in planned.tables:
        try:
            await connection.execute(f"ANALYZE {quoted(table.schema)}.{quoted(table.table)}")
        except asyncpg.PostgresError:
            return
