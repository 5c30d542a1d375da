"""`junkie memories clear`."""

from typing import TYPE_CHECKING, Annotated

import typer

from junkie_cli.cli import cascaded
from junkie_cli.cli.commands.memories._options import (
    DryRunOption,
    EmbeddedOption,
    NoOwnerOption,
    NoUndoOption,
    owner_of,
)
from junkie_cli.cli.commands.memories._output import print_undo_hint, print_would_go
from junkie_cli.core.errors import UsageError
from junkie_cli.core.formatting import plural
from junkie_cli.core.sanitize import quoted_id
from junkie_cli.core.value_class import as_document
from junkie_cli.terminal.invocation import JsonOption, UserOption, YesOption, invocation
from junkie_cli.terminal.output import (
    confirm_typed,
    none_yet,
    note,
    print_json,
    print_line,
    progress,
    require_confirmation,
    warn,
    working,
)

if TYPE_CHECKING:
    from junkie_cli.core.memories.edits import ClearPreview
    from junkie_cli.core.memories.model import Memory


app = typer.Typer()


@app.command(epilog="Example: junkie memories clear -u ada --expect 12")
def clear(
    user: UserOption = None,
    no_owner: NoOwnerOption = False,
    all_users: Annotated[
        bool, typer.Option("--all-users", help="All users' memories; you must type the database name.")
    ] = False,
    confirm: Annotated[
        str | None, typer.Option("--confirm", metavar="NAME", help="Database name, to confirm --all-users.")
    ] = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    expect: Annotated[
        int | None, typer.Option("--expect", metavar="N", help="Fail unless exactly N memories match.")
    ] = None,
    no_undo: NoUndoOption = False,
    embedded: EmbeddedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Delete all memories of one user."""
    from junkie_cli.core import database
    from junkie_cli.core.memories.edits import clear_memories, preview_clear

    owner = _whom_to_clear(owner_of(user, no_owner), all_users)
    settings = invocation().settings()
    database.require_named_database(settings, embedded_option=embedded, interactive=invocation().interactive)
    with working("counting memories") as shown:
        preview = invocation().run(preview_clear(settings, owner, expect=expect, progress=shown.progress))
    if dry_run:
        return _print_clear_preview(preview, as_json=as_json)
    if preview.before:
        _confirm_clear(preview, keeps=not no_undo, confirm=confirm, yes=yes)
    with working(f"clearing {plural(preview.before, 'memory', 'memories')}") as shown:
        clearing = clear_memories(settings, owner, undo=not no_undo, expect=expect, progress=shown.progress)
        done = invocation().run(clearing)
    if done.remaining:
        back = plural(done.remaining, "memory", "memories")
        warn(f"another program wrote {back} in the meantime: stop it and run this command again")
    if as_json:
        document = as_document(done)
        del document["cascaded"]
        return print_json(document | cascaded.document(done.cascaded))
    return _print_cleared(preview, done.deleted, done.undo)


def _whom_to_clear(owner: str | None, all_users: bool) -> str | None:
    if all_users and owner is not None:
        raise UsageError("--all-users excludes --user and --no-owner", hint="give one of them")
    if owner is None and not all_users:
        raise UsageError("no user given; nothing was changed", hint="name a user with -u, or use --all-users")
    return owner


def _print_clear_preview(preview: "ClearPreview", *, as_json: bool) -> None:
    from junkie_cli.core.memories.listing import MemoryFilter, list_memories

    found: dict[str, Memory] = {}  # a row that changes in the meantime is read again
    cursor, settings, wanted = None, invocation().settings(), MemoryFilter(preview.user_id)
    with progress("reading memories", preview.before, unit="memories") as shown:
        while preview.before:
            page = invocation().run(list_memories(settings, wanted, limit=10_000, after=cursor, replica=False))
            found |= {memory.memory_id: memory for memory in page.memories}
            shown.reach(len(found))
            cursor = page.next
            if cursor is None:
                break
    if not found and not as_json:
        return _note_nothing_to_clear(preview)
    return print_would_go(tuple(found.values()), preview.cascaded, as_json=as_json)


def _confirm_clear(preview: "ClearPreview", *, keeps: bool, confirm: str | None, yes: bool) -> None:
    from junkie_cli.core.database import label

    whom = "everybody" if preview.user_id is None else quoted_id(preview.user_id)
    note(f"{plural(preview.before, 'memory', 'memories')} of {whom} in {label(invocation().settings())}, among them:")
    for memory in preview.samples:
        note(f"  {memory.memory[:200]}")
    cascaded.note_cascaded(preview.cascaded)
    if not (keeps and preview.undo_days):
        note("no copy is kept: this cannot be undone")
    elif not yes:  # with --yes the note follows the deletion, if anything was deleted
        note(f"undo will be possible for {plural(preview.undo_days, 'day')}")
    if preview.user_id is None:
        return confirm_typed("clear the memories of ALL users?", preview.database, given=confirm)
    return require_confirmation(f"clear {plural(preview.before, 'memory', 'memories')} of {whom}?", yes=yes)


def _print_cleared(preview: "ClearPreview", deleted: int, undo: str | None) -> None:
    if not preview.before and not deleted:
        return _note_nothing_to_clear(preview)
    print_line(f"deleted {plural(deleted, 'memory', 'memories')}")
    if not deleted:
        return note("another program deleted them in the meantime")
    if undo:
        note(f"undo is possible for {plural(preview.undo_days, 'day')}")
    return print_undo_hint(undo)


def _note_nothing_to_clear(preview: "ClearPreview") -> None:
    note(none_yet("memories", preview.table_missing) if preview.table_missing else "nothing to clear")
    if preview.nearest:
        note(f"did you mean {', '.join(map(quoted_id, preview.nearest))}?")
