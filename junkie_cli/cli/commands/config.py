"""`junkie config`: see the settings and where each came from, or be asked for them."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from junkie_cli.core.errors import UsageError
from junkie_cli.terminal.invocation import JsonOption, invocation
from junkie_cli.terminal.output import Column, note, print_json, print_line, print_rows

if TYPE_CHECKING:
    from junkie_cli.core import documents
    from junkie_cli.core.settings import Settings

app = typer.Typer(
    name="config",
    help="See the settings and where each came from, or be asked for them.",
    epilog="Examples:\n  junkie config init\n  junkie config show",
)


@app.command(epilog="Examples:\n  junkie config show\n  junkie --env-file /srv/bot/.env config show --json")
def show(json: JsonOption = False) -> None:
    """Show every setting, its value with secrets redacted, and where it came from."""
    from junkie_cli.core.settings import VARIABLES, shown_value

    settings = invocation().settings()
    if json:
        print_json(_document(settings))
        return
    columns = [
        Column("VARIABLE", lambda variable: variable.name, "id", main=True),
        Column("VALUE", lambda variable: shown_value(settings, variable) or None),
        Column("FROM", lambda variable: str(settings.sources[variable.name])),
    ]
    print_rows(columns, VARIABLES, title="Settings", footer=_about_files(settings))


@app.command(epilog="Example:\n  junkie config path")
def path(json: JsonOption = False) -> None:
    """Print the path of the .env that is in force; nothing when there is none."""
    settings = invocation().settings()
    if json:
        print_json({"env_file": settings.env_file, "ignored_env_files": list(map(str, settings.ignored_env_files))})
    elif settings.env_file:
        print_line(str(settings.env_file))
    else:
        note(_about_files(settings))


@app.command(epilog="Examples:\n  junkie config init\n  junkie --env-file ~/.config/junkie/.env config init")
def init() -> None:
    """Ask at most five questions, check the answers, and write them to the .env for your eyes only."""
    from junkie_cli.cli import config_wizard
    from junkie_cli.core import setup

    options = invocation()
    target = setup.env_file_to_write(options.env_file)
    if not options.interactive:
        raise UsageError("config init asks questions, and nobody can be asked here", hint=f"write {target} yourself")
    if not target.exists():
        options.env_file = Path(os.devnull)  # nothing to read yet
    note(f"The answers go to {target}. Enter takes what stands in brackets; Ctrl-C leaves everything as it is.")
    values = config_wizard.ask_for_settings(options.settings())
    if values:
        config_wizard.write(target, values)
    else:
        note("Nothing to write: that is how it is set already. Next: junkie chat")


def _about_files(settings: "Settings") -> str:
    ignored = "".join(f"; not read, as it is somebody else's: {path}" for path in settings.ignored_env_files)
    if settings.env_file:
        return f"read from {settings.env_file}{ignored}"
    return f"no .env here or above{ignored}; junkie config init writes one"


def _document(settings: "Settings") -> "documents.ConfigShown":
    from junkie_cli.core.settings import VARIABLES, shown_value

    return {
        "settings": [
            {
                "name": variable.name,
                "value": shown_value(settings, variable) or None,
                "source": (source := settings.sources[variable.name]).kind,
                "file": source.path,
                "line": source.line,
            }
            for variable in VARIABLES
        ],
        "env_file": settings.env_file,
        "ignored_env_files": list(map(str, settings.ignored_env_files)),
        "bot_variables": sorted(settings.bot_variables),
    }
