"""`junkie memories history`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from junkie_cli.terminal import completion
from junkie_cli.terminal.invocation import AfterOption, JsonOption, LimitOption, UserOption, invocation
from junkie_cli.terminal.output import (
    Column,
    print_json,
    print_line,
    print_next_page,
    print_rows,
    show_warnings,
    working,
)

if TYPE_CHECKING:
    from junkie_cli.core import documents
    from junkie_cli.core.memories.history import Change


app = typer.Typer()


@app.command(epilog="Example: junkie memories history -u ada; junkie memories history on")
def history(
    which: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID|on|off]",
            help="A memory id, or on/off to record other programs' changes.",
            autocompletion=completion.history_subjects,
        ),
    ] = None,
    user: UserOption = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what changed, when, and who changed it; or switch the recording of other programs' changes on or off."""
    from junkie_cli.core.memories.history import list_history

    if which in {"on", "off"}:
        return _switch_history(which == "on", as_json=as_json)
    settings = invocation().settings()
    with working("reading the history"):
        page = invocation().run(list_history(settings, which, user, limit=limit, after=after))
    if as_json:
        answer: documents.HistoryPage = {"changes": page.changes, "next": page.next}
        return print_json(answer, page.warnings)
    show_warnings(page.warnings)
    print_rows(_HISTORY, page.changes, empty="no changes" if page.kept else "no history exists yet")
    return print_next_page(page.next, page.late)


def _text(side: str) -> Any:
    def get(change: "Change") -> str | None:
        from junkie_cli.core.memories.history import text_in

        return text_in(getattr(change, side))

    return get


def _who(change: "Change") -> str:
    from junkie_cli.cli.undo_report import by

    return by(change.by, change.actor)


_HISTORY = (
    Column("AT", lambda change: change.at, "time"),
    Column("BY", lambda change: change.by),
    Column("ACTION", lambda change: change.action),
    Column("USER", lambda change: change.user_id),
    Column("BEFORE", _text("before")),
    Column("AFTER", _text("after")),
    Column("ID", lambda change: change.memory_id, "id"),
    Column("BATCH", lambda change: change.batch, "id"),
    Column("WHO", _who),
)


def _switch_history(on: bool, *, as_json: bool) -> None:
    from junkie_cli.core.memories.history import record_others

    settings = invocation().settings()
    with working("waiting for other programs that write memories"):
        was_on = invocation().run(record_others(settings, on=on))
    if as_json:
        answer: documents.HistorySwitch = {"others": on, "before": was_on}
        return print_json(answer)
    return print_line(f"changes by other programs are {'recorded' if on else 'not recorded'}")
