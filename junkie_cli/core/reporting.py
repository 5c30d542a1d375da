"""Passes notes of the core to the caller while it works: for example an unusual table name, or a wait for a lock.

The core does not print. The caller sets a function that gets each sentence once in a process; without it, sentences are
dropped.
"""

from collections.abc import Callable

_reporter: Callable[[str], None] | None = None
_reported: set[str] = set()


def set_reporter(reporter: Callable[[str], None] | None) -> None:
    """Send sentences to `reporter`; None drops them."""
    global _reporter
    _reporter = reporter
    _reported.clear()


def report(sentence: str) -> None:
    """Report a sentence for people, once."""
    if sentence not in _reported and _reporter is not None:
        _reported.add(sentence)
        _reporter(sentence)
