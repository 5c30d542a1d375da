"""Shell completion of options and arguments: the functions for `autocompletion=`.

A completion that takes too long or fails offers nothing and prints nothing.
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
"""Time limit in seconds for the database, from name resolution to the last row."""
PATIENCE_VARIABLE = "JUNKIE_COMPLETION_SECONDS"


def user_ids(context: typer.Context, incomplete: str) -> list[str]:
    """Complete user ids."""

    def ask(settings: "Settings", patience: float) -> Coroutine[Any, Any, list[str]]:
        from junkie_cli.core import completion_values

        return completion_values.user_ids(settings, incomplete, patience)

    return _asked(context, ask)


def memory_ids(context: typer.Context, incomplete: str) -> list[str]:
    """Complete memory ids of the user given with `-u`."""

    def ask(settings: "Settings", patience: float) -> Coroutine[Any, Any, list[str]]:
        from junkie_cli.core import completion_values

        return completion_values.memory_ids(settings, incomplete, patience, context.params.get("user"))

    return _asked(context, ask)


def history_subjects(context: typer.Context, incomplete: str) -> list[str]:
    """Complete memory ids, `on` and `off`."""
    words = [word for word in ("on", "off") if word.startswith(incomplete)]
    return words or memory_ids(context, incomplete)


def session_ids(context: typer.Context, incomplete: str) -> list[str]:
    """Complete session ids of the user given with `-u`."""

    def ask(settings: "Settings", patience: float) -> Coroutine[Any, Any, list[str]]:
        from junkie_cli.core import completion_values

        return completion_values.session_ids(settings, incomplete, patience, context.params.get("user"))

    return _asked(context, ask)


def batch_ids(context: typer.Context, incomplete: str) -> list[str]:
    """Complete batches of changes that can be undone."""

    def ask(settings: "Settings", patience: float) -> Coroutine[Any, Any, list[str]]:
        from junkie_cli.core import completion_values

        return completion_values.batch_ids(settings, incomplete, patience)

    return _asked(context, ask)


def backups(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the backups in the configured folder, and `latest`."""

    def look(settings: "Settings") -> list[str]:
        from junkie_cli.core import completion_values

        return completion_values.backup_names(Path(context.params.get("output") or settings.backup_dir), incomplete)

    return _quietly(context, look)


def check_ids(incomplete: str) -> list[str]:
    """Complete ids of checks; in a comma-separated list, the last one."""
    from junkie_cli.core.doctor.checks import CHECKS

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{check.id}" for check in CHECKS if check.id.startswith(last)]


def _asked(context: typer.Context, ask: "Callable[[Settings, float], Coroutine[Any, Any, list[str]]]") -> list[str]:
    """Return the answer of the database, or nothing if it does not arrive in time."""

    def look(settings: "Settings") -> list[str]:
        import asyncio

        import junkie_cli.core.completion_values
        import junkie_cli.core.postgres.connection  # noqa: F401  loading the driver does not count as the database's time

        patience = float(os.environ.get(PATIENCE_VARIABLE) or PATIENCE)
        # Name resolution cannot be cancelled, and the end of the process would wait for its thread.
        signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
        signal.setitimer(signal.ITIMER_REAL, patience)
        try:
            return asyncio.run(ask(settings, patience))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    return _quietly(context, look)


def _quietly(context: typer.Context, look: "Callable[[Settings], list[str]]") -> list[str]:
    from junkie_cli.core.settings import load_settings

    named = context.find_root().params.get("env_file")  # typer does not convert values while completing: this is a str
    try:
        return look(load_settings(env_file=Path(named) if named else None))
    except Exception:
        return []
