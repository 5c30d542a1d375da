"""What a long command is doing, in words: the core says it as it goes, and whoever called it may show it.

A statement's progress cannot be seen from outside, so what is said is what is known: the step, rows that are done,
rows that were counted, or the planner's figure for those that will be read ("about").
"""

from collections.abc import Callable
from typing import TypeAlias

Tell: TypeAlias = Callable[[str], None]


def unheard(_: str) -> None:
    """For callers who do not listen."""
