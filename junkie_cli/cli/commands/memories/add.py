"""`junkie memories add`."""

from typing import Annotated

import typer

from junkie_cli.cli.commands.memories._output import print_changed
from junkie_cli.terminal import completion
from junkie_cli.terminal.invocation import JsonOption, invocation
from junkie_cli.terminal.output import warn, working

app = typer.Typer()


@app.command(epilog='Example: junkie memories add "Ada prefers tea" -u ada --topic drinks')
def add(
    text: Annotated[str, typer.Argument(metavar="TEXT")],
    user: Annotated[
        str,
        typer.Option("--user", "-u", metavar="USER", help="Owner of the memory.", autocompletion=completion.user_ids),
    ],
    topic: Annotated[list[str] | None, typer.Option("--topic", metavar="T", help="Topic. Can be repeated.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Add a memory about a user."""
    from junkie_cli.core.memories.edits import add_memory

    settings = invocation().settings()
    with working("adding 1 memory"):
        done = invocation().run(add_memory(settings, user, text, tuple(topic or ())))
    if done.erased_at:
        warn(f"this person was erased at {done.erased_at.isoformat(timespec='seconds')}; the new memory was added")
    print_changed(done.memories[0], done.undo, as_json=as_json)
