"""`junkie memories show`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from junkie_cli.core.value_class import as_document
from junkie_cli.terminal import completion
from junkie_cli.terminal.invocation import JsonOption, invocation
from junkie_cli.terminal.output import print_json, print_record, show_warnings, working

if TYPE_CHECKING:
    from junkie_cli.core.memories.listing import MemoryDetail


app = typer.Typer()


@app.command(epilog="Example: junkie memories show 36d03949-ce7f-4863-a93f-e0500d84c6ed")
def show(
    memory_id: Annotated[str, typer.Argument(metavar="ID", autocompletion=completion.memory_ids)],
    as_json: JsonOption = False,
) -> None:
    """Show one memory in full, and where it came from."""
    from junkie_cli.core.memories.listing import get_memory

    settings = invocation().settings()
    with working("searching for the memory and its run"):
        detail = invocation().run(get_memory(settings, memory_id))
    if as_json:
        return print_json({**as_document(detail.memory), "origin": detail.origin}, detail.warnings)
    show_warnings(detail.warnings)
    return print_record(_record(detail))


def _record(detail: "MemoryDetail") -> list[tuple[Any, ...]]:
    memory, origin = detail.memory, detail.origin
    return [
        ("ID", memory.memory_id, "id"),
        ("User", memory.user_id),
        ("Memory", memory.memory),
        ("Topics", memory.topics),
        ("From message", memory.input),
        ("In session", origin.session_id if origin else None),
        ("In run", origin.run_id if origin else None),
        ("Agent", memory.agent_id),
        ("Team", memory.team_id),
        ("Created", memory.created_at, "time"),
        ("Updated", memory.updated_at, "time"),
    ]
