"""How `junkie doctor` answers: on a screen, in rows, as JSON, or in one line for a monitoring system."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

import typer

from junkie_cli.core.errors import UsageError
from junkie_cli.core.sanitize import cut, one_line, pad, width, wrap
from junkie_cli.terminal.output import Column, flush_answer, print_json, print_rows
from junkie_cli.terminal.progress import clear
from junkie_cli.terminal.style import Look, columns_of, encodable, is_terminal

if TYPE_CHECKING:
    from junkie_cli.core.doctor.model import Check, Report, Result

_SYMBOLS: Mapping[str, tuple[str, str, str]] = {
    "ok": ("✓", "+", "green"),
    "warning": ("!", "!", "yellow"),
    "failed": ("✗", "x", "red"),
    "skipped": ("–", "-", "dim"),
    "unknown": ("?", "?", "yellow"),
}
_LEAST_ROOM = 44  # columns
_WORD = max(map(len, _SYMBOLS))
_COLUMNS = (
    Column("STATUS", lambda result: result.status),
    Column("ID", lambda result: result.id),
    Column("DETAIL", lambda result: result.detail),
    Column("HINT", lambda result: result.hint),
)


class Answer:
    """What one run of doctor prints. This one prints nothing: each way of answering adds what it shows, and when."""

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """While the options are read: how a refused option is reported."""
        yield

    def begin(self, checks: "Sequence[Check]") -> None:
        """Before these checks run."""

    def show(self, result: "Result") -> None:
        """When a result arrives."""

    def sum_up(self, report: "Report", seconds: float) -> None:
        """After the checks ran, for `seconds`."""

    def finish(self, report: "Report", *, strict: bool) -> int:
        """At the end, with the results after all fixes; returns the exit code."""
        return int(report.status == "failed" or (strict and report.status == "warning"))


class RowsAnswer(Answer):
    """One line of fields for each result, as it arrives: for a pipe."""

    def show(self, result: "Result") -> None:
        """Print one result."""
        print_rows(_COLUMNS, [result])
        flush_answer()


class RowsAfterFixesAnswer(Answer):
    """One line of fields for each result, as it is after the fixes: for a pipe, with --fix."""

    def finish(self, report: "Report", *, strict: bool) -> int:
        """Print all results."""
        print_rows(_COLUMNS, report.results)
        return super().finish(report, strict=strict)


class JsonAnswer(Answer):
    """One JSON document at the end."""

    def finish(self, report: "Report", *, strict: bool) -> int:
        """Print the document."""
        print_json({"status": report.status, "checks": [_as_document(result) for result in report.results]})
        return super().finish(report, strict=strict)


class ScreenAnswer(Answer):
    """A line for each result as it arrives, with the suggested fix below it, then the counts: for a terminal."""

    def __init__(self) -> None:
        self._ids = 0
        self._look = Look.of(sys.stdout)

    def begin(self, checks: "Sequence[Check]") -> None:
        """Reserve room for the longest of the ids."""
        self._ids = max((width(check.id) for check in checks), default=0)

    def show(self, result: "Result") -> None:
        """Print one result."""
        clear()
        _write("\n".join(self._lines(result)) + "\n")

    def _lines(self, result: "Result") -> list[str]:
        look = self._look
        unicode, plain, style = _SYMBOLS[result.status]
        symbol = unicode if look.unicode else plain
        word = "" if look.colour else f" {pad(result.status, _WORD)}"
        margin = width(symbol) + width(word) + self._ids + 3
        room = columns_of(sys.stdout) - margin
        head = f"{look.styled(symbol + word, style)} {pad(result.id, self._ids)}  "
        if result.status in {"ok", "skipped"}:
            return [head + look.styled(cut(one_line(result.detail), room), "dim")]
        indent = margin
        if room < _LEAST_ROOM:  # too narrow for two columns: the sentence goes to the next line
            indent, room = 4, columns_of(sys.stdout) - 4
            head, lines = head.rstrip(), [""]
        else:
            lines = []
        for position, (detail, hint) in enumerate(result.pairs):
            lines += wrap(one_line(detail), room)
            if hint and hint != next((later for _, later in result.pairs[position + 1 : position + 2]), ""):
                lines += self._remedy(hint, room)
        return [head + lines[0], *(" " * indent + line for line in lines[1:])]

    def _remedy(self, hint: str, room: int) -> list[str]:
        arrow = "→" if self._look.unicode else ">"
        lines = wrap(one_line(hint), room - 2)
        return [self._look.styled(f"{' ' if i else arrow} {line}", "cyan") for i, line in enumerate(lines)]

    def sum_up(self, report: "Report", seconds: float) -> None:
        """Print the failed checks again, in the order in which to fix them, and the counts."""
        from junkie_cli.core.formatting import duration

        look = self._look
        parts = [
            look.styled(f"{report.count(status)} {_plural(status, report.count(status))}", style)
            for status, (_, _, style) in _SYMBOLS.items()
            if report.count(status)
        ]
        joint = f" {look.symbol('separator')} "
        failed = ", ".join(result.id for result in report.results if result.status == "failed")
        lines = wrap(f"failed: {failed}", columns_of(sys.stdout)) if failed else []
        counts = joint.join([*parts, look.styled(duration(seconds), "dim")])
        clear()
        _write("\n".join(["", *(look.styled(line, "red") for line in lines), counts, ""]))


class NagiosAnswer(Answer):
    """One line with the worst results, and the exit codes of monitoring plugins: 3 for unknown or no result."""

    STATES: ClassVar[Mapping[str, tuple[str, int]]] = {
        "failed": ("CRITICAL", 2),
        "unknown": ("UNKNOWN", 3),
        "warning": ("WARNING", 1),
        "ok": ("OK", 0),
    }

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Report an unknown check id as UNKNOWN: exit code 2 would be CRITICAL."""
        try:
            yield
        except UsageError as error:
            _write(f"JUNKIE UNKNOWN - {one_line(error.message)}\n")
            raise typer.Exit(3) from None

    def finish(self, report: "Report", *, strict: bool) -> int:
        """Print the line and return its exit code."""
        judged = len(report.results) > report.count("skipped")
        worst = next((status for status in self.STATES if report.count(status)), "ok") if judged else "unknown"
        word, code = self.STATES[worst]
        bad = [result for result in report.results if result.status == worst != "ok"]
        summary = "; ".join(f"{result.id}: {result.detail}" for result in bad) or f"{report.count('ok')} checks ok"
        counts = " ".join(f"{status}={report.count(status)}" for status in _SYMBOLS)
        _write(f"JUNKIE {word} - {one_line(summary).replace('|', '/')} | {counts}\n")
        return code


ANSWERS: Mapping[str, type[Answer]] = {
    "nagios": NagiosAnswer,
    "json": JsonAnswer,
    "screen": ScreenAnswer,
    "rows": RowsAnswer,
    "rows after fixes": RowsAfterFixesAnswer,
}


def mode_of(*, nagios: bool, as_json: bool, fix: bool) -> str:
    """Return which of ANSWERS these options and standard output ask for."""
    if nagios:
        return "nagios"
    if as_json:
        return "json"
    if is_terminal(sys.stdout):
        return "screen"
    return "rows after fixes" if fix else "rows"


def _plural(status: str, count: int) -> str:
    return "warnings" if status == "warning" and count > 1 else status


def _write(text: str) -> None:
    """Print lines that have been sanitized."""
    sys.stdout.write(encodable(text, sys.stdout))
    flush_answer()


def _as_document(result: "Result") -> dict[str, str]:
    names = ("id", "title", "status", "detail", "hint")
    return {name: getattr(result, name) for name in names}
