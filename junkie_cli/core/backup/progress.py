"""How a long run tells what it does: the core calls these, the command line decides what a person gets to see."""

from collections.abc import Callable

from junkie_cli.core.value_class import frozen

Reach = Callable[[int, int], None]
"""Takes how many bytes are done of how many."""


def _unheard(*_: object) -> None:
    return


@frozen
class Voice:
    """`progress` is what is being done now and `reach` how much of it is done, `note` what is good to know, `warn` what
    must not be missed.
    """

    progress: Callable[[str], None] = _unheard
    note: Callable[[str], None] = _unheard
    warn: Callable[[str], None] = _unheard
    reach: Reach = _unheard


SILENT = Voice()
