"""`junkie memories`: list, search, edit, import, export and delete memories. Each file is one command."""

import typer

app = typer.Typer(name="memories", help="List, search, edit, import, export and delete memories.", no_args_is_help=True)

COMMANDS = (
    *("list", "show", "search", "add", "edit", "delete", "clear", "undo", "history"),
    *("export", "import", "pending", "retry", "learn", "check"),
)
"""The files, each one command, in the order in which the help lists them."""
