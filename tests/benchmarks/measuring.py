"""Processes measured side by side: each round runs every case once, so that a busy machine is busy for all of them."""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

STARTER = Path(__file__).with_name("starter.py")


class CaseFailed(Exception):
    """A measured process did not do what it should."""


@dataclass(frozen=True, slots=True)
class Command:
    """A process to measure: absolute argv, more environment, a terminal's columns (0: a file), `until` it shows that.

    `before` and `after` run unmeasured around it.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    tty: int = 0
    until: str = ""
    before: Callable[[], Any] | None = None
    after: Callable[[], Any] | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is measured, under a name that goals refer to. `make` gives the command of a round."""

    name: str
    make: Callable[[int], Command]
    rounds: int = 0  # 0: as many as the group has


@dataclass(slots=True)
class Samples:
    """What the rounds of one case gave: seconds, seconds of CPU, peak memory in MB, kB to and from the database."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: list[float] = field(default_factory=list)
    size: list[float] = field(default_factory=list)

    def median(self, what: str) -> float:
        """The median of `seconds`, `cpu`, `peak` or `size`."""
        return statistics.median(getattr(self, what))


Figures = dict[str, Samples]


class Starter:
    """The process that starts what is measured; `with Starter(folder, environment) as starter`."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = dict(environment)
        self.out = folder / "out"
        self.errors = folder / "errors"

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(STARTER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def run(self, command: Command) -> dict[str, Any]:
        """Run one command and return its figures. Raises CaseFailed when it does not exit with 0."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {
            "argv": list(command.argv),
            "env": self.environment | dict(command.env),
            "cwd": str(self.folder),
            "out": str(self.out),
            "errors": str(self.errors),
            "tty": command.tty,
            "until": command.until,
        }
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        figures: dict[str, Any] = json.loads(self._process.stdout.readline())
        if figures["status"]:
            said = self.errors.read_text("utf-8", "replace")[-2000:] or self.out.read_text("utf-8", "replace")[-2000:]
            raise CaseFailed(f"{' '.join(command.argv)[:300]} ended with {figures['status']}: {said}")
        return figures


def measure(starter: Starter, cases: Sequence[Case], rounds: int) -> Figures:
    """Run `cases` in turn, `rounds` times over."""
    figures: Figures = {}
    for number in range(rounds):
        for case in cases:
            if number < (case.rounds or rounds):
                _measure_once(starter, case, number, figures.setdefault(case.name, Samples()))
    return figures


def _measure_once(starter: Starter, case: Case, number: int, samples: Samples) -> None:
    command = case.make(number)
    if command.before:
        command.before()
    try:
        found = starter.run(command)
    except CaseFailed as failure:
        raise CaseFailed(f"{case.name}: {failure}") from None
    finally:
        if command.after:
            command.after()
    samples.seconds.append(found["seconds"])
    samples.cpu.append(found["cpu"])
    samples.peak.append(found["peak"] / 1024)
