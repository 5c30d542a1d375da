"""`junkie backup`: back up, list, verify and prune."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from junkie_cli.cli.backup_options import (
    Accepted,
    DirOption,
    Dump,
    FolderOption,
    PgBinOption,
    Retention,
    TrustOwnerOption,
    Verification,
    VerifyIntoOption,
    VerifyTimeoutOption,
    WaitLockOption,
    absolute,
    backup_options,
    server_of,
)
from junkie_cli.core import formatting
from junkie_cli.core.errors import NotFoundError, UsageError
from junkie_cli.core.formatting import plural
from junkie_cli.terminal import completion
from junkie_cli.terminal.invocation import JsonOption, invocation
from junkie_cli.terminal.option_groups import with_option_groups
from junkie_cli.terminal.output import (
    Column,
    note,
    print_json,
    print_record,
    print_rows,
    require_confirmation,
    warn,
    working,
)

if TYPE_CHECKING:
    from junkie_cli.core import documents
    from junkie_cli.core.backup.catalogue import CatalogueEntry
    from junkie_cli.core.backup.dump import BackupOptions, BackupResult
    from junkie_cli.core.backup.manifest import Manifest
    from junkie_cli.core.backup.prune import Verdict
    from junkie_cli.core.progress import Progress

app = typer.Typer(name="backup", help="Create, verify, list and prune backups.")

_EXAMPLE = "Example: junkie backup --keep-daily 7 --keep-weekly 4 --keep-monthly 6"


@app.callback(invoke_without_command=True, epilog=_EXAMPLE)
@with_option_groups
def backup(
    context: typer.Context,
    *,
    output: FolderOption = None,
    retention: Retention,
    verification: Verification,
    dump: Dump,
    accepted: Accepted,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Allow the embedded database when not run from a terminal.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Back up the database, verify the backup by restoring it, and delete old backups by the given rules."""
    if context.invoked_subcommand:
        return
    options = backup_options(output, retention, verification, dump, accepted)
    _ask_to_close(options)
    with progress_of("backing up") as progress:
        result = invocation().run(_make(options, progress, embedded=embedded))
    if as_json:
        print_json(_document(result))
    else:
        _print_summary(result)


def _ask_to_close(options: "BackupOptions") -> None:
    """Offer to make the backup folder private; raise an error without a terminal."""
    from junkie_cli.core.backup import files, trust

    folder, _ = files.resolve_target(options.target, invocation().settings().backup_dir)
    if options.trust_owner or not invocation().interactive or not (trust.is_open(folder) and trust.can_close(folder)):
        return
    require_confirmation(
        f"Every user of this machine can write to {folder}. Make it accessible only to you (chmod 700)?",
        yes=False,
    )
    trust.close(folder)


async def _make(options: "BackupOptions", progress: "Progress", *, embedded: bool) -> "BackupResult":
    from junkie_cli.core.backup.dump import make_backup
    from junkie_cli.core.database import locate, require_named_database

    settings = invocation().settings()
    require_named_database(settings, embedded_option=embedded, interactive=invocation().interactive)
    database = await locate(settings, progress=progress)
    return await make_backup(database, settings, options, progress)


@contextmanager
def progress_of(title: str) -> "Iterator[Progress]":
    """Connect the core's progress, notes and warnings to this terminal; notes are shown to people only."""
    from junkie_cli.core.progress import Progress

    with working(title) as activity:
        heard = note if sys.stderr.isatty() else _ignore
        yield Progress(step=activity.say, reach=activity.reach, note=heard, warn=warn)


def _ignore(_: str) -> None:
    """Discard a note: cron mails all output."""


def _document(result: "BackupResult") -> "documents.BackupMade":
    manifest = result.manifest
    return {
        "path": str(result.path),
        "bytes": manifest.bytes,
        "sha256": manifest.sha256,
        "started_at": manifest.started_at,
        "seconds": manifest.seconds,
        "database": manifest.origin.label,
        "server_version": manifest.origin.server_version,
        "pg_dump_version": manifest.pg_dump_version,
        "compression": manifest.compression,
        "verified": manifest.verified_at is not None,
        "unverified_because": manifest.unverified_because or None,
        "tables": tables_of(manifest),
        "left_out": list(manifest.left_out),
        "pruned": [str(path) for path in result.pruned],
    }


def tables_of(manifest: "Manifest") -> "list[documents.Table]":
    """Return the tables of a backup, for JSON."""
    return [{"name": table.name, "rows": table.rows, "hash": table.hash} for table in manifest.tables]


def _print_summary(result: "BackupResult") -> None:
    """Print the summary on a terminal; logs and mails get nothing on success."""
    if not sys.stdout.isatty():
        return

    manifest = result.manifest
    proven = (
        f"restored into PostgreSQL {manifest.verified_with} and compared" if manifest.verified_at else "not verified"
    )
    print_record(
        [
            ("Backup", str(result.path), "id"),
            ("Of", manifest.origin.label),
            ("Size", f"{formatting.size(manifest.bytes)} in {manifest.seconds:.1f} s ({manifest.compression})"),
            ("Verified", proven if manifest.verified_at else f"no: {manifest.unverified_because}"),
            ("Created with", f"pg_dump {manifest.pg_dump_version}, server {manifest.origin.server_version}"),
            *([("Pruned", plural(len(result.pruned), "older backup", "older backups"))] if result.pruned else []),
        ]
    )
    print_rows(
        (
            Column("TABLE", lambda table: table.name, "id"),
            Column("ROWS", lambda table: table.rows, "number"),
            Column("CONTENT HASH", lambda table: table.hash, "id"),
        ),
        manifest.tables,
    )


def _folder(output: Path | None) -> Path:
    return (output.absolute() if output else None) or invocation().settings().backup_dir


@app.command("list", epilog="Example: junkie backup list --json")
def list_(output: DirOption = None, as_json: JsonOption = False) -> None:
    """List backups, newest first, with age, size, verification, rows, and changes since the previous one."""
    from junkie_cli.core.backup import catalogue

    entries = invocation().run(catalogue.scan(_folder(output)))
    if as_json:
        answer: documents.BackupList = {"backups": [_listed(entry) for entry in entries]}
        return print_json(answer)
    rows = list(zip(entries, [*entries[1:], None], strict=False))
    return print_rows(_LIST_COLUMNS, rows, empty=f"no backups in {_folder(output)}")


def _listed(entry: "CatalogueEntry") -> "documents.BackupEntry":
    manifest = entry.manifest
    return {
        "path": str(entry.path),
        "made_at": entry.made_at,
        "bytes": entry.bytes,
        "status": entry.status,
        "problem": entry.problem or None,
        "database": manifest.origin.label if manifest else None,
        "verified_at": manifest.verified_at if manifest else None,
        "tables": tables_of(manifest) if manifest else [],
    }


def _change(pair: "tuple[CatalogueEntry, CatalogueEntry | None]") -> str:
    """Return the rows gained and lost in each table since the previous backup."""
    this, before = pair[0].manifest, pair[1].manifest if pair[1] else None
    if this is None or before is None or this.origin.job != before.origin.job:
        return ""
    old = {table.name: table for table in before.tables}
    new = {table.name: table for table in this.tables}
    changes = []
    for name in dict.fromkeys([*new, *old]):
        difference = (new[name].rows if name in new else 0) - (old[name].rows if name in old else 0)
        if difference:
            changes.append(f"{name} {difference:+d}")
        elif name not in old or name not in new or new[name].hash != old[name].hash:
            changes.append(f"{name} edited")
    return ", ".join(changes) or "none"


_LIST_COLUMNS = (
    Column("BACKUP", lambda pair: pair[0].path.name, "id"),
    Column("MADE", lambda pair: pair[0].made_at, "time"),
    Column("SIZE", lambda pair: pair[0].bytes, "bytes"),
    Column("STATUS", lambda pair: pair[0].status, "id"),
    Column("ROWS", lambda pair: pair[0].manifest.rows if pair[0].manifest else None, "number"),
    Column("CHANGE", lambda pair: pair[0].problem if not pair[0].good else _change(pair)),
)


@app.command(epilog="Example: junkie backup verify latest")
def verify(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE|latest",
            help="A file, a name in the folder, or latest.",
            autocompletion=completion.backups,
        ),
    ],
    output: DirOption = None,
    pg_bin: PgBinOption = None,
    verify_into: VerifyIntoOption = None,
    verify_timeout: VerifyTimeoutOption = None,
    trust_owner: TrustOwnerOption = False,
    as_json: JsonOption = False,
) -> None:
    """Verify a backup: read it in full, restore it into a temporary PostgreSQL, and compare every table."""
    from junkie_cli.core.backup import catalogue
    from junkie_cli.core.backup.verify import Verified
    from junkie_cli.core.backup.verify import verify as prove

    async def run(progress: "Progress") -> "Verified":
        path = await catalogue.find(file, _folder(output))
        return await prove(
            path,
            pg_bin=absolute(pg_bin),
            preferred=invocation().settings().pg_bin,
            into=server_of(verify_into),
            seconds=verify_timeout,
            trust_owner=trust_owner,
            progress=progress,
        )

    with progress_of("verifying") as progress:
        proven = invocation().run(run(progress))
    manifest = proven.manifest
    if as_json:
        document = {"path": str(proven.path), "status": "verified", "bytes": manifest.bytes, "sha256": manifest.sha256}
        more = {"verified_at": manifest.verified_at, "recorded": proven.recorded, "tables": tables_of(manifest)}
        return print_json(document | more)
    return print_record(
        [
            ("Backup", str(proven.path), "id"),
            ("Status", "verified"),
            ("Rows", manifest.rows, "number"),
            ("Restored into", f"PostgreSQL {manifest.verified_with}"),
        ]
    )


@app.command(epilog="Example: junkie backup prune --keep-daily 7 --keep-weekly 4 --dry-run")
@with_option_groups
def prune(
    retention: Retention,
    output: DirOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted, and why.")] = False,
    wait_lock: WaitLockOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Delete backups that no rule keeps. The newest verified backup is always kept."""
    from junkie_cli.core.backup import prune as pruning

    policy = retention.policy()
    if not policy:
        raise UsageError("no rule was given; nothing was deleted", hint="for example: --keep-daily 7 --keep-weekly 4")
    folder = _folder(output)
    if not folder.is_dir():
        raise NotFoundError(f"there is no backup folder {folder}", hint="create a backup: junkie backup")
    work = pruning.plan(folder, policy) if dry_run else pruning.prune(folder, policy, wait=wait_lock)
    verdicts = invocation().run(work)
    if as_json:
        answer: documents.BackupsPruned = {"dry_run": dry_run, "backups": [_judged(verdict) for verdict in verdicts]}
        return print_json(answer)
    return print_rows(_prune_columns(dry_run=dry_run), verdicts, empty=f"no backups in {folder}")


def _judged(verdict: "Verdict") -> "documents.PruneDecision":
    kept = verdict.decision.keep
    return {"path": str(verdict.entry.path), "keep": kept, "reasons": list(verdict.decision.reasons)}


def _prune_columns(*, dry_run: bool) -> tuple[Column, ...]:
    goes = "would be deleted" if dry_run else "deleted"
    return (
        Column("BACKUP", lambda verdict: verdict.entry.path.name, "id"),
        Column("MADE", lambda verdict: verdict.entry.made_at, "time"),
        Column("STATUS", lambda verdict: verdict.entry.status, "id"),
        Column("WHAT", lambda verdict: "kept" if verdict.decision.keep else goes, "id"),
        Column("WHY", lambda verdict: ", ".join(verdict.decision.reasons) or "no rule keeps it"),
    )
