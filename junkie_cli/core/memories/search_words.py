"""The words that memories are found by, kept in a table of ours so that ten thousand memories can be searched at once.

What:  for each memory its words (`ranking.words.search_words`), the time and the hash of the text that they come from,
       and the rules by which they were derived.
Owner: `refresh`, for one user at a time: whoever writes a memory (junkie, the bot, an import), its words are missing or
       out of date until the user's next turn has ended. A reader finds memories without current words by their text.
Flow:  user_memories -> junkie_search_words -> `matching`. The words can be derived again at any time: backups keep the
       structure of the table alone.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from junkie_cli.core.memories.change_log import lock_user
from junkie_cli.core.postgres.sql import bind
from junkie_cli.core.ranking.words import VERSION, search_words
from junkie_cli.core.schema.registry import SEARCH_WORDS, Feature
from junkie_cli.core.schema.stored_text import storable
from junkie_cli.core.schema.tables import MEMORIES, SchemaState

if TYPE_CHECKING:
    from junkie_cli.core.postgres.connection import Connection

BATCH = 2_000
"""Memories whose words one transaction derives: about 50 ms."""


def rules(languages: Sequence[str]) -> str:
    """The name of the rules by which words are derived; words of other rules are not used."""
    return " ".join((str(VERSION), *sorted(languages)))


def search_text(memory: str, topics: str | None) -> str:
    """What a memory is found by; `topics` as JSON text."""
    return memory if topics is None else f"{memory} {topics}"


def search_text_sql(state: SchemaState) -> str:
    """The same in SQL, for rows `m`."""
    return f"concat_ws(' ', coalesce({state.memory_text()}, ''), m.topics::text)"


async def refresh(
    connection: "Connection", state: SchemaState, user_id: str, languages: Sequence[str], most: int
) -> bool:
    """Derive missing and outdated words of at most `most` of the user's memories; True when others remain.

    In the caller's transaction. Does nothing where the table cannot be used. Raises ErasedError.
    """
    if not state.keeps(Feature.SEARCH) or state.filtered(MEMORIES) or state.filtered(SEARCH_WORDS):
        return False
    await lock_user(connection, state, user_id)
    names = {"memories": state.qualified(MEMORIES), "words": state.qualified(SEARCH_WORDS)}
    text = search_text_sql(state)
    statement = f"""
        SELECT DISTINCT ON (m.memory_id) m.memory_id, m.updated_at, {text} AS text, md5({text}) AS text_hash
        FROM {names["memories"]} m LEFT JOIN {names["words"]} w
            ON w.user_id = m.user_id AND w.memory_id = m.memory_id
            AND w.rules = :rules AND w.text_hash = md5({text}) AND w.updated_at IS NOT DISTINCT FROM m.updated_at
        WHERE m.user_id = :user_id AND w.user_id IS NULL ORDER BY m.memory_id LIMIT :most"""
    rows = await connection.fetch(*bind(statement, user_id=user_id, rules=rules(languages), most=most))
    await _store(connection, state, user_id, languages, rows)
    gone = f"""
        DELETE FROM {names["words"]} w WHERE w.user_id = :user_id AND NOT EXISTS (
            SELECT 1 FROM {names["memories"]} m WHERE m.user_id = w.user_id AND m.memory_id = w.memory_id)"""
    await connection.execute(*bind(gone, user_id=user_id))
    return len(rows) == most


async def _store(
    connection: "Connection", state: SchemaState, user_id: str, languages: Sequence[str], rows: Sequence[Any]
) -> None:
    if not rows:
        return
    statement = f"""
        INSERT INTO {state.qualified(SEARCH_WORDS)} (user_id, memory_id, updated_at, text_hash, rules, words)
        SELECT :user_id, memory_id, updated_at, text_hash, :rules, array_to_tsvector(string_to_array(words, ' '))
        FROM unnest(:ids::text[], :times::bigint[], :hashes::text[], :words::text[])
            AS derived (memory_id, updated_at, text_hash, words)
        ON CONFLICT (user_id, memory_id) DO UPDATE SET updated_at = excluded.updated_at,
            text_hash = excluded.text_hash, rules = excluded.rules, words = excluded.words"""
    await connection.execute(
        *bind(
            statement,
            user_id=user_id,
            rules=rules(languages),
            ids=[row["memory_id"] for row in rows],
            times=[row["updated_at"] for row in rows],
            hashes=[row["text_hash"] for row in rows],
            words=[storable(" ".join(search_words(row["text"], languages))) for row in rows],
        )
    )
