"""Checks of settings: the `.env` file, its values, names and permissions."""

import asyncio
import os
import re
import shlex
import stat
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from junkie_cli.core.doctor.context import Context
from junkie_cli.core.doctor.model import Check, Finding, Fix, failed, ok, together, warning
from junkie_cli.core.errors import SettingsError
from junkie_cli.core.settings import BOT_VARIABLES, BY_NAME, find_env_file, load_settings

# Names used by older versions of the bot and by related programs: not misspellings of our settings.
_NEIGHBOURS = frozenset(
    {
        *("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB", "POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_HOST_PORT"),
        *("POSTGRES_SCHEMA", "POSTGRES_DATABASE", "POSTGRES_INITDB_ARGS", "POSTGRES_HOST_AUTH_METHOD"),
        *("MAX_MESSAGES_IN_CACHE", "MAX_REDIS_CHUNK_SIZE", "SERPER_API_KEY", "OPENAI_API_KEY", "GROQ_MODEL"),
        *("GOOGLE_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "EMBEDDER_MODEL", "DEBUG", "USER"),
    }
)
_LIKENESS = 0.8  # POSTGRE_URL is a misspelling of POSTGRES_URL; POSTGRES_USER is another name


async def _file(context: Context) -> Finding:
    try:
        context.env_file = file = find_env_file(context.named_env_file, cwd=context.cwd, environ=context.environ)
    except SettingsError as error:
        return failed(error.message, error.hint)
    if file is None:
        return ok("no .env file; using environment variables and defaults")
    passed_over = f"; {file.passed_over} contains no settings of junkie or the bot" if file.passed_over else ""
    return ok(f"{file.path}{passed_over}")


async def _values(context: Context) -> Finding:
    path = context.env_file.path if context.env_file else context.named_env_file
    context.problems = []
    try:
        context.settings_in_force = load_settings(
            env_file=path, cwd=context.cwd, environ=context.environ, problems=context.problems
        )
    except SettingsError as error:
        return failed(error.message, error.hint)
    bad = [failed(problem.error.message, problem.error.hint, blocks=False) for problem in context.problems]
    set_ = sum(source.kind != "default" for source in context.settings.sources.values())
    ignored = [
        warning(
            f"{path} belongs to another user, so root does not read it",
            f"chown root {shlex.quote(str(path))}, or use --env-file",
        )
        for path in context.settings.ignored_env_files
    ]
    return together([*bad, *ignored], ok(f"{set_} of {len(BY_NAME)} are set, all with valid values"))


# --- names ------------------------------------------------------------------------------------------------------------


async def _unknown(context: Context) -> Finding:
    known = frozenset(BY_NAME) | BOT_VARIABLES | _NEIGHBOURS
    places = (
        {name: f"{context.env_file.path}:{line}" for name, (_, line) in context.env_file.values.items()}
        if (context.env_file)
        else {}
    )
    others = [name for name in places if name not in known]
    places |= {name: "the environment" for name in context.environ if name.isupper() and name not in places}
    findings = [
        warning(
            f"{name} (in {place}) is not a setting, but {meant} is",
            f"write {meant} instead of {name} in {place}",
        )
        for name, place in places.items()
        if name not in known and (meant := _meant(name))
    ]
    left = f"; {len(others)} of other programs are ignored" if others else ""
    return together(findings, ok(f"no misspelled names{left}"))


def _meant(name: str) -> str:
    """Return the setting that a name misspells, or an empty string."""
    near = get_close_matches(name.upper().replace("-", "_"), BY_NAME, n=1, cutoff=_LIKENESS)
    if near:
        return near[0]
    if name.startswith("JUNKIE_"):
        return next(iter(get_close_matches(name, BY_NAME, n=1, cutoff=0.0)), "")
    return ""


async def _conflicts(context: Context) -> Finding:
    in_file = context.env_file.values if context.env_file else {}
    findings = []
    for name, (value, line) in in_file.items():
        in_environment = context.environ.get(name, "").strip()
        if name in BY_NAME and in_environment and in_environment != value.strip():
            assert context.env_file is not None
            findings.append(
                warning(
                    f"{name} has one value in the environment, which is used, and another in"
                    f" {context.env_file.path}:{line}",
                    f"unset {name} in the environment, or delete that line",
                )
            )
    return together(findings, ok("the environment overrides no value of the file"))


# --- who can read it --------------------------------------------------------------------------------------------------


async def _permissions(context: Context) -> Finding:
    if context.env_file is None:
        return ok("no .env file")
    path = context.env_file.path
    findings = [_mode(path)]
    if await _is_tracked(path):
        name = shlex.quote(path.name)
        findings.append(
            failed(
                f"git tracks {path}, which contains secrets",
                f"in {path.parent}: git rm --cached {name} && echo {name} >> .gitignore, commit, and replace the keys",
                blocks=False,
            )
        )
    return together(findings, ok(f"only its owner can read {path}"))


def _mode(path: Path) -> Finding:
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & 0o077:
        return ok("")
    command = f"chmod 600 {shlex.quote(str(path))}"
    return warning(
        f"other users can read {path} (mode {mode:04o})",
        f"{command}, or: junkie doctor --fix settings.permissions",
        fixes=[Fix("settings.permissions", (command,), partial(_tighten, path))],
    )


async def _tighten(path: Path, _: Context, __: Callable[[str], None]) -> str:
    try:
        path.chmod(0o600)
    except OSError as error:
        raise SettingsError(f"{path} cannot be changed: {error.strerror}", hint="have its owner do it") from None
    return ""


async def _is_tracked(path: Path) -> bool:
    """Return whether git tracks the file; False if unknown."""
    folders = (path.resolve().parent, *path.resolve().parents)
    if not any((folder / ".git").exists() for folder in folders):
        return False
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        process = await asyncio.create_subprocess_exec(
            *("git", "-c", "core.fsmonitor=", "ls-files", "--error-unmatch", "--", path.name),
            cwd=path.resolve().parent,
            env=environment | {"GIT_OPTIONAL_LOCKS": "0"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return False
    try:
        return await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


# --- the Groq key -----------------------------------------------------------------------------------------------------

_PLACEHOLDER = re.compile(r"your|changeme|example|xxxx|\.\.\.|<|insert|placeholder", re.IGNORECASE)


async def _groq_key(context: Context) -> Finding:
    problem = context.problem("GROQ_API_KEY")
    if problem is not None:
        return failed(problem.error.message, problem.error.hint)
    settings = context.settings
    key, source = settings.groq_api_key, settings.sources["GROQ_API_KEY"]
    if not key and settings.custom_provider != "groq":
        return ok("not set, and not needed: CUSTOM_PROVIDER is used for chat and extraction")
    if not key:
        return failed(
            "no model provider: neither GROQ_API_KEY nor CUSTOM_PROVIDER is set",
            "set GROQ_API_KEY (free at https://console.groq.com/keys), or set CUSTOM_PROVIDER to the base URL of a "
            "local server, for example http://localhost:11434/v1; junkie chat --offline needs neither",
        )
    if _PLACEHOLDER.search(key):
        return failed(
            f"GROQ_API_KEY is a placeholder, not a key (set by {source})",
            "create a key at https://console.groq.com/keys and set it",
        )
    if settings.is_default("GROQ_BASE_URL") and not re.fullmatch(r"gsk_[A-Za-z0-9]{20,}", key):
        return warning(
            f"GROQ_API_KEY does not look like a Groq key, which begins with gsk_ (set by {source})",
            "compare it with https://console.groq.com/keys, or create a new one there",
        )
    return ok(f"set by {source}")


CHECKS = (
    Check(
        "settings.file",
        "The .env file",
        _file,
        about="The `.env` file in use can be read",
        advice="Check its path, owner and permissions, or name another file with `--env-file`",
    ),
    Check(
        "settings.values",
        "Values of settings",
        _values,
        needs=("settings.file",),
        about="Every setting has a usable value",
        advice="Correct the variable that is named, in the file and line that are named",
    ),
    Check(
        "settings.unknown",
        "Misspelled names",
        _unknown,
        needs=("settings.file",),
        about="No name looks like a misspelled setting",
        advice="Correct the spelling",
    ),
    Check(
        "settings.permissions",
        "Access to the .env file",
        _permissions,
        needs=("settings.file",),
        about="Only you can read the `.env` file",
        advice="`junkie doctor --fix settings.permissions` sets mode 0600; never commit the file to git",
    ),
    Check(
        "settings.conflicts",
        "Environment and file",
        _conflicts,
        needs=("settings.file",),
        about="No variable has one value in the environment and another in the file",
        advice="Unset one of the two; the environment takes precedence",
    ),
)
KEY_CHECK = Check(
    "groq.key",
    "Groq key",
    _groq_key,
    needs=("settings.values",),
    about="`GROQ_API_KEY` is set and looks like a Groq key",
    advice="Create a key at <https://console.groq.com/keys>, or set `CUSTOM_PROVIDER` to a local server",
)
