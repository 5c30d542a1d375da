"""What fits into a prompt: the best first, then the newest, never more than the budget."""

from hypothesis import given
from hypothesis import strategies as st

from junkie_cli.core.ranking.selection import fitting, tokens


def test_everything_is_chosen_when_it_fits() -> None:
    assert fitting([5, 5, 5], [2], 15) == [0, 1, 2]


def test_the_best_come_first_and_the_newest_take_the_rest() -> None:
    assert fitting([5, 5, 5, 5], [3], 10) == [0, 3]


def test_one_that_does_not_fit_ends_the_choice() -> None:
    assert fitting([3, 3, 9, 1], [2, 3], 8) == [0, 1]


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(0, 300))
def test_the_budget_is_kept(costs: list[int], budget: int) -> None:
    ranked = list(range(0, len(costs), 2))
    chosen = fitting(costs, ranked, budget)
    assert sum(costs[place] for place in chosen) <= budget
    assert chosen == sorted(set(chosen))


def test_tokens_are_counted_in_bytes() -> None:
    assert tokens("abc") == 5
    assert tokens("京都") == 6
