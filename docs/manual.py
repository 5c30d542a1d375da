"""Generates docs/man/junkie.1, the manual page in the wheel, from the commands and the settings; see reference.py."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from junkie_cli import __version__
from junkie_cli.cli.command_tree import TreeContext, root_command
from junkie_cli.core.settings import VARIABLES

TARGET = Path(__file__).parent / "man/junkie.1"
_EXIT = {
    "0": "done; also: nothing found",
    "1": "a check failed, the person declined, there is no such memory, session or backup, or a fault in junkie",
    "2": "wrong usage, or an import file with a bad line or a conflict",
    "3": "settings are missing or wrong",
    "4": "the database cannot be reached or refused",
    "5": "a backup or restore failed or is not valid",
    "6": "the model provider cannot be reached or refused",
    "7": "another run holds the lock",
    "130, 143": "interrupted, terminated",
}


def _escaped(text: str) -> str:
    """Text for troff: no line of it is taken for a request, and hyphens stay what was typed."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def _commands(command: Any, name: str, parent: Any) -> Iterator[tuple[Any, Any]]:
    context = TreeContext(command, info_name=name, parent=parent, help_option_names=["-h", "--help"])
    if not hasattr(command, "list_commands"):
        yield context, command
        return
    for inner in command.list_commands(context):
        yield from _commands(command.get_command(context, inner), inner, context)


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text.replace("\b", "").strip()):
        yield ".PP"
        yield _escaped(" ".join(paragraph.split()))


def _options(context: Any, command: Any) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record:
            yield ".TP"
            yield f".B {_escaped(record[0])}"
            yield _escaped(" ".join(record[1].split())) or r"\&"


def _command(context: Any, command: Any) -> Iterator[str]:
    pieces = " ".join(command.collect_usage_pieces(context))
    yield f'.SS "{_escaped(context.command_path)} {_escaped(pieces)}"'
    yield from _paragraphs(command.help or "")
    yield from _options(context, command)
    if command.epilog:
        yield ".PP"
        yield ".nf"
        lines = command.epilog.replace("\n\n", "\n").splitlines()
        yield from (_escaped(line.strip()) for line in lines if line.strip())
        yield ".fi"


def _environment() -> Iterator[str]:
    for variable in VARIABLES:
        yield ".TP"
        yield f".B {variable.name}"
        default = f" Default: {variable.default}." if variable.default else ""
        yield _escaped(f"{variable.meaning[:1].upper()}{variable.meaning[1:]}.{default}")


def page() -> str:
    """The whole page."""
    root = root_command()
    context = TreeContext(root, info_name="junkie", help_option_names=["-h", "--help"])
    lines = [f'.TH JUNKIE 1 "" "junkie {__version__}" "User Commands"', ".SH NAME"]
    lines += [r"junkie \- talk to a team that remembers, and look after its memories in PostgreSQL"]
    lines += [".SH SYNOPSIS", ".B junkie", r"[\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGUMENTS\fR]", ".SH DESCRIPTION"]
    lines += [*_paragraphs(root.help or ""), ".SH OPTIONS", *_options(context, root), ".SH COMMANDS"]
    for inner, command in _commands(root, "junkie", None):
        lines += _command(inner, command)
    lines += [".SH ENVIRONMENT", "Each may also stand in a file .env.", *_environment(), ".SH EXIT STATUS"]
    for code, meaning in _EXIT.items():
        lines += [".TP", f".B {code}", _escaped(meaning)]
    return "\n".join(lines) + "\n"
