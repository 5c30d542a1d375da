"""Shows a turn while it runs: rendered on a terminal, as plain text in a pipe.

Both views take the events of `core.chat` one by one. `TerminalView` draws Markdown on a `Screen`; `PlainView` writes
text as it arrives. Messages go to stderr, which on a terminal is the same screen.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TextIO

from junkie_cli.conversation.messages import Messages, folded
from junkie_cli.conversation.screen import Screen
from junkie_cli.conversation.symbols import symbol, write
from junkie_cli.core.chat import (
    AnswerComplete,
    ChatEvent,
    Delta,
    Done,
    Failed,
    MemoryEvent,
    Provisional,
    Reasoning,
    Tool,
    Waiting,
    Warning,
)
from junkie_cli.core.sanitize import Sanitizer, cut, one_line
from junkie_cli.terminal.style import is_terminal

if TYPE_CHECKING:
    from junkie_cli.conversation.markdown import MarkdownStream

_PICTURE_SECONDS = 0.04  # between two frames of the live region: 25 a second look smooth
_SPIN_SECONDS = 0.1
_PATIENCE_SECONDS = 5  # after this time the wait is shown in seconds
_THOUGHT_LINES = 2
_THOUGHT_CHARACTERS = 400


class View(Protocol):
    """Shows a turn."""

    def busy(self, what: str, hint: str = "") -> None:
        """Show that work is in progress; `hint` says what the person can do."""

    def show(self, event: ChatEvent) -> None:
        """Show the next event of the turn."""

    def announce(self, message: str) -> None:
        """Print a message even with --quiet."""

    def note(self, message: str) -> None:
        """Print a note."""

    def warn(self, message: str) -> None:
        """Print a warning."""

    def settle(self) -> None:
        """Finish drawing: nothing moves until the next event."""

    def broken(self, why: str) -> None:
        """Report that the answer is incomplete; the text so far stays."""


class TerminalView:
    """Streams Markdown to a screen, with an animated line while there is no text yet."""

    def __init__(self, screen: Screen, messages: Messages) -> None:
        self._screen = screen
        self._messages = messages
        self._gate, self._thought_gate = Sanitizer(), Sanitizer()
        self._markdown: MarkdownStream | None = None
        self._thought = ""
        self._busy = self._hint = ""
        self._waits_for = ""
        """What a silent model is probably doing."""
        self._since = 0.0
        self._drawn_at = 0.0
        self._cost = 0.0
        self._later: asyncio.TimerHandle | None = None

    def busy(self, what: str, hint: str = "") -> None:
        """Show that work is in progress."""
        self._hint = hint
        if what != self._busy:
            self._busy, self._since, self._waits_for = what, time.monotonic(), ""
        self._draw()

    def show(self, event: ChatEvent) -> None:
        """Draw the next event of the turn."""
        match event:
            case Delta(text):
                self._add(self._gate.feed(text))
            case Reasoning(text):
                self._think(self._thought_gate.feed(text))
            case Provisional(text):
                self._think(self._thought_gate.feed(text), "first answer of this model, shown when it is complete")
            case Tool(name, status):
                self._tool(name, status)
            case Waiting():
                self._wait(event)
            case Warning(message):
                self.warn(message)
            case MemoryEvent():
                self._print_above(lambda: self._messages.memory(event))
            case Failed():
                self.broken("the answer is incomplete")
            case AnswerComplete() | Done():
                self.settle()

    def announce(self, message: str) -> None:
        """Print a message even with --quiet."""
        self._print_above(lambda: self._messages.announce(message))

    def note(self, message: str) -> None:
        """Print a note."""
        self._print_above(lambda: self._messages.note(message))

    def warn(self, message: str) -> None:
        """Print a warning."""
        self._print_above(lambda: self._messages.warn(message))

    def settle(self) -> None:
        """Finish drawing."""
        self._finish_text()
        self._busy = self._thought = ""
        self._stop_clock()
        self._screen.clear()

    def broken(self, why: str) -> None:
        """Report that the answer is incomplete; the text so far stays."""
        began = self._markdown is not None or self._screen.after_text
        self.settle()
        if began:
            self._messages.note(why)

    def _add(self, text: str) -> None:
        if not text:
            return
        if self._markdown is None:
            from junkie_cli.conversation.markdown import MarkdownStream

            text = text.lstrip("\n")
            if not text:
                return
            self._screen.separate()
            self._markdown = MarkdownStream(self._screen.columns, self._screen.look)
        self._busy = self._thought = ""
        self._markdown.feed(text)
        self._draw_soon()

    def _think(self, text: str, what: str = "thinking") -> None:
        self._thought = (self._thought + text)[-_THOUGHT_CHARACTERS:]
        self._waits_for = ""
        self.busy(what)

    def _wait(self, event: Waiting) -> None:
        what = event.words
        if what != self._waits_for:
            self._waits_for, self._since = what, time.monotonic()

    def _tool(self, name: str, status: str) -> None:
        name = one_line(name)
        if status == "started":
            self._finish_text()
            self.busy(f"using {name}")
            return
        failed = " failed" if status == "failed" else ""
        self._busy = "thinking"
        self.note(f"{symbol(self._messages.look, 'separator')} {name}{failed}")

    def _print_above(self, tell: Callable[[], None]) -> None:
        self._finish_text()
        tell()

    def _finish_text(self) -> None:
        if self._markdown is None:
            return
        rest = self._gate.flush()
        self._markdown.feed(rest)
        self._markdown.finish()
        self._screen.draw(self._markdown.take(), ())
        self._screen.after_text = True
        self._markdown = None

    # Drawing: at most one frame in _PICTURE_SECONDS, and never more than a third of the time

    def _draw_soon(self) -> None:
        wait = self._drawn_at + max(_PICTURE_SECONDS, 3 * self._cost) - time.monotonic()
        if wait <= 0:
            self._draw()
        elif self._later is None:
            self._later = asyncio.get_running_loop().call_later(wait, self._draw)

    def _draw(self) -> None:
        self._stop_clock()
        began = time.monotonic()
        final: list[str] = []
        live: list[str] = []
        if self._markdown is not None:
            self._markdown.width = self._screen.columns
            final, live = self._markdown.take(), self._markdown.open_lines()
        if self._busy:
            live = [*live, *self._busy_lines()]
        self._screen.draw(final, live)
        self._drawn_at = time.monotonic()
        self._cost = self._drawn_at - began
        if self._busy and self._screen.look.motion:
            with suppress(RuntimeError):  # no event loop is running, so nothing can be animated
                self._later = asyncio.get_running_loop().call_later(_SPIN_SECONDS, self._draw)

    def _busy_lines(self) -> list[str]:
        look, columns = self._screen.look, self._screen.columns
        waited = int(time.monotonic() - self._since)
        frames = symbol(look, "frames")
        frame = frames[int(time.monotonic() / _SPIN_SECONDS) % len(frames)]
        patient = waited >= _PATIENCE_SECONDS
        if patient and self._waits_for:
            words = f"{frame} {self._busy}, waiting {waited} s for {self._waits_for}"
        else:
            words = f"{frame} {self._busy}" + (f" {waited} s" if patient else "")
        hint = self._hint or ("Ctrl-C stops" if patient else "")
        words += f" {symbol(look, 'separator')} {hint}" if hint else ""
        thought = folded(self._thought, columns - 2)[-_THOUGHT_LINES:] if self._thought.strip() else []
        return [look.styled(cut(line, columns), "dim") for line in (words, *(f"  {line}" for line in thought))]

    def _stop_clock(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None


class PlainView:
    """Writes the answer as it arrives to a stream that is not a terminal; animates a line on stderr if it is one."""

    def __init__(self, answer: TextIO, messages: Messages) -> None:
        self._answer = answer
        self._messages = messages
        self._gate = Sanitizer()
        self._ends_with_newline = self._writable = True
        self._began = False
        self._wait = TerminalView(messages.screen, messages)

    def busy(self, what: str, hint: str = "") -> None:
        """Show that work is in progress."""
        self._wait.busy(what, hint)

    def show(self, event: ChatEvent) -> None:
        """Write the next event of the turn."""
        match event:
            case Delta(text):
                self._wait.settle()
                self._write(self._gate.feed(text))
            case AnswerComplete() | Done():
                self.settle()
            case Failed():
                self.broken("the answer is incomplete")
            case Waiting():
                self._wait.show(event)
            case _:
                if is_terminal(self._answer):
                    self._end_line()
                self._wait.show(event)

    def announce(self, message: str) -> None:
        """Print a message even with --quiet."""
        self._wait.announce(message)

    def note(self, message: str) -> None:
        """Print a note."""
        self._wait.note(message)

    def warn(self, message: str) -> None:
        """Print a warning."""
        self._wait.warn(message)

    def settle(self) -> None:
        """End the last line of the answer."""
        self._wait.settle()
        self._end_line()

    def broken(self, why: str) -> None:
        """Report that the answer is incomplete."""
        self.settle()
        if self._began:
            self._messages.note(why)

    def _write(self, text: str) -> None:
        if not text:
            return
        self._began = True
        self._ends_with_newline = text.endswith("\n")
        if self._writable:
            self._writable = False  # do not try again if this fails
            write(self._answer, text)
            self._writable = True

    def _end_line(self) -> None:
        self._write(self._gate.flush())
        if not self._ends_with_newline:
            self._write("\n")
