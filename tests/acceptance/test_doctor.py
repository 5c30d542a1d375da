"""`junkie doctor` as a person, a script and a monitoring system meet it."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from junkie_cli.core import embedded
from junkie_cli.core.database_url import DatabaseUrl, Host
from junkie_cli.core.postgres.releases import faults_of
from junkie_cli.core.sanitize import width
from tests.support.backups import sql
from tests.support.generations import Make
from tests.support.junkie import Junkie
from tests.support.model_server import Hang, ModelServer
from tests.support.needs import need_root
from tests.support.person import person
from tests.support.proxy import Proxy
from tests.support.schemas import validate
from tests.unit.doctor.test_runner import IDS

LONG = ("--timeout", "100")
DEEP = {"model.latency", "memory.roundtrip"}


BUNDLED = subprocess.run([embedded.bin_dir() / "postgres", "--version"], check=True, capture_output=True, text=True)
OLD_WHEEL = {"database.release"} if faults_of(BUNDLED.stdout.split()[2]) else set()
"""What doctor warns of on every machine as long as the bundled PostgreSQL has faults that can be reached."""


def environment(url: DatabaseUrl, **more: str) -> dict[str, str | None]:
    return {"POSTGRES_URL": url.libpq(), **more}


# --- for scripts ------------------------------------------------------------------------------------------------------


def test_the_document(junkie: Junkie, written_by: Make) -> None:
    with ModelServer() as server:
        env = environment(written_by("3.1"), **server.groq_environment())
        result = junkie.run("doctor", "--json", *LONG, env=env)
    assert result.exit_code == 0, result.stdout
    document = result.json()
    validate(document, "doctor")
    assert [check["id"] for check in document["checks"]] == [name for name in IDS.split() if name not in DEEP]
    assert document["status"] == "warning"
    assert result.stderr == ""
    assert "gsk_scripted" not in result.stdout
    for check in document["checks"]:
        assert bool(check["hint"]) == (check["status"] in {"warning", "failed", "unknown"}), check
        assert check["detail"]


def test_all_is_well_with_deep_and_strict(junkie: Junkie, written_by: Make) -> None:
    url = written_by("2.9-migrated")
    sql(url, "DELETE FROM ai.user_memories WHERE user_id = 'default'")
    with ModelServer(smart=True) as server:
        env = environment(url, **server.groq_environment())
        assert junkie.run("doctor", "--strict", "--only", "schema", *LONG, env=env).exit_code == 1
        assert junkie.run("doctor", "--only", "schema", *LONG, env=env).exit_code == 0
        junkie.run("doctor", "--fix", "--only", "schema", "--yes", *LONG, env=env).ok()
        junkie.run("backup", env=env).ok()
        result = junkie.run("doctor", "--deep", "--strict", "--json", *LONG, env=env)
    document = result.json()
    assert {check["id"] for check in document["checks"] if check["status"] != "ok"} == OLD_WHEEL, result.stdout
    assert (result.exit_code, document["status"]) == ((1, "warning") if OLD_WHEEL else (0, "ok"))
    assert [check["id"] for check in document["checks"]] == IDS.split()


def test_a_pipe_gets_fields(junkie: Junkie, written_by: Make) -> None:
    result = junkie.run("doctor", "schema.junkie", "--only", "schema.tables", *LONG, env=environment(written_by("3.1")))
    rows = [line.split("\t") for line in result.ok().stdout.splitlines()]
    assert [row[:2] for row in rows] == [["ok", "schema.tables"], ["warning", "schema.junkie"]]
    assert rows[1][3] == "junkie doctor --fix schema.junkie"


def test_settings_so_broken_that_nothing_else_starts(junkie: Junkie) -> None:
    (junkie.cwd / ".env").write_text('POSTGRES_URL=what://hunter2@x\nMAX_AGENTS=none\nGROQ_API_KEY="gsk_hunter2"x"\n')
    assert junkie.run("stats").exit_code == 3
    result = junkie.run("doctor", "--json", *LONG)
    assert result.exit_code == 1
    validate(result.json(), "doctor")
    assert result.json()["status"] == "failed"
    assert "hunter2" not in result.stdout + result.stderr
    result = junkie.run("--env-file", "nowhere", "doctor", "--json", *LONG)
    assert (result.exit_code, result.json()["checks"][0]["status"]) == (1, "failed")


def test_no_database_is_made_and_nothing_is_written(junkie: Junkie) -> None:
    only = "provider,model,database,schema,memory.roundtrip,backup"
    result = junkie.run("doctor", "--deep", "--only", only, *LONG, env={"CUSTOM_PROVIDER": "http://127.0.0.1:1/v1"})
    assert result.exit_code == 1
    assert not junkie.data_dir.exists()
    assert not junkie.backup_dir.exists()


def test_the_embedded_database(junkie: Junkie) -> None:
    junkie.run("chat", "--offline", "My name is Ada").ok()
    result = junkie.run("doctor", "--only", "database.reachable,schema,memory.owners", "--json", *LONG)
    found = {check["id"]: check for check in result.ok().json()["checks"]}
    assert str(junkie.data_dir) in found["database.reachable"]["detail"]
    assert found["schema.junkie"]["status"] == found["memory.owners"]["status"] == "ok"


def test_a_new_healthy_place_is_green(junkie: Junkie) -> None:
    with ModelServer(smart=True) as server:
        env = server.groq_environment()
        junkie.run("chat", "My name is Ada", env=env).ok()
        result = junkie.run("doctor", "--strict", "--json", *LONG, env=env)
    wrong = {check["id"]: check for check in result.json()["checks"] if check["status"] != "ok"}
    assert set(wrong) == OLD_WHEEL, wrong
    assert result.exit_code == bool(OLD_WHEEL)
    assert all("CVE-2026-15741" in check["detail"] for check in wrong.values())
    # With nothing wrong nothing is fixed by default; naming a check fixes it.
    result = junkie.run("doctor", "--fix", "--yes", "--only", "database.reachable", env=env)
    assert "nothing to fix" in result.ok().stderr
    result = junkie.run("doctor", "--fix", "schema.indexes", "--yes", env=env)
    assert "CREATE INDEX CONCURRENTLY" in result.ok().stderr
    assert "all indexes for lists, search and erasure exist" in result.stdout


def test_an_embedded_database_of_another_major(junkie: Junkie) -> None:
    junkie.run("chat", "--offline", "hello").ok()
    asyncio.run(embedded.stop(junkie.data_dir))
    version = junkie.data_dir / "data/PG_VERSION"
    right = version.read_text()
    version.write_text("9.6\n")
    ask = ("doctor", "database.reachable", "--json", *LONG)
    (found,) = junkie.run(*ask).json()["checks"]
    assert (found["status"], "written by PostgreSQL 9.6" in found["detail"]) == ("failed", True)
    assert f"its log: {junkie.data_dir}/server.log" in found["hint"]
    version.write_text(right)  # "start it with the junkie that wrote it"
    assert junkie.run(*ask).ok().json()["status"] == "ok"


def test_a_file_of_somebody_else(junkie: Junkie) -> None:
    need_root("a file of another user")
    path = junkie.cwd / ".env"
    path.write_text("MAX_AGENTS=3\n")
    os.chown(path, 65534, 65534)
    ask = ("doctor", "settings.values", "--json", *LONG)
    (found,) = junkie.run(*ask).json()["checks"]
    assert (found["status"], "belongs to another user" in found["detail"]) == ("warning", True)
    assert junkie.run("--env-file", str(path), *ask).json()["status"] == "ok"
    subprocess.run(["sh", "-c", found["hint"].partition(", or")[0]], check=True)
    assert junkie.run(*ask).json()["status"] == "ok"


def test_unknown_checks_and_options_that_exclude_each_other(junkie: Junkie) -> None:
    result = junkie.run("doctor", "--only", "schema.index")
    assert result.exit_code == 2
    assert "did you mean schema.indexes?" in result.stderr
    assert junkie.run("doctor", "--only", "memory.roundtrip").exit_code == 2
    assert junkie.run("doctor", "--nagios", "--json").exit_code == 2
    assert junkie.run("doctor", "--timeout", "0").exit_code == 2


# --- for monitoring ---------------------------------------------------------------------------------------------------


def test_one_line_for_nagios(junkie: Junkie, written_by: Make) -> None:
    env = environment(written_by("3.1"))
    for only, code, word in (("schema.tables", 0, "OK"), ("schema.junkie", 1, "WARNING"), ("groq.key", 2, "CRITICAL")):
        result = junkie.run("doctor", "--nagios", "--only", only, *LONG, env=env)
        assert (result.exit_code, result.stdout.count("\n"), result.stderr) == (code, 1, "")
        assert re.match(rf"JUNKIE {word} - .* \| ok=\d+ warning=\d+ failed=\d+ skipped=\d+ unknown=\d+$", result.stdout)
    result = junkie.run("doctor", "--nagios", "--only", "schema.tables", env={"POSTGRES_URL": "what"})
    assert (result.exit_code, result.stdout.split(" - ")[0]) == (3, "JUNKIE UNKNOWN")
    result = junkie.run("doctor", "--nagios", "--only", "schema.tabels", env=env)
    assert (result.exit_code, result.stdout) == (3, "JUNKIE UNKNOWN - unknown check schema.tabels\n")


def test_the_age_of_backups_for_nagios(junkie: Junkie, written_by: Make) -> None:
    env = environment(written_by("3.1"))
    ask = ("doctor", "--nagios", "--only", "backup.age", "--max-backup-age", "26")
    result = junkie.run(*ask, env=env)
    assert (result.exit_code, "no verified backup" in result.stdout) == (2, True)
    junkie.run("backup", env=env).ok()
    assert junkie.run(*ask, env=env).exit_code == 0


# --- whatever hangs ---------------------------------------------------------------------------------------------------


def test_a_server_that_never_answers_does_not_hold_it_up(junkie: Junkie, database: DatabaseUrl) -> None:
    with Proxy(database) as proxy, ModelServer() as server:
        proxy.stall()
        server.models_reply = Hang()
        env = environment(proxy.url(database), **server.groq_environment())
        result = junkie.run("doctor", "--json", "--timeout", "2", env=env, timeout=60)
    assert result.exit_code == 1
    validate(result.json(), "doctor")
    found = {check["id"]: check for check in result.json()["checks"]}
    assert found["database.reachable"]["status"] == "failed"
    assert found["groq.accepts"]["status"] == "failed"
    assert found["settings.file"]["status"] == "ok"
    assert found["schema.tables"]["detail"].startswith("waits for database.reachable")


def test_a_file_system_that_hangs_does_not_hold_it_up(junkie: Junkie) -> None:
    """A named pipe as `.env`: whoever opens it waits for good, as on a dead network file system."""
    os.mkfifo(junkie.cwd / "pipe.env")
    result = junkie.run("--env-file", "pipe.env", "doctor", "--json", "--timeout", "2", timeout=60)
    assert (result.exit_code, result.json()["status"]) == (0, "warning")
    validate(result.json(), "doctor")
    found = {check["id"]: check for check in result.json()["checks"]}
    assert found["settings.file"]["status"] == "unknown"
    assert "timed out" in found["settings.file"]["detail"]
    for words, code in (("--strict",), 1), (("--nagios",), 3):
        done = junkie.run("--env-file", "pipe.env", "doctor", *words, "--timeout", "2", timeout=60)
        assert done.exit_code == code, done
    assert found["database.rights"]["detail"] == "waits for settings.file"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it(junkie: Junkie, database: DatabaseUrl, number: signal.Signals, code: int) -> None:
    with Proxy(database) as proxy:
        proxy.stall()
        running = junkie.start("doctor", "--only", "database", *LONG, env=environment(proxy.url(database)))
        running.wait_for("database.url")
        running.send(number)
        assert running.wait(60).exit_code == code


# --- fixing -----------------------------------------------------------------------------------------------------------


def test_unattended_nothing_is_fixed_without_yes(junkie: Junkie, written_by: Make) -> None:
    url = written_by("3.1")
    env = environment(url)
    result = junkie.run("doctor", "--fix", "schema.indexes", env=env)
    assert result.exit_code == 2
    assert 'CREATE INDEX CONCURRENTLY IF NOT EXISTS "junkie_memories_user_updated"' in result.stderr
    assert "--yes" in result.stderr
    assert not int(sql(url, "SELECT count(*) FROM pg_indexes WHERE indexname LIKE 'junkie%'"))
    result = junkie.run("doctor", "--fix=schema.indexes", "--yes", "--json", *LONG, env=env)
    assert [check["status"] for check in result.ok().json()["checks"]] == ["ok"]


def test_the_migration_wants_the_databases_name(junkie: Junkie, written_by: Make) -> None:
    url = written_by("2.9-then-3.1")
    env = environment(url)
    result = junkie.run("doctor", "--fix", "--only", "schema.version,schema.junkie", "--yes", env=env)
    assert result.exit_code == 2  # named, it wants more than a yes
    result = junkie.run("doctor", "--fix", "schema.version", "--confirm", "another", env=env)
    assert (result.exit_code, junkie.backup_dir.exists()) == (2, False)
    result = junkie.run("doctor", "--fix", "schema.version", "--confirm", str(url.database), *LONG, env=env)
    assert result.ok().stdout.startswith("ok\tschema.version")
    assert str(junkie.backup_dir) in result.stderr
    assert len(list(junkie.backup_dir.glob("*.dump"))) == 1


def test_a_person_is_shown_asked_and_shown_again(junkie: Junkie, written_by: Make) -> None:
    url = written_by("3.1")
    ada = person(junkie, "doctor", "--fix", "schema.junkie", *LONG, env=environment(url))
    ada.sees("! schema.junkie")
    ada.sees("Do it? [y/N]")
    ada.types("n")
    assert ada.ended() == 1
    assert "nothing was changed" in ada.picture.text
    ada = person(junkie, "doctor", "--fix", "schema.junkie", *LONG, env=environment(url))
    ada.sees("Do it? [y/N]")
    ada.types("y")
    ada.sees("✓ schema.junkie")
    assert ada.ended() == 0


# --- for people -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_a_line_a_check_at_every_width(junkie: Junkie, written_by: Make, columns: int) -> None:
    env = environment(written_by("3.1"))
    ada = person(junkie, "doctor", "--only", "settings,groq,model,schema", *LONG, env=env, columns=columns, lines=50)
    assert ada.ended() == 1
    lines = ada.picture.everything
    assert all(width(line) <= columns for line in lines)
    heads = [line.split()[1] for line in lines if re.match(r"[✓!✗–] ", line)]
    groups = ("settings", "groq", "model", "schema")
    assert heads == [name for name in IDS.split() if name.startswith(groups) and name not in DEEP]
    assert any("→ set GROQ_API_KEY" in line for line in lines)
    assert lines[-2] == "failed: groq.key"
    assert re.match(r"\d+ ok · 1 warning · 1 failed · 3 skipped · ", lines[-1])


def test_words_where_there_is_no_colour(junkie: Junkie) -> None:
    ada = person(junkie, "doctor", "--only", "settings.file,groq.key,groq.accepts", *LONG, env={"NO_COLOR": "1"})
    assert ada.ended() == 1
    assert "\x1b[3" not in ada.raw
    firsts = [line.split()[:3] for line in ada.picture.everything if re.match(r"[✓✗–] ", line)]
    assert firsts == [
        ["✓", "ok", "settings.file"],
        ["✗", "failed", "groq.key"],
        ["–", "skipped", "groq.accepts"],
    ]


# --- lanes ------------------------------------------------------------------------------------------------------------

LANE = """
import sys
from junkie_cli.cli import main as app
code = app.run_command_line(sys.argv[1:])
heavy = {"agno", "sqlalchemy", "openai", "pydantic", "prompt_toolkit"} & set(sys.modules)
sys.stderr.write(f"{code} {sorted(heavy)}")
"""


def test_only_checks_of_the_team_load_agno(junkie: Junkie, written_by: Make) -> None:
    light = "settings,groq,provider,model,database.server,database.rights,schema,memory.owners,backup,bot,privacy.keys"
    done = subprocess.run(
        [sys.executable, "-c", LANE, "doctor", "--json", "--only", light, *LONG],
        env=junkie.environment(environment(written_by("2.2"))),
        cwd=junkie.cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.stderr == "1 []"
    assert json.loads(done.stdout)["status"] == "failed"


def test_a_stranger_host_is_named(junkie: Junkie) -> None:
    url = DatabaseUrl((Host("db.invalid"),), "u", "hunter2", "d")
    result = junkie.run("doctor", "--only", "database.reachable", *LONG, env=environment(url))
    assert result.exit_code == 1
    assert "db.invalid" in result.stdout
    assert "hunter2" not in result.stdout
    assert Path(junkie.data_dir).exists() is False
