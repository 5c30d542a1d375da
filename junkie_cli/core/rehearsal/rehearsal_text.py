"""The text rules of the rehearsal model: plain English about the user, as pure functions.

`facts_in` extracts statements, `plan_memories` converts them to changes of memories, `converse` answers from memories.
There is no language model: what no rule matches is ignored by `plan_memories`, and `converse` says so.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from junkie_cli.core.value_class import frozen

WHAT_IT_IS = "I am junkie's rehearsal model: a few text rules that work offline, not a language model"


@frozen
class MemoryCall:
    """A call of an offered tool."""

    name: str
    arguments: Mapping[str, Any]


@frozen
class Fact:
    """A statement about the user, in the third person; `changed` if marked as new ("now", "instead")."""

    kind: str
    text: str
    changed: bool = False


@frozen
class KnownMemory:
    """A memory in a prompt; `memory_id` is its number there, empty in prompts of the chat model."""

    text: str
    memory_id: str = ""


_VERBS = {
    "like": "likes", "love": "loves", "enjoy": "enjoys", "prefer": "prefers", "hate": "hates", "dislike": "dislikes",
    "work": "works", "live": "lives", "have": "has", "play": "plays", "speak": "speaks", "study": "studies",
    "use": "uses", "drink": "drinks", "eat": "eats", "drive": "drives", "collect": "collects", "own": "owns",
}  # fmt: skip
_BASES = {third: base for base, third in _VERBS.items()} | {"does": "do"}
_TASTE = frozenset({"like", "love", "enjoy", "prefer", "hate", "dislike"})
_KINDS = {**dict.fromkeys(_TASTE, "preferences"), "work": "work", "study": "work", "live": "location"}
# A person has several of these; of other kinds ("name", "location", "dog") the newest replaces the old one.
_SEVERAL = frozenset({"preferences", "personal", "note"})
_ALIKE = (
    {"tea", "coffee", "water", "juice", "beer", "wine", "milk", "cocoa"},
    {"cat", "dog", "bird", "horse"},
    {"red", "green", "blue", "yellow", "black", "white", "purple", "orange"},
    {"summer", "winter", "spring", "autumn", "morning", "evening"},
)

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_CLAUSE = re.compile(r"(?:,|;|,? and|,? but)\s+(?=(?:i|my|call me)\b)", re.IGNORECASE)
_NOW = re.compile(r",? ?\b(?:now|nowadays|these days|instead|any ?more|any longer|meanwhile)\b,? ?", re.IGNORECASE)
_NAME = re.compile(r"\bmy name(?: is|'s) ([^,]+)|\b(?:call me|i am called|i'm called) (?-i:(?=[A-Z]))([^,]+)", re.I)
_NOT = re.compile(rf"\bi (?:do not|don't|no longer) ({'|'.join(_VERBS)}) (.+)", re.IGNORECASE)
_DO = re.compile(rf"\bi(?: \w+ly| also| still)? ({'|'.join(_VERBS)}) (?!to (?:go|leave|do)\b)(.+)", re.IGNORECASE)
_MINE = re.compile(r"\bmy ([\w' -]{2,40}?) (is|are|was|were|has|lives?|works?) (.+)", re.IGNORECASE)
# Temporary moods and activities are not memorable.
_AM = re.compile(
    r"\b(?:i am|i'm) (?!(?:not|so|very|too|just|sorry|sure|fine|ok|okay|tired|back|here|glad|happy|sad|\w+ing)\b)(.+)",
    re.IGNORECASE,
)
_NOTE = re.compile(r"^(?:please )?(?:remember|note|do not forget|don't forget|never forget)(?: that|:)? (.+)", re.I)
_FORGET = re.compile(r"(?:^|\bplease |\byou |\band |\bnow |, )forget\b(.*)", re.IGNORECASE)


def facts_in(message: str) -> list[Fact]:
    """Return the statements of `message` about its author; questions and requests to forget contain none."""
    found: list[Fact] = []
    for sentence in sentences(message):
        if sentence.endswith("?") or _wish_to_forget(sentence) is not None:
            continue
        facts = [fact for clause in _CLAUSE.split(sentence) if (fact := _fact(clause))]
        note = _NOTE.match(sentence)
        if note and not facts:
            facts = [Fact("note", f"User wants this remembered: {note[1].rstrip('.!')}")]
        found += [fact for fact in facts if fact not in found]
    return found


def sentences(message: str) -> list[str]:
    """Split `message` into sentences, with normalized white space and apostrophes."""
    plain = message.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return [" ".join(sentence.split()) for sentence in _SENTENCE.split(plain) if sentence.strip()]


def _fact(clause: str) -> Fact | None:
    changed = bool(_NOW.search(clause)) or "no longer" in clause.lower()
    text = _NOW.sub(" ", clause).strip(" \t.!,;:")
    if found := _NAME.search(text):
        return Fact("name", f"User's name is {found[1] or found[2]}", changed)
    if found := _NOT.search(text):
        return Fact(_KINDS.get(found[1].lower(), "personal"), f"User does not {found[1].lower()} {found[2]}", changed)
    if found := _DO.search(text):
        verb = found[1].lower()
        return Fact(_KINDS.get(verb, "personal"), f"User {_VERBS[verb]} {found[2]}", changed)
    if found := _MINE.search(text):
        return Fact(found[1].lower(), f"User's {found[1]} {found[2].lower()} {found[3]}", changed)
    if found := _AM.search(text):
        kind = "origin" if found[1].lower().startswith("from ") else "personal"
        return Fact(kind, f"User is {found[1]}", changed)
    return None


def _wish_to_forget(sentence: str) -> str | None:
    """Return what a sentence asks to forget, or None."""
    found = None if _NOTE.match(sentence) else _FORGET.search(sentence)
    return found[1] if found else None


# Changes of memories


def plan_memories(message: str, known: Sequence[KnownMemory]) -> list[MemoryCall]:
    """Return the calls of memory tools that update `known` from `message`."""
    calls = []
    for sentence in sentences(message):
        wish = _wish_to_forget(sentence)
        if wish is not None:
            calls += [MemoryCall("delete_memory", {"number": _number(memory)}) for memory in _meant(wish, known)]
    for fact in facts_in(message):
        if any(fact.text.casefold() == memory.text.casefold() for memory in known):
            continue
        content = {"memory": fact.text, "topics": [fact.kind]}
        old = _superseded(fact, known)
        if old is None:
            calls.append(MemoryCall("add_memory", content))
        else:
            calls.append(MemoryCall("update_memory", {"number": _number(old), **content}))
    return calls


def _number(memory: KnownMemory) -> int | str:
    return int(memory.memory_id) if memory.memory_id.isdecimal() else memory.memory_id


def _after(known: Sequence[KnownMemory], said: Iterable[str]) -> list[KnownMemory]:
    """Return the memories after the messages `said`, oldest first; the newest memory is first."""
    state = list(known)
    for message in said:
        for sentence in sentences(message):
            wish = _wish_to_forget(sentence)
            gone = _meant(wish, state) if wish is not None else []
            state = [memory for memory in state if memory not in gone]
        for fact in facts_in(message):
            old = _superseded(fact, state)
            state = [
                KnownMemory(fact.text),
                *(memory for memory in state if memory != old and memory.text != fact.text),
            ]
    return state


def _meant(words: str, known: Sequence[KnownMemory]) -> list[KnownMemory]:
    """Return the memories that `words` mean: those with the most common words; all for "everything"."""
    if re.match(r"\W*(about )?(everything|all\b|me\W*$|what you (know|remember) about me)", words, re.IGNORECASE):
        return list(known)
    facts = facts_in(words.strip())
    wanted = _stems(" ".join(fact.text for fact in facts) or words)
    scores = [len(wanted & _stems(memory.text)) for memory in known]
    best = max(scores, default=0)
    return [memory for memory, score in zip(known, scores, strict=True) if best and score == best]


def _superseded(fact: Fact, known: Sequence[KnownMemory]) -> KnownMemory | None:
    """Return the memory that `fact` replaces."""
    same_kind = [memory for memory in known if _kind_of(memory.text) == fact.kind]
    if fact.kind == "note":
        return None
    if fact.kind not in _SEVERAL:
        return same_kind[0] if same_kind else None
    same_verb = [memory for memory in same_kind if _verb(memory.text) == _verb(fact.text)]
    words = _stems(fact.text)
    # Preferences for the same thing replace each other whatever the verb; otherwise ("has a dog") the verb counts.
    for memory in same_kind if fact.kind == "preferences" else same_verb:
        if words & _stems(memory.text):
            return memory
    # "I prefer coffee" replaces "prefers tea"; "I like milk" does not replace "likes tea", unless marked as new.
    rivals = same_kind if fact.changed else [memory for memory in same_verb if _verb(fact.text) == "prefers"]
    for memory in rivals:
        if any(words & group and _stems(memory.text) & group for group in _ALIKE):
            return memory
    return same_verb[0] if same_verb and fact.changed else None


def _verb(text: str) -> str:
    return text.split()[1] if len(text.split()) > 1 else ""


def _kind_of(memory: str) -> str:
    said = re.sub(r"^(?:The )?[Uu]ser's ", "my ", memory)
    said = re.sub(r"^(?:The )?[Uu]ser (\w+)", lambda found: f"I {'am' if found[1] == 'is' else _base(found[1])}", said)
    found = facts_in(said)
    return found[0].kind if found else "note" if memory.startswith("User wants") else ""


def _base(third: str) -> str:
    return _BASES.get(third, third)


_SMALL = frozenset({
    "a", "about", "all", "am", "an", "and", "any", "are", "as", "at", "be", "can", "could", "did", "do", "doe", "for",
    "from", "ha", "have", "how", "i", "in", "is", "it", "its", "know", "like", "love", "me", "my", "of", "on", "or",
    "please", "prefer", "remember", "said", "tell", "that", "the", "this", "to", "user", "wa", "want", "what", "when",
    "where", "which", "who", "why", "with", "would", "you", "your", "enjoy", "not", "i'm", "don't",
})  # fmt: skip
_SYNONYMS = {
    "job": "work",
    "city": "live",
    "home": "live",
    "address": "live",
    "called": "name",
    "favorite": "favourite",
}


def _stems(text: str) -> set[str]:
    words = (word.removesuffix("'s").rstrip("s'") for word in re.findall(r"[\w']+", text.lower()))
    return {_SYNONYMS.get(word, word) for word in words if word and word not in _SMALL}


# Talk


def converse(message: str, known: Sequence[KnownMemory], before: Sequence[str] = ()) -> str:
    """Answer `message` from memories and from earlier messages of this session, oldest first."""
    asked = message.lower().strip()
    knowledge = _after(known, before)
    if re.search(r"\bwhat (did i (just )?(say|tell|ask)|have i (said|told))", asked):
        return _said_before(before, first="first" in asked)
    if re.search(r"\b(who|what) are you\b|\bare you (a|an|gpt|real|human)\b", asked):
        return f"{WHAT_IT_IS}."
    if re.search(r"\b(remember|know|learned?) ((of|about) )?me\b|\bdo you (remember|know)\W*$|\bwho am i\b", asked):
        return _list_of(knowledge)
    if asked.endswith("?") and re.search(r"\b(i|my|me)\b", asked):
        return _from_knowledge(asked, knowledge)
    facts = facts_in(message)
    if facts:
        return f"I see: {_joined([second_person(fact.text, inside=True) for fact in facts])}."
    if any(_wish_to_forget(sentence) is not None for sentence in sentences(message)):
        return "OK, I will forget what I know about that."
    if re.match(r"\W*(hello|hi|hey|good (morning|evening|day))\b", asked):
        names = [memory.text.partition(" is ")[2] for memory in knowledge if memory.text.startswith("User's name is ")]
        return f"Hello{', ' + names[0] if names else ''}! {WHAT_IT_IS}. Tell me something about yourself."
    return f'You said: "{_short(message)}". {WHAT_IT_IS}, so I cannot say much about it.'


def _said_before(before: Sequence[str], *, first: bool) -> str:
    if not before:
        return "This is your first message in this session."
    return (
        f'Your first message was: "{_short(before[0])}".' if first else f'Before that you said: "{_short(before[-1])}".'
    )


def _from_knowledge(asked: str, knowledge: Sequence[KnownMemory]) -> str:
    best = _meant(asked.replace("?", ""), knowledge)
    verb = re.search(rf"\bdo i ({'|'.join(_VERBS)})\b", asked)
    if verb:
        said_so = [memory for memory in knowledge if _verb(memory.text) == _VERBS[verb[1]]]
        tastes = [memory for memory in knowledge if verb[1] in _TASTE and _kind_of(memory.text) == "preferences"]
        best = [memory for memory in best if memory in said_so] or said_so or best or tastes
    return f"{_joined([second_person(memory.text) for memory in best[:1]])}." if best else "I do not know that yet."


def _list_of(knowledge: Sequence[KnownMemory]) -> str:
    lines = list(dict.fromkeys(f"- {second_person(memory.text)}." for memory in knowledge))
    return "\n".join(["I remember this about you:", "", *lines]) if lines else "I remember nothing about you yet."


def second_person(memory: str, *, inside: bool = False) -> str:
    """Convert a memory from the third to the second person (`inside` a sentence); other sentences stay unchanged."""
    you, your = ("you", "your") if inside else ("You", "Your")
    text = re.sub(r"^(?:The )?[Uu]ser's ", f"{your} ", memory.strip().rstrip("."))
    text = re.sub(r"^(?:The )?[Uu]ser wants ", f"{you} want ", text)
    return re.sub(
        r"^(?:The )?[Uu]ser (\w+)", lambda found: f"{you} {'are' if found[1] == 'is' else _base(found[1])}", text
    )


def _joined(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 200 else line[:197] + "..."
