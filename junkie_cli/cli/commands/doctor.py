"""`junkie doctor`: diagnose problems and fix what can be fixed."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from junkie_cli.core.errors import UsageError
from junkie_cli.core.sanitize import cut, one_line, pad, width, wrap
from junkie_cli.terminal import completion
from junkie_cli.terminal.invocation import JsonOption, YesOption, invocation
from junkie_cli.terminal.output import (
    Column,
    confirm_typed,
    flush_answer,
    note,
    print_json,
    print_rows,
    require_confirmation,
    working,
)
from junkie_cli.terminal.progress import clear
from junkie_cli.terminal.style import Look, columns_of, encodable, is_terminal

if TYPE_CHECKING:
    from junkie_cli.core.doctor.context import Context
    from junkie_cli.core.doctor.model import Check, Fix, Report, Result

app = typer.Typer()


class _DoctorCommand(typer.core.TyperCommand):
    """Accepts `--fix=ID` as well as `--fix ID`: the option has an optional value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments after moving the value of --fix to the arguments."""
        split = [part for word in args for part in (word.split("=", 1) if word.startswith("--fix=") else (word,))]
        return super().parse_args(ctx, split)


@app.command(
    cls=_DoctorCommand,
    epilog="Examples:\n\n  junkie doctor\n  junkie doctor --deep --json\n  junkie doctor --only database,groq.accepts\n"
    "  junkie doctor --fix schema.indexes\n  junkie doctor --nagios --max-backup-age 26",
)
def doctor(
    checks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID]...",
            help="Checks to run, or with --fix to fix (default: all).",
            autocompletion=completion.check_ids,
        ),
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Show available fixes, ask, apply them, and check again.")] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also call the models, and store, recall and erase a test memory.")
    ] = False,
    only: Annotated[
        str,
        typer.Option(
            "--only",
            metavar="ID,...",
            help="Run these checks, or groups such as database.",
            autocompletion=completion.check_ids,
        ),
    ] = "",
    strict: Annotated[bool, typer.Option("--strict", help="Also exit 1 on warnings and unknown results.")] = False,
    nagios: Annotated[
        bool, typer.Option("--nagios", help="Print one line for a monitoring system; exit 0, 1 (warning), 2 or 3.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="S", min=1, help="Time limit in seconds (default: 15; with --deep: 60)."),
    ] = None,
    max_backup_age: Annotated[
        float | None,
        typer.Option("--max-backup-age", metavar="HOURS", min=0, help="Fail if the newest verified backup is older."),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="With --deep: use the rehearsal model instead of the memory model.")
    ] = False,
    yes: YesOption = False,
    confirm: Annotated[
        str | None,
        typer.Option(
            "--confirm", metavar="NAME", help="Database name, to confirm the fix of schema.version or embedded.major."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Diagnose common problems and suggest fixes. Nothing is changed without --fix."""
    if nagios and (fix or as_json):
        raise UsageError("--nagios excludes --fix and --json", hint="leave one of them out")
    wanted = [*(checks or ()), *(part.strip() for part in only.split(",") if part.strip())]
    silent = nagios or as_json or (fix and not is_terminal(sys.stdout))
    asked = _request(wanted, deep, timeout, max_backup_age, offline=offline, show_results=not silent, nagios=nagios)
    report = asked.examine()
    if fix:
        report = _apply_fixes(asked, report, _chosen(report, named=bool(wanted)), yes, confirm)
        if not asked.show_results and not as_json:
            print_rows(_COLUMNS, report.results)
    if nagios:
        raise typer.Exit(_print_for_nagios(report))
    if as_json:
        print_json({"status": report.status, "checks": [_as_document(result) for result in report.results]})
    bad = report.status == "failed" or (strict and report.status == "warning")
    raise typer.Exit(int(bad))


# --- examining --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Request:
    """The options of one run of `junkie doctor`."""

    context: "Context"
    checks: "tuple[Check, ...]"
    timeout: float
    show_results: bool
    began: float = field(default_factory=monotonic)

    @classmethod
    def of(
        cls,
        wanted: list[str],
        deep: bool,
        timeout: float | None,
        max_backup_age: float | None,
        *,
        offline: bool,
        show_results: bool,
    ) -> "_Request":
        environ = dict(os.environ)  # before core/agent/agno_environment.py removes variables
        from junkie_cli.core.doctor import runner
        from junkie_cli.core.doctor.checks import CHECKS
        from junkie_cli.core.doctor.context import Context

        usual = runner.DEEP_TIMEOUT if deep else runner.TIMEOUT
        context = Context(
            environ,
            named_env_file=invocation().env_file,
            max_backup_age=max_backup_age,
            patience=max(1.0, (timeout or usual) / usual),
            offline=offline,
        )
        return cls(context, runner.choose(CHECKS, wanted, deep=deep), timeout or usual, show_results)

    def examine(self, ids: frozenset[str] | None = None) -> "Report":
        """Run the checks, or those with `ids`; print each result if `show_results`."""
        from junkie_cli.core.doctor import runner
        from junkie_cli.core.doctor.checks import CHECKS

        began = monotonic()
        report = tuple(check for check in self.checks if ids is None or check.id in ids)
        screen = _ResultPrinter(max((width(check.id) for check in report), default=0)) if self.show_results else None
        with working("checking") as activity:

            def tell(running: Sequence[str]) -> None:
                activity.say(f"checking {', '.join(running)}")

            found = invocation().run(
                runner.examine(
                    CHECKS,
                    self.context,
                    report=report,
                    timeout=self.timeout,
                    on_result=screen.show if screen else lambda _: None,
                    on_running=tell,
                )
            )
        if screen:
            screen.sum_up(found, monotonic() - began)
        return found


def _request(
    wanted: list[str],
    deep: bool,
    timeout: float | None,
    max_backup_age: float | None,
    *,
    offline: bool,
    show_results: bool,
    nagios: bool,
) -> _Request:
    """Return the options; for a monitoring system an unknown check id is UNKNOWN, not CRITICAL."""
    try:
        return _Request.of(wanted, deep, timeout, max_backup_age, offline=offline, show_results=show_results)
    except UsageError as error:
        if not nagios:
            raise
        _write(f"JUNKIE UNKNOWN - {one_line(error.message)}\n")
        raise typer.Exit(3) from None


# --- fixing -----------------------------------------------------------------------------------------------------------


def _chosen(report: "Report", *, named: bool) -> "tuple[Fix, ...]":
    """Return the fixes to apply: those named, or all of failed checks that need only a yes."""
    if named:
        return report.fixes
    offered = [fix for result in report.results if result.status != "ok" for fix in result.fixes]
    for fix in offered:
        if fix.severe:
            note(f"{fix.check_id} is fixed only when named: junkie doctor --fix {fix.check_id}")
    return tuple(fix for fix in offered if not fix.severe)


def _apply_fixes(
    asked: _Request, report: "Report", fixes: "tuple[Fix, ...]", yes: bool, confirm: str | None
) -> "Report":
    """Show the fixes, ask, apply them, check again, and return the updated report."""
    from dataclasses import replace

    if not fixes:
        note("nothing to fix")
        return report
    _ask(asked.context, fixes, yes, confirm)
    from junkie_cli.core.doctor.fixes import apply

    for each in fixes:
        with working(f"fixing {each.check_id}") as activity:
            afterwards = invocation().run(apply(each, asked.context, activity.progress))
        if afterwards:
            note(afterwards)
    again = asked.examine(frozenset(each.check_id for each in fixes))
    new = {result.id: result for result in again.results}
    return replace(report, results=tuple(new.get(result.id, result) for result in report.results))


def _ask(context: "Context", fixes: "tuple[Fix, ...]", yes: bool, confirm: str | None) -> None:
    from junkie_cli.core.database import label

    note(f"These fixes will be applied (database: {label(context.settings)}):")
    for each in fixes:
        for line in each.what:
            note(f"  {line}")
    if severe := [each for each in fixes if each.severe]:
        name = context.database.url.database_name
        confirm_typed(" ".join(dict.fromkeys(each.caution for each in severe)), name, given=confirm)
    else:
        require_confirmation("Do it?", yes=yes)


# --- output -----------------------------------------------------------------------------------------------------------

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


class _ResultPrinter:
    """Prints results as they arrive: on a terminal with the suggested fix below, in a pipe as one line of fields."""

    def __init__(self, ids: int) -> None:
        self._ids = ids
        self._terminal = is_terminal(sys.stdout)
        self._look = Look.of(sys.stdout)

    def show(self, result: "Result") -> None:
        """Print one result."""
        if not self._terminal:
            print_rows(_COLUMNS, [result])
            flush_answer()
            return
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

        if not self._terminal:
            return
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


def _plural(status: str, count: int) -> str:
    return "warnings" if status == "warning" and count > 1 else status


def _write(text: str) -> None:
    """Print lines that have been sanitized."""
    sys.stdout.write(encodable(text, sys.stdout))
    flush_answer()


def _as_document(result: "Result") -> dict[str, str]:
    names = ("id", "title", "status", "detail", "hint")
    return {name: getattr(result, name) for name in names}


_NAGIOS: Mapping[str, tuple[str, int]] = {
    "failed": ("CRITICAL", 2),
    "unknown": ("UNKNOWN", 3),
    "warning": ("WARNING", 1),
    "ok": ("OK", 0),
}


def _print_for_nagios(report: "Report") -> int:
    """Print one line with the worst results and return its exit code: 3 for unknown or no result."""
    judged = len(report.results) > report.count("skipped")
    worst = next((status for status in _NAGIOS if report.count(status)), "ok") if judged else "unknown"
    word, code = _NAGIOS[worst]
    bad = [result for result in report.results if result.status == worst != "ok"]
    summary = "; ".join(f"{result.id}: {result.detail}" for result in bad) or f"{report.count('ok')} checks ok"
    counts = " ".join(f"{status}={report.count(status)}" for status in _SYMBOLS)
    _write(f"JUNKIE {word} - {one_line(summary).replace('|', '/')} | {counts}\n")
    return code
