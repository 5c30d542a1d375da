"""`junkie config`: what is in force and why, and the few questions that write it down."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from junkie_cli.core.database_url import DatabaseUrl
from tests.support.junkie import Junkie
from tests.support.model_server import HttpError, ModelServer
from tests.support.schemas import validate

SECRETS = {
    "GROQ_API_KEY": "gsk_verysecret",
    "CUSTOM_PROVIDER_API_KEY": "sk-alsosecret",
    "POSTGRES_URL": "postgresql://bot:p%40ssw0rd@db.example/bot",
}


@pytest.fixture
def provider() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


def base_url(server: ModelServer) -> str:
    return server.environment()["CUSTOM_PROVIDER"]


# --- show and path ----------------------------------------------------------------------------------------------------


def test_show_says_where_each_value_came_from(junkie: Junkie) -> None:
    (junkie.cwd / ".env").write_text("# bot\nDISCORD_TOKEN=tok\nMAX_AGENTS=7\nMEMORY_MODEL=from-file\n")
    shown = junkie.run("config", "show", "--json", env={"MEMORY_MODEL": "from-env"}).ok().json()
    validate(shown, "config.show")
    settings = {entry["name"]: entry for entry in shown["settings"]}
    file = str(junkie.cwd / ".env")
    assert settings["MAX_AGENTS"] == {"name": "MAX_AGENTS", "value": "7", "source": "file", "file": file, "line": 3}
    assert (settings["MEMORY_MODEL"]["value"], settings["MEMORY_MODEL"]["source"]) == ("from-env", "environment")
    assert settings["AGENT_RETRIES"]["source"] == "default"
    assert (shown["env_file"], shown["bot_variables"]) == (file, ["DISCORD_TOKEN"])
    lines = junkie.run("config", "show").ok().stdout.splitlines()
    assert f"MAX_AGENTS\t7\t{file}:3" in lines
    assert all(line.count("\t") == 2 for line in lines)


def test_no_secret_is_shown_in_any_form(junkie: Junkie) -> None:
    for arguments in (["config", "show"], ["config", "show", "--json"], ["-v", "config", "show"]):
        told = junkie.run(*arguments, env=SECRETS).ok()
        for secret in ("gsk_verysecret", "sk-alsosecret", "p%40ssw0rd", "p@ssw0rd"):
            assert secret not in told.stdout + told.stderr
    child = junkie.terminal("config", "show", env=SECRETS, columns=120)
    child.expect(pexpect.EOF)
    assert "postgresql://bot:********@db.example" in child.before
    assert "secret" not in child.before


def test_a_bad_value_is_exit_3_with_file_and_line(junkie: Junkie) -> None:
    (junkie.cwd / ".env").write_text("\nMODEL_TEMPERATURE=hot\n")
    told = junkie.run("config", "show", "--json")
    assert told.exit_code == 3
    validate(told.json(), "error")
    assert told.json()["error"]["code"] == "settings"
    assert f"MODEL_TEMPERATURE must be a number, not 'hot' (set by {junkie.cwd}/.env:2)" in told.stderr


def test_path(junkie: Junkie) -> None:
    nowhere = junkie.run("config", "path").ok()
    assert (nowhere.stdout, nowhere.stderr) == (
        "",
        "no .env file here or in a parent folder; to create one: junkie config init\n",
    )
    (junkie.home / ".env").write_text("")
    assert junkie.run("config", "path").ok().stdout == f"{junkie.home}/.env\n"
    document = junkie.run("--env-file", "/dev/null", "config", "path", "--json").ok().json()
    validate(document, "config.path")
    assert document == {"env_file": "/dev/null", "ignored_env_files": []}
    assert junkie.run("--env-file", "absent", "config", "path").exit_code == 3


# --- init -------------------------------------------------------------------------------------------------------------


def start(junkie: Junkie, *arguments: str, **env: str) -> "pexpect.spawn[str]":
    child: pexpect.spawn[str] = junkie.terminal(
        *arguments, "config", "init", env={"NO_COLOR": "1", "JUNKIE_USER": None, **env}, columns=160, timeout=60
    )
    return child


def answer(child: "pexpect.spawn[str]", question: str, text: str) -> None:
    child.expect_exact(question)
    child.expect_exact(": ")
    child.sendline(text)


def end(child: "pexpect.spawn[str]") -> tuple[int | None, str]:
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus, str(child.before).replace("\r\n", "\n")


def test_groq_a_database_and_a_user(junkie: Junkie, provider: ModelServer, database: DatabaseUrl) -> None:
    env_file = junkie.cwd / ".env"
    env_file.write_text("# the bot's\nDISCORD_TOKEN=tok # keep\nGROQ_API_KEY=\n")
    env_file.chmod(0o644)
    child = start(junkie, GROQ_BASE_URL=base_url(provider))
    child.expect_exact(f"Answers are saved in {env_file}.")
    answer(child, "Model provider: groq", "")
    answer(child, "API key", "gsk_typed")
    child.expect_exact("The provider responds.")
    answer(child, "PostgreSQL URL", database.libpq())
    child.expect_exact("Connected to PostgreSQL ")
    answer(child, "User id for chats", "42")
    child.expect_exact("others can read")
    answer(child, "Make it readable by its owner alone? yes or no", "")
    code, told = end(child)
    assert code == 0
    assert "gsk_typed" not in told
    assert "  GROQ_API_KEY=********\n" in told
    assert "readable only by its owner:" in told
    assert env_file.read_text() == (
        "# the bot's\nDISCORD_TOKEN=tok # keep\nGROQ_API_KEY=gsk_typed\n"
        f"POSTGRES_URL={database.libpq()}\nJUNKIE_USER=42\n"
    )
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    assert provider.other_requests[-1].headers["authorization"] == "Bearer gsk_typed"
    again = start(junkie, GROQ_BASE_URL=base_url(provider))
    for question in ("Model provider", "API key", "PostgreSQL URL", "User id"):
        answer(again, question, "")
    assert "Nothing to save" in end(again)[1]


def test_a_server_of_ones_own_and_the_embedded_database(junkie: Junkie, provider: ModelServer) -> None:
    child = start(junkie)
    answer(child, "Model provider: groq", base_url(provider))
    answer(child, "API key", "")
    answer(child, "Model", "little-model")
    answer(child, "PostgreSQL URL, or embedded", "")
    answer(child, "User id for chats", "ada")
    code, told = end(child)
    assert code == 0, told
    env_file = junkie.cwd / ".env"
    assert env_file.read_text() == f"CUSTOM_PROVIDER={base_url(provider)}\nCUSTOM_MODEL=little-model\nJUNKIE_USER=ada\n"
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    assert not junkie.data_dir.exists()
    assert junkie.run("config", "path").ok().stdout == f"{env_file}\n"


def test_a_refused_key_is_asked_for_again_and_then_it_ends(junkie: Junkie, provider: ModelServer) -> None:
    provider.models_reply = HttpError(401)
    child = start(junkie, GROQ_BASE_URL=base_url(provider))
    answer(child, "Model provider: groq", "")
    for _ in range(3):
        answer(child, "API key", "gsk_wrong")
        child.expect_exact("rejects this key (401)")
    code, told = end(child)
    assert code == 6
    assert "gsk_wrong" not in told
    assert not (junkie.cwd / ".env").exists()


def test_what_cannot_be_checked_is_kept_with_a_word(junkie: Junkie) -> None:
    child = start(junkie, GROQ_BASE_URL="http://127.0.0.1:1/v1")
    answer(child, "Model provider", "")
    answer(child, "API key", "gsk_unchecked")
    child.expect_exact("cannot be reached: no server is listening there: saved without checking")
    for _ in range(2):
        answer(child, "PostgreSQL URL", "postgresql://u:pw123456@127.0.0.1:1/d")
    child.expect_exact("Saved without checking.")
    answer(child, "User id", "")
    code, told = end(child)
    assert code == 0
    assert "pw123456" not in told
    assert "postgresql://u:********@127.0.0.1:1/d" in told
    text = (junkie.cwd / ".env").read_text()
    assert text == "GROQ_API_KEY=gsk_unchecked\nPOSTGRES_URL=postgresql://u:pw123456@127.0.0.1:1/d\n"


def test_leaving_changes_nothing(junkie: Junkie) -> None:
    (junkie.cwd / ".env").write_text("A=1\n")
    for key, code in (("\x03", 130), ("\x04", 1)):
        child = start(junkie)
        answer(child, "Model provider", "")
        child.expect_exact("API key")
        child.expect_exact(": ")
        child.send(key)
        assert end(child)[0] == code
    assert (junkie.cwd / ".env").read_text() == "A=1\n"
    assert list(junkie.cwd.iterdir()) == [junkie.cwd / ".env"]


def test_another_file_can_be_named(junkie: Junkie) -> None:
    target = junkie.home / "config" / "junkie" / ".env"
    child = start(junkie, "--env-file", str(target), JUNKIE_USER="me")
    answer(child, "Model provider", "")
    answer(child, "API key", "")
    child.expect_exact("junkie chat --offline")
    answer(child, "PostgreSQL URL", "")
    answer(child, "User id", "ada")
    child.expect_exact("JUNKIE_USER is also set in the environment, which takes precedence over the file")
    assert end(child)[0] == 0
    assert target.read_text() == "JUNKIE_USER=ada\n"
    assert junkie.run("config", "path").ok().stdout == f"{target}\n"


def test_unattended_it_says_why_not(junkie: Junkie) -> None:
    told = junkie.run("config", "init")
    assert told.exit_code == 2
    assert told.stdout == ""
    assert "needs a terminal to ask questions" in told.stderr
    assert str(junkie.cwd / ".env") in told.stderr


def test_root_is_reported_of_a_file_that_it_does_not_read(junkie: Junkie) -> None:
    foreign = junkie.cwd / ".env"
    foreign.write_text("MAX_AGENTS=3\n")
    if os.geteuid() == 0:
        os.chown(foreign, 12345, 12345)
        document = junkie.run("config", "path", "--json").ok().json()
        assert document == {"env_file": None, "ignored_env_files": [str(foreign)]}
        assert f"ignored, because it belongs to another user: {foreign}" in junkie.run("config", "path").stderr
    else:
        assert junkie.run("config", "path").ok().stdout == f"{foreign}\n"
    assert Path(junkie.run("--env-file", str(foreign), "config", "path").ok().stdout.strip()) == foreign


# --- files that junkie did not write ----------------------------------------------------------------------------------


def test_the_mode_of_a_file_stays_after_a_no(junkie: Junkie, provider: ModelServer) -> None:
    env_file = junkie.cwd / ".env"
    env_file.write_text("DISCORD_TOKEN=tok\n")
    env_file.chmod(0o640)
    child = start(junkie)
    answer(child, "Model provider: groq", base_url(provider))
    answer(child, "API key", "")
    answer(child, "Model", "little-model")
    answer(child, "PostgreSQL URL, or embedded", "")
    answer(child, "User id for chats", "")
    answer(child, "Make it readable by its owner alone? yes or no", "no")
    code, told = end(child)
    assert (code, "also readable by others:" in told) == (0, True)
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o640
    assert env_file.read_text().startswith("DISCORD_TOKEN=tok\nCUSTOM_PROVIDER=")


def test_another_programs_file_stays_as_it_is(junkie: Junkie, provider: ModelServer) -> None:
    other, own = junkie.cwd / ".env", junkie.home / "config" / "junkie" / ".env"
    other.write_text("SECRET_KEY=x\n")
    other.chmod(0o644)
    child = start(junkie)
    child.expect_exact(f"Answers are saved in {own}.")
    answer(child, "Model provider: groq", base_url(provider))
    answer(child, "API key", "")
    answer(child, "Model", "little-model")
    answer(child, "PostgreSQL URL, or embedded", "")
    answer(child, "User id for chats", "")
    assert end(child)[0] == 0
    assert (other.read_text(), stat.S_IMODE(other.stat().st_mode)) == ("SECRET_KEY=x\n", 0o644)
    assert junkie.run("config", "path").ok().stdout == f"{own}\n"


@pytest.mark.parametrize("command", ["memories list", "chat hello", "backup", "users list"])
def test_an_unreachable_database_names_the_line_that_it_came_from(junkie: Junkie, command: str) -> None:
    (junkie.cwd / ".env").write_text("\nPOSTGRES_URL=postgresql://u:secret@127.0.0.1:1/d\nGROQ_API_KEY=gsk_x\n")
    done = junkie.run(*command.split())
    assert done.exit_code == 4
    assert f"(POSTGRES_URL is set by {junkie.cwd}/.env:2)" in done.stderr
    assert "secret" not in done.stderr
    assert "is set by" not in junkie.run(*command.split(), env={"POSTGRES_URL": "postgresql://127.0.0.1:1/d"}).stderr


def test_a_broken_env_stops_every_command(junkie: Junkie) -> None:
    (junkie.cwd / ".env").symlink_to("nowhere")
    for command in ("memories list", "chat hello", "backup --embedded", "config show", "config init"):
        done = junkie.run(*command.split())
        assert (done.exit_code, "is a broken link" in done.stderr) == (3, True), (command, done)
    assert "is a broken link" in junkie.run("doctor", "--only", "settings.file").stdout
