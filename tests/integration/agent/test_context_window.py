"""A history longer than the model can read is cut from its oldest exchange on, with a note."""

import json
from typing import Any

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from tests.support.conversations import pending, say, settings_for, talking
from tests.support.model_server import Garbage, HttpError, ModelServer, Reply, Request, Text, calls

LONG = "word " * 800  # about a thousand tokens


def sent(request: Request) -> list[str]:
    """The first words of each message of the user."""
    said = [message for message in request.messages if message["role"] == "user"]
    return [str(message["content"]).split(".")[0] for message in said]


def listing(**fields: Any) -> Reply:
    body = {"object": "list", "data": [{"id": "other", **fields}, {"id": "scripted-model", **fields}]}
    return Garbage(json.dumps(body), content_type="application/json")


async def talk(settings: Any, exchanges: int = 6) -> list[str]:
    """Say several long things; the notes that came."""
    async with talking(settings, memory=False) as conversation:
        notes: list[str] = []
        for number in range(exchanges):
            notes += (await say(conversation, f"Message {number}. {LONG}")).ok().warnings
        return notes


async def test_the_setting_is_kept_to_with_one_note_a_session(database: DatabaseUrl, model: ModelServer) -> None:
    notes = await talk(settings_for(database, model, JUNKIE_CONTEXT_WINDOW="6000"))
    first, last = sent(model.main_requests[0]), sent(model.main_requests[-1])
    assert (first, last[0], last[-1]) == (["Message 0"], last[0], "Message 5")
    assert 1 < len(last) < 6
    assert last == [f"Message {number}" for number in range(6 - len(last), 6)]  # the newest, without a gap
    for request in model.main_requests:
        assert len(json.dumps(request.messages)) / 5 < 6000
        assert [message["role"] for message in request.messages[:2]] == ["system", "user"]
    assert len(notes) == 1
    assert "oldest exchange does not fit into the 6,000 tokens that scripted-model can read" in notes[0]
    assert model.other_requests == []


@pytest.mark.parametrize(
    "fields",
    [
        {"context_window": 6000},
        {"max_model_len": 6000},
        {"context_length": 6000},
        {"loaded_context_length": 6000, "max_context_length": 131072},
    ],
    ids=["Groq", "vLLM", "OpenRouter", "LM Studio"],
)
async def test_what_the_server_reports_is_kept_to(
    database: DatabaseUrl, model: ModelServer, fields: dict[str, int]
) -> None:
    model.models_reply = listing(**fields)
    notes = await talk(settings_for(database, model))
    assert 1 < len(sent(model.main_requests[-1])) < 6
    assert len(notes) == 1
    assert [request.path for request in model.other_requests] == ["/v1/models"]  # asked once


async def test_the_window_that_llama_cpp_was_started_with_is_kept_to(database: DatabaseUrl, model: ModelServer) -> None:
    model.models_reply = listing(meta={"n_ctx_train": 131072})
    model.properties = {"default_generation_settings": {"n_ctx": 6000}}
    notes = await talk(settings_for(database, model))
    assert 1 < len(sent(model.main_requests[-1])) < 6
    assert len(notes) == 1
    assert [request.path for request in model.other_requests] == ["/v1/models", "/props"]  # each asked once


async def test_a_short_prompt_asks_nobody(database: DatabaseUrl, model: ModelServer) -> None:
    async with talking(settings_for(database, model), memory=False) as conversation:
        for _ in range(3):
            (await say(conversation, "Hi.")).ok()
    assert model.other_requests == []


REFUSALS = {
    "llama.cpp": "request (10954 tokens) exceeds the available context size (6000 tokens), try increasing it",
    "OpenAI": "This model's maximum context length is 6000 tokens. However, your messages resulted in 9000 tokens.",
    "no number": "context length exceeded",
}


@pytest.mark.parametrize("words", REFUSALS)
async def test_an_overflow_of_an_unknown_window_is_recognised_and_repaired(
    database: DatabaseUrl, model: ModelServer, words: str
) -> None:
    def refuse(request: Request) -> Reply | None:
        return HttpError(400, REFUSALS[words]) if len(json.dumps(request.messages)) > 6000 * 3.5 else None

    model.script = refuse
    notes = await talk(settings_for(database, model), exchanges=8)
    assert len(notes) == 1
    assert 0 < len(sent(model.main_requests[-1])) < 8
    assert len(model.main_requests) < 20


async def test_a_window_that_is_reported_wrong_is_not_believed_for_ever(
    database: DatabaseUrl, model: ModelServer
) -> None:
    def refuse(request: Request) -> Reply | None:
        # It names more than it takes: as a server whose slots share one window.
        words = "exceeds the available context size (100000 tokens)"
        return HttpError(400, words) if len(json.dumps(request.messages)) > 20_000 else None

    model.script = refuse
    await talk(settings_for(database, model), exchanges=8)
    assert len(model.main_requests) < 30


async def test_without_a_history_to_cut_the_overflow_is_reported(database: DatabaseUrl, model: ModelServer) -> None:
    words = "request (10954 tokens) exceeds the available context size (8192 tokens), try increasing it"
    model.script = lambda request: HttpError(400, words, code="exceed_context_size_error")
    async with talking(settings_for(database, model)) as conversation:
        said = await say(conversation, f"Read this: {LONG}")
    assert said.failures == ["provider_too_large"]
    assert said.done.error is not None
    assert "8192 tokens" in said.done.error.message
    assert len(model.main_requests) == 1
    assert len(await pending(database)) == 1


async def test_a_message_that_the_memory_model_cannot_read_at_once_is_read_as_far_as_it_can(
    database: DatabaseUrl, model: ModelServer
) -> None:
    words = "request (3500 tokens) exceeds the available context size (2048 tokens), try increasing it"

    def script(request: Request) -> Reply | None:
        if not request.is_memory:
            return None
        if len(json.dumps(request.body)) > 8000:
            return HttpError(400, words, code="exceed_context_size_error")
        return calls(("add_memory", {"memory": "User likes tea"}))

    model.script = script
    async with talking(settings_for(database, model)) as conversation:
        said = (await say(conversation, f"I like tea. {LONG * 2}")).ok()
    assert said.memories == [("added", "User likes tea")]
    assert any("were not searched for memories" in warning for warning in said.warnings)
    assert len(model.memory_requests) <= 4
    assert await pending(database) == []


async def test_a_limit_by_the_minute_is_not_taken_for_the_window(database: DatabaseUrl, model: ModelServer) -> None:
    async with talking(settings_for(database, model), memory=False) as conversation:
        (await say(conversation, f"One. {LONG}")).ok()
        words = "Request too large for model on tokens per minute (TPM): Limit 8000, Requested 9000, reduce the length"
        model.queue(HttpError(413, words), Text("Yes."))
        assert (await say(conversation, "Two.")).failures != []
    assert len(model.main_requests) == 2
