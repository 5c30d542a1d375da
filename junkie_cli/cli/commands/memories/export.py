"""`junkie memories export`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from junkie_cli.cli.commands.memories._options import NoOwnerOption, owner_of
from junkie_cli.core.errors import UsageError
from junkie_cli.core.formatting import plural
from junkie_cli.terminal.invocation import JsonOption, UserOption, invocation
from junkie_cli.terminal.output import flush_answer, none_yet, note, print_json, progress, show_warnings

if TYPE_CHECKING:
    from junkie_cli.core import documents

app = typer.Typer()


@app.command(epilog="Example: junkie memories export -u ada -o ada.jsonl")
def export(
    user: UserOption = None,
    no_owner: NoOwnerOption = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", readable=False, help="Default: -, stdout.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Export memories as JSON Lines with all columns. The file is complete, or not written."""
    from junkie_cli.core import files
    from junkie_cli.core.memories.export import export_memories

    path = None if output is None or files.is_standard_output(output) else output
    if as_json and path is None:
        raise UsageError("--json needs a file", hint="name one with -o; the export itself is always JSON Lines")
    owner, settings = owner_of(user, no_owner), invocation().settings()
    with progress("exporting", unit="memories") as shown:
        done = invocation().run(
            export_memories(settings, owner, path=path, write=sys.stdout.buffer.write, progress=shown.progress)
        )
        flush_answer()  # before the count is reported
    if as_json:
        answer: documents.Exported = {"path": str(done.path), "memories": done.memories}
        return print_json(answer, done.warnings)
    show_warnings(done.warnings)
    exported = f"exported {plural(done.memories, 'memory', 'memories')}"
    return note(none_yet("memories", done.table_missing) if done.table_missing else exported)
