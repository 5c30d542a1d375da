"""The team's own tools: arithmetic, the time, and what the team may know of the person it talks with."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from agno.tools import Toolkit

from junkie_cli.core.agent.arithmetic import ArithmeticFailure
from junkie_cli.core.agent.arithmetic import calculate as calculated
from junkie_cli.core.errors import JunkieError
from junkie_cli.core.turns.types import Counts, Exchange, MemoryEntry

FOUND_AT_MOST = 10
"""Memories or exchanges that a search gives to the model."""


class EverydayTools(Toolkit):
    """What a model is bad at by itself: arithmetic, in one tool (agno's eight take 677 tokens), and the time."""

    def __init__(self) -> None:
        super().__init__(name="everyday_tools", tools=[self.calculate, self.current_time])

    def calculate(self, expression: str) -> str:
        """Calculate an arithmetic expression exactly.

        Args:
            expression (str): For example "17.5 * (3 + 4) / 2", "sqrt(2) ** 3", "factorial(20)", "is_prime(97)".
        """
        try:
            return json.dumps({"expression": expression[:500], "result": calculated(expression)})
        except ArithmeticFailure as failure:
            return json.dumps({"expression": expression[:500], "error": str(failure)})

    def current_time(self) -> str:
        """Get the date, weekday and time of day where the user is."""
        return f"{datetime.now().astimezone():%A, %d %B %Y, %H:%M %Z}"


class Knowledge(Protocol):
    """What BioTools reads."""

    async def counts(self, user_id: str) -> Counts:
        """How much is kept of this user."""
        ...

    async def search_memories(self, user_id: str, text: str, *, limit: int) -> list[MemoryEntry]:
        """The user's memories that match `text`, best first."""
        ...

    async def search_exchanges(self, user_id: str, text: str, *, limit: int) -> list[Exchange]:
        """The user's exchanges that match `text`, best first."""
        ...


class BioTools(Toolkit):
    """Read-only tools about the one person that this team talks with.

    The user is bound here and is no parameter of a tool: whatever a model asks for, it reads nobody else's data.
    """

    def __init__(self, user_id: str, knowledge: Knowledge, *, memory: bool) -> None:
        self._user_id = user_id
        self._knowledge = knowledge
        searches = [self.search_my_memories] if memory else []
        super().__init__(name="bio_tools", tools=[self.get_user_details, *searches, self.search_my_history])

    async def get_user_details(self) -> str:
        """Tell who the user is to this program: their user id, since when, and how much is remembered of them."""

        async def read() -> dict[str, Any]:
            counts = await self._knowledge.counts(self._user_id)
            first = counts.first_seen.date().isoformat() if counts.first_seen else None
            return {
                "user_id": self._user_id,
                "memories": counts.memories,
                "sessions": counts.sessions,
                "first_seen": first,
            }

        return await _told(read)

    async def search_my_memories(self, query: str) -> str:
        """Search everything that is remembered of the user, also what is not in your context.

        Args:
            query (str): Words or a question; the best matches come first.
        """

        async def read() -> dict[str, Any]:
            found = await self._knowledge.search_memories(self._user_id, query, limit=FOUND_AT_MOST)
            return {"memories": [entry.memory[:500] for entry in found]}

        return await _told(read)

    async def search_my_history(self, query: str) -> str:
        """Search what the user and you said to each other in earlier conversations.

        Args:
            query (str): Words or a question; the best matches come first.
        """

        async def read() -> dict[str, Any]:
            found = await self._knowledge.search_exchanges(self._user_id, query, limit=FOUND_AT_MOST)
            said = [
                {
                    "at": entry.at.isoformat() if entry.at else None,
                    "user": entry.message[:500],
                    "you": entry.answer[:500],
                }
                for entry in found
            ]
            return {"exchanges": said}

        return await _told(read)


async def _told(read: Callable[[], Any]) -> str:
    """What `read` gives as JSON. Why it could not be read stays here: it would go to the provider."""
    try:
        return json.dumps(await read(), ensure_ascii=False)
    except JunkieError:
        return json.dumps({"error": "this cannot be read at the moment"})
