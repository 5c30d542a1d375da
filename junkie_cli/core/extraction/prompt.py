"""What the memory model is asked: the text, and the tools or the schema of its answer. Pure functions.

The text begins with what is the same for every message of a day, so that a server reads it once: rules, date, form of
the answer. Memories have short numbers: a UUID is 22 tokens that small models copy wrong. Updating and deleting are
offered only where there is a memory, since a model that is offered them uses them.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from junkie_cli.core.extraction.reply import ADD, DELETE, NOTHING, UPDATE
from junkie_cli.core.value_class import frozen

TOOLS, SCHEMA, JSON = "tools", "schema", "json"
METHODS = (TOOLS, SCHEMA, JSON)
"""Ways of asking, the most precise first: tool calls, `response_format` with a JSON schema, and JSON in plain words."""

_RULES = """\
You keep notes about one user, for later conversations. Note what the user's message states about the user.
- Only lasting facts: who the user is, their people, things, tastes, work, plans, and what they ask to be remembered.
- Only what the message itself states. Guess nothing.
- No general knowledge, questions, requests or small talk. "Hi!" and "What time is it?" give nothing to note.
- Never passwords, PINs, keys or other secrets.
- Each fact is one short sentence about "User", in the language of the message."""
_DATED = '- Write the date instead of a word like "tomorrow". Today is {today}.'
_UNDATED = (
    '- It is not known when the message was written: keep a word like "tomorrow", and write no date instead of it.'
)

_BY_TOOLS = f"Call {ADD} once for each new fact. Call {NOTHING} when there is nothing to note."
_BY_TOOLS_KNOWN = (
    f"{_BY_TOOLS}\nCall {UPDATE} when the message changes a known memory, and {DELETE} when the user asks to forget "
    "one."
)
_BY_JSON = 'Answer with JSON alone: {"facts": ["..."]}, or {"facts": []} when there is nothing to note.'
_BY_JSON_KNOWN = (
    'Answer with JSON alone: {"facts": [], "updates": [], "deletes": []}, with new facts in "facts", '
    '{"number": N, "memory": "..."} in "updates" for a known memory that the message changes, and in "deletes" the '
    "numbers of those that the user asks to forget. Each list may be empty."
)


@frozen
class Request:
    """One way of asking: the system text, and the tools or the response format that go with it."""

    system: str
    tools: tuple[Mapping[str, Any], ...] = ()
    response_format: Mapping[str, Any] | None = None


def build_request(method: str, today: date | None, known: Sequence[str], context: str) -> Request:
    """The request for one message, by `method`.

    `today` is the day of the message, None when it is not known. `known` are memories, numbered from 1 in this order;
    `context` holds the assistant's words that the message answers. Both must hold nothing that could close the block
    they stand in.
    """
    form = (_BY_TOOLS_KNOWN if known else _BY_TOOLS) if method == TOOLS else _BY_JSON_KNOWN if known else _BY_JSON
    day = _UNDATED if today is None else _DATED.format(today=f"{today:%A}, {today.day} {today:%B %Y}")
    parts = [f"{_RULES}\n{day}", form]
    if known:
        listed = "\n".join(f"{number}. {memory}" for number, memory in enumerate(known, 1))
        parts.append(f"Known memories, not to be noted again:\n<known_memories>\n{listed}\n</known_memories>")
    if context:
        parts.append(
            "The assistant had said this before the message. It only explains the message; note nothing of it:\n"
            f"<said_before>\n{context}\n</said_before>"
        )
    return Request(
        "\n\n".join(parts),
        tools=_tools(bool(known)) if method == TOOLS else (),
        response_format=_schema(bool(known)) if method == SCHEMA else None,
    )


_MEMORY = {"type": "string", "description": 'One short sentence about "User"'}
_NUMBER = {"type": "integer", "description": "Number of the known memory"}
_TOPICS = {"type": "array", "items": {"type": "string"}}


def _tool(name: str, description: str, properties: Mapping[str, Any], required: Sequence[str]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": dict(properties), "required": list(required)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def _tools(some_known: bool) -> tuple[Mapping[str, Any], ...]:
    text = {"memory": _MEMORY, "topics": _TOPICS}
    add = _tool(ADD, "Note one new fact about the user.", text, ["memory"])
    nothing = _tool(NOTHING, "There is nothing to note in this message.", {}, [])
    if not some_known:
        return add, nothing
    update = _tool(UPDATE, "Replace a known memory.", {"number": _NUMBER, **text}, ["number", "memory"])
    delete = _tool(DELETE, "Forget a known memory, as the user asks.", {"number": _NUMBER}, ["number"])
    return add, update, delete, nothing


def _schema(some_known: bool) -> Mapping[str, Any]:
    """Every property is required, as servers with strict schemas want it."""
    properties: dict[str, Any] = {"facts": {"type": "array", "items": {"type": "string"}}}
    if some_known:
        properties["updates"] = {"type": "array", "items": _object({"number": _NUMBER, "memory": _MEMORY})}
        properties["deletes"] = {"type": "array", "items": {"type": "integer"}}
    return {
        "type": "json_schema",
        "json_schema": {"name": "notes", "strict": True, "schema": _object(properties)},
    }


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
