"""Small tools for our own SQL: named parameters, conditions, keyset cursors, text in LIKE, counts of rows."""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from junkie_cli.core.errors import DatabaseError, UsageError
from junkie_cli.core.formatting import plural

EPOCH_NOW = "extract(epoch FROM now())::bigint"
"""SQL for the time of the transaction in whole seconds, as agno stores it."""

# Literals, quoted names and casts first: a colon in them is no parameter.
_NAMED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|::|:([a-z_][a-z_0-9]*)""")


def bind(sql: str, **values: Any) -> tuple[Any, ...]:
    """`sql` with its `:name` parameters numbered as PostgreSQL needs them, followed by their values.

    `await connection.fetch(*bind("SELECT ... WHERE user_id = :user_id", user_id=user_id))`

    A name may occur more than once, and may need a cast (`:name::text`) as `$1` does. Values whose name does not occur
    are not sent, so that a statement can be put together from parts. Raises KeyError for a name without a value. SQL
    with slices of arrays (`a[1:n]`), E'' or $$ strings does not fit in here.
    """
    text, names = _numbered(sql)
    return text, *(values[name] for name in names)


@lru_cache(maxsize=256)
def _numbered(sql: str) -> tuple[str, tuple[str, ...]]:
    """The statement with numbers for names, and the names in the order of their numbers."""
    numbers: dict[str, int] = {}

    def numbered(found: re.Match[str]) -> str:
        name = found[1]
        return f"${numbers.setdefault(name, len(numbers) + 1)}" if name else found[0]

    return _NAMED.sub(numbered, sql), tuple(numbers)


class Where:
    """Conditions joined by AND, with numbered arguments: `add("a = {}", 1)`."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments: list[Any] = list(arguments)
        self._conditions: list[str] = []

    def add(self, condition: str, *values: Any) -> "Where":
        """Add a condition; each `{}` is replaced by the placeholder of the next of `values`."""
        first, *rest = condition.split("{}")
        parts = [self.argument(value) + part for value, part in zip(values, rest, strict=True)]
        self._conditions.append(first + "".join(parts))
        return self

    def argument(self, value: Any) -> str:
        """Add an argument and return its placeholder."""
        self.arguments.append(value)
        return f"${len(self.arguments)}"

    def owned_by(self, column: str, user_id: str | None) -> "Where":
        """Restrict to rows of one user; None: all rows, the empty id: rows without an owner (NULL or empty)."""
        if user_id is None:
            return self
        if not user_id:
            return self.add(f"({column} IS NULL OR {column} = '')")
        return self.add(f"{column} = {{}}", user_id)

    @property
    def sql(self) -> str:
        """Return the conditions as SQL, `true` if there are none."""
        return " AND ".join(f"({condition})" for condition in self._conditions) or "true"


def encode_cursor(values: Sequence[Any]) -> str:
    """Encode the sort values of the last row as an opaque cursor."""
    text = json.dumps(list(values), separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *kinds: type) -> list[Any]:
    """Decode the sort values of a cursor, each None or of its kind. Raises UsageError for an invalid one."""
    try:
        values = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, Base64Error):
        values = None
    fits = isinstance(values, list) and len(values) == len(kinds)
    if not fits or not all(value is None or type(value) is kind for value, kind in zip(values, kinds, strict=True)):
        raise UsageError("invalid cursor for this list", hint="use the `next` value of the previous page for --after")
    return list(values)


def like(text: str) -> str:
    """Return a pattern for LIKE and ILIKE that finds `text` anywhere, with `%`, `_` and backslashes escaped."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def count_of(status: str) -> int:
    """Return the number of rows in a command tag such as `DELETE 3`."""
    return int(status.rpartition(" ")[2])


def kept_from_changing(count: int) -> DatabaseError:
    """Return the error if the server silently changed `count` rows fewer than expected."""
    return DatabaseError(
        f"a trigger or a rule prevented the change of {plural(count, 'row', 'rows')}; nothing was changed",
        hint="to list them: SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE NOT tgisinternal; SELECT * FROM"
        " pg_rules; if another program writes the same rows, run this again",
        code="database_trigger",
    )


def require_all_changed(done: int, wanted: int) -> None:
    """Raise DatabaseError if fewer rows were changed than expected."""
    if done < wanted:
        raise kept_from_changing(wanted - done)


def sha256_of(text: str) -> str:
    """Return SQL for the hexadecimal sha256 of `text` as UTF-8, or of its bytes in a database without an encoding."""
    encoding = "CASE getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END"
    return f"encode(sha256(convert_to({text}, {encoding})), 'hex')"
