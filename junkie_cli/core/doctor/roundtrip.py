"""The one check that writes: somebody says something to the real team, and it must be remembered, and then be gone.

A scratch user talks to the rehearsal model through the same team, memory manager and database as everybody; a second
connection must see the memory, a second team must recall it. Then everything of the scratch user is deleted and
recounted. What a killed run left behind is deleted by the next one: the scratch user's id says what it is, and a lock
that dies with its transaction says whether its run is still alive.
"""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from junkie_cli.core import journal
from junkie_cli.core.doctor.context import Context
from junkie_cli.core.doctor.model import Finding, counted, failed, ok
from junkie_cli.core.schema import MEMORIES, OWN_TABLES, RUNS, SESSIONS, SchemaState

if TYPE_CHECKING:
    import asyncpg

    from junkie_cli.core.chat import ChatEvent, Conversation

SCRATCH = "junkie-doctor-"
"""Every scratch user's id begins so."""

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended($1, 7318))"
_TRY_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 7318))"


class _Broken(Exception):
    """The roundtrip got no further; holds what to say."""

    def __init__(self, detail: str, hint: str) -> None:
        super().__init__(detail)
        self.finding = failed(detail, hint, blocks=False)


async def roundtrip(context: Context) -> Finding:
    """Do it, and leave nothing. Raises Waits where a chat would first have to make tables, DatabaseError."""
    from junkie_cli.core.doctor.schema import require_tables_of_today
    from junkie_cli.core.doctor.team import load_chat

    state = context.schema
    require_tables_of_today(state)
    await load_chat()
    swept = await _sweep(context, state)
    user = SCRATCH + secrets.token_hex(8)
    try:
        async with _alive(context, user):
            try:
                await _remembered_and_recalled(context, state, user)
            finally:
                await _erase(context, state, user)
    except _Broken as broken:
        return broken.finding
    left = await _count(context, state, user)
    if left:
        return failed(
            f"{left} rows of the scratch user {user} are still there after they were deleted",
            f"a trigger or another program writes them back; then: junkie users erase {user} --yes",
        )
    tidied = f"; what {counted(swept, 'broken-off run', 'broken-off runs')} had left is deleted" if swept else ""
    return ok(f"remembered, seen by a second connection, recalled by a second team, erased to the last row{tidied}")


@asynccontextmanager
async def _alive(context: Context, user: str) -> AsyncIterator[None]:
    """Hold the scratch user's lock: it ends with this process, however that ends."""
    async with context.connection(read_only=False) as connection, connection.transaction():
        await connection.execute(_LOCK, user)
        yield


# --- remembering ------------------------------------------------------------------------------------------------------


async def _remembered_and_recalled(context: Context, state: SchemaState, user: str) -> None:
    name = "Doctor" + "".join(secrets.choice("abcdefghijkmnopqrstuvwxyz") for _ in range(8))
    events = await _said(context, user, f"My name is {name}.")
    added = [event for event in events if _is(event, "Memory") and event.action == "added"]
    if not added:
        raise _Broken(
            f"something was said about the user, and no memory came of it{_why(events)}",
            f"look at triggers and row-level security of {state.qualified(MEMORIES)}; "
            "junkie doctor --only memory.enabled,database.rights tells more",
        )
    await _check_seen(context, state, user, str(added[0].memory_id), name)
    answer = await _said(context, user, "What is my name?")
    done = next(event for event in answer if _is(event, "Done"))
    if name not in done.answer:
        raise _Broken(
            f"the memory is in the database, and a second team does not know it{_why(answer)}",
            f"look at triggers and row-level security of {state.qualified(MEMORIES)}; "
            "junkie doctor --only memory.enabled,schema.version tells more",
        )


async def _said(context: Context, user: str, message: str) -> "list[Any]":
    """One turn in a conversation of its own: its own team, connections and session."""
    from junkie_cli.core.chat import Conversation

    conversation = await Conversation.open(context.settings, user, offline=True)
    try:
        return await _events(conversation, message)
    finally:
        await conversation.close()


async def _events(conversation: "Conversation", message: str) -> "list[ChatEvent]":
    return [event async for event in conversation.send(message)]


def _is(event: object, kind: str) -> bool:
    return type(event).__name__ == kind


def _why(events: "list[Any]") -> str:
    """What the turn itself said of it."""
    told = [event.message for event in events if _is(event, "Warning")]
    told += [event.error.message for event in events if _is(event, "Done") and event.error is not None]
    return f": {told[0]}" if told else ""


async def _check_seen(context: Context, state: SchemaState, user: str, memory_id: str, name: str) -> None:
    async with context.connection() as connection, connection.transaction():
        text = await connection.fetchval(
            f"SELECT memory #>> '{{}}' FROM {state.qualified(MEMORIES)} WHERE memory_id = $1 AND user_id = $2",
            memory_id,
            user,
        )
    if text is None or name not in text:
        raise _Broken(
            "a memory was written, and a second connection does not see it",
            "look what stands between: a pooler that leads to another server, a replica in POSTGRES_URL, or a trigger "
            f"on {state.qualified(MEMORIES)} that changes what is stored",
        )


# --- leaving nothing --------------------------------------------------------------------------------------------------


def _tables(state: SchemaState) -> list[str]:
    """Every table with a user_id; runs before the sessions that they hang on."""
    found = [name for name, table in sorted(state.tables.items()) if "user_id" in table.columns]
    sessions, runs = state.name(SESSIONS), state.name(RUNS)
    return sorted(found, key=lambda name: (name == sessions, name != runs, name not in OWN_TABLES))


async def _erase(context: Context, state: SchemaState, user: str) -> None:
    """Delete every row of a scratch user. No tombstone, no ledger: nobody was there."""
    if not user.startswith(SCRATCH):
        raise ValueError("only a scratch user is deleted here")
    async with context.connection(read_only=False) as connection, connection.transaction():
        await journal.mark_writer(connection, "junkie")
        await _delete(connection, state, user)


async def _delete(connection: "asyncpg.Connection[Any]", state: SchemaState, user: str) -> None:
    for table in _tables(state):
        await connection.execute(f"DELETE FROM {state.qualified(table)} WHERE user_id::text = $1", user)


async def _count(context: Context, state: SchemaState, user: str) -> int:
    parts = [f"(SELECT count(*) FROM {state.qualified(name)} WHERE user_id::text = $1)" for name in _tables(state)]
    async with context.connection() as connection, connection.transaction():
        return int(await connection.fetchval(f"SELECT {' + '.join(parts)}", user))


async def _sweep(context: Context, state: SchemaState) -> int:
    """Delete what runs that were killed left behind; how many scratch users that were."""
    ids = " UNION ".join(
        f"SELECT user_id::text FROM {state.qualified(name)} WHERE user_id::text LIKE '{SCRATCH}%'"
        for name in _tables(state)
    )
    async with context.connection() as connection, connection.transaction():
        users = [row["user_id"] for row in await connection.fetch(ids)]
    swept = 0
    for user in users:
        async with context.connection(read_only=False) as connection, connection.transaction():
            if await connection.fetchval(_TRY_LOCK, user):
                await journal.mark_writer(connection, "junkie")
                await _delete(connection, state, user)
                swept += 1
    return swept
