"""Memories in prompts, and new ones out of what was said: agno's MemoryManager without its write access.

The extraction model's tool calls change nothing: they are collected as `MemoryChange` values, bounded in number,
and only for ids that were shown to it, which are this user's. The caller commits them all at once with the strike-off
of the pending entry, so that an extraction has happened wholly or not at all.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn
from uuid import uuid4

from agno.db.schemas import UserMemory
from agno.memory import MemoryManager
from agno.models.message import Message
from agno.models.response import ModelResponse

from junkie_cli.core.journal import MemoryChange, storable
from junkie_cli.core.team import failures
from junkie_cli.core.team.bounds import Bounds, Budget, spending
from junkie_cli.core.team.history import TEAM_ID
from junkie_cli.core.team.models import ProviderModel
from junkie_cli.core.team.refusals import log_refusal
from junkie_cli.core.team.relevance import ID_TOKENS, choose
from junkie_cli.core.team.storage import TeamDatabase, current_turn
from junkie_cli.core.team.values import LONGEST_MEMORY, MemoryEntry, is_shortened

MOST_ROUNDS = 6
"""Calls of the model in one extraction; agno sets no bound (1,235 rows were written in three seconds)."""

MOST_CHANGES = 20
"""Changes of memories in one extraction."""

LONGEST_MESSAGE = 12_000
"""Characters of a message that are searched for memories, about 4,000 tokens; what is beyond is told."""

LONGEST_INPUT = 2000
"""Characters of the message kept with a memory, to say where it came from."""

KNOWN_BUDGET = 1200
"""Tokens, about, that known memories and their ids may take: each round of an extraction sends them again."""


@dataclass(slots=True)
class Extraction:
    """What the model wants changed for one message.

    `refused` counts calls for memories that are not this user's or not there, `clearings` calls for all memories to be
    deleted, which is no tool of this model; `bounded` tells that the model did not
    come to an end by itself; `left_unread` is how many characters of the message it did not get.
    """

    user_id: str
    known: dict[str, str]
    message: str
    changes: list[MemoryChange] = field(default_factory=list)
    refused: int = 0
    clearings: int = 0
    bounded: bool = False
    left_unread: int = 0

    @property
    def reached_out(self) -> int:
        """How often the model reached for what is not this user's, or for everything."""
        return self.refused + self.clearings

    def note_calls(self, response: ModelResponse) -> None:
        """Notice calls of what is not offered and would reach further than one memory."""
        for call in response.tool_calls:
            if (call.get("function") or {}).get("name") == "clear_memory":
                self.clearings += 1
                log_refusal(self.user_id, "clearing of all memories")

    def note(self, action: str, memory_id: str, memory: str | None = None, topics: list[str] | None = None) -> None:
        """Keep a change for the commit, and know its outcome from now on."""
        self.known.pop(memory_id, None)
        if memory is not None:
            self.known[memory_id] = memory
        self.changes.append(
            MemoryChange(
                action,
                memory_id,
                self.user_id,
                memory=memory,
                topics=topics,
                input=None if action == "deleted" else self.message[:LONGEST_INPUT],
                team_id=TEAM_ID,
            )
        )


class TeamMemoryManager(MemoryManager):
    """Reads the turn's memories for agno, and extracts new ones when it is told to; every other way is closed."""

    def __init__(self, model: ProviderModel, database: TeamDatabase, bounds: Bounds) -> None:
        super().__init__(model=model, db=database, delete_memories=True, clear_memories=False)
        # More tool calls than changes: some are refused, and the model is to learn why.
        self._bounds = replace(bounds, calls=MOST_ROUNDS, tool_calls=4 * MOST_CHANGES)

    async def aread_from_db(self, user_id: str | None = None) -> dict[str, list[UserMemory]]:
        """The memories that this turn read, each on a line that cannot close the block it is put into."""
        turn = current_turn(user_id)
        return {
            turn.user_id: [
                UserMemory(memory=plain_line(entry.memory), memory_id=entry.memory_id, user_id=turn.user_id)
                for entry in turn.memories
            ]
        }

    async def extract(self, user_id: str, message: str, context: str, known: Sequence[MemoryEntry]) -> Extraction:
        """Ask the model what of `message` is to be remembered, changed or forgotten, beside what is `known`.

        Of that as much is shown as KNOWN_BUDGET has room for, what is nearest to the message before what is newest.
        `context` holds the assistant's words that the message answers: "yes, exactly" is nothing without them. Writes
        nothing. Raises ModelError.
        """
        shown = choose(known, message, KNOWN_BUDGET, extra=ID_TOKENS)
        extraction = Extraction(user_id, {entry.memory_id: entry.memory for entry in shown}, message)
        extraction.left_unread = max(0, len(message) - LONGEST_MESSAGE)
        assert isinstance(self.model, ProviderModel)
        model = deepcopy(self.model)
        model.__dict__["ainvoke"] = _noting(model.ainvoke, extraction)
        messages = [self._instructions(extraction, context), Message(role="user", content=message[:LONGEST_MESSAGE])]
        tools = self.determine_tools_for_model([add_memory, update_memory, delete_memory])
        under_way = _notes.set(_Notes(extraction))
        budget = Budget(self._bounds)
        try:
            with spending(budget):
                async with budget.time_limit():
                    await model.aresponse(messages, tools=tools)
        except failures.ModelError as error:
            if error.code not in {"bound_calls", "bound_tool_calls"}:
                raise
            extraction.bounded = True
        finally:
            _notes.reset(under_way)
        return extraction

    def _instructions(self, extraction: Extraction, context: str) -> Message:
        known = [{"memory_id": key, "memory": plain_line(text)} for key, text in extraction.known.items()]
        found = self.get_system_message(existing_memories=known, enable_clear_memory=False)
        if not context:
            return found
        said_before = (
            "\n\nThe assistant had said before the user's message (only to understand that message by; nothing in it "
            f"is to be remembered by itself):\n<said_before>\n{plain_text(context)}\n</said_before>"
        )
        return Message(role="system", content=f"{found.content}{said_before}")

    async def acreate_user_memories(self, *_: Any, **__: Any) -> NoReturn:
        """Closed: it writes behind the journal's back, and reports failures as success."""
        raise PermissionError("memories are extracted by TeamMemoryManager.extract and committed by the journal")

    acreate_or_update_memories = acreate_user_memories
    arun_memory_task = acreate_user_memories
    aupdate_memory_task = acreate_user_memories
    aclear_user_memories = acreate_user_memories
    aoptimize_memories = acreate_user_memories

    def clear(self) -> NoReturn:
        """Closed: agno's deletes the memories of all users."""
        raise PermissionError("memories are cleared by junkie memories clear, one user at a time")


def _noting(invoke: Callable[..., Any], extraction: Extraction) -> Callable[..., Any]:
    async def invoke_noting(*args: Any, **kwargs: Any) -> ModelResponse:
        response: ModelResponse = await invoke(*args, **kwargs)
        extraction.note_calls(response)
        return response

    return invoke_noting


async def add_memory(memory: str, topics: list[str] | None = None) -> str:
    """Use this function to add a memory to the database.

    Args:
        memory (str): The memory to be added.
        topics (Optional[List[str]]): The topics of the memory (e.g. ["name", "hobbies", "location"]).

    Returns:
        str: Whether the memory was taken.
    """
    return _notes.get().add(memory, topics)


async def update_memory(memory_id: str, memory: str, topics: list[str] | None = None) -> str:
    """Use this function to update an existing memory in the database.

    Args:
        memory_id (str): The id of the memory to be updated.
        memory (str): The updated memory.
        topics (Optional[List[str]]): The topics of the memory (e.g. ["name", "hobbies", "location"]).

    Returns:
        str: Whether the change was taken.
    """
    return _notes.get().update(memory_id, memory, topics)


async def delete_memory(memory_id: str) -> str:
    """Use this function to delete a single memory from the database.

    Args:
        memory_id (str): The id of the memory to be deleted.

    Returns:
        str: Whether the deletion was taken.
    """
    return _notes.get().delete(memory_id)


class _Notes:
    """What agno's three memory tools do here: they only take notes.

    The tools themselves are functions of the module that find the notes of their own task: agno derives schema and
    validation of such functions once, and of bound methods anew for each extraction, in 6 ms of processor time.
    """

    def __init__(self, extraction: Extraction) -> None:
        self._extraction = extraction

    def add(self, memory: str, topics: list[str] | None) -> str:
        if refusal := self._objection(memory):
            return refusal
        text = storable(memory).strip()
        if text in self._extraction.known.values():
            return "This is known already."
        self._extraction.note("added", str(uuid4()), text, topics)
        return "Memory added."

    def update(self, memory_id: str, memory: str, topics: list[str] | None) -> str:
        if refusal := self._objection(memory) or self._unknown(memory_id):
            return refusal
        text = storable(memory).strip()
        if is_shortened(self._extraction.known[memory_id]):
            return "You do not see the whole of this memory and cannot change it. Add another one."
        if self._extraction.known[memory_id] == text:
            return "It says so already."
        self._extraction.note("updated", memory_id, text, topics)
        return "Memory updated."

    def delete(self, memory_id: str) -> str:
        if refusal := self._objection() or self._unknown(memory_id):
            return refusal
        self._extraction.note("deleted", memory_id)
        return "Memory deleted."

    def _objection(self, memory: str | None = None) -> str | None:
        if len(self._extraction.changes) >= MOST_CHANGES:
            self._extraction.bounded = True
            return "No more changes are taken for this message. Stop here."
        if memory is None:
            return None
        if not memory.strip():
            return "A memory cannot be empty. Use delete_memory to forget one."
        if len(memory) > LONGEST_MEMORY:
            return f"A memory has at most {LONGEST_MEMORY} characters: say it in fewer words, or as several memories."
        return None

    def _unknown(self, memory_id: str) -> str | None:
        if memory_id in self._extraction.known:
            return None
        self._extraction.refused += 1
        log_refusal(self._extraction.user_id, "memory", memory_id)
        return f"This user has no memory with the id {memory_id[:100]}."


_notes: ContextVar[_Notes] = ContextVar("junkie_memory_notes")


def plain_line(text: str) -> str:
    """`text` on one line, as data among a prompt's own tags."""
    return plain_text(" ".join(text.split()))


def plain_text(text: str) -> str:
    """`text` without anything that opens or closes a tag: angle brackets become ones that no prompt uses."""
    return text.replace("<", "‹").replace(">", "›")
