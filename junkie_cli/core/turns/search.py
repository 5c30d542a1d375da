"""Searches what is kept of one user: memories, and what was said. A question finds what it asks for, best first."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from junkie_cli.core.memories.matching import folded, found_of, matching_sql, ranked, values_of
from junkie_cli.core.postgres.sql import bind
from junkie_cli.core.ranking.query import Query
from junkie_cli.core.ranking.texts import rank_texts
from junkie_cli.core.schema.tables import MEMORIES, RUNS, SchemaState
from junkie_cli.core.turns.reads import ANSWERED, SAID, exchange_of, memory_entry, newest_memories
from junkie_cli.core.turns.types import Exchange, MemoryEntry

if TYPE_CHECKING:
    from junkie_cli.core.postgres.connection import Connection

MOST_SEARCHED = 50_000
"""Newest memories that are searched."""

MOST_RANKED = 500
"""Memories or exchanges that are ranked: the newest, or most likely ones, that have words of the query."""


async def search_memories(
    connection: "Connection", state: SchemaState, user_id: str, text: str, languages: Sequence[str], most: int
) -> list[MemoryEntry]:
    """The user's memories that match `text`, best first, at most `most`. Words are also found inside of longer ones."""
    query = Query.of(text, languages, inside=True)
    if not query.words:
        return []
    rows = newest_memories(state, MOST_SEARCHED)
    total = f"count(*) FROM {state.qualified(MEMORIES)} m WHERE m.user_id = :user_id"
    encoding = connection.server_encoding
    matching = matching_sql(state, query, rows, total, max(most, MOST_RANKED), encoding=encoding)
    found = found_of(await connection.fetchval(*bind(f"SELECT {matching}::text", user_id=user_id, **values_of(query))))
    return [memory_entry(found.rows[match.place][:4]) for match in ranked(found, query)[:most]]


async def search_exchanges(
    connection: "Connection", state: SchemaState, user_id: str, text: str, languages: Sequence[str], most: int
) -> list[Exchange]:
    """The user's exchanges that match `text`, best first, at most `most`."""
    query = Query.of(text, languages, inside=True)
    if not query.words:
        return []
    encoding = connection.server_encoding
    both = folded(f"concat_ws(' ', {SAID}, {ANSWERED})", encoding=encoding)
    mine = f"{state.qualified(RUNS)} r WHERE r.user_id = :user_id AND r.parent_run_id IS NULL"
    statement = f"""
        SELECT r.run_id, r.created_at, r.status, {SAID} AS said, {ANSWERED} AS answered,
            (SELECT count(*) FROM {mine}) AS total
        FROM {mine} AND {both} LIKE ANY(:patterns::text[]) ORDER BY r.created_at DESC LIMIT {MOST_RANKED}"""
    patterns = [pattern for each in query.patterns() for pattern in each]
    rows = await connection.fetch(*bind(statement, user_id=user_id, patterns=patterns))
    found = [exchange_of(row) for row in rows]
    texts = [(f"{each.message} {each.answer}", each.at.timestamp() if each.at else 0.0) for each in found]
    matches = rank_texts(texts, query, total=rows[0]["total"] if rows else 0)
    return [found[match.place] for match in matches[:most]]
