"""User ids as the database knows them: which ids there are, and which one a person may have meant."""

from typing import TYPE_CHECKING, Any

from junkie_cli.core.errors import UsageError
from junkie_cli.core.schema.stored_text import storable
from junkie_cli.core.schema.tables import MEMORIES, RUNS, SESSIONS, SchemaState, transaction
from junkie_cli.core.table_layout import TableRef

if TYPE_CHECKING:
    import asyncpg

LONGEST_ID = 200

# A hint is worth this many index probes and no more, however many users there are.
_CANDIDATES = 200


def check_id(what: str, value: str) -> None:
    """Refuse the id of a `what` that could look like another one on a screen or in a row. Raises UsageError.

    For ids that begin to exist. What other programs wrote is listed, exported and erased under any id that it has.
    """
    if not value.strip() or value != value.strip():
        raise UsageError(
            f"the {what} id is empty, or begins or ends with white space",
            hint="write the id alone, without quotes inside",
        )
    if not value.isprintable() or len(value) > LONGEST_ID or storable(value) != value:
        raise UsageError(
            f"the {what} id has characters that no id has, or more than {LONGEST_ID}",
            hint=f"use printable characters, at most {LONGEST_ID} of them",
        )


def distinct_ids(state: SchemaState, table: TableRef, bound: str, limit: str) -> str:
    """SQL for the next `limit` user ids of `table` above `bound`, in order: one index probe each, not a scan.

    The empty id is left out, as NULL is: both belong to nobody. Without an index that begins with user_id it is one
    scan instead.
    """
    source = state.qualified(table)
    # distinct values by a loose index scan: https://wiki.postgresql.org/wiki/Loose_indexscan
    if not state.has_index(table, "user_id"):
        return (
            f"(SELECT DISTINCT user_id FROM {source} WHERE user_id > coalesce({bound}, '')"
            f" ORDER BY user_id LIMIT {limit})"
        )
    return (
        f"(WITH RECURSIVE ids(user_id, n) AS ((SELECT min(user_id)::text, 1 FROM {source}"
        f" WHERE user_id > coalesce({bound}, '')) UNION ALL SELECT (SELECT min(user_id)::text FROM {source}"
        f" WHERE user_id > ids.user_id), n + 1 FROM ids WHERE ids.user_id IS NOT NULL AND n < {limit})"
        " SELECT user_id FROM ids WHERE user_id IS NOT NULL)"
    )


async def nearest(connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str) -> tuple[str, ...]:
    """Up to three ids like `user_id` among those near it in the alphabet and among recent ones; bounded work."""
    from difflib import get_close_matches

    tables = [table for table in (MEMORIES, RUNS, SESSIONS) if state.may("SELECT", table)]
    if not tables or not user_id:
        return ()
    start = user_id[:1]
    near = [distinct_ids(state, table, bound, str(_CANDIDATES)) for table in tables for bound in ("$1::text", "NULL")]
    recent = [
        f"(SELECT user_id FROM {state.qualified(table)} WHERE user_id <> ''"
        f" ORDER BY created_at DESC LIMIT {_CANDIDATES})"
        for table in tables
        if state.has_index(table, "created_at")
    ]
    async with transaction(connection):
        rows = await connection.fetch(" UNION ".join(near + recent), start)
    found = {row["user_id"] for row in rows} - {user_id}
    folded = {identifier.casefold().strip(): identifier for identifier in sorted(found, reverse=True)}
    close = get_close_matches(user_id.casefold().strip(), folded, n=3, cutoff=0.6)
    return tuple(folded[name] for name in close)
