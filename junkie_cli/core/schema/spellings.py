"""Spellings of a user id that are equal to the database: citext, or a collation that is not deterministic.

Reads warn about them, and exports and changes of one of them refuse: nobody but the database's owner knows whether
they are one person, and each statement compares in its own way.
"""

from typing import TYPE_CHECKING, Any

from junkie_cli.core.errors import DatabaseError, ResultWarning
from junkie_cli.core.sanitize import quoted_id
from junkie_cli.core.schema.tables import SchemaState, literal, quoted, transaction

if TYPE_CHECKING:
    import asyncpg

CODE = "user_spellings"


async def require_one_spelling(
    connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str | None, *, undone: str
) -> None:
    """Raise DatabaseError `user_spellings` where rows have another spelling of this id, equal to the database."""
    if found := await _other_spellings(connection, state, user_id):
        sentence, hint = found
        raise DatabaseError(f"{sentence}; {undone}", hint=hint, code=CODE)


async def spelling_warnings(
    connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str | None
) -> tuple[ResultWarning, ...]:
    """The warning for an answer about this user that shows rows of another spelling, too; by the same rule."""
    found = await _other_spellings(connection, state, user_id)
    return (ResultWarning(CODE, f"{found[0]}: all of these are shown", found[1]),) if found else ()


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
