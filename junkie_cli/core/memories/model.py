"""A memory as a plain value, and how its row is read in every generation of agno's tables."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from junkie_cli.core.foreign import as_text, document, moment
from junkie_cli.core.schema import MEMORIES, SchemaState
from junkie_cli.values import frozen


@frozen
class Memory:
    """One memory. Times are UTC; `created_at` is None in tables of agno 2.2, which did not keep it."""

    memory_id: str
    user_id: str | None
    memory: str
    topics: tuple[str, ...]
    input: str | None
    agent_id: str | None
    team_id: str | None
    created_at: datetime | None
    updated_at: datetime | None


def columns(state: SchemaState) -> str:
    """What a query over `user_memories AS m` selects for `memory_of`. JSON comes as text: no driver set-up needed."""
    created = "m.created_at" if state.has_column(MEMORIES, "created_at") else "NULL::bigint AS created_at"
    return (
        "m.memory_id, m.user_id, m.memory::text AS memory, m.topics::text AS topics, m.input, m.agent_id, m.team_id,"
        f" {created}, m.updated_at"
    )


def text_column(state: SchemaState, column: str = "m.memory") -> str:
    """SQL for the memory's text. agno 2.2 escapes non-ASCII in its json, so the JSON text itself cannot be searched."""
    return f"({state.safe_json(column, MEMORIES, 'memory')} #>> ARRAY[]::text[])"


def memory_of(row: Mapping[str, Any]) -> Memory:
    """The memory in a row selected by `columns`."""
    return Memory(
        row["memory_id"],
        row["user_id"],
        text_of(row["memory"]),
        topics_of(row["topics"]),
        row["input"],
        row["agent_id"],
        row["team_id"],
        moment(row["created_at"]),
        moment(row["updated_at"]),
    )


def text_of(stored: str | None) -> str:
    """The text of a JSON string; any other JSON as it stands. Half characters, which no stream takes, are replaced."""
    return as_text(document(stored, unreadable=stored))


def topics_of(stored: str | None) -> tuple[str, ...]:
    """The topics in a JSON list; anything else but null, which agno writes for none, is one topic."""
    value = document(stored, unreadable=stored)
    return tuple(map(as_text, value)) if isinstance(value, list) else () if value is None else (as_text(value),)
