"""The order of candidates: every word first, rare words before frequent ones, help from neighbours."""

from hypothesis import given
from hypothesis import strategies as st

from junkie_cli.core.ranking.query import Query
from junkie_cli.core.ranking.scoring import Candidate, Match, bits_of, candidate, counts_of, rank
from junkie_cli.core.ranking.words import search_words


def test_a_text_with_every_word_comes_first() -> None:
    assert _order("tea in Paris", ["Tea, tea and more tea", "Lives in Paris", "Drinks tea at a bar in Paris"])[0] == 2


def test_a_rare_word_counts_more_than_a_frequent_one() -> None:
    texts = ["Likes green tea", "Likes black tea", "Likes red tea", "Plays the oboe every day"]
    assert _order("tea or oboe", texts)[0] == 3


def test_a_short_text_comes_before_a_long_one() -> None:
    assert _order("tea", ["Likes tea and coffee and water and milk and juice", "Likes tea"]) == [1, 0]


def test_of_two_alike_the_first_one_wins() -> None:
    assert _order("tea", ["Likes tea", "Hates tea"]) == [0, 1]


def test_texts_of_the_same_sitting_help_each_other() -> None:
    texts = ["Painted a horse", "Painted a river", "Met a group of friends", "Met a support group"]
    alone = _order("support group painted", texts, times=[0, 90_000, 500_000, 900_000])
    together = _order("support group painted", texts, times=[0, 900_100, 500_000, 900_000])
    assert alone.index(0) < alone.index(1)
    assert together.index(1) < together.index(0)


def test_texts_without_a_time_help_nobody() -> None:
    scores = rank([Candidate(1, 3, 0), Candidate(1, 3, 0)], [2], 9)
    assert scores[0].score == rank([Candidate(1, 3, 5.0), Candidate(1, 3, 90_000.0)], [2], 9)[0].score


def test_nothing_is_ranked_when_there_is_nothing() -> None:
    assert rank([], [0, 0, 0], 100) == []


@given(
    st.lists(st.builds(Candidate, st.integers(1, 7), st.integers(0, 50), st.floats(0, 4e9)), max_size=40),
    st.integers(0, 100),
)
def test_every_candidate_is_ranked_once(candidates: list[Candidate], more: int) -> None:
    matches = _ranked(candidates, 3, len(candidates) + more)
    assert sorted(match.place for match in matches) == list(range(len(candidates)))
    assert all(match.score > 0 for match in matches)
    assert [match.complete for match in matches] == sorted((match.complete for match in matches), reverse=True)


def _order(query: str, texts: list[str], times: list[float] | None = None) -> list[int]:
    words = Query.of(query).words
    bits = bits_of(words)
    found = [
        candidate(set(search_words(text)), bits, at) for text, at in zip(texts, times or [0] * len(texts), strict=True)
    ]
    places = [place for place, one in enumerate(found) if one.has]
    return [places[match.place] for match in _ranked([found[place] for place in places], len(words), len(texts))]


def _ranked(candidates: list[Candidate], words: int, total: int) -> list[Match]:
    return rank(candidates, counts_of(candidates, words), total)
