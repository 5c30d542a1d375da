"""What happens in model calls: a record of each, and events while one is under way."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeAlias

from junkie_cli.core.agent.endpoints import Choice
from junkie_cli.core.agent.model_errors import ModelError
from junkie_cli.core.value_class import frozen


@frozen
class Retry:
    """An attempt failed before its first byte and is made again in `seconds`."""

    error: ModelError
    seconds: float


@frozen
class ModelWait:
    """A request was sent and its answer has not begun; `loading` when the server reports that it loads the model."""

    part: str
    choice: Choice
    loading: bool = False


@frozen
class HistoryCut:
    """The oldest `exchanges` of the history do not fit into the context window of `tokens` and are not sent."""

    exchanges: int
    tokens: int
    model: str


CallEvent: TypeAlias = Retry | ModelWait | HistoryCut


@dataclass(slots=True)
class Call:
    """One call of a model, as it went; `part` is `main`, `memory` or `member`.

    `status` is the HTTP status (None: no answer came), `finish_reason` what the provider reported at the end (None:
    it did not get there), `error` why it failed, `warning` what to report of an answer that stands. Tokens are the
    provider's count, 0 where it gave none.
    `end_marked` when the server marked the end of the answer, `retracted` when text had been passed on that turned out
    to be thoughts.
    """

    part: str
    choice: Choice
    status: int | None = None
    finish_reason: str | None = None
    retries: int = 0
    has_text: bool = False
    has_reasoning: bool = False
    has_tool_calls: bool = False
    end_marked: bool = False
    retracted: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    prompt_bytes: int = 0
    error: ModelError | None = None
    warning: ModelError | None = None

    @property
    def has_answer(self) -> bool:
        """Whether a part of an answer came: a word, a thought, or a tool call."""
        return self.has_text or self.has_reasoning or self.has_tool_calls


@dataclass(slots=True)
class CallLog:
    """The calls made while it was open, in order; `on_event` is called with what happens before their first byte.

    What is recorded here goes to the `outer` log as well, inside which this one was opened.
    """

    calls: list[Call] = field(default_factory=list)
    on_event: Callable[[CallEvent], None] | None = None
    outer: "CallLog | None" = None

    def failure(self, part: str = "main") -> ModelError | None:
        """Why the last call of `part` failed, None when it did not."""
        of_part = [call for call in self.calls if call.part == part]
        return of_part[-1].error if of_part else None

    def warnings(self, part: str = "main") -> list[ModelError]:
        """What to report of answers that stand."""
        return [call.warning for call in self.calls if call.part == part and call.warning]


_log: ContextVar[CallLog | None] = ContextVar("junkie_model_calls", default=None)


@contextmanager
def record_calls(on_event: Callable[[CallEvent], None] | None = None) -> Iterator[CallLog]:
    """Record every model call made in this context and in the tasks that begin in it."""
    log = CallLog(on_event=on_event, outer=_log.get())
    token = _log.set(log)
    try:
        yield log
    finally:
        with suppress(ValueError):  # an async generator may be closed from another context than it was begun in
            _log.reset(token)


def begin_call(part: str, choice: Choice) -> Call:
    """A new call, recorded where calls are recorded."""
    call = Call(part, choice)
    for log in _open_logs():
        log.calls.append(call)
    return call


def report(event: CallEvent) -> None:
    """Pass `event` to the recorder of calls, if there is one."""
    for log in _open_logs():
        if log.on_event is not None:
            log.on_event(event)


def _open_logs() -> Iterator[CallLog]:
    log = _log.get()
    while log is not None:
        yield log
        log = log.outer
