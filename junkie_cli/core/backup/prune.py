"""Removing old backups: only what a manifest here names, only of one database at a time, only by the rules given."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from junkie_cli.core.backup import catalogue, files, lock
from junkie_cli.core.backup.catalogue import Entry
from junkie_cli.core.backup.retention import Candidate, Decision, Policy, decide

Job = tuple[str, str, str, bool]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A backup and what retention says of it."""

    entry: Entry
    decision: Decision


async def plan(folder: Path, policy: Policy) -> list[Verdict]:
    """What `prune` would do in `folder`, newest first; the backups of each database are judged by themselves."""
    return _judge(await catalogue.scan(folder), policy)


def _judge(entries: Sequence[Entry], policy: Policy, *, protect: str | None = None) -> list[Verdict]:
    by_job: dict[tuple[Job, bool], list[Entry]] = {}
    for entry in entries:  # what restores put away is judged by itself: it takes no nightly backup's place
        if entry.good and entry.manifest:
            by_job.setdefault((entry.manifest.origin.job, entry.regular), []).append(entry)
    decisions: dict[str, Decision] = {}
    for group in by_job.values():
        candidates = [Candidate(entry.path.name, entry.made_at, entry.status == catalogue.VERIFIED) for entry in group]
        decisions |= {decision.key: decision for decision in decide(candidates, policy, protect=protect)}
    return [Verdict(entry, decisions.get(entry.path.name) or _left(entry)) for entry in entries]


def _left(entry: Entry) -> Decision:
    return Decision(entry.path.name, True, (f"{entry.status}: never removed",))


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
