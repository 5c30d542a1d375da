"""Nobody has said yet which model to ask: three ways to go on, for a person at a terminal."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from junkie_cli.conversation.opening import Options
from junkie_cli.core import setup
from junkie_cli.core.errors import ProviderError, SettingsError
from junkie_cli.core.settings import Settings, xdg_dir
from junkie_cli.output import ask, note, warn, working
from junkie_cli.progress import say
from junkie_cli.text import shown

T = TypeVar("T")

Load = Callable[[dict[str, str]], Settings]
"""Loads the settings anew, with these values by variable name as if they were options."""

_GROQ_KEY = re.compile(r"gsk_[A-Za-z0-9]{16,}")
_TRIES = 3
_LOCAL_URL = "http://localhost:11434/v1"
_PATIENCE_SECONDS = 4.0
_NAMED = 8  # models

_WAYS = f"""
No model is set up yet. Three ways to go on:

  1  Groq          paste a key; one is free at {setup.GROQ_KEYS_PAGE}
  2  local server  Ollama, vLLM, llama.cpp: whatever speaks the OpenAI protocol
  3  rehearsal     a small model built in: no key, no network, not clever
"""


def choose_provider(settings: Settings, options: Options, load: Load) -> tuple[Settings, Options]:
    """Ask which model is to answer, and go on with that; kept in a `.env` only when the person agrees.

    Raises DeclinedError at Ctrl-D, and SettingsError or ProviderError when no answer will do.
    """
    say(shown(_WAYS) + "\n")
    way = _until_good(_way)
    if way == "3":
        note("")
        return settings, replace(options, offline=True)
    values = _until_good(lambda: _groq(settings)) if way == "1" else _until_good(_local)
    chosen = load(values)
    _offer_to_keep(settings, values)
    note("")
    return chosen, options


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
    url = setup.checked_value("CUSTOM_PROVIDER", ask("Its address", default=_LOCAL_URL))
    if url == "groq":
        raise SettingsError("that is Groq, not a local server", hint=f"an address such as {_LOCAL_URL}")
    key = setup.checked_value("CUSTOM_PROVIDER_API_KEY", ask("Its key (Enter for none)", hidden=True))
    models = _models(url, key)
    if models:
        note(f"It has {', '.join(models[:_NAMED])}{' and more' if len(models) > _NAMED else ''}.")
    model = ask("Model", default=models[0] if models else "")
    if not model:
        raise SettingsError("no model was named", hint="such as the server lists it, llama3.2 say")
    found = {"CUSTOM_PROVIDER": url, "CUSTOM_MODEL": model}
    return found | {"CUSTOM_PROVIDER_API_KEY": key} if key else found


def _models(url: str, key: str) -> tuple[str, ...]:
    """The models there. Raises ProviderError when the key is refused; a server that is not up yet may come later."""
    try:
        with working("asking the provider"):
            return setup.check_key(url, key, timeout=_PATIENCE_SECONDS)
    except ProviderError as error:
        if error.code == "provider_key":
            raise
        warn(f"{error.message}: going on unchecked")
        return ()


def _offer_to_keep(settings: Settings, values: dict[str, str]) -> None:
    path = settings.env_file or xdg_dir("CONFIG", os.environ) / "junkie" / ".env"
    if ask(f"Keep this in {_homely(path)}, for your eyes only? yes or no", default="yes").lower() in {"y", "yes"}:
        setup.write_env_values(path, values)


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
