"""Numbers of rows as the planner estimates them, for progress messages."""

from junkie_cli.core.formatting import plural
from junkie_cli.core.schema.tables import MEMORIES, SchemaState


def all_memories(state: SchemaState) -> str:
    """`about 5,000,000 memories`; without a number while the table was never analysed."""
    rows = int(state.table(MEMORIES).rows) if state.has(MEMORIES) else -1
    return f"about {plural(rows, 'memory', 'memories')}" if rows > 0 else "all memories"
