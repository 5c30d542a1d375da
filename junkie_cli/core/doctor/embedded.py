"""Checks of the embedded PostgreSQL: the major version of its data, and of the programs that run them."""

import asyncio
import shlex
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING

from junkie_cli.core.doctor.context import Context
from junkie_cli.core.doctor.model import Check, Finding, Fix, failed, ok, unknown, warning
from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.postgres.releases import LAST_RELEASES
from junkie_cli.core.progress import Progress

if TYPE_CHECKING:
    from junkie_cli.core.embedded.installations import Installation

ID = "embedded.major"


async def _major(context: Context) -> Finding:
    from junkie_cli.core import embedded
    from junkie_cli.core.embedded.installations import installations
    from junkie_cli.core.embedded.migration import data_major

    settings = context.settings
    if settings.postgres_url is not None:
        return ok("POSTGRES_URL is set: the embedded PostgreSQL is not used")
    if not embedded.exists(settings.data_dir):
        return ok("there is no embedded database yet")
    major = data_major(settings.data_dir)
    if major is None:
        return unknown(f"{settings.data_dir}/data/PG_VERSION cannot be read", "run as the owner of that folder")
    try:
        found = await asyncio.to_thread(installations, settings.pg_bin)
    except DatabaseError as error:
        return failed(error.message, error.hint)
    return judge(major, found, datetime.fromtimestamp(context.clock(), UTC).date())


def judge(major: int, found: "Sequence[Installation]", today: date) -> Finding:
    """What to say of data of version `major` with the programs `found`, the one for new data first."""
    runs = next((one for one in found if one.major == major), None)
    if runs is None:
        there = ", ".join(map(str, found))
        return failed(
            f"the data were written by PostgreSQL {major}, and there is no program of that version here (only {there})",
            f"install PostgreSQL {major} (Debian, Ubuntu: postgresql-{major}; macOS: brew install postgresql@{major}),"
            " or name its programs with JUNKIE_PG_BIN",
        )
    newer = found[0]
    if newer.major <= major:
        return ok(f"the data are of PostgreSQL {major}, run by {runs}")
    fix = _fix(runs, newer)
    reason = _reason(major, runs, newer, today)
    if not reason:
        can = f"; junkie doctor --fix {ID} moves them to PostgreSQL {newer.major}"
        return replace(ok(f"the data are of PostgreSQL {major}, run by {runs}{can}"), fixes=(fix,))
    return warning(
        f"the data are of PostgreSQL {major}, {reason}",
        f"junkie doctor --fix {ID} moves them to {newer}",
        fixes=[fix],
    )


def _reason(major: int, runs: "Installation", newer: "Installation", today: date) -> str:
    """Why the data should be moved; empty when they may stay."""
    from junkie_cli.core.embedded.installations import NAMED

    ended = LAST_RELEASES.get(major)
    if ended is not None and ended < today:
        return f"whose last release was on {ended}"
    if newer.source == NAMED:
        return f"and {NAMED} names PostgreSQL {newer.major}"
    if runs.faults and not newer.faults:
        return f"and the newest of that version here, {runs}, has {', '.join(runs.faults)}"
    return ""


def _fix(runs: "Installation", newer: "Installation") -> Fix:
    what = (
        f"stop the embedded PostgreSQL {runs.version}; whoever uses it is cut off, and new commands wait",
        "make and prove a backup of all of its database",
        f"restore it into a new data folder of {newer}",
        f"put that in the place of the old one, which is kept as data-of-postgresql-{runs.major}",
    )
    return Fix(ID, what, partial(_move, runs, newer), severe=True, caution="The old data folder is kept.")


async def _move(runs: "Installation", newer: "Installation", context: Context, progress: Progress) -> str:
    from junkie_cli.core.restore.major import move_to

    moved = await move_to(context.settings, runs, newer, progress)
    folder = context.settings.data_dir
    undo = f"cd {shlex.quote(str(folder))} && mv data data-of-postgresql-{newer.major} && mv {moved.kept.name} data"
    problem = f"; the first backup of the new server failed: {moved.problem}" if moved.problem else ""
    return (
        f"the old data are kept in {moved.kept}, the backup from before the migration is {moved.backup}{problem};"
        f" to undo it while no junkie runs: {undo}; when all is well: rm -r {shlex.quote(str(moved.kept))}"
    )


CHECKS = (
    Check(
        ID,
        "The version of the embedded data",
        _major,
        ("settings.values",),
        ("database.reachable",),
        ("JUNKIE_DATA_DIR", "JUNKIE_PG_BIN"),
        limit=10,
        about="The embedded database has programs of its own major version of PostgreSQL, which is still supported",
        advice="Install the version that is named, or move the data: `junkie doctor --fix embedded.major`",
    ),
)
