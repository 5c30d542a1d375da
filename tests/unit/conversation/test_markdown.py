"""Streamed Markdown: however it arrives it looks the same, loses nothing, and nothing in it acts on the terminal."""

import re
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from junkie_cli.conversation.markdown import MarkdownStream
from junkie_cli.core.sanitize import Sanitizer, shown, width
from junkie_cli.terminal.style import Look, plain
from tests.support.texts import texts

many_examples = settings(max_examples=150)
COLOURED = Look(colour=True, styles=True, motion=True)
OUR_STYLES = re.compile(r"\x1b\[[0-9;]*m")

EVERYTHING = """\
# Title with `code`

Para one **bold *both*** ~~gone~~ [label](https://example.org/a).
second line

Setext
======

1. one
2. two

   more of two
   ```python
   def f(): return 1
   ```
3. three
   - deep
     - deeper
10. ten

* star
* other

> quoted
> - item
>
> end

| a | b |
|:--|--:|
| x | 1 |
| y | `2` |

```python
def g(x: int) -> str:
    '''doc'''

    return f"{x}"
```

    indented code

---
[ref]: https://example.org
![picture](https://example.org/p.png) &amp; &lt;tag&gt; <b>kept</b>
~~~ text
unclosed
"""

PIECES = st.sampled_from(
    [
        *(
            "# ",
            "## ",
            "- ",
            "* ",
            "1. ",
            "2. ",
            "10) ",
            "> ",
            "    ",
            "\n",
            "\n\n",
            "```",
            "```python\n",
            "~~~",
            "`",
            "**",
        ),
        *(
            "*",
            "_",
            "~~",
            "|",
            "|-|\n",
            "| a | b |\n|---|---|\n",
            "---\n",
            "===\n",
            "[x](y)",
            "[x]: y\n",
            "![a](b)",
            "<b>",
        ),
        *(
            "&#x1b;",
            "&#x202e;",
            "<https://x/%1b[31m>",
            "\\",
            "\t",
            "\r",
            "\r\n",
            "\x1b[31m",
            "\x9b31m",
            "\x1b]52;c;",
            "\u202e",
        ),
        *("word ", "zwölf ", "漢字漢字", "👍🏽", "e\u0301", "a" * 90),
    ]
)
# Of these every terminal, and each table of widths, says the same.
MEASURABLE = st.lists(
    PIECES.filter(lambda piece: "👍" not in piece) | st.text(st.sampled_from("abc 12#-*|ü漢ひ\n"), max_size=8),
    max_size=30,
).map("".join)
MARKDOWN = st.lists(PIECES | texts(max_size=8), max_size=30).map("".join)


def drawn(chunks: list[str], columns: int = 60, look: Look = COLOURED) -> list[str]:
    """What is on the screen in the end, having looked at the open part after each chunk."""
    gate, stream = Sanitizer(), MarkdownStream(columns, look)
    lines: list[str] = []
    for chunk in chunks:
        stream.feed(gate.feed(chunk))
        lines += stream.take()
        stream.open_lines()
    stream.feed(gate.flush())
    stream.finish()
    return lines + stream.take()


def cut(text: str, places: list[int]) -> list[str]:
    ends = sorted({place % (len(text) + 1) for place in places})
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]


def texts(lines: list[str]) -> list[str]:
    return [plain(line) for line in lines]


@many_examples
@given(MARKDOWN, st.lists(st.integers(0, 10_000), max_size=12))
@example(EVERYTHING, list(range(0, 900, 7)))
def test_the_same_text_looks_the_same_however_it_was_cut(text: str, places: list[int]) -> None:
    assert texts(drawn(cut(text, places))) == texts(drawn([text]))


@many_examples
@given(MARKDOWN, st.integers(20, 120))
def test_nothing_but_our_own_styles_can_act_on_the_terminal(text: str, columns: int) -> None:
    for line in drawn([text], columns):
        rest = OUR_STYLES.sub("", line)
        assert not [c for c in rest if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} or c in "\u202a\u202e\u2066"]


@many_examples
@given(MEASURABLE, st.integers(20, 120))
def test_no_line_is_wider_than_the_terminal(text: str, columns: int) -> None:
    assert [line for line in drawn([text], columns) if width(plain(line)) > columns] == []


@pytest.mark.parametrize("columns", [99, 100, 101, 120, 200])
def test_a_wide_terminal_is_used_and_no_line_is_broken_twice(columns: int) -> None:
    words, code = "so many words " * 20, "x" * min(columns, 150)
    lines = drawn(
        [f"- {words}\n- b\n\n> {words}\n\n```\n{code}\n```\n\n| {'y' * 60} | {'z' * 30} |\n|-|-|\n| a | b |\n"], columns
    )
    assert [line for line in lines if "\n" in line or width(plain(line)) > columns] == []
    item = lines[: texts(lines).index("• b")]
    assert len(item) == 3 and all(width(line) > 80 for line in texts(item)[:2])
    assert code in texts(lines)


@many_examples
@given(MEASURABLE, st.integers(20, 120))
def test_the_open_part_is_safe_and_fits_too(text: str, columns: int) -> None:
    stream = MarkdownStream(columns, COLOURED)
    stream.feed(shown(text))
    for line in stream.open_lines():
        assert "\x1b" not in OUR_STYLES.sub("", line)
        assert width(plain(line)) <= columns


@many_examples
@given(
    st.lists(
        st.sampled_from(
            ["# {}", "{}", "- {}", "1. {}", "> {}", "| {} |\n|---|\n| {} |", "```\n{}\n```", "**{}**", "`{}`"]
        ),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from(["\n", "\n\n"]),
)
def test_no_word_is_lost(blocks: list[str], between: str) -> None:
    numbers = iter(range(1000))
    text = between.join(re.sub(r"\{\}", lambda _: f"word{next(numbers):03}", block) for block in blocks)
    everything = " ".join(texts(drawn([text], 100)))
    assert [word for word in re.findall(r"word\d+", text) if word not in everything] == []


def test_finished_blocks_are_given_out_at_once_and_the_open_one_is_not() -> None:
    stream = MarkdownStream(60, COLOURED)
    stream.feed("First paragraph.\n\nSecond ")
    assert texts(stream.take()) == []  # its end shows only when the next block begins on a line of its own
    stream.feed("paragraph\n")
    assert texts(stream.take()) == ["First paragraph."]
    assert texts(stream.open_lines()) == ["", "Second paragraph"]


def test_items_and_lines_of_code_are_given_out_one_by_one() -> None:
    stream = MarkdownStream(60, COLOURED)
    stream.feed("1. one\n1. two\n1. thr")
    assert texts(stream.take()) == ["1. one"]
    assert texts(stream.open_lines()) == ["2. two", "3. thr"]
    stream.feed("ee\n\n```sh\nls\npw")
    stream.take()
    assert texts(stream.open_lines()) == ["pw"]
    stream.feed("d\n``")
    assert texts(stream.take()) == ["pwd"]
    assert texts(stream.open_lines()) == []  # the beginning of the closing fence is not code


def test_emphasis_that_is_still_open_is_drawn_as_it_will_be() -> None:
    stream = MarkdownStream(60, COLOURED)
    stream.feed("a **bold wor")
    assert stream.open_lines() == ["a \x1b[1mbold wor\x1b[0m"]
    stream.feed("d** and `co")
    assert texts(stream.open_lines()) == ["a bold word and co"]


def test_what_is_not_closed_at_the_end_is_shown_as_it_stands() -> None:
    assert texts(drawn(["a **bold"])) == ["a **bold"]
    assert texts(drawn(["```python\nx = 1"]))[1] == "x = 1"


def test_lists_keep_their_numbers_and_their_shape() -> None:
    lines = texts(drawn(["3. c\n3. d\n\n   more\n4. e\n\ntext\n\n- a\n  - b\n- c\n"]))
    assert lines == ["3. c", "4. d", "", "   more", "5. e", "", "text", "", "• a", "  • b", "• c"]


def test_a_table_is_aligned_and_where_it_cannot_fit_shown_as_records() -> None:
    table = "| Name | Number |\n|:--|--:|\n| Ada | 1 |\n| Bob | 1000 |\n"
    lines = texts(drawn([table], 60))
    assert lines[0].split() == ["Name", "Number"]
    assert lines[2].endswith("     1") and lines[3].endswith("1000")

    wide = "|" + "|".join(f" column{n} " for n in range(8)) + "|\n|" + "---|" * 8 + "\n|" + " a long cell |" * 8 + "\n"
    lines = texts(drawn([wide], 60))
    assert lines[0] == "column0: a long cell"
    assert len(lines) == 8


def test_a_link_says_where_it_goes_and_is_not_a_link_of_the_terminal() -> None:
    (line,) = drawn(["[your bank](https://evil.example/)"])
    assert plain(line) == "your bank (https://evil.example/)"
    assert "\x1b]8" not in line


def test_without_colour_there_is_none_and_without_unicode_the_frames_are_ascii() -> None:
    lines = drawn([EVERYTHING], look=Look(colour=False, styles=True))
    assert not re.search(r"\x1b\[(?:\d+;)*(?:3|4|9|10)\d", "\n".join(lines))
    lines = drawn([EVERYTHING], look=Look(colour=True, styles=True, unicode=False))
    assert "".join(texts(lines)).isascii()
    lines = drawn([EVERYTHING], look=Look())
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize("columns", [20, 60, 80, 120, 200])
def test_everything_fits_at_every_width(columns: int) -> None:
    lines = texts(drawn([EVERYTHING], columns))
    assert max(width(line) for line in lines) <= columns
    assert "unclosed" in lines[-2]
