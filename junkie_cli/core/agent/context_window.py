"""How many tokens a model can read at once, and a history cut to that from its oldest exchange on.

The window is what JUNKIE_CONTEXT_WINDOW names, else what the server reports, asked once and only when a prompt is long
enough to matter, else what it names when it refuses a prompt. How many bytes make a token is learned from the server's
own counts.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import httpx2
import openai
from agno.models.message import Message

from junkie_cli.core.agent.endpoints import Choice, window_of

SMALLEST = 1500
"""Tokens, about; a shorter prompt fits into every window, and no server is asked for its own."""

ANSWER = 1024
"""Tokens kept free for the answer; a quarter of a small window."""

_BYTES_PER_TOKEN = 3.5  # until a server has counted: English has four or more, other languages fewer
_SECONDS = 3.0


class ContextWindow:
    """The window of one model; `tokens` is None while it is not known. A deep copy is the same object."""

    def __init__(self, tokens: int | None = None) -> None:
        self.tokens = tokens
        self._fixed = tokens is not None
        self._asked = False
        self._bytes_per_token = _BYTES_PER_TOKEN

    def __deepcopy__(self, memo: dict[int, Any]) -> "ContextWindow":
        return self

    async def look_up(self, client: openai.AsyncOpenAI, choice: Choice, size: int) -> None:
        """Ask the server once, when a prompt of `size` bytes may be too long and nobody has named the window."""
        if self._fixed or self._asked or choice.endpoint.is_rehearsal or self._tokens(size) < SMALLEST:
            return
        self._asked = True
        self.tokens = await _reported(client, choice)

    def learn(self, size: int, tokens: int) -> None:
        """The server counted `tokens` in a prompt of `size` bytes."""
        if tokens > 0:
            self._bytes_per_token = min(8.0, max(1.0, size / tokens))

    def refused(self, size: int, named: int | None) -> None:
        """The server refused a prompt of `size` bytes; `named` is the window in its words."""
        self._asked = True
        estimate = int(self._tokens(size) * 0.7)
        known = min(self.tokens or estimate, named or self.tokens or estimate)
        # Its own count differs from ours when a prompt that we take for small enough was refused.
        if known - _reserve(known) >= self._tokens(size):
            known = estimate
        self.tokens = known

    def fit(self, messages: Sequence[Message], fixed: int) -> tuple[list[Message], int]:
        """`messages` without the oldest exchanges of the history that do not fit, and how many those are.

        `fixed` is the size in bytes of what is sent besides.
        """
        kept, left_out = list(messages), 0
        if self.tokens is None:
            return kept, 0
        room = self.tokens - _reserve(self.tokens)
        while self._tokens(fixed + size_of(kept)) > room:
            shorter = _without_oldest(kept)
            if shorter is None:
                break
            kept, left_out = shorter, left_out + 1
        return kept, left_out

    def _tokens(self, size: int) -> float:
        return size / self._bytes_per_token


def _reserve(window: int) -> int:
    return min(ANSWER, window // 4)


def has_history(messages: Iterable[Message]) -> bool:
    """Whether there is something to cut."""
    return any(message.from_history for message in messages)


def size_of(messages: Iterable[Message]) -> int:
    """Bytes of the messages' text, and a few for the form of each."""
    return sum(_size(message) for message in messages)


def size_of_tools(parameters: Mapping[str, Any]) -> int:
    """Bytes of the tools that are offered."""
    return len(json.dumps(parameters.get("tools") or ()))


def _size(message: Message) -> int:
    content = message.content if isinstance(message.content, str) else json.dumps(message.content, default=str)
    calls = json.dumps(message.tool_calls, default=str) if message.tool_calls else ""
    return len(content.encode("utf-8", "replace")) + len(calls) + 16


def _without_oldest(messages: list[Message]) -> list[Message] | None:
    """The messages without the oldest exchange of the history; None when there is no history any more."""
    first = next((place for place, message in enumerate(messages) if message.from_history), None)
    if first is None:
        return None
    end = first + 1
    while end < len(messages) and messages[end].from_history and messages[end].role != "user":
        end += 1
    return messages[:first] + messages[end:]


# --- what a server reports --------------------------------------------------------------------------------------------


async def _reported(client: openai.AsyncOpenAI, choice: Choice) -> int | None:
    found = window_of(_row(await _get(client, f"{choice.endpoint.url}/models"), choice.model))
    if found is not None or not choice.endpoint.is_local:
        return found
    # llama.cpp: its list names the length that the model was trained with, and not what it was started with.
    # Its address may have a prefix, and several models behind it.
    base = choice.endpoint.url.rstrip("/").removesuffix("/v1")
    properties = await _get(client, f"{base}/props?model={quote(choice.model, safe='')}&autoload=false")
    settings = properties.get("default_generation_settings")
    return window_of(settings) if isinstance(settings, dict) else None


async def _get(client: openai.AsyncOpenAI, url: str) -> dict[str, Any]:
    """The JSON object at `url`, empty when there is none."""
    with suppress(openai.OpenAIError, httpx2.HTTPError, ValueError):
        response = await client.get(url, cast_to=httpx2.Response, options={"timeout": _SECONDS})
        document = json.loads(response.content)
        if isinstance(document, dict):
            return document
    return {}


def _row(document: Mapping[str, Any], model: str) -> dict[str, Any]:
    """The model's own row in a list of models, or the only one."""
    listed = document.get("data")
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    named = [row for row in rows if row.get("id") in (model, f"{model}:latest")]
    return next(iter(named or (rows if len(rows) == 1 else [])), {})
