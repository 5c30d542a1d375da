"""The team as it is built, its members, and the cache of teams."""

from pathlib import Path

import pytest
from agno.tools import Toolkit

from junkie_cli.core.agent.agno_adapter import TeamDatabase
from junkie_cli.core.agent.models import TeamModels
from junkie_cli.core.agent.team import HeroTeam, TeamCache, build_team
from junkie_cli.core.chat import Tool
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.table_layout import Layout
from junkie_cli.core.turns.in_memory_store import InMemoryTurnStore
from tests.support.conversations import rows, say, settings_for, talking
from tests.support.model_server import ModelServer, Text, calls
from tests.support.models import make_settings, team_models


def built(models: TeamModels, user: str, folder: Path, **options: bool) -> HeroTeam:
    return build_team(make_settings(folder), models, TeamDatabase(Layout("ai")), InMemoryTurnStore(), user, **options)


async def test_the_team_is_what_agno_needs(tmp_path: Path) -> None:
    async with team_models(tmp_path, {"CUSTOM_PROVIDER": "http://127.0.0.1:9/v1"}) as models:
        hero = built(models, "ada", tmp_path)
    team = hero.team
    assert (team.name, team.id, team.members) == ("Hero Team", "hero-team", [])
    assert (team.add_history_to_context, team.num_history_runs) == (True, 10)
    assert (team.add_memories_to_context, team.update_memory_on_run, team.enable_agentic_memory) == (True, False, False)
    assert not team.telemetry
    assert not team.resolve_in_context
    assert team.memory_manager is hero.memory
    with pytest.raises(PermissionError):
        await team.memory_manager.acreate_user_memories(message="x", user_id="ada")
    with pytest.raises(PermissionError):
        team.memory_manager.clear()


async def test_without_memory_there_is_no_manager(tmp_path: Path) -> None:
    async with team_models(tmp_path, {"CUSTOM_PROVIDER": "http://127.0.0.1:9/v1"}) as models:
        hero = built(models, "ada", tmp_path, memory=False)
    assert hero.memory is None
    assert not hero.team.add_memories_to_context


async def test_with_groq_a_member_searches_and_its_run_is_stored_in_order(database: DatabaseUrl) -> None:
    with ModelServer() as model:
        settings = settings_for(
            database, None, CUSTOM_PROVIDER="groq", **model.groq_environment(), AGENT_HISTORY_RUNS="5"
        )
        task = {"member_id": "groq-compound", "task": "Find the weather."}
        model.script = lambda request: Text("It rains.") if request.model == "groq/compound" else None
        model.queue(calls(("delegate_task_to_member", task)), Text("Take an umbrella."), Text("Still."))
        async with talking(settings, session_id="talk", memory=False) as conversation:
            said = (await say(conversation, "What is the weather?")).ok()
            assert said.answer == "Take an umbrella."
            assert [event.status for event in said.events if isinstance(event, Tool)] == ["started", "completed"]
            (await say(conversation, "Sure?")).ok()
            assert [exchange.message for exchange in await conversation.history()] == ["What is the weather?", "Sure?"]
        history = model.main_requests[-1].history
        assert ("user", "What is the weather?") in history
        assert ("assistant", "Take an umbrella.") in history
        compound = next(request for request in model.requests if request.model == "groq/compound")
        assert compound.tools == []
        assert compound.key == "gsk_scripted"
    stored = await rows(
        database,
        "SELECT run_type, run_index, parent_run_id IS NULL AS own, user_id FROM ai.agent_sessions_runs"
        " ORDER BY run_index",
    )
    assert [(row["run_type"], row["own"], row["user_id"]) for row in stored] == [
        ("team", True, "ada"),
        ("agent", False, "ada"),
        ("team", True, "ada"),
    ]
    assert [row["run_index"] for row in stored] == [0, 1, 2]


async def test_members_have_no_telemetry(tmp_path: Path) -> None:
    async with team_models(tmp_path, {"GROQ_API_KEY": "gsk_x"}) as models:
        [member] = built(models, "ada", tmp_path).team.members
        assert not member.telemetry
    async with team_models(tmp_path, {}, offline=True) as models:
        assert built(models, "ada", tmp_path).team.members == []


class Closable(Toolkit):
    """A toolkit that holds something."""

    _requires_connect = True

    def __init__(self, closed: list[str], user: str) -> None:
        super().__init__(name="closable")
        self._closed, self._user = closed, user

    def close(self) -> None:
        self._closed.append(self._user)


async def test_the_cache_keeps_the_most_recent_and_evicts_only_the_idle(tmp_path: Path) -> None:
    closed: list[str] = []
    async with team_models(tmp_path, {}, offline=True) as models:

        def build(user: str) -> HeroTeam:
            hero = built(models, user, tmp_path)
            assert isinstance(hero.team.tools, list)
            hero.team.tools.append(Closable(closed, user))
            return hero

        cache = TeamCache(build, 2)
        ada = await cache.get_or_create_team("ada")
        await cache.get_or_create_team("bob")
        assert await cache.get_or_create_team("ada") is ada
        await cache.get_or_create_team("carol")
        assert closed == ["bob"]
        assert "ada" in cache
        async with cache.lease("ada"), cache.lease("carol"):
            async with cache.lease("dave"):
                assert len(cache) == 3  # all three are talking
                assert closed == ["bob"]
            assert closed == ["bob", "dave"]
        await cache.get_or_create_team("eve")
        assert len(cache) == 2
        assert "eve" in cache
        await cache.close()
        assert sorted(closed) == ["ada", "bob", "carol", "dave", "eve"]


async def test_users_beyond_max_agents_keep_their_own_memories(database: DatabaseUrl) -> None:
    with ModelServer(smart=True) as model:
        settings = settings_for(database, model, MAX_AGENTS="2")
        async with talking(settings) as conversation:
            for name in ("ada", "bob", "carol"):
                await conversation.switch_user(name)
                (await say(conversation, f"My name is {name.title()}.")).ok()
            assert len(conversation._engine.teams) == 2
            await conversation.switch_user("ada")
            (await say(conversation, "Who am I?")).ok()
        assert "Ada" in model.main_requests[-1].system
        assert "Carol" not in model.main_requests[-1].system
