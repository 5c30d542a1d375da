"""Which memories go into a prompt when not all of them fit: those nearest to the message, and the newest.

Nearness is lexical and cheap: words that the message shares with a memory, rare ones counting more. Pure functions.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from junkie_cli.core.extraction.reply import LONGEST_MEMORY
from junkie_cli.core.turns.types import MemoryEntry

MOST_STEMS = 24
"""Words of a message that are searched for, the longest ones: they are the rarest."""

LONGEST_STEM = 40
"""Letters of a word that are searched for. What is longer is no word but a paste (a key, base64)."""

NUMBER_TOKENS = 3
"""Tokens, about, that the number of a memory takes where a model is shown it."""

_WORD = re.compile(r"\w{3,}")
_UNSPACED = re.compile("[\u2e80-\u9fff\uac00-\ud7af\u0e00-\u0e7f]{2,}")  # scripts that put no space between words
_COMMON = frozenset(
    re.findall(
        r"\w+",
        """about after again all also and any are because been before but can could did does for from get give had has
        have her here him his how into its just know let like make many may might more most much must name need not now
        off one only other our out over please remember said say see she should some tell than that the their them then
        there these they thing this those too user very want was way well were what when where which while who why will
        with would you your aber alle auch auf aus bei bin bist das dass dein dem den der des die dir doch ein eine
        einen einer für hab habe hast ich ihr ist mein mich mir mit nach nicht noch oder sein sich sie sind und uns von
        war was wer wie wir zum zur""",
    )
)


def stems_of(message: str) -> list[str]:
    """What of `message` is searched for in memories, in lower case: beginnings of its longer words, and no others."""
    text = message.lower()
    words = {word for word in _WORD.findall(text) if word not in _COMMON and not _UNSPACED.search(word)}
    pairs = {run[place : place + 2] for run in _UNSPACED.findall(text) for place in range(len(run) - 1)}
    longest = sorted({_stem(word) for word in words}, key=lambda stem: (-len(stem), stem))
    return (longest + sorted(pairs))[:MOST_STEMS]


def _stem(word: str) -> str:
    """The word without its ending, as far as a few letters stay: allergies and allergic begin alike."""
    return word[: min(max(4, len(word) - 3), LONGEST_STEM)]


def patterns_of(stems: Sequence[str]) -> list[str] | None:
    """Patterns of SQL's LIKE that find `stems` in text of lower case; None for none.

    A regular expression takes four times as long, and a hundred milliseconds for a message of many words.
    """
    return [f"%{stem.replace('_', chr(92) + '_')}%" for stem in stems] or None  # letters, digits and _ only


def choose(candidates: Sequence[MemoryEntry], message: str, budget: int, *, extra: int = 0) -> tuple[MemoryEntry, ...]:
    """Of `candidates` (newest first) those that fit into `budget` tokens, in the same order.

    Half of the room at most goes to those nearest to `message`, the rest to the newest. Each costs `extra` tokens
    beside its text.
    """
    cost = {entry.memory_id: tokens(entry.memory) + extra for entry in candidates}
    if sum(cost.values()) <= budget:
        return tuple(candidates)
    near = _within(_nearest(candidates, stems_of(message)), cost, budget // 2)
    left = budget - sum(cost[entry.memory_id] for entry in near)
    taken = {entry.memory_id for entry in near}
    newest = _within([entry for entry in candidates if entry.memory_id not in taken], cost, left)
    taken |= {entry.memory_id for entry in newest}
    return tuple(entry for entry in candidates if entry.memory_id in taken)


def _nearest(candidates: Sequence[MemoryEntry], stems: Sequence[str]) -> list[MemoryEntry]:
    """Those that share words with the message, the nearest first, the newer one of two alike."""
    texts = [f"{entry.memory} {' '.join(entry.topics)}".lower() for entry in candidates]
    found = {stem: [place for place, text in enumerate(texts) if stem in text] for stem in stems}
    scores = [0.0] * len(texts)
    for places in found.values():
        for place in places:
            scores[place] += 1 / len(places)
    order = sorted((place for place, score in enumerate(scores) if score), key=lambda place: (-scores[place], place))
    return [candidates[place] for place in order]


def _within(entries: Sequence[MemoryEntry], cost: dict[str, int], budget: int) -> list[MemoryEntry]:
    """The first of `entries` that fit."""
    fitting = []
    for entry in entries:
        budget -= cost[entry.memory_id]
        if budget < 0:
            break
        fitting.append(entry)
    return fitting


def within_budget(memories: Sequence[MemoryEntry], budget: int) -> tuple[MemoryEntry, ...]:
    """The first of `memories` that fit into `budget` tokens."""
    return tuple(_within(memories, {entry.memory_id: tokens(entry.memory) for entry in memories}, budget))


def tokens(text: str) -> int:
    """About how many tokens `text` takes as a line of a list: three bytes each is on the safe side for every script."""
    return len(text.encode()) // 3 + 4


def shortened(entry: MemoryEntry) -> MemoryEntry:
    """A memory as it goes into a prompt: what is cut off is replaced by an ellipsis."""
    if len(entry.memory) <= LONGEST_MEMORY:
        return entry
    return replace(entry, memory=f"{entry.memory[: LONGEST_MEMORY - 1]}…")


def is_shortened(memory: str) -> bool:
    """Whether this is the text of a memory that was shortened for a prompt."""
    return len(memory) == LONGEST_MEMORY and memory.endswith("…")
