"""`python -m tests.benchmarks FOLDER --rows 5000000` (make bench): everything beside its floor, in one run.

Prints one table of ratios; with `--json` and `--svg` also writes them there. A figure that misses its goal is told and
is no failure: on a busy machine seconds mean little. A command that fails is one.
"""

import argparse
import asyncio
import compileall
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import junkie_cli
from tests.benchmarks import administration as a
from tests.benchmarks import conversation as c
from tests.benchmarks import data, report
from tests.benchmarks.goals import Goal, Judged, judge
from tests.benchmarks.measuring import Case, CaseFailed, Figures, Starter, measure
from tests.benchmarks.place import Place


@dataclass(frozen=True, slots=True)
class Group:
    """Cases that run in turn, and their goals; `share` of the rounds asked for, for what takes long."""

    name: str
    cases: Callable[[Place], list[Case]]
    goals: Callable[[], Iterable[Goal]]
    share: float = 1.0


@dataclass(slots=True)
class Run:
    """What was measured by group, how it was judged, and what was left out and why."""

    figures: dict[str, Figures] = field(default_factory=dict)
    judged: list[Judged] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, group: str, figures: Figures, goals: Iterable[Goal]) -> None:
        """Take in a group: its goals compare only what ran side by side."""
        self.figures[group] = figures
        self.judged += judge(list(goals), figures)


PACKAGE = Path(junkie_cli.__file__).parent

PLAIN = (
    Group("startup", a.startup, a.startup_goals, 1.5),
    Group("lists", a.lists, a.lists_goals),
    Group("pages", a.pages, a.pages_goals),
    Group("stats", a.stats, a.stats_goals, 0.6),
    Group("search", a.search, a.search_goals, 0.4),
    Group("deletions", a.deletions, a.deletions_goals),
    Group("export", a.transfers, a.transfers_goals, 0.4),
    Group("import", a.imports, a.imports_goals, 0.4),
    Group("backup", a.backups, a.backups_goals, 0.3),
    Group("restore", a.restores, a.restores_goals, 0.3),
    Group("embedded", a.embedded, a.embedded_goals, 0.6),
)
INDEXED = (
    Group("indexed pages", lambda place: a.pages(place, ", indexed"), lambda: a.pages_goals(", indexed")),
    Group("indexed deletions", lambda place: a.deletions(place, ", indexed"), lambda: a.deletions_goals(", indexed")),
    Group("indexed search", a.indexed_search, a.indexed_search_goals),
)


def main() -> None:
    """Measure, judge and report."""
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="junkie-bench-", dir=options.scratch))
    folder.chmod(0o755)  # as root, embedded servers run as another user, who must reach their data
    run = Run()
    try:
        bench = asyncio.run(data.ensure(options.folder.absolute(), options.rows, _say))
        moved = asyncio.run(data.ensure(options.folder.absolute(), min(options.rows, options.moved), _say))
        peers = None if options.no_peers else options.folder.absolute() / "peers"
        place = Place(bench, moved, folder, peers=peers)
        try:
            _run(options, place, run)
        finally:
            place.close()
            _report(options, run)  # of an interrupted run, what there is
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run every command beside its floor or peer.")
    data.arguments(parser)
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", 9)), help="runs of each case")
    parser.add_argument("--moved", type=int, default=1_000_000, help="memories to export, import and back up at most")
    parser.add_argument("--turns", type=int, default=200, help="turns of one conversation")
    parser.add_argument("--only", default="", help="names of groups, by commas")
    parser.add_argument("--no-peers", action="store_true", help="do not install llm and pgcli")
    parser.add_argument("--scratch", type=Path, default=None, help="where the run's own files go")
    parser.add_argument("--json", type=Path, default=None, help="write all figures here")
    parser.add_argument("--svg", type=Path, default=None, help="draw the picture here")
    return parser.parse_args()


def _run(options: argparse.Namespace, place: Place, run: Run) -> None:
    wanted = set(filter(None, options.only.split(",")))

    def chosen(groups: Iterable[Group]) -> list[Group]:
        return [group for group in groups if not wanted or group.name in wanted]

    compileall.compile_dir(PACKAGE, quiet=1)
    with Starter(place.folder, place.environment()) as starter:
        place.drop_indexes()
        for group in chosen(PLAIN):
            _measure(group, place, starter, options.rounds, run)
        if chosen(INDEXED):
            place.add_indexes()
            for group in chosen(INDEXED):
                _measure(group, place, starter, options.rounds, run)
            place.drop_indexes()
        if not wanted or "chat" in wanted:
            _say("chat ...")
            run.add("chat", c.run(place, starter, options.rounds, options.turns, run.skipped), c.goals())


def _measure(group: Group, place: Place, starter: Starter, rounds: int, run: Run) -> None:
    _say(f"{group.name} ...")
    figures = measure(starter, group.cases(place), max(round(rounds * group.share), 1))
    run.add(group.name, figures, group.goals())


def _report(options: argparse.Namespace, run: Run) -> None:
    print(report.table(run.judged))
    for what, why in run.skipped.items():
        print(f"skipped: {what}: {why}")
    moved = min(options.rows, options.moved)
    about = {
        "rows": options.rows,
        "moved": moved,
        "rounds": options.rounds,
        "made_at": datetime.now(UTC).isoformat("T", "minutes"),
        "processors": os.cpu_count(),
        "load": round(os.getloadavg()[1], 1),
    }
    if options.json:
        text = json.dumps(report.document(run.judged, run.figures, about, run.skipped), indent=1)
        options.json.write_text(text + "\n", "utf-8")
    if options.svg:
        options.svg.write_text(report.picture(run.judged, about), "utf-8")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except CaseFailed as failure:
        sys.exit(f"benchmark: {failure}")
