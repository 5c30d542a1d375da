"""An event loop whose threads cannot delay the end of the process."""

import asyncio
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Loop(asyncio.SelectorEventLoop):
    """asyncio's loop with daemon threads for name resolution and `to_thread`.

    The threads of the standard library are joined at the end of the loop and of the interpreter, and name resolution
    cannot be cancelled: a DNS server that does not answer would delay the end of the process for minutes.
    """

    _has_executor = False

    def wake_at_signals(self) -> None:
        """Have each signal wake the loop, so that its handler runs.

        A signal that comes just before the loop begins to wait does not end that wait, nor does one that another
        thread of the process got. asyncio does this only for handlers of its own.
        """
        signal.set_wakeup_fd(self._csock.fileno(), warn_on_full_buffer=False)  # type: ignore[attr-defined]

    def close(self) -> None:
        """As asyncio's."""
        if threading.current_thread() is threading.main_thread():
            signal.set_wakeup_fd(-1)
        super().close()

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> "asyncio.Future[T]":
        """As in asyncio; without `executor` the job gets its own daemon thread."""
        if executor is None and not self._has_executor:
            # Imported when needed: few commands need a thread, and it takes a millisecond.
            from junkie_cli.core.threads import DaemonExecutor

            self.set_default_executor(DaemonExecutor())
            self._has_executor = True
        return super().run_in_executor(executor, func, *args)
