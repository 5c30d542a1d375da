"""Extractions that failed are made up for: once, in time, by whoever comes first, and not for ever."""

import asyncio
import itertools

import pytest

from junkie_cli.conversation.actions import Actions
from junkie_cli.core.chat import AnswerComplete, Conversation, MemoryEvent
from junkie_cli.core.chat.pending_retry import MOST_IN_CHAT, Retried, retry_memories
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.schema.runs import LEASE
from junkie_cli.core.settings import Settings
from junkie_cli.core.turns.pending_rows import MAX_ATTEMPTS
from junkie_cli.core.users.erase import erase_user
from junkie_cli.terminal.style import Look
from tests.support.conversations import Turn, echo, memories, pending, rows, say, settings_for, talking
from tests.support.junkie import Junkie
from tests.support.model_server import Hang, HttpError, ModelServer, Reply, Text, calls
from tests.support.postgres import scratch_server
from tests.support.proxy import Proxy
from tests.support.schemas import validate


def remembered(text: str) -> Reply:
    return calls(("add_memory", {"memory": text}))


async def leave_pending(settings: Settings, model: ModelServer, *messages: str, user: str = "ada") -> None:
    """Say these while the memory model fails."""
    async with talking(settings, user) as conversation:
        for message in messages:
            model.queue_memory(HttpError(500))
            assert (await say(conversation, message)).memories == [("pending", None)]


async def come_due(database: DatabaseUrl) -> None:
    """Let the time pass that is waited for."""
    await rows(database, "UPDATE ai.junkie_pending SET next_try = now()")


def outcome(done: Retried) -> tuple[int, int, int, int, int]:
    return done.tried, done.succeeded, done.failed, done.set_aside, done.remaining


async def test_what_failed_is_made_up_for_with_the_words_it_answered(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    model.queue(Text("Do you like tea?"))
    async with talking(settings) as conversation:
        (await say(conversation, "Ask me something.")).ok()
        model.queue_memory(HttpError(500))
        await say(conversation, "Yes, exactly.")
    model.queue_memory(remembered("User likes tea"))
    done = await retry_memories(settings, everything=True)
    assert outcome(done) == (1, 1, 0, 0, 0)
    assert done.memories == {"added": 1, "updated": 0, "deleted": 0}
    assert model.memory_requests[-1].user == "Yes, exactly."
    assert "Do you like tea?" in model.memory_requests[-2].system
    assert await memories(database) == [("ada", "User likes tea")]
    assert await pending(database) == []


async def test_before_its_time_nothing_is_tried_and_no_provider_is_needed(
    database: DatabaseUrl, model: ModelServer
) -> None:
    await leave_pending(settings_for(database, model), model, "I like tea.")
    nobody = settings_for(database, CUSTOM_PROVIDER="groq")
    assert outcome(await retry_memories(nobody)) == (0, 0, 0, 0, 1)
    assert outcome(await retry_memories(nobody, "bob")) == (0, 0, 0, 0, 0)


async def test_each_failure_waits_longer_and_the_poison_is_set_aside_with_its_reason(
    database: DatabaseUrl, model: ModelServer
) -> None:
    model.script = lambda request: (
        HttpError(400, "tool_use_failed", code="tool_use_failed")
        if request.is_memory and request.user == "poison"
        else echo(request)
    )
    settings = settings_for(database, model)
    async with talking(settings) as conversation:
        await say(conversation, "poison")
    waits = []
    for attempt in range(2, MAX_ATTEMPTS + 1):
        await come_due(database)
        done = await retry_memories(settings)
        assert outcome(done) == (1, 0, 1, int(attempt == MAX_ATTEMPTS), 1)
        [entry] = await rows(
            database, "SELECT extract(epoch FROM next_try - now())::int AS wait, * FROM ai.junkie_pending"
        )
        waits.append(entry["wait"])
    assert all(later > earlier * 1.5 for earlier, later in itertools.pairwise(waits))
    assert (entry["attempts"], entry["set_aside"]) == (MAX_ATTEMPTS, True)
    assert "tool" in entry["last_error"]

    await come_due(database)
    assert outcome(await retry_memories(settings)) == (0, 0, 0, 0, 1)  # it is left alone
    async with talking(settings) as conversation:  # and stands in nobody's way
        (await say(conversation, "tea")).ok()
    assert outcome(await retry_memories(settings, everything=True)) == (1, 0, 1, 1, 1)  # asked for, it is tried
    model.script = echo
    assert outcome(await retry_memories(settings, everything=True)) == (1, 1, 0, 0, 0)
    assert await memories(database) == [("ada", "User said: poison"), ("ada", "User said: tea")]


async def test_a_provider_that_nobody_can_ask_sets_nothing_aside_and_ends_the_pass(
    database: DatabaseUrl, model: ModelServer
) -> None:
    settings = settings_for(database, model)
    await leave_pending(settings, model, "one", "two")
    model.script = lambda request: HttpError(429, headers={"Retry-After": "3600"})
    for _ in range(MAX_ATTEMPTS + 2):
        before = len(model.requests)
        done = await retry_memories(settings, everything=True)
        assert outcome(done) == (1, 0, 1, 0, 2)
        assert done.error is not None
        assert done.error.code == "provider_rate_limited"
        assert len(model.requests) == before + 1
    found = await rows(
        database,
        "SELECT set_aside, next_try > now() + interval '59 minutes' AS minded FROM ai.junkie_pending ORDER BY message",
    )
    assert found == [{"set_aside": False, "minded": True}, {"set_aside": False, "minded": False}]


async def test_processes_at_once_share_the_work_and_double_nothing(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    said = [f"fact {number}" for number in range(6)]
    await leave_pending(settings, model, *said[:3])
    await leave_pending(settings, model, *said[3:], user="bob")
    model.script = echo
    before = len(model.memory_requests)
    await come_due(database)
    passes = await asyncio.gather(*(retry_memories(settings) for _ in range(3)))
    assert sum(done.succeeded for done in passes) == 6
    asked = [request.user for request in model.memory_requests[before:] if request.messages[-1]["role"] == "user"]
    assert sorted(asked) == said
    kept = [("ada", f"User said: fact {n}") for n in range(3)] + [("bob", f"User said: fact {n}") for n in range(3, 6)]
    assert await memories(database) == kept


async def test_an_extraction_under_way_is_nobody_elses(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    slow = remembered("User likes tea")
    slow.pause_after = 0
    model.queue_memory(slow)
    async with talking(settings) as conversation:
        turn = Turn(conversation, "I like tea.")
        await turn.until(AnswerComplete)
        await slow.paused.wait()
        assert outcome(await retry_memories(settings)) == (0, 0, 0, 0, 1)
        # The lease began with the turn, and anew when the answer was whole.
        [entry] = await rows(
            database,
            "SELECT extract(epoch FROM next_try - created_at)::float8 AS lease, next_try - interval '1 s' * $1"
            " BETWEEN created_at AND now() AS renewed FROM ai.junkie_pending",
            LEASE,
        )
        assert entry["lease"] > LEASE
        assert entry["renewed"]
        # Somebody insists: both ask the model, and one of them writes.
        model.queue_memory(remembered("User likes tea"))
        assert outcome(await retry_memories(settings, everything=True)) == (1, 1, 0, 0, 0)
        slow.go_on.set()
        assert (await turn.said()).ok().memories == []
    assert await memories(database) == [("ada", "User likes tea")]


async def test_the_lease_is_renewed_while_a_slow_model_is_at_it(
    database: DatabaseUrl, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(database, model)
    await leave_pending(settings, model, "I like tea.")
    monkeypatch.setattr(
        "junkie_cli.core.chat.pending_retry.LEASE", 0.3
    )  # of what is renewed here; the claim's own is longer
    slow = remembered("User likes tea")
    slow.pause_after = 0
    model.queue_memory(slow)
    retrying = asyncio.create_task(retry_memories(settings, everything=True))
    await slow.paused.wait()
    await come_due(database)  # the claim's lease is over, as after a long time
    async with asyncio.timeout(30):
        renewed = 0
        last = None
        while renewed < 3:
            [row] = await rows(database, "SELECT next_try FROM ai.junkie_pending")
            renewed += row["next_try"] != last
            last = row["next_try"]
            await asyncio.sleep(0.01)
    slow.go_on.set()
    assert outcome(await retrying) == (1, 1, 0, 0, 0)


@pytest.mark.parametrize(
    "variables", [{"MEMORY_TIMEOUT": "1"}, {"JUNKIE_MAX_SECONDS": "1"}], ids=["silence", "time bound"]
)
async def test_a_slow_model_sets_nothing_aside(
    database: DatabaseUrl, model: ModelServer, variables: dict[str, str]
) -> None:
    await leave_pending(settings_for(database, model), model, "I like tea.")
    settings = settings_for(database, model, **variables)
    model.script = lambda _: Hang()
    for _ in range(MAX_ATTEMPTS + 1):
        done = await retry_memories(settings, everything=True)
        assert outcome(done) == (1, 0, 1, 0, 1)
        assert done.error is not None
        assert done.error.code in {"provider_timeout", "bound_seconds"}
    assert [entry["set_aside"] for entry in await pending(database)] == [False]


@pytest.mark.parametrize("passed", [False, True], ids=["before", "after"])
async def test_a_connection_cut_at_the_commit_is_made_up_for_once(
    database: DatabaseUrl, model: ModelServer, passed: bool
) -> None:
    await leave_pending(settings_for(database, model), model, "I like tea.")
    model.script = echo
    with Proxy(database) as proxy:
        settings = settings_for(proxy.url(database), model)
        proxy.cut_when(b'INSERT INTO "ai"."junkie_history"', passed=passed)
        with pytest.raises(Exception, match="connection"):
            await retry_memories(settings, everything=True)
        assert proxy.cuts == 1
        await retry_memories(settings, everything=True)
    assert await memories(database) == [("ada", "User said: I like tea.")]
    assert await pending(database) == []


async def test_stopped_it_gives_back_what_it_had_claimed(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    await leave_pending(settings, model, "I like tea.")
    await come_due(database)
    silent = Hang()
    model.queue_memory(silent)
    retrying = asyncio.create_task(retry_memories(settings))
    await silent.paused.wait()
    retrying.cancel()
    await asyncio.wait({retrying})
    assert retrying.cancelled()
    model.script = echo
    assert outcome(await retry_memories(settings)) == (1, 1, 0, 0, 0)


async def test_nothing_is_made_up_for_whom_was_erased(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    await leave_pending(settings, model, "I like tea.")
    [entry] = await pending(database)
    await erase_user(settings, "ada")
    await rows(  # a restore, or a bot's trigger, brought it back
        database,
        "INSERT INTO ai.junkie_pending (pending_id, user_id, message, created_at) VALUES ($1, 'ada', 'tea', $2)",
        entry["pending_id"],
        entry["created_at"],
    )
    model.script = echo
    await retry_memories(settings, everything=True)
    assert await memories(database) == []
    assert await pending(database) == []


async def test_a_conversation_makes_up_for_its_own_users_behind_the_talk(
    database: DatabaseUrl, model: ModelServer
) -> None:
    settings = settings_for(database, model)
    await leave_pending(settings, model, *(f"fact {number}" for number in range(MOST_IN_CHAT + 1)))
    await leave_pending(settings, model, "Bob's", user="bob")
    await come_due(database)
    model.script = echo
    async with talking(settings) as conversation:
        told = await behind(conversation)
        assert [memory for _, memory in told] == [f"User said: fact {number}" for number in range(MOST_IN_CHAT)]
        assert (await conversation.status()).pending == 1
        (await say(conversation, "Well?")).ok()
        assert await behind(conversation) == [("added", f"User said: fact {MOST_IN_CHAT}")]
    assert [(entry["user_id"], entry["message"]) for entry in await pending(database)] == [("bob", "Bob's")]


async def behind(conversation: Conversation) -> list[tuple[str, str | None]]:
    """What comes of one pass behind the conversation."""
    told: list[MemoryEvent] = []
    conversation.retry_behind(told.append)
    await conversation.retried()
    return [(event.action, event.memory) for event in told]


async def test_the_command_in_the_conversation(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    await leave_pending(settings, model, "I like tea.")
    async with talking(settings) as conversation:
        actions = Actions(conversation, Look(), 80)
        model.queue_memory(HttpError(500, "broken"))
        said = "\n".join(await actions.run("retry", ""))
        assert "warning" in said
        assert "1 memory still pending" in said
        model.script = echo
        assert any("User said: I like tea." in line for line in await actions.run("retry", ""))
        assert await actions.run("retry", "") == ["nothing is pending"]


async def test_closing_a_conversation_leaves_the_rest_pending(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    await leave_pending(settings, model, "I like tea.")
    await come_due(database)
    silent = Hang()
    model.queue_memory(silent)
    async with talking(settings) as conversation:
        conversation.retry_behind()
        await silent.paused.wait()
    [entry] = await pending(database)
    assert entry["attempts"] == 1


async def test_behind_pgbouncer_in_transaction_mode(model: ModelServer) -> None:
    from tests.support.pgbouncer import SERVER_HBA, SERVER_SETTINGS, PgBouncer

    async with scratch_server(settings=SERVER_SETTINGS, hba=SERVER_HBA) as server:
        await rows(server.url, "SET password_encryption = 'scram-sha-256'")
        await rows(server.url, "CREATE ROLE pooled LOGIN SUPERUSER PASSWORD 'secret'")
        with PgBouncer(server, user="pooled", password="secret", pool_size=2) as pooler:
            settings = settings_for(pooler.url(), model)
            said = [f"fact {number}" for number in range(4)]
            await leave_pending(settings, model, *said)
            model.script = echo
            await come_due(server.url)
            passes = await asyncio.gather(*(retry_memories(settings) for _ in range(3)))
        assert sum(done.succeeded for done in passes) == 4
        assert await memories(server.url) == [("ada", f"User said: {fact}") for fact in said]


def test_from_cron(junkie: Junkie, database: DatabaseUrl, model: ModelServer) -> None:
    env = {"POSTGRES_URL": database.libpq(), "AGENT_RETRIES": "0", **model.environment()}
    document = junkie.run("memories", "retry", "--json", env=env).ok().json()
    validate(document, "memories.retry")
    assert (document["tried"], "error" in document) == (0, False)
    asyncio.run(leave_pending(settings_for(database, model), model, "I like tea."))
    assert junkie.run("memories", "retry", env=env).ok().stdout == "none due\n"

    model.queue_memory(HttpError(503))
    failed = junkie.run("memories", "retry", "--all", "--json", env=env)
    assert failed.exit_code == 6
    validate(failed.json(), "memories.retry")
    assert (failed.json()["failed"], failed.json()["remaining"]) == (1, 1)
    assert "503" in failed.stderr
    assert failed.json()["error"]["code"] == "provider_unavailable"
    assert failed.json()["error"]["message"] in failed.stderr

    waiting = junkie.run("memories", "pending", "--json", env=env).ok().json()
    validate(waiting, "memories.pending")
    assert waiting["pending"][0]["last_error"]

    model.script = echo
    done = junkie.run("memories", "retry", "-u", "ada", "--all", "--json", env=env).ok().json()
    validate(done, "memories.retry")
    assert (done["succeeded"], done["memories"]) == (1, {"added": 1, "updated": 0, "deleted": 0})
    assert asyncio.run(memories(database)) == [("ada", "User said: I like tea.")]


@pytest.mark.parametrize("dead", ["silent", "gone", "busy"])
def test_from_cron_with_a_dead_memory_model(
    junkie: Junkie, database: DatabaseUrl, model: ModelServer, dead: str
) -> None:
    asyncio.run(leave_pending(settings_for(database, model), model, "I like tea.", "I have a dog.", "My car is blue."))
    before = len(model.memory_requests)
    model.script = lambda _: Hang() if dead == "silent" else HttpError(503)
    env = {"POSTGRES_URL": database.libpq(), "AGENT_RETRIES": "1", "MEMORY_TIMEOUT": "1", **model.environment()}
    if dead == "gone":
        env["CUSTOM_PROVIDER"] = "http://127.0.0.1:9/v1"
    result = junkie.run("memories", "retry", "--all", "--json", env=env)
    assert result.exit_code == 6
    document = result.json()
    validate(document, "memories.retry")
    assert (document["succeeded"], document["set_aside"], document["remaining"]) == (0, 0, 3)
    assert [line for line in result.stderr.splitlines() if line.strip()] == [f"warning: {document['error']['message']}"]
    tried = {"silent": 1, "gone": 1, "busy": 3}[dead]  # one is enough to see that nobody answers
    assert document["tried"] == tried
    assert len(model.memory_requests) - before <= 2 * tried
