"""What a terminal can show, decided once for tables, notes, progress and help: colour, styles, motion, symbols, width.

A leaf: imports nothing of ours, and nothing heavy. One visual language: titles bold, what is secondary dim, ids cyan,
good green, doubtful yellow, bad red. All of them are the terminal's own colours, so they fit light and dark ones.
"""

import os
import re
import shutil
from collections.abc import Mapping
from typing import TextIO

from junkie_cli.core.value_class import frozen

SMALLEST = 20
_SGR = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_COLOURS = frozenset({"red", "green", "yellow", "cyan"})
_OUR_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")

SYMBOLS: Mapping[str, tuple[str, str]] = {
    "separator": ("·", "-"),
    "ellipsis": ("…", "..."),
    "none": ("–", "-"),
    "rule": ("─", "-"),
    "bar": ("█▏▎▍▌▋▊▉", "#"),
    "track": ("─", "-"),
    "spark": ("▁▂▃▄▅▆▇█", "_.-=+*%#"),
    "frames": ("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\"),
}


@frozen
class Look:
    """How to draw: `colour` allows colours, `styles` bold and dim, `motion` moving the cursor, `unicode` symbols."""

    colour: bool = False
    styles: bool = False
    motion: bool = False
    unicode: bool = True

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str] | None = None) -> "Look":
        """What `stream` can show: nothing but text when it is no terminal or a dumb one; no colour with NO_COLOR."""
        environ = os.environ if environ is None else environ
        terminal = is_terminal(stream) and environ.get("TERM") not in {"dumb", "unknown"}
        encoding = (stream.encoding or "").lower().replace("-", "")
        return cls(
            colour=terminal and not environ.get("NO_COLOR"),
            styles=terminal,
            motion=terminal,
            unicode=encoding.startswith("utf"),
        )

    def styled(self, text: str, *styles: str) -> str:
        """`text` in the named styles, as far as they are wanted here."""
        wanted = [_SGR[s] for s in styles if (self.colour if s in _COLOURS else self.styles)]
        return f"\x1b[{';'.join(wanted)}m{text}\x1b[0m" if wanted and text else text

    def symbol(self, name: str) -> str:
        """The symbol or row of symbols called `name`, in ASCII where the encoding has no other."""
        pair = SYMBOLS[name]
        return pair[0] if self.unicode else pair[1]


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person reads `stream`; a closed or missing one is no terminal."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def columns_of(stream: TextIO, environ: Mapping[str, str] | None = None) -> int:
    """Columns to use on `stream`: `COLUMNS`, else the terminal's, else 80; never fewer than SMALLEST."""
    named = (os.environ if environ is None else environ).get("COLUMNS", "")
    if named.isdecimal() and int(named) > 0:
        return max(SMALLEST, int(named))
    return max(SMALLEST, _size(stream).columns)


def rows_of(stream: TextIO) -> int:
    """Rows of the terminal behind `stream` (24 when it does not say)."""
    return _size(stream).lines


def _size(stream: TextIO) -> os.terminal_size:
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return shutil.get_terminal_size()
    return size if size.columns and size.lines else os.terminal_size((80, 24))


def plain(text: str) -> str:
    """`text` without the styles of `Look.styled`: what is left takes room on the screen."""
    return _OUR_ESCAPES.sub("", text)


def encodable(text: str, stream: TextIO) -> str:
    """`text` with `?` for what the encoding of `stream` lacks."""
    encoding = stream.encoding or "utf-8"
    if encoding.lower().startswith("utf"):
        return text
    return text.encode(encoding, "replace").decode(encoding)
