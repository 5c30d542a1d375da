"""Why a text was chosen: the words that it has, its sitting, the room that was left, or that everything fits."""

from junkie_cli.core.ranking.query import Query
from junkie_cli.core.ranking.reason import Reason, reasons_of
from junkie_cli.core.ranking.texts import rank_texts

TEXTS = [("Likes Café au lait", 0.0), ("Has two cats", 0.0), ("Lives in Turin", 0.0), ("Runs a café for cats", 0.0)]


def reasons(message: str, chosen: set[int], *, all_fit: bool = False, inside: bool = False) -> dict[int, Reason]:
    query = Query.of(message, inside=inside)
    ranking = [(match.place, match) for match in rank_texts(TEXTS, query)]
    return reasons_of(query, ranking, chosen, all_fit=all_fit)


def test_words_are_named_as_they_were_typed() -> None:
    found = reasons("Is there a Café for my CAT?", {0, 1, 3})
    assert (found[3].kind, found[3].rank, found[3].words) == ("words", 1, ("café", "cat"))
    assert (found[0].words, found[1].words) == (("café",), ("cat",))
    assert sorted(reason.rank or 0 for reason in found.values()) == [1, 2, 3]
    assert (found[3].score or 0) > (found[1].score or 0) > 0


def test_parts_of_words_count_where_they_are_searched() -> None:
    found = reasons("uri", {2}, inside=True)[2]
    assert (found.kind, found.rank, found.words) == ("words", 1, ("uri",))


def test_a_text_that_was_not_among_the_best_is_there_because_it_is_new() -> None:
    message = "Is there a café for my cat?"
    every = reasons(message, {0, 1, 2, 3})
    _, second, third = sorted({0, 1, 3}, key=lambda place: every[place].rank or 0)
    found = reasons(message, {0, 1, 2, 3} - {second})
    assert found[2] == Reason("newest", None, None, ())
    # The second best did not fit: what came after it was not chosen for its words.
    assert found[third] == Reason("newest", 3, every[third].score, every[third].words)


def test_where_everything_fits_that_is_the_reason_and_words_are_still_named() -> None:
    found = reasons("cats", {0, 1, 2, 3}, all_fit=True)
    assert {reason.kind for reason in found.values()} == {"all"}
    assert (found[1].words, found[2].words, found[2].rank) == (("cats",), (), None)


def test_a_text_that_others_of_its_sitting_brought_is_their_neighbour() -> None:
    texts = [(f"Met friends on day {day}", day * 90_000.0) for day in range(1, 60)]
    texts += [(f"Plays the {what} with friends", 9_000_000.0) for what in ("oboe", "violin", "trombone")]
    texts.append(("Invited friends", 9_000_001.0))
    query = Query.of("friends oboe violin trombone")
    ranking = [(match.place, match) for match in rank_texts(texts, query)]
    found = reasons_of(query, ranking, range(len(texts)), all_fit=False)
    assert (found[62].kind, found[62].words) == ("neighbour", ("friends",))
    assert {found[place].kind for place in (0, 59, 60, 61)} == {"words"}


def test_reasons_in_words() -> None:
    assert Reason("words", 1, 2.0, ("green", "tea")).described() == "words: green, tea"
    assert Reason("neighbour", 4, 2.0, ("tea",)).described() == "neighbour of the same sitting; has: tea"
    assert Reason("newest", None, None, ()).described() == "newest"
    assert Reason("all", 2, 1.0, ("tea",)).described() == "all memories fit; has: tea"
