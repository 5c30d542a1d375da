"""`junkie doctor`: diagnose problems and fix what can be fixed."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from junkie_cli.cli.doctor_answers import ANSWERS, Answer, mode_of
from junkie_cli.core.errors import UsageError
from junkie_cli.terminal import completion
from junkie_cli.terminal.invocation import JsonOption, YesOption, invocation
from junkie_cli.terminal.output import confirm_typed, note, require_confirmation, working

if TYPE_CHECKING:
    from junkie_cli.core.doctor.context import Context
    from junkie_cli.core.doctor.model import Check, Fix, Report

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
    answer = ANSWERS[mode_of(nagios=nagios, as_json=as_json, fix=fix)]()
    with answer.refusals():
        asked = _Request.of(wanted, deep, timeout, max_backup_age, offline=offline, answer=answer)
    report = asked.examine()
    if fix:
        report = _apply_fixes(asked, report, _chosen(report, named=bool(wanted)), yes, confirm)
    raise typer.Exit(answer.finish(report, strict=strict))


# --- examining --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Request:
    """The options of one run of `junkie doctor`."""

    context: "Context"
    checks: "tuple[Check, ...]"
    timeout: float
    answer: Answer

    @classmethod
    def of(
        cls,
        wanted: list[str],
        deep: bool,
        timeout: float | None,
        max_backup_age: float | None,
        *,
        offline: bool,
        answer: Answer,
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
        return cls(context, runner.choose(CHECKS, wanted, deep=deep), timeout or usual, answer)

    def examine(self, ids: frozenset[str] | None = None) -> "Report":
        """Run the checks, or those with `ids`, and give each result to the answer as it arrives."""
        from junkie_cli.core.doctor import runner
        from junkie_cli.core.doctor.checks import CHECKS

        began = monotonic()
        report = tuple(check for check in self.checks if ids is None or check.id in ids)
        self.answer.begin(report)
        with working("checking") as activity:

            def tell(running: Sequence[str]) -> None:
                activity.say(f"checking {', '.join(running)}")

            found = invocation().run(
                runner.examine(
                    CHECKS,
                    self.context,
                    report=report,
                    timeout=self.timeout,
                    on_result=self.answer.show,
                    on_running=tell,
                )
            )
        self.answer.sum_up(found, monotonic() - began)
        return found


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
