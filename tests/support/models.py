"""Settings and models for tests that talk to a scripted provider; nothing is read from this machine's files."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from agno.team import Team

from junkie_cli.core.agent.agno_adapter import TeamDatabase
from junkie_cli.core.agent.bounds import Bounds
from junkie_cli.core.agent.call_log import CallLog, record_calls
from junkie_cli.core.agent.memory_manager import Extraction, TeamMemoryManager
from junkie_cli.core.agent.models import Patience, TeamModels, build_models
from junkie_cli.core.settings import Settings, load_settings
from junkie_cli.core.table_layout import Layout
from junkie_cli.core.turns.types import MemoryEntry

NO_RETRIES = Patience(connect=20, read=60, total=90, retries=0)  # a busy machine must not look like a slow provider


def make_settings(folder: Path, **environment: str) -> Settings:
    """Settings from these variables alone."""
    (folder / ".env").touch(mode=0o600)
    return load_settings(environ={"HOME": str(folder), **environment}, cwd=folder)


@asynccontextmanager
async def team_models(
    folder: Path, environment: dict[str, str], *, offline: bool = False, patience: Patience | None = NO_RETRIES
) -> AsyncIterator[TeamModels]:
    """The models of these settings; without retries unless `patience` says otherwise."""
    models = build_models(
        make_settings(folder, **environment), offline=offline, patience=patience, memory_patience=patience
    )
    try:
        yield models
    finally:
        await models.close()


class Turn:
    """One streamed turn of a team: its events, the text that reached the screen, and the calls that were made."""

    def __init__(self, log: CallLog) -> None:
        self.log = log
        self.events: list[Any] = []

    @property
    def streamed(self) -> str:
        return "".join(event.content or "" for event in self.events if event.event == "TeamRunContent")

    @property
    def reasoning(self) -> str:
        thoughts = (getattr(event, "reasoning_content", None) for event in self.events)
        return "".join(
            thought
            for event, thought in zip(self.events, thoughts, strict=False)
            if thought and event.event == "TeamRunContent"
        )

    @property
    def last(self) -> Any:
        return self.events[-1]


async def take_turn(models: TeamModels, message: str = "hi", *, tools: Iterable[Any] = (), **arguments: Any) -> Turn:
    """Ask a team without database, memory and telemetry argument of its own; everything else is agno's default."""
    team = Team(members=[], model=models.main, tools=list(tools), **arguments)
    with record_calls() as log:
        turn = Turn(log)
        async for event in team.arun(message, stream=True, stream_events=True, user_id="ada", session_id="one"):
            turn.events.append(event)
    return turn


async def extract(
    models: TeamModels, message: str = "My name is Ada", known: Iterable[tuple[str, str]] = ()
) -> Extraction:
    """Extract from `message` once, with the memories (id, text) that are there already; nothing is written."""
    manager = TeamMemoryManager(models.memory, TeamDatabase(Layout("ai")), Bounds())
    entries = [MemoryEntry(memory_id, text, (), None) for memory_id, text in known]
    return await manager.extract("ada", message, "", entries, datetime.now().astimezone())
