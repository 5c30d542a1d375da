"""Two servers: a turn outlives the first one's end, and what only reads can be asked of the second one."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from junkie_cli.core.chat import Conversation
from junkie_cli.core.chat.pending_retry import retry_memories
from junkie_cli.core.database_url import DatabaseUrl, Host
from junkie_cli.core.embedded.cluster import USER
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.turns.spool import spool_folder
from tests.support.conversations import Turn, memories, runs, say, settings_for, stored_unanswered, talking
from tests.support.junkie import Junkie
from tests.support.model_server import ModelServer, Text
from tests.support.postgres import scratch_server
from tests.support.standby import PRIMARY_HBA, PRIMARY_SETTINGS, Standby

pytestmark = pytest.mark.usefixtures("state", "echoing_model")


@pytest.fixture
def primary(model: ModelServer) -> Iterator[ScratchServer]:
    """A server with agno's tables and ours."""

    async def make_tables(url: DatabaseUrl) -> None:
        async with talking(settings_for(url, model)):
            pass

    with scratch_server(settings=PRIMARY_SETTINGS, hba=PRIMARY_HBA) as server:
        asyncio.run(make_tables(by_tcp(server)))
        yield server


def by_tcp(server: ScratchServer) -> DatabaseUrl:
    return DatabaseUrl((Host("127.0.0.1", server.port),), USER, None, "postgres")


def either(primary: ScratchServer, standby: Standby) -> DatabaseUrl:
    """Both servers, of which the one that takes writes is wanted."""
    url = by_tcp(primary)
    return DatabaseUrl.parse(
        replace(url, hosts=(*url.hosts, *standby.url.hosts)).libpq() + "?target_session_attrs=read-write"
    )


async def in_mid_answer(conversation: Conversation, model: ModelServer) -> tuple[Turn, Text]:
    """A turn whose answer pauses after two words, until `go_on` of the reply is set."""
    slow = Text("one two three", pause_after=2)
    model.queue(slow)
    turn = Turn(conversation, "I like tea.")
    await slow.paused.wait()
    return turn, slow


async def test_a_turn_outlives_the_primary_and_the_talk_goes_on(primary: ScratchServer, model: ModelServer) -> None:
    with Standby(primary) as standby:
        async with talking(settings_for(either(primary, standby), model), session_id="talk") as conversation:
            (await say(conversation, "The first.")).ok()
            turn, slow = await in_mid_answer(conversation, model)
            await asyncio.to_thread(standby.catch_up)
            await asyncio.to_thread(primary.stop)
            slow.go_on.set()
            while not list(spool_folder().rglob("*.json")):  # it has found no server, and waits for one
                await asyncio.sleep(0.01)
            await asyncio.to_thread(standby.promote)
            (await turn.said()).ok()
            (await say(conversation, "The last.")).ok()
            assert ("user", "I like tea.") in model.main_requests[-1].history
        stored = [(run["run_index"], run["said"]) for run in await runs(standby.url)]
        assert stored == [(0, "The first."), (1, "I like tea."), (2, "The last.")]
        said = [memory for _, memory in await memories(standby.url)]
        assert said == ["User said: I like tea.", "User said: The first.", "User said: The last."]
        assert list(spool_folder().rglob("*.json")) == []


async def test_a_promotion_that_takes_too_long_costs_nothing_either(
    primary: ScratchServer, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("junkie_cli.core.turns.spooling_store.STORE_PAUSES", (0.01,))
    with Standby(primary) as standby:
        settings = settings_for(either(primary, standby), model)
        async with talking(settings, session_id="talk") as conversation:
            turn, slow = await in_mid_answer(conversation, model)
            await asyncio.to_thread(standby.catch_up)
            await asyncio.to_thread(primary.stop)
            slow.go_on.set()
            said = await turn.said()
            assert any("it is kept in" in warning for warning in said.warnings)
        await asyncio.to_thread(standby.promote)
        # The promoted standby is the same database: what was kept for the primary goes there.
        done = await retry_memories(settings)
        assert (done.succeeded, done.remaining) == (1, 0)
        assert [run["said"] for run in await runs(standby.url)] == ["I like tea."]


async def test_what_had_not_reached_the_standby_is_not_taken_for_deleted(
    primary: ScratchServer, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("junkie_cli.core.turns.spooling_store.STORE_PAUSES", (0.01,))
    with Standby(primary) as standby:
        await asyncio.to_thread(standby.lag)
        settings = settings_for(either(primary, standby), model)
        async with talking(settings, session_id="talk") as conversation:
            turn, slow = await in_mid_answer(conversation, model)
            await stored_unanswered(by_tcp(primary), "I like tea.")  # there, and there alone
            await asyncio.to_thread(primary.stop)
            slow.go_on.set()
            assert any("it is kept in" in warning for warning in (await turn.said()).warnings)
        await asyncio.to_thread(standby.promote)
        done = await retry_memories(settings)
        assert (done.succeeded, done.remaining) == (1, 0)
        assert [run["said"] for run in await runs(standby.url)] == ["I like tea."]


async def test_a_turn_goes_on_where_its_beginning_had_not_arrived(primary: ScratchServer, model: ModelServer) -> None:
    with Standby(primary) as standby:
        await asyncio.to_thread(standby.lag)
        async with talking(settings_for(either(primary, standby), model), session_id="talk") as conversation:
            (await say(conversation, "The first.")).ok()
            turn, slow = await in_mid_answer(conversation, model)
            await stored_unanswered(by_tcp(primary), "I like tea.")
            await asyncio.to_thread(primary.stop)
            slow.go_on.set()
            while not list(spool_folder().rglob("*.json")):
                await asyncio.sleep(0.01)
            await asyncio.to_thread(standby.promote)
            (await turn.said()).ok()
        assert [run["said"] for run in await runs(standby.url)] == ["I like tea."]  # the first is lost with its server


def test_what_only_reads_is_asked_of_the_replica(primary: ScratchServer, model: ModelServer, junkie: Junkie) -> None:
    env = {"POSTGRES_URL": by_tcp(primary).libpq(), **model.environment()}
    junkie.run("chat", "-u", "ada", "I like tea.", env=env).ok()
    with Standby(primary) as standby:
        standby.catch_up()
        env["POSTGRES_READ_URL"] = standby.url.libpq()
        env["POSTGRES_URL"] = "postgresql://nobody@127.0.0.1:9/gone"
        stats = junkie.run("stats", "--json", env=env).ok().json()
        assert (stats["memories"], stats["users"], stats["runs"]) == (1, 1, 1)
        listed = junkie.run("memories", "list", "--json", env=env).ok().json()["memories"]
        assert [entry["memory"] for entry in listed] == ["User said: I like tea."]
        exported = junkie.run("memories", "export", env=env).ok().stdout
        assert json.loads(exported)["memory_id"] == listed[0]["memory_id"]
        found = junkie.run("memories", "search", "tea", "--json", env=env).ok().json()
        assert len(found["memories"]) == 1
        assert len(junkie.run("users", "list", "--json", env=env).ok().json()["users"]) == 1
        assert len(junkie.run("sessions", "list", "--json", env=env).ok().json()["sessions"]) == 1
        # What is about to be changed is looked for where it is changed.
        assert junkie.run("memories", "clear", "-u", "ada", "--yes", env=env).exit_code == 4
