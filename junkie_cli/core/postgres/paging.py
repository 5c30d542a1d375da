"""Pages of a list that others write to while it is read: every row that is there is read, none twice as it stands.

A cursor holds the sort values of the last row, so that any page costs what the first one costs. What is written after
the first page would be missed, for it stands where the reader has been already. No clock can tell what that is: agno's
times are the bot's, whole seconds, and an import or an undo brings old ones. PostgreSQL can: each version of a row
names the transaction that wrote it (`xmin`). So a list is read in rounds:

    first round     the versions that had been committed before the first page, in the order of the list
    next round      the versions committed since, up to the page that begins it: changed and new rows as they are now
    ...             until what is new fits on the page; then the reader has seen all that is there

A version belongs to one round and never changes, so none is read twice; a row that nobody changed stays where the first
round finds it. The last page looks once through the rows that the list covers; the whole list read as many before.
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

_XIDS = 1 << 32  # rows hold the lower half of a transaction's number
_AHEAD = 1_000_000  # transactions that may begin while one page is read
_FEW = 100  # transactions since a moment that are looked for by their numbers
_SUBTRANSACTIONS = 10_000  # numbers that are looked at one by one: a snapshot does not list what savepoints write as

# Those from a number on that this statement can see, and named ones.
_COUNTED_UP = (
    f"SELECT (x % {_XIDS})::text::xid FROM (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next) s,"
    f" generate_series(next - ((next - {{}}::bigint) & {_XIDS - 1}), next - 1) x"
    " UNION ALL SELECT unnest({}::text[])::xid"
)


@frozen
class Moment:
    """What had been committed once: all transactions below `next`, but for those in `open`. Numbers modulo 2^32."""

    next: int
    open: tuple[int, ...]

    def __str__(self) -> str:
        return " ".join(map(str, (self.next, *self.open)))


@frozen
class Place:
    """Where a reader stands: behind `key` (None: before all) among the rows written from `since` on and up to `until`.

    `since` None is the first round; `now` is when the page is read.
    """

    key: tuple[Any, ...] | None
    now: Moment
    until: Moment
    since: Moment | None = None


@frozen
class Page(Generic[T]):
    """Rows; the cursor of the page after (None on the last), and of the place behind the last row in any case.

    `late` counts those at the end that were written after the round before them had begun.
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
    rows: "Callable[[Place, int], Awaitable[list[T]]]",
    key: Callable[[T], Sequence[Any]],
) -> Page[T]:
    """The page behind the cursor `after`, whose sort values are of `kinds`.

    `rows` gives, in order, at most so many rows behind a place, and must keep to its round (`Place` and `written`);
    `key` gives a row's sort values. Inside a transaction. Raises UsageError for a cursor that is not one.
    """
    now = await _moment(connection)
    place = Place(None, now, now) if after is None else _decode(after, kinds, now)
    found = await rows(place, limit + 1)
    late, begun = len(found) if place.since else 0, 0  # rows of later rounds; where the round of `place` begins
    if len(found) <= limit and place.until != now:
        place, begun = Place(None, now, now, since=place.until), len(found)
        found += await rows(place, limit + 1 - begun)
        late += len(found) - begun
    shown = found[:limit]
    if len(shown) > begun:
        place = replace(place, key=tuple(key(shown[-1])))
    here = _encode(place, len(kinds))
    return Page(shown, here if len(found) > limit else None, here, max(late - len(found) + len(shown), 0))


def written(where: Where, place: Place, table: str) -> Where:
    """`where` with the condition that a row of `table` (its alias) was written in the round of `place`."""
    return late(committed(where, place, table), place, table)


def committed(where: Where, place: Place, table: str) -> Where:
    """The half of `written` that nearly every row meets."""
    since, arguments = _since(table, place.until, place.now)
    return where.add(f"NOT {since}", *arguments)


def late(where: Where, place: Place, table: str) -> Where:
    """The half of `written` that few rows meet; none in the first round."""
    if place.since is None:
        return where
    since, arguments = _since(table, place.since, place.now)
    return where.add(since, *arguments)


def settled(where: Where, moment: Moment, now: Moment, table: str) -> str:
    """SQL: a row of `table` had been written by `moment` and not since; adds its arguments to `where`."""
    since, arguments = _since(table, moment, now)
    return f"NOT {since.format(*map(where.argument, arguments))}"


def _since(table: str, moment: Moment, now: Moment) -> tuple[str, tuple[int, list[str]] | tuple[int, int, list[str]]]:
    """SQL with arguments: a row's transaction is one of those from a number on, or of those that were open.

    A number in a row can only be compared for equality without being turned into text, which takes longer than reading
    the row: so few transactions are counted up. Not by age(), which keeps a scan from being parallel.
    """
    passed = (now.next - moment.next) % _XIDS
    numbers = [str(number) for number in moment.open]
    if passed <= _FEW:
        return f"({table}.xmin = ANY(ARRAY({_COUNTED_UP})))", (moment.next, numbers)
    # Of what was frozen long ago the number still stands there and comes round again; hence the bound above.
    distance = f"({table}.xmin::text::bigint - {{}}::bigint) & {_XIDS - 1}"
    known = f"{table}.xmin = ANY({{}}::text[]::xid[])"
    return f"({distance} BETWEEN 0 AND {{}}::bigint OR {known})", (moment.next, passed + _AHEAD, numbers)


async def _moment(connection: "asyncpg.Connection[Any]") -> Moment:
    """Now. What is read afterwards sees at least all that had been committed then."""
    row = await connection.fetchrow(
        "SELECT pg_snapshot_xmax(s)::text AS next, ARRAY(SELECT x::text FROM pg_snapshot_xip(s) x UNION SELECT x::text"
        f" FROM generate_series(greatest(pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint"
        f" - {_SUBTRANSACTIONS}), pg_snapshot_xmax(s)::text::bigint - 1) x"
        " WHERE pg_xact_status(x::text::xid8) = 'in progress') AS open FROM pg_current_snapshot() s"
    )
    assert row is not None
    return Moment(int(row["next"]) % _XIDS, tuple(sorted(int(number) % _XIDS for number in row["open"])))


# --- cursors ----------------------------------------------------------------------------------------------------------


def _encode(place: Place, width: int) -> str:
    key = place.key or (None,) * width
    return encode_cursor([*key, str(place.until), place.since and str(place.since)])


def _decode(cursor: str, kinds: Sequence[type], now: Moment) -> Place:
    """The place of a cursor. One of the sort values alone, as they were made once, is of the first round until now."""
    try:
        key = decode_cursor(cursor, *kinds)
        return Place(tuple(key), now, now)
    except UsageError:
        *key, until, since = decode_cursor(cursor, *kinds, str, str)
    at_start = all(value is None for value in key)
    since_moment = None if since is None else _moment_of(since)
    return Place(None if at_start else tuple(key), now, _moment_of(until), since_moment)


def _moment_of(text: str | None) -> Moment:
    numbers = (text or "").split(" ")
    if not all(re.fullmatch("[0-9]{1,10}", number) for number in numbers):
        raise UsageError("that cursor is not one of this list", hint="give --after the `next` of the page before")
    first, *others = map(int, numbers)
    return Moment(first, tuple(others))
