"""What asyncpg, typer and agno keep private and junkie overrides or calls: each as it was when that was written.

A test that fails names what changed, why junkie needs it, and what the library would have to offer so that junkie no
longer does. Then look at the code that is named, before the range of versions in pyproject.toml is widened.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import agno.team._run
import agno.team._session
import agno.team._telemetry
import asyncpg
import asyncpg.connect_utils
import asyncpg.connection
import asyncpg.protocol
import pytest
import typer._click.decorators
import typer._completion_classes
import typer.core
import typer.main
from agno.db.postgres import AsyncPostgresDb
from typer._click.formatting import HelpFormatter

import junkie_cli


@dataclass(frozen=True)
class Private:
    """A private part: where it is, what junkie relies on, why, and which change upstream would make it unnecessary."""

    name: str
    holds: Callable[[], bool]
    used: str
    upstream: str


def takes(function: Callable[..., Any], *names: str) -> bool:
    """Whether the function's parameters begin with these."""
    return tuple(inspect.signature(function).parameters)[: len(names)] == names


def says(module: Any, pattern: str) -> bool:
    """Whether the source of a module has a line of this pattern."""
    return re.search(pattern, inspect.getsource(module)) is not None


Connection = asyncpg.Connection
_CONNECTION = "core/postgres/connection.py"
_BYTES = f"{_CONNECTION} gives a database without an encoding bytes, and reports who holds a lock"
_HOOK = "a hook around each statement that gets and may change its text, its arguments and its rows"

PRIVATE = [
    Private(
        "asyncpg.Connection._do_execute(query, executor, timeout)",
        lambda: takes(Connection._do_execute, "self", "query", "executor", "timeout"),
        _BYTES,
        _HOOK,
    ),
    Private(
        "asyncpg.Connection._execute(query, args, limit, timeout)",
        lambda: takes(Connection._execute, "self", "query", "args", "limit", "timeout"),
        _BYTES,
        _HOOK,
    ),
    Private(
        "asyncpg.Connection._executemany(query, args, timeout)",
        lambda: takes(Connection._executemany, "self", "query", "args", "timeout"),
        _BYTES,
        _HOOK,
    ),
    Private(
        "asyncpg.Connection._copy_in(copy_stmt, source, timeout)",
        lambda: takes(Connection._copy_in, "self", "copy_stmt", "source", "timeout"),
        _BYTES,
        _HOOK,
    ),
    Private(
        "asyncpg.Connection._copy_out(copy_stmt, output, timeout)",
        lambda: takes(Connection._copy_out, "self", "copy_stmt", "output", "timeout"),
        _BYTES,
        _HOOK,
    ),
    Private(
        "asyncpg.Connection._get_statement(query, timeout, *, named, record_class)",
        lambda: (
            takes(Connection._get_statement, "self", "query", "timeout")
            and {"named", "record_class"} <= set(inspect.signature(Connection._get_statement).parameters)
        ),
        f"{_CONNECTION} gives the statements of cursors no name, which a pooler would keep for the next client",
        "a connection that prepares no named statement at all, cursors included, with statement_cache_size=0",
    ),
    Private(
        "asyncpg.Connection._stmt_cache_enabled and _stmt_cache.set_max_size",
        lambda: (
            says(asyncpg.connection, r"_stmt_cache_enabled = config\.statement_cache_size > 0")
            and says(asyncpg.connection, r"def set_max_size\(self, new_size\)")
        ),
        f"{_CONNECTION} keeps statements once it has seen that no pooler stands between",
        "a method that changes the size of the statement cache of an open connection",
    ),
    Private(
        "asyncpg.Connection._cancel_current_command(waiter)",
        lambda: takes(Connection._cancel_current_command, "self", "waiter"),
        f"{_CONNECTION} bounds the time that an interrupted statement may take to end, and asks the server twice",
        "a timeout for the request to cancel, after which the connection is closed",
    ),
    Private(
        "asyncpg.Connection._transport and _loop",
        lambda: (
            says(asyncpg.connection, r"self\._transport = transport") and says(asyncpg.connection, r"self\._loop = ")
        ),
        f"{_CONNECTION} sets TCP keepalives on the socket",
        "the parameters keepalives_idle, keepalives_interval and keepalives_count of libpq",
    ),
    Private(
        "asyncpg.connect_utils makes protocol.Protocol by that name",
        lambda: says(asyncpg.connect_utils, r"protocol\.Protocol\("),
        f"{_CONNECTION} refuses a peer whose first message is not PostgreSQL's, before asyncpg believes its length",
        "a check of the length and the kind of each message",
    ),
    Private(
        "asyncpg.protocol.Protocol(addr, connected_fut, ...) with data_received",
        lambda: callable(getattr(asyncpg.protocol.Protocol, "data_received", None)),
        f"{_CONNECTION} looks at the first message",
        "a check of the length and the kind of each message",
    ),
    Private(
        "typer.core.HAS_RICH",
        lambda: says(typer.core, r"if HAS_RICH"),
        "cli/command_tree.py draws help itself: rich's panels cost a third of a `memories list`",
        "a parameter of the application that switches rich off (TYPER_USE_RICH is read from the environment only)",
    ),
    Private(
        "typer._completion_classes._sanitize_help_text(text)",
        lambda: (
            takes(typer._completion_classes._sanitize_help_text, "text")
            and says(typer._completion_classes, r"_sanitize_help_text\(")
        ),
        "cli/command_tree.py keeps rich from being loaded at each key press of a completion",
        "completion that does not load rich when it is switched off",
    ),
    Private(
        "typer._click.decorators.echo prints help",
        lambda: says(typer._click.decorators, r"echo\(ctx\.get_help\(\)"),
        "cli/command_tree.py prints help as every other answer: a short write is an error",
        "a callback that prints help, or help that is returned",
    ),
    Private(
        "typer._click.formatting.HelpFormatter writes help in four pieces",
        lambda: (
            takes(HelpFormatter.write_usage, "self", "prog", "args", "prefix")
            and takes(HelpFormatter.write_heading, "self", "heading")
            and takes(HelpFormatter.write_text, "self", "text")
            and takes(HelpFormatter.write_dl, "self", "rows", "col_max", "col_spacing")
        ),
        "cli/command_tree.py draws headings, names and examples itself",
        "a formatter that an application may name, in a public module",
    ),
    Private(
        "typer.main.get_command_from_info(command_info, *, pretty_exceptions_short, rich_markup_mode)",
        lambda: (
            set(inspect.signature(typer.main.get_command_from_info).parameters)
            == {"command_info", "pretty_exceptions_short", "rich_markup_mode"}
        ),
        "cli/command_tree.py makes a command when it is asked for: all of a group take a tenth of a `memories list`",
        "groups whose commands are made, and whose modules are loaded, when they are asked for",
    ),
    Private(
        "agno's AsyncPostgresDb._get_table(table_type, create_table_if_not_found)",
        lambda: takes(AsyncPostgresDb._get_table, "self", "table_type", "create_table_if_not_found"),
        "core/agent/tables.py makes the tables of agno, as agno does and in one transaction",
        "a public method that creates chosen tables",
    ),
    Private(
        "agno.team._telemetry.get_team_data(team)",
        lambda: takes(agno.team._telemetry.get_team_data, "team"),
        "core/agent/team.py stores with a new session what agno itself stores of the team",
        "a public method for the stored form of a team",
    ),
    Private(
        "agno.team._session.update_session_metrics(team, session, run_response)",
        lambda: takes(agno.team._session.update_session_metrics, "team", "session", "run_response"),
        "core/agent/agno_rows.py counts the tokens of a session as agno does",
        "a public function that adds a run to the figures of a session",
    ),
    Private(
        "agno.team._run._background_tasks",
        lambda: isinstance(getattr(agno.team._run, "_background_tasks", None), set),
        "core/agent/team.py waits for what a run has left behind, before its turn ends",
        "a method of the team that waits for its background tasks",
    ),
]


@pytest.mark.parametrize("private", PRIVATE, ids=lambda private: private.name)
def test_a_private_part_is_as_it_was(private: Private) -> None:
    try:
        held = private.holds()
    except AttributeError:
        held = False
    assert held, (
        f"{private.name} is not what it was in this version of the library. It is needed because {private.used}."
        f" Adapt that code. It would be unnecessary with {private.upstream}."
    )


def test_no_other_private_module_is_imported() -> None:
    """A new use of something private belongs into the table above."""
    private = re.compile(r"^\s*(?:from|import) ((?:asyncpg|typer|agno)[\w.]*?\._[\w.]+)", re.MULTILINE)
    paths = Path(junkie_cli.__file__).parent.rglob("*.py")
    found = {name for path in paths for name in private.findall(path.read_text())}
    assert found == {
        "agno.team._session",
        "agno.team._telemetry",
        "typer._click.core",
        "typer._click.decorators",
        "typer._click.exceptions",
        "typer._click.formatting",
        "typer._completion_classes",
    }
