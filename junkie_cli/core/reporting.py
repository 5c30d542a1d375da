"""What the core has to report while it works, beside its answer: an unusual table name, a lock that is waited for.

The core does not print. Whoever runs it names a function that gets each sentence, once in a process; without one the
sentences are dropped.
"""

from collections.abc import Callable

_reporter: Callable[[str], None] | None = None
_reported: set[str] = set()


def set_reporter(reporter: Callable[[str], None] | None) -> None:
    """Send every sentence from now on to `reporter`; None drops them."""
    global _reporter
    _reporter = reporter
    _reported.clear()


def report(sentence: str) -> None:
    """Report a sentence that a person should read, if it was not reported before."""
    if sentence not in _reported and _reporter is not None:
        _reported.add(sentence)
        _reporter(sentence)
