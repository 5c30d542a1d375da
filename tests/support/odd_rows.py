"""Rows as no agno writes them: every field of memories, sessions and runs replaced by every kind of value.

One table of values, one list of places to put them; `fill(...)` makes the statements for one generation.
"""

import json
from collections.abc import Iterator
from typing import Any

_NOW = 1_764_547_200  # 2025-12-01
HOW_DEEP = 500

JSON_VALUES: dict[str, str] = {
    "null": "null",
    "true": "true",
    "zero": "0",
    "negative": "-7",
    "real": "1.5",
    "seconds": str(_NOW),
    "milliseconds": str(_NOW * 1000),
    "microseconds": str(_NOW * 10**6),
    "nanoseconds": str(_NOW * 10**9),
    "huge": "9" * 30,
    "exponent": "1e400",
    "digits": "7" * 5000,
    "empty": '""',
    "text": '"a text"',
    "iso": '"2025-12-01T00:00:00Z"',
    "offset": '"2025-12-01 05:30:00.125+05:30"',
    "day": '"2025-12-01"',
    "no-day": '"2025-02-31T25:61:61Z"',
    "no-month": '"2025-13-01"',
    "year-0": '"0000-01-01"',
    "number-text": f'"{_NOW}"',
    "huge-text": '"1e99999"',
    "controls": '"a\\u0007\\u001b[31m\\u202eb\\tc\\nd\\u2028"',
    "empty-list": "[]",
    "list": '[1, [2], {"a": null}, "x", null]',
    "empty-object": "{}",
    "object": '{"a": {"b": [1, "c"]}, "role": {"d": 1}}',
    "deep": "[" * HOW_DEEP + "]" * HOW_DEEP,
    "deep-object": '{"a":' * HOW_DEEP + "1" + "}" * HOW_DEEP,
}
"""JSON documents by name; jsonb takes all of them."""

JSON_ONLY = {
    "nul": '"a\\u0000b"',
    "half": '"a\\ud83d"',
    "nul-in-key": '{"a\\u0000": 1}',
    "endless": "1e999999",
    "spaced": '{ "a" :\n 1 }',
}
"""Documents that columns of type json (agno 2.2) can hold besides."""

NUMBERS: dict[str, str] = {
    "none": "NULL",
    "zero": "0",
    "negative": "-7",
    "milliseconds": str(_NOW * 1000),
    "microseconds": str(_NOW * 10**6),
    "nanoseconds": str(_NOW * 10**9),
    "smallest": "-9223372036854775808",
    "largest": "9223372036854775807",
}
"""What a bigint column can hold, as SQL."""

TEXTS: dict[str, str] = {
    "none": "NULL",
    "empty": "''",
    "spaces": "'  '",
    "controls": "E'a\\x07\\x1b[31m\\nb\\tc'",
    "bidi": "U&'a\\202eb\\2028'",
    "composed": "U&'ren\\00e9'",
    "decomposed": "U&'rene\\0301'",
    "long": "repeat('x', 3000)",
    "shell": "'$(id) `id` %s {} \"'' \\'",
}
"""What a text column can hold, as SQL."""

_RUN = {
    "run_id": "r",
    "user_id": "ada",
    "parent_run_id": None,
    "status": "COMPLETED",
    "created_at": _NOW,
    "messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}],
    "input": {"input_content": "hello"},
    "content": "hi",
    "metadata": None,
}
_RUN_PLACES = (
    (),
    *((name,) for name in _RUN),
    ("input", "input_content"),
    ("messages", 0),
    ("messages", 0, "role"),
    ("messages", 0, "content"),
    ("messages", 0, "from_history"),
    ("messages", 0, "tool_calls"),
    ("messages", 0, "metrics"),
    ("metadata", "junkie"),
)
_HOLE = "@hole@"


def json_values(kind: str) -> dict[str, str]:
    """Documents that a column of this type can hold, by name."""
    return JSON_VALUES | (JSON_ONLY if kind == "json" else {})


def odd_runs(kind: str) -> Iterator[tuple[str, str]]:
    """Runs, by name, as JSON text: one field of each replaced by one value."""
    for place in _RUN_PLACES:
        for name, value in json_values(kind).items():
            yield f"{'.'.join(map(str, place)) or 'run'}={name}", _with(place, value)


def _with(place: tuple[Any, ...], value: str) -> str:
    run: Any = json.loads(json.dumps(_RUN))
    if not place:
        return value
    *outer, last = place
    inside = run
    for name in outer:
        if inside[name] is None:
            inside[name] = {}
        inside = inside[name]
    inside[last] = _HOLE
    return json.dumps(run).replace(f'"{_HOLE}"', value)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def memories(kind: str, *, dated: bool = True) -> Iterator[str]:
    """Statements that add one memory of ada for each odd value of each field; `kind` is the JSON columns' type."""
    columns = {"memory": "'\"fine\"'", "topics": "'[]'", "input": "'said'", "user_id": "'ada'", "agent_id": "NULL"}
    columns |= {"updated_at": str(_NOW), **({"created_at": str(_NOW)} if dated else {})}
    odd = [(name, key, _literal(value)) for name in ("memory", "topics") for key, value in json_values(kind).items()]
    odd += [(name, key, value) for name in ("input", "user_id", "agent_id") for key, value in TEXTS.items()]
    odd += [("updated_at", key, value) for key, value in NUMBERS.items()]
    odd += [("created_at", key, value) for key, value in NUMBERS.items() if dated and value != "NULL"]
    for name, key, value in odd:
        row = columns | {name: value}
        yield (
            f"INSERT INTO ai.user_memories (memory_id, {', '.join(row)})"
            f" VALUES ('odd-{name}-{key}', {', '.join(row.values())})"
        )


def sessions(kind: str, runs_kind: str | None) -> Iterator[str]:
    """Statements that add one session of ada for each odd value of each field, and of each inside session_data."""
    columns = {"session_type": "'team'", "user_id": "'ada'", "created_at": str(_NOW), "updated_at": str(_NOW)}
    whole = ("session_data", "team_data", "metadata", "summary", *(("runs",) if runs_kind else ()))
    odd = [
        (name, key, _literal(value))
        for name in whole
        for key, value in json_values(runs_kind or kind if name == "runs" else kind).items()
    ]
    odd += [
        (f"session_data.{name}", key, _literal(f'{{"{name}": {value}}}'))
        for name in ("session_name", "session_metrics", "session_state")
        for key, value in json_values(kind).items()
    ]
    odd += [("updated_at", key, value) for key, value in NUMBERS.items()]
    odd += [("created_at", key, value) for key, value in NUMBERS.items() if value != "NULL"]
    odd += [("user_id", key, value) for key, value in TEXTS.items()]
    for name, key, value in odd:
        row = columns | {name.partition(".")[0]: value}
        yield (
            f"INSERT INTO ai.agent_sessions (session_id, {', '.join(row)})"
            f" VALUES ('odd-{name}-{key}', {', '.join(row.values())})"
        )


def sessions_of_odd_runs(kind: str) -> Iterator[str]:
    """Statements that add a session for each odd run, which lies in its `runs` column between two that are fine."""
    fine = json.dumps(_RUN)
    for name, run in odd_runs(kind):
        yield (
            "INSERT INTO ai.agent_sessions (session_id, session_type, user_id, runs, created_at, updated_at)"
            f" VALUES ('old-{name}', 'team', 'ada', {_literal(f'[{fine}, {run}, {fine}]')}, {_NOW}, {_NOW})"
        )


def runs(session_id: str | None = None) -> Iterator[str]:
    """Statements that add a row of the runs table for each odd run, each in its own session or all in one."""
    for name, run in odd_runs("jsonb"):
        if session_id is None:
            yield (
                "INSERT INTO ai.agent_sessions (session_id, session_type, user_id, created_at, updated_at)"
                f" VALUES ('new-{name}', 'team', 'ada', {_NOW}, {_NOW})"
            )
        yield (
            "INSERT INTO ai.agent_sessions_runs (run_id, session_id, run_type, user_id, status, run_index, run_data,"
            f" created_at, updated_at) VALUES ('new-{name}', '{session_id or f'new-{name}'}', 'team', 'ada',"
            f" 'COMPLETED', 1, {_literal(run)}, {_NOW}, {_NOW})"
        )
    for key, value in NUMBERS.items():
        at = "0" if value == "NULL" else value
        yield (
            "INSERT INTO ai.agent_sessions_runs (run_id, session_id, run_type, user_id, run_data, created_at)"
            f" VALUES ('at-{key}', '{session_id or 'new-run=null'}', 'team', 'ada', '{{}}', {at})"
        )
