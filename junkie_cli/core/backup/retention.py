"""Which backups are kept, in restic's meaning: a pure decision over times, made before anything is touched.

`keep-daily N` keeps the most recent backup of each of the last N days that have one, and so on; a backup that any
rule wants is kept. Unverified backups never take a verified one's place, and the newest verified one always stays.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Policy:
    """How many backups each rule keeps; 0 switches a rule off."""

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0

    def __bool__(self) -> bool:
        return any((self.last, self.daily, self.weekly, self.monthly))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backup that retention may judge: `key` names it, `made_at` is when its snapshot was taken (with a zone)."""

    key: str
    made_at: datetime
    verified: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a backup, and why; `reasons` is empty for one that goes."""

    key: str
    keep: bool
    reasons: tuple[str, ...]


def decide(candidates: Iterable[Candidate], policy: Policy, *, protect: str | None = None) -> list[Decision]:
    """Judge the backups of one database, newest first.

    `protect` is the key of the backup that was just made. Without a rule everything is kept. Days, weeks and months
    are those of the local time zone, as in restic.
    """
    newest_first = sorted(candidates, key=lambda candidate: (candidate.made_at, candidate.key), reverse=True)
    verified = [candidate for candidate in newest_first if candidate.verified]
    reasons: dict[str, list[str]] = {candidate.key: [] for candidate in newest_first}
    for group in (newest_first, verified):
        _apply(group, policy, reasons)
    if verified:
        reasons[verified[0].key].append("newest verified")
    if protect in reasons:
        reasons[protect].append("just made")
    if not policy:
        for found in reasons.values():
            found.append("no rule given")
    return [_decision(candidate.key, reasons[candidate.key]) for candidate in newest_first]


def _decision(key: str, reasons: Sequence[str]) -> Decision:
    unique = tuple(dict.fromkeys(reasons))
    return Decision(key, bool(unique), unique)


def _apply(newest_first: Sequence[Candidate], policy: Policy, reasons: dict[str, list[str]]) -> None:
    for candidate in newest_first[: policy.last]:
        reasons[candidate.key].append("last")
    periods: tuple[tuple[str, int, Callable[[datetime], object]], ...] = (
        ("daily", policy.daily, lambda at: at.date()),
        ("weekly", policy.weekly, lambda at: at.isocalendar()[:2]),
        ("monthly", policy.monthly, lambda at: (at.year, at.month)),
    )
    for name, count, period in periods:
        seen: set[object] = set()
        for candidate in newest_first:
            this = period(candidate.made_at.astimezone())
            if this not in seen and len(seen) < count:
                seen.add(this)
                reasons[candidate.key].append(name)
