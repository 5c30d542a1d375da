"""One question, one answer, as scripts ask it: what is on stdout, what is on stderr, and how it ends."""

import asyncio
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pexpect
import pytest

from junkie_cli.core.database_url import DatabaseUrl
from tests.support.conversations import rows
from tests.support.generations import Make
from tests.support.junkie import SCRIPT, Junkie
from tests.support.model_server import CutStream, Hang, HttpError, ModelServer, Reasoning, Text, calls
from tests.support.person import Person, person
from tests.support.schemas import validate


@pytest.fixture
def provider() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def env(database: DatabaseUrl, provider: ModelServer) -> dict[str, str]:
    return provider.environment() | {"POSTGRES_URL": database.libpq(), "AGENT_RETRIES": "0"}


def answer_once(junkie: Junkie, env: dict[str, str]) -> None:
    """Have the model's answers known: those of an unknown one are held until they are no reasoning."""
    junkie.run("chat", "--no-memory", "--no-database", "hello", env=env).ok()


def lines(result: Any) -> list[Mapping[str, Any]]:
    """The JSON Lines of a run, each as its schema wants it, exactly one `done`, last."""
    found: list[Mapping[str, Any]] = result.json_lines()
    for line in found:
        validate(line, "chat.event")
    assert [line["event"] == "done" for line in found] == [False] * (len(found) - 1) + [True]
    return found


def test_the_answer_is_alone_on_stdout_and_as_the_model_wrote_it(
    junkie: Junkie, env: dict[str, str], provider: ModelServer
) -> None:
    provider.queue(calls(("calculate", {"expression": "2 + 3"})), Reasoning("hm", "# Sum\n\nIt is **5**\x1b[31m."))
    provider.queue_memory(calls(("add_memory", {"memory": "User likes sums"})))
    result = junkie.run("chat", "2 + 3?", env=env).ok()
    assert result.stdout == "# Sum\n\nIt is **5**\\x1b[31m.\n"
    assert "+ remembered: User likes sums" in result.stderr and "calculate" in result.stderr
    assert "\x1b" not in result.stderr

    quiet = junkie.run("-q", "chat", "again", env=env).ok()
    assert quiet.stdout and quiet.stderr == ""


def test_the_pipe_goes_behind_the_message_and_alone_is_the_message(
    junkie: Junkie, env: dict[str, str], provider: ModelServer
) -> None:
    junkie.run("chat", "--no-memory", "Explain:", env=env, input="line one\nline two\n").ok()
    assert provider.requests[-1].user == "Explain:\n\nline one\nline two"
    (junkie.cwd / "notes.txt").write_text("from a file")
    with (junkie.cwd / "notes.txt").open() as file:
        environment = junkie.environment(env)
        subprocess.run([SCRIPT, "chat", "--no-memory"], stdin=file, env=environment, check=True, capture_output=True)
    assert provider.requests[-1].user == "from a file"


@pytest.mark.parametrize("endless", ["yes", "cat /dev/zero"])
def test_what_never_ends_on_stdin_is_refused(junkie: Junkie, env: dict[str, str], endless: str) -> None:
    command = f"{endless} | {SCRIPT} chat --json; {endless} | {SCRIPT} chat 'Read this:'"
    limits = "ulimit -v 4000000"  # kilobytes: it would be killed, and not fill the machine
    done = subprocess.run(
        ["sh", "-c", f"{limits}; {command}"], env=junkie.environment(env), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert '"code": "usage"' in done.stdout
    assert "stdin contains more than 8 MB" in done.stdout
    assert "stdin contains more than 8 MB" in done.stderr


def test_what_earlier_messages_left_pending_is_extracted_after_the_answer(
    junkie: Junkie, env: dict[str, str], database: DatabaseUrl, provider: ModelServer
) -> None:
    provider.queue_memory(HttpError(500))
    events = lines(junkie.run("chat", "--json", "I like tea.", env=env).ok())
    assert [event["action"] for event in events if event["event"] == "memory"] == ["pending"]
    assert events[-1]["complete"] is True
    asyncio.run(rows(database, "UPDATE ai.junkie_pending SET next_try = now()"))
    provider.queue_memory(HttpError(500))  # this turn's own: the provider is not asked again now
    junkie.run("chat", "One.", env=env).ok()
    assert [request.user for request in provider.memory_requests] == ["I like tea.", "One."]
    junkie.run("chat", "Two.", env=env).ok()
    assert [request.user for request in provider.requests][-3:] == ["Two.", "Two.", "I like tea."]


def test_a_pipe_left_open_by_whoever_started_us_does_not_hold_the_answer(
    junkie: Junkie, env: dict[str, str], provider: ModelServer
) -> None:
    running = junkie.start("chat", "--no-memory", "hello", env=env)
    running.wait_for("using the message alone", stream="stderr")
    running.wait_for("All right.")
    assert running.wait().exit_code == 0
    assert provider.requests[-1].user == "hello"


@pytest.mark.parametrize(
    ("arguments", "piped"),
    [
        ((), ""),
        (("",), ""),
        (("-s", "a", "-c", "hi"), ""),
        (("-c", "--no-database", "hi"), ""),
        (("-u", "", "hi"), ""),
        ((), "a\x00b"),
    ],
)
def test_wrong_usage_is_exit_2_and_with_json_the_last_line(
    junkie: Junkie, env: dict[str, str], provider: ModelServer, arguments: tuple[str, ...], piped: str
) -> None:
    result = junkie.run("chat", *arguments, env=env, input=piped)
    assert result.exit_code == 2 and result.stdout == "" and result.stderr.startswith("error: ")
    result = junkie.run("chat", "--json", *arguments, env=env, input=piped)
    assert result.exit_code == 2
    (done,) = lines(result)
    assert done["error"]["code"] == "usage" and done["complete"] is False
    assert provider.requests == []


def test_json_lines_tell_the_whole_turn(junkie: Junkie, env: dict[str, str], provider: ModelServer) -> None:
    provider.queue(calls(("calculate", {"expression": "2 + 3"})), Reasoning("think of it", "Five it is."))
    provider.queue_memory(calls(("add_memory", {"memory": "User likes sums"})), Text("done"))
    events = lines(junkie.run("chat", "--json", "-u", "ada", "-s", "sums", "2 + 3?", env=env).ok())
    assert "".join(event["text"] for event in events if event["event"] == "delta") == "Five it is."
    assert "".join(event["text"] for event in events if event["event"] == "reasoning") == "think of it"
    assert {event["status"] for event in events if event["event"] == "tool"} == {"started", "completed"}
    (memory,) = [event for event in events if event["event"] == "memory"]
    assert memory["action"] == "added" and memory["memory"] == "User likes sums" and memory["memory_id"]
    done = events[-1]
    assert (done["session_id"], done["user_id"], done["answer"], done["complete"]) == (
        "sums",
        "ada",
        "Five it is.",
        True,
    )
    assert done["usage"]["total_tokens"] > 0 and "error" not in done
    assert done["memories"] == []
    done = lines(junkie.run("chat", "--json", "-u", "ada", "More sums?", env=env).ok())[-1]
    [used] = done["memories"]
    assert (used["memory_id"], used["memory"]) == (memory["memory_id"], "User likes sums")
    assert used["reason"] | {"score": 1} == {"kind": "all", "rank": 1, "score": 1, "words": ["sums"]}


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["in a pipe", "JSON"])
def test_reasoning_of_a_model_that_is_not_known_reaches_no_program(
    junkie: Junkie, env: dict[str, str], provider: ModelServer, options: list[str]
) -> None:
    provider.queue(Text("Okay, she wants tea.\n</think>\n\nTea or milk?"))
    result = junkie.run("chat", *options, "Drink?", env=env).ok()
    assert "she wants tea" not in "".join(line for line in result.stdout.splitlines() if "reasoning" not in line)
    if options:
        texts = [event["text"] for event in lines(result) if event["event"] == "delta"]
        assert ("".join(texts), lines(result)[-1]["answer"]) == ("Tea or milk?", "Tea or milk?")
    else:
        assert result.stdout == "Tea or milk?\n"


def test_reasoning_of_a_model_that_is_not_known_is_shown_as_provisional_at_a_terminal(
    junkie: Junkie, env: dict[str, str], provider: ModelServer
) -> None:
    thoughts = Text("Okay, she wants tea.\n</think>\n\nTea or milk?", pause_after=3)
    provider.queue(thoughts, Text("Milk, then."))
    screen = junkie.terminal("chat", "--no-memory", "Drink?", env=env)
    screen.expect_exact("first answer of this model, shown when it is complete")
    screen.expect_exact("Okay, she wants")
    thoughts.go_on.set()
    screen.expect_exact("Tea or milk?")
    assert "answer begins here" not in screen.read()  # nothing has to be taken back
    assert "she wants" not in junkie.run("sessions", "list", "--json", env=env).ok().stdout
    [session] = junkie.run("sessions", "list", "--json", env=env).ok().json()["sessions"]
    [run] = junkie.run("sessions", "show", session["session_id"], "--json", env=env).ok().json()["runs"]
    assert [message["content"] for message in run["messages"] if message["role"] == "assistant"] == ["Tea or milk?"]


def test_failures_before_and_in_a_turn_are_the_last_line_of_json(
    junkie: Junkie, env: dict[str, str], provider: ModelServer
) -> None:
    no_database = env | {"POSTGRES_URL": "postgresql://u@127.0.0.1:9/none"}
    result = junkie.run("chat", "--json", "-u", "ada", "hello", env=no_database)
    (done,) = lines(result)
    assert result.exit_code == 4 and done["error"]["code"].startswith("database") and done["user_id"] == "ada"

    result = junkie.run("chat", "--json", "hello", env={"POSTGRES_URL": env["POSTGRES_URL"]})
    (done,) = lines(result)
    assert result.exit_code == 3 and done["error"]["code"] == "provider_missing"

    provider.queue(CutStream())
    result = junkie.run("chat", "--json", "hello", env=env)
    done = lines(result)[-1]
    assert result.exit_code == 6 and done["answer"] == "one two three " and done["complete"] is False

    running = junkie.start("chat", "--json", "-s", "stopped", "hello", env=env)
    answer_once(junkie, env)
    provider.queue(hang := Text("alpha beta gamma", pause_after=2))
    assert running.process.stdin is not None
    running.process.stdin.close()
    running.process.stdin = None
    running.wait_for("beta")
    running.send(signal.SIGINT)
    result = running.wait()
    done = lines(result)[-1]
    assert result.exit_code == 130
    assert done["answer"] == "alpha beta " and done["error"]["code"] == "interrupted"
    assert done["session_id"] == "stopped" and not hang.sent.is_set()


def test_what_was_streamed_before_an_error_stays_and_is_marked(
    junkie: Junkie, env: dict[str, str], provider: ModelServer
) -> None:
    provider.queue(CutStream(), HttpError(401, "bad key"))
    result = junkie.run("chat", "--no-memory", "-s", "s", "hello", env=env)
    assert result.exit_code == 6
    assert result.stdout == "one two three \n"
    assert "the answer is incomplete" in result.stderr and "error: " in result.stderr
    result = junkie.run("chat", "--no-memory", "hello", env=env)
    assert result.exit_code == 6 and result.stdout == ""
    assert "the answer is incomplete" not in result.stderr and "401" in result.stderr


def test_a_signal_in_mid_answer_keeps_what_was_said(junkie: Junkie, env: dict[str, str], provider: ModelServer) -> None:
    answer_once(junkie, env)
    provider.queue(Text("alpha beta gamma", pause_after=2))
    running = junkie.start("chat", "-s", "cut", "-", env=env)
    running.write("I live in Turin")
    assert running.process.stdin is not None
    running.process.stdin.close()
    running.process.stdin = None
    running.wait_for("alpha beta")
    running.send(signal.SIGTERM)
    result = running.wait()
    assert result.exit_code == 143
    assert result.stdout == "alpha beta \n" and "the answer is incomplete" in result.stderr
    shown = junkie.run("sessions", "show", "cut", "--json", env=env).ok().json()
    assert [run["status"] for run in shown["runs"]] == ["CANCELLED"]
    assert "alpha beta" in str(shown["runs"][0]["messages"])


def test_a_reader_that_leaves_does_not_cost_the_memory(
    junkie: Junkie, env: dict[str, str], provider: ModelServer
) -> None:
    answer_once(junkie, env)
    reply = Text("alpha beta gamma delta", pause_after=1)
    provider.queue(reply)
    provider.queue_memory(calls(("add_memory", {"memory": "User lives in Turin"})), Text("done"))
    process = subprocess.Popen(
        [SCRIPT, "chat", "-u", "ada", "I live in Turin"],
        env=junkie.environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.read(5) == b"alpha"
    process.stdout.close()
    reply.go_on.set()
    assert process.wait(60) == 141
    assert "User lives in Turin" in junkie.run("memories", "list", "-u", "ada", env=env).ok().stdout


# At a terminal


def test_at_a_terminal_the_answer_is_drawn_and_the_wait_for_memories_seen(
    junkie: Junkie, env: dict[str, str], provider: ModelServer
) -> None:
    memory = calls(("add_memory", {"memory": "User likes sums"}))
    memory.pause_after = 0
    provider.queue(Text("# Sum\n\nIt is **5**."))
    provider.queue_memory(memory, Text("done"))
    who = person(junkie, "chat", "2 + 3?", env=env)
    who.sees("saving memories")
    memory.go_on.set()
    assert who.ended() == 0
    assert who.picture.everything == ["Sum", "", "It is 5.", "", "+ remembered: User likes sums"]
    assert "\x1b[1m5\x1b[0m" in who.raw


def test_with_the_answer_in_a_pipe_the_wait_is_seen_on_stderr(
    junkie: Junkie, env: dict[str, str], provider: ModelServer
) -> None:
    provider.queue(reply := Text("It is **5**.", pause_after=0))
    command = f"exec {SCRIPT} chat --no-memory '2 + 3?' > answer.txt"
    environment = junkie.environment(env | {"TERM": "xterm-256color"})
    child = pexpect.spawn("/bin/sh", ["-c", command], env=environment, cwd=str(junkie.cwd), encoding="utf-8")
    who = Person(child, 80, 24)
    who.sees("thinking")
    reply.go_on.set()
    assert who.ended() == 0
    assert (junkie.cwd / "answer.txt").read_text() == "It is **5**.\n"


def test_ctrl_c_at_a_terminal_ends_it_with_130(junkie: Junkie, env: dict[str, str], provider: ModelServer) -> None:
    provider.queue(Hang())
    who = person(junkie, "chat", "hello", env=env)
    provider.wait_for_requests(1)
    who.presses("ctrl-c")
    assert who.ended() == 130
    assert "interrupted" in who.picture.text and "Traceback" not in who.picture.text


# A schema of an older agno


def test_an_older_schema_is_not_added_to_without_a_yes(
    junkie: Junkie, env: dict[str, str], written_by: Make, provider: ModelServer
) -> None:
    old = env | {"POSTGRES_URL": written_by("2.9").libpq()}
    result = junkie.run("chat", "hello", env=old)
    assert result.exit_code == 2
    assert "agent_sessions_runs" in result.stderr and "--yes" in result.stderr
    assert provider.requests == []

    who = person(junkie, "chat", "hello", env=old)
    who.sees("[y/N]")
    assert re.search(r"Add [\w, ]*agent_sessions_runs", " ".join(who.picture.everything))
    who.types("n")
    assert who.ended() == 1

    who = person(junkie, "chat", env=old, columns=120)  # in the conversation, asked over the waiting prompt
    who.sees("[y/N]")
    who.types("y")
    who.sees("new session")
    who.says("hello")
    assert provider.main_requests
    assert who.leaves() == 0
    junkie.run("chat", "hello again", env=old).ok()


def test_yes_agrees_to_what_an_older_schema_needs(junkie: Junkie, env: dict[str, str], written_by: Make) -> None:
    old = env | {"POSTGRES_URL": written_by("2.9").libpq()}
    assert junkie.run("chat", "--yes", "hello", env=old).ok().stdout


def test_what_agno_does_is_logged_to_stderr_when_asked_for(junkie: Junkie, env: dict[str, str]) -> None:
    result = junkie.run("-v", "chat", "hello there", env=env).ok()
    assert result.stdout == "All right.\n"
    assert "agno-team: DEBUG: " in result.stderr
    assert "local-key" not in result.stderr and env["POSTGRES_URL"] not in result.stderr


@pytest.mark.parametrize(
    ("headers", "told"), [({}, "trying again\n"), ({"Retry-After": "1.2"}, "trying again in 2 s\n")]
)
def test_a_wait_is_reported_in_whole_seconds_and_never_as_none(
    junkie: Junkie, env: dict[str, str], provider: ModelServer, headers: dict[str, str], told: str
) -> None:
    provider.queue(HttpError(500, headers=headers), Text("Here I am."))
    result = junkie.run("chat", "--no-memory", "hello", env={**env, "AGENT_RETRIES": "1"}).ok()
    assert result.stdout == "Here I am.\n"
    assert told in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_nobody_waits_for_the_end_of_the_loading(junkie: Junkie, number: signal.Signals) -> None:
    slow = junkie.root / "slow" / "agno"
    slow.mkdir(parents=True)
    for_ever = "print('LOADING', file=sys.stderr, flush=True)\nthreading.Event().wait()\n"
    (slow / "__init__.py").write_text(f"import sys, threading\n{for_ever}")
    running = junkie.start("chat", "--offline", "--no-database", "hello", env={"PYTHONPATH": str(slow.parent)})
    running.wait_for("LOADING", stream="stderr")
    running.send(number)
    ended = running.wait()
    assert (ended.exit_code, ended.stdout) == (128 + number, "")
    assert "Traceback" not in ended.stderr and "Exception ignored" not in ended.stderr
