"""The core as a library: in whatever event loop, in several at once, left early, closed, and asked again."""

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import pytest
import uvloop

from junkie_cli.core.chat import AnswerComplete, Conversation, Delta, Done
from junkie_cli.core.chat.conversation import LONGEST_MESSAGE
from junkie_cli.core.database import connect
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import UsageError
from junkie_cli.core.memories.listing import MemoryFilter, list_memories
from junkie_cli.core.settings import Settings, load_settings
from tests.support.conversations import Turn, memories, pending, rows, runs, say, settings_for, talking
from tests.support.model_server import Hang, HttpError, ModelServer, Text
from tests.support.postgres import scratch_server
from tests.support.tls import SERVER_SETTINGS, Authority, server_files

pytestmark = pytest.mark.usefixtures("smart_model")

Work = Callable[[], Coroutine[Any, Any, Any]]


# --- event loops ------------------------------------------------------------------------------------------------------


def in_asyncio(work: Work) -> Any:
    return asyncio.run(work())


def in_uvloop(work: Work) -> Any:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work())


def in_anyio(work: Work) -> Any:
    return anyio.run(work)


def in_anyio_on_uvloop(work: Work) -> Any:
    return anyio.run(work, backend_options={"use_uvloop": True})


RUNNERS = [in_asyncio, in_uvloop, in_anyio, in_anyio_on_uvloop]


@pytest.mark.parametrize("run", RUNNERS)
def test_it_remembers_in_every_event_loop(database: DatabaseUrl, model: ModelServer, run: Any) -> None:
    settings = settings_for(database, model)

    async def work() -> tuple[str, list[Any]]:
        async with talking(settings) as conversation:
            (await say(conversation, "My name is Ada.")).ok()
        async with talking(settings) as conversation:
            said = (await say(conversation, "What is my name?")).ok()
            async with anyio.create_task_group() as group:  # many connections, in other tasks
                for _ in range(4):
                    group.start_soon(conversation.memories)
        page = await list_memories(settings, MemoryFilter(user_id="ada"))
        return said.answer, [memory.memory for memory in page.memories]

    answer, listed = run(work)
    assert "Ada" in answer
    assert listed == ["User's name is Ada"]


@pytest.mark.parametrize("run", RUNNERS)
def test_a_turn_is_stopped_in_every_event_loop(database: DatabaseUrl, model: ModelServer, run: Any) -> None:
    model.queue(Text("one two three", pause_after=2))

    async def work() -> None:
        async with talking(settings_for(database, model), memory=False) as conversation:
            with anyio.CancelScope() as scope:
                async for event in conversation.send("Count."):
                    if isinstance(event, Delta):
                        scope.cancel()
            assert scope.cancelled_caught
            (await say(conversation, "Again.")).ok()

    run(work)
    assert [entry["status"] for entry in asyncio.run(runs(database))] == ["CANCELLED", "COMPLETED"]


@pytest.mark.parametrize("run", [in_asyncio, in_uvloop])
def test_over_tls_in_every_event_loop(tmp_path: Path, run: Any) -> None:
    authority = Authority()
    trusted = tmp_path / "authority.pem"
    trusted.write_bytes(authority.pem)
    files = server_files(authority.issue("localhost", "localhost", "127.0.0.1"), authority)
    hba = ("local all junkie peer map=junkie", "hostssl all all 127.0.0.1/32 trust")
    listens = {"listen_addresses": "127.0.0.1", **SERVER_SETTINGS}
    with scratch_server(settings=listens, hba=hba, files=files) as server:
        url = f"postgresql://junkie@localhost:{server.port}/postgres?sslmode=verify-full&sslrootcert={trusted}"
        settings = load_settings(environ={"HOME": str(tmp_path), "POSTGRES_URL": url}, cwd=tmp_path)

        async def work() -> Any:
            async with connect(settings) as connection:
                return await connection.fetchval("SELECT sum(n) FROM generate_series(1, 200000) n")

        assert run(work) == 20000100000


def test_threads_with_loops_of_their_own(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    failures: list[BaseException] = []

    async def work(user: str) -> None:
        async with talking(settings, user) as conversation:
            for _ in range(3):
                (await say(conversation, f"My name is {user}.")).ok()

    def thread(number: int) -> None:
        try:
            RUNNERS[number % 2](lambda: work(f"User{number}"))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=thread, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failures == []
    assert sorted(asyncio.run(memories(database))) == [(f"User{n}", f"User's name is User{n}") for n in range(4)]


def test_another_event_loop_is_refused_in_words(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    with asyncio.Runner() as runner:
        conversation: Conversation = runner.run(Conversation.open(settings, "ada"))

        async def elsewhere() -> None:
            for work in (conversation.memories, conversation.status, conversation.retry, conversation.close):
                with pytest.raises(UsageError, match="another event loop"):
                    await work()
            with pytest.raises(UsageError, match="another event loop"):
                await say(conversation, "Hi.")

        thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
        thread.start()
        thread.join()
        runner.run(say(conversation, "Hi.")).ok()
        runner.run(conversation.close())
    assert len(model.main_requests) == 1


async def test_stopped_from_another_thread(database: DatabaseUrl, model: ModelServer) -> None:
    slow = Text("one two three", pause_after=2)
    model.queue(slow)
    async with talking(settings_for(database, model), memory=False) as conversation:
        turn = Turn(conversation, "Count.")
        await turn.until(Delta)
        assert await asyncio.to_thread(conversation.stop)
        assert not (await turn.said()).done.complete


def test_an_exception_handler_of_the_host_is_left_alone(database: DatabaseUrl, model: ModelServer) -> None:
    def handler(loop: Any, context: Any) -> None: ...

    async def work() -> None:
        asyncio.get_running_loop().set_exception_handler(handler)
        async with talking(settings_for(database, model)):
            pass
        assert asyncio.get_running_loop().get_exception_handler() is handler

    asyncio.run(work())


# --- leaving, closing, asking again -----------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [False, True], ids=["dropped", "held"])
@pytest.mark.parametrize("at", [Delta, AnswerComplete, Done])
async def test_after_leaving_the_loop_the_next_message_is_answered(
    database: DatabaseUrl, model: ModelServer, at: type, held: bool
) -> None:
    model.queue(Text("one two three four", pause_after=2 if at is Delta else None))
    model.script = lambda request: Hang() if request.is_memory and request.user == "Count." and at is not Done else None
    kept: list[Any] = []
    async with talking(settings_for(database, model)) as conversation:
        events = conversation.send("Count.")
        if held:
            kept.append(events)
        async for event in events:
            if isinstance(event, at):
                break
        del events
        (await say(conversation, "Well?")).ok()
    stored = await runs(database)
    assert [run["status"] for run in stored] == ["CANCELLED" if at is Delta else "COMPLETED", "COMPLETED"]
    assert [message for message in model.main_requests[-1].history if message[0] == "user"] == [("user", "Count.")]
    if at is not Done:
        assert [entry["message"] for entry in await pending(database)] == ["Count."]


async def test_an_exception_in_the_loop_stops_the_turn(database: DatabaseUrl, model: ModelServer) -> None:
    model.queue(Text("one two three four", pause_after=2))

    async def reads(conversation: Conversation) -> None:
        async for event in conversation.send("Count."):
            if isinstance(event, Delta):
                raise ValueError

    async with talking(settings_for(database, model), memory=False) as conversation:
        with pytest.raises(ValueError):
            await reads(conversation)
        gc.collect()
        (await say(conversation, "Well?")).ok()


async def test_a_message_of_no_bounds_is_refused(database: DatabaseUrl, model: ModelServer) -> None:
    async with talking(settings_for(database, model)) as conversation:
        for message, words in (("x" * (LONGEST_MESSAGE + 1), "too long"), (" \n", "empty")):
            with pytest.raises(UsageError, match=words):
                await say(conversation, message)
        assert model.requests == []
        (await say(conversation, "Hi.")).ok()


async def test_two_turns_at_once_are_refused_and_the_first_goes_on(database: DatabaseUrl, model: ModelServer) -> None:
    slow = Text("one two three four", pause_after=2)
    model.queue(slow)
    async with talking(settings_for(database, model), memory=False) as conversation:
        turn = Turn(conversation, "Count.")
        await turn.until(Delta)
        with pytest.raises(UsageError, match="another turn is running"):
            await say(conversation, "And?")
        slow.go_on.set()
        assert (await turn.said()).ok().answer == "one two three four"


async def test_a_closed_conversation_does_nothing_more(database: DatabaseUrl, model: ModelServer) -> None:
    async with talking(settings_for(database, model)) as conversation:
        (await say(conversation, "My name is Ada.")).ok()
        memory = (await conversation.memories())[0]
    asked = len(model.requests)
    calls_: list[Any] = [
        lambda: say(conversation, "Hi."),
        conversation.memories,
        conversation.history,
        conversation.sessions,
        conversation.status,
        conversation.retry,
        lambda: conversation.remember("x"),
        lambda: conversation.forget(memory.memory_id),
        lambda: conversation.resume(conversation.session_id),
    ]
    for call in calls_:
        with pytest.raises(UsageError, match="closed"):
            await call()
    await conversation.close()
    assert len(model.requests) == asked
    assert len(await runs(database)) == 1


async def test_leaving_and_closing_at_once_stores(database: DatabaseUrl, model: ModelServer) -> None:
    model.queue(Text("one two three four", pause_after=2))
    async with talking(settings_for(database, model), memory=False) as conversation:
        async for event in conversation.send("Count."):
            if isinstance(event, Delta):
                break
    assert [run["status"] for run in await runs(database)] == ["CANCELLED"]


# --- pending extractions and the next message -------------------------------------------------------------------------


async def leave_pending(settings: Settings, model: ModelServer, database: DatabaseUrl) -> None:
    model.queue_memory(HttpError(500))
    async with talking(settings) as conversation:
        await say(conversation, "My name is Ada.")
    await rows(database, "UPDATE ai.junkie_pending SET next_try = now() - interval '1 s'")


async def test_a_message_stops_the_retry_of_earlier_ones(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    await leave_pending(settings, model, database)
    hanging = Hang()
    model.queue_memory(hanging)
    async with talking(settings) as conversation:
        conversation.retry_behind()
        await hanging.paused.wait()
        answered = Text("Hello.")
        model.queue(answered)
        (await say(conversation, "Hi.")).ok()
        await model.memory_requests[1].gone.wait()
        assert [entry["attempts"] for entry in await pending(database)] == [1]  # given back, and not as a failure
        conversation.retry_behind()
        await conversation.retried()
    assert await pending(database) == []
    assert await memories(database) == [("ada", "User's name is Ada")]


async def test_a_retry_that_is_asked_for_during_a_turn_begins_after_it(
    database: DatabaseUrl, model: ModelServer
) -> None:
    settings = settings_for(database, model)
    await leave_pending(settings, model, database)
    slow = Text("one two", pause_after=1)
    model.queue(slow)
    asked = len(model.memory_requests)
    async with talking(settings) as conversation:
        turn = Turn(conversation, "Count.")
        await turn.until(Delta)
        conversation.retry_behind()
        await asyncio.sleep(0.1)
        assert len(model.memory_requests) == asked
        slow.go_on.set()
        (await turn.said()).ok()
        await conversation.retried()
    assert [request.user for request in model.memory_requests[asked:]][:2] == ["Count.", "My name is Ada."]
    assert await pending(database) == []
