"""A turn store that loses no turn: a turn that the database cannot store is kept on this machine until it can.

It decorates another store with files, waits and retries. Files go into the spool of the database; if none can be
written, turns stay in this process until `flush`.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from junkie_cli.core.errors import DatabaseError, JunkieError
from junkie_cli.core.files import FileError
from junkie_cli.core.turns.history import to_json
from junkie_cli.core.turns.spool import Spool
from junkie_cli.core.turns.store import TurnStore
from junkie_cli.core.turns.types import Counts, Flushed, Pending, RunRow, TurnRecord

STORE_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds between attempts to store a turn while the server is unreachable: a restart takes less than their sum."""

STORE_SECONDS = 15.0
"""No attempt to store a turn starts later than this after the first: the user waits for the prompt."""

# The server may have just become a standby; the next connection finds the new primary.
_RETRIED_ONCE = "database_readonly"
# Errors that concern this turn alone; every other failure is the database's.
_ABOUT_THIS_TURN = frozenset({"database_error", "database_constraint", "database_text", "database_trigger"})


class SpoolingTurnStore:
    """Decorates `inner`: keeps the turns that it cannot store. `spool` is None if the database has no identity."""

    def __init__(self, inner: TurnStore, spool: Spool | None) -> None:
        self._inner = inner
        self._spool = spool
        self._opened: dict[str, Path] = {}  # files by run id
        self._ended: dict[str, Path] = {}
        self._in_memory: dict[str, TurnRecord] = {}
        # Everything else is delegated to the inner store.
        self.begin, self.renew, self.discard, self.settle = inner.begin, inner.renew, inner.discard, inner.settle
        self.commit_memories, self.candidates = inner.commit_memories, inner.candidates
        self.claim_pending, self.renew_pending = inner.claim_pending, inner.renew_pending
        self.release_pending, self.drop_pending = inner.release_pending, inner.drop_pending
        self.record_failure, self.make_due, self.count_pending = (
            inner.record_failure,
            inner.make_due,
            inner.count_pending,
        )
        self.memories, self.memory, self.memory_ids = inner.memories, inner.memory, inner.memory_ids
        self.memories_in_context = inner.memories_in_context
        self.refresh_search = inner.refresh_search
        self.search_memories, self.search_exchanges = inner.search_memories, inner.search_exchanges
        self.sessions, self.session_ids, self.exchanges = inner.sessions, inner.session_ids, inner.exchanges

    @property
    def keeps_pending(self) -> bool:
        """Whether extractions can be recorded before they are tried."""
        return self._inner.keeps_pending

    async def open(self, record: TurnRecord, *, lease: float = 0) -> bool:
        """Store a turn without an answer; if the database cannot store it, it goes into the spool."""
        try:
            return await self._inner.open(record, lease=lease)
        except DatabaseError:
            self._write(self._opened, record)
            return False

    async def complete(self, record: TurnRecord, *, lease: float = 0) -> None:
        """Store a turn that has ended; wait a few seconds if the server is unreachable.

        The turn is in the spool before the wait, so a failure, a cancellation or a kill does not lose it.
        """
        try:
            await self._persist(record, lease)
        except (DatabaseError, asyncio.CancelledError):
            self.keep(record)
            raise
        except JunkieError:  # it must not be stored
            self._forget(record.run_id)
            raise
        self._forget(record.run_id)

    async def _persist(self, record: TurnRecord, lease: float) -> None:
        """Store the turn, with retries. Storing twice changes nothing, so a commit of unknown outcome is retried."""
        last_start = asyncio.get_running_loop().time() + STORE_SECONDS
        for pause in (*STORE_PAUSES, None):
            try:
                return await self._inner.complete(record, lease=lease)
            except DatabaseError as error:
                late = asyncio.get_running_loop().time() > last_start
                again = error.transient or (error.code == _RETRIED_ONCE and pause == STORE_PAUSES[0])
                if pause is None or late or not again:
                    raise
            self._spooled(record)
            await asyncio.sleep(pause)
        return None

    def keep(self, record: TurnRecord) -> str:
        """Keep a turn that has ended in the spool, or else in this process; where, as the end of a sentence."""
        if self._spooled(record):
            return f": it is kept in {self._ended[record.run_id].parent} until the database is available"
        self._in_memory[record.run_id] = record
        return "; storing it is retried with your next message and when the chat ends"

    async def counts(self, user_id: str) -> Counts:
        """How much is kept of this user, with the extractions that are pending in the spool."""
        counts = await self._inner.counts(user_id)
        spooled = len(self._spool.pending(user_id)) if self._spool is not None else 0
        return replace(counts, pending=counts.pending + spooled)

    # -- what is kept --------------------------------------------------------------------------------------------------

    def _spooled(self, record: TurnRecord) -> bool:
        """Write a turn that has ended into the spool; whether it is there now."""
        if record.run_id not in self._ended:
            self._write(self._ended, record)
            if record.run_id in self._ended:
                self._drop(self._opened, record.run_id)
        return record.run_id in self._ended

    def _write(self, files: dict[str, Path], record: TurnRecord) -> None:
        if self._spool is None:
            return
        try:
            files[record.run_id] = self._spool.put(record.run_id, to_document(record))
        except FileError:
            return

    def _forget(self, run_id: str) -> None:
        """Delete the files of a turn that was stored, or must not be."""
        self._drop(self._opened, run_id)
        self._drop(self._ended, run_id)

    def _drop(self, files: dict[str, Path], run_id: str) -> None:
        path = files.pop(run_id, None)
        if path is not None and self._spool is not None:
            self._spool.drop(path)

    async def flush(self) -> Flushed:
        """Store the kept turns, oldest first, and drop those that must not be stored. Never raises DatabaseError."""
        count = await self._flush_spool()
        for run_id, record in list(self._in_memory.items()):
            try:
                await self._inner.complete(record)
                count += 1
            except DatabaseError:
                break
            except JunkieError:
                pass
            self._in_memory.pop(run_id, None)
        return Flushed(count, len(self._in_memory))

    async def _flush_spool(self) -> int:
        """Store the entries of the spool; one process at a time."""
        if self._spool is None or not len(self._spool):
            return 0
        count = 0
        with self._spool.locked() as mine:
            for entry in self._spool.entries() if mine else ():
                try:
                    record = from_document(entry.document)
                except (ValueError, KeyError, TypeError, RecursionError):
                    self._spool.put_aside(entry.path)
                    continue
                try:
                    await self._move(record)
                    count += 1
                except DatabaseError as error:
                    if error.code in _ABOUT_THIS_TURN:
                        continue
                    break
                except JunkieError:
                    pass  # the person was erased, or the session deleted, in the meantime
                self._spool.drop(entry.path)
        return count

    async def _move(self, record: TurnRecord) -> None:
        """Store a turn. A turn without an answer (its process was killed) must not overwrite a stored end."""
        if record.is_running:
            await self._inner.open(record)
        else:
            await self._inner.complete(record)


# --- the spool's documents --------------------------------------------------------------------------------------------

_PENDING = ("pending_id", "user_id", "session_id", "run_id", "message", "context", "team_id")


def to_document(record: TurnRecord) -> str:
    """A turn as a JSON object for the spool."""
    document = {
        "user_id": record.user_id,
        "session_id": record.session_id,
        "run_id": record.run_id,
        "message": record.message,
        "began": record.began.isoformat() if record.began else None,
        "timeline": record.timeline,
        "session_begun": record.session_exists,
        "session_row": {"team_data": json.loads(record.team_data) if record.team_data else None},
        "run": json.loads(record.run.data),
        "member_runs": [{"team": run.run_type == "team", "run": json.loads(run.data)} for run in record.runs[1:]],
        "pending": {name: asdict(record.pending)[name] for name in _PENDING} if record.pending else None,
    }
    return to_json(document) or ""


def from_document(document: Mapping[str, Any]) -> TurnRecord:
    """The turn in a document that `to_document` made, of any version. Raises ValueError, KeyError or TypeError."""
    began = _moment(document["began"]) if document["began"] else None
    found = document["pending"]
    members = [_run(member["run"], "team" if member["team"] else "agent") for member in document["member_runs"]]
    return TurnRecord(
        user_id=_text(document["user_id"]),
        session_id=_text(document["session_id"]),
        run_id=str(UUID(_text(document["run_id"]))),
        message=_text(document["message"]),
        began=began,
        timeline=_text(document.get("timeline", "")),
        session_exists=bool(document["session_begun"]),
        team_data=to_json(_object(document["session_row"]).get("team_data")),
        runs=(_run(document["run"], "team"), *members),
        pending=_pending(_object(found), began) if found else None,
    )


def _pending(document: Mapping[str, Any], said: datetime | None) -> Pending:
    """The pending extraction of a turn that was `said` then."""
    texts = {name: _text_or_none(value) for name, value in document.items()}
    pending_id = str(UUID(_text(texts.pop("pending_id"))))
    return Pending(pending_id, **texts, created_at=said)  # type: ignore[arg-type]  # the database checks what is missing


def _moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError("a time has an offset")
    return moment


def _run(document: Any, run_type: str) -> RunRow:
    """The row of a run."""
    status = _text(_object(document)["status"])
    if not status.isidentifier():
        raise ValueError("the status of a run is a word")
    created_at = document["created_at"]
    if not isinstance(created_at, int) or not 0 <= created_at < 2**63:
        raise ValueError("a run has a time in seconds")
    return RunRow(
        _text(document["run_id"]),
        run_type,
        _text_or_none(document.get("agent_id")),
        _text_or_none(document.get("team_id")),
        _text_or_none(document.get("parent_run_id")),
        status,
        created_at,
        to_json(document) or "",
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is expected")
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("an object is expected")
    return value
