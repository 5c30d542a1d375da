"""Options that several of the commands take."""

from typing import Annotated

import typer

from junkie_cli.core.errors import UsageError

NoOwnerOption = Annotated[bool, typer.Option("--no-owner", help="Memories without an owner; same as -u ''.")]
NoUndoOption = Annotated[bool, typer.Option("--no-undo", help="Keep no copy. The change cannot be undone.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Use the built-in rehearsal model: no key, no network.")]
EmbeddedOption = Annotated[
    bool, typer.Option("--embedded", help="Allow the embedded database when not run from a terminal.")
]


def owner_of(user: str | None, no_owner: bool) -> str | None:
    """The owner that the options select: None for everybody, empty for nobody. Raises UsageError."""
    if user and no_owner:
        raise UsageError("--user and --no-owner exclude each other", hint="give one of them")
    return "" if no_owner else user
