"""Checks of backups: whether one can be made, whether a recent one exists, and who can read them."""

import os
import shlex
import shutil
import stat
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from junkie_cli.core import embedded, formatting
from junkie_cli.core.backup import catalogue, tools, trust
from junkie_cli.core.backup.catalogue import DAMAGED, CatalogueEntry
from junkie_cli.core.doctor.context import Context
from junkie_cli.core.doctor.model import Check, Finding, Fix, failed, ok, together, warning
from junkie_cli.core.errors import BackupError
from junkie_cli.core.formatting import duration, plural
from junkie_cli.core.schema.ledger import FILE_NAME, Erasure, complete_ledger_file, missing_in_file, read_ledger
from junkie_cli.core.schema.tables import MEMORIES, RUNS, SESSIONS

OLD = 7 * 24.0
"""Hours after which the newest backup is old, without --max-backup-age."""

NEW = 24.0
"""Hours during which a new database without a backup is not reported."""

_LEAST_ROOM = 16_000_000  # bytes: even the dump of an empty database needs space for a scratch server


async def _tools(context: Context) -> Finding:
    async with context.connection() as connection, connection.transaction():
        version = await connection.fetchval("SELECT current_setting('server_version')")
    try:
        chosen = await tools.choose(await tools.discover(None, context.settings.pg_bin), version, context.database.url)
    except BackupError as error:
        return failed(error.message, error.hint)
    note = tools.mismatch(chosen, version)
    if note:
        major = tools.major_of(version)
        return warning(
            note,
            f"install postgresql-client-{major} (Debian, Ubuntu), postgresql{major} (Fedora, RHEL)",
        )
    return ok(f"pg_dump of {chosen}")


async def _age(context: Context) -> Finding:
    folder = context.settings.backup_dir
    limit = context.max_backup_age
    if limit is None and context.settings.postgres_url is None and not embedded.exists(context.settings.data_dir):
        return ok("no database exists yet")
    if not _is_readable(folder):
        return failed(f"this user cannot read {folder}", "run as its owner, or correct its permissions")
    entries = await catalogue.scan(folder)
    if not entries and limit is None and await _is_new(context):
        return ok("no backup yet, and no data older than a day; to create one: junkie backup")
    damaged = [entry for entry in entries if entry.status == DAMAGED]
    findings = [_newest(context, entries, OLD if limit is None else limit, warning if limit is None else _too_old)]
    if damaged:
        findings.append(
            warning(
                f"{damaged[0].path.name} is damaged: {damaged[0].problem}",
                f"remove it with its manifest: rm {shlex.quote(str(damaged[0].path))}*",
            )
        )
    return together(findings, findings[0])


async def _is_new(context: Context) -> bool:
    """Return whether all sessions, runs and memories are younger than a day; False if that is unknown."""
    state = context.state
    if state is None or any(state.has(table) and not state.may("SELECT", table) for table in _DATED):
        return False
    tables = [table for table in _DATED if state.has_column(table, "created_at")]
    if not tables:
        return state.generation == "none"
    # The first old row ends the search; tables without one are small.
    old = " OR ".join(f"EXISTS (SELECT FROM {state.qualified(table)} WHERE created_at < $1)" for table in tables)
    async with context.connection() as connection, connection.transaction():
        return not await connection.fetchval(f"SELECT {old}", int(context.clock() - NEW * 3600))


_DATED = (MEMORIES, SESSIONS, RUNS)


def _too_old(detail: str, hint: str) -> Finding:
    return failed(detail, hint, blocks=False)


def _newest(
    context: Context, entries: list[CatalogueEntry], limit: float, tell: Callable[[str, str], Finding]
) -> Finding:
    """Compare the age of the newest verified backup with `limit` (hours)."""
    make = "junkie backup" if context.settings.postgres_url is not None else "junkie backup --embedded"
    proven = [entry for entry in entries if entry.status == catalogue.VERIFIED]
    if not proven:
        unproven = f" ({len(entries)} unverified)" if entries else ""
        return tell(f"no verified backup in {context.settings.backup_dir}{unproven}", make)
    newest = proven[0]
    seconds = (datetime.fromtimestamp(context.clock(), UTC) - newest.made_at).total_seconds()
    age = f"the newest verified backup is {duration(max(seconds, 0))} old ({newest.path.name})"
    if seconds > limit * 3600:
        return tell(f"{age}, more than {limit:g} h", f"{make}; schedule it with cron")
    return ok(age)


def _is_readable(folder: Path) -> bool:
    """Return whether its files can be listed, or the folder does not exist; False below an inaccessible folder."""
    try:
        with os.scandir(folder):
            return True
    except FileNotFoundError:
        return True
    except OSError:
        return False


async def _space(context: Context) -> Finding:
    folder = context.settings.backup_dir
    # os.path.exists() returns False below an inaccessible folder, where Path.exists() raises.
    there = next(path for path in (folder, *folder.parents) if os.path.exists(path))  # noqa: PTH110
    if not os.access(there, os.W_OK | os.X_OK):
        return failed(f"this user cannot write to {there}", f"have its owner run: chown {os.geteuid()} {there}")
    free, needed = shutil.disk_usage(there).free, await _needed(context)
    if free < needed:
        return failed(
            f"{formatting.size(free)} free in {there}, about {formatting.size(needed)} needed",
            "free some space, run junkie backup prune --keep-last 3, or set JUNKIE_BACKUP_DIR to another disk",
        )
    return ok(f"{formatting.size(free)} free in {there}, about {formatting.size(needed)} needed")


async def _needed(context: Context) -> int:
    """Return the bytes needed, as `junkie backup` does: 1.25 times the last backup, or half the size of the tables."""
    last = next((entry.bytes for entry in await catalogue.scan(context.settings.backup_dir) if entry.good), None)
    if last is not None:
        return max(_LEAST_ROOM, int(last * 1.25))
    if context.located is None:
        return _LEAST_ROOM
    async with context.connection() as connection, connection.transaction():
        size = await connection.fetchval(
            "SELECT coalesce(sum(pg_table_size(c.oid)), 0)::bigint FROM pg_class c JOIN pg_namespace n"
            " ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm') AND n.nspname = $1",
            context.settings.schema,
        )
    return max(_LEAST_ROOM, int(size) // 2)


async def _permissions(context: Context) -> Finding:
    folder = context.settings.backup_dir
    if not _is_readable(folder):
        return failed(f"this user cannot read {folder}", "run as its owner, or correct its permissions")
    if not folder.exists():
        return ok(f"{folder} will be created with access for its owner only")
    open_files = [path for path in sorted(folder.iterdir()) if _is_open(path)]
    findings = []
    if _is_open(folder):
        findings.append(_others(f"other users can access {folder}", {folder: 0o700}))
    if open_files:
        more = f" and {len(open_files) - 1} more" if len(open_files) > 1 else ""
        findings.append(
            _others(
                f"other users can read {open_files[0]}{more}", {p: 0o700 if p.is_dir() else 0o600 for p in open_files}
            )
        )
    if foreign := [path for path in (folder, *sorted(folder.iterdir())) if _is_foreign(path)]:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        findings.append(
            warning(
                f"{foreign[0]}{more} belongs to another user, who could change it",
                f"if you trust that user: chown -R {os.geteuid()} {shlex.quote(str(folder))}; else move it away",
            )
        )
    return together(findings, ok(f"only its owner can access {folder}"))


def _is_open(path: Path) -> bool:
    try:
        info = path.lstat()
    except OSError:
        return False
    return bool(stat.S_IMODE(info.st_mode) & 0o077) and (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode))


def _is_foreign(path: Path) -> bool:
    try:
        return trust.is_foreign(path.lstat())
    except OSError:
        return False


def _others(detail: str, modes: dict[Path, int]) -> Finding:
    what = tuple(f"chmod {mode:o} {shlex.quote(str(path))}" for path, mode in modes.items())
    by_hand = f"{what[0]}, or: " if len(what) == 1 else ""  # `chmod folder/*` would follow links, and close folders
    return warning(
        detail,
        f"{by_hand}junkie doctor --fix backup.permissions",
        fixes=[Fix("backup.permissions", what, partial(_tighten, modes))],
    )


async def _tighten(modes: dict[Path, int], _: Context, __: Callable[[str], None]) -> str:
    for path, mode in modes.items():
        try:
            path.chmod(mode)
        except OSError as error:
            raise BackupError(f"{path} cannot be changed: {error.strerror}", hint="have its owner do it") from None
    return ""


async def _ledger(context: Context) -> Finding:
    """Check that the list of erasures next to the backups contains every erasure in the schema."""
    folder, state = context.settings.backup_dir, context.schema
    async with context.connection() as connection:
        known = await read_ledger(connection, state)
    missing = missing_in_file(folder, known)
    if not missing:
        return ok(f"all {len(known)} erasures are in {folder / FILE_NAME}" if known else "nobody was erased")
    what = f"append {plural(len(missing), 'erasure', 'erasures')} to {folder / FILE_NAME}"
    return failed(
        f"{folder / FILE_NAME} lacks {plural(len(missing), 'erasure', 'erasures')}: a restore into another server"
        " would restore the erased people",
        "junkie doctor --fix backup.ledger; the next junkie backup does it too",
        fixes=[Fix("backup.ledger", (what,), partial(_complete_ledger, tuple(known)))],
    )


async def _complete_ledger(known: Sequence[Erasure], context: Context, _: Callable[[str], None]) -> str:
    complete_ledger_file(context.settings.backup_dir, known)
    return ""


_FOLDER = ("JUNKIE_BACKUP_DIR",)
CHECKS = (
    Check(
        "backup.tools",
        "pg_dump for this server",
        _tools,
        ("database.reachable",),
        limit=10,
        about="A `pg_dump` for the version of the server is installed",
        advice="Install the client package that is named, or add its folder to `PATH`",
    ),
    Check(
        "backup.age",
        "The newest verified backup",
        _age,
        ("settings.values",),
        ("schema.tables",),
        _FOLDER,
        limit=10,
        about="The newest verified backup is recent (checked from the second day on)",
        advice="`junkie backup`, or find out why the scheduled one failed",
    ),
    Check(
        "backup.space",
        "Space for a backup",
        _space,
        ("settings.values",),
        ("database.reachable",),
        _FOLDER,
        about="There is enough space for the next backup",
        advice="Prune old backups, or use another disk",
    ),
    Check(
        "backup.ledger",
        "Erasures, next to the backups",
        _ledger,
        ("schema.tables",),
        (),
        _FOLDER,
        about="The backup folder's list of erasures is complete",
        advice="`junkie doctor --fix backup.ledger`, or run `junkie backup`",
    ),
    Check(
        "backup.permissions",
        "Who can read the backups",
        _permissions,
        ("settings.values",),
        (),
        _FOLDER,
        about="Only you can read and change the backups",
        advice="`junkie doctor --fix backup.permissions`",
    ),
)
