"""Formats messages next to the answer: memories, tools, warnings, errors."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from junkie_cli.conversation.screen import Screen
from junkie_cli.conversation.symbols import symbol, write
from junkie_cli.core.errors import JunkieError
from junkie_cli.core.sanitize import shown, wrap
from junkie_cli.terminal.style import Look, is_terminal

if TYPE_CHECKING:
    from junkie_cli.core.chat import MemoryEvent

_VERBS = {"added": "remembered", "updated": "changed", "deleted": "forgot"}
_COLOURS = {"added": "green", "updated": "yellow", "deleted": "red"}


class Messages:
    """Writes messages to stderr; on a terminal, without disturbing what is drawn there."""

    def __init__(self, screen: Screen, errors: TextIO | None = None, *, quiet: bool = False) -> None:
        self._errors = sys.stderr if errors is None else errors
        self.quiet = quiet
        self._shared = is_terminal(self._errors) and is_terminal(screen.stream)
        self.screen = screen

    @property
    def look(self) -> Look:
        """Return the look of the output stream."""
        return self.screen.look if self._shared else Look(unicode=Look.of(self._errors).unicode)

    @property
    def columns(self) -> int:
        """Return the available columns; unlimited for a file."""
        return self.screen.columns if self._shared else 10_000

    def tell(self, lines: Sequence[str]) -> None:
        """Write `lines`, separated from a preceding answer."""
        if self._shared:
            if self.screen.after_text:
                self.screen.separate()
            self.screen.print(*lines)
            return
        with suppress(OSError):  # a missing reader of stderr must not end the conversation
            write(self._errors, "".join(f"{line}\n" for line in lines))

    def memory(self, event: "MemoryEvent", pending: int = 0) -> None:
        """Report a change of a memory; `pending` is the number of pending extractions."""
        if not self.quiet:
            self.tell(memory_lines(event, self.look, self.columns, pending=pending))

    def error(self, error: JunkieError) -> None:
        """Report an error."""
        self.tell(error_lines(error, self.look, self.columns))

    def warn(self, message: str) -> None:
        """Report a warning."""
        self.tell(warning_lines(message, self.look, self.columns))

    def announce(self, message: str) -> None:
        """Print a message even with --quiet."""
        self.tell([self.look.styled(line, "yellow") for line in folded(message, self.columns)])

    def note(self, message: str) -> None:
        """Print a note, unless --quiet is set."""
        if not self.quiet:
            self.tell(note_lines(message, self.look, self.columns))


def memory_lines(event: "MemoryEvent", look: Look, columns: int, *, pending: int = 0) -> list[str]:
    """Format an added, updated or deleted memory, or an extraction that will be retried."""
    if event.action not in _VERBS:
        count = f" ({pending})" if pending > 1 else ""
        return [look.styled(f"{symbol(look, 'pending')} memory not saved yet{count}; will retry", "dim")]
    mark = look.styled(symbol(look, event.action), _COLOURS[event.action])
    lines = folded(f"{_VERBS[event.action]}: {event.memory or ''}", columns - 2)
    return [f"{mark} {look.styled(lines[0], 'dim')}", *(f"  {look.styled(line, 'dim')}" for line in lines[1:])]


def error_lines(error: JunkieError, look: Look, columns: int) -> list[str]:
    """Format an error and its hint."""
    lines = folded(f"error: {error.message}", columns)
    lines[0] = look.styled("error:", "red") + lines[0].removeprefix("error:")
    return lines + [look.styled(f"  {line}", "dim") for line in (folded(error.hint, columns - 2) if error.hint else ())]


def warning_lines(message: str, look: Look, columns: int) -> list[str]:
    """Format a warning."""
    lines = folded(f"warning: {message}", columns)
    return [look.styled("warning:", "yellow") + lines[0].removeprefix("warning:"), *lines[1:]]


def note_lines(message: str, look: Look, columns: int) -> list[str]:
    """Format a note."""
    return [look.styled(line, "dim") for line in folded(message, columns)]


def folded(text: str, columns: int) -> list[str]:
    """Return `text` as sanitized lines of at most `columns`; at least one line."""
    return wrap(shown(" ".join(text.split())), max(columns, 10))
