"""Thoughts in an answer's text are told apart, however the stream is cut into pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from junkie_cli.core.team.thinking import ThoughtSplitter
from tests.support.texts import texts

ANSWERS = [
    ("<think>she wants tea</think>\n\nTea?", "she wants tea", "Tea?"),
    ("\n<think>\nwell\n</think>Yes < no </think> <think>", "\nwell\n", "Yes < no </think> <think>"),
    ("<think>only a thought", "only a thought", ""),
    ("<think>ends in half a tag </thi", "ends in half a tag </thi", ""),
    ("<thin air> is text", "", "<thin air> is text"),
    ("<thi", "", "<thi"),
    ("  plain text, <think>quoted</think>", "", "  plain text, <think>quoted</think>"),
    ("<think></think>Hi", "", "Hi"),
    ("<think>a</think>  ", "a", ""),
    ("", "", ""),
]


def split(pieces: list[str]) -> tuple[str, str, bool]:
    splitter = ThoughtSplitter()
    found = [splitter.feed(piece) for piece in pieces]
    found.append(splitter.end())
    return "".join(p.thought for p in found), "".join(p.text for p in found), splitter.has_text


@pytest.mark.parametrize(("answer", "thought", "text"), ANSWERS)
@given(data=st.data())
def test_however_it_is_cut(answer: str, thought: str, text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=6)))
    pieces = [answer[a:b] for a, b in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    assert split(pieces) == (thought, text, bool(text.strip()))


@given(st.lists(texts()))
def test_what_holds_no_tag_is_passed_on_whole(pieces: list[str]) -> None:
    whole = "".join(pieces)
    if not whole.lstrip().startswith("<think>"):
        assert split(pieces)[:2] == ("", whole)
