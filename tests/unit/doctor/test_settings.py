"""What doctor says of settings, files, the bot's variables and the environment; each remedy is followed."""

import subprocess

import pytest

from tests.support.doctor import Doctor, assert_result

SECRET = "gsk_" + "s3cret" * 6


# --- the file ---------------------------------------------------------------------------------------------------------


def test_no_file_is_fine(doctor: Doctor) -> None:
    found = doctor.examine("settings")
    assert {result.status for result in found.values()} == {"ok"}
    assert "no .env file" in found["settings.file"].detail


def test_the_file_is_named(doctor: Doctor) -> None:
    path = doctor.write("MEMORY_MODEL=a")
    assert doctor.one("settings.file").detail == str(path)


def test_a_named_file_that_is_not_there(doctor: Doctor) -> None:
    missing = doctor.folder / "other.env"
    found = doctor.examine("settings", named_env_file=missing)
    assert_result(found["settings.file"], "failed", str(missing), "does not exist")
    assert found["settings.values"].detail == "waits for settings.file"
    missing.write_text("")
    assert doctor.status("settings.file", named_env_file=missing) == "ok"


def test_a_file_that_is_no_text(doctor: Doctor) -> None:
    doctor.write().write_bytes(b"\xff\xfe")
    assert_result(doctor.one("settings.file"), "failed", "not UTF-8")
    doctor.write("MEMORY_MODEL=a")
    assert doctor.status("settings.file") == "ok"


def test_a_line_with_an_open_quote(doctor: Doctor) -> None:
    doctor.write(f'GROQ_API_KEY="{SECRET}')
    result = doctor.one("settings.file")
    assert_result(result, "failed", "GROQ_API_KEY", ".env:1", "missing closing quotes")
    assert SECRET not in result.detail + result.hint
    doctor.write(f'GROQ_API_KEY="{SECRET}"')
    assert doctor.status("settings.file") == "ok"


def test_every_bad_value_is_named_and_the_rest_is_looked_at(doctor: Doctor) -> None:
    path = doctor.write(
        "MODEL_TEMPERATURE=hot", "MAX_AGENTS=0", f"POSTGRES_URL=mysql://u:{SECRET}@h/d", "JUNKIE_BACKUP_DIR=here"
    )
    del doctor.environ["JUNKIE_BACKUP_DIR"]
    found = doctor.examine()
    assert_result(found["settings.values"], "failed", "MODEL_TEMPERATURE", "MAX_AGENTS", "POSTGRES_URL", f"{path}:3")
    assert_result(found["database.url"], "failed", "POSTGRES_URL", "postgresql://")
    assert found["database.rights"].detail == "waits for database.url"
    assert found["backup.age"].detail == "waits for settings.values: JUNKIE_BACKUP_DIR cannot be used"
    assert found["memory.enabled"].status == "ok"
    assert not [result for result in found.values() if SECRET in f"{result.detail} {result.hint}"]
    doctor.write("MODEL_TEMPERATURE=0.5")
    assert doctor.status("settings.values") == "ok"


def test_a_reference_to_nothing(doctor: Doctor) -> None:
    doctor.write("MEMORY_MODEL=${THE_MODEL}")
    found = doctor.examine("settings.values", "model.memory", "groq.key")
    assert_result(found["settings.values"], "failed", "MEMORY_MODEL refers to ${THE_MODEL}")
    assert found["model.memory"].detail == "waits for settings.values: MEMORY_MODEL cannot be used"
    doctor.environ["THE_MODEL"] = "a"
    assert doctor.status("settings.values") == "ok"


def test_backups_inside_the_database_folder(doctor: Doctor) -> None:
    doctor.environ["JUNKIE_BACKUP_DIR"] = doctor.environ["JUNKIE_DATA_DIR"] + "/backups"
    assert_result(doctor.one("settings.values"), "failed", "JUNKIE_BACKUP_DIR", "outside")
    doctor.environ["JUNKIE_BACKUP_DIR"] = str(doctor.folder / "backups")
    assert doctor.status("settings.values") == "ok"


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("POSTGRE_URL", "POSTGRES_URL"),
        ("GROK_API_KEY", "GROQ_API_KEY"),
        ("groq_api_key", "GROQ_API_KEY"),
        ("CUSTOM_PROVIDER_KEY", "CUSTOM_PROVIDER_API_KEY"),
        ("JUNKIE_BACKUPS", "JUNKIE_BACKUP_DIR"),
    ],
)
def test_a_misspelt_name_in_the_file(doctor: Doctor, wrong: str, right: str) -> None:
    path = doctor.write("# mine", f"{wrong}=x")
    assert_result(
        doctor.one("settings.unknown"), "warning", f"{wrong} (in {path}:2)", f"write {right} instead of {wrong}"
    )
    path.write_text(path.read_text().replace(wrong, right))
    assert doctor.status("settings.unknown") == "ok"


def test_a_misspelt_name_in_the_environment(doctor: Doctor) -> None:
    doctor.environ["GROQ_APIKEY"] = SECRET
    result = doctor.one("settings.unknown")
    assert_result(result, "warning", "GROQ_APIKEY (in the environment)", "write GROQ_API_KEY instead of GROQ_APIKEY")
    doctor.environ["GROQ_API_KEY"] = doctor.environ.pop("GROQ_APIKEY")
    assert doctor.status("settings.unknown") == "ok"


@pytest.mark.parametrize("name", ["DISCORD_TOKEN", "POSTGRES_USER", "POSTGRES_PASSWORD", "NODE_ENV", "SERPER_API_KEY"])
def test_names_of_others_are_left_alone(doctor: Doctor, name: str) -> None:
    doctor.write(f"{name}=x")
    assert doctor.status("settings.unknown") == "ok"


def test_the_environment_overrides_the_file(doctor: Doctor) -> None:
    path = doctor.write(f"GROQ_API_KEY={SECRET}", "MEMORY_MODEL=a")
    doctor.environ |= {"GROQ_API_KEY": "gsk_another", "MEMORY_MODEL": "a"}
    result = doctor.one("settings.conflicts")
    assert_result(result, "warning", "GROQ_API_KEY", f"{path}:1")
    assert "MEMORY_MODEL" not in result.detail
    assert "gsk_" not in result.detail + result.hint
    del doctor.environ["GROQ_API_KEY"]
    assert doctor.status("settings.conflicts") == "ok"


# --- who can read it --------------------------------------------------------------------------------------------------


def test_a_file_that_others_can_read(doctor: Doctor) -> None:
    path = doctor.write("MEMORY_MODEL=a", mode=0o644)
    result = doctor.one("settings.permissions")
    assert_result(result, "warning", "0644", f"chmod 600 {path}")
    assert path.stat().st_mode & 0o777 == 0o644
    doctor.fix("settings.permissions")
    assert path.stat().st_mode & 0o777 == 0o600
    assert doctor.status("settings.permissions") == "ok"


def test_a_file_that_git_keeps(doctor: Doctor) -> None:
    path = doctor.write(f"GROQ_API_KEY={SECRET}")

    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=doctor.folder, check=True, capture_output=True)

    git("init")
    assert doctor.status("settings.permissions") == "ok"
    git("add", ".env")
    result = doctor.one("settings.permissions")
    assert_result(result, "failed", f"git tracks {path}", "git rm --cached .env")
    git("rm", "--cached", ".env")
    assert doctor.status("settings.permissions") == "ok"


# --- the key ----------------------------------------------------------------------------------------------------------


def test_no_key_and_no_other_server(doctor: Doctor) -> None:
    found = doctor.examine("groq", "provider", "model")
    assert_result(
        found["groq.key"], "failed", "neither GROQ_API_KEY nor CUSTOM_PROVIDER", "https://console.groq.com/keys"
    )
    assert found["groq.accepts"].detail == "waits for groq.key"
    assert found["model.chat"].detail == "waits for groq.key"
    doctor.environ["GROQ_API_KEY"] = SECRET
    assert doctor.status("groq.key") == "ok"


def test_no_key_is_needed_beside_another_server(doctor: Doctor) -> None:
    doctor.environ["CUSTOM_PROVIDER"] = "http://localhost:11434/v1"
    assert doctor.status("groq.key") == "ok"


@pytest.mark.parametrize("key", [f"'{SECRET}'", f'"{SECRET}', f"{SECRET} x", f" {SECRET}"])
def test_quotes_and_spaces_around_the_key(doctor: Doctor, key: str) -> None:
    doctor.environ["GROQ_API_KEY"] = key
    result = doctor.one("groq.key")
    assert_result(result, "failed", "GROQ_API_KEY has spaces or quotes")
    assert SECRET not in result.detail + result.hint
    doctor.environ["GROQ_API_KEY"] = SECRET
    assert doctor.status("groq.key") == "ok"


def test_keys_that_look_like_none(doctor: Doctor) -> None:
    doctor.environ["GROQ_API_KEY"] = "your_groq_api_key_here"
    assert_result(doctor.one("groq.key"), "failed", "placeholder")
    doctor.environ["GROQ_API_KEY"] = "sk-proj-0123456789"
    result = doctor.one("groq.key")
    assert_result(result, "warning", "begins with gsk_")
    assert "0123456789" not in result.detail + result.hint
    doctor.environ["GROQ_API_KEY"] = SECRET
    assert doctor.status("groq.key") == "ok"


# --- the bot ----------------------------------------------------------------------------------------------------------

BOT = {
    "DISCORD_TOKEN": "t.o.ken",
    "E2B_API_KEY": "e2b",
    "EXA_API_KEY": "exa",
    "GROQ_API_KEY": SECRET,
    "CUSTOM_PROVIDER": "https://api.example.com/v1",
    "CUSTOM_PROVIDER_API_KEY": "key",
    "POSTGRES_URL": "postgresql://bot:word@db/bot",
    "MCP_URLS": "https://mcp.example.com",
}


@pytest.fixture
def beside_the_bot(doctor: Doctor) -> Doctor:
    (doctor.folder / "requirements.txt").write_text("discord.py-self\nagno<3\n")
    doctor.write(*(f"{name}={value}" for name, value in BOT.items()))
    return doctor


def test_without_the_bot_nothing_is_said_of_it(doctor: Doctor) -> None:
    result = doctor.one("bot.compatibility")
    assert (result.status, result.detail) == ("ok", "no settings of the bot found")


def test_a_bot_that_can_work(beside_the_bot: Doctor) -> None:
    assert_result(beside_the_bot.one("bot.compatibility"), "ok", "the bot can work")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("E2B_API_KEY", "", "does not start"),
        ("EXA_API_KEY", "", "search"),
        ("GROQ_API_KEY", "", "no memories"),
        ("CUSTOM_PROVIDER", "groq", "which then fail"),
        ("CUSTOM_PROVIDER", "", "which then fail"),
        ("CUSTOM_PROVIDER_API_KEY", "", "without a key"),
        ("POSTGRES_URL", "", "no POSTGRES_URL"),
        ("POSTGRES_URL", "postgresql+asyncpg://bot:word@db/bot", "postgresql://"),
        ("POSTGRES_URL", "postgresql://bot:word@db/bot?sslmode=require", "after the ?"),
        ("POSTGRES_URL", "postgresql://bot:wo%40rd@db/bot", "letters and digits"),
        ("MESSAGE_SYNC_LIMIT", "many", "whole number"),
        ("TRACING", "yes", "true and false"),
        ("TRACING", "true", "bot's author"),
        ("DEBUG_LEVEL", "3", "1 or 2"),
        ("MCP_URLS", "", "third party"),
    ],
)
def test_what_stops_the_bot(beside_the_bot: Doctor, name: str, value: str, words: str) -> None:
    values = BOT | {name: value}
    beside_the_bot.write(*(f"{key}={text}" for key, text in values.items()))
    assert_result(beside_the_bot.one("bot.compatibility"), "warning", words, name)
    followed = {"MESSAGE_SYNC_LIMIT": "50", "TRACING": "false", "DEBUG_LEVEL": "1"}
    beside_the_bot.write(*(f"{key}={text}" for key, text in (values | BOT | followed).items()))
    assert beside_the_bot.status("bot.compatibility") == "ok"


def test_the_bot_must_keep_agno_2(beside_the_bot: Doctor) -> None:
    requirements = beside_the_bot.folder / "requirements.txt"
    for line in ("agno", "agno>=2.0", "agno==3.1.10"):
        requirements.write_text(f"{line}\n")
        assert_result(beside_the_bot.one("bot.compatibility"), "warning", "agno 2", str(requirements))
    for line in ("agno<3", "agno==2.9.0", "agno~=2.2", "agno>=2.0,<3", "agno[postgres]<3"):
        requirements.write_text(f"{line}\n")
        assert beside_the_bot.status("bot.compatibility") == "ok", line


# --- privacy ----------------------------------------------------------------------------------------------------------


def test_telemetry_is_off_and_a_wish_for_it_is_reported(doctor: Doctor) -> None:
    assert doctor.status("privacy.telemetry") == "ok"
    doctor.environ["AGNO_TELEMETRY"] = "true"
    assert_result(doctor.one("privacy.telemetry"), "warning", "unset AGNO_TELEMETRY")
    doctor.environ["AGNO_TELEMETRY"] = "false"
    assert doctor.status("privacy.telemetry") == "ok"


def test_other_vendors_keys(doctor: Doctor) -> None:
    doctor.environ |= {"OPENAI_API_KEY": SECRET, "OPENAI_ORG_ID": "org"}
    result = doctor.one("privacy.keys")
    assert_result(result, "warning", "unset OPENAI_API_KEY OPENAI_ORG_ID")
    assert SECRET not in result.detail + result.hint
    del doctor.environ["OPENAI_API_KEY"], doctor.environ["OPENAI_ORG_ID"]
    assert doctor.status("privacy.keys") == "ok"


# --- the team ---------------------------------------------------------------------------------------------------------


def test_the_team_remembers_as_built(doctor: Doctor) -> None:
    doctor.environ["AGENT_HISTORY_RUNS"] = "7"
    result = doctor.one("memory.enabled")
    assert_result(result, "ok", "memories enabled: yes", "manager present: yes", "database present: yes", "7 runs")
