"""Fixtures for all tests; each comes from the support module that makes it."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support.conversations import conversation_template, echoing_model, model, smart_model
from tests.support.generations import admin, generation_templates, written_by
from tests.support.junkie import junkie
from tests.support.mounts import small_disk
from tests.support.postgres import database, empty_template, memory_folder, postgres_server, template_database
from tests.support.shelf import sdist, shelf, wheel

__all__ = [
    "admin",
    "conversation_template",
    "database",
    "echoing_model",
    "empty_template",
    "generation_templates",
    "junkie",
    "model",
    "postgres_server",
    "sdist",
    "shelf",
    "small_disk",
    "smart_model",
    "template_database",
    "wheel",
    "written_by",
]


# One profile for every property: a slow machine fails none of them. How many examples is each test's own choice.
hypothesis.settings.register_profile("suite", deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
hypothesis.settings.load_profile("suite")


@pytest.fixture(autouse=True, scope="session")
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A state folder of this worker alone: what code under test keeps there is not in the home of who tests.

    Servers that code under test starts are in memory, as those of the tests.
    """
    with pytest.MonkeyPatch.context() as patch:
        if (memory := memory_folder()) and tempfile.gettempdir():  # the tests' own files stay where they are
            patch.setenv("TMPDIR", str(memory))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True, scope="session")
def heeded_signals() -> None:
    """What a shell runs in the background ignores SIGINT, what nohup runs SIGHUP; every child would inherit that."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of this test alone, in this process."""
    folder = tmp_path / "state"
    folder.mkdir()
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder


@pytest.fixture
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable names a server, and there are no files of libpq in the home."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
