"""Turns of a conversation measured from inside one process, beside the bare openai client on the same server.

`python -m tests.benchmarks.probe TASK ROUNDS` prints samples by case as JSON; the settings are in the environment, the
tasks are `turns`, `memories` and `growth`.
"""

import asyncio
import gc
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from junkie_cli.core.chat import AnswerComplete, Conversation, Delta
from junkie_cli.core.settings import Settings, load_settings
from tests.support.proxy import Proxy

WARM_UP = 3
Found = dict[str, list[float]]


async def turns(settings: Settings, rounds: int) -> Found:
    """First token and end of a turn, by the bare client and by the team."""
    from openai import AsyncOpenAI

    found: Found = defaultdict(list)
    client = AsyncOpenAI(base_url=os.environ["CUSTOM_PROVIDER"], api_key=os.environ["CUSTOM_PROVIDER_API_KEY"])
    async with opened(settings, "m50") as conversation:
        for number in range(WARM_UP + rounds):
            bare, ours = await _bare(client), await _turn(conversation)
            if number >= WARM_UP:
                found["bare, first token"].append(bare[0])
                found["bare, end"].append(bare[1])
                found["chat, first token"].append(ours[0])
                found["chat, turn stored"].append(ours[1])
                found["chat, memories made"].append(ours[2])
    return found


async def memories(settings: Settings, rounds: int) -> Found:
    """First token of somebody with 50 memories and of somebody with 10,000, in turn."""
    found: Found = defaultdict(list)
    async with opened(settings, "m50") as few, opened(settings, "m10000") as many:
        for number in range(WARM_UP + rounds):
            pair = await _turn(few), await _turn(many)
            if number >= WARM_UP:
                found["first token, 50 memories"].append(pair[0][0])
                found["first token, 10000 memories"].append(pair[1][0])
    return found


async def growth(settings: Settings, rounds: int) -> Found:
    """kB to and from the database in each turn of one long conversation."""
    assert settings.postgres_url is not None
    found: Found = defaultdict(list)
    with Proxy(settings.postgres_url) as proxy:
        by_proxy = _settings({"POSTGRES_URL": proxy.url(settings.postgres_url).libpq()})
        async with opened(by_proxy, "long") as conversation:
            for number in range(rounds):
                before = proxy.sent + proxy.received
                await _turn(conversation)
                size = (proxy.sent + proxy.received - before) / 1024
                if 20 <= number < 30:
                    found["kB a turn, early"].append(size)
                elif number >= rounds - 10:
                    found["kB a turn, late"].append(size)
    return found


@asynccontextmanager
async def opened(settings: Settings, user: str) -> AsyncIterator[Conversation]:
    conversation = await Conversation.open(settings, user, may_add_tables=True)
    try:
        yield conversation
    finally:
        await conversation.close()


async def _bare(client: Any) -> tuple[float, float]:
    began = time.perf_counter()
    first = 0.0
    stream = await client.chat.completions.create(
        model=os.environ["CUSTOM_MODEL"], messages=[{"role": "user", "content": "Tell me more."}], stream=True
    )
    async for chunk in stream:
        if not first and chunk.choices and chunk.choices[0].delta.content:
            first = time.perf_counter() - began
    return first, time.perf_counter() - began


async def _turn(conversation: Conversation) -> tuple[float, float, float]:
    """Seconds to the first token, to the answer whole and stored, and to the end."""
    began = time.perf_counter()
    first = stored = 0.0
    async for event in conversation.send("Tell me more."):
        if not first and isinstance(event, Delta):
            first = time.perf_counter() - began
        elif isinstance(event, AnswerComplete):
            stored = time.perf_counter() - began
    assert first and stored
    return first, stored, time.perf_counter() - began


def _settings(more: dict[str, str] | None = None) -> Settings:
    return load_settings(environ={**os.environ, **(more or {})}, cwd=Path(os.environ["HOME"]))


TASKS = {"turns": turns, "memories": memories, "growth": growth}

if __name__ == "__main__":
    gc.set_threshold(50_000)  # as the program itself does
    print(json.dumps(asyncio.run(TASKS[sys.argv[1]](_settings(), int(sys.argv[2])))))
