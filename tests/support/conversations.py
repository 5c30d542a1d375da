"""Conversations of the core against a scripted provider and a real database."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from junkie_cli.core.chat import ChatEvent, Conversation, Delta, Done, Failed, MemoryEvent, Waiting, Warning
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.settings import Settings, load_settings
from tests.support.model_server import ModelServer, Reply, Request, calls
from tests.support.postgres import execute


def settings_for(database: DatabaseUrl | None, model: ModelServer | None = None, **variables: str) -> Settings:
    """Settings from these alone; without a model nothing is asked."""
    provider = model.environment() if model else {"CUSTOM_PROVIDER": "http://127.0.0.1:9/v1"}
    url = {"POSTGRES_URL": database.libpq()} if database else {}
    environment = {"HOME": "/nonexistent", "AGENT_RETRIES": "0", **provider, **url, **variables}
    return load_settings(environ=environment, cwd=Path("/nonexistent"))


@asynccontextmanager
async def talking(settings: Settings, user: str = "ada", **options: Any) -> AsyncIterator[Conversation]:
    """An open conversation, closed at the end."""
    conversation = await Conversation.open(settings, user, **options)
    try:
        yield conversation
    finally:
        await conversation.close()


@dataclass(frozen=True, slots=True)
class Said:
    """One turn as its caller saw it."""

    events: list[ChatEvent]

    @property
    def done(self) -> Done:
        """The last event, of which there is exactly one."""
        assert [isinstance(event, Done) for event in self.events] == [False] * (len(self.events) - 1) + [True]
        last = self.events[-1]
        assert isinstance(last, Done)
        return last

    @property
    def answer(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Delta))

    @property
    def memories(self) -> list[tuple[str, str | None]]:
        return [(event.action, event.memory) for event in self.events if isinstance(event, MemoryEvent)]

    @property
    def warnings(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Warning)]

    @property
    def failures(self) -> list[str]:
        return [event.error.code for event in self.events if isinstance(event, Failed)]

    def kinds(self) -> list[str]:
        """Names of the events, pieces of text counted as one."""
        names = [type(event).__name__ for event in self.events if not isinstance(event, Waiting)]
        return [name for place, name in enumerate(names) if place == 0 or names[place - 1] != name]

    def ok(self) -> "Said":
        """This turn, having checked that it came to its end and is stored."""
        assert self.done.error is None, self.done
        assert self.done.complete, self.events
        return self


async def say(conversation: Conversation, message: str) -> Said:
    """Send a message and collect what comes."""
    return Said([event async for event in conversation.send(message)])


class Turn:
    """A turn in a task of its own, so that a test can act in the middle of it."""

    def __init__(self, conversation: Conversation, message: str) -> None:
        self.events: list[ChatEvent] = []
        self._news = asyncio.Condition()
        self.task = asyncio.create_task(self._go(conversation, message))

    async def _go(self, conversation: Conversation, message: str) -> None:
        async with contextlib.aclosing(conversation.send(message)) as events:
            async for event in events:
                async with self._news:
                    self.events.append(event)
                    self._news.notify_all()

    async def until(self, kind: type) -> None:
        """Wait for the first event of `kind`."""
        async with asyncio.timeout(30), self._news:
            await self._news.wait_for(lambda: any(isinstance(event, kind) for event in self.events))

    async def cancelled(self) -> None:
        """Cancel it as Ctrl-C does, and wait for its end."""
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
        assert self.task.cancelled()

    async def said(self) -> Said:
        await self.task
        return Said(self.events)


async def rows(database: DatabaseUrl, sql: str, *arguments: Any) -> list[dict[str, Any]]:
    """Rows as the database's owner sees them."""
    connection = await asyncpg.connect(**database.asyncpg_arguments())
    try:
        return [dict(row) for row in await connection.fetch(sql, *arguments)]
    finally:
        await connection.close()


async def runs(database: DatabaseUrl) -> list[dict[str, Any]]:
    """Stored runs in their order."""
    return await rows(
        database,
        "SELECT run_id, session_id, user_id, status, run_index, run_data #>> '{input,input_content}' AS said,"
        " run_data ->> 'content' AS answer, run_data::text AS data FROM ai.agent_sessions_runs"
        " ORDER BY session_id, run_index",
    )


async def stored_unanswered(database: DatabaseUrl, *said: str) -> None:
    """Wait until these messages are stored without an answer, and no others."""
    async with asyncio.timeout(30):
        while {run["said"] for run in await runs(database) if run["status"] == "RUNNING"} != set(said):
            await asyncio.sleep(0.01)


@asynccontextmanager
async def writing_held_up(database: DatabaseUrl) -> AsyncIterator[None]:
    """Turns are read and not written meanwhile: of one whose connection is cut before the end nothing is there."""
    connection = await asyncpg.connect(**database.asyncpg_arguments())
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE ai.agent_sessions, ai.agent_sessions_runs IN EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


async def memories(database: DatabaseUrl) -> list[tuple[str, str]]:
    """Owner and text of every memory."""
    found = await rows(database, "SELECT user_id, memory #>> '{}' AS memory FROM ai.user_memories ORDER BY 1, 2")
    return [(row["user_id"], row["memory"]) for row in found]


async def pending(database: DatabaseUrl) -> list[dict[str, Any]]:
    """Extractions that are pending."""
    return await rows(database, "SELECT * FROM ai.junkie_pending ORDER BY created_at")


@pytest.fixture(scope="session")
def conversation_template(postgres_server: ScratchServer) -> str:
    """A database with all tables made, to be cloned by tests that are not about making them."""
    name = "conversation_template"
    execute(postgres_server, f"CREATE DATABASE {name}")

    async def make() -> None:
        async with talking(settings_for(postgres_server.url.with_database(name))):
            pass

    asyncio.run(make())
    return name


@pytest.fixture(scope="session")
def template_database(conversation_template: str) -> str:
    """For the conftest.py of folders whose databases have all tables."""
    return conversation_template


def echo(request: Request) -> Reply | None:
    """A memory model that remembers what was said, word for word; for a server's `script`."""
    if not request.is_memory or request.messages[-1]["role"] == "tool":
        return None
    return calls(("add_memory", {"memory": f"User said: {request.user}"}))


@pytest.fixture
def model() -> Iterator[ModelServer]:
    """A provider of this test alone."""
    with ModelServer(models=["scripted-model"]) as server:
        yield server


@pytest.fixture
def smart_model(model: ModelServer) -> None:
    """`model` answers and remembers as the rehearsal model does."""
    model.smart = True


@pytest.fixture
def echoing_model(model: ModelServer) -> None:
    """`model` remembers what was said, word for word."""
    model.script = echo


def scripted_memory(*calls: tuple[str, Mapping[str, Any]]) -> Any:
    """A reply of the memory model that makes these tool calls."""
    from tests.support.model_server import calls as tool_calls

    return tool_calls(*calls)
