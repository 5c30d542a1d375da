"""What an erasure says of the backups that still hold the person."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from junkie_cli.core.database_url import DatabaseUrl
from tests.support.junkie import Junkie
from tests.support.schemas import validate


def test_the_receipt_names_the_backups_and_when_retention_removes_them(
    junkie: Junkie, database: DatabaseUrl, tmp_path: Path
) -> None:
    env = {"POSTGRES_URL": database.libpq()}
    junkie.run("memories", "add", "prefers tea", "-u", "ada", env=env).ok()
    made = junkie.run("backup", "--no-verify", "--keep-daily", "7", "--json", env=env).ok().json()
    receipt = tmp_path / "receipt.json"
    done = junkie.run("users", "erase", "ada", "--yes", "--receipt", str(receipt), "--json", env=env).ok().json()
    validate(done, "users.erase")
    (backup,) = done["backups"]
    assert backup["path"] == made["path"]
    assert datetime.fromisoformat(backup["expires"]) - datetime.now(UTC) < timedelta(days=8)
    assert "expires" in receipt.read_text()
