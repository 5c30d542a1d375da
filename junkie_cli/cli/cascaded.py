"""Report rows of other tables that foreign keys delete with memories, and that undo cannot restore."""

from collections.abc import Mapping
from typing import Any

from junkie_cli.terminal.output import note, warn


def note_cascaded(cascaded: Mapping[str, int]) -> None:
    """Print how many rows of each table a deletion takes along."""
    for table, count in cascaded.items():
        note(f"  rows of {table} that foreign keys delete with them, and undo cannot restore: {count}")


def warn_lost(lost: Mapping[str, int]) -> None:
    """Print how many rows of each table an undo cannot restore."""
    for table, count in lost.items():
        warn(f"rows of {table} that foreign keys deleted with these memories cannot be restored: {count}")


def document(cascaded: Mapping[str, int], lost: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Return the fields of a JSON answer, without empty ones."""
    return {name: counts for name, counts in (("cascaded", cascaded), ("lost", lost)) if counts}
