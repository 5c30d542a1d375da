"""How a benchmark's figures are judged and reported."""

from tests.benchmarks import report
from tests.benchmarks.goals import Goal, judge
from tests.benchmarks.measuring import Samples


def test_a_goal_is_its_base_times_its_factor_and_something() -> None:
    figures = {"x": Samples([3.0]), "a": Samples([1.0]), "b": Samples([0.5])}
    goals = [Goal("x", ("a", "b"), 2.0), Goal("x", ("a", "b"), (1.0, 1.2), plus=1.3), Goal("x", ("missing",), 1.0)]
    first, second = judge(goals, figures)
    assert (first.limit, first.ratio, first.reached) == (3.0, 2.0, True)
    assert (round(second.limit, 6), second.reached) == (2.9, False)
    table = report.table([first, second])
    assert "<= 2 × (a + b)" in table
    assert "<= a + 1.2 × b + 1300 ms" in table
    assert "1 of 2 goals reached" in table
