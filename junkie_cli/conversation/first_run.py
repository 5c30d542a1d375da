"""Nobody has said yet which model to ask: three ways to go on, for a person at a terminal."""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from junkie_cli.conversation.opening import Options
from junkie_cli.core.errors import DeclinedError, SettingsError
from junkie_cli.core.settings import Settings, xdg_dir
from junkie_cli.output import ask, note, warn

_GROQ_KEY = re.compile(r"gsk_[A-Za-z0-9]{20,}")
_TRIES = 3
_LOCAL_URL = "http://localhost:11434/v1"
_PATIENCE_SECONDS = 2.0
_OFFERED = 8  # models named

_WAYS = """\
No model is set up yet. Three ways to go on:

  1  Groq            paste a key; one is free at https://console.groq.com/keys
  2  local server    Ollama, vLLM, llama.cpp: whatever speaks the OpenAI protocol
  3  rehearsal       a small model built in: no key, no network, not clever
"""

Load = Callable[[dict[str, str]], Settings]
"""Loads the settings anew, with these values by variable name as if they were options."""


def choose_provider(settings: Settings, options: Options, load: Load) -> tuple[Settings, Options]:
    """Ask which model is to answer, and go on with that; saved in a `.env` only when the person agrees.

    Raises DeclinedError when no way is chosen.
    """
    note(_WAYS)
    for _ in range(_TRIES):
        match ask("Which one, 1, 2 or 3"):
            case "1":
                return _with(_groq(), settings, load), options
            case "2":
                return _with(_local(), settings, load), options
            case "3":
                note("")
                return settings, replace(options, offline=True)
        note("type 1, 2 or 3, and Enter; Ctrl-C leaves")
    raise DeclinedError("no model was chosen", hint="--offline talks to the rehearsal model")


def _groq() -> dict[str, str]:
    for _ in range(_TRIES):
        key = ask("Groq key (it is not shown)", hidden=True)
        if _GROQ_KEY.fullmatch(key):
            return {"GROQ_API_KEY": key}
        note("that is no Groq key: one begins with gsk_ and goes on with letters and digits")
    raise DeclinedError("no key was given", hint="make one at https://console.groq.com/keys")


def _local() -> dict[str, str]:
    url = ask("Its address", default=_LOCAL_URL).rstrip("/")
    key = ask("Its key, empty for none (it is not shown)", hidden=True)
    models = _models_at(url, key)
    if models:
        more = f" and {len(models) - _OFFERED} more" if len(models) > _OFFERED else ""
        note(f"it has {', '.join(models[:_OFFERED])}{more}")
    else:
        warn("nothing answers there yet; start the server before the first message")
    model = ask("Model", default=models[0] if models else "")
    if not model:
        raise DeclinedError("no model was named", hint="--offline talks to the rehearsal model")
    chosen = {"CUSTOM_PROVIDER": url, "CUSTOM_MODEL": model}
    return chosen | {"CUSTOM_PROVIDER_API_KEY": key} if key else chosen


def _models_at(url: str, key: str) -> list[str]:
    """The models that a server names, none when it does not answer."""
    import json
    from urllib.request import Request, urlopen

    if not url.startswith(("http://", "https://")):
        return []
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with urlopen(Request(f"{url}/models", headers=headers), timeout=_PATIENCE_SECONDS) as response:  # noqa: S310
            return [str(model["id"]) for model in json.load(response)["data"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _with(values: dict[str, str], settings: Settings, load: Load) -> Settings:
    chosen = load(values)  # first: a bad value is refused before it is saved
    path = settings.env_file or xdg_dir("CONFIG", os.environ) / "junkie" / ".env"
    if ask(f"Keep this in {path}, readable by you alone? yes or no", default="yes").lower() in {"y", "yes"}:
        save(path, values)
        note(f"saved in {path}; junkie config show tells what is in force")
    note("")
    return chosen


def save(path: Path, values: dict[str, str]) -> None:
    """Set variables in a `.env`, leaving its other lines alone; the file is 0600 from then on. Raises SettingsError."""
    from dotenv import set_key

    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        path.chmod(0o600)
        for name, value in values.items():
            set_key(path, name, value, quote_mode="auto")
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}", hint="set the variables yourself") from None
