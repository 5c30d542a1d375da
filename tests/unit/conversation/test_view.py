"""How a turn looks, event by event: on a terminal, in a pipe, as JSON Lines."""

import io
import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from junkie_cli.conversation.json_lines import JsonView
from junkie_cli.conversation.messages import Messages
from junkie_cli.conversation.screen import Screen
from junkie_cli.conversation.view import PlainView, TerminalView
from junkie_cli.core.chat import (
    AnswerComplete,
    Delta,
    Done,
    Failed,
    MemoryEvent,
    Provisional,
    Reasoning,
    Tool,
    Usage,
    Waiting,
    Warning,
)
from junkie_cli.core.errors import ProviderError
from junkie_cli.terminal.style import Look
from tests.support.person import PseudoTerminal

DONE = Done("s", "r", "ada", "Hi.", True, Usage(1, 2, 3), None)
HOSTILE = "\x1b[31mred\x1b]52;c;aGk=\x07 \x9b2J \u202ereversed"


@pytest.fixture
def terminal() -> Iterator[PseudoTerminal]:
    terminal = PseudoTerminal(60, 20)
    yield terminal
    terminal.close()


def on_terminal(terminal: PseudoTerminal) -> TerminalView:
    screen = Screen(terminal.stream, Look(colour=True, styles=True, motion=True))
    return TerminalView(screen, Messages(screen, terminal.stream))


async def test_a_long_wait_names_what_is_waited_for(terminal: PseudoTerminal, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("junkie_cli.conversation.view.time.monotonic", lambda: now)
    view = on_terminal(terminal)
    view.busy("thinking")
    view.show(Waiting("qwen2.5", "gpu.local:8080", local=True, loading=False))
    now += 4.5
    view.busy("thinking")
    assert terminal.picture.screen[0].endswith("thinking")  # a short wait needs no words
    now += 7.5
    view.busy("thinking")
    assert terminal.picture.screen[0][2:] == "thinking, waiting 12 s for gpu.local:8080 to load or rea…"
    view.show(Waiting("qwen2.5", "gpu.local:8080", local=True, loading=True))
    now += 6
    view.busy("thinking")
    assert "waiting 6 s for gpu.local:8080 to load qwen2.5" in terminal.picture.screen[0]
    view.show(Reasoning("Tea?"))
    now += 6
    view.busy("thinking")
    assert "waiting" not in terminal.picture.screen[0]
    view.show(Waiting("gpt", "Groq", local=False, loading=False))
    now += 6
    view.busy("thinking")
    assert terminal.picture.screen[0][2:] == "thinking, waiting 6 s for Groq · Ctrl-C stops"
    view.settle()


async def test_an_answer_with_all_that_can_happen_reads_from_top_to_bottom(terminal: PseudoTerminal) -> None:
    view = on_terminal(terminal)
    view.busy("thinking")
    assert terminal.picture.screen[0].endswith("thinking")
    for event in (
        Reasoning("Let me see. "),
        Tool("add", "started"),
        Tool("add", "completed"),
        Delta("The sum is "),
        Delta("**5**.\n"),
        Warning("history was cut"),
        Tool("divide", "started"),
        Tool("divide", "failed"),
        Delta("Done."),
        AnswerComplete(),
        MemoryEvent("added", "1", "User likes sums"),
        MemoryEvent("updated", "1", "User likes\nlarge sums"),
        MemoryEvent("deleted", "1", "User likes large sums"),
        MemoryEvent("pending", None, None),
        DONE,
    ):
        view.show(event)
    assert terminal.picture.everything == [
        "· add",
        "",
        "The sum is 5.",
        "",
        "warning: history was cut",
        "· divide failed",
        "",
        "Done.",
        "",
        "+ remembered: User likes sums",
        "~ changed: User likes large sums",
        "- forgot: User likes large sums",
        "… memory not saved yet; will retry",
    ]


async def test_thoughts_are_short_and_gone_when_the_answer_begins(terminal: PseudoTerminal) -> None:
    view = on_terminal(terminal)
    view.show(Reasoning("first thought " * 20 + "last thought"))
    seen = terminal.picture.screen
    assert len(seen) == 3 and seen[0].endswith("thinking") and "last thought" in seen[2]
    view.show(Delta("Yes."))
    view.show(DONE)
    assert terminal.picture.everything == ["Yes."]


async def test_what_may_be_reasoning_is_shown_as_such_and_gone_when_the_answer_begins(terminal: PseudoTerminal) -> None:
    view = on_terminal(terminal)
    for piece in ("Okay, she ", "wants \x1b[31mtea."):
        view.show(Provisional(piece))
    seen = terminal.picture.screen
    assert seen[0].endswith("first answer of this model, shown when it is complete")
    assert "Okay, she wants" in seen[1]
    view.show(Delta("Tea or milk?"))
    view.show(DONE)
    assert terminal.picture.everything == ["Tea or milk?"]
    assert "\x1b[31m" not in terminal.raw


async def test_what_was_streamed_stays_and_is_marked_when_it_breaks_off(terminal: PseudoTerminal) -> None:
    view = on_terminal(terminal)
    view.show(Delta("one two **thr"))
    view.show(Failed(ProviderError("the provider broke off")))
    assert terminal.picture.everything == ["one two **thr", "", "the answer is incomplete"]


@settings(max_examples=60)
@given(st.lists(st.integers(0, len(HOSTILE)), max_size=8))
async def test_no_sequence_gets_through_however_it_is_cut(cuts: list[int]) -> None:
    ends = sorted(cuts)
    terminal = PseudoTerminal(60, 20)
    try:
        view = on_terminal(terminal)
        for start, end in zip([0, *ends], [*ends, len(HOSTILE)], strict=True):
            view.show(Delta(HOSTILE[start:end]))
            view.show(Reasoning(HOSTILE[start:end]))
            view.show(Tool(HOSTILE[start:end], "completed"))
        view.show(MemoryEvent("added", "1", HOSTILE))
        view.show(Warning(HOSTILE))
        view.show(DONE)
        assert terminal.picture
        for hostile in ("\x1b[31mred", "\x1b]52", "\x9b", "\u202e"):
            assert hostile not in terminal.raw
    finally:
        terminal.close()


def in_pipe() -> tuple[PlainView, io.StringIO, io.StringIO]:
    answer, errors = io.StringIO(), io.StringIO()
    return PlainView(answer, Messages(Screen(errors, Look()), errors)), answer, errors


async def test_in_a_pipe_the_answer_is_alone_and_as_the_model_wrote_it() -> None:
    view, answer, errors = in_pipe()
    view.busy("thinking")
    for event in (
        Reasoning("hm"),
        Tool("add", "started"),
        Tool("add", "completed"),
        Delta("# Two\n\n**5**"),
        Delta(" \x1b["),
        Delta("31m"),
        Warning("cut"),
        AnswerComplete(),
        MemoryEvent("added", "1", "x" * 200),
        DONE,
    ):
        view.show(event)
    view.settle()
    assert answer.getvalue() == "# Two\n\n**5** \\x1b[31m\n"
    assert errors.getvalue().splitlines() == ["- add", "warning: cut", "+ remembered: " + "x" * 200]


async def test_in_a_pipe_an_answer_that_breaks_off_ends_its_line_and_is_marked() -> None:
    view, answer, errors = in_pipe()
    view.show(Delta("one tw"))
    view.show(Failed(ProviderError("gone")))
    assert answer.getvalue() == "one tw\n"
    assert errors.getvalue() == "the answer is incomplete\n"


async def test_quiet_leaves_warnings_and_announcements() -> None:
    answer, errors = io.StringIO(), io.StringIO()
    view = PlainView(answer, Messages(Screen(errors, Look()), errors, quiet=True))
    view.note("note")
    view.show(MemoryEvent("added", "1", "x"))
    view.announce("rehearsal")
    view.warn("careful")
    assert errors.getvalue() == "rehearsal\nwarning: careful\n"


def json_view() -> JsonView:
    errors = io.StringIO()
    view = JsonView(Messages(Screen(errors, Look()), errors))
    view.user_id, view.session_id = "ada", "s"
    return view


def test_json_lines_have_one_object_an_event_and_done_last(capsys: pytest.CaptureFixture[str]) -> None:
    view = json_view()
    for event in (
        Delta("Hi\x1b."),
        Reasoning("hm"),
        Tool("add", "completed"),
        Warning("cut"),
        AnswerComplete(),
        MemoryEvent("pending", None, None),
        DONE,
    ):
        view.show(event)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert [json.loads(line) for line in out.splitlines()] == [
        {"event": "delta", "text": "Hi\x1b."},
        {"event": "reasoning", "text": "hm"},
        {"event": "tool", "name": "add", "status": "completed"},
        {"event": "warning", "message": "cut"},
        {"event": "memory", "action": "pending", "memory_id": None, "memory": None},
        {
            "event": "done",
            "session_id": "s",
            "run_id": "r",
            "user_id": "ada",
            "answer": "Hi.",
            "complete": True,
            "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
            "memories": [],
        },
    ]
    assert view.failure({"code": "late"}) is None  # the last line was printed already


def test_a_failure_is_the_last_line_with_what_was_said_so_far(capsys: pytest.CaptureFixture[str]) -> None:
    view = json_view()
    view.show(Delta("one "))
    view.show(Delta("two"))
    error = {"code": "interrupted", "message": "interrupted", "hint": ""}
    last = view.failure(error)
    assert last is not None
    assert last["event"] == "done" and last["answer"] == "one two" and last["complete"] is False
    assert last["session_id"] == "s" and last["user_id"] == "ada" and last["error"] == error
