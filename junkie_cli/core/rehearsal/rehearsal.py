"""The rehearsal model for `--offline`: no network, no key, but the same protocol, client and agno as a real model.

Data flow: the openai client -> `RehearsalTransport` (HTTP without a network) -> `answer(body)` -> the text rules in
`rehearsal_text`. As a chat model it answers from the memories, history and tool results in its context; if memory tools
are offered, it acts as a memory model and calls them.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import httpx2

from junkie_cli.core.rehearsal.rehearsal_text import KnownMemory, MemoryCall, converse, plan_memories
from junkie_cli.core.value_class import frozen

_MEMORY_TOOLS = frozenset({"add_memory", "update_memory", "delete_memory", "nothing_to_remember"})
_MEMORIES = re.compile(
    r"<memories_from_previous_interactions>\n(.*?)\n</memories_from_previous_interactions>", re.DOTALL
)
_EXISTING = re.compile(r"<known_memories>\n(.*)\n</known_memories>", re.DOTALL)
_EXISTING_ONE = re.compile(r"^(\d+)\. (.*)$", re.MULTILINE)
# Bounded, so that a long text of digits is fast.
_NUMBER = r"(-?\d{1,12}(?:\.\d{1,12})?)"
_SUM = re.compile(rf"{_NUMBER} ?(\+|-|\*|x|\u00d7|/|plus|minus|times|divided by) ?{_NUMBER}", re.IGNORECASE)
_OPERATORS = {"plus": "+", "minus": "-", "x": "*", "\u00d7": "*", "times": "*", "divided by": "/"}


@frozen
class Answer:
    """The answer of the model: text, or tool calls."""

    text: str = ""
    tool_calls: tuple[MemoryCall, ...] = ()


def answer(body: Mapping[str, Any]) -> Answer:
    """Answer the body of a chat completion request, deterministically."""
    messages: Sequence[Mapping[str, Any]] = body.get("messages", ())
    offered = {tool["function"]["name"] for tool in body.get("tools", ())}
    system = "\n".join(_text(message) for message in messages if message["role"] in {"system", "developer"})
    said = [_text(message) for message in messages if message["role"] == "user"] or [""]
    results = _results_at_the_end(messages)
    if offered & _MEMORY_TOOLS:
        return _extract(said[-1], system, offered)
    if results:
        return Answer(" ".join(_tool_result(result) for result in results))
    calculation = _calculation(said[-1], offered)
    if calculation is not None:
        return Answer(tool_calls=(calculation,))
    return Answer(converse(said[-1], _memories(system), said[:-1]))


def _extract(message: str, system: str, offered: set[str]) -> Answer:
    calls = tuple(call for call in plan_memories(message, _existing(system)) if call.name in offered)
    return Answer(tool_calls=calls or (MemoryCall("nothing_to_remember", {}),))


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content)
    return content or ""


def _results_at_the_end(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    results: list[str] = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        results.insert(0, _text(message))
    return results


def _memories(system: str) -> list[KnownMemory]:
    found = _MEMORIES.search(system)
    return [KnownMemory(text) for text in re.split(r"^- ", found[1], flags=re.MULTILINE)[1:]] if found else []


def _existing(system: str) -> list[KnownMemory]:
    found = _EXISTING.search(system)
    return (
        [KnownMemory(text.strip(), memory_id) for memory_id, text in _EXISTING_ONE.findall(found[1])] if found else []
    )


def _calculation(message: str, offered: set[str]) -> MemoryCall | None:
    found = _SUM.search(message)
    if not found or "calculate" not in offered:
        return None
    operator = _OPERATORS.get(found[2].lower(), found[2])
    return MemoryCall("calculate", {"expression": f"{found[1]} {operator} {found[3]}"})


def _tool_result(result: str) -> str:
    try:
        value = json.loads(result)["result"]
    except (ValueError, KeyError, TypeError):
        return f"The tool says: {result}"
    return f"The calculator says {value:g}." if isinstance(value, int | float) else f"The calculator says {value}."


class RehearsalTransport(httpx2.AsyncBaseTransport):
    """Answers the requests of an OpenAI client in this process: chat completions, streamed or not."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request without a network."""
        body = json.loads(await request.aread())
        said = answer(body)
        if body.get("stream"):
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=_events(said, body))
        return httpx2.Response(200, json=_whole(said, body))


def _tool_calls(said: Answer) -> list[dict[str, Any]]:
    return [
        {
            "index": index,
            "id": f"call_rehearsal_{index}",
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
        }
        for index, call in enumerate(said.tool_calls)
    ]


def _usage(said: Answer, body: Mapping[str, Any]) -> dict[str, int]:
    """Count words as tokens."""
    asked = sum(len(_text(message).split()) for message in body.get("messages", ()))
    completion = len(said.text.split()) + len(said.tool_calls)
    return {"prompt_tokens": asked, "completion_tokens": completion, "total_tokens": asked + completion}


def _head(body: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-rehearsal", "object": kind, "created": 0, "model": body.get("model", "rehearsal")}


def _finish(said: Answer) -> str:
    return "tool_calls" if said.tool_calls else "stop"


def _whole(said: Answer, body: Mapping[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None}
    if said.tool_calls:
        message["tool_calls"] = _tool_calls(said)
    choice = {"index": 0, "message": message, "finish_reason": _finish(said)}
    return {**_head(body, "chat.completion"), "choices": [choice], "usage": _usage(said, body)}


async def _events(said: Answer, body: Mapping[str, Any]) -> AsyncIterator[bytes]:
    for delta in _deltas(said):
        choice = {"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": None}
        yield _event({**_head(body, "chat.completion.chunk"), "choices": [choice]})
    last = {"index": 0, "delta": {}, "finish_reason": _finish(said)}
    yield _event({**_head(body, "chat.completion.chunk"), "choices": [last]})
    yield _event({**_head(body, "chat.completion.chunk"), "choices": [], "usage": _usage(said, body)})
    yield b"data: [DONE]\n\n"


def _deltas(said: Answer) -> Iterator[dict[str, Any]]:
    for word in re.findall(r"\s*\S+\s*", said.text):
        yield {"content": word}
    if said.tool_calls:
        yield {"tool_calls": _tool_calls(said)}


def _event(value: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"
