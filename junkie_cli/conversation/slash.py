"""Parses a typed line: a message for the team, or one of the `/commands`. Loads nothing heavy."""

import re

from junkie_cli.core.value_class import frozen


@frozen
class Command:
    """A `/command`: its argument as shown in help (`[X]` is optional), and its description."""

    name: str
    argument: str
    help: str

    @property
    def needs_argument(self) -> bool:
        """Return whether the argument is required."""
        return bool(self.argument) and not self.argument.startswith("[")

    @property
    def usage(self) -> str:
        """Return the command with its argument."""
        return f"/{self.name} {self.argument}".rstrip()


COMMANDS: tuple[Command, ...] = (
    Command("help", "", "show this list"),
    Command("memories", "[TEXT]", "list your memories, or those that contain TEXT"),
    Command("remember", "TEXT", "add TEXT as a memory"),
    Command("forget", "ID", "delete a memory (the first characters of its id are enough)"),
    Command("why", "", "list the memories used for the last answer, and why"),
    Command("history", "", "show this session"),
    Command("sessions", "", "list your sessions, latest first"),
    Command("resume", "ID", "continue an earlier session"),
    Command("new", "", "start a new session"),
    Command("user", "ID", "switch to another user, in a new session"),
    Command("status", "", "show user, session, models and database"),
    Command("retry", "", "retry pending memories now"),
    Command("exit", "", "quit (same as Ctrl-D)"),
)
BY_NAME = {command.name: command for command in COMMANDS}
_ALIASES = {"quit": "exit", "?": "help"}
_COMMAND = re.compile(r"/([A-Za-z-]+|\?)(?=\s|$)")


@frozen
class ChatMessage:
    """A message for the team."""

    text: str


@frozen
class CommandCall:
    """A command and its argument, or an empty string."""

    command: Command
    argument: str


@frozen
class InvalidCommand:
    """An unknown command, or one without its required argument; `advice` suggests what to type."""

    advice: str


def parse(line: str) -> ChatMessage | CommandCall | InvalidCommand | None:
    """Parse `line`; return None for an empty line.

    A line that begins with `//` is a message that begins with a slash; so is a line whose first word cannot be a
    command, for example a path. `exit` and `quit` alone leave the conversation.
    """
    text = line.strip()
    if not text:
        return None
    if not text.startswith("/") and text not in {"exit", "quit"}:
        return ChatMessage(line.strip("\r\n").rstrip())  # the indentation of pasted code stays
    if text in {"exit", "quit"}:
        return CommandCall(BY_NAME["exit"], "")
    if text.startswith("//"):
        return ChatMessage(text[1:])
    match = _COMMAND.match(text)
    if match is None:
        return ChatMessage(text)
    name = match[1].lower()
    command = BY_NAME.get(_ALIASES.get(name, name))
    argument = text[match.end() :].strip()
    if command is None:
        return InvalidCommand(_advice(name))
    if command.needs_argument and not argument:
        return InvalidCommand(f"usage: {command.usage}")
    return CommandCall(command, argument)


def _advice(name: str) -> str:
    found = _similar(name)
    meant = f"did you mean /{found}? " if found else ""
    return (
        f"unknown command /{name}. {meant}/help lists the commands; start with // to send a message that begins with /"
    )


def _similar(name: str) -> str | None:
    for known in BY_NAME:
        if known.startswith(name):
            return known
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, BY_NAME, n=1, cutoff=0.5)), None)
