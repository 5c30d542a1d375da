"""Who else could have changed a backup, by owners and permissions."""

import os
from pathlib import Path

import pytest

from junkie_cli.core.backup import manifest as manifests
from junkie_cli.core.backup import trust
from junkie_cli.core.errors import BackupError
from tests.support.backup_folder import make
from tests.support.needs import need_root

SOMEBODY = 12345


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    folder = tmp_path / "backups"
    folder.mkdir(mode=0o700)
    return make(folder, "a.dump")


def test_an_ordinary_backup_is_beyond_doubt(backup: Path) -> None:
    assert trust.check(backup, trust_owner=False) == []


def doubts_of(backup: Path) -> list[str]:
    """What is reported; root has to confirm."""
    told = trust.check(backup, trust_owner=True)
    if told and os.geteuid() == 0:
        with pytest.raises(BackupError) as refused:
            trust.check(backup, trust_owner=False)
        assert refused.value.code == "backup_not_trusted"
        assert "--trust-owner" in refused.value.hint
    else:
        assert trust.check(backup, trust_owner=False) == told
    return told


@pytest.mark.parametrize("what", ["a.dump", "a.dump.json", "the folder"])
def test_what_every_user_can_write_to_is_doubted(backup: Path, what: str) -> None:
    path = backup.parent if what == "the folder" else backup.parent / what
    path.chmod(0o777)
    (told,) = doubts_of(backup)
    assert "every user can write to" in told


@pytest.mark.parametrize("what", ["a.dump", "a.dump.json", "the folder"])
def test_what_belongs_to_another_user_is_doubted(backup: Path, what: str) -> None:
    need_root()
    path = backup.parent if what == "the folder" else backup.parent / what
    os.chown(path, SOMEBODY, 0)
    (told,) = doubts_of(backup)
    assert told.endswith(f"belongs to user id {SOMEBODY}")


def test_what_a_group_can_write_to_is_doubted_unless_the_group_is_its_owners_alone(backup: Path) -> None:
    need_root()
    backup.chmod(0o660)
    assert doubts_of(backup) == []  # root's group
    os.chown(backup, 0, SOMEBODY)
    (told,) = doubts_of(backup)
    assert f"group {SOMEBODY} can write to a.dump" in told


def test_a_shared_folder_that_lets_nobody_rename_anothers_files_is_reported_by_the_files(backup: Path) -> None:
    backup.parent.chmod(0o1777)
    assert doubts_of(backup) == []
    manifests.path_for(backup).chmod(0o666)
    assert len(doubts_of(backup)) == 1


def test_a_link_in_a_folder_of_ones_own_is_judged_by_where_it_leads(backup: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.dump"
    link.symlink_to(backup)
    manifests.path_for(link).symlink_to(manifests.path_for(backup))
    backup.parent.chmod(0o777)
    assert len(doubts_of(link)) == 1


def test_an_open_folder_is_closed_only_where_it_is_ones_own(tmp_path: Path) -> None:
    folder, shared = tmp_path / "open", tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    shared.mkdir()
    shared.chmod(0o1777)
    assert [trust.is_open(path) for path in (folder, shared, tmp_path, tmp_path / "none")] == [True, True, False, False]
    assert [trust.can_close(path) for path in (folder, shared)] == [True, False]
    for path in (folder, shared):
        with pytest.raises(BackupError, match="every user of this machine can write to"):
            trust.require_closed(path)
    trust.close(folder)
    trust.require_closed(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
