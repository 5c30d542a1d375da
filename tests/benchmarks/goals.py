"""The goal of each figure, from measurements made before anything was built."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks.measuring import Figures


@dataclass(frozen=True, slots=True)
class Goal:
    """`case` should take at most `factor` times what the cases of `base` take together, and `plus` seconds (or MB).

    A tuple of factors is one for each base. `what` is `seconds`, `peak` (memory, MB)
    or `size` (kB).
    """

    case: str
    base: tuple[str, ...]
    factor: float | tuple[float, ...]
    plus: float = 0.0
    what: str = "seconds"

    @property
    def text(self) -> str:
        """The goal in words."""
        factors = self.factor if isinstance(self.factor, tuple) else (self.factor,) * len(self.base)
        if isinstance(self.factor, tuple):
            pairs = zip(factors, self.base, strict=True)
            told = " + ".join(base if each == 1 else f"{each:g} × {base}" for each, base in pairs)
        elif len(self.base) > 1:
            told = f"{self.factor:g} × ({' + '.join(self.base)})"
        else:
            told = " ".join(base if self.factor == 1 else f"{self.factor:g} × {base}" for base in self.base)
        extra = f"{self.plus * 1000:g} ms" if self.what == "seconds" else f"{self.plus:g} MB"
        return " + ".join(part for part in (told, extra if self.plus else "") if part)


@dataclass(frozen=True, slots=True)
class Judged:
    """A goal and what was measured: `value` and `base` in seconds or MB; `limit` is what the goal allows."""

    goal: Goal
    value: float
    base: float
    limit: float

    @property
    def ratio(self) -> float | None:
        """Value over base; None where there is nothing to compare with."""
        return self.value / self.base if self.base else None

    @property
    def reached(self) -> bool:
        """Whether the value is within the limit."""
        return self.value <= self.limit


def judge(goals: Sequence[Goal], figures: Figures) -> list[Judged]:
    """Hold `figures` against those goals whose cases were all measured."""
    return [_judged(goal, figures) for goal in goals if {goal.case, *goal.base} <= figures.keys()]


def _judged(goal: Goal, figures: Figures) -> Judged:
    bases = [figures[base].median(goal.what) for base in goal.base]
    factors = goal.factor if isinstance(goal.factor, tuple) else (goal.factor,) * len(bases)
    limit = sum(factor * base for factor, base in zip(factors, bases, strict=True)) + goal.plus
    return Judged(goal, figures[goal.case].median(goal.what), sum(bases), limit)
