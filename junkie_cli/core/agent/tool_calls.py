"""Which tool call a part of a stream belongs to.

By the protocol each call has an index of its own, an id, and a name in its first part. Ollama sends all calls with
index 0 or with none, Gemini without ids, others repeat the name in every part, send another id with every part, or send
arguments as an object. So a part with a name begins a call unless it repeats the one that is still being written.
"""

import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from openai.types.chat.chat_completion_chunk import ChoiceDeltaToolCallFunction


class _Open:
    """A call as far as it came."""

    def __init__(self, place: int, index: Any) -> None:
        self.place, self.index = place, index
        self.call_id = self.name = self.arguments = ""

    def is_continued_by(self, call_id: str, name: str, arguments: str) -> bool:
        """Whether a part is another one of this call."""
        if not name or not self.name:
            return True
        if name != self.name:
            return False
        if self.is_complete:
            return bool(call_id) and call_id == self.call_id and arguments in ("", self.arguments)
        return bool(self.arguments) or not (call_id and self.call_id and call_id != self.call_id)

    @property
    def is_complete(self) -> bool:
        try:
            json.loads(self.arguments)
        except (ValueError, RecursionError):
            return False
        return True


class ToolCallParts:
    """Gives every part the place of its call: 0, 1, 2 and so on, and every call an id of its own."""

    def __init__(self) -> None:
        self._calls: list[_Open] = []

    def take(self, parts: list[Any]) -> list[dict[str, Any]]:
        """The parts in the protocol's form, with the place of their call as index."""
        return [found for part in parts if isinstance(part, Mapping) and (found := self._take(part)) is not None]

    def _take(self, part: Mapping[str, Any]) -> dict[str, Any] | None:
        function = part.get("function")
        function = function if isinstance(function, Mapping) else {}
        call_id, name, arguments = _text(part.get("id")), plain_name(_text(function.get("name"))), _arguments(function)
        if not name and not arguments and not call_id:
            return None
        call = self._find(part.get("index"))
        is_new = call is None or not call.is_continued_by(call_id, name, arguments)
        if is_new:
            call = _Open(len(self._calls), part.get("index"))
            self._calls.append(call)
        assert call is not None
        if not is_new and arguments.startswith("{") and arguments == call.arguments and call.is_complete:
            arguments = ""  # sent again in full
        call.arguments += arguments
        call.name = call.name or name
        given = is_new and self._id(call, call_id)
        function_part = ChoiceDeltaToolCallFunction.model_construct(name=name or None, arguments=arguments)
        return {"index": call.place, "id": given or None, "type": "function", "function": function_part}

    def _find(self, index: Any) -> _Open | None:
        """The latest call with this index; without one the latest of all."""
        same = (call for call in reversed(self._calls) if index is None or call.index == index)
        return next(same, None)

    def _id(self, call: _Open, call_id: str) -> str:
        taken = {one.call_id for one in self._calls}
        call.call_id = call_id
        return call_id if call_id and call_id not in taken else f"call_{uuid4().hex[:24]}"


def plain_name(name: str) -> str:
    """The name of a tool without what models put around it: `functions.add`, `add<|channel|>commentary`."""
    return name.partition("<|")[0].strip().removeprefix("functions.")


def _text(value: Any) -> str:
    return value.replace("\x00", "").encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _arguments(function: Mapping[str, Any]) -> str:
    """The arguments as text: some servers send the object itself."""
    found = function.get("arguments")
    return _text(found) if found is None or isinstance(found, str) else json.dumps(found)
