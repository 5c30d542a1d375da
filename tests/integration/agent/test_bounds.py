"""Everything ends: a turn, an extraction and any other model call, in calls, tool calls, tokens, time and bytes."""

from typing import Any

import pytest
from agno.models.message import Message

from junkie_cli.core.agent.bounds import Bounds, Budget
from junkie_cli.core.agent.calling import Reply, ask
from junkie_cli.core.chat import Waiting
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import ExitCode
from tests.support.conversations import memories, pending, runs, say, settings_for, talking
from tests.support.model_server import (
    CutStream,
    Endless,
    EndlessLine,
    Garbage,
    Hang,
    HttpError,
    ModelServer,
    Reasoning,
    Request,
    Text,
    calls,
)
from tests.support.model_server import Reply as Scripted
from tests.support.models import team_models

MANY: tuple[Any, ...] = (("get_user_details", {}),) * 5


def using_tools(*asked: Any, text: str = "") -> Scripted:
    reply = calls(*asked)
    reply.text = text
    return reply


THOUGHT = {"reasoning": "hm "}
ARGUMENTS = {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "x", "arguments": "[["}}]}
CASES: dict[str, tuple[Scripted, dict[str, str], str]] = {
    "tools without end": (using_tools(("get_user_details", {})), {"JUNKIE_MAX_CALLS": "4"}, "bound_calls"),
    "unknown tools without end": (using_tools(("nonsense", {})), {"JUNKIE_MAX_CALLS": "4"}, "bound_calls"),
    "many tools in each answer": (using_tools(*MANY), {"JUNKIE_MAX_TOOL_CALLS": "12"}, "bound_tool_calls"),
    "more tools in one answer than in a turn": (using_tools(*MANY), {"JUNKIE_MAX_TOOL_CALLS": "3"}, "bound_tool_calls"),
    "words without end": (Endless(), {"JUNKIE_MAX_TOKENS": "3000"}, "bound_tokens"),
    "thoughts without end": (Endless(repeated=[THOUGHT]), {"JUNKIE_MAX_TOKENS": "3000"}, "bound_tokens"),
    "arguments without end": (Endless(repeated=[ARGUMENTS]), {"JUNKIE_MAX_TOKENS": "3000"}, "bound_tokens"),
    "nothing without end": (Endless(repeated=[{}]), {"JUNKIE_MAX_TOKENS": "3000"}, "bound_tokens"),
    "slow words": (Endless(delay=0.05), {"JUNKIE_MAX_SECONDS": "1"}, "bound_seconds"),
    "silence without a limit": (Hang(), {"JUNKIE_MAX_SECONDS": "1", "MODEL_TIMEOUT": "0"}, "bound_seconds"),
    "a line without end": (EndlessLine(), {}, "provider_garbage"),
    "a document without end": (EndlessLine(content_type="application/json"), {}, "provider_garbage"),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_turn_ends_at_its_bound_and_is_stored_that_way(
    database: DatabaseUrl, model: ModelServer, case: str
) -> None:
    reply, bounds, code = CASES[case]
    model.script = lambda request: None if request.is_memory else reply
    async with talking(settings_for(database, model, **bounds)) as conversation:
        said = await say(conversation, "I like tea.")
    error = said.done.error
    assert error is not None
    assert (error.code, error.exit_code) == (code, ExitCode.PROVIDER)
    assert not said.done.complete
    for variable, value in bounds.items():
        if variable != "MODEL_TIMEOUT":
            assert variable in error.hint
            assert f"{value} " in error.message
    assert [(run["status"], run["said"], run["answer"]) for run in await runs(database)] == [
        ("ERROR", "I like tea.", said.answer)
    ]
    assert len(model.main_requests) <= 6
    # The message is searched for memories in this turn, or later.
    assert len(model.memory_requests) + len(await pending(database)) == 1


async def test_the_text_before_the_bound_is_kept_and_heard(database: DatabaseUrl, model: ModelServer) -> None:
    model.script = lambda request: using_tools(("get_user_details", {}), text="I look. ")
    async with talking(settings_for(database, model, JUNKIE_MAX_CALLS="3"), memory=False) as conversation:
        said = await say(conversation, "Who am I?")
        assert said.answer == "I look. " * 3
        assert said.failures == ["bound_calls"]
        model.script = None
        model.queue(Text("You are Ada."))
        (await say(conversation, "Again?")).ok()
    assert model.main_requests[-1].history[0] == ("user", "Who am I?")
    assert "I look." in model.main_requests[-1].history[1][1]


async def test_each_turn_has_a_budget_of_its_own(database: DatabaseUrl, model: ModelServer) -> None:
    async with talking(settings_for(database, model, JUNKIE_MAX_CALLS="2"), memory=False) as conversation:
        for _ in range(3):
            model.queue(using_tools(("get_user_details", {})), Text("Done."))
            (await say(conversation, "Go.")).ok()


@pytest.mark.parametrize(
    ("reply", "bounds"),
    [
        (Endless(), {"JUNKIE_MAX_TOKENS": "3000"}),
        (Endless(delay=0.05), {"JUNKIE_MAX_SECONDS": "1"}),
        (Hang(), {"JUNKIE_MAX_SECONDS": "1", "MEMORY_TIMEOUT": "0"}),
        (EndlessLine(), {}),
    ],
    ids=["words", "slow words", "silence", "a line"],
)
async def test_an_extraction_ends_at_its_bound_and_is_pending(
    database: DatabaseUrl, model: ModelServer, reply: Scripted, bounds: dict[str, str]
) -> None:
    model.script = lambda request: reply if request.is_memory else None
    async with talking(settings_for(database, model, **bounds)) as conversation:
        said = (await say(conversation, "I like tea.")).ok()
    assert said.memories == [("pending", None)]
    assert await memories(database) == []
    assert [entry["message"] for entry in await pending(database)] == ["I like tea."]


async def test_an_extraction_slower_than_before_works_and_is_streamed(
    database: DatabaseUrl, model: ModelServer
) -> None:
    def slow(request: Request) -> Scripted | None:
        if not request.is_memory or request.messages[-1]["role"] == "tool":
            return None
        reply = calls(("add_memory", {"memory": "User likes tea", "topics": ["tea"]}))
        reply.delay = 0.3
        return reply

    model.script = slow
    # Longer in all than the silence that is allowed, which is measured between two bytes.
    async with talking(settings_for(database, model, MEMORY_TIMEOUT="2")) as conversation:
        said = (await say(conversation, "I like tea.")).ok()
    assert said.memories == [("added", "User likes tea")]
    assert all(request.streams for request in model.requests)


# --- waiting ----------------------------------------------------------------------------------------------------------


async def test_a_server_that_loads_its_model_is_waited_for(database: DatabaseUrl, model: ModelServer) -> None:
    loading = [HttpError(503, "Loading model") for _ in range(3)]
    model.queue(*loading, Text("Here I am."))
    async with talking(settings_for(database, model, AGENT_RETRIES="0"), memory=False) as conversation:
        said = (await say(conversation, "Hi.")).ok()
    waits = [event for event in said.events if isinstance(event, Waiting)]
    assert [(event.loading, event.local, event.model) for event in waits] == [
        (False, True, "scripted-model"),
        *[(True, True, "scripted-model")] * 3,
    ]
    assert said.warnings == []


async def test_loading_ends_too(database: DatabaseUrl, model: ModelServer) -> None:
    model.script = lambda request: HttpError(503, "Loading model")
    async with talking(settings_for(database, model, MODEL_TIMEOUT="1", MEMORY_TIMEOUT="1")) as conversation:
        said = await say(conversation, "Hi.")
    assert said.failures == ["provider_loading"]
    assert [entry["set_aside"] for entry in await pending(database)] == [False]


async def test_an_extraction_reports_what_it_waits_for(database: DatabaseUrl, model: ModelServer) -> None:
    async with talking(settings_for(database, model)) as conversation:
        said = (await say(conversation, "Hi.")).ok()
    kinds = [type(event).__name__ for event in said.events]
    assert kinds.index("AnswerComplete") < len(kinds) - 1 - kinds[::-1].index("Waiting")


# --- the bounded call itself ------------------------------------------------------------------------------------------

TOOL = {"type": "function", "function": {"name": "note", "description": "", "parameters": {"type": "object"}}}


async def asked(tmp_path: Any, reply: Scripted, budget: Budget | None = None) -> tuple[Reply, Request]:
    async with (
        ModelServer(reply) as server,
        team_models(tmp_path, server.environment()) as models,
    ):
        said = [Message(role="user", content="I like tea.")]
        found = await ask(models.memory, said, budget or Budget(Bounds()), tools=[TOOL])
        return found, server.requests[-1]


async def test_a_reply_holds_text_thoughts_calls_reason_and_usage(tmp_path: Any) -> None:
    reply, request = await asked(tmp_path, Reasoning("tea?", "Noted."))
    assert (reply.text, reply.reasoning, reply.finish_reason, reply.error) == ("Noted.", "tea?", "stop", None)
    assert reply.output_tokens == 2
    assert reply.input_tokens > 0
    assert request.tools == ["note"]
    reply, _ = await asked(tmp_path, calls(("note", {"a": 1}), ("note", "{half")))
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [("note", '{"a": 1}'), ("note", "{half")]
    assert all(call.call_id for call in reply.tool_calls)


@pytest.mark.parametrize(
    ("reply", "code", "text"),
    [
        (CutStream("one two three", after=2), "provider_cut", "one two "),
        (Text("one two", finish="length"), "provider_length", "one two"),
        (HttpError(500), "provider_unavailable", ""),
        (Garbage(), "provider_garbage", ""),
    ],
    ids=["cut", "length", "refused", "garbage"],
)
async def test_a_failure_is_in_the_reply_with_what_came_before_it(
    tmp_path: Any, reply: Scripted, code: str, text: str
) -> None:
    found, _ = await asked(tmp_path, reply)
    assert found.error is not None
    assert (found.error.code, found.text) == (code, text)


async def test_several_calls_share_a_budget(tmp_path: Any) -> None:
    budget = Budget(Bounds(calls=2))
    async with ModelServer() as server, team_models(tmp_path, server.environment()) as models:
        said = [Message(role="user", content="hi")]
        found = [await ask(models.memory, said, budget) for _ in range(3)]
    assert [reply.error and reply.error.code for reply in found] == [None, None, "bound_calls"]
    assert len(server.requests) == 2


async def test_a_budget_that_is_used_up_makes_no_further_call(tmp_path: Any) -> None:
    budget = Budget(Bounds(seconds=0.5))
    async with (
        ModelServer(Hang()) as server,
        team_models(tmp_path, server.environment()) as models,
    ):
        said = [Message(role="user", content="hi")]
        found = [await ask(models.memory, said, budget) for _ in range(2)]
    assert [reply.error and reply.error.code for reply in found] == ["bound_seconds"] * 2
    assert len(server.requests) == 1


async def test_a_server_that_does_not_stream_is_read_as_well(tmp_path: Any) -> None:
    import json

    call = {"id": "c", "type": "function", "function": {"name": "note", "arguments": "{}"}}
    message = {"role": "assistant", "content": "<think>hm</think>Noted.", "tool_calls": [call]}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}], "usage": usage}
    reply, _ = await asked(tmp_path, Garbage(json.dumps(body), content_type="application/json"))
    assert (reply.text, reply.reasoning, reply.error) == ("Noted.", "hm", None)
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [("note", "{}")]
    assert (reply.input_tokens, reply.output_tokens) == (3, 2)
