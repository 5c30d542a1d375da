"""Stores turns in this process only (`--no-database`)."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from junkie_cli.core.errors import UsageError
from junkie_cli.core.foreign_values import objects
from junkie_cli.core.memories.change_log import AppliedChange, MemoryChange
from junkie_cli.core.ranking.query import Query
from junkie_cli.core.ranking.texts import rank_texts
from junkie_cli.core.turns.history import exchange
from junkie_cli.core.turns.reads import check_owner
from junkie_cli.core.turns.types import (
    Counts,
    Exchange,
    Flushed,
    MemoryEntry,
    Pending,
    Reading,
    SessionEntry,
    SessionRow,
    Turn,
    TurnRecord,
)


class InMemoryTurnStore:
    """Keeps turns until the process ends, and neither extractions nor memories."""

    keeps_pending = False

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}
        self._runs: dict[str, list[dict[str, Any]]] = {}

    # -- a turn --------------------------------------------------------------------------------------------------------

    async def begin(self, user_id: str, session_id: str, message: str, reading: Reading) -> Turn:
        """What the turn needs: the last runs of its session. Raises NotFoundError for somebody else's session."""
        owner = self._owners.get(session_id)
        check_owner(session_id if owner else None, owner, "team", user_id)
        runs = self._runs.get(session_id, [])[-reading.history_runs :] if reading.history_runs else []
        session = SessionRow(session_id, user_id) if owner else None
        return Turn(user_id, session_id, str(uuid4()), message, session=session, runs=tuple(runs))

    async def open(self, record: TurnRecord, *, lease: float = 0) -> bool:
        """False: what this process alone keeps would not outlive it."""
        return False

    async def renew(self, record: TurnRecord, *, lease: float) -> None:
        """Nothing."""

    async def complete(self, record: TurnRecord, *, lease: float = 0) -> None:
        """Keep the turn's run for the next turns of this process."""
        self._owners[record.session_id] = record.user_id
        self._runs.setdefault(record.session_id, []).append(objects(record.run.data))

    async def discard(self, record: TurnRecord) -> None:
        """Nothing."""

    def keep(self, record: TurnRecord) -> str:
        """Nowhere."""
        return ""

    async def flush(self) -> Flushed:
        """Nothing."""
        return Flushed()

    async def settle(self, user_id: str | None) -> int:
        """None."""
        return 0

    # -- what is read --------------------------------------------------------------------------------------------------

    async def exchanges(self, user_id: str, *, session_id: str | None = None, limit: int = 200) -> list[Exchange]:
        """This user's exchanges in this process, oldest first: of one session or of all."""
        found = [
            exchange(run)
            for key, runs in self._runs.items()
            if self._owners[key] == user_id and session_id in (None, key)
            for run in runs
        ]
        return found[-limit:]

    async def search_exchanges(self, user_id: str, text: str, *, limit: int) -> list[Exchange]:
        """This user's exchanges in this process that match `text`, best first."""
        found = await self.exchanges(user_id)
        texts = [(f"{entry.message} {entry.answer}", 0.0) for entry in found]
        return [found[match.place] for match in rank_texts(texts, Query.of(text, inside=True))[:limit]]

    async def sessions(self, user_id: str, *, limit: int) -> list[SessionEntry]:
        """The user's sessions in this process, newest first."""
        mine = [key for key, owner in self._owners.items() if owner == user_id]
        found = [(key, [exchange(run) for run in self._runs[key]]) for key in reversed(mine)]
        return [SessionEntry(key, "", said[0].message, len(said), said[-1].at) for key, said in found][:limit]

    async def session_ids(self, user_id: str, prefix: str) -> list[str]:
        """Ids of this user's sessions that begin with `prefix`."""
        return [key for key, owner in self._owners.items() if owner == user_id and key.startswith(prefix)]

    async def counts(self, user_id: str) -> Counts:
        """How much this process keeps of the user until it ends."""
        return Counts(0, sum(owner == user_id for owner in self._owners.values()), 0, None)

    # -- memories and extractions: there are none ----------------------------------------------------------------------

    async def candidates(self, user_id: str, message: str) -> tuple[MemoryEntry, ...]:
        """None."""
        return ()

    async def memories(self, user_id: str, *, limit: int = 1000) -> list[MemoryEntry]:
        """None."""
        return []

    async def search_memories(self, user_id: str, text: str, *, limit: int) -> list[MemoryEntry]:
        """None."""
        return []

    async def memory(self, user_id: str, memory_id: str) -> MemoryEntry | None:
        """None."""
        return None

    async def memory_ids(self, user_id: str, prefix: str) -> list[str]:
        """Raises UsageError: there can be none."""
        raise _keeps_nothing()

    async def memories_in_context(self, user_id: str) -> int:
        """None."""
        return 0

    async def commit_memories(
        self, changes: Sequence[MemoryChange], pending_id: str | None, **_: Any
    ) -> tuple[AppliedChange, ...] | None:
        """Raises UsageError: nothing can be kept."""
        raise _keeps_nothing()

    async def refresh_search(self, user_id: str) -> None:
        """Nothing: there is nothing to find."""

    async def claim_pending(self, user_id: str | None, passed_over: Sequence[str]) -> Pending | None:
        """None."""
        return None

    async def record_failure(
        self, pending_id: str, error: str, *, retry_after: float = 0, outage: bool = False
    ) -> bool:
        """Nothing."""
        return False

    async def renew_pending(self, pending_id: str, lease: float) -> None:
        """Nothing."""

    async def release_pending(self, pending_id: str) -> None:
        """Nothing."""

    async def make_due(self, user_id: str | None) -> None:
        """Nothing."""

    async def drop_pending(self, pending_id: str) -> None:
        """Nothing."""

    async def count_pending(self, user_id: str | None) -> int:
        """None."""
        return 0


def _keeps_nothing() -> UsageError:
    return UsageError("this conversation keeps nothing", hint="start one without --no-database")
