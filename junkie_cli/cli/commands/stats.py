"""`junkie stats`: count memories, users and sessions, and show growth."""

import sys
from operator import itemgetter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from junkie_cli.core.value_class import as_document
from junkie_cli.terminal.invocation import JsonOption, UserOption, invocation
from junkie_cli.terminal.output import (
    Column,
    bar,
    note,
    print_json,
    print_line,
    print_record,
    print_rows,
    show_warnings,
    sparkline,
    working,
)
from junkie_cli.terminal.style import Look, columns_of, is_terminal

if TYPE_CHECKING:
    from junkie_cli.core.stats import Stats, TopUser

app = typer.Typer()

_FEWEST_BAR, _MOST_BAR, _BESIDE_BAR = 8, 60, 56  # columns


@app.command(epilog="Example: junkie stats --top 20")
def stats(
    top: Annotated[int, typer.Option("--top", metavar="N", min=0, max=10_000, help="Number of users to list.")] = 10,
    user: UserOption = None,
    approximate: Annotated[
        bool, typer.Option("--approximate", help="Use PostgreSQL's estimates: instant, but approximate.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show how many memories, users and sessions there are, and how memories grow."""
    from junkie_cli.core import stats as core

    settings = invocation().settings()
    with working("counting") as shown:
        collecting = core.collect_stats(
            settings, top=top, user_id=user, approximate=approximate, progress=shown.progress
        )
        found = invocation().run(collecting)
    if approximate and not found.approximate:
        note("counted exactly: PostgreSQL has no estimates for a single user")
    if as_json:
        document = as_document(found)
        del document["warnings"]
        return print_json(document, found.warnings)
    show_warnings(found.warnings)
    return _print_tables(found) if is_terminal(sys.stdout) else _print_lines(found)


def _totals(found: "Stats") -> list[tuple[Any, ...]]:
    return [
        ("Memories", found.memories, "number"),
        ("Users", found.users, "number"),
        ("Average per user", found.average_per_user, "number"),
        ("Sessions", found.sessions, "number"),
        ("Runs", found.runs, "number"),
        ("Pending", found.pending, "number"),
        ("Oldest", found.oldest, "time"),
        ("Newest", found.newest, "time"),
    ]


def _print_lines(found: "Stats") -> None:
    """Print tab-separated lines for a pipe, each with its subject first."""
    rows: list[tuple[Any, ...]] = [(label.lower().replace(" ", "_"), value) for label, value, _ in _totals(found)]
    rows += [("table", table.name, table.rows, table.bytes) for table in found.tables]
    rows += [("top_user", user.user_id, user.memories, user.updated_at) for user in found.top_users]
    rows += [("day", day.day, day.memories) for day in found.per_day]
    for row in rows:
        print_rows([Column("", itemgetter(position)) for position in range(len(row))], [row])


def _print_tables(found: "Stats") -> None:
    from junkie_cli.core.database import label

    print_record(
        _totals(found),
        title="Memories, approximately" if found.approximate else "Memories",
        database=label(invocation().settings()),
    )
    if found.top_users:
        print_line("")
        print_rows(_top_columns(found.top_users), found.top_users, title="Largest users")
    if any(day.memories for day in found.per_day):
        counts = [day.memories for day in found.per_day]
        print_line("")
        print_record([("Last 30 days", _growth(counts)), ("Most in one day", max(counts), "number")])
    print_line("")
    print_rows(_TABLES, found.tables, title="Tables")


def _top_columns(users: "tuple[TopUser, ...]") -> list[Column]:
    look, most = Look.of(sys.stdout), max(user.memories for user in users)
    room = max(_FEWEST_BAR, min(_MOST_BAR, columns_of(sys.stdout) - _BESIDE_BAR))
    return [
        Column("USER", lambda user: user.user_id),
        Column("MEMORIES", lambda user: user.memories, "number"),
        Column("", lambda user: bar(user.memories, most, room, unicode=look.unicode)),
        Column("LAST CHANGED", lambda user: user.updated_at, "time"),
    ]


def _growth(counts: list[int]) -> str:
    """Return a sparkline with one to three columns for each day, depending on the terminal."""
    wide = max(1, min(4, (columns_of(sys.stdout) - 20) // len(counts)))
    return "".join(mark * wide for mark in sparkline(counts, unicode=Look.of(sys.stdout).unicode))


_TABLES = (
    Column("TABLE", lambda table: table.name),
    Column("ROWS", lambda table: table.rows, "number"),
    Column("SIZE", lambda table: table.bytes, "bytes"),
)
