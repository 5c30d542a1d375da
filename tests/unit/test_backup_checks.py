"""The hint that a backup on the database's own disk is half a backup: told once, and only where it is true."""

from pathlib import Path

import pytest

from junkie_cli.core.backup.checks import own_disk
from junkie_cli.core.backup.files import DUMP_SUFFIX
from junkie_cli.core.database import Database
from junkie_cli.core.settings import Settings, load_settings
from junkie_cli.core.url import DatabaseUrl


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = load_settings(environ={"HOME": str(tmp_path), "JUNKIE_DATA_DIR": str(tmp_path)}, cwd=Path("/"))
    assert found.is_default("JUNKIE_BACKUP_DIR")
    return found


def database(*, embedded: bool) -> Database:
    return Database(DatabaseUrl.parse("postgresql://localhost/x"), embedded=embedded, label="x")


def test_the_default_folder_on_the_databases_disk_is_told_until_the_first_backup(
    settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    assert "same disk" in own_disk(folder, settings, database(embedded=True), None)
    (folder / f"one{DUMP_SUFFIX}").touch()
    assert own_disk(folder, settings, database(embedded=True), None) == ""


def test_a_folder_that_was_chosen_another_disk_and_another_server_are_left_in_peace(
    settings: Settings, tmp_path: Path
) -> None:
    assert own_disk(tmp_path, settings, database(embedded=True), tmp_path) == ""
    assert own_disk(tmp_path, settings, database(embedded=False), None) == ""
    assert own_disk(Path("/dev/shm"), settings, database(embedded=True), None) == ""
