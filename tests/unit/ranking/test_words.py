"""Which texts are found by which words: inflections, spellings and scripts."""

import unicodedata

import pytest
import Stemmer
from hypothesis import given
from hypothesis import strategies as st

from junkie_cli.core.ranking.languages import LANGUAGES, SCRIPTS
from junkie_cli.core.ranking.query import Query
from junkie_cli.core.ranking.words import MOST_QUERY_WORDS, search_words
from tests.support.texts import texts

FOUND = [
    # (text, query)
    ("Drives a VW", "VW"),
    ("Moved to the UK", "uk"),
    ("Has an MA in history", "MA"),
    ("Works in IT", "IT"),
    ("Speaks C and Go", "C"),
    ("Has two cats", "cat"),
    ("Has a cat", "cats"),
    ("Expects a baby", "babies"),
    ("Loves babies", "baby"),
    ("Runs every morning", "running"),
    ("Is allergic to nuts", "allergies"),
    ("Works as a programmer", "programming"),
    ("Caroline's dog is old", "Caroline"),
    ("Takes vitamin D3", "d3"),
    ("Heißt Müller", "Mueller"),
    ("Heißt Mueller", "Müller"),
    ("Heißt Müller", "Muller"),
    ("Liest gern Bücher", "Buch"),
    ("Liest ein Buch", "Bücher"),
    ("Wohnt in der Hauptstraße", "Hauptstrasse"),
    ("Goes to Café Roma", "cafe"),
    ("Goes to cafe Roma", "Café"),
    ("Aime l’école de Zoé", "ecole"),
    ("Tiene muchos niños", "niño"),
    ("Mieszka w Łodzi", "lodzi"),
    ("İzmir'de yaşıyor", "izmir"),
    ("Ｌｉｖｅｓ ｉｎ Ｔｏｋｙｏ", "tokyo"),
    ("Eats ﬁsh", "fish"),
    ("हिन्दी में किताबें पढ़ता है", "किताब"),
    ("住在北京", "京"),
    ("住在北京", "北京"),
    ("東京に住んでいます", "東京"),
    ("서울에 살아요", "서울"),
    ("กินอาหารไทย", "ไทย"),
    ("Пьёт чай без сахара", "сахар"),
    ("Μένει στην Αθήνα", "αθηνα"),
    ("يحب القهوة", "قهوة"),
    ("גר בירושלים", "בירושלים"),
]


@pytest.mark.parametrize(("text", "query"), FOUND)
def test_a_text_is_found_by_another_form_of_its_word(text: str, query: str) -> None:
    assert _finds(text, query)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Has two cats", "dog"),
        ("Likes tea", "team"),
        ("Lives in Paris", "parish"),
        ("Speaks French", "frank"),
        ("住在北京", "東"),
        ("चाय पसंद है", "चावल"),
    ],
)
def test_a_text_is_not_found_by_another_word(text: str, query: str) -> None:
    assert not _finds(text, query)


def test_a_question_is_reduced_to_the_words_that_matter() -> None:
    words = Query.of("When did Caroline go to the LGBTQ support group?").words
    assert sorted(min(forms) for forms in words) == ["carolin", "go", "group", "lgbtq", "support"]


def test_a_query_of_frequent_words_alone_keeps_them() -> None:
    assert Query.of("who are you").words == tuple(frozenset({word}) for word in ("who", "are", "you"))


def test_capitals_tell_an_acronym_from_a_frequent_word() -> None:
    assert frozenset({"it"}) in Query.of("Who works in IT?").words
    assert frozenset({"it"}) not in Query.of("WHO SAW IT THERE LAST YEAR?").words


def test_each_configured_language_adds_its_stems() -> None:
    assert not _finds("Elle aime les chevaux", "cheval")
    assert set(search_words("chevaux", ("english", "french"))) >= {"cheval"}


def test_the_languages_are_those_of_the_stemmer() -> None:
    others = {"dutch_porter", "porter", "nepali"}  # variants, and a script without a language of its own
    assert {*LANGUAGES, *SCRIPTS.values()} == set(Stemmer.algorithms()) - others


@given(texts())
def test_every_text_is_found_by_itself(text: str) -> None:
    assert all(forms & set(search_words(text)) for forms in Query.of(text).words)


@given(texts())
def test_composed_and_decomposed_forms_give_the_same_words(text: str) -> None:
    assert search_words(unicodedata.normalize("NFD", text)) == search_words(unicodedata.normalize("NFC", text))


@given(texts())
def test_words_can_be_stored_and_quoted(text: str) -> None:
    for word in search_words(text):
        assert word and not set(word) & set("'\\\0 ") and len(word) <= 120


@given(st.lists(st.text("abcdefghij", min_size=3, max_size=12)))
def test_a_query_has_a_limited_number_of_words(words: list[str]) -> None:
    assert len(Query.of(" ".join(words * 10)).words) <= MOST_QUERY_WORDS


def _finds(text: str, query: str) -> bool:
    words = Query.of(query).words
    return bool(words) and all(forms & set(search_words(text)) for forms in words)
