"""Deletes old backups by the given rules: only files with a manifest, separately for each database."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from junkie_cli.core.backup import catalogue, files, lock, retention
from junkie_cli.core.backup.catalogue import CatalogueEntry
from junkie_cli.core.backup.retention import Candidate, Decision, Policy
from junkie_cli.core.value_class import frozen

Job = tuple[str, str, str, bool]


@frozen
class Verdict:
    """A backup and the decision of retention about it."""

    entry: CatalogueEntry
    decision: Decision


async def plan(folder: Path, policy: Policy) -> list[Verdict]:
    """Return what `prune` would do in `folder`, newest first; each database is judged separately."""
    return _judge(await catalogue.scan(folder), policy)


def _judge(entries: Sequence[CatalogueEntry], policy: Policy, *, protect: str | None = None) -> list[Verdict]:
    decisions: dict[str, Decision] = {}
    for group in _groups(entries):
        candidates = [_candidate(entry) for entry in group]
        decisions |= {decision.key: decision for decision in retention.decide(candidates, policy, protect=protect)}
    return [Verdict(entry, decisions.get(entry.path.name) or _left(entry)) for entry in entries]


def _groups(entries: Sequence[CatalogueEntry]) -> Iterable[list[CatalogueEntry]]:
    """Group the backups that retention judges together, newest first: those of one job; safety backups separately."""
    by_job: dict[tuple[Job, bool], list[CatalogueEntry]] = {}
    for entry in entries:  # a safety backup must not count as a nightly backup
        if entry.good and entry.manifest:
            by_job.setdefault((entry.manifest.origin.job, entry.regular), []).append(entry)
    return by_job.values()


def _candidate(entry: CatalogueEntry) -> Candidate:
    return Candidate(entry.path.name, entry.made_at, entry.status == catalogue.VERIFIED)


def _left(entry: CatalogueEntry) -> Decision:
    return Decision(entry.path.name, True, (f"{entry.status}: never removed",))


async def expiries(folder: Path) -> list[tuple[CatalogueEntry, datetime | None]]:
    """List backups, newest first, with their expiry if their job continues daily with its last rules.

    The expiry is None if no rule deletes the backup.
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
    """Delete what the policy does not keep; return the decision for each backup. Raises LockedError, BackupError."""
    async with lock.hold(folder, wait=wait, purpose="junkie backup prune"):
        files.sweep(folder)
        verdicts = await plan(folder, policy)
        for verdict in verdicts:
            if not verdict.decision.keep:
                files.remove(verdict.entry.path)
    return verdicts


async def prune_job(folder: Path, job: Job, policy: Policy, *, protect: str) -> list[Path]:
    """Prune the backups of one job after `protect` was made, under the caller's lock; return the deleted ones."""
    if not policy:
        return []
    entries = [entry for entry in await catalogue.scan(folder) if entry.manifest and entry.manifest.origin.job == job]
    gone = [verdict.entry.path for verdict in _judge(entries, policy, protect=protect) if not verdict.decision.keep]
    for path in gone:
        files.remove(path)
    return gone
