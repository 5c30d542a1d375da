"""Exchanges that the database cannot take wait on this machine: for that database alone, through a kill, and once."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from junkie_cli.core.chat import Conversation, Delta
from junkie_cli.core.chat.pending_retry import retry_memories
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.schema import own_tables, tables
from junkie_cli.core.settings import Settings
from junkie_cli.core.table_layout import Layout
from junkie_cli.core.turns import pending_rows
from junkie_cli.core.turns.pending_list import list_pending
from junkie_cli.core.turns.spool import identity, spool_folder
from junkie_cli.core.users.erase import erase_user
from tests.support.conversations import (
    Said,
    Turn,
    memories,
    pending,
    rows,
    runs,
    say,
    settings_for,
    talking,
    writing_held_up,
)
from tests.support.junkie import Junkie
from tests.support.model_server import ModelServer, Text, calls
from tests.support.postgres import clone
from tests.support.proxy import Proxy
from tests.support.schemas import validate

DATA = Path(__file__).parents[2] / "data"
pytestmark = pytest.mark.usefixtures("state", "echoing_model", "impatient")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for a database."""
    monkeypatch.setattr("junkie_cli.core.turns.spooling_store.STORE_PAUSES", (0.01,))


def spooled() -> list[Path]:
    return sorted(spool_folder().rglob("*.json"))


def contents() -> Iterator[bytes]:
    """What is spooled; an entry that takes the place of another meanwhile is left out."""
    for path in spooled():
        with suppress(FileNotFoundError):
            yield path.read_bytes()


async def said_while_away(
    database: DatabaseUrl, proxy: Proxy, conversation: Conversation, model: ModelServer, message: str
) -> Said:
    """Say `message`; the database goes away before it has taken anything of it, and stays away."""
    slow = Text("one two three", pause_after=2)
    model.queue(slow)
    async with writing_held_up(database):
        turn = Turn(conversation, message)
        await turn.until(Delta)
        await slow.paused.wait()
        proxy.refuse()
    slow.go_on.set()
    return await turn.said()


async def test_what_the_database_does_not_take_is_kept_private_and_goes_over_when_it_is_back(
    database: DatabaseUrl, model: ModelServer
) -> None:
    settings = settings_for(database, model)
    with Proxy(database) as proxy:
        async with talking(settings_for(proxy.url(database), model), session_id="talk") as conversation:
            (await say(conversation, "Hello.")).ok()
            said = await said_while_away(database, proxy, conversation, model, "I like tea.")
            assert isinstance(said.done.error, DatabaseError)
            [path] = spooled()
            assert any(str(path.parent) in warning for warning in said.warnings)
            assert [oct(part.stat().st_mode & 0o777) for part in (path, path.parent, path.parent.parent)] == [
                "0o600",
                "0o700",
                "0o700",
            ]
        # The chat is over, without a complaint: nothing is lost.
    assert [run["said"] for run in await runs(database)] == ["Hello."]
    [waiting] = [entry for entry in (await list_pending(settings)).pending if entry.spooled]
    assert (waiting.user_id, waiting.message, waiting.context) == ("ada", "I like tea.", "All right.")
    async with talking(settings, session_id="talk") as conversation:
        assert (await conversation.status()).pending == 1
        said = await say(conversation, "And now?")
        assert any("stored now" in warning for warning in said.warnings)
        assert ("user", "I like tea.") in model.main_requests[-1].history
    assert spooled() == []
    stored = [(run["run_index"], run["said"], run["answer"]) for run in await runs(database)]
    assert stored == [(0, "Hello.", "All right."), (1, "I like tea.", "one two three"), (2, "And now?", "All right.")]
    await retry_memories(settings, everything=True)
    assert ("ada", "User said: I like tea.") in await memories(database)
    assert await pending(database) == []


async def test_the_row_is_the_same_by_way_of_the_spool(database: DatabaseUrl, model: ModelServer) -> None:
    """What agno and others read in it must not depend on how it came there."""
    with Proxy(database) as proxy:
        async with talking(settings_for(proxy.url(database), model), session_id="talk") as conversation:
            model.queue(calls(("calculate", {"expression": "1 + 2"})), Text("one two three"))
            (await say(conversation, "Add.")).ok()
            model.queue(calls(("calculate", {"expression": "1 + 2"})))
            await said_while_away(database, proxy, conversation, model, "Add.")
            proxy.accept()
    async with talking(settings_for(database, model), session_id="talk") as conversation:
        (await say(conversation, "And?")).ok()
    direct, over, _ = [json.loads(run["data"]) for run in await runs(database)]
    assert _shape(over) == _shape(direct)


def _shape(value: Any) -> Any:
    """`value` with everything that differs between two runs of the same reduced to its type."""
    if isinstance(value, dict):
        return {key: _shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shape(inner) for inner in value]
    return type(value).__name__


@pytest.mark.parametrize("is_running", [False, True], ids=["ended", "running"])
async def test_a_file_of_an_older_version_is_stored_as_what_it_was(
    database: DatabaseUrl, model: ModelServer, is_running: bool
) -> None:
    document = json.loads((DATA / "spool-0.1.0.json").read_text())
    if is_running:  # its process was killed before the answer was there
        document["run"] |= {"status": "RUNNING", "content": "", "metadata": {"junkie": "ahead"}}
        del document["timeline"]  # files did not always have it
    settings = settings_for(database, model)
    async with talking(settings, "bob") as conversation:
        (await say(conversation, "I like tea.")).ok()
    connection = await asyncpg.connect(**database.asyncpg_arguments())
    known = await identity(connection, await tables.inspect(connection, Layout("ai")))
    await connection.close()
    assert known is not None
    spooled_file = spool_folder() / known / "00000000000000000001-old.json"
    spooled_file.parent.mkdir(parents=True)
    spooled_file.write_text(json.dumps(document))
    done = await retry_memories(settings, everything=True)
    assert (done.succeeded, done.remaining, spooled()) == (1, 0, [])
    [run] = [run for run in await runs(database) if run["user_id"] == "ada"]
    ended = ("RUNNING", "") if is_running else ("COMPLETED", "one two three")
    assert (run["run_id"], run["session_id"], run["said"]) == (document["run_id"], "talk", "Add 1 and 2.")
    assert (run["status"], run["answer"]) == ended
    assert json.loads(run["data"]) == document["run"]
    [session] = await rows(
        database,
        "SELECT session_data::text AS data, team_data ->> 'name' AS team FROM ai.agent_sessions"
        " WHERE session_id = 'talk'",
    )
    assert session["team"] == "Hero Team"
    tokens = json.loads(session["data"]).get("session_metrics", {}).get("total_tokens")
    assert tokens == (None if is_running else document["run"]["metrics"]["total_tokens"])
    assert await memories(database) == [("ada", "User said: Add 1 and 2."), ("bob", "User said: I like tea.")]


async def test_memories_retry_moves_it_over_too(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    with Proxy(database) as proxy:
        async with talking(settings_for(proxy.url(database), model)) as conversation:
            await said_while_away(database, proxy, conversation, model, "I like tea.")
    done = await retry_memories(settings)
    assert (done.tried, done.succeeded, done.remaining) == (1, 1, 0)
    assert [run["said"] for run in await runs(database)] == ["I like tea."]
    assert await memories(database) == [("ada", "User said: I like tea.")]


async def test_it_never_goes_into_another_database(
    database: DatabaseUrl, postgres_server: ScratchServer, model: ModelServer
) -> None:
    with Proxy(database) as proxy:
        async with talking(settings_for(proxy.url(database), model)) as conversation:
            await said_while_away(database, proxy, conversation, model, "I like tea.")
    # A copy of the database, with the salt and all; and another schema of the same one.
    with clone(postgres_server, database.database) as copy:
        for settings in (settings_for(copy, model), settings_for(database, model, JUNKIE_SCHEMA="other")):
            async with talking(settings, "bob") as conversation:
                assert (await say(conversation, "I like tea.")).ok().warnings == []
            assert [entry.message for entry in (await list_pending(settings)).pending] == []
            assert len(spooled()) == 1
        assert await rows(copy, "SELECT 1 FROM ai.agent_sessions_runs WHERE user_id = 'ada'") == []


async def test_stored_already_it_is_only_dropped_and_nothing_is_extracted_twice(
    database: DatabaseUrl, model: ModelServer
) -> None:
    """Killed between the commit and the end of the file: the extraction may have been made and completed since."""
    settings = settings_for(database, model)
    with Proxy(database) as proxy:
        async with talking(settings_for(proxy.url(database), model)) as conversation:
            await said_while_away(database, proxy, conversation, model, "I like tea.")
    [path] = spooled()
    kept = path.read_bytes()
    await retry_memories(settings)
    path.write_bytes(kept)
    done = await retry_memories(settings, everything=True)
    assert (done.tried, spooled()) == (0, [])
    assert len(await runs(database)) == 1
    assert await memories(database) == [("ada", "User said: I like tea.")]


async def all_said_while_away(database: DatabaseUrl, model: ModelServer, users: list[str]) -> None:
    """Each says something at the same time; the database goes away in the middle of all the answers."""
    slow = [Text("one two three", pause_after=2) for _ in users]
    model.queue(*slow)
    with Proxy(database) as proxy:
        settings = settings_for(proxy.url(database), model)
        talks = [await Conversation.open(settings, user) for user in users]
        async with writing_held_up(database):
            turns = [Turn(talk, f"{user} likes tea.") for user, talk in zip(users, talks, strict=True)]
            for turn, reply in zip(turns, slow, strict=True):
                await turn.until(Delta)
                await reply.paused.wait()
            proxy.refuse()
        for reply in slow:
            reply.go_on.set()
        for turn, talk in zip(turns, talks, strict=True):
            await turn.said()
            await talk.close()


async def test_processes_at_once_move_it_over_once(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    users = [f"user{number}" for number in range(6)]
    await all_said_while_away(database, model, users)
    assert len(spooled()) == 6
    await asyncio.gather(*(retry_memories(settings) for _ in range(3)))
    await retry_memories(settings, everything=True)
    assert spooled() == []
    assert sorted(run["user_id"] for run in await runs(database)) == users
    assert await memories(database) == [(user, f"User said: {user} likes tea.") for user in users]
    assert await pending(database) == []


async def test_of_the_erased_nothing_is_moved_over_and_nothing_stays(database: DatabaseUrl, model: ModelServer) -> None:
    settings = settings_for(database, model)
    await all_said_while_away(database, model, ["ada", "bob", "carol"])
    ada, _, carol = sorted(spooled(), key=lambda path: json.loads(path.read_bytes())["user_id"])
    kept = carol.read_bytes()
    assert (await erase_user(settings, "ada", dry_run=True)).erased == {"spool": 1}
    assert ada.exists()
    assert (await erase_user(settings, "ada")).erased == {"spool": 1}
    assert not ada.exists()
    await erase_user(settings, "carol")
    carol.write_bytes(kept)  # on another machine, which nobody asked
    await retry_memories(settings)
    assert spooled() == []
    assert {run["user_id"] for run in await runs(database)} == {"bob"}
    assert await memories(database) == [("bob", "User said: bob likes tea.")]


async def test_what_is_no_entry_is_put_aside_and_what_is_half_written_not_read(
    database: DatabaseUrl, model: ModelServer
) -> None:
    settings = settings_for(database, model)
    with Proxy(database) as proxy:
        async with talking(settings_for(proxy.url(database), model)) as conversation:
            await said_while_away(database, proxy, conversation, model, "I like tea.")
    [path] = spooled()
    for name, content in (("0-a.json", b"{"), ("0-b.json", b"[]"), ("0-c.json", b'{"user_id": "ada"}')):
        path.with_name(name).write_bytes(content)
    half = path.with_name(".x.json.1.part")
    half.write_bytes(b"{")
    os.utime(half, (0, 0))
    await retry_memories(settings)
    assert [run["said"] for run in await runs(database)] == ["I like tea."]
    assert sorted(each.name for each in path.parent.iterdir()) == [".lock", *(f"0-{x}.unreadable" for x in "abc")]


async def test_where_nothing_can_be_kept_it_is_reported_and_waits_in_this_process(
    database: DatabaseUrl, model: ModelServer, state: Path
) -> None:
    (state / "junkie").write_text("in the way")
    with Proxy(database) as proxy, pytest.raises(DatabaseError, match="could not be stored"):
        async with talking(settings_for(proxy.url(database), model)) as conversation:
            said = await said_while_away(database, proxy, conversation, model, "I like tea.")
            assert any("when the chat ends" in warning for warning in said.warnings)


async def test_a_restart_of_the_server_is_waited_for_and_leaves_nothing_behind(
    database: DatabaseUrl, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("junkie_cli.core.turns.spooling_store.STORE_PAUSES", (0.05,) * 40)
    with Proxy(database) as proxy:
        async with talking(settings_for(proxy.url(database), model)) as conversation:
            slow = Text("one two three", pause_after=2)
            model.queue(slow)
            turn = Turn(conversation, "I like tea.")
            await turn.until(Delta)
            await slow.paused.wait()
            proxy.refuse()
            slow.go_on.set()
            while not spooled():
                await asyncio.sleep(0.01)
            proxy.accept()
            (await turn.said()).ok()
    assert spooled() == []
    assert await memories(database) == [("ada", "User said: I like tea.")]


SCRIPT = """
import asyncio, sys
from pathlib import Path
from junkie_cli.core.chat import Conversation
from junkie_cli.core.settings import load_settings

async def main():
    settings = load_settings(cwd=Path("/nonexistent"))
    async with await Conversation.open(settings, "ada", session_id="talk") as conversation:
        async for event in conversation.send(sys.argv[1]):
            print(type(event).__name__, flush=True)

asyncio.run(main())
"""


def test_killed_while_it_waits_for_the_database(database: DatabaseUrl, model: ModelServer, state: Path) -> None:
    slow = Text("one two three", pause_after=2)
    model.queue(slow)
    with Proxy(database) as proxy:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "XDG_STATE_HOME": str(state),
            "POSTGRES_URL": proxy.url(database).libpq(),
            **model.environment(),
        }
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, "I like tea."], env=env, stdout=subprocess.PIPE)
        try:
            slow.paused.wait_sync()
            proxy.refuse()
            slow.go_on.set()
            while not any(b"one two three" in content for content in contents()):
                assert process.poll() is None
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=30)
    asyncio.run(retry_memories(settings_for(database, model), everything=True))
    assert [run["answer"] for run in asyncio.run(runs(database))] == ["one two three"]
    assert asyncio.run(memories(database)) == [("ada", "User said: I like tea.")]


def test_pending_tells_it_whether_the_database_is_there_or_not(
    database: DatabaseUrl, model: ModelServer, junkie: Junkie, state: Path
) -> None:
    async def away(settings: Settings, proxy: Proxy) -> None:
        async with talking(settings) as conversation:
            await said_while_away(database, proxy, conversation, model, "I like tea.")

    with Proxy(database) as proxy:
        url = proxy.url(database)
        env = {"POSTGRES_URL": url.libpq(), "XDG_STATE_HOME": str(state)}
        asyncio.run(away(settings_for(url, model), proxy))
        unreachable = junkie.run("memories", "pending", env=env)
        assert unreachable.exit_code == 4
        assert "1 exchange waits on this machine" in unreachable.stderr
        proxy.accept()
        document = junkie.run("memories", "pending", "--json", env=env).ok().json()
    validate(document, "memories.pending")
    [entry] = document["pending"]
    assert (entry["message"], entry["spooled"], entry["attempts"]) == ("I like tea.", True, 0)


async def test_without_our_tables_a_database_cannot_be_distinguished_from_others(
    postgres_server: ScratchServer,
) -> None:
    with clone(postgres_server) as bare:
        connection = await asyncpg.connect(**bare.asyncpg_arguments())
        try:
            assert await identity(connection, await tables.inspect(connection, Layout("ai"))) is None
            await own_tables.ensure_own_tables(connection, Layout("ai"))
            state = await tables.inspect(connection, Layout("ai"))
            known = await identity(connection, state)
            assert known
            assert known == await identity(connection, state)
            assert await pending_rows.list_pending(connection, state) == []
        finally:
            await connection.close()
