"""Every variable of the settings table: where its value comes from, what is refused, and what nobody may see."""

import copy
import dataclasses
import os
import pickle
import threading
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given

from junkie_cli.core import env_file, reporting
from junkie_cli.core import settings as module
from junkie_cli.core.errors import ExitCode, SettingsError
from junkie_cli.core.settings import (
    BY_NAME,
    VARIABLES,
    Settings,
    find_env_file,
    load_settings,
    read_env_file,
    redact,
    shown_value,
)
from tests.support.texts import PRINTABLE_ASCII, texts

DEFAULTS = {
    "POSTGRES_URL": "",
    "GROQ_API_KEY": "",
    "GROQ_BASE_URL": "https://api.groq.com/openai/v1",
    "MEMORY_MODEL": "openai/gpt-oss-120b",
    "CUSTOM_PROVIDER": "groq",
    "CUSTOM_MODEL": "openai/gpt-oss-120b",
    "CUSTOM_PROVIDER_API_KEY": "",
    "MODEL_TEMPERATURE": "0.3",
    "MODEL_TOP_P": "0.9",
    "AGENT_HISTORY_RUNS": "10",
    "AGENT_RETRIES": "2",
    "JUNKIE_MAX_CALLS": "16",
    "JUNKIE_MAX_TOOL_CALLS": "32",
    "JUNKIE_MAX_TOKENS": "250000",
    "JUNKIE_MAX_SECONDS": "900",
    "JUNKIE_CONTEXT_WINDOW": "",
    "MAX_AGENTS": "10",
    "JUNKIE_TOOLS": "on",
    "DEBUG_MODE": "false",
    "JUNKIE_SCHEMA": "ai",
    "JUNKIE_MEMORY_TABLE": "user_memories",
    "JUNKIE_SESSION_TABLE": "agent_sessions",
    "JUNKIE_RUNS_TABLE": "",
    "JUNKIE_HISTORY_DAYS": "30",
    "JUNKIE_PG_BIN": "",
    "JUNKIE_SEARCH_LANGUAGES": "english",
    "POSTGRES_READ_URL": "",
}

COMPUTED = ("JUNKIE_USER", "JUNKIE_DATA_DIR", "JUNKIE_BACKUP_DIR", "MODEL_TIMEOUT", "MEMORY_TIMEOUT")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path


def load(home: Path, env: dict[str, str] | None = None, file: str | bytes | None = None, **overrides: str) -> Settings:
    if file is not None:
        content = file if isinstance(file, bytes) else file.encode()
        (home / "project" / ".env").write_bytes(content)
    environ = {"HOME": str(home)} | (env or {})
    return load_settings(environ=environ, cwd=home / "project", overrides=overrides)


def refusal(home: Path, **arguments: object) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        load(home, **arguments)  # type: ignore[arg-type]
    assert caught.value.exit_code is ExitCode.SETTINGS
    return caught.value


# --- the table --------------------------------------------------------------------------------------------------------


def test_defaults_are_those_of_the_documentation(home: Path) -> None:
    settings = load(home)
    assert {name: shown_value(settings, BY_NAME[name]) for name in DEFAULTS} == DEFAULTS
    assert all(settings.is_default(variable.name) for variable in VARIABLES)
    assert {variable.name for variable in VARIABLES} - set(DEFAULTS) == set(COMPUTED)


def test_the_example_names_every_variable_with_its_default(home: Path) -> None:
    example = Path(__file__).parents[2] / ".env.example"
    values = {name: value for name, (value, _) in read_env_file(example, {}).values.items()}
    assert values == DEFAULTS | dict.fromkeys(COMPUTED, "")
    copied = load_settings(env_file=example, environ={"HOME": str(home)})
    assert [getattr(copied, variable.field) for variable in VARIABLES] == [
        getattr(load(home), variable.field) for variable in VARIABLES
    ]
    for lines_of_history in ("5  short chats", "10  a balance", "20+  long projects"):
        assert lines_of_history in example.read_text()


def test_folders_of_root_and_of_people_differ(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_is_root", lambda: True)
    assert (load(home).data_dir, load(home).backup_dir) == (Path("/var/lib/junkie"), Path("/var/backups/junkie"))
    monkeypatch.setattr(module, "_is_root", lambda: False)
    share = home / ".local" / "share"
    assert (load(home).data_dir, load(home).backup_dir) == (share / "junkie", share / "junkie-backups")
    assert load(home, {"XDG_DATA_HOME": "/x"}).data_dir == Path("/x/junkie")
    assert load(home, {"XDG_DATA_HOME": ""}).data_dir == share / "junkie"
    assert load(home, {"XDG_DATA_HOME": "relative"}).data_dir == share / "junkie"


def test_the_user_is_the_login_name_unless_there_is_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    assert load(home).user == pwd.getpwuid(os.geteuid()).pw_name
    monkeypatch.setattr(module, "login_name", lambda: "")
    assert load(home, {"JUNKIE_USER": "42"}).user == "42"
    assert load(home).user == ""


LOCAL, CLOUD = 600.0, 60.0


@pytest.mark.parametrize(
    ("address", "seconds"),
    [
        ("http://localhost:11434/v1", LOCAL),
        ("http://127.0.0.1:8080/v1", LOCAL),
        ("http://[::1]:8080/v1", LOCAL),
        ("http://192.168.1.20:8080/v1", LOCAL),
        ("http://10.0.0.5/v1", LOCAL),
        ("http://100.101.102.103:8000/v1", LOCAL),
        ("http://[fe80::1%25eth0]:8000/v1", LOCAL),
        ("http://ollama:11434/v1", LOCAL),  # a service of a container network
        ("http://host.docker.internal:11434/v1", LOCAL),
        ("http://user:pass@gpu.local:8000/v1", LOCAL),
        ("https://api.openai.com/v1", CLOUD),
        ("https://8.8.8.8/v1", CLOUD),
        ("https://[2606:4700::1111]/v1", CLOUD),
        ("https://localhost.example.com/v1", CLOUD),
    ],
)
def test_a_local_server_is_waited_for_longer_than_the_cloud(home: Path, address: str, seconds: float) -> None:
    settings = load(home, {"CUSTOM_PROVIDER": address})
    assert (settings.model_timeout, settings.memory_timeout) == (seconds, seconds)
    assert shown_value(settings, BY_NAME["MODEL_TIMEOUT"]) == f"{seconds:g}"
    at_groq = load(home, {"CUSTOM_PROVIDER": address, "GROQ_API_KEY": "gsk_x"})
    assert (at_groq.model_timeout, at_groq.memory_timeout) == (seconds, CLOUD)
    named = load(home, {"CUSTOM_PROVIDER": address, "MODEL_TIMEOUT": "0", "MEMORY_TIMEOUT": "2.5"})
    assert (named.model_timeout, named.memory_timeout) == (0, 2.5)


def test_settings_can_be_copied_and_pickled(home: Path) -> None:
    env = {"POSTGRES_URL": "postgresql://u:p%40ss@h1,h2:6000/d?sslmode=require", "GROQ_API_KEY": "gsk_secret"}
    settings = load(home, env, file="MODEL_TOP_P=0.5")
    for made in (copy.copy(settings), copy.deepcopy(settings), pickle.loads(pickle.dumps(settings))):
        assert made == settings
        assert made.sources == settings.sources
        with pytest.raises(TypeError):
            made.sources["MODEL_TOP_P"] = settings.sources["GROQ_API_KEY"]
    assert dataclasses.replace(settings, max_calls=3).max_calls == 3


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("MODEL_TEMPERATURE", "1", "model_temperature", 1.0),
        ("MODEL_TOP_P", ".5", "model_top_p", 0.5),
        ("AGENT_HISTORY_RUNS", "20", "agent_history_runs", 20),
        ("AGENT_HISTORY_RUNS", "0", "agent_history_runs", 0),
        ("DEBUG_MODE", "True", "debug_mode", True),
        ("DEBUG_MODE", "off", "debug_mode", False),
        ("JUNKIE_TOOLS", "off", "tools", False),
        ("CUSTOM_PROVIDER", "GROQ", "custom_provider", "groq"),
        ("CUSTOM_PROVIDER", "http://localhost:11434/v1/", "custom_provider", "http://localhost:11434/v1"),
        ("CUSTOM_PROVIDER", "http://[::1]:8000/v1", "custom_provider", "http://[::1]:8000/v1"),
        ("MODEL_TIMEOUT", "0", "model_timeout", 0.0),
        ("JUNKIE_MAX_SECONDS", "1.5", "max_seconds", 1.5),
        ("JUNKIE_CONTEXT_WINDOW", "8192", "context_window", 8192),
        ("JUNKIE_SCHEMA", "My Schema", "schema", "My Schema"),
        ("JUNKIE_USER", "Zoë 42", "user", "Zoë 42"),
        ("JUNKIE_DATA_DIR", "/srv/a/../junkie", "data_dir", Path("/srv/junkie")),
        ("GROQ_API_KEY", "gsk_$abc", "groq_api_key", "gsk_$abc"),
    ],
)
def test_good_values(home: Path, name: str, value: str, field: str, expected: object) -> None:
    assert getattr(load(home, {name: value}), field) == expected


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("MODEL_TEMPERATURE", "warm", "must be a number, not 'warm'"),
        ("MODEL_TEMPERATURE", "nan", "must be a number"),
        ("MODEL_TEMPERATURE", "inf", "must be a number"),
        ("MODEL_TEMPERATURE", "1e1", "must be a number"),
        ("MODEL_TEMPERATURE", "1_0", "must be a number"),
        ("MODEL_TEMPERATURE", "2.1", "must be between 0 and 2"),
        ("MODEL_TOP_P", "-0.1", "must be between 0 and 1"),
        ("AGENT_HISTORY_RUNS", "ten", "must be a whole number"),
        ("AGENT_HISTORY_RUNS", "1.5", "must be a whole number"),
        ("AGENT_HISTORY_RUNS", "１０", "must be a whole number"),
        ("AGENT_HISTORY_RUNS", "9" * 5000, "must be a whole number"),
        ("AGENT_RETRIES", "-1", "must be between 0 and 20"),
        ("MODEL_TIMEOUT", "-1", "must be between 0 and 86400"),
        ("JUNKIE_MAX_CALLS", "0", "must be between 1 and 1000"),
        ("JUNKIE_MAX_SECONDS", "0", "must be between 1 and 86400"),
        ("JUNKIE_CONTEXT_WINDOW", "10", "must be between 256"),
        ("MAX_AGENTS", "0", "must be between 1 and 100000"),
        ("JUNKIE_HISTORY_DAYS", "-1", "must be between"),
        ("JUNKIE_SEARCH_LANGUAGES", "english klingon", "has no stemmer for 'klingon'"),
        ("DEBUG_MODE", "maybe", "must be true or false"),
        ("JUNKIE_TOOLS", "some", "must be on or off"),
        ("GROQ_BASE_URL", "api.groq.com", "must be an address"),
        ("GROQ_BASE_URL", "https://", "must be an address with a host name"),
        ("GROQ_BASE_URL", "https://h:99999/v1", "must be an address with a host name"),
        ("GROQ_BASE_URL", "https://[::1/v1", "must be an address with a host name"),
        ("CUSTOM_PROVIDER", "openai", "must be the word groq or the base URL"),
        ("CUSTOM_PROVIDER", "ftp://h/v1", "must be an address that begins with"),
        ("CUSTOM_PROVIDER", "https://h/v1/chat/completions", "leave out /chat/completions"),
        ("GROQ_API_KEY", "gsk_one two", "has spaces or quotes"),
        ("GROQ_API_KEY", "'gsk_one'", "has spaces or quotes"),
        ("GROQ_API_KEY", "gsk_käse", "has characters that no key has"),
        ("JUNKIE_SCHEMA", "x" * 64, "at most 63 bytes"),
        ("JUNKIE_SCHEMA", "ü" * 32, "at most 63 bytes"),
        ("JUNKIE_MEMORY_TABLE", "x" * 64, "at most 63 bytes"),
        ("JUNKIE_MEMORY_TABLE", "ai.user_memories", "without its schema"),
        ("JUNKIE_SESSION_TABLE", "junkie_history", "holds something else"),
        ("JUNKIE_RUNS_TABLE", "a\tb", "has control characters"),
        ("JUNKIE_USER", "a\nb", "has control characters"),
        ("JUNKIE_USER", "a\udcffb", "is not UTF-8 text"),
        ("JUNKIE_DATA_DIR", "relative", "must be an absolute path"),
        ("JUNKIE_DATA_DIR", "~nobody-of-that-name/x", "that home folder does not exist"),
        ("POSTGRES_URL", "mysql://u:topsecret@h/d", ""),
        ("POSTGRES_READ_URL", "postgresql://u:topsecret@h:port/d", ""),
    ],
)
def test_bad_values_name_the_variable_the_problem_and_the_place(
    home: Path, name: str, value: str, problem: str
) -> None:
    error = refusal(home, env={name: value})
    assert error.message.startswith(f"{name} ")
    assert problem in error.message
    assert len(error.message) < 300
    assert error.message.endswith("(set by the environment)")
    assert error.hint
    assert "gsk_" not in error.message
    assert "topsecret" not in error.message
    assert "topsecret" not in repr(error)


def test_a_bad_value_in_a_file_is_named_with_its_line(home: Path) -> None:
    error = refusal(home, file="# bot\n\nDISCORD_TOKEN=x\n\nMAX_AGENTS=many\n")
    assert error.message == f"MAX_AGENTS must be a whole number, not 'many' (set by {home}/project/.env:5)"
    assert error.hint == "correct or delete that line"


def test_a_bad_option_is_named_as_such(home: Path) -> None:
    assert refusal(home, MAX_AGENTS="0").message.endswith("(set by an option)")


def test_backups_may_not_lie_in_the_database(home: Path) -> None:
    error = refusal(home, env={"JUNKIE_DATA_DIR": "/srv/j", "JUNKIE_BACKUP_DIR": "/srv/j/backups"})
    assert "JUNKIE_BACKUP_DIR is inside JUNKIE_DATA_DIR" in error.message
    assert refusal(home, env={"JUNKIE_DATA_DIR": "/srv/j", "JUNKIE_BACKUP_DIR": "/srv/j"})
    assert load(home, {"JUNKIE_DATA_DIR": "/srv/j", "JUNKIE_BACKUP_DIR": "/srv/jb"})


# --- precedence -------------------------------------------------------------------------------------------------------


def test_option_before_environment_before_file_before_default(home: Path) -> None:
    file = "MAX_AGENTS=3\n"
    assert (settings := load(home, file=file)).max_agents == 3
    assert str(settings.sources["MAX_AGENTS"]) == f"{home}/project/.env:1"
    assert (settings := load(home, {"MAX_AGENTS": "4"}, file)).max_agents == 4
    assert settings.sources["MAX_AGENTS"].kind == "environment"
    assert (settings := load(home, {"MAX_AGENTS": "4"}, file, MAX_AGENTS="5")).max_agents == 5
    assert settings.sources["MAX_AGENTS"].kind == "option"
    assert not settings.is_default("MAX_AGENTS")


@pytest.mark.parametrize("nothing", ["", " ", "\t "])
def test_empty_means_unset_everywhere(home: Path, nothing: str) -> None:
    settings = load(home, {"MAX_AGENTS": nothing}, f'MAX_AGENTS="{nothing}"\nGROQ_API_KEY=\nPOSTGRES_URL\n')
    assert settings.max_agents == 10
    assert settings.is_default("MAX_AGENTS")
    assert settings.postgres_url is None
    assert load(home, {"MAX_AGENTS": nothing}, "MAX_AGENTS=7").max_agents == 7


def test_the_bots_other_variables_are_left_alone(home: Path) -> None:
    settings = load(home, {"REDIS_URL": "redis://h"}, "DISCORD_TOKEN=tok_secret\nDEBUG_LEVEL=many\nPHOENIX=1\n")
    assert settings.bot_variables == {"DISCORD_TOKEN", "DEBUG_LEVEL", "REDIS_URL"}
    assert "tok_secret" not in repr(settings)


# --- the .env ---------------------------------------------------------------------------------------------------------


def in_force(cwd: Path, environ: dict[str, str]) -> Path | None:
    found = find_env_file(cwd=cwd, environ=environ)
    return found.path if found else None


def test_the_env_file_is_found_from_the_current_folder_upward(home: Path) -> None:
    deep = home / "project" / "a" / "b"
    deep.mkdir(parents=True)
    (home / ".env").write_text("MAX_AGENTS=2")
    assert in_force(cwd=deep, environ={"HOME": str(home)}) == home / ".env"
    (home / "project" / ".env").write_text("MAX_AGENTS=3")
    assert in_force(cwd=deep, environ={"HOME": str(home)}) == home / "project" / ".env"


def test_the_users_own_file_is_the_last_resort(home: Path) -> None:
    own = home / "xdg" / "junkie" / ".env"
    own.parent.mkdir(parents=True)
    own.write_text("MAX_AGENTS=6")
    environ = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "xdg")}
    assert load_settings(environ=environ, cwd=home / "project").max_agents == 6
    default = home / ".config" / "junkie" / ".env"
    default.parent.mkdir(parents=True)
    default.write_text("MAX_AGENTS=8")
    assert load_settings(environ={"HOME": str(home)}, cwd=home / "project").max_agents == 8


def test_a_named_file_is_the_only_one_read(home: Path) -> None:
    (home / "project" / ".env").write_text("MAX_AGENTS=3\nMODEL_TOP_P=0.1")
    named = home / "named"
    named.write_text("MAX_AGENTS=4")
    settings = load_settings(env_file=named, environ={}, cwd=home / "project")
    assert (settings.max_agents, settings.model_top_p, settings.env_file) == (4, 0.9, named)
    with pytest.raises(SettingsError, match="does not exist"):
        load_settings(env_file=home / "absent", environ={}, cwd=home)
    with pytest.raises(SettingsError, match="is a folder"):
        load_settings(env_file=home, environ={}, cwd=home)
    assert load_settings(env_file=Path("/dev/null"), environ={}, cwd=home / "project").max_agents == 10


def test_what_is_there_and_cannot_be_a_file_stops_it(home: Path) -> None:
    """Passed over, it would let another database be used than the one that was meant."""
    path = home / "project" / ".env"
    (home / ".env").write_text("MAX_AGENTS=2")
    path.mkdir()
    with pytest.raises(SettingsError, match=r"project/\.env is a folder"):
        load_settings(environ={"HOME": str(home)}, cwd=home / "project")
    path.rmdir()
    for target in ("nowhere", ".env"):
        path.symlink_to(target)
        with pytest.raises(SettingsError, match=r"project/\.env is a broken link") as caught:
            load_settings(environ={"HOME": str(home)}, cwd=home / "project")
        assert "--env-file" in caught.value.hint
        assert load_settings(env_file=Path("/dev/null"), environ={}, cwd=home / "project").max_agents == 10
        path.unlink()


def test_a_link_and_a_device_are_read(home: Path) -> None:
    path = home / "project" / ".env"
    (home / "real").write_text("MAX_AGENTS=4")
    (home / ".env").write_text("MAX_AGENTS=2")
    path.symlink_to("../real")
    assert load_settings(environ={"HOME": str(home)}, cwd=home / "project").max_agents == 4
    path.unlink()
    path.symlink_to("/dev/null")
    assert load_settings(environ={"HOME": str(home)}, cwd=home / "project").max_agents == 10
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(SettingsError, match="too large for a"):
        load_settings(environ={"HOME": str(home)}, cwd=home / "project")


@pytest.mark.parametrize("named", [False, True])
def test_a_fifo_is_read_once(home: Path, named: bool) -> None:
    path = home / "project" / ".env"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_text("MAX_AGENTS=5\r\nJUNKIE_USER=ada\r\n"))
    writer.start()
    for _ in range(2):  # a command reads its settings more than once
        settings = load_settings(env_file=path if named else None, environ={}, cwd=home / "project")
        assert (settings.max_agents, settings.user, settings.env_file) == (5, "ada", path)
        assert str(settings.sources["JUNKIE_USER"]) == f"{path}:2"
    writer.join(60)


def test_a_fifo_that_nobody_fills_is_an_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(home / "project" / ".env")
    monkeypatch.setattr(env_file, "_PATIENCE", 0.1)
    with pytest.raises(SettingsError, match="nothing was written to it"):
        load_settings(environ={}, cwd=home / "project")


def test_waiting_for_a_fifo_is_reported(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home / "project" / ".env"
    os.mkfifo(path)
    monkeypatch.setattr(env_file, "_SILENT", 0.0)
    writers: list[threading.Thread] = []

    def write(sentence: str) -> None:
        assert str(path) in sentence
        writers.append(threading.Thread(target=lambda: path.write_text("MAX_AGENTS=5\n")))
        writers[0].start()

    reporting.set_reporter(write)
    try:
        assert load_settings(environ={}, cwd=home / "project").max_agents == 5
    finally:
        reporting.set_reporter(None)
    writers[0].join(60)


def test_a_file_of_another_program_gives_way_to_the_users_own(home: Path) -> None:
    environ = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "xdg")}
    other, own = home / "project" / ".env", home / "xdg" / "junkie" / ".env"
    other.write_text("SECRET_KEY=x\nLOG_LEVEL=info\n")
    assert load_settings(environ=environ, cwd=home / "project").env_file == other
    own.parent.mkdir(parents=True)
    own.write_text("MAX_AGENTS=6")
    settings = load_settings(environ=environ, cwd=home / "project")
    assert (settings.max_agents, settings.env_file) == (6, own)
    found = find_env_file(cwd=home / "project", environ=environ)
    assert found is not None and found.passed_over == other
    other.write_text("DISCORD_TOKEN=x\n")
    assert load_settings(environ=environ, cwd=home / "project").env_file == other


def test_root_does_not_read_what_belongs_to_somebody_else(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = home / "project" / ".env"
    foreign.write_text("MAX_AGENTS=3")
    if os.geteuid() == 0:
        os.chown(foreign, 12345, 12345)
    else:  # we are the somebody else
        monkeypatch.setattr(module, "_is_root", lambda: True)
    (home / "xdg" / "junkie").mkdir(parents=True)
    settings = load_settings(environ={"XDG_CONFIG_HOME": str(home / "xdg")}, cwd=home / "project")
    assert settings.max_agents == 10
    assert settings.ignored_env_files[0] == foreign
    assert load_settings(env_file=foreign, environ={}, cwd=home).max_agents == 3


def test_people_read_files_of_others(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_is_root", lambda: False)
    foreign = home / "project" / ".env"
    foreign.write_text("MAX_AGENTS=3")
    if os.geteuid() == 0:
        os.chown(foreign, 12345, 12345)
    settings = load_settings(environ={}, cwd=home / "project")
    assert (settings.max_agents, settings.ignored_env_files) == (3, ())


def test_what_cannot_be_read_is_an_error_and_not_an_empty_file(home: Path) -> None:
    assert "not UTF-8 text" in refusal(home, file=b"MAX_AGENTS=3\n\xff\xfe").message
    with pytest.raises(SettingsError, match="/proc/self/mem cannot be read: "):  # refuses even root
        load_settings(env_file=Path("/proc/self/mem"), environ={}, cwd=home)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("GROQ_API_KEY=abc", "abc"),
        ("  export GROQ_API_KEY = abc  # comment", "abc"),
        ("GROQ_API_KEY='abc'", "abc"),
        ('GROQ_API_KEY="abc" # comment', "abc"),
        ("GROQ_API_KEY=a#b", "a#b"),
        ("GROQ_API_KEY=a$b$$c", "a$b$$c"),
        ("GROQ_API_KEY=first\nGROQ_API_KEY=second", "second"),
        ("\ufeffGROQ_API_KEY=abc", "abc"),
        ("\r\n# x\r\nGROQ_API_KEY=abc\r\n", "abc"),
        ("KEY=part\nGROQ_API_KEY=${KEY}-${NOWHERE:-rest}", "part-rest"),
        ("GROQ_API_KEY=${FROM_ENV}", "env"),
        ("garbage line\nGROQ_API_KEY=abc", "abc"),
    ],
)
def test_the_ways_of_writing_an_env_file(home: Path, line: str, value: str) -> None:
    assert load(home, {"FROM_ENV": "env"}, line).groq_api_key == value


def test_passwords_with_dollars_survive(home: Path) -> None:
    settings = load(home, file="POSTGRES_URL=postgresql://u:pa$$w$RD{x}@h/d\n")
    assert settings.postgres_url is not None
    assert settings.postgres_url.password == "pa$$w$RD{x}"


def test_a_reference_to_nothing_is_refused_rather_than_empty(home: Path) -> None:
    error = refusal(home, file="A=1\nPOSTGRES_URL=${DATABASE_URL}\n")
    assert error.message == f"POSTGRES_URL refers to ${{DATABASE_URL}}, which is not set (set by {home}/project/.env:2)"
    assert load(home, {"POSTGRES_URL": "postgresql://h/d"}).postgres_url is not None
    assert load(home, file="TOKEN=${NOWHERE}\n").groq_api_key == ""


@pytest.mark.parametrize("line", ['GROQ_API_KEY="abc', "POSTGRES_URL='x", 'export MAX_AGENTS="3" 4'])
def test_a_broken_line_of_ours_is_refused(home: Path, line: str) -> None:
    error = refusal(home, file=f"\n{line}\n")
    assert f"{home}/project/.env:2" in error.message
    assert "abc" not in error.message


def test_lines_are_counted_as_editors_do(home: Path) -> None:
    (home / "env").write_text('# one\n\nA=1\n\n\nB="x\ny"\nC=3\n  \n# nine\nexport D=4')
    values = read_env_file(home / "env", {}).values
    assert {name: line for name, (_, line) in values.items()} == {"A": 3, "B": 6, "C": 8, "D": 11}


# --- secrets ----------------------------------------------------------------------------------------------------------

secrets = texts(PRINTABLE_ASCII.replace(" ", ""), min_size=6, max_size=30).map(
    lambda text: "S3k" + text.replace("'", "x").replace('"', "x")
)


@given(secrets, secrets, secrets)
def test_no_secret_can_be_seen(groq: str, custom: str, password: str) -> None:
    url = f"postgresql://me:{quote(password, safe='')}@db.example:5433/bot?sslmode=require"
    environ = {
        "GROQ_API_KEY": groq,
        "CUSTOM_PROVIDER_API_KEY": custom,
        "POSTGRES_URL": url,
        "POSTGRES_READ_URL": url,
        "CUSTOM_PROVIDER": f"https://me:{quote(password, safe='')}@proxy.example/v1?key={quote(custom, safe='')}",
        "HOME": "/nowhere",
    }
    settings = load_settings(environ=environ, env_file=Path("/dev/null"))
    seen = [*(shown_value(settings, variable) for variable in VARIABLES), repr(settings), str(settings)]
    trace = redact(f"boom {groq} {custom} {password} {url}", settings, {})
    blind = redact(f"boom {groq} {custom} {url}", None, environ)
    for text in (*seen, trace, blind):
        for secret in (groq, custom, password, quote(password, safe="")):
            assert secret not in text
    assert "db.example" in trace
    assert shown_value(settings, BY_NAME["CUSTOM_PROVIDER"]) == "https://********@proxy.example/v1?********"


def test_short_passwords_are_hidden_in_urls() -> None:
    assert redact("postgresql://u:pw@h/d", None, {"POSTGRES_URL": "postgresql://u:pw@h/d"}) == (
        "postgresql://u:********@h/d"
    )
