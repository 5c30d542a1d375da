"""Conditions, cursors and plain text in LIKE."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from junkie_cli.core.errors import UsageError
from junkie_cli.core.postgres.sql import Where, bind, decode_cursor, encode_cursor, like
from tests.support.texts import texts


def test_conditions_number_their_arguments() -> None:
    where = Where().owned_by("m.user_id", "ada").add("a >= {} AND b <= {}", 1, 2)
    assert where.sql == "(m.user_id = $1) AND (a >= $2 AND b <= $3)"
    assert where.arguments == ["ada", 1, 2]


def test_names_become_numbers_in_the_order_of_their_first_use() -> None:
    assert bind("SELECT :b::text, :a + :b", a=1, b=2, unused=3) == ("SELECT $1::text, $2 + $1", 2, 1)


@pytest.mark.parametrize(
    "sql", ["':a'", "'it''s :a'", '":a"', '"odd "":a"', "x::a", "'{a}'::jsonb", "data #>> '{}'", "1:2", ": a"]
)
def test_what_is_no_parameter_stays_as_it_is(sql: str) -> None:
    assert bind(f"SELECT {sql} WHERE :a", a=1) == (f"SELECT {sql} WHERE $1", 1)


def test_a_name_without_a_value_is_refused() -> None:
    with pytest.raises(KeyError):
        bind("SELECT :a", b=1)


def test_nobody_everybody_and_no_condition() -> None:
    assert Where().owned_by("u", None).sql == "true"
    assert Where().owned_by("u", "").sql == "((u IS NULL OR u = ''))"


@given(st.none() | st.integers(-(2**62), 2**62), texts())
def test_a_cursor_comes_back(number: int | None, text: str) -> None:
    cursor = encode_cursor([number, text.encode("utf-8", "replace").decode()])
    assert re.fullmatch(r"[\w-]*", cursor, re.ASCII)
    assert decode_cursor(cursor, int, str) == [number, text.encode("utf-8", "replace").decode()]


@pytest.mark.parametrize(
    "cursor", ["", "x", "!!", "W10", encode_cursor([1]), encode_cursor(["a", "b"]), "ünix", "W" * 999]
)
def test_a_foreign_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(UsageError):
        decode_cursor(cursor, int, str)


@given(texts())
def test_like_takes_every_character_as_it_is(text: str) -> None:
    pattern = like(text)
    assert pattern[0] == pattern[-1] == "%"
    assert re.sub(r"\\([\\%_])", r"\1", pattern[1:-1]) == text
    assert not re.search(r"(?<!\\)(?:\\\\)*[%_]", pattern[1:-1])
