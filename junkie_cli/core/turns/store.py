"""The protocol of a turn store. Three implement it: PostgreSQL, memory, and a decorator that loses no turn."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

from junkie_cli.core.memories.change_log import AppliedChange, MemoryChange
from junkie_cli.core.turns.types import (
    Counts,
    Exchange,
    Flushed,
    MemoryEntry,
    Pending,
    Reading,
    SessionEntry,
    Turn,
    TurnRecord,
)


class TurnStore(Protocol):
    """Stores turns, their pending extractions and the memories of these; reads one user's data.

    Each method raises DatabaseError if the database fails; a caller may call it again, because doing anything twice
    changes nothing.
    """

    @property
    def keeps_pending(self) -> bool:
        """Whether extractions can be recorded before they are tried."""
        ...

    # A turn, in this order

    async def begin(self, user_id: str, session_id: str, message: str, reading: Reading) -> Turn:
        """Read what a turn needs. Raises NotFoundError for somebody else's session."""
        ...

    async def open(self, record: TurnRecord, *, lease: float = 0) -> bool:
        """Store a turn that has no answer yet, with its pending extraction; whether it is stored, and still running.

        Whatever is stored already stays. False when the turn must not be stored. Raises ErasedError.
        """
        ...

    async def renew(self, record: TurnRecord, *, lease: float) -> None:
        """Show that an open turn is still running."""
        ...

    async def complete(self, record: TurnRecord, *, lease: float = 0) -> None:
        """Store a turn that has ended, with its pending extraction, and read it back.

        For `lease` seconds the extraction belongs to this process. Raises NotFoundError when the session is another
        user's or was deleted since the turn began, ErasedError when the user was erased since; nothing of the turn is
        stored then.
        """
        ...

    async def discard(self, record: TurnRecord) -> None:
        """Delete what `open` stored of a turn that must not be stored."""
        ...

    def keep(self, record: TurnRecord) -> str:
        """Keep a turn that could not be stored, until `flush`; where, as the end of a sentence ("": lost)."""
        ...

    async def flush(self) -> Flushed:
        """Store turns that the database did not take before. Never raises for what the database does."""
        ...

    async def settle(self, user_id: str | None) -> int:
        """Mark open turns CANCELLED whose process has ended; how many there were."""
        ...

    # Extractions and memories

    async def commit_memories(
        self,
        changes: Sequence[MemoryChange],
        pending_id: str | None,
        *,
        by: str,
        began: datetime | None = None,
        take: Callable[[Any], Awaitable[bool]] | None = None,
    ) -> tuple[AppliedChange, ...] | None:
        """Make `changes` of one user and complete the extraction `pending_id`, in one transaction, and read them back.

        `began` is the database's time when it was said what `changes` are made of (None: now): see
        `memories.duplicates`. None when another process has completed this extraction, or `take`, which runs in the
        transaction, returns False. Raises OwnershipError, ErasedError.
        """
        ...

    async def claim_pending(self, user_id: str | None, passed_over: Sequence[str]) -> Pending | None:
        """The oldest extraction that is due and now belongs to this process, None when none is."""
        ...

    async def renew_pending(self, pending_id: str, lease: float) -> None:
        """Keep an extraction for this process for `lease` seconds more."""
        ...

    async def release_pending(self, pending_id: str) -> None:
        """Give a claimed extraction back untried."""
        ...

    async def record_failure(
        self, pending_id: str, error: str, *, retry_after: float = 0, outage: bool = False
    ) -> bool:
        """Record why an extraction failed, and when it may be tried again; True when it is set aside."""
        ...

    async def make_due(self, user_id: str | None) -> None:
        """Make all pending extractions due now, those set aside too."""
        ...

    async def drop_pending(self, pending_id: str) -> None:
        """Delete an extraction that must not be made any more."""
        ...

    async def count_pending(self, user_id: str | None) -> int:
        """How many extractions are pending in the database, of one user or of all."""
        ...

    async def refresh_search(self, user_id: str) -> None:
        """Bring up to date what the user's memories are found by, in a bounded step. Never raises."""
        ...

    # Reading one user's data

    async def candidates(self, user_id: str, message: str) -> tuple[MemoryEntry, ...]:
        """The memories that an extraction of `message` may be shown."""
        ...

    async def memories(self, user_id: str, *, limit: int = 1000) -> list[MemoryEntry]:
        """The user's memories, newest first."""
        ...

    async def search_memories(self, user_id: str, text: str, *, limit: int) -> list[MemoryEntry]:
        """The user's memories that match `text`, best first."""
        ...

    async def search_exchanges(self, user_id: str, text: str, *, limit: int) -> list[Exchange]:
        """The user's exchanges that match `text`, best first."""
        ...

    async def memory(self, user_id: str, memory_id: str) -> MemoryEntry | None:
        """One memory of this user, None when it does not exist or is not theirs."""
        ...

    async def memory_ids(self, user_id: str, prefix: str) -> list[str]:
        """Ids of this user's memories that begin with `prefix`, at most two; an exact one alone."""
        ...

    async def memories_in_context(self, user_id: str) -> int:
        """How many of the user's memories go into a prompt now."""
        ...

    async def sessions(self, user_id: str, *, limit: int) -> list[SessionEntry]:
        """The user's sessions with the team, newest first."""
        ...

    async def session_ids(self, user_id: str, prefix: str) -> list[str]:
        """Ids of this user's sessions that begin with `prefix`, at most two; an exact one alone.

        Raises NotFoundError when `prefix` is the full id of somebody else's session.
        """
        ...

    async def exchanges(self, user_id: str, *, session_id: str | None = None, limit: int = 200) -> list[Exchange]:
        """This user's last exchanges, oldest first: of one session or of all."""
        ...

    async def counts(self, user_id: str) -> Counts:
        """How much is kept of this user."""
        ...
