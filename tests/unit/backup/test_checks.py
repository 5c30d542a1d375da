"""What is said about the folder of backups: that it lies on the database's own disk, that it cannot be read."""

import os
from pathlib import Path

import pytest

from junkie_cli.core.backup.catalogue import scan
from junkie_cli.core.backup.checks import own_disk
from junkie_cli.core.backup.files import DUMP_SUFFIX
from junkie_cli.core.database import Database
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import BackupError
from junkie_cli.core.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    data = tmp_path / "data"
    data.mkdir()
    found = load_settings(environ={"HOME": str(tmp_path), "JUNKIE_DATA_DIR": str(data)}, cwd=Path("/"))
    assert found.is_default("JUNKIE_BACKUP_DIR")
    return found


def database(*, embedded: bool) -> Database:
    return Database(DatabaseUrl.parse("postgresql://localhost/x"), embedded=embedded, label="x")


def test_the_default_folder_on_the_databases_disk_is_reported_until_the_first_backup(
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


async def test_a_folder_behind_a_closed_one_is_an_error_of_ours(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "backups").mkdir(parents=True)
    closed.chmod(0o000)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(BackupError, match="cannot read"):
            await scan(closed / "backups")
    finally:
        os.seteuid(before)
        closed.chmod(0o700)
