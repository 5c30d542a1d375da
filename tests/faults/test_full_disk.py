"""A conversation whose database has no room left: an answer that is not stored is reported, and stored later."""

import random
import shutil
from pathlib import Path

import pytest

from junkie_cli.core.chat import AnswerComplete
from junkie_cli.core.embedded.scratch import ScratchServer
from tests.support.conversations import runs, say, settings_for, talking
from tests.support.model_server import ModelServer


async def test_answers_without_room_are_reported_and_stored_when_there_is_room_again(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with ScratchServer(small_disk) as server, ModelServer() as model:
        async with talking(settings_for(server.url, model), session_id="talk") as conversation:
            (await say(conversation, "before")).ok()
            ballast = small_disk / "ballast"
            with ballast.open("wb") as file:
                file.write(b"x" * shutil.disk_usage(small_disk).free)
            # Text that does not compress, so that it needs new pages: the tables' last ones still have some room.
            said = await say(conversation, f"without {random.Random(7).randbytes(50_000).hex()}")
            assert said.answer == "All right.", said
            assert AnswerComplete() not in said.events
            assert said.done.error is not None
            assert said.done.error.code == "database_full"
            assert any("not stored" in warning for warning in said.warnings)
            ballast.unlink()
            (await say(conversation, "after")).ok()
        stored = [run["said"].split()[0] for run in await runs(server.url)]
        assert sorted(stored) == ["after", "before", "without"]
