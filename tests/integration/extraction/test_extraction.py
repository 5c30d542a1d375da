"""Extraction against a real server and database: memories, a pending entry or an explicit nothing, each time."""

import asyncio
import contextlib
import json
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from junkie_cli.core.chat import Delta, Provisional
from junkie_cli.core.chat.learn import learn_file
from junkie_cli.core.chat.pending_retry import retry_memories
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.extraction.methods import GOOD_ANSWERS, Known, MethodStore
from junkie_cli.core.settings import Settings
from junkie_cli.core.turns.pending_rows import MAX_ATTEMPTS
from tests.support.conversations import Said, Turn, memories, pending, rows, say, settings_for, talking
from tests.support.model_server import (
    CutStream,
    Empty,
    Garbage,
    HttpError,
    Length,
    ModelServer,
    Reply,
    Request,
    Text,
    calls,
    nothing,
)
from tests.unit.extraction.test_reply import IN_TEXT, NEITHER, UNUSABLE

pytestmark = pytest.mark.usefixtures("state")


@pytest.fixture
def methods(state: Path) -> Path:
    """The file in which is kept how each model extracts."""
    return state / "junkie" / "extraction-methods.json"


def way(request: Request) -> str:
    """How the memory model is asked."""
    return "tools" if request.tools else "schema" if "response_format" in request.body else "json"


def answering(**by_way: Reply | str | None) -> Callable[[Request], Reply | None]:
    """A memory model that answers so when it is asked in this way; prose to every other."""

    def script(request: Request) -> Reply | None:
        if not request.is_memory:
            return None
        found = by_way.get(way(request)) or "I have noted that."
        return Text(found) if isinstance(found, str) else found

    return script


async def heard(settings: Settings, *messages: str, user: str = "ada") -> list[tuple[str, str | None]]:
    """What came of the last of these messages."""
    async with talking(settings, user) as conversation:
        for message in messages:
            said = (await say(conversation, message)).ok()
    return said.memories


async def test_calls_in_the_text_are_memories(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    async with talking(settings) as conversation:
        for number, form in enumerate(IN_TEXT.values()):
            text = form.replace("likes tea", f"likes tea {number}").replace("likes\ntea", f"likes tea {number}")
            model.queue_memory(Text(text))
            said = (await say(conversation, "I like tea.")).ok()
            assert said.memories == [("added", f"User likes tea {number}")], form
    assert len(await memories(database)) == len(IN_TEXT)
    assert await pending(database) == []
    # Known to write them into the text: nothing else is tried.
    assert {way(request) for request in model.memory_requests} == {"tools"}


ARGUMENTS = json.dumps({"memory": "User likes tea"})


def events(*deltas: dict[str, Any]) -> Garbage:
    """A stream of these deltas, as they are."""
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "tool_calls"})
    lines = [f"data: {json.dumps({'id': 'x', 'choices': [choice]})}\n\n" for choice in choices]
    return Garbage("".join([*lines, "data: [DONE]\n\n"]), "text/event-stream")


ON_THE_WIRE = {
    "without id and type": events(
        {"tool_calls": [{"index": 0, "function": {"name": "add_memory", "arguments": ARGUMENTS}}]}
    ),
    "without index": events(
        {"tool_calls": [{"id": "c", "type": "function", "function": {"name": "add_memory", "arguments": ARGUMENTS}}]}
    ),
    "arguments as an object": events(
        {
            "tool_calls": [
                {"index": 0, "id": "c", "function": {"name": "add_memory", "arguments": {"memory": "User likes tea"}}}
            ]
        }
    ),
    "function_call": events({"function_call": {"name": "add_memory", "arguments": ARGUMENTS}}),
    "function_call in pieces": events(
        {"function_call": {"name": "add_memory", "arguments": ARGUMENTS[:9]}},
        {"function_call": {"arguments": ARGUMENTS[9:]}},
    ),
}


@pytest.mark.parametrize("form", ON_THE_WIRE)
async def test_calls_that_the_protocol_has_otherwise_are_memories(
    database: DatabaseUrl, model: ModelServer, form: str
) -> None:
    model.queue_memory(ON_THE_WIRE[form])
    assert await heard(settings_for(database, model), "I like tea.") == [("added", "User likes tea")]
    assert len(model.memory_requests) == 1


@pytest.mark.parametrize("text", [*NEITHER[:9], "I refuse."], ids=lambda text: text[:20])
async def test_what_cannot_be_used_stays_pending_with_its_reason(
    database: DatabaseUrl, model: ModelServer, text: str
) -> None:
    settings = settings_for(database, model)
    model.script = answering(tools=Text(text), schema=Text(text), json=Text(text))
    assert await heard(settings, "I like tea.") == [("pending", None)]
    [entry] = await pending(database)
    assert (entry["message"], entry["attempts"], entry["set_aside"]) == ("I like tea.", 1, False)
    assert "cannot be used" in entry["last_error"]
    assert await memories(database) == []


async def test_every_unusable_call_stays_pending_until_it_is_set_aside(
    database: DatabaseUrl, model: ModelServer
) -> None:
    settings = settings_for(database, model)
    replies = {f"message {number}": calls(call) for number, call in enumerate(UNUSABLE.values()) if _is_sendable(call)}
    model.script = lambda request: replies[request.user] if request.is_memory else None
    async with talking(settings) as conversation:
        for message in replies:
            assert (await say(conversation, message)).ok().memories[-1] == ("pending", None), message
    assert len(await pending(database)) == len(replies)
    await rows(database, "UPDATE ai.junkie_pending SET attempts = $1, next_try = now()", MAX_ATTEMPTS - 1)
    done = [await retry_memories(settings) for _ in replies]
    assert sum(one.set_aside for one in done) == len(replies)
    assert all(entry["set_aside"] and entry["last_error"] for entry in await pending(database))
    # Set aside is not lost: with a model that works they are made up for.
    model.script = answering(tools=calls(("add_memory", {"memory": "User likes tea"})))
    done = await retry_memories(settings, everything=True)
    assert (done.succeeded, done.remaining) == (len(replies), 0)
    assert await memories(database) == [("ada", "User likes tea")]


def _is_sendable(call: tuple[str, Any]) -> bool:
    return call[1] is not None


@pytest.mark.parametrize("reply", [Empty(), Length("User likes"), HttpError(500)], ids=["empty", "length", "500"])
async def test_a_failed_call_is_no_answer(database: DatabaseUrl, model: ModelServer, reply: Reply) -> None:
    settings = settings_for(database, model)
    model.script = answering(tools=reply, schema=reply, json=reply)
    assert await heard(settings, "I like tea.") == [("pending", None)]
    [entry] = await pending(database)
    assert entry["last_error"]


async def test_an_explicit_nothing_completes_the_message(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    model.queue_memory(nothing(), Text('{"facts": []}'), Text("[]"))
    assert await heard(settings, "Hi.", "Hello.", "Good day.") == []
    assert await pending(database) == []
    assert len(model.memory_requests) == 3


async def test_the_good_half_is_committed_and_the_rest_stays_pending(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    model.queue_memory(calls(("add_memory", {"memory": "User likes tea"}), ("add_memory", '{"memory": "User has a d')))
    assert await heard(settings, "I like tea and have a dog.") == [("added", "User likes tea"), ("pending", None)]
    assert await memories(database) == [("ada", "User likes tea")]
    [entry] = await pending(database)
    assert "not an object" in entry["last_error"]
    # Tried again, the first half is no duplicate.
    model.queue_memory(
        calls(("add_memory", {"memory": "User likes tea."}), ("add_memory", {"memory": "User has a dog"}))
    )
    done = await retry_memories(settings, everything=True)
    assert (done.succeeded, done.memories["added"], done.remaining) == (1, 1, 0)
    assert await memories(database) == [("ada", "User has a dog"), ("ada", "User likes tea")]


# --- how the model is asked -------------------------------------------------------------------------------------------


async def test_the_way_that_works_is_found_and_kept(database: DatabaseUrl, model: ModelServer, methods: Path) -> None:
    settings = settings_for(database, model)
    model.script = answering(schema='{"facts": ["User likes tea"]}')
    assert await heard(settings, "I like tea.") == [("added", "User likes tea")]
    assert [way(request) for request in model.memory_requests] == ["tools", "schema"]
    assert await heard(settings, "I like tea.") == []
    assert [way(request) for request in model.memory_requests] == ["tools", "schema", "schema"]
    [(key, entry)] = json.loads(methods.read_text()).items()
    assert key == f"{model.url} scripted-model"
    assert entry["method"] == "schema"
    assert (methods.stat().st_mode & 0o777, methods.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize("status", [400, 422, 404, 500])
async def test_a_server_without_tools_or_schemas_is_asked_in_words(
    database: DatabaseUrl, model: ModelServer, status: int
) -> None:
    settings = settings_for(database, model)
    refusal = HttpError(status, "cannot do that")
    model.script = answering(tools=refusal, schema=refusal, json='{"facts": ["User likes tea"]}')
    found = await heard(settings, "I like tea.")
    if status in (400, 422):
        assert found == [("added", "User likes tea")]
        assert [way(request) for request in model.memory_requests] == ["tools", "schema", "json"]
        assert "JSON" in model.memory_requests[-1].system
    else:  # an outage, or a wrong address: no other way of asking helps, and nothing is learned from it
        assert found == [("pending", None)]
        assert len(model.memory_requests) == 1


async def test_a_model_that_finds_no_end_is_stopped_and_asked_in_another_way(
    database: DatabaseUrl, model: ModelServer
) -> None:
    settings = settings_for(database, model)
    model.script = answering(tools=Text("la " * 20_000), schema='{"facts": ["User likes tea"]}')
    assert await heard(settings, "I like tea.") == [("added", "User likes tea")]
    assert [way(request) for request in model.memory_requests] == ["tools", "schema"]


async def test_after_three_failures_all_ways_are_tried_again(
    database: DatabaseUrl, model: ModelServer, methods: Path
) -> None:
    settings = settings_for(database, model)
    model.script = answering(schema='{"facts": []}')
    assert await heard(settings, "Hi.") == []
    # Another server behind the same address: this one knows tools, and nothing else.
    model.script = answering(tools=nothing())
    for failures in (1, 2):
        assert await heard(settings, "Hi.") == [("pending", None)]
        assert next(iter(json.loads(methods.read_text()).values()))["failures"] == failures
    assert await heard(settings, "Hi.") == [("pending", None)]
    assert [entry["method"] for entry in json.loads(methods.read_text()).values()] == [""]
    assert await heard(settings, "Hi.") == []
    assert next(iter(json.loads(methods.read_text()).values()))["method"] == "tools"
    ways = [way(request) for request in model.memory_requests]
    assert ways == ["tools", "schema", "schema", "schema", "schema", "tools"]


async def test_an_outage_says_nothing_of_the_way(database: DatabaseUrl, model: ModelServer, methods: Path) -> None:
    settings = settings_for(database, model)
    model.script = answering(schema='{"facts": []}')
    assert await heard(settings, "Hi.") == []
    before = methods.read_text()
    model.script = answering(schema=HttpError(503))
    for _ in range(4):
        assert await heard(settings, "Hi.") == [("pending", None)]
    assert methods.read_text() == before


def test_a_file_that_cannot_be_used_costs_attempts_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "methods.json"
    for content in (
        b"",
        b"[]",
        b"\xff",
        b'{"u m": 7}',
        b'{"u m": {"method": "telepathy", "failures": 0}}',
        b'{"u m": {"method": ["tools"], "failures": 0, "used": {}}}',
        b'{"\\ud800": {"method": "\\ud800", "used": "\\ud800"}}',
        b'{"u m": {"method": "tools", "failures": ' + b"9" * 5000 + b"}}",
        b'{"u m": {"method": "tools", "failures": 0}, "x": "' + b" " * 2**20 + b'"}',
        b"[" * 9999,
        b'{"x": ' + b'{"x":' * 900 + b"1" + b"}" * 901,
    ):
        path.write_bytes(content)
        assert MethodStore(path).get("u", "m") is None
        # It is made good by the next entry.
        MethodStore(path).note_success("http://x/v1", "m", "tools", in_text=False)
        assert MethodStore(path).get("http://x/v1", "m") is not None


def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_file_for_a_folder(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("")


@pytest.mark.parametrize("make", [a_folder, a_pipe, a_device, a_file_for_a_folder])
def test_what_stands_in_the_place_of_the_file_holds_nobody_up(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "folder" / "methods.json"
    path.parent.mkdir()
    make(path)
    store = MethodStore(path)
    store.note_success("http://x/v1", "m", "tools", in_text=False)
    store.note_unmarked_thoughts("http://x/v1", "m")
    assert store.get("http://x/v1", "m") == Known("tools")  # from what replaced it, or from this process' memory
    assert MethodStore(path).has_unmarked_thoughts("http://x/v1", "m")


def test_threads_at_once_write_it(tmp_path: Path) -> None:
    path = tmp_path / "methods.json"

    def note(number: int) -> None:
        for _ in range(50):
            MethodStore(path).note_success(f"http://host{number}/v1", "m", "tools", in_text=bool(_ % 2))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(note, range(8)))
    assert json.loads(path.read_text())


def test_no_password_of_an_address_is_written_down(tmp_path: Path) -> None:
    path = tmp_path / "methods.json"
    store = MethodStore(path)
    store.note_success("https://ada:s3cret@host:8080/v1?key=k3y", "m", "schema", in_text=False)
    assert "s3cret" not in path.read_text()
    assert "k3y" not in path.read_text()
    found = store.get("https://host:8080/v1", "m")
    assert found is not None
    assert found.method == "schema"
    for number in range(150):
        store.note_success(f"http://host{number}/v1", "m", "json", in_text=True)
    assert len(json.loads(path.read_text())) == 100


# --- what the model is asked ------------------------------------------------------------------------------------------


async def test_the_prompt_is_short_stable_and_dated(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    model.queue_memory(calls(("add_memory", {"memory": "User likes tea"})))
    await heard(settings, "I like tea.", "Hi.")
    first, second = model.memory_requests
    assert first.tools == ["add_memory", "nothing_to_remember"]
    assert second.tools == ["add_memory", "update_memory", "delete_memory", "nothing_to_remember"]
    today = datetime.now().astimezone()
    assert f"{today:%A}, {today.day} {today:%B %Y}" in first.system
    assert not re.search(r"\d\d:\d\d", first.system)
    assert "1. User likes tea" in second.system
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}", second.system)
    assert second.system.startswith(first.system.partition("\nCall")[0])
    # About three characters a token: 300 tokens of text, and 200 of tools.
    assert len(first.system) < 1000
    assert len(json.dumps(first.body["tools"])) < 700
    assert len(json.dumps(second.body["tools"])) < 1300


async def test_tomorrow_is_counted_from_the_day_it_was_said(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    model.queue_memory(HttpError(500))
    assert await heard(settings, "Tomorrow I fly to Rome.") == [("pending", None)]
    said_at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    await rows(database, "UPDATE ai.junkie_pending SET created_at = $1", said_at)
    await retry_memories(settings, everything=True)
    assert "Today is Sunday, 1 March 2026." in model.memory_requests[-1].system


async def test_memories_are_changed_by_their_numbers(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    async with talking(settings) as conversation:
        await conversation.remember("User lives in Oslo")
        await conversation.remember("User likes tea")
        (await say(conversation, "Hi.")).ok()
        listed = {
            text: int(number)
            for number, text in re.findall(r"^(\d+)\. (User .*)$", model.memory_requests[-1].system, re.M)
        }
        model.queue_memory(
            calls(
                ("update_memory", {"number": listed["User lives in Oslo"], "memory": "User lives in Rome"}),
                ("delete_memory", {"number": str(listed["User likes tea"])}),
            )
        )
        said = (await say(conversation, "I moved to Rome. Forget tea.")).ok()
    assert said.memories == [("updated", "User lives in Rome"), ("deleted", "User likes tea")]
    assert await memories(database) == [("ada", "User lives in Rome")]


# --- duplicates and secrets -------------------------------------------------------------------------------------------


async def test_duplicates_are_found_among_all_memories(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    await rows(
        database,
        "INSERT INTO ai.user_memories (memory_id, user_id, memory, created_at, updated_at)"
        " SELECT 'm' || n, 'ada', to_jsonb('User has fact number ' || n), n, n FROM generate_series(1, 3000) n"
        " UNION ALL SELECT 'bobs', 'bob', to_jsonb('User likes rum'::text), 1, 1",
    )
    again = calls(
        ("add_memory", {"memory": "user has fact number 1."}),
        ("add_memory", {"memory": "User HAS  fact number 1500"}),
        ("add_memory", {"memory": "User likes rum"}),
        ("add_memory", {"memory": "“User likes rum!”"}),
    )
    model.queue_memory(again)
    assert await heard(settings, "Rum.") == [("added", "User likes rum")]
    assert "fact number 1\n" not in model.memory_requests[-1].system
    assert len(await memories(database)) == 3002


async def test_an_update_into_a_duplicate_leaves_one(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    async with talking(settings) as conversation:
        await conversation.remember("User likes tea")
        coffee = await conversation.remember("User likes coffee")
        await conversation.remember("user likes jazz")
        jazz = next(entry for entry in await conversation.memories() if "jazz" in entry.memory)
        model.queue_memory(
            calls(
                ("update_memory", {"memory_id": coffee.memory_id, "memory": "User likes tea."}),
                ("update_memory", {"memory_id": jazz.memory_id, "memory": "User likes Jazz"}),
            )
        )
        await say(conversation, "Tea, no coffee.")
    assert await memories(database) == [("ada", "User likes Jazz"), ("ada", "User likes tea")]


def moved(request: Request) -> Reply | None:
    """A memory model that replaces the memory of Rome, whatever its number is."""
    number = re.search(r"^(\d+)\. User lives in Rome", request.system, re.MULTILINE)
    return calls(("update_memory", {"number": int(number[1]), "memory": "User lives in Oslo"})) if number else None


async def test_a_late_extraction_brings_back_nothing_that_was_deleted_or_replaced(
    database: DatabaseUrl, model: ModelServer
) -> None:
    settings = settings_for(database, model)
    facts = ["User likes tea", "User likes milk", "User lives in Rome"]
    async with talking(settings) as conversation:
        half = [("add_memory", {"memory": fact}) for fact in facts]
        model.queue_memory(calls(*half, ("add_memory", {"memory": 3})))
        assert (await say(conversation, "I like tea and milk, and live in Rome.")).memories[-1] == ("pending", None)
        ids = {entry.memory: entry.memory_id for entry in await conversation.memories()}
        await conversation.forget(ids[facts[0]])
        model.script = moved
        assert (await say(conversation, "I live in Oslo now.")).memories == [("updated", "User lives in Oslo")]
        model.script = None
        model.queue_memory(calls(*half, ("add_memory", {"memory": "User likes juice"})))
        done = await conversation.retry()
        assert (done.succeeded, done.memories["added"]) == (1, 1)
        # Said again after it was deleted, it is remembered again.
        model.queue_memory(calls(("add_memory", {"memory": facts[0]})))
        assert (await say(conversation, "I like tea after all.")).memories == [("added", facts[0])]
    kept = sorted(text for _, text in await memories(database))
    assert kept == ["User likes juice", "User likes milk", "User likes tea", "User lives in Oslo"]


def by_text(*wanted: tuple[str, str, str]) -> Callable[[Request], Reply | None]:
    """A memory model that calls tools for the memories of these texts, whatever their numbers are."""

    def script(request: Request) -> Reply | None:
        if not request.is_memory:
            return None
        made: list[tuple[str, dict[str, Any]]] = []
        for tool, text, memory in wanted:
            number = re.search(rf"^(\d+)\. {re.escape(text)}$", request.system, re.MULTILINE)
            assert number, request.system
            made.append((tool, {"number": int(number[1]), **({"memory": memory} if memory else {})}))
        return calls(*made)

    return script


async def said_in_an_outage(settings: Settings, model: ModelServer, message: str) -> None:
    async with talking(settings) as conversation:
        model.queue_memory(HttpError(500))
        assert (await say(conversation, message)).memories == [("pending", None)]


async def test_a_late_update_of_a_memory_that_changed_since_stands_next_to_it(
    database: DatabaseUrl, model: ModelServer
) -> None:
    settings = settings_for(database, model)
    async with talking(settings) as conversation:
        await conversation.remember("User lives in Rome")
    await said_in_an_outage(settings, model, "I have a flat in Oslo.")
    async with talking(settings) as conversation:
        model.script = by_text(("update_memory", "User lives in Rome", "User lives in Paris"))
        assert (await say(conversation, "I moved to Paris.")).memories == [("updated", "User lives in Paris")]
    model.script = by_text(("update_memory", "User lives in Paris", "User lives in Oslo"))
    done = await retry_memories(settings, everything=True)
    assert (done.succeeded, done.memories) == (1, {"added": 1, "updated": 0, "deleted": 0})
    assert await memories(database) == [("ada", "User lives in Oslo"), ("ada", "User lives in Paris")]


async def test_a_late_update_that_brings_back_the_words_that_were_replaced_is_dropped(
    database: DatabaseUrl, model: ModelServer
) -> None:
    settings = settings_for(database, model)
    async with talking(settings) as conversation:
        await conversation.remember("User lives in Rome")
    await said_in_an_outage(settings, model, "Rome is where I live.")
    async with talking(settings) as conversation:
        model.script = by_text(("update_memory", "User lives in Rome", "User lives in Paris"))
        await say(conversation, "I moved to Paris.")
    model.script = by_text(("update_memory", "User lives in Paris", "User lives in Rome."))
    done = await retry_memories(settings, everything=True)
    assert (done.succeeded, done.changes) == (1, [])
    assert await memories(database) == [("ada", "User lives in Paris")]


async def test_a_late_deletion_of_a_memory_that_changed_since_is_dropped(
    database: DatabaseUrl, model: ModelServer
) -> None:
    settings = settings_for(database, model)
    async with talking(settings) as conversation:
        await conversation.remember("User lives in Rome")
    await said_in_an_outage(settings, model, "Forget where I live.")
    async with talking(settings) as conversation:
        model.script = by_text(("update_memory", "User lives in Rome", "User lives in Paris"))
        await say(conversation, "I moved to Paris.")
    model.script = by_text(("delete_memory", "User lives in Paris", ""))
    done = await retry_memories(settings, everything=True)
    assert (done.succeeded, done.changes) == (1, [])
    assert await memories(database) == [("ada", "User lives in Paris")]


async def test_what_another_program_changed_since_counts_by_its_time(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    async with talking(settings) as conversation:
        await conversation.remember("User lives in Rome")
        await conversation.remember("User likes tea")
    await said_in_an_outage(settings, model, "I live in Oslo and like milk.")
    await rows(
        database,
        """UPDATE ai.user_memories SET memory = '"User lives in Paris"', updated_at = extract(epoch FROM now())"""
        """ WHERE memory = '"User lives in Rome"'""",
    )
    await rows(database, "UPDATE ai.junkie_pending SET created_at = created_at - interval '1 hour'")
    await rows(database, "UPDATE ai.junkie_history SET at = at - interval '2 hours'")
    await rows(
        database,
        """UPDATE ai.user_memories SET updated_at = updated_at - 7200 WHERE memory = '"User likes tea"'""",
    )
    model.script = by_text(
        ("update_memory", "User lives in Paris", "User lives in Oslo"),
        ("update_memory", "User likes tea", "User likes milk"),
    )
    done = await retry_memories(settings, everything=True)
    assert done.memories == {"added": 1, "updated": 1, "deleted": 0}
    kept = sorted(text for _, text in await memories(database))
    assert kept == ["User likes milk", "User lives in Oslo", "User lives in Paris"]


async def test_the_second_try_of_a_message_may_change_what_its_first_half_made(
    database: DatabaseUrl, model: ModelServer
) -> None:
    settings = settings_for(database, model)
    async with talking(settings) as conversation:
        model.queue_memory(calls(("add_memory", {"memory": "User lives in Oslo"}), ("add_memory", {"memory": 3})))
        await say(conversation, "I live in Oslo, Norway.")
    model.script = by_text(("update_memory", "User lives in Oslo", "User lives in Oslo, Norway"))
    done = await retry_memories(settings, everything=True)
    assert done.memories == {"added": 0, "updated": 1, "deleted": 0}
    assert await memories(database) == [("ada", "User lives in Oslo, Norway")]


async def test_memories_that_a_trigger_takes_away_are_not_done_and_stay_pending(
    database: DatabaseUrl, model: ModelServer
) -> None:
    """They are read back before they are committed, when deferred triggers have run."""
    settings = settings_for(database, model)
    await rows(
        database,
        "CREATE FUNCTION ai.take() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN DELETE FROM ai.user_memories WHERE memory_id = NEW.memory_id; RETURN NULL; END $$",
    )
    await rows(
        database,
        "CREATE CONSTRAINT TRIGGER take AFTER INSERT ON ai.user_memories DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION ai.take()",
    )
    async with talking(settings) as conversation:
        model.queue_memory(calls(("add_memory", {"memory": "User likes tea"})))
        assert (await say(conversation, "I like tea.")).memories == [("pending", None)]
    assert [entry["message"] for entry in await pending(database)] == ["I like tea."]
    await rows(database, "DROP TRIGGER take ON ai.user_memories")
    model.queue_memory(calls(("add_memory", {"memory": "User likes tea"})))
    assert (await retry_memories(settings, everything=True)).succeeded == 1
    assert await memories(database) == [("ada", "User likes tea")]


async def test_an_update_of_a_memory_that_is_gone_meanwhile_is_added(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    async with talking(settings) as conversation, talking(settings) as other:
        kept = await conversation.remember("User lives in Rome")
        slow = calls(("update_memory", {"number": 1, "memory": "User lives in Oslo"}))
        slow.pause_after = 0
        model.queue_memory(slow)
        turn = Turn(conversation, "I moved to Oslo.")
        await slow.paused.wait()
        await other.forget(kept.memory_id)
        slow.go_on.set()
        assert (await turn.said()).ok().memories == [("added", "User lives in Oslo")]
    assert await memories(database) == [("ada", "User lives in Oslo")]


async def test_a_reply_that_only_reorders_changes_nothing(database: DatabaseUrl, model: ModelServer) -> None:
    async with talking(settings_for(database, model)) as conversation:
        for text in ("User likes tea", "User likes milk"):
            await conversation.remember(text)
        before = await rows(database, "SELECT * FROM ai.user_memories ORDER BY memory_id")
        for order in (("tea", "milk"), ("milk", "tea")):
            model.queue_memory(
                calls(*(("update_memory", {"number": n, "memory": f"User likes {t}"}) for n, t in enumerate(order, 1)))
            )
            assert (await say(conversation, "Hi.")).ok().memories == []
        assert await rows(database, "SELECT * FROM ai.user_memories ORDER BY memory_id") == before


async def test_two_extractions_at_once_add_a_fact_once(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    model.script = answering(tools=calls(("add_memory", {"memory": "User likes tea"})))
    async with talking(settings) as one, talking(settings) as other, talking(settings) as third:
        await asyncio.gather(*(say(conversation, "I like tea.") for conversation in (one, other, third)))
    assert await memories(database) == [("ada", "User likes tea")]
    assert await pending(database) == []


async def test_a_secret_is_not_kept_whatever_the_model_does(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    model.queue_memory(
        calls(
            ("add_memory", {"memory": "User's wifi password is hunter2", "topics": ["wifi"]}),
            ("add_memory", {"memory": "User likes tea", "topics": ["drinks", "password: hunter2"]}),
        )
    )
    async with talking(settings) as conversation:
        said = (await say(conversation, "My wifi password is hunter2, and I like tea.")).ok()
    assert said.memories == [("added", "User likes tea")]
    assert any("password" in warning and "hunter2" not in warning for warning in said.warnings)
    [row] = await rows(database, "SELECT input, topics::text AS topics FROM ai.user_memories")
    assert row == {"input": "My wifi password is [removed], and I like tea.", "topics": '["drinks"]'}
    assert await pending(database) == []


# --- learning ---------------------------------------------------------------------------------------------------------


async def test_a_line_is_learned_only_when_its_reply_was_usable(
    database: DatabaseUrl, model: ModelServer, tmp_path: Path
) -> None:
    settings = settings_for(database, model)

    def script(request: Request) -> Reply:
        if request.user == "prose":
            return Text("I have noted that.")
        if request.user == "half":
            return calls(("add_memory", {"memory": "User said half"}), ("add_memory", {"memory": None}))
        return calls(("add_memory", {"memory": f"User said {request.user}"}))

    model.script = script
    path = tmp_path / "talk.jsonl"
    path.write_text(
        "".join(json.dumps({"user_id": "ada", "message": m}) + "\n" for m in ("one", "prose", "half", "two"))
    )
    done = await learn_file(settings, path)
    assert (done.learned, done.pending, done.failed) == (2, 2, 0)
    assert [text for _, text in await memories(database)] == ["User said half", "User said one", "User said two"]
    assert sorted(entry["message"] for entry in await pending(database)) == ["half", "prose"]
    model.script = answering(tools=calls(("add_memory", {"memory": "User said it"})))
    assert (await retry_memories(settings, everything=True)).succeeded == 2
    again = await learn_file(settings, path)
    assert (again.learned, again.skipped) == (0, 4)


@pytest.mark.parametrize("retried", [False, True], ids=["at once", "by retry"])
async def test_what_is_made_of_a_question_is_not_kept_and_reported(
    database: DatabaseUrl, model: ModelServer, retried: bool
) -> None:
    settings = settings_for(database, model)
    likes = calls(("add_memory", {"memory": "User likes tea"}), ("add_memory", {"memory": "User has a dog"}))
    model.queue_memory(likes)
    async with talking(settings) as conversation:
        (await say(conversation, "I like tea.")).ok()
    made = calls(
        ("add_memory", {"memory": "The capital of France is Paris"}),
        ("update_memory", {"number": 1, "memory": "User is curious"}),
        ("delete_memory", {"number": 2}),
    )
    async with talking(settings) as conversation:  # a new session: the question answers nothing
        if retried:
            model.queue_memory(HttpError(500))
            assert (await say(conversation, "What is the capital of France?")).memories == [("pending", None)]
            model.queue_memory(made)
            done = await retry_memories(settings, everything=True)
            assert (done.succeeded, done.left_out["questions"]) == (1, 1)
        else:
            model.queue_memory(made)
            said = (await say(conversation, "What is the capital of France?")).ok()
            assert said.warnings == ["1 memory was made of what is only a question or a greeting: not kept"]
    assert [text for _, text in await memories(database)] == ["User is curious"]
    assert await pending(database) == []


# --- thoughts ---------------------------------------------------------------------------------------------------------


async def test_thoughts_reach_neither_the_answer_nor_the_history(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    forms = [
        "<think>she wants tea</think>Tea?",
        "<Thinking>she wants tea</Thinking>\n\nTea?",
        "[THINK]she wants tea[/THINK]Tea?",
        "<|channel|>analysis<|message|>she wants tea<|end|><|start|>assistant<|channel|>final<|message|>Tea?",
        # Nothing is known of this model yet: its text is shown, and taken back; the second time it is known.
        *["Okay, she wants tea.\n</think>\n\nTea?"] * 2,
    ]
    async with talking(settings) as conversation:
        for number, form in enumerate(forms):
            model.queue(Text(form))
            said = (await say(conversation, "Drink?")).ok()
            assert said.done.answer == "Tea?", form
            if number != 4:
                assert said.answer == "Tea?", form
                assert said.warnings == []
            else:
                assert said.answer.endswith("Tea?")
                assert any("reasoning" in warning for warning in said.warnings)
        model.queue(Text("Fine.</think>Here you are."))
        (await say(conversation, "Thanks.")).ok()
    heard = str(model.main_requests[-1].history)
    assert heard.count("Tea?") == len(forms)
    assert "she wants" not in heard
    stored = await rows(database, "SELECT run_data ->> 'content' AS answer FROM ai.agent_sessions_runs")
    assert [row["answer"] for row in stored].count("Tea?") == len(forms)
    # After a restart it is still known.
    async with talking(settings) as conversation:
        model.queue(Text("Well, well.</think>Tea?"))
        assert (await say(conversation, "Drink?")).ok().answer == "Tea?"


@pytest.mark.parametrize("marked", [True, False], ids=["reasons", "does not"])
async def test_held_text_is_given_out_when_it_is_known_to_be_no_reasoning(
    database: DatabaseUrl, model: ModelServer, marked: bool
) -> None:
    settings = settings_for(database, model)
    text = "Okay, she wants tea.\n</think>\n\nTea or milk?" if marked else "Tea or milk?"
    async with talking(settings) as conversation:
        for _ in range(2):
            model.queue(Text(text))
            events = [event async for event in conversation.send("Drink?", hold=True)]
            provisional = "".join(event.text for event in events if isinstance(event, Provisional))
            assert provisional in {"", text.partition("</think>")[0], "Tea or milk?"}
            said = Said(events).ok()
            assert (said.answer, said.done.answer, said.warnings) == ("Tea or milk?", "Tea or milk?", [])
        # What is known of the model is given out as it comes.
        slow = Text("Okay.</think>Tea or milk?" if marked else "Tea or milk?", pause_after=2)
        model.queue(slow)
        async with contextlib.aclosing(conversation.send("Drink?", hold=True)) as coming:
            if not marked:
                first = [await anext(coming), await anext(coming)]
                assert Delta("Tea ") in first
            slow.go_on.set()
            assert "".join([e.text async for e in coming if isinstance(e, Delta)]).endswith("milk?")


async def test_a_model_that_stops_thinking_aloud_is_read_along_again(database: DatabaseUrl, model: ModelServer) -> None:
    """Another model may answer behind the same name: nothing that was learned of one stays for ever."""
    settings = settings_for(database, model)
    store, server = MethodStore(), (model.url, "scripted-model")
    known = []
    async with talking(settings) as conversation:
        for text in ("Hm.</think>Tea?", "Hm.</think>Tea?", "Tea?", "Tea?", "Hm.</think>Tea?", "Tea?"):
            model.queue(Text(text))
            said = Said([event async for event in conversation.send("Drink?", hold=True)]).ok()
            assert said.done.answer == "Tea?"
            known.append((store.has_known_answers(*server), store.has_unmarked_thoughts(*server)))
    marked, plain, unknown = (True, True), (True, False), (False, False)
    assert known == [marked, marked, unknown, plain, marked, unknown]


async def test_held_text_is_given_out_when_the_answer_breaks_off(database: DatabaseUrl, model: ModelServer) -> None:
    async with talking(settings_for(database, model)) as conversation:
        model.queue(CutStream("one two three four", after=2))
        said = Said([event async for event in conversation.send("Count.", hold=True)])
    assert said.answer == said.done.answer == "one two "
    assert said.failures == ["provider_cut"]


# --- tools of the model that talks ------------------------------------------------------------------------------------


async def test_without_tools_the_chat_model_is_given_none(database: DatabaseUrl, model: ModelServer) -> None:
    for switch in ("off", "on"):
        async with talking(settings_for(database, model, JUNKIE_TOOLS=switch)) as conversation:
            (await say(conversation, "What is 6 * 7?")).ok()
    off, on = model.main_requests
    assert "tools" not in off.body
    assert "tool" not in off.system.lower()
    assert "calculate" in on.tools


async def test_a_call_that_the_chat_model_writes_into_its_answer_is_reported(
    database: DatabaseUrl, model: ModelServer, methods: Path
) -> None:
    settings = settings_for(database, model)
    store, server = MethodStore(), (model.url, "scripted-model")
    async with talking(settings) as conversation:
        for text in (
            "The function `calculate` takes an expression.",
            'In code that is {"name": "calculate"}, as the manual shows. ' + "It goes on. " * 50,
        ):
            model.queue(Text(text))
            assert (await say(conversation, "How?")).ok().warnings == []
        assert not store.has_calls_in_answers(*server)
        model.queue(Text('```json\n{"name": "calculate", "arguments": {"expression": "6 * 7"}}\n```'))
        [warning] = (await say(conversation, "What is 6 * 7?")).ok().warnings
        assert "JUNKIE_TOOLS=off" in warning
    assert store.has_calls_in_answers(*server)
    async with talking(settings_for(database, model, JUNKIE_TOOLS="off")) as conversation:
        model.queue(Text('{"name": "calculate", "arguments": {"expression": "6 * 7"}}'))
        for _ in range(GOOD_ANSWERS + 1):  # without tools to call, answers show nothing
            assert (await say(conversation, "What is 6 * 7?")).ok().warnings == []
    assert store.has_calls_in_answers(*server)
    async with talking(settings) as conversation:
        for number in range(GOOD_ANSWERS):
            assert store.has_calls_in_answers(*server), number
            (await say(conversation, "How?")).ok()
    assert not store.has_calls_in_answers(*server)
    assert "calls_in_answers" not in methods.read_text()
