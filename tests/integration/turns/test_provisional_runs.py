"""A turn is stored before its answer exists: a kill, a refusal, an expired lease or a slow model loses nothing."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from agno.db.base import SessionType
from agno.db.postgres import AsyncPostgresDb
from agno.session import TeamSession
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from junkie_cli.conversation.actions import Actions
from junkie_cli.core import sessions
from junkie_cli.core.chat import Conversation, Delta
from junkie_cli.core.chat.pending_retry import retry_memories
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.turns.postgres_store import PostgresTurnStore
from junkie_cli.core.turns.spool import spool_folder
from junkie_cli.core.users.erase import erase_user
from junkie_cli.terminal.style import Look
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
from tests.support.model_server import ModelServer, Text
from tests.support.proxy import Proxy

pytestmark = pytest.mark.usefixtures("echoing_model", "state")


def spooled() -> list[Path]:
    return sorted(spool_folder().rglob("*.json"))


async def come_due(database: DatabaseUrl) -> None:
    """What happens when time passes: leases end, and who gives no sign of life is taken for dead."""
    await rows(database, "UPDATE ai.junkie_pending SET next_try = next_try - interval '1 hour'")
    await rows(database, "UPDATE ai.agent_sessions_runs SET updated_at = updated_at - 3600")


@dataclass
class Answering:
    """A turn that stands in the middle of its answer; `go_on` lets it come to its end."""

    turn: Turn
    reply: Text

    def go_on(self) -> None:
        self.reply.go_on.set()


async def answering(conversation: Conversation, model: ModelServer, message: str) -> Answering:
    reply = Text("one two three", pause_after=2)
    model.queue(reply)
    turn = Turn(conversation, message)
    await turn.until(Delta)
    return Answering(turn, reply)


async def stored(database: DatabaseUrl) -> list[tuple[str, str, str]]:
    return [(run["said"], run["status"], run["answer"]) for run in await runs(database)]


# --- killed -----------------------------------------------------------------------------------------------------------

SCRIPT = """
import asyncio, sys
from pathlib import Path
from junkie_cli.core.chat import Conversation
from junkie_cli.core.settings import load_settings

async def main():
    settings = load_settings(cwd=Path("/nonexistent"))
    async with await Conversation.open(settings, "ada", session_id="talk", memory=sys.argv[2] == "memory") as talk:
        async for event in talk.send(sys.argv[1]):
            print(type(event).__name__, flush=True)

asyncio.run(main())
"""


class Process:
    """A process that says one thing and stands in the middle of the answer."""

    def __init__(self, database: DatabaseUrl, model: ModelServer, message: str, memory: str = "memory") -> None:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "XDG_STATE_HOME": os.environ["XDG_STATE_HOME"],
            "POSTGRES_URL": database.libpq(),
            **model.environment(),
        }
        model.queue(Text("one two three", pause_after=2))
        self._process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, message, memory], env=env, stdout=subprocess.PIPE, text=True
        )

    async def speaks(self) -> None:
        assert self._process.stdout is not None
        assert await asyncio.to_thread(self._process.stdout.readline) == "Waiting\n"
        assert await asyncio.to_thread(self._process.stdout.readline) == "Delta\n"

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate(timeout=30)


async def test_killed_in_mid_answer_the_message_is_there_unanswered_and_its_memory_pending(
    database: DatabaseUrl, model: ModelServer
) -> None:
    settings = settings_for(database, model)
    process = Process(database, model, "I like tea.")
    await process.speaks()
    await stored_unanswered(database, "I like tea.")
    process.kill()
    assert await stored(database) == [("I like tea.", "RUNNING", "")]
    assert [(entry["message"], entry["attempts"]) for entry in await pending(database)] == [("I like tea.", 0)]
    [shown] = (await sessions.get_runs(settings, "talk")).runs
    assert [(message.role, message.content) for message in shown.messages] == [("user", "I like tea.")]

    # Who goes on at once is heard, and sees it.
    async with talking(settings, continue_latest=True) as conversation:
        assert conversation.session_id == "talk"
        assert "(not answered yet)" in "\n".join(await Actions(conversation, Look(), 80).run("history", ""))
        (await say(conversation, "Well?")).ok()
        assert model.main_requests[-1].history == [
            ("user", "I like tea."),
            ("assistant", "(there is no answer to this yet)"),
        ]
    # A process that is still alive keeps its pending extraction for itself; a dead one's lease ends.
    assert (await retry_memories(settings)).tried == 0
    await come_due(database)
    done = await retry_memories(settings)
    assert (done.tried, done.succeeded, done.remaining) == (1, 1, 0)
    assert await memories(database) == [("ada", "User said: I like tea."), ("ada", "User said: Well?")]
    [run, _] = await runs(database)
    assert (run["said"], run["status"], run["run_index"]) == ("I like tea.", "CANCELLED", 0)
    document = json.loads(run["data"])
    assert document["status"] == "CANCELLED"
    assert "metadata" not in document


async def test_without_memory_the_message_alone_is_kept(database: DatabaseUrl, model: ModelServer) -> None:
    process = Process(database, model, "I like tea.", "nothing")
    await process.speaks()
    await stored_unanswered(database, "I like tea.")
    process.kill()
    assert await pending(database) == []
    await come_due(database)
    async with talking(settings_for(database, model), session_id="talk", memory=False) as conversation:
        conversation.retry_behind()
        await conversation.retried()
        assert [exchange.status for exchange in await conversation.history()] == ["CANCELLED"]


async def test_several_processes_of_one_user_killed_in_one_session(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    async with talking(settings, session_id="talk") as conversation:
        (await say(conversation, "I like tea.")).ok()
    facts = [f"fact {number}" for number in range(3)]
    processes = [Process(database, model, fact) for fact in facts]
    for process in processes:
        await process.speaks()
    await stored_unanswered(database, *facts)
    for process in processes:
        process.kill()
    async with talking(settings, session_id="talk") as conversation:
        (await say(conversation, "And now?")).ok()
    assert [run["run_index"] for run in await runs(database)] == [0, 1, 2, 3, 4]
    await come_due(database)
    done = await retry_memories(settings)
    assert (done.succeeded, done.remaining) == (3, 0)
    said = ["And now?", "I like tea.", *facts]
    assert await memories(database) == [("ada", f"User said: {fact}") for fact in said]
    assert sorted(run["status"] for run in await runs(database)) == ["CANCELLED"] * 3 + ["COMPLETED"] * 2
    assert len(await rows(database, "SELECT 1 FROM ai.agent_sessions")) == 1


async def test_killed_when_the_database_had_not_taken_it_the_spool_has_it(
    database: DatabaseUrl, model: ModelServer
) -> None:
    await read_only(database, "on")
    process = Process(database, model, "I like tea.")
    await process.speaks()
    while not spooled():
        await asyncio.sleep(0.01)
    process.kill()
    await read_only(database, "off")
    assert await stored(database) == []
    done = await retry_memories(settings_for(database, model))
    assert (done.succeeded, done.remaining, spooled()) == (1, 0, [])
    assert await stored(database) == [("I like tea.", "RUNNING", "")]
    assert await memories(database) == [("ada", "User said: I like tea.")]


async def read_only(database: DatabaseUrl, value: str) -> None:
    """What every connection from now on finds."""
    owner = DatabaseUrl.parse(f"{database.libpq()}&options=-cdefault_transaction_read_only%3Doff")
    await rows(owner, f"ALTER DATABASE {database.database} SET default_transaction_read_only = {value}")


# --- slow, failing, cut -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def session_held(database: DatabaseUrl, session_id: str) -> AsyncIterator[None]:
    """Hold what every writer of a turn in this session waits for, as a bot in the middle of a write does."""
    connection = await asyncpg.connect(**database.asyncpg_arguments())
    try:
        await connection.execute("SELECT pg_advisory_lock(hashtext('agno_run_index'), hashtext($1))", session_id)
        yield
    finally:
        await connection.close()


async def test_the_first_token_does_not_wait_for_it(database: DatabaseUrl, model: ModelServer) -> None:
    async with talking(settings_for(database, model), session_id="talk") as conversation:
        async with session_held(database, "talk"):
            under_way = await answering(conversation, model, "I like tea.")  # which waits for the first token
            assert await stored(database) == []
        under_way.go_on()
        (await under_way.turn.said()).ok()
    assert await stored(database) == [("I like tea.", "COMPLETED", "one two three")]


async def test_one_that_hangs_is_not_waited_for_at_the_end(
    database: DatabaseUrl, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = asyncio.Event()

    async def hang(*_: Any, **__: Any) -> bool:
        try:
            return await asyncio.Event().wait()
        finally:
            left.set()

    monkeypatch.setattr(PostgresTurnStore, "open", hang)
    monkeypatch.setattr("junkie_cli.core.chat.heartbeat.PATIENCE", 0.01)
    async with talking(settings_for(database, model)) as conversation:
        said = (await say(conversation, "I like tea.")).ok()
        assert said.memories == [("added", "User said: I like tea.")]
        assert left.is_set()
    assert await stored(database) == [("I like tea.", "COMPLETED", "All right.")]
    assert await pending(database) == []


async def test_one_that_fails_is_no_failure_of_the_turn_and_leaves_nothing_behind(
    database: DatabaseUrl, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any, **__: Any) -> bool:
        raise DatabaseError("the disk is full", code="database_full")

    monkeypatch.setattr(PostgresTurnStore, "open", refuse)
    async with talking(settings_for(database, model)) as conversation:
        under_way = await answering(conversation, model, "I like tea.")
        assert len(spooled()) == 1  # should this process be killed now
        under_way.go_on()
        said = (await under_way.turn.said()).ok()
        assert said.warnings == []
        assert spooled() == []
    assert await stored(database) == [("I like tea.", "COMPLETED", "one two three")]


STATEMENTS = [b"pg_advisory_xact_lock_shared", b"junkie_tombstones", b"agno_run_index", b"WITH kept AS"]


@pytest.mark.parametrize("passed", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("statement", STATEMENTS, ids=["user", "erased", "session", "write"])
async def test_a_connection_cut_at_any_statement_is_made_up_for(
    database: DatabaseUrl, model: ModelServer, statement: bytes, passed: bool
) -> None:
    with Proxy(database) as proxy:
        async with talking(settings_for(proxy.url(database), model), session_id="talk") as conversation:
            proxy.cut_when(statement, passed=passed)
            under_way = await answering(conversation, model, "I like tea.")
            await stored_unanswered(database, "I like tea.")
            assert proxy.cuts == 1
            under_way.go_on()
            (await under_way.turn.said()).ok()
    await whole(database)


@pytest.mark.parametrize("passed", [False, True], ids=["before", "after"])
async def test_a_connection_cut_at_the_commit_duplicates_nothing(
    database: DatabaseUrl, model: ModelServer, passed: bool
) -> None:
    with Proxy(database) as proxy:
        async with talking(settings_for(proxy.url(database), model), session_id="talk") as conversation:
            async with session_held(database, "talk"):  # what is read for the turn is committed, too
                under_way = await answering(conversation, model, "I like tea.")
                proxy.cut_when(b"COMMIT", passed=passed)
            await asyncio.to_thread(proxy.wait, lambda proxy: proxy.cuts == 1)
            await stored_unanswered(database, "I like tea.")
            under_way.go_on()
            (await under_way.turn.said()).ok()
    await whole(database)


async def test_one_that_is_held_up_is_given_up_and_does_no_harm_when_it_arrives_late(
    database: DatabaseUrl, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("junkie_cli.core.chat.heartbeat.PATIENCE", 0.01)
    with Proxy(database) as proxy:
        async with talking(settings_for(proxy.url(database), model), session_id="talk") as conversation:
            proxy.stall_when(b"WITH kept AS")
            under_way = await answering(conversation, model, "I like tea.")
            await asyncio.to_thread(proxy.wait, lambda proxy: proxy.stalls == 1)
            connections = proxy.connections
            under_way.go_on()
            await asyncio.to_thread(proxy.wait, lambda proxy: proxy.connections > connections)
            proxy.resume()
            (await under_way.turn.said()).ok()
    await whole(database)


async def whole(database: DatabaseUrl) -> None:
    """One turn, shown in full and remembered once."""
    [run] = await runs(database)
    assert (run["said"], run["status"], run["run_index"]) == ("I like tea.", "COMPLETED", 0)
    assert "metadata" not in json.loads(run["data"])
    [session] = await rows(
        database, "SELECT session_data::text AS data, team_data ->> 'name' AS team FROM ai.agent_sessions"
    )
    metrics = json.loads(session["data"])["session_metrics"]
    assert metrics["total_tokens"] == json.loads(run["data"])["metrics"]["total_tokens"]
    assert session["team"] == "Hero Team"
    assert await memories(database) == [("ada", "User said: I like tea.")]
    assert await pending(database) == []


# --- what happens in between ------------------------------------------------------------------------------------------


async def test_stored_means_stored_as_it_ended(
    database: DatabaseUrl, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with talking(settings_for(database, model), session_id="talk") as conversation:
        under_way = await answering(conversation, model, "I like tea.")
        await stored_unanswered(database, "I like tea.")
        kept: list[bool] = []
        is_stored = PostgresTurnStore.is_stored

        async def first_look(store: PostgresTurnStore, turn: Any) -> bool:
            """What a lost write of the end would leave."""
            if kept:  # it is stored again when the chat ends
                return await is_stored(store, turn)
            await rows(database, "UPDATE ai.agent_sessions_runs SET status = 'RUNNING'")
            kept.append(await is_stored(store, turn))
            return kept[0]

        monkeypatch.setattr(PostgresTurnStore, "is_stored", first_look)
        under_way.go_on()
        said = await under_way.turn.said()
    assert kept == [False]
    assert said.done.error is not None
    assert any("not stored" in warning for warning in said.warnings)


async def test_a_session_begun_and_deleted_during_its_first_turn_does_not_come_back(
    database: DatabaseUrl, model: ModelServer
) -> None:
    settings = settings_for(database, model)
    async with talking(settings, session_id="talk") as conversation:
        under_way = await answering(conversation, model, "I like tea.")
        await stored_unanswered(database, "I like tea.")
        assert (await sessions.delete_session(settings, "talk")).remaining == 0
        under_way.go_on()
        error = (await under_way.turn.said()).done.error
        assert error is not None
        assert error.code == "session_deleted"
    await nothing(database)


async def test_a_session_that_is_being_deleted_as_the_turn_is_written_down_does_not_come_back(
    database: DatabaseUrl, model: ModelServer
) -> None:
    async with talking(settings_for(database, model), session_id="talk") as conversation:
        (await say(conversation, "One.")).ok()
        connection = await asyncpg.connect(**database.asyncpg_arguments())
        async with connection.transaction():
            await connection.execute("DELETE FROM ai.agent_sessions")
            under_way = await answering(conversation, model, "Two.")
            await waits_for_a_lock(database)
        await connection.close()
        under_way.go_on()
        error = (await under_way.turn.said()).done.error
        assert error is not None
        assert error.code == "session_deleted"
    assert await rows(database, "SELECT 1 FROM ai.agent_sessions") == []
    assert await runs(database) == []


async def waits_for_a_lock(database: DatabaseUrl) -> None:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(30):
        while not await rows(database, waiting):
            await asyncio.sleep(0.01)


async def test_a_person_erased_during_an_answer_does_not_come_back(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    async with talking(settings, session_id="talk") as conversation:
        under_way = await answering(conversation, model, "I like tea.")
        await stored_unanswered(database, "I like tea.")
        erased = await erase_user(settings, "ada")
        assert erased.erased == {"agent_sessions": 1, "agent_sessions_runs": 1, "junkie_pending": 1}
        under_way.go_on()
        error = (await under_way.turn.said()).done.error
        assert error is not None
        assert error.code == "erased"
    await nothing(database)


async def test_of_a_turn_in_a_session_that_passed_to_somebody_else_nothing_stays_there(
    database: DatabaseUrl, model: ModelServer
) -> None:
    async with talking(settings_for(database, model), session_id="talk") as conversation:
        under_way = await answering(conversation, model, "I like tea.")
        await stored_unanswered(database, "I like tea.")
        await rows(database, "UPDATE ai.agent_sessions SET user_id = 'bob'")
        under_way.go_on()
        error = (await under_way.turn.said()).done.error
        assert error is not None
        assert error.code == "session_not_yours"
    assert await rows(database, "SELECT user_id FROM ai.agent_sessions") == [{"user_id": "bob"}]
    await rows(database, "DELETE FROM ai.agent_sessions")
    await nothing(database)


async def nothing(database: DatabaseUrl) -> None:
    assert await rows(database, "SELECT 1 FROM ai.agent_sessions") == []
    assert await runs(database) == []
    assert await pending(database) == []
    assert await memories(database) == []
    assert spooled() == []


async def test_remembered_by_somebody_who_insists_it_is_not_remembered_again(
    database: DatabaseUrl, model: ModelServer
) -> None:
    settings = settings_for(database, model)
    async with talking(settings, session_id="talk") as conversation:
        under_way = await answering(conversation, model, "I like tea.")
        await stored_unanswered(database, "I like tea.")
        assert (await retry_memories(settings)).tried == 0
        assert (await retry_memories(settings, everything=True)).succeeded == 1
        under_way.go_on()
        assert (await under_way.turn.said()).ok().memories == []
    await whole(database)


async def test_taken_for_dead_it_comes_to_its_end_all_the_same(database: DatabaseUrl, model: ModelServer) -> None:
    """A machine that slept in the middle of an answer."""
    settings = settings_for(database, model)
    async with talking(settings, session_id="talk") as conversation:
        under_way = await answering(conversation, model, "I like tea.")
        await stored_unanswered(database, "I like tea.")
        await come_due(database)
        assert (await retry_memories(settings)).succeeded == 1
        assert await stored(database) == [("I like tea.", "CANCELLED", "")]
        under_way.go_on()
        (await under_way.turn.said()).ok()
    await whole(database)


async def test_one_that_is_alive_says_so_and_is_left_alone(
    database: DatabaseUrl, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(database, model)
    monkeypatch.setattr("junkie_cli.core.chat.heartbeat.SIGNS", 10_000)  # one every hundredth of a second
    async with talking(settings, session_id="talk") as conversation:
        under_way = await answering(conversation, model, "I like tea.")
        await stored_unanswered(database, "I like tea.")
        await come_due(database)
        late = (
            "SELECT 1 FROM ai.agent_sessions_runs r, ai.junkie_pending p"
            " WHERE r.updated_at < extract(epoch FROM now()) - 60 OR p.next_try < now() + interval '1 minute'"
        )
        async with asyncio.timeout(30):
            while await rows(database, late):
                await asyncio.sleep(0.01)
        assert (await retry_memories(settings)).tried == 0
        assert await stored(database) == [("I like tea.", "RUNNING", "")]
        under_way.go_on()
        (await under_way.turn.said()).ok()
    await whole(database)


async def test_what_a_bot_has_running_is_not_touched(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    async with talking(settings, session_id="talk") as conversation:
        (await say(conversation, "Hello.")).ok()
        await rows(database, "UPDATE ai.agent_sessions_runs SET status = 'RUNNING', updated_at = 1")
        await retry_memories(settings, everything=True)
        conversation.retry_behind()
        await conversation.retried()
        assert [exchange.status for exchange in await conversation.history()] == ["RUNNING"]


async def test_a_second_window_hears_what_is_being_answered_in_the_first(
    database: DatabaseUrl, model: ModelServer
) -> None:
    settings = settings_for(database, model)
    async with talking(settings, session_id="talk") as first, talking(settings, session_id="talk") as second:
        model.queue(Text("Do you like tea?"))
        (await say(second, "Ask me something.")).ok()
        under_way = await answering(first, model, "Count.")
        await stored_unanswered(database, "Count.")
        (await say(second, "Yes, exactly.")).ok()
        heard = model.main_requests[-1].history
        assert heard[-2:] == [("user", "Count."), ("assistant", "(there is no answer to this yet)")]
        # What the person answers are the words before it, which they have seen.
        asked = [request for request in model.memory_requests if request.user == "Yes, exactly."]
        assert "Do you like tea?" in asked[0].system
        under_way.go_on()
        (await under_way.turn.said()).ok()
    assert [(run["run_index"], run["said"]) for run in await runs(database)] == [
        (0, "Ask me something."),
        (1, "Count."),
        (2, "Yes, exactly."),
    ]


async def test_agno_reads_it(database: DatabaseUrl, model: ModelServer) -> None:
    async with talking(settings_for(database, model), session_id="talk") as conversation:
        under_way = await answering(conversation, model, "I like tea.")
        await stored_unanswered(database, "I like tea.")
        engine = create_async_engine(database.sqlalchemy(), poolclass=NullPool)
        agno = AsyncPostgresDb(
            db_engine=engine, db_schema="ai", session_table="agent_sessions", memory_table="user_memories"
        )
        session = await agno.get_session("talk", session_type=SessionType.TEAM, user_id="ada")
        await agno.close()
        assert isinstance(session, TeamSession)
        assert [(message.role, message.content) for message in session.get_messages()] == [("user", "I like tea.")]
        under_way.go_on()
        (await under_way.turn.said()).ok()


async def test_without_rights_on_our_tables_the_message_is_kept(database: DatabaseUrl, model: ModelServer) -> None:
    role = f"{database.database}_ahead"
    await rows(database, f"CREATE ROLE {role}")
    await rows(database, f"GRANT USAGE ON SCHEMA ai TO {role}")
    for table in ("agent_sessions", "agent_sessions_runs", "user_memories"):
        await rows(database, f"GRANT SELECT, INSERT, UPDATE, DELETE ON ai.{table} TO {role}")
    url = DatabaseUrl.parse(f"{database.libpq()}&options=-crole%3D{role}")
    async with talking(settings_for(url, model)) as conversation:
        under_way = await answering(conversation, model, "I like tea.")
        await stored_unanswered(database, "I like tea.")
        under_way.go_on()
        said = (await under_way.turn.said()).ok()
        assert said.memories == [("added", "User said: I like tea.")]
    assert await stored(database) == [("I like tea.", "COMPLETED", "one two three")]
