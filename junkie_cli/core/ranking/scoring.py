"""Scores candidates against a query: Okapi BM25, helped by what was stored in the same sitting.

Candidates are given as numbers, because ten thousand of them are ranked between a message and its first token: which
words of the query each one has (a bit for each), how many words it has in all, and its time.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

SATURATION, LENGTH_NORM = 1.2, 0.4
"""BM25's k1 and b. Memories are short and of about one size: less than the usual 0.75 finds more (`make recall`)."""

INSIDE = 0.3
"""Share of its weight that a word has where it only stands inside of a longer one ("tea" in "steam")."""

SITTING = 1800
"""Seconds without a new text after which another sitting begins."""

NEIGHBOURS = 0.3
"""Share of the mean of a sitting's best three scores that each of its candidates gets.

What a person said in one sitting belongs together: the answer to a question often stands next to the text that has the
words of the question (`make recall` prints the gain).
"""


class Candidate(NamedTuple):
    """A text with at least one word of the query."""

    has: int
    """Bit n is set when the text has word n of the query."""
    length: int
    at: float
    """Seconds since 1970; 0 when it is not known."""
    inside: int = 0
    """Bit n is set when word n stands inside of a longer word."""


class Match(NamedTuple):
    """The place of a candidate in the sequence that was ranked, and its score."""

    place: int
    score: float
    complete: bool
    """Whether it has every word of the query."""
    has: int
    """Bit n is set when it has word n of the query, also inside of a longer word."""
    own_score: float
    """The part of `score` that does not come from its sitting."""


def bits_of(query: Sequence[frozenset[str]]) -> dict[str, int]:
    """For each form of a word of the query, the bits that it sets."""
    bits: dict[str, int] = {}
    for place, forms in enumerate(query):
        for form in forms:
            bits[form] = bits.get(form, 0) | 1 << place
    return bits


def candidate(words: Collection[str], bits: dict[str, int], at: float) -> Candidate:
    """The candidate with these words."""
    has = 0
    for form in bits.keys() & words:
        has |= bits[form]
    return Candidate(has, len(words), at)


def rank(candidates: Sequence[Candidate], counts: Sequence[int], total: int) -> list[Match]:
    """The candidates best first; of two alike the first one wins.

    `counts` says for each word of the query how many texts have it, `total` how many texts there are: `candidates` may
    be only the most likely ones of them.
    """
    if not candidates:
        return []
    weights = _weights(candidates, counts, total)
    mean = sum(one.length for one in candidates) / len(candidates) or 1
    factors = {length: _factor(length / mean) for length in {one.length for one in candidates}}
    scores = [(weights[one.has] + INSIDE * weights[one.inside & ~one.has]) * factors[one.length] for one in candidates]
    every = (1 << len(counts)) - 1
    has = [one.has | one.inside for one in candidates]
    complete = [bits == every for bits in has]
    helped = _helped_by_neighbours(candidates, scores)
    order = sorted(range(len(candidates)), key=lambda place: (not complete[place], -helped[place], place))
    return [Match(place, helped[place], complete[place], has[place], scores[place]) for place in order]


def counts_of(candidates: Iterable[Candidate], words: int) -> list[int]:
    """For each of so many words of the query how many candidates have it."""
    combinations = Counter(one.has | one.inside for one in candidates)
    return [sum(count for has, count in combinations.items() if has >> place & 1) for place in range(words)]


def _weights(candidates: Iterable[Candidate], counts: Sequence[int], total: int) -> dict[int, float]:
    """For each combination of words the sum of their inverse document frequencies."""
    rarities = [math.log(1 + (max(total - having, 0) + 0.5) / (having + 0.5)) for having in counts]
    return {
        has: sum(rarity for place, rarity in enumerate(rarities) if has >> place & 1)
        for has in {one.has for one in candidates} | {one.inside & ~one.has for one in candidates}
    }


def _factor(length: float) -> float:
    """BM25's factor of a word that occurs once in a text of `length` times the mean."""
    return (SATURATION + 1) / (1 + SATURATION * (1 - LENGTH_NORM + LENGTH_NORM * length))


def _helped_by_neighbours(candidates: Sequence[Candidate], scores: Sequence[float]) -> list[float]:
    helped = list(scores)
    for sitting in _sittings(candidates):
        if len(sitting) > 1:
            share = NEIGHBOURS / 3 * sum(sorted((scores[place] for place in sitting), reverse=True)[:3])
            for place in sitting:
                helped[place] += share
    return helped


def _sittings(candidates: Sequence[Candidate]) -> Iterator[list[int]]:
    """Places of the candidates between two pauses. A text without a time has no neighbours."""
    dated = sorted((one.at, place) for place, one in enumerate(candidates) if one.at)
    sitting: list[int] = []
    last = 0.0
    for at, place in dated:
        if at - last > SITTING and sitting:
            yield sitting
            sitting = []
        sitting.append(place)
        last = at
    yield sitting
