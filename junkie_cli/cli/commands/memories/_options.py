"""Options that several of the commands take."""

from typing import Annotated

import typer

from junkie_cli.core.errors import UsageError

NoOwnerOption = Annotated[bool, typer.Option("--no-owner", help="Memories that belong to nobody; the same as -u ''.")]
LimitOption = Annotated[
    int, typer.Option("-n", "--limit", metavar="N", min=1, max=100_000, help="How many to show at most.")
]
AfterOption = Annotated[str | None, typer.Option("--after", metavar="CURSOR", help="Go on after a page's `next`.")]
NoUndoOption = Annotated[bool, typer.Option("--no-undo", help="Keep no copy: this cannot be taken back.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]
OfflineOption = Annotated[bool, typer.Option("--offline", help="With the rehearsal model: no key, no network.")]
EmbeddedOption = Annotated[bool, typer.Option("--embedded", help="Mean the embedded database, without a terminal.")]


def owner_of(user: str | None, no_owner: bool) -> str | None:
    """The owner that the options select: None for everybody, empty for nobody. Raises UsageError."""
    if user and no_owner:
        raise UsageError("--user and --no-owner exclude each other", hint="give one of them")
    return "" if no_owner else user
