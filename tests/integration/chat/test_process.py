"""A conversation as a process of its own: what it loads, what it prints, and what is left when it is ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from tests.support.conversations import memories, pending, runs
from tests.support.model_server import ModelServer, Text, calls

SCRIPT = """
import sys
from pathlib import Path
from junkie_cli.core.chat import Conversation
from junkie_cli.core.settings import load_settings
from junkie_cli.terminal.invocation import Invocation, Terminated

async def main():
    settings = load_settings(cwd=Path("/nonexistent"))
    async with await Conversation.open(settings, "ada", session_id="talk") as conversation:
        for message in sys.argv[1:]:
            async for event in conversation.send(message):
                print(type(event).__name__, flush=True)

try:
    Invocation().run(main())
except Terminated as terminated:
    print("ended by", terminated.signal_number)
"""


def environment(database: DatabaseUrl, model: ModelServer) -> Mapping[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "POSTGRES_URL": database.libpq(), **model.environment()}


def start(script: str, *arguments: str, env: Mapping[str, str], strict: bool = False) -> "subprocess.Popen[str]":
    options = ["-W", "always::ResourceWarning", "-W", "always::RuntimeWarning"] if strict else []
    return subprocess.Popen(
        [sys.executable, *options, "-c", script, *arguments],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_importing_the_chat_loads_nothing_heavy() -> None:
    heavy = "agno openai sqlalchemy pydantic prompt_toolkit asyncpg rich httpx httpx2"
    found = subprocess.run(
        [sys.executable, "-c", f"import sys, junkie_cli.core.chat; print(set('{heavy}'.split()) & set(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "set()\n"


def test_turns_end_without_a_word_of_python_or_agno(database: DatabaseUrl, model: ModelServer) -> None:
    model.queue(calls(("calculate", {"expression": "1 / 0"})), Text("Undefined."))
    model.queue_memory(calls(("no_such_tool", {}), ("add_memory", {"memory": "User likes tea"})))
    with start(SCRIPT, "I like tea.", "Good.", env=environment(database, model), strict=True) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert set(out.split()) == {"Waiting", "Tool", "Delta", "AnswerComplete", "MemoryEvent", "Warning", "Done"}
    assert err == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_ended_in_mid_answer_it_is_stored_and_marked(
    database: DatabaseUrl, model: ModelServer, number: signal.Signals
) -> None:
    slow = Text("one two three four", pause_after=2)
    model.queue(slow)
    with start(SCRIPT, "Count.", env=environment(database, model), strict=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "Waiting\n"
        assert process.stdout.readline() == "Delta\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert out.endswith(f"ended by {number.value}\n")
    assert err == ""
    [run] = await runs(database)
    assert (run["status"], run["said"], run["answer"].split()[0]) == ("CANCELLED", "Count.", "one")
    assert [entry["message"] for entry in await pending(database)] == ["Count."]


async def test_killed_during_the_extraction_the_turn_is_there_and_the_rest_pending(
    database: DatabaseUrl, model: ModelServer
) -> None:
    slow = calls(("add_memory", {"memory": "User likes tea"}))
    slow.pause_after = 0
    model.queue_memory(slow)
    with start(SCRIPT, "I like tea.", env=environment(database, model)) as process:
        await slow.paused.wait()
        process.kill()
        process.communicate(timeout=60)
    assert [run["status"] for run in await runs(database)] == ["COMPLETED"]
    assert [entry["message"] for entry in await pending(database)] == ["I like tea."]
    assert await memories(database) == []
