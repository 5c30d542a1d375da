"""Handles keys typed between two prompts: they are kept for the next prompt, and not shown twice."""

import os
import stat
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_INPUT, _LOCAL = 0, 3  # indexes in the list of termios


@contextmanager
def typed_ahead() -> Iterator[None]:
    """Keep typed keys in the terminal's queue without echo; Ctrl-C still interrupts."""
    descriptor = sys.stdin.fileno()
    try:
        before = termios.tcgetattr(descriptor)
    except termios.error:  # the terminal was closed
        yield
        return
    quiet = [list(part) if isinstance(part, list) else part for part in before]
    # A carriage return must not become a newline, which at the prompt is another key than Enter.
    quiet[_INPUT] = before[_INPUT] & ~termios.ICRNL
    quiet[_LOCAL] = before[_LOCAL] & ~(termios.ECHO | termios.ICANON)
    with suppress(termios.error):
        termios.tcsetattr(descriptor, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        with suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSANOW, before)


def is_gone() -> bool:
    """Return whether the terminal behind stdin was closed."""
    try:
        termios.tcgetattr(sys.stdin.fileno())
    except termios.error:
        return True
    return False


def silence_gone_terminal() -> None:
    """If the terminal was closed, discard further output instead of failing while the process ends."""
    if not is_gone():
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (sys.stdout.fileno(), sys.stderr.fileno()):
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            os.dup2(nowhere, descriptor)
    os.close(nowhere)
