"""The command tree: everything in it explains itself, with an example, at every width."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer._click.core import Command
from typer.core import TyperGroup

from junkie_cli.cli import command_tree, commands, main
from junkie_cli.cli.command_tree import TreeContext, root_command
from junkie_cli.cli.commands import memories
from junkie_cli.core.sanitize import width
from junkie_cli.terminal import invocation
from junkie_cli.terminal.style import plain
from tests.support import extra_commands

pytestmark = pytest.mark.usefixtures("fresh_invocation")


def tree() -> Iterator[tuple[str, Command, TreeContext]]:
    """Every command with the words that call it and a context to draw its help in."""

    def below(words: str, command: Command, parent: TreeContext | None) -> Iterator[tuple[str, Command, TreeContext]]:
        context = TreeContext(command, info_name=words.rpartition(" ")[2], parent=parent, **command.context_settings)
        yield words, command, context
        if isinstance(command, TyperGroup):
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                assert inner is not None
                yield from below(f"{words} {name}", inner, context)

    yield from below("junkie", root_command(), None)


TREE = {words: (command, context) for words, command, context in tree()}


def test_the_tree_holds_what_the_folder_holds() -> None:
    top = {words.split()[1] for words in TREE if words.count(" ") == 1}
    assert top >= {path.stem for path in Path(command_tree.commands.__path__[0]).glob("[a-z]*.py")}


def test_a_group_in_a_folder_lists_all_its_files_in_its_order() -> None:
    files = {path.stem.rstrip("_") for path in Path(memories.__path__[0]).glob("[a-z]*.py")}
    listed = [words.split()[2] for words in TREE if words.startswith("junkie memories ")]
    assert set(listed) == files == set(memories.COMMANDS), "a command of this folder is missing in its COMMANDS"
    assert listed == list(memories.COMMANDS)


@pytest.mark.parametrize("words", TREE)
def test_every_command_explains_itself(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command, context = TREE[words]
    monkeypatch.setenv("COLUMNS", "80")
    text = command.get_help(context)
    assert command.help, f"{words} has no help"
    assert command.help.strip().endswith("."), f"{words}: its help is no sentence"
    assert "-h, --help" in text
    examples = re.search(r"^Examples?:\n((  .*\n?)+)", text, re.MULTILINE)
    assert examples, f"{words} has no example"
    assert any(line.strip().startswith(words.split(" ")[0]) for line in examples[1].splitlines())
    assert words in examples[1] or words == "junkie", f"the example of {words} shows another command"


@pytest.mark.parametrize("words", TREE)
def test_every_option_is_explained(words: str) -> None:
    command, _ = TREE[words]
    for parameter in command.params:
        explained = getattr(parameter, "help", "") or parameter.param_type_name == "argument"
        assert explained, f"{words} {'/'.join(parameter.opts)} has no help"


def test_a_file_that_is_written_need_not_be_readable() -> None:
    """For example /dev/stdout behind `sudo -u`: a pipe that another user opened."""
    written = {"--output", "--receipt"}
    found = [
        (words, parameter)
        for words, (command, _) in TREE.items()
        for parameter in command.params
        if written & set(parameter.opts) and parameter.metavar == "FILE"
    ]
    assert len(found) == 3
    for words, parameter in found:
        assert not parameter.type.readable, f"{words} {parameter.opts[-1]} asks for a file that can be read"


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_help_fits_its_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for words, (command, context) in TREE.items():
        for line in command.get_help(context).splitlines():
            if not line.strip().startswith("junkie "):  # an example is not broken
                assert width(plain(line)) <= min(columns, 100), words


def test_examples_name_commands_that_exist() -> None:
    for words, (command, _) in TREE.items():
        for line in re.findall(r"junkie [^\n]*", command.epilog or ""):
            named = [word for word in line.split()[1:] if re.fullmatch(r"[a-z]+", word)]
            assert words == "junkie" or f"junkie {named[0]}" in TREE, f"{words}: {line}"


def test_the_root_shows_the_way(capfd: pytest.CaptureFixture[str]) -> None:
    assert main.run_command_line([]) == 0
    out = capfd.readouterr().out
    for name in ("chat", "demo", "doctor"):
        assert (f"junkie {name} " in out) == (f"junkie {name}" in TREE)
    assert "junkie --help" in out


def test_a_command_is_added_by_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(extra_commands.write(tmp_path))])
    assert main.run_command_line(["--help"]) == 0
    assert re.search(r"^  boom +Fail in every way\.$", capfd.readouterr().out, re.MULTILINE)
    assert main.run_command_line(["boom", "leave", "0"]) == 0


def test_global_options_reach_the_command(capfd: pytest.CaptureFixture[str]) -> None:
    assert main.run_command_line(["--env-file", os.devnull, "-q", "-v", "config", "path"]) == 0
    options = invocation.invocation()
    assert (options.env_file, options.quiet, options.verbose) == (Path(os.devnull), True, True)
    assert capfd.readouterr().out == f"{os.devnull}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["memories", "list", "-n", "ten"], "'ten' is not a whole number"),
        (["backup", "--timeout", "soon"], "'soon' is not a number"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_in_plain_words(
    arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main.run_command_line(arguments) == 2
    assert message in capfd.readouterr().err
