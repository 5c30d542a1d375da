"""A turn under faults: stopped at any moment, refused by the provider, cut off from the database."""

import asyncio
import contextlib
import json
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from junkie_cli.core import embedded
from junkie_cli.core.agent.models import Patience, build_models
from junkie_cli.core.chat import AnswerComplete, Delta, Done
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import DatabaseError, ProviderError
from tests.support.conversations import (
    Turn,
    memories,
    pending,
    rows,
    runs,
    say,
    settings_for,
    stored_unanswered,
    talking,
)
from tests.support.embedded import folder
from tests.support.model_server import (
    CutStream,
    Empty,
    Garbage,
    Hang,
    HangUp,
    HttpError,
    Length,
    ModelServer,
    Reply,
    StreamError,
    Text,
    calls,
)
from tests.support.proxy import Proxy

__all__ = ["folder"]


def likes_tea() -> Reply:
    return calls(("add_memory", {"memory": "User likes tea"}))


# --- stopped ----------------------------------------------------------------------------------------------------------


async def test_cancelled_in_mid_answer_what_was_said_is_kept_and_heard(
    database: DatabaseUrl, model: ModelServer
) -> None:
    slow = Text("one two three four", pause_after=2)
    model.queue(slow)
    async with talking(settings_for(database, model), session_id="talk") as conversation:
        turn = Turn(conversation, "Count.")
        await slow.paused.wait()
        await turn.until(Delta)
        await turn.cancelled()
        await model.requests[0].gone.wait()  # the provider stops writing, and billing
        [run] = await runs(database)
        assert (run["status"], run["said"]) == ("CANCELLED", "Count.")
        assert run["answer"].startswith("one")
        assert "three" not in run["answer"]
        assert [entry["message"] for entry in await pending(database)] == ["Count."]
        (await say(conversation, "Go on.")).ok()
        heard = model.main_requests[-1].history
        assert heard[0] == ("user", "Count.")
        assert heard[1][1].startswith("one")
        assert "broke off" in heard[1][1]
        assert [run["run_index"] for run in await runs(database)] == [0, 1]
        assert [exchange.status for exchange in await conversation.history()] == ["CANCELLED", "COMPLETED"]


async def test_stopped_the_events_go_on_to_the_end(database: DatabaseUrl, model: ModelServer) -> None:
    slow = Text("one two three four", pause_after=2)
    model.queue(slow)
    async with talking(settings_for(database, model)) as conversation:
        assert not conversation.stop()
        turn = Turn(conversation, "Count.")
        await turn.until(Delta)
        assert conversation.stop()
        said = await turn.said()
    assert not said.done.complete
    assert said.done.error is None
    assert said.done.answer == said.answer
    assert said.memories == [("pending", None)]
    assert [run["status"] for run in await runs(database)] == ["CANCELLED"]


async def test_a_loop_that_is_left_early_stores_too(database: DatabaseUrl, model: ModelServer) -> None:
    model.queue(Text("one two three four", pause_after=2))
    async with talking(settings_for(database, model)) as conversation:
        async with contextlib.aclosing(conversation.send("Count.")) as events:
            async for _ in events:
                break
        assert [run["status"] for run in await runs(database)] == ["CANCELLED"]


async def test_cancelled_before_the_first_byte(database: DatabaseUrl, model: ModelServer) -> None:
    silent = Hang()
    model.queue(silent)
    async with talking(settings_for(database, model)) as conversation:
        turn = Turn(conversation, "I like tea.")
        await silent.paused.wait()
        await turn.cancelled()
        [run] = await runs(database)
        assert (run["status"], run["said"], run["answer"]) == ("CANCELLED", "I like tea.", "")
        (await say(conversation, "Well?")).ok()
        assert model.main_requests[-1].history[0] == ("user", "I like tea.")


async def test_cancelled_during_the_extraction_the_turn_is_stored_and_the_rest_pending(
    database: DatabaseUrl, model: ModelServer
) -> None:
    slow = likes_tea()
    slow.pause_after = 0
    model.queue_memory(slow)
    async with talking(settings_for(database, model)) as conversation:
        turn = Turn(conversation, "I like tea.")
        await turn.until(AnswerComplete)
        await slow.paused.wait()
        await turn.cancelled()
        assert [run["status"] for run in await runs(database)] == ["COMPLETED"]
        assert len(await pending(database)) == 1
        assert await memories(database) == []
        (await say(conversation, "And now?")).ok()
        assert model.main_requests[-1].history == [("user", "I like tea."), ("assistant", "All right.")]


async def test_closing_in_the_middle_of_a_turn_stores_it(database: DatabaseUrl, model: ModelServer) -> None:
    model.queue(Text("one two three four", pause_after=2))
    async with talking(settings_for(database, model)) as conversation:
        turn = Turn(conversation, "Count.")
        await turn.until(Delta)
        await conversation.close()
        said = await turn.said()
    assert not said.done.complete
    assert [run["status"] for run in await runs(database)] == ["CANCELLED"]


# --- the provider -----------------------------------------------------------------------------------------------------

FAILURES = [
    (HttpError(500), "provider_unavailable", ""),
    (HttpError(401), "provider_key", ""),
    (HttpError(404, "model not found"), "provider_model", ""),
    (HttpError(413, "too large"), "provider_too_large", ""),
    (HttpError(429, headers={"Retry-After": "120"}), "provider_rate_limited", ""),
    (HangUp(), "provider_cut", ""),
    (Garbage(), "provider_garbage", ""),
    (Empty(), "provider_empty", ""),
    (CutStream(), "provider_cut", "one two three "),
    (CutStream(reset=True), "provider_cut", "one two three "),
    (StreamError(), "provider_unavailable", "one two "),
]


@pytest.mark.parametrize(("reply", "code", "kept"), FAILURES, ids=lambda value: getattr(value, "code", None) and "")
async def test_a_failing_provider_is_reported_and_nothing_is_lost(
    database: DatabaseUrl, model: ModelServer, reply: Reply, code: str, kept: str
) -> None:
    model.queue(reply)
    async with talking(settings_for(database, model)) as conversation:
        said = await say(conversation, "I like tea.")
        assert isinstance(said.done.error, ProviderError)
        assert said.done.error.code == code
        assert said.failures == [code]
        assert not said.done.complete
        assert said.done.answer == kept
        assert AnswerComplete() not in said.events
        [run] = await runs(database)
        assert (run["status"], run["said"], run["answer"]) == ("ERROR", "I like tea.", kept)
        searched = bool(model.memory_requests)
        assert searched == (said.memories == [])
        assert len(await pending(database)) == (0 if searched else 1)
        (await say(conversation, "Again?")).ok()
        heard = model.main_requests[-1].history
        assert heard[0] == ("user", "I like tea.")
        assert heard[1][1].startswith(kept.strip())


@pytest.mark.parametrize(("pieces", "kept"), [(0, ""), (2, "one two ")], ids=["silent", "in the middle"])
async def test_a_provider_that_falls_silent_ends_the_turn_and_nothing_is_lost(
    database: DatabaseUrl, model: ModelServer, monkeypatch: pytest.MonkeyPatch, pieces: int, kept: str
) -> None:
    impatient = partial(build_models, patience=Patience(connect=5, read=0.3, total=0.1, retries=0))
    monkeypatch.setattr("junkie_cli.core.agent.engine.build_models", impatient)
    model.queue(Text("one two three", pause_after=pieces))
    model.queue_memory(likes_tea())
    async with talking(settings_for(database, model)) as conversation:
        said = await say(conversation, "I like tea.")
    assert said.failures == ["provider_timeout"]
    assert said.done.answer == kept
    assert [(run["status"], run["said"], run["answer"]) for run in await runs(database)] == [
        ("ERROR", "I like tea.", kept)
    ]
    assert len(await pending(database)) + len(await memories(database)) == 1


async def test_a_provider_that_asks_to_wait_is_minded(database: DatabaseUrl, model: ModelServer) -> None:
    model.queue_memory(HttpError(429, headers={"Retry-After": "3600"}))
    async with talking(settings_for(database, model)) as conversation:
        said = (await say(conversation, "I like tea.")).ok()
    assert said.memories == [("pending", None)]
    assert any("pending" in warning for warning in said.warnings)
    [entry] = await rows(
        database,
        "SELECT attempts, last_error, next_try > now() + interval '50 minutes' AS waits FROM ai.junkie_pending",
    )
    assert entry["attempts"] == 1
    assert entry["waits"]
    assert "429" in entry["last_error"]


async def test_an_answer_cut_at_the_limit_is_not_called_complete(database: DatabaseUrl, model: ModelServer) -> None:
    model.queue(Length("half an ans"))
    async with talking(settings_for(database, model)) as conversation:
        said = await say(conversation, "Tell me all.")
        assert not said.done.complete
        assert said.done.error is not None
        assert (said.done.error.code, said.done.error.exit_code) == ("provider_length", 6)
        assert [(run["status"], run["answer"]) for run in await runs(database)] == [("COMPLETED", "half an ans")]
        model.queue(Text("wer"))
        await say(conversation, "And the rest?")
    assert ("assistant", "half an ans") in model.main_requests[-1].history


@pytest.mark.parametrize(
    "reply",
    [HttpError(500), HttpError(400, "tool_use_failed", code="tool_use_failed"), HangUp(), Garbage(), Length("half")],
    ids=["500", "tool_use_failed", "hang-up", "garbage", "length"],
)
async def test_an_extraction_that_fails_stays_pending(database: DatabaseUrl, model: ModelServer, reply: Reply) -> None:
    model.script = lambda request: reply if request.is_memory else None
    async with talking(settings_for(database, model)) as conversation:
        said = (await say(conversation, "I like tea.")).ok()
    assert said.memories == [("pending", None)]
    [entry] = await pending(database)
    assert (entry["message"], entry["attempts"]) == ("I like tea.", 1)
    assert await memories(database) == []


async def test_of_tool_calls_that_cannot_be_carried_out_the_good_ones_are(
    database: DatabaseUrl, model: ModelServer
) -> None:
    model.queue_memory(
        calls(
            ("add_memory", '{"memory": "User li'),
            ("no_such_tool", {}),
            ("add_memory", {"memory": "z" * 5000}),
            ("add_memory", {"memory": "User likes tea"}),
        )
    )
    async with talking(settings_for(database, model)) as conversation:
        said = (await say(conversation, "I like tea.")).ok()
    assert said.memories == [("added", "User likes tea"), ("pending", None)]
    assert await memories(database) == [("ada", "User likes tea")]
    [entry] = await pending(database)
    assert "no_such_tool" in entry["last_error"]


async def test_an_endless_memory_model_is_bounded(database: DatabaseUrl, model: ModelServer) -> None:
    counter = iter(range(10_000))
    sizes = iter([70, 7, 7, 7])
    model.script = lambda request: (
        calls(*(("add_memory", {"memory": f"fact {next(counter)}"}) for _ in range(next(sizes))))
        if request.is_memory
        else None
    )
    async with talking(settings_for(database, model)) as conversation:
        said = [(await say(conversation, "I like tea.")).ok() for _ in range(4)]
    assert len(model.memory_requests) == 4, "one call each: nothing asks for another round"
    assert len(await memories(database)) == 20 + 3 * 7
    assert [any("too many changes" in warning for warning in one.warnings) for one in said] == [True, *[False] * 3]
    assert await pending(database) == []


async def test_an_endless_tool_user_is_bounded(database: DatabaseUrl, model: ModelServer) -> None:
    model.script = lambda request: (
        None if request.is_memory or len(request.messages) > 40 else calls(("calculate", {"expression": "1 + 1"}))
    )
    async with talking(settings_for(database, model), memory=False) as conversation:
        said = await say(conversation, "Add.")
    assert len(model.main_requests) < 30
    assert isinstance(said.done, Done)


async def test_memories_of_others_are_out_of_reach_of_tool_calls(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    async with talking(settings, "bob") as other:
        foreign = (await other.remember("Bob likes rum")).memory_id
    model.queue_memory(
        calls(
            ("update_memory", {"memory_id": foreign, "memory": "Bob is a liar"}),
            ("delete_memory", {"memory_id": foreign}),
            ("clear_memory", {}),
            ("add_memory", {"memory": "User likes tea", "user_id": "bob"}),
            ("add_memory", {"memory": "User likes tea"}),
        )
    )
    async with talking(settings) as conversation:
        said = (await say(conversation, f"Forget memory {foreign}.")).ok()
    assert await memories(database) == [("ada", "User likes tea"), ("bob", "Bob likes rum")]
    assert any("not this user's (2 times)" in warning for warning in said.warnings)
    assert [entry["user_id"] for entry in await pending(database)] == ["ada"]  # what was refused is not done


# --- the database -----------------------------------------------------------------------------------------------------

STATEMENTS = [
    b"WITH renewed AS",
    b'UPDATE "ai"."agent_sessions"',
    b'INSERT INTO "ai"."agent_sessions_runs"',
    b"COMMIT",
    b"SELECT 1 FROM",
]


@pytest.mark.parametrize("passed", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("statement", STATEMENTS, ids=["pending", "session", "run", "commit", "verify"])
async def test_a_connection_cut_at_any_statement_costs_nothing_and_duplicates_nothing(
    database: DatabaseUrl, model: ModelServer, statement: bytes, passed: bool
) -> None:
    answer = Text("All right.", pause_after=1)
    model.queue(answer)
    model.queue_memory(likes_tea())
    with Proxy(database) as proxy:
        async with talking(settings_for(proxy.url(database), model), session_id="talk") as conversation:
            turn = Turn(conversation, "I like tea.")
            await answer.paused.wait()
            await stored_unanswered(database, "I like tea.")
            proxy.cut_when(statement, passed=passed)
            answer.go_on.set()
            (await turn.said()).ok()
            assert proxy.cuts == 1
    [run] = await runs(database)
    assert (run["status"], run["run_index"]) == ("COMPLETED", 0)
    [session] = await rows(database, "SELECT session_data::text AS data FROM ai.agent_sessions")
    counted, of_session = json.loads(run["data"])["metrics"], json.loads(session["data"])["session_metrics"]
    assert of_session["total_tokens"] == counted["total_tokens"]  # stored twice, but counted once
    assert await memories(database) == [("ada", "User likes tea")]
    assert await pending(database) == []


@pytest.mark.parametrize("statement", [b"BEGIN", b"clock_timestamp", b"COMMIT"], ids=["begin", "read", "commit"])
async def test_a_connection_cut_while_a_turn_is_read_is_not_noticed(
    database: DatabaseUrl, model: ModelServer, statement: bytes
) -> None:
    with Proxy(database) as proxy:
        async with talking(settings_for(proxy.url(database), model)) as conversation:
            proxy.cut_when(statement)
            (await say(conversation, "Hello.")).ok()
            assert proxy.cuts == 1
    assert len(await runs(database)) == 1


@pytest.mark.parametrize("passed", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("statement", [b'DELETE FROM "ai"."junkie_pending"', b'INSERT INTO "ai"."user_memories"'])
async def test_cut_while_memories_are_written_they_are_pending_or_there_never_both(
    database: DatabaseUrl, model: ModelServer, statement: bytes, passed: bool
) -> None:
    model.queue_memory(likes_tea())
    with Proxy(database) as proxy:
        async with talking(settings_for(proxy.url(database), model)) as conversation:
            proxy.cut_when(statement, passed=passed)
            said = (await say(conversation, "I like tea.")).ok()
    assert said.memories == [("pending", None)]
    assert len(await pending(database)) == 1
    assert await memories(database) == []


async def test_the_database_away_in_mid_answer_and_back_in_time(database: DatabaseUrl, model: ModelServer) -> None:
    slow = Text("one two three", pause_after=2)
    model.queue(slow)
    with Proxy(database) as proxy:
        async with talking(settings_for(proxy.url(database), model)) as conversation:
            turn = Turn(conversation, "Count.")
            await slow.paused.wait()
            proxy.refuse()
            slow.go_on.set()
            await slow.sent.wait()
            await turn.until(Delta)
            proxy.accept()
            (await turn.said()).ok()
    assert [run["status"] for run in await runs(database)] == ["COMPLETED"]


async def test_the_database_away_to_the_end_of_a_turn_is_reported_and_made_up_for(
    database: DatabaseUrl, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("junkie_cli.core.turns.spooling_store.STORE_PAUSES", (0.01,))
    slow = Text("one two three", pause_after=2)
    model.queue(slow)
    with Proxy(database) as proxy:
        async with talking(settings_for(proxy.url(database), model), session_id="talk") as conversation:
            turn = Turn(conversation, "Count.")
            await slow.paused.wait()
            proxy.refuse()
            slow.go_on.set()
            said = await turn.said()
            assert said.done.complete  # the answer was whole, and yet
            assert isinstance(said.done.error, DatabaseError)
            assert AnswerComplete() not in said.events
            assert any("not stored yet" in warning for warning in said.warnings)
            assert model.memory_requests == []
            before = len(model.main_requests)
            assert isinstance((await say(conversation, "Hello?")).done.error, DatabaseError)
            assert len(model.main_requests) == before
            proxy.accept()
            said = (await say(conversation, "Hello again.")).ok()
            assert any("stored now" in warning for warning in said.warnings)
            assert ("user", "Count.") in model.main_requests[-1].history
    assert [(run["run_index"], run["said"]) for run in await runs(database)] == [(0, "Count."), (1, "Hello again.")]
    assert [entry["message"] for entry in await pending(database)] == ["Count."]


async def test_stopped_while_the_database_is_waited_for_nothing_is_called_done(
    database: DatabaseUrl, model: ModelServer
) -> None:
    slow = Text("one two three", pause_after=2)
    model.queue(slow)
    with Proxy(database) as proxy:
        async with talking(settings_for(proxy.url(database), model)) as conversation:
            turn = Turn(conversation, "Count.")
            await slow.paused.wait()
            proxy.stall()
            slow.go_on.set()
            await slow.sent.wait()
            while conversation.stop():  # the first may still meet the end of the answer, a later one the database
                await asyncio.sleep(0)
            said = await turn.said()
            assert said.done.error is not None
            assert any("not stored" in warning for warning in said.warnings)
            proxy.resume()
    assert [run["said"] for run in await runs(database)] == ["Count."]


async def test_the_database_restarted_between_turns_is_not_noticed(database: DatabaseUrl, model: ModelServer) -> None:
    with Proxy(database) as proxy:
        async with talking(settings_for(proxy.url(database), model)) as conversation:
            (await say(conversation, "One.")).ok()
            proxy.cut()
            (await say(conversation, "Two.")).ok()
            for word in ("Three.", "Four.", "Five.", "Six."):  # what of the end has arrived by then is chance
                await rows(
                    database,
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()",
                )
                (await say(conversation, word)).ok()
    assert [run["said"] for run in await runs(database)] == ["One.", "Two.", "Three.", "Four.", "Five.", "Six."]


async def test_a_database_that_takes_no_writes_is_reported_after_each_answer(
    database: DatabaseUrl, model: ModelServer
) -> None:
    await rows(database, f"ALTER DATABASE {database.database} SET default_transaction_read_only = on")
    async with talking(settings_for(database, model)) as conversation:
        with pytest.raises(DatabaseError):
            await conversation.remember("User likes tea")
        said = await say(conversation, "I like tea.")
        assert said.answer == "All right."
        assert said.done.error is not None
        assert said.done.error.code == "database_readonly"
        assert AnswerComplete() not in said.events
        await rows_writable(database, f"ALTER DATABASE {database.database} RESET default_transaction_read_only")
    assert [run["said"] for run in await runs(database)] == ["I like tea."]


async def rows_writable(database: DatabaseUrl, sql: str) -> None:
    await rows(DatabaseUrl.parse(f"{database.libpq()}&options=-cdefault_transaction_read_only%3Doff"), sql)


async def test_a_session_deleted_during_a_turn_does_not_come_back(database: DatabaseUrl, model: ModelServer) -> None:
    async with talking(settings_for(database, model), session_id="talk") as conversation:
        (await say(conversation, "One.")).ok()
        slow = Text("one two three", pause_after=2)
        model.queue(slow)
        turn = Turn(conversation, "Two.")
        await slow.paused.wait()
        await rows(database, "DELETE FROM ai.agent_sessions")
        slow.go_on.set()
        said = await turn.said()
        assert said.done.error is not None
        assert said.done.error.code == "session_deleted"
        assert await runs(database) == []
        conversation.new()
        (await say(conversation, "Three.")).ok()
    assert [run["said"] for run in await runs(database)] == ["Three."]


ERASED = (
    "INSERT INTO ai.junkie_tombstones SELECT encode(sha256(convert_to(value || 'ada', 'UTF8')), 'hex'),"
    " clock_timestamp() FROM ai.junkie_versions WHERE name = 'salt'"
)


async def test_a_person_erased_during_a_turn_does_not_come_back(database: DatabaseUrl, model: ModelServer) -> None:
    async with talking(settings_for(database, model)) as conversation:
        slow = Text("one two three", pause_after=2)
        model.queue(slow)
        turn = Turn(conversation, "I like tea.")
        await slow.paused.wait()
        await rows(database, ERASED)
        slow.go_on.set()
        said = await turn.said()
        assert said.done.error is not None
        assert said.done.error.code == "erased"
        assert await runs(database) == []
        assert await pending(database) == []
        # Who comes back is remembered again.
        model.queue_memory(likes_tea())
        assert (await say(conversation, "I like tea.")).ok().memories == [("added", "User likes tea")]
        await conversation.remember("User owns a cat")
    assert [run["said"] for run in await runs(database)] == ["I like tea."]


async def test_a_person_erased_during_an_extraction_is_not_remembered(
    database: DatabaseUrl, model: ModelServer
) -> None:
    slow = likes_tea()
    slow.pause_after = 0
    model.queue_memory(slow)
    async with talking(settings_for(database, model)) as conversation:
        turn = Turn(conversation, "I like tea.")
        await slow.paused.wait()
        await rows(database, ERASED)
        slow.go_on.set()
        said = await turn.said()
        assert said.memories == []
        assert any("left no memories" in warning for warning in said.warnings)
    assert await memories(database) == []


async def test_an_erasure_at_the_moment_of_an_extractions_commit_blocks_it_and_is_not_blocked(
    database: DatabaseUrl, model: ModelServer
) -> None:
    slow = likes_tea()
    slow.pause_after = 0
    model.queue_memory(slow)
    erasing = await asyncpg.connect(**database.asyncpg_arguments())
    async with talking(settings_for(database, model)) as conversation:
        turn = Turn(conversation, "I like tea.")
        await slow.paused.wait()
        await erasing.execute("BEGIN")
        await erasing.execute("SELECT pg_advisory_xact_lock(hashtextextended('junkie user ai ada', 7317))")
        slow.go_on.set()
        async with asyncio.timeout(30):
            while not await rows(database, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
                await asyncio.sleep(0.01)
        assert await erasing.execute("DELETE FROM ai.junkie_pending") == "DELETE 1"
        await erasing.execute("ROLLBACK")
        await erasing.close()
        assert (await turn.said()).ok().memories == [("added", "User likes tea")]
    assert await pending(database) == []


async def test_without_rights_on_our_tables_a_lost_extraction_is_reported(
    database: DatabaseUrl, model: ModelServer
) -> None:
    await rows(database, f"CREATE ROLE {database.database}_limited")
    role = f"{database.database}_limited"
    await rows(database, f"GRANT USAGE ON SCHEMA ai TO {role}")
    tables = "ai.agent_sessions, ai.agent_sessions_runs, ai.user_memories"
    await rows(database, f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {role}")
    url = DatabaseUrl.parse(f"{database.libpq()}&options=-crole%3D{role}")
    model.queue_memory(HttpError(500))
    async with talking(settings_for(url, model)) as conversation:
        assert any("may not use junkie's own tables" in note for note in conversation.notes)
        said = (await say(conversation, "I like tea.")).ok()
        assert any("not searched for memories" in warning for warning in said.warnings)
        model.queue_memory(likes_tea())
        said = (await say(conversation, "I like tea.")).ok()
        assert said.memories == [("added", "User likes tea")]
    assert await memories(database) == [("ada", "User likes tea")]


async def test_two_turns_of_two_conversations_are_cancelled_apart(database: DatabaseUrl, model: ModelServer) -> None:
    slow = Text("one two three four", pause_after=2)
    model.script = lambda request: slow if request.user == "Count." else None
    settings = settings_for(database, model)
    async with talking(settings) as first, talking(settings, "bob") as second:
        turn = Turn(first, "Count.")
        await slow.paused.wait()
        other = asyncio.create_task(say(second, "Hi."))
        await turn.cancelled()
        (await other).ok()
    assert sorted((run["user_id"], run["status"]) for run in await runs(database)) == [
        ("ada", "CANCELLED"),
        ("bob", "COMPLETED"),
    ]


# --- the embedded server ----------------------------------------------------------------------------------------------


async def test_the_embedded_server_stopped_between_turns_and_in_mid_answer_is_started_again(
    folder: Path, model: ModelServer
) -> None:
    settings = settings_for(None, model, JUNKIE_DATA_DIR=str(folder))
    async with talking(settings, session_id="talk") as conversation:
        (await say(conversation, "One.")).ok()
        await embedded.stop(folder)
        (await say(conversation, "Two.")).ok()
        slow = Text("one two three", pause_after=2)
        model.queue(slow)
        turn = Turn(conversation, "Three.")
        await slow.paused.wait()
        await embedded.stop(folder)
        slow.go_on.set()
        (await turn.said()).ok()
        assert [exchange.message for exchange in await conversation.history()] == ["One.", "Two.", "Three."]
        assert (await conversation.status()).database == f"embedded PostgreSQL in {folder}"
