"""The floor of help: the same commands with the same options and empty bodies, in plain typer.

Made from the source of `junkie_cli/cli/commands`: `write(folder)` leaves the package `tree` and the script `main.py`.
"""

import ast
from pathlib import Path

COMMANDS = Path(__file__).parents[3] / "junkie_cli" / "cli" / "commands"

_HEAD = """\
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document, for scripts.")]
UserOption = Annotated[str | None, typer.Option("--user", "-u", metavar="USER", help="User id.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
"""

_MAIN = """\
import typer
import typer.core
{imports}

typer.core.HAS_RICH = False
app = typer.Typer(help="Talk to a team that remembers, and look after what it remembers.")
{groups}
if __name__ == "__main__":
    app()
"""


def write(folder: Path) -> Path:
    """Write the tree into `folder` and return the script that shows its help."""
    package = folder / "tree"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").touch()
    names = []
    for module in sorted(COMMANDS.glob("[!_]*.py")):
        names.append(module.stem)
        (package / module.name).write_text(_HEAD + emptied(module.read_text("utf-8")), "utf-8")
    script = folder / "main.py"
    imports = "\n".join(f"from tree import {name}" for name in names)
    groups = "\n".join(f"app.add_typer({name}.app)" for name in names)
    script.write_text(_MAIN.format(imports=imports, groups=groups), "utf-8")
    return script


def emptied(source: str) -> str:
    """What of a command's module makes its help: the typer, the options' types, and commands without bodies."""
    kept: list[ast.stmt] = []
    for statement in ast.parse(source).body:
        _plain(statement)
        if isinstance(statement, ast.FunctionDef) and _is_command(statement):
            says = statement.body[:1] if ast.get_docstring(statement) is not None else []
            statement.body = [*says, ast.Pass()]
            kept.append(statement)
        elif isinstance(statement, ast.Assign) and _shapes_help(statement.value):
            kept.append(statement)
    return "\n\n".join(ast.unparse(statement) for statement in kept) + "\n"


def _plain(statement: ast.stmt) -> None:
    """Without what needs code of ours: a class of the command, a completion, a callback."""
    for call in ast.walk(statement):
        if isinstance(call, ast.Call):
            call.keywords = [each for each in call.keywords if each.arg not in ("cls", "autocompletion", "callback")]


def _is_command(function: ast.FunctionDef) -> bool:
    return any(
        ast.unparse(each).partition("(")[0].endswith((".command", ".callback")) for each in function.decorator_list
    )


def _shapes_help(value: ast.expr) -> bool:
    """Whether an assigned value is text, a typer, or an annotated option."""
    if isinstance(value, ast.Constant | ast.JoinedStr):
        return True
    return "typer." in ast.unparse(value) and isinstance(value, ast.Subscript | ast.Call)
