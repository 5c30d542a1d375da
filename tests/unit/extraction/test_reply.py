"""Replies of memory models in every form that is known: what is unambiguous is used, everything else is a failure."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from junkie_cli.core.extraction.reply import LONGEST_MEMORY, ProposedChange, Understood, understand

TEA = {"memory": "User likes tea", "topics": ["drinks"]}
JSON = json.dumps(TEA)
CALL = json.dumps({"name": "add_memory", "arguments": TEA})
BARE = json.dumps({"name": "add_memory", "arguments": {"memory": "User likes tea"}})
KNOWN = ["5f0c", "77aa"]

# Forms of one call in the text, all of which mean: add "User likes tea".
IN_TEXT = {
    "bare": CALL,
    "indented": json.dumps({"name": "add_memory", "arguments": TEA}, indent=2),
    "fenced": f"```json\n{CALL}\n```",
    "fenced behind prose": f"I will note that.\n\n```json\n{CALL}\n```\nDone!",
    "fenced without a language": f"```\n{CALL}\n```",
    "fenced, a language of its own": f"```tool_call\n{CALL}\n```",
    "list": f"[{CALL}]",
    "arguments as text": json.dumps({"name": "add_memory", "arguments": JSON}),
    "arguments as text twice": json.dumps({"name": "add_memory", "arguments": json.dumps(JSON)}),
    "parameters": json.dumps({"name": "add_memory", "parameters": TEA}),
    "beside the name": json.dumps({"name": "add_memory", **TEA}),
    "as a tool": json.dumps({"tool": "add_memory", "args": TEA}),
    "function as text": json.dumps({"type": "function", "function": "add_memory", "parameters": TEA}),
    "function as an object": json.dumps({"type": "function", "function": {"name": "add_memory", "arguments": TEA}}),
    "tool_calls": json.dumps({"tool_calls": [{"id": "1", "function": {"name": "add_memory", "arguments": JSON}}]}),
    "name as key": json.dumps({"add_memory": TEA}),
    "python literal": str({"name": "add_memory", "arguments": TEA}),
    "raw line break": CALL.replace("likes tea", "likes\ntea"),
    "last bracket missing": CALL[:-1],
    "hermes": f"<tool_call>\n{CALL}\n</tool_call>",
    "hermes, not closed": f"<tool_call>{CALL}",
    "tools": f"<tools>\n{CALL}\n</tools>",
    "mistral": f"[TOOL_CALLS] [{CALL}]",
    "mistral 3": f"[TOOL_CALLS]add_memory[ARGS]{JSON}",
    "llama python tag": f"<|python_tag|>{json.dumps({'name': 'add_memory', 'parameters': TEA})}",
    "llama function": f"<function=add_memory>{JSON}</function>",
    "granite": f"<|tool_call|>[{CALL}]",
    "phi": f"functools[{CALL}]",
    "qwen coder": "<tool_call>\n<function=add_memory>\n<parameter=memory>\nUser likes tea\n</parameter>\n"
    '<parameter=topics>\n["drinks"]\n</parameter>\n</function>\n</tool_call>',
    "invoke": '<function_calls>\n<invoke name="add_memory">\n<parameter name="memory">User likes tea</parameter>\n'
    '<parameter name="topics">["drinks"]</parameter>\n</invoke>\n</function_calls>',
    "glm": "<tool_call>add_memory\n<arg_key>memory</arg_key>\n<arg_value>User likes tea</arg_value>\n"
    '<arg_key>topics</arg_key>\n<arg_value>["drinks"]</arg_value>\n</tool_call>',
    "kimi": "<|tool_calls_section_begin|><|tool_call_begin|>functions.add_memory:0<|tool_call_argument_begin|>"
    f"{JSON}<|tool_call_end|><|tool_calls_section_end|>",
    "deepseek": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>add_memory\n```json\n"
    f"{JSON}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "react": f"Thought: a taste.\nAction: add_memory\nAction Input: {JSON}",
    "harmony": f"<|channel|>commentary to=functions.add_memory <|constrain|>json<|message|>{JSON}<|call|>",
    "harmony, the other order": "<|start|>assistant to=functions.add_memory<|channel|>commentary json<|message|>"
    f"{JSON}<|call|>",
    "harmony, tokens gone": f"commentary to=functions.add_memory json{JSON}",
    "python": "add_memory(memory='User likes tea', topics=['drinks'])",
    "python, by place": 'add_memory("User likes tea", ["drinks"])',
    "python in a list": "[add_memory(memory='User likes tea', topics=['drinks'])]",
    "python printed": "```tool_code\nprint(default_api.add_memory(memory='User likes tea', topics=['drinks']))\n```",
    "python fenced": "```python\nadd_memory(\n    memory='User likes tea',\n    topics=['drinks'],\n)\n```",
}


def read(text: str = "", *calls: tuple[str, Any]) -> Understood:
    return understand(text, calls, KNOWN)


def added(*memories: str) -> list[tuple[str, str]]:
    return [("added", memory) for memory in memories]


def changes(found: Understood) -> list[tuple[str, str | None]]:
    return [(change.action, change.memory and " ".join(change.memory.split())) for change in found.changes]


@pytest.mark.parametrize("form", IN_TEXT)
def test_a_call_in_the_text(form: str) -> None:
    found = read(IN_TEXT[form])
    assert changes(found) == added("User likes tea"), found
    assert found.is_complete, found
    assert found.in_text
    assert found.changes[0].topics == ("drinks",)


# Where the last bracket is missing, a second call stands inside the first one's object.
@pytest.mark.parametrize("form", [form for form in IN_TEXT if form != "last bracket missing"])
def test_two_calls_in_the_text(form: str) -> None:
    again = IN_TEXT[form].replace("likes tea", "has a dog").replace("likes\ntea", "has a dog")
    assert changes(read(f"{IN_TEXT[form]}\n{again}")) == added("User likes tea", "User has a dog")


@pytest.mark.parametrize("form", IN_TEXT)
def test_a_call_that_is_cut_off_is_never_nothing(form: str) -> None:
    """Cut at each character: what is taken is the text as it was, and what is not taken is a failure."""
    whole = IN_TEXT[form]
    for end in range(len(whole)):
        found = read(whole[:end])
        assert not found.nothing, whole[:end]
        assert found.changes or found.problems, whole[:end]
        for change in found.changes:
            assert change.memory is not None
            assert " ".join(change.memory.split()) == "User likes tea" or form in {"qwen coder", "invoke", "glm"}


USABLE: dict[str, tuple[str, Any]] = {
    "text": ("add_memory", JSON),
    "object": ("add_memory", TEA),
    "list with one object": ("add_memory", [TEA]),
    "topics as text": ("add_memory", {"memory": "User likes tea", "topics": "drinks"}),
    "topics with null": ("add_memory", {"memory": "User likes tea", "topics": [None, "drinks"]}),
    "topics null": ("add_memory", {"memory": "User likes tea", "topics": None}),
    "topics of another kind": ("add_memory", {"memory": "User likes tea", "topics": {"a": 1}}),
    "extra argument": ("add_memory", {**TEA, "user_id": "eve", "confidence": 1}),
    "encoded twice": ("add_memory", json.dumps(JSON)),
    "raw line break": ("add_memory", JSON.replace("likes tea", "likes\ntea")),
    "python literal": ("add_memory", str(TEA)),
    "fenced": ("add_memory", f"```json\n{JSON}\n```"),
    "special token behind": ("add_memory", f"{JSON}<|call|>"),
    "prefix": ("functions.add_memory", JSON),
    "another prefix": ("default_api:add_memory", JSON),
    "prefix and number": ("functions.add_memory:0", JSON),
    "channel in the name": ("add_memory<|channel|>commentary", JSON),
    "camel case": ("addMemory", JSON),
    "hyphen": ("add-memory", JSON),
    "quotes": ("`add_memory`", JSON),
}


@pytest.mark.parametrize("form", USABLE)
def test_a_call_that_is_unambiguous(form: str) -> None:
    found = read("", USABLE[form])
    assert changes(found) == added("User likes tea")
    assert found.is_complete
    assert not found.in_text


UNUSABLE: dict[str, tuple[str, Any]] = {
    "memory as list": ("add_memory", {"memory": ["User likes tea"]}),
    "memory as number": ("add_memory", {"memory": 7}),
    "memory null": ("add_memory", {"memory": None}),
    "memory empty": ("add_memory", {"memory": " "}),
    "another name": ("add_memory", {"content": "User likes tea"}),
    "no arguments": ("add_memory", ""),
    "arguments null": ("add_memory", None),
    "arguments a number": ("add_memory", "7"),
    "arguments a list of texts": ("add_memory", '["User likes tea"]'),
    "cut off": ("add_memory", JSON[:20]),
    "prose": ("add_memory", "User likes tea"),
    "unknown tool": ("save_fact", JSON),
    "no name": ("", JSON),
    "too long": ("add_memory", {"memory": "x" * (LONGEST_MEMORY + 1)}),
    "update of nothing": ("update_memory", {"memory": "User likes tea"}),
    "update of another's": ("update_memory", {"memory_id": "eves", "memory": "User likes tea"}),
    "update of a number too high": ("update_memory", {"number": 3, "memory": "User likes tea"}),
    "update of true": ("update_memory", {"number": True, "memory": "User likes tea"}),
    "delete of nothing": ("delete_memory", "{}"),
    "delete of zero": ("delete_memory", {"number": 0}),
}


@pytest.mark.parametrize("form", UNUSABLE)
def test_a_call_that_cannot_be_used_is_a_failure(form: str) -> None:
    found = read("", UNUSABLE[form])
    assert found.changes == ()
    assert not found.nothing
    assert found.problems
    assert not found.is_complete


@pytest.mark.parametrize("form", UNUSABLE)
def test_the_good_half_of_a_reply_is_used(form: str) -> None:
    found = read("", UNUSABLE[form], ("add_memory", {"memory": "User has a dog"}))
    assert changes(found) == added("User has a dog")
    assert found.problems
    assert not found.is_complete


@pytest.mark.parametrize("target", [2, "2", "#2", "[2]", "77aa"])
@pytest.mark.parametrize("key", ["number", "memory_id", "id"])
def test_memories_are_named_by_number_or_id(key: str, target: Any) -> None:
    assert read("", ("update_memory", {key: target, **TEA})).changes == (
        ProposedChange("updated", "User likes tea", ("drinks",), "77aa"),
    )
    assert read("", ("delete_memory", {key: target})).changes == (ProposedChange("deleted", target="77aa"),)


def test_ids_of_others_are_counted() -> None:
    assert read("", ("delete_memory", {"memory_id": "eves"})).foreign == ("eves",)
    found = read("", ("clear_memory", ""))
    assert (found.refused_clears, found.changes, found.is_complete) == (1, (), True)


NOTHING = [
    ("", ("nothing_to_remember", "")),
    ("", ("nothing_to_remember", "{}")),
    ("", ("functions.nothing_to_remember", None)),
    ('{"facts": []}',),
    ('{"facts": [""]}',),
    ('{"facts": [], "updates": [], "deletes": []}',),
    ('{"facts": [], "updates": null}',),
    ('```json\n{"facts": []}\n```',),
    ('{"memories": []}',),
    ("[]",),
    ('{"name": "nothing_to_remember", "arguments": {}}',),
    ("nothing_to_remember()",),
    ('<tool_call>\n{"name": "nothing_to_remember", "arguments": {}}\n</tool_call>',),
]


@pytest.mark.parametrize("reply", NOTHING, ids=str)
def test_an_explicit_nothing(reply: tuple[Any, ...]) -> None:
    found = read(*reply)
    assert found.nothing, found
    assert found.is_complete
    assert found.changes == ()


NEITHER = [
    "",
    "   \n",
    "No change is needed.",
    "There is nothing to remember here.",
    "nothing_to_remember",
    "The user says hello, so I will not call add_memory.",
    "I could call add_memory(memory='User likes tea'), but I do not.",
    "null",
    "{}",
    '{"answer": 42}',
    '{"facts": "',
    '{"facts": 7}',
    '{"facts": [7]}',
    '{"facts": [null]}',
    '{"facts": ["User likes tea',
    "<tool_call>",
    "<tool_call>\n{}\n</tool_call>",
    "[" * 5000,
    '{"a":' * 5000,
    "add_memory(" * 500,
    "add_memory(memory=open('/etc/passwd').read())",
    "<function=add_memory>",
    "I cannot help with that.",
]


@pytest.mark.parametrize("text", NEITHER, ids=lambda text: text[:30])
def test_everything_else_is_a_failure(text: str) -> None:
    found = read(text)
    assert not found.is_complete
    assert not found.nothing
    assert found.changes == ()
    assert found.problems


def test_a_document() -> None:
    document = {
        "facts": ["User likes tea", {"memory": "User has a dog", "topics": "pets"}],
        "updates": [{"number": 1, "memory": "User lives in Rome"}],
        "deletes": [2],
    }
    found = read(json.dumps(document))
    assert found.is_complete
    assert found.changes == (
        ProposedChange("added", "User likes tea"),
        ProposedChange("added", "User has a dog", ("pets",)),
        ProposedChange("updated", "User lives in Rome", target="5f0c"),
        ProposedChange("deleted", target="77aa"),
    )
    assert changes(read('["User likes tea"]')) == added("User likes tea")
    assert changes(read('{"facts": "User likes tea"}')) == added("User likes tea")
    half = read(json.dumps({"facts": ["User likes tea", "x" * 5000], "deletes": [9]}))
    assert (changes(half), len(half.problems), half.foreign) == (added("User likes tea"), 2, ("9",))


TEXTS = st.text(st.sampled_from("ab ,]}{[:\\'\"ü\n"), min_size=1, max_size=8).filter(lambda text: text.strip(" .\n"))


@given(
    st.lists(TEXTS, max_size=4),
    st.lists(st.fixed_dictionaries({"number": st.just(1), "memory": TEXTS}), max_size=2),
    st.lists(st.just(2), max_size=2),
    st.sampled_from(["{}", "```json\n{}", "Here it is:\n{}"]),
    st.sampled_from([None, 1]),
    st.floats(0, 1),
)
def test_of_a_document_that_is_cut_off_the_complete_items_are_used(
    facts: list[str], updates: list[Any], deletes: list[int], form: str, indent: int | None, share: float
) -> None:
    document = json.dumps({"facts": facts, "updates": updates, "deletes": deletes}, indent=indent)
    whole = form.replace("{}", document)
    cut = whole[: int(share * whole.rindex("}"))]
    found = read(cut)
    assert not found.is_complete
    assert not found.nothing
    everything = read(whole).changes
    assert found.changes == everything[: len(found.changes)]
    complete = sum(f"{json.dumps(fact)}{after}" in cut for fact in set(facts) for after in (",", "]", "\n]"))
    assert len(found.changes) >= (1 if complete else 0)


def test_of_calls_that_are_cut_off_the_complete_ones_are_used() -> None:
    listed = json.dumps({"tool_calls": [{"function": {"name": "add_memory", "arguments": JSON}}] * 2})
    texts = [
        f"[{CALL}, {CALL[:40]}",
        f"[{CALL},",
        f"<tool_call>{CALL}</tool_call>\n<tool_call>{CALL[:45]}",
        listed[:-30],
        CALL[:-14],
        f"<function=add_memory>{JSON[:-5]}",
    ]
    for text in texts:
        found = read(text)
        assert changes(found) == added("User likes tea"), text
    found = read("", ("add_memory", JSON), ("add_memory", JSON.replace("likes tea", "has a dog")[:-15]))
    assert changes(found) == added("User likes tea", "User has a dog")
    assert not found.is_complete
    found = read("", ("add_memory", JSON), ("add_memory", JSON[:20]))
    assert changes(found) == added("User likes tea")
    assert not found.is_complete


@pytest.mark.parametrize(
    "text",
    [
        '{"facts": ["User likes "tea" a lot", "User',
        '{"facts": ["User likes "tea',
        '{"facts": ["He said "no", "yes" and',
        '{"facts": ["User likes tea"',  # what follows the text is not there: it may go on
        '{"facts": ["User likes tea"}, {',
        '{"facts": {"a", ]',
    ],
)
def test_a_text_that_is_cut_by_its_own_quotation_marks_is_not_complete(text: str) -> None:
    assert read(text).changes == ()
    assert read(text).problems


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(list(IN_TEXT.values())),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "arguments", "memory", "topics", "facts", "updates", "deletes", "number", "function"]
            )
            | st.text(max_size=4),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(
    st.text(max_size=40) | st.sampled_from(list(IN_TEXT.values())),
    st.lists(st.tuples(st.text(max_size=12) | st.sampled_from(["add_memory", "update_memory"]), anything), max_size=3),
)
def test_no_reply_raises_and_each_is_something(text: str, calls: list[tuple[str, Any]]) -> None:
    found = understand(text, calls, KNOWN)
    assert found.changes or found.nothing or found.problems or found.refused_clears


@given(
    st.lists(
        st.sampled_from(
            [
                "{",
                "}",
                "[",
                "]",
                '"',
                "'",
                "(",
                ")",
                "add_memory",
                "memory",
                ":",
                "=",
                ",",
                " ",
                "\n",
                "<tool_call>",
                "`",
                "x",
                "\\",
            ]
        ),
        max_size=30,
    ).map("".join)
)
def test_no_text_raises(text: str) -> None:
    found = read(text)
    assert found.changes or found.nothing or found.problems
