"""Backups that other users of the machine could have changed, as operators meet them."""

import os

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from tests.support.backups import dumps, environment, load, sql
from tests.support.junkie import Junkie
from tests.support.needs import need_root


@pytest.fixture
def env(database: DatabaseUrl, junkie: Junkie) -> dict[str, str]:
    load(database)
    return dict(environment(database, junkie.backup_dir))


def test_nothing_is_backed_up_into_a_folder_that_everybody_can_write_to(junkie: Junkie, env: dict[str, str]) -> None:
    junkie.backup_dir.mkdir()
    junkie.backup_dir.chmod(0o777)
    refused = junkie.run("backup", "--no-verify", "--json", env=env)
    assert (refused.exit_code, refused.json()["error"]["code"]) == (5, "backup_folder_open")
    assert f"chmod 700 {junkie.backup_dir}" in refused.json()["error"]["hint"]
    assert not dumps(junkie.backup_dir)
    junkie.run("backup", "--no-verify", "--trust-owner", env=env).ok()
    assert junkie.backup_dir.stat().st_mode & 0o777 == 0o777


def test_a_person_is_asked_whether_the_folder_is_to_be_closed(junkie: Junkie, env: dict[str, str]) -> None:
    junkie.backup_dir.mkdir()
    junkie.backup_dir.chmod(0o777)
    for answer, exit_code, mode in (("n", 1, 0o777), ("y", 0, 0o700)):
        child = junkie.terminal("backup", "--no-verify", env=env, columns=200)
        child.expect("Every user of this machine can write to")
        child.sendline(answer)
        child.expect("CONTENT HASH" if answer == "y" else "nothing was changed")
        child.wait()
        assert (child.exitstatus, junkie.backup_dir.stat().st_mode & 0o777) == (exit_code, mode)
        assert len(dumps(junkie.backup_dir)) == (answer == "y")


def test_root_restores_what_another_user_owns_only_when_asked_to(
    junkie: Junkie, env: dict[str, str], database: DatabaseUrl
) -> None:
    need_root()
    junkie.run("backup", "--no-verify", env=env).ok()
    (dump,) = dumps(junkie.backup_dir)
    os.chown(dump, 12345, 12345)
    sql(database, "DROP SCHEMA ai CASCADE")
    into = ("--verify-into", database.with_database("postgres").libpq())
    for command in (
        ("backup", "verify", "latest", *into),
        ("restore", "latest", "--dry-run"),
        ("restore", "latest", "--yes"),
        ("restore", "latest", "--user", "ada", "--dry-run", *into),
    ):
        refused = junkie.run(*command, "--json", env=env)
        assert (refused.exit_code, refused.json()["error"]["code"]) == (5, "backup_not_trusted")
    assert sql(database, "SELECT count(*) FROM pg_namespace WHERE nspname = 'ai'") == "0"
    verified = junkie.run("backup", "verify", "latest", "--trust-owner", *into, env=env).ok()
    assert "belongs to user id 12345" in verified.stderr
    restored = junkie.run("restore", "latest", "--trust-owner", "--yes", env=env).ok()
    assert "belongs to user id 12345" in restored.stderr
    assert sql(database, "SELECT count(*) FROM ai.user_memories") == "4"
