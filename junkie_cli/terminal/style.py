"""Decides what a terminal can show: color, styles, cursor motion, symbols, width.

Used by tables, notes, progress and help; imports nothing heavy. Titles are bold, secondary text is dim, ids are cyan,
ok is green, warnings are yellow, errors are red. These are the terminal's own colors, which fit light and dark themes.
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
    """What to draw with: `colour` allows colors, `styles` bold and dim, `motion` cursor motion, `unicode` symbols."""

    colour: bool = False
    styles: bool = False
    motion: bool = False
    unicode: bool = True

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str] | None = None) -> "Look":
        """Return what `stream` can show: only text unless it is a capable terminal; no color with NO_COLOR."""
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
        """Return `text` in the named styles, as far as they are supported."""
        wanted = [_SGR[s] for s in styles if (self.colour if s in _COLOURS else self.styles)]
        return f"\x1b[{';'.join(wanted)}m{text}\x1b[0m" if wanted and text else text

    def symbol(self, name: str) -> str:
        """Return the symbols called `name`, in ASCII if the encoding lacks them."""
        pair = SYMBOLS[name]
        return pair[0] if self.unicode else pair[1]


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether `stream` is a terminal; closed and missing streams are not."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def columns_of(stream: TextIO, environ: Mapping[str, str] | None = None) -> int:
    """Return the columns to use on `stream`: `COLUMNS`, the terminal's, or 80; at least SMALLEST."""
    named = (os.environ if environ is None else environ).get("COLUMNS", "")
    if named.isdecimal() and int(named) > 0:
        return max(SMALLEST, int(named))
    return max(SMALLEST, _size(stream).columns)


def rows_of(stream: TextIO) -> int:
    """Return the rows of the terminal behind `stream` (24 if unknown)."""
    return _size(stream).lines


def _size(stream: TextIO) -> os.terminal_size:
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return shutil.get_terminal_size()
    return size if size.columns and size.lines else os.terminal_size((80, 24))


def plain(text: str) -> str:
    """Return `text` without the styles of `Look.styled`: only the visible characters."""
    return _OUR_ESCAPES.sub("", text)


def encodable(text: str, stream: TextIO) -> str:
    """Return `text` with `?` for characters that the encoding of `stream` lacks."""
    encoding = stream.encoding or "utf-8"
    if encoding.lower().startswith("utf"):
        return text
    return text.encode(encoding, "replace").decode(encoding)
