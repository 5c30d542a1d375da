"""Runs as rows hold them, turned into what a model hears again, and back: pure functions, no database.

Agno leaves runs that failed or were stopped out of every later prompt, so that the model has not "heard" what the user
said in them. Here they are heard: the user's words, what was answered until then, and a note that it broke off or did
not come.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from agno.db.utils import CustomJSONEncoder
from agno.models.message import Message
from agno.run.base import RunStatus
from agno.run.team import TeamRunInput, TeamRunOutput
from agno.utils.string import sanitize_postgres_strings

from junkie_cli.core.journal import storable
from junkie_cli.core.runs import AHEAD, RUNNING
from junkie_cli.core.team.values import Exchange

HEARD = ("COMPLETED", "CANCELLED", "ERROR", RUNNING)
"""Statuses of the runs that go into the context.

One that has not ended too: its process was killed and the person did say this, or they are saying it in another window.
"""

BROKE_OFF = "(this answer broke off here)"
NOT_YET = "(there is no answer to this yet)"

TEAM_ID = "hero-team"
TEAM_NAME = "Hero Team"


_HISTORY = ("run_id", "team_id", "parent_run_id", "session_id", "user_id", "created_at")
"""What agno may ask of an earlier run beside its messages: making objects of all the rest takes as long again."""


def heard(run: Mapping[str, Any]) -> TeamRunOutput:
    """A stored run as agno takes it for history. Raises ValueError, TypeError or KeyError when it is not one."""
    if run.get("status") in (None, RunStatus.completed.value):
        known = {key: run[key] for key in _HISTORY if key in run}
        messages = [_message(message) for message in run.get("messages") or ()]
        return TeamRunOutput(**known, status=RunStatus.completed, messages=messages)
    note = NOT_YET if run["status"] == RUNNING else BROKE_OFF
    return TeamRunOutput(
        run_id=run["run_id"],
        team_id=run.get("team_id"),
        status=RunStatus.completed,
        messages=exchange_messages(said(run), f"{answered(run)} {note}".strip()),
    )


def _message(stored: Mapping[str, Any]) -> Message:
    return Message.from_dict({key: value for key, value in stored.items() if key != "metrics"})


def exchange_messages(message: str, answer: str) -> list[Message]:
    """An exchange as two messages; without an answer only the first."""
    asked = [Message(role="user", content=message)]
    return [*asked, Message(role="assistant", content=answer)] if answer else asked


def said(run: Mapping[str, Any]) -> str:
    """The user's words in a stored run."""
    content = (run.get("input") or {}).get("input_content")
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False) if content else ""


def answered(run: Mapping[str, Any]) -> str:
    """The answer in a stored run, as far as it came."""
    content = run.get("content")
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False) if content else ""


def last_answer(runs: Sequence[Mapping[str, Any]]) -> str:
    """What was answered last in stored runs, oldest first; those without an answer are passed over."""
    return next((answer for run in reversed(runs) if (answer := answered(run))), "")


def unended_run(
    run_id: str, session_id: str, user_id: str, message: str, answer: str, *, status: str, model: str
) -> TeamRunOutput:
    """The run of a turn that agno did not bring to its end: CANCELLED, ERROR, or RUNNING, which it still is."""
    return TeamRunOutput(
        run_id=run_id,
        session_id=session_id,
        user_id=user_id,
        team_id=TEAM_ID,
        team_name=TEAM_NAME,
        model=model,
        status=RunStatus(status),
        input=TeamRunInput(input_content=message),
        content=answer,
        messages=exchange_messages(message, answer),
        metadata=dict(AHEAD) if status == RUNNING else None,
    )


def without_prompt(run: Mapping[str, Any]) -> dict[str, Any]:
    """A run's row without the system prompt, which holds memories: one that is forgotten must not live on here."""
    messages = run.get("messages")
    if not messages:
        return dict(run)
    return dict(run) | {"messages": [message for message in messages if message.get("role") != "system"]}


def to_json(value: Any) -> str | None:
    """`value` as JSON that PostgreSQL takes: no NUL, no lone surrogates; None stays NULL."""
    if value is None:
        return None
    return storable(json.dumps(sanitize_postgres_strings(value), cls=CustomJSONEncoder, ensure_ascii=False))


def exchange(run: Mapping[str, Any]) -> Exchange:
    """A run that agno 2 kept inside its session, as an exchange."""
    return Exchange(
        str(run.get("run_id") or ""), utc(run.get("created_at")), run.get("status") or "", said(run), answered(run)
    )


def utc(epoch: int | None) -> datetime | None:
    """Seconds since 1970 as a time in UTC."""
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC)
