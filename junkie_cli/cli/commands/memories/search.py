"""`junkie memories search`."""

from typing import TYPE_CHECKING, Annotated

import typer

from junkie_cli.cli.commands.memories._output import COLUMNS
from junkie_cli.terminal.invocation import JsonOption, LimitOption, UserOption, invocation
from junkie_cli.terminal.output import Column, none_yet, note, print_json, print_rows, show_warnings, working

if TYPE_CHECKING:
    from junkie_cli.core import documents

app = typer.Typer()


def _of_memory(column: Column) -> Column:
    return Column(column.title, lambda row: column.get(row[0]), column.kind)


_EXPLAINED = (
    *map(_of_memory, COLUMNS),
    Column("RANK", lambda row: row[1].rank, "number"),
    Column("SCORE", lambda row: row[1].score, "number"),
    Column("WHY", lambda row: row[1].described()),
)
"""Columns of rows of a memory and the reason why it was found."""


@app.command(epilog='Example: junkie memories search "green tea" -u ada')
def search(
    text: Annotated[str, typer.Argument(metavar="TEXT")],
    user: UserOption = None,
    limit: LimitOption = 20,
    anywhere: Annotated[
        bool, typer.Option("--anywhere", help="Also match inside words, even where that is slow.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also show the words that matched, rank and score.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Find the memories that match TEXT, words or a question; those with every word come first."""
    from junkie_cli.core.memories.search import search_memories

    settings = invocation().settings()
    with working("searching") as shown:
        found = invocation().run(
            search_memories(settings, text, user_id=user, limit=limit, anywhere=anywhere, progress=shown.progress)
        )
    if found.words_only:
        note("in older memories, words were searched from their beginning; to search inside words, too: --anywhere")
    if found.newest_only:
        note(f"the newest {found.newest_only:,} memories may have some of the words, older ones have every word")
    if as_json:
        answer: documents.MemoriesFound = {"memories": found.memories, "next": None}
        if explain:
            answer["reasons"] = found.reasons
        return print_json(answer, found.warnings)
    show_warnings(found.warnings)
    empty = none_yet("memories", found.table_missing) if found.table_missing else "no matches"
    if explain:
        print_rows(_EXPLAINED, zip(found.memories, found.reasons, strict=True), empty=empty)
    else:
        print_rows(COLUMNS, found.memories, empty=empty)
    return note(f"more results: add -n {limit * 2}") if found.more else None
