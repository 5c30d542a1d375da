"""`junkie memories list`."""

from typing import TYPE_CHECKING, Annotated

import typer

from junkie_cli.cli.commands.memories._options import NoOwnerOption, owner_of
from junkie_cli.cli.commands.memories._output import COLUMNS
from junkie_cli.terminal.invocation import AfterOption, JsonOption, LimitOption, UserOption, invocation
from junkie_cli.terminal.output import none_yet, print_json, print_next_page, print_rows, show_warnings, working

if TYPE_CHECKING:
    from junkie_cli.core import documents

app = typer.Typer()


@app.command("list", epilog="Example: junkie memories list -u ada --topic drinks --since 2d")
def list_(
    user: UserOption = None,
    no_owner: NoOwnerOption = False,
    topic: Annotated[str | None, typer.Option("--topic", metavar="T", help="Only memories with this topic.")] = None,
    search: Annotated[
        str | None, typer.Option("--search", metavar="TEXT", help="Only memories that contain this text.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="WHEN", help="2026-01-31, 2d, 12h, yesterday.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="WHEN", help="Until WHEN (as --since; includes the whole day).")
    ] = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
    as_json: JsonOption = False,
) -> None:
    """List memories, newest first.

    Rows written while you page appear after the last page; none is skipped or repeated.
    """
    from junkie_cli.core.memories.listing import MemoryFilter, list_memories

    wanted = MemoryFilter(owner_of(user, no_owner), topic, search, since, until)
    settings = invocation().settings()
    with working("listing memories") as shown:
        page = invocation().run(list_memories(settings, wanted, limit=limit, after=after, progress=shown.progress))
    if as_json:
        answer: documents.MemoriesPage = {"memories": page.memories, "next": page.next}
        return print_json(answer, page.warnings)
    show_warnings(page.warnings)
    print_rows(COLUMNS, page.memories, empty=none_yet("memories", page.table_missing))
    return print_next_page(page.next, page.late)
