"""The live region: what is final stands there once, whatever was drawn below it meanwhile."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from junkie_cli.conversation.screen import Screen
from junkie_cli.terminal.style import Look
from tests.support.person import PseudoTerminal

LOOK = Look(colour=True, styles=True, motion=True)
LINES = st.lists(st.text(st.sampled_from("ab 漢"), max_size=19).map(str.rstrip), max_size=6)  # all fit into 40 columns


@pytest.fixture
def terminal() -> Iterator[PseudoTerminal]:
    terminal = PseudoTerminal(40, 10)
    yield terminal
    terminal.close()


@settings(max_examples=60)
@given(st.lists(st.tuples(LINES, LINES), max_size=12))
def test_each_final_line_stands_there_once_and_the_live_ones_below(pictures: list[tuple[list[str], list[str]]]) -> None:
    terminal = PseudoTerminal(40, 10)
    try:
        screen = Screen(terminal.stream, LOOK)
        expected: list[str] = []
        for final, live in pictures:
            screen.draw(final, live)
            expected += final
            shown = _without_empty_end(expected + live)
            assert terminal.picture.everything == shown
        screen.clear()
        assert terminal.picture.everything == _without_empty_end(expected)
    finally:
        terminal.close()


def _without_empty_end(lines: list[str]) -> list[str]:
    while lines and not lines[-1]:
        lines = lines[:-1]
    return lines


def test_of_more_than_a_screenful_the_end_is_shown_and_nothing_scrolls_off_twice(terminal: PseudoTerminal) -> None:
    screen = Screen(terminal.stream, LOOK)
    for count in range(1, 30):
        screen.draw((), [f"line {n}" for n in range(count)])
    assert terminal.picture.everything == [f"line {n}" for n in range(20, 29)]
    screen.draw([f"line {n}" for n in range(30)], ())
    assert terminal.picture.everything == [f"line {n}" for n in range(30)]


def test_only_what_changed_is_written_again(terminal: PseudoTerminal) -> None:
    screen = Screen(terminal.stream, LOOK)
    screen.draw((), ["a line that stays", "this one gr"])
    assert terminal.picture.screen[0] == "a line that stays"
    terminal.raw = ""
    screen.draw((), ["a line that stays", "this one grows"])
    assert terminal.picture.screen == ["a line that stays", "this one grows"]
    assert "stays" not in terminal.raw
    terminal.raw = ""
    screen.draw((), ["a line that stays", "this one grows"])
    assert terminal.picture and terminal.raw == ""


def test_a_terminal_made_wider_keeps_its_lines(terminal: PseudoTerminal) -> None:
    screen = Screen(terminal.stream, LOOK)
    screen.draw(["final"], ["live " * 7, "more"])
    assert terminal.picture
    terminal.resize(60, 10)
    screen.draw(["second"], ["live"])
    assert terminal.picture.everything == ["final", "second", "live"]


def test_without_motion_only_final_lines_are_written(terminal: PseudoTerminal) -> None:
    screen = Screen(terminal.stream, Look(styles=True))
    screen.draw(["one"], ["live"])
    screen.print("two")
    screen.clear()
    assert terminal.picture.screen == ["one", "two"]
    assert "\x1b[" not in terminal.raw
