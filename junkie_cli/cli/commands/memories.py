"""`junkie memories`: see, search, correct, move and clear what is remembered."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from junkie_cli.cli import cascaded
from junkie_cli.core.errors import ExitCode, UsageError
from junkie_cli.core.formatting import plural
from junkie_cli.core.sanitize import quoted_id
from junkie_cli.core.value_class import as_document
from junkie_cli.terminal import completion
from junkie_cli.terminal.invocation import JsonOption, UserOption, YesOption, invocation
from junkie_cli.terminal.output import (
    Column,
    confirm_typed,
    flush_answer,
    none_yet,
    note,
    print_json,
    print_line,
    print_record,
    print_rows,
    progress,
    require_confirmation,
    show_warnings,
    tell_next,
    warn,
    working,
)

if TYPE_CHECKING:
    from junkie_cli.core.chat.learn import Learned
    from junkie_cli.core.chat.pending_retry import Retried
    from junkie_cli.core.memories import Change, ClearPreview, Memory, MemoryDetail

app = typer.Typer(
    name="memories", help="See, search, correct, move and clear what is remembered.", no_args_is_help=True
)

NoOwnerOption = Annotated[bool, typer.Option("--no-owner", help="Memories that belong to nobody; the same as -u ''.")]
LimitOption = Annotated[
    int, typer.Option("-n", "--limit", metavar="N", min=1, max=100_000, help="How many to show at most.")
]
AfterOption = Annotated[str | None, typer.Option("--after", metavar="CURSOR", help="Go on after a page's `next`.")]
NoUndoOption = Annotated[bool, typer.Option("--no-undo", help="Keep no copy: this cannot be taken back.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]
OfflineOption = Annotated[bool, typer.Option("--offline", help="With the rehearsal model: no key, no network.")]
EmbeddedOption = Annotated[bool, typer.Option("--embedded", help="Mean the embedded database, without a terminal.")]

_COLUMNS = (
    Column("ID", lambda memory: memory.memory_id, "id"),
    Column("USER", lambda memory: memory.user_id),
    Column("MEMORY", lambda memory: memory.memory),
    Column("TOPICS", lambda memory: memory.topics),
    Column("UPDATED", lambda memory: memory.updated_at, "time"),
)


@app.command("list", epilog="Example: junkie memories list -u ada --topic drinks --since 2d")
def list_(
    user: UserOption = None,
    no_owner: NoOwnerOption = False,
    topic: Annotated[str | None, typer.Option("--topic", metavar="T", help="Only with this topic.")] = None,
    search: Annotated[str | None, typer.Option("--search", metavar="TEXT", help="Only with this text in it.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="WHEN", help="2026-01-31, 2d, 12h, yesterday.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="WHEN", help="As --since; a day to its end.")] = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
    as_json: JsonOption = False,
) -> None:
    """List memories, newest first.

    What is written while pages are read comes after the last of them, as it is then: nothing is missed, nothing twice.
    """
    from junkie_cli.core import memories

    wanted = memories.MemoryFilter(_owner(user, no_owner), topic, search, since, until)
    settings = invocation().settings()
    with working("listing memories") as shown:
        page = invocation().run(
            memories.list_memories(settings, wanted, limit=limit, after=after, progress=shown.progress)
        )
    if as_json:
        return print_json({"memories": page.memories, "next": page.next}, page.warnings)
    show_warnings(page.warnings)
    print_rows(_COLUMNS, page.memories, empty=none_yet("memories", page.table_missing))
    return tell_next(page.next, page.late)


def _owner(user: str | None, no_owner: bool) -> str | None:
    if user and no_owner:
        raise UsageError("--user and --no-owner exclude each other", hint="give one of them")
    return "" if no_owner else user


@app.command(epilog="Example: junkie memories show 36d03949-ce7f-4863-a93f-e0500d84c6ed")
def show(
    memory_id: Annotated[str, typer.Argument(metavar="ID", autocompletion=completion.memory_ids)],
    as_json: JsonOption = False,
) -> None:
    """Show one memory whole, with where it came from."""
    from junkie_cli.core import memories

    settings = invocation().settings()
    with working("looking for the memory, and for the run that it came from"):
        detail = invocation().run(memories.get_memory(settings, memory_id))
    if as_json:
        return print_json({**as_document(detail.memory), "origin": detail.origin}, detail.warnings)
    show_warnings(detail.warnings)
    return print_record(_record(detail))


def _record(detail: "MemoryDetail") -> list[tuple[Any, ...]]:
    memory, origin = detail.memory, detail.origin
    return [
        ("ID", memory.memory_id, "id"),
        ("User", memory.user_id),
        ("Memory", memory.memory),
        ("Topics", memory.topics),
        ("From message", memory.input),
        ("In session", origin.session_id if origin else None),
        ("In run", origin.run_id if origin else None),
        ("Agent", memory.agent_id),
        ("Team", memory.team_id),
        ("Created", memory.created_at, "time"),
        ("Updated", memory.updated_at, "time"),
    ]


@app.command(epilog='Example: junkie memories search "green tea" -u ada')
def search(
    text: Annotated[str, typer.Argument(metavar="TEXT")],
    user: UserOption = None,
    limit: LimitOption = 20,
    anywhere: Annotated[bool, typer.Option("--anywhere", help="Look inside words even where it is slow.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Find memories that hold every word of TEXT, best match first."""
    from junkie_cli.core import memories

    settings = invocation().settings()
    with working("searching") as shown:
        found = invocation().run(
            memories.search_memories(
                settings, text, user_id=user, limit=limit, anywhere=anywhere, progress=shown.progress
            )
        )
    if found.words_only:
        note("words were looked for from their beginning; inside words too: --anywhere")
    if as_json:
        return print_json({"memories": found.memories, "next": None}, found.warnings)
    show_warnings(found.warnings)
    empty = none_yet("memories", found.table_missing) if found.table_missing else "no memory holds that"
    print_rows(_COLUMNS, found.memories, empty=empty)
    return note(f"there are more: -n {limit * 2}") if found.more else None


@app.command(epilog='Example: junkie memories add "Ada prefers tea" -u ada --topic drinks')
def add(
    text: Annotated[str, typer.Argument(metavar="TEXT")],
    user: Annotated[
        str,
        typer.Option("--user", "-u", metavar="USER", help="Whose memory it is.", autocompletion=completion.user_ids),
    ],
    topic: Annotated[list[str] | None, typer.Option("--topic", metavar="T", help="A topic; may be repeated.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Remember something about a user."""
    from junkie_cli.core import memories

    settings = invocation().settings()
    with working("adding 1 memory"):
        done = invocation().run(memories.add_memory(settings, user, text, tuple(topic or ())))
    if done.erased_at:
        warn(f"this person was erased at {done.erased_at.isoformat(timespec='seconds')}; this memory is new")
    _print_changed(done.memories[0], done.undo, as_json=as_json)


@app.command(epilog='Example: junkie memories edit 36d03949-ce7f-4863-a93f-e0500d84c6ed "Ada prefers coffee"')
def edit(
    memory_id: Annotated[str, typer.Argument(metavar="ID", autocompletion=completion.memory_ids)],
    text: Annotated[str, typer.Argument(metavar="TEXT")],
    as_json: JsonOption = False,
) -> None:
    """Give a memory another text."""
    from junkie_cli.core import memories

    settings = invocation().settings()
    with working("changing 1 memory"):
        done = invocation().run(memories.edit_memory(settings, memory_id, text))
    _print_changed(done.memories[0], done.undo, as_json=as_json)


def _print_changed(memory: "Memory", undo: str | None, *, as_json: bool) -> None:
    if as_json:
        return print_json({"memory": memory, "undo": undo})
    print_rows(_COLUMNS, [memory])
    return _tell_undo(undo)


def _tell_undo(batch: str | None) -> None:
    note(f"to take it back: junkie memories undo {batch}" if batch else "this cannot be undone: no history is kept")


@app.command(epilog="Example: junkie memories delete 36d03949-ce7f-4863-a93f-e0500d84c6ed")
def delete(
    memory_ids: Annotated[list[str], typer.Argument(metavar="ID...", autocompletion=completion.memory_ids)],
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    no_undo: NoUndoOption = False,
    as_json: JsonOption = False,
) -> None:
    """Delete single memories: all that are named, or none."""
    from junkie_cli.core import memories

    settings = invocation().settings()
    with working(f"looking for {plural(len(memory_ids), 'memory', 'memories')}"):
        found = invocation().run(memories.preview_delete(settings, memory_ids))
    ids = [memory.memory_id for memory in found.memories]
    if dry_run:
        return _print_would_go(found.memories, found.cascaded, as_json=as_json)
    for memory in found.memories:
        note(f"{memory.user_id or '(nobody)'}: {memory.memory[:200]}")
    cascaded.note_cascaded(found.cascaded)
    require_confirmation(f"delete {plural(len(ids), 'memory', 'memories')}?", yes=yes)
    with working(f"deleting {plural(len(ids), 'memory', 'memories')}"):
        done = invocation().run(memories.delete_memories(settings, ids, undo=not no_undo))
    if as_json:
        document = {"deleted": len(done.memories), "memory_ids": ids, "undo": done.undo}
        return print_json(document | cascaded.document(done.cascaded))
    print_line(f"deleted {plural(len(done.memories), 'memory', 'memories')}")
    return _tell_undo(done.undo)


def _print_would_go(found: "tuple[Memory, ...]", going: Mapping[str, int], *, as_json: bool) -> None:
    if as_json:
        return print_json({"would_delete": len(found), "memories": found} | cascaded.document(going))
    print_rows(_COLUMNS, found)
    cascaded.note_cascaded(going)
    return note(f"{plural(len(found), 'memory', 'memories')} would be deleted; nothing was changed")


@app.command(epilog="Example: junkie memories clear -u ada --expect 12")
def clear(
    user: UserOption = None,
    no_owner: NoOwnerOption = False,
    all_users: Annotated[bool, typer.Option("--all-users", help="Everybody's; the database's name is asked.")] = False,
    confirm: Annotated[
        str | None, typer.Option("--confirm", metavar="NAME", help="The database's name, for --all-users.")
    ] = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    expect: Annotated[int | None, typer.Option("--expect", metavar="N", help="Fail when there are not N.")] = None,
    no_undo: NoUndoOption = False,
    embedded: EmbeddedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Delete all memories of one user."""
    from junkie_cli.core import database, memories

    owner = _whom_to_clear(_owner(user, no_owner), all_users)
    settings = invocation().settings()
    database.require_named_database(settings, embedded_option=embedded, interactive=invocation().interactive)
    with working("counting those to clear") as shown:
        preview = invocation().run(memories.preview_clear(settings, owner, expect=expect, progress=shown.progress))
    if dry_run:
        return _print_clear_preview(preview, as_json=as_json)
    if preview.before:
        _confirm_clear(preview, keeps=not no_undo, confirm=confirm, yes=yes)
    with working(f"clearing {plural(preview.before, 'memory', 'memories')}") as shown:
        clearing = memories.clear_memories(settings, owner, undo=not no_undo, expect=expect, progress=shown.progress)
        done = invocation().run(clearing)
    if done.remaining:
        back = plural(done.remaining, "memory", "memories")
        warn(f"{back} came back, written by another program meanwhile: stop it and run this again")
    if as_json:
        document = as_document(done)
        del document["cascaded"]
        return print_json(document | cascaded.document(done.cascaded))
    return _print_cleared(preview, done.deleted, done.undo)


def _whom_to_clear(owner: str | None, all_users: bool) -> str | None:
    if all_users and owner is not None:
        raise UsageError("--all-users excludes --user and --no-owner", hint="give one of them")
    if owner is None and not all_users:
        raise UsageError("whose memories? nothing was changed", hint="name the user with -u, or say --all-users")
    return owner


def _print_clear_preview(preview: "ClearPreview", *, as_json: bool) -> None:
    from junkie_cli.core import memories

    found: dict[str, Memory] = {}  # what is changed meanwhile comes again, as it is then
    cursor, settings, wanted = None, invocation().settings(), memories.MemoryFilter(preview.user_id)
    with progress("reading what would go", preview.before, unit="memories") as shown:
        while preview.before:
            page = invocation().run(memories.list_memories(settings, wanted, limit=10_000, after=cursor, replica=False))
            found |= {memory.memory_id: memory for memory in page.memories}
            shown.reach(len(found))
            cursor = page.next
            if cursor is None:
                break
    if not found and not as_json:
        return _tell_nothing_to_clear(preview)
    return _print_would_go(tuple(found.values()), preview.cascaded, as_json=as_json)


def _confirm_clear(preview: "ClearPreview", *, keeps: bool, confirm: str | None, yes: bool) -> None:
    from junkie_cli.core.database import label

    whom = "everybody" if preview.user_id is None else quoted_id(preview.user_id)
    note(f"{plural(preview.before, 'memory', 'memories')} of {whom} in {label(invocation().settings())}, among them:")
    for memory in preview.samples:
        note(f"  {memory.memory[:200]}")
    cascaded.note_cascaded(preview.cascaded)
    if not (keeps and preview.undo_days):
        note("no copy is kept: final")
    elif not yes:  # else it is told when it is done, if anything was there by then
        note(f"a copy is kept for undo for {preview.undo_days} days")
    if preview.user_id is None:
        return confirm_typed("clear the memories of ALL users?", preview.database, given=confirm)
    return require_confirmation(f"clear {plural(preview.before, 'memory', 'memories')} of {whom}?", yes=yes)


def _print_cleared(preview: "ClearPreview", deleted: int, undo: str | None) -> None:
    if not preview.before and not deleted:
        return _tell_nothing_to_clear(preview)
    print_line(f"deleted {plural(deleted, 'memory', 'memories')}")
    if not deleted:
        return note("another program removed them meanwhile")
    if undo:
        note(f"kept for undo for {preview.undo_days} days")
    return _tell_undo(undo)


def _tell_nothing_to_clear(preview: "ClearPreview") -> None:
    note(none_yet("memories", preview.table_missing) if preview.table_missing else "nothing to clear")
    if preview.nearest:
        note(f"did you mean {', '.join(map(quoted_id, preview.nearest))}?")


@app.command(epilog="Example: junkie memories undo")
def undo(
    batch: Annotated[
        str | None,
        typer.Argument(metavar="BATCH", help="Default: the newest change.", autocompletion=completion.batch_ids),
    ] = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Undo what add, edit, delete, clear, import or the team changed.

    At a terminal the newest change that was not undone yet is shown, and undone when you agree. Without a terminal it
    is the newest change of all, and only once.
    """
    from junkie_cli.cli import undo_report
    from junkie_cli.core import memories

    settings = invocation().settings()
    if batch is None and invocation().interactive:
        change = invocation().run(memories.preview_undo(settings))
        note(f"the newest change that was not undone: {undo_report.describe(change)}")
        require_confirmation("undo it?", yes=yes)
        batch = change.batch
    with working("putting memories back") as shown:
        done = invocation().run(memories.undo(settings, batch, progress=shown.progress))
    undo_report.show(done, as_json=as_json)
    if done.conflict_count:
        raise typer.Exit(ExitCode.FAILED)


@app.command(epilog="Example: junkie memories history -u ada; junkie memories history on")
def history(
    which: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID|on|off]",
            help="One memory; on, off: other programs' changes too.",
            autocompletion=completion.history_subjects,
        ),
    ] = None,
    user: UserOption = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what changed, when, and by what; or record other programs' changes too."""
    from junkie_cli.core import memories

    if which in {"on", "off"}:
        return _switch_history(which == "on", as_json=as_json)
    settings = invocation().settings()
    with working("looking through the history"):
        page = invocation().run(memories.list_history(settings, which, user, limit=limit, after=after))
    if as_json:
        return print_json({"changes": page.changes, "next": page.next}, page.warnings)
    show_warnings(page.warnings)
    print_rows(_HISTORY, page.changes, empty="no changes" if page.kept else "no history is kept here yet")
    return tell_next(page.next, page.late)


def _text(side: str) -> Any:
    def get(change: "Change") -> str | None:
        from junkie_cli.core.memories import text_in

        return text_in(getattr(change, side))

    return get


_HISTORY = (
    Column("AT", lambda change: change.at, "time"),
    Column("BY", lambda change: change.by),
    Column("ACTION", lambda change: change.action),
    Column("USER", lambda change: change.user_id),
    Column("BEFORE", _text("before")),
    Column("AFTER", _text("after")),
    Column("ID", lambda change: change.memory_id, "id"),
    Column("BATCH", lambda change: change.batch, "id"),
)


def _switch_history(on: bool, *, as_json: bool) -> None:
    from junkie_cli.core import memories

    settings = invocation().settings()
    with working("waiting for others who write memories"):
        was_on = invocation().run(memories.record_others(settings, on=on))
    if as_json:
        return print_json({"others": on, "before": was_on})
    return print_line(f"changes by other programs are {'recorded' if on else 'not recorded'}")


@app.command(epilog="Example: junkie memories export -u ada -o ada.jsonl")
def export(
    user: UserOption = None,
    no_owner: NoOwnerOption = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Default: -, stdout.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write memories as JSON Lines, every column, complete or not at all."""
    from junkie_cli.core import files, memories

    path = None if output is None or files.is_standard_output(output) else output
    if as_json and path is None:
        raise UsageError("--json tells about a file", hint="name one with -o; the export itself is JSON Lines anyway")
    owner, settings = _owner(user, no_owner), invocation().settings()
    with progress("exporting", unit="memories") as shown:
        done = invocation().run(
            memories.export_memories(settings, owner, path=path, write=sys.stdout.buffer.write, progress=shown.progress)
        )
        flush_answer()  # before it is said how many there are
    if as_json:
        return print_json({"path": str(done.path), "memories": done.memories}, done.warnings)
    show_warnings(done.warnings)
    exported = f"exported {plural(done.memories, 'memory', 'memories')}"
    return note(none_yet("memories", done.table_missing) if done.table_missing else exported)


@app.command("import", epilog="Example: junkie memories import ada.jsonl --dry-run")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What export, or list --json, prints; -: stdin.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Take the file's version where both differ.")] = False,
    even_erased: Annotated[bool, typer.Option("--even-erased", help="Bring erased people back, too.")] = False,
    dry_run: DryRunOption = False,
    no_undo: NoUndoOption = False,
    as_json: JsonOption = False,
) -> None:
    """Add the memories of a file: all of it, or nothing."""
    from junkie_cli.core import memories

    with progress("importing", unit="lines") as shown:
        done = invocation().run(
            memories.import_memories(
                invocation().settings(),
                file,
                overwrite=overwrite,
                dry_run=dry_run,
                undo=not no_undo,
                even_erased=even_erased,
                progress=shown.progress,
            )
        )
    if as_json:
        return print_json(as_document(done))
    would = "would be " if dry_run else ""
    print_line(f"{done.added} {would}added, {done.updated} {would}updated, {done.unchanged} unchanged")
    return _tell_undo(done.undo) if done.added + done.updated and not dry_run else None


@app.command(epilog="Example: junkie memories pending --json")
def pending(user: UserOption = None, as_json: JsonOption = False) -> None:
    """List extractions that have not succeeded yet."""
    from junkie_cli.core.turns import pending_list

    found = invocation().run(pending_list.list_pending(invocation().settings(), user))
    if as_json:
        return print_json({"pending": found.pending}, found.warnings)
    show_warnings(found.warnings)
    return print_rows(_PENDING, found.pending, empty="nothing is pending")


@app.command(epilog="Example: junkie memories retry -u ada --all")
def retry(
    user: UserOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what waits for its time, and what was set aside.")
    ] = False,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
) -> None:
    """Try pending extractions again: those whose time has come. Fit for cron."""
    from junkie_cli.core.chat import pending_retry

    with progress("retrying", unit="extractions") as shown:
        done = invocation().run(
            pending_retry.retry_memories(
                invocation().settings(), user, everything=everything, offline=offline, progress=shown.progress
            )
        )
    if as_json:
        counts = ("tried", "succeeded", "failed", "set_aside", "remaining", "memories")
        print_json({**{name: getattr(done, name) for name in counts}, "left_out": _left_out(done)})
    else:
        _print_retried(done)
    _tell_refused(done.refused)
    _tell_left_out(done)
    if done.error is not None:
        warn(done.error.message)
        raise typer.Exit(done.error.exit_code)


def _tell_refused(count: int) -> None:
    if count:
        warn(f"the memory model reached for memories that are not the user's ({count} times): refused; -v tells whose")


def _left_out(done: "Retried | Learned") -> dict[str, int]:
    from junkie_cli.core.chat.pending_retry import LEFT_OUT

    return {kind: done.left_out[kind] for kind in LEFT_OUT}


def _tell_left_out(done: "Retried | Learned") -> None:
    from junkie_cli.core.chat.pending_retry import LEFT_OUT

    for kind, count in _left_out(done).items():
        if count:
            warn(f"{count} {LEFT_OUT[kind]}")


def _print_retried(done: "Retried") -> None:
    made = ", ".join(f"{count} {action}" for action, count in done.memories.items())
    print_line(f"{done.succeeded} of {done.tried} extractions succeeded: memories {made}" if done.tried else "none due")
    if done.set_aside:
        note(f"{done.set_aside} failed too often and were set aside: junkie memories pending tells why")
    if done.remaining:
        note(f"{done.remaining} still pending: junkie memories pending; at once: junkie memories retry --all")


@app.command(epilog="Example: junkie memories learn conversations.jsonl --concurrency 8")
def learn(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help='JSON Lines: {"user_id": "ada", "session_id": "s1", "message": "..."}.'),
    ],
    concurrency: Annotated[int, typer.Option("--concurrency", metavar="N", min=1, max=64, help="Users at once.")] = 4,
    even_erased: Annotated[bool, typer.Option("--even-erased", help="Learn of erased people, too.")] = False,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
) -> None:
    """Extract memories from conversations of many users; run again, it goes on where it was."""
    from junkie_cli.core.chat import learn as learning

    with progress("learning", unit="lines") as shown:
        done = invocation().run(
            learning.learn_file(
                invocation().settings(),
                file,
                concurrency=concurrency,
                offline=offline,
                even_erased=even_erased,
                progress=shown.progress,
            )
        )
    if as_json:
        print_json(_learned_document(done))
    _tell_learned(done, as_json=as_json)
    if code := _learned_code(done):
        raise typer.Exit(code)


def _learned_document(done: "Learned") -> dict[str, Any]:
    counts = ("total", "read", "learned", "skipped", "failed", "pending", "seconds")
    return {
        **{name: getattr(done, name) for name in counts},
        "memories": {action: done.memories[action] for action in ("added", "updated", "deleted")},
        "left_out": _left_out(done),
        "bad": done.bad,
        "set_aside": str(done.set_aside) if done.set_aside else None,
    }


def _tell_learned(done: "Learned", *, as_json: bool) -> None:
    if not as_json:
        made = ", ".join(f"{done.memories[action]} {action}" for action in ("added", "updated", "deleted"))
        print_line(
            f"{done.learned} learned (memories {made}), {done.skipped} skipped, {done.failed} failed,"
            f" {done.pending} pending, of {done.total} lines"
        )
    for bad in done.bad[:20]:
        warn(f"line {bad.line} {bad.reason}")
    if done.failed > 20:
        warn(f"{done.failed - 20} more lines are bad")
    if done.set_aside:
        note(f"the bad lines are in {done.set_aside}")
    _tell_refused(done.refused)
    _tell_left_out(done)
    if done.pending:
        note("pending lines are tried again by: junkie memories retry")
    if done.error is not None:
        warn(f"ended before the end: {done.error.message}; the same command goes on where this one ended")


def _learned_code(done: "Learned") -> int:
    if done.error is not None:
        return int(done.error.exit_code)
    if done.failed:
        return int(ExitCode.USAGE)
    return int(ExitCode.PROVIDER) if done.pending else 0


_PENDING = (
    Column("USER", lambda entry: entry.user_id),
    Column("MESSAGE", lambda entry: entry.message),
    Column("TRIES", lambda entry: entry.attempts, "number"),
    Column("NEXT TRY", lambda entry: None if entry.set_aside else entry.next_try, "time"),
    Column("LAST ERROR", lambda entry: entry.last_error),
    Column("ID", lambda entry: entry.pending_id, "id"),
)
