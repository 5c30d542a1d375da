"""Symbols of the conversation, and writing a line to a stream. Loads nothing heavy."""

import errno
from collections.abc import Mapping
from typing import TextIO

from junkie_cli.core.files import OutputError
from junkie_cli.terminal.style import Look, encodable

SIGNS: Mapping[str, tuple[str, str]] = {
    "prompt": ("›", ">"),
    "bullet": ("•", "*"),
    "bar": ("│", "|"),
    "rule": ("─", "-"),
    "separator": ("·", "-"),
    "pending": ("…", "..."),
    "added": ("+", "+"),
    "updated": ("~", "~"),
    "deleted": ("-", "-"),
    "frames": ("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\"),
}


def symbol(look: Look, name: str) -> str:
    """Return the symbol called `name`, in ASCII if the encoding lacks it."""
    return SIGNS[name][0 if look.unicode else 1]


def write(stream: TextIO, text: str) -> None:
    """Write and flush, with `?` for characters that the encoding of `stream` lacks.

    Ignore a closed terminal (EIO): a signal follows. Raises OSError or OutputError for other failures.
    """
    try:
        stream.write(encodable(text, stream))
        stream.flush()
    except (OSError, OutputError) as error:
        if error.errno != errno.EIO:
            raise
