"""Finds the memories that match a query, and ranks them: SQL chooses the most likely ones, `ranking` orders these.

Data flows: a `Query` -> a statement over rows of memories -> of the memories that have most of its words (rare words
counting more) so many, and for each word how many memories have it -> `ranked`.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from junkie_cli.core.memories.search_words import rules, search_text, search_text_sql
from junkie_cli.core.ranking.query import Query
from junkie_cli.core.ranking.scoring import Match
from junkie_cli.core.ranking.texts import rank_texts
from junkie_cli.core.ranking.words import FOLDED_LETTERS
from junkie_cli.core.schema.registry import SEARCH_WORDS
from junkie_cli.core.schema.tables import SchemaState
from junkie_cli.core.value_class import frozen


class FoundRow(NamedTuple):
    """A memory that matches; `topics` as JSON text, `updated_at` as it is stored."""

    memory_id: str
    text: str
    topics: str | None
    updated_at: Any
    user_id: str | None

    @property
    def key(self) -> tuple[str, str | None]:
        """What names the memory, even where one id belongs to several owners."""
        return self.memory_id, self.user_id


@frozen
class Found:
    """Memories that match; for each word how many have it, and how many memories there are in all."""

    rows: tuple["FoundRow", ...]
    counts: tuple[int, ...]
    total: int


def ranked(found: Found, query: Query) -> list[Match]:
    """The rows of `found` that have a word of the query, best first; `place` is a row's place in `found.rows`."""
    texts = [
        (search_text(row.text, row.topics), row.updated_at if isinstance(row.updated_at, int) else 0)
        for row in found.rows
    ]
    return rank_texts(texts, query, counts=found.counts, total=found.total)


def matching_sql(state: SchemaState, query: Query, rows: str, total: str, most: int, *, encoding: str) -> str:
    """SQL of one JSON object for `found_of`: the `most` likeliest matches among the memories in `rows`.

    `rows` stands behind FROM and gives rows `m`; `total` is SQL of how many there are. Needs `values_of`.
    """
    words = range(len(query.words))
    stored = not query.inside and state.may("SELECT", SEARCH_WORDS) and not state.filtered(SEARCH_WORDS)
    text = folded(search_text_sql(state), encoding=encoding)
    current = "w.rules = :rules AND w.updated_at IS NOT DISTINCT FROM m.updated_at"
    derived = (
        f" LEFT JOIN {state.qualified(SEARCH_WORDS)} w"
        f" ON w.user_id = m.user_id AND w.memory_id = m.memory_id AND {current}"
    )
    likely = "t.text LIKE ANY(:patterns::text[])"
    has = [f"t.text LIKE ANY(:pattern_{word}::text[])" for word in words]
    if stored:
        text = f"CASE WHEN w.words IS NULL THEN {text} END"  # others need no text
        likely = f"CASE WHEN w.words IS NULL THEN {likely} ELSE w.words @@ :term::text::tsquery END"
        has = [
            f"CASE WHEN w.words IS NULL THEN {pattern} ELSE w.words @@ :term_{word}::text::tsquery END"
            for word, pattern in zip(words, has, strict=True)
        ]
    mask = " | ".join(f"(({condition})::int::bigint << {word})" for word, condition in enumerate(has))
    return f"""(
        WITH found AS MATERIALIZED (
            SELECT m.memory_id, m.memory, m.topics, m.updated_at, m.user_id, {mask} AS has
            FROM {rows}{derived if stored else ""} CROSS JOIN LATERAL (SELECT {text} AS text OFFSET 0) t
            WHERE {likely}
        ),
        combinations AS (SELECT has, count(*) AS rows FROM found GROUP BY has),
        counts AS (
            SELECT word, coalesce(sum(rows) FILTER (WHERE has >> word & 1 = 1), 0)::bigint AS rows
            FROM generate_series(0, {len(words) - 1}) word LEFT JOIN combinations ON true GROUP BY word
        ),
        total AS MATERIALIZED (SELECT {total}),
        weights AS (
            SELECT has, sum(ln(1 + (TABLE total) / greatest(counts.rows, 1)::float8)) AS weight
            FROM combinations JOIN counts ON has >> word & 1 = 1 GROUP BY has
        ),
        best AS (
            SELECT found.*, weight FROM found JOIN weights USING (has)
            ORDER BY weight DESC, updated_at DESC NULLS LAST, memory_id DESC LIMIT {most}
        )
        SELECT json_build_object(
            'total', (TABLE total), 'counts', (SELECT json_agg(rows ORDER BY word) FROM counts),
            'rows', (
                SELECT json_agg(json_build_array(
                    m.memory_id, {state.memory_text()}, m.topics::text, m.updated_at, m.user_id) ORDER BY weight DESC)
                FROM best m
            )
        )
    )"""


def values_of(query: Query) -> dict[str, Any]:
    """The parameters of `matching_sql`."""
    patterns, terms = query.patterns(), query.terms()
    return {
        "rules": rules(query.languages),
        "patterns": [pattern for each in patterns for pattern in each],
        "term": " | ".join(terms),
        **{f"pattern_{word}": each for word, each in enumerate(patterns)},
        **{f"term_{word}": each for word, each in enumerate(terms)},
    }


def found_of(stored: str | Mapping[str, Any]) -> Found:
    """What `matching_sql` gave: the text of the JSON object, or the object."""
    found = json.loads(stored) if isinstance(stored, str) else stored
    rows = tuple(FoundRow(row[0], row[1] or "", *row[2:]) for row in found["rows"] or ())
    return Found(rows, tuple(found["counts"]), found["total"])


def folded(text: str, *, encoding: str) -> str:
    """SQL of `text` in lower case, without the accents of Latin letters where the server's encoding is UTF8.

    Most texts are plain ASCII, for which half of the work is enough.
    """
    if encoding != "UTF8":
        return f"lower({text})"
    accented, plain = "".join(FOLDED_LETTERS), "".join(FOLDED_LETTERS.values())
    letters = f"replace(translate(normalize(lower({text}), NFC), '{accented}', '{plain}'), 'ß', 'ss')"
    return f'(CASE WHEN octet_length({text}) = length({text}) THEN lower({text} COLLATE "C") ELSE {letters} END)'
