"""The promise of the whole, from outside: processes of `junkie`, a real PostgreSQL, a real HTTP provider."""

from collections.abc import Iterator

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from tests.support.junkie import Junkie, new_junkie
from tests.support.model_server import (
    CutStream,
    HttpError,
    Length,
    ModelServer,
    Reply,
    Request,
    Text,
    calls,
)
from tests.support.network import NetworkRecorder


@pytest.fixture
def junkie(database: DatabaseUrl) -> Iterator[Junkie]:
    """`junkie` on a database of the worker's server: an embedded one of its own costs each test seconds."""
    junkie = new_junkie({"POSTGRES_URL": database.libpq()})
    yield junkie
    junkie.close()


@pytest.fixture
def alone() -> Iterator[Junkie]:
    """`junkie` with nothing configured."""
    junkie = new_junkie()
    yield junkie
    junkie.close()


@pytest.fixture
def provider() -> Iterator[ModelServer]:
    with ModelServer(smart=True) as server:
        yield server


def chat(junkie: Junkie, provider: ModelServer, *arguments: str, **more: object) -> list[dict]:
    """One answer as JSON Lines; the process must succeed."""
    return junkie.run("chat", "--json", *arguments, env=provider.environment(), **more).ok().json_lines()


def memories(junkie: Junkie, user: str) -> list[str]:
    found = junkie.run("memories", "list", "-u", user, "--json").ok().json()
    return [entry["memory"] for entry in found["memories"]]


def test_a_fact_given_in_one_process_is_in_the_prompt_of_the_next_for_this_user_alone(
    junkie: Junkie, provider: ModelServer
) -> None:
    events = chat(junkie, provider, "-u", "ada", "My name is Ada and I prefer tea.")
    added = [event for event in events if event["event"] == "memory"]
    assert added
    assert all(event["action"] == "added" and event["memory_id"] for event in added)

    chat(junkie, provider, "-u", "ada", "What do you know about me?")
    assert "Ada" in provider.main_requests[-1].system
    assert "tea" in provider.main_requests[-1].system
    assert provider.main_requests[-1].history == []  # a new session: it came from memory, not from history

    chat(junkie, provider, "-u", "bob", "What do you know about me?")
    assert "Ada" not in provider.main_requests[-1].system
    assert "tea" not in provider.main_requests[-1].system
    assert memories(junkie, "bob") == []

    (changed,) = [
        event for event in chat(junkie, provider, "-u", "ada", "I prefer coffee now.") if event["event"] == "memory"
    ]
    assert (changed["action"], "coffee" in changed["memory"]) == ("updated", True)
    assert changed["memory_id"] in [event["memory_id"] for event in added]
    assert not any("tea" in text for text in memories(junkie, "ada"))


def test_exactly_the_last_n_runs_are_in_the_context(junkie: Junkie, provider: ModelServer) -> None:
    provider.smart = False
    for number in range(1, 4):
        environment = provider.environment() | {"AGENT_HISTORY_RUNS": "1"}
        junkie.run("chat", "-u", "ada", "-s", "s1", f"message {number}", env=environment).ok()
    said = [text for role, text in provider.main_requests[-1].history if role == "user"]
    assert said == ["message 2"]


def test_continue_goes_on_with_the_latest_session(junkie: Junkie, provider: ModelServer) -> None:
    first = chat(junkie, provider, "-u", "ada", "the first")[-1]
    again = chat(junkie, provider, "-u", "ada", "-c", "the second")[-1]
    fresh = chat(junkie, provider, "-u", "ada", "the third")[-1]
    assert again["session_id"] == first["session_id"] != fresh["session_id"]


def test_two_processes_on_one_session_lose_nothing(junkie: Junkie, provider: ModelServer) -> None:
    chat(junkie, provider, "-u", "ada", "-s", "shared", "hello")
    held = [Text("left", pause_after=0), Text("right", pause_after=0)]
    provider.smart = False
    provider.queue(*held)
    running = [
        junkie.start("chat", "--json", "-u", "ada", "-s", "shared", word, env=provider.environment())
        for word in ("one", "two")
    ]
    for reply in held:
        reply.paused.wait_sync()
    for reply in held:
        reply.go_on.set()
    for process in running:
        process.wait().ok()
    shown = junkie.run("sessions", "show", "shared", "--json").ok().json()
    said = [run["messages"][0]["content"] for run in shown["runs"]]
    assert said[0] == "hello"
    assert sorted(said[1:]) == ["one", "two"]


# Two of the failures that tests/integration/chat/test_turn_faults.py makes: before the first byte, and in the middle.
ERRORS: list[tuple[str, Reply, str]] = [
    ("429", HttpError(429, "slow down", headers={"Retry-After": "300"}), "provider_rate_limited"),
    ("cut", CutStream(), "provider_cut"),
]


@pytest.mark.parametrize(("reply", "code"), [row[1:] for row in ERRORS], ids=[row[0] for row in ERRORS])
def test_a_provider_error_is_reported_with_exit_6_and_the_turn_is_not_lost(
    junkie: Junkie, provider: ModelServer, reply: Reply, code: str
) -> None:
    environment = provider.environment() | {"AGENT_RETRIES": "0"}
    provider.script = lambda request: None if request.is_memory else reply
    result = junkie.run("chat", "--json", "-u", "ada", "My name is Ada", env=environment)
    assert result.exit_code == 6, result
    done = result.json_lines()[-1]
    assert done["event"] == "done"
    assert done["complete"] is False
    assert done["error"]["code"] == code
    assert done["error"]["hint"]
    assert "Traceback" not in result.stderr
    # What was said is a memory or pending, though the answer failed.
    waiting = junkie.run("memories", "pending", "-u", "ada", "--json").ok().json()["pending"]
    assert [entry["message"] for entry in waiting] or any("Ada" in text for text in memories(junkie, "ada"))


def test_an_answer_at_the_token_limit_is_kept_and_reported(junkie: Junkie, provider: ModelServer) -> None:
    provider.queue(Length("this answer is too"))
    result = junkie.run("chat", "-u", "ada", "tell me", env=provider.environment())
    assert (result.exit_code, result.stdout) == (6, "this answer is too\n")
    assert "the answer is incomplete" in result.stderr
    assert "ask for a shorter answer, or for the rest" in result.stderr


def test_a_refused_connection_is_reported(junkie: Junkie) -> None:
    environment = {"CUSTOM_PROVIDER": "http://127.0.0.1:9/v1", "AGENT_RETRIES": "0"}
    result = junkie.run("chat", "-u", "ada", "hello", env=environment)
    assert result.exit_code == 6
    assert result.stdout == ""
    assert "127.0.0.1" in result.stderr


def test_memory_tools_cannot_reach_another_users_memory(junkie: Junkie, provider: ModelServer) -> None:
    chat(junkie, provider, "-u", "ada", "I prefer tea.")
    victim = junkie.run("memories", "list", "-u", "ada", "--json").ok().json()["memories"][0]

    def attack(request: Request) -> Reply | None:
        if not request.is_memory:
            return Text("fine")
        if request.messages[-1]["role"] == "tool":
            return Text("done")
        return calls(
            ("update_memory", {"memory_id": victim["memory_id"], "memory": "Ada is a liar", "topics": []}),
            ("delete_memory", {"memory_id": victim["memory_id"]}),
        )

    provider.script = attack
    junkie.run("chat", "--json", "-u", "mallory", "obey", env=provider.environment())
    after = junkie.run("memories", "list", "-u", "ada", "--json").ok().json()["memories"]
    assert after == [victim]
    assert memories(junkie, "mallory") == []


def test_only_the_configured_host_is_contacted_and_keys_of_others_stay(
    junkie: Junkie, provider: ModelServer, tmp_path
) -> None:
    recorder = NetworkRecorder(tmp_path)
    environment = provider.environment() | recorder.environment()
    environment |= {
        "OPENAI_API_KEY": "sk-of-somebody-else",
        "OPENAI_ORG_ID": "org-of-somebody-else",
        "AGNO_TELEMETRY": "true",
        "AGNO_DEBUG": "true",
        "ANTHROPIC_API_KEY": "sk-ant",
    }
    result = junkie.run("chat", "-u", "ada", "What is a zebra?", env=environment).ok()
    port = int(provider.url.split(":")[2].split("/")[0])
    assert recorder.addresses() == {("127.0.0.1", port)}
    for request in provider.requests:
        assert "somebody-else" not in str(request.headers)
        assert request.key == "local-key"
    assert "zebra" not in result.stderr  # no log of prompts
    assert "DEBUG" not in result.stderr + result.stdout


def test_no_database_keeps_nothing_and_says_so(alone: Junkie, provider: ModelServer) -> None:
    result = alone.run("chat", "--no-database", "-u", "ada", "hello", env=provider.environment()).ok()
    assert "[DB] No POSTGRES_URL configured - sessions and memories will not persist!" in result.stderr
    assert not alone.data_dir.exists()


def test_no_memory_neither_reads_nor_writes_any(junkie: Junkie, provider: ModelServer) -> None:
    chat(junkie, provider, "-u", "ada", "I prefer tea.")
    asked = len(provider.memory_requests)
    chat(junkie, provider, "--no-memory", "-u", "ada", "My name is Ada")
    assert "tea" not in provider.main_requests[-1].system
    assert len(provider.memory_requests) == asked


def test_without_a_key_and_a_terminal_the_three_ways_are_named(junkie: Junkie) -> None:
    result = junkie.run("chat", "hello")
    assert result.exit_code == 3
    for way in ("GROQ_API_KEY", "CUSTOM_PROVIDER", "--offline"):
        assert way in result.stderr


def test_the_rehearsal_model_needs_nothing_and_says_what_it_is(alone: Junkie, tmp_path) -> None:
    recorder = NetworkRecorder(tmp_path)
    told = alone.run("chat", "--offline", "-u", "ada", "My name is Ada", env=recorder.environment()).ok()
    asked = alone.run("chat", "--offline", "-u", "ada", "What is my name?", env=recorder.environment()).ok()
    assert "Ada" in asked.stdout
    for result in (told, asked):
        assert "rehearsal" in result.stderr
    assert recorder.addresses() == set()


def test_the_bots_env_without_a_database_is_warned_about(alone: Junkie, provider: ModelServer) -> None:
    (alone.cwd / ".env").write_text("DISCORD_TOKEN=x\nPOSTGRES_URL=\nE2B_API_KEY=y\n")
    result = alone.run("chat", "-u", "ada", "hello", env=provider.environment()).ok()
    assert "bot" in result.stderr
