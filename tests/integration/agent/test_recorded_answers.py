"""Answers of real model servers, as recorded and damaged: what is shown is stored, and complete is what is complete."""

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from junkie_cli.core.chat import Reasoning
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import ExitCode
from tests.support.conversations import (
    Said,
    memories,
    pending,
    rows,
    runs,
    say,
    scripted_memory,
    settings_for,
    talking,
)
from tests.support.model_server import ModelServer, Raw, Text, nothing
from tests.support.postgres import execute
from tests.support.texts import texts
from tests.support.wire_zoo import Specimen, specimens

ZOO = specimens()
EXAMPLES = int(os.environ.get("WIRE_EXAMPLES", "12"))
MESSAGE = "I like tea."


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with ModelServer(models=["scripted-model"]) as server:
        yield server


def answer_with(model: ModelServer, specimen: Specimen, reply: Raw) -> None:
    """Let `reply` be the first answer of the specimen's model; the other has an ordinary one."""
    model.requests.clear()
    given = iter([reply])

    def script(request: Any) -> Any:
        if request.is_memory == specimen.of_memory:
            first = next(given, None)
            if first is not None:
                return first
        if request.is_memory:
            return nothing() if specimen.of_memory else scripted_memory(("add_memory", {"memory": "User likes tea"}))
        return Text("Done.")

    model.script = script


async def turn(database: DatabaseUrl, model: ModelServer, user: str = "ada", **variables: str) -> Said:
    settings = settings_for(database, model, JUNKIE_MAX_SECONDS="60", **variables)
    async with talking(settings, user) as conversation:
        return await say(conversation, MESSAGE)


async def assert_invariants(database: DatabaseUrl, model: ModelServer, said: Said, user: str = "ada") -> None:
    """What holds of every turn, whatever a model server sends."""
    assert said.done.complete == (said.done.error is None)
    if said.done.error is not None:
        assert said.done.error.exit_code == ExitCode.PROVIDER
        assert said.done.error.hint
    stored = [run for run in await runs(database) if run["user_id"] == user]
    assert [(run["said"], run["answer"] or "") for run in stored] == [(MESSAGE, said.answer)]
    stands = said.done.error is None or (said.done.error.code == "provider_length" and bool(said.answer))
    assert stored[0]["status"] == ("COMPLETED" if stands else "ERROR")
    own = [text for owner, text in await memories(database) if owner == user]
    still_pending = [entry["message"] for entry in await pending(database) if entry["user_id"] == user]
    actions = {action for action, _ in said.memories}
    assert bool(own) == bool(actions & {"added", "updated"})
    assert still_pending in ([], [MESSAGE])
    assert still_pending or "pending" not in actions
    # A pending entry, or else the memory model was asked, and answered with a memory or an explicit nothing.
    assert still_pending or model.memory_requests


@pytest.mark.parametrize("name", ZOO)
async def test_an_answer_of_a_real_server(database: DatabaseUrl, model: ModelServer, name: str) -> None:
    specimen = ZOO[name]
    answer_with(model, specimen, specimen.reply())
    said = await turn(database, model)
    await assert_invariants(database, model, said)
    if specimen.of_memory:
        assert [text for _, text in await memories(database)] == specimen.fields["Memories"]
        return
    error = said.done.error
    assert (error and error.code) == specimen.code
    sentence = f"{error.message} {error.hint}" if error else ""
    assert specimen.fields.get("Says", "") in sentence
    assert specimen.fields.get("Hint", "") in (error.hint if error else "")
    assert said.answer.removesuffix("Done." if "Calls" in specimen.fields else "") == specimen.fields.get("Text", "")
    thought = "".join(event.text for event in said.events if isinstance(event, Reasoning))
    assert thought == specimen.fields.get("Thought", "")
    if "Tokens" in specimen.fields:
        assert said.done.usage is not None
        assert said.done.usage.total_tokens == specimen.fields["Tokens"]
    if "Calls" in specimen.fields:
        called = [call for call in model.main_requests[-1].messages if call["role"] == "assistant"][-1]["tool_calls"]
        assert [call["function"]["arguments"] for call in called] == specimen.fields["Calls"]
        assert len({call["id"] for call in called}) == len(called)
        results = [one["content"] for one in model.main_requests[-1].messages if one["role"] == "tool"]
        assert ["42" in result for result in results] == [True] * len(called)


@pytest.mark.parametrize("name", [name for name, one in ZOO.items() if one.fields.get("Transient")])
async def test_what_may_pass_is_asked_for_again(database: DatabaseUrl, model: ModelServer, name: str) -> None:
    answer_with(model, ZOO[name], ZOO[name].reply())
    said = (await turn(database, model, AGENT_RETRIES="1")).ok()
    assert said.answer == "Done."
    assert len(model.main_requests) == 2


_PASSING = ("provider_unavailable", "provider_rate_limited")
LASTING = [name for name, one in ZOO.items() if one.code and ("Text" in one.fields or one.code not in _PASSING)]


@pytest.mark.parametrize("name", [name for name in LASTING if not ZOO[name].fields.get("Transient")])
async def test_what_stays_as_it_is_or_has_begun_is_not(database: DatabaseUrl, model: ModelServer, name: str) -> None:
    answer_with(model, ZOO[name], ZOO[name].reply())
    await turn(database, model, AGENT_RETRIES="1")
    assert len(model.main_requests) == 1


# --- damaged ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def damaged(postgres_server: ScratchServer, template_database: str) -> Iterator[DatabaseUrl]:
    """One database for all damaged answers, with the rows of somebody else."""
    execute(postgres_server, f"CREATE DATABASE wire_damaged TEMPLATE {template_database}")
    yield postgres_server.url.with_database("wire_damaged")


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


STREAMS = [name for name, one in ZOO.items() if one.is_stream and one.fields["Status"] == "200"]
WORDS = texts("ab 1é\0\u2028\U0001f375", max_size=5)
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=5,
)
_users = iter(range(10**9))


def run_damaged(
    loop: asyncio.Runner, database: DatabaseUrl, model: ModelServer, specimen: Specimen, reply: Raw
) -> Said:
    """One turn of a new user with this answer; checks what holds of every turn."""

    async def go() -> Said:
        user = f"user{next(_users)}"
        others = "SELECT * FROM ai.user_memories WHERE user_id <> $1 ORDER BY memory_id"
        before = await rows(database, others, user)
        answer_with(model, specimen, reply)
        said = await turn(database, model, user)
        await assert_invariants(database, model, said, user)
        assert await rows(database, others, user) == before
        return said

    return loop.run(go())


def expected_end(body: bytes, *, broken: bool) -> bool:
    """Whether these events are a complete answer by the protocol, read in the plainest way."""
    reason, says, marked = None, False, False
    for event in body.decode().split("\n\n"):
        text = event.removeprefix("data: ")
        if text == "[DONE]" and event != text:
            marked = True
            break
        try:
            document = json.loads(text)
        except ValueError:
            break
        if document.get("error") or any(choice.get("error") for choice in document["choices"]):
            if reason is None:
                return False
            break
        for choice in document["choices"]:
            parts = choice.get("delta") or choice.get("message") or {}
            now = bool(parts.get("content") or parts.get("refusal") or parts.get("tool_calls"))
            says |= now
            marked &= not (now or parts.get("reasoning_content") or parts.get("reasoning"))
            reason = choice.get("finish_reason") or reason
        marked |= not document["choices"] and bool(document.get("usage")) and says
    if reason is not None:
        return says and reason not in {"content_filter", "abort", "error", "model_length"}
    return says and marked


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_answers_that_are_cut_repeated_and_reordered(
    damaged: DatabaseUrl, model: ModelServer, loop: asyncio.Runner, data: st.DataObject
) -> None:
    specimen = ZOO[data.draw(st.sampled_from([name for name in STREAMS if not ZOO[name].of_memory]))]
    events = [event + b"\n\n" for event in specimen.body.split(b"\n\n") if event]
    events = data.draw(st.one_of(st.just(events), st.permutations(events), st.lists(st.sampled_from(events))))
    body = b"".join(events)
    body = body[: data.draw(st.one_of(st.none(), st.integers(0, len(body))))]
    broken = data.draw(st.booleans())
    said = run_damaged(loop, damaged, model, specimen, specimen.reply_of(body, broken=broken))
    if broken or "Calls" in specimen.fields or "halves" in specimen.name:
        return  # what of a broken connection still arrives is not certain; calls are followed by another answer
    assert said.done.complete == expected_end(body, broken=broken)


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_the_memory_model_may_answer_like_that_too(
    damaged: DatabaseUrl, model: ModelServer, loop: asyncio.Runner, data: st.DataObject
) -> None:
    specimen = ZOO[data.draw(st.sampled_from(list(ZOO)))]
    specimen = replace(specimen, fields=specimen.fields | {"Model": "memory"})
    events = [event + b"\n\n" for event in specimen.body.split(b"\n\n") if event]
    events = data.draw(st.one_of(st.just(events), st.permutations(events), st.lists(st.sampled_from(events))))
    body = b"".join(events)
    body = body[: data.draw(st.one_of(st.none(), st.integers(0, len(body))))]
    reply = specimen.reply_of(body, broken=data.draw(st.booleans()))
    run_damaged(loop, damaged, model, specimen, reply).ok()


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_answers_in_other_pieces_are_the_same(
    damaged: DatabaseUrl, model: ModelServer, loop: asyncio.Runner, data: st.DataObject
) -> None:
    specimen = ZOO[data.draw(st.sampled_from([name for name, one in ZOO.items() if not one.of_memory]))]
    body = specimen.body
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    chunks = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True) if start < end]
    said = run_damaged(loop, damaged, model, specimen, specimen.reply_of(*chunks))
    assert (said.done.error and said.done.error.code) == specimen.code
    assert said.answer.removesuffix("Done." if "Calls" in specimen.fields else "") == specimen.fields.get("Text", "")


DECORATION = ("id", "object", "created", "model", "system_fingerprint", "usage", "timings", "x_groq", "provider")


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_decoration_of_any_type_changes_nothing(
    damaged: DatabaseUrl, model: ModelServer, loop: asyncio.Runner, data: st.DataObject
) -> None:
    names = [name for name in STREAMS if not ZOO[name].of_memory and not ZOO[name].code]
    specimen = ZOO[data.draw(st.sampled_from(names))]

    def decorated(event: bytes) -> bytes:
        if event in (b"", b"data: [DONE]"):
            return event
        document = json.loads(event.removeprefix(b"data: "))
        document |= data.draw(st.dictionaries(st.sampled_from(DECORATION), ANYTHING, max_size=3))
        return b"data: " + json.dumps(document).encode()

    body = b"\n\n".join(map(decorated, specimen.body.split(b"\n\n")))
    said = run_damaged(loop, damaged, model, specimen, specimen.reply_of(body)).ok()
    assert said.answer.removesuffix("Done." if "Calls" in specimen.fields else "") == specimen.fields.get("Text", "")


def _retyped(value: Any, draw: Any) -> Any:
    """`value` with one or more of its parts replaced by anything."""
    if draw(st.integers(0, 9)) == 0:
        return draw(ANYTHING)
    if isinstance(value, dict):
        return {name: _retyped(inner, draw) for name, inner in value.items()}
    if isinstance(value, list):
        return [_retyped(inner, draw) for inner in value]
    return value


@settings(max_examples=EXAMPLES)
@given(st.data())
def test_fields_of_any_type_end_in_an_answer_or_a_failure(
    damaged: DatabaseUrl, model: ModelServer, loop: asyncio.Runner, data: st.DataObject
) -> None:
    specimen = ZOO[data.draw(st.sampled_from(STREAMS))]

    def retyped(event: bytes) -> bytes:
        if event in (b"", b"data: [DONE]"):
            return event
        document = _retyped(json.loads(event.removeprefix(b"data: ")), data.draw)
        return b"data: " + json.dumps(document).encode()

    body = b"\n\n".join(map(retyped, specimen.body.split(b"\n\n")))
    run_damaged(loop, damaged, model, specimen, specimen.reply_of(body))


@settings(max_examples=EXAMPLES)
@given(st.data())
@example(data=None)
def test_bytes_that_are_no_answer_end_in_a_failure(
    damaged: DatabaseUrl, model: ModelServer, loop: asyncio.Runner, data: Any
) -> None:
    specimen = ZOO["llama_cpp-plain"]
    body = b"\xff\xfe" if data is None else data.draw(st.binary(max_size=200))
    said = run_damaged(loop, damaged, model, specimen, specimen.reply_of(body))
    assert said.done.error is not None


async def test_a_server_that_is_silent_after_the_end_is_not_waited_for(
    database: DatabaseUrl, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("junkie_cli.core.agent.models._AFTER_THE_END", 0.1)
    silent = Text("Hello Ada.", pause_after=3)  # two words and the finish reason
    model.script = lambda request: nothing() if request.is_memory else silent
    said = (await turn(database, model, MODEL_TIMEOUT="0")).ok()
    assert said.answer == "Hello Ada."


async def test_a_byte_that_is_no_utf8_costs_one_character(database: DatabaseUrl, model: ModelServer) -> None:
    specimen = ZOO["llama_cpp-plain"]
    answer_with(model, specimen, specimen.reply_of(specimen.body.replace(b"Ada.", b"Ad\xe4.")))
    said = (await turn(database, model)).ok()
    assert said.answer == "Hello Ad\ufffd."
    await assert_invariants(database, model, said)
