"""Parses points in time: ISO dates and times, epoch seconds, `2d`, `12h`, `yesterday`."""

import re
from datetime import UTC, datetime, timedelta

from junkie_cli.core.errors import UsageError
from junkie_cli.core.foreign_values import seconds_of

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_HINT = "for example 2026-01-31, 2026-01-31T18:30, 2d, 12h or yesterday"


def since(text: str, *, now: datetime | None = None) -> int:
    """Return the first epoch second of `text`. Raises UsageError."""
    return _covered(text, now)[0]


def until(text: str, *, now: datetime | None = None) -> int:
    """Return the last epoch second of `text`; of a day, its last second. Raises UsageError."""
    return _covered(text, now)[1]


def _covered(text: str, now: datetime | None) -> tuple[int, int]:
    """Return first and last second; the default zone is this machine's."""
    now = now or datetime.now(UTC)
    word = text.strip().lower()
    relative = re.fullmatch(r"(\d{1,9})\s*([smhdw])", word)
    try:
        if relative:
            second = int(now.timestamp()) - int(relative[1]) * _UNITS[relative[2]]
            return second, second
        if re.fullmatch(r"\d{9,19}", word):  # eight digits are an ISO-8601 date
            second = seconds_of(word) or 0
            return second, second
        if word == "now":
            return int(now.timestamp()), int(now.timestamp())
        if word in {"today", "yesterday"}:
            return _day(now.astimezone().replace(tzinfo=None) - timedelta(days=word == "yesterday"))
        given = datetime.fromisoformat(text.strip())
        if re.fullmatch(r"[\d-]+", text.strip()):
            return _day(given)
        return int(given.timestamp()), int(given.timestamp())
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"{text!r} is not a time", hint=_HINT) from None


def _day(moment: datetime) -> tuple[int, int]:
    start = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return int(start.timestamp()), int((start + timedelta(days=1)).timestamp()) - 1
