"""What a long command is doing, in words: the core says it as it goes, and whoever called it may show it.

A statement's progress cannot be seen from outside, so what is said is what is known: the step, rows that are done,
rows that were counted, or the planner's figure for those that will be read ("about").
"""

from collections.abc import Callable
from typing import TypeAlias

from junkie_cli.core.schema import MEMORIES, SchemaState

Tell: TypeAlias = Callable[[str], None]


def unheard(_: str) -> None:
    """For callers who do not listen."""


def number(count: int, one: str, many: str) -> str:
    """`1 memory`, `2,000 memories`."""
    return f"1 {one}" if count == 1 else f"{count:,} {many}"


def all_memories(state: SchemaState) -> str:
    """`about 5,000,000 memories`; without a number while the table was never analysed."""
    rows = int(state.table(MEMORIES).rows) if state.has(MEMORIES) else -1
    return f"about {number(rows, 'memory', 'memories')}" if rows > 0 else "all memories"
