"""`python -m tests.benchmarks.recall FILE` (make recall DATA=FILE): how often the right memories are found.

FILE is JSON, or JSON compressed with gzip (`.gz`), with three lists:

- `memories`: [conversation, speaker, session, seconds since 1970, text, [ids of the evidence that it holds]]
- `questions`: [conversation, category, question, [ids of the evidence that answers it], answer]
- `distractors`: [text], memories that answer nothing

A question counts when some memory of its conversation holds some of its evidence. For each method and each set of
memories (one conversation, all conversations, all with the distractors) three shares are printed: questions with any
and with all of their evidence among the memories that fit into a prompt, and questions with any of it among the first
ten results of a search.
"""

import argparse
import gzip
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from junkie_cli.core.ranking.languages import DEFAULT_LANGUAGES
from junkie_cli.core.ranking.query import Query
from junkie_cli.core.ranking.selection import fitting, tokens
from junkie_cli.core.ranking.texts import rank_texts

BUDGET = 2_000
"""Tokens of a prompt's memories."""

FIRST = 10


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory and the evidence that it holds."""

    conversation: str
    at: float
    text: str
    evidence: frozenset[str]


@dataclass(frozen=True, slots=True)
class Question:
    """A question and the evidence that answers it, as far as any memory holds it."""

    conversation: str
    text: str
    evidence: frozenset[str]


Search = Callable[[str], list[int]]
"""Gives the places of memories that match a question, best first."""

Method = Callable[[Sequence[Memory]], Search]


def newest(memories: Sequence[Memory]) -> Search:
    """No ranking: the prompt gets the newest memories, a search finds nothing."""
    return lambda question: []


def by_words(memories: Sequence[Memory], languages: Sequence[str] = DEFAULT_LANGUAGES) -> Search:
    """The ranking by words."""
    texts = [(memory.text, memory.at) for memory in memories]
    return lambda question: [match.place for match in rank_texts(texts, Query.of(question, languages))]


METHODS: dict[str, Method] = {"newest first": newest, "by words": by_words}


def read(path: Path) -> tuple[list[Memory], list[Question], list[Memory]]:
    """Memories, questions and distractors of a file; the times of distractors are spread over those of the memories."""
    data: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
    memories = [Memory(row[0], row[3], row[4], frozenset(row[5])) for row in data["memories"]]
    known: dict[str, frozenset[str]] = {}
    for memory in memories:
        known[memory.conversation] = known.get(memory.conversation, frozenset()) | memory.evidence
    asked = [Question(row[0], row[2], known.get(row[0], frozenset()).intersection(row[3])) for row in data["questions"]]
    spread = random.Random(1)
    others = [Memory("", spread.choice(memories).at, text, frozenset()) for text in data["distractors"]]
    return memories, [question for question in asked if question.evidence], others


def shares(method: Method, pool: Sequence[Memory], questions: Sequence[Question]) -> tuple[int, int, int]:
    """How many questions have any and all of their evidence in the prompt, and any of it in the first results."""
    ordered = sorted(pool, key=lambda memory: -memory.at)
    costs = [tokens(memory.text) for memory in ordered]
    search = method(ordered)
    counted = [0, 0, 0]
    for question in questions:
        ranked = search(question.text)
        prompt = _evidence(ordered, fitting(costs, ranked, BUDGET), question)
        counted[0] += bool(prompt)
        counted[1] += prompt == question.evidence
        counted[2] += bool(_evidence(ordered, ranked[:FIRST], question))
    return counted[0], counted[1], counted[2]


def _evidence(memories: Sequence[Memory], places: Sequence[int], question: Question) -> frozenset[str]:
    own = (memories[place] for place in places if memories[place].conversation == question.conversation)
    return frozenset(id_ for memory in own for id_ in memory.evidence & question.evidence)


def rows(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """Cells of the table: the method, and for each set of memories the three shares in percent."""
    memories, questions, others = read(path)
    conversations = sorted({question.conversation for question in questions})
    yield (
        f"any/all in {BUDGET:,} tokens, first {FIRST} (%)",
        f"one of {len(conversations)} conversations",
        f"all {len(memories):,} memories",
        f"and {len(others):,} distractors",
    )
    for name, method in METHODS.items():
        single = [
            shares(
                method,
                [memory for memory in memories if memory.conversation == conversation],
                [question for question in questions if question.conversation == conversation],
            )
            for conversation in conversations
        ]
        one = (sum(each[0] for each in single), sum(each[1] for each in single), sum(each[2] for each in single))
        sets = (one, shares(method, memories, questions), shares(method, memories + others, questions))
        yield (name, *(_percent(counted, len(questions)) for counted in sets))  # type: ignore[misc]


def _percent(counted: tuple[int, int, int], of: int) -> str:
    some, every, first = (100 * count / max(1, of) for count in counted)
    return f"{some:.1f}/{every:.1f}, {first:.1f}"


def main() -> None:
    """Print the table of a file."""
    parser = argparse.ArgumentParser(description="Measure how often memories that answer a question are found.")
    parser.add_argument("file", type=Path, help="questions and memories as JSON, also compressed with gzip")
    for row in rows(parser.parse_args().file):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, (44, 24, 24, 24), strict=True)).rstrip())


if __name__ == "__main__":
    main()
