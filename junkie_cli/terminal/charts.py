"""Draws bars and sparklines, one line each."""

from collections.abc import Sequence

from junkie_cli.terminal.style import SYMBOLS


def bar(value: float, maximum: float, width: int, *, unicode: bool = True) -> str:
    """Draw a bar for `value` relative to `maximum`, in eighths of a column; any value above zero is visible."""
    blocks = SYMBOLS["bar"][0 if unicode else 1]
    steps = len(blocks)
    share = min(max(value / maximum, 0), 1) if maximum > 0 else 0
    filled = round(share * width * steps)
    if share > 0:
        filled = max(filled, 1)
    full, rest = divmod(filled, steps)
    return blocks[0] * full + (blocks[rest] if rest else "")


def sparkline(values: Sequence[float], *, unicode: bool = True) -> str:
    """Draw one character for each value, scaled from zero to the largest."""
    levels = SYMBOLS["spark"][0 if unicode else 1]
    top = max(values, default=0)
    if top <= 0:
        return levels[0] * len(values)
    return "".join(levels[min(int(max(value, 0) / top * len(levels)), len(levels) - 1)] for value in values)
