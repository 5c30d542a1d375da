"""The conversation: a turn as plain values, for a terminal, a script or a bot.

Importing this loads nothing heavy; `Conversation.open` does, in a thread, so that a prompt can be on the screen before.
"""

from junkie_cli.core.chat.conversation import Conversation
from junkie_cli.core.chat.events import (
    AnswerComplete,
    ChatEvent,
    Delta,
    Done,
    Exchange,
    Failed,
    MemoryEntry,
    MemoryEvent,
    Provisional,
    Reasoning,
    SessionEntry,
    Status,
    Tool,
    Usage,
    Waiting,
    Warning,
    memory_event,
)
from junkie_cli.core.chat.pending_retry import Retried
from junkie_cli.core.turns.types import TablesNeededError

__all__ = [
    "AnswerComplete",
    "ChatEvent",
    "Conversation",
    "Delta",
    "Done",
    "Exchange",
    "Failed",
    "MemoryEntry",
    "MemoryEvent",
    "Provisional",
    "Reasoning",
    "Retried",
    "SessionEntry",
    "Status",
    "TablesNeededError",
    "Tool",
    "Usage",
    "Waiting",
    "Warning",
    "memory_event",
]
