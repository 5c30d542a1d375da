"""The floor of help: the same commands with the same options and empty bodies, in plain typer.

Made from the source of `junkie_cli/cli/commands`: `write(folder)` leaves the package `tree` and the script `main.py`.
"""

import ast
from pathlib import Path

COMMANDS = Path(__file__).parents[3] / "junkie_cli" / "cli" / "commands"

GROUPS = frozenset({"Accepted", "Dump", "Retention", "Verification"})
"""Classes of `backup_options` that stand for several options."""

_HEAD = """\
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document, for scripts.")]
UserOption = Annotated[str | None, typer.Option("--user", "-u", metavar="USER", help="User id.")]
LimitOption = Annotated[
    int, typer.Option("-n", "--limit", metavar="N", min=1, max=100_000, help="Maximum number of results to show.")
]
AfterOption = Annotated[
    str | None, typer.Option("--after", metavar="CURSOR", help="Continue from the `next` value of the previous page.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
"""

_MAIN = """\
import typer
import typer.core
{imports}

typer.core.HAS_RICH = False
app = typer.Typer(help="Talk to a team that remembers, and look after what it remembers.")
groups = {{}}
{groups}
for group in groups.values():
    app.add_typer(group)
if __name__ == "__main__":
    app()
"""


def write(folder: Path) -> Path:
    """Write the tree into `folder` and return the script that shows its help."""
    package = folder / "tree"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").touch()
    names = []
    for module in sorted([*COMMANDS.glob("[!_]*.py"), *COMMANDS.glob("*/[!_]*.py")]):
        name = "_".join(module.relative_to(COMMANDS).with_suffix("").parts)
        names.append(name)
        source = module.read_text("utf-8")
        (package / f"{name}.py").write_text(_HEAD + _options(source) + emptied(source), "utf-8")
    script = folder / "main.py"
    imports = "\n".join(f"from tree import {name}" for name in names)
    groups = "\n".join(_added(name) for name in names)
    script.write_text(_MAIN.format(imports=imports, groups=groups), "utf-8")
    return script


def _added(name: str) -> str:
    """The line of the script that adds the typer of a module: of one in a folder, to the folder's group."""
    group, in_folder, _ = name.partition("_")
    if not in_folder:
        return f"app.add_typer({name}.app)"
    return f"groups.setdefault({group!r}, typer.Typer(name={group!r})).add_typer({name}.app)"


def emptied(source: str) -> str:
    """What of a command's module makes its help: the typer, the options' types, and commands without bodies."""
    kept: list[ast.stmt] = []
    for statement in ast.parse(source).body:
        _plain(statement)
        if isinstance(statement, ast.FunctionDef) and _is_command(statement):
            statement.decorator_list = [each for each in statement.decorator_list if _makes_command(each)]
            statement.args.args = [each for each in statement.args.args if not _is_group(each)]  # none has a default
            named = zip(statement.args.kwonlyargs, statement.args.kw_defaults, strict=True)
            kept_names = [(parameter, default) for parameter, default in named if not _is_group(parameter)]
            statement.args.kwonlyargs = [parameter for parameter, _ in kept_names]
            statement.args.kw_defaults = [default for _, default in kept_names]
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


def _options(source: str) -> str:
    """The types of options that a command's module imports from another module of the command line."""
    found = []
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("junkie_cli.cli."):
            path = COMMANDS.parents[2].joinpath(*str(statement.module).split(".")).with_suffix(".py")
            found.append(emptied(path.read_text("utf-8")) if path.exists() else "")
    return "\n".join(found)


def _is_command(function: ast.FunctionDef) -> bool:
    return any(map(_makes_command, function.decorator_list))


def _makes_command(decorator: ast.expr) -> bool:
    return ast.unparse(decorator).partition("(")[0].endswith((".command", ".callback"))


def _is_group(parameter: ast.arg) -> bool:
    """Whether a parameter is a group of options, which typer does not know: the floor has a few options less."""
    return isinstance(parameter.annotation, ast.Name) and parameter.annotation.id in GROUPS


def _shapes_help(value: ast.expr) -> bool:
    """Whether an assigned value is text, a typer, or an annotated option."""
    if isinstance(value, ast.Constant | ast.JoinedStr):
        return True
    return "typer." in ast.unparse(value) and isinstance(value, ast.Subscript | ast.Call)
