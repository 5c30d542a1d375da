"""What a typed line asks for, where typed lines are kept, and what comes through stdin."""

import json
import os
import stat
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from junkie_cli.conversation.actions import short
from junkie_cli.conversation.options import Options, announcements, require_user
from junkie_cli.conversation.prompt import LineHistory, SlashCompleter
from junkie_cli.conversation.slash import COMMANDS, ChatMessage, CommandCall, InvalidCommand, parse
from junkie_cli.conversation.standard_input import read_message
from junkie_cli.core.errors import SettingsError, UsageError
from junkie_cli.core.prompt_history import erase_history, history_file
from junkie_cli.core.settings import load_settings
from tests.support.texts import texts


@given(texts())
def test_any_line_is_something(line: str) -> None:
    asked = parse(line)
    assert (asked is None) == (not line.strip())
    if not line.strip().startswith("/") and line.strip() not in ("", "exit", "quit"):
        assert isinstance(asked, ChatMessage) and asked.text.strip() == line.strip()


@given(st.sampled_from(COMMANDS), st.text(string.ascii_letters + " \n", min_size=1).filter(str.strip))
def test_each_command_takes_its_argument_whole(command, argument: str) -> None:
    asked = parse(f" /{command.name.upper()} {argument}")
    assert asked == CommandCall(command, argument.strip())


@pytest.mark.parametrize(
    ("line", "words"),
    [("//help is a word", "/help is a word"), ("/etc/passwd, what is it?", "/etc/passwd, what is it?"), ("/ 2", "/ 2")],
)
def test_words_may_begin_with_a_slash(line: str, words: str) -> None:
    assert parse(line) == ChatMessage(words)


def test_the_shape_of_pasted_code_stays() -> None:
    assert parse("\n    if x:\n        y\n\n") == ChatMessage("    if x:\n        y")


@pytest.mark.parametrize(("line", "meant"), [("/mem", "/memories"), ("/forgt x", "/forget"), ("/Memorys", "/memories")])
def test_a_misspelt_command_is_not_sent_and_the_right_one_named(line: str, meant: str) -> None:
    asked = parse(line)
    assert isinstance(asked, InvalidCommand)
    assert f"did you mean {meant}?" in asked.advice


def test_a_command_without_what_it_needs_says_so() -> None:
    asked = parse("/forget")
    assert isinstance(asked, InvalidCommand) and "/forget ID" in asked.advice
    assert isinstance(parse("/zzz"), InvalidCommand)
    assert all(isinstance(parse(line), CommandCall) for line in ("exit", "/quit", "/?"))


async def completions(text: str) -> list[str]:
    async def choices(name: str) -> list[tuple[str, str]]:
        return [("0a1b2c3d", "User likes tea"), ("ffff0000", "User's name is Ada")]

    completer = SlashCompleter(choices)
    found = completer.get_completions_async(Document(text, len(text)), CompleteEvent())
    return [completion.text async for completion in found]


async def test_commands_and_ids_complete() -> None:
    assert await completions("/rem") == ["/remember "] and await completions("/res") == ["/resume "]
    assert await completions("/wh") == ["/why"]
    assert await completions("/forget 0a") == ["0a1b2c3d"]
    assert await completions("/forget ada") == ["ffff0000"]  # by what it says, too
    assert await completions("hello /re") == await completions("//re") == await completions("/remember x") == []


def test_only_the_ids_of_machines_are_shortened() -> None:
    assert short("0a1b2c3d-0000-4000-8000-000000000000") == "0a1b2c3d"
    assert short("a-channel-with-a-long-name-of-its-own") == "a-channel-with-a-long-name-of-its-own"


# Typed lines


def test_typed_lines_are_kept_for_the_user_alone(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    ada, bob = history_file("ada", environ), history_file("../bob", environ)
    for line in ("hello", "two\nlines", "\x1b[31m 漢"):
        LineHistory(ada).store_string(line)
    assert list(LineHistory(ada).load_history_strings()) == ["\x1b[31m 漢", "two\nlines", "hello"]
    assert list(LineHistory(bob).load_history_strings()) == []
    assert stat.S_IMODE(ada.stat().st_mode) == 0o600
    assert stat.S_IMODE(ada.parent.stat().st_mode) == 0o700
    assert ada.parent == bob.parent and "ada" not in ada.name and "bob" not in bob.name

    assert erase_history("ada", environ) is True
    assert erase_history("ada", environ) is False
    assert not ada.exists()


def test_a_history_that_was_cut_short_or_grew_too_long_still_serves(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b'"one"\n{"not": "a line"}\n"cut sh')
    assert list(LineHistory(path).load_history_strings()) == ["one"]

    path.write_bytes(b"".join(json.dumps(f"{n} {'x' * 1000}").encode() + b"\n" for n in range(1000)))
    history = LineHistory(path)
    history.shorten()
    kept = list(history.load_history_strings())
    assert kept[0].startswith("999 ") and 200 < len(kept) < 400 and history.trouble == ""


def test_where_lines_cannot_be_kept_the_conversation_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "file" / "lines"
    path.parent.write_text("no folder")
    history = LineHistory(path)
    history.shorten()
    history.store_string("hello")
    assert list(history.load_history_strings()) == []
    assert str(path) in history.trouble


# stdin


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The writing end of a pipe that is our stdin."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as file:
        monkeypatch.setattr("sys.stdin", file)
        yield writing


def said(argument: str | None) -> tuple[str, list[str]]:
    notes: list[str] = []
    return read_message(argument, notes.append), notes


def test_the_argument_comes_first_and_the_text_of_the_pipe_behind_it(stdin: int) -> None:
    os.write(stdin, "one\ntwö\n".encode())
    os.close(stdin)
    assert said("Explain:") == ("Explain:\n\none\ntwö", [])


@pytest.mark.parametrize("argument", [None, "-"])
def test_the_pipe_alone_is_the_message(stdin: int, argument: str | None) -> None:
    os.write(stdin, b"\xef\xbb\xbfhello\n")
    os.close(stdin)
    assert said(argument) == ("hello", [])


def test_a_pipe_that_stays_silent_is_left_alone_and_that_is_said(stdin: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("junkie_cli.conversation.standard_input._NOTICE_SECONDS", 0.01)
    monkeypatch.setattr("junkie_cli.conversation.standard_input._PATIENCE_SECONDS", 0.02)
    message, notes = said("hi")
    assert message == "hi" and len(notes) == 2
    os.close(stdin)


@pytest.mark.parametrize(("data", "problem"), [(b"", "no message given"), (b"\xff\xfe", "UTF-8"), (b"a\x00b", "NUL")])
def test_what_is_no_message_is_wrong_usage(stdin: int, data: bytes, problem: str) -> None:
    os.write(stdin, data)
    os.close(stdin)
    with pytest.raises(UsageError, match=problem):
        said(None)


def test_a_device_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(os.devnull).open() as null:
        monkeypatch.setattr("sys.stdin", null)
        assert said("hi") == ("hi", [])


def test_an_argument_in_no_encoding_is_still_text(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(os.devnull).open() as null:
        monkeypatch.setattr("sys.stdin", null)
        assert said("caf\udce9")[0] == "caf?"


# Options and settings


@pytest.mark.parametrize(
    "options",
    [
        Options(session="a", continue_latest=True),
        Options(continue_latest=True, database=False),
        Options(user=" "),
        Options(session=""),
        Options(model=""),
    ],
)
def test_options_that_contradict_each_other_or_say_nothing_are_wrong_usage(options: Options) -> None:
    with pytest.raises(UsageError):
        options.check()


def test_the_bot_that_forgets_is_reported_of_but_not_guessed(tmp_path: Path) -> None:
    def told(**environ: str) -> list[str]:
        return announcements(load_settings(environ={"HOME": str(tmp_path), **environ}, cwd=tmp_path), Options())

    assert "the bot loses everything" in told(DISCORD_TOKEN="t")[0]
    assert told(DISCORD_TOKEN="t", POSTGRES_URL="postgresql://h/d") == []
    assert told(LOG_LEVEL="INFO", EXA_API_KEY="k") == []  # names that many programs use


def test_without_a_login_name_somebody_must_be_named(tmp_path: Path) -> None:
    settings = load_settings(environ={"HOME": str(tmp_path), "JUNKIE_USER": "ada"}, cwd=tmp_path)
    require_user(settings)
    import dataclasses

    with pytest.raises(SettingsError, match="the user is unknown"):
        require_user(dataclasses.replace(settings, user=""))
