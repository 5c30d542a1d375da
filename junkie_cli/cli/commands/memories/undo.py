"""`junkie memories undo`."""

from typing import Annotated

import typer

from junkie_cli.core.errors import ExitCode
from junkie_cli.terminal import completion
from junkie_cli.terminal.invocation import JsonOption, YesOption, invocation
from junkie_cli.terminal.output import note, require_confirmation, working

app = typer.Typer()


@app.command(epilog="Example: junkie memories undo")
def undo(
    batch: Annotated[
        str | None,
        typer.Argument(metavar="BATCH", help="Default: the newest change.", autocompletion=completion.batch_ids),
    ] = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Undo a change made by add, edit, delete, clear, import or the team.

    On a terminal, shows the newest change that is not undone yet, and asks. Without a terminal, undoes the newest
    change, once.
    """
    from junkie_cli.cli import undo_report
    from junkie_cli.core.memories import history

    settings = invocation().settings()
    if batch is None and invocation().interactive:
        change = invocation().run(history.preview_undo(settings))
        note(f"newest change that is not undone: {undo_report.describe(change)}")
        require_confirmation("undo it?", yes=yes)
        batch = change.batch
    with working("restoring memories") as shown:
        done = invocation().run(history.undo(settings, batch, progress=shown.progress))
    undo_report.show(done, as_json=as_json)
    if done.conflict_count or done.rows.conflicts:
        raise typer.Exit(ExitCode.FAILED)
