"""Runs a check in a daemon thread with its own event loop, so that a hanging check delays nothing."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from junkie_cli.core.event_loop import Loop


class Worker:
    """Runs a coroutine in a daemon thread with its own event loop.

    `done` is called in that thread with the result or the error.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], done: Callable[[Any, BaseException | None], None]) -> None:
        self._coroutine = coroutine
        self._done = done
        self._loop = Loop()
        self._task: asyncio.Task[Any] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        result, error = None, None
        try:
            self._task = self._loop.create_task(self._coroutine)
            result = self._loop.run_until_complete(self._task)
        except BaseException as raised:
            error = raised
        finally:
            self._close()
        self._done(result, error)

    def _close(self) -> None:
        try:
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            if left:
                self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    def cancel(self) -> None:
        """Cancel the coroutine; it cleans up if its loop still runs."""

        def cancel() -> None:
            if self._task is not None:
                self._task.cancel()

        if not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(cancel)
            except RuntimeError:
                return  # it closed in the meantime
