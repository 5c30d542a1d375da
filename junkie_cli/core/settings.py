"""Reads and checks settings, and records where each value comes from.

Data flows one way: option > environment > `.env` > default, into one frozen `Settings`. This is the only reader of
`.env`, which can be shared with the Junkie Discord bot: variables of other programs are ignored.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import quote

from junkie_cli.core import env_file
from junkie_cli.core import setting_values as read
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.env_file import EnvFile
from junkie_cli.core.errors import SettingsError
from junkie_cli.core.os_account import home_folder, login_name
from junkie_cli.core.table_layout import VARIABLES as TABLE_VARIABLES
from junkie_cli.core.table_layout import Layout, default_runs
from junkie_cli.core.value_class import as_document, field, frozen

REDACTED = "********"


@frozen
class Source:
    """The source of a value: `kind` is `option`, `environment`, `file` or `default`; path and line for a file.

    As text it reads after "set by".
    """

    kind: Literal["option", "environment", "file", "default"]
    path: Path | None = None
    line: int | None = None

    def __str__(self) -> str:
        if self.path is None:
            return {"option": "an option", "environment": "the environment"}.get(self.kind, self.kind)
        return f"{self.path}:{self.line}" if self.line else str(self.path)

    @property
    def remedy(self) -> str:
        """Return a hint for an invalid value from this source."""
        return {
            "option": "give another value",
            "environment": "correct or unset that variable",
            "file": "correct or delete that line",
        }.get(self.kind, "set that variable")


@frozen
class Problem:
    """An invalid setting: the name of the variable, and the error."""

    name: str
    error: SettingsError


@frozen
class Variable:
    """A variable of the settings: its parser, default and description."""

    name: str
    field: str
    parse: Callable[[str], Any]
    default: str
    meaning: str
    secret: bool = False
    is_url: bool = False
    empty: Any = ""
    """The value of an unset variable without a default."""


@frozen
class Settings:
    """All settings, checked. The `repr` contains no secrets."""

    postgres_url: DatabaseUrl | None
    postgres_read_url: DatabaseUrl | None
    groq_api_key: str = field(repr=False)
    groq_base_url: str = field(repr=False)  # can contain credentials of a proxy, like the next address
    memory_model: str
    custom_provider: str = field(repr=False)
    custom_model: str
    custom_provider_api_key: str = field(repr=False)
    model_temperature: float
    model_top_p: float
    agent_history_runs: int
    agent_retries: int
    model_timeout: float
    memory_timeout: float
    max_calls: int
    max_tool_calls: int
    max_tokens: int
    max_seconds: float
    context_window: int | None
    max_agents: int
    tools: bool
    debug_mode: bool
    user: str
    schema: str
    memory_table: str
    session_table: str
    runs_table: str
    data_dir: Path
    pg_bin: Path | None
    backup_dir: Path
    history_days: int
    search_languages: tuple[str, ...]
    env_file: Path | None
    ignored_env_files: tuple[Path, ...]
    sources: Mapping[str, Source]
    bot_variables: frozenset[str]

    @property
    def names_provider(self) -> bool:
        """Return whether a provider is configured: any base URL, or Groq with a key."""
        return self.custom_provider != "groq" or bool(self.groq_api_key)

    @property
    def layout(self) -> Layout:
        """Return the schema and the names of agno's tables."""
        runs = self.runs_table or default_runs(self.session_table)
        return Layout(self.schema, self.memory_table, self.session_table, runs)

    def is_default(self, name: str) -> bool:
        """Return whether the variable `name` is unset."""
        return self.sources[name].kind == "default"

    def __reduce__(self) -> tuple[Any, ...]:
        # The read-only mapping can be neither copied nor pickled; a pickle contains secrets in plain text.
        return _rebuilt, (as_document(self) | {"sources": dict(self.sources)},)


def _rebuilt(fields: dict[str, Any]) -> Settings:
    return Settings(**fields | {"sources": MappingProxyType(fields["sources"])})


# --- folders and defaults ---------------------------------------------------------------------------------------------


def _is_root() -> bool:
    return os.geteuid() == 0


def xdg_dir(kind: str, environ: Mapping[str, str]) -> Path:
    """Return the XDG base folder of `kind` (`CONFIG`, `DATA`, `STATE`); empty or relative variables are ignored."""
    named = environ.get(f"XDG_{kind}_HOME", "")
    if named and Path(named).is_absolute():
        return Path(named)
    home = environ.get("HOME", "") or home_folder()
    return Path(home) / {"CONFIG": ".config", "DATA": ".local/share", "STATE": ".local/state"}[kind]


def state_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Return the folder of histories, logs and the spool: `$XDG_STATE_HOME/junkie`."""
    return xdg_dir("STATE", os.environ if environ is None else environ) / "junkie"


def _default_data_dir(environ: Mapping[str, str]) -> str:
    return "/var/lib/junkie" if _is_root() else str(xdg_dir("DATA", environ) / "junkie")


def _default_backup_dir(environ: Mapping[str, str]) -> str:
    return "/var/backups/junkie" if _is_root() else str(xdg_dir("DATA", environ) / "junkie-backups")


LOCAL_TIMEOUT, CLOUD_TIMEOUT = "600", "60"
"""Default seconds of silence after which a model call fails. A local server can need minutes to load its model and read
a long prompt before the first byte; a cloud service that is silent for a minute does not respond."""


def _default_timeout(address: str) -> str:
    return LOCAL_TIMEOUT if read.is_local_address(address) else CLOUD_TIMEOUT


def _chat_address(values: Mapping[str, Any]) -> str:
    custom: str = values["custom_provider"]
    return values["groq_base_url"] if custom == "groq" else custom


def _memory_address(values: Mapping[str, Any]) -> str:
    return values["groq_base_url"] if values["groq_api_key"] else _chat_address(values)


_SECONDS = read.number(0, 86_400)
VARIABLES: tuple[Variable, ...] = (
    Variable(
        "POSTGRES_URL",
        "postgres_url",
        DatabaseUrl.parse,
        "",
        "database; empty: embedded PostgreSQL",
        is_url=True,
        empty=None,
    ),
    Variable("GROQ_API_KEY", "groq_api_key", read.key, "", "key for Groq: memory model, and chat model", secret=True),
    Variable("GROQ_BASE_URL", "groq_base_url", read.web_address, "https://api.groq.com/openai/v1", "address of Groq"),
    Variable("MEMORY_MODEL", "memory_model", read.text, "openai/gpt-oss-120b", "model that extracts memories"),
    Variable("CUSTOM_PROVIDER", "custom_provider", read.provider, "groq", "groq, or base URL of a compatible server"),
    Variable("CUSTOM_MODEL", "custom_model", read.text, "openai/gpt-oss-120b", "chat model"),
    Variable(
        "CUSTOM_PROVIDER_API_KEY", "custom_provider_api_key", read.key, "", "key for CUSTOM_PROVIDER's URL", secret=True
    ),
    Variable("MODEL_TEMPERATURE", "model_temperature", read.number(0, 2), "0.3", "randomness of answers, 0 to 2"),
    Variable("MODEL_TOP_P", "model_top_p", read.number(0, 1), "0.9", "nucleus sampling, 0 to 1"),
    Variable("AGENT_HISTORY_RUNS", "agent_history_runs", read.integer(0, 1000), "10", "earlier runs in the context"),
    Variable(
        "AGENT_RETRIES", "agent_retries", read.integer(0, 20), "2", "retries of a model call before its first byte"
    ),
    Variable("MODEL_TIMEOUT", "model_timeout", _SECONDS, "", "seconds of silence of the chat model; 0: no limit"),
    Variable("MEMORY_TIMEOUT", "memory_timeout", _SECONDS, "", "seconds of silence of the memory model; 0: no limit"),
    Variable("JUNKIE_MAX_CALLS", "max_calls", read.integer(1, 1000), "16", "model calls in one turn"),
    Variable("JUNKIE_MAX_TOOL_CALLS", "max_tool_calls", read.integer(1, 1000), "32", "tool calls in one turn"),
    Variable(
        "JUNKIE_MAX_TOKENS", "max_tokens", read.integer(1, 10**9), "250000", "tokens in one turn, read and written"
    ),
    Variable("JUNKIE_MAX_SECONDS", "max_seconds", read.number(1, 86_400), "900", "time limit of one turn in seconds"),
    Variable(
        "JUNKIE_CONTEXT_WINDOW",
        "context_window",
        read.integer(256, 10**9),
        "",
        "context window of the chat model in tokens; empty: as the server reports",
        empty=None,
    ),
    Variable("MAX_AGENTS", "max_agents", read.integer(1, 100_000), "10", "teams kept in the per-user cache"),
    Variable("JUNKIE_TOOLS", "tools", read.switch, "on", "tools for the chat model, on or off"),
    Variable("DEBUG_MODE", "debug_mode", read.boolean, "false", "write agno's log to stderr"),
    Variable("JUNKIE_USER", "user", read.text, "", "user id for chat without --user"),
    Variable("JUNKIE_SCHEMA", "schema", read.schema_name, "ai", "schema of agno's tables"),
    Variable("JUNKIE_MEMORY_TABLE", "memory_table", read.table_name, "user_memories", "agno's table of memories"),
    Variable("JUNKIE_SESSION_TABLE", "session_table", read.table_name, "agent_sessions", "agno's table of sessions"),
    Variable(
        "JUNKIE_RUNS_TABLE",
        "runs_table",
        read.table_name,
        "",
        "agno's table of runs; empty: derived from the session table",
    ),
    Variable("JUNKIE_DATA_DIR", "data_dir", read.path, "", "folder of the embedded PostgreSQL"),
    Variable("JUNKIE_PG_BIN", "pg_bin", read.path, "", "folder of PostgreSQL's programs, preferred", empty=None),
    Variable("JUNKIE_BACKUP_DIR", "backup_dir", read.path, "", "folder of backups"),
    Variable(
        "JUNKIE_HISTORY_DAYS", "history_days", read.integer(0, 36_500), "30", "days that old texts are kept for undo"
    ),
    Variable(
        "JUNKIE_SEARCH_LANGUAGES",
        "search_languages",
        read.languages,
        "english",
        "languages of Latin script whose word endings do not matter in a search",
    ),
    Variable(
        "POSTGRES_READ_URL",
        "postgres_read_url",
        DatabaseUrl.parse,
        "",
        "a replica for list, search, stats, export",
        is_url=True,
        empty=None,
    ),
)
BY_NAME: Mapping[str, Variable] = {variable.name: variable for variable in VARIABLES}

# Variables of the Discord bot in the same file: accepted, but not read.
# fmt: off
BOT_VARIABLES = frozenset({
    "DISCORD_TOKEN", "LOG_LEVEL", "FIRECRAWL_API_KEY", "E2B_API_KEY", "EXA_API_KEY", "GOOGLE_API_KEY",
    "DEBUG_LEVEL", "TRACING", "PHOENIX_API_KEY", "PHOENIX_ENDPOINT", "PHOENIX_PROJECT_NAME",
    "PHOENIX_CLIENT_HEADERS", "PHOENIX_COLLECTOR_ENDPOINT", "MCP_URLS", "CONTEXT_AGENT_MODEL",
    "CONTEXT_AGENT_MAX_MESSAGES", "TEAM_LEADER_CONTEXT_LIMIT", "MESSAGE_SYNC_LIMIT", "CACHE_TTL",
    "DISCORD_TIMEZONE", "BACKFILL_MAX_FETCH_LIMIT", "BACKFILL_MAX_ITERATIONS", "BACKFILL_PARALLEL_BATCHES",
    "BACKFILL_CONCURRENCY", "ALLOWED_USER_IDS", "BOT_OWNER_ID", "DEFAULT_USER_FILTER_MODE", "MISTRAL_API_KEY",
    "EMBEDDER_BASE_URL", "EMBEDDER_MODEL", "EMBEDDER_API_KEY", "MEMORI_ENABLED", "HONCHO_API_KEY",
    "HONCHO_WORKSPACE_ID", "HONCHO_ENVIRONMENT", "HONCHO_CONTEXT_TOKENS", "AGENT_TIMEZONE", "REDIS_URL",
    "USE_REDIS", "SUPERMEMORY_API_KEY",
})
# fmt: on


# --- the .env ---------------------------------------------------------------------------------------------------------

# Names that other programs use, too: one of them alone does not mean that the file belongs to the bot.
COMMON_NAMES = frozenset(
    {
        *("LOG_LEVEL", "DEBUG_LEVEL", "TRACING", "CACHE_TTL", "REDIS_URL", "USE_REDIS"),
        *("GOOGLE_API_KEY", "EXA_API_KEY", "FIRECRAWL_API_KEY", "E2B_API_KEY", "MISTRAL_API_KEY", "PHOENIX_API_KEY"),
        *("PHOENIX_ENDPOINT", "PHOENIX_PROJECT_NAME", "PHOENIX_CLIENT_HEADERS", "PHOENIX_COLLECTOR_ENDPOINT"),
    }
)
_OURS = frozenset(BY_NAME) | (BOT_VARIABLES - COMMON_NAMES)


def find_env_file(
    explicit: Path | None = None, *, cwd: Path | None = None, environ: Mapping[str, str] | None = None
) -> EnvFile | None:
    """Return the `.env` in use: `explicit`, the nearest from `cwd` upward, or the one in the user's config folder.

    python-dotenv's own search starts at the installed package, which is never the user's folder. For root, files of
    other users are skipped: their owner could otherwise control a root process. The file in the config folder takes
    precedence over one without variables of junkie or the bot. Raises SettingsError if a file cannot be read.
    """
    return _env_file_in_force(explicit, cwd, os.environ if environ is None else environ)[0]


def _env_file_in_force(
    explicit: Path | None, cwd: Path | None, environ: Mapping[str, str]
) -> tuple[EnvFile | None, tuple[Path, ...]]:
    """Return the file in use, and nearer ones that belong to other users."""
    if explicit is not None:
        return read_env_file(env_file.require_named(explicit), environ), ()
    here, own = (cwd or _current_folder()).absolute(), config_env_file(environ)
    path, ignored = env_file.search((here, *here.parents, own.parent), as_root=_is_root())
    found = read_env_file(path, environ) if path else None
    if found is None or path == own or is_ours(found):
        return found, ignored
    if not env_file.search((own.parent,), as_root=_is_root())[0]:
        return found, ignored
    instead = read_env_file(own, environ)
    return EnvFile(own, instead.values, instead.unset, passed_over=path), ignored


def config_env_file(environ: Mapping[str, str] | None = None) -> Path:
    """Return the path of the `.env` in the user's config folder, which may not exist."""
    return xdg_dir("CONFIG", os.environ if environ is None else environ) / "junkie" / env_file.NAME


def is_ours(file: EnvFile) -> bool:
    """Return whether a `.env` contains a variable of junkie or the bot."""
    return not _OURS.isdisjoint(file.values)


def _current_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")


def read_env_file(path: Path, environ: Mapping[str, str] | None = None) -> EnvFile:
    """Read the `.env` at `path`. Raises SettingsError if it, or a line with one of our variables, cannot be read."""
    return env_file.read(path, os.environ if environ is None else environ, BY_NAME)


# --- reading it all ---------------------------------------------------------------------------------------------------


def load_settings(
    *,
    env_file: Path | None = None,
    overrides: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    problems: list[Problem] | None = None,
) -> Settings:
    """Read and check every setting.

    `overrides` are values of options, by variable name. Raises SettingsError with the variable, the problem, and the
    source; secrets are never quoted. With `problems`, errors are added there and defaults are used, so that doctor can
    check the rest.
    """
    environ = os.environ if environ is None else environ
    file, ignored = _env_file_in_force(env_file, cwd, environ)
    values: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    for variable in VARIABLES:
        try:
            raw, source = _raw_value(variable.name, overrides or {}, environ, file)
            value = _parse(variable, raw or _default(variable, environ, values), source)
        except SettingsError as error:
            if problems is None:
                raise
            problems.append(Problem(variable.name, error))
            source = Source("default")
            value = _parse(variable, _default(variable, environ, values), source)
        sources[variable.name] = source
        values[variable.field] = value
    names = set(environ) | set(file.values if file else ())
    settings = Settings(
        **values,
        env_file=file.path if file else None,
        ignored_env_files=ignored,
        sources=MappingProxyType(sources),
        bot_variables=frozenset(names & BOT_VARIABLES),
    )
    for name, check in (("JUNKIE_BACKUP_DIR", _check_folders), ("JUNKIE_MEMORY_TABLE", _check_tables)):
        try:
            check(settings)
        except SettingsError as error:
            if problems is None:
                raise
            problems.append(Problem(name, error))
    return settings


def _raw_value(
    name: str, overrides: Mapping[str, str], environ: Mapping[str, str], file: EnvFile | None
) -> tuple[str, Source]:
    """Return the text in use, or an empty string; white space counts as empty."""
    in_file, line = file.values.get(name, ("", 0)) if file else ("", 0)
    if overrides.get(name, "").strip():
        return overrides[name], Source("option")
    if environ.get(name, "").strip():
        return environ[name], Source("environment")
    if file and name in file.unset:
        raise SettingsError(
            f"{name} refers to ${{{file.unset[name]}}}, which is not set (set by {file.path}:{line})",
            hint="set that variable, too; in a URL, write a literal ${ as %24%7B",
        )
    if file and in_file.strip():
        return in_file, Source("file", file.path, line)
    return "", Source("default")


def _default(variable: Variable, environ: Mapping[str, str], values: Mapping[str, Any]) -> str:
    """Return the default of `variable`, which can depend on `values` of earlier variables in the table."""
    computed: Mapping[str, Callable[[], str]] = {
        "JUNKIE_USER": login_name,
        "JUNKIE_DATA_DIR": lambda: _default_data_dir(environ),
        "JUNKIE_BACKUP_DIR": lambda: _default_backup_dir(environ),
        "MODEL_TIMEOUT": lambda: _default_timeout(_chat_address(values)),
        "MEMORY_TIMEOUT": lambda: _default_timeout(_memory_address(values)),
    }
    return computed[variable.name]() if variable.name in computed else variable.default


def _parse(variable: Variable, raw: str, source: Source) -> Any:
    if not raw:
        return variable.empty
    try:
        return variable.parse(_checked(raw))
    except ValueError as error:
        raise SettingsError(f"{variable.name} {error} (set by {source})", hint=source.remedy) from None


def _checked(raw: str) -> str:
    """Return `raw`. Raises ValueError for invalid UTF-8, which the database and file names cannot represent."""
    if "\x00" in raw or any("\ud800" <= c <= "\udfff" for c in raw):
        raise ValueError("is not UTF-8 text")
    return raw


def _check_folders(settings: Settings) -> None:
    """Refuse a backup folder inside the database folder: backups would be lost with it."""
    data, backup = settings.data_dir, settings.backup_dir
    if backup == data or data in backup.parents:
        name = "JUNKIE_DATA_DIR" if settings.is_default("JUNKIE_BACKUP_DIR") else "JUNKIE_BACKUP_DIR"
        raise SettingsError(
            f"JUNKIE_BACKUP_DIR is inside JUNKIE_DATA_DIR ({name} is set by {settings.sources[name]})",
            hint="set JUNKIE_BACKUP_DIR to a folder outside the database folder",
        )


def _check_tables(settings: Settings) -> None:
    names = list(settings.layout.names.values())
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        raise SettingsError(
            f"{' and '.join(name for role, name in TABLE_VARIABLES.items() if settings.layout.names[role] in doubled)}"
            f" name the same table, {doubled[0]}",
            hint="use different tables for memories, sessions and runs",
        )


# --- what may be seen -------------------------------------------------------------------------------------------------


def shown_value(settings: Settings, variable: Variable) -> str:
    """Return the value of `variable` for people: secrets redacted, passwords in URLs masked."""
    return _seen(variable, getattr(settings, variable.field))


def seen_value(name: str, text: str) -> str:
    """As `shown_value`, for the text of a valid value."""
    return _seen(BY_NAME[name], BY_NAME[name].parse(text) if text else "")


def _seen(variable: Variable, value: Any) -> str:
    if value is None or value == "":
        return ""
    if variable.secret:
        return REDACTED
    if isinstance(value, DatabaseUrl):
        return value.masked()
    if isinstance(value, bool):
        return ("off", "on")[value] if variable.parse is read.switch else ("false", "true")[value]
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, tuple):
        return " ".join(value)
    return _without_credentials(str(value))


def _without_credentials(text: str) -> str:
    """Return a web address without password and query; other text unchanged."""
    if not text.startswith(("http://", "https://")):
        return text
    scheme, _, rest = text.partition("://")
    rest, query, _ = rest.partition("?")
    authority, slash, path = rest.partition("/")
    credentials, at, host = authority.rpartition("@")
    return f"{scheme}://{REDACTED if credentials else ''}{at}{host}{slash}{path}{f'?{REDACTED}' if query else ''}"


def redact(text: str, settings: Settings | None, environ: Mapping[str, str] | None = None) -> str:
    """Remove known secrets from `text`, for tracebacks and logs."""
    for secret in sorted(_secrets(settings, os.environ if environ is None else environ), key=len, reverse=True):
        if len(secret) > 3:
            text = text.replace(secret, REDACTED)
        text = text.replace(f":{secret}@", f":{REDACTED}@")
    return text


def _secrets(settings: Settings | None, environ: Mapping[str, str]) -> Iterator[str]:
    for variable in VARIABLES:
        raw = environ.get(variable.name, "")
        value = getattr(settings, variable.field) if settings else None
        if variable.secret:
            yield from (secret for secret in (raw, value) if secret)
        elif variable.is_url:
            password = value.password if value else _password_in(raw)
            yield from ({password, quote(password, safe="")} if password else ())


def _password_in(url: str) -> str:
    # the URL can be invalid
    match = re.match(r"[a-z+_]+://[^:/@]*:(.*)@", url)
    return match[1] if match else ""
