"""The models on their good days: what is sent, to whom, with which key, over which connection."""

import asyncio
import copy
import functools
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from agno.models.message import Message
from agno.team import Team
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

from junkie_cli.core.agent import wire
from junkie_cli.core.agent.agno_environment import protect
from junkie_cli.core.agent.call_log import Call, record_calls
from junkie_cli.core.agent.models import build_models
from junkie_cli.core.errors import SettingsError
from tests.support.model_server import ModelServer, Reasoning, Request, Text, calls, rehearsed
from tests.support.models import extract, make_settings, take_turn, team_models
from tests.support.texts import texts


async def test_an_answer_comes_in_pieces_and_is_whole_at_the_end(tmp_path: Path) -> None:
    async with (
        ModelServer(Text("Hello Ada, how are you?")) as server,
        team_models(tmp_path, server.environment()) as models,
    ):
        turn = await take_turn(models)
    pieces = [event.content for event in turn.events if event.event == "TeamRunContent" and event.content]
    assert pieces == ["Hello ", "Ada, ", "how ", "are ", "you?"]
    assert turn.last.content == "Hello Ada, how are you?"
    call = turn.log.calls[0]
    assert (call.part, call.status, call.finish_reason, call.retries) == ("main", 200, "stop", 0)
    assert call.output_tokens == 5
    assert call.total_tokens == call.input_tokens + call.output_tokens
    assert turn.log.failure() is None


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_thoughts_are_kept_apart_from_the_answer(tmp_path: Path, field: str) -> None:
    async with (
        ModelServer(Reasoning("she wants tea", "Tea?", field_name=field)) as server,
        team_models(tmp_path, server.environment()) as models,
    ):
        turn = await take_turn(models)
    assert (turn.reasoning, turn.streamed) == ("she wants tea", "Tea?")
    assert turn.log.calls[0].has_reasoning


EVENTS = st.fixed_dictionaries(
    {"id": st.just("chatcmpl-1"), "object": st.just("chat.completion.chunk"), "created": st.just(1)},
    optional={
        "choices": st.lists(
            st.fixed_dictionaries(
                {"index": st.just(0)},
                optional={
                    "delta": st.fixed_dictionaries(
                        {},
                        optional={
                            "role": st.sampled_from(["assistant", None]),
                            "content": st.one_of(st.none(), texts(max_size=5)),
                            "reasoning": st.one_of(st.none(), texts(max_size=5)),
                            "refusal": st.none(),
                            "tool_calls": st.sampled_from(
                                [None, [{"index": 0, "id": "a", "function": {"name": "x", "arguments": "{}"}}]]
                            ),
                        },
                    ),
                    "finish_reason": st.sampled_from([None, "stop", "length"]),
                    "logprobs": st.none(),
                },
            ),
            max_size=2,
        ),
        "usage": st.sampled_from([None, {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}]),
        "system_fingerprint": st.sampled_from([None, "fp"]),
        "model": st.just("m"),
        "x_groq": st.just({"id": "req"}),
    },
)


@functools.cache
def a_model() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return build_models(make_settings(Path(folder), GROQ_API_KEY="gsk_" + "x" * 52)).main


@settings(max_examples=300)
@given(EVENTS)
def test_an_event_of_the_protocol_is_read_as_agno_reads_it(event: dict[str, Any]) -> None:
    model = a_model()
    read = wire.Reader(Call("main", model.choice)).read(copy.deepcopy(event))
    chunk = ChatCompletionChunk.model_construct(**copy.deepcopy(event))
    expected = model._parse_provider_response_delta(chunk)
    for response in (read, expected):
        response.content = response.content and response.content.replace("\0", "")
        response.reasoning_content = (response.reasoning_content or "").replace("\0", "")
        response.tool_calls = model.parse_tool_calls(response.tool_calls or [])
        for call in response.tool_calls:
            call["type"] = "function"
    assert [read.content, read.reasoning_content, read.tool_calls, read.provider_data] == [
        expected.content,
        expected.reasoning_content,
        expected.tool_calls,
        {name: expected.provider_data[name] for name in ("id", "system_fingerprint") if name in expected.provider_data}
        if expected.provider_data is not None
        else None,
    ]


async def test_thoughts_in_the_text_are_kept_apart_too(tmp_path: Path) -> None:
    async with (
        ModelServer(Text("<think>she wants tea</think>\n\nTea, Ada?"), Text("<think>nothing else</think>")) as server,
        team_models(tmp_path, server.environment()) as models,
    ):
        turn = await take_turn(models)
        empty = await take_turn(models)
    assert (turn.reasoning, turn.streamed, turn.last.content) == ("she wants tea", "Tea, Ada?", "Tea, Ada?")
    assert empty.last.error_type == "provider_empty"


async def test_tool_calls_in_pieces_are_run(tmp_path: Path) -> None:
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    async with (
        ModelServer(calls(("add", {"a": 40, "b": 2})), Text("It is 42.")) as server,
        team_models(tmp_path, server.environment()) as models,
    ):
        turn = await take_turn(models, tools=[add])
    assert turn.last.content == "It is 42."
    assert server.requests[1].messages[-1]["role"] == "tool"
    assert server.requests[1].messages[-1]["content"] == "42"
    assert [call.finish_reason for call in turn.log.calls] == ["tool_calls", "stop"]


async def test_a_server_that_names_no_reason_but_closes_its_stream_has_answered(tmp_path: Path) -> None:
    async with (
        ModelServer(Text("Hello", finish=None)) as server,  # type: ignore[arg-type]
        team_models(tmp_path, server.environment()) as models,
    ):
        turn = await take_turn(models)
    assert (turn.last.event, turn.streamed) == ("TeamRunCompleted", "Hello")


async def test_tools_carry_only_what_every_provider_knows(tmp_path: Path) -> None:
    async with ModelServer() as server, team_models(tmp_path, server.groq_environment()) as models:
        await take_turn(models, tools=[len_of])
        await extract(models)
    for request in server.requests:
        for tool in request.body["tools"]:
            assert set(tool) == {"type", "function"}
            assert set(tool["function"]) <= {"name", "description", "parameters"}
    known = {"model", "messages", "tools", "stream", "stream_options", "temperature", "top_p"}
    assert set(server.main_requests[0].body) <= known
    assert set(server.memory_requests[0].body) <= known | {"max_completion_tokens", "reasoning_effort"}


def len_of(text: str) -> int:
    """The length of a text."""
    return len(text)


async def test_arguments_follow_the_settings(tmp_path: Path) -> None:
    async with ModelServer() as server:
        environment = {**server.groq_environment(), "MODEL_TEMPERATURE": "0.7", "MODEL_TOP_P": "0.5"}
        async with team_models(tmp_path, environment) as models:
            await take_turn(models)
            await extract(models)
    main, memory = server.requests
    assert (main.body["temperature"], main.body["top_p"]) == (0.7, 0.5)
    assert "reasoning_effort" not in main.body
    assert (memory.body["reasoning_effort"], memory.body["max_completion_tokens"]) == ("low", 4096)


def test_openais_reasoning_models_get_no_temperature(tmp_path: Path) -> None:
    url = "https://api.openai.com/v1"
    for model, temperature in (("gpt-5-mini", None), ("gpt-4o", 0.3)):
        settings = make_settings(tmp_path, CUSTOM_PROVIDER=url, CUSTOM_PROVIDER_API_KEY="k", CUSTOM_MODEL=model)
        assert build_models(settings).main.temperature == temperature


# Which provider, which model, which key


async def test_each_provider_gets_its_own_key_and_model(tmp_path: Path) -> None:
    async with ModelServer() as local, ModelServer() as groq:
        environment = {**local.environment(key="local-secret"), **groq.groq_environment(key="gsk_secret")}
        async with team_models(tmp_path, environment) as models:
            await take_turn(models)
            await extract(models)
            assert (models.provider, models.memory_choice.endpoint.label) == (
                local.url.split("/")[2],
                f"Groq at {groq.url.split('/')[2]}",
            )
            assert models.compound() is None
    assert [(r.key, r.model, r.is_memory) for r in local.requests] == [("local-secret", "scripted-model", False)]
    assert [(r.key, r.model, r.is_memory) for r in groq.requests] == [("gsk_secret", "openai/gpt-oss-120b", True)]


async def test_a_server_without_a_key_does_not_get_groqs(tmp_path: Path) -> None:
    async with ModelServer() as local, ModelServer() as groq:
        environment = {"CUSTOM_PROVIDER": local.url, **groq.groq_environment(key="gsk_secret")}
        async with team_models(tmp_path, environment) as models:
            await take_turn(models)
    assert [request.key for request in local.requests] == ["no-key"]


async def test_without_a_groq_key_one_server_is_enough(tmp_path: Path) -> None:
    async with ModelServer() as server:
        for more, model in (({}, "scripted-model"), ({"MEMORY_MODEL": "small"}, "small")):
            async with team_models(tmp_path, {**server.environment(), **more}) as models:
                await extract(models)
            assert server.memory_requests[-1].model == model


async def test_a_server_without_a_key_gets_no_other_vendors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = {
        "OPENAI_API_KEY": "sk-foreign",
        "OPENAI_ADMIN_KEY": "sk-admin-foreign",
        "OPENAI_ORG_ID": "org-foreign",
        "OPENAI_PROJECT_ID": "proj-foreign",
        "OPENAI_BASE_URL": "https://foreign.invalid/v1",
        "OPENAI_CUSTOM_HEADERS": "X-Foreign: foreign",
        "GROQ_API_KEY": "gsk_foreign",
        "ANTHROPIC_API_KEY": "foreign",
    }
    for name, value in foreign.items():
        monkeypatch.setenv(name, value)
    async with (
        ModelServer() as server,
        team_models(tmp_path, {"CUSTOM_PROVIDER": server.url}) as models,
    ):
        await take_turn(models)
        await extract(models)
    assert len(server.requests) == 2
    for request in server.requests:
        assert request.key == "no-key"
        assert "foreign" not in str(request.headers)


async def test_nothing_of_this_machine_is_reported(tmp_path: Path) -> None:
    async with ModelServer() as server, team_models(tmp_path, server.environment()) as models:
        await take_turn(models)
    assert [name for name in server.requests[0].headers if name.startswith("x-stainless")] == []


def test_no_provider_is_three_ways_out(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        build_models(make_settings(tmp_path))
    assert caught.value.code == "provider_missing"
    for way in ("GROQ_API_KEY", "CUSTOM_PROVIDER", "--offline"):
        assert way in caught.value.hint


def test_a_provider_url_with_a_password_is_reported_without_it(tmp_path: Path) -> None:
    models = build_models(make_settings(tmp_path, CUSTOM_PROVIDER="http://ada:hunter2@host:8080/v1"))
    assert models.provider == "host:8080"
    assert "hunter2" not in repr(models.main)


async def test_no_key_is_printed_with_a_model_or_a_team(tmp_path: Path) -> None:
    async with ModelServer() as server:
        environment = {**server.environment(key="local-secret"), **server.groq_environment(key="gsk_secret")}
        async with team_models(tmp_path, environment) as models:
            await take_turn(models)
            team = Team(members=[], model=models.main)
            for shown in (repr(models), repr(models.main), repr(team), str(models.main.to_dict())):
                assert "secret" not in shown


async def test_groq_has_a_member_that_searches(tmp_path: Path) -> None:
    async with ModelServer() as server, team_models(tmp_path, server.groq_environment()) as models:
        member = models.compound()
        assert member is not None
        with record_calls() as log:
            await member.aresponse([Message(role="user", content="what is new?")])
    assert server.requests[0].model == "groq/compound"
    assert "temperature" not in server.requests[0].body
    assert [call.part for call in log.calls] == ["member"]


# Connections


async def test_one_connection_serves_every_turn_and_extraction(tmp_path: Path) -> None:
    async with ModelServer() as server, team_models(tmp_path, server.environment()) as models:
        for _ in range(3):
            await take_turn(models)
            await extract(models)
        assert len(server.requests) == 6
        assert server.connections == 1
        client = models.main.get_async_client()
        assert copy.deepcopy(models.main).get_async_client() is client
    assert client.is_closed()


async def test_closing_twice_is_safe(tmp_path: Path) -> None:
    async with ModelServer() as server, team_models(tmp_path, server.environment()) as models:
        await take_turn(models)
        await models.close()
        await models.close()


async def test_an_answer_that_is_left_is_hung_up_on(tmp_path: Path) -> None:
    reply = Text("one two three four", pause_after=2)
    async with ModelServer(reply) as server, team_models(tmp_path, server.environment()) as models:
        turn = asyncio.create_task(take_turn(models))
        await reply.paused.wait()
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        await server.requests[0].gone.wait()


async def test_calls_of_turns_at_once_are_kept_apart(tmp_path: Path) -> None:
    def script(request: Request) -> Text:
        return Text(f"You said {request.user}.")

    async with ModelServer(script=script) as server, team_models(tmp_path, server.environment()) as models:
        turns = await asyncio.gather(*(take_turn(models, f"word{number}") for number in range(4)))
    assert [turn.streamed for turn in turns] == [f"You said word{number}." for number in range(4)]
    assert [len(turn.log.calls) for turn in turns] == [1, 1, 1, 1]


async def test_a_record_ends_where_it_says_and_belongs_to_those_around_it(tmp_path: Path) -> None:
    async with ModelServer() as server, team_models(tmp_path, server.environment()) as models:
        with record_calls() as outer:
            with record_calls() as inner:
                await models.main.aresponse([Message(role="user", content="one")])
            await models.main.aresponse([Message(role="user", content="two")])
        await models.main.aresponse([Message(role="user", content="three")])
    assert (len(outer.calls), len(inner.calls)) == (2, 1)


async def test_a_record_may_be_closed_from_elsewhere() -> None:
    async def recorded() -> AsyncIterator[int]:
        with record_calls():
            yield 1
            yield 2

    generator = recorded()
    assert await anext(generator) == 1
    await asyncio.create_task(generator.aclose())  # type: ignore[attr-defined]


async def test_the_scripted_server_can_extract_like_a_model(tmp_path: Path) -> None:
    async with ModelServer(script=rehearsed) as server, team_models(tmp_path, server.environment()) as models:
        found = await extract(models, "I prefer coffee now", [("m1", "User prefers tea")])
        [change] = found.changes
    assert len(server.memory_requests) == 1, "no second round when the first was complete"
    assert (change.action, change.memory_id, change.memory) == ("updated", "m1", "User prefers coffee")
    assert "m1" not in str(server.memory_requests[0].body)


def test_the_guard_clears_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in ("AGNO_DEBUG", "AGNO_MONITOR", "AGNO_LOG_TRACEBACKS", "OPENAI_API_KEY", "OPENAI_LOG"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("AGNO_TELEMETRY", "true")
    protect()
    assert os.environ["AGNO_TELEMETRY"] == "false"
    assert [name for name in os.environ if name.startswith(("AGNO_", "OPENAI_"))] == ["AGNO_TELEMETRY"]
