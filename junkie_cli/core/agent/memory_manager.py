"""Memories in prompts, and new ones out of what was said: agno's MemoryManager without its write access.

An extraction is one model call, asked and read by `core.extraction`; only where the reply cannot be used, and it is not
known yet how this model is best asked, another way is tried. Nothing is written here: the changes are `MemoryChange`
values, bounded in number, for memories that were shown to the model, which are this user's. The caller commits them
together with the completion of the pending entry, or, when the reply was usable in part only, leaves that pending.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, NoReturn
from uuid import uuid4

from agno.db.schemas import UserMemory
from agno.memory import MemoryManager
from agno.models.message import Message

from junkie_cli.core.agent.agno_adapter import TeamDatabase, current_turn
from junkie_cli.core.agent.bounds import Bounds, Budget
from junkie_cli.core.agent.calling import Reply, ask
from junkie_cli.core.agent.model_errors import ModelError
from junkie_cli.core.agent.models import ProviderModel
from junkie_cli.core.extraction import prompt
from junkie_cli.core.extraction.dates import with_dates
from junkie_cli.core.extraction.methods import Known, MethodStore
from junkie_cli.core.extraction.relevance import states_nothing
from junkie_cli.core.extraction.reply import ProposedChange, Understood, understand
from junkie_cli.core.memories.change_log import MemoryChange
from junkie_cli.core.ranking.languages import DEFAULT_LANGUAGES
from junkie_cli.core.schema.stored_text import storable
from junkie_cli.core.secrets_detector import holds_secret, without_secrets
from junkie_cli.core.turns.access_log import log_refusal
from junkie_cli.core.turns.history import TEAM_ID
from junkie_cli.core.turns.memory_choice import NUMBER_TOKENS, choose, is_shortened
from junkie_cli.core.turns.types import MemoryEntry

MOST_CHANGES = 20
"""Changes of memories in one extraction."""

LONGEST_MESSAGE = 12_000
"""Characters of a message that are searched for memories, about 4,000 tokens; what is beyond is reported."""

LONGEST_INPUT = 2000
"""Characters of the message kept with a memory, to show where it came from."""

_SHORTEST_MESSAGE = 1000
"""Characters of a message that are worth asking for, where the model's window is too small for more."""

MOST_WRITTEN = 3000
"""Tokens that one reply may have, thoughts included. A small model that finds no end would go on until its window is
full: minutes, in which a way of asking that holds it to a form makes the memory."""

KNOWN_BUDGET = 1200
"""Tokens, about, that known memories may take of an extraction's prompt."""

# The way of asking does not fit the server, or a reply of this kind cannot come out better when asked the same way.
_ABOUT_THE_METHOD = frozenset(
    {"provider_bad_request", "provider_tool_use_failed", "provider_no_tools", "provider_length", "bound_tokens"}
)


@dataclass(slots=True)
class Extraction:
    """What the model wants changed for one message.

    `error` is why the reply could be used in part only, None when all of it could: the message then stays pending.
    `refused` counts references to memories that are not this user's or do not exist, `refused_clears` requests to
    delete all memories, `secrets` memories that held a password or a key, `from_questions` new memories from a message
    that states nothing: none of these is made. `bounded` if the model wanted more than MOST_CHANGES; `left_unread` is
    how many characters of the message it did not get. `method` is how it was asked, `in_text` whether its calls stood
    in its text; tokens and seconds are of all calls together.
    """

    user_id: str
    message: str
    changes: list[MemoryChange] = field(default_factory=list)
    error: ModelError | None = None
    refused: int = 0
    refused_clears: int = 0
    secrets: int = 0
    from_questions: int = 0
    bounded: bool = False
    left_unread: int = 0
    method: str = ""
    in_text: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0

    @property
    def refused_calls(self) -> int:
        """How often the model reached for what is not this user's, or for everything."""
        return self.refused + self.refused_clears

    @property
    def left_out(self) -> dict[str, int]:
        """What was not made or not searched, by the names of `pending_retry.LEFT_OUT`."""
        return {
            "changes": int(self.bounded),
            "secrets": self.secrets,
            "questions": self.from_questions,
            "characters": self.left_unread,
        }


class TeamMemoryManager(MemoryManager):
    """Reads the turn's memories for agno, and extracts new ones on request; all other methods are disabled."""

    def __init__(
        self,
        model: ProviderModel,
        database: TeamDatabase,
        bounds: Bounds,
        languages: Sequence[str] = DEFAULT_LANGUAGES,
    ) -> None:
        super().__init__(model=model, db=database, delete_memories=True, clear_memories=False)
        self._asked = model
        self._methods = MethodStore()
        self._languages = tuple(languages)
        # More tool calls than changes: what is too many is left out, and the rest is good.
        self._bounds = replace(bounds, calls=1, tool_calls=4 * MOST_CHANGES, tokens=min(bounds.tokens, MOST_WRITTEN))

    async def aread_from_db(self, user_id: str | None = None) -> dict[str, list[UserMemory]]:
        """The memories that this turn read, each on a line that cannot close the block it is put into."""
        turn = current_turn(user_id).turn
        return {
            turn.user_id: [
                UserMemory(memory=plain_line(entry.memory), memory_id=entry.memory_id, user_id=turn.user_id)
                for entry in turn.memories
            ]
        }

    async def extract(
        self, user_id: str, message: str, context: str, known: Sequence[MemoryEntry], said_at: datetime | None = None
    ) -> Extraction:
        """Ask the model what of `message` is to be remembered, changed or forgotten, next to what is `known`.

        Of that as much is shown as KNOWN_BUDGET has room for, what is nearest to the message before what is newest.
        `context` holds the assistant's words that the message answers: "yes, exactly" is nothing without them.
        `said_at` is when it was said, which gives "tomorrow" its date; where it is None, no word gets one. Writes
        nothing. Raises ModelError when nothing of the reply can be used.
        """
        shown = choose(known, message, KNOWN_BUDGET, self._languages, extra=NUMBER_TOKENS)
        extraction = Extraction(user_id, message)
        today = None if said_at is None else said_at.astimezone().date()
        asking = _Asking(
            self._asked,
            self._bounds,
            asyncio.get_running_loop().time() + self._bounds.seconds,
            shown,
            plain_text(context),
            today,
            extraction,
            min(len(message), LONGEST_MESSAGE),
        )
        remembered = None if self._is_rehearsal else self._methods.get(*self._server)
        understood = await self._ask(asking, remembered)
        extraction.left_unread = len(message) - asking.length
        self._take(extraction, understood, asking)
        return extraction

    @property
    def _server(self) -> tuple[str, str]:
        choice = self._asked.chosen
        return choice.endpoint.url, choice.model

    @property
    def _is_rehearsal(self) -> bool:
        return self._asked.chosen.endpoint.is_rehearsal

    async def _ask(self, asking: "_Asking", remembered: Known | None) -> Understood:
        """Ask by the method that is known to work, or by each until one does."""
        first_failure: ModelError | None = None
        methods = prompt.METHODS if remembered is None else (remembered.method,)
        for method in methods:
            understood, failure = await self._shortened(asking, method)
            if understood is not None:
                if not self._is_rehearsal:
                    self._methods.note_success(*self._server, method, in_text=understood.in_text)
                return understood
            assert failure is not None
            if failure.code not in _ABOUT_THE_METHOD and failure.code != UNUSABLE:
                raise failure  # the provider is unreachable: this says nothing about the method
            first_failure = first_failure or failure
        assert first_failure is not None
        if not self._is_rehearsal:
            self._methods.note_failure(*self._server, methods[0])
        raise first_failure

    async def _shortened(self, asking: "_Asking", method: str) -> tuple[Understood | None, ModelError | None]:
        """Ask by `method`, with half of the message each time that it is more than the model can read at once."""
        while True:
            understood, failure = await asking.by(method)
            too_large = failure is not None and failure.code == "provider_too_large" and failure.retry_after is None
            if not too_large or asking.length <= _SHORTEST_MESSAGE:
                return understood, failure
            asking.length //= 2

    def _take(self, extraction: Extraction, understood: Understood, asking: "_Asking") -> None:
        """Turn what the model wants into changes, without what must not be made, and with dates."""
        extraction.in_text = understood.in_text
        for memory_id in understood.foreign:
            extraction.refused += 1
            log_refusal(extraction.user_id, "memory", memory_id)
        for _ in range(understood.refused_clears):
            extraction.refused_clears += 1
            log_refusal(extraction.user_id, "clearing of all memories")
        extraction.bounded = len(understood.changes) > MOST_CHANGES
        texts = {entry.memory_id: entry.memory for entry in asking.shown}
        wanted = understood.changes[:MOST_CHANGES]
        if not asking.context and states_nothing(extraction.message):
            kept = tuple(change for change in wanted if change.action != "added")
            extraction.from_questions = len(wanted) - len(kept)
            wanted = kept
        for change in () if _only_reorders(wanted, texts) else wanted:
            if change.memory is not None and holds_secret(change.memory):
                extraction.secrets += 1
            elif not _says_nothing_new(change, texts):
                extraction.changes.append(_memory_change(extraction, change, texts, asking.today))

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


UNUSABLE = "extraction_unusable"
"""Code of the error for a reply that cannot be used."""


@dataclass(slots=True)
class _Asking:
    """One message being asked about, by one method after the other; what is used is added up in `extraction`.

    `deadline` is where the time of all of them ends.
    """

    model: ProviderModel
    bounds: Bounds
    deadline: float
    shown: Sequence[MemoryEntry]
    context: str
    today: date | None
    extraction: Extraction
    length: int

    async def by(self, method: str) -> tuple[Understood | None, ModelError | None]:
        """What the reply means if any of it can be used, also of one that broke off; else why not."""
        request = prompt.build_request(
            method, self.today, [plain_line(entry.memory) for entry in self.shown], self.context
        )
        messages = [
            Message(role="system", content=request.system),
            Message(role="user", content=self.extraction.message[: self.length]),
        ]
        budget = Budget(self.bounds, self.deadline)
        reply = await ask(self.model, messages, budget, tools=request.tools, response_format=request.response_format)
        self._count(reply, method)
        if reply.error is not None and reply.error.code == "provider_filtered":
            return None, reply.error
        calls = [(call.name, call.arguments) for call in reply.tool_calls]
        understood = understand(reply.text, calls, [entry.memory_id for entry in self.shown])
        if understood.is_complete and reply.error is None:
            return understood, None
        error = reply.error or self._unusable(understood)
        if not (understood.changes or understood.foreign):  # a call that names a memory of another is a call
            return None, error
        if error.code != "bound_tool_calls":  # that one is not the model's unfinished work, but too much of it
            self.extraction.error = error
        return understood, None

    def _count(self, reply: Reply, method: str) -> None:
        self.extraction.method = method
        self.extraction.input_tokens += reply.input_tokens
        self.extraction.output_tokens += reply.output_tokens
        self.extraction.seconds += reply.seconds

    def _unusable(self, understood: Understood) -> ModelError:
        return ModelError(
            f"the reply of {self.model.id} cannot be used: {'; '.join(understood.problems)}",
            hint="it is tried again later; another MEMORY_MODEL may do better (junkie doctor --deep)",
            code=UNUSABLE,
        )


def _only_reorders(changes: Sequence[ProposedChange], texts: dict[str, str]) -> bool:
    """Whether the changes give memories each other's texts: the same is known afterwards."""
    if {change.action for change in changes} != {"updated"}:
        return False
    before = {change.target: texts[change.target or ""] for change in changes}
    return sorted(before.values()) == sorted(change.memory or "" for change in changes)


def _says_nothing_new(change: ProposedChange, texts: dict[str, str]) -> bool:
    """Whether an update leaves the memory as it is, or is a part of what was shown of a long one."""
    if change.action != "updated" or change.target is None or change.memory is None:
        return False
    shown = texts[change.target]
    return change.memory == shown or (is_shortened(shown) and shown.startswith(change.memory.rstrip("… .")))


def _memory_change(
    extraction: Extraction, change: ProposedChange, texts: dict[str, str], today: date | None
) -> MemoryChange:
    if change.action == "deleted":
        return MemoryChange("deleted", change.target or "", extraction.user_id, team_id=TEAM_ID)
    # Of a memory that was shown shortened the model does not know the end: its new text stands next to the old one.
    adds = change.target is None or is_shortened(texts[change.target])
    topics = [topic for topic in change.topics or () if not holds_secret(topic)]
    text = change.memory or ""
    return MemoryChange(
        "added" if adds else "updated",
        str(uuid4()) if adds or change.target is None else change.target,
        extraction.user_id,
        memory=storable(text if today is None else with_dates(text, today)).strip(),
        topics=topics or None,
        input=without_secrets(extraction.message[:LONGEST_INPUT]),
        team_id=TEAM_ID,
    )


def plain_line(text: str) -> str:
    """`text` on one line, as data among a prompt's own tags."""
    return plain_text(" ".join(text.split()))


def plain_text(text: str) -> str:
    """`text` without anything that opens or closes a tag: angle brackets become ones that no prompt uses."""
    return text.replace("<", "‹").replace(">", "›")
