"""The questions of `junkie config init`: asked one after another, each answer checked before the next.

Loaded only by that command: what it needs of the core would slow down every help.
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
    """Ask at most five questions; returns what differs from `settings`, by variable name."""
    answers = _ask_provider(settings)
    answers |= {"POSTGRES_URL": _ask_database(settings)}
    answers |= {"JUNKIE_USER": _ask_value(settings, "JUNKIE_USER", "User id to talk as")}
    changed = {name: value for name, value in answers.items() if value != _in_force(settings, name)}
    for name in changed:
        if settings.sources[name].kind == "environment":
            warn(f"{name} is set in the environment, too, and that wins over the file")
    return changed


def _ask_provider(settings: Settings) -> dict[str, str]:
    provider = _ask_value(
        settings, "CUSTOM_PROVIDER", "Model provider: groq, or the base URL of an OpenAI-compatible server"
    )
    if provider == "groq":
        note(f"A key for Groq is free: {setup.GROQ_KEYS_PAGE}")
        key, models = _until_good(lambda: _ask_key(settings, "GROQ_API_KEY", settings.groq_base_url))
        missing = {settings.custom_model, settings.memory_model} - set(models)
        if models and missing:
            warn(f"the provider does not list {', '.join(sorted(missing))}: see CUSTOM_MODEL and MEMORY_MODEL")
        return {"CUSTOM_PROVIDER": provider, "GROQ_API_KEY": key}
    key, models = _until_good(lambda: _ask_key(settings, "CUSTOM_PROVIDER_API_KEY", provider))
    default = settings.custom_model if settings.custom_model in models or not models else models[0]
    there = f" ({len(models)} there: {', '.join(models[:5])}{', ...' if len(models) > 5 else ''})" if models else ""
    model = _ask_value(settings, "CUSTOM_MODEL", f"Model{there}", default)
    return {"CUSTOM_PROVIDER": provider, "CUSTOM_PROVIDER_API_KEY": key, "CUSTOM_MODEL": model}


def _ask_key(settings: Settings, name: str, base_url: str) -> tuple[str, tuple[str, ...]]:
    """The key and the models that it opens; raises ProviderError when the provider refuses the key."""
    current = _in_force(settings, name)
    entering = "Enter keeps the one that is set" if current else "Enter for none"
    key = setup.checked_value(
        name, ask(f"Key, not shown while you type ({entering})", hidden=True, default=current, shown_default="")
    )
    if not key and name == "GROQ_API_KEY":
        note("Without a key there is the rehearsal model: junkie chat --offline")
        return "", ()
    try:
        with working("asking the provider"):
            models = setup.check_key(base_url, key)
    except ProviderError as error:
        if error.code == "provider_key":
            raise
        warn(f"{error.message}: kept unchecked")
        return key, ()
    note("The provider answers.")
    return key, models


def _ask_database(settings: Settings) -> str:
    """The URL, after a connection; empty for the embedded database. The same URL twice is taken as it is."""
    shown = shown_value(settings, BY_NAME["POSTGRES_URL"]) or _EMBEDDED
    refused: list[str] = []

    def asked() -> str:
        text = ask(
            f"PostgreSQL URL, or {_EMBEDDED} for a database that needs no set-up",
            default=_in_force(settings, "POSTGRES_URL") or _EMBEDDED,
            shown_default=shown,
        )
        if text == _EMBEDDED:
            return ""
        url = setup.checked_value("POSTGRES_URL", text)
        if text in refused:
            note("Kept unchecked.")
            return text
        refused.append(text)
        with working("connecting to the database"):
            note(f"Connected to {invocation().run(setup.check_database(url))}.")
        return text

    return _until_good(asked, "The same URL again keeps it unchecked.")


def _ask_value(settings: Settings, name: str, question: str, default: str | None = None) -> str:
    current = _in_force(settings, name) if default is None else default
    shown = shown_value(settings, BY_NAME[name]) if default is None else default
    return _until_good(lambda: str(setup.checked_value(name, ask(question, default=current, shown_default=shown))))


def _until_good(question: Callable[[], T], advice: str = "") -> T:
    """Ask again when the answer will not do, but not for ever."""
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
    """Write the answers, and say where they are now, without their secrets, and what to do next.

    Whether a file that others can read is to be made private is asked: it may be another program's, too.
    """
    mode = setup.readable_by_others(target)
    tighten = False
    if mode is not None:
        warn(f"others can read {target} (mode {mode:o}), and secrets are in it")
        tighten = ask("Make it readable by its owner alone? yes or no", default="yes").lower() in {"y", "yes"}
    written = setup.write_env_values(target, values, tighten=tighten)
    whose = "readable by others, too" if written.mode & 0o077 else "readable by its owner alone"
    note(f"{'Wrote' if written.created else 'Changed'} {written.path}, {whose}:")
    for name, value in values.items():
        note(f"  {name}={seen_value(name, value)}")
    note("Next: junkie chat")
