"""agno's objects and our rows, turned into each other: the only place that knows both. Pure functions, no database.

Agno leaves runs that failed or were stopped out of every later prompt, so that the model has not "heard" what the user
said in them. Here they are heard: the user's words, what was answered until then, and a note that it broke off or did
not come.
"""

import json
import time
from collections.abc import Mapping
from typing import Any

from agno.db.utils import CustomJSONEncoder, get_run_type
from agno.metrics import RunMetrics
from agno.models.message import Message
from agno.run.agent import RunOutput
from agno.run.base import RunStatus
from agno.run.team import TeamRunInput, TeamRunOutput
from agno.session import TeamSession
from agno.team._session import update_session_metrics
from agno.utils.string import sanitize_postgres_strings

from junkie_cli.core.schema.runs import AHEAD, RUNNING
from junkie_cli.core.schema.stored_text import storable
from junkie_cli.core.turns.history import TEAM_ID, TEAM_NAME, answered, said
from junkie_cli.core.turns.types import Pending, RunRow, Turn, TurnRecord

BROKE_OFF = "(this answer broke off here)"
NOT_YET = "(there is no answer to this yet)"

_HISTORY = ("run_id", "team_id", "session_id", "user_id")
"""What agno may ask of an earlier run beside its messages: making objects of all the rest takes as long again."""

_PARTS = {"role": str, "content": str, "name": str, "tool_call_id": str, "tool_name": str, "from_history": bool}
"""What a message of an earlier run gives to the next prompt, and of which type it is.

Not its images, sound and files: what a foreign row names there (a path on this machine, an address) is not opened.
"""

_ROLES = frozenset({"system", "user", "assistant", "tool"})


# --- rows to objects --------------------------------------------------------------------------------------------------


def session_of(turn: Turn) -> TeamSession | None:
    """The turn's session with its last runs, as agno takes it; None lets agno begin one."""
    row = turn.session
    if row is None:
        return None
    return TeamSession(
        session_id=row.session_id,
        team_id=row.team_id,
        user_id=row.user_id,
        session_data=dict(row.data or {}),
        metadata=dict(row.metadata) if row.metadata else None,
        created_at=row.created_at,
        runs=[run for run in map(heard, turn.runs) if run is not None],
    )


def heard(run: Mapping[str, Any]) -> TeamRunOutput | None:
    """A stored run as agno takes it for history; None when nothing is said in it.

    One whose messages another program wrote in a shape of its own is heard as its words and its answer.
    """
    status = run.get("status")
    messages = _messages(run.get("messages")) if status in (None, RunStatus.completed.value) else None
    if messages is None:
        note = {None: "", RunStatus.completed.value: "", RUNNING: NOT_YET}.get(_text(status), BROKE_OFF)
        words, answer = said(run), f"{answered(run)} {note}".strip()
        messages = _exchange_messages(words, answer) if words or answer else []
    if not messages:
        return None
    known: dict[str, Any] = {key: _text(run[key]) for key in _HISTORY if key in run}
    return TeamRunOutput(**known, status=RunStatus.completed, messages=messages)


def _messages(stored: Any) -> list[Message] | None:
    """The messages of a run; None when one of them is not as agno writes them, for calls and results go together."""
    if not stored or not isinstance(stored, list) or not all(map(_is_message, stored)):
        return None
    return [
        Message(**{key: message[key] for key in (*_PARTS, "tool_calls") if message.get(key) is not None})
        for message in stored
    ]


def _is_message(stored: Any) -> bool:
    return (
        isinstance(stored, dict)
        and all(stored.get(key) is None or isinstance(stored[key], kind) for key, kind in _PARTS.items())
        and stored.get("role") in _ROLES
        and (stored.get("tool_calls") is None or _are_calls(stored["tool_calls"]))
    )


def _are_calls(stored: Any) -> bool:
    return isinstance(stored, list) and all(
        isinstance(call, dict)
        and isinstance(call.get("id"), str)
        and isinstance(call.get("function"), dict)
        and isinstance(call["function"].get("name"), str)
        and isinstance(call["function"].get("arguments"), str)
        for call in stored
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _exchange_messages(message: str, answer: str) -> list[Message]:
    """An exchange as two messages; without an answer only the first."""
    asked = [Message(role="user", content=message)]
    return [*asked, Message(role="assistant", content=answer)] if answer else asked


# --- objects to rows --------------------------------------------------------------------------------------------------


def unended_run(turn: Turn, answer: str, *, status: str, model: str) -> TeamRunOutput:
    """The run of a turn that agno did not bring to its end: CANCELLED, ERROR, or RUNNING, which it still is."""
    return TeamRunOutput(
        run_id=turn.run_id,
        session_id=turn.session_id,
        user_id=turn.user_id,
        team_id=TEAM_ID,
        team_name=TEAM_NAME,
        model=model,
        status=RunStatus(status),
        input=TeamRunInput(input_content=turn.message),
        content=answer,
        messages=_exchange_messages(turn.message, answer),
        metadata=dict(AHEAD) if status == RUNNING else None,
    )


def run_row(run: RunOutput | TeamRunOutput) -> RunRow:
    """The row of a run, without the system prompt, which holds memories: a forgotten one must not live on here."""
    document = run.to_dict()
    assert run.run_id is not None
    if document.get("messages"):
        document["messages"] = [message for message in document["messages"] if message.get("role") != "system"]
    return RunRow(
        run.run_id,
        get_run_type(run),
        document.get("agent_id"),
        document.get("team_id"),
        document.get("parent_run_id"),
        str(document.get("status") or ""),
        int(document.get("created_at") or time.time()),
        as_json(document) or "",
    )


def opening(turn: Turn, *, model: str, team_data: str | None, pending: Pending | None) -> TurnRecord:
    """What is stored of a turn before its answer exists."""
    return TurnRecord(
        user_id=turn.user_id,
        session_id=turn.session_id,
        run_id=turn.run_id,
        message=turn.message,
        began=turn.began,
        timeline=turn.timeline,
        session_exists=turn.session is not None,
        team_data=team_data,
        runs=(run_row(unended_run(turn, "", status=RUNNING, model=model)),),
        pending=pending,
    )


def as_json(value: Any) -> str | None:
    """`value`, which may hold objects of agno, as JSON that PostgreSQL takes; None stays NULL."""
    if value is None:
        return None
    return storable(json.dumps(sanitize_postgres_strings(value), cls=CustomJSONEncoder, ensure_ascii=False))


def add_tokens(session_data: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """A session's data with the tokens of a run added as agno counts them.

    Raises TypeError, ValueError, AttributeError or KeyError for data of another shape than agno's.
    """
    session = TeamSession(session_id="", session_data=dict(session_data))
    update_session_metrics(None, session=session, run_response=_counted(run))  # type: ignore[arg-type]  # the team is unused
    return session.session_data or {}


def _counted(run: Mapping[str, Any]) -> TeamRunOutput:
    """As much of a run as is counted."""
    metrics, members = run.get("metrics"), run.get("member_responses") or []
    return TeamRunOutput(
        metrics=RunMetrics.from_dict(dict(metrics)) if metrics else None,
        member_responses=[_counted(member) for member in members],
    )
