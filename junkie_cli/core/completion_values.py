"""Returns values for shell completion: ids from the database, and backups in the folder.

Nothing is started or created for it: a database that does not respond and an embedded server that does not run offer
nothing. Callers limit the time; each statement has a limit, too.

Ids come from other programs, and a shell inserts completions into its command line (zsh even evaluates them): an id
with a character that is special in a shell is never offered.
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
"""Maximum number of completions."""
_HARMLESS = re.compile(r"[\w@%+:,./][\w@%+=:,./-]*")
_HIGHEST = "zzzz"  # sorts after every generated id with the same prefix, in every collation


def harmless(ids: Iterable[str | None], prefix: str) -> list[str]:
    """Filter `ids` that begin with `prefix` and contain no special characters of shells, in their order."""
    return [each for each in ids if each and each.startswith(prefix) and _HARMLESS.fullmatch(each)][:LIMIT]


async def user_ids(settings: Settings, prefix: str, timeout: float) -> list[str]:  # noqa: ASYNC109
    """Return user ids that begin with `prefix`, in order; `timeout` in seconds. Raises DatabaseError."""
    async with _transaction(settings, timeout) as (connection, state):
        tables = [table for table in (MEMORIES, RUNS, SESSIONS) if state.may("SELECT", table)]
        if not tables:
            return []
        near = [owners.distinct_ids(state, table, "$1::text", str(LIMIT)) for table in tables]
        # The ids above are greater than the prefix: an id equal to the prefix needs its own query.
        same = [f"(SELECT user_id FROM {state.qualified(table)} WHERE user_id = $1::text LIMIT 1)" for table in tables]
        rows = await connection.fetch(f"SELECT user_id FROM ({' UNION '.join(near + same)}) ids ORDER BY 1", prefix)
    return harmless((row["user_id"] for row in rows), prefix)


async def memory_ids(settings: Settings, prefix: str, timeout: float, user_id: str | None = None) -> list[str]:  # noqa: ASYNC109
    """Return ids of memories (of one user) that begin with `prefix`. Raises DatabaseError."""
    async with _transaction(settings, timeout) as (connection, state):
        return await _ids(connection, state, MEMORIES, "memory_id", prefix, user_id)


async def session_ids(settings: Settings, prefix: str, timeout: float, user_id: str | None = None) -> list[str]:  # noqa: ASYNC109
    """Return ids of sessions (of one user) that begin with `prefix`. Raises DatabaseError."""
    async with _transaction(settings, timeout) as (connection, state):
        return await _ids(connection, state, SESSIONS, "session_id", prefix, user_id)


async def batch_ids(settings: Settings, prefix: str, timeout: float) -> list[str]:  # noqa: ASYNC109
    """Return the latest changes that can be undone, newest first. Raises DatabaseError."""
    async with _transaction(settings, timeout) as (connection, state):
        if not state.may("SELECT", HISTORY):
            return []
        rows = await connection.fetch(
            f"SELECT batch::text AS id FROM (SELECT batch, change_id FROM {state.qualified(HISTORY)}"
            f" ORDER BY change_id DESC LIMIT {10 * LIMIT}) latest GROUP BY batch ORDER BY max(change_id) DESC"
        )
    return harmless((row["id"] for row in rows), prefix)


def backup_names(folder: Path, prefix: str) -> list[str]:
    """Return `latest` and the names of the dumps in `folder`, newest first; nothing for a path."""
    try:
        names = sorted((path.name for path in folder.glob("[!.]*.dump")), reverse=True)
    except OSError:
        names = []
    return harmless(["latest", *names] if names else [], prefix)


@asynccontextmanager
async def _transaction(
    settings: Settings,
    timeout: float,  # noqa: ASYNC109  it limits each statement, not the call
) -> "AsyncIterator[tuple[asyncpg.Connection[Any], SchemaState]]":
    """Open a read-only transaction, without starting a database."""
    url = settings.postgres_read_url or settings.postgres_url or embedded.running(settings.data_dir)
    if url is None:
        raise LookupError("no database is running")
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
