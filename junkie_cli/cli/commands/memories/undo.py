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
    """Undo what add, edit, delete, clear, import or the team changed.

    At a terminal the newest change that was not undone yet is shown, and undone when you agree. Without a terminal it
    is the newest change of all, and only once.
    """
    from junkie_cli.cli import undo_report
    from junkie_cli.core import memories

    settings = invocation().settings()
    if batch is None and invocation().interactive:
        change = invocation().run(memories.preview_undo(settings))
        note(f"the newest change that was not undone: {undo_report.describe(change)}")
        require_confirmation("undo it?", yes=yes)
        batch = change.batch
    with working("putting memories back") as shown:
        done = invocation().run(memories.undo(settings, batch, progress=shown.progress))
    undo_report.show(done, as_json=as_json)
    if done.conflict_count:
        raise typer.Exit(ExitCode.FAILED)
