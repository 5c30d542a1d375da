"""`junkie memories import`."""

from pathlib import Path
from typing import Annotated

import typer

from junkie_cli.cli.commands.memories._options import DryRunOption, NoUndoOption
from junkie_cli.cli.commands.memories._output import print_undo_hint
from junkie_cli.core.value_class import as_document
from junkie_cli.terminal.invocation import JsonOption, invocation
from junkie_cli.terminal.output import print_json, print_line, progress

app = typer.Typer()


@app.command("import", epilog="Example: junkie memories import ada.jsonl --dry-run")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Output of export or of list --json; - for stdin.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing memories that differ from the file.")
    ] = False,
    even_erased: Annotated[bool, typer.Option("--even-erased", help="Also import memories of erased people.")] = False,
    dry_run: DryRunOption = False,
    no_undo: NoUndoOption = False,
    as_json: JsonOption = False,
) -> None:
    """Import memories from a file: the complete file, or nothing."""
    from junkie_cli.core.memories.import_file import import_memories

    with progress("importing", unit="lines") as shown:
        done = invocation().run(
            import_memories(
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
    return print_undo_hint(done.undo) if done.added + done.updated and not dry_run else None
