"""A memory as a plain value, and how its row is read in every generation of agno's tables."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from junkie_cli.core.errors import ResultWarning
from junkie_cli.core.foreign_values import REPLACED, as_text, as_time, document, marked
from junkie_cli.core.formatting import plural
from junkie_cli.core.schema.tables import MEMORIES, SchemaState
from junkie_cli.core.value_class import frozen

_NAMED = 10


@frozen
class Memory:
    """One memory. Times are UTC; `created_at` is None in tables of agno 2.2, which did not keep it."""

    memory_id: str
    user_id: str | None
    """null: it belongs to nobody"""
    memory: str
    topics: tuple[str, ...]
    input: str | None
    """the message that it was taken from"""
    agent_id: str | None
    team_id: str | None
    created_at: datetime | None
    """null where the table is agno 2.2's, which did not keep it"""
    updated_at: datetime | None


def columns(state: SchemaState) -> str:
    """What a query over `user_memories AS m` selects for `memory_of`. JSON comes as text: no driver set-up needed."""
    created = "m.created_at" if state.has_column(MEMORIES, "created_at") else "NULL::bigint AS created_at"
    return (
        "m.memory_id, m.user_id, m.memory::text AS memory, m.topics::text AS topics, m.input, m.agent_id, m.team_id,"
        f" {created}, m.updated_at"
    )


def memory_of(row: Mapping[str, Any]) -> Memory:
    """The memory in a row selected by `columns`."""
    return Memory(
        row["memory_id"],
        row["user_id"],
        text_of(row["memory"]),
        topics_of(row["topics"]),
        None if row["input"] is None else marked(row["input"]),
        row["agent_id"],
        row["team_id"],
        as_time(row["created_at"]),
        as_time(row["updated_at"]),
    )


def damaged(connection: Any, memories: Iterable[Memory]) -> tuple[ResultWarning, ...]:
    """A warning that names the memories in which bytes were replaced; only a database without an encoding has them."""
    if not connection.reads_bytes:
        return ()
    found = [each.memory_id for each in memories if REPLACED in f"{each.memory}{each.topics}{each.input}"]
    return damage_of(found)


def damage_of(memory_ids: Sequence[str]) -> tuple[ResultWarning, ...]:
    """The warning about these memories; none without any."""
    return replaced_in(memory_ids, "memory", "memories")


def replaced_in(names: Sequence[str], one: str, many: str) -> tuple[ResultWarning, ...]:
    """The warning that names where bytes were replaced, each name one of `many`; none without any."""
    if not names:
        return ()
    named = ", ".join(map(marked, names[:_NAMED])) + (", ..." if len(names) > _NAMED else "")
    return (
        ResultWarning(
            "bytes_replaced",
            f"bytes that are not UTF-8 were replaced by U+FFFD in {plural(len(names), one, many)}: {named}",
            "the database has no encoding (SQL_ASCII): correct these texts, or move into a database of encoding UTF8",
        ),
    )


def text_of(stored: str | None) -> str:
    """The text of a JSON string; any other JSON as it stands. Half characters, which no stream takes, are replaced."""
    return as_text(document(stored, unreadable=stored))


def topics_of(stored: str | None) -> tuple[str, ...]:
    """The topics in a JSON list; anything else but null, which agno writes for none, is one topic."""
    value = document(stored, unreadable=stored)
    return tuple(map(as_text, value)) if isinstance(value, list) else () if value is None else (as_text(value),)
