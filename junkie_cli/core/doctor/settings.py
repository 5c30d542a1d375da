"""Checks of the settings: the `.env` and what it says, before anything else is believed."""

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

# Names that older versions of the bot, and what stands beside it in a `.env`, use: known, and no misspelling of ours.
_NEIGHBOURS = frozenset(
    {
        *("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB", "POSTGRES_HOST", "POSTGRES_PORT", "POSTGRES_HOST_PORT"),
        *("POSTGRES_SCHEMA", "POSTGRES_DATABASE", "POSTGRES_INITDB_ARGS", "POSTGRES_HOST_AUTH_METHOD"),
        *("MAX_MESSAGES_IN_CACHE", "MAX_REDIS_CHUNK_SIZE", "SERPER_API_KEY", "OPENAI_API_KEY", "GROQ_MODEL"),
        *("GOOGLE_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "EMBEDDER_MODEL", "DEBUG", "USER"),
    }
)
_LIKENESS = 0.8  # POSTGRE_URL is a slip of POSTGRES_URL; POSTGRES_USER is another word


async def _file(context: Context) -> Finding:
    try:
        context.env_file = file = find_env_file(context.named_env_file, cwd=context.cwd, environ=context.environ)
    except SettingsError as error:
        return failed(error.message, error.hint)
    if file is None:
        return ok("there is none: the environment and the defaults count")
    passed_over = f"; {file.passed_over} holds no setting of junkie's or the bot's" if file.passed_over else ""
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
            f"{path} belongs to another user, and root does not read it",
            f"chown root {shlex.quote(str(path))}, or name it with --env-file",
        )
        for path in context.settings.ignored_env_files
    ]
    return together([*bad, *ignored], ok(f"{set_} of {len(BY_NAME)} are set, and all can be used"))


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
            f"{name} (in {place}) is no setting, but {meant} is",
            f"write {meant} instead of {name} in {place}",
        )
        for name, place in places.items()
        if name not in known and (meant := _meant(name))
    ]
    left = f"; {len(others)} of other programs are left alone" if others else ""
    return together(findings, ok(f"no name is misspelt{left}"))


def _meant(name: str) -> str:
    """The setting that a misspelt name stands for, empty for a name of its own."""
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
        told = context.environ.get(name, "").strip()
        if name in BY_NAME and told and told != value.strip():
            assert context.env_file is not None
            findings.append(
                warning(
                    f"{name} has one value in the environment, which counts, and another in"
                    f" {context.env_file.path}:{line}",
                    f"unset {name} in the environment, or remove that line",
                )
            )
    return together(findings, ok("the environment overrides nothing of the file"))


# --- who can read it --------------------------------------------------------------------------------------------------


async def _permissions(context: Context) -> Finding:
    if context.env_file is None:
        return ok("there is no file that could be read by others")
    path = context.env_file.path
    findings = [_mode(path)]
    if await _is_tracked(path):
        name = shlex.quote(path.name)
        findings.append(
            failed(
                f"{path} is tracked by git, with the secrets in it",
                f"in {path.parent}: git rm --cached {name} && echo {name} >> .gitignore, commit, and make new keys",
                blocks=False,
            )
        )
    return together(findings, ok(f"{path} can be read by its owner alone"))


def _mode(path: Path) -> Finding:
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & 0o077:
        return ok("")
    command = f"chmod 600 {shlex.quote(str(path))}"
    return warning(
        f"{path} can be read by others (mode {mode:04o})",
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
    """Whether git keeps the file; False where that cannot be known."""
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
        return ok("not set, and not needed: CUSTOM_PROVIDER answers, and turns talk into memories")
    if not key:
        return failed(
            "GROQ_API_KEY is not set, and CUSTOM_PROVIDER names no other server: there is no model to talk to",
            "set GROQ_API_KEY (free at https://console.groq.com/keys), or set CUSTOM_PROVIDER to the base URL of a "
            "local server such as http://localhost:11434/v1; junkie chat --offline needs neither",
        )
    if _PLACEHOLDER.search(key):
        return failed(
            f"GROQ_API_KEY is a placeholder, not a key (set by {source})",
            "make a key at https://console.groq.com/keys and set it",
        )
    if settings.is_default("GROQ_BASE_URL") and not re.fullmatch(r"gsk_[A-Za-z0-9]{20,}", key):
        return warning(
            f"GROQ_API_KEY does not look like a key of Groq, which begins with gsk_ (set by {source})",
            "compare it with https://console.groq.com/keys, or make a new one there",
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
        "Values of the settings",
        _values,
        needs=("settings.file",),
        about="Every setting has a usable value",
        advice="Correct the variable that is named, in the file and line that are named",
    ),
    Check(
        "settings.unknown",
        "Misspelt names",
        _unknown,
        needs=("settings.file",),
        about="No name looks like a misspelt setting",
        advice="Correct the spelling",
    ),
    Check(
        "settings.permissions",
        "Who can read the .env",
        _permissions,
        needs=("settings.file",),
        about="Only you can read the `.env` file",
        advice="`junkie doctor --fix settings.permissions` sets mode 0600; never commit the file to git",
    ),
    Check(
        "settings.conflicts",
        "Environment against file",
        _conflicts,
        needs=("settings.file",),
        about="No variable has one value in the environment and another in the file",
        advice="Unset one of the two; the environment takes precedence",
    ),
)
KEY_CHECK = Check(
    "groq.key",
    "The Groq key",
    _groq_key,
    needs=("settings.values",),
    about="`GROQ_API_KEY` is set and looks like a Groq key",
    advice="Create a key at <https://console.groq.com/keys>, or set `CUSTOM_PROVIDER` to a local server",
)
