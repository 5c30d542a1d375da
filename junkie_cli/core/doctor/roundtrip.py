"""The only check that writes: stores, recalls and erases a memory through the real team.

A scratch user uses the same team, memory manager and database as everybody. The rehearsal model answers; the configured
memory model extracts the memory (the rehearsal model with --offline, or if no provider is configured). A second
connection must see the memory, a second team must recall it. Then all rows of the scratch user are deleted and counted
again. The next run deletes what a killed run left: a prefix marks the ids of scratch users, and a transaction-level
lock shows whether a run is still alive.
"""

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from junkie_cli.core.agent.endpoints import Choice, choose
from junkie_cli.core.chat.events import Waiting
from junkie_cli.core.doctor.context import Context
from junkie_cli.core.doctor.model import Finding, failed, ok
from junkie_cli.core.extraction.methods import METHOD_NAMES, MethodStore
from junkie_cli.core.formatting import plural
from junkie_cli.core.memories import change_log
from junkie_cli.core.memories.batches import delete_empty_batches
from junkie_cli.core.postgres.locks import LOCK_ROUND_TRIP, TRY_ROUND_TRIP
from junkie_cli.core.schema import registry
from junkie_cli.core.schema.tables import MEMORIES, RUNS, SESSIONS, SchemaState

if TYPE_CHECKING:
    import asyncpg

    from junkie_cli.core.agent.endpoints import Offline
    from junkie_cli.core.chat import ChatEvent, Conversation

SCRATCH = "junkie-doctor-"
"""The prefix of the ids of scratch users."""


class _Broken(Exception):
    """Raised when a step fails; contains the finding."""

    def __init__(self, detail: str, hint: str) -> None:
        super().__init__(detail)
        self.finding = failed(detail, hint, blocks=False)


async def roundtrip(context: Context) -> Finding:
    """Run all steps, and leave nothing behind. Raises Waits if a chat would first create tables, and DatabaseError."""
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
                report = await _remembered_and_recalled(context, state, user)
            finally:
                await _erase(context, state, user)
    except _Broken as broken:
        return broken.finding
    left = await _count(context, state, user)
    if left:
        return failed(
            f"{plural(left, 'row', 'rows')} of the scratch user {user} remained after the deletion",
            f"a trigger or another program writes them back; then: junkie users erase {user} --yes",
        )
    tidied = f"; deleted leftovers of {plural(swept, 'interrupted run', 'interrupted runs')}" if swept else ""
    return ok(f"{report}stored, seen by a second connection, recalled by a second team, erased completely{tidied}")


@asynccontextmanager
async def _alive(context: Context, user: str) -> AsyncIterator[None]:
    """Hold the lock of the scratch user, which ends with this process."""
    async with context.connection(read_only=False) as connection, connection.transaction():
        await connection.execute(LOCK_ROUND_TRIP, user)
        yield


# --- storing ----------------------------------------------------------------------------------------------------------


async def _remembered_and_recalled(context: Context, state: SchemaState, user: str) -> str:
    """Store and recall a memory; return the report of the extraction. Raises _Broken."""
    from junkie_cli.core.agent.call_log import record_calls

    name = "Doctor" + "".join(secrets.choice("abcdefghijkmnopqrstuvwxyz") for _ in range(8))
    real = context.settings.names_provider and not context.offline
    began = time.monotonic()
    with record_calls() as log:
        events, _ = await _said(context, user, f"My name is {name}.", offline="chat" if real else True)
    seconds = time.monotonic() - began
    added = [event for event in events if _is(event, "MemoryEvent") and event.action == "added"]
    if not added:
        raise _Broken(*_nothing_added(context, state, events, real))
    await _check_seen(context, state, user, str(added[0].memory_id), str(added[0].memory))
    answer, recalled = await _said(context, user, "What is my name?", offline=True)
    if added[0].memory_id not in recalled:
        raise _Broken(
            f"the memory is in the database, but a second team does not recall it{_why(answer)}",
            f"check triggers and row-level security of {state.qualified(MEMORIES)}; "
            "for details: junkie doctor --only memory.enabled,schema.version",
        )
    if name not in str(added[0].memory):
        raise _Broken(
            f"{_memory_choice(context).model} got a name, but extracted another memory: {added[0].memory}",
            "set MEMORY_MODEL to a larger model",
        )
    return _extraction_told(context, seconds, log.calls) if real else "with the rehearsal model: "


def _memory_choice(context: Context) -> Choice:
    return choose(context.settings).memory


def _nothing_added(context: Context, state: SchemaState, events: "list[Any]", real: bool) -> tuple[str, str]:
    """Report why no memory was stored: the model if it failed, else the database."""
    pending = any(_is(event, "MemoryEvent") and event.action == "pending" for event in events)
    detail = f"a message about the user resulted in no memory{_why(events)}"
    if real and (pending or not _why(events)):
        choice = _memory_choice(context)
        return (
            detail if _why(events) else f"{detail}: {choice.model} reports that there is nothing to remember",
            "set MEMORY_MODEL to another model, or run junkie doctor --only model; --offline checks the rest "
            "without the model",
        )
    return detail, (
        f"check triggers and row-level security of {state.qualified(MEMORIES)}; "
        "for details: junkie doctor --only memory.enabled,database.rights"
    )


def _extraction_told(context: Context, seconds: float, calls: "list[Any]") -> str:
    """Report on the real extraction: time and limit, method, tokens and context window."""
    choice = _memory_choice(context)
    limit = context.settings.memory_timeout
    known = MethodStore().get(choice.endpoint.url, choice.model)
    way = f" by {METHOD_NAMES[known.method]}" if known else ""
    in_text = ", written into its text" if known and known.method == "tools" and known.in_text else ""
    tokens = max((call.input_tokens for call in calls if call.part == "memory"), default=0)
    window = context.settings.context_window or context.windows.get((choice.endpoint.url, choice.model))
    report = f"{choice.model} extracted the memory{way}{in_text} in {seconds:.1f} s"
    report += f" (MEMORY_TIMEOUT: {limit:g} s)" if limit else " (no MEMORY_TIMEOUT)"
    if tokens:
        report += f", {tokens:,} prompt tokens" + (f" of a window of {window:,}" if window else "")
    return f"{report}; "


async def _said(context: Context, user: str, message: str, *, offline: "Offline") -> "tuple[list[Any], set[str]]":
    """Run one turn in a new conversation, with its own team, connections and session.

    Returns its events, and the ids of the memories in its prompt.
    """
    from junkie_cli.core.chat import Conversation

    conversation = await Conversation.open(context.settings, user, offline=offline)
    try:
        events = await _events(conversation, message)
        return events, {entry.memory_id for entry in conversation.why()}
    finally:
        await conversation.close()


async def _events(conversation: "Conversation", message: str) -> "list[ChatEvent]":
    """Return the events of one turn. Raises _Broken if a server is still loading its model (a chat waits for that)."""
    events = []
    async for event in conversation.send(message):
        if isinstance(event, Waiting) and event.loading:
            raise _Broken(
                f"{event.provider} is still loading {event.model} (it answers 503, Loading model)",
                "try again later",
            )
        events.append(event)
    return events


def _is(event: object, kind: str) -> bool:
    return type(event).__name__ == kind


def _why(events: "list[Any]") -> str:
    """Return the warnings of the turn."""
    report = [event.message for event in events if _is(event, "Warning")]
    report += [event.error.message for event in events if _is(event, "Done") and event.error is not None]
    return f": {report[0]}" if report else ""


async def _check_seen(context: Context, state: SchemaState, user: str, memory_id: str, memory: str) -> None:
    async with context.connection() as connection, connection.transaction():
        text = await connection.fetchval(
            f"SELECT memory #>> '{{}}' FROM {state.qualified(MEMORIES)} WHERE memory_id = $1 AND user_id = $2",
            memory_id,
            user,
        )
    if text != memory:
        raise _Broken(
            "a memory was stored, but a second connection does not see it",
            "check for a pooler that connects to several servers, a replica in POSTGRES_URL, or a trigger "
            f"on {state.qualified(MEMORIES)} that changes rows",
        )


# --- cleaning up ------------------------------------------------------------------------------------------------------


def _tables(state: SchemaState) -> list[str]:
    """List all tables with a user_id, runs before the sessions that they reference."""
    found = [name for name, table in sorted(state.tables.items()) if "user_id" in table.columns]
    sessions, runs = state.name(SESSIONS), state.name(RUNS)
    return sorted(found, key=lambda name: (name == sessions, name != runs, name not in registry.own_tables()))


async def _erase(context: Context, state: SchemaState, user: str) -> None:
    """Delete all rows of a scratch user, without a tombstone or an entry in the list of erasures."""
    if not user.startswith(SCRATCH):
        raise ValueError("not a scratch user")
    async with context.connection(read_only=False) as connection, connection.transaction():
        await change_log.mark_writer(connection, "junkie")
        await _delete(connection, state, user)


async def _delete(connection: "asyncpg.Connection[Any]", state: SchemaState, user: str) -> None:
    for table in _tables(state):
        await connection.execute(f"DELETE FROM {state.qualified(table)} WHERE user_id::text = $1", user)
    await delete_empty_batches(connection, state)


async def _count(context: Context, state: SchemaState, user: str) -> int:
    parts = [f"(SELECT count(*) FROM {state.qualified(name)} WHERE user_id::text = $1)" for name in _tables(state)]
    async with context.connection() as connection, connection.transaction():
        return int(await connection.fetchval(f"SELECT {' + '.join(parts)}", user))


async def _sweep(context: Context, state: SchemaState) -> int:
    """Delete leftovers of killed runs; return the number of scratch users."""
    ids = " UNION ".join(
        f"SELECT user_id::text FROM {state.qualified(name)} WHERE user_id::text LIKE '{SCRATCH}%'"
        for name in _tables(state)
    )
    async with context.connection() as connection, connection.transaction():
        users = [row["user_id"] for row in await connection.fetch(ids)]
    swept = 0
    for user in users:
        async with context.connection(read_only=False) as connection, connection.transaction():
            if await connection.fetchval(TRY_ROUND_TRIP, user):
                await change_log.mark_writer(connection, "junkie")
                await _delete(connection, state, user)
                swept += 1
    return swept
