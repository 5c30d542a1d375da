"""Extraction with a real model, before and after: `python -m tests.real_model MODEL.gguf`, or a base URL.

With `before` or `after` behind it that one alone is measured.
"Before" is agno's prompt with its tools, read as the protocol has it, and the second round that a successful call
costs; "after" is ours, with the way of asking found out as in use. For each message: what came, whether the reply was
usable, what is missing of it, what is wrong or came of nothing, tokens and seconds. Prints a table in Markdown.
Takes minutes and all of the processor: nothing runs this by itself.
"""

import asyncio
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import date, datetime, timedelta
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

_TODAY = date.today()
_TOMORROW = _TODAY + timedelta(days=1)
_ITS_DAY = rf"{_TOMORROW:%d}\b|\b{_TOMORROW.day}(?:st|nd|rd|th)?\b"


@dataclass(frozen=True)
class Said:
    """A message, what has to be in its facts (each pattern in one of them), and what in none.

    Without `wanted` there is nothing to note. Where both are empty the fact may be noted or not.
    """

    message: str
    wanted: tuple[str, ...] = ()
    unwanted: str = r"John|Doe"
    optional: bool = False


SAID = (
    Said("My name is Ada and I prefer tea to coffee.", ("Ada", "tea")),
    Said("Hi, how are you?"),
    Said("Tomorrow I fly to Rome.", ("Rome", _ITS_DAY), r"tomorrow(?! \()|is flying|John"),
    Said("I went to the gym this morning.", unwanted=r"regularly|John|Doe", optional=True),
    Said("What is the capital of France?"),
    Said("My wifi password is hunter2-sunset, please remember it.", unwanted="hunter2", optional=True),
    Said("Ich bin Krankenschwester und wohne in Köln.", ("Krankenschwester|nurse", "Köln|Cologne")),
    Said("My sister Lea is allergic to peanuts.", ("peanut",)),
    Said("The capital of France is Paris, by the way."),
    Said("Water boils at 100 degrees Celsius at sea level."),
    Said("My friend Tom moved to Paris.", ("Tom.*Paris",)),
    Said("Morgen fliege ich nach Rom.", ("Rom", _ITS_DAY), r"(?:morgen|tomorrow)(?! \()"),
    Said("Nächste Woche habe ich eine Prüfung.", ("Prüfung|exam",), r"(?:nächste woche|next week)(?! \()"),
    Said("Write a haiku about the sea."),
    Said("Ma sœur s'appelle Léa.", ("Léa",)),
)


class Row:
    """What came of one message."""

    def __init__(self) -> None:
        self.facts: list[str] = []
        self.usable = False
        self.tokens = 0
        self.seconds = 0.0
        self.way = ""
        self.missing = self.wrong = self.invented = 0


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
        found = await manager.extract("ada", message, "", [], datetime.now().astimezone())
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
                    f"\n## {name}\n\n| message | usable | way | tokens | seconds | missing | wrong | facts |\n"
                    "|---|---|---|---|---|---|---|---|"
                )
                report(name, [show(said, await way(models, said.message)) for said in SAID])
        finally:
            await models.close()


def report(name: str, rows: list[Row]) -> None:
    print(
        f"\n{name}: {sum(row.usable for row in rows)} of {len(rows)} usable, {sum(row.missing for row in rows)} facts "
        f"missing, {sum(row.wrong for row in rows)} that must not be, {sum(row.invented for row in rows)} where there "
        f"was nothing, {sum(row.tokens for row in rows) // len(rows)} tokens and "
        f"{sum(row.seconds for row in rows) / len(rows):.1f} s a message"
    )


def show(said: Said, row: Row) -> Row:
    """Judge a row and print it at once: one may take minutes."""
    facts = row.facts if row.usable else []
    row.missing = sum(not any(re.search(wanted, fact, re.I) for fact in facts) for wanted in said.wanted)
    row.wrong = sum(bool(re.search(said.unwanted, fact, re.I)) for fact in facts)
    row.invented = 0 if said.wanted or said.optional else len(facts)
    written = "; ".join(row.facts).replace("|", "/").replace("\n", " ")[:200]
    print(
        f"| {said.message} | {'yes' if row.usable else 'no'} | {row.way} | {row.tokens} | {row.seconds:.1f} | "
        f"{row.missing} | {row.wrong + row.invented} | {written} |",
        flush=True,
    )
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
