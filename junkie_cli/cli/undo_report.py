"""Describes what an undo will change and what it changed. Imported only by the commands that undo."""

from typing import TYPE_CHECKING, Any

from junkie_cli.cli import cascaded
from junkie_cli.core import formatting
from junkie_cli.core.formatting import plural
from junkie_cli.terminal.output import note, print_json, print_line, warn

if TYPE_CHECKING:
    from junkie_cli.core.actor import Actor
    from junkie_cli.core.memories.batches import Batch
    from junkie_cli.core.memories.history import Undone


def describe(change: "Batch") -> str:
    """Describe a change in one line: action, users, actor, time, batch."""
    made = _joined((change.added, "added"), (change.updated, "changed"), (change.deleted, "deleted"))
    rows = ", ".join(f"{plural(count, 'row', 'rows')} of {table} changed" for table, count in change.rows.items())
    done = ", ".join(filter(None, (made, rows)))
    who = by(change.by, change.actor)
    return f"{done} of {_whose(change)}, by {who}, {formatting.ago(change.at)} (batch {change.batch})"


_BY = {"junkie": "junkie", "team": "the team", "other": "another program"}


def by(kind: str, actor: "Actor | None") -> str:
    """Who made a change, in words: `login ada (memories clear)`, `the team (chat)`, `MCP client NAME`."""
    if actor is None:
        return _BY.get(kind, kind)
    name = {"login": f"login {actor.name or 'unknown'}", "mcp": f"MCP client {actor.name or 'unknown'}"}
    return name.get(actor.kind, "the team") + (f" ({actor.command})" if actor.command else "")


def _whose(change: "Batch") -> str:
    """List up to five affected users, quoted, and the number of others."""
    named = ["nobody" if user is None else f"user {user!r}" for user in change.user_ids]
    more = change.users - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def show(done: "Undone", *, as_json: bool) -> None:
    """Print the answer on stdout, and on stderr the change that was undone and the memories left unchanged."""
    if done.undone or done.rows.undone:
        note(f"undone: {describe(done.change)}")
    if as_json:
        print_json(_document(done))
    else:
        _print_counts(done)
    cascaded.warn_lost(done.lost)
    cascaded.note_cascaded(done.cascaded)
    for table, count in done.rows.conflicts.items():
        warn(f"{plural(count, 'row', 'rows')} of {table} changed again since, and left unchanged")
    for conflict in done.conflicts:
        warn(f"{conflict.memory_id} was changed again since, and stays as it is")
        note(f"  now:  {_said(conflict.now)}\n  then: {_said(conflict.then)}")
    if done.conflict_count:
        one, many = "memory was changed again since", "memories were changed again since"
        warn(f"{plural(done.conflict_count, one, many)}: not undone")


def _print_counts(done: "Undone") -> None:
    parts = (done.restored, "restored"), (done.removed, "removed"), (done.reverted, "reverted")
    rows = [f"{plural(count, 'row', 'rows')} of {table} reverted" for table, count in done.rows.undone.items()]
    print_line(", ".join(filter(None, (_joined(*parts), *rows))) or "nothing was changed")
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
        "rows": done.rows.undone,
        "row_conflicts": done.rows.conflicts,
        **cascaded.document(done.cascaded, done.lost),
    }


def _joined(*parts: tuple[int, str]) -> str:
    return ", ".join(f"{plural(count, 'memory', 'memories')} {done}" for count, done in parts if count)


def _said(text: str | None) -> str:
    return "(does not exist)" if text is None else text
