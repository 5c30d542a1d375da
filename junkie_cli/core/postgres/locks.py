"""Advisory locks of this program. They belong to a transaction, so that they survive a pooler in transaction mode.

Each kind has a number of its own, and a text that says what is locked. Other versions of this program that run at the
same time take the same locks: numbers and texts stay as they are.
"""


def _lock(number: int, text: str = "$1", function: str = "pg_advisory_xact_lock") -> str:
    return f"SELECT {function}(hashtextextended({text}, {number}))"


LOCK_TABLES = _lock(7316, "'junkie tables ' || $1")
"""Creating or changing our tables in a schema; takes the schema's name."""

LOCK_SHARED = _lock(7317, function="pg_advisory_xact_lock_shared")
LOCK_ALONE = _lock(7317)
"""Writing rows of a user, and erasing or clearing them; both take `stored_text.lock_name`."""

LOCK_ROUND_TRIP = _lock(7318)
TRY_ROUND_TRIP = _lock(7318, function="pg_try_advisory_xact_lock")
"""A round trip of `doctor --deep`; both take the id of its user."""

LOCK_MOVING = _lock(7319, "'junkie memories ' || $1")
"""Changing many memories at once (import, undo); takes the schema's name."""
