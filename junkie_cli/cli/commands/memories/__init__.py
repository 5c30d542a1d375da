"""`junkie memories`: see, search, correct, move and clear what is remembered. Each file is one of its commands."""

import typer

app = typer.Typer(
    name="memories", help="See, search, correct, move and clear what is remembered.", no_args_is_help=True
)

ORDER = (
    *("list", "show", "search", "add", "edit", "delete", "clear", "undo", "history"),
    *("export", "import", "pending", "retry", "learn"),
)
"""The commands in the order in which the help lists them."""
