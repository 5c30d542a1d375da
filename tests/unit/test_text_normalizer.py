"""What counts as the same text, and what does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from junkie_cli.core.text_normalizer import normalized

SAME = [
    ("Likes tea", "likes tea."),
    ("Likes tea", "  LIKES\n\ttea !!! "),
    ("User's name is Ada", "User’s name is Ada"),
    ('Calls it "home"', "calls it „home“"),
    ("Straße", "STRASSE"),
    ("ΟΔΟΣ", "οδός".replace("ό", "ο")),
    ("Café", "CAFE\u0301"),
    ("ﬁnds ﬂats", "Finds flats"),
    ("ＴＥＡ、好き。", "tea 好き"),
    ("Любит Чай", "любит чай"),
    ("Plays well-known songs", "plays well – known songs"),
    ("Cools to −5 degrees", "cools to -5 degrees"),
    ("Wants 1,5 litres", "wants 1.5 litres"),
    ("soft\u00adware", "software"),
    ("\ufeffhello", "hello"),
]
DIFFERENT = [
    ("Knows C", "Knows C++"),
    ("Knows C#", "Knows C"),
    ("Cools to -5 degrees", "Cools to 5 degrees"),
    ("Cools to (-5) degrees", "Cools to (5) degrees"),
    ("Owes 15", "Owes 1.5"),
    ("Has 50%", "Has 50"),
    ("Earns $5", "Earns €5"),
    ("Está casado", "Este casado"),
    ("Tiene 30 años", "Tiene 30 anos"),
    ("Es ist schon da", "Es ist schön da"),
    ("ada@example.org", "ada example org"),
    ("Likes tea", "Likes no tea"),
    ("???", "!!!"),
    ("👍", "👎"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same(one: str, other: str) -> None:
    assert normalized(one) == normalized(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_not_the_same(one: str, other: str) -> None:
    assert normalized(one) != normalized(other)


@given(st.text())
def test_it_is_stable_and_never_empty(text: str) -> None:
    key = normalized(text)
    assert normalized(key) == key
    assert bool(key) == bool(text)
