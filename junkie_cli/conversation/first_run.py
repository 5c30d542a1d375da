"""Nobody has said yet which model to ask: three ways to go on, for a person at a terminal."""

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
"""Loads the settings anew, with these values by variable name as if they were options."""

_GROQ_KEY = re.compile(r"gsk_[A-Za-z0-9]{16,}")
_TRIES = 3
_LOCAL_URL = "http://localhost:11434/v1"
_PATIENCE_SECONDS = 4.0
_NAMED = 8  # models

_WAYS = (
    ("  1  Groq          ", f"paste a key; one is free at {setup.GROQ_KEYS_PAGE}"),
    ("  2  local server  ", "Ollama, vLLM, llama.cpp: whatever speaks the OpenAI protocol"),
    ("  3  rehearsal     ", "a small model built in: no key, no network, not clever"),
)


def choose_provider(settings: Settings, options: Options, load: Load) -> tuple[Settings, Options]:
    """Ask which model is to answer, and go on with that; kept in a `.env` only when the person agrees.

    Raises DeclinedError at Ctrl-D, and SettingsError or ProviderError when no answer will do.
    """
    say("\nNo model is set up yet. Three ways to go on:\n\n" + _ways(columns_of(sys.stderr)) + "\n")
    try:
        return _go(_until_good(_way), settings, options, load)
    except DeclinedError:
        raise DeclinedError(
            "no model was chosen", hint="junkie chat --offline needs none; junkie config init asks again"
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
    """The ways side by side with what they mean; one above the other where that would break an address."""
    lines = []
    for head, meaning in _WAYS:
        if columns - len(head) < len(setup.GROQ_KEYS_PAGE):
            lines += [head.rstrip(), *(" " * 5 + line for line in wrap(meaning, columns - 5))]
            continue
        first, *more = wrap(meaning, columns - len(head))
        lines += [head + first, *(" " * len(head) + line for line in more)]
    return "".join(f"{line}\n" for line in lines)


def _way() -> str:
    way = ask("Which one: 1, 2 or 3")
    if way not in {"1", "2", "3"}:
        raise SettingsError("that is none of the three", hint="type 1, 2 or 3, then Enter; Ctrl-C leaves")
    return way


def _groq(settings: Settings) -> dict[str, str]:
    key = ask("Groq key (nothing shows while you paste)", hidden=True)
    if not _GROQ_KEY.fullmatch(key):
        raise SettingsError(
            "that is no Groq key", hint="one begins with gsk_ and goes on with letters and digits; paste it whole"
        )
    _models(settings.groq_base_url, key)
    return {"GROQ_API_KEY": key}


def _local() -> dict[str, str]:
    url = _address(ask("Its address", default=_LOCAL_URL))
    key = setup.checked_value("CUSTOM_PROVIDER_API_KEY", ask("Its key (Enter for none)", hidden=True))
    url, models = _models(url, key)
    if models:
        note(f"It has {', '.join(models[:_NAMED])}{' and more' if len(models) > _NAMED else ''}.")
    model = ask("Model", default=models[0] if models else "")
    if not model:
        raise SettingsError("no model was named", hint="such as the server lists it, llama3.2 say")
    found = {"CUSTOM_PROVIDER": url, "CUSTOM_MODEL": model}
    return found | {"CUSTOM_PROVIDER_API_KEY": key} if key else found


def _address(typed: str) -> str:
    try:
        url = str(setup.checked_value("CUSTOM_PROVIDER", typed))
    except SettingsError:
        url = "groq"
    if url == "groq":
        raise SettingsError("that is not the address of a local server", hint=f"one looks like this: {_LOCAL_URL}")
    return url


def _models(url: str, key: str) -> tuple[str, tuple[str, ...]]:
    """The base URL and the models there: `url`, or with /v1 behind it, which the address that a server prints lacks.

    Raises ProviderError when the key is refused; a server that is not up yet may come later.
    """
    failed: ProviderError | None = None
    for address in (url,) if url.endswith("/v1") else (url, f"{url.rstrip('/')}/v1"):
        try:
            with working("asking the provider"):
                models = setup.check_key(address, key, timeout=_PATIENCE_SECONDS)
        except ProviderError as error:
            if error.code == "provider_key":
                raise
            failed = failed or error
            if error.code != "provider_address":  # nobody answers there at all
                break
        else:
            if models:
                return address, models
    if failed is not None:
        warn(f"{failed.message}: going on unchecked")
    return url, ()


def _offer_to_keep(settings: Settings, values: dict[str, str]) -> None:
    path = setup.env_file_to_keep(settings)
    if path is None:
        return note(
            f"This is not kept: {settings.env_file} is no plain file. Add {', '.join(values)} where it comes from."
        )
    mode = setup.readable_by_others(path)
    question = f"Keep this in {_homely(path)}, readable by you alone? yes or no"
    if mode is not None:
        note(f"Others can read {_homely(path)} (mode {mode:o}), and this holds secrets.")
        question = f"Keep this in {_homely(path)}, and make it readable by you alone? yes or no"
    if ask(question, default="yes").lower() in {"y", "yes"}:
        setup.write_env_values(path, values, tighten=True)
    return None


def _homely(path: Path) -> str:
    home = os.environ.get("HOME", "")
    return f"~/{path.relative_to(home)}" if home and path.is_relative_to(home) else str(path)


def _until_good(question: Callable[[], T]) -> T:
    """Ask again when the answer will not do, but not for ever."""
    for _ in range(_TRIES - 1):
        try:
            return question()
        except (SettingsError, ProviderError) as error:
            warn(error.message)
            note(f"  {error.hint}")
    return question()
