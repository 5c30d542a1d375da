"""Searching memories: every word of the text must be in a memory, in any case; the best match comes first.

Two phases beat any single statement (docs/decisions/0007-search-with-plain-postgresql.md): the newest rows first, where
a frequent word is found in milliseconds, then the whole table: by the full-text index if there is one (words then match
from their beginning), otherwise by a scan that does not use the index on updated_at.
"""

import re
from typing import TYPE_CHECKING, Any

from junkie_cli.core.database import connect
from junkie_cli.core.errors import ResultWarning, UsageError
from junkie_cli.core.memories.listing import NEWEST, contains
from junkie_cli.core.memories.model import Memory, columns, damaged, memory_of
from junkie_cli.core.postgres.sql import Where, like
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.sanitize import quoted_id
from junkie_cli.core.schema import row_security, spellings, tables
from junkie_cli.core.schema.estimates import all_memories
from junkie_cli.core.schema.tables import MEMORIES, SchemaState
from junkie_cli.core.settings import Settings
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

# More than the list shows are ranked, so that a good match is not lost to a newer poor one.
_RANKED = 4
_PROBED = 2_000  # newest rows that tell how frequent words are, before an index is asked: 2 ms
_WORD_MEM = "64MB"  # a frequent word's bitmap at 5 million rows: 1.0 s with it, 10 s with the default 4 MB


@frozen
class Found:
    """Memories that match, best first; `more` says that there are others.

    `words_only` says that the full-text index answered: text inside a word was not looked for.
    """

    memories: tuple[Memory, ...]
    more: bool
    words_only: bool = False
    table_missing: str = ""
    warnings: tuple[ResultWarning, ...] = ()


async def search_memories(
    settings: Settings,
    text: str,
    *,
    user_id: str | None = None,
    limit: int = 20,
    anywhere: bool = False,
    progress: Progress = SILENT,
) -> Found:
    """The memories in which each word of `text` occurs, whole phrases and whole words before others, then the newest.

    `%`, `_`, quotes and backslashes are just text. `anywhere` looks inside words even where an index could answer
    faster. Raises UsageError for an empty text.
    """
    words = text.split()
    if not words:
        raise UsageError("there is nothing to search for", hint="for example: junkie memories search tea")
    async with connect(settings, read_only=True) as connection, connection.transaction():
        state = await tables.inspect(connection, settings.layout)
        if not state.has(MEMORIES):
            return Found((), more=False, table_missing=state.name(MEMORIES))
        by_index = state.has_search_index and not anywhere and user_id is None and all(map(_is_word, words))
        rows = await _candidates(connection, state, words, user_id, limit * _RANKED, by_index, progress)
        spelled = await spellings.spelling_warnings(connection, state, user_id)
    memories = sorted((memory_of(row) for row in rows), key=lambda memory: _rank(memory, text, words))
    warnings = row_security.warnings(state, MEMORIES) + spelled + damaged(connection, memories[:limit])
    return Found(tuple(memories[:limit]), more=len(memories) > limit, words_only=by_index, warnings=warnings)


def _is_word(word: str) -> bool:
    """Whether the full-text parser takes `word` as one plain word, so that its prefix can be asked for."""
    return word.isascii() and word.isalnum() and word[0].isalpha()


async def _candidates(
    connection: "asyncpg.Connection[Any]",
    state: SchemaState,
    words: list[str],
    user_id: str | None,
    count: int,
    by_index: bool,
    progress: Progress,
) -> list[Any]:
    table = state.qualified(MEMORIES)
    if user_id is None:
        progress.step(f"looking at the newest {NEWEST:,} of {all_memories(state)}, then at all")
        for newest in (_PROBED, NEWEST) if by_index else (NEWEST,):
            rows = await _among_newest(connection, state, words, newest, count)
            if len(rows) == count:
                return rows
            if len(rows) * NEWEST < count * newest:
                break  # too rare to be found often enough among so few
    where = _holds_all(state, Where().owned_by("m.user_id", user_id), words)
    progress.step(f"looking {'up the words in the index of' if by_index else 'through'} {_whose(state, user_id)}")
    if by_index:
        await connection.execute(f"SET LOCAL work_mem = '{_WORD_MEM}'")
        query = " & ".join(f"{word}:*" for word in words)
        where.add("to_tsvector('simple', m.memory #>> ARRAY[]::text[]) @@ to_tsquery('simple', {})", query)
    order = "ORDER BY (m.updated_at + 0) DESC NULLS LAST"
    # Made into text after they were chosen: before, all that hold the words would be.
    rows = await connection.fetch(
        f"SELECT {columns(state)} FROM (SELECT m.* FROM {table} m WHERE {where.sql} {order}"
        f" LIMIT {where.argument(count)}) m {order}",
        *where.arguments,
    )
    return list(rows)


async def _among_newest(
    connection: "asyncpg.Connection[Any]", state: SchemaState, words: list[str], newest: int, count: int
) -> list[Any]:
    where = _holds_all(state, Where(), words)
    return list(
        await connection.fetch(
            f"SELECT {columns(state)} FROM (SELECT * FROM {state.qualified(MEMORIES)} m"
            f" WHERE m.updated_at IS NOT NULL ORDER BY m.updated_at DESC LIMIT {newest}) m"
            f" WHERE {where.sql} ORDER BY m.updated_at DESC LIMIT {where.argument(count)}",
            *where.arguments,
        )
    )


def _whose(state: SchemaState, user_id: str | None) -> str:
    return all_memories(state) if user_id is None else f"the memories of {quoted_id(user_id)}"


def _holds_all(state: SchemaState, where: Where, words: list[str]) -> Where:
    for word in words:
        where.add(contains(state, word), like(word))
    return where


def _rank(memory: Memory, text: str, words: list[str]) -> tuple[bool, int, float]:
    """Smaller is better: the phrase as typed, then more whole words, then newer."""
    said = memory.memory.casefold()
    whole = sum(bool(re.search(rf"(?<!\w){re.escape(word.casefold())}(?!\w)", said)) for word in words)
    newness = memory.updated_at.timestamp() if memory.updated_at else 0.0
    return text.casefold() not in said, -whole, -newness
