"""What several of the commands print."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from junkie_cli.cli import cascaded
from junkie_cli.core.formatting import plural
from junkie_cli.terminal.output import Column, note, print_json, print_rows

if TYPE_CHECKING:
    from junkie_cli.core import documents
    from junkie_cli.core.memories.model import Memory


COLUMNS = (
    Column("ID", lambda memory: memory.memory_id, "id"),
    Column("USER", lambda memory: memory.user_id),
    Column("MEMORY", lambda memory: memory.memory),
    Column("TOPICS", lambda memory: memory.topics),
    Column("UPDATED", lambda memory: memory.updated_at, "time"),
)


def print_changed(memory: "Memory", undo: str | None, *, as_json: bool) -> None:
    """Print a memory that was added or changed."""
    if as_json:
        answer: documents.MemoryChanged = {"memory": memory, "undo": undo}
        return print_json(answer)
    print_rows(COLUMNS, [memory])
    return print_undo_hint(undo)


def print_undo_hint(batch: str | None) -> None:
    """Note how to undo a change."""
    note(f"to undo: junkie memories undo {batch}" if batch else "this cannot be undone: no history is kept")


def print_would_go(found: "tuple[Memory, ...]", going: Mapping[str, int], *, as_json: bool) -> None:
    """Print what a --dry-run would delete."""
    if as_json:
        return print_json({"would_delete": len(found), "memories": found} | cascaded.document(going))
    print_rows(COLUMNS, found)
    cascaded.note_cascaded(going)
    return note(f"{plural(len(found), 'memory', 'memories')} would be deleted; nothing was changed")
