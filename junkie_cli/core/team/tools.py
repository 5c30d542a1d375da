"""The team's own tools: arithmetic that always ends, and what the team may know of the person it talks with."""

import json
import math
from collections.abc import Callable
from typing import Any, Protocol

from agno.tools import Toolkit
from agno.tools.calculator import CalculatorTools

from junkie_cli.core.errors import JunkieError
from junkie_cli.core.team.values import Counts, Exchange, MemoryEntry

LARGEST_FACTORIAL = 1000
"""A number of 2,568 digits; agno's froze the event loop for seconds on 400,000."""

LARGEST_PRIME_TEST = 3_317_044_064_679_887_385_961_981
"""Below this, the witnesses used here decide for certain (Sorenson and Webster, 2015, arXiv:1509.00864)."""

_WITNESSES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)

FOUND_AT_MOST = 10
"""Memories or exchanges that a search gives to the model."""


class BoundedCalculatorTools(CalculatorTools):
    """Agno's calculator, with an error in words where agno's raises, writes Infinity, or does not come back."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def add(self, a: float, b: float) -> str:
        """Add two numbers and return the result.

        Args:
            a (float): First number.
            b (float): Second number.
        """
        return _answer("addition", lambda: a + b)

    def subtract(self, a: float, b: float) -> str:
        """Subtract second number from first and return the result.

        Args:
            a (float): First number.
            b (float): Second number.
        """
        return _answer("subtraction", lambda: a - b)

    def multiply(self, a: float, b: float) -> str:
        """Multiply two numbers and return the result.

        Args:
            a (float): First number.
            b (float): Second number.
        """
        return _answer("multiplication", lambda: a * b)

    def divide(self, a: float, b: float) -> str:
        """Divide first number by second and return the result.

        Args:
            a (float): Numerator.
            b (float): Denominator.
        """
        return _answer("division", lambda: a / b)

    def exponentiate(self, a: float, b: float) -> str:
        """Raise first number to the power of the second number and return the result.

        Args:
            a (float): Base.
            b (float): Exponent.
        """
        return _answer("exponentiation", lambda: math.pow(a, b))

    def factorial(self, n: int) -> str:
        """Calculate the factorial of a number of at most 1000 and return the result.

        Args:
            n (int): Number to calculate the factorial of.
        """
        if not 0 <= n <= LARGEST_FACTORIAL:
            return _error("factorial", f"only for whole numbers from 0 to {LARGEST_FACTORIAL}")
        return _answer("factorial", lambda: math.factorial(n))

    def is_prime(self, n: int) -> str:
        """Check if a number is prime and return the result.

        Args:
            n (int): Number to check if prime.
        """
        if n >= LARGEST_PRIME_TEST:
            return _error("prime_check", f"only for numbers below {LARGEST_PRIME_TEST}")
        return _answer("prime_check", lambda: is_prime(n))

    def square_root(self, n: float) -> str:
        """Calculate the square root of a number and return the result.

        Args:
            n (float): Number to calculate the square root of.
        """
        return _answer("square_root", lambda: math.sqrt(n))


def _answer(operation: str, compute: Callable[[], float]) -> str:
    try:
        result = compute()
    except ZeroDivisionError:
        return _error(operation, "division by zero is undefined")
    except OverflowError:
        return _error(operation, "the result is too large")
    except ValueError:
        return _error(operation, "undefined for these numbers")
    if isinstance(result, float) and not math.isfinite(result):
        return _error(operation, "the result is not a finite number")
    return json.dumps({"operation": operation, "result": result})


def _error(operation: str, reason: str) -> str:
    return json.dumps({"operation": operation, "error": reason})


def is_prime(n: int) -> bool:
    """Whether `n`, below LARGEST_PRIME_TEST, is prime: Miller and Rabin's test with witnesses that decide."""
    if n < 2:
        return False
    for prime in _WITNESSES:
        if n % prime == 0:
            return n == prime
    shift = ((n - 1) & -(n - 1)).bit_length() - 1
    odd = (n - 1) >> shift
    return all(_passes(n, witness, odd, shift) for witness in _WITNESSES)


def _passes(n: int, witness: int, odd: int, shift: int) -> bool:
    power = pow(witness, odd, n)
    if power in (1, n - 1):
        return True
    for _ in range(shift - 1):
        power = power * power % n
        if power == n - 1:
            return True
    return False


class Knowledge(Protocol):
    """What BioTools reads."""

    async def counts(self, user_id: str) -> Counts:
        """How much is kept of this user."""
        ...

    async def memories(self, user_id: str, text: str | None = None, *, limit: int = 1000) -> list[MemoryEntry]:
        """The user's memories that contain `text`."""
        ...

    async def exchanges(
        self, user_id: str, *, session_id: str | None = None, text: str | None = None, limit: int = 200
    ) -> list[Exchange]:
        """The user's exchanges that contain `text`."""
        ...


class BioTools(Toolkit):
    """Read-only tools about the one person that this team talks with.

    The user is bound here and is no parameter of a tool: whatever a model asks for, it reads nobody else's data.
    """

    def __init__(self, user_id: str, knowledge: Knowledge, *, memory: bool) -> None:
        self._user_id = user_id
        self._knowledge = knowledge
        searches = [self.search_my_memories] if memory else []
        super().__init__(name="bio_tools", tools=[self.get_user_details, *searches, self.search_my_history])

    async def get_user_details(self) -> str:
        """Tell who the user is to this program: their user id, since when, and how much is remembered of them."""

        async def read() -> dict[str, Any]:
            counts = await self._knowledge.counts(self._user_id)
            first = counts.first_seen.date().isoformat() if counts.first_seen else None
            return {
                "user_id": self._user_id,
                "memories": counts.memories,
                "sessions": counts.sessions,
                "first_seen": first,
            }

        return await _told(read)

    async def search_my_memories(self, query: str) -> str:
        """Search everything that is remembered of the user, also what is not in your context.

        Args:
            query (str): A word or part of a phrase that the memory contains.
        """

        async def read() -> dict[str, Any]:
            found = await self._knowledge.memories(self._user_id, query, limit=FOUND_AT_MOST)
            return {"memories": [entry.memory[:500] for entry in found]}

        return await _told(read)

    async def search_my_history(self, query: str) -> str:
        """Search what the user and you said to each other in earlier conversations.

        Args:
            query (str): A word or part of a phrase that was said.
        """

        async def read() -> dict[str, Any]:
            found = await self._knowledge.exchanges(self._user_id, text=query, limit=FOUND_AT_MOST)
            said = [
                {
                    "at": entry.at.isoformat() if entry.at else None,
                    "user": entry.message[:500],
                    "you": entry.answer[:500],
                }
                for entry in found
            ]
            return {"exchanges": said}

        return await _told(read)


async def _told(read: Callable[[], Any]) -> str:
    """What `read` gives as JSON. Why it could not be read stays here: it would go to the provider."""
    try:
        return json.dumps(await read(), ensure_ascii=False)
    except JunkieError:
        return json.dumps({"error": "this cannot be read at the moment"})
