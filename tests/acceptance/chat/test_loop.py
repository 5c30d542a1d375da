"""A person at a terminal talks to the installed `junkie`: real pseudo-terminal, real PostgreSQL, real HTTP provider."""

import re
import signal
import stat
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from tests.support.junkie import Junkie
from tests.support.model_server import (
    CutStream,
    Hang,
    HttpError,
    ModelServer,
    Reasoning,
    Reply,
    Request,
    SlowTokens,
    Text,
    calls,
)
from tests.support.person import Person, person


@pytest.fixture
def provider() -> Iterator[ModelServer]:
    with ModelServer(smart=True) as server:
        yield server


class Home:
    """A person's machine: a database, a provider, and `junkie chat` in a terminal."""

    def __init__(self, junkie: Junkie, database: DatabaseUrl, provider: ModelServer) -> None:
        self.junkie = junkie
        self.provider = provider
        self.env = provider.environment() | {"POSTGRES_URL": database.libpq(), "AGENT_RETRIES": "0"}

    def chat(self, *arguments: str, env: dict[str, str] | None = None, **more: Any) -> Person:
        return person(self.junkie, "chat", *arguments, env=self.env | (env or {}), **more)

    def opened(self, *arguments: str, **more: Any) -> Person:
        """A chat whose database is open."""
        who = self.chat(*arguments, **more)
        who.sees("session ")
        return who

    def memories(self, user: str = "tester") -> list[str]:
        found = self.junkie.run("memories", "list", "-u", user, "--json", env=self.env).ok().json()
        return [entry["memory"] for entry in found["memories"]]


@pytest.fixture
def home(junkie: Junkie, database: DatabaseUrl, provider: ModelServer) -> Home:
    return Home(junkie, database, provider)


def test_a_person_talks_is_remembered_and_goes_on_tomorrow(home: Home) -> None:
    who = home.opened()
    who.says("My name is Ada and I like tea.")
    shown = who.sees("+ remembered: User likes tea")
    assert "+ remembered: User's name is Ada" in shown
    who.says("I prefer coffee now.")
    assert who.leaves() == 0
    assert "User prefers coffee" in who.picture.text  # it waited for the memory
    assert ": junkie chat -c" in who.picture.text
    assert "tester" in who.picture.screen[0] and "scripted-model" in who.picture.screen[0]

    again = home.opened()
    assert any("Your name is Ada" in line for line in again.says("What do you know about me?"))
    assert any("User's name is Ada" in line for line in again.says("/why"))
    assert again.leaves() == 0

    on = home.chat("-c")
    on.sees("› What do you know about me?")  # where the conversation stood
    assert on.leaves() == 0


HELD_BACK = """
import os, sys, time

class HoldBack:
    def find_spec(self, name, path=None, target=None):
        if name in os.environ["HELD"].split():
            while not os.path.exists(os.environ["GO_ON"]):
                time.sleep(0.01)

sys.meta_path.insert(0, HoldBack())
"""


@pytest.fixture
def held_back(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """The environment in which importing one of the named modules waits until the file GO_ON is there."""
    (tmp_path / "sitecustomize.py").write_text(HELD_BACK)
    return lambda names: {"PYTHONPATH": str(tmp_path), "GO_ON": str(tmp_path / "go-on"), "HELD": names}


def test_the_prompt_is_there_before_anything_heavy_is_loaded(
    home: Home, held_back: Callable[[str], dict[str, str]]
) -> None:
    env = held_back("agno sqlalchemy openai pydantic asyncpg rich markdown_it")
    who = home.chat("--no-memory", env=env)
    who.prompted()
    who.types("hello")
    who.sees("starting")  # it takes words already
    Path(env["GO_ON"]).touch()
    who.sees("Hello! I am")
    who.prompted()
    assert who.leaves() == 0


def test_the_prompt_is_there_before_what_reads_it_and_takes_keys_that_are_not_shown_twice(
    home: Home, held_back: Callable[[str], dict[str, str]]
) -> None:
    env = held_back("asyncio prompt_toolkit")
    who = home.chat("--no-memory", env=env)
    who.prompted()
    who.types("hello")
    who.types("and goodbye")
    Path(env["GO_ON"]).touch()
    who.sees('You said: "and goodbye"')
    who.prompted()
    assert [line.rstrip() for line in who.picture.text.splitlines() if line.startswith("›")] == [
        "› hello",
        "› and goodbye",
        "›",
    ]
    assert who.leaves() == 0


def test_ctrl_c_before_the_prompt_can_be_used_leaves_and_restores_the_terminal(
    home: Home, held_back: Callable[[str], dict[str, str]]
) -> None:
    who = home.chat(env=held_back("asyncio prompt_toolkit"))
    who.prompted()
    who.presses("ctrl-c")
    assert who.ended() == 130
    assert "interrupted" in who.picture.text
    assert termios.tcgetattr(who.child.child_fd)[3] & termios.ECHO


def test_what_cannot_be_opened_is_reported_after_the_prompt_and_the_message_is_not_lost(home: Home) -> None:
    who = home.chat(env={"POSTGRES_URL": "postgresql://u@127.0.0.1:9/none"})
    who.sees("error: ")
    who.prompted()
    who.types("hello out there")
    who.until(lambda picture: picture.text.count("error: ") == 2, "second error")
    who.until(lambda picture: picture.screen[-1] == "› hello out there", "the message, still there")
    assert home.provider.requests == []
    who.presses("ctrl-c")
    who.prompted()
    assert who.leaves() == 0


def test_ctrl_c_stops_the_answer_keeps_what_was_said_and_the_chat(home: Home) -> None:
    home.provider.queue(Text("alpha beta gamma delta", pause_after=2), Text("still here"))
    who = home.opened()
    who.prompted()
    who.types("count")
    who.sees("alpha beta")
    who.presses("ctrl-c")
    who.sees("stopped")
    home.provider.requests[0].gone.wait_sync()
    assert "still here" in who.says("are you there?")
    shown = who.says("/history")
    assert shown[:5] == ["", "› count", "", "alpha beta", "(stopped)"]

    who.types("half a thou", key="")  # and at the prompt it clears the line, then shows how to leave
    who.sees("half a thou")
    who.presses("ctrl-c")
    who.prompted()
    who.presses("ctrl-c")
    who.sees("press Ctrl-D or type /exit to quit")
    assert who.leaves() == 0
    assert len(home.provider.main_requests) == 2


def test_what_is_pasted_stays_whole_and_lines_can_be_made_by_hand(home: Home) -> None:
    who = home.opened("--no-memory")
    who.prompted()
    who.pastes("def f():\n    return 1\n\n/exit\n")
    who.sees("  /exit")
    who.types("")
    home.provider.wait_for_requests(1)
    assert home.provider.requests[0].user == "def f():\n    return 1\n\n/exit"
    who.prompted()
    who.types("one", key="alt-enter")
    who.types("two", key="ctrl-j")
    who.types("three")
    home.provider.wait_for_requests(2)
    assert home.provider.requests[1].user == "one\ntwo\nthree"
    who.prompted()
    assert who.leaves() == 0


def test_keys_typed_during_the_answer_wait_for_the_next_prompt(home: Home) -> None:
    reply = Text("alpha beta", pause_after=1)
    home.provider.queue(reply)
    who = home.opened("--no-memory")
    who.prompted()
    who.types("first")
    who.sees("alpha")
    who.types("second")
    reply.go_on.set()
    home.provider.wait_for_requests(2)
    assert home.provider.requests[-1].user == "second"
    shown = who.sees("› second")
    assert shown.count("second") == 1 and shown.index("beta") < shown.index("› second")
    who.prompted()
    assert who.leaves() == 0


def test_commands_look_after_memories(home: Home) -> None:
    who = home.opened()
    assert who.says("/remember I live in Turin")[1] == "+ remembered: I live in Turin"
    identifier, _, text = who.says("/memories")[1].partition("  ")
    assert text == "I live in Turin"
    assert "did you mean /forget?" in " ".join(who.says(f"/forgit {identifier}"))
    assert who.says("/forget 00000000-no")[1].startswith("error: ")
    assert who.says(f"/forget {identifier}")[1] == "- forgot: I live in Turin"
    assert "no matches" in who.says("/memories Turin")
    assert any("0 memories" in line for line in who.says("/status"))
    assert any("/resume ID" in line for line in who.says("/help"))
    who.types("/exit")
    assert who.ended() == 0
    assert home.provider.requests == []
    assert home.memories() == []


def test_why_names_the_reason_of_each_memory(home: Home) -> None:
    who = home.opened(columns=60)
    who.says("/remember Drinks green tea in the garden")
    who.says("Green tea in the garden, a drink?")
    said = who.says("/why")[1:]
    assert "all memories fit; has: garden, green, drink, tea" in " ".join(" ".join(said).split())
    assert "(rank 1)" in " ".join(said)
    assert all(len(line) <= 60 for line in said)
    who.types("/exit")
    assert who.ended() == 0


def test_sessions_are_listed_resumed_and_begun_anew(home: Home) -> None:
    who = home.opened("-s", "first-session", "--no-memory")
    who.says("the word is marble")
    assert who.says("/new")[1].startswith("new session")
    who.says("something else")
    assert home.provider.requests[-1].history == []
    listed = who.says("/sessions")
    assert listed[1].startswith("› ") and listed[1].endswith("something else")
    assert listed[2].startswith("  first-session") and listed[2].endswith("the word is marble")
    who.types("/resume fir", key="")
    who.sees("first-session  the word is marble")
    who.presses("tab")
    who.sees("› /resume first-session")
    who.types("")
    who.until(lambda picture: who.lines_of("› the word is marble") == 2, "where that session stood")
    who.says("which word?")
    assert home.provider.requests[-1].history[0] == ("user", "the word is marble")
    assert who.leaves() == 0


def test_two_people_at_one_terminal_share_nothing(home: Home) -> None:
    who = home.opened("-u", "ada")
    who.says("My name is Ada.")
    who.sees("+ remembered")
    assert who.says("/user bob")[1].startswith("user is now bob")
    who.presses("up")  # bob has typed nothing yet, and ada's lines are not his: the prompt stays empty
    who.says("What do you know about me?")
    assert home.provider.main_requests[-1].user == "What do you know about me?"
    assert "Ada" not in home.provider.main_requests[-1].system
    assert who.leaves() == 0
    assert home.memories("ada") == ["User's name is Ada"] and home.memories("bob") == []

    files = sorted((home.junkie.home / "state" / "junkie" / "prompts").iterdir())
    assert len(files) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(files[0].parent.stat().st_mode) == 0o700
    assert not any("ada" in path.name or "bob" in path.name for path in files)


def test_a_provider_that_fails_is_reported_in_a_sentence_and_the_chat_goes_on(home: Home) -> None:
    home.provider.queue(HttpError(401, "bad key"), CutStream(), Text("back again"))
    who = home.opened("--no-memory")
    shown = " ".join(who.says("one"))
    assert "error: " in shown and "401" in shown and "CUSTOM_PROVIDER_API_KEY" in shown
    shown = "\n".join(who.says("two"))
    assert "one two three" in shown and "the answer is incomplete" in shown and "error: " in shown
    assert "back again" in who.says("three")
    assert who.leaves() == 0


def test_messages_whose_memories_are_pending_are_counted(home: Home) -> None:
    home.provider.script = lambda request: HttpError(500) if request.is_memory else None
    who = home.opened()
    who.prompted()
    who.types("I like tea.")
    who.sees("memory not saved yet; will retry")
    who.prompted()
    who.types("I like rum.")
    who.sees("memory not saved yet (2); will retry")


def test_reasoning_is_dim_and_passes_and_tools_leave_a_line(home: Home) -> None:
    thinking = Reasoning("let me think of sums", "So it is **5**.")
    thinking.pause_after = 5
    home.provider.queue(calls(("calculate", {"expression": "2 + 3"})), thinking)
    who = home.opened("--no-memory")
    who.prompted()
    who.types("2 + 3?")
    who.sees("let me think of sums")
    thinking.go_on.set()
    who.sees("So it is 5.")
    who.prompted()
    assert "· calculate\n\nSo it is 5." in who.picture.text
    assert "let me think" not in who.picture.text
    assert who.leaves() == 0


def pausing_memory(provider: ModelServer) -> Hang:
    """The memory model takes requests and does not answer."""
    hang = Hang()

    def script(request: Request) -> Reply | None:
        return hang if request.is_memory else None

    provider.script = script
    return hang


def test_leaving_waits_for_memories_and_a_second_ctrl_c_leaves_at_once(home: Home) -> None:
    hang = pausing_memory(home.provider)
    who = home.opened()
    who.says("My name is Ada.")  # the answer is whole: the prompt is back before the memory is made
    hang.paused.wait_sync()
    who.types("/memories", key="")
    who.sees("/memories")
    who.presses("ctrl-c", "ctrl-d")
    who.sees("saving memories")
    who.sees("Ctrl-C to quit now")
    who.presses("ctrl-c")
    assert who.ended() == 0
    assert "memory not saved yet" in who.picture.text
    again = home.opened()
    assert "1 pending" in again.picture.text
    assert again.leaves() == 0


def test_the_next_message_waits_for_the_memories_of_the_last_and_ctrl_c_cuts_that_short(home: Home) -> None:
    hang = pausing_memory(home.provider)
    who = home.opened()
    who.says("My name is Ada.")
    hang.paused.wait_sync()
    who.types("Hello?")
    who.sees("saving memories")
    home.provider.script = None
    who.presses("ctrl-c")
    who.sees("memory not saved yet")
    who.prompted()
    assert home.provider.main_requests[-1].user == "Hello?"
    assert who.leaves() == 0


def test_a_signal_ends_it_cleanly_and_keeps_what_was_said(home: Home) -> None:
    home.provider.queue(Text("alpha beta gamma", pause_after=2))
    who = home.opened("-s", "signalled")
    who.prompted()
    who.types("count")
    who.sees("alpha beta")
    who.signals(signal.SIGTERM)
    assert who.ended() == 143
    stored = home.junkie.run("chat", "-s", "signalled", "again", env=home.env).ok()
    assert stored.stdout
    again = home.opened("-s", "signalled")
    shown = again.says("/history")
    assert shown[:5] == ["", "› count", "", "alpha beta", "(stopped)"]
    again.signals(signal.SIGTERM)  # at the prompt
    assert again.ended() == 143
    assert "Traceback" not in again.picture.text


def test_a_terminal_that_is_closed_ends_the_process(home: Home) -> None:
    who = home.chat("--no-database")
    who.sees("[DB]")
    who.prompted()
    who.closes_the_window()
    assert who.child.wait() == 129


def test_a_terminal_that_is_closed_in_mid_answer_keeps_what_was_said(home: Home) -> None:
    home.provider.queue(Text("alpha beta gamma", pause_after=2))
    who = home.opened("-s", "closed")
    who.prompted()
    who.types("I like tea.")
    who.sees("alpha beta")
    who.closes_the_window()
    assert who.child.wait() == 129
    shown = home.junkie.run("sessions", "show", "closed", "--json", env=home.env).ok().json()
    [run] = shown["runs"]
    assert (run["status"], [message["role"] for message in run["messages"]]) == ("CANCELLED", ["user", "assistant"])
    waiting = home.junkie.run("memories", "pending", "--json", env=home.env).ok().json()
    assert [entry["message"] for entry in waiting["pending"]] == ["I like tea."]


def test_markdown_is_drawn_to_the_width_and_after_a_resize_to_the_new_one(home: Home) -> None:
    words = " ".join(f"w{number:03}" for number in range(60))
    text = f"# Title\n\n{words}\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```sh\nls\n```\n\n- item"
    home.provider.queue(SlowTokens(text, delay=0.002), Text(words))
    who = home.opened("--no-memory", columns=60)
    lines = who.says("draw")
    assert max(map(len, lines)) < 60
    assert lines.count("Title") == lines.count("• item") == lines.count("ls") == 1
    assert re.findall(r"w\d{3}", " ".join(lines)) == words.split()
    who.resizes(40, 24)
    lines = who.says("again")
    assert max(map(len, lines)) < 40
    assert re.findall(r"w\d{3}", " ".join(lines)) == words.split()
    assert who.leaves() == 0


def test_no_colour_and_no_sequence_of_the_model_reach_the_terminal(home: Home) -> None:
    home.provider.queue(Text("plain \x1b[31mred \x1b]0;owned\x07 \u202edesrever `code` **bold**"))
    who = home.opened("--no-memory", env={"NO_COLOR": "1"})
    assert "desrever" in " ".join(who.says("paint"))
    assert who.leaves() == 0
    assert "\x1b[31m" not in who.raw and "\x1b]0;" not in who.raw and "\u202e" not in who.raw
    assert not re.search(r"\x1b\[(?:\d+;)*(?:3|4|9|10)[0-8]", who.raw)


def test_a_dumb_terminal_gets_plain_text(home: Home) -> None:
    home.provider.queue(Text("plain **words**"))
    who = home.chat("--no-memory", env={"TERM": "dumb"})
    who.sees("session ")
    who.types("hello", key="ctrl-j")
    who.sees("plain **words**")
    who.prompted()
    who.presses("ctrl-c")
    who.sees("press Ctrl-D or type /exit to quit")
    assert who.leaves() == 0
    assert "\x1b" not in who.raw


# The first run


def test_without_a_model_three_ways_are_offered_and_the_rehearsal_goes_on_at_once(junkie: Junkie) -> None:
    who = person(junkie, "chat", "--no-database")
    who.sees("Choose [1/2/3]")
    who.types("7")
    who.sees("please type 1, 2 or 3")
    who.types("3")
    shown = who.sees("rehearsal model: ")
    assert "1  Groq" in shown and "2  local server" in shown
    who.sees("[DB] No POSTGRES_URL configured - sessions and memories will not persist!")
    who.types("Hello!")
    who.sees("rehearsal model")
    assert who.leaves() == 0


def test_a_groq_key_is_checked_hidden_and_kept_for_the_owner_alone(home: Home) -> None:
    env = {"GROQ_BASE_URL": home.provider.url, "POSTGRES_URL": home.env["POSTGRES_URL"]}
    who = person(home.junkie, "chat", env=env)
    who.sees("Choose [1/2/3]")
    who.types("1")
    who.sees("Groq API key")
    who.types("sk-something")
    who.sees("this is not a Groq API key")
    who.types("gsk_0123456789abcdefABCDEF")
    who.sees("Keep this in")
    who.types("")
    who.sees("new session")
    who.types("Hello!")
    home.provider.wait_for_requests(1)
    assert home.provider.requests[0].key == "gsk_0123456789abcdefABCDEF"
    who.prompted()
    assert who.leaves() == 0
    assert "gsk_" not in who.raw.replace("gsk_, followed by", "")
    kept = home.junkie.home / "config" / "junkie" / ".env"
    assert "gsk_0123456789abcdefABCDEF" in kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    home.junkie.run("chat", "again", env=env).ok()


def test_a_local_server_is_asked_for_its_models(home: Home) -> None:
    who = person(home.junkie, "chat", env={"POSTGRES_URL": home.env["POSTGRES_URL"]})
    who.sees("Choose [1/2/3]")
    who.types("2")
    who.sees("Server address")
    who.types(home.provider.url)
    who.sees("API key")
    who.types("")
    who.sees("Available models: groq/compound, openai/gpt-oss-120b")
    who.types("")
    who.sees("Keep this in")
    who.types("no")
    who.sees("new session")
    who.types("Hello!")
    home.provider.wait_for_requests(1)
    assert home.provider.requests[0].model == "groq/compound"
    who.prompted()
    assert who.leaves() == 0
    assert not (home.junkie.home / "config").exists()


def test_a_fresh_machine_makes_its_database_while_the_person_types(junkie: Junkie) -> None:
    who = person(junkie, "chat", "--offline")
    who.prompted()
    who.types("My name is Ada.")
    shown = who.sees("+ remembered: User's name is Ada")
    assert "embedded" in shown and "rehearsal model: answers come from built-in rules" in shown
    assert who.leaves() == 0
