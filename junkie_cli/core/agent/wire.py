"""Reads what a provider sends (events, complete answers, usage) into values; the only place that does.

An answer is its text, its thoughts and its tool calls. All else decorates it (ids, counts, timings) and is left out
when it is not what it should be. How an answer ended is decided by the finish reason and the end marker together
(`how_it_ended`):

    finish reason                     end marker   the answer is
    stop, tool_calls, any other word  any          complete, even when the connection breaks afterwards
    length, max_tokens                any          kept, with a warning; a failure if it holds no text
    content_filter, safety, ...       any          withheld: a failure, what came of it stays
    error, abort, cancelled, ...      any          broken off: a failure, what came of it stays
    none, null, ""                    yes          complete
    none, null, ""                    no           broken off

The end marker is `[DONE]`, the end of a document that is no stream, or usage without a choice after the last part of
the answer.
"""

import json
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

import httpx2
from agno.metrics import MessageMetrics
from agno.models.response import ModelResponse
from openai.types.chat.chat_completion_chunk import ChoiceDeltaToolCall

from junkie_cli.core.agent.call_log import Call
from junkie_cli.core.agent.reasoning_parser import ThoughtSplitter
from junkie_cli.core.agent.tool_calls import ToolCallParts

_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
_MOST_TOKENS = 10_000_000  # a count above this is none

COMPLETE, SHORTENED, WITHHELD, BROKEN_OFF = "complete", "shortened", "withheld", "broken off"
_ENDS = {
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "model_length"), SHORTENED),
    **dict.fromkeys(("content_filter", "content-filter", "safety", "recitation", "blocklist", "spii"), WITHHELD),
    **dict.fromkeys(("prohibited_content", "refusal", "sensitive", "guardrail_intervened"), WITHHELD),
    **dict.fromkeys(
        ("error", "abort", "aborted", "cancelled", "canceled", "timeout", "malformed_response"), BROKEN_OFF
    ),
    **dict.fromkeys(("malformed_function_call", "insufficient_system_resource", "network_error"), BROKEN_OFF),
}


def how_it_ended(call: Call) -> str:
    """COMPLETE, SHORTENED, WITHHELD or BROKEN_OFF, by the table above."""
    if call.finish_reason is not None:
        return _ENDS.get(call.finish_reason.lower().rpartition(".")[2], COMPLETE)
    return COMPLETE if call.end_marked else BROKEN_OFF


def split(
    response: ModelResponse, thoughts: ThoughtSplitter, call: Call, *, at_end: bool = False, broken: bool = False
) -> ModelResponse:
    """Move what the model thinks aloud from the text of a piece to its reasoning; note in `call` what came as text.

    `at_end` when no more pieces come, `broken` when that is not the answer's own end.
    """
    if at_end or isinstance(response.content, str):
        piece = thoughts.feed(response.content or "")
        end = thoughts.end(broken=broken) if at_end else None
        response.content = piece.text + (end.text if end else "") or None
        call.retracted |= piece.retracts
        thought = piece.thought + (end.thought if end else "")
        if thought:
            response.reasoning_content = (response.reasoning_content or "") + thought
    return response


def is_event_stream(response: httpx2.Response) -> bool:
    """Whether the answer is a stream of events by its own account."""
    return response.headers.get("content-type", "").startswith("text/event-stream")


# --- documents --------------------------------------------------------------------------------------------------------


def error_in(document: Any) -> Any:
    """The error that a document holds instead of an answer, or in the middle of one; None when it holds none."""
    match document:
        case [{"error": error}, *_] if error:  # Gemini's
            return error
        case {"error": error} if error:
            return error
        case {"choices": [{"error": error}, *_]} if error:  # OpenRouter's
            return error
        case {"choices": _}:
            return None
        case {"detail": _} | {"object": "error"} | {"errors": [_, *_]} | {"type": "error"}:
            return document
    return None


def as_event(document: Any) -> Any:
    """A document that is no stream, as an event. Raises TypeError when it holds neither an answer nor an error."""
    if error_in(document) is None and _choice(document) is None:
        if not _word(document.get("message")):
            raise TypeError
        return {"error": document}
    return document


def begins_answer(document: Any) -> bool:
    """Whether an event holds a part of the answer, or its end; events before it hold the role at most."""
    choice = _choice(document)
    if choice is None:
        return False
    parts = _delta(choice)
    says = any(parts.get(name) for name in ("content", "refusal", "tool_calls", "function_call", *_THOUGHTS))
    return says or _word(choice.get("finish_reason")) is not None


def _choice(document: Any) -> Mapping[str, Any] | None:
    """The first choice of an event; None for an event without one, whatever it reports. Raises TypeError."""
    if not isinstance(document, Mapping):
        raise TypeError
    choices = document.get("choices")
    if choices is None or choices == []:
        return None
    if not isinstance(choices, list) or not isinstance(choices[0], Mapping):
        raise TypeError
    return choices[0]


def _delta(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part of the answer; of a server that does not stream, all of it. Raises TypeError."""
    parts = choice.get("delta")
    if parts is None:
        parts = choice.get("message") or {}
    if not isinstance(parts, Mapping):
        raise TypeError
    return parts


class Reader:
    """Reads the events of one answer, in order, and notes in its `call` what they hold."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._tool_calls = ToolCallParts()
        self._usage: Mapping[str, Any] | None = None
        self._half = ""  # of a character that came in two escapes

    def read(self, event: Any) -> ModelResponse:
        """One event as agno takes it. Raises TypeError for what is not the protocol."""
        choice = _choice(event)
        self._take_usage(event)
        if choice is None:
            self._call.end_marked |= isinstance(event.get("usage"), Mapping) and self._call.has_answer
            return ModelResponse()
        piece = self._read_choice(choice)
        if piece.content is not None:
            piece.provider_data = {name: event[name] for name in ("id", "system_fingerprint") if _word(event.get(name))}
        return piece

    def end(self) -> ModelResponse:
        """What is left at the end: half a character, and the provider's count of tokens."""
        text, self._half = self._half and "\ufffd", ""
        return ModelResponse(content=text or None, response_usage=_metrics(self._usage) if self._usage else None)

    def _read_choice(self, choice: Mapping[str, Any]) -> ModelResponse:
        parts = _delta(choice)
        text, thought = _text_and_thought(parts.get("content"))
        refusal = _word(parts.get("refusal"))
        if refusal:
            text = (text or "") + refusal
        thought += next((_thought(parts[name]) for name in _THOUGHTS if parts.get(name)), "")
        calls = self._tool_calls.take(_listed_calls(parts))
        call = self._call
        call.has_text |= bool(text and text.strip())
        call.has_reasoning |= bool(thought)
        call.has_tool_calls |= bool(calls)
        if text or thought or calls:
            call.end_marked = False
        call.finish_reason = _word(choice.get("finish_reason")) or call.finish_reason
        return ModelResponse(
            content=None if text is None else self._with_both_halves(text),
            reasoning_content=_encodable(thought) or None,
            tool_calls=[ChoiceDeltaToolCall.model_construct(**one) for one in calls],  # type: ignore[misc]
        )

    def _with_both_halves(self, text: str) -> str:
        text, self._half = self._half + text, ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return _encodable(text)

    def _take_usage(self, event: Mapping[str, Any]) -> None:
        """The last count stands: some servers count at every event, Groq in a field of its own."""
        own = event.get("x_groq")
        found = event.get("usage") or (own.get("usage") if isinstance(own, Mapping) else None)
        if isinstance(found, Mapping):
            self._usage = found
            self._call.input_tokens = tokens(found.get("prompt_tokens"))
            self._call.output_tokens = tokens(found.get("completion_tokens"))
            self._call.total_tokens = tokens(found.get("total_tokens"))


def _listed_calls(parts: Mapping[str, Any]) -> list[Any]:
    """The tool calls of a part; `function_call` came before them in the protocol."""
    calls = parts.get("tool_calls")
    if calls:
        return calls if isinstance(calls, list) else [calls]
    return [{"function": parts["function_call"]}] if isinstance(parts.get("function_call"), Mapping) else []


def _text_and_thought(content: Any) -> tuple[str | None, str]:
    """Content is a text, or a list of parts (Mistral), of which some are thoughts. Raises TypeError."""
    if content is None or isinstance(content, str):
        return content, ""
    if isinstance(content, int | float) and not isinstance(content, bool):  # a gateway that took it for JSON
        return json.dumps(content), ""
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, list):
        raise TypeError
    text, thought = "", ""
    for part in content:
        if isinstance(part, Mapping) and part.get("type") in ("thinking", "reasoning"):
            thought += _thought(part.get("thinking") or part.get("reasoning") or part.get("text"))
        else:
            text += _plain(part)
    return text, thought


def _plain(part: Any) -> str:
    """The text of a part; parts of other kinds (references, images) have none."""
    found = part.get("text") if isinstance(part, Mapping) else part
    return found if isinstance(found, str) else ""


def _thought(value: Any) -> str:
    """Thoughts in whatever form: they decorate the answer."""
    if isinstance(value, list):
        return "".join(map(_plain, value))
    return _plain(value)


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _encodable(text: str) -> str:
    """`text` without NUL, which PostgreSQL cannot hold, and without halves of characters: shown as it is stored."""
    text = text.replace("\x00", "")
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def tokens(value: Any) -> int:
    """A count of tokens as a number; 0 for what is none."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return 0
    return int(value) if 0 <= value <= _MOST_TOKENS else 0


def _metrics(usage: Mapping[str, Any]) -> MessageMetrics:
    of_input, of_output = (
        found if isinstance(found := usage.get(name), Mapping) else {}
        for name in ("prompt_tokens_details", "completion_tokens_details")
    )
    return MessageMetrics(
        input_tokens=tokens(usage.get("prompt_tokens")),
        output_tokens=tokens(usage.get("completion_tokens")),
        total_tokens=tokens(usage.get("total_tokens")),
        cache_read_tokens=tokens(of_input.get("cached_tokens")),
        cache_write_tokens=tokens(of_input.get("cache_write_tokens")),
        reasoning_tokens=tokens(of_output.get("reasoning_tokens")),
    )


# --- pieces -----------------------------------------------------------------------------------------------------------


def characters(response: ModelResponse) -> int:
    """How much text a piece of an answer holds: words, thoughts and arguments of tool calls."""
    found = len(response.content or "") + len(response.reasoning_content or "")
    deltas: list[Any] = response.tool_calls
    return found + sum(len(delta.function.arguments or "") for delta in deltas or ())


def count_tool_calls(deltas: Iterable[Any]) -> int:
    """How many tool calls these pieces of some make up."""
    return max((delta.index for delta in deltas), default=-1) + 1


def add(whole: ModelResponse, piece: ModelResponse) -> None:
    """Add a piece to what came before it; tool calls are not for this to assemble."""
    whole.content = (whole.content or "") + (piece.content or "") or None
    whole.reasoning_content = (whole.reasoning_content or "") + (piece.reasoning_content or "") or None
    if piece.provider_data:
        whole.provider_data = {**(whole.provider_data or {}), **piece.provider_data}
    whole.response_usage = piece.response_usage or whole.response_usage
