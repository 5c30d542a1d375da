"""What extractions under way wait for, in words for a line of progress. Loads nothing heavy itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from junkie_cli.core.chat.events import Waiting

if TYPE_CHECKING:
    from junkie_cli.core.agent.call_log import CallEvent


class Waits:
    """Reports to `on_wait` what the extraction that has waited longest waits for; None when nothing is waited for.

    It is read after "waiting 12 s for".
    """

    def __init__(self, on_wait: Callable[[str | None], None]) -> None:
        self._on_wait = on_wait
        self._waited_for: dict[object, str] = {}

    @contextmanager
    def of_one(self) -> Iterator[None]:
        """Report the model calls made inside."""
        from junkie_cli.core.agent.call_log import record_calls

        one = object()
        try:
            with record_calls(lambda event: self._take(one, event)):
                yield
        finally:
            self._note(one, None)

    @contextmanager
    def for_next_try(self, why: str) -> Iterator[None]:
        """Report that the next try is waited for."""
        one = object()
        self._note(one, f"the next try: {why}")
        try:
            yield
        finally:
            self._note(one, None)

    def _take(self, one: object, event: "CallEvent") -> None:
        from junkie_cli.core.agent import call_log

        if isinstance(event, call_log.ModelWait):
            endpoint = event.choice.endpoint
            self._note(one, Waiting(event.choice.model, endpoint.label, endpoint.is_local, event.loading).words)
        elif isinstance(event, call_log.Retry):
            self._note(one, f"the next try: {event.error.message}")

    def _note(self, one: object, what: str | None) -> None:
        if what is None:
            self._waited_for.pop(one, None)
        else:
            self._waited_for[one] = what
        self._on_wait(next(iter(self._waited_for.values()), None))
