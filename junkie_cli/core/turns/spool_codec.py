"""Turns as the spool keeps them, and their way into the database once it is back."""

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from agno.run.agent import RunOutput
from agno.run.base import RunStatus
from agno.run.team import TeamRunOutput
from agno.session import TeamSession

from junkie_cli.core.agent.agno_adapter import Turn
from junkie_cli.core.errors import DatabaseError, JunkieError
from junkie_cli.core.turns.history import to_json, without_prompt
from junkie_cli.core.turns.pending_rows import Pending
from junkie_cli.core.turns.spool import Spool

if TYPE_CHECKING:
    from junkie_cli.core.turns.postgres_store import Records

_PENDING = ("pending_id", "user_id", "session_id", "run_id", "message", "context", "team_id")
# Whatever is wrong here is wrong with this exchange alone; every other failure is the database's.
_ABOUT_THIS_ONE = frozenset({"database_error"})


def freeze(turn: Turn, pending: Pending | None, run: TeamRunOutput | None = None) -> str:
    """A turn, and what is owed for it, as a JSON object: as it ended, or with `run` as it stands without an answer."""
    run = run or turn.run
    assert run is not None
    document = {
        "user_id": turn.user_id,
        "session_id": turn.session_id,
        "run_id": turn.run_id,
        "message": turn.message,
        "began": turn.began.isoformat() if turn.began else None,
        "timeline": turn.timeline,
        "session_begun": turn.session_begun,
        "session_row": turn.session_row,
        "run": without_prompt(run.to_dict()),
        "member_runs": [
            {"team": isinstance(run, TeamRunOutput), "run": without_prompt(run.to_dict())} for run in turn.member_runs
        ],
        "pending": {name: asdict(pending)[name] for name in _PENDING} if pending else None,
    }
    return to_json(document) or ""


def thaw(document: Any) -> Turn:
    """The turn of a document that `freeze` made. Others raise ValueError, KeyError, TypeError or AttributeError."""
    session_id, user_id = document["session_id"], document["user_id"]
    return Turn(
        user_id=user_id,
        session_id=session_id,
        run_id=document["run_id"],
        message=document["message"],
        began=datetime.fromisoformat(document["began"]) if document["began"] else None,
        timeline=document.get("timeline", ""),
        session=TeamSession(session_id=session_id, user_id=user_id) if document["session_begun"] else None,
        session_row=document["session_row"],
        run=_run(TeamRunOutput, document["run"]),
        member_runs=[
            _run(TeamRunOutput if member["team"] else RunOutput, member["run"]) for member in document["member_runs"]
        ],
    )


def _run(kind: Any, document: Any) -> Any:
    """A run that becomes the same row as the one it was frozen from: agno reads events that were not there as none."""
    run = kind.from_dict(document)
    run.events = run.events or None
    return run


async def _move(records: "Records", turn: Turn, pending: Pending | None) -> None:
    """Store a turn. One that has no answer yet, because its process was killed, must not undo an end that it had."""
    assert turn.run is not None
    if turn.run.status == RunStatus.running:
        await records.write_ahead(turn, turn.run, pending=pending)
    else:
        await records.store(turn, pending=pending)


async def move_over(spool: Spool, records: "Records") -> int:
    """Store what the spool holds, oldest first, and say how much it was; what must not be stored is dropped.

    Never raises: a database that is away takes it another time. One process at a time does it.
    """
    if not len(spool):
        return 0
    count = 0
    with spool.locked() as mine:
        for entry in spool.entries() if mine else ():
            try:
                turn = thaw(entry.document)
            except (ValueError, KeyError, TypeError, AttributeError):
                spool.put_aside(entry.path)
                continue
            try:
                await _move(records, turn, entry.pending)
                count += 1
            except DatabaseError as error:
                if error.code in _ABOUT_THIS_ONE:
                    continue
                break
            except JunkieError:
                pass  # the person was erased, or the session deleted, since
            spool.drop(entry.path)
    return count
