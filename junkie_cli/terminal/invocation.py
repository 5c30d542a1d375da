"""The global options of this run, and what every command does with them: load settings, run a coroutine.

Commands call `invocation()` to get the settings and the output format, and to run a coroutine of the core.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from junkie_cli.terminal import completion
from junkie_cli.terminal.style import is_terminal

if TYPE_CHECKING:
    import asyncio

    from junkie_cli.core.settings import Settings

T = TypeVar("T")

# On these signals a command rolls back and cleans up; asyncio's own handler does the same for Ctrl-C (SIGINT).
_ENDING = (signal.SIGTERM, signal.SIGHUP)


class Invocation:
    """The global options of this process; `json` is set by the `--json` option of the command."""

    def __init__(self) -> None:
        self.env_file: Path | None = None
        self.verbose = False
        self.quiet = False
        self.json = False
        self.loaded: Settings | None = None
        """The settings as last loaded, or None."""
        self.error_document: Callable[[Mapping[str, Any]], Mapping[str, Any] | None] | None = None
        """With `--json`: converts the error document into the one to print. Commands that print JSON Lines set it, so
        that an error is a line like the others; if it returns None, nothing is printed."""

    def settings(self, **overrides: str | None) -> "Settings":
        """Load the settings. `overrides` are option values by variable name, None for options that are not given.

        `--verbose` sets DEBUG_MODE.
        """
        from junkie_cli.core.settings import load_settings

        given = {name: value for name, value in overrides.items() if value is not None}
        if self.verbose:
            given.setdefault("DEBUG_MODE", "true")
        self.loaded = load_settings(env_file=self.env_file, overrides=given)
        return self.loaded

    @property
    def interactive(self) -> bool:
        """Return whether questions can be asked: stdin and stderr are terminals, and `--json` is not set."""
        return is_terminal(sys.stdin) and is_terminal(sys.stderr) and not self.json

    @property
    def debug(self) -> bool:
        """Return whether to print details of internal errors: `--verbose` or DEBUG_MODE."""
        if self.loaded is not None:
            return self.verbose or self.loaded.debug_mode
        return self.verbose or os.environ.get("DEBUG_MODE", "").strip().lower() == "true"

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the core until it ends.

        Ctrl-C, SIGTERM and SIGHUP cancel it, so that it can clean up; a second signal ends the process immediately.
        Raises KeyboardInterrupt or Terminated after a signal.
        """
        import asyncio

        from junkie_cli.core.event_loop import Loop

        ending = _Ending()
        with asyncio.Runner(loop_factory=Loop) as runner:
            try:
                return runner.run(_terminable(coroutine, ending))
            except asyncio.CancelledError:
                if ending.cancelled_by is not None:
                    raise Terminated(ending.cancelled_by) from None
                raise
            except BaseException:
                if ending.in_write is not None:  # takes precedence over errors that it caused during cleanup
                    raise ending.in_write from None
                raise


class Terminated(BaseException):
    """Raised when a signal asks the process to end."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


def end_by_signals() -> None:
    """Make SIGTERM and SIGHUP raise Terminated, as Ctrl-C raises KeyboardInterrupt, so that cleanup runs.

    Signals that the parent process ignores (nohup) stay ignored.
    """
    for number in _ENDING:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _end)


def _end(number: int, _: object) -> None:
    raise Terminated(number)


class _Ending:
    """How a signal ended a coroutine: the signal that cancelled it, or the error raised inside a write."""

    def __init__(self) -> None:
        self.cancelled_by: int | None = None
        self.in_write: BaseException | None = None

    def stop_write(self, error: BaseException) -> None:
        """Raise `error` if this thread is blocked in a write, which could last forever."""
        from junkie_cli.core.files import stop_write

        try:
            stop_write(error)
        except BaseException:
            self.in_write = error
            raise


async def _terminable(coroutine: Coroutine[Any, Any, T], ending: _Ending) -> T:
    import asyncio

    task = asyncio.current_task()
    assert task is not None
    with _cancelled_by_signals(asyncio.get_running_loop(), task, ending):
        return await coroutine


@contextmanager
def _cancelled_by_signals(
    loop: "asyncio.AbstractEventLoop", task: "asyncio.Task[Any]", ending: _Ending
) -> Iterator[None]:
    """Make SIGTERM and SIGHUP cancel `task`, unless they are ignored.

    A blocked write also blocks the event loop, so these signals and Ctrl-C interrupt the write itself. The loop's own
    handlers cannot do that, because the system restarts the write after them.
    """
    from junkie_cli.core.event_loop import Loop

    in_charge = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in _ENDING if in_charge}
    before = {number: handler for number, handler in before.items() if handler in (signal.SIG_DFL, _end)}

    def end(number: int, _: object) -> None:
        for each in before:
            signal.signal(each, signal.SIG_DFL)  # the next one ends the process immediately
        ending.stop_write(Terminated(number))
        ending.cancelled_by = number
        loop.call_soon_threadsafe(task.cancel)

    if in_charge and isinstance(loop, Loop):
        loop.wake_at_signals()
    handlers: dict[int, Any] = dict.fromkeys(before, end)
    interrupt = signal.getsignal(signal.SIGINT)
    if in_charge and callable(interrupt):
        before[signal.SIGINT], handlers[signal.SIGINT] = interrupt, _interrupting(interrupt, ending)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            if number != signal.SIGINT or signal.getsignal(number) is handlers[number]:
                signal.signal(number, handler)


def _interrupting(handle: Callable[..., Any], ending: _Ending) -> Callable[[int, Any], None]:
    """Wrap `handle`, the handler of Ctrl-C, so that it interrupts a blocked write."""

    def interrupt(number: int, frame: Any) -> None:
        ending.stop_write(KeyboardInterrupt())
        handle(number, frame)

    return interrupt


_current = Invocation()


def invocation() -> Invocation:
    """Return the options of this process."""
    return _current


def _remember_json(value: bool) -> bool:
    _current.json = _current.json or value
    return value


JsonOption = Annotated[bool, typer.Option("--json", callback=_remember_json, help="Print one JSON document.")]
UserOption = Annotated[
    str | None,
    typer.Option("--user", "-u", metavar="USER", help="User id.", autocompletion=completion.user_ids),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
LimitOption = Annotated[
    int, typer.Option("-n", "--limit", metavar="N", min=1, max=100_000, help="Maximum number of results to show.")
]
AfterOption = Annotated[
    str | None, typer.Option("--after", metavar="CURSOR", help="Continue from the `next` value of the previous page.")
]
