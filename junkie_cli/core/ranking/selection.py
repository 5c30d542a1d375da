"""Chooses the texts that fit into a prompt."""

from collections.abc import Iterable, Sequence


def tokens(text: str) -> int:
    """About how many tokens `text` takes as a line of a list; three bytes a token is enough for every script."""
    return len(text.encode()) // 3 + 4


def fitting(costs: Sequence[int], ranked: Iterable[int], budget: int) -> list[int]:
    """Places of the texts that fit into `budget`, in the order of `costs`.

    The best of `ranked` come first; the room that they leave goes to the first of the others. `costs` has the tokens of
    each text, newest text first.
    """
    if sum(costs) <= budget:
        return list(range(len(costs)))
    chosen: set[int] = set()
    left = _take(chosen, ranked, costs, budget)
    _take(chosen, (place for place in range(len(costs)) if place not in chosen), costs, left)
    return sorted(chosen)


def _take(chosen: set[int], places: Iterable[int], costs: Sequence[int], budget: int) -> int:
    """Add the first of `places` that fit; return the budget that is left."""
    for place in places:
        if costs[place] > budget:
            break
        chosen.add(place)
        budget -= costs[place]
    return budget
