"""Containers with a read-only root, or with hardly any shared memory."""

from pathlib import Path

from junkie_cli.core.database_url import DatabaseUrl
from tests.support.backups import dumps, environment, load
from tests.support.junkie import Junkie
from tests.support.mounts import full, read_only_but


def test_a_backup_folder_is_all_that_must_be_writable(junkie: Junkie, database: DatabaseUrl) -> None:
    load(database)
    junkie.backup_dir.mkdir(mode=0o700)
    env = {**environment(database, junkie.backup_dir), "TMPDIR": None}
    poor = read_only_but(junkie.backup_dir)
    junkie.run("backup", "--require-verified", env=env, prefix=poor).ok()
    junkie.run("backup", "verify", "latest", env=env, prefix=poor).ok()
    junkie.run("restore", "latest", "--replace", "--yes", env=env, prefix=poor).ok()
    assert len(dumps(junkie.backup_dir)) == 2  # the second is of what was replaced
    into_new = junkie.run("restore", "latest", "--dry-run", "--embedded", env=env | {"POSTGRES_URL": None}, prefix=poor)
    assert "user_memories" in into_new.ok().stdout


def test_full_shared_memory_is_not_called_a_full_disk(junkie: Junkie) -> None:
    result = junkie.run("chat", "--offline", "hello", "--json", prefix=full(Path("/dev/shm")), env={"TMPDIR": None})
    error = result.json_lines()[-1]["error"]
    assert (result.exit_code, error["code"]) == (4, "embedded_memory_full")
    assert "/dev/shm" in error["message"]
    assert "--shm-size" in error["hint"]
