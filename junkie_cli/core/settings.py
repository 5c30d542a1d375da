"""Settings: what the user configured, and where each value came from.

Data flows one way: option > environment > `.env` > default, into one frozen `Settings`. This is the only reader of
`.env`, which is shared with the Junkie Discord bot: variables that are not ours are left alone.
"""

import os
import pwd
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from junkie_cli.core.errors import SettingsError
from junkie_cli.core.url import DatabaseUrl

REDACTED = "********"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value came from: `kind` is `option`, `environment`, `file` or `default`; path and line for a file."""

    kind: str
    path: Path | None = None
    line: int | None = None

    def __str__(self) -> str:
        if self.path is None:
            return self.kind
        return f"{self.path}:{self.line}" if self.line else str(self.path)


@dataclass(frozen=True, slots=True)
class Variable:
    """One row of the settings table: how a variable is read, and what it means."""

    name: str
    field: str
    parse: Callable[[str], Any]
    default: str
    meaning: str
    secret: bool = False
    is_url: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the program was told, checked. Secrets are kept out of `repr`."""

    postgres_url: DatabaseUrl | None
    postgres_read_url: DatabaseUrl | None
    groq_api_key: str = field(repr=False)
    groq_base_url: str
    memory_model: str
    custom_provider: str
    custom_model: str
    custom_provider_api_key: str = field(repr=False)
    model_temperature: float
    model_top_p: float
    agent_history_runs: int
    agent_retries: int
    max_agents: int
    debug_mode: bool
    user: str
    schema: str
    data_dir: Path
    backup_dir: Path
    history_days: int
    env_file: Path | None
    sources: Mapping[str, Source]
    bot_variables: frozenset[str]

    def is_default(self, name: str) -> bool:
        """Whether the variable `name` was set nowhere."""
        return self.sources[name].kind == "default"


def _text(value: str) -> str:
    return value


def _number(low: float, high: float) -> Callable[[str], float]:
    def parse(value: str) -> float:
        number = float(value)
        if not low <= number <= high:
            raise ValueError(f"must lie between {low:g} and {high:g}")
        return number

    return parse


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError("must be a whole number") from None
        if not low <= number <= high:
            raise ValueError(f"must lie between {low} and {high}")
        return number

    return parse


def _boolean(value: str) -> bool:
    word = value.strip().lower()
    if word in {"true", "1", "yes", "on"}:
        return True
    if word in {"false", "0", "no", "off"}:
        return False
    raise ValueError("must be true or false")


def _web_address(value: str) -> str:
    if not value.startswith(("http://", "https://")) or any(c.isspace() for c in value):
        raise ValueError("must be an address that begins with http:// or https://")
    return value.rstrip("/")


def _provider(value: str) -> str:
    if value.strip().lower() == "groq":
        return "groq"
    try:
        return _web_address(value)
    except ValueError:
        raise ValueError("must be the word groq or the base URL of an OpenAI-compatible server") from None


def _key(value: str) -> str:
    if value != value.strip() or any(c.isspace() for c in value) or value[0] in "'\"":
        raise ValueError("has spaces or quotes in or around it")
    if not value.isascii() or not value.isprintable():
        raise ValueError("has characters that no key has")
    return value


def _schema(value: str) -> str:
    if "\x00" in value or len(value.encode()) > 63:
        raise ValueError("must be a schema name of at most 63 bytes")
    return value


def _path(value: str) -> Path:
    path = Path(value).expanduser()
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


def _is_root() -> bool:
    return os.geteuid() == 0


def xdg_dir(kind: str, environ: Mapping[str, str]) -> Path:
    """The user's XDG base folder of `kind` (`CONFIG`, `DATA`, `STATE`); an empty or relative variable counts as unset."""
    named = environ.get(f"XDG_{kind}_HOME", "")
    if named and Path(named).is_absolute():
        return Path(named)
    home = environ.get("HOME", "") or _home_of_this_user()
    return Path(home) / {"CONFIG": ".config", "DATA": ".local/share", "STATE": ".local/state"}[kind]


def state_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Folder of histories, logs and the spool: `$XDG_STATE_HOME/junkie`."""
    return xdg_dir("STATE", os.environ if environ is None else environ) / "junkie"


def _home_of_this_user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return "/"


def _default_data_dir(environ: Mapping[str, str]) -> str:
    return "/var/lib/junkie" if _is_root() else str(xdg_dir("DATA", environ) / "junkie")


def _default_backup_dir(environ: Mapping[str, str]) -> str:
    return "/var/backups/junkie" if _is_root() else str(xdg_dir("DATA", environ) / "junkie-backups")


def _login_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""


VARIABLES: tuple[Variable, ...] = (
    Variable(
        "POSTGRES_URL",
        "postgres_url",
        DatabaseUrl.parse,
        "",
        "database; empty: embedded PostgreSQL",
        is_url=True,
    ),
    Variable("GROQ_API_KEY", "groq_api_key", _key, "", "key for Groq: memory model, and chat model", secret=True),
    Variable("GROQ_BASE_URL", "groq_base_url", _web_address, "https://api.groq.com/openai/v1", "address of Groq"),
    Variable("MEMORY_MODEL", "memory_model", _text, "openai/gpt-oss-120b", "model that turns talk into memories"),
    Variable("CUSTOM_PROVIDER", "custom_provider", _provider, "groq", "groq, or base URL of a compatible server"),
    Variable("CUSTOM_MODEL", "custom_model", _text, "openai/gpt-oss-120b", "model that talks"),
    Variable(
        "CUSTOM_PROVIDER_API_KEY", "custom_provider_api_key", _key, "", "key for CUSTOM_PROVIDER's URL", secret=True
    ),
    Variable("MODEL_TEMPERATURE", "model_temperature", _number(0, 2), "0.3", "randomness of answers, 0 to 2"),
    Variable("MODEL_TOP_P", "model_top_p", _number(0, 1), "0.9", "nucleus sampling, 0 to 1"),
    Variable("AGENT_HISTORY_RUNS", "agent_history_runs", _integer(0, 1000), "10", "runs put into the context"),
    Variable("AGENT_RETRIES", "agent_retries", _integer(0, 20), "2", "retries of a model call before its first byte"),
    Variable("MAX_AGENTS", "max_agents", _integer(1, 100_000), "10", "teams kept in the per-user cache"),
    Variable("DEBUG_MODE", "debug_mode", _boolean, "false", "log what agno does, to stderr"),
    Variable("JUNKIE_USER", "user", _text, "", "user id when chat gets no --user"),
    Variable("JUNKIE_SCHEMA", "schema", _schema, "ai", "schema of agno's tables"),
    Variable("JUNKIE_DATA_DIR", "data_dir", _path, "", "folder of the embedded PostgreSQL"),
    Variable("JUNKIE_BACKUP_DIR", "backup_dir", _path, "", "folder of the backups"),
    Variable("JUNKIE_HISTORY_DAYS", "history_days", _integer(0, 36_500), "30", "days that undo keeps old texts"),
    Variable(
        "POSTGRES_READ_URL",
        "postgres_read_url",
        DatabaseUrl.parse,
        "",
        "a replica for list, search, stats, export",
        is_url=True,
    ),
)
BY_NAME: Mapping[str, Variable] = {variable.name: variable for variable in VARIABLES}

# Variables that the Discord bot reads from the same file: known, never refused, never read for their value.
BOT_VARIABLES = frozenset(
    """DISCORD_TOKEN LOG_LEVEL FIRECRAWL_API_KEY E2B_API_KEY EXA_API_KEY GOOGLE_API_KEY DEBUG_LEVEL TRACING
    PHOENIX_API_KEY PHOENIX_ENDPOINT PHOENIX_PROJECT_NAME PHOENIX_CLIENT_HEADERS PHOENIX_COLLECTOR_ENDPOINT MCP_URLS
    CONTEXT_AGENT_MODEL CONTEXT_AGENT_MAX_MESSAGES TEAM_LEADER_CONTEXT_LIMIT MESSAGE_SYNC_LIMIT CACHE_TTL
    DISCORD_TIMEZONE BACKFILL_MAX_FETCH_LIMIT BACKFILL_MAX_ITERATIONS BACKFILL_PARALLEL_BATCHES BACKFILL_CONCURRENCY
    ALLOWED_USER_IDS BOT_OWNER_ID DEFAULT_USER_FILTER_MODE MISTRAL_API_KEY EMBEDDER_BASE_URL EMBEDDER_MODEL
    EMBEDDER_API_KEY MEMORI_ENABLED HONCHO_API_KEY HONCHO_WORKSPACE_ID HONCHO_ENVIRONMENT HONCHO_CONTEXT_TOKENS
    AGENT_TIMEZONE REDIS_URL USE_REDIS SUPERMEMORY_API_KEY""".split()
)


@dataclass(frozen=True, slots=True)
class EnvFile:
    """A `.env` as read: its path and, for each name, the value and the line (1-based) that set it."""

    path: Path
    values: Mapping[str, tuple[str, int]]


def find_env_file(
    explicit: Path | None = None, *, cwd: Path | None = None, environ: Mapping[str, str] | None = None
) -> Path | None:
    """The `.env` in force: `explicit`, else the nearest from `cwd` upward, else the one in the user's config folder.

    python-dotenv's own search starts beside the installed package, which is never where the user is. As root a file
    found upward that belongs to another user is passed over: its owner could otherwise steer a root process.
    Raises SettingsError when `explicit` is not a readable file.
    """
    if explicit is not None:
        if not explicit.is_file():
            raise SettingsError(f"--env-file {explicit}: no such file", hint="check the path")
        return explicit
    environ = os.environ if environ is None else environ
    here = (cwd or _current_folder()).absolute()
    for folder in (here, *here.parents):
        if _may_read(folder / ".env"):
            return folder / ".env"
    own = xdg_dir("CONFIG", environ) / "junkie" / ".env"
    return own if _may_read(own) else None


def _current_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path("/")


def _may_read(path: Path) -> bool:
    try:
        info = path.stat()
    except OSError:
        return False
    return path.is_file() and not (_is_root() and info.st_uid != 0)


def read_env_file(path: Path) -> EnvFile:
    """Parse `path` with python-dotenv, keeping line numbers. Raises SettingsError when it cannot be read."""
    from io import StringIO

    from dotenv.parser import parse_stream

    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"{path} cannot be read: {reason}", hint="mend the file or its permissions") from None
    values: dict[str, tuple[str, int]] = {}
    for binding in parse_stream(StringIO(text)):
        if binding.key is None:
            continue
        # A multi-line binding begins with the blank lines before it: count to the line that holds the name.
        leading = len(binding.original.string) - len(binding.original.string.lstrip("\r\n"))
        line = binding.original.line + binding.original.string[:leading].count("\n")
        values[binding.key] = (binding.value or "", line)
    return EnvFile(path, values)


def load_settings(
    *,
    env_file: Path | None = None,
    overrides: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Settings:
    """Read and check every setting.

    `overrides` are values given as options, by variable name. Raises SettingsError naming the variable, what is
    wrong with its value, and the file and line or the environment that set it; secrets are never quoted.
    """
    environ = os.environ if environ is None else environ
    path = find_env_file(env_file, cwd=cwd, environ=environ)
    file = read_env_file(path) if path else None
    values: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    for variable in VARIABLES:
        raw, source = _raw_value(variable.name, overrides or {}, environ, file)
        sources[variable.name] = source
        values[variable.field] = _parse(variable, raw or _default(variable, environ), source)
    names = set(environ) | set(file.values if file else ())
    return Settings(**values, env_file=path, sources=sources, bot_variables=frozenset(names & BOT_VARIABLES))


def _raw_value(
    name: str, overrides: Mapping[str, str], environ: Mapping[str, str], file: EnvFile | None
) -> tuple[str, Source]:
    if overrides.get(name):
        return overrides[name], Source("option")
    if environ.get(name):
        return environ[name], Source("environment")
    if file and file.values.get(name, ("", 0))[0]:
        value, line = file.values[name]
        return value, Source("file", file.path, line)
    return "", Source("default")


def _default(variable: Variable, environ: Mapping[str, str]) -> str:
    computed: Mapping[str, Callable[[], str]] = {
        "JUNKIE_USER": _login_name,
        "JUNKIE_DATA_DIR": lambda: _default_data_dir(environ),
        "JUNKIE_BACKUP_DIR": lambda: _default_backup_dir(environ),
    }
    return computed[variable.name]() if variable.name in computed else variable.default


def _parse(variable: Variable, raw: str, source: Source) -> Any:
    if not raw:
        return None if variable.is_url else ""
    try:
        return variable.parse(raw)
    except ValueError as error:
        reason = str(error) if not str(error).startswith("could not convert") else "must be a number"
        raise SettingsError(f"{variable.name} {reason} (set by {source})", hint="mend or remove that value") from None


def shown_value(settings: Settings, variable: Variable) -> str:
    """The value of `variable` as people may see it: secrets redacted, passwords in URLs masked."""
    value = getattr(settings, variable.field)
    if value is None or value == "":
        return ""
    if variable.secret:
        return REDACTED
    if isinstance(value, DatabaseUrl):
        return value.masked()
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
