"""The README is true: its commands run, its tables say what the program says, its links lead somewhere.

Blocks marked `sh` are run in order, in one home with one database; `sh embedded` in a home without any. What stands in
`text` blocks installs the program or changes the machine: CI runs the make commands, test_installers.py installs.
"""

import configparser
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from junkie_cli.core.doctor.checks import CHECKS
from junkie_cli.core.embedded import ScratchServer
from junkie_cli.core.errors import ExitCode
from junkie_cli.core.settings import VARIABLES
from junkie_cli.core.url import DatabaseUrl
from tests.support.junkie import SCRIPT, Junkie
from tests.support.model_server import ModelServer
from tests.support.postgres import clone

FOLDER = Path(__file__).parents[2]
README = (FOLDER / "README.md").read_text()
BLOCKS = re.findall(r"^ *```([^\n]+)\n(.*?)^ *```$", README, re.DOTALL | re.MULTILINE)


def blocks(kind: str) -> list[str]:
    return [text for language, text in BLOCKS if language == kind]


@pytest.fixture
def provider() -> Iterator[ModelServer]:
    with ModelServer(smart=True, models=["scripted-model"]) as server:
        yield server


def shell(junkie: Junkie, script: str, env: dict[str, str]) -> str:
    """Run a block as somebody who pastes it into a shell, stopping at the first failure."""
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


def test_the_commands_run(junkie: Junkie, database: DatabaseUrl, provider: ModelServer) -> None:
    env = {"POSTGRES_URL": database.libpq(), "JUNKIE_USER": "ada"} | provider.environment()
    said = "".join(shell(junkie, block, env) for block in blocks("sh"))
    assert "Prefers green tea" in said
    for command in ("memories list", "backup --keep", "restore latest --replace", "users erase", "doctor", "chat -c"):
        assert any(f"junkie {command}" in block for block in blocks("sh"))
    assert junkie.run("memories", "list", "-u", "ada", env=env).ok().stdout == ""  # the last block erases her


def test_moving_from_the_embedded_database_to_a_server(junkie: Junkie, postgres_server: ScratchServer) -> None:
    junkie.run("chat", "--offline", "-u", "ada", "I prefer tea.").ok()
    with clone(postgres_server) as server:
        for block in blocks("sh embedded"):
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
    (table,) = blocks("cron")
    commands = [line.split(maxsplit=5)[5] for line in table.splitlines()]
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment]  systemd's names are case-sensitive
    unit.read_string(blocks("ini")[0])
    for command in [*commands, unit["Service"]["ExecStart"]]:
        here = command.replace("/usr/local/bin/junkie", str(SCRIPT)).replace("/etc/junkie.env", str(settings))
        assert here.count(str(junkie.root)) == 1
        poor = {"HOME": str(junkie.home), "PATH": "/usr/bin:/bin", "LOGNAME": "junkie"}
        done = subprocess.run(["/bin/sh", "-c", here], env=poor, cwd=junkie.home, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "")
        assert all("PostgreSQL 17.10" in line for line in done.stderr.splitlines())  # old, and reported once
    assert len(list(junkie.backup_dir.glob("*.dump"))) == 1  # of one day the newest is kept
    assert "OnCalendar" in blocks("ini")[1]


def test_the_library_example_runs(junkie: Junkie, database: DatabaseUrl) -> None:
    (example,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example], env=junkie.environment({"POSTGRES_URL": database.libpq()}),
        cwd=junkie.cwd, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "['User likes compilers']"


def test_its_tables_are_those_of_the_program() -> None:
    assert set(re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|", README, re.MULTILINE)) == {check.id for check in CHECKS}
    named = {
        name
        for row in re.findall(r"^\| (`[A-Z][^|]*) \|", README, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert named == {variable.name for variable in VARIABLES}
    codes = {int(code) for row in re.findall(r"^\| ([0-9, ]+) \|", README, re.MULTILINE) for code in row.split(",")}
    assert codes == {int(code) for code in ExitCode} | {143}
    needed = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]["dependencies"]
    assert f"It names {len(needed)} packages" in README


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_lead_somewhere(name: str) -> None:
    text = (FOLDER / name).read_text()
    headings = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in re.findall(r"^#+ (.*)$", text, re.M)}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        assert target.startswith("https://") or not path or os.path.lexists(FOLDER / path), target
        assert path or anchor in headings, target
    assert {word for word in re.findall(r"`(tests/[\w/]+\.py)`", text) if not (FOLDER / word).exists()} == set()
