"""What was measured, for people (a table), programs (JSON) and the README (SVG)."""

import platform
from collections.abc import Mapping, Sequence
from html import escape
from importlib.metadata import version
from typing import Any

from tests.benchmarks.goals import Judged
from tests.benchmarks.measuring import Figures, Samples

_UNITS = {"peak": "MB", "size": "kB"}
TITLES = ("", "measured", "beside it", "ratio", "goal", "")


def table(judged: Sequence[Judged]) -> str:
    """One line a goal, aligned."""
    rows = [TITLES, *(_row(each) for each in judged)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(TITLES))]
    lines = [
        "  ".join(
            cell.rjust(width) if 1 <= column <= 3 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    reached = sum(each.reached for each in judged)
    return "\n".join([*lines, "", f"{reached} of {len(judged)} goals reached"])


def _row(each: Judged) -> tuple[str, ...]:
    ratio = "" if each.ratio is None else f"{each.ratio:.2f}"
    base = amount(each.base, each.goal.what) if each.goal.base else ""
    verdict = "reached" if each.reached else f"missed: {each.value / each.limit:.2f} x what it may be"
    return label(each), amount(each.value, each.goal.what), base, ratio, f"<= {each.goal.text}", verdict


def label(each: Judged) -> str:
    """The name of what was judged."""
    return each.goal.case + (", peak memory" if each.goal.what == "peak" else "")


def amount(value: float, what: str) -> str:
    """Seconds or MB as people read them."""
    if what in _UNITS:
        return f"{value:.1f} {_UNITS[what]}"
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms" if value >= 0.02 else f"{value * 1000:.1f} ms"


def document(
    judged: Sequence[Judged], figures: Mapping[str, Figures], about: Mapping[str, Any], skipped: Mapping[str, str]
) -> dict[str, Any]:
    """Everything, in seconds and MB."""
    return {
        "about": {
            **about,
            "python": platform.python_version(),
            "system": platform.system(),
            **{name: version(name) for name in ("typer", "asyncpg", "agno", "openai")},
        },
        "goals": [
            {
                "case": each.goal.case,
                "what": each.goal.what,
                "value": each.value,
                "base": list(each.goal.base),
                "base_value": each.base,
                "ratio": each.ratio,
                "goal": each.goal.text,
                "limit": each.limit,
                "reached": each.reached,
            }
            for each in judged
        ],
        "cases": {
            group: {name: _samples(samples) for name, samples in cases.items()} for group, cases in figures.items()
        },
        "skipped": dict(skipped),
    }


def _samples(samples: Samples) -> dict[str, float]:
    names = {"seconds": "seconds", "cpu": "cpu", "peak": "peak_mb", "size": "kb"}
    found = {told: samples.median(what) for what, told in names.items() if getattr(samples, what)}
    least = {"seconds_least": min(samples.seconds)} if samples.seconds else {}
    return {"runs": max(len(samples.seconds), len(samples.size)), **found, **least}


# --- the picture ------------------------------------------------------------------------------------------------------

_ROW, _TOP, _LEFT, _UNIT, _MOST = 22, 78, 250, 260, 1.6
_WIDTH = 980
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 } .small { font-size: 11px; fill: #59636e }
  .title { font-size: 16px; font-weight: 600 } .back { fill: #ffffff; stroke: #d1d9e0 } .good { fill: #2da44e }
  .over { fill: #d4762c } .line { stroke: #59636e; stroke-dasharray: 3 3 }
  @media (prefers-color-scheme: dark) { text { fill: #f0f6fc } .small { fill: #9198a1 }
    .back { fill: #0d1117; stroke: #3d444d } .line { stroke: #9198a1 } }
"""


def picture(judged: Sequence[Judged], about: Mapping[str, Any]) -> str:
    """Bars: how much of what the goal allows was used; those beyond the dashed line missed it."""
    title = f"junkie beside psql, pg_dump and bare clients, {about['rows']:,} memories"
    how = (
        f"medians of {about['rounds']} interleaved rounds on {about['processors']} processors at load {about['load']};"
        f" moved and backed up: {about['moved']:,} memories"
    )
    height = _TOP + _ROW * len(judged) + 14
    goal_x = _LEFT + _UNIT
    bars = "\n".join(_bar(each, _TOP + _ROW * number) for number, each in enumerate(judged))
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img" \
aria-label="{escape(title)}">
<style>{_STYLE}</style>
<rect class="back" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="6"/>
<text class="title" x="16" y="26">{escape(title)}</text>
<text class="small" x="16" y="44">{escape(how)}</text>
<text class="small" x="{goal_x}" y="66" text-anchor="middle">goal</text>
<line class="line" x1="{goal_x}" y1="70" x2="{goal_x}" y2="{height - 10}"/>
{bars}
</svg>
"""


def _bar(each: Judged, y: int) -> str:
    share = each.value / each.limit
    width = max(round(min(share, _MOST) * _UNIT), 1)
    beside = "" if each.ratio is None else f" = {each.ratio:.2f} × {' + '.join(each.goal.base)}"
    said = f"{amount(each.value, each.goal.what)}{beside}"
    colour = "good" if each.reached else "over"
    end = _LEFT + round(_UNIT * _MOST) + 8
    return (
        f'<text x="{_LEFT - 10}" y="{y + 12}" text-anchor="end">{escape(label(each))}</text>'
        f'<rect class="{colour}" x="{_LEFT}" y="{y + 1}" width="{width}" height="14" rx="2"/>'
        f'<text class="small" x="{end}" y="{y + 12}">{escape(said)}</text>'
    )
