"""The commands in the documents run: README and the pages in docs/, each in a home and a database of its own.

Blocks marked `sh` run in order; `sh embedded` in a home without a database. `text` blocks install the program or change
the machine: CI runs the make commands, test_installers.py installs.
"""

import configparser
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded.scratch import ScratchServer
from tests.support import documents
from tests.support.documents import README, ROOT, blocks
from tests.support.junkie import SCRIPT, Junkie
from tests.support.model_server import ModelServer
from tests.support.postgres import clone

PAGES = [path for path in documents.documents() if blocks(path, "sh")]
OPERATIONS = ROOT / "docs/operations.md"


@pytest.fixture
def provider() -> Iterator[ModelServer]:
    with ModelServer(smart=True, models=["scripted-model"]) as server:
        yield server


def shell(junkie: Junkie, script: str, env: dict[str, str]) -> str:
    """Run a block like a reader who pastes it into a shell, stopping at the first failure."""
    script = script.replace("junkie doctor", "junkie doctor --timeout 120")  # the machine that tests may be busy
    environment = junkie.environment(env)
    environment["PATH"] = f"{SCRIPT.parent}:{environment['PATH']}"
    done = subprocess.run(
        ["sh", "-eux", "-c", script], env=environment, cwd=junkie.cwd, capture_output=True, text=True, timeout=300,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    old_wheel = "--nagios" in script and "WARNING - database.release: " in done.stdout and "warning=1" in done.stdout
    assert done.returncode == (1 if old_wheel else 0), f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("page", PAGES, ids=documents.name)
def test_the_commands_run(page: Path, junkie: Junkie, database: DatabaseUrl, provider: ModelServer) -> None:
    env = {"POSTGRES_URL": database.libpq(), "JUNKIE_USER": "ada"} | provider.environment()
    if page != README:  # every other page is for somebody who has tried the tour
        junkie.run("chat", "--offline", "-u", "ada", "My name is Ada and I prefer tea.", env=env).ok()
    expected = {"user": "ada", "question": "Where do I live?", "not_recalled": ["Bologna"]}
    (junkie.cwd / "expected.jsonl").write_text(json.dumps(expected) + "\n")
    said = "".join(shell(junkie, block, env) for block in blocks(page, "sh"))
    if page == README:
        assert "Prefers green tea" in said
    if any("users erase" in block for block in blocks(page, "sh")):
        assert junkie.run("memories", "list", "-u", "ada", env=env).ok().stdout == ""
    if page == OPERATIONS:  # its last block brings her memories back
        assert "Ada" in junkie.run("memories", "list", "-u", "ada", env=env).ok().stdout


def test_the_documents_show_every_group_of_commands() -> None:
    shown = "".join(block for page in PAGES for block in blocks(page, "sh"))
    for command in (
        *("chat -c", "chat --offline", "chat --json", "memories list", "memories search", "memories undo"),
        *("memories learn", "memories retry", "memories export", "memories import", "memories clear", "users list"),
        *("users export", "users erase", "sessions list", "stats", "backup --keep", "backup verify", "doctor --fix"),
        *("restore latest --replace", "restore latest --user", "doctor --nagios", "config show"),
    ):
        assert f"junkie {command}" in shown


def test_moving_from_the_embedded_database_to_a_server(junkie: Junkie, postgres_server: ScratchServer) -> None:
    junkie.run("chat", "--offline", "-u", "ada", "I prefer tea.").ok()
    (block,) = blocks(OPERATIONS, "sh embedded")
    with clone(postgres_server) as server:
        shell(junkie, block, {"NEW_URL": server.libpq()})
        assert "tea" in junkie.run("memories", "list", env={"POSTGRES_URL": server.libpq()}).ok().stdout


def test_the_crontab_and_the_unit_run_as_cron_and_systemd_start_them(
    junkie: Junkie, database: DatabaseUrl, provider: ModelServer
) -> None:
    env = {"POSTGRES_URL": database.libpq()} | provider.environment()
    junkie.run("chat", "--offline", "hello", env=env).ok()
    settings = junkie.root / "junkie.env"
    settings.write_text("".join(f"{name}={value}\n" for name, value in env.items()))
    with settings.open("a") as file:
        file.write(f"JUNKIE_BACKUP_DIR={junkie.backup_dir}\n")
    settings.chmod(0o600)
    (table,) = blocks(OPERATIONS, "cron")
    commands = [line.split(maxsplit=5)[5] for line in table.splitlines()]
    units = ROOT / "contrib/systemd"
    service, timer = ((units / f"junkie-backup.{kind}").read_text() for kind in ("service", "timer"))
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment]  systemd's names are case-sensitive
    unit.read_string(service)
    for command in [*commands, unit["Service"]["ExecStart"]]:
        here = command.replace("/usr/local/bin/junkie", str(SCRIPT)).replace("/etc/junkie.env", str(settings))
        assert here.count(str(junkie.root)) == 1
        poor = {"HOME": str(junkie.home), "PATH": "/usr/bin:/bin", "LOGNAME": "junkie"}
        done = subprocess.run(["/bin/sh", "-c", here], env=poor, cwd=junkie.home, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "")
        assert all("PostgreSQL 17.10" in line for line in done.stderr.splitlines())  # old, and reported once
    assert len(list(junkie.backup_dir.glob("*.dump"))) == 1  # of one day the newest is kept
    assert "OnCalendar" in timer


def test_the_library_example_runs(junkie: Junkie, database: DatabaseUrl) -> None:
    (example,) = blocks(ROOT / "docs/python.md", "python")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example], env=junkie.environment({"POSTGRES_URL": database.libpq()}),
        cwd=junkie.cwd, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "['User likes compilers']"


def test_the_settings_in_the_documents_are_settings_of_the_program(junkie: Junkie, tmp_path: Path) -> None:
    for page in documents.documents():
        for block in blocks(page, "dotenv"):
            file = tmp_path / ".env"
            file.write_text(block)
            shown = junkie.run("--env-file", str(file), "config", "show").ok().stdout
            assert shown.count(str(file)) >= len(block.split()), os.linesep + shown
