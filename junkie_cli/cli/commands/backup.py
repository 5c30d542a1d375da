"""`junkie backup`: back up, list, verify and prune."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from junkie_cli.cli.url_option import parse_url
from junkie_cli.core import formatting
from junkie_cli.core.errors import NotFoundError, UsageError
from junkie_cli.core.formatting import plural
from junkie_cli.terminal import completion
from junkie_cli.terminal.invocation import JsonOption, invocation
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

FolderOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="DIR|FILE", help="Write to this folder or file instead of JUNKIE_BACKUP_DIR."
    ),
]
DirOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="DIR", help="Use this folder instead of JUNKIE_BACKUP_DIR.")
]
KeepLast = Annotated[int, typer.Option("--keep-last", min=0, metavar="N", help="Keep the N newest backups.")]
KeepDaily = Annotated[
    int, typer.Option("--keep-daily", min=0, metavar="N", help="Keep the newest backup of each of the last N days.")
]
KeepWeekly = Annotated[
    int, typer.Option("--keep-weekly", min=0, metavar="N", help="Keep the newest backup of each of the last N weeks.")
]
KeepMonthly = Annotated[
    int, typer.Option("--keep-monthly", min=0, metavar="N", help="Keep the newest backup of each of the last N months.")
]
PgBinOption = Annotated[
    Path | None, typer.Option("--pg-bin", metavar="DIR", help="Folder that contains pg_dump, pg_restore and psql.")
]
VerifyIntoOption = Annotated[
    str | None, typer.Option("--verify-into", metavar="URL", help="Verify on this server instead of a temporary one.")
]
VerifyTimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--verify-timeout",
        min=1,
        metavar="S",
        help="Stop the verification after S seconds (default: depends on the size).",
    ),
]
TrustOwnerOption = Annotated[
    bool, typer.Option("--trust-owner", help="Accept a folder whose files other users could change.")
]
WaitLockOption = Annotated[
    float, typer.Option("--wait-lock", min=0, metavar="S", help="Wait up to S seconds for another run to end.")
]

_EXAMPLE = "Example: junkie backup --keep-daily 7 --keep-weekly 4 --keep-monthly 6"


@app.callback(invoke_without_command=True, epilog=_EXAMPLE)
def backup(
    context: typer.Context,
    output: FolderOption = None,
    keep_last: KeepLast = 0,
    keep_daily: KeepDaily = 0,
    keep_weekly: KeepWeekly = 0,
    keep_monthly: KeepMonthly = 0,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Do not verify the backup by restoring it.")] = False,
    require_verified: Annotated[
        bool, typer.Option("--require-verified", help="Fail if the backup cannot be verified here.")
    ] = False,
    verify_into: VerifyIntoOption = None,
    verify_timeout: VerifyTimeoutOption = None,
    compress: Annotated[
        str | None, typer.Option("--compress", metavar="METHOD", help="zstd:3, gzip:6, lz4, none (default: zstd:3).")
    ] = None,
    pg_bin: PgBinOption = None,
    wait_lock: WaitLockOption = 0,
    lock_wait_timeout: Annotated[
        float,
        typer.Option("--lock-wait-timeout", min=0.1, metavar="S", help="Fail if a table stays locked for S seconds."),
    ] = 60,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, metavar="S", help="Abort pg_dump after S seconds without progress.")
    ] = 600,
    allow_shrink: Annotated[
        bool, typer.Option("--allow-shrink", help="Accept a backup with less than half of the previous rows.")
    ] = False,
    new_database: Annotated[
        bool, typer.Option("--new-database", help="Accept a folder that contains backups of another server.")
    ] = False,
    whole_database: Annotated[
        bool, typer.Option("--whole-database", help="Back up all schemas, including the bot's own tables.")
    ] = False,
    no_space_check: Annotated[
        bool, typer.Option("--no-space-check", help="Do not check for free space first.")
    ] = False,
    trust_owner: TrustOwnerOption = False,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Allow the embedded database when not run from a terminal.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Back up the database, verify the backup by restoring it, and delete old backups by the given rules."""
    if context.invoked_subcommand:
        return None
    from junkie_cli.core.backup.dump import BackupOptions
    from junkie_cli.core.backup.retention import Policy

    if no_verify and (require_verified or verify_into):
        raise UsageError("--no-verify excludes --require-verified and --verify-into", hint="leave one of them out")
    options = BackupOptions(
        target=output,
        keep=Policy(keep_last, keep_daily, keep_weekly, keep_monthly),
        verify=not no_verify,
        require_verified=require_verified,
        verify_into=parse_url("--verify-into", verify_into) if verify_into is not None else None,
        verify_timeout=verify_timeout,
        compress=compress,
        pg_bin=_absolute(pg_bin),
        wait_lock=wait_lock,
        lock_timeout=lock_wait_timeout,
        stall_timeout=timeout,
        allow_shrink=allow_shrink,
        new_database=new_database,
        whole_database=whole_database,
        check_space=not no_space_check,
        trust_owner=trust_owner,
    )
    _ask_to_close(options)
    with progress_of("backing up") as progress:
        result = invocation().run(_make(options, progress, embedded=embedded))
    return print_json(_document(result)) if as_json else _print_summary(result)


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


def _absolute(path: Path | None) -> Path | None:
    return path.absolute() if path else None


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
            pg_bin=_absolute(pg_bin),
            preferred=invocation().settings().pg_bin,
            into=parse_url("--verify-into", verify_into) if verify_into is not None else None,
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
def prune(
    keep_last: KeepLast = 0,
    keep_daily: KeepDaily = 0,
    keep_weekly: KeepWeekly = 0,
    keep_monthly: KeepMonthly = 0,
    output: DirOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted, and why.")] = False,
    wait_lock: WaitLockOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Delete backups that no rule keeps. The newest verified backup is always kept."""
    from junkie_cli.core.backup import prune as pruning
    from junkie_cli.core.backup.retention import Policy

    policy = Policy(keep_last, keep_daily, keep_weekly, keep_monthly)
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
