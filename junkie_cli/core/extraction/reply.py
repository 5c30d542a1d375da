"""What a reply of the memory model means: changes, an explicit "nothing", or a failure. Pure functions.

One rule for every way of asking. What is unambiguous is taken: topics as one text, arguments as an object or encoded
twice, extra arguments, prefixes of names, missing ids, calls in the text (see `calls_in_text`). "Nothing to remember"
is only one of these:

    a call of `nothing_to_remember`     {"facts": []}, other lists of the document empty or missing     []

Everything else (prose, silence, `memory` as a number, arguments that are cut off, an unknown tool) is a problem. The
changes beside a problem are good: they are committed, and the rest of the message stays pending. Of a document or a
call that is cut off, these are the complete ones.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from junkie_cli.core.extraction.calls_in_text import complete_part, find_calls, parse_arguments
from junkie_cli.core.value_class import frozen

LONGEST_MEMORY = 1000
"""Characters of one memory that go into a prompt, and that a model may write."""

ADD, UPDATE, DELETE, NOTHING, CLEAR = (
    *("add_memory", "update_memory", "delete_memory"),
    *("nothing_to_remember", "clear_memory"),
)
TOOLS = (ADD, UPDATE, DELETE, NOTHING, CLEAR)
_MOST_TOPICS, _LONGEST_TOPIC = 8, 60
# Words that small models write for "no fact".
_NO_FACT = frozenset({"", "none", "null", "nothing", "n/a", "no facts", "no fact", "empty"})


@frozen
class ProposedChange:
    """One change that the model asks for: `action` is added, updated or deleted; `target` the id of a known memory."""

    action: str
    memory: str | None = None
    topics: tuple[str, ...] | None = None
    target: str | None = None


@frozen
class Understood:
    """What a reply means.

    `nothing` when it reports explicitly that there is nothing; `problems` are sentences about what could not be used;
    `foreign` are ids in it that no known memory has; `refused_clears` counts requests to delete everything; `in_text`
    if calls stood in the text instead of the protocol's field.
    """

    changes: tuple[ProposedChange, ...] = ()
    nothing: bool = False
    problems: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    refused_clears: int = 0
    in_text: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether all of the reply was usable, and it was an answer."""
        return not self.problems and (bool(self.changes) or self.nothing or self.refused_clears > 0)


class _Unusable(Exception):
    """One call or one item cannot be used; the message is the reason."""


def understand(text: str, tool_calls: Sequence[tuple[str, Any]], known: Sequence[str]) -> Understood:
    """The meaning of a reply: its `text`, and the names and arguments (text or object) of its `tool_calls`.

    `known` are the ids of the memories that the model was shown, in the order of their numbers, counted from 1.
    """
    reading = _Reading(known)
    if tool_calls:
        for name, arguments in tool_calls:
            reading.take_written_call(name, arguments)
        return reading.understood(in_text=False)
    found = find_calls(text, TOOLS)
    if found.broken:
        reading.problems.append("a call in its text is cut off or is not JSON")
    for call in found.calls:
        reading.take_call(call.name, call.arguments)
    if not found.calls:
        for value in found.values:
            reading.take_document(value)
    if not found.calls and not reading.understands_something:
        reading.problems.append("it is prose instead of a call" if text.strip() else "it is empty")
    return reading.understood(in_text=bool(found.calls))


def tool_name(name: Any) -> str | None:
    """The tool that `name` means: without a prefix, a number or special tokens; None when there is no such tool."""
    if not isinstance(name, str):
        return None
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", re.split(r"<[|｜]|\s", name.strip(" \t\n`\"'"), maxsplit=1)[0])
    plain = re.sub(r":\d+$", "", plain.lower().replace("-", "_"))
    return next((tool for tool in TOOLS if re.search(rf"(?:^|[\W_]){tool}$", plain)), None)


class _Reading:
    """One reply being read."""

    def __init__(self, known: Sequence[str]) -> None:
        self._known = known
        self._changes: list[ProposedChange] = []
        self._nothing = False
        self._foreign: list[str] = []
        self._clearings = 0
        self.problems: list[str] = []

    @property
    def understands_something(self) -> bool:
        """Whether anything came of the reply yet, good or bad."""
        return bool(self._changes or self._nothing or self._clearings or self.problems)

    def understood(self, *, in_text: bool) -> Understood:
        """The result."""
        return Understood(
            changes=tuple(self._changes),
            nothing=self._nothing and not self._changes,
            problems=tuple(dict.fromkeys(self.problems)),
            foreign=tuple(self._foreign),
            refused_clears=self._clearings,
            in_text=in_text,
        )

    # Calls

    def take_written_call(self, name: Any, arguments: Any) -> None:
        """Take a call of the protocol, whose arguments are a text; what is complete of one that is cut off, too."""
        parsed = parse_arguments(arguments) if isinstance(arguments, str) else arguments
        if parsed is None and not str(arguments or "").strip("{} "):
            parsed = {}  # a call of a tool without arguments comes as "", "{}" or null
        elif parsed is None and isinstance(arguments, str):
            parsed = complete_part(arguments, len(arguments) - len(arguments.lstrip()))
            if parsed is not None:
                self.problems.append("the arguments of a call are cut off")
        self.take_call(name, parsed)

    def take_call(self, name: Any, arguments: Any) -> None:
        """Take one call; a list of arguments is several calls of the same tool."""
        tool = tool_name(name)
        if tool is None:
            self.problems.append(f"it calls a tool that there is not: {str(name)[:60]}")
            return
        if tool == CLEAR:
            self._clearings += 1
            return
        if tool == NOTHING:
            self._nothing = True
            return
        each = arguments if isinstance(arguments, list) else [arguments]
        if not each:
            self.problems.append(f"{tool} has no arguments")
        for one in each:
            self._take(self._change, tool, one)

    def _take(self, read: Callable[..., ProposedChange], *arguments: Any) -> None:
        try:
            self._changes.append(read(*arguments))
        except _Unusable as problem:
            self.problems.append(str(problem))

    def _change(self, tool: str, arguments: Any) -> ProposedChange:
        if not isinstance(arguments, Mapping):
            raise _Unusable(f"the arguments of {tool} are not an object")
        arguments = _named(tool, arguments)
        if tool == DELETE:
            return ProposedChange("deleted", target=self._target(arguments))
        memory = _memory(arguments.get("memory"), tool, there="memory" in arguments)
        topics = _topics(arguments.get("topics"))
        if tool == ADD:
            return ProposedChange("added", memory, topics)
        return ProposedChange("updated", memory, topics, self._target(arguments))

    def _target(self, arguments: Mapping[str, Any]) -> str:
        """The id of the memory that is meant: by its number, or by the id itself."""
        named = next((arguments[key] for key in ("number", "memory_id", "id") if arguments.get(key) is not None), None)
        text = str(named).strip(" #[]().") if isinstance(named, str | int) and not isinstance(named, bool) else ""
        if text.isdecimal() and len(text) < 6 and 1 <= int(text) <= len(self._known):
            return self._known[int(text) - 1]
        if text in self._known:
            return text
        if text:
            self._foreign.append(text[:100])
        raise _Unusable("it names a memory that it was not shown" if text else "it does not name the memory to change")

    # Documents

    def take_document(self, value: Any) -> None:
        """Take a JSON value: `{"facts": [...], "updates": [...], "deletes": [...]}`, or a list of facts."""
        if isinstance(value, list):
            self._take_facts(value)
        elif isinstance(value, Mapping) and any(key in value for key in _DOCUMENT_KEYS):
            self._take_facts(_first(value, _FACTS_KEYS))
            for one in _items(_first(value, _UPDATES_KEYS)):
                self._take(self._update, one)
            for one in _items(_first(value, _DELETES_KEYS)):
                target = one if isinstance(one, Mapping) else {"number": one}
                self._take(self._change, DELETE, target)
        else:
            self.problems.append("its JSON is not of the form that was asked for")
            return
        self._nothing = not self._changes and not self.problems

    def _take_facts(self, facts: Any) -> None:
        if facts is not None and not isinstance(facts, list | str):
            self.problems.append("its facts are not a list")
            return
        for fact in _items(facts):
            text, topics = (_first(fact, _TEXT_KEYS), fact.get("topics")) if isinstance(fact, Mapping) else (fact, None)
            if isinstance(text, str) and text.strip(" .\t\r\n").casefold() in _NO_FACT:
                continue
            self._take(_fact, text, topics)

    def _update(self, item: Any) -> ProposedChange:
        if not isinstance(item, Mapping):
            raise _Unusable("an update is not an object")
        return ProposedChange(
            "updated", _memory(_first(item, _TEXT_KEYS), UPDATE), _topics(item.get("topics")), self._target(item)
        )


_FACTS_KEYS = ("facts", "memories", "new_facts")
_UPDATES_KEYS = ("updates", "updated", "update")
_DELETES_KEYS = ("deletes", "deleted", "delete")
_DOCUMENT_KEYS = (*_FACTS_KEYS, *_UPDATES_KEYS, *_DELETES_KEYS)
_TEXT_KEYS = ("memory", "fact", "text")
_PLACES = {ADD: ("memory", "topics"), UPDATE: ("number", "memory", "topics"), DELETE: ("number",)}


def _first(value: Mapping[str, Any], keys: Iterable[str]) -> Any:
    return next((value[key] for key in keys if value.get(key) is not None), None)


def _items(value: Any) -> Iterator[Any]:
    """The items of a list; anything else but null is one item."""
    yield from value if isinstance(value, list) else [] if value is None else [value]


def _named(tool: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """`arguments` with those of Python's positions under their names."""
    places = {name: arguments[str(place)] for place, name in enumerate(_PLACES[tool]) if str(place) in arguments}
    return places | dict(arguments)


def _memory(value: Any, of: str, *, there: bool = True) -> str:
    if not isinstance(value, str):
        raise _Unusable(f"the text of {of} is {_kind(value)}" if there else f"{of} has no memory in it")
    text = value.strip()
    if not text:
        raise _Unusable(f"the text of {of} is empty")
    if len(text) > LONGEST_MEMORY:
        raise _Unusable(f"the text of {of} has {len(text)} characters; {LONGEST_MEMORY} are the limit")
    return text


def _fact(text: Any, topics: Any) -> ProposedChange:
    return ProposedChange("added", _memory(text, "a fact"), _topics(topics))


def _kind(value: Any) -> str:
    if value is None:
        return "missing"
    kinds = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return kinds.get(type(value), "not text")


def _topics(value: Any) -> tuple[str, ...] | None:
    """Topics from a list or from one text; they only decorate, so that anything else is none."""
    found = re.split(r"[,;]", value) if isinstance(value, str) else value if isinstance(value, list) else []
    topics = [topic.strip()[:_LONGEST_TOPIC] for topic in found if isinstance(topic, str) and topic.strip()]
    return tuple(dict.fromkeys(topics))[:_MOST_TOPICS] or None
