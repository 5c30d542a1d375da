"""The few signs of the conversation, and how a line reaches a stream. A leaf that loads nothing heavy."""

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


def sign(look: Look, name: str) -> str:
    """The sign called `name`, in ASCII where the encoding has no other."""
    return SIGNS[name][0 if look.unicode else 1]


def write(stream: TextIO, text: str) -> None:
    """Write and flush, `?` for what the encoding of `stream` lacks.

    A terminal that was closed under us (EIO) is left to the signal that comes with it. Raises OSError or OutputError
    otherwise.
    """
    try:
        stream.write(encodable(text, stream))
        stream.flush()
    except (OSError, OutputError) as error:
        if error.errno != errno.EIO:
            raise
