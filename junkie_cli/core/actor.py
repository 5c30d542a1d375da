"""Who makes a change, and with which command, as the history keeps it.

It is one for the process: the command line sets its command, an MCP server its client. Without either a change is made
by the login of the operating system, as by a script that uses the library.
"""

from junkie_cli.core.os_account import login_name
from junkie_cli.core.value_class import frozen

LOGIN, TEAM, MCP = "login", "team", "mcp"


@frozen
class Actor:
    """Who made a change, and with which command."""

    kind: str
    """login, team or mcp"""
    name: str | None
    """the login of the operating system, the team's id, or the name of the MCP client; null: not known"""
    command: str | None
    """for example: memories clear; null for a change that no command made"""


_client: str | None = None
_command: str | None = None


def set_command(command: str | None) -> None:
    """The command that this process runs, for all changes from now on."""
    global _command
    _command = command


def set_client(name: str | None) -> None:
    """The MCP client on whose behalf all changes are made from now on; None: nobody's but the login's."""
    global _client
    _client = name


def current(team: str | None = None) -> Actor:
    """Who makes a change now; `team` is the id of the team when it decided on the change by itself."""
    if team is not None:
        return Actor(TEAM, team or None, _command)
    if _client is not None:
        return Actor(MCP, _client, _command)
    return Actor(LOGIN, login_name() or None, _command)
