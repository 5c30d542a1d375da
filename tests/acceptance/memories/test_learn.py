"""`memories learn` as a process: its summary, its exit codes, and what a kill costs."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from junkie_cli.core.database_url import DatabaseUrl
from tests.support.junkie import Junkie, new_junkie
from tests.support.model_server import Hang, HttpError, ModelServer, Text, nothing
from tests.support.schemas import validate


@pytest.fixture
def provider() -> Iterator[ModelServer]:
    with ModelServer(smart=True) as server:
        yield server


@pytest.fixture
def junkie(database: DatabaseUrl, provider: ModelServer) -> Iterator[Junkie]:
    junkie = new_junkie({"POSTGRES_URL": database.libpq(), "AGENT_RETRIES": "0", **provider.environment()})
    yield junkie
    junkie.close()


def talk(junkie: Junkie, *said: tuple[str, str], more: str = "") -> Path:
    path = junkie.cwd / "talk.jsonl"
    lines = [json.dumps({"user_id": user, "session_id": None, "message": message}) + "\n" for user, message in said]
    path.write_text("".join(lines) + more)
    return path


def remembered(junkie: Junkie, user: str) -> list[str]:
    found = junkie.run("memories", "list", "-u", user, "--json").ok().json()["memories"]
    return sorted(entry["memory"] for entry in found)


def test_conversations_in_memories_out(junkie: Junkie) -> None:
    path = talk(junkie, ("ada", "I like tea."), ("bob", "My name is Bob."), ("ada", "I have a dog."))
    result = junkie.run("memories", "learn", str(path), "--json").ok()
    document = result.json()
    validate(document, "memories.learn")
    assert (document["learned"], document["skipped"], document["bad"]) == (3, 0, [])
    assert "error" not in document
    assert remembered(junkie, "bob") == ["User's name is Bob"]
    assert len(remembered(junkie, "ada")) == 2
    again = junkie.run("memories", "learn", str(path)).ok()
    assert again.stdout.startswith("0 learned")
    assert "3 skipped" in again.stdout


@pytest.mark.parametrize("command", ["learn", "retry"])
def test_at_a_terminal_what_is_waited_for_is_seen(junkie: Junkie, provider: ModelServer, command: str) -> None:
    path = talk(junkie, ("ada", "I like tea."))
    if command == "retry":
        provider.script = lambda _: Text("That is prose.")
        assert junkie.run("memories", "learn", str(path)).exit_code == 6
    silent = Hang()
    provider.script = lambda _: silent
    child = junkie.terminal("memories", *{"learn": ("learn", str(path)), "retry": ("retry", "--all")}[command])
    host = provider.url.partition("://")[2].partition("/")[0]
    child.expect(rf"{command}ing, waiting [1-9]\d* s for {host} to load or read the prompt")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    silent.go_on.set()


def test_at_a_terminal_what_a_provider_asks_for_is_seen(junkie: Junkie, provider: ModelServer) -> None:
    path = talk(junkie, ("ada", "I like tea."))
    provider.script = lambda _: HttpError(429, headers={"retry-after": "60"})
    child = junkie.terminal("memories", "learn", str(path), columns=160)
    child.expect(r"waiting [1-9]\d* s for the next try: \S+ accepts no more requests for now")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130


def test_at_a_terminal_the_rate_and_the_time_left_are_seen(junkie: Junkie, provider: ModelServer) -> None:
    path = talk(junkie, *(("ada", f"My {thing} is blue.") for thing in ("car", "house", "hat", "bag")))
    slow = nothing()
    slow.pause_after = 0
    provider.script = lambda request: slow if "hat" in request.user else None
    child = junkie.terminal("memories", "learn", str(path), columns=120)
    child.expect(r"50%.*2 of 4.*\d+/(s|min).*ETA \d")
    slow.go_on.set()
    child.expect(r"4 learned \(memories 3 added, 0 updated, 0 deleted\), 0 skipped, 0 failed, 0 pending, of 4 lines")
    child.expect_exact(pexpect.EOF)


def test_a_bad_line_is_exit_2_named_and_the_rest_is_learned(junkie: Junkie) -> None:
    path = talk(junkie, ("ada", "I like tea."), more="not json\n")
    result = junkie.run("memories", "learn", str(path), "--json")
    assert result.exit_code == 2
    validate(result.json(), "memories.learn")
    assert result.json()["bad"] == [{"line": 2, "reason": "is not JSON"}]
    assert "line 2 is not JSON" in result.stderr
    assert Path(result.json()["set_aside"]).read_text() == "not json\n"
    assert len(remembered(junkie, "ada")) == 1


def test_what_the_extractions_left_out_is_reported(junkie: Junkie, provider: ModelServer) -> None:
    facts = [f"User likes tea number {number}" for number in range(25)]
    secret = ["User's password is Tr0ub4dor&3"]
    found = {"much": facts, "My p": secret, "What": ["It is noon"]}
    provider.script = lambda request: Text(json.dumps({"facts": found[request.user[:4]]}))
    path = talk(
        junkie, ("ada", "much " + "x" * 12_000), ("ada", "My password is Tr0ub4dor&3"), ("bob", "What time is it?")
    )
    result = junkie.run("memories", "learn", str(path), "--json").ok()
    validate(result.json(), "memories.learn")
    assert result.json()["left_out"] == {"changes": 1, "secrets": 1, "questions": 1, "characters": 5}
    for words in ("requested too many changes", "looks like a password", "only a question", "5 characters at the end"):
        assert words in result.stderr
    # Extractions that are made up for later report the same.
    path.write_text(json.dumps({"user_id": "bob", "message": "much " + "x" * 12_000}) + "\n")
    script, provider.script = provider.script, lambda _: Text("I have noted that.")
    assert junkie.run("memories", "learn", str(path)).exit_code == 6
    provider.script = script
    retried = junkie.run("memories", "retry", "--all", "--json").ok()
    validate(retried.json(), "memories.retry")
    assert retried.json()["left_out"] == {"changes": 1, "secrets": 0, "questions": 0, "characters": 5}
    assert "requested too many changes" in retried.stderr


def test_a_provider_that_refuses_is_exit_6(junkie: Junkie, provider: ModelServer) -> None:
    path = talk(junkie, ("ada", "I like tea."))
    provider.script = lambda request: HttpError(401)
    result = junkie.run("memories", "learn", str(path), "--json")
    assert result.exit_code == 6
    validate(result.json(), "memories.learn")
    assert (result.json()["read"], result.json()["total"]) == (0, 1)
    assert result.json()["error"]["code"] == "provider_key"
    assert result.json()["error"]["message"] in result.stderr
    assert "run the same command again to continue" in result.stderr
    provider.script = None
    assert junkie.run("memories", "learn", str(path), "--json").ok().json()["learned"] == 1


def test_a_file_that_is_not_there(junkie: Junkie) -> None:
    assert junkie.run("memories", "learn", "missing.jsonl").exit_code == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_ended_in_the_middle_it_goes_on_and_learns_each_line_once(
    junkie: Junkie, provider: ModelServer, number: signal.Signals
) -> None:
    path = talk(junkie, *(("ada", f"My {thing} is blue.") for thing in ("car", "house", "hat", "bag")))
    silent = Hang()
    provider.script = lambda request: silent if "hat" in request.user else None
    running = junkie.start("memories", "learn", str(path))
    silent.paused.wait_sync()
    running.send(number)
    ended = running.wait()
    assert ended.exit_code == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    assert len(remembered(junkie, "ada")) == 2
    provider.script = None
    document = junkie.run("memories", "learn", str(path), "--json").ok().json()
    assert (document["learned"], document["skipped"]) == (2, 2)
    assert remembered(junkie, "ada") == [f"User's {thing} is blue" for thing in ("bag", "car", "hat", "house")]


def test_offline_and_on_a_fresh_machine() -> None:
    alone = new_junkie()
    try:
        path = talk(alone, ("ada", "I like tea."))
        document = alone.run("memories", "learn", str(path), "--offline", "--json").ok().json()
        assert (document["learned"], document["memories"]["added"]) == (1, 1)
    finally:
        alone.close()
