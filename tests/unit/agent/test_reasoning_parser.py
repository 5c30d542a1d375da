"""Reasoning in an answer's text is recognized, however the stream is cut into pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from junkie_cli.core.agent.reasoning_parser import ThoughtSplitter, without_thoughts

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


MARKED = [
    ("<think>", "</think>"),
    ("<Think>", "</Think>"),
    ("<thinking>", "</thinking>"),
    ("<THOUGHT>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("<|start|>assistant<|channel|>analysis<|message|>", "<|start|>assistant<|channel|>final<|message|>"),
    ("<|channel|>analysis<|message|>", "<|end|>"),
]
ANSWERS += [
    (f"{opening}she wants tea{closing}Tea, [x] < y?", "she wants tea", "Tea, [x] < y?") for opening, closing in MARKED
]
ANSWERS += [
    ("<|channel|>final<|message|>Tea?<|return|>", "", "Tea?"),
    ("<|channel|>commentary<|message|>Let me see.<|end|><|channel|>final<|message|>Tea?", "", "Let me see.Tea?"),
    ("<|channel|>analysis<|message|>half a thou", "half a thou", ""),
    ("analysisThe user wants tea.assistantfinalTea?", "The user wants tea.", "Tea?"),
    ("analysis of tea", "", "analysis of tea"),
    ("analysis", "", "analysis"),
    ("[1] is a footnote", "", "[1] is a footnote"),
    ("<b>bold</b> words", "", "<b>bold</b> words"),
    ("The mark `</think>` ends thoughts.", "", "The mark `</think>` ends thoughts."),
    ("```\n</think>\n```", "", "```\n</think>\n```"),
    ('He wrote "</think>" there', "", 'He wrote "</think>" there'),
]
# A closing mark whose opening one stood in the prompt.
UNOPENED = [
    ("she wants tea</think>Tea?", "she wants tea", "Tea?"),
    ("Okay, so she\nwants tea.\n</think>\n\nTea?", "Okay, so she\nwants tea.\n", "Tea?"),
    ("well [/THINK] Tea </think> more", "well ", "Tea </think> more"),
    ("</think>Tea?", "", "Tea?"),
    ("It's 5 o'clock</Thinking>Tea?", "It's 5 o'clock", "Tea?"),
]


def cut(answer: str, data: st.DataObject) -> list[str]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=6)))
    return [answer[a:b] for a, b in zip([0, *cuts], [*cuts, len(answer)], strict=True)]


def split(pieces: list[str], *, holds: bool = False) -> tuple[str, str, bool]:
    """Thoughts and answer as a reader has them who moves the text to the thoughts when it is taken back."""
    splitter = ThoughtSplitter(holds=holds)
    thought = text = ""
    for piece in [*(splitter.feed(piece) for piece in pieces), splitter.end()]:
        if piece.retracts:
            assert not holds or not text
            thought, text = text + thought, ""
        thought, text = thought + piece.thought, text + piece.text
    return thought, text, splitter.has_text


@pytest.mark.parametrize(("answer", "thought", "text"), [*ANSWERS, *UNOPENED])
@given(data=st.data())
def test_however_it_is_cut(answer: str, thought: str, text: str, data: st.DataObject) -> None:
    assert split(cut(answer, data)) == (thought, text, bool(text.strip()))


@pytest.mark.parametrize(("answer", "thought", "text"), [*ANSWERS, *UNOPENED])
@given(data=st.data())
def test_of_a_model_that_is_known_to_think_first_no_thought_is_ever_text(
    answer: str, thought: str, text: str, data: st.DataObject
) -> None:
    assert split(cut(answer, data), holds=True) == (thought, text, bool(text.strip()))
    assert without_thoughts(answer) == text


def test_a_call_in_the_commentary_stays_for_who_reads_calls() -> None:
    call = '<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"a": 1}<|call|>'
    assert split([call]) == ("", call, True)
    assert split([f"<|channel|>analysis<|message|>hm<|end|><|start|>assistant{call}"])[0] == "hm"


@given(st.lists(st.text()))
def test_what_holds_no_mark_is_passed_on_whole(pieces: list[str]) -> None:
    whole = "".join(pieces)
    if not any(mark in whole.lower() for mark in ("<", "[", "analysis")):
        assert split(pieces)[:2] == ("", whole)


@given(
    st.lists(
        st.sampled_from(["<think>", "</think>", "[THINK]", "<|channel|>", "analysis", "<|message|>", "<|end|>", "a"])
    )
)
def test_marks_in_any_order_end(pieces: list[str]) -> None:
    thought, text, _ = split(pieces)
    assert len(thought) + len(text) <= len("".join(pieces))
