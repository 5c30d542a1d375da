"""Decides which backups to keep, with restic's semantics: a pure function of times.

`keep-daily N` keeps the most recent backup of each of the last N days that have one, and so on; a backup is kept if any
rule keeps it. Unverified backups never replace verified ones, and the newest verified one is always kept.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from junkie_cli.core.value_class import frozen


@frozen
class Policy:
    """How many backups each rule keeps; 0 switches a rule off."""

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0

    def __bool__(self) -> bool:
        return any((self.last, self.daily, self.weekly, self.monthly))


@frozen
class Candidate:
    """A backup to judge: `key` identifies it, `made_at` is the time of its snapshot (with a zone)."""

    key: str
    made_at: datetime
    verified: bool


@frozen
class Decision:
    """Whether to keep a backup, and why; `reasons` is empty for one to delete."""

    key: str
    keep: bool
    reasons: tuple[str, ...]


def decide(candidates: Iterable[Candidate], policy: Policy, *, protect: str | None = None) -> list[Decision]:
    """Judge the backups of one database, newest first.

    `protect` is the key of the new backup. Without a rule everything is kept. Days, weeks and months
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


_HORIZON_DAYS = 3_700  # ten years: later expiry dates are not meaningful


def expiries(candidates: Sequence[Candidate], policy: Policy, *, now: datetime) -> dict[str, datetime | None]:
    """Return when each backup expires if a verified one follows each day; None: never, or after ten years.

    A backup that is not kept on some day is not kept later either, so the day is found by bisection.
    """
    if not policy:
        return {candidate.key: None for candidate in candidates}
    days = min(policy.last + policy.daily + 7 * (policy.weekly + 1) + 31 * (policy.monthly + 1), _HORIZON_DAYS)
    future = [Candidate(f"{day}", now + timedelta(days=day), True) for day in range(1, days + 1)]
    kept: dict[int, frozenset[str]] = {}

    def keeps(day: int, key: str) -> bool:
        if day not in kept:
            decisions = decide([*candidates, *future[:day]], policy)
            kept[day] = frozenset(decision.key for decision in decisions if decision.keep)
        return key in kept[day]

    found: dict[str, datetime | None] = {}
    for candidate in candidates:
        low, high = 0, days
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if keeps(middle, candidate.key) else (low, middle)
        found[candidate.key] = None if keeps(low, candidate.key) else now + timedelta(days=low)
    return found


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
