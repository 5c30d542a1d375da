"""One turn as a task of its own, so that the prompt can come back before its memories are made."""

import asyncio
from collections.abc import Awaitable, Callable

from junkie_cli.conversation.view import View
from junkie_cli.core.chat import AnswerComplete, ChatEvent, Conversation, Done


class Turn:
    """A turn under way: `view` shows its answer, `after` takes what happens once the answer is whole."""

    def __init__(
        self, conversation: Conversation, message: str, view: View, after: Callable[[ChatEvent], Awaitable[None]]
    ) -> None:
        self.done: Done | None = None
        """How it ended; None while it runs, and when it was stopped."""
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
        """Whether it goes on, be it only with making memories."""
        return not self._task.done()

    @property
    def stopped(self) -> bool:
        """Whether it was stopped before its end."""
        return self._task.cancelled()

    def stop(self) -> None:
        """Stop it: what was said so far is stored, memories not made yet stay pending."""
        self._task.cancel()

    async def answered(self) -> None:
        """Wait until the answer is whole, or the turn over. Raises what went wrong inside."""
        await self._answered.wait()
        if self._task.done() and not self._task.cancelled():
            self._task.result()

    async def over(self) -> None:
        """Wait until nothing of it is left to do. Raises what went wrong inside."""
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.result()
