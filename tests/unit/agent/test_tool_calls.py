"""Tool calls put together from the parts of a stream, whatever the server leaves out of them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from junkie_cli.core.agent.tool_calls import ToolCallParts
from tests.support.texts import texts


def assembled(*events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Name and arguments of the calls, as agno puts them together; every call has an id of its own."""
    reader = ToolCallParts()
    calls: list[dict[str, Any]] = []
    for event in events:
        for part in reader.take(event):
            if part["index"] == len(calls):
                calls.append({"id": part["id"], "name": "", "arguments": ""})
            call = calls[part["index"]]
            call["id"] = part["id"] or call["id"]
            call["name"] = part["function"].name or call["name"]
            call["arguments"] += part["function"].arguments
    assert len({call["id"] for call in calls}) == len(calls)
    assert all(call["id"] for call in calls)
    return [(call["name"], call["arguments"]) for call in calls]


def part(name: str | None = None, arguments: Any = None, **more: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {**more, "function": {key: value for key, value in function.items() if value is not None}}


CASES: dict[str, tuple[list[dict[str, Any]], list[tuple[str, str]]]] = {
    "same index, other ids": (
        [part("a", "{}", index=0, id="1"), part("a", "{}", index=0, id="2")],
        [("a", "{}"), ("a", "{}")],
    ),
    "no index, other ids": ([part("a", "", id="1"), part("a", "", id="2")], [("a", ""), ("a", "")]),
    "no index and no ids": (
        [part("a", "{}"), part("a", "{}"), part("b", "{}")],
        [("a", "{}"), ("a", "{}"), ("b", "{}")],
    ),
    "other names alone": ([part("a", ""), part("b", "")], [("a", ""), ("b", "")]),
    "same ids, other indexes": (
        [
            part("a", "{", index=0, id="x"),
            part("b", "{", index=1, id="x"),
            part(None, "}", index=0),
            part(None, "}", index=1),
        ],
        [("a", "{}"), ("b", "{}")],
    ),
    "name in every part": ([part("a", "{"), part("a", "}")], [("a", "{}")]),
    "id of its own in every part": ([part("a", "{", index=0, id="1"), part("a", "}", index=0, id="2")], [("a", "{}")]),
    "sent again in full": ([part("a", '{"b":1}', index=0, id="1")] * 2, [("a", '{"b":1}')]),
    "objects": ([part("a", {"b": 1}, index=0), part("a", {"b": 2}, index=0)], [("a", '{"b": 1}'), ("a", '{"b": 2}')]),
    "index as a text": ([part("a", "{", index="0"), part(None, "}", index="0")], [("a", "{}")]),
    "an index beyond all": ([part("a", "{}", index=10**12)], [("a", "{}")]),
    "names with something around": (
        [part("functions.a", "{}"), part("b<|channel|>commentary", "{}")],
        [("a", "{}"), ("b", "{}")],
    ),
    "nothing in it": ([part(), {"index": 0}, {"function": None}], []),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("together", [True, False])
def test_parts_that_leave_something_out(case: str, together: bool) -> None:
    parts, expected = CASES[case]
    assert assembled(*([parts] if together else [[one] for one in parts])) == expected


@given(st.data())
def test_calls_in_pieces_are_the_calls(data: st.DataObject) -> None:
    arguments = data.draw(st.lists(st.dictionaries(texts(max_size=3), texts(max_size=3), max_size=2), max_size=4))
    style = data.draw(st.sampled_from(["protocol", "no index", "index 0", "no id"]))
    parts: list[dict[str, Any]] = []
    for place, one in enumerate(arguments):
        text = json.dumps(one)
        cut = data.draw(st.integers(0, len(text) - 1))
        index = {} if style == "no index" else {"index": 0 if style == "index 0" else place}
        call_id = {} if style == "no id" else {"id": f"call_{place}"}
        parts += [part("note", text[:cut], **index, **call_id), part(None, text[cut:], **index)]
    assert assembled(*([one] for one in parts)) == [("note", json.dumps(one)) for one in arguments]
