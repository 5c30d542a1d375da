"""Formats numbers, sizes, times and durations for people and scripts."""

from datetime import UTC, datetime

_SECONDS = (("min", 60), ("h", 3600), ("d", 86_400))
_DATED_AFTER = 30 * 86_400  # older ages are shown as a date


def number(value: float) -> str:
    """Format a number: `1,234,567`; fractions with two digits."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def plural(count: int, one: str, many: str = "") -> str:
    """`1 memory`, `2,000 memories`; `many` is `one` with an s unless named."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def size(count: int) -> str:
    """Format bytes in units of 1024, as PostgreSQL and `ls -h` do: `0 B`, `1.4 kB`, `23 MB`."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(amount) < 1023.5:
            return _three_digits(amount, unit)
        amount /= 1024
    return _three_digits(amount, "TB")


def _three_digits(amount: float, unit: str) -> str:
    if unit == "B" or abs(amount) >= 9.95:
        return f"{amount:,.0f} {unit}"
    return f"{amount:.1f} {unit}"


def exact(when: datetime) -> str:
    """Format as ISO-8601 in UTC with `Z`; a time without a zone counts as UTC."""
    return _in_utc(when).isoformat().replace("+00:00", "Z")


def local(when: datetime) -> str:
    """Format date and time in the user's time zone (`TZ`), with the name of the zone."""
    return _in_utc(when).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def ago(when: datetime, now: datetime | None = None) -> str:
    """Format a relative time: `just now`, `5 min ago`, `3 h ago`, `in 2 d`; the local date beyond thirty days."""
    seconds = ((now or datetime.now(UTC)) - _in_utc(when)).total_seconds()
    if abs(seconds) >= _DATED_AFTER:
        return _in_utc(when).astimezone().strftime("%Y-%m-%d")
    if abs(seconds) < 60:
        return "just now"
    unit, length = next((name, length) for name, length in reversed(_SECONDS) if abs(seconds) >= length)
    count = int(abs(seconds) // length)
    return f"{count} {unit} ago" if seconds > 0 else f"in {count} {unit}"


def duration(seconds: float) -> str:
    """Format a duration: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def clock(seconds: float) -> str:
    """Format a duration as on a clock: `0:05`, `12:34`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _in_utc(when: datetime) -> datetime:
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
