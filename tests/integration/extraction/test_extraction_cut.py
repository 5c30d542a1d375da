"""A reply of the memory model that ends in the middle: its complete facts are used, and the message stays pending."""

import json
from pathlib import Path
from typing import Any

import pytest

from junkie_cli.core.agent.agno_adapter import TeamDatabase
from junkie_cli.core.agent.bounds import Bounds
from junkie_cli.core.agent.memory_manager import Extraction, TeamMemoryManager
from junkie_cli.core.agent.model_errors import ModelError
from junkie_cli.core.extraction.methods import MethodStore
from junkie_cli.core.table_layout import Layout
from tests.support.model_server import CutStream, ModelServer, Reply, StreamError, Text, ToolCalls, pieces
from tests.support.models import team_models

pytestmark = pytest.mark.usefixtures("state")

FACTS = ["User likes tea", "User has a dog"]
DOCUMENT = json.dumps({"facts": [*FACTS, "User lives in a house with so many rooms that"]})[:-3]
CALLS = "\n".join(
    f"<tool_call>{json.dumps({'name': 'add_memory', 'arguments': {'memory': fact}})}</tool_call>" for fact in FACTS
)
FORMS = {
    "document": DOCUMENT,
    "document behind thoughts": f"<think>What is new?</think>{DOCUMENT}",
    "document behind thoughts with no beginning": f"What is new? Nothing?</think>{DOCUMENT}",
    "fenced document": f"```json\n{DOCUMENT}",
    "calls in the text": f'{CALLS}\n<tool_call>{{"name": "add_memory", "argum',
    "harmony": f"<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>{DOCUMENT}",
}


class Cut(Text):
    """The text, then the same words until the client hangs up."""

    def deltas(self) -> Any:
        yield from Text.deltas(self)
        while True:
            yield {"content": "very "}


def replies(text: str) -> dict[str, tuple[Reply, str]]:
    """What ends a reply in the middle of `text`, and the error."""
    return {
        "the limit of the model": (Text(text, finish="length"), "provider_length"),
        "the limit of an extraction": (Cut(text), "bound_tokens"),
        "the connection": (CutStream(text, after=len(pieces(text)), reset=True), "provider_cut"),
        "no end": (CutStream(text, after=len(pieces(text))), "provider_cut"),
        "an error": (StreamError(text, after=len(pieces(text))), "provider_unavailable"),
        "silence": (Text(text, pause_after=len(pieces(text))), "bound_seconds"),
    }


async def extract(folder: Path, server: ModelServer, **bounds: float) -> Extraction:
    async with team_models(folder, server.environment()) as models:
        manager = TeamMemoryManager(models.memory, TeamDatabase(Layout("ai")), Bounds(**bounds))  # type: ignore[arg-type]
        return await manager.extract("ada", "I like tea and have a dog", "", [])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("way", replies(""))
async def test_the_complete_facts_of_a_reply_that_ends_early_are_used(tmp_path: Path, form: str, way: str) -> None:
    reply, code = replies(FORMS[form])[way]
    async with ModelServer() as server:
        MethodStore().note_success(server.url, "scripted-model", "schema", in_text=False)
        server.queue_memory(reply)
        found = await extract(tmp_path, server, seconds=2 if way == "silence" else 900)
        reply.go_on.set()
    assert [change.memory for change in found.changes] == FACTS
    assert found.error is not None
    assert found.error.code == code


async def test_the_complete_calls_of_a_reply_that_ends_early_are_used(tmp_path: Path) -> None:
    written = [("add_memory", {"memory": fact}) for fact in FACTS]
    async with ModelServer() as server:
        server.queue_memory(ToolCalls(calls=[*written, ("add_memory", '{"memory": "User lives')], finish="length"))
        found = await extract(tmp_path, server)
    assert [change.memory for change in found.changes] == FACTS
    assert found.error is not None
    assert found.error.code == "provider_length"


async def test_a_reply_of_one_piece_over_the_limit_is_read(tmp_path: Path) -> None:
    """A server that ignores `stream` sends all of it at once."""
    document = json.dumps({"facts": FACTS, "thought": "very " * 4000})

    class One(Text):
        def deltas(self) -> list[dict[str, Any]]:
            return [{"content": document}]

    async with ModelServer() as server:
        server.queue_memory(One(document))
        found = await extract(tmp_path, server)
    assert [change.memory for change in found.changes] == FACTS


@pytest.mark.parametrize("text", ['{"facts": [', '{"facts": ["User likes', "User likes tea", ""])
async def test_a_cut_reply_without_a_complete_fact_is_a_failure(tmp_path: Path, text: str) -> None:
    async with ModelServer() as server:
        for _ in range(3):
            server.queue_memory(Text(text, finish="length"))
        with pytest.raises(ModelError):
            await extract(tmp_path, server)
