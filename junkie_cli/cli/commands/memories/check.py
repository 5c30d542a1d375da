"""`junkie memories check`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from junkie_cli.core.errors import ExitCode
from junkie_cli.core.formatting import plural
from junkie_cli.core.value_class import as_document
from junkie_cli.terminal.invocation import JsonOption, invocation
from junkie_cli.terminal.output import Column, note, print_json, print_rows, progress, warn

if TYPE_CHECKING:
    from junkie_cli.core.turns.recall_check import Checked, Unmet

app = typer.Typer()

_NAMED = 20  # bad lines

_COLUMNS = (
    Column("LINE", lambda row: row[0].line, "number"),
    Column("USER", lambda row: row[0].user),
    Column("QUESTION", lambda row: row[0].question),
    Column("PROBLEM", lambda row: row[1]),
    Column("TEXT", lambda row: row[2], main=True),
    Column("MEMORY", lambda row: row[3], "id"),
)


@app.command(epilog="Example: junkie memories check expected.jsonl")
def check(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help='JSON Lines: {"user": "ada", "question": "...", "recalled": ["..."], "not_recalled": ["..."]}; - for'
            " stdin.",
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Check which memories prompts get. Exit code 1 if a line of FILE does not hold, 2 if a line is invalid.

    Texts are ids, or parts of memories in upper or lower case. Nothing is changed, and no model is asked.
    """
    from junkie_cli.core.turns.recall_check import check_recall

    with progress("checking", unit="lines") as shown:
        done = invocation().run(check_recall(invocation().settings(), file, progress=shown.progress))
    if as_json:
        print_json(as_document(done))
    else:
        print_rows(_COLUMNS, (row for each in done.unmet for row in _problems(each)))
    _tell(done)
    if done.bad:
        raise typer.Exit(int(ExitCode.USAGE))
    if done.failed:
        raise typer.Exit(int(ExitCode.FAILED))


def _problems(unmet: "Unmet") -> Iterator[tuple[Any, ...]]:
    for missing in unmet.missing:
        yield unmet, "not recalled" if missing.stored else "not stored", missing.text, None
    for unwanted in unmet.unwanted:
        yield unmet, "recalled", unwanted.text, unwanted.memory_id


def _tell(done: "Checked") -> None:
    for bad in done.bad_lines[:_NAMED]:
        warn(f"line {bad.line} {bad.reason}")
    if done.bad > _NAMED:
        warn(f"{plural(done.bad - _NAMED, 'more line', 'more lines')} could not be checked")
    if done.failed > len(done.unmet):
        note(f"only the first {len(done.unmet):,} lines that do not hold are shown")
    note(f"{plural(done.held, 'line holds', 'lines hold')}, {done.failed:,} do not, {done.bad:,} could not be checked")
