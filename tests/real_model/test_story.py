"""The story of a user with a real model: chat, remember, recall in a new session, `doctor --deep`, learn: `make real`.

MODEL names the file (GGUF), or the address of a server that speaks the OpenAI protocol. What a small model writes
cannot be foreseen: a test asks for what must hold with any model that follows the conversation, and shows the rest.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.junkie import Junkie

MODEL = os.environ.get("MODEL", "")
PATIENCE = 1800.0  # seconds for one command: two slow cores read 25 tokens a second


def _address(model: str) -> Iterator[str]:
    if model.startswith("http"):
        yield model
        return
    if not model:
        pytest.skip("no model: make real MODEL=file.gguf, or MODEL=URL")
    if not Path(model).is_file():
        pytest.skip(f"no model: {model} is not there")
    if find_spec("xllamacpp") is None:
        pytest.skip("no server: pip install xllamacpp")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, "-m", "tests.real_model.server", model, str(port)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait(f"http://127.0.0.1:{port}/v1", process)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, "the model's server ended: try python -m tests.real_model.server by hand"
        try:
            with urllib.request.urlopen(f"{url}/models", timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail("the model's server does not answer")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    yield from _address(MODEL)


@pytest.fixture
def env(address: str) -> dict[str, str]:
    name = os.environ.get("MODEL_NAME", "real-model")
    return {
        "CUSTOM_PROVIDER": address,
        "CUSTOM_MODEL": name,
        "MEMORY_MODEL": name,
        "JUNKIE_TOOLS": "off",
        "MODEL_TIMEOUT": "900",
        "MEMORY_TIMEOUT": "900",
        "JUNKIE_MAX_SECONDS": "1500",
        "MODEL_TEMPERATURE": "0",
    }


def test_the_story(junkie: Junkie, env: dict[str, str], tmp_path: Path) -> None:
    first = junkie.run("chat", "-u", "ada", "--json", "My name is Ada and I live in Lisbon.", env=env, timeout=PATIENCE)
    assert first.exit_code == 0, first.stderr
    done = json.loads(first.stdout.splitlines()[-1])
    assert (done["event"], done["complete"], bool(done["answer"].strip())) == ("done", True, True)
    junkie.run("memories", "retry", env=env, timeout=PATIENCE)  # what the model could not answer the first time

    kept = junkie.run("memories", "list", "-u", "ada", "--json", env=env).json()["memories"]
    print(*(each["memory"] for each in kept), sep="\n")
    assert any("Lisbon" in each["memory"] for each in kept)
    assert all("John" not in each["memory"] for each in kept), "a name from the model's instructions"

    again = junkie.run("chat", "-u", "ada", "In which city do I live?", env=env, timeout=PATIENCE)
    print(again.stdout)
    assert (again.exit_code, "Lisbon" in again.stdout) == (0, True), "recalled in a new session"

    other = junkie.run("memories", "list", "-u", "bob", "--json", env=env).json()["memories"]
    assert other == []

    examined = junkie.run("doctor", "--deep", "--json", "--timeout", "1200", env=env, timeout=PATIENCE)
    failed = [check for check in examined.json()["checks"] if check["status"] == "failed"]
    assert not failed, failed

    lines = tmp_path / "said.jsonl"
    lines.write_text(json.dumps({"user_id": "bob", "session_id": "s1", "message": "I am allergic to peanuts."}) + "\n")
    learned = junkie.run("memories", "learn", str(lines), env=env, timeout=PATIENCE)
    assert learned.exit_code == 0, learned.stderr
    bobs = junkie.run("memories", "list", "-u", "bob", "--json", env=env).json()["memories"]
    assert any("peanut" in each["memory"].lower() for each in bobs), bobs
