"""Lists users in the order of their ids, with counts and the time of their last activity. Pages by keyset."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from junkie_cli.core.database import connect
from junkie_cli.core.errors import ResultWarning
from junkie_cli.core.foreign_values import as_time, scaled
from junkie_cli.core.formatting import plural
from junkie_cli.core.postgres import paging
from junkie_cli.core.postgres.paging import Position, Snapshot
from junkie_cli.core.postgres.sql import Where
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.schema import row_security, runs, user_ids
from junkie_cli.core.schema import tables as schema
from junkie_cli.core.schema.estimates import all_memories
from junkie_cli.core.schema.tables import MEMORIES, MEMORIES_BY_USER, RUNS, SESSIONS, SchemaState
from junkie_cli.core.settings import Settings
from junkie_cli.core.table_layout import Role
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

# The latest memory of nearly every large user is among this many newest ones.
_NEWEST = 5_000


@frozen
class User:
    """A user with counts; `user_id` None stands for rows without an owner.

    `sessions` are those the user owns or spoke in, `runs` the user's own stored runs, with those of team members.
    `last_active` (UTC) is the newest time of the user's memories, runs and sessions.
    """

    user_id: str | None
    """null: what belongs to nobody"""
    memories: int
    sessions: int
    runs: int
    last_active: datetime | None


@frozen
class UserPage:
    """Users by id, rows without an owner last; `next` is the cursor of the next page, None on the last.

    The last `late` named users appeared after the first page was read.
    """

    users: tuple[User, ...]
    next: str | None
    late: int = 0
    tables_missing: str = ""
    warnings: tuple[ResultWarning, ...] = ()


async def list_users(
    settings: Settings, *, limit: int = 50, after: str | None = None, progress: Progress = SILENT
) -> UserPage:
    """Return one page of users with current counts: each user once, new users at the end.

    Raises UsageError for a cursor that is not one.
    """
    async with connect(settings, read_only=True) as connection, connection.transaction():
        state = await schema.inspect(connection, settings.layout)
        tables = [table for table in (MEMORIES, SESSIONS, RUNS) if state.has(table)]
        if not tables:
            return UserPage((), None, tables_missing=state.name(MEMORIES))

        async def rows(place: Position, count: int) -> list[str]:
            progress.step(
                "searching for user ids" if place.since is None else f"searching {all_memories(state)} for new users"
            )
            return await (_first if place.since is None else _newcomers)(connection, state, tables, place, count)

        page = await paging.page(connection, after, (str,), limit, rows, lambda user_id: [user_id])
        progress.step(f"counting rows of {plural(len(page.rows), 'user', 'users')}")
        users = await _counted(connection, state, page.rows)
        nobody = None if page.next else await _nobody(connection, state)
    warnings = row_security.warnings(state, MEMORIES, SESSIONS, RUNS)
    if nobody and len(users) == limit:
        return UserPage(tuple(users), page.here, page.late, warnings=warnings)
    return UserPage((*users, nobody) if nobody else tuple(users), page.next, page.late, warnings=warnings)


async def _first(
    connection: "asyncpg.Connection[Any]", state: SchemaState, tables: list[Role], place: Position, count: int
) -> list[str]:
    """Return the next ids of users that existed when the first page was read."""
    found: list[str] = []
    last = place.key[0] if place.key else None
    while True:
        where = Where(last)
        known = _there(state, tables, place.until, place.now, where)
        ids = await connection.fetch(
            f"SELECT u.user_id, {known} AS known FROM ({_ids(state, tables, count)}) u ORDER BY 1", *where.arguments
        )
        found += [row["user_id"] for row in ids if row["known"]]
        if len(found) >= count or len(ids) < count:
            return found[:count]
        last = ids[-1]["user_id"]


def _there(state: SchemaState, tables: list[Role], snapshot: Snapshot, now: Snapshot, where: Where) -> str:
    """Return SQL that is true if user `u` had a row at `snapshot`; add its arguments to `where`."""
    tests = [
        f"EXISTS (SELECT 1 FROM {state.versioned(table)} t WHERE t.user_id = u.user_id AND"
        f" {paging.settled(where, snapshot, now, 't')})"
        for table in tables
    ]
    if state.has_runs_column:
        table = runs.table(state, sessions=paging.settled(where, snapshot, now, "s"))
        tests.append(f"u.user_id IN (SELECT r.user_id FROM {table} r)")
    return f"({' OR '.join(tests)})"


async def _newcomers(
    connection: "asyncpg.Connection[Any]", state: SchemaState, tables: list[Role], place: Position, count: int
) -> list[str]:
    """Return the next ids of users that appeared since, by one scan of all rows."""
    assert place.since is not None
    where, sources = Where(), []
    for table in tables:
        where_of = paging.written(Where(*where.arguments).add("t.user_id <> ''"), place, "t")
        sources.append(f"SELECT t.user_id::text AS user_id FROM {state.versioned(table)} t WHERE {where_of.sql}")
        where.arguments[:] = where_of.arguments
    if state.has_runs_column:
        where_of = paging.written(Where(*where.arguments), place, "s")
        sources.append(f"SELECT r.user_id FROM {runs.table(state, sessions=where_of.sql)} r WHERE r.user_id <> ''")
        where.arguments[:] = where_of.arguments
    if place.key:
        where.add("u.user_id > {}", place.key[0])
    there = _there(state, tables, place.since, place.now, where)
    rows = await connection.fetch(
        f"SELECT u.user_id FROM ({' UNION '.join(sources)}) u WHERE {where.sql} AND NOT {there}"
        f" ORDER BY 1 LIMIT {where.argument(count)}",
        *where.arguments,
    )
    return [row["user_id"] for row in rows]


def _ids(state: SchemaState, tables: list[Role], count: int) -> str:
    """Return SQL for the next `count` user ids above $1.

    Tables without an index are scanned, but only up to the last id found by indexes.
    """
    probed = [table for table in tables if state.has_index(table, "user_id")]
    sources = [
        f"SELECT user_id FROM {user_ids.distinct_ids(state, table, '$1::text', str(count))} i" for table in probed
    ]
    near = " UNION ".join(sources) or "SELECT NULL::text AS user_id WHERE false"
    bound = f"(SELECT CASE WHEN count(*) = {count} THEN max(user_id) END FROM near)"
    scans = [f"SELECT t.user_id::text FROM {state.qualified(table)} t" for table in tables if table not in probed]
    if state.has_runs_column:
        scans.append(f"SELECT r.user_id FROM {runs.table(state)} r")
    all_sources = ["SELECT user_id FROM near"]
    all_sources += [
        f"{scan} WHERE user_id > coalesce($1::text, '') AND user_id <= coalesce({bound}, user_id)" for scan in scans
    ]
    return (
        f"WITH near AS MATERIALIZED (SELECT user_id FROM ({near}) n ORDER BY user_id LIMIT {count})"
        f" SELECT user_id FROM ({' UNION '.join(all_sources)}) ids ORDER BY user_id LIMIT {count}"
    )


async def _counted(connection: "asyncpg.Connection[Any]", state: SchemaState, ids: list[str]) -> list[User]:
    """Count rows of these users; each source is read once.

    If the database treats two spellings as equal (citext, a nondeterministic collation), they are one user here.
    """
    if not ids:
        return []
    counts = _counts(state, "user_id = ANY($1::text[])", "user_id")
    rows = await connection.fetch(
        "SELECT id AS user_id, memories, sessions, runs, last_active"
        f" FROM unnest($1::text[]) id JOIN ({counts}) c ON c.user_id = id",
        ids,
    )
    found = {row["user_id"]: row for row in rows}
    return [_user(user_id, found[user_id]) for user_id in ids if user_id in found]


async def _nobody(connection: "asyncpg.Connection[Any]", state: SchemaState) -> User | None:
    """Count rows without an owner; None if there are none."""
    row = await connection.fetchrow(_counts(state, "(user_id IS NULL OR user_id = '')", "''::text"))
    user = None if row is None else _user(None, row)
    return user if user and (user.memories or user.sessions or user.runs) else None


def _user(user_id: str | None, row: Any) -> User:
    return User(user_id, row["memories"], row["sessions"], row["runs"], as_time(row["last_active"]))


def _memories(state: SchemaState, condition: str, key: str) -> str:
    """Return SQL for counts by the index on user_id, and the latest time from the newest rows if it is among them.

    At 5 million rows without our index, reading the latest time of the largest user from the table takes 5 s.
    """
    table, at = state.qualified(MEMORIES), scaled("updated_at")
    if key != "user_id" or state.has_index(MEMORIES, *MEMORIES_BY_USER):
        return f"SELECT {key} AS user_id, count(*) AS n, max({at}) AS at FROM {table} WHERE {condition} GROUP BY 1"
    return (
        # The index on updated_at does not contain user_id, so it is not scanned past the rows of all other users.
        f"SELECT user_id, n, coalesce(newest.at, (SELECT max({at}) FROM"
        f" {table} m WHERE m.user_id = counted.user_id)) AS at"
        f" FROM (SELECT user_id, count(*) AS n FROM {table} WHERE {condition} GROUP BY 1) counted"
        f" LEFT JOIN (SELECT user_id, max({at}) AS at FROM (SELECT user_id, updated_at"
        f" FROM {table} WHERE updated_at IS NOT NULL ORDER BY updated_at DESC LIMIT {_NEWEST}) n GROUP BY 1) newest"
        " USING (user_id)"
    )


def _counts(state: SchemaState, condition: str, key: str) -> str:
    nothing = "SELECT NULL::text AS user_id, NULL::bigint AS n, NULL::bigint AS at WHERE false"
    memories = nothing
    if state.has(MEMORIES):
        memories = _memories(state, condition, key)
    owned = "SELECT NULL::text AS user_id, NULL::text AS session_id, NULL::bigint AS at WHERE false"
    if state.has(SESSIONS):
        owned = (
            f"SELECT {key} AS user_id, session_id::text AS session_id,"
            f" coalesce({scaled('updated_at')}, {scaled('created_at')}) AS at"
            f" FROM {state.qualified(SESSIONS)} WHERE {condition}"
        )
    spoken = (
        f"SELECT {key} AS user_id, session_id::text AS session_id, count(*) AS runs,"
        f" max({scaled('created_at')}) AS at"
        f" FROM {runs.table(state)} r WHERE {condition} GROUP BY 1, 2"
    )
    return (
        f"WITH m AS ({memories}), s AS (SELECT user_id, count(*) AS n, sum(runs)::bigint AS runs, max(at) AS at"
        " FROM (SELECT user_id, session_id, sum(runs) AS runs, max(at) AS at"
        f" FROM (SELECT user_id, session_id, 0 AS runs, at FROM ({owned}) o"
        f" UNION ALL SELECT user_id, session_id, runs, at FROM ({spoken}) r) both_ways GROUP BY 1, 2) t GROUP BY 1)"
        " SELECT user_id, coalesce(m.n, 0) AS memories, coalesce(s.n, 0) AS sessions, coalesce(s.runs, 0) AS runs,"
        " greatest(m.at, s.at) AS last_active FROM m FULL JOIN s USING (user_id)"
    )
