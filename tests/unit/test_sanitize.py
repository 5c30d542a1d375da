"""The gate: nothing that a database, a model or a file holds can act on the terminal."""

import itertools
import json
import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from junkie_cli.core import sanitize as gate
from junkie_cli.core.sanitize import (
    Sanitizer,
    cut,
    field,
    json_safe,
    one_line,
    pad,
    quoted_id,
    shown,
    unescape_field,
    width,
    wrap,
)
from tests.support.texts import ALPHABET

# Whatever a str can hold, with what is dangerous far more often than chance would have it.
HOSTILE = (
    "\x00\x07\x08\x1b\x7f\x80\x85\x9b\x9d\r\n\t\\\u00ad\u034f\u061c\u115f\u180e\u200b\u200c\u200d\u200e\u200f\u2028\u2029"
    "\u202a\u202e\u2060\u2066\u2069\u3164\ufe0e\ufe0f\ufeff\ufff9\uffa0\uffff\ud83d\ude00\udfff\U000e0041\U000e0100"
)
FRIENDLY = "aZ0#* \u0301\u20e3\u093f\u094d\u0915\u06cc\u0645\u1100\u1161漢字한é👍🏽👩🚀❤🇩🇪ß[]/="
anything = st.text(
    st.one_of(st.sampled_from(ALPHABET), st.sampled_from(HOSTILE), st.sampled_from(FRIENDLY)), max_size=60
)
ACTS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)

SEQUENCES = {
    "colour": "\x1b[31mred\x1b[0m",
    "clear screen": "\x1b[2J\x1b[H",
    "link": "\x1b]8;;https://evil.example\x1b\\here\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "title": "\x1b]0;root@host\x07",
    "device control": "\x1bP+q544e\x1b\\",
    "one-byte CSI": "\x9b31mred",
    "one-byte OSC": "\x9d52;c;ZXZpbA==\x9c",
    "bidi override": "user\u202etxt.exe",
    "isolate": "\u2066a\u2069",
    "nul": "a\x00b",
    "backspace": "safe\x08\x08\x08\x08evil",
    "carriage return": "safe\revil",
    "separators": "a\u2028b\u2029c\x85d",
    "zero width": "pass\u200bword\ufeff\u2060",
    "soft hyphen": "pass\u00adword",
    "lone surrogate": "a\ud800b",
    "tags": "hi\U000e0041\U000e007f",
    "smuggled selectors": "😀\U000e0120\U000e0133",
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_known_sequences_become_visible_text(name: str) -> None:
    for safe in (shown(SEQUENCES[name]), one_line(SEQUENCES[name])):
        assert not ACTS.search(safe)
        assert "\\" in safe or name in {"separators", "carriage return"}
    assert not ACTS.search(field(SEQUENCES[name]))


def test_what_was_neutralised_can_be_read() -> None:
    assert shown("\x1b[31m") == "\\x1b[31m"
    assert shown("a\u202eb") == "a\\u202eb"
    assert shown("\U000e0041") == "\\U000e0041"
    assert shown("a\rb\r\nc\td") == "a\\rb\nc\td"


@given(anything)
def test_nothing_in_any_text_can_act(text: str) -> None:
    for safe in (shown(text), one_line(text)):
        assert not ACTS.search(safe)
        for character in safe:
            assert character in "\n\t\u200c\u200d" or unicodedata.category(character) not in {
                "Cc",
                "Cf",
                "Cs",
                "Zl",
                "Zp",
            }
    assert "\n" not in one_line(text)
    assert "\t" not in one_line(text)
    shown(text).encode("utf-8")


@given(anything, st.lists(st.integers(0, 60)))
@example("\r\n", [1])
@example("👩‍🚀❤️", [1, 2, 3])
@example("\ud83d\ude00", [1])
def test_pieces_come_out_as_the_whole_would(text: str, splits: list[int]) -> None:
    streaming = Sanitizer()
    edges = [0, *sorted(min(split, len(text)) for split in splits), len(text)]
    pieces = [streaming.feed(text[start:end]) for start, end in itertools.pairwise(edges)]
    assert "".join([*pieces, streaming.flush()]) == shown(text)
    assert not ACTS.search("".join(pieces))


def test_a_flushed_gate_is_new() -> None:
    streaming = Sanitizer()
    assert streaming.feed("a\r") == "a"
    assert streaming.flush() == "\\r"
    assert streaming.feed("\n") == "\n"
    assert streaming.flush() == ""


@pytest.mark.parametrize(
    "text",
    [
        "👩‍🚀",
        "👨‍👩‍👧‍👦",
        "🏳️‍🌈",
        "👩🏽‍❤️‍💋‍👨🏿",
        "1️⃣",
        "❤️",
        "می‌خواهم",
        "क्‍ष",
        "Việt Nam",
        "한국어",
        "\u1112\u1161\u11ab",
        "שָׁלוֹם",
        "漢字",
    ],
)
def test_real_writing_stays_as_it_is(text: str) -> None:
    assert shown(text) == text
    assert unescape_field(field(text)) == text


@pytest.mark.parametrize(
    "text", ["a\u200db", "\u200d", "😀\u200d", "a\ufe0f", "😀\ufe0f\ufe0f", "ab\u200cc", "1\ufe0fx"]
)
def test_joiners_and_selectors_out_of_place_become_visible(text: str) -> None:
    assert "\\u" in shown(text)


def test_floods_of_marks_and_joiners_end() -> None:
    assert shown("e" + "\u0301" * 5000) == "e" + "\u0301" * 8 + "\ufffd"
    assert shown("\u0301x") == "\u25cc\u0301x"
    assert shown("a\n\u0301x") == "a\n\u25cc\u0301x"
    assert shown("👩" + "\u200d👩" * 100).count("\u200d") == 100 - 11


@given(anything)
def test_fields_lose_nothing(text: str) -> None:
    safe = field(text)
    assert unescape_field(safe) == text
    assert "\t" not in safe
    assert "\n" not in safe


def test_fields_are_escaped_as_copy_does() -> None:
    assert field("a\tb\nc\\d\x1be\rf") == "a\\tb\\nc\\\\d\\x1be\\rf"
    assert field("\x9b\u202e") == "\\xc2\\x9b\\xe2\\x80\\xae"


@given(
    st.recursive(
        st.one_of(anything, st.integers(), st.none()), lambda inner: st.lists(inner) | st.dictionaries(anything, inner)
    )
)
def test_json_is_safe_and_loses_nothing(document: object) -> None:
    safe = json_safe(json.dumps(document, ensure_ascii=False))
    assert not ACTS.search(safe)
    safe.encode("utf-8")
    # Two halves of one character become that character, as in any JSON text.
    assert json.loads(safe) == json.loads(json.dumps(document))


@given(anything, st.integers(0, 40))
def test_cut_text_fits_and_says_that_it_was_cut(text: str, columns: int) -> None:
    line = one_line(text)
    short = cut(line, columns)
    assert width(short) <= columns
    assert short == line if width(line) <= columns else not short or short.endswith("…")
    assert width(pad(short, columns)) == columns


@given(anything, st.integers(2, 30))
def test_wrapped_text_fits_and_loses_only_spaces_at_breaks(text: str, columns: int) -> None:
    safe = shown(text)
    lines = wrap(safe, columns)
    assert all(width(line) <= columns for line in lines)
    assert "".join("".join(lines).split()) == "".join(safe.split())


def test_text_is_wrapped_at_spaces() -> None:
    assert wrap("the quick brown fox", 10) == ["the quick", "brown fox"]
    assert wrap("a\n\nb", 10) == ["a", "", "b"]
    assert wrap("abcdefghij", 4) == ["abcd", "efgh", "ij"]
    assert wrap("漢字漢字", 5) == ["漢字", "漢字"]


def test_width_is_that_of_columns() -> None:
    assert width("abc") == 3
    assert width("漢字") == 4
    assert width("e\u0301") == 1
    assert width("👩🚀") == 4
    assert width("👩‍🚀") == 2
    assert width("👍🏽") == 2
    assert width("❤️") == 2
    assert width("\U0001fae8") == 2
    assert cut("漢字漢字", 6) == "漢字…"
    assert cut("漢字漢字", 8) == "漢字漢字"
    assert cut("e\u0301e\u0301e\u0301", 2) == "e\u0301…"


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "Ünïcödé",
        "漢字かなカナ",
        "한국어",
        "ﾊﾝｶｸ",
        "ＦＵＬＬ",
        "Ελληνικά",
        "русский",
        "שָׁלוֹם",
        "مرحبا",
        "ไทยภาษา",
        "e\u0301\u0323",
        "👩‍🚀 👍🏽 ❤️ 🏳️‍🌈",
        "😀🚀🎉",
        "→ ✓ ★ … “ ”",
        "€ £ ½ °",
        "─│█▌",
    ],
)
def test_cells_are_as_wide_as_terminals_draw_them(text: str) -> None:
    from wcwidth import wcwidth

    line = one_line(text)
    assert width(line) == sum(wcwidth(character) for character in line)


def test_what_counts_as_inert_is_inert_in_unicode() -> None:
    for code in range(0x20, 0x30000):
        character = chr(code)
        if gate.inert_run().fullmatch(character):
            assert not gate._is_hostile(character), hex(code)
            assert not gate._is_mark(character), hex(code)


def test_large_texts_pass_in_time_that_grows_with_their_length() -> None:
    hostile = "\x1b[31m漢字\u0301\u202e" * 20_000
    assert len(shown(hostile)) > len(hostile)
    assert cut(one_line(hostile)[:4096], 80).endswith("…")


@pytest.mark.parametrize("text", ["[/]", "[link=https://evil.example]x[/link]", "[bold]x", "\\[red]", "[red]x[/red]"])
def test_markup_is_just_text(text: str) -> None:
    assert shown(text) == text
    assert one_line(text) == text


def test_ids_in_sentences() -> None:
    for plain in ("ada", "Ada.Lovelace@example.org", "36d03949-ce7f", "discord:1234", "J\xfcrgen", "\u6f22\u5b57"):
        assert quoted_id(plain) == plain
    assert quoted_id(None) == quoted_id("") == "nobody"
    assert quoted_id("zed ") == '"zed "'
    assert quoted_id("a\nb") == '"a\\nb"'
    assert quoted_id('a"b') == '"a\\"b"'
    assert quoted_id("rene\u0301") == '"rene\\u0301"'
    assert quoted_id("a\u200bb") == '"a\\u200bb"'
