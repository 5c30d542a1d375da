"""Ranks texts by a query."""

from collections.abc import Sequence
from functools import lru_cache

from junkie_cli.core.ranking.query import Query
from junkie_cli.core.ranking.scoring import Candidate, Match, bits_of, candidate, counts_of, rank
from junkie_cli.core.ranking.words import search_words, without_accents


def rank_texts(
    texts: Sequence[tuple[str, float]],
    query: Query,
    *,
    counts: Sequence[int] | None = None,
    total: int = 0,
) -> list[Match]:
    """Those of `texts` (each with its time in seconds since 1970, 0 for none) that have a word of `query`, best first.

    `counts` says for each word how many texts have it, and `total` how many there are, where `texts` are not all.
    """
    bits = bits_of(query.words)
    every = [_with_inside(candidate(_words(text, query.languages), bits, at), text, query) for text, at in texts]
    places = [place for place, one in enumerate(every) if one.has | one.inside]
    found = [every[place] for place in places]
    having = counts_of(found, len(query.words)) if counts is None else counts
    matches = rank(found, having, total or len(texts))
    return [match._replace(place=places[match.place]) for match in matches]


def _with_inside(found: Candidate, text: str, query: Query) -> Candidate:
    """The candidate with the words that stand inside of other words, too, where these are searched."""
    if not query.inside:
        return found
    plain = without_accents(text.lower())
    inside = sum(1 << place for place, word in enumerate(query.inside) if word in plain)
    return found._replace(inside=inside)


@lru_cache(maxsize=4_000)
def _words(text: str, languages: tuple[str, ...]) -> frozenset[str]:
    return frozenset(search_words(text, languages))
