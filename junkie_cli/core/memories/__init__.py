"""Memories: reading, changing, taking back, searching, moving. Plain SQL through asyncpg; changes go by the journal."""

from junkie_cli.core.memories.changing import (
    Changed,
    Cleared,
    ClearPreview,
    add_memory,
    clear_memories,
    delete_memories,
    edit_memory,
    preview_clear,
    preview_delete,
)
from junkie_cli.core.memories.exporting import Exported, export_memories
from junkie_cli.core.memories.importing import Imported, import_memories
from junkie_cli.core.memories.listing import MemoryDetail, MemoryFilter, MemoryPage, get_memory, list_memories
from junkie_cli.core.memories.model import Memory
from junkie_cli.core.memories.pending import list_pending
from junkie_cli.core.memories.searching import Found, search_memories
from junkie_cli.core.memories.undoing import (
    Change,
    Conflict,
    HistoryPage,
    Undone,
    list_history,
    record_others,
    text_in,
    undo,
)

__all__ = [
    "Change",
    "Changed",
    "ClearPreview",
    "Cleared",
    "Conflict",
    "Exported",
    "Found",
    "HistoryPage",
    "Imported",
    "Memory",
    "MemoryDetail",
    "MemoryFilter",
    "MemoryPage",
    "Undone",
    "add_memory",
    "clear_memories",
    "delete_memories",
    "edit_memory",
    "export_memories",
    "get_memory",
    "import_memories",
    "list_history",
    "list_memories",
    "list_pending",
    "preview_clear",
    "preview_delete",
    "record_others",
    "search_memories",
    "text_in",
    "undo",
]
