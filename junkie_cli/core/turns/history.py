"""Runs as rows hold them, turned into what a model hears again, and back: pure functions, no database.

Agno leaves runs that failed or were stopped out of every later prompt, so that the model has not "heard" what the user
said in them. Here they are heard: the user's words, what was answered until then, and a note that it broke off or did
not come.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agno.db.utils import CustomJSONEncoder
from agno.models.message import Message
from agno.run.base import RunStatus
from agno.run.team import TeamRunInput, TeamRunOutput
from agno.utils.string import sanitize_postgres_strings

from junkie_cli.core.foreign_values import as_text, moment
from junkie_cli.core.schema.runs import AHEAD, RUNNING
from junkie_cli.core.schema.stored_text import storable
from junkie_cli.core.turns.types import Exchange

HEARD = ("COMPLETED", "CANCELLED", "ERROR", RUNNING)
"""Statuses of the runs that go into the context.

One that has not ended too: its process was killed and the person did say this, or they are saying it in another window.
"""

BROKE_OFF = "(this answer broke off here)"
NOT_YET = "(there is no answer to this yet)"

TEAM_ID = "hero-team"
TEAM_NAME = "Hero Team"


_HISTORY = ("run_id", "team_id", "session_id", "user_id")
"""What agno may ask of an earlier run beside its messages: making objects of all the rest takes as long again."""

_PARTS = {"role": str, "content": str, "name": str, "tool_call_id": str, "tool_name": str, "from_history": bool}
"""What a message of an earlier run gives to the next prompt, and of which type it is.

Not its images, sound and files: what a foreign row names there (a path on this machine, an address) is not opened.
"""

_ROLES = frozenset({"system", "user", "assistant", "tool"})


def heard(run: Mapping[str, Any]) -> TeamRunOutput | None:
    """A stored run as agno takes it for history; None when nothing is said in it.

    One whose messages another program wrote in a shape of its own is heard as its words and its answer.
    """
    status = run.get("status")
    messages = _messages(run.get("messages")) if status in (None, RunStatus.completed.value) else None
    if messages is None:
        note = {None: "", RunStatus.completed.value: "", RUNNING: NOT_YET}.get(_text(status), BROKE_OFF)
        words, answer = said(run), f"{answered(run)} {note}".strip()
        messages = exchange_messages(words, answer) if words or answer else []
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


def exchange_messages(message: str, answer: str) -> list[Message]:
    """An exchange as two messages; without an answer only the first."""
    asked = [Message(role="user", content=message)]
    return [*asked, Message(role="assistant", content=answer)] if answer else asked


def said(run: Mapping[str, Any]) -> str:
    """The user's words in a stored run."""
    given = run.get("input")
    return as_text(given.get("input_content") or "") if isinstance(given, dict) else ""


def answered(run: Mapping[str, Any]) -> str:
    """The answer in a stored run, as far as it came."""
    return as_text(run.get("content") or "")


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
        as_text(run.get("run_id")), moment(run.get("created_at")), as_text(run.get("status")), said(run), answered(run)
    )
