"""What storage gives back, as plain values that load nothing: the chat passes them on as they are."""

from dataclasses import replace
from datetime import datetime

from junkie_cli.core.errors import UsageError
from junkie_cli.core.extraction.reply import LONGEST_MEMORY
from junkie_cli.core.value_class import frozen


@frozen
class MemoryEntry:
    """One memory of the user; `updated_at` in UTC, None when the table does not say."""

    memory_id: str
    memory: str
    topics: tuple[str, ...]
    updated_at: datetime | None


def shortened(entry: MemoryEntry) -> MemoryEntry:
    """A memory as it goes into a prompt: what is cut off is replaced by an ellipsis."""
    if len(entry.memory) <= LONGEST_MEMORY:
        return entry
    return replace(entry, memory=f"{entry.memory[: LONGEST_MEMORY - 1]}…")


def is_shortened(memory: str) -> bool:
    """Whether this is the text of a memory that was shortened for a prompt."""
    return len(memory) == LONGEST_MEMORY and memory.endswith("…")


@frozen
class Exchange:
    """One run of a session: what the user said, what was answered; `at` in UTC.

    `status` is COMPLETED, CANCELLED, ERROR, or RUNNING: being answered, or its process was killed a moment ago.
    """

    run_id: str
    at: datetime | None
    status: str
    message: str
    answer: str


@frozen
class SessionEntry:
    """A session of the user: its name (or ""), the first words said in it, its runs, and when it was last used, UTC."""

    session_id: str
    name: str
    first_words: str
    runs: int
    updated_at: datetime | None


@frozen
class Counts:
    """What the database holds of one user; `first_seen` in UTC, None when there is nothing."""

    memories: int
    sessions: int
    pending: int
    first_seen: datetime | None


class TablesNeededError(UsageError):
    """The schema was written by an older agno and `tables` would have to be added to it; nothing was changed.

    Ask, and open again with `may_add_tables=True`.
    """

    default_code = "tables_needed"

    def __init__(self, tables: tuple[str, ...], database: str) -> None:
        super().__init__(
            f"the tables in {database} were made by an older agno: chat would add {', '.join(tables)}, "
            "and change nothing that is there",
            hint="agree (without a terminal: --yes), or name another schema with JUNKIE_SCHEMA",
        )
        self.tables = tables
        self.database = database
