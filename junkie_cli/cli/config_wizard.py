"""Asks the questions of `junkie config init` and checks each answer before the next question.

Imported only by that command: its imports would slow down every help text.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from junkie_cli.core import setup
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import DatabaseError, ProviderError, SettingsError
from junkie_cli.core.settings import BY_NAME, Settings, seen_value, shown_value
from junkie_cli.terminal.invocation import invocation
from junkie_cli.terminal.output import ask, note, warn, working

T = TypeVar("T")

_ATTEMPTS = 3
_EMBEDDED = "embedded"


def ask_for_settings(settings: Settings) -> dict[str, str]:
    """Ask at most five questions; return the values that differ from `settings`, by variable name."""
    answers = _ask_provider(settings)
    answers |= {"POSTGRES_URL": _ask_database(settings)}
    answers |= {"JUNKIE_USER": _ask_value(settings, "JUNKIE_USER", "User id for chats")}
    changed = {name: value for name, value in answers.items() if value != _in_force(settings, name)}
    for name in changed:
        if settings.sources[name].kind == "environment":
            warn(f"{name} is also set in the environment, which takes precedence over the file")
    return changed


def _ask_provider(settings: Settings) -> dict[str, str]:
    provider = _ask_value(
        settings, "CUSTOM_PROVIDER", "Model provider: groq, or the base URL of an OpenAI-compatible server"
    )
    if provider == "groq":
        note(f"Create a free Groq API key at {setup.GROQ_KEYS_PAGE}")
        key, models = _until_good(lambda: _ask_key(settings, "GROQ_API_KEY", settings.groq_base_url))
        missing = {settings.custom_model, settings.memory_model} - set(models)
        if models and missing:
            warn(f"the provider does not list {', '.join(sorted(missing))}: check CUSTOM_MODEL and MEMORY_MODEL")
        return {"CUSTOM_PROVIDER": provider, "GROQ_API_KEY": key}
    key, models = _until_good(lambda: _ask_key(settings, "CUSTOM_PROVIDER_API_KEY", provider))
    default = settings.custom_model if settings.custom_model in models or not models else models[0]
    there = (
        f" ({len(models)} models available: {', '.join(models[:5])}{', ...' if len(models) > 5 else ''})"
        if models
        else ""
    )
    model = _ask_value(settings, "CUSTOM_MODEL", f"Model{there}", default)
    return {"CUSTOM_PROVIDER": provider, "CUSTOM_PROVIDER_API_KEY": key, "CUSTOM_MODEL": model}


def _ask_key(settings: Settings, name: str, base_url: str) -> tuple[str, tuple[str, ...]]:
    """Ask for the key; return it and the available models. Raises ProviderError if the provider rejects the key."""
    current = _in_force(settings, name)
    entering = "press Enter to keep the current key" if current else "press Enter for none"
    key = setup.checked_value(
        name, ask(f"API key ({entering}; input is hidden)", hidden=True, default=current, shown_default="")
    )
    if not key and name == "GROQ_API_KEY":
        note("Without a key, use the rehearsal model: junkie chat --offline")
        return "", ()
    try:
        with working("contacting the provider"):
            models = setup.check_key(base_url, key)
    except ProviderError as error:
        if error.code == "provider_key":
            raise
        warn(f"{error.message}: saved without checking")
        return key, ()
    note("The provider responds.")
    return key, models


def _ask_database(settings: Settings) -> str:
    """Ask for the URL and connect to it; empty for the embedded database. The same URL twice is accepted unchecked."""
    shown = shown_value(settings, BY_NAME["POSTGRES_URL"]) or _EMBEDDED
    refused: list[str] = []

    def asked() -> str:
        text = ask(
            f"PostgreSQL URL, or {_EMBEDDED} for a database that needs no setup",
            default=_in_force(settings, "POSTGRES_URL") or _EMBEDDED,
            shown_default=shown,
        )
        if text == _EMBEDDED:
            return ""
        url = setup.checked_value("POSTGRES_URL", text)
        if text in refused:
            note("Saved without checking.")
            return text
        refused.append(text)
        with working("connecting to the database"):
            note(f"Connected to {invocation().run(setup.check_database(url))}.")
        return text

    return _until_good(asked, "Enter the same URL again to save it without checking.")


def _ask_value(settings: Settings, name: str, question: str, default: str | None = None) -> str:
    current = _in_force(settings, name) if default is None else default
    shown = shown_value(settings, BY_NAME[name]) if default is None else default
    return _until_good(lambda: str(setup.checked_value(name, ask(question, default=current, shown_default=shown))))


def _until_good(question: Callable[[], T], advice: str = "") -> T:
    """Repeat `question` until its answer is valid, up to _ATTEMPTS times."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return question()
        except (SettingsError, ProviderError, DatabaseError) as error:
            warn(error.message)
            note(advice or error.hint)
    return question()


def _in_force(settings: Settings, name: str) -> str:
    value = getattr(settings, BY_NAME[name].field)
    if isinstance(value, DatabaseUrl):
        return value.libpq()
    return "" if value is None else str(value)


def write(target: Path, values: Mapping[str, str]) -> None:
    """Write the answers; print the path, the values without secrets, and the next step.

    Ask before changing the mode of a file that others can read: another program may use it, too.
    """
    mode = setup.readable_by_others(target)
    tighten = False
    if mode is not None:
        warn(f"{target} contains secrets, and others can read it (mode {mode:o})")
        tighten = ask("Make it readable by its owner alone? yes or no", default="yes").lower() in {"y", "yes"}
    written = setup.write_env_values(target, values, tighten=tighten)
    whose = "also readable by others" if written.mode & 0o077 else "readable only by its owner"
    note(f"{'Wrote' if written.created else 'Changed'} {written.path}, {whose}:")
    for name, value in values.items():
        note(f"  {name}={seen_value(name, value)}")
    note("Next: junkie chat")
