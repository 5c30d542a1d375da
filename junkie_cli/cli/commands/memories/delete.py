"""`junkie memories delete`."""

from typing import Annotated

import typer

from junkie_cli.cli import cascaded
from junkie_cli.cli.commands.memories._options import DryRunOption, NoUndoOption
from junkie_cli.cli.commands.memories._output import print_undo_hint, print_would_go
from junkie_cli.core.formatting import plural
from junkie_cli.terminal import completion
from junkie_cli.terminal.invocation import JsonOption, YesOption, invocation
from junkie_cli.terminal.output import note, print_json, print_line, require_confirmation, working

app = typer.Typer()


@app.command(epilog="Example: junkie memories delete 36d03949-ce7f-4863-a93f-e0500d84c6ed")
def delete(
    memory_ids: Annotated[list[str], typer.Argument(metavar="ID...", autocompletion=completion.memory_ids)],
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    no_undo: NoUndoOption = False,
    as_json: JsonOption = False,
) -> None:
    """Delete memories by id: all of the given ids, or none."""
    from junkie_cli.core.memories.edits import delete_memories, preview_delete

    settings = invocation().settings()
    with working(f"searching for {plural(len(memory_ids), 'memory', 'memories')}"):
        found = invocation().run(preview_delete(settings, memory_ids))
    ids = [memory.memory_id for memory in found.memories]
    if dry_run:
        return print_would_go(found.memories, found.cascaded, as_json=as_json)
    for memory in found.memories:
        note(f"{memory.user_id or '(nobody)'}: {memory.memory[:200]}")
    cascaded.note_cascaded(found.cascaded)
    require_confirmation(f"delete {plural(len(ids), 'memory', 'memories')}?", yes=yes)
    with working(f"deleting {plural(len(ids), 'memory', 'memories')}"):
        done = invocation().run(delete_memories(settings, ids, undo=not no_undo))
    if as_json:
        document = {"deleted": len(done.memories), "memory_ids": ids, "undo": done.undo}
        return print_json(document | cascaded.document(done.cascaded))
    print_line(f"deleted {plural(len(done.memories), 'memory', 'memories')}")
    return print_undo_hint(done.undo)
