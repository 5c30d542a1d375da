"""What a long operation reports while it works. The core calls it, and the caller decides what a person sees.

The progress of a statement cannot be seen from outside. So a step says what is known: what is done now, and rows that
are done, rows that were counted, or the planner's estimate of those that will be read ("about").
"""

from collections.abc import Callable
from typing import Any

from junkie_cli.core.value_class import frozen


def _ignore(*_: Any) -> None:
    return


@frozen
class Progress:
    """Where an operation reports to; by default nowhere. The functions may be called from any thread, often.

    `step` takes what is done now; `reach` how much of it is done, of how much, and how much of that took no time in
    this run; `wait` takes what is waited for, None when nothing is any more; `note` takes what is good to know, `warn`
    what must not be missed.
    """

    step: Callable[[str], None] = _ignore
    reach: Callable[..., None] = _ignore
    wait: Callable[[str | None], None] = _ignore
    note: Callable[[str], None] = _ignore
    warn: Callable[[str], None] = _ignore


SILENT = Progress()
