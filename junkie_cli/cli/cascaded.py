"""What foreign keys delete with memories, in words and in JSON: rows of other tables that no undo brings back."""

from collections.abc import Mapping
from typing import Any

from junkie_cli.terminal.output import note, warn


def note_cascaded(cascaded: Mapping[str, int]) -> None:
    """Name the rows that go with what is deleted, by table."""
    for table, count in cascaded.items():
        note(f"  rows of {table} that foreign keys delete with them, and undo cannot restore: {count}")


def warn_lost(lost: Mapping[str, int]) -> None:
    """Name the rows that an undo leaves deleted, by table."""
    for table, count in lost.items():
        warn(f"rows of {table} that foreign keys deleted with these memories cannot be restored: {count}")


def document(cascaded: Mapping[str, int], lost: Mapping[str, int] | None = None) -> dict[str, Any]:
    """The fields of a JSON answer; only those that say something."""
    return {name: counts for name, counts in (("cascaded", cascaded), ("lost", lost)) if counts}
