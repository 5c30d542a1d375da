"""Searches memories: a question finds what it asks for, rows with every word first, best match first.

Two phases (docs/decisions/0007-search-with-plain-postgresql.md): the newest rows are ranked by all words of the text.
Where that gives too few rows that have every word and there are older ones, these are searched for every word: by the
full-text index if there is one (words then match from their beginning), otherwise by a scan that does not use the index
on updated_at. Of one user, the newest 50,000 are ranked.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from junkie_cli.core.database import connect
from junkie_cli.core.errors import ResultWarning, UsageError
from junkie_cli.core.memories.listing import NEWEST
from junkie_cli.core.memories.matching import folded, found_of, matching_sql, ranked, values_of
from junkie_cli.core.memories.model import Memory, columns, damaged, memory_of
from junkie_cli.core.memories.search_words import search_text, search_text_sql
from junkie_cli.core.postgres.sql import bind, like
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.ranking.query import Query
from junkie_cli.core.ranking.reason import Reason, reason_of
from junkie_cli.core.ranking.scoring import Match
from junkie_cli.core.ranking.texts import rank_texts
from junkie_cli.core.sanitize import quoted_id
from junkie_cli.core.schema import row_security, spellings, tables
from junkie_cli.core.schema.estimates import all_memories
from junkie_cli.core.schema.tables import MEMORIES, SchemaState
from junkie_cli.core.settings import Settings
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    from junkie_cli.core.postgres.connection import Connection

_RANKED = 200  # matches that are ranked at least: many more than a list shows, so that no good match is lost
_PROBED = 2_000  # newest rows that are ranked where an index finds the others: 2 ms
_MOST_OF_USER = 50_000
_WORD_MEM = "64MB"  # a frequent word's bitmap at 5 million rows: 1.0 s with it, 10 s with the default 4 MB


@frozen
class Found:
    """Memories that match, best first, and why each was found; `more` says that there are others.

    `words_only` says that the full-text index answered: text inside a word was not searched. `newest_only` is the
    number of newest memories among which some words were enough, 0 for all.
    """

    memories: tuple[Memory, ...]
    more: bool
    words_only: bool = False
    newest_only: int = 0
    table_missing: str = ""
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[ResultWarning, ...] = ()


class _Hit(NamedTuple):
    """A memory that matches; without a match where signs alone were searched."""

    memory: Memory
    match: Match | None


@frozen
class _Hits:
    """What was found, best first; see `Found`."""

    best: tuple[_Hit, ...]
    words_only: bool = False
    newest_only: int = 0


async def search_memories(
    settings: Settings,
    text: str,
    *,
    user_id: str | None = None,
    limit: int = 20,
    anywhere: bool = False,
    progress: Progress = SILENT,
) -> Found:
    """The memories that match `text`, those with every word first, then by rank.

    `%`, `_`, quotes and backslashes are just text. `anywhere` looks inside words even where an index could answer
    faster. Raises UsageError for an empty text.
    """
    if not text.strip():
        raise UsageError("there is nothing to search for", hint="for example: junkie memories search tea")
    query = Query.of(text, settings.search_languages, inside=True)
    async with connect(settings, read_only=True) as connection, connection.transaction():
        state = await tables.inspect(connection, settings.layout)
        if not state.has(MEMORIES):
            return Found((), more=False, table_missing=state.name(MEMORIES))
        search = _Search(connection, state, text, query, user_id, max(limit * 2, _RANKED), anywhere, progress)
        found = await search.run()
        spelled = await spellings.spelling_warnings(connection, state, user_id)
    shown = tuple(hit.memory for hit in found.best[:limit])
    reasons = tuple(_reason(hit.match, rank, query, text) for rank, hit in enumerate(found.best[:limit], 1))
    warnings = row_security.warnings(state, MEMORIES) + spelled + damaged(connection, shown)
    more = len(found.best) > limit
    return Found(shown, more, found.words_only, found.newest_only, reasons=reasons, warnings=warnings)


def _reason(match: Match | None, rank: int, query: Query, text: str) -> Reason:
    return Reason("words", rank, None, tuple(text.split())) if match is None else reason_of(match, rank, query)


@frozen
class _Search:
    connection: "Connection"
    state: SchemaState
    text: str
    query: Query
    user_id: str | None
    most: int
    anywhere: bool
    progress: Progress

    async def run(self) -> _Hits:
        if not self.query.words:  # signs alone
            return _Hits(tuple(_Hit(memory, None) for memory in await self._older(False)))
        newest, complete, older = await self._newest()
        if not older or complete >= self.most:
            return _Hits(newest)
        by_index = self._by_index
        rest = await self._older(by_index)
        return _Hits(self._ranked_together(newest, rest, complete), by_index, self._newest_count)

    @property
    def _by_index(self) -> bool:
        words = self.text.split()
        return self.state.has_search_index and not self.anywhere and self.user_id is None and all(map(_is_word, words))

    @property
    def _newest_count(self) -> int:
        if self.user_id is not None:
            return _MOST_OF_USER
        return _PROBED if self._by_index else NEWEST

    async def _newest(self) -> tuple[tuple[_Hit, ...], int, bool]:
        """The newest memories that match, how many of them have every word, and whether there are older memories."""
        count = self._newest_count
        whose = self._whose
        self.progress.step(f"ranking the newest {count:,} of {whose}" if self.user_id is None else f"ranking {whose}")
        table, mine = self.state.qualified(MEMORIES), self._mine
        # Two parts, so that the index on updated_at serves the first.
        dated = (
            f"SELECT * FROM {table} m WHERE {mine} AND m.updated_at IS NOT NULL ORDER BY {self._order} LIMIT {count}"
        )
        undated = f"SELECT * FROM {table} m WHERE {mine} AND m.updated_at IS NULL LIMIT {count}"
        rows = f"(SELECT * FROM ({dated}) m UNION ALL (SELECT * FROM ({undated}) m) LIMIT {count}) m"
        total = f"count(*) FROM (SELECT 1 FROM {table} m WHERE {mine} LIMIT {count + 1}) counted"
        encoding = self.connection.server_encoding
        matching = matching_sql(self.state, self.query, rows, total, self.most, encoding=encoding)
        values = {"user_id": self.user_id, **values_of(self.query)}
        found = found_of(await self.connection.fetchval(*bind(f"SELECT {matching}::text", **values)))
        matches = {found.rows[match.place].key: match for match in ranked(found, self.query)}
        memories = await self._by_keys(matches)
        hits = tuple(_Hit(memories[key], match) for key, match in matches.items() if key in memories)
        return hits, sum(match.complete for match in matches.values()), found.total > count

    async def _by_keys(self, keys: Collection[tuple[str, str | None]]) -> dict[tuple[str, str | None], Memory]:
        if not keys:
            return {}
        statement = f"""
            SELECT {columns(self.state)} FROM {self.state.qualified(MEMORIES)} m
            WHERE m.memory_id = ANY(:memory_ids::text[]) AND {self._mine}"""
        values = {"memory_ids": [memory_id for memory_id, _ in keys], "user_id": self.user_id}
        rows = await self.connection.fetch(*bind(statement, **values))
        return {(row["memory_id"], row["user_id"]): memory_of(row) for row in rows}

    async def _older(self, by_index: bool) -> tuple[Memory, ...]:
        """Memories that have every word, the newest first."""
        self.progress.step(f"searching {'the index of' if by_index else 'through'} {self._whose}")
        condition, values = self._every_word(by_index)
        if by_index:
            await self.connection.execute(f"SET LOCAL work_mem = '{_WORD_MEM}'")
        order = "ORDER BY (m.updated_at + 0) DESC NULLS LAST"
        # Made into text after they were chosen: before, all that have the words would be.
        statement = f"""
            SELECT {columns(self.state)} FROM (
                SELECT m.* FROM {self.state.qualified(MEMORIES)} m WHERE {self._mine} AND {condition}
                {order} LIMIT {self.most}
            ) m {order}"""
        rows = await self.connection.fetch(*bind(statement, user_id=self.user_id, **values))
        return tuple(memory_of(row) for row in rows)

    def _every_word(self, by_index: bool) -> tuple[str, Mapping[str, Any]]:
        """SQL of the condition that a memory has every word, and its values."""
        patterns = self.query.patterns() or [[like(word)] for word in self.text.split()]
        if by_index:
            terms = " & ".join(f"({' | '.join(f'{each[1:-1]}:*' for each in word)})" for word in patterns)
            return "to_tsvector('simple', m.memory #>> ARRAY[]::text[]) @@ to_tsquery('simple', :terms)", {
                "terms": terms
            }
        encoding = self.connection.server_encoding
        text = folded(search_text_sql(self.state), encoding=encoding)
        if not self.query.words:
            text = f"lower({self.state.memory_text()})"
        conditions = [f"{text} LIKE ANY(:word_{number}::text[])" for number in range(len(patterns))]
        return " AND ".join(conditions), {f"word_{number}": each for number, each in enumerate(patterns)}

    def _ranked_together(self, newest: Sequence[_Hit], older: Sequence[Memory], complete: int) -> tuple[_Hit, ...]:
        """Memories with every word, then the newest ones with some."""
        likely = (*(hit.memory for hit in newest[:complete]), *older)
        every = list({(each.memory_id, each.user_id): each for each in likely}.values())
        texts = [
            (search_text(each.memory, " ".join(each.topics)), each.updated_at.timestamp() if each.updated_at else 0.0)
            for each in every
        ]
        best = [_Hit(every[match.place], match) for match in rank_texts(texts, self.query) if match.complete]
        known = {(hit.memory.memory_id, hit.memory.user_id) for hit in best}
        return (*best, *(hit for hit in newest if (hit.memory.memory_id, hit.memory.user_id) not in known))

    @property
    def _order(self) -> str:
        return "m.updated_at DESC" if self.user_id is None else "(m.updated_at + 0) DESC"

    @property
    def _mine(self) -> str:
        if self.user_id is None:
            return "true"
        return "(m.user_id IS NULL OR m.user_id = '')" if not self.user_id else "m.user_id = :user_id"

    @property
    def _whose(self) -> str:
        return all_memories(self.state) if self.user_id is None else f"the memories of {quoted_id(self.user_id)}"


def _is_word(word: str) -> bool:
    """Whether the full-text parser takes `word` as one plain word, so that its prefix can be asked for."""
    return word.isascii() and word.isalnum() and word[0].isalpha()
