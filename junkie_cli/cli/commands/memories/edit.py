"""`junkie memories edit`."""

from typing import Annotated

import typer

from junkie_cli.cli.commands.memories._output import print_changed
from junkie_cli.terminal import completion
from junkie_cli.terminal.invocation import JsonOption, invocation
from junkie_cli.terminal.output import working

app = typer.Typer()


@app.command(epilog='Example: junkie memories edit 36d03949-ce7f-4863-a93f-e0500d84c6ed "Ada prefers coffee"')
def edit(
    memory_id: Annotated[str, typer.Argument(metavar="ID", autocompletion=completion.memory_ids)],
    text: Annotated[str, typer.Argument(metavar="TEXT")],
    as_json: JsonOption = False,
) -> None:
    """Replace the text of a memory."""
    from junkie_cli.core.memories.edits import edit_memory

    settings = invocation().settings()
    with working("changing 1 memory"):
        done = invocation().run(edit_memory(settings, memory_id, text))
    print_changed(done.memories[0], done.undo, as_json=as_json)
