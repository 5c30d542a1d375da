"""User ids as the database knows them: which ids there are, and which one a person may have meant."""

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from junkie_cli.core.errors import DatabaseError, ResultWarning, UsageError
from junkie_cli.core.sanitize import quoted_id
from junkie_cli.core.schema.stored_text import storable
from junkie_cli.core.schema.tables import MEMORIES, RUNS, SESSIONS, SchemaState, literal, quoted, transaction
from junkie_cli.core.table_layout import TableRef

if TYPE_CHECKING:
    import asyncpg

LONGEST_ID = 200
SPELLINGS = "user_spellings"

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


async def require_one_spelling(
    connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str | None, *, undone: str
) -> None:
    """Raise DatabaseError `user_spellings` where rows have another spelling of this id that is equal to the database.

    Nobody but the database's owner knows whether those are one person, and each statement compares in its own way.
    """
    if found := await _other_spellings(connection, state, user_id):
        sentence, hint = found
        raise DatabaseError(f"{sentence}; {undone}", hint=hint, code=SPELLINGS)


async def spelling_warnings(
    connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str | None
) -> tuple[ResultWarning, ...]:
    """The warning for an answer about this user that shows rows of another spelling, too; by the same rule."""
    found = await _other_spellings(connection, state, user_id)
    return (ResultWarning(SPELLINGS, f"{found[0]}: all of these are shown", found[1]),) if found else ()


async def _other_spellings(
    connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str | None
) -> tuple[str, str] | None:
    """A sentence about the other spellings of this id that rows have, and what to do; None without any."""
    loose = {name: table for name, table in state.tables.items() if table.loose_owner and "SELECT" in table.privileges}
    if not user_id or not loose:
        return None
    names = {name: f"{quoted(state.schema)}.{quoted(name)}" for name in loose}
    parts = [
        f'SELECT DISTINCT {literal(name)} AS name, user_id::text COLLATE "C" AS user_id FROM {names[name]}'
        f" WHERE user_id = $1::text::{table.columns['user_id']}"
        for name, table in loose.items()
    ]
    async with transaction(connection):
        rows = await connection.fetch(" UNION ".join(parts), user_id)
    others = sorted({row["user_id"] for row in rows} - {user_id})
    if not others:
        return None
    found = sorted({row["name"] for row in rows if row["user_id"] != user_id})
    return (
        f"to the database {', '.join(map(quoted_id, others))} and {quoted_id(user_id)} are one user id in"
        f" {', '.join(found)} (citext, or a collation that is not deterministic)",
        "one person: give all their rows one spelling, and name that. Several: "
        + "; ".join(f'ALTER TABLE {names[name]} ALTER COLUMN user_id TYPE varchar COLLATE "default"' for name in found),
    )


async def nearest(connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str) -> tuple[str, ...]:
    """Up to three ids like `user_id` among those near it in the alphabet and among recent ones; bounded work."""
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
