"""The events of a turn, as plain values that know nothing of agno, of a terminal or of JSON.

The order within one turn is fixed: any number of `Delta`, `Reasoning`, `Tool` and `Warning`; `Failed` if the answer
broke off; `AnswerComplete` when the answer is complete and stored, before memories are extracted; a `MemoryEvent` for
each change; and exactly one `Done`, always last. `Waiting` and `Provisional` may come anywhere before it.
"""

from junkie_cli.core.errors import JunkieError
from junkie_cli.core.memories.change_log import AppliedChange
from junkie_cli.core.sanitize import one_line
from junkie_cli.core.turns.types import Exchange, MemoryEntry, SessionEntry
from junkie_cli.core.value_class import frozen

__all__ = [
    "AnswerComplete",
    "ChatEvent",
    "Delta",
    "Done",
    "Exchange",
    "Failed",
    "MemoryEntry",
    "MemoryEvent",
    "Provisional",
    "Reasoning",
    "SessionEntry",
    "Status",
    "Tool",
    "Usage",
    "Waiting",
    "Warning",
]


@frozen
class Delta:
    """The next piece of the answer, as the model wrote it: hostile text until it has passed `core/sanitize.py`."""

    text: str


@frozen
class Reasoning:
    """The next piece of what the model thought aloud before it answered."""

    text: str


@frozen
class Provisional:
    """The next piece of a text that may be the answer or what the model thought before it: only the end tells.

    For a screen, which shows it as what it is; the answer follows as `Delta`, of which it is no part.
    """

    text: str


@frozen
class Waiting:
    """A model was called and has not started to answer; a screen can show what the chat waits for.

    `provider` is for people; `local` when it is on this machine or a private network, where models are loaded when
    they are first asked; `loading` when the server reports that it is doing so.
    """

    model: str
    provider: str
    local: bool
    loading: bool

    @property
    def words(self) -> str:
        """What is waited for, after "waiting 12 s for"."""
        provider, model = one_line(self.provider), one_line(self.model)
        if self.loading:
            return f"{provider} to load {model}"
        return f"{provider} to load or read the prompt" if self.local else provider


@frozen
class Tool:
    """A tool of the team: `status` is `started`, `completed` or `failed`."""

    name: str
    status: str


@frozen
class MemoryEvent:
    """A memory was `added`, `updated` or `deleted` (committed), or the extraction is `pending` and is tried later.

    `memory` is the text as it now stands, of a deleted one the text that went; both None when pending.
    """

    action: str
    memory_id: str | None
    memory: str | None


def memory_event(change: AppliedChange) -> MemoryEvent:
    """A committed change as an event: the text as it now stands, of a deleted memory the text that went."""
    row = change.after or change.before or {}
    text = row.get("memory")
    return MemoryEvent(change.action, change.memory_id, text if isinstance(text, str) else str(text))


@frozen
class Warning:
    """A warning that did not stop the turn: one sentence."""

    message: str


@frozen
class Failed:
    """The answer is incomplete; the streamed text stays. `Done` follows with the same error."""

    error: JunkieError


@frozen
class AnswerComplete:
    """The answer is complete and stored; the extraction of memories and `Done` follow."""


@frozen
class Usage:
    """Tokens of this answer as the provider counted them, 0 where it did not report them."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


@frozen
class Done:
    """The end of a turn.

    `complete` is True only when the answer came to its own end; `error` is why it did not, or why an answer that
    was shown could not be stored. `answer` is all the text that was streamed. `memories` are those in the prompt, each
    with its reason.
    """

    session_id: str
    run_id: str
    user_id: str
    answer: str
    complete: bool
    usage: Usage | None
    error: JunkieError | None
    memories: tuple[MemoryEntry, ...] = ()


ChatEvent = Delta | Reasoning | Provisional | Tool | Waiting | MemoryEvent | Warning | Failed | AnswerComplete | Done


@frozen
class Status:
    """The status of a conversation, for `/status`.

    `database` is the label for people, or "" with `--no-database`; `pending` counts extractions not done yet;
    `memories` all of the user's, `memories_in_context` those that fit into the token budget of `memory_budget`.
    """

    user_id: str
    session_id: str
    model: str
    provider: str
    memory_model: str
    offline: bool
    memory: bool
    database: str
    history_runs: int
    pending: int
    memories: int
    memories_in_context: int
    memory_budget: int
