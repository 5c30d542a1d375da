"""Describes what an undo will change and what it changed. Imported only by the commands that undo."""

from typing import TYPE_CHECKING, Any

from junkie_cli.cli import cascaded
from junkie_cli.core import formatting
from junkie_cli.core.formatting import plural
from junkie_cli.terminal.output import note, print_json, print_line, warn

if TYPE_CHECKING:
    from junkie_cli.core.memories import Batch, Undone


def describe(change: "Batch") -> str:
    """Describe a change in one line: action, users, actor, time, batch."""
    made = _joined((change.added, "added"), (change.updated, "changed"), (change.deleted, "deleted"))
    return f"{made} of {_whose(change)}, by {change.by}, {formatting.ago(change.at)} (batch {change.batch})"


def _whose(change: "Batch") -> str:
    """List up to five affected users, quoted, and the number of others."""
    named = ["nobody" if user is None else f"user {user!r}" for user in change.user_ids]
    more = change.users - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def show(done: "Undone", *, as_json: bool) -> None:
    """Print the answer on stdout, and on stderr the change that was undone and the memories left unchanged."""
    if done.undone:
        note(f"undone: {describe(done.change)}")
    if as_json:
        print_json(_document(done))
    else:
        _print_counts(done)
    cascaded.warn_lost(done.lost)
    cascaded.note_cascaded(done.cascaded)
    for conflict in done.conflicts:
        warn(f"{conflict.memory_id} was changed again since, and stays as it is")
        note(f"  now:  {_said(conflict.now)}\n  then: {_said(conflict.then)}")
    if done.conflict_count:
        one, many = "memory was changed again since", "memories were changed again since"
        warn(f"{plural(done.conflict_count, one, many)}: not undone")


def _print_counts(done: "Undone") -> None:
    parts = (done.restored, "restored"), (done.removed, "removed"), (done.reverted, "reverted")
    print_line(_joined(*parts) if done.undone else "nothing was changed")
    if done.already:
        note(f"{plural(done.already, 'memory was', 'memories were')} already in the earlier state")
    if done.batch:
        note(f"to revert this undo: junkie memories undo {done.batch}")


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
    return "(does not exist)" if text is None else text
