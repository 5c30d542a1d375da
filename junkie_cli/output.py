"""What reaches the user: a table printer and a JSON printer for answers (stdout), notes and progress (stderr).

The only module, beside the conversation loop, that knows rich; it loads it only when something is drawn.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from junkie_cli.core.errors import JunkieError, UsageError
from junkie_cli.invocation import invocation
from junkie_cli.text import field, one_line, shown


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an answer: its title, how to get the cell from a row, and how it is laid out on a terminal.

    `kind` is `text` (may be cut to fit), `id` (never cut), `number`, `bytes` or `time` (datetime; relative on a
    terminal, ISO-8601 UTC in a pipe).
    """

    title: str
    get: Callable[[Any], Any]
    kind: str = "text"


def print_json(document: Mapping[str, Any]) -> None:
    """Print the one JSON document of this answer. Datetimes become UTC ISO-8601."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, default=_json_value) + "\n")


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)


def print_rows(columns: Sequence[Column], rows: Iterable[Any]) -> None:
    """Print rows as a table on a terminal, as tab-separated lines without a header in a pipe."""
    if not sys.stdout.isatty():
        for row in rows:
            sys.stdout.write("\t".join(field(_plain(column.get(row))) for column in columns) + "\n")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column.title,
            justify="right" if column.kind in {"number", "bytes"} else "left",
            no_wrap=column.kind != "text",
        )
    for row in rows:
        table.add_row(*(Text(one_line(_plain(column.get(row)))) for column in columns))
    Console().print(table)


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return str(value)


def note(message: str) -> None:
    """Tell something beside the answer, on stderr, unless --quiet."""
    if not invocation().quiet:
        sys.stderr.write(shown(message) + "\n")


def warn(message: str) -> None:
    """Tell something that the user should not miss, on stderr."""
    sys.stderr.write(f"warning: {shown(message)}\n")


def print_error(error: JunkieError) -> None:
    """Tell why the command failed: a sentence and the next step on stderr, and with --json a document on stdout."""
    if invocation().json:
        print_json({"error": {"code": error.code, "message": error.message, "hint": error.hint}})
    sys.stderr.write(f"error: {shown(error.message)}\n")
    if error.hint:
        sys.stderr.write(f"  {shown(error.hint)}\n")


def confirm(question: str, *, yes: bool) -> bool:
    """Ask a yes-or-no question on the terminal; True at once with `yes`.

    Raises UsageError where nobody can be asked, so that nothing destructive happens unattended without --yes.
    """
    if yes:
        return True
    if not invocation().interactive:
        raise UsageError("this needs --yes when nobody can be asked", hint="add --yes, or --dry-run to see first")
    sys.stderr.write(f"{shown(question)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def colour_wanted() -> bool:
    """Whether stdout may carry colour: a terminal, not `dumb`, and `NO_COLOR` empty."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
