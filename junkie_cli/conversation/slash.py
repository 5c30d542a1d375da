"""What a typed line is: words for the team, or one of the `/commands`. A leaf that loads nothing heavy."""

import re

from junkie_cli.core.value_class import frozen


@frozen
class Command:
    """A `/command`: its argument as shown in help (`[X]` may be left out), and what it does."""

    name: str
    argument: str
    help: str

    @property
    def needs_argument(self) -> bool:
        """Whether it does nothing without its argument."""
        return bool(self.argument) and not self.argument.startswith("[")

    @property
    def usage(self) -> str:
        """How it is typed."""
        return f"/{self.name} {self.argument}".rstrip()


COMMANDS: tuple[Command, ...] = (
    Command("help", "", "this list"),
    Command("memories", "[TEXT]", "what is remembered of you; with TEXT, what contains it"),
    Command("remember", "TEXT", "remember TEXT word for word"),
    Command("forget", "ID", "forget one memory (the first characters of its id are enough)"),
    Command("why", "", "the memories that went into the last answer"),
    Command("history", "", "this session from its beginning"),
    Command("sessions", "", "your sessions, the latest first"),
    Command("resume", "ID", "go on with an earlier session"),
    Command("new", "", "begin a new session"),
    Command("user", "ID", "go on as somebody else, in a new session"),
    Command("status", "", "user, session, models, database"),
    Command("retry", "", "try pending memories again now"),
    Command("exit", "", "leave (as Ctrl-D does)"),
)
BY_NAME = {command.name: command for command in COMMANDS}
_ALIASES = {"quit": "exit", "?": "help"}
_COMMAND = re.compile(r"/([A-Za-z-]+|\?)(?=\s|$)")


@frozen
class Say:
    """Words for the team."""

    text: str


@frozen
class Run:
    """A command and its argument, "" for none."""

    command: Command
    argument: str


@frozen
class Misspelt:
    """No such command, or one without the argument that it needs; `advice` says what may have been meant."""

    advice: str


def parse(line: str) -> Say | Run | Misspelt | None:
    """What `line` asks for; None for an empty one.

    A line beginning with `//` is words that begin with a slash; so is one whose first word could be no command, as
    a path. `exit` and `quit` alone leave, as people expect of a prompt.
    """
    text = line.strip()
    if not text:
        return None
    if not text.startswith("/") and text not in {"exit", "quit"}:
        return Say(line.strip("\r\n").rstrip())  # the indentation of pasted code stays
    if text in {"exit", "quit"}:
        return Run(BY_NAME["exit"], "")
    if text.startswith("//"):
        return Say(text[1:])
    match = _COMMAND.match(text)
    if match is None:
        return Say(text)
    name = match[1].lower()
    command = BY_NAME.get(_ALIASES.get(name, name))
    argument = text[match.end() :].strip()
    if command is None:
        return Misspelt(_advice(name))
    if command.needs_argument and not argument:
        return Misspelt(f"/{command.name} needs something: {command.usage}")
    return Run(command, argument)


def _advice(name: str) -> str:
    found = _similar(name)
    meant = f"did you mean /{found}? " if found else ""
    return f"there is no /{name}. {meant}/help lists the commands; begin with // to send a slash as it is"


def _similar(name: str) -> str | None:
    for known in BY_NAME:
        if known.startswith(name):
            return known
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, BY_NAME, n=1, cutoff=0.5)), None)
