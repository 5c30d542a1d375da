"""What one run of the command line was told: global options, and the two things each command does with them.

Commands call `invocation()` for settings, for the output format and to run a coroutine of the core.
"""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from junkie_cli.core.settings import Settings, load_settings

T = TypeVar("T")


@dataclass(slots=True)
class Invocation:
    """Global options of this process; `json` is set by the command's own `--json`."""

    env_file: Path | None = None
    verbose: bool = False
    quiet: bool = False
    json: bool = False

    def settings(self, **overrides: str | None) -> Settings:
        """Load the settings; `overrides` are option values by variable name, None for options not given."""
        given = {name: value for name, value in overrides.items() if value is not None}
        return load_settings(env_file=self.env_file, overrides=given)

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked: terminals on both ends, and no `--json`."""
        return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty() and not self.json

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the core to its end. SIGTERM and SIGHUP cancel it, so that it leaves nothing half done."""
        with asyncio.Runner() as runner:
            return runner.run(_terminable(coroutine))


class Terminated(BaseException):
    """The process was asked to end by a signal."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


async def _terminable(coroutine: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(coroutine)
    received: list[int] = []

    def terminate(number: int) -> None:
        received.append(number)
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, terminate, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not task.done():
            task.cancel()
        if received:
            raise Terminated(received[0]) from None
        raise


_current = Invocation()


def invocation() -> Invocation:
    """The options of this process."""
    return _current


def _remember_json(value: bool) -> bool:
    _current.json = _current.json or value
    return value


JsonOption = Annotated[
    bool, typer.Option("--json", callback=_remember_json, help="Print one JSON document, for scripts.")
]
UserOption = Annotated[str | None, typer.Option("--user", "-u", metavar="USER", help="User id.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
