"""One bounded, streamed model call outside agno's loop: for extraction, learning, review, imports.

    budget = Budget(Bounds.of(settings))          # one for everything that belongs together; several calls share it
    reply = await ask(models.memory, messages, budget, tools=[...])

`ask` never raises for what a provider did. What came before a failure is in the reply together with its `error`, so
that the caller can use half of it; a reply whose `error` is None came to its own end. Requests, streams and their
forms are read in `models.ProviderModel.pieces` and `wire`, the same for `ask` as for agno's loop.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

from agno.models.message import Message

from junkie_cli.core.agent.bounds import Budget, spending
from junkie_cli.core.agent.call_log import begin_call
from junkie_cli.core.agent.model_errors import ModelError
from junkie_cli.core.agent.models import ProviderModel
from junkie_cli.core.value_class import frozen


@frozen
class ToolCall:
    """A tool call as the model wrote it: `arguments` is its text, which need not be JSON; `call_id` may be empty."""

    call_id: str
    name: str
    arguments: str


@frozen
class Reply:
    """What one call brought.

    `text` is the answer without thoughts, `reasoning` the thoughts; `finish_reason` is the provider's (None: it named
    none); tokens are its count, 0 where it gave none; `seconds` is the time until the end; `error` is why the reply is
    not complete (a ModelError with a stable code: `provider_*`, or `bound_*` for a bound of the budget).
    """

    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str | None
    input_tokens: int
    output_tokens: int
    seconds: float
    error: ModelError | None


async def ask(
    model: ProviderModel,
    messages: Sequence[Message],
    budget: Budget,
    *,
    tools: Sequence[Mapping[str, Any]] = (),
    tool_choice: str | Mapping[str, Any] | None = None,
    response_format: Any = None,
) -> Reply:
    """Make one call of `model`, streamed, charged to `budget` and ended by it.

    `tools` are in the protocol's form (`{"type": "function", "function": {...}}`); `response_format` is passed on as it
    is. Cancelled, it closes the connection at once.
    """
    parameters = model.get_request_params(
        response_format=response_format, tools=list(tools) or None, tool_choice=tool_choice
    )
    call = begin_call(model.part, model.chosen)
    text: list[str] = []
    thoughts: list[str] = []
    deltas: list[Any] = []
    retracted = False
    failure: ModelError | None = None
    clock = asyncio.get_running_loop()
    began = clock.time()
    try:
        with spending(budget):
            async with budget.time_limit(), aclosing(model.pieces(call, list(messages), parameters)) as pieces:
                async for piece in pieces:
                    if call.retracted and not retracted:  # what came as text so far was thought
                        retracted = True
                        thoughts += text
                        text.clear()
                    text.append(piece.content or "")
                    thoughts.append(piece.reasoning_content or "")
                    deltas += piece.tool_calls or ()
    except ModelError as error:
        failure = error
    return Reply(
        text="".join(text),
        reasoning="".join(thoughts),
        tool_calls=_tool_calls(model, deltas),
        finish_reason=call.finish_reason,
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens,
        seconds=clock.time() - began,
        error=failure,
    )


def _tool_calls(model: ProviderModel, deltas: list[Any]) -> tuple[ToolCall, ...]:
    found = []
    for call in model.parse_tool_calls(deltas):
        function = call.get("function") or {}
        found.append(ToolCall(call.get("id") or "", function.get("name") or "", function.get("arguments") or ""))
    return tuple(found)
