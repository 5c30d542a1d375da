"""A turn in the books while its answer is still coming: written down at once, shown to be alive, let go at the end.

Nobody waits for it: neither the first token nor, when the database is slow, the prompt for longer than a moment.
"""

import asyncio
from contextlib import suppress
from pathlib import Path

from junkie_cli.core.agent.agno_adapter import Turn
from junkie_cli.core.agent.engine import TeamEngine
from junkie_cli.core.errors import DatabaseError, JunkieError
from junkie_cli.core.files import FileError
from junkie_cli.core.schema.runs import RUNNING
from junkie_cli.core.schema.stored_text import LEASE
from junkie_cli.core.turns.history import unended_run
from junkie_cli.core.turns.pending_rows import Pending
from junkie_cli.core.turns.spool_codec import freeze

SIGNS = 3
"""Signs of life within a lease: two may be lost before others take the turn for dead."""

PATIENCE = 2.0
"""Seconds for which the end of an answer waits until its beginning is written down; then the end is tried itself."""


class Ahead:
    """Writes `turn` down without its answer, and what is owed for it, and keeps both alive until `over`.

    What the database does not take goes into the spool. A turn that must not be stored is left to its end, which tells
    why.
    """

    def __init__(self, engine: TeamEngine, turn: Turn, pending: Pending | None) -> None:
        self._engine = engine
        self._turn = turn
        self._pending = pending
        self._run = unended_run(
            turn.run_id, turn.session_id, turn.user_id, turn.message, "", status=RUNNING, model=engine.models.main.id
        )
        self._spooled: Path | None = None
        self._over = asyncio.Event()
        self._task = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        records, turn = self._engine.records, self._turn
        try:
            turn.written_ahead = await records.write_ahead(turn, self._run, pending=self._pending, lease=LEASE)
        except DatabaseError:
            self._spool()
        except JunkieError:
            return
        while not await self._is_over(LEASE / SIGNS):  # by way of the spool it may come there later
            with suppress(DatabaseError):
                await records.stay_alive(turn.run_id, pending=self._pending, lease=LEASE)

    async def _is_over(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self._over.wait()
        return False

    def _spool(self) -> None:
        if self._engine.spool is not None:
            with suppress(FileError):
                self._spooled = self._engine.spool.put(
                    self._turn.run_id, freeze(self._turn, self._pending, run=self._run)
                )

    async def over(self) -> None:
        """The turn has ended: return once nothing more is written for it here."""
        self._over.set()
        try:
            await asyncio.wait({self._task}, timeout=PATIENCE)
        finally:
            self._task.cancel()
        await asyncio.wait({self._task})

    def forget(self) -> None:
        """The turn's end is kept, or must not be: what the spool has of its beginning is not needed any more."""
        if self._spooled is not None and self._engine.spool is not None:
            self._engine.spool.drop(self._spooled)
