"""Retention: restic's meaning, and what it must never do whatever the history looks like."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from junkie_cli.core.backup.retention import Candidate, Policy, decide, expiries

NOON = datetime(2026, 3, 15, 12, tzinfo=UTC)


def days(*ago: float, verified: bool = True) -> list[Candidate]:
    return [Candidate(f"{number:g}", NOON - timedelta(days=number), verified) for number in ago]


def kept(candidates: list[Candidate], policy: Policy, **more: str) -> list[str]:
    return [decision.key for decision in decide(candidates, policy, **more) if decision.keep]


def test_last_keeps_the_newest() -> None:
    assert kept(days(0, 1, 2, 3), Policy(last=2)) == ["0", "1"]


def test_daily_keeps_the_newest_of_each_day_that_has_one_and_counts_only_such_days() -> None:
    history = days(0, 0.1, 0.2, 9, 9.1, 30)
    assert kept(history, Policy(daily=2)) == ["0", "9"]
    assert kept(history, Policy(daily=3)) == ["0", "9", "30"]


def test_weekly_and_monthly_keep_the_newest_of_their_period() -> None:
    history = days(*range(70))
    assert kept(history, Policy(weekly=2)) == ["0", "7"]  # 15 March 2026 is a Sunday
    assert kept(history, Policy(monthly=3)) == ["0", "15", "43"]  # 15 March, 28 February, 31 January


def test_a_backup_that_any_rule_wants_is_kept_and_every_reason_is_reported() -> None:
    decisions = decide(days(0, 1, 40), Policy(last=1, daily=2, monthly=2))
    told = {decision.key: decision.reasons for decision in decisions}
    assert told == {
        "0": ("last", "daily", "monthly", "newest verified"),
        "1": ("daily",),
        "40": ("monthly",),
    }


def test_without_a_rule_nothing_goes() -> None:
    assert kept(days(*range(20)), Policy()) == [f"{n}" for n in range(20)]


def test_the_newest_verified_stays_however_many_unverified_came_after_it() -> None:
    history = days(*range(10), verified=False) + days(11, 12)
    assert "11" in kept(history, Policy(last=1))
    assert "12" not in kept(history, Policy(last=1))


def test_unverified_backups_take_no_verified_ones_place() -> None:
    history = days(0, verified=False) + days(0.1) + days(1, verified=False) + days(1.1)
    assert {"0.1", "1.1"} <= set(kept(history, Policy(daily=2)))


def test_what_was_just_made_stays_even_behind_a_clock_that_was_set_back() -> None:
    future = [Candidate("future", NOON + timedelta(days=900), True)]
    assert set(kept(future + days(0), Policy(last=1), protect="0")) == {"future", "0"}


policies = st.builds(Policy, *(st.integers(0, 5) for _ in range(4)))
histories = st.lists(st.tuples(st.floats(-400, 400, allow_nan=False), st.booleans()), max_size=40).map(
    lambda found: [Candidate(f"{n}", NOON + timedelta(days=d), v) for n, (d, v) in enumerate(found)]
)


@given(histories, policies)
def test_whatever_the_history(history: list[Candidate], policy: Policy) -> None:
    decisions = decide(history, policy)
    keep = {decision.key for decision in decisions if decision.keep}
    assert {decision.key for decision in decisions} == {candidate.key for candidate in history}
    verified = [candidate for candidate in history if candidate.verified]
    if verified:
        newest = max(verified, key=lambda candidate: (candidate.made_at, candidate.key))
        assert newest.key in keep, "the newest verified backup was let go"
    assert len(keep) >= min(len(history), policy.last)
    again = decide([candidate for candidate in history if candidate.key in keep], policy)
    assert all(decision.keep for decision in again), "pruning twice removes more than pruning once"
    bound = 2 * (policy.last + policy.daily + policy.weekly + policy.monthly) + 1
    assert not policy or len(keep) <= bound


def test_when_backups_go_if_the_job_goes_on_daily() -> None:
    now = datetime(2026, 3, 10, 3, tzinfo=UTC)
    nightly = [Candidate(f"b{age}", now - timedelta(days=age), True) for age in range(3)]
    assert expiries(nightly, Policy(daily=7), now=now) == {
        "b0": now + timedelta(days=7),
        "b1": now + timedelta(days=6),
        "b2": now + timedelta(days=5),
    }
    assert expiries(nightly[:1], Policy(last=3), now=now) == {"b0": now + timedelta(days=3)}
    assert expiries(nightly, Policy(), now=now) == dict.fromkeys(("b0", "b1", "b2"))


@given(st.lists(st.integers(0, 60), max_size=5, unique=True), st.builds(Policy, *[st.integers(0, 3)] * 4))
def test_a_backup_is_kept_until_the_day_that_was_given_and_not_on_it(ages: list[int], policy: Policy) -> None:
    now = datetime(2026, 3, 10, 3, tzinfo=UTC)
    backups = [Candidate(f"b{age}", now - timedelta(days=age), True) for age in ages]
    for key, goes in expiries(backups, policy, now=now).items():
        if goes is None:
            assert not policy
            continue
        days = (goes - now).days
        for day, kept in ((days - 1, True), (days, False)):
            following = [Candidate(f"f{n}", now + timedelta(days=n), True) for n in range(1, day + 1)]
            verdicts = {decision.key: decision.keep for decision in decide([*backups, *following], policy)}
            assert day < 0 or verdicts[key] is kept
