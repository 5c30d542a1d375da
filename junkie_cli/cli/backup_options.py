"""The options of `junkie backup`, in groups: each group is one parameter of a command (terminal/option_groups.py)."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from junkie_cli.cli.url_option import parse_url
from junkie_cli.core.errors import UsageError
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    from junkie_cli.core.backup.dump import BackupOptions
    from junkie_cli.core.backup.retention import Policy
    from junkie_cli.core.database_url import DatabaseUrl

FolderOption = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="DIR|FILE", help="Write to this folder or file instead of JUNKIE_BACKUP_DIR."
    ),
]
DirOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="DIR", help="Use this folder instead of JUNKIE_BACKUP_DIR.")
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


@frozen
class Retention:
    """How many backups each rule keeps."""

    keep_last: Annotated[int, typer.Option("--keep-last", min=0, metavar="N", help="Keep the N newest backups.")] = 0
    keep_daily: Annotated[
        int, typer.Option("--keep-daily", min=0, metavar="N", help="Keep the newest backup of each of the last N days.")
    ] = 0
    keep_weekly: Annotated[
        int,
        typer.Option("--keep-weekly", min=0, metavar="N", help="Keep the newest backup of each of the last N weeks."),
    ] = 0
    keep_monthly: Annotated[
        int,
        typer.Option("--keep-monthly", min=0, metavar="N", help="Keep the newest backup of each of the last N months."),
    ] = 0

    def policy(self) -> "Policy":
        """Return the rules."""
        from junkie_cli.core.backup.retention import Policy

        return Policy(self.keep_last, self.keep_daily, self.keep_weekly, self.keep_monthly)


@frozen
class Verification:
    """Whether and where the new backup is verified."""

    no_verify: Annotated[bool, typer.Option("--no-verify", help="Do not verify the backup by restoring it.")] = False
    require_verified: Annotated[
        bool, typer.Option("--require-verified", help="Fail if the backup cannot be verified here.")
    ] = False
    verify_into: VerifyIntoOption = None
    verify_timeout: VerifyTimeoutOption = None

    def check(self) -> None:
        """Raise UsageError if the options exclude each other."""
        if self.no_verify and (self.require_verified or self.verify_into):
            raise UsageError("--no-verify excludes --require-verified and --verify-into", hint="leave one of them out")


@frozen
class Dump:
    """How pg_dump runs."""

    compress: Annotated[
        str | None, typer.Option("--compress", metavar="METHOD", help="zstd:3, gzip:6, lz4, none (default: zstd:3).")
    ] = None
    pg_bin: PgBinOption = None
    wait_lock: WaitLockOption = 0
    lock_wait_timeout: Annotated[
        float,
        typer.Option("--lock-wait-timeout", min=0.1, metavar="S", help="Fail if a table stays locked for S seconds."),
    ] = 60
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, metavar="S", help="Abort pg_dump after S seconds without progress.")
    ] = 600


@frozen
class Accepted:
    """What is backed up, and what would be refused without the option."""

    allow_shrink: Annotated[
        bool, typer.Option("--allow-shrink", help="Accept a backup with less than half of the previous rows.")
    ] = False
    new_database: Annotated[
        bool, typer.Option("--new-database", help="Accept a folder that contains backups of another server.")
    ] = False
    whole_database: Annotated[
        bool, typer.Option("--whole-database", help="Back up all schemas, including the bot's own tables.")
    ] = False
    no_space_check: Annotated[bool, typer.Option("--no-space-check", help="Do not check for free space first.")] = False
    trust_owner: TrustOwnerOption = False


def backup_options(
    target: Path | None, retention: Retention, verification: Verification, dump: Dump, accepted: Accepted
) -> "BackupOptions":
    """Return what the core needs to make a backup. Raises UsageError."""
    from junkie_cli.core.backup.dump import BackupOptions

    verification.check()
    return BackupOptions(
        target=target,
        keep=retention.policy(),
        verify=not verification.no_verify,
        require_verified=verification.require_verified,
        verify_into=server_of(verification.verify_into),
        verify_timeout=verification.verify_timeout,
        compress=dump.compress,
        pg_bin=absolute(dump.pg_bin),
        wait_lock=dump.wait_lock,
        lock_timeout=dump.lock_wait_timeout,
        stall_timeout=dump.timeout,
        allow_shrink=accepted.allow_shrink,
        new_database=accepted.new_database,
        whole_database=accepted.whole_database,
        check_space=not accepted.no_space_check,
        trust_owner=accepted.trust_owner,
    )


def server_of(verify_into: str | None) -> "DatabaseUrl | None":
    """Return the server that --verify-into names. Raises UsageError."""
    return parse_url("--verify-into", verify_into) if verify_into is not None else None


def absolute(path: Path | None) -> Path | None:
    """Return the path from the root, which means the same in another folder."""
    return path.absolute() if path else None
