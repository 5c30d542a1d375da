"""`junkie config`: show settings, or set them up interactively."""

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
    help="Show settings and where they come from, or set them up interactively.",
    epilog="Examples:\n  junkie config init\n  junkie config show",
)


@app.command(epilog="Examples:\n  junkie config show\n  junkie --env-file /srv/bot/.env config show --json")
def show(json: JsonOption = False) -> None:
    """Show all settings with their values and where they come from. Secrets are redacted."""
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
    """Print the path of the .env file in use, or nothing if there is no such file."""
    settings = invocation().settings()
    if json:
        print_json({"env_file": settings.env_file, "ignored_env_files": list(map(str, settings.ignored_env_files))})
    elif settings.env_file:
        print_line(str(settings.env_file))
    else:
        note(_about_files(settings))


@app.command(epilog="Examples:\n  junkie config init\n  junkie --env-file ~/.config/junkie/.env config init")
def init() -> None:
    """Ask up to five questions, check the answers, and save them in .env, readable only by you."""
    from junkie_cli.cli import config_wizard
    from junkie_cli.core import setup

    options = invocation()
    target = setup.env_file_to_write(options.env_file)
    if not options.interactive:
        raise UsageError("config init needs a terminal to ask questions", hint=f"create {target} with an editor")
    if not target.exists():
        options.env_file = Path(os.devnull)  # nothing to read yet
    note(f"Answers are saved in {target}. Press Enter for the value in brackets, Ctrl-C to cancel.")
    values = config_wizard.ask_for_settings(options.settings())
    if values:
        config_wizard.write(target, values)
    else:
        note("Nothing to save: these values are already set. Next: junkie chat")


def _about_files(settings: "Settings") -> str:
    ignored = "".join(f"; ignored, because it belongs to another user: {path}" for path in settings.ignored_env_files)
    if settings.env_file:
        return f"read from {settings.env_file}{ignored}"
    return f"no .env file here or in a parent folder{ignored}; to create one: junkie config init"


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
