"""What an undo is about to change and what it changed, in words. Loaded by the commands that undo."""

from typing import TYPE_CHECKING, Any

from junkie_cli.cli import cascaded
from junkie_cli.core import formatting
from junkie_cli.core.formatting import plural
from junkie_cli.terminal.output import note, print_json, print_line, warn

if TYPE_CHECKING:
    from junkie_cli.core.memories import Batch, Undone


def describe(change: "Batch") -> str:
    """A change in one line: what it did, whose memories, by what, when, and its batch."""
    made = _joined((change.added, "added"), (change.updated, "changed"), (change.deleted, "deleted"))
    return f"{made} of {_whose(change)}, by {change.by}, {formatting.ago(change.at)} (batch {change.batch})"


def _whose(change: "Batch") -> str:
    """The users whose memories the change concerns: the first five of them, quoted, and how many more."""
    named = ["nobody" if user is None else f"user {user!r}" for user in change.user_ids]
    more = change.users - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def show(done: "Undone", *, as_json: bool) -> None:
    """Print the answer, and on stderr the change that was undone and the memories that were left alone."""
    if done.undone:
        note(f"undone: {describe(done.change)}")
    if as_json:
        print_json(_document(done))
    else:
        _print_counts(done)
    cascaded.warn_lost(done.lost)
    cascaded.note_cascaded(done.cascaded)
    for conflict in done.conflicts:
        warn(f"{conflict.memory_id} was changed again since and is left alone")
        note(f"  now:  {_said(conflict.now)}\n  then: {_said(conflict.then)}")
    if done.conflict_count:
        one, many = "memory was changed again since", "memories were changed again since"
        warn(f"{plural(done.conflict_count, one, many)} and left alone")


def _print_counts(done: "Undone") -> None:
    parts = (done.restored, "put back"), (done.removed, "removed"), (done.reverted, "changed back")
    print_line(_joined(*parts) if done.undone else "nothing was changed")
    if done.already:
        note(f"{plural(done.already, 'memory was', 'memories were')} as before already")
    if done.batch:
        note(f"to take that back: junkie memories undo {done.batch}")


def _document(done: "Undone") -> dict[str, Any]:
    change = done.change
    return {
        "undone": done.undone,
        "restored": done.restored,
        "removed": done.removed,
        "reverted": done.reverted,
        "conflicts": done.conflicts,
        "batch": done.batch,
        "undone_batch": change.batch,
        "users": change.users,
        "user_ids": change.user_ids,
        **cascaded.document(done.cascaded, done.lost),
    }


def _joined(*parts: tuple[int, str]) -> str:
    return ", ".join(f"{plural(count, 'memory', 'memories')} {done}" for count, done in parts if count)


def _said(text: str | None) -> str:
    return "(not there)" if text is None else text
