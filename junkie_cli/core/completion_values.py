"""What a shell may offer for a half-typed argument: ids that the database knows, and backups in the folder.

Nothing is started or made for it: a database that does not answer, and an embedded server that does not run, have
nothing to offer. Callers bound the time; each statement is bounded here, too.

Ids come from other programs, and a shell puts what it is offered on its command line (zsh even evaluates it): an id
with any character that means something to a shell is never offered.
"""

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from junkie_cli.core import embedded
from junkie_cli.core.postgres.connect import close_connection, open_connection
from junkie_cli.core.schema import tables as schema
from junkie_cli.core.schema import user_ids as owners
from junkie_cli.core.schema.registry import HISTORY
from junkie_cli.core.schema.tables import MEMORIES, RUNS, SESSIONS, SchemaState
from junkie_cli.core.settings import Settings
from junkie_cli.core.table_layout import TableRef

if TYPE_CHECKING:
    import asyncpg

LIMIT = 100
"""How many are offered at most."""
_HARMLESS = re.compile(r"[\w@%+:,./][\w@%+=:,./-]*")
_HIGHEST = "zzzz"  # behind every id with the same beginning that a program makes, in every collation


def harmless(ids: Iterable[str | None], prefix: str) -> list[str]:
    """Of `ids` those that begin with `prefix` and that no shell can misunderstand, in their order."""
    return [each for each in ids if each and each.startswith(prefix) and _HARMLESS.fullmatch(each)][:LIMIT]


async def user_ids(settings: Settings, prefix: str, timeout: float) -> list[str]:  # noqa: ASYNC109
    """User ids that begin with `prefix`, in order; `timeout` in seconds. Raises DatabaseError."""
    async with _looking(settings, timeout) as (connection, state):
        tables = [table for table in (MEMORIES, RUNS, SESSIONS) if state.may("SELECT", table)]
        if not tables:
            return []
        near = [owners.distinct_ids(state, table, "$1::text", str(LIMIT)) for table in tables]
        # The ids above lie behind the prefix: one that is the prefix itself is asked for.
        same = [f"(SELECT user_id FROM {state.qualified(table)} WHERE user_id = $1::text LIMIT 1)" for table in tables]
        rows = await connection.fetch(f"SELECT user_id FROM ({' UNION '.join(near + same)}) ids ORDER BY 1", prefix)
    return harmless((row["user_id"] for row in rows), prefix)


async def memory_ids(settings: Settings, prefix: str, timeout: float, user_id: str | None = None) -> list[str]:  # noqa: ASYNC109
    """Ids of memories (of one user) that begin with `prefix`. Raises DatabaseError."""
    async with _looking(settings, timeout) as (connection, state):
        return await _ids(connection, state, MEMORIES, "memory_id", prefix, user_id)


async def session_ids(settings: Settings, prefix: str, timeout: float, user_id: str | None = None) -> list[str]:  # noqa: ASYNC109
    """Ids of sessions (of one user) that begin with `prefix`. Raises DatabaseError."""
    async with _looking(settings, timeout) as (connection, state):
        return await _ids(connection, state, SESSIONS, "session_id", prefix, user_id)


async def batch_ids(settings: Settings, prefix: str, timeout: float) -> list[str]:  # noqa: ASYNC109
    """The latest changes that can be taken back, newest first. Raises DatabaseError."""
    async with _looking(settings, timeout) as (connection, state):
        if not state.may("SELECT", HISTORY):
            return []
        rows = await connection.fetch(
            f"SELECT batch::text AS id FROM (SELECT batch, change_id FROM {state.qualified(HISTORY)}"
            f" ORDER BY change_id DESC LIMIT {10 * LIMIT}) latest GROUP BY batch ORDER BY max(change_id) DESC"
        )
    return harmless((row["id"] for row in rows), prefix)


def backup_names(folder: Path, prefix: str) -> list[str]:
    """`latest` and the names of the dumps in `folder`, newest first; a path is left to the shell's own completion."""
    try:
        names = sorted((path.name for path in folder.glob("[!.]*.dump")), reverse=True)
    except OSError:
        names = []
    return harmless(["latest", *names] if names else [], prefix)


@asynccontextmanager
async def _looking(
    settings: Settings,
    timeout: float,  # noqa: ASYNC109  it bounds each statement, not the call
) -> "AsyncIterator[tuple[asyncpg.Connection[Any], SchemaState]]":
    """A read-only transaction on the database, if it is there without anything being done for it."""
    url = settings.postgres_read_url or settings.postgres_url or embedded.running(settings.data_dir)
    if url is None:
        raise LookupError("no database runs")
    connection = await open_connection(url, timeout=timeout, statement_timeout=timeout, read_only=True)
    try:
        async with connection.transaction():
            yield connection, await schema.inspect(connection, settings.layout)
    finally:
        await close_connection(connection)


async def _ids(
    connection: "asyncpg.Connection[Any]",
    state: SchemaState,
    table: TableRef,
    column: str,
    prefix: str,
    user_id: str | None,
) -> list[str]:
    if not state.may("SELECT", table):
        return []
    conditions, arguments = ["true"], [prefix]
    if user_id is not None:
        arguments.append(user_id)
        conditions.append("user_id = $2::text")
    conditions.append(f"{column} >= $1::text AND {column} <= $1::text || '{_HIGHEST}'" if prefix else "$1::text = ''")
    by_time = not prefix and (state.has_index(table, "updated_at") if user_id is None else True)
    rows = await connection.fetch(
        f"SELECT {column}::text AS id FROM {state.qualified(table)} WHERE {' AND '.join(conditions)}"
        f" ORDER BY {'updated_at DESC NULLS LAST' if by_time else column} LIMIT {LIMIT}",
        *arguments,
    )
    return harmless((row["id"] for row in rows), prefix)
