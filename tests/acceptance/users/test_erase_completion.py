"""What follows the commit of an erasure is done by the next command, whatever ended the first one in between.

A killed process or a full disk leaves the ledger file without the erasure (or with half a line of it), and no receipt.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import ExitCode
from junkie_cli.core.schema import ledger
from tests.support.doctor import Doctor
from tests.support.junkie import Junkie
from tests.support.postgres import execute


@pytest.fixture
def erased(junkie: Junkie, database: DatabaseUrl, tmp_path: Path) -> Path:
    """The ledger file after ada and bob were erased, ada last; `junkie` works on that database."""
    junkie._extra |= {"POSTGRES_URL": database.libpq(), "JUNKIE_BACKUP_DIR": str(tmp_path / "backups")}
    for user in ("bob", "ada"):
        junkie.run("memories", "add", "prefers tea", "-u", user).ok()
    junkie.run("backup", "--no-verify").ok()
    for user in ("bob", "ada"):
        junkie.run("users", "erase", user, "--yes").ok()
    return tmp_path / "backups" / ledger.FILE_NAME


def lost(file: Path) -> None:
    file.unlink()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def without_end(file: Path) -> None:
    """Complete but for the end of the line: what is appended must not be glued to it."""
    first = file.read_bytes().splitlines()[0]
    file.write_bytes(first + b'\n{"erasure_id": ')


@pytest.mark.parametrize("damage", [lost, cut, without_end])
@pytest.mark.parametrize(
    "command",
    ["users erase ada --yes", "users erase ada", "users erase nobody --yes", "backup --no-verify --allow-shrink"],
)
def test_the_ledger_file_is_completed(
    junkie: Junkie, erased: Path, command: str, damage: Callable[[Path], None]
) -> None:
    before = {erasure.erasure_id for erasure in ledger.read_ledger_file(erased.parent)}
    damage(erased)
    junkie.run(*command.split()).ok()
    assert {erasure.erasure_id for erasure in ledger.read_ledger_file(erased.parent)} == before
    again = erased.read_bytes()
    junkie.run(*command.split()).ok()
    assert erased.read_bytes() == again


def test_an_erased_person_does_not_come_back_in_a_new_server(
    junkie: Junkie, erased: Path, postgres_server: ScratchServer
) -> None:
    lost(erased)
    done = junkie.run("users", "erase", "ada", "--yes").ok()
    assert "no data found for user ada (erased at 20" in done.stderr
    execute(postgres_server, "CREATE DATABASE new_server")
    new = postgres_server.url.with_database("new_server").libpq()
    junkie.run("restore", "latest", "--into", new, "--yes").ok()
    found = junkie.run("users", "list", "--json", env={"POSTGRES_URL": new}).ok().json()
    assert found["users"] == []


def test_a_dry_run_completes_nothing(junkie: Junkie, erased: Path) -> None:
    lost(erased)
    junkie.run("users", "erase", "ada", "--dry-run").ok()
    assert not erased.exists()


def test_the_message_names_the_command_that_does_it(junkie: Junkie, erased: Path) -> None:
    junkie.run("memories", "add", "prefers tea", "-u", "eve").ok()
    content = erased.read_bytes()
    erased.unlink()
    erased.mkdir()
    done = junkie.run("users", "erase", "eve", "--yes")
    assert done.exit_code == ExitCode.FAILED
    assert "a restore could restore the person" in done.stderr
    assert "then run again: junkie users erase eve" in done.stderr.replace("\n", " ")
    warned = junkie.run("backup", "--no-verify", "--allow-shrink").ok()
    assert "a restore could restore erased people" in warned.stderr
    erased.rmdir()
    erased.write_bytes(content)
    junkie.run("users", "erase", "eve", "--yes").ok()
    assert len(ledger.read_ledger_file(erased.parent)) == 3


def test_a_receipt_that_was_not_written_is_written_later(junkie: Junkie, erased: Path, tmp_path: Path) -> None:
    receipt = tmp_path / "receipt.json"
    found = junkie.run("users", "erase", "ada", "--yes", "--receipt", str(receipt), "--json").ok().json()
    assert (found["erased"], found["receipt"]) == ({}, str(receipt))
    document = json.loads(receipt.read_text())
    assert document["erased"]["user_memories"] == 1
    assert document["erased_at"] is not None
    assert document["backups"]
    nobody = junkie.run("users", "erase", "nobody", "--yes", "--receipt", str(tmp_path / "none"), "--json").ok().json()
    assert nobody["receipt"] is None
    assert not (tmp_path / "none").exists()


def test_doctor_finds_and_completes_it(erased: Path, database: DatabaseUrl, tmp_path: Path) -> None:
    doctor = Doctor(tmp_path)
    doctor.environ["JUNKIE_BACKUP_DIR"] = str(erased.parent)
    assert doctor.use(database).status("backup.ledger") == "ok"
    lost(erased)
    found = doctor.one("backup.ledger")
    assert found.status == "failed"
    assert "lacks 2 erasures" in found.detail
    doctor.fix("backup.ledger")
    assert doctor.status("backup.ledger") == "ok"
    assert len(ledger.read_ledger_file(erased.parent)) == 2
