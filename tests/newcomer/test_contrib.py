"""The examples for operators: units that systemd accepts, and an environment as a container's."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.junkie import Junkie
from tests.support.needs import need
from tests.support.shelf import SOURCES

UNITS = sorted((SOURCES / "contrib/systemd").iterdir())


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    need(analyze is not None, "systemd-analyze: apt-get install systemd")
    assert analyze is not None
    for path in UNITS:
        # It checks that programs are there; junkie is not installed where these tests run.
        (tmp_path / path.name).write_text(path.read_text().replace("/usr/local/bin/junkie", "/bin/true"))
    done = subprocess.run(
        [analyze, "verify", "--man=no", *sorted(tmp_path.iterdir())], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", [path for path in UNITS if path.suffix == ".service"], ids=lambda path: path.name)
def test_units_run_a_command_that_exists_and_are_confined(path: Path, junkie: Junkie) -> None:
    lines = dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line and line[0] != "#")
    words = lines["ExecStart"].split()
    command = words[words.index("/etc/junkie.env") + 1 :]
    assert junkie.run(*command, "--help").exit_code == 0
    for name, value in (("NoNewPrivileges", "yes"), ("ProtectSystem", "strict"), ("User", "junkie")):
        assert lines[name] == value


def test_the_program_works_unbuffered_as_in_a_container(junkie: Junkie) -> None:
    env = {"PYTHONUNBUFFERED": "1"}
    said = junkie.run("chat", "--offline", "I live in Lisbon.", env=env)
    assert (said.exit_code, said.stdout.count("Lisbon")) == (0, 1), said.stderr
    assert "Lisbon" in junkie.run("memories", "list", env=env).stdout
    assert junkie.run("doctor", "--only", "settings,database.reachable", env=env).exit_code == 0
