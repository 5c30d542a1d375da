"""Extraction with a real model, before and after: `python -m tests.real_model MODEL.gguf`, or a base URL.

With `before` or `after` behind it that one alone is measured.
"Before" is agno's prompt with its tools, read as the protocol has it, and the second round that a successful call
costs; "after" is ours, with the way of asking found out as in use. For each message: what came, whether the reply was
usable, tokens and seconds. A fact that holds a word of WRONG was invented or should not have been kept. Prints a table
in Markdown. Takes minutes and all of the processor: nothing runs this by itself.
"""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from agno.memory import MemoryManager
from agno.models.message import Message

from junkie_cli.core.agent.agno_adapter import TeamDatabase
from junkie_cli.core.agent.bounds import Bounds, Budget
from junkie_cli.core.agent.calling import ask
from junkie_cli.core.agent.memory_manager import TeamMemoryManager
from junkie_cli.core.agent.model_errors import ModelError
from junkie_cli.core.agent.models import TeamModels, build_models
from junkie_cli.core.settings import load_settings
from junkie_cli.core.table_layout import Layout

SAID = (
    "My name is Ada and I prefer tea to coffee.",
    "Hi, how are you?",
    "Tomorrow I fly to Rome.",
    "I went to the gym this morning.",
    "What is the capital of France?",
    "My wifi password is hunter2-sunset, please remember it.",
    "Ich bin Krankenschwester und wohne in Köln.",
    "My sister Lea is allergic to peanuts.",
)
WRONG = ("John", "Doe", "hunter2", "capital", "Paris")
NOTHING_IN = {1, 4}
"""Places in SAID of messages in which there is nothing to remember."""


class Row:
    """What came of one message."""

    def __init__(self) -> None:
        self.facts: list[str] = []
        self.usable = False
        self.tokens = 0
        self.seconds = 0.0
        self.way = ""


async def before(models: TeamModels, message: str) -> Row:
    row = Row()
    manager = MemoryManager(model=models.memory)
    tools = manager.determine_tools_for_model(
        manager._get_db_tools(user_id="ada", db=None, input_string=message, enable_add_memory=True)  # type: ignore[arg-type]
    )
    schemas = [{"type": "function", "function": tool.to_dict()} for tool in tools if hasattr(tool, "to_dict")]
    messages = [manager.get_system_message(), Message(role="user", content=message)]
    reply = await ask(models.memory, messages, Budget(Bounds()), tools=schemas)
    calls = [call for call in reply.tool_calls if call.name == "add_memory"]
    row.facts = [call.arguments for call in calls]
    row.usable, row.way = bool(calls), "tools"
    row.tokens = (reply.input_tokens + reply.output_tokens) * (2 if calls else 1)
    row.seconds = reply.seconds
    return row


async def after(models: TeamModels, message: str) -> Row:
    row = Row()
    manager = TeamMemoryManager(models.memory, TeamDatabase(Layout("ai")), Bounds())
    began = time.monotonic()
    try:
        found = await manager.extract("ada", message, "", [])
    except ModelError as error:
        row.facts, row.seconds = [f"({error.message})"], time.monotonic() - began
        return row
    row.facts = [change.memory or "" for change in found.changes]
    row.usable, row.way = found.error is None, found.method
    row.tokens, row.seconds = found.input_tokens + found.output_tokens, found.seconds
    return row


WAYS = {"before": before, "after": after}


async def measure(url: str) -> None:
    environment = {"CUSTOM_PROVIDER": url, "CUSTOM_MODEL": "real-model", "MEMORY_TIMEOUT": "600", "AGENT_RETRIES": "0"}
    with tempfile.TemporaryDirectory() as state:
        os.environ["XDG_STATE_HOME"] = state
        models = build_models(load_settings(environ={"HOME": state, **environment}, cwd=Path(state)))
        try:
            for name, way in ((name, way) for name, way in WAYS.items() if name in sys.argv[2:] or len(sys.argv) < 3):
                print(
                    f"\n## {name}\n\n| message | usable | way | tokens | seconds | facts |\n|---|---|---|---|---|---|"
                )
                report(name, [show(message, await way(models, message)) for message in SAID])
        finally:
            await models.close()


def report(name: str, rows: list[Row]) -> None:
    wrong = sum(any(word in fact for word in WRONG) for row in rows for fact in row.facts)
    invented = sum(len(rows[place].facts) for place in NOTHING_IN if rows[place].usable)
    print(
        f"\n{name}: {sum(row.usable for row in rows)} of {len(rows)} usable, {wrong} facts that must not be, "
        f"{invented} where there was nothing, {sum(row.tokens for row in rows) // len(rows)} tokens and "
        f"{sum(row.seconds for row in rows) / len(rows):.1f} s a message"
    )


def show(message: str, row: Row) -> Row:
    """Print a row at once: one may take minutes."""
    facts = "; ".join(row.facts).replace("|", "/").replace("\n", " ")[:200]
    usable = "yes" if row.usable else "no"
    print(f"| {message} | {usable} | {row.way} | {row.tokens} | {row.seconds:.1f} | {facts} |", flush=True)
    return row


def main() -> None:
    if sys.argv[1].startswith("http"):
        asyncio.run(measure(sys.argv[1]))
        return
    model = Path(sys.argv[1])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.real_model.server", str(model), str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as server:
        try:
            _wait(f"http://127.0.0.1:{port}/health", server)
            asyncio.run(measure(f"http://127.0.0.1:{port}/v1"))
        finally:
            server.terminate()


def _wait(url: str, server: "subprocess.Popen[bytes]") -> None:
    while server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    sys.exit("the server ended: is xllamacpp installed here, and the file a model?")


if __name__ == "__main__":
    main()
