"""`junkie memories pending`."""

from typing import TYPE_CHECKING

import typer

from junkie_cli.terminal.invocation import JsonOption, UserOption, invocation
from junkie_cli.terminal.output import Column, print_json, print_rows, show_warnings

if TYPE_CHECKING:
    from junkie_cli.core import documents

app = typer.Typer()


@app.command(epilog="Example: junkie memories pending --json")
def pending(user: UserOption = None, as_json: JsonOption = False) -> None:
    """List extractions that are still pending."""
    from junkie_cli.core.turns import pending_list

    found = invocation().run(pending_list.list_pending(invocation().settings(), user))
    if as_json:
        answer: documents.PendingList = {"pending": found.pending}
        return print_json(answer, found.warnings)
    show_warnings(found.warnings)
    return print_rows(_PENDING, found.pending, empty="nothing is pending")


_PENDING = (
    Column("USER", lambda entry: entry.user_id),
    Column("MESSAGE", lambda entry: entry.message),
    Column("TRIES", lambda entry: entry.attempts, "number"),
    Column("NEXT TRY", lambda entry: None if entry.set_aside else entry.next_try, "time"),
    Column("LAST ERROR", lambda entry: entry.last_error),
    Column("ID", lambda entry: entry.pending_id, "id"),
)
