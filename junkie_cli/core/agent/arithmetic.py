"""Arithmetic from a text such as `3 * (17.5 + sqrt(2))`, that always ends and never runs code. Pure functions.

Python's own parser reads the text; only numbers, the operators and the functions named here are computed, each with a
bound on the size of its result.
"""

import ast
import math
from collections.abc import Callable, Mapping
from typing import Any

LONGEST_EXPRESSION = 500
LARGEST_FACTORIAL = 1000
"""A number of 2,568 digits; 400,000 would take seconds."""

LARGEST_PRIME_TEST = 3_317_044_064_679_887_385_961_981
"""Below this, the witnesses used here decide for certain (Sorenson and Webster, 2015, arXiv:1509.00864)."""

_WITNESSES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)
_MOST_BITS = 10_000


class ArithmeticFailure(Exception):
    """There is no result; the message is the reason, in words for a model."""


def calculate(expression: str) -> int | float | bool:
    """The result of `expression`. Raises ArithmeticFailure."""
    text = expression.strip().rstrip("=? ").translate(_SIGNS)
    if len(text) > LONGEST_EXPRESSION:
        raise ArithmeticFailure(f"an expression has at most {LONGEST_EXPRESSION} characters")
    try:
        return _rounded(_value(ast.parse(text, mode="eval").body))
    except ZeroDivisionError:
        raise ArithmeticFailure("division by zero is undefined") from None
    except OverflowError:
        raise ArithmeticFailure("the result is too large") from None
    except (SyntaxError, RecursionError, MemoryError):
        raise ArithmeticFailure("this is not an expression: write numbers, + - * / ** % and functions") from None
    except (ValueError, TypeError):
        raise ArithmeticFailure("undefined for these numbers") from None


_SIGNS = str.maketrans({"^": "**", "×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "π": "pi"})
_CONSTANTS = {"pi": math.pi, "e": math.e, "tau": math.tau}


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return _bounded(node.value)
    if isinstance(node, ast.Name) and node.id in _CONSTANTS:
        return _CONSTANTS[node.id]
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        return _UNARY[type(node.op)](_value(node.operand))
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return _bounded(_BINARY[type(node.op)](_value(node.left), _value(node.right)))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        function = _FUNCTIONS.get(node.func.id.lower().removeprefix("math."))
        if function is not None:
            return _bounded(function(*(_value(one) for one in node.args)))
    raise ArithmeticFailure(f"this is not arithmetic: {ast.unparse(node)[:60]}")


def _bounded(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise OverflowError
    if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError
    return value


def _rounded(value: Any) -> int | float | bool:
    """0.1 + 0.2 is 0.3 to a reader."""
    found: int | float | bool = float(f"{value:.15g}") if isinstance(value, float) else value
    return found


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and exponent > 0:
        if base.bit_length() * exponent > 2 * _MOST_BITS and abs(base) > 1:
            raise OverflowError
        return base**exponent
    return math.pow(base, exponent)


def _factorial(n: Any) -> int:
    if not isinstance(n, int) or not 0 <= n <= LARGEST_FACTORIAL:
        raise ArithmeticFailure(f"a factorial is for whole numbers from 0 to {LARGEST_FACTORIAL}")
    return math.factorial(n)


def is_prime(n: Any) -> bool:
    """Whether `n`, below LARGEST_PRIME_TEST, is prime: Miller and Rabin's test with witnesses that decide."""
    if not isinstance(n, int) or n >= LARGEST_PRIME_TEST:
        raise ArithmeticFailure(f"is_prime is for whole numbers below {LARGEST_PRIME_TEST}")
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


_UNARY: Mapping[type, Callable[[Any], Any]] = {ast.UAdd: lambda a: +a, ast.USub: lambda a: -a}
_BINARY: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
    ast.Pow: _power,
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **{name: getattr(math, name) for name in ("sqrt", "exp", "log", "log10", "log2", "floor", "ceil", "gcd", "lcm")},
    **{name: getattr(math, name) for name in ("sin", "cos", "tan", "asin", "acos", "atan", "radians", "degrees")},
    "abs": abs,
    "round": round,
    "min": min,
    "max": max,
    "factorial": _factorial,
    "is_prime": is_prime,
}
