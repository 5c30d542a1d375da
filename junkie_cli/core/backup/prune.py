"""Removing old backups: only what a manifest here names, only of one database at a time, only by the rules given."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from junkie_cli.core.backup import catalogue, files, lock, retention
from junkie_cli.core.backup.catalogue import Entry
from junkie_cli.core.backup.retention import Candidate, Decision, Policy
from junkie_cli.core.value_class import frozen

Job = tuple[str, str, str, bool]


@frozen
class Verdict:
    """A backup and what retention says of it."""

    entry: Entry
    decision: Decision


async def plan(folder: Path, policy: Policy) -> list[Verdict]:
    """What `prune` would do in `folder`, newest first; the backups of each database are judged by themselves."""
    return _judge(await catalogue.scan(folder), policy)


def _judge(entries: Sequence[Entry], policy: Policy, *, protect: str | None = None) -> list[Verdict]:
    decisions: dict[str, Decision] = {}
    for group in _groups(entries):
        candidates = [_candidate(entry) for entry in group]
        decisions |= {decision.key: decision for decision in retention.decide(candidates, policy, protect=protect)}
    return [Verdict(entry, decisions.get(entry.path.name) or _left(entry)) for entry in entries]


def _groups(entries: Sequence[Entry]) -> Iterable[list[Entry]]:
    """Backups that retention judges together, newest first: those of one job, what restores put away by itself."""
    by_job: dict[tuple[Job, bool], list[Entry]] = {}
    for entry in entries:  # what a restore put away takes no nightly backup's place
        if entry.good and entry.manifest:
            by_job.setdefault((entry.manifest.origin.job, entry.regular), []).append(entry)
    return by_job.values()


def _candidate(entry: Entry) -> Candidate:
    return Candidate(entry.path.name, entry.made_at, entry.status == catalogue.VERIFIED)


def _left(entry: Entry) -> Decision:
    return Decision(entry.path.name, True, (f"{entry.status}: never removed",))


async def expiries(folder: Path) -> list[tuple[Entry, datetime | None]]:
    """The backups of `folder`, newest first, and when each goes if its job goes on daily by the rules it last used.

    None where no rule removes it: it stays until somebody removes it by hand.
    """
    entries = await catalogue.scan(folder)
    now = datetime.now(UTC)
    found: dict[str, datetime | None] = {}
    for group in _groups(entries):
        newest = group[0].manifest
        assert newest is not None
        found |= retention.expiries([_candidate(entry) for entry in group], newest.keep, now=now)
    return [(entry, found.get(entry.path.name)) for entry in entries]


async def prune(folder: Path, policy: Policy, *, wait: float = 0) -> list[Verdict]:
    """Remove what the policy does not keep, and say what became of each backup. Raises LockedError, BackupError."""
    async with lock.hold(folder, wait=wait, purpose="junkie backup prune"):
        files.sweep(folder)
        verdicts = await plan(folder, policy)
        for verdict in verdicts:
            if not verdict.decision.keep:
                files.remove(verdict.entry.path)
    return verdicts


async def prune_job(folder: Path, job: Job, policy: Policy, *, protect: str) -> list[Path]:
    """Prune the backups of one job after `protect` was made, under the lock that the caller holds; what went."""
    if not policy:
        return []
    entries = [entry for entry in await catalogue.scan(folder) if entry.manifest and entry.manifest.origin.job == job]
    gone = [verdict.entry.path for verdict in _judge(entries, policy, protect=protect) if not verdict.decision.keep]
    for path in gone:
        files.remove(path)
    return gone
