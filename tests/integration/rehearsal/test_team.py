"""The rehearsal model behind the real client, agno's team and its memory manager, without a network."""

from pathlib import Path

from junkie_cli.core.agent.tools import EverydayTools
from junkie_cli.core.rehearsal.rehearsal_text import WHAT_IT_IS
from tests.support.models import extract, take_turn, team_models


async def test_it_answers_in_pieces_without_key_and_network(tmp_path: Path) -> None:
    async with team_models(tmp_path, {}, offline=True) as models:
        turn = await take_turn(models, "Hello")
        assert models.offline
        assert models.provider == "the rehearsal model"
    assert WHAT_IT_IS in turn.streamed
    assert turn.last.content == turn.streamed
    assert len(turn.events) > 10
    assert turn.log.calls[0].total_tokens > 0


async def test_it_uses_the_calculator(tmp_path: Path) -> None:
    async with team_models(tmp_path, {}, offline=True) as models:
        turn = await take_turn(models, "What is 12 * 7?", tools=[EverydayTools()])
    assert turn.last.content == "The calculator says 84."
    assert "TeamToolCallCompleted" in [event.event for event in turn.events]


async def test_it_answers_from_the_memories_in_the_prompt(tmp_path: Path) -> None:
    from agno.memory import MemoryManager, UserMemory

    class Remembers(MemoryManager):
        async def aget_user_memories(self, user_id: str | None = None, **_: object) -> list[UserMemory]:
            return [UserMemory(memory="User's name is Ada"), UserMemory(memory="User prefers tea")]

        def get_user_memories(self, user_id: str | None = None, **_: object) -> list[UserMemory]:
            return [UserMemory(memory="User's name is Ada"), UserMemory(memory="User prefers tea")]

    async with team_models(tmp_path, {}, offline=True) as models:
        arguments = {"memory_manager": Remembers(), "add_memories_to_context": True}
        name = await take_turn(models, "What is my name?", **arguments)
        everything = await take_turn(models, "What do you remember about me?", **arguments)
    assert name.last.content == "Your name is Ada."
    assert everything.last.content == "I remember this about you:\n\n- Your name is Ada.\n- You prefer tea."


async def test_it_extracts(tmp_path: Path) -> None:
    async with team_models(tmp_path, {}, offline=True) as models:
        known = [("m1", "User's name is Ada"), ("m2", "User prefers tea")]
        found = await extract(models, "I prefer coffee now and I live in Rome", known)
    assert [(change.action, change.memory) for change in found.changes] == [
        ("updated", "User prefers coffee"),
        ("added", "User lives in Rome"),
    ]
    assert found.changes[0].memory_id == "m2"


async def test_a_configured_provider_is_not_asked(tmp_path: Path) -> None:
    environment = {"GROQ_API_KEY": "gsk_x", "CUSTOM_PROVIDER": "http://no-such-host.invalid/v1"}
    async with team_models(tmp_path, environment, offline=True) as models:
        turn = await take_turn(models, "My name is Ada")
        assert models.compound() is None
    assert turn.last.content == "I see: your name is Ada."
