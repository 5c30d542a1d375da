"""The records of a conversation that keeps nothing (`--no-database`): the history of this process, and no more."""

from typing import Any
from uuid import uuid4

from agno.run.team import TeamRunOutput
from agno.session import TeamSession

from junkie_cli.core.agent.agno_adapter import Turn
from junkie_cli.core.turns.history import exchange, heard
from junkie_cli.core.turns.pending_rows import Pending
from junkie_cli.core.turns.postgres_store import Reading
from junkie_cli.core.turns.reads import check_owner
from junkie_cli.core.turns.types import Counts, Exchange, MemoryEntry, SessionEntry


class VolatileRecords:
    """What `Records` does for a turn, in this process' memory."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}
        self._runs: dict[str, list[dict[str, Any]]] = {}

    keeps_pending = False

    async def begin(self, user_id: str, session_id: str, message: str, reading: Reading) -> Turn:
        """What the turn needs: the last runs of its session. Raises NotFoundError for somebody else's session."""
        owner = self._owners.get(session_id)
        check_owner(session_id if owner else None, owner, "team", user_id)
        runs = self._runs.get(session_id, [])[-reading.history_runs :] if reading.history_runs else []
        again: list[Any] = [heard(run) for run in runs]
        session = TeamSession(session_id=session_id, user_id=user_id, runs=again, session_data={})
        return Turn(user_id, session_id, str(uuid4()), message, session=session if owner else None)

    async def write_ahead(self, turn: Turn, run: TeamRunOutput, *, pending: Pending | None, lease: float = 0) -> bool:
        """False: what this process alone keeps would not outlive it."""
        return False

    async def stay_alive(self, run_id: str, *, pending: Pending | None, lease: float) -> None:
        """Nothing."""

    async def store(self, turn: Turn, *, pending: Pending | None, lease: float = 0) -> None:
        """Keep the turn's run for the next turns of this process."""
        assert turn.run is not None
        self._owners[turn.session_id] = turn.user_id
        self._runs.setdefault(turn.session_id, []).append(turn.run.to_dict())

    async def is_stored(self, turn: Turn) -> bool:
        """Whether the turn's run is kept."""
        return any(run.get("run_id") == turn.run_id for runs in self._runs.values() for run in runs)

    async def exchanges(
        self, user_id: str, *, session_id: str | None = None, text: str | None = None, limit: int = 200
    ) -> list[Exchange]:
        """This user's exchanges in this process, oldest first: of one session or of all."""
        found = [
            exchange(run)
            for key, runs in self._runs.items()
            if self._owners[key] == user_id and session_id in (None, key)
            for run in runs
        ]
        wanted = (text or "").lower()
        return [entry for entry in found if wanted in f"{entry.message} {entry.answer}".lower()][-limit:]

    async def sessions(self, user_id: str, *, limit: int) -> list[SessionEntry]:
        """The user's sessions in this process, newest first."""
        mine = [key for key, owner in self._owners.items() if owner == user_id]
        found = [(key, [exchange(run) for run in self._runs[key]]) for key in reversed(mine)]
        return [SessionEntry(key, "", said[0].message, len(said), said[-1].at) for key, said in found][:limit]

    async def session_ids(self, user_id: str, prefix: str) -> list[str]:
        """Ids of this user's sessions that begin with `prefix`."""
        return [key for key, owner in self._owners.items() if owner == user_id and key.startswith(prefix)]

    async def memories(self, user_id: str, text: str | None = None, *, limit: int = 1000) -> list[MemoryEntry]:
        """None: nothing is kept."""
        return []

    async def memories_in_context(self, user_id: str) -> int:
        """None."""
        return 0

    async def counts(self, user_id: str) -> Counts:
        """How much this process keeps of the user until it ends."""
        return Counts(0, sum(owner == user_id for owner in self._owners.values()), 0, None)
