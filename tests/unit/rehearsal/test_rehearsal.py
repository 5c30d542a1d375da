"""What the rehearsal model understands, as text in and text or tool calls out."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from junkie_cli.core.extraction.prompt import TOOLS, build_request
from junkie_cli.core.rehearsal.rehearsal import Answer, answer
from junkie_cli.core.rehearsal.rehearsal_text import (
    WHAT_IT_IS,
    KnownMemory,
    MemoryCall,
    converse,
    facts_in,
    plan_memories,
    second_person,
)
from tests.support.texts import texts

ADA = (
    KnownMemory("User's name is Ada", "1"),
    KnownMemory("User prefers tea", "2"),
    KnownMemory("User prefers window seats", "3"),
    KnownMemory("User lives in Berlin", "4"),
    KnownMemory("User likes jazz", "5"),
)


@pytest.mark.parametrize(
    ("said", "facts"),
    [
        ("My name is Ada and I prefer tea.", ["User's name is Ada", "User prefers tea"]),
        (
            "Hello, my name\N{RIGHT SINGLE QUOTATION MARK}s Ada Lovelace, nice to meet you",
            ["User's name is Ada Lovelace"],
        ),
        ("call me Al", ["User's name is Al"]),
        ("I live in Paris, I work as a nurse.", ["User lives in Paris", "User works as a nurse"]),
        ("I really like jazz; I also play chess!", ["User likes jazz", "User plays chess"]),
        ("I'm from Spain. I am 34 years old.", ["User is from Spain", "User is 34 years old"]),
        ("My dog is called Rex", ["User's dog is called Rex"]),
        ("I don't like coffee any more", ["User does not like coffee"]),
        ("Remember that the door code is 1234.", ["User wants this remembered: the door code is 1234"]),
        ("Don't forget: I love figs", ["User loves figs"]),
    ],
)
def test_statements_about_oneself_are_facts(said: str, facts: list[str]) -> None:
    assert [fact.text for fact in facts_in(said)] == facts


@pytest.mark.parametrize(
    "said",
    [
        "What is my name?",
        "Do I like tea?",
        "call me tomorrow",
        "I am tired",
        "I have to go",
        "I'm looking for a hotel",
        "I would like a coffee",
        "The weather is fine.",
        "",
        "forget that I like tea",
    ],
)
def test_questions_moods_and_wishes_are_none(said: str) -> None:
    assert facts_in(said) == []


@pytest.mark.parametrize(
    ("said", "calls"),
    [
        ("I prefer coffee now.", [("update_memory", 2, "User prefers coffee")]),
        ("I prefer coffee", [("update_memory", 2, "User prefers coffee")]),
        ("I prefer aisle seats instead", [("update_memory", 3, "User prefers aisle seats")]),
        ("I live in Paris", [("update_memory", 4, "User lives in Paris")]),
        ("I hate jazz", [("update_memory", 5, "User hates jazz")]),
        ("I no longer like jazz", [("update_memory", 5, "User does not like jazz")]),
        ("My name is Ada", []),
        ("I like blues and I work at sea", [("add_memory", "User likes blues"), ("add_memory", "User works at sea")]),
        ("forget my name", [("delete_memory", 1)]),
        ("Please forget where I live.", [("delete_memory", 4)]),
        ("forget that I prefer tea. I am a pilot", [("delete_memory", 2), ("add_memory", "User is a pilot")]),
        ("forget everything about me", [("delete_memory", int(known.memory_id)) for known in ADA]),
        ("forget the weather", []),
        ("What do you remember about me?", []),
    ],
)
def test_memories_follow_what_is_said(said: str, calls: list[tuple[object, ...]]) -> None:
    made = plan_memories(said, ADA)
    assert [(call.name, *(v for k, v in call.arguments.items() if k != "topics")) for call in made] == calls


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("What is my name?", "Your name is Ada."),
        ("what do I prefer to drink? I mean, do I prefer tea?", "You prefer tea."),
        ("Which seats do I prefer?", "You prefer window seats."),
        ("Where do I live?", "You live in Berlin."),
        ("What do I like?", "You like jazz."),
        ("How old am I?", "I do not know that yet."),
        ("My cat is Tom and I love figs", "I see: your cat is Tom and you love figs."),
        ("forget my name", "OK, I will forget what I know about that."),
        ("Are you GPT?", f"{WHAT_IT_IS}."),
    ],
)
def test_it_answers_from_its_memories(asked: str, says: str) -> None:
    assert converse(asked, ADA) == says


def test_it_lists_what_it_remembers() -> None:
    assert converse("What do you remember about me?", ADA[:2]) == (
        "I remember this about you:\n\n- Your name is Ada.\n- You prefer tea."
    )
    assert converse("What do you remember about me?", ()) == "I remember nothing about you yet."


def test_what_is_said_in_the_session_counts_more_than_what_is_remembered() -> None:
    before = ["I prefer coffee now", "Forget where I live"]
    assert converse("Do I prefer tea or coffee?", ADA, before) == "You prefer coffee."
    assert converse("Where do I live?", ADA, before) == "I do not know that yet."


def test_it_knows_what_was_said_before() -> None:
    before = ["My name is Ada", "I like figs"]
    assert converse("What did I say before?", (), before) == 'Before that you said: "I like figs".'
    assert converse("What did I tell you first?", (), before) == 'Your first message was: "My name is Ada".'
    assert converse("What did I say?", ()) == "This is your first message in this session."


def test_it_says_what_it_is_where_it_has_nothing_to_say() -> None:
    assert WHAT_IT_IS in converse("Tell me a joke", ())
    assert WHAT_IT_IS in converse("Hello", ADA)
    assert "Ada" in converse("Hello", ADA)


def test_memories_in_other_words_stay_as_they_are() -> None:
    assert second_person("Ada works as an engineer.") == "Ada works as an engineer"
    assert second_person("The user has two cats") == "You have two cats"


def _body(
    message: str, *, tools: tuple[str, ...] = (), system: str = "", more: tuple[dict[str, str], ...] = ()
) -> dict[str, object]:
    offered = [{"type": "function", "function": {"name": name}} for name in tools]
    messages = [{"role": "system", "content": system}, {"role": "user", "content": message}, *more]
    return {"model": "rehearsal", "messages": messages, "tools": offered}


MEMORY_TOOLS = ("add_memory", "update_memory", "delete_memory", "nothing_to_remember")
KNOWN = build_request(TOOLS, date(2026, 12, 1), ["User prefers tea", "User wants this remembered: milk"], "").system


def test_the_memory_model_reads_the_list_of_memories() -> None:
    said = answer(_body("I prefer coffee now", tools=MEMORY_TOOLS, system=KNOWN))
    assert said.tool_calls == (
        MemoryCall("update_memory", {"number": 1, "memory": "User prefers coffee", "topics": ["preferences"]}),
    )
    gone = answer(_body("forget the milk", tools=MEMORY_TOOLS, system=KNOWN))
    assert gone.tool_calls == (MemoryCall("delete_memory", {"number": 2}),)


def test_the_memory_model_calls_only_what_it_is_offered_and_always_something() -> None:
    nothing = (MemoryCall("nothing_to_remember", {}),)
    assert answer(_body("forget tea", tools=("add_memory", "nothing_to_remember"), system=KNOWN)).tool_calls == nothing
    assert answer(_body("Hello", tools=MEMORY_TOOLS)) == Answer(tool_calls=nothing)


def test_sums_go_to_the_calculator() -> None:
    for asked in ("What is 12 * 7?", "What is 12 times 7?"):
        assert answer(_body(asked, tools=("calculate",))).tool_calls == (
            MemoryCall("calculate", {"expression": "12 * 7"}),
        )
    result = {"role": "tool", "content": '{"expression": "12 * 7", "result": 84}'}
    assert answer(_body("What is 12 * 7?", tools=("calculate",), more=(result,))).text == "The calculator says 84."
    assert answer(_body("What is 12 * 7?")).tool_calls == ()


def test_the_chat_model_reads_agnos_block_of_memories() -> None:
    tag = "memories_from_previous_interactions"
    system = f"Before.\n<{tag}>\n- User's name is Ada\n- User likes\nfigs\n</{tag}>\nAfter."
    assert answer(_body("What is my name?", system=system)).text == "Your name is Ada."


@given(texts(), st.lists(texts(), max_size=3))
def test_it_never_fails_and_never_changes_its_mind(message: str, memories: list[str]) -> None:
    known = [KnownMemory(text, str(number)) for number, text in enumerate(memories)]
    assert plan_memories(message, known) == plan_memories(message, known)
    assert converse(message, known, [message]) == converse(message, known, [message])
    for call in plan_memories(message, known):
        assert call.arguments.get("memory_id", "0") in {*(k.memory_id for k in known), "0"}
