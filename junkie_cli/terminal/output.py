"""Prints answers to stdout (tables, records, JSON), and notes, warnings and questions to stderr.

On a terminal: titles, aligned columns, relative times. In a pipe: one line for each row, fields separated by tabs,
nothing shortened. With `--json`: exactly one document. All text passes `core/sanitize.py`; markup is not interpreted,
so `[/]` or `[link=...]` in a memory is plain text.

Tables are not drawn by rich: importing it costs 50 ms, a row costs 0.4 ms, and ids must never be shortened.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from junkie_cli.core import formatting
from junkie_cli.core.errors import DeclinedError, JunkieError, ResultWarning, UsageError
from junkie_cli.core.sanitize import cut, field, json_safe, one_line, pad, shown, width, wrap
from junkie_cli.core.value_class import as_document, frozen, is_value
from junkie_cli.terminal.charts import bar, sparkline
from junkie_cli.terminal.invocation import invocation
from junkie_cli.terminal.progress import clear, progress, say, working
from junkie_cli.terminal.style import Look, columns_of, encodable, is_terminal, rows_of

__all__ = [
    "Column",
    "ask",
    "bar",
    "colour_wanted",
    "confirm",
    "confirm_typed",
    "debug",
    "flush_answer",
    "none_yet",
    "note",
    "print_error",
    "print_error_document",
    "print_json",
    "print_line",
    "print_next_page",
    "print_record",
    "print_rows",
    "print_styled",
    "progress",
    "require_confirmation",
    "show_warnings",
    "sparkline",
    "warn",
    "working",
]

_GAP = "  "
_STYLES: Mapping[str, tuple[str, ...]] = {"id": ("cyan",), "time": ("dim",)}
_LEAST_MAIN = 24  # columns; with less room, the longest text of a row gets a line of its own
_LEAST_OTHER = 10
_CELL_CHARACTERS = 4096  # more characters than any terminal shows in one row


@frozen
class Column:
    """A column of an answer: its title, how to get the cell from a row, and its layout on a terminal.

    `kind` is `text` (can be shortened), `id` (never shortened), `number`, `bytes` or `time` (datetime; relative on a
    terminal, ISO-8601 UTC in a pipe). `null` represents None in a pipe. If a table does not fit, the `main` column
    (default: the widest text) heads the paragraph of each row.
    """

    title: str
    get: Callable[[Any], Any]
    kind: str = "text"
    null: str = ""
    main: bool = False


# --- answers ----------------------------------------------------------------------------------------------------------


def print_json(document: Mapping[str, Any], warnings: Sequence[ResultWarning] = ()) -> None:
    """Print one JSON document on one line and flush. Values become objects of their fields, datetimes UTC ISO-8601.

    `warnings` are printed on stderr, and added to the document under `warnings`.

    Characters that a terminal could interpret are written as `\\uXXXX`, which every JSON parser decodes.
    """
    import json

    show_warnings(warnings)
    document = {**document, "warnings": warnings} if warnings else document
    _answer(json_safe(json.dumps(document, ensure_ascii=False, default=_json_value)) + "\n")
    flush_answer()


def _json_value(value: Any) -> Any:
    if is_value(value):
        return as_document(value)
    return formatting.exact(value) if isinstance(value, datetime) else str(value)


def print_line(text: str) -> None:
    """Print an answer that is plain text, for example a path."""
    _answer(shown(text) + "\n")


def print_styled(text: str) -> None:
    """Print trusted text with its styles, for example help."""
    _answer(text + "\n")


def print_rows(
    columns: Sequence[Column],
    rows: Iterable[Any],
    *,
    title: str = "",
    database: str = "",
    footer: str = "",
    empty: str = "",
) -> None:
    """Print rows as a table on a terminal, as tab-separated lines without a header in a pipe.

    `title`, the label of the `database` and `footer` (for example how to see more) appear on a terminal only; `empty`
    is the note for no rows. On a terminal that is too narrow for a table, each row becomes a short paragraph.
    """
    if is_terminal(sys.stdout):
        _print_table(columns, list(rows), title, database, footer, empty)
        return
    found = False
    for row in rows:
        found = True
        _answer("\t".join(_field(column, row) for column in columns) + "\n")
    if not found and empty:
        note(empty)


def print_record(pairs: Sequence[tuple[Any, ...]], *, title: str = "", database: str = "") -> None:
    """Print one record: `(label, value)` or `(label, value, kind)`, with the kinds of Column.

    On a terminal, values are complete, wrapped and aligned; in a pipe, each is one line `label<TAB>value`, with the
    label in lower case with underscores.
    """
    entries = [(str(entry[0]), entry[1], entry[2] if len(entry) > 2 else "text") for entry in pairs]
    if not is_terminal(sys.stdout):
        for label, value, _ in entries:
            _answer(f"{field(label.lower().replace(' ', '_'))}\t{field(_plain(value))}\n")
        return
    look, columns = Look.of(sys.stdout), columns_of(sys.stdout)
    margin = max((width(one_line(label)) for label, _, _ in entries), default=0)
    lines = _heading(look, title, database, columns)
    for label, value, kind in entries:
        text = _whole(value, kind, look)
        first, *rest = wrap(text, max(columns - margin - len(_GAP), 10)) or [""]
        lines.append(look.styled(pad(one_line(label), margin), "dim") + _GAP + _coloured(look, first, kind))
        lines += [" " * margin + _GAP + _coloured(look, line, kind) for line in rest]
    _page(lines)


# --- tables on a terminal ---------------------------------------------------------------------------------------------


def _print_table(
    columns: Sequence[Column], rows: Sequence[Any], title: str, database: str, footer: str, empty: str
) -> None:
    if not rows and empty:
        note(empty)
        return
    look, room = Look.of(sys.stdout), columns_of(sys.stdout)
    cells = [[_cell(column.get(row), column.kind, look) for column in columns] for row in rows]
    sizes = _fit(columns, cells, room)
    lines = _heading(look, title, database, room)
    if sizes:
        lines.append(_row(look, columns, [one_line(column.title) for column in columns], sizes, header=True))
        lines += [_row(look, columns, row, sizes) for row in cells]
    else:
        main = _main(columns, cells)
        for row in cells:
            lines += _paragraph(look, columns, row, main, room)
    if footer:
        lines += ["", look.styled(cut(one_line(footer), room), "dim")]
    _page(lines)


def _heading(look: Look, title: str, database: str, room: int) -> list[str]:
    """Return the title line and an empty line; a long database label gets a line of its own."""
    title, database = cut(one_line(title), room), one_line(database)
    if not title and not database:
        return []
    joint = f" {look.symbol('separator')} "
    if title and database and width(title + joint + database) > room:
        return [look.styled(title, "bold"), look.styled(cut(database, room), "dim"), ""]
    return [look.styled(title, "bold") + look.styled((joint if title and database else "") + database, "dim"), ""]


def _fit(columns: Sequence[Column], cells: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return the width of each column, within `room` in total; empty if a table does not fit.

    Columns other than text get the width they need. Texts share the rest: short ones get their full width, the longest
    gets at least _LEAST_MAIN.
    """
    wanted = [
        max(width(one_line(column.title)), *(width(row[i]) for row in cells), 0) for i, column in enumerate(columns)
    ]
    texts = sorted((i for i, column in enumerate(columns) if column.kind == "text"), key=lambda i: wanted[i])
    room -= len(_GAP) * (len(columns) - 1) + sum(wanted[i] for i in range(len(columns)) if i not in texts)
    sizes = list(wanted)
    for position, i in enumerate(texts):
        share = room // (len(texts) - position)
        later = sum(min(wanted[k], _LEAST_MAIN if k == texts[-1] else _LEAST_OTHER) for k in texts[position + 1 :])
        least = min(wanted[i], _LEAST_MAIN if i == texts[-1] else _LEAST_OTHER)
        sizes[i] = min(wanted[i], max(least, min(share, room - later)))
        room -= sizes[i]
    return sizes if room >= 0 else []


def _row(
    look: Look, columns: Sequence[Column], row: Sequence[str], sizes: Sequence[int], *, header: bool = False
) -> str:
    last = len(columns) - 1
    pieces = []
    for i, (column, text, size) in enumerate(zip(columns, row, sizes, strict=True)):
        text = cut(text, size)
        right = column.kind in ("number", "bytes")
        padded = text if i == last and not right else pad(text, size, right=right)
        pieces.append(look.styled(padded, "bold") if header else _coloured(look, padded, column.kind))
    return _GAP.join(pieces).rstrip(" ")


def _main(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> int:
    """Return the index of the column that heads a paragraph."""
    named = [i for i, column in enumerate(columns) if column.main]
    texts = [i for i, column in enumerate(columns) if column.kind == "text"]
    return max(named or texts or [0], key=lambda i: sum(width(row[i]) for row in cells))


def _paragraph(look: Look, columns: Sequence[Column], row: Sequence[str], main: int, room: int) -> list[str]:
    """A row for a narrow terminal: its main text on the first line, everything else below; only texts are cut."""
    absent = ("", look.symbol("none"))
    if row[main] in absent:  # for example a session without a name
        ids = (i for i, column in enumerate(columns) if column.kind == "id" and row[i] not in absent)
        main = next(ids, main)
    times = sum(column.kind == "time" for column in columns)
    details = [
        _detail(column, text, room, name_times=times > 1 and text not in absent)
        for i, (column, text) in enumerate(zip(columns, row, strict=True))
        if i != main
    ]
    kind = columns[main].kind
    head = cut(row[main], room) if kind == "text" else row[main]
    below = _filled([detail for detail in details if detail not in absent], f" {look.symbol('separator')} ", room)
    return [_coloured(look, head, kind), *(look.styled(line, "dim") for line in below)]


def _detail(column: Column, text: str, room: int, *, name_times: bool) -> str:
    title = one_line(column.title).lower()
    if column.kind in ("number", "bytes"):
        return f"{text} {title}"
    if column.kind == "time" and name_times:
        return f"{title} {text}"
    return cut(text, room - len(_GAP)) if column.kind == "text" else text


def _filled(pieces: Sequence[str], joint: str, room: int) -> list[str]:
    """The pieces on as few indented lines as they need."""
    lines: list[str] = []
    for piece in pieces:
        if lines and width(lines[-1] + joint + piece) <= room:
            lines[-1] += joint + piece
        else:
            lines.append(_GAP + piece)
    return lines


def _cell(value: Any, kind: str, look: Look) -> str:
    if value is None:
        return look.symbol("none")
    if isinstance(value, datetime):
        return formatting.ago(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return formatting.size(int(value)) if kind == "bytes" else formatting.number(value)
    text = _plain(value)
    return one_line(text if kind == "id" or len(text) <= _CELL_CHARACTERS else text[:_CELL_CHARACTERS] + "…")


def _whole(value: Any, kind: str, look: Look) -> str:
    if isinstance(value, datetime):
        at, age = formatting.local(value), formatting.ago(value)
        return at if at.startswith(age) else f"{at} ({age})"
    if isinstance(value, str):
        return shown(value)
    return _cell(value, kind, look) if not isinstance(value, list | tuple) else shown(_plain(value))


def _coloured(look: Look, text: str, kind: str) -> str:
    return look.styled(text, *_STYLES.get(kind, ()))


def _field(column: Column, row: Any) -> str:
    value = column.get(row)
    return column.null if value is None else field(_plain(value))


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return formatting.exact(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value)
    return value.isoformat() if isinstance(value, date) else str(value)


# --- stdout -----------------------------------------------------------------------------------------------------------


def _answer(text: str) -> None:
    """Write to stdout. Raises BrokenPipeError if the reader is gone, OutputError for other failures."""
    if is_terminal(sys.stdout):
        clear()
    sys.stdout.write(encodable(text, sys.stdout))


def flush_answer() -> None:
    """Flush stdout. Raises as printing does."""
    sys.stdout.flush()


def _page(lines: Sequence[str]) -> None:
    """Print lines, through `$PAGER` if it is set and the screen is too small."""
    import os

    text = "\n".join(lines) + "\n"
    pager = os.environ.get("PAGER", "").strip()
    wanted = pager not in ("", "cat") and invocation().interactive and len(lines) >= rows_of(sys.stdout)
    if not (wanted and _piped_through(pager, text)):
        _answer(text)


def _piped_through(pager: str, text: str) -> bool:
    """Show `text` in the pager; return False if the program does not exist. The pager handles Ctrl-C while it runs."""
    import os
    import shlex
    import signal
    import subprocess

    flush_answer()
    # -F quit if the text fits one screen, -I ignore case, -R keep colors, -X leave the text on the screen
    environment = {"LESS": "FIRX", **os.environ}
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        subprocess.run(shlex.split(pager), input=text, text=True, encoding="utf-8", env=environment, check=False)
    except (OSError, ValueError):
        return False
    finally:
        signal.signal(signal.SIGINT, previous)
    return True


# --- stderr -----------------------------------------------------------------------------------------------------------


def note(message: str) -> None:
    """Print a note on stderr, unless --quiet is set."""
    if not invocation().quiet:
        say(_folded(shown(message)))


def none_yet(what: str, table_missing: str) -> str:
    """Return the note for an answer without rows; `table_missing` names a missing table, or is empty."""
    if not table_missing:
        return f"no {what}"
    schema = invocation().loaded
    where = f" in schema {schema.schema}" if schema else ""
    return f"no {what}: table {table_missing} does not exist{where} yet"


def print_next_page(cursor: str | None, late: int) -> None:
    """Print the cursor of the next page, and how many of the last rows are newer than the first page."""
    if late:
        rows = "the last of these was" if late == 1 else f"the last {late} of these were"
        note(f"{rows} written after you read the first page")
    if cursor:
        note("more results:")
        say(f"  --after {shown(cursor)}\n")  # on one line, whatever its length, to be copied


def warn(message: str) -> None:
    """Print a warning on stderr."""
    say(_headed("warning:", "yellow", message))


def show_warnings(warnings: Sequence[ResultWarning]) -> None:
    """Print on stderr why an answer can be incomplete."""
    for warning in warnings:
        warn(warning.message)
        if warning.hint:
            note(f"  {warning.hint}")


def debug(message: str) -> None:
    """Print a detail on stderr, with --verbose only."""
    if invocation().verbose:
        say(Look.of(sys.stderr).styled(shown(message), "dim") + "\n")


def print_error(error: JunkieError) -> None:
    """Print why the command failed and the next step on stderr, and with --json a document on stdout."""
    if invocation().json:
        print_error_document(error)
    say(_headed("error:", "red", error.message))
    if error.hint:
        say(_folded(f"  {shown(error.hint)}"))


def _headed(head: str, colour: str, message: str) -> str:
    text = _folded(f"{head} {shown(message)}")
    return Look.of(sys.stderr).styled(head, colour, "bold") + text.removeprefix(head)


def _folded(text: str) -> str:
    """Wrap lines for a terminal, keeping their indentation; unchanged in a pipe."""
    if not is_terminal(sys.stderr):
        return text + "\n"
    columns, lines = columns_of(sys.stderr), []
    for line in text.split("\n"):
        indent = " " * min(len(line) - len(line.lstrip(" ")), columns // 2)
        lines += [indent + piece for piece in wrap(line.lstrip(" "), columns - len(indent))]
    return "\n".join(lines) + "\n"


def print_error_document(error: JunkieError) -> None:
    """Print `{"error": {"code", "message", "hint"}}`, or the command's version of it, on stdout."""
    transform = invocation().error_document
    document = transform(error.document) if transform else {"error": error.document}
    if document is None:
        return
    try:
        print_json(document)
    except (OSError, JunkieError):
        return  # stdout is gone, perhaps the reason for this error; stderr still reports it


def colour_wanted() -> bool:
    """Return whether stdout supports color: a terminal, not `dumb`, and `NO_COLOR` is empty."""
    return Look.of(sys.stdout).colour


# --- questions --------------------------------------------------------------------------------------------------------


def confirm(question: str, *, yes: bool) -> bool:
    """Ask a yes-or-no question on the terminal; with `yes`, return True without asking.

    Raises UsageError without a terminal, so that nothing destructive happens unattended without --yes.
    """
    if yes:
        return True
    if not invocation().interactive:
        raise UsageError("this needs --yes without a terminal", hint="add --yes, or use --dry-run for a preview")
    return _read_line(f"{shown(question)} [y/N] ").strip().lower() in {"y", "yes"}


def require_confirmation(question: str, *, yes: bool, declined: str = "nothing was changed") -> None:
    """Ask as `confirm` does; raise DeclinedError with `declined` if the answer is no."""
    if not confirm(question, yes=yes):
        raise DeclinedError(declined)


def confirm_typed(question: str, expected: str, *, given: str | None = None, option: str = "--confirm") -> None:
    """Require a name to be typed before a severe change. `given` is the value of the `option` that replaces typing.

    Raises UsageError if `given` is another name or there is no terminal, DeclinedError if another name is typed.
    """
    name = one_line(expected)
    if given is not None:
        if given != expected:
            raise UsageError(
                f"{option} does not match: the name is {name}; nothing was changed", hint=f"use {option} {name}"
            )
        return
    if not invocation().interactive:
        raise UsageError(f"this needs {option} without a terminal", hint=f"add {option} {name}")
    say(shown(question) + "\n")
    if _read_line(f"type {name} to continue: ").strip() != expected:
        raise DeclinedError("the name does not match; nothing was changed")


def ask(question: str, *, default: str = "", shown_default: str | None = None, hidden: bool = False) -> str:
    """Ask for a line; an empty line means `default`. `hidden` turns echo off, for keys and passwords.

    `shown_default` replaces the default in the brackets; if empty, there are no brackets.

    Raises UsageError without a terminal, DeclinedError at the end of the input (Ctrl-D).
    """
    if not invocation().interactive:
        raise UsageError("this needs a terminal to ask questions", hint="run it in a terminal")
    offered = one_line(default if shown_default is None else shown_default)
    prompt = f"{shown(question)}{f' [{offered}]' if offered else ''}: "
    answer = _read_hidden(prompt) if hidden else _read_line(prompt)
    if not answer.endswith("\n"):
        raise DeclinedError("nothing was changed")
    return answer.strip() or default


def _read_line(prompt: str) -> str:
    say(prompt)
    line = sys.stdin.readline()
    if not line.endswith("\n"):
        say("\n")
    return line


def _read_hidden(prompt: str) -> str:
    import termios

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    try:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)
        line = _read_line(prompt)
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
    if line.endswith("\n"):
        say("\n")
    return line
