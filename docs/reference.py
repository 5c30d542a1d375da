"""Make docs/reference.md, the command reference, from what `--help` says: `make docs`."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from junkie_cli.command_tree import TreeContext, root_command

TARGET = Path(__file__).parent / "reference.md"
COLUMNS = 80
_BEGINNING = """\
# Command reference

What `junkie COMMAND --help` says, at 80 columns. Made by `make docs`; a test holds it equal.
"""


def commands() -> Iterator[tuple[str, str]]:
    """Each command's path, `junkie` first, with its help at 80 columns."""
    os.environ["COLUMNS"] = str(COLUMNS)
    yield from _below(root_command(), "junkie", None)


def _below(command: Any, name: str, parent: Any) -> Iterator[tuple[str, str]]:
    context = TreeContext(command, info_name=name, parent=parent, help_option_names=["-h", "--help"])
    path = context.command_path
    yield path, command.get_help(context).rstrip() + "\n"
    if hasattr(command, "list_commands"):
        for inner in command.list_commands(context):
            yield from _below(command.get_command(context, inner), inner, context)


def reference() -> str:
    """The whole document."""
    sections = [
        f"\n{'##' if path.count(' ') < 2 else '###'} {path}\n\n```text\n{text}```\n" for path, text in commands()
    ]
    return _BEGINNING + "".join(sections)


if __name__ == "__main__":
    sys.stdout.write(f"{TARGET}\n")
    TARGET.write_text(reference())
