"""What a provider sends, as values: the one place that reads chunks, whole answers and usage.

`take_chunk` notes in a `Call` what a chunk holds; `text_alone` is the short way for chunks that are text and nothing
else; `as_chunk` makes one chunk of a whole answer, for servers that do not stream.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import httpx2
import openai
from agno.models.response import ModelResponse
from openai.types.chat import ChatCompletionChunk

from junkie_cli.core.team.call_log import Call
from junkie_cli.core.team.thinking import ThoughtSplitter

_CHUNK_FIELDS = frozenset(ChatCompletionChunk.model_fields)


def split(response: ModelResponse, thoughts: ThoughtSplitter, call: Call, *, at_end: bool = False) -> ModelResponse:
    """Move what the model thinks aloud from the text of a piece to its reasoning; note in `call` what came as text."""
    if at_end or isinstance(response.content, str):
        piece = thoughts.end() if at_end else thoughts.feed(response.content or "")
        response.content = piece.text or None
        call.took_back |= piece.takes_back
        if piece.thought:
            response.reasoning_content = piece.thought
    return response


def is_event_stream(response: httpx2.Response) -> bool:
    """Whether the answer is a stream of events by its own account."""
    return response.headers.get("content-type", "").startswith("text/event-stream")


def text_alone(data: Any) -> str | None:
    """The text of an event that holds nothing else; None for any other."""
    if not isinstance(data, dict) or not data.keys() <= _CHUNK_FIELDS or data.get("usage") is not None:
        return None
    choices = data.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        return None
    delta = choices[0].get("delta")
    if choices[0].get("finish_reason") is not None or not isinstance(delta, dict):
        return None
    others = any(value is not None for name, value in delta.items() if name not in {"role", "content"})
    text = delta.get("content")
    return text if isinstance(text, str) and not others else None


def with_tool_calls(data: Any) -> Any:
    """An event with `function_call`, which came before tool calls in the protocol, as one with a tool call."""
    match data:
        case {"choices": [{"delta": {"function_call": {**call}, **others}, **choice}]} if not others.get("tool_calls"):
            delta = others | {"tool_calls": [{"index": 0, "type": "function", "function": call}]}
            return dict(data) | {"choices": [choice | {"delta": delta}]}
    return data


def take_chunk(call: Call, chunk: Any) -> None:
    """Note what a chunk holds, and whether it ends the answer."""
    if chunk.choices:
        choice = chunk.choices[0]
        if choice.delta is not None:
            _take_piece(call, choice.delta)
        if choice.finish_reason is not None:
            call.finish_reason, call.closed = choice.finish_reason, True
    elif chunk.usage is not None:  # the closing chunk: some servers never name a finish_reason
        call.closed = True
    _take_usage(call, chunk.usage)


def _take_piece(call: Call, piece: Any) -> None:
    call.has_text |= bool(piece.content and piece.content.strip())
    call.has_tool_calls |= bool(piece.tool_calls)
    call.has_reasoning |= bool(getattr(piece, "reasoning", None) or getattr(piece, "reasoning_content", None))


def _take_usage(call: Call, usage: Any) -> None:
    if usage is not None:
        call.input_tokens = usage.prompt_tokens or 0
        call.output_tokens = usage.completion_tokens or 0
        call.total_tokens = usage.total_tokens or 0


async def whole_answer(response: httpx2.Response) -> dict[str, Any] | None:
    """The one chunk of an answer that is not a stream; None when it is one. Raises ValueError, openai.APIError."""
    if "json" not in response.headers.get("content-type", "").lower():
        return None
    return as_chunk(json.loads(await response.aread()))


def as_chunk(completion: Any) -> dict[str, Any]:
    """A whole answer as the one chunk of a stream. Raises openai.APIError for an error object, KeyError, TypeError."""
    if isinstance(completion, Mapping) and completion.get("error"):
        raise openai.APIError("", request=httpx2.Request("POST", ""), body=completion["error"])
    choices = [dict(choice) | {"delta": _as_delta(choice["message"])} for choice in completion["choices"]]
    return dict(completion) | {"choices": choices}


def _as_delta(message: Mapping[str, Any]) -> dict[str, Any]:
    calls = [dict(call) | {"index": index} for index, call in enumerate(message.get("tool_calls") or ())]
    return dict(message) | ({"tool_calls": calls} if calls else {})


def characters(response: ModelResponse) -> int:
    """How much text a piece of an answer holds: words, thoughts and arguments of tool calls."""
    found = len(response.content or "") + len(response.reasoning_content or "")
    deltas: list[Any] = response.tool_calls
    return found + sum(len(str(delta.function.arguments or "")) for delta in deltas or () if delta.function)


def count_tool_calls(deltas: Iterable[Any]) -> int:
    """How many tool calls these pieces of some make up."""
    deltas = list(deltas)
    last = max((delta.index for delta in deltas if isinstance(delta.index, int)), default=-1)
    return max(last + 1, len({delta.id for delta in deltas if delta.id}))


def add(whole: ModelResponse, piece: ModelResponse) -> None:
    """Add a piece to what came before it; tool calls are not for this to assemble."""
    whole.content = (whole.content or "") + (piece.content or "") or None
    whole.reasoning_content = (whole.reasoning_content or "") + (piece.reasoning_content or "") or None
    if piece.provider_data:
        whole.provider_data = {**(whole.provider_data or {}), **piece.provider_data}
    whole.response_usage = piece.response_usage or whole.response_usage
