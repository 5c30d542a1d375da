"""What one turn, one extraction or one review may use: model calls, tool calls, tokens, and time.

Every model call made while a `Budget` is being spent is charged to it, whoever makes it: agno's own loop, a member of
the team, or `calling.ask`. At a bound the call raises a ModelError that names it, and so does every later one.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from agno.models.response import ModelResponse

from junkie_cli.core.agent import wire
from junkie_cli.core.agent.call_log import Call
from junkie_cli.core.agent.model_errors import ModelError
from junkie_cli.core.settings import Settings
from junkie_cli.core.value_class import frozen

CHARACTERS_PER_TOKEN = 4
"""About; where a server does not count its tokens."""


@frozen
class Bounds:
    """The bounds themselves; `seconds` are counted from the first use of the budget."""

    calls: int = 16
    tool_calls: int = 32
    tokens: int = 250_000
    seconds: float = 900

    @classmethod
    def of(cls, settings: Settings) -> "Bounds":
        """Those of the settings."""
        return cls(settings.max_calls, settings.max_tool_calls, settings.max_tokens, settings.max_seconds)


class Budget:
    """What is left of `bounds`. `reached` is the error of the bound that was reached, None while there is none.

    `deadline`, of the event loop's clock, is where several budgets share their time; else it begins at first use.
    """

    def __init__(self, bounds: Bounds, deadline: float | None = None) -> None:
        self.bounds = bounds
        self.reached: ModelError | None = None
        self._calls = self._tool_calls = self._tokens = 0
        self._writing = 0.0  # of the calls under way, about
        self._deadline = deadline

    @contextmanager
    def call(self, call: Call, read: int) -> Iterator["Charge"]:
        """Charge one call, of a prompt of `read` characters. Raises ModelError instead when a bound is reached."""
        if self._calls >= self.bounds.calls:
            self._reach("calls", f"{self.bounds.calls} model calls", "JUNKIE_MAX_CALLS")
        if self.reached is not None:
            raise self.reached
        self._calls += 1
        charge = Charge(self)
        try:
            yield charge
        finally:
            self._writing -= charge.written
            estimate = int(charge.written) + read // CHARACTERS_PER_TOKEN
            self._tokens += max(call.total_tokens, call.input_tokens + call.output_tokens) or estimate

    def write(self, tokens: float) -> None:
        """So many more tokens of an answer came. Raises ModelError at their bound."""
        self._writing += tokens
        if self._tokens + self._writing >= self.bounds.tokens:
            raise self._reach("tokens", f"about {self.bounds.tokens} tokens", "JUNKIE_MAX_TOKENS")

    def take_tool_calls(self, count: int, *, dry: bool = False) -> None:
        """An answer asks for `count` tool calls; `dry` only looks. Raises ModelError when they are too many."""
        if self._tool_calls + count > self.bounds.tool_calls:
            raise self._reach("tool_calls", f"{self.bounds.tool_calls} tool calls", "JUNKIE_MAX_TOOL_CALLS")
        self._tool_calls += 0 if dry else count

    @asynccontextmanager
    async def time_limit(self) -> AsyncIterator[None]:
        """End what is done inside when the time is over. Raises ModelError."""
        clock = asyncio.get_running_loop()
        if self._deadline is None:
            self._deadline = clock.time() + self.bounds.seconds
        limit = asyncio.timeout_at(self._deadline)
        try:
            async with limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise self._reach("seconds", f"{self.bounds.seconds:g} s", "JUNKIE_MAX_SECONDS") from None

    def _reach(self, what: str, amount: str, variable: str) -> ModelError:
        if self.reached is None:
            self.reached = ModelError(
                f"the model was stopped after {amount} without coming to an end",
                hint=f"ask for less at once, or raise {variable}",
                code=f"bound_{what}",
            )
        return self.reached


class Charge:
    """What one call has used so far; `written` is about its tokens."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._deltas: list[Any] = []
        self.written = 0.0

    def take(self, piece: ModelResponse) -> None:
        """One more piece of the answer. Raises ModelError at a bound."""
        tokens = max(1.0, wire.characters(piece) / CHARACTERS_PER_TOKEN)
        self.written += tokens
        self._budget.write(tokens)
        if piece.tool_calls:
            self._deltas += piece.tool_calls
            self._budget.take_tool_calls(wire.count_tool_calls(piece.tool_calls), dry=True)

    def end(self) -> None:
        """The answer is complete and its tool calls are about to be made. Raises ModelError when they are too many."""
        self._budget.take_tool_calls(wire.count_tool_calls(self._deltas))


_budget: ContextVar[Budget | None] = ContextVar("junkie_budget", default=None)


@contextmanager
def spending(budget: Budget) -> Iterator[Budget]:
    """Charge every model call of this context, and of the tasks that begin in it, to `budget`."""
    token = _budget.set(budget)
    try:
        yield budget
    finally:
        with suppress(ValueError):  # as in `record_calls`
            _budget.reset(token)


def current_budget() -> Budget:
    """The budget that is being spent here; a fresh one of the default bounds where none is."""
    return _budget.get() or Budget(Bounds())
