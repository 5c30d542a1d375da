"""Data at size, made by the server itself: `python -m tests.benchmarks.data FOLDER --rows 5000000` (make bench-data).

An embedded server in FOLDER gets the database `bench_ROWS` with agno 3's tables: ROWS memories of ROWS/100 users
(skewed: the largest has 6.4 % of them, the user in the middle has 43), ROWS/25
sessions and twice as many runs. Every value comes from a hash of its row's number, so that the same ROWS give the same
rows everywhere; only the times are counted back from the day on which it was made. All text is invented.
"""

import argparse
import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from junkie_cli.core import embedded
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.postgres.connect import open_connection
from junkie_cli.core.progress import Progress
from junkie_cli.core.schema import own_tables
from junkie_cli.core.table_layout import Layout

AGNO = Path(__file__).parents[1] / "data" / "agno-3.1.sql"
MADE_BY = "2"
"""Goes up when the data change: what an older version made is made again."""

COMMON, RARE, ABSENT = "coffee", "zither", "xylophage"
"""A word in about every fourth memory, one in every 580th, and one in none."""

LINGER = 900.0  # seconds that the server stays after its last client, so that one benchmark finds it running
_DAYS = 730
_SLEEPING = 13  # users whose number leaves this over 20 have not been seen for long: all their rows are old


@dataclass(frozen=True, slots=True)
class Bench:
    """The filled database: its address, how many memories it has, and the numbers of its users, 0 the largest."""

    url: DatabaseUrl
    rows: int

    @property
    def users(self) -> int:
        """How many users there are."""
        return max(self.rows // 100, 1)

    @property
    def largest(self) -> str:
        """The user with most memories."""
        return user_id(0)

    def typical(self, number: int = 0) -> str:
        """A user in the middle of the ranking, whose rows are of all ages; another one for each `number`."""
        middle = self.users // 2 + number
        return user_id(middle + (middle % 20 == _SLEEPING) * self.users // 4)

    @property
    def old(self) -> str:
        """A user in the middle of the ranking whose rows are all older than everybody else's."""
        return user_id(next(n for n in range(self.users // 2, self.users) if n % 20 == _SLEEPING))


def user_id(number: int) -> str:
    """The id of the user with this number: of the length that Discord's have, and in no order that means anything."""
    return str(200_000_000_000_000_000 + number * 7_368_787 % 10_000_019 * 1_000_003)


_FUNCTIONS = f"""
CREATE FUNCTION bench.h(n bigint, k int, m bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN (hashint8extended(n, k) & 9223372036854775807) % m;
CREATE FUNCTION bench.number(n bigint, k int, users bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN floor(users * power((hashint8extended(n, k) & 1073741823) / 1073741824.0::float8, 3.936))::bigint;
CREATE FUNCTION bench.user_id(number bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN (200000000000000000 + number * 7368787 % 10000019 * 1000003)::text;
CREATE FUNCTION bench.made_at(n bigint, rows bigint, number bigint) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
  RETURN (extract(epoch FROM date_trunc('day', now(), 'UTC'))::bigint - {_DAYS} * 86400
    + CASE WHEN number % 20 = {_SLEEPING} THEN -31536000 + n % 31536000 ELSE n * {_DAYS} * 86400 / rows END);
CREATE FUNCTION bench.id(kind text, n bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN md5(kind || n)::uuid::text;
CREATE TABLE bench.phrase AS
  SELECT p AS id, string_agg(w.word, ' ' ORDER BY k) AS words
  FROM generate_series(0, 19999) p, generate_series(1, 4) k,
  LATERAL (SELECT string_agg(substr('baceidofugahejikolumanepirosutavewixozy', 1 + 2 * bench.h(p * 40 + k * 8 + s, 7, 19)::int, 2), '') AS word
           FROM generate_series(1, 2 + bench.h(p * 40 + k, 8, 2)::int) s) w
  GROUP BY p;
ALTER TABLE bench.phrase ADD PRIMARY KEY (id);
ANALYZE bench.phrase;
"""  # noqa: E501

_MEMORIES = f"""
INSERT INTO ai.user_memories (memory_id, memory, input, team_id, user_id, topics, created_at, updated_at)
SELECT bench.id('memory', n), to_jsonb('User '
    || CASE WHEN bench.h(n, 2, 100) < 24 THEN 'likes {COMMON} and ' ELSE 'told us of ' END
    || CASE WHEN bench.h(n, 3, 580) = 0 THEN 'the {RARE}, ' ELSE '' END || a.words || ', ' || b.words),
  'By the way: ' || a.words || '. And ' || c.words || ', then ' || b.words || '!', 'hero-team', bench.user_id(u.number),
  (SELECT jsonb_agg('topic ' || bench.h(n, 20 + t, 60)) FROM generate_series(0, bench.h(n, 4, 3)::int) t),
  bench.made_at(n, $1, u.number), bench.made_at(n, $1, u.number) + bench.h(n, 5, 5) / 4 * bench.h(n, 6, 86400)
FROM generate_series(1, $1) n, LATERAL (SELECT bench.number(n, 1, $2) AS number) u,
  bench.phrase a, bench.phrase b, bench.phrase c
WHERE a.id = bench.h(n, 10, 20000) AND b.id = bench.h(n, 11, 20000) AND c.id = bench.h(n, 12, 20000)
"""

_SESSIONS = """
INSERT INTO ai.agent_sessions (session_id, session_type, team_id, user_id, session_data, team_data, created_at, updated_at)
SELECT bench.id('session', n), 'team', 'hero-team', bench.user_id(u.number),
  jsonb_build_object('session_state', '{}'::jsonb, 'session_name', p.words),
  '{"name": "Hero Team", "team_id": "hero-team"}', bench.made_at(n, $1, u.number), bench.made_at(n, $1, u.number) + 600
FROM generate_series(1, $1) n, LATERAL (SELECT bench.number(n, 31, $2) AS number) u, bench.phrase p
WHERE p.id = bench.h(n, 32, 20000)
"""  # noqa: E501

# In each tenth session somebody else speaks second: a shared channel.
_RUNS = """
INSERT INTO ai.agent_sessions_runs (run_id, session_id, run_type, team_id, user_id, status, run_index, run_data,
  created_at, updated_at)
SELECT bench.id('run', n), bench.id('session', s.at), 'team', 'hero-team', bench.user_id(u.number), 'COMPLETED', n % 2,
  jsonb_build_object('run_id', bench.id('run', n), 'session_id', bench.id('session', s.at), 'user_id',
    bench.user_id(u.number), 'team_id', 'hero-team', 'status', 'COMPLETED', 'content', a.words, 'messages',
    jsonb_build_array(
      jsonb_build_object('id', bench.id('system', n), 'role', 'system', 'content', 'You are a friendly team.'),
      jsonb_build_object('id', bench.id('user', n), 'role', 'user', 'content', b.words || '?'),
      jsonb_build_object('id', bench.id('answer', n), 'role', 'assistant', 'content', a.words || '.'))),
  bench.made_at(s.at, $1 / 2, u.number), bench.made_at(s.at, $1 / 2, u.number)
FROM generate_series(1, $1) n, LATERAL (SELECT (n + 1) / 2 AS at) s,
  LATERAL (SELECT bench.number(CASE WHEN s.at % 10 = 0 THEN n ELSE s.at END, 31, $2) AS number) u,
  bench.phrase a, bench.phrase b
WHERE a.id = bench.h(n, 33, 20000) AND b.id = bench.h(n, 34, 20000)
"""


async def fill(connection: asyncpg.Connection, rows: int, say: Callable[[str], None] = lambda _: None) -> None:
    """Make agno's tables in an empty database and put `rows` memories, and what goes with them, into them.

    One transaction, so that with wal_level minimal nothing is written twice; indexes come last.
    """
    tables, _, rest = AGNO.read_text("utf-8").partition("INSERT INTO")
    indexes = "ALTER TABLE ONLY" + rest.partition("\n\nALTER TABLE ONLY")[2]
    users = max(rows // 100, 1)
    async with connection.transaction():
        await connection.execute("SET LOCAL maintenance_work_mem = '512MB'; SET LOCAL work_mem = '64MB'")
        await connection.execute(tables)
        await connection.execute("RESET search_path; CREATE SCHEMA bench;" + _FUNCTIONS)
        for what, statement, count in (
            ("memories", _MEMORIES, rows),
            ("sessions", _SESSIONS, max(rows // 25, 1)),
            ("runs", _RUNS, 2 * max(rows // 25, 1)),
        ):
            say(f"{count:,} {what} ...")
            await connection.execute(_literal(statement, count, users))
        say("indexes ...")
        await connection.execute(indexes)
        await connection.execute(
            "INSERT INTO ai.agno_schema_versions SELECT name, '3.0.0', now()::text, now()::text FROM"
            " unnest(ARRAY['user_memories', 'agent_sessions', 'agent_sessions_runs']) name"
        )
        await connection.execute(f"CREATE TABLE bench.made AS SELECT {rows} AS rows, '{MADE_BY}' AS by")
    await own_tables.ensure_own_tables(connection, Layout("ai"))
    say("vacuum ...")
    await connection.execute("VACUUM ANALYZE")


def _literal(statement: str, count: int, users: int) -> str:
    """Numbers as constants: the planner then knows how many rows a series has, and hashes the small tables."""
    return statement.replace("$1", f"{count}::bigint").replace("$2", f"{users}::bigint")


async def ensure(folder: Path, rows: int, say: Callable[[str], None] = print) -> Bench:
    """The filled database of the embedded server in `folder`; made first when it is not there yet, or half made."""
    url = await embedded.ensure_running(folder, create=True, progress=Progress(step=say), linger=LINGER)
    bench = Bench(url.with_database(f"bench_{rows}"), rows)
    keeper = await open_connection(url)
    try:
        if not await keeper.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", f"bench_{rows}"):
            await keeper.execute(f"CREATE DATABASE bench_{rows} TEMPLATE template0")
        connection = await open_connection(bench.url)
        try:
            if not await _is_made(connection):
                say(f"filling bench_{rows} in {folder}")
                await connection.execute("DROP SCHEMA IF EXISTS ai, bench CASCADE")
                await fill(connection, rows, say)
        finally:
            await connection.close()
    finally:
        await keeper.close()
    return bench


async def _is_made(connection: asyncpg.Connection) -> bool:
    there = await connection.fetchval("SELECT to_regclass('bench.made') IS NOT NULL")
    return bool(there and await connection.fetchval("SELECT by = $1 FROM bench.made", MADE_BY))


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options that both programs have."""
    parser.add_argument("folder", type=Path, help="folder of the embedded server; made when it is not there")
    parser.add_argument("--rows", type=int, default=int(os.environ.get("ROWS", 5_000_000)), help="memories")


def main() -> None:
    """Fill, and say where."""
    parser = argparse.ArgumentParser(description="Fill an embedded PostgreSQL for the benchmarks.")
    arguments(parser)
    options = parser.parse_args()
    bench = asyncio.run(ensure(options.folder.absolute(), options.rows))
    print(f"{bench.rows:,} memories of {bench.users:,} users are in {bench.url.masked()}")


if __name__ == "__main__":
    main()
