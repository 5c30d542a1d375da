"""Which memories go into a prompt when not all of them fit: those that match the message best, then the newest.

Flow: one statement gives the newest memories and those that match -> `choose` -> what fits into the budget.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from junkie_cli.core.extraction.reply import LONGEST_MEMORY
from junkie_cli.core.memories.matching import Found, found_of, matching_sql, ranked, values_of
from junkie_cli.core.memories.search_words import search_text
from junkie_cli.core.ranking.query import Query
from junkie_cli.core.ranking.reason import reasons_of
from junkie_cli.core.ranking.selection import fitting, tokens
from junkie_cli.core.ranking.texts import rank_texts
from junkie_cli.core.schema.registry import MEMORIES
from junkie_cli.core.schema.tables import SchemaState
from junkie_cli.core.turns.reads import ENTRY, NEWEST, memory_entry, newest_memories
from junkie_cli.core.turns.types import MemoryEntry

MEMORY_BUDGET = 2000
"""Tokens, about, that memories may take of a prompt: on 8,000 a minute (Groq's free tier) one can still talk."""

MOST_MEMORIES = 300
"""Newest memories considered for a prompt; more would not fit the budget however short they are."""

MOST_MATCHES = 200
"""Memories considered for a prompt because they have words of the message: about three times what fits."""

MOST_SEARCHED = 10_000
"""Newest memories that are searched for those words."""

NUMBER_TOKENS = 3
"""Tokens, about, that the number of a memory takes where a model is shown it."""

_MEMORY = "left(m.memory #>> '{}', :longest)"


def memories_sql(state: SchemaState, query: Query, *, encoding: str) -> str:
    """SQL of one JSON text for `chosen`: the newest memories of `:user_id`, and those that match `query`."""
    entry = ENTRY.format(text=_MEMORY)  # made into JSON after they were chosen: before, all of the user's would be
    newest = f"ARRAY(SELECT {entry} FROM {newest_memories(state, MOST_MEMORIES)} {NEWEST})"
    found = "NULL"
    if query.words:
        searched = newest_memories(state, MOST_SEARCHED)
        total = f"count(*) FROM {state.qualified(MEMORIES)} m WHERE m.user_id = :user_id"
        found = matching_sql(state, query, searched, total, MOST_MATCHES, encoding=encoding)
    return f"json_build_object('newest', array_to_json({newest}), 'found', {found})::text"


def memory_values(query: Query) -> dict[str, Any]:
    """The parameters of `memories_sql`, without the user."""
    return {"longest": LONGEST_MEMORY + 1, **(values_of(query) if query.words else {})}


def chosen(stored: str, query: Query, budget: int) -> tuple[tuple[MemoryEntry, ...], int]:
    """The memories that fit into `budget`, newest first, with their reasons, and how many of the newest there were."""
    read = json.loads(stored)
    newest = [shortened(memory_entry(entry)) for entry in read["newest"]]
    found = found_of(read["found"]) if read["found"] else Found((), (), 0)
    known = {entry.memory_id for entry in newest}
    matching = [shortened(memory_entry(row[:4])) for row in found.rows]
    ranking = [(matching[match.place].memory_id, match) for match in ranked(found, query)]
    older = [entry for entry in matching if entry.memory_id not in known]
    entries = newest + sorted(older, key=lambda entry: entry.updated_at.timestamp() if entry.updated_at else 0.0)[::-1]
    fit = _fitting(entries, [memory_id for memory_id, _ in ranking], budget)
    all_fit = len(fit) == len(entries) and len(newest) < MOST_MEMORIES
    reasons = reasons_of(query, ranking, {entry.memory_id: entry for entry in fit}, all_fit=all_fit)
    # Not `replace`: its first use for a class takes a millisecond, before the first token.
    explained = (MemoryEntry(e.memory_id, e.memory, e.topics, e.updated_at, reasons[e.memory_id]) for e in fit)
    return tuple(explained), len(newest)


def choose(
    entries: Sequence[MemoryEntry], message: str, budget: int, languages: Sequence[str], *, extra: int = 0
) -> tuple[MemoryEntry, ...]:
    """Of `entries` (newest first) those that fit into `budget` tokens, in the same order.

    Each costs `extra` tokens in addition to its text.
    """
    texts = [(search_text(entry.memory, " ".join(entry.topics)), 0.0) for entry in entries]
    matches = rank_texts(texts, Query.of(message, languages))
    return _fitting(entries, [entries[match.place].memory_id for match in matches], budget, extra=extra)


def _fitting(
    entries: Sequence[MemoryEntry], best: Sequence[str], budget: int, *, extra: int = 0
) -> tuple[MemoryEntry, ...]:
    places = {entry.memory_id: place for place, entry in enumerate(entries)}
    costs = [tokens(entry.memory) + extra for entry in entries]
    return tuple(entries[place] for place in fitting(costs, [places[memory_id] for memory_id in best], budget))


def within_budget(entries: Sequence[MemoryEntry], budget: int) -> int:
    """How many of `entries` fit into `budget` tokens."""
    return len(fitting([tokens(entry.memory) for entry in entries], (), budget))


def shortened(entry: MemoryEntry) -> MemoryEntry:
    """A memory as it goes into a prompt: what is cut off is replaced by an ellipsis."""
    if len(entry.memory) <= LONGEST_MEMORY:
        return entry
    return replace(entry, memory=f"{entry.memory[: LONGEST_MEMORY - 1]}…")


def is_shortened(memory: str) -> bool:
    """Whether this is the text of a memory that was shortened for a prompt."""
    return len(memory) == LONGEST_MEMORY and memory.endswith("…")
