"""A conversation goes on whatever other programs wrote into the rows that it reads."""

from collections.abc import Iterator

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded.scratch import ScratchServer
from tests.support import odd_rows
from tests.support.conversations import rows, say, settings_for, talking
from tests.support.model_server import ModelServer
from tests.support.postgres import execute

pytestmark = pytest.mark.usefixtures("smart_model")


def _fill(server: ScratchServer, database: DatabaseUrl, statements: Iterator[str]) -> None:
    assert database.database
    execute(server, ";".join(statements), database.database)


async def test_all_odd_memories_of_the_person(
    postgres_server: ScratchServer, database: DatabaseUrl, model: ModelServer
) -> None:
    _fill(postgres_server, database, odd_rows.memories("jsonb"))
    async with talking(settings_for(database, model)) as conversation:
        said = (await say(conversation, "My name is Ada and I like tea.")).ok()
        assert ("added", "User likes tea") in said.memories
        found = await conversation.memories()
        assert len(found) > 90
        assert conversation.why()
        await conversation.history()
        await conversation.sessions()


async def test_all_odd_runs_of_a_session_and_of_others(
    postgres_server: ScratchServer, database: DatabaseUrl, model: ModelServer
) -> None:
    await rows(
        database,
        "INSERT INTO ai.agent_sessions (session_id, session_type, user_id, created_at)"
        " VALUES ('talk', 'team', 'ada', 1)",
    )
    _fill(postgres_server, database, odd_rows.runs("talk"))
    settings = settings_for(database, model, AGENT_HISTORY_RUNS="1000")
    async with talking(settings, session_id="talk") as conversation:
        (await say(conversation, "Hello.")).ok()
        assert len(model.main_requests[-1].history) > 300
        assert all(isinstance(content, str) for _, content in model.main_requests[-1].history)
        assert await conversation.history()
        assert await conversation.sessions()


async def test_every_odd_session(postgres_server: ScratchServer, database: DatabaseUrl, model: ModelServer) -> None:
    """What is in a session's own row stays there; the turn is stored."""
    _fill(postgres_server, database, odd_rows.sessions("jsonb", None))
    found = await rows(database, "SELECT session_id FROM ai.agent_sessions WHERE user_id = 'ada'")
    names = [row["session_id"] for row in found]
    # Each value of session_data, which a turn writes; of the rest, by a stride prime to their number, every field.
    whole = [name for name in names if name.startswith("odd-session_data-")]
    for session_id in [*whole, *names[::11]]:
        before = await rows(database, "SELECT session_data FROM ai.agent_sessions WHERE session_id = $1", session_id)
        async with talking(settings_for(database, model), session_id=session_id) as conversation:
            (await say(conversation, "Hello.")).ok()
        [row] = await rows(
            database,
            "SELECT session_data, jsonb_typeof(session_data) AS kind, (SELECT count(*) FROM ai.agent_sessions_runs r"
            " WHERE r.session_id = s.session_id) AS runs FROM ai.agent_sessions s WHERE session_id = $1",
            session_id,
        )
        assert row["runs"] in (1, 2)
        if row["kind"] != "object":
            assert row["session_data"] == before[0]["session_data"]
