"""Memories: reading, changing, taking back, searching, moving. Plain SQL through asyncpg; changes go by the journal."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from junkie_cli.core.memories.batches import Batch
    from junkie_cli.core.memories.changing import (
        Changed,
        Cleared,
        ClearPreview,
        DeletePreview,
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
        preview_undo,
        record_others,
        text_in,
        undo,
    )

__all__ = [
    "Batch",
    "Change",
    "Changed",
    "ClearPreview",
    "Cleared",
    "Conflict",
    "DeletePreview",
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
    "preview_undo",
    "record_others",
    "search_memories",
    "text_in",
    "undo",
]

# A command uses one of these modules; importing all of them took a third of what `memories list` takes by itself.
_HOMES = {
    "batches": {"Batch"},
    "changing": {
        "Changed",
        "Cleared",
        "ClearPreview",
        "DeletePreview",
        "add_memory",
        "clear_memories",
        "delete_memories",
        "edit_memory",
        "preview_clear",
        "preview_delete",
    },
    "exporting": {"Exported", "export_memories"},
    "importing": {"Imported", "import_memories"},
    "listing": {"MemoryDetail", "MemoryFilter", "MemoryPage", "get_memory", "list_memories"},
    "model": {"Memory"},
    "pending": {"list_pending"},
    "searching": {"Found", "search_memories"},
    "undoing": {
        "Change",
        "Conflict",
        "HistoryPage",
        "Undone",
        "list_history",
        "preview_undo",
        "record_others",
        "text_in",
        "undo",
    },
}


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            value: object = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(name)
