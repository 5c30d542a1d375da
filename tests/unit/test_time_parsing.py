"""Points in time as people give them."""

from datetime import UTC, datetime

import pytest

from junkie_cli.core.errors import UsageError
from junkie_cli.core.time_parsing import since, until

NOW = datetime(2026, 3, 10, 15, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"), [("2d", 172_800), ("12h", 43_200), ("30m", 1800), ("1w", 604_800), ("5s", 5), ("now", 0)]
)
def test_relative(text: str, seconds: int) -> None:
    assert since(text, now=NOW) == until(text, now=NOW) == int(NOW.timestamp()) - seconds


def test_a_day_is_covered_from_its_first_to_its_last_second() -> None:
    assert until("2026-01-31") - since("2026-01-31") == 86_399
    assert since("yesterday", now=NOW) + 86_400 == since("today", now=NOW)
    assert until("yesterday", now=NOW) + 1 == since("today", now=NOW)


def test_a_time_with_a_zone_is_exact() -> None:
    assert since("2026-01-31T18:30:00Z") == until("2026-01-31T18:30:00+00:00") == 1769884200


@pytest.mark.parametrize("text", ["", "soon", "2x", "2026-13-01", "-1d", "99999999999d"])
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time") as caught:
        since(text)
    assert "yesterday" in caught.value.hint


def test_epoch_seconds_and_other_units() -> None:
    for text in ("1764547200", "1764547200000", "1764547200000000"):
        assert since(text) == until(text) == 1_764_547_200
