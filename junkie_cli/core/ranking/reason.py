"""Why a text was chosen, as one value: for `/why`, `chat --json` and `memories search --explain`.

Made only for what was chosen, after it was ranked: ranking itself stays as fast as it is. Loads nothing.
"""

from collections.abc import Collection, Hashable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Literal, TypeVar

from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    from junkie_cli.core.ranking.query import Query
    from junkie_cli.core.ranking.scoring import Match

_Key = TypeVar("_Key", bound=Hashable)

_DESCRIPTIONS = {
    "words": "",
    "neighbour": "neighbour of the same sitting",
    "newest": "newest",
    "all": "all memories fit",
}


@frozen
class Reason:
    """Why a text was chosen, and its rank."""

    kind: Literal["words", "neighbour", "newest", "all"]
    """words: it has words of the query; neighbour: it has, but most of its score comes from other texts of its sitting;
    newest: there was room left for it; all: everything fits"""
    rank: int | None
    """its place in the ranking, from 1; null when it has no word of the query"""
    score: float | None
    """what it was ranked by, after texts with every word came first; null when it has no word of the query"""
    words: tuple[str, ...]
    """the words of the query that it has, as they were typed, in lower case"""

    def described(self) -> str:
        """The reason in words, without rank and score: "newest; has: tea"."""
        has = f"{'has: ' if _DESCRIPTIONS[self.kind] else 'words: '}{', '.join(self.words)}" if self.words else ""
        return "; ".join(part for part in (_DESCRIPTIONS[self.kind], has) if part)


def reason_of(match: "Match", rank: int, query: "Query") -> Reason:
    """Why the text with this match was found."""
    words = tuple(word for place, word in enumerate(query.typed) if match.has >> place & 1)
    kind: Literal["words", "neighbour"] = "neighbour" if match.score > 2 * match.own_score else "words"
    return Reason(kind, rank, round(match.score, 3), words)


def reasons_of(
    query: "Query", ranking: "Sequence[tuple[_Key, Match]]", chosen: Collection[_Key], *, all_fit: bool
) -> dict[_Key, Reason]:
    """Why each of `chosen` was chosen: as one of the best of `ranking`, or because there was room left.

    The best were chosen until the first one that did not fit (`selection.fitting`).
    """
    found = {key: reason_of(match, rank, query) for rank, (key, match) in enumerate(ranking, 1) if key in chosen}
    best = set(takewhile(chosen.__contains__, (key for key, _ in ranking)))
    reasons = {}
    for key in chosen:
        reason = found.get(key, _NO_WORDS)
        if all_fit or key not in best:
            reason = Reason("all" if all_fit else "newest", reason.rank, reason.score, reason.words)
        reasons[key] = reason
    return reasons


_NO_WORDS = Reason("newest", None, None, ())
