"""Asks which model provider to use when none is configured: a Groq key, a local server, or the rehearsal model."""

import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from junkie_cli.conversation.options import Options
from junkie_cli.core import setup
from junkie_cli.core.errors import DeclinedError, ProviderError, SettingsError
from junkie_cli.core.sanitize import wrap
from junkie_cli.core.settings import Settings
from junkie_cli.terminal.output import ask, note, warn, working
from junkie_cli.terminal.progress import say
from junkie_cli.terminal.style import columns_of

T = TypeVar("T")

Load = Callable[[dict[str, str]], Settings]
"""Reloads the settings with these values, by variable name, in the place of options."""

_GROQ_KEY = re.compile(r"gsk_[A-Za-z0-9]{16,}")
_TRIES = 3
_LOCAL_URL = "http://localhost:11434/v1"
_PATIENCE_SECONDS = 4.0
_NAMED = 8  # models

_WAYS = (
    ("  1  Groq          ", f"paste an API key; free at {setup.GROQ_KEYS_PAGE}"),
    ("  2  local server  ", "Ollama, vLLM, llama.cpp, or any OpenAI-compatible server"),
    ("  3  rehearsal     ", "a built-in set of text rules: no key, no network, not clever"),
)


def choose_provider(settings: Settings, options: Options, load: Load) -> tuple[Settings, Options]:
    """Ask for a provider and return settings that use it; save them in a `.env` only if the person agrees.

    Raises DeclinedError at Ctrl-D, and SettingsError or ProviderError after too many invalid answers.
    """
    say("\nNo model is configured yet. Choose one:\n\n" + _ways(columns_of(sys.stderr)) + "\n")
    try:
        return _go(_until_good(_way), settings, options, load)
    except DeclinedError:
        raise DeclinedError(
            "no model was chosen", hint="try without a model: junkie chat --offline; or set one up: junkie config init"
        ) from None


def _go(way: str, settings: Settings, options: Options, load: Load) -> tuple[Settings, Options]:
    if way == "3":
        note("")
        return settings, replace(options, offline=True)
    values = _until_good(lambda: _groq(settings)) if way == "1" else _until_good(_local)
    chosen = load(values)
    _offer_to_keep(settings, values)
    note("")
    return chosen, options


def _ways(columns: int) -> str:
    """Return the choices in two columns, or one above the other on a terminal too narrow for an address."""
    lines = []
    for head, meaning in _WAYS:
        if columns - len(head) < len(setup.GROQ_KEYS_PAGE):
            lines += [head.rstrip(), *(" " * 5 + line for line in wrap(meaning, columns - 5))]
            continue
        first, *more = wrap(meaning, columns - len(head))
        lines += [head + first, *(" " * len(head) + line for line in more)]
    return "".join(f"{line}\n" for line in lines)


def _way() -> str:
    way = ask("Choose [1/2/3]")
    if way not in {"1", "2", "3"}:
        raise SettingsError("please type 1, 2 or 3", hint="press Ctrl-C to quit")
    return way


def _groq(settings: Settings) -> dict[str, str]:
    key = ask("Groq API key (input is hidden)", hidden=True)
    if not _GROQ_KEY.fullmatch(key):
        raise SettingsError(
            "this is not a Groq API key",
            hint="a key begins with gsk_, followed by letters and digits; paste it in full",
        )
    _models(settings.groq_base_url, key)
    return {"GROQ_API_KEY": key}


def _local() -> dict[str, str]:
    url = _address(ask("Server address", default=_LOCAL_URL))
    key = setup.checked_value("CUSTOM_PROVIDER_API_KEY", ask("API key (press Enter for none)", hidden=True))
    url, models = _models(url, key)
    if models:
        note(f"Available models: {', '.join(models[:_NAMED])}{', and more' if len(models) > _NAMED else ''}.")
    model = ask("Model", default=models[0] if models else "")
    if not model:
        raise SettingsError("no model given", hint="use a name that the server lists, for example llama3.2")
    found = {"CUSTOM_PROVIDER": url, "CUSTOM_MODEL": model}
    return found | {"CUSTOM_PROVIDER_API_KEY": key} if key else found


def _address(typed: str) -> str:
    try:
        url = str(setup.checked_value("CUSTOM_PROVIDER", typed))
    except SettingsError:
        url = "groq"
    if url == "groq":
        raise SettingsError("this is not the address of a server", hint=f"for example: {_LOCAL_URL}")
    return url


def _models(url: str, key: str) -> tuple[str, tuple[str, ...]]:
    """Return the base URL and its models: `url`, or `url` with /v1, which addresses printed by servers lack.

    Raises ProviderError if the key is rejected. A server that is not running yet is accepted.
    """
    failed: ProviderError | None = None
    for address in (url,) if url.endswith("/v1") else (url, f"{url.rstrip('/')}/v1"):
        try:
            with working("contacting the provider"):
                models = setup.check_key(address, key, timeout=_PATIENCE_SECONDS)
        except ProviderError as error:
            if error.code == "provider_key":
                raise
            failed = failed or error
            if error.code != "provider_address":  # nothing is listening there
                break
        else:
            if models:
                return address, models
    if failed is not None:
        warn(f"{failed.message}; continuing without checking")
    return url, ()


def _offer_to_keep(settings: Settings, values: dict[str, str]) -> None:
    path = setup.env_file_to_keep(settings)
    if path is None:
        return note(f"Not saved: {settings.env_file} is not a regular file. Add {', '.join(values)} at its source.")
    mode = setup.readable_by_others(path)
    question = f"Keep this in {_homely(path)}, readable by you alone? yes or no"
    if mode is not None:
        note(f"{_homely(path)} will contain secrets, and others can read it (mode {mode:o}).")
        question = f"Keep this in {_homely(path)}, and make it readable by you alone? yes or no"
    if ask(question, default="yes").lower() in {"y", "yes"}:
        setup.write_env_values(path, values, tighten=True)
    return None


def _homely(path: Path) -> str:
    home = os.environ.get("HOME", "")
    return f"~/{path.relative_to(home)}" if home and path.is_relative_to(home) else str(path)


def _until_good(question: Callable[[], T]) -> T:
    """Repeat `question` until its answer is valid, a few times at most."""
    for _ in range(_TRIES - 1):
        try:
            return question()
        except (SettingsError, ProviderError) as error:
            warn(error.message)
            note(f"  {error.hint}")
    return question()
