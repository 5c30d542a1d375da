"""The terminal while an answer streams: final lines, and below them a live region that is redrawn.

Final lines are written once. Of the live region only changed lines are redrawn, with one write for each frame, so that
nothing flickers and the scrollback contains each line once.
"""

import os
import sys
from collections.abc import Sequence
from typing import TextIO

from junkie_cli.conversation.symbols import write
from junkie_cli.core.sanitize import width
from junkie_cli.terminal.style import SMALLEST, Look, columns_of, plain, rows_of

_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"  # synchronized output, ignored by terminals that do not support it
_CLEAR_LINE, _CLEAR_BELOW = "\x1b[K", "\x1b[J"


class Screen:
    """A stream with a live region at its end, if the terminal can move its cursor."""

    def __init__(self, stream: TextIO, look: Look | None = None) -> None:
        self.stream = stream
        self.look = Look.of(stream) if look is None else look
        self.blank = True
        """Whether the last printed line is empty: the next output then needs no separator."""
        self.after_text = False
        """Whether the last printed line belongs to an answer: other output is then separated from it."""
        self._live: list[str] = []
        self._columns = self.columns

    @property
    def columns(self) -> int:
        """Return the columns to draw in: one less than available, because terminals differ at the last column."""
        try:
            actual = os.get_terminal_size(self.stream.fileno()).columns or SMALLEST
        except (OSError, ValueError):
            actual = columns_of(self.stream)
        return max(min(actual, columns_of(self.stream)), SMALLEST) - 1

    @property
    def rows(self) -> int:
        """Return the rows available to the live region."""
        return max(rows_of(self.stream) - 1, 2)

    def print(self, *lines: str) -> None:
        """Print final lines above the live region."""
        self.draw(lines, self._live)

    def separate(self) -> None:
        """Print an empty line unless the last one is empty."""
        if not self.blank:
            self.print("")

    def clear(self) -> None:
        """Erase the live region."""
        self.draw((), ())

    def give_way(self) -> None:
        """Leave the live region to be overwritten by the next output."""
        if self._live:
            write(self.stream, self._to_row(0))
            self._live = []

    def draw(self, final: Sequence[str], live: Sequence[str]) -> None:
        """Print `final` and show `live` below it; if it exceeds the screen, show its end."""
        if final:
            self.blank = not plain(final[-1]).strip()
            self.after_text = False
        if not self.look.motion:
            if final:
                write(self.stream, "".join(line + "\n" for line in final))
            return
        live = list(live)[-self.rows :]
        if not final and live == self._live:
            return
        write(self.stream, self._picture(final, live))
        self._live, self._columns = live, self.columns

    def _picture(self, final: Sequence[str], live: Sequence[str]) -> str:
        same = 0 if final or self._columns != self.columns else _same_head(self._live, live)
        parts = [_BEGIN, self._to_row(same)]
        parts += [line + _CLEAR_LINE + "\n" for line in final]
        parts.append("\n".join(line + _CLEAR_LINE for line in live[same:]))
        parts += [_CLEAR_BELOW, _END]
        return "".join(parts)

    def _to_row(self, row: int) -> str:
        """Return the cursor movement from the end of the live region to the beginning of its row `row`."""
        up = sum(self._height(line) for line in self._live[row:]) - 1
        return f"\r\x1b[{up}A" if up > 0 else "\r"

    def _height(self, line: str) -> int:
        """Return the rows that a drawn line takes now: a terminal that became narrower has wrapped it."""
        return max(1, -(-width(plain(line)) // (self.columns + 1)))


def _same_head(before: Sequence[str], after: Sequence[str]) -> int:
    """Count equal first lines; the last line is always redrawn, because the cursor is on it."""
    most = min(len(before), len(after)) - 1
    for index in range(max(most, 0)):
        if before[index] != after[index]:
            return index
    return max(most, 0)


def main_screen() -> Screen:
    """Return the screen that a person sees: stdout if it is a terminal, else stderr."""
    return Screen(sys.stdout if sys.stdout.isatty() else sys.stderr)
