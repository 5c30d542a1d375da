"""The first `junkie chat` of a newcomer who takes a side step; the three straight ways are in test_loop.py."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from tests.support.junkie import Junkie
from tests.support.model_server import HttpError, ModelServer
from tests.support.person import Person, person

KEY = "gsk_scripted0123456789abcdef"
ASKED = "Choose [1/2/3]:"


@pytest.fixture
def provider() -> Iterator[ModelServer]:
    with ModelServer(smart=True, models=("small", "tiny")) as server:
        yield server


@pytest.fixture
def env(database: DatabaseUrl) -> dict[str, str]:
    return {"POSTGRES_URL": database.libpq()}


def kept(junkie: Junkie) -> Path:
    return junkie.home / "config" / "junkie" / ".env"


def answers(newcomer: Person, question: str, text: str) -> None:
    """Answer a question that stands at the end of the screen."""
    newcomer.until(lambda picture: picture.screen[-1:] != [] and picture.screen[-1].endswith(question), repr(question))
    newcomer.types(text)


def test_a_refused_key_is_asked_for_again_and_then_it_ends(
    junkie: Junkie, env: dict[str, str], provider: ModelServer
) -> None:
    provider.models_reply = HttpError(401)
    newcomer = person(junkie, "chat", env={**env, "GROQ_BASE_URL": provider.url})
    answers(newcomer, ASKED, "1")
    for times in (1, 2):
        answers(newcomer, "(input is hidden):", KEY)
        newcomer.until(lambda picture, n=times: picture.text.count("rejects this key (401)") == n, "the refusal")  # type: ignore[misc]
    answers(newcomer, "(input is hidden):", KEY)
    assert newcomer.ended() == 6
    assert not kept(junkie).exists()


@pytest.mark.parametrize("ending", ["", "/"])
def test_a_local_server_is_found_without_v1(
    junkie: Junkie, env: dict[str, str], provider: ModelServer, ending: str
) -> None:
    newcomer = person(junkie, "chat", env=env)
    answers(newcomer, ASKED, "2")
    answers(newcomer, "[http://localhost:11434/v1]:", "localhost")
    newcomer.sees("for example: http://localhost:11434/v1")
    answers(newcomer, "[http://localhost:11434/v1]:", provider.url.removesuffix("/v1") + ending)
    answers(newcomer, "(press Enter for none):", "")
    newcomer.sees("Available models: small, tiny.")
    answers(newcomer, "[small]:", "tiny")
    answers(newcomer, "[yes]:", "")
    assert "I see: you like figs." in newcomer.says("I like figs.")
    assert newcomer.leaves() == 0
    assert {request.model for request in provider.requests} == {"tiny"}
    assert kept(junkie).read_text() == f"CUSTOM_PROVIDER={provider.url}\nCUSTOM_MODEL=tiny\n"


def test_a_server_that_is_not_up_yet_is_gone_on_with_and_nothing_is_kept_after_a_no(
    junkie: Junkie, env: dict[str, str], provider: ModelServer
) -> None:
    provider.models_reply = HttpError(503)
    newcomer = person(junkie, "chat", env=env)
    answers(newcomer, ASKED, "2")
    answers(newcomer, "[http://localhost:11434/v1]:", provider.url)
    answers(newcomer, "(press Enter for none):", "")
    newcomer.sees("continuing without checking")
    answers(newcomer, "Model:", "later")
    answers(newcomer, "[yes]:", "no")
    assert newcomer.says("Hello")[-2:] != []
    assert newcomer.leaves() == 0
    assert not kept(junkie).exists()


def test_the_rehearsal_says_what_it_is_and_how_to_come_back(junkie: Junkie, env: dict[str, str]) -> None:
    newcomer = person(junkie, "chat", env=env)
    answers(newcomer, ASKED, "3")
    newcomer.sees("rehearsal model: answers come from built-in rules; nothing leaves this machine")
    newcomer.says("My name is Ada.")
    assert "model         rehearsal: built-in text rules, no real model" in newcomer.says("/status")
    assert newcomer.leaves() == 0
    assert newcomer.picture.screen[-1].endswith(": junkie chat -c --offline")


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_no_word_is_broken_at_any_width(junkie: Junkie, env: dict[str, str], columns: int) -> None:
    newcomer = person(junkie, "chat", columns=columns, env=env)
    shown = " ".join(newcomer.sees(ASKED).split())
    for words in ("free at", "https://console.groq.com/keys", "OpenAI-compatible server", "no network"):
        assert words in shown
    newcomer.presses("ctrl-c")
    assert newcomer.ended() == 130


def test_leaving_is_no_error_of_the_program(junkie: Junkie, env: dict[str, str]) -> None:
    newcomer = person(junkie, "chat", env=env)
    newcomer.sees(ASKED)
    newcomer.presses("ctrl-d")
    assert newcomer.ended() == 1
    assert "no model was chosen" in newcomer.picture.text


@pytest.mark.parametrize(("content", "ours"), [("SECRET_KEY=x\nLOG_LEVEL=info\n", False), ("DISCORD_TOKEN=t\n", True)])
@pytest.mark.parametrize("said", ["yes", "no"])
def test_a_file_that_is_there_is_changed_only_when_it_is_ours_and_after_a_yes(
    junkie: Junkie, env: dict[str, str], provider: ModelServer, content: str, ours: bool, said: str
) -> None:
    found = junkie.cwd / ".env"
    found.write_text(content)
    found.chmod(0o644)
    newcomer = person(junkie, "chat", env=env)
    answers(newcomer, ASKED, "2")
    answers(newcomer, "[http://localhost:11434/v1]:", provider.url)
    answers(newcomer, "(press Enter for none):", "")
    answers(newcomer, "[small]:", "")
    if ours:
        newcomer.sees("others can read")
    answers(newcomer, "[yes]:", said)
    newcomer.says("Hello")
    assert newcomer.leaves() == 0
    written = f"CUSTOM_PROVIDER={provider.url}\nCUSTOM_MODEL=small\n" if said == "yes" else ""
    assert found.read_text() == content + (written if ours else "")
    assert stat.S_IMODE(found.stat().st_mode) == (0o600 if written and ours else 0o644)
    assert kept(junkie).exists() == bool(written and not ours)
