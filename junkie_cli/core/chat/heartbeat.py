"""Stores a turn before its answer exists, and renews its lease until the turn ends.

Nobody waits for it: neither the first token nor, when the database is slow, the prompt for longer than a moment.
"""

import asyncio
from contextlib import suppress
from dataclasses import replace

from junkie_cli.core.errors import DatabaseError, JunkieError
from junkie_cli.core.schema.runs import LEASE
from junkie_cli.core.turns.store import TurnStore
from junkie_cli.core.turns.types import RunRow, TurnRecord

SIGNS = 3
"""Renewals within a lease: two may be lost before others take the turn for dead."""

PATIENCE = 2.0
"""Seconds for which the end of an answer waits until its beginning is stored; then the end is tried itself."""


class Heartbeat:
    """Opens the turn of `record`, which has no answer yet, and renews it and its extraction until `over`.

    A turn that must not be stored is left to its end, which reports why.
    """

    def __init__(self, turns: TurnStore, record: TurnRecord) -> None:
        self._turns = turns
        self._record = record
        self._over = asyncio.Event()
        self._task = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        try:
            if await self._turns.open(self._record, lease=LEASE):
                self._record = replace(self._record, session_exists=True)
        except DatabaseError:
            pass  # renewed all the same: it may come there later
        except JunkieError:
            return
        while not await self._is_over(LEASE / SIGNS):
            with suppress(DatabaseError):
                await self._turns.renew(self._record, lease=LEASE)

    async def _is_over(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self._over.wait()
        return False

    async def over(self) -> None:
        """The turn has ended: return once nothing more is written for it here."""
        self._over.set()
        try:
            await asyncio.wait({self._task}, timeout=PATIENCE)
        finally:
            self._task.cancel()
        await asyncio.wait({self._task})

    def ended(self, runs: tuple[RunRow, ...]) -> TurnRecord:
        """What is stored of the turn when it has ended with these `runs`."""
        return replace(self._record, runs=runs)
