"""Pages of a list that changes while it is read: every row is returned, and none twice in the same version.

A cursor contains the sort values of the last row, so that every page costs the same. Rows written after the first page
would be missed, because they sort before the cursor. Timestamps do not identify them: agno's times are whole seconds of
the bot's clock, and an import or undo writes old ones. PostgreSQL does: each version of a row contains the transaction
that wrote it (`xmin`). So a list is read in rounds:

    first round     the versions that had been committed before the first page, in the order of the list
    next round      the versions committed since, up to the page that begins it: changed and new rows in their new form
    ...             until the new rows fit on the page; then the reader has seen everything

A version belongs to one round and never changes, so none is read twice; an unchanged row stays in the first round. The
last page scans the rows of the list once, as many as all pages before it.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from junkie_cli.core.errors import UsageError
from junkie_cli.core.postgres.sql import Where, decode_cursor, encode_cursor
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

T = TypeVar("T")

_XIDS = 1 << 32  # rows contain the lower half of a transaction id
_AHEAD = 1_000_000  # transactions that can begin while one page is read
_FEW = 100  # transactions since a moment that are searched by their ids
_SUBTRANSACTIONS = 10_000  # ids that are checked one by one: a snapshot does not list subtransactions

# Transactions from an id on that this statement can see, and named ones.
_COUNTED_UP = (
    f"SELECT (x % {_XIDS})::text::xid FROM (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next) s,"
    f" generate_series(next - ((next - {{}}::bigint) & {_XIDS - 1}), next - 1) x"
    " UNION ALL SELECT unnest({}::text[])::xid"
)


@frozen
class Snapshot:
    """A snapshot: all transactions below `next` except those in `open` are committed. Ids modulo 2^32."""

    next: int
    open: tuple[int, ...]

    def __str__(self) -> str:
        return " ".join(map(str, (self.next, *self.open)))


@frozen
class Position:
    """The position of a reader: after `key` (None: at the start) among rows written from `since` up to `until`.

    In the first round `since` is None; `now` is the snapshot of the page.
    """

    key: tuple[Any, ...] | None
    now: Snapshot
    until: Snapshot
    since: Snapshot | None = None


@frozen
class Page(Generic[T]):
    """Rows, the cursor of the next page (None on the last), and the cursor after the last row in any case.

    `late` counts rows at the end that were written after the first page was read.
    """

    rows: list[T]
    next: str | None
    here: str
    late: int


async def page(
    connection: "asyncpg.Connection[Any]",
    after: str | None,
    kinds: Sequence[type],
    limit: int,
    rows: "Callable[[Position, int], Awaitable[list[T]]]",
    key: Callable[[T], Sequence[Any]],
) -> Page[T]:
    """Return the page after the cursor `after`, whose sort values are of `kinds`.

    `rows` returns, in order, at most a number of rows after a position, restricted to its round (`written`); `key`
    returns the sort values of a row. Call it inside a transaction. Raises UsageError for an invalid cursor.
    """
    now = await _snapshot(connection)
    position = Position(None, now, now) if after is None else _decode(after, kinds, now)
    found = await rows(position, limit + 1)
    late, begun = len(found) if position.since else 0, 0  # rows of later rounds; the start of the current round
    if len(found) <= limit and position.until != now:
        position, begun = Position(None, now, now, since=position.until), len(found)
        found += await rows(position, limit + 1 - begun)
        late += len(found) - begun
    shown = found[:limit]
    if len(shown) > begun:
        position = replace(position, key=tuple(key(shown[-1])))
    here = _encode(position, len(kinds))
    return Page(shown, here if len(found) > limit else None, here, max(late - len(found) + len(shown), 0))


def written(where: Where, position: Position, table: str) -> Where:
    """Add the condition that a row of `table` (its alias) was written in the round of `position`."""
    return late(committed(where, position, table), position, table)


def committed(where: Where, position: Position, table: str) -> Where:
    """Add the half of `written` that is true for nearly every row."""
    since, arguments = _since(table, position.until, position.now)
    return where.add(f"NOT {since}", *arguments)


def late(where: Where, position: Position, table: str) -> Where:
    """Add the half of `written` that is true for few rows; none in the first round."""
    if position.since is None:
        return where
    since, arguments = _since(table, position.since, position.now)
    return where.add(since, *arguments)


def settled(where: Where, snapshot: Snapshot, now: Snapshot, table: str) -> str:
    """Return SQL that is true if a row of `table` was written before `snapshot`; add its arguments to `where`."""
    since, arguments = _since(table, snapshot, now)
    return f"NOT {since.format(*map(where.argument, arguments))}"


def _since(
    table: str, snapshot: Snapshot, now: Snapshot
) -> tuple[str, tuple[int, list[str]] | tuple[int, int, list[str]]]:
    """Return SQL and arguments for rows whose transaction began after `snapshot` or was open then.

    A transaction id in a row supports only equality without conversion to text, which takes longer than reading the
    row: so a few ids are listed. age() would prevent parallel scans.
    """
    passed = (now.next - snapshot.next) % _XIDS
    numbers = [str(number) for number in snapshot.open]
    if passed <= _FEW:
        return f"({table}.xmin = ANY(ARRAY({_COUNTED_UP})))", (snapshot.next, numbers)
    # Rows frozen long ago still contain their id, which is reused; hence the upper bound.
    distance = f"({table}.xmin::text::bigint - {{}}::bigint) & {_XIDS - 1}"
    known = f"{table}.xmin = ANY({{}}::text[]::xid[])"
    return f"({distance} BETWEEN 0 AND {{}}::bigint OR {known})", (snapshot.next, passed + _AHEAD, numbers)


async def _snapshot(connection: "asyncpg.Connection[Any]") -> Snapshot:
    """Return the current snapshot. Later reads see at least what is committed in it."""
    row = await connection.fetchrow(
        "SELECT pg_snapshot_xmax(s)::text AS next, ARRAY(SELECT x::text FROM pg_snapshot_xip(s) x UNION SELECT x::text"
        f" FROM generate_series(greatest(pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint"
        f" - {_SUBTRANSACTIONS}), pg_snapshot_xmax(s)::text::bigint - 1) x"
        " WHERE pg_xact_status(x::text::xid8) = 'in progress') AS open FROM pg_current_snapshot() s"
    )
    assert row is not None
    return Snapshot(int(row["next"]) % _XIDS, tuple(sorted(int(number) % _XIDS for number in row["open"])))


# --- cursors ----------------------------------------------------------------------------------------------------------


def _encode(position: Position, width: int) -> str:
    key = position.key or (None,) * width
    return encode_cursor([*key, str(position.until), position.since and str(position.since)])


def _decode(cursor: str, kinds: Sequence[type], now: Snapshot) -> Position:
    """Decode a cursor. An old one with sort values only belongs to the first round, up to now."""
    try:
        key = decode_cursor(cursor, *kinds)
        return Position(tuple(key), now, now)
    except UsageError:
        *key, until, since = decode_cursor(cursor, *kinds, str, str)
    at_start = all(value is None for value in key)
    since_moment = None if since is None else _moment_of(since)
    return Position(None if at_start else tuple(key), now, _moment_of(until), since_moment)


def _moment_of(text: str | None) -> Snapshot:
    numbers = (text or "").split(" ")
    if not all(re.fullmatch("[0-9]{1,10}", number) for number in numbers):
        raise UsageError("invalid cursor for this list", hint="use the `next` value of the previous page for --after")
    first, *others = map(int, numbers)
    return Snapshot(first, tuple(others))
