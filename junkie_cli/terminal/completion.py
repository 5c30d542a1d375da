"""What options and arguments offer when Tab is pressed: `autocompletion=` of these functions.

A person waits with a finger on the key: what takes long, or fails in whatever way, offers nothing and says nothing.
"""

import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from junkie_cli.core.settings import Settings

PATIENCE = 0.15
"""Seconds that the database may take, from looking its name up to the last row."""
PATIENCE_VARIABLE = "JUNKIE_COMPLETION_SECONDS"


def user_ids(context: typer.Context, incomplete: str) -> list[str]:
    """User ids."""

    def ask(settings: "Settings", patience: float) -> Coroutine[Any, Any, list[str]]:
        from junkie_cli.core import completion_values

        return completion_values.user_ids(settings, incomplete, patience)

    return _asked(context, ask)


def memory_ids(context: typer.Context, incomplete: str) -> list[str]:
    """Memory ids, of the user that `-u` names."""

    def ask(settings: "Settings", patience: float) -> Coroutine[Any, Any, list[str]]:
        from junkie_cli.core import completion_values

        return completion_values.memory_ids(settings, incomplete, patience, context.params.get("user"))

    return _asked(context, ask)


def history_subjects(context: typer.Context, incomplete: str) -> list[str]:
    """Memory ids, on and off."""
    words = [word for word in ("on", "off") if word.startswith(incomplete)]
    return words or memory_ids(context, incomplete)


def session_ids(context: typer.Context, incomplete: str) -> list[str]:
    """Session ids, of the user that `-u` names."""

    def ask(settings: "Settings", patience: float) -> Coroutine[Any, Any, list[str]]:
        from junkie_cli.core import completion_values

        return completion_values.session_ids(settings, incomplete, patience, context.params.get("user"))

    return _asked(context, ask)


def batch_ids(context: typer.Context, incomplete: str) -> list[str]:
    """Changes of memories that can be taken back."""

    def ask(settings: "Settings", patience: float) -> Coroutine[Any, Any, list[str]]:
        from junkie_cli.core import completion_values

        return completion_values.batch_ids(settings, incomplete, patience)

    return _asked(context, ask)


def backups(context: typer.Context, incomplete: str) -> list[str]:
    """Backups of the folder in force, and `latest`."""

    def look(settings: "Settings") -> list[str]:
        from junkie_cli.core import completion_values

        return completion_values.backup_names(Path(context.params.get("output") or settings.backup_dir), incomplete)

    return _quietly(context, look)


def check_ids(incomplete: str) -> list[str]:
    """Ids of doctor's checks; in a list with commas the last of them."""
    from junkie_cli.core.doctor.checks import CHECKS

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{check.id}" for check in CHECKS if check.id.startswith(last)]


def _asked(context: typer.Context, ask: "Callable[[Settings, float], Coroutine[Any, Any, list[str]]]") -> list[str]:
    """The answer of the database, or nothing when it does not come in time."""

    def look(settings: "Settings") -> list[str]:
        import asyncio

        import junkie_cli.core.completion_values
        import junkie_cli.core.postgres.connection  # noqa: F401  loading the driver is not the database's time

        patience = float(os.environ.get(PATIENCE_VARIABLE) or PATIENCE)
        # A look-up of a name cannot be cancelled, and the end of the process would wait for its thread.
        signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
        signal.setitimer(signal.ITIMER_REAL, patience)
        try:
            return asyncio.run(ask(settings, patience))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    return _quietly(context, look)


def _quietly(context: typer.Context, look: "Callable[[Settings], list[str]]") -> list[str]:
    from junkie_cli.core.settings import load_settings

    named = context.find_root().params.get("env_file")  # while completing, typer converts no values: it is a str
    try:
        return look(load_settings(env_file=Path(named) if named else None))
    except Exception:
        return []
