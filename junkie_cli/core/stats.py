"""Counts memories, users and sessions. One grouped pass over the memories returns totals, users and the largest users.

Four separate queries take 677 ms at 5 million rows, one index-only pass 176 ms
(docs/decisions/0014-statistics-in-one-pass.md).
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from junkie_cli.core.database import connect
from junkie_cli.core.errors import ResultWarning
from junkie_cli.core.foreign_values import FIRST_BEYOND, as_time, scaled
from junkie_cli.core.formatting import plural
from junkie_cli.core.postgres.sql import Where
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.schema import row_security, runs, spellings
from junkie_cli.core.schema import tables as schema
from junkie_cli.core.schema.estimates import all_memories
from junkie_cli.core.schema.registry import PENDING
from junkie_cli.core.schema.tables import MEMORIES, RUNS, SESSIONS, SchemaState
from junkie_cli.core.settings import Settings
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

DAYS = 30
_DAY = 86_400
# The newest rows contain the last change of nearly every large user; the table is read only for others.
_NEWEST = 5_000


@frozen
class TableSize:
    """A table of the schema: rows (None: unknown without counting) and bytes with its indexes."""

    name: str
    rows: int | None
    """null: not known, or not readable"""
    bytes: int


@frozen
class TopUser:
    """A user with many memories; None stands for memories without an owner."""

    user_id: str | None
    memories: int
    updated_at: datetime | None


@frozen
class Day:
    """Memories created on one day (`day` is YYYY-MM-DD, UTC)."""

    day: str
    memories: int


@frozen
class Stats:
    """The counts. `users` counts named owners of memories; `runs` counts stored runs, including those of team members.

    With `approximate` the numbers are PostgreSQL's estimates: users and average are None, days are not counted.
    """

    memories: int
    users: int | None
    """null with --approximate, where the planner does not know"""
    average_per_user: float | None
    """null with --approximate, where the planner does not know"""
    sessions: int
    runs: int | None
    """null with --approximate, where the planner does not know"""
    pending: int
    oldest: datetime | None
    newest: datetime | None
    tables: tuple[TableSize, ...]
    top_users: tuple[TopUser, ...]
    per_day: tuple[Day, ...]
    approximate: bool
    """figures of the planner, not counted"""
    warnings: tuple[ResultWarning, ...] = ()
    """only when there are any: why this answer may be incomplete"""


async def collect_stats(
    settings: Settings,
    *,
    top: int = 10,
    user_id: str | None = None,
    approximate: bool = False,
    progress: Progress = SILENT,
) -> Stats:
    """Count everything, or the rows of one user ("": without an owner). A schema without agno's tables is empty."""
    async with connect(settings, read_only=True) as connection, connection.transaction():
        state = await schema.inspect(connection, settings.layout)
        if approximate and user_id is None:
            return await _estimated(connection, state, top)
        return await _counted(connection, state, top, user_id, progress)


# --- exact ------------------------------------------------------------------------------------------------------------


async def _counted(
    connection: "asyncpg.Connection[Any]", state: SchemaState, top: int, user_id: str | None, progress: Progress
) -> Stats:
    progress.step(f"counting {all_memories(state)}")
    total, users, largest = await _memories(connection, state, top, user_id)
    named = sum(row["n"] for row in largest if row["user_id"]) if user_id is not None else None
    of_named = total if not users else await _of_named(connection, state, total) if named is None else named
    progress.step(f"counting the rows of {plural(len(state.tables), 'table', 'tables')}")
    counts = await _rows_of_tables(connection, state, {state.name(MEMORIES): total} if user_id is None else {})
    progress.step(f"{plural(total, 'memory', 'memories')} counted; reading runs, times and days")
    oldest, newest, made = await _bounds(connection, state, user_id)
    return Stats(
        memories=total,
        users=users,
        average_per_user=round(of_named / users, 2) if users else 0.0,
        sessions=await _sessions(connection, state, counts, user_id),
        runs=await _runs(connection, state, counts, user_id),
        pending=await _pending(connection, state, user_id),
        oldest=oldest,
        newest=newest,
        tables=await _sizes(connection, state, counts),
        top_users=await _with_times(connection, state, largest),
        per_day=await _per_day(connection, state, user_id, made),
        approximate=False,
        warnings=row_security.warnings(state) + await spellings.spelling_warnings(connection, state, user_id),
    )


async def _memories(
    connection: "asyncpg.Connection[Any]", state: SchemaState, top: int, user_id: str | None
) -> tuple[int, int, list[Any]]:
    """Return total, number of named users and the largest owners, in one pass."""
    if not state.has(MEMORIES):
        return 0, 0, []
    where = Where().owned_by("user_id", user_id)
    rows = await connection.fetch(
        "SELECT user_id, n, sum(n) OVER ()::bigint AS total, count(nullif(user_id, '')) OVER () AS users"
        f" FROM (SELECT user_id, count(*) AS n FROM {state.qualified(MEMORIES)} WHERE {where.sql} GROUP BY user_id) u"
        f" ORDER BY n DESC, user_id LIMIT {where.argument(max(top, 1))}",
        *where.arguments,
    )
    return (rows[0]["total"], rows[0]["users"], list(rows[:top])) if rows else (0, 0, [])


async def _of_named(connection: "asyncpg.Connection[Any]", state: SchemaState, total: int) -> int:
    """Count memories with an owner; those without are found by the index on user_id."""
    where = Where().owned_by("user_id", "")
    nobodys = await connection.fetchval(f"SELECT count(*) FROM {state.qualified(MEMORIES)} WHERE {where.sql}")
    return total - int(nobodys)


async def _with_times(
    connection: "asyncpg.Connection[Any]", state: SchemaState, largest: list[Any]
) -> tuple[TopUser, ...]:
    if not largest:
        return ()
    table, ids = state.qualified(MEMORIES), [row["user_id"] for row in largest if row["user_id"] is not None]
    newest = await connection.fetch(
        f"SELECT user_id, max({scaled('updated_at')}) AS at FROM (SELECT user_id, updated_at FROM {table}"
        f" WHERE updated_at IS NOT NULL ORDER BY updated_at DESC LIMIT {_NEWEST}) n"
        " WHERE user_id = ANY($1::text[]) GROUP BY user_id",
        ids,
    )
    times = {row["user_id"]: row["at"] for row in newest}
    older = [identifier for identifier in ids if identifier not in times]
    if older:
        rest = await connection.fetch(
            f"SELECT user_id, max({scaled('updated_at')}) AS at FROM {table} WHERE user_id = ANY($1::text[])"
            " GROUP BY user_id",
            older,
        )
        times |= {row["user_id"]: row["at"] for row in rest}
    return tuple(TopUser(row["user_id"], row["n"], as_time(times.get(row["user_id"]))) for row in largest)


def _made_at(state: SchemaState) -> str:
    """Return the column with the creation time of a memory; agno 2.2 stored only the time of the last change."""
    return "created_at" if state.has_column(MEMORIES, "created_at") else "updated_at"


async def _bounds(
    connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str | None
) -> tuple[datetime | None, datetime | None, str]:
    """Return the creation times of the oldest and the newest memory, and SQL for the creation time in seconds."""
    if not state.has(MEMORIES):
        return None, None, "NULL::bigint"
    made = _made_at(state)
    # For one user, the index on the time must not be scanned past the rows of all other users.
    column = made if user_id is None else f"{made} + 0"
    oldest, newest = await _range(connection, state, user_id, column)
    if _are_seconds(oldest, newest):
        return as_time(oldest), as_time(newest), made
    # Times in other units are not sorted chronologically among seconds, so all rows are read.
    made = scaled(made)
    oldest, newest = await _range(connection, state, user_id, made)
    return as_time(oldest), as_time(newest), made


async def _range(
    connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str | None, column: str
) -> tuple[int | None, int | None]:
    where = Where().owned_by("user_id", user_id)
    row = await connection.fetchrow(
        f"SELECT min({column}) AS oldest, max({column}) AS newest FROM {state.qualified(MEMORIES)} WHERE {where.sql}",
        *where.arguments,
    )
    assert row is not None
    return row["oldest"], row["newest"]


def _are_seconds(*times: int | None) -> bool:
    return all(time is None or -FIRST_BEYOND < time < FIRST_BEYOND for time in times)


async def _per_day(
    connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str | None, made: str
) -> tuple[Day, ...]:
    """Count the last thirty days, including empty ones; `made` is SQL for the creation time in seconds."""
    if not state.has(MEMORIES):
        return ()
    today = datetime.now(UTC).date()
    first = today - timedelta(days=DAYS - 1)
    start = int(datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp())
    where = Where().add(f"{made} >= {{}}", start).add(f"{made} < {{}}", start + DAYS * _DAY)
    where.owned_by("user_id", user_id)
    rows = await connection.fetch(
        f"SELECT ({made} - {start}) / {_DAY} AS day, count(*) AS n FROM {state.qualified(MEMORIES)}"
        f" WHERE {where.sql} GROUP BY 1",
        *where.arguments,
    )
    counts = {row["day"]: row["n"] for row in rows}
    return tuple(Day((first + timedelta(days=n)).isoformat(), counts.get(n, 0)) for n in range(DAYS))


async def _rows_of_tables(
    connection: "asyncpg.Connection[Any]", state: SchemaState, known: dict[str, int]
) -> dict[str, int]:
    """Count the rows of each table that the current role can read."""
    names = [name for name in state.tables if name not in known and state.may("SELECT", name)]
    if not names:
        return dict(known)
    counts = (f"SELECT {n} AS n, count(*) AS rows FROM {state.qualified(name)}" for n, name in enumerate(names))
    rows = await connection.fetch(" UNION ALL ".join(counts))
    return known | {names[row["n"]]: row["rows"] for row in rows}


async def _sessions(
    connection: "asyncpg.Connection[Any]", state: SchemaState, counts: dict[str, int], user_id: str | None
) -> int:
    if not state.has(SESSIONS):
        return 0
    if user_id is None and state.name(SESSIONS) in counts:
        return counts[state.name(SESSIONS)]
    where = Where().owned_by("user_id", user_id)
    return int(
        await connection.fetchval(
            f"SELECT count(*) FROM (SELECT session_id FROM {state.qualified(SESSIONS)} WHERE {where.sql}"
            f" UNION SELECT session_id FROM {runs.table(state)} r WHERE {where.sql}) s",
            *where.arguments,
        )
    )


async def _runs(
    connection: "asyncpg.Connection[Any]", state: SchemaState, counts: dict[str, int], user_id: str | None
) -> int:
    if user_id is None and not state.has_runs_column:
        return counts.get(state.name(RUNS), 0)
    where = Where().owned_by("user_id", user_id)
    query = f"SELECT count(*) FROM {runs.table(state)} r WHERE {where.sql}"
    return int(await connection.fetchval(query, *where.arguments))


async def _pending(connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str | None) -> int:
    if not state.may("SELECT", PENDING):
        return 0
    where = Where().owned_by("user_id", user_id)
    query = f"SELECT count(*) FROM {state.qualified(PENDING)} WHERE {where.sql}"
    return int(await connection.fetchval(query, *where.arguments))


async def _sizes(
    connection: "asyncpg.Connection[Any]", state: SchemaState, counts: dict[str, int]
) -> tuple[TableSize, ...]:
    rows = await connection.fetch(
        "SELECT c.relname AS name, pg_total_relation_size(c.oid) AS bytes FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')"
        " ORDER BY c.relname",
        state.schema,
    )
    return tuple(TableSize(row["name"], counts.get(row["name"]), row["bytes"]) for row in rows)


# --- estimates --------------------------------------------------------------------------------------------------------


async def _estimated(connection: "asyncpg.Connection[Any]", state: SchemaState, top: int) -> Stats:
    counts = {name: int(table.rows) for name, table in state.tables.items() if table.rows >= 0}
    oldest, newest, _ = await _bounds(connection, state, None)
    total = counts.get(state.name(MEMORIES), 0)
    return Stats(
        memories=total,
        users=None,  # PostgreSQL's estimate of distinct users was wrong by a factor of four
        average_per_user=None,
        sessions=counts.get(state.name(SESSIONS), 0),
        runs=None if state.has_runs_column else counts.get(state.name(RUNS), 0),
        pending=counts.get(PENDING, 0),
        oldest=oldest,
        newest=newest,
        tables=await _sizes(connection, state, counts),
        top_users=tuple(await _frequent(connection, state, total, top)),
        per_day=(),
        approximate=True,
        warnings=row_security.warnings(state),
    )


async def _frequent(
    connection: "asyncpg.Connection[Any]", state: SchemaState, total: int, top: int
) -> Iterator[TopUser]:
    rows = await connection.fetch(
        "SELECT v.value, v.frequency FROM pg_catalog.pg_stats s,"
        " unnest(s.most_common_vals::text::text[], s.most_common_freqs) AS v(value, frequency)"
        " WHERE s.schemaname = $1 AND s.tablename = $2 AND s.attname = 'user_id' ORDER BY v.frequency DESC LIMIT $3",
        state.schema,
        state.name(MEMORIES),
        top,
    )
    return (TopUser(row["value"], round(row["frequency"] * total), None) for row in rows)
