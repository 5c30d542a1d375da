"""Builds the command tree: global options, the commands found in `commands/`, and the layout of help.

Help is plain text: typer's rich panels cost 70 ms for each call. Only the module of the requested command is
imported; the list of all commands imports every module.
"""

import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from keyword import iskeyword
from pathlib import Path
from typing import Annotated, Any

import typer
import typer._click.decorators
import typer._completion_classes
import typer.core
import typer.main
import typer.models
from typer._click.core import Command, Context
from typer._click.exceptions import ClickException, NoSuchOption
from typer._click.formatting import HelpFormatter, wrap_text

from junkie_cli import __version__
from junkie_cli.cli import commands
from junkie_cli.core import actor
from junkie_cli.core.errors import UsageError
from junkie_cli.terminal.invocation import invocation
from junkie_cli.terminal.style import Look, columns_of

typer.core.HAS_RICH = False
# Completion would import rich on each key press to strip markup, which these help texts do not contain.
typer._completion_classes._sanitize_help_text = lambda text: text

_WIDEST = 100
_ORDER = ("chat", "demo", "memories", "users", "sessions", "stats", "backup", "restore", "doctor", "config")
_WAYS_IN = (
    ("chat", "start a conversation; asks for a model if none is set up"),
    ("demo", "take a two-minute tour; your own data is not touched"),
    ("doctor", "check the setup and show the next step"),
)
_GLOBAL_OPTIONS = frozenset({"-v", "--verbose", "-q", "--quiet", "--env-file", "--version"})


def _print(text: str, **_: Any) -> None:
    """Print an answer with the error handling that commands use; the module is imported only when needed."""
    from junkie_cli.terminal.output import print_styled

    print_styled(text)


typer._click.decorators.echo = _print  # type: ignore[attr-defined, assignment]  # what prints help


class TreeContext(Context):
    """A context that formats help with `TreeFormatter`, and names its command to the history of changes."""

    formatter_class: type[HelpFormatter]

    def invoke(self, callback: Any, /, *arguments: Any, **options: Any) -> Any:
        """Run a command."""
        actor.set_command(self.command_path.partition(" ")[2] or None)
        return super().invoke(callback, *arguments, **options)


class TreeFormatter(HelpFormatter):
    """Formats plain help: bold headings, cyan names where the terminal supports color, examples unchanged."""

    def __init__(self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None) -> None:
        super().__init__(indent_increment, width or min(columns_of(sys.stdout), _WIDEST) - 2, max_width)
        self._look = Look.of(sys.stdout)

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write the usage line, with `ID` instead of `{ID}` for required arguments."""
        super().write_usage(prog, re.sub(r"[{}]", "", args), prefix)

    def write_heading(self, heading: str) -> None:
        """Write a bold heading."""
        self.write(self._look.styled(f"{'':>{self.current_indent}}{heading}:", "bold") + "\n")

    def write_text(self, text: str) -> None:
        """Write wrapped paragraphs; "Example:" becomes a heading, and the text below it stays unwrapped."""
        prose, heading, examples = re.match(r"(.*?)(?:(Examples?:)(.*))?\Z", text, re.DOTALL).groups()  # type: ignore[union-attr]
        indent = " " * self.current_indent
        paragraphs = [" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", prose.strip())]
        if prose.strip():
            wrapped = (
                wrap_text(each, self.width, initial_indent=indent, subsequent_indent=indent) for each in paragraphs
            )
            self.write("\n\n".join(wrapped) + "\n")
        if heading:
            self.write("\n" if prose.strip() else "")
            self.write(self._look.styled(heading, "bold") + "\n")
            self.write("".join(f"  {line.strip()}\n" for line in examples.splitlines() if line.strip()))

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write two columns: colored names and their descriptions."""
        super().write_dl([(self._look.styled(name, "cyan"), meaning) for name, meaning in rows], col_max, col_spacing)


TreeContext.formatter_class = TreeFormatter


class Root(typer.core.TyperGroup):
    """The root group; imports the module of a command when the command is requested."""

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """Return the command with that name, or None."""
        if cmd_name not in self.commands and cmd_name.replace("-", "_") in _modules():
            self._add(cmd_name.replace("-", "_"))
        if cmd_name not in self.commands:
            self._add_all()
        return self.commands.get(cmd_name)

    def list_commands(self, ctx: Context) -> list[str]:
        """Return all names in the order of `_ORDER`, others last."""
        self._add_all()
        return sorted(self.commands, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))

    def _add_all(self) -> None:
        for module in _modules():
            self._add(module)

    def _add(self, module: str) -> None:
        for name, command in _load(module).items():
            self.commands.setdefault(name, command)


def _modules() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(commands.__path__)]


def _load(module: str) -> Mapping[str, Command]:
    found = importlib.import_module(f"{commands.__name__}.{module}")
    app: typer.Typer = found.app
    app.info.cls = Group
    infos, app.registered_commands = app.registered_commands, []
    group = typer.main.get_group(app)
    app.registered_commands = infos
    inner_commands = _Folder(found) if hasattr(found, "__path__") else _Commands(infos)
    group.commands = inner_commands  # type: ignore[assignment]  # nobody adds to it
    return {group.name: _dressed(group)} if group.name else inner_commands


class Group(typer.core.TyperGroup):
    """A group of commands; without examples of its own its help shows one example of each of its first commands."""

    def format_epilog(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the examples."""
        shown = [re.search(r"junkie [^\n]+", command.epilog or "") for command in self.commands.values()]
        self.epilog = self.epilog or "Examples:\n" + "\n".join([match[0] for match in shown if match][:3])
        super().format_epilog(ctx, formatter)


class _Commands(Mapping[str, Command]):
    """The commands of a group by name, built lazily: building all of `memories` takes a tenth of `memories list`."""

    def __init__(self, infos: Sequence[typer.models.CommandInfo]) -> None:
        self._infos = {_name_of(info): info for info in infos}
        self._made: dict[str, Command] = {}

    def __getitem__(self, name: str) -> Command:
        if name not in self._made:
            made = typer.main.get_command_from_info(
                self._info(name), pretty_exceptions_short=False, rich_markup_mode=None
            )
            self._made[name] = _dressed(made)
        return self._made[name]

    def _info(self, name: str) -> typer.models.CommandInfo:
        return self._infos[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._infos)

    def __len__(self) -> int:
        return len(self._infos)


class _Folder(_Commands):
    """The commands of a group that is a folder, in the order of its COMMANDS: a file is imported when it is asked for.

    The file of a command whose name is a word of Python's has an underscore at its end.
    """

    def __init__(self, package: Any) -> None:
        super().__init__(())
        files = {name: f"{name}_" if iskeyword(name) else name for name in package.COMMANDS}
        self._modules = {name: f"{package.__name__}.{file}" for name, file in files.items()}

    def _info(self, name: str) -> typer.models.CommandInfo:
        app: typer.Typer = importlib.import_module(self._modules[name]).app
        (info,) = app.registered_commands
        return info

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


def _name_of(info: typer.models.CommandInfo) -> str:
    assert info.callback is not None
    return info.name or typer.main.get_command_name(info.callback.__name__)


def _dressed(command: Command) -> Command:
    command.context_class = TreeContext
    # The complete first sentence: a text shortened to one line explains too little.
    command.short_help = command.short_help or re.split(r"(?<=\.)\s|\n\n", command.help or "", maxsplit=1)[0]
    if isinstance(command, typer.core.TyperGroup):
        command.no_args_is_help = not command.invoke_without_command
    return command


def _show_version(value: bool) -> None:
    if value:
        _print(f"junkie {__version__}")
        raise typer.Exit


def _root(
    context: typer.Context,
    env_file: Annotated[
        Path | None,
        typer.Option(
            "--env-file", metavar="FILE", help="Read settings from FILE instead of searching for a .env file."
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show more detail on stderr.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the answer, warnings and errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    options = invocation()
    options.env_file, options.verbose, options.quiet = env_file, verbose, quiet
    if context.invoked_subcommand is None:
        _print(_welcome())


def root_command() -> Command:
    """Return the root of the command tree, with shell completion, without importing any command module."""
    app = typer.Typer(
        name="junkie",
        cls=Root,
        help="Chat with a team that remembers you, and manage its memories.",
        epilog='Examples:\n\n  junkie chat "What do you know about me?"\n  junkie memories list --user 42 --json\n'
        "  junkie --env-file /srv/bot/.env backup",
        invoke_without_command=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    root = typer.main.get_command(app)
    root.context_class = TreeContext
    return root


def _welcome() -> str:
    """Return the text that `junkie` prints without arguments."""
    look = Look.of(sys.stdout)
    ways = [(f"junkie {name}", meaning) for name, meaning in _WAYS_IN if name in _modules()]
    lines = [f"{look.styled('junkie', 'bold')} {__version__}: chat with a team that remembers you", ""]
    lines += [f"  {look.styled(f'{name:<15}', 'cyan')}{meaning}" for name, meaning in ways]
    return "\n".join([*lines, "", "All commands: junkie --help"])


_KINDS = {
    "is not a valid int range": "is not a whole number",
    "is not a valid integer range": "is not a whole number",
    "is not a valid integer": "is not a whole number",
    "is not a valid float range": "is not a number",
    "is not a valid float": "is not a number",
}
"""How the parser names kinds of values, and plain words for them."""


def usage_error(error: ClickException, arguments: Sequence[str]) -> UsageError:
    """Convert an error of the command-line parser, adding the next step."""
    message, _, suggestion = error.format_message().partition(" Did you mean ")
    context = getattr(error, "ctx", None)
    hint = f"see: {context.command_path if context else 'junkie'} --help"
    if suggestion:
        hint = f"did you mean {suggestion.replace(chr(39), '')} {hint}"
    if isinstance(error, NoSuchOption):
        message = error.message
        hint = _option_hint(error, arguments, hint)
    for kind, plain in _KINDS.items():
        message = message.replace(kind, plain)
    message = message.strip().rstrip(".")
    return UsageError(message[:1].lower() + message[1:], hint=hint)


def _option_hint(error: NoSuchOption, arguments: Sequence[str], hint: str) -> str:
    if error.option_name in _GLOBAL_OPTIONS:
        value = " FILE" if error.option_name == "--env-file" else ""
        return f"write it before the command: junkie {error.option_name}{value} {arguments[0]} ..."
    if error.possibilities:
        from difflib import SequenceMatcher

        likeness = {each: SequenceMatcher(None, error.option_name, each).ratio() for each in error.possibilities}
        return f"did you mean {max(likeness, key=lambda each: likeness[each])}? {hint}"
    return hint
