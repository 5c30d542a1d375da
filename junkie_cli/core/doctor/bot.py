"""Checks the Discord bot's own settings in a shared `.env`. Only reads; does not log in to Discord."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from junkie_cli.core.doctor.context import Context
from junkie_cli.core.doctor.model import Check, Finding, ok, together, warning

# Variables that only the bot uses.
_ITS_OWN = frozenset(
    {
        *("DISCORD_TOKEN", "DISCORD_TIMEZONE", "CONTEXT_AGENT_MODEL", "CONTEXT_AGENT_MAX_MESSAGES", "BOT_OWNER_ID"),
        *("TEAM_LEADER_CONTEXT_LIMIT", "MESSAGE_SYNC_LIMIT", "BACKFILL_MAX_FETCH_LIMIT", "BACKFILL_MAX_ITERATIONS"),
        *("BACKFILL_PARALLEL_BATCHES", "BACKFILL_CONCURRENCY", "ALLOWED_USER_IDS", "DEFAULT_USER_FILTER_MODE"),
    }
)
_NUMBERS = (
    *("CONTEXT_AGENT_MAX_MESSAGES", "TEAM_LEADER_CONTEXT_LIMIT", "MESSAGE_SYNC_LIMIT", "CACHE_TTL"),
    *("BACKFILL_MAX_FETCH_LIMIT", "BACKFILL_MAX_ITERATIONS", "BACKFILL_PARALLEL_BATCHES", "BACKFILL_CONCURRENCY"),
    *("AGENT_HISTORY_RUNS", "AGENT_RETRIES", "MAX_AGENTS", "DEBUG_LEVEL"),
)
_BOOLEANS = ("DEBUG_MODE", "TRACING", "USE_REDIS", "MEMORI_ENABLED")
_PINNED = re.compile(
    r"""^\s*["']?agno(\[[^\]]*\])?\s*(?:(?:<|<=|~=|==)\s*[0-2]\b|.*,\s*<=?\s*[0-2]\b|.*<\s*3\b)""", re.M
)


def is_bots_file(context: Context) -> bool:
    """Return whether the bot uses the same settings: a variable is set that only the bot has."""
    return bool(context.settings.bot_variables & _ITS_OWN)


async def _compatibility(context: Context) -> Finding:
    if not is_bots_file(context):
        return ok("no settings of the bot found")
    values = _values(context)
    findings = [*_keys(values), *_provider(values), *_url(values), *_words(values), *_privacy(values), *_agno(context)]
    return together(findings, ok("the bot can work with these settings"))


def _values(context: Context) -> Mapping[str, str]:
    in_file = {name: value for name, (value, _) in context.env_file.values.items()} if context.env_file else {}
    return {**in_file, **context.environ}


def _keys(values: Mapping[str, str]) -> Iterator[Finding]:
    wanted = {
        "DISCORD_TOKEN": "without it the bot does not start",
        "E2B_API_KEY": "without it the bot does not start: its sandbox needs one on import",
        "EXA_API_KEY": "without it the search of code-agent fails",
        "GROQ_API_KEY": "without it there are no memories, no groq-compound and no .tldr, whatever CUSTOM_PROVIDER is",
    }
    for name, why in wanted.items():
        if not values.get(name, "").strip():
            yield warning(f"{name} is not set for the bot: {why}", f"set {name}")
    for name in wanted:
        if re.search(r"^['\"]|['\"]$|^\s|\s$", values.get(name, "")):
            yield warning(f"{name} has quotes or spaces around it", f"write {name} without them")


def _provider(values: Mapping[str, str]) -> Iterator[Finding]:
    provider = values.get("CUSTOM_PROVIDER", "").strip() or "groq"
    if provider.lower() == "groq":
        yield warning(
            "the bot uses the word groq as the address of code-agent, pplx-agent and context-qna-agent, which then "
            "fail",
            "set CUSTOM_PROVIDER to a base URL (https://api.groq.com/openai/v1) and CUSTOM_PROVIDER_API_KEY",
        )
    elif not values.get("CUSTOM_PROVIDER_API_KEY", "").strip():
        yield warning("the bot's CUSTOM_PROVIDER is a URL without a key", "set CUSTOM_PROVIDER_API_KEY")


def _url(values: Mapping[str, str]) -> Iterator[Finding]:
    url = values.get("POSTGRES_URL", "").strip()
    if not url:
        yield warning("the bot has no POSTGRES_URL: it keeps no messages and no memories", "set POSTGRES_URL")
    elif not url.startswith(("postgresql://", "postgres://")):
        yield warning(
            "the bot's own connections reject this form of POSTGRES_URL: messages are not stored",
            "begin POSTGRES_URL with postgresql://, without +asyncpg",
        )
    elif "?" in url:
        yield warning(
            "for its memories the bot drops the parameters after the ? of POSTGRES_URL, for example sslmode",
            "remove the parameters from POSTGRES_URL, or set them as PG... variables for the bot",
        )
    if re.search(r"://[^/@]*:[^/@]*%[0-9A-Fa-f]{2}[^/@]*@", url):
        yield warning(
            "the bot decodes the password in POSTGRES_URL and breaks the address with it: memories do not work",
            "give the database role a password of letters and digits",
        )


def _words(values: Mapping[str, str]) -> Iterator[Finding]:
    for name in _NUMBERS:
        value = values.get(name, "").strip()
        if value and not re.fullmatch(r"[+-]?\d+", value):
            yield warning(f"the bot stops because {name} is not a whole number", f"set {name} to a whole number")
    for name in _BOOLEANS:
        value = values.get(name, "").strip().lower()
        if value and value not in {"true", "false"}:
            yield warning(f"the bot reads {name} as false: it accepts only true and false", f"set {name}=true")
    if values.get("DEBUG_LEVEL", "").strip() not in {"", "1", "2"}:
        yield warning("agno accepts 1 or 2 as DEBUG_LEVEL, and uses 1 for any other value", "set DEBUG_LEVEL to 1 or 2")


def _privacy(values: Mapping[str, str]) -> Iterator[Finding]:
    if values.get("TRACING", "").strip().lower() == "true":
        if not values.get("PHOENIX_API_KEY", "").strip():
            yield warning("TRACING is on and PHOENIX_API_KEY is not set: the bot does not trace", "set PHOENIX_API_KEY")
        if not values.get("PHOENIX_ENDPOINT", "").strip():
            yield warning(
                "TRACING is on and PHOENIX_ENDPOINT is not set: conversations go to the bot's author",
                "set PHOENIX_ENDPOINT to your own, or TRACING=false",
            )
    if not values.get("MCP_URLS", "").strip():
        yield warning(
            "MCP_URLS is not set: the bot then uses a third party's server that is hard-coded",
            "set MCP_URLS to a server of your own",
        )


def _agno(context: Context) -> Iterator[Finding]:
    """The bot's requirements do not pin agno; agno 3 has no enable_user_memories."""
    folder = context.env_file.path.parent if context.env_file else context.cwd or Path.cwd()
    files = [folder / name for name in ("requirements.txt", "constraints.txt", "pyproject.toml")]
    if any(_PINNED.search(_read(path)) for path in files):
        return
    yield warning(
        "the bot needs agno 2 (agno 3 has no enable_user_memories, so every message fails), and no requirements "
        "file next to the .env pins it",
        f"add agno<3 to {files[0]}, and use a separate environment for the bot",
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


CHECKS = (
    Check(
        "bot.compatibility",
        "The Discord bot",
        _compatibility,
        needs=("settings.values",),
        about="The Discord bot reads these settings in the same way",
        advice="Follow the hint",
    ),
)
