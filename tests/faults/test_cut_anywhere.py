"""Every message that a turn sends to the database is once the last one: cut before it, in the middle of it, after it.

After each cut: what was told to be answered is in the session as it ended, or it was told that it is not; and the fact
is a memory or pending, once.
"""

from pathlib import Path

import pytest

from junkie_cli.core.chat import AnswerComplete, Conversation
from junkie_cli.core.chat.pending_retry import retry_memories
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.turns.spool import spool_folder
from tests.support.conversations import Said, echo, memories, pending, rows, runs, say, settings_for, talking
from tests.support.model_server import ModelServer
from tests.support.postgres import scratch_server
from tests.support.proxy import Proxy

MOST = 90
"""Messages of a turn to the database; when fewer are sent, the sweep is over."""


@pytest.mark.parametrize("where", ["before", "in", "after"])
async def test_a_connection_cut_at_each_message_of_a_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("junkie_cli.core.turns.spooling_store.STORE_PAUSES", (0.01, 0.05))
    with scratch_server() as server, ModelServer(script=echo) as model, Proxy(server.url) as proxy:
        told: dict[str, Said] = {}
        async with talking(settings_for(proxy.url(server.url), model), session_id="talk") as conversation:
            (await say(conversation, "Hello.")).ok()
            for place in range(MOST):
                message = f"fact {place}"
                told[message] = await cut(conversation, proxy, place, where, message)
                if proxy.cuts == place:  # nothing was sent there any more
                    break
            else:
                raise AssertionError(f"a turn sends more than {MOST} messages")
            assert place > 30, "a turn sends more than that"
        await retry_memories(settings_for(server.url, model), everything=True)
        await audit(server, told)


async def cut(conversation: Conversation, proxy: Proxy, place: int, where: str, message: str) -> Said:
    """A turn whose connection is cut at its message number `place`."""
    proxy.cut_at(place, where)
    try:
        return await say(conversation, message)
    finally:
        proxy.forget()


async def audit(server: ScratchServer, told: dict[str, Said]) -> None:
    stored = await runs(server.url)
    ended = [run["said"] for run in stored if run["status"] == "COMPLETED"]
    said = [run["said"] for run in stored]
    remembered = [memory.removeprefix("User said: ") for _, memory in await memories(server.url)]
    still_pending = [row["message"] for row in await pending(server.url)]
    for message, turn in told.items():
        assert said.count(message) <= 1, message
        if AnswerComplete() in turn.events:
            assert turn.done.error is None
            assert message in ended, message
        else:
            assert turn.done.error is not None, message
        if message in said:
            assert (remembered + still_pending).count(message) == 1, message
        else:  # nobody was asked
            assert turn.answer == ""
    assert [run["run_index"] for run in stored] == list(range(len(stored)))
    assert not list(spool_folder().rglob("*.json"))
    [session] = await rows(server.url, "SELECT session_id, user_id FROM ai.agent_sessions")
    assert session == {"session_id": "talk", "user_id": "ada"}
