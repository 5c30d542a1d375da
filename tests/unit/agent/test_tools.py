"""The team's tools without a team: arithmetic that ends, and plain text among a prompt's tags."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from junkie_cli.core.agent.arithmetic import is_prime
from junkie_cli.core.agent.memory_manager import plain_line, plain_text
from junkie_cli.core.agent.tools import BioTools, EverydayTools
from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.ranking.selection import tokens
from junkie_cli.core.turns.memory_choice import within_budget
from junkie_cli.core.turns.types import Counts, Exchange, MemoryEntry
from tests.support.texts import texts


def calculated(expression: str) -> dict[str, Any]:
    found = json.loads(
        EverydayTools().calculate(expression), parse_constant=lambda word: pytest.fail(f"{word} is not JSON")
    )
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("2 + 3", 5),
        ("2-3", -1),
        ("1.5 × 4", 6),
        ("1 / 4", 0.25),
        ("0.1 + 0.2", 0.3),
        ("2^10", 1024),
        ("17.5 * (3 + 4) / 2", 61.25),
        ("-2 ** 2", -4),
        ("7 // 2 + 7 % 2", 4),
        ("sqrt(49) =", 7),
        ("1_000 * 2", 2000),
        ("round(2 * pi, 3)", 6.283),
        ("factorial(0)", 1),
        ("factorial(20)", math.factorial(20)),
        ("factorial(1000)", math.factorial(1000)),
        ("is_prime(97)", True),
        ("is_prime(-7)", False),
        ("is_prime(2**61 - 1)", True),
        ("is_prime(100000000000031 * 3)", False),
    ],
)
def test_results(expression: str, result: float) -> None:
    assert calculated(expression)["result"] == result


@pytest.mark.parametrize(
    "expression",
    [
        "1 / 0",
        "1e308 + 1e308",
        "1e999",
        "10.0 ** 400",
        "9**9**9**9",
        "2 ** 100000",
        "(10 ** 3000) * (10 ** 3000)",
        "(-8) ** 0.5",
        "0 ** -1",
        "sqrt(-1)",
        "factorial(-1)",
        "factorial(1001)",
        "factorial(400000000)",
        "factorial(2.5)",
        "is_prime(10**30)",
        "",
        "two plus two",
        "2 +",
        "x + 1",
        "(1).__class__",
        "__import__('os').system('true')",
        "[1] * 10",
        "'a' * 10",
        "1 if 1 else 2",
        "min()",
        "(" * 400,
        "1 + " * 400,
        "-" * 499 + "1",
    ],
)
def test_what_has_no_result_is_an_error_in_words(expression: str) -> None:
    found = calculated(expression)
    assert set(found) == {"expression", "error"} or expression.startswith("--")


@given(st.text(st.sampled_from("0123456789.+-*/%^() sqrtfactorial,"), max_size=60))
def test_every_text_ends_in_a_result_or_an_error(expression: str) -> None:
    assert calculated(expression).keys() - {"expression"} in ({"result"}, {"error"})


def test_the_tools_take_few_tokens() -> None:
    """Agno's calculator alone has eight tools and 677 tokens."""
    tools = EverydayTools()
    assert sorted({**tools.functions, **tools.async_functions}) == ["calculate", "current_time"]
    for function in tools.functions.values():
        function.process_entrypoint()
    assert len(json.dumps([function.to_dict() for function in tools.functions.values()])) < 1000
    assert str(datetime.now().year) in tools.current_time()


@given(st.integers(0, 20_000))
def test_primes(n: int) -> None:
    assert is_prime(n) == (n > 1 and all(n % divisor for divisor in range(2, math.isqrt(n) + 1)))


# Strong pseudoprimes to many bases (OEIS A014233).
@pytest.mark.parametrize("n", [2047, 1373653, 25326001, 3215031751, 2152302898747, 341550071728321])
def test_no_pseudoprime_passes(n: int) -> None:
    assert not is_prime(n)


@given(texts())
def test_no_text_opens_or_closes_a_tag(text: str) -> None:
    assert not set("<>") & set(plain_text(text))
    assert len(plain_text(text)) == len(text)
    assert "\n" not in plain_line(text)


@given(st.lists(texts(max_size=60), max_size=30), st.integers(0, 200))
def test_the_budget_is_kept_and_used_newest_first(texts: list[str], budget: int) -> None:
    memories = [MemoryEntry(str(n), text.encode(errors="replace").decode(), (), None) for n, text in enumerate(texts)]
    taken = memories[: within_budget(memories, budget)]
    assert sum(tokens(memory.memory) for memory in taken) <= budget
    if len(taken) < len(memories):
        assert sum(tokens(memory.memory) for memory in memories[: len(taken) + 1]) > budget


class Knows:
    """What is known of the users asked for, who are kept in `asked`."""

    def __init__(self, *, away: bool = False) -> None:
        self.asked: set[str] = set()
        self._away = away

    def _ask(self, user_id: str) -> None:
        self.asked.add(user_id)
        if self._away:
            raise DatabaseError("the server db.internal is away")

    async def counts(self, user_id: str) -> Counts:
        self._ask(user_id)
        return Counts(2, 1, 0, datetime(2026, 1, 2, tzinfo=UTC))

    async def search_memories(self, user_id: str, text: str, *, limit: int) -> list[MemoryEntry]:
        self._ask(user_id)
        return [MemoryEntry("m1", f"{text} {limit}", (), None)]

    async def search_exchanges(self, user_id: str, text: str, *, limit: int) -> list[Exchange]:
        self._ask(user_id)
        return [Exchange("r1", None, "COMPLETED", "x" * 1000, "yes")]


async def test_bio_tools_ask_for_their_own_user_alone() -> None:
    knows = Knows()
    tools = BioTools("ada", knows, memory=True)
    details = json.loads(await tools.get_user_details())
    assert details == {"user_id": "ada", "memories": 2, "sessions": 1, "first_seen": "2026-01-02"}
    assert json.loads(await tools.search_my_memories("tea")) == {"memories": ["tea 10"]}
    [said] = json.loads(await tools.search_my_history("tea"))["exchanges"]
    assert len(said["user"]) == 500
    assert knows.asked == {"ada"}
    functions = {**tools.functions, **tools.async_functions}
    assert sorted(functions) == ["get_user_details", "search_my_history", "search_my_memories"]
    for function in functions.values():
        function.process_entrypoint()
        assert "user" not in str(function.parameters.get("properties", {}).keys())


async def test_without_memory_there_is_nothing_to_search_in_it() -> None:
    tools = BioTools("ada", Knows(), memory=False)
    assert sorted({**tools.functions, **tools.async_functions}) == ["get_user_details", "search_my_history"]


async def test_why_something_cannot_be_read_is_not_for_the_provider() -> None:
    answer = await BioTools("ada", Knows(away=True), memory=True).search_my_memories("tea")
    assert json.loads(answer) == {"error": "this cannot be read at the moment"}
