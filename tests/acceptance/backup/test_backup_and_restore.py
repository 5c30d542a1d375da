"""`junkie backup` and `junkie restore` as operators and cron use them."""

import json
import re
import stat
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded.scratch import ScratchServer
from tests.support.backups import dumps, environment, load, names, sql
from tests.support.debian_postgres import AWFUL_PASSWORD, DebianServer, debian_server
from tests.support.junkie import SCRIPT, Junkie
from tests.support.postgres import clone
from tests.support.schemas import validate

__all__ = ["debian_server"]


@pytest.fixture
def bot(database: DatabaseUrl) -> DatabaseUrl:
    load(database)
    sql(database, "CREATE TABLE public.messages (a int)")
    return database


@pytest.fixture
def env(bot: DatabaseUrl, junkie: Junkie) -> dict[str, str]:
    return dict(environment(bot, junkie.backup_dir))


def test_cron_gets_a_backup_and_not_a_word(bot: DatabaseUrl, junkie: Junkie) -> None:
    """An empty PATH, HOME=/, no terminal, a current folder that nobody can write to."""
    folder = junkie.root / "readonly"
    folder.mkdir(mode=0o555)
    first, second = [
        subprocess.run(
            [SCRIPT, "backup", "--keep-last", "1"],
            env={"PATH": "", "HOME": "/", **environment(bot, junkie.backup_dir)},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )
        for _ in range(2)
    ]
    assert (first.returncode, first.stdout) == (0, "")
    assert all("PostgreSQL 17.10" in line for line in first.stderr.splitlines())  # once for each version in use
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert len(dumps(junkie.backup_dir)) == 1
    assert list(folder.iterdir()) == []
    assert {stat.S_IMODE(path.stat().st_mode) for path in junkie.backup_dir.iterdir()} == {0o600}
    assert stat.S_IMODE(junkie.backup_dir.stat().st_mode) == 0o700


def test_cron_that_finds_no_settings_backs_nothing_up(junkie: Junkie) -> None:
    result = junkie.run("backup")
    assert result.exit_code == 3
    assert "--embedded" in result.stderr


def test_a_server_that_is_not_there_is_exit_4(junkie: Junkie) -> None:
    result = junkie.run("backup", "--json", env={"POSTGRES_URL": "postgresql://x:geheim@127.0.0.1:1/bot"})
    assert result.exit_code == 4
    assert result.json()["error"]["code"] == "database_refused"
    assert "geheim" not in result.stdout + result.stderr


@pytest.mark.parametrize("command", ["backup --verify-into x", "restore latest --into x"])
def test_what_is_no_url_is_wrong_usage_and_the_form_is_shown(junkie: Junkie, command: str) -> None:
    result = junkie.run(*command.split(), env={"POSTGRES_URL": "postgresql://127.0.0.1:1/bot"})
    assert result.exit_code == 2, result
    assert "postgresql://USER@HOST/DATABASE" in result.stderr


def test_the_documents(junkie: Junkie, env: dict[str, str]) -> None:
    first = junkie.run("backup", "--json", env=env).ok().json()
    second = junkie.run("backup", "--json", "--keep-last", "1", env=env).ok().json()
    for document in (first, second):
        validate(document, "backup")
        assert document["verified"] is True
        assert document["left_out"] == ["public.messages"]
    assert second["pruned"] == [first["path"]]
    assert (
        second["sha256"]
        == subprocess.run(["sha256sum", second["path"]], capture_output=True, text=True, check=True).stdout.split()[0]
    )
    listed = junkie.run("backup", "list", "--json", env={"JUNKIE_BACKUP_DIR": env["JUNKIE_BACKUP_DIR"]}).ok().json()
    validate(listed, "backup.list")
    assert [entry["status"] for entry in listed["backups"]] == ["verified"]
    assert listed["backups"][0]["tables"] == second["tables"]
    planned = junkie.run("backup", "prune", "--keep-last", "1", "--dry-run", "--json", env=env).ok().json()
    validate(planned, "backup.prune")
    proven = junkie.run("backup", "verify", "latest", "--json", env=env).ok().json()
    validate(proven, "backup.verify")
    assert proven["tables"] == second["tables"]
    dry = junkie.run("restore", "latest", "--replace", "--dry-run", "--json", env=env).ok().json()
    validate(dry, "restore")
    done = junkie.run("restore", "latest", "--replace", "--yes", "--json", env=env).ok().json()
    validate(done, "restore")
    one = junkie.run("restore", "latest", "--user", "ada", "--dry-run", "--json", env=env).ok().json()
    validate(one, "restore")


def test_a_file_can_be_named_and_is_never_overwritten(junkie: Junkie, env: dict[str, str]) -> None:
    target = junkie.root / "elsewhere" / "nightly.dump"
    junkie.run("backup", "-o", str(target), "--no-verify", env=env).ok()
    content = target.read_bytes()
    again = junkie.run("backup", "-o", str(target), "--no-verify", env=env)
    assert again.exit_code == 5
    assert target.read_bytes() == content
    assert names(target.parent) == ["nightly.dump", "nightly.dump.json"]
    junkie.run("backup", "verify", str(target)).ok()


def test_pruning_wants_a_rule_and_says_why(junkie: Junkie, env: dict[str, str]) -> None:
    assert junkie.run("backup", "prune", env=env).exit_code == 2
    for _ in range(3):
        junkie.run("backup", "--no-verify", env=env).ok()
    before = names(junkie.backup_dir)
    dry = junkie.run("backup", "prune", "--keep-last", "1", "--dry-run", env=env).ok().stdout.splitlines()
    assert [line.split("\t")[3:] for line in dry] == [
        ["kept", "last"],
        ["would be deleted", "no rule keeps it"],
        ["would be deleted", "no rule keeps it"],
    ]
    assert names(junkie.backup_dir) == before
    junkie.run("backup", "prune", "--keep-last", "1", env=env).ok()
    assert len(dumps(junkie.backup_dir)) == 1


def test_nothing_there_is_not_an_error_but_a_missing_file_is(junkie: Junkie) -> None:
    assert junkie.run("backup", "list", "--json").ok().json() == {"backups": []}
    assert junkie.run("backup", "verify", "latest").exit_code == 1
    assert junkie.run("restore", "/nowhere.dump", "--embedded", "--yes").exit_code == 1
    assert not junkie.data_dir.exists(), "no database is made for a file that is not there"


def test_a_damaged_backup_is_reported_by_list_verify_and_restore(junkie: Junkie, env: dict[str, str]) -> None:
    path = Path(junkie.run("backup", "--json", env=env).ok().json()["path"])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    listed = junkie.run("backup", "list", "--json", env=env).ok().json()["backups"]
    assert listed[0]["status"] == "damaged"
    for words in (["backup", "verify", str(path)], ["restore", str(path), "--replace", "--yes"]):
        result = junkie.run(*words, "--json", env=env)
        assert result.exit_code == 5
        assert result.json()["error"]["code"] == "backup_damaged"


def test_a_backup_restores_on_another_machine_without_any_server(junkie: Junkie, env: dict[str, str]) -> None:
    """Nothing but the two files: verified there, and restored into an embedded database that is made for it."""
    path = Path(junkie.run("backup", "--json", env=env).ok().json()["path"])
    other = junkie.root / "usb"
    other.mkdir()
    for name in (path.name, f"{path.name}.json"):
        (other / name).write_bytes((path.parent / name).read_bytes())
    junkie.run("backup", "verify", str(other / path.name)).ok()
    planned = junkie.run("restore", str(other / path.name), "--embedded", "--dry-run", "--json").ok().json()
    assert "a new embedded PostgreSQL" in planned["database"]
    assert not junkie.data_dir.exists()
    junkie.run("restore", str(other / path.name), "--embedded", "--yes").ok()
    listed = junkie.run("memories", "list", "--json").ok().json()
    assert {memory["user_id"] for memory in listed["memories"]} >= {"ada", "bob"}
    other_server = junkie.run("backup", "--embedded", "--json")
    assert other_server.json()["error"]["code"] == "backup_other_cluster", "the folder is the first server's"
    junkie.run("backup", "--embedded", "-o", str(junkie.root / "new")).ok()


def test_into_another_database_and_over_data_only_when_asked_to(
    junkie: Junkie, env: dict[str, str], bot: DatabaseUrl, postgres_server: ScratchServer
) -> None:
    junkie.run("backup", "--no-verify", env=env).ok()
    with clone(postgres_server) as other:
        junkie.run("restore", "latest", "--into", other.libpq(), env=env).ok()
        assert sql(other, "SELECT count(*) FROM ai.user_memories") == sql(bot, "SELECT count(*) FROM ai.user_memories")
        again = junkie.run("restore", "latest", "--into", other.libpq(), env=env)
        assert again.exit_code == 5
        assert "--replace" in again.stderr
        unasked = junkie.run("restore", "latest", "--into", other.libpq(), "--replace", env=env)
        assert unasked.exit_code == 2


def test_one_person_is_shown_first_and_then_restored(junkie: Junkie, env: dict[str, str], bot: DatabaseUrl) -> None:
    junkie.run("backup", "--no-verify", env=env).ok()
    sql(bot, "DELETE FROM ai.user_memories")
    shown = junkie.run("restore", "latest", "--user", "ada", "--dry-run", env=env).ok().stdout
    assert re.search(r"^user_memories\t\S+\tadded\tmissing\tAda", shown, re.MULTILINE)
    assert "Kraków" not in shown
    done = junkie.run("restore", "latest", "--user", "ada", "--json", env=env).ok().json()
    assert sql(bot, "SELECT string_agg(DISTINCT user_id, ' ') FROM ai.user_memories") == "ada"
    junkie.run("memories", "undo", done["undo"], env=env).ok()
    assert sql(bot, "SELECT count(*) FROM ai.user_memories") == "0"


def test_a_person_at_a_terminal_sees_a_summary_and_types_the_name(
    junkie: Junkie, env: dict[str, str], bot: DatabaseUrl
) -> None:
    child = junkie.terminal("backup", env=env, columns=120)
    child.expect("public.messages")
    child.expect("CONTENT HASH")
    child.expect("user_memories")
    child.wait()
    assert child.exitstatus == 0
    child = junkie.terminal("restore", "latest", "--replace", env=env, columns=120)
    child.expect("ROWS IN BACKUP")
    child.expect(f"type {bot.database} to continue")
    child.sendline("no")
    child.expect("nothing was changed")
    child.wait()
    assert child.exitstatus == 1
    child = junkie.terminal("restore", "latest", "--replace", env=env, columns=120)
    child.expect(f"type {bot.database} to continue")
    child.sendline(bot.database or "")
    child.expect("the old schema is now ai_before_")
    child.wait()
    assert child.exitstatus == 0


def test_no_secret_is_ever_on_a_command_line_or_in_a_file(junkie: Junkie, debian_server: DebianServer) -> None:
    """A password full of special characters, over TLS; every process of the machine is watched all the while."""
    name = debian_server.new_database()
    load(debian_server.url(name))
    url = debian_server.url_text(name)
    seen: set[bytes] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    seen.add(entry.read_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    env = dict(environment(url, junkie.backup_dir))
    try:
        made = junkie.run("backup", "--json", env=env).ok()
        restored = junkie.run("restore", "latest", "--replace", "--yes", "--json", env=env).ok()
    finally:
        over.set()
        watcher.join()
    assert any(b"pg_dump\0-Fc" in words for words in seen), "the watcher saw nothing"
    encoded = url.split(":")[2].split("@")[0]
    for secret in (AWFUL_PASSWORD, encoded):
        assert not [words for words in seen if secret.encode() in words]
        for text in (made.stdout, made.stderr, restored.stdout, restored.stderr):
            assert secret not in text
        for path in junkie.backup_dir.iterdir():
            assert secret.encode() not in path.read_bytes()
    assert made.json()["verified"] is True
    manifest = json.loads(dumps(junkie.backup_dir)[0].with_suffix(".dump.json").read_text())
    assert manifest["origin"]["server_version"].startswith("15.")


def test_every_way_in_has_help_and_an_example(junkie: Junkie) -> None:
    for words in (["backup"], ["backup", "list"], ["backup", "verify"], ["backup", "prune"], ["restore"]):
        assert "Example" in junkie.run(*words, "-h").ok().stdout
