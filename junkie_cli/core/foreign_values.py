"""Reads values written by other programs: JSON of any form, times in any unit. No value raises an error.

Agno writes epoch seconds and JSON of one form; other programs can write anything that the columns accept. Values with a
clear meaning (milliseconds, ISO-8601) are converted; for others the result is None, or the stored text. doctor's check
`memory.rows` lists such rows.
"""

import json
import re
from datetime import UTC, datetime
from math import isfinite
from typing import Any

FIRST_BEYOND = 10**11
"""The first number that is not epoch seconds (in the year 5138): larger ones are milliseconds, microseconds or
nanoseconds, each with three more digits."""

_UNITS = tuple((FIRST_BEYOND * 10**zeros - 1, 10**zeros) for zeros in (0, 3, 6, 9))
REPLACED = "\ufffd"
"""The replacement for unreadable characters."""

_HALF = re.compile("[\ud800-\udfff]")
DEEPEST = 100
"""Maximum depth of a document: deeper ones would exceed the recursion limit when printed."""

_LONGEST_NUMBER = 400  # digits; Python refuses numbers of more than 4,300


# --- JSON -------------------------------------------------------------------------------------------------------------


def document(text: str | None, *, unreadable: Any = None) -> Any:
    """Parse a stored JSON document; None for NULL, `unreadable` if it cannot be parsed.

    Numbers that Python cannot represent stay text.
    """
    if text is None:
        return None
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return unreadable
    brackets = text.count("[") + text.count("{")
    return unreadable if brackets > DEEPEST and _depth(value) > DEEPEST else value


def objects(text: str | None) -> dict[str, Any]:
    """Parse a stored JSON object; anything else becomes an empty one."""
    value = document(text)
    return value if isinstance(value, dict) else {}


def as_text(value: Any) -> str:
    """Convert a JSON value for people: text unchanged, None as "", others as JSON; see `marked`."""
    return marked(value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False))


def marked(text: str) -> str:
    """Return `text` with U+FFFD for surrogates and bytes that are not UTF-8."""
    return text if text.isascii() else _HALF.sub(REPLACED, text)


def is_text(text: str) -> bool:
    """Whether `marked` leaves `text` as it is."""
    return text.isascii() or _HALF.search(text) is None


def _whole(digits: str) -> int | str:
    return int(digits) if len(digits) <= _LONGEST_NUMBER else digits


def _real(digits: str) -> float | str:
    number = float(digits)
    return number if isfinite(number) else digits


_DECODER = json.JSONDecoder(parse_int=_whole, parse_float=_real)


def _depth(value: Any) -> int:
    """Return the depth of lists and objects, up to the limit."""
    deepest, open_ = 0, [(value, 0)]
    while open_ and deepest <= DEEPEST:
        item, depth = open_.pop()
        if isinstance(item, dict | list):
            deepest = max(deepest, depth + 1)
            open_ += [(inner, depth + 1) for inner in (item.values() if isinstance(item, dict) else item)]
    return deepest


# --- times ------------------------------------------------------------------------------------------------------------


def in_seconds(number: float) -> int | None:
    """Convert a number in seconds, milli-, micro- or nanoseconds to epoch seconds; None if it is too large."""
    for largest, factor in _UNITS:
        if -largest <= number <= largest:
            return int(number / factor) if isinstance(number, float) else _divided(number, factor)
    return None


def _divided(number: int, factor: int) -> int:
    """Divide towards zero, as PostgreSQL does."""
    return -(-number // factor) if number < 0 else number // factor


def seconds_of(value: Any) -> int | None:
    """Convert any JSON value to epoch seconds: a number in any unit, also as text, or ISO-8601 (default zone: UTC)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return in_seconds(value)
    if not isinstance(value, str):
        return None
    if re.fullmatch(_NUMBER, value, re.ASCII):
        return in_seconds(float(value) if re.search("[.eE]", value) else int(value))
    try:
        given = datetime.fromisoformat(value.strip())
        return int((given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None


def as_time(value: Any) -> datetime | None:
    """Convert a value to a time in UTC; None if it is missing or not a time."""
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    seconds = seconds_of(value)
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def scaled(column: str) -> str:
    """Return SQL that converts an integer `column` in any unit to epoch seconds; NULL if too large."""
    return f"(CASE {_cases(column)} END)"


def beyond(column: str) -> str:
    """Return SQL that is true if the integer `column` is not in epoch seconds."""
    return f"({column} NOT BETWEEN {1 - FIRST_BEYOND} AND {FIRST_BEYOND - 1})"


def seconds(text: str) -> str:
    """Return SQL equivalent to `seconds_of` for the SQL text `text` (a JSON value by ->>), a bigint; never an error.

    A day that does not exist (31 February) becomes a day of the next month.
    """
    part = "coalesce(m[{}]::int, 0)"
    zone = f"(CASE m[7] WHEN '-' THEN -1 ELSE 1 END * ({part.format(8)} * 60 + {part.format(9)}))"
    iso = (
        "timestamp '1970-01-01' + make_interval(years => m[1]::int - 1970, months => m[2]::int - 1,"
        f" days => m[3]::int - 1, hours => {part.format(4)}, mins => {part.format(5)} - {zone},"
        f" secs => {part.format(6)})"
    )
    return (
        f"(SELECT CASE WHEN v.t ~ '^{_NUMBER}$' THEN (SELECT trunc(CASE {_cases('n')} END)::bigint FROM"
        f" (SELECT v.t::numeric AS n) number) ELSE (SELECT extract(epoch FROM {iso})::bigint"
        f" FROM regexp_match(v.t, '{_ISO}') m) END FROM (SELECT {text} AS t) v)"
    )


def _cases(number: str) -> str:
    return " ".join(
        f"WHEN {number} BETWEEN {-largest} AND {largest} THEN {number}{f' / {factor}' if factor > 1 else ''}"
        for largest, factor in _UNITS
    )


# Without backslashes: servers can be configured to treat them as escapes.
_NUMBER = "[+-]?[0-9]{1,25}([.][0-9]{0,30})?([eE][+-]?[0-9]{1,2})?"
_ISO = (
    "^[[:space:]]*([0-9]{4})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    "(?:[Tt ]([01][0-9]|2[0-3]):?([0-5][0-9])(?::?([0-5][0-9]|60)(?:[.,][0-9]+)?)?)?"
    "[[:space:]]*(?:Z|z|UTC|([+-])([01][0-9]|2[0-3]):?([0-5][0-9])?)?[[:space:]]*$"
)
