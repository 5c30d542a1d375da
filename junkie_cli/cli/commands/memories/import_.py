"""`junkie memories import`."""

from pathlib import Path
from typing import Annotated

import typer

from junkie_cli.cli.commands.memories._options import DryRunOption, NoUndoOption
from junkie_cli.cli.commands.memories._output import tell_undo
from junkie_cli.core.value_class import as_document
from junkie_cli.terminal.invocation import JsonOption, invocation
from junkie_cli.terminal.output import print_json, print_line, progress

app = typer.Typer()


@app.command("import", epilog="Example: junkie memories import ada.jsonl --dry-run")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What export, or list --json, prints; -: stdin.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Take the file's version where both differ.")] = False,
    even_erased: Annotated[bool, typer.Option("--even-erased", help="Bring erased people back, too.")] = False,
    dry_run: DryRunOption = False,
    no_undo: NoUndoOption = False,
    as_json: JsonOption = False,
) -> None:
    """Add the memories of a file: all of it, or nothing."""
    from junkie_cli.core import memories

    with progress("importing", unit="lines") as shown:
        done = invocation().run(
            memories.import_memories(
                invocation().settings(),
                file,
                overwrite=overwrite,
                dry_run=dry_run,
                undo=not no_undo,
                even_erased=even_erased,
                progress=shown.progress,
            )
        )
    if as_json:
        return print_json(as_document(done))
    would = "would be " if dry_run else ""
    print_line(f"{done.added} {would}added, {done.updated} {would}updated, {done.unchanged} unchanged")
    return tell_undo(done.undo) if done.added + done.updated and not dry_run else None
