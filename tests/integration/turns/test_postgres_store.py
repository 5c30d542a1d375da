"""The team's storage: tables made once, runs in order, one owner a session, flat cost, and agno's contract."""

import asyncio
import inspect
import json
from contextlib import AsyncExitStack
from uuid import uuid4

import asyncpg
import pytest
from agno.db.base import SessionType
from agno.db.postgres import AsyncPostgresDb
from agno.db.schemas import UserMemory
from agno.run.team import TeamRunInput, TeamRunOutput
from agno.session import TeamSession
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from junkie_cli.core.agent.agno_adapter import TeamDatabase, TeamTurn, current_turn, under_way
from junkie_cli.core.chat import Conversation, TablesNeededError
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import DatabaseError, NotFoundError
from junkie_cli.core.table_layout import Layout
from junkie_cli.core.turns.types import Turn
from tests.support.conversations import memories, pending, rows, runs, say, settings_for, stored_unanswered, talking
from tests.support.generations import FOLDER
from tests.support.model_server import ModelServer, Text, calls
from tests.support.postgres import scratch_server
from tests.support.proxy import Proxy


@pytest.fixture(scope="session")
def template_database(empty_template: str) -> str:
    """Making the tables is what some of these tests are about."""
    return empty_template


async def load(database: DatabaseUrl, generation: str) -> None:
    """Fill the database as a bot of that agno left it."""
    connection = await asyncpg.connect(**database.asyncpg_arguments())
    try:
        await connection.execute((FOLDER / f"agno-{generation}.sql").read_text())
    finally:
        await connection.close()


async def tables(database: DatabaseUrl) -> set[str]:
    return {row["tablename"] for row in await rows(database, "SELECT tablename FROM pg_tables WHERE schemaname = 'ai'")}


# --- tables -----------------------------------------------------------------------------------------------------------


async def test_five_first_turns_at_once_on_an_empty_database_all_survive(
    database: DatabaseUrl, model: ModelServer
) -> None:
    model.script = lambda request: (
        calls(("add_memory", {"memory": f"{request.user} was here"}))
        if request.is_memory and len(request.messages) == 2
        else None
    )
    settings = settings_for(database, model)

    async def first_turn(name: str) -> None:
        async with talking(settings, name) as conversation:
            (await say(conversation, name)).ok()

    names = ["ada", "bob", "carol", "dave", "eve"]
    await asyncio.gather(*(first_turn(name) for name in names))
    assert sorted(run["user_id"] for run in await runs(database)) == names
    assert await memories(database) == [(name, f"{name} was here") for name in names]
    assert await pending(database) == []
    found = await rows(
        database, "SELECT count(*) AS n FROM pg_indexes WHERE schemaname = 'ai' AND tablename = 'agent_sessions_runs'"
    )
    assert found[0]["n"] >= 10


async def test_a_server_that_is_away_at_first_spoils_nothing(database: DatabaseUrl, model: ModelServer) -> None:
    with Proxy(database) as proxy:
        settings = settings_for(proxy.url(database), model)
        proxy.refuse()
        with pytest.raises(DatabaseError):
            await Conversation.open(settings, "ada")
        proxy.accept()
        proxy.cut_when(b"CREATE TABLE", times=2)  # once is not noticed: it is tried again
        with pytest.raises(DatabaseError):
            await Conversation.open(settings, "ada")
        async with talking(settings) as conversation:
            (await say(conversation, "Hello.")).ok()
    assert len(await runs(database)) == 1


async def test_a_schema_with_an_odd_name(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model, JUNKIE_SCHEMA='My "Schema"; x')
    async with talking(settings) as conversation:
        (await say(conversation, "Hello.")).ok()
        await conversation.remember("User likes tea")
        (await say(conversation, "Again.")).ok()
        assert len(await conversation.sessions()) == 1
    assert "User likes tea" in model.main_requests[-1].system


async def test_who_may_make_no_tables_is_reported(database: DatabaseUrl, model: ModelServer) -> None:
    role = f"{database.database}_poor"
    await rows(database, f"CREATE ROLE {role}")
    with pytest.raises(DatabaseError) as caught:
        await Conversation.open(
            settings_for(DatabaseUrl.parse(f"{database.libpq()}&options=-crole%3D{role}"), model), "ada"
        )
    assert caught.value.code == "database_rights"


async def test_tables_of_agno_2_2_are_refused_and_left_alone(database: DatabaseUrl, model: ModelServer) -> None:
    await load(database, "2.2")
    before = await tables(database)
    with pytest.raises(DatabaseError) as caught:
        await Conversation.open(settings_for(database, model), "ada", may_add_tables=True)
    assert caught.value.code == "schema_old"
    assert await tables(database) == before


@pytest.mark.parametrize("generation", ["2.3", "2.9"])
async def test_tables_of_agno_2_get_company_only_when_allowed_and_are_heard(
    database: DatabaseUrl, model: ModelServer, generation: str
) -> None:
    await load(database, generation)
    before, settings = await tables(database), settings_for(database, model)
    with pytest.raises(TablesNeededError) as caught:
        await Conversation.open(settings, "ada")
    assert "agent_sessions_runs" in caught.value.tables
    assert "junkie_pending" in caught.value.tables
    assert await tables(database) == before

    frozen = await rows(database, "SELECT session_id, runs::text FROM ai.agent_sessions ORDER BY 1")
    kept = await rows(database, "SELECT runs::text FROM ai.agent_sessions WHERE session_id = 'c1'")
    earlier = [run["input"]["input_content"] for run in json.loads(kept[0]["runs"])]
    assert len(earlier) >= 2
    async with talking(settings, session_id="c1", may_add_tables=True) as conversation:
        (await say(conversation, "What do I drink?")).ok()
        prompt = model.main_requests[-1]
        assert "Ada and" in prompt.system.split("<memories_from_previous_interactions>")[1]
        assert [text for role, text in prompt.history if role == "user"] == earlier
        (await say(conversation, "And now?")).ok()
        heard = [text for role, text in model.main_requests[-1].history if role == "user"]
        assert heard == [*earlier, "What do I drink?"]
        assert [exchange.message for exchange in await conversation.history()] == [*heard, "And now?"]
        listed = {session.session_id: session for session in await conversation.sessions()}
        assert (listed["c1"].first_words, listed["c1"].runs) == (earlier[0], len(earlier) + 2)
    assert await rows(database, "SELECT session_id, runs::text FROM ai.agent_sessions ORDER BY 1") == frozen
    assert [run["run_index"] for run in await runs(database)] == [len(earlier), len(earlier) + 1]
    assert set(caught.value.tables) == await tables(database) - before


@pytest.mark.parametrize("generation", ["3.1", "2.9-migrated", "2.9-then-3.1"])
async def test_history_of_every_later_generation_is_heard_once(
    database: DatabaseUrl, model: ModelServer, generation: str
) -> None:
    await load(database, generation)
    async with talking(settings_for(database, model), session_id="c1") as conversation:
        (await say(conversation, "What do I drink?")).ok()
    prompt = model.main_requests[-1]
    said = [text for role, text in prompt.history if role == "user"]
    assert said == ["My name is Ada and I prefer tea", "Who am I?"] * (2 if generation == "2.9-then-3.1" else 1)
    assert "prefers tea" in prompt.system


async def test_in_a_shared_session_each_hears_only_their_own_words(database: DatabaseUrl, model: ModelServer) -> None:
    await load(database, "3.1")
    [session] = await rows(database, "SELECT user_id FROM ai.agent_sessions WHERE session_id = 'channel-7'")
    async with talking(settings_for(database, model), session["user_id"], session_id="channel-7") as conversation:
        (await say(conversation, "Hello.")).ok()
    said = [text for role, text in model.main_requests[-1].history if role == "user"]
    spoken = await rows(
        database,
        "SELECT run_data #>> '{input,input_content}' AS said FROM ai.agent_sessions_runs"
        " WHERE session_id = 'channel-7' AND user_id = $1 ORDER BY run_index",
        session["user_id"],
    )
    assert [*said, "Hello."] == [row["said"] for row in spoken]


# --- order and ownership ----------------------------------------------------------------------------------------------


async def test_conversations_at_once_on_one_session_lose_no_run_and_duplicate_no_index(
    database: DatabaseUrl, model: ModelServer
) -> None:
    settings = settings_for(database, model)
    async with talking(settings, session_id="talk", memory=False) as first:
        (await say(first, "Begin.")).ok()
    async with AsyncExitStack() as stack:
        open_ones = [
            await stack.enter_async_context(talking(settings, session_id="talk", memory=False)) for _ in range(4)
        ]

        async def several(conversation: Conversation, name: int) -> None:
            for n in range(5):
                (await say(conversation, f"{name}.{n}")).ok()

        await asyncio.gather(*(several(conversation, name) for name, conversation in enumerate(open_ones)))
    stored = await runs(database)
    assert [run["run_index"] for run in stored] == list(range(21))
    assert sorted(run["said"] for run in stored) == sorted(
        ["Begin.", *(f"{name}.{n}" for name in range(4) for n in range(5))]
    )
    [session] = await rows(database, "SELECT session_data::text AS data FROM ai.agent_sessions")
    assert json.loads(session["data"])["session_metrics"]["total_tokens"] == sum(
        json.loads(run["data"])["metrics"]["total_tokens"] for run in stored
    )


@pytest.mark.parametrize("owner", ["bob", None])
async def test_a_session_of_somebody_else_is_refused_before_a_model_is_asked(
    database: DatabaseUrl, model: ModelServer, owner: str | None
) -> None:
    settings = settings_for(database, model)
    async with talking(settings, "bob", session_id="talk") as other:
        (await say(other, "Mine.")).ok()
    await rows(database, "UPDATE ai.agent_sessions SET user_id = $1", owner)
    before = len(model.requests)
    with pytest.raises(NotFoundError) as caught:
        await Conversation.open(settings, "ada", session_id="talk")
    assert caught.value.code == "session_not_yours"
    async with talking(settings) as conversation:
        conversation.session_id = "talk"
        said = await say(conversation, "Let me in.")
        assert said.failures == ["session_not_yours"]
    assert len(model.requests) == before
    assert [run["user_id"] for run in await runs(database)] == ["bob"]


async def test_a_session_is_whose_turn_began_first(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    slow = Text("one two three", pause_after=2)
    model.script = lambda request: slow if request.user == "First." else None
    async with talking(settings, session_id="talk") as first, talking(settings, "bob", session_id="talk") as second:
        turn = asyncio.create_task(say(first, "First."))
        await slow.paused.wait()
        await stored_unanswered(database, "First.")
        assert (await say(second, "Second.")).failures == ["session_not_yours"]
        slow.go_on.set()
        (await turn).ok()
    assert [(run["said"], run["status"]) for run in await runs(database)] == [("First.", "COMPLETED")]


async def test_a_session_of_another_kind_is_refused(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    async with talking(settings, session_id="talk") as conversation:
        (await say(conversation, "Hello.")).ok()
        await rows(database, "UPDATE ai.agent_sessions SET session_type = 'agent'")
        assert (await say(conversation, "Hello.")).failures == ["session_other_kind"]


@pytest.mark.parametrize(
    ("odd", "history"),
    [
        ('{"messages": 7, "input": {"input_content": "Hello."}, "content": "Hi."}', ["Hello.", "Hi."]),
        ('{"messages": [{"role": "banana", "content": "x"}], "content": ["Hi", 1]}', ["", '["Hi", 1]']),
        ('{"messages": [{"role": "user", "content": "x", "images": [{"filepath": "/etc/passwd"}]}]}', ["x"]),
        ('{"messages": []}', []),
        ('"a text"', []),
    ],
)
async def test_a_run_of_another_shape_is_heard_as_far_as_it_can_be_read(
    database: DatabaseUrl, model: ModelServer, odd: str, history: list[str]
) -> None:
    settings = settings_for(database, model)
    async with talking(settings, session_id="talk") as conversation:
        (await say(conversation, "Hello.")).ok()
        await rows(database, f"UPDATE ai.agent_sessions_runs SET run_data = '{odd}'")
        (await say(conversation, "Hello?")).ok()
    assert [content for _, content in model.main_requests[-1].history] == history
    assert len(await runs(database)) == 2


async def test_a_name_given_during_a_turn_is_not_undone(database: DatabaseUrl, model: ModelServer) -> None:
    slow = Text("one two three", pause_after=2)
    async with talking(settings_for(database, model), session_id="talk") as conversation:
        (await say(conversation, "Hello.")).ok()
        model.queue(slow)
        turn = asyncio.create_task(say(conversation, "Again."))
        await slow.paused.wait()
        await rows(
            database,
            "UPDATE ai.agent_sessions SET session_data = jsonb_set(session_data, '{session_name}', '\"Tea time\"')",
        )
        slow.go_on.set()
        (await turn).ok()
        [session] = await conversation.sessions()
    assert session.name == "Tea time"


# --- cost -------------------------------------------------------------------------------------------------------------


async def test_a_turn_reads_as_much_at_turn_two_thousand_as_at_turn_twenty(
    database: DatabaseUrl, model: ModelServer
) -> None:
    settings = settings_for(database, model)
    async with talking(settings, session_id="talk", memory=False) as conversation:
        for _ in range(2):
            (await say(conversation, "Hello.")).ok()
    copy = (
        "INSERT INTO ai.agent_sessions_runs SELECT gen_random_uuid()::text, session_id, run_type, agent_id, team_id,"
        " workflow_id, user_id, parent_run_id, status, $1::int + n, run_data, created_at, updated_at"
        " FROM ai.agent_sessions_runs, generate_series(1, $2::int) n WHERE run_index = 1"
    )
    received = {}
    for upto, more in ((20, 18), (2000, 1979)):
        count = len(await runs(database))
        await rows(database, copy, count, more)
        with Proxy(database) as proxy:
            async with talking(settings_for(proxy.url(database), model), session_id="talk") as conversation:
                start = proxy.received
                (await say(conversation, "Hello.")).ok()
                received[upto] = proxy.received - start
    assert len(model.main_requests[-1].history) == 20
    assert received[2000] <= received[20] * 1.05
    assert received[2000] < 60_000


async def test_a_turn_takes_few_statements_whatever_is_there(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    async with talking(settings, session_id="talk") as conversation:
        (await say(conversation, "Hello.")).ok()
        await rows(database, "SELECT pg_stat_reset()")
        counted = "SELECT xact_commit AS n FROM pg_stat_database WHERE datname = current_database()"
        await rows(database, "SELECT pg_stat_force_next_flush()")
        assert await rows(database, counted)
        connections = conversation._engine.connections
        assert connections is not None
        seen: list[str] = []
        async with connections.transaction() as connection:
            connection.add_query_logger(lambda record: seen.append(record.query))
        (await say(conversation, "Again.")).ok()
    # Read, write ahead, store, verify, memories.
    assert len([query for query in seen if query.startswith("BEGIN")]) <= 5
    assert len(seen) <= 36


# --- agno's contract --------------------------------------------------------------------------------------------------


def agnos_own(database: DatabaseUrl) -> AsyncPostgresDb:
    engine = create_async_engine(database.sqlalchemy(), poolclass=NullPool)
    return AsyncPostgresDb(
        db_engine=engine, db_schema="ai", session_table="agent_sessions", memory_table="user_memories"
    )


async def test_what_we_write_agno_reads(database: DatabaseUrl, model: ModelServer) -> None:
    model.queue_memory(calls(("add_memory", {"memory": "User likes tea", "topics": ["drinks"]})))
    async with talking(settings_for(database, model), session_id="talk") as conversation:
        (await say(conversation, "I like tea.")).ok()
        (await say(conversation, "Good.")).ok()
    agno = agnos_own(database)
    session = await agno.get_session("talk", session_type=SessionType.TEAM, user_id="ada")
    assert isinstance(session, TeamSession)
    assert session.team_id == "hero-team"
    assert session.team_data is not None
    assert session.team_data["name"] == "Hero Team"
    assert [(message.role, message.content) for message in session.get_messages()] == [
        ("user", "I like tea."),
        ("assistant", "All right."),
        ("user", "Good."),
        ("assistant", "All right."),
    ]
    found = await agno.get_user_memories(user_id="ada")
    assert isinstance(found, list)
    assert [(memory.memory, memory.topics, memory.input, memory.team_id) for memory in found] == [
        ("User likes tea", ["drinks"], "I like tea.", "hero-team")
    ]
    assert await agno.get_latest_schema_version("agent_sessions_runs") == "3.0.0"
    await agno.close()


async def test_what_agno_writes_we_hear(database: DatabaseUrl, model: ModelServer) -> None:
    agno = agnos_own(database)
    session = TeamSession(session_id="talk", team_id="hero-team", user_id="ada", session_data={}, created_at=1)
    await agno.upsert_session(session)
    from agno.models.message import Message
    from agno.run.base import RunStatus

    run = TeamRunOutput(
        run_id=str(uuid4()),
        team_id="hero-team",
        session_id="talk",
        user_id="ada",
        status=RunStatus.completed,
        input=TeamRunInput(input_content="Said to the bot."),
        content="Heard by the bot.",
        messages=[
            Message(role="user", content="Said to the bot."),
            Message(role="assistant", content="Heard by the bot."),
        ],
    )
    await agno.upsert_run(run, session_id="talk", user_id="ada")
    await agno.upsert_user_memory(UserMemory(memory="User likes tea", memory_id="m1", user_id="ada"))
    await agno.close()
    async with talking(settings_for(database, model), continue_latest=True) as conversation:
        assert conversation.session_id == "talk"
        (await say(conversation, "Hello.")).ok()
        assert [entry.memory_id for entry in conversation.why()] == ["m1"]
    assert model.main_requests[-1].history == [("user", "Said to the bot."), ("assistant", "Heard by the bot.")]
    assert [run["run_index"] for run in await runs(database)] == [0, 1]


def made_up_turn() -> TeamTurn:
    return TeamTurn(Turn("ada", "talk", str(uuid4()), "Hello."))


async def test_agno_gets_only_what_the_turn_holds() -> None:
    database = TeamDatabase(Layout("ai"))
    turn = made_up_turn()
    with under_way(turn):
        assert await database.get_session("talk", user_id="ada") is None
        for user, session in (("bob", "talk"), ("ada", "other"), (None, "talk"), ("", "talk")):
            with pytest.raises(PermissionError):
                await database.get_session(session, user_id=user)
        run = TeamRunOutput(run_id=turn.turn.run_id, session_id="talk")
        await database.upsert_run(run, "talk", user_id="ada")
        assert turn.run is run
        assert current_turn("ada") is turn
    late = TeamRunOutput(run_id=turn.turn.run_id, session_id="talk")
    turn.take_run(late)  # agno's detached write of a stopped run
    assert turn.run is run
    await database.close()


async def test_every_other_method_of_agnos_storage_refuses() -> None:
    database = TeamDatabase(Layout("ai"))
    own = {"get_session", "upsert_session", "upsert_run", "update_approval_run_status", "close"}
    names = {
        name
        for name, _ in inspect.getmembers(AsyncPostgresDb, inspect.iscoroutinefunction)
        if not name.startswith("_") and name not in own
    }
    assert {"clear_memories", "upsert_user_memory", "delete_session", "get_user_memories"} < names
    for name in names:
        with pytest.raises(PermissionError):
            await getattr(database, name)()


async def test_behind_pgbouncer_in_transaction_mode(model: ModelServer) -> None:
    from tests.support.pgbouncer import SERVER_HBA, SERVER_SETTINGS, PgBouncer

    async with scratch_server(settings=SERVER_SETTINGS, hba=SERVER_HBA) as server:
        await rows(server.url, "SET password_encryption = 'scram-sha-256'")
        await rows(server.url, "CREATE ROLE pooled LOGIN SUPERUSER PASSWORD 'secret'")
        with PgBouncer(server, user="pooled", password="secret", pool_size=2) as pooler:
            settings = settings_for(pooler.url(), model)

            async def talk(name: str) -> None:
                async with talking(settings, name) as conversation:
                    for n in range(4):
                        (await say(conversation, f"{n}")).ok()

            slow = Text("one two three", pause_after=2)
            model.queue(slow)
            async with talking(settings, "zoe") as conversation:
                turn = asyncio.create_task(say(conversation, "Count."))
                await slow.paused.wait()
                await stored_unanswered(server.url, "Count.")
                slow.go_on.set()
                (await turn).ok()
            await asyncio.gather(*(talk(name) for name in ("ada", "bob", "carol", "dave")))
        assert [run["status"] for run in await runs(server.url)] == ["COMPLETED"] * 17
