"""Tool calls that a model wrote into its text instead of the protocol's field: found and read, as a pure function.

Servers that do not know their model's format pass its calls on as text, and small models write them as they like. The
forms known here (examples with one argument each; prefixes such as `functions.` are left to the reader of names):

    {"name": "f", "arguments": {"a": 1}}     bare, fenced, in a list, one a line, `<tool_call>`, `[TOOL_CALLS]`,
                                             `<|python_tag|>`, `functools`; OpenAI's {"function": {...}} and
                                             {"tool_calls": [...]}; {"f": {"a": 1}}
    <function=f>{"a": 1}</function>          Llama; also `f[ARGS]{...}`, `Action: f` with `Action Input: {...}`,
                                             Kimi's and DeepSeek's special tokens between name and arguments
    <|channel|>commentary to=functions.f <|constrain|>json<|message|>{"a": 1}<|call|>        harmony (gpt-oss)
    <function=f><parameter=a>1</parameter>   Qwen Coder; `<invoke name="f"><parameter name="a">`; GLM's <arg_key>
    f(a=1)   print(api.f(a=1))   [f(a=1)]    Python, at the beginning of a line

A call inside a sentence is talk about a call, and is not taken.
"""

import ast
import json
import re
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Any

from junkie_cli.core.value_class import frozen

LONGEST_TEXT = 50_000
"""Characters of a reply that are read; the answer to one message has a hundredth of it."""

_MOST_STARTS = 100  # places at which an object or a list may begin


@frozen
class TextCall:
    """A call: the name as it stands there, and its arguments, a mapping or a list of mappings; None when broken."""

    name: str
    arguments: Any


@frozen
class FoundCalls:
    """What was found: calls, other JSON values that stood where a call could, and whether one of them is broken.

    Of one that the end of the text cuts in the middle, its complete items are here, too.
    """

    calls: tuple[TextCall, ...]
    values: tuple[Any, ...]
    broken: bool = False


def find_calls(text: str, names: Collection[str]) -> FoundCalls:
    """The calls in `text` of functions whose names end with one of `names`."""
    reader = _CallReader(text[:LONGEST_TEXT], names)
    reader.read_parameters()
    reader.read_json()
    reader.read_named_objects()
    reader.read_python()
    reader.read_complete_parts()
    found = tuple(call for _, call in sorted(reader.calls, key=lambda entry: entry[0]))
    return FoundCalls(found, tuple(reader.values.values()), reader.broken)


_NAME_KEYS = ("name", "tool_name", "function_name", "recipient_name", "tool", "function", "action")
_ARGUMENT_KEYS = (
    *("arguments", "parameters", "args", "params", "kwargs", "input", "action_input", "tool_input", "tool_arguments"),
)
_LISTS = ("tool_calls", "function_calls", "tool_uses", "calls")
# What may stand before a value at the beginning of its line.
_LEAD = (
    r"^[ \t>*-]*(?:<[|｜/]?[\w▁| ｜-]{1,40}[|｜]?>\s*|\[TOOL_CALLS\]\s*|functools|`{1,3}(?:\w{1,12}\b)?\s*"
    r"|json\b\s*){0,4}"
)
_START = re.compile(rf"{_LEAD}(?=[\[{{])", re.MULTILINE | re.IGNORECASE)
_GAP = (
    r"(?:</?[|｜]?[\w▁=| ｜/-]{0,40}[|｜]?>|\[ARGS\]|\[CALL_ID\]\w{0,20}|:\d{1,3}|[\s:>`\"'|=,]|"
    r"action[ _]input|commentary|arguments?|args|parameters?|input|json){0,16}"
)
_PARAMETER = re.compile(
    r"<parameter(?:=|\s+name=)[\"']?(?P<key>\w{1,40})[\"']?\s*>(?P<value>.*?)(?:</parameter>|(?=<parameter|</function"
    r"|</invoke|</tool_call)|\Z)"
    r"|<arg_key>\s*(?P<arg>\w{1,40})\s*</arg_key>\s*<arg_value>(?P<arg_value>.*?)(?:</arg_value>|\Z)",
    re.DOTALL,
)


class _CallReader:
    """Reads one form after the other; what one has read is blank for the next."""

    def __init__(self, text: str, names: Collection[str]) -> None:
        self._text = self._all = text
        self._names = names
        self._any_name = "|".join(re.escape(name) for name in names)
        self.calls: list[tuple[int, TextCall]] = []
        self.values: dict[int, Any] = {}  # by the place where they begin
        self._broken = False
        self._broken_starts: list[int] = []

    @property
    def broken(self) -> bool:
        """Whether something began as a call and is not one."""
        return self._broken or bool(self._broken_starts)

    def _blank(self, start: int, end: int) -> None:
        self._text = self._text[:start] + " " * (end - start) + self._text[end:]

    # JSON, and Python's literals

    def read_json(self) -> None:
        """Objects and lists at the beginning of a line that are calls, or that nothing else explains."""
        place = 0
        for _ in range(_MOST_STARTS):
            match = _START.search(self._text, place)
            if match is None:
                return
            value, end = _value_at(self._text, match.end())
            if end is None:
                if self._names_a_call(match.end()):
                    self._broken_starts.append(match.end())
                place = match.end() + 1
                continue
            calls = list(self._calls_of(value, 0))
            self.calls += [(match.start(), call) for call in calls]
            if calls:
                self._blank(match.start(), end)
            else:
                self.values[match.end()] = value
            place = max(end, match.end() + 1)

    def _names_a_call(self, start: int) -> bool:
        """Whether the text from `start` on is a broken call, and not just a bracket."""
        head = self._text[start : start + 200]
        return bool(re.search(rf"[\"'](?:\w*[.:/])?(?:{self._any_name}|facts|memories|updates|deletes)[\"']", head))

    def read_complete_parts(self) -> None:
        """What is complete of a value in whose middle the text ends."""
        for start in () if self.calls else list(self._broken_starts):
            value = complete_part(self._all, start)
            calls = list(self._calls_of(value, 0))
            self.calls += [(start, call) for call in calls]
            if value is not None and not calls:
                self.values[start] = value

    def _calls_of(self, value: Any, depth: int) -> Iterator[TextCall]:
        if depth > 4:
            return
        if isinstance(value, list):
            for one in value:
                yield from self._calls_of(one, depth + 1)
        elif isinstance(value, Mapping):
            yield from self._calls_of_object(value, depth)

    def _calls_of_object(self, value: Mapping[str, Any], depth: int) -> Iterator[TextCall]:
        for key in _LISTS:
            if isinstance(value.get(key), list):
                yield from self._calls_of(value[key], depth + 1)
                return
        if isinstance(value.get("function"), Mapping):
            yield from self._calls_of(value["function"], depth + 1)
            return
        for key in _NAME_KEYS:
            name = value.get(key)
            if isinstance(name, str) and (self._is_name(name) or any(other in value for other in _ARGUMENT_KEYS)):
                yield TextCall(name, _arguments_of(value, key))
                return
        for key, inner in value.items():
            if self._is_name(key) and isinstance(inner, Mapping | list):
                yield TextCall(key, inner)

    def _is_name(self, name: str) -> bool:
        return bool(re.search(rf"(?:^|[\W_])(?:{self._any_name})\W*(?:<.*)?\d*$", name, re.IGNORECASE))

    # Names with parameters in tags

    def read_parameters(self) -> None:
        """`<function=f>`, `<invoke name="f">` or `<tool_call>f`, with a tag for each argument."""
        opening = re.compile(
            rf"(?:<function=|<invoke\s+name=|<tool_call>)\s*[\"']?(?P<name>[\w.:/-]*(?:{self._any_name}))[\"']?\s*>?\s*"
            r"(?=<parameter|<arg_key>)",
            re.IGNORECASE,
        )
        openings = list(islice(opening.finditer(self._text), _MOST_STARTS))
        for match, following in zip(openings, [*openings[1:], None], strict=False):
            end = following.start() if following else len(self._text)
            arguments: dict[str, Any] = {}
            for parameter in _PARAMETER.finditer(self._text, match.end(), end):
                key = parameter["key"] or parameter["arg"]
                arguments[key] = _tag_value(parameter["value"] or parameter["arg_value"] or "")
            self.calls.append((match.start(), TextCall(match["name"], arguments)))
        if openings:
            self._blank(openings[0].start(), len(self._text))

    # A name, some marks, and an object

    def read_named_objects(self) -> None:
        """`f`, whatever the model's format puts between, and `{...}`."""
        pattern = re.compile(rf"(?P<name>(?:\w{{1,20}}[.:/])?\b(?:{self._any_name})){_GAP}(?=[{{\[])", re.IGNORECASE)
        place = 0
        for _ in range(_MOST_STARTS):
            match = pattern.search(self._text, place)
            if match is None:
                return
            value, end = _value_at(self._text, match.end())
            if end is None:
                self._broken = True
                value = complete_part(self._text, match.end())
            elif isinstance(value, Mapping | list) and value:
                self._forget_broken(match.start())
            if isinstance(value, Mapping | list) and value:
                self.calls.append((match.start(), TextCall(match["name"], value)))
                self.values.pop(match.end(), None)
            place = end or match.end()
            self._blank(match.start(), place)

    def _forget_broken(self, place: int) -> None:
        """The object around a call whose arguments are complete lacks no more than its last brackets."""
        before = [start for start in self._broken_starts if start < place]
        if before:
            self._broken_starts.remove(before[-1])

    # Python

    def read_python(self) -> None:
        """`f(a=1)` at the beginning of a line, in a list, or inside `print(...)`."""
        pattern = re.compile(
            rf"(?:{_LEAD}[\[(]?\s*(?:print\()?|(?<=\))\s*[,;]\s*)(?:await )?"
            rf"(?P<name>(?:\w{{1,30}}\.)?(?:{self._any_name}))\s*(?P<open>\()",
            re.MULTILINE | re.IGNORECASE,
        )
        place = 0
        for _ in range(_MOST_STARTS):
            match = pattern.search(self._text, place)
            if match is None:
                return
            end = _balanced(self._text, match.start("open"))
            arguments = None if end is None else _python_arguments(self._text[match.start("open") : end])
            self._broken |= arguments is None
            if arguments is not None:
                self.calls.append((match.start(), TextCall(match["name"], arguments)))
            place = end or match.end()


# --- values -----------------------------------------------------------------------------------------------------------

_DECODER = json.JSONDecoder(strict=False)  # raw line breaks in strings are what small models write


def _value_at(text: str, start: int) -> tuple[Any, int | None]:
    """The JSON value or Python literal that begins at `start`, and its end; None for the end of a broken one."""
    try:
        return _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        end = _balanced(text, start)
    if end is None:
        return None, None
    try:
        return ast.literal_eval(text[start:end]), end
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None, None


_TOKEN = re.compile(
    r"\s*(?:(?P<open>[\[{])|(?P<close>[\]}])|(?P<comma>,)|:|\"(?:[^\"\\]|\\.)*\"|(?:-?\d[\d.eE+-]*|true|false|null)\b)",
    re.DOTALL,
)
_UNFINISHED = re.compile(r"\s*(?:\"(?:[^\"\\]|\\.)*\\?|[\w.+-]*)", re.DOTALL)


def complete_part(text: str, start: int) -> Any:
    """The JSON value that begins at `start`, without its unfinished end, where `text` ends in the middle of it.

    An item is complete when what follows it (a comma or a bracket) is there. None where the text does not end in the
    value, but is no JSON, for example because of a quotation mark in a text: such a text is not complete either.
    """
    closers: list[str] = []
    complete, place = None, start
    while (token := _TOKEN.match(text, place)) is not None:
        if token["open"]:
            closers.append("]" if token["open"] == "[" else "}")
        elif token["close"]:
            if not closers or closers.pop() != token["close"] or not closers:
                return None
            complete = text[start : token.end()] + "".join(reversed(closers))
        elif token["comma"]:
            complete = text[start : token.start()] + "".join(reversed(closers))
        place = token.end()
    if complete is None or not _UNFINISHED.fullmatch(text, place):
        return None
    return _value_at(complete, 0)[0]


def parse_arguments(text: str) -> Any:
    """What a call's arguments are, from the text that the protocol holds: a mapping or a list of mappings, else None.

    Takes what is encoded twice, written as a Python literal, fenced, several objects in a row (gateways put parallel
    calls together), and special tokens behind it. What is cut off is not completed.
    """
    value: Any = text
    for _ in range(3):
        if not isinstance(value, str):
            break
        value = _objects(re.sub(r"^\s*```\w{0,12}\s*|\s*```\s*$", "", value[:LONGEST_TEXT]))
    return value if isinstance(value, Mapping | list) else None


def _objects(text: str) -> Any:
    """The value in `text`; several in a row as a list."""
    values: list[Any] = []
    place = 0
    while (match := re.compile(r"\s*(?=[\[{\"'])").match(text, place)) is not None and len(values) < _MOST_STARTS:
        value, end = _value_at(text, match.end())
        if end is None:
            return None
        values.append(value)
        place = end
    rest = re.sub(r"<[|｜].{0,40}?[|｜]>", "", text[place:])
    if not values or rest.strip(" \t\r\n}];,`"):
        return None
    return values[0] if len(values) == 1 else values


def _arguments_of(value: Mapping[str, Any], name_key: str) -> Any:
    """The arguments in an object that names a call: under a key of their own, or beside the name."""
    for key in _ARGUMENT_KEYS:
        if key in value and key != name_key:
            inner = value[key]
            return parse_arguments(inner) if isinstance(inner, str) else inner
    return {key: one for key, one in value.items() if key not in {name_key, "id", "type"}}


def _tag_value(text: str) -> Any:
    """The text of a tag; a list or an object when it is one."""
    text = text.strip()
    if text[:1] in {"[", "{"}:
        value, end = _value_at(text, 0)
        if end == len(text):
            return value
    return text


def _balanced(text: str, start: int) -> int | None:
    """The end of the bracket that opens at `start`, brackets in quotes left aside; None when it does not close."""
    depth, quote, place = 0, "", start
    while place < len(text):
        one = text[place]
        if quote:
            place += one == "\\"
            quote = "" if one == quote else quote
        elif one in "\"'":
            quote = one
        else:
            depth += (one in "([{") - (one in ")]}")
            if depth == 0:
                return place + 1
        place += 1
    return None


def _python_arguments(brackets: str) -> dict[str, Any] | None:
    """The arguments in `(...)`, only constants; positional ones under their places, "0", "1"."""
    try:
        call = ast.parse(f"f{brackets}", mode="eval").body
        if not isinstance(call, ast.Call) or any(keyword.arg is None for keyword in call.keywords):
            return None
        found: dict[str, Any] = {str(place): ast.literal_eval(one) for place, one in enumerate(call.args)}
        return found | {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None
