"""A process that talks: whom it connects to, what it logs and where, whatever the environment asks for."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from junkie_cli.core.agent.agno_environment import quiet_loop
from tests.support.model_server import HttpError, ModelServer, Text
from tests.support.network import NetworkRecorder

SECRET = "the safe opens with 4711"
# A team with a member, without telemetry=False anywhere: what keeps it silent is the guard alone.
PROGRAM = """
import asyncio, sys
from junkie_cli.core.settings import load_settings
from junkie_cli.core.agent import agno_environment
from junkie_cli.core.agent.models import build_models
from agno.agent import Agent
from agno.memory import MemoryManager
from agno.models.message import Message
from agno.team import Team

async def main():
    agno_environment.quiet_loop()
    if "-v" in sys.argv:
        agno_environment.protect(verbose=True)
    models = build_models(load_settings())
    member = Agent(name="helper", model=models.compound() or models.main)
    await member.arun(sys.argv[1], user_id="ada", session_id="one")
    team = Team(members=[member], model=models.main, debug_mode=False)
    async for event in team.arun(sys.argv[1], stream=True, stream_events=True, user_id="ada", session_id="one"):
        pass
    manager = MemoryManager(model=models.memory)
    try:
        await manager.acreate_or_update_memories([Message(role="user", content=sys.argv[1])], [], "ada", None)
    except Exception as error:
        pass
    await models.close()

asyncio.run(main())
print("the answer")
"""
NOSY = {"AGNO_TELEMETRY": "true", "AGNO_DEBUG": "true", "AGNO_MONITOR": "true", "OPENAI_LOG": "debug"}


def talk(folder: Path, server: ModelServer, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    (folder / ".env").touch(mode=0o600)
    environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin", **NOSY, **server.groq_environment(), **more}
    command = [sys.executable, "-c", PROGRAM, SECRET, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_only_the_configured_address_is_connected_to(tmp_path: Path) -> None:
    recorder = NetworkRecorder(tmp_path)
    with ModelServer(script=lambda _: Text("All right.")) as server:
        done = talk(tmp_path, server, **recorder.environment())
        assert done.returncode == 0, done.stderr
        host, port = server.url.split("/")[2].split(":")
        assert recorder.addresses() == {(host, int(port))}
        assert recorder.names() <= {host}
        assert len(server.requests) == 3
        assert server.other_requests == []


def test_the_recorder_sees_what_is_not_allowed(tmp_path: Path) -> None:
    recorder = NetworkRecorder(tmp_path)
    program = "import socket; s = socket.socket(); s.settimeout(1); s.connect_ex(('127.0.0.1', 9))"
    subprocess.run([sys.executable, "-c", program], env=recorder.environment(), timeout=60, check=True)
    assert recorder.addresses() == {("127.0.0.1", 9)}


@pytest.mark.parametrize("failing", [False, True])
def test_nothing_is_logged_unless_asked_for(tmp_path: Path, failing: bool) -> None:
    def script(_: object) -> HttpError | Text:
        return HttpError(400, f"cannot read: {SECRET}") if failing else Text("All right.")

    with ModelServer(script=script) as server:
        done = talk(tmp_path, server)
    assert (done.returncode, done.stdout, done.stderr) == (0, "the answer\n", "")


@pytest.mark.parametrize(("arguments", "more"), [(("-v",), {}), ((), {"DEBUG_MODE": "true"})])
def test_logs_that_are_asked_for_go_to_stderr(tmp_path: Path, arguments: tuple[str, ...], more: dict[str, str]) -> None:
    with ModelServer(script=lambda _: HttpError(500, headers={"Retry-After": "999"})) as server:
        done = talk(tmp_path, server, *arguments, **more)
    assert done.stdout == "the answer\n"
    assert "agno" in done.stderr
    assert "gsk_scripted" not in done.stderr


async def test_a_task_that_nobody_asks_about_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    quiet_loop()

    async def fail() -> None:
        raise ValueError("personal words")

    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    del task
    await asyncio.sleep(0)
    assert capsys.readouterr() == ("", "")


def test_choosing_a_provider_loads_nothing_heavy() -> None:
    program = (
        "import sys, json; import junkie_cli.core.agent.endpoints;"
        "print(json.dumps([m for m in ('agno','openai','httpx2','pydantic','sqlalchemy','rich') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("verbose", [False, True])
def test_warnings_are_in_the_log_that_is_asked_for(verbose: bool) -> None:
    program = (
        "import warnings; from junkie_cli.core.agent import agno_environment;"
        f"warnings.showwarning = lambda *_, **__: None; agno_environment.protect(verbose={verbose});"
        "warnings.warn('personal')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ("py.warnings: WARNING" in done.stderr) is verbose
    assert ("personal" in done.stderr) is verbose
