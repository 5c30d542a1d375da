"""Runs a turn as a task, so that the prompt can return before its memories are extracted."""

import asyncio
from collections.abc import Awaitable, Callable

from junkie_cli.conversation.view import View
from junkie_cli.core.chat import AnswerComplete, ChatEvent, Conversation, Done


class TurnTask:
    """A running turn: `view` shows its answer, `after` gets the events that follow the complete answer."""

    def __init__(
        self, conversation: Conversation, message: str, view: View, after: Callable[[ChatEvent], Awaitable[None]]
    ) -> None:
        self.done: Done | None = None
        """The last event; None while the turn runs, and if it was stopped."""
        self._conversation = conversation
        self._message = message
        self._view = view
        self._after = after
        self._answered = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        complete = False
        try:
            async for event in self._conversation.send(self._message, hold=True):
                if isinstance(event, Done):
                    self.done = event
                if complete:
                    await self._after(event)
                else:
                    self._view.show(event)
                if isinstance(event, AnswerComplete):
                    complete = True
                    self._answered.set()
        finally:
            self._answered.set()

    @property
    def running(self) -> bool:
        """Return whether the turn runs, including its extraction."""
        return not self._task.done()

    @property
    def stopped(self) -> bool:
        """Return whether the turn was stopped early."""
        return self._task.cancelled()

    def stop(self) -> None:
        """Stop the turn: the partial answer is stored, memories stay pending."""
        self._task.cancel()

    async def answered(self) -> None:
        """Wait until the answer is complete or the turn ends. Raises the error of the turn."""
        await self._answered.wait()
        if self._task.done() and not self._task.cancelled():
            self._task.result()

    async def over(self) -> None:
        """Wait until the turn ends, including its extraction. Raises the error of the turn."""
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.result()
