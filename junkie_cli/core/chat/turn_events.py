"""The events of a running turn as an async iterator, and what happens when its reader leaves."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

from junkie_cli.core.chat.events import ChatEvent
from junkie_cli.core.errors import UsageError


class RunningTurn:
    """A turn in its task. `left` once its reader has left: it is being stopped, and another one may begin."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[ChatEvent | None] = asyncio.Queue()
        self.reader: asyncio.Task[object] | None = None
        """The task that reads the events, or read the last one."""
        self.reading = False
        self.left = False
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None

    @property
    def task(self) -> "asyncio.Task[None]":
        """The task; `start` made it."""
        assert self._task is not None
        return self._task

    def start(self, task: "asyncio.Task[None]") -> None:
        """Run in `task`, whose end ends the events."""
        self._task = task
        task.add_done_callback(self._over)

    def _over(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled():
            task.exception()  # the reader raises it, if there still is one
        self.events.put_nowait(None)

    @property
    def was_left(self) -> bool:
        """Whether the reader has left: it is gone, or its task calls something else now."""
        return self.left or (not self.reading and self.reader is asyncio.current_task())

    def leave(self) -> None:
        """Stop the turn, from any thread: what was streamed so far is stored."""
        self.left = True
        with suppress(RuntimeError):  # the loop is closed, and the task with it
            self._loop.call_soon_threadsafe(self.task.cancel)


Begin: TypeAlias = Callable[[], RunningTurn]


class TurnEvents:
    """An async iterator over the events of one turn, which begins with the first of them.

    Whoever leaves the loop early, by `break`, an exception or a cancellation, stops the turn: what was streamed so far
    is stored, marked CANCELLED. `aclose` (or `contextlib.aclosing`) also waits for that.
    """

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._turn: RunningTurn | None = None
        self._ended = False

    def __aiter__(self) -> "TurnEvents":
        return self

    async def __anext__(self) -> ChatEvent:
        if self._ended:
            raise StopAsyncIteration
        if self._turn is None:
            self._turn = self._begin()
        event = await self._next(self._turn)
        if event is None:
            self._ended = True
            if not self._turn.task.cancelled():
                self._turn.task.result()
            raise StopAsyncIteration
        return event

    async def _next(self, turn: RunningTurn) -> ChatEvent | None:
        if turn.reading:
            raise UsageError("the events of this turn are being read already", hint="read them in one task")
        turn.reader, turn.reading = asyncio.current_task(), True
        try:
            return await turn.events.get()
        except BaseException:
            await self.aclose()
            raise
        finally:
            turn.reading = False

    async def aclose(self) -> None:
        """Stop the turn and return once it is stored; nothing when it is over or has not begun."""
        self._ended = True
        if self._turn is not None and not self._turn.task.done():
            self._turn.left = True
            self._turn.task.cancel()
            await asyncio.wait({self._turn.task})

    def __del__(self) -> None:
        if self._turn is not None and not self._turn.task.done():
            self._turn.leave()
