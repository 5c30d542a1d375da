"""Memories: reading, changing, taking back, searching, moving. Plain SQL through asyncpg; changes go by the journal."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from junkie_cli.core.memories.batches import Batch
    from junkie_cli.core.memories.edits import (
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
    from junkie_cli.core.memories.export import Exported, export_memories
    from junkie_cli.core.memories.history import (
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
    from junkie_cli.core.memories.import_file import Imported, import_memories
    from junkie_cli.core.memories.listing import MemoryDetail, MemoryFilter, MemoryPage, get_memory, list_memories
    from junkie_cli.core.memories.model import Memory
    from junkie_cli.core.memories.search import Found, search_memories

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
    "edits": {
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
    "export": {"Exported", "export_memories"},
    "import_file": {"Imported", "import_memories"},
    "listing": {"MemoryDetail", "MemoryFilter", "MemoryPage", "get_memory", "list_memories"},
    "model": {"Memory"},
    "search": {"Found", "search_memories"},
    "history": {
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
