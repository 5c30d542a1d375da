"""Reads messages and answers from stored runs: pure functions, no database."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from junkie_cli.core.foreign_values import as_text, as_time
from junkie_cli.core.schema.runs import RUNNING
from junkie_cli.core.schema.stored_text import storable
from junkie_cli.core.turns.types import Exchange

CONTEXT_STATUSES = ("COMPLETED", "CANCELLED", "ERROR", RUNNING)
"""Statuses of the runs that go into the context.

Includes runs without an end: the process was killed after the message was sent, or the turn runs in another window.
"""

TEAM_ID = "hero-team"
TEAM_NAME = "Hero Team"


def said(run: Mapping[str, Any]) -> str:
    """The user's message in a stored run."""
    given = run.get("input")
    return as_text(given.get("input_content") or "") if isinstance(given, dict) else ""


def answered(run: Mapping[str, Any]) -> str:
    """The answer in a stored run, possibly incomplete."""
    return as_text(run.get("content") or "")


def last_answer(runs: Sequence[Mapping[str, Any]]) -> str:
    """The last answer in stored runs, which are in order of time; runs without an answer are skipped."""
    return next((answer for run in reversed(runs) if (answer := answered(run))), "")


def exchange(run: Mapping[str, Any]) -> Exchange:
    """A stored run as an exchange."""
    return Exchange(
        as_text(run.get("run_id")), as_time(run.get("created_at")), as_text(run.get("status")), said(run), answered(run)
    )


def to_json(value: Any) -> str | None:
    """`value` as JSON that PostgreSQL takes: no NUL, no lone surrogates; None stays NULL."""
    if value is None:
        return None
    return storable(json.dumps(_without_nul(value), ensure_ascii=False))


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "")
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(inner) for key, inner in value.items()}
    return [_without_nul(inner) for inner in value] if isinstance(value, list) else value
