"""`junkie users`: list users, export one person's data, or erase a person."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from junkie_cli.core.errors import ExitCode, UsageError
from junkie_cli.core.formatting import plural
from junkie_cli.core.sanitize import quoted_id
from junkie_cli.terminal import completion
from junkie_cli.terminal.invocation import AfterOption, JsonOption, LimitOption, YesOption, invocation
from junkie_cli.terminal.output import (
    Column,
    none_yet,
    note,
    print_json,
    print_line,
    print_next_page,
    print_rows,
    progress,
    require_confirmation,
    show_warnings,
    warn,
    working,
)

if TYPE_CHECKING:
    from junkie_cli.core import documents
    from junkie_cli.core.users.erase import Erased

app = typer.Typer(name="users", help="List users, export one person's data, or erase a person.", no_args_is_help=True)

_COLUMNS = (
    Column("USER", lambda user: user.user_id, "id"),
    Column("MEMORIES", lambda user: user.memories, "number"),
    Column("SESSIONS", lambda user: user.sessions, "number"),
    Column("RUNS", lambda user: user.runs, "number"),
    Column("LAST ACTIVE", lambda user: user.last_active, "time"),
)


@app.command("list", epilog="Example: junkie users list -n 20")
def list_(
    limit: LimitOption = 50,
    after: AfterOption = None,
    as_json: JsonOption = False,
) -> None:
    """List users by id, with counts of their data. Rows without an owner come last.

    Users who appear while you page are listed after the others.
    """
    from junkie_cli.core.users.listing import list_users

    settings = invocation().settings()
    with working("listing users") as shown:
        page = invocation().run(list_users(settings, limit=limit, after=after, progress=shown.progress))
    if as_json:
        answer: documents.UsersPage = {"users": page.users, "next": page.next}
        return print_json(answer, page.warnings)
    show_warnings(page.warnings)
    print_rows(_COLUMNS, page.users, empty=none_yet("users", page.tables_missing))
    return print_next_page(page.next, page.late)


@app.command(epilog="Example: junkie users export ada -o ada.jsonl")
def export(
    user: Annotated[str, typer.Argument(metavar="USER", autocompletion=completion.user_ids)],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", readable=False, help="File to write, or - for stdout.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Export all data of a person to a JSON Lines file: everything that erase would delete."""
    from junkie_cli.core import files
    from junkie_cli.core.users.export import export_user

    to_stdout = files.is_standard_output(output)
    if as_json and to_stdout:
        raise UsageError("--json needs a file", hint="name one with -o; the export itself is always JSON Lines")
    with progress("exporting", unit="lines") as shown:
        settings = invocation().settings()
        exporting = export_user(settings, user, output, progress=shown.progress)
        done = invocation().run(exporting)
    if as_json:
        answer: documents.UserExported = {"user_id": user, "path": str(done.path), "lines": sum(done.lines.values())}
        return print_json(answer, done.warnings)
    show_warnings(done.warnings)
    if to_stdout:
        return note(
            f"exported {plural(sum(done.lines.values()), 'line', 'lines')}"
            if done.lines
            else f"no data found for user {user}"
        )
    return _print_counts(done.lines, f"no data found for user {user}")


@app.command(epilog="Example: junkie users erase ada --receipt ada-erased.json")
def erase(
    user: Annotated[str, typer.Argument(metavar="USER", autocompletion=completion.user_ids)],
    yes: YesOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
    receipt: Annotated[
        Path | None,
        typer.Option("--receipt", metavar="FILE", readable=False, help="Write a receipt to FILE, or - for stdout."),
    ] = None,
    whole_database: Annotated[
        bool, typer.Option("--whole-database", help="Also erase rows of this person outside the schema.")
    ] = False,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Allow the embedded database when not run from a terminal.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Erase a person: memories, own runs, own sessions, pending extractions, history. This cannot be undone."""
    from junkie_cli.core import database
    from junkie_cli.core.users.erase import erase_user, finish_erasure
    from junkie_cli.core.users.receipt import check_receipt_path

    settings = invocation().settings()
    database.require_named_database(settings, embedded_option=embedded, interactive=invocation().interactive)
    if receipt:
        check_receipt_path(receipt, alone=not as_json)
    if dry_run or not yes:
        with working("counting rows", headline=True) as shown:
            counting = erase_user(settings, user, whole_database=whole_database, dry_run=True, progress=shown.progress)
            preview = invocation().run(counting)
        if dry_run:
            return _report(preview, None, as_json=as_json)
        if not preview.found:
            return _report(invocation().run(finish_erasure(settings, preview)), receipt, as_json=as_json)
        _ask_to_erase(preview)
    with working(f"erasing {quoted_id(user)}", headline=True) as shown:
        done = invocation().run(erase_user(settings, user, whole_database=whole_database, progress=shown.progress))
    return _report(done, receipt, as_json=as_json)


def _ask_to_erase(preview: "Erased") -> None:
    from junkie_cli.core.database import label

    note(f"data of {quoted_id(preview.user_id)} in {label(invocation().settings())}:")
    for table, count in preview.erased.items():
        note(f"  {table}: {count}")
    if preview.shared_sessions:
        note(f"  shared sessions that lose this person's runs, summary and state: {preview.shared_sessions}")
    _note_cleared(preview)
    require_confirmation(f"erase {quoted_id(preview.user_id)}? This cannot be undone.", yes=False)


def _note_cleared(done: "Erased") -> None:
    for table, count in done.references_cleared.items():
        note(f"  rows of {table} that stay, with their reference removed: {count}")


def _report(done: "Erased", receipt: Path | None, *, as_json: bool) -> None:
    from junkie_cli.core import files
    from junkie_cli.core.users.receipt import write_receipt

    receipt = receipt if done.erased_at or done.earlier else None
    backups = _backups() if done.found or receipt else []
    if receipt:
        write_receipt(receipt, done, backups)
    if receipt and files.is_standard_output(receipt):
        note(_erased(done))  # stdout has the receipt
    elif as_json:
        print_json(_document(done, backups, receipt))
    else:
        _print_counts(done.erased, _nothing(done))
        _print_result(done, backups)
    for problem in done.problems:
        warn(problem)
    if done.remaining:
        count = plural(done.remaining, "row", "rows")
        warn(f"another program wrote {count} again: stop the bot and run this command again")
    if done.problems or done.remaining:
        raise typer.Exit(ExitCode.FAILED)


def _erased(done: "Erased") -> str:
    return f"erased; {plural(done.remaining, 'row remains', 'rows remain')}"


def _nothing(done: "Erased") -> str:
    before = f" (erased at {done.earlier.erased_at.isoformat(timespec='seconds')})" if done.earlier else ""
    return f"no data found for user {quoted_id(done.user_id)}{before}"


def _document(done: "Erased", backups: list[dict[str, Any]], receipt: Path | None) -> dict[str, Any]:
    return {
        "user_id": done.user_id,
        "erased": done.erased,
        "remaining": done.remaining,
        "elsewhere": done.elsewhere,
        "unsearchable": done.unsearchable,
        "backups": backups,
        "receipt": str(receipt) if receipt else None,
        **({"references_cleared": done.references_cleared} if done.references_cleared else {}),
        **({"dry_run": True} if done.dry_run else {}),
    }


def _backups() -> list[dict[str, Any]]:
    """List the backups in the folder, which may still contain the person."""
    from junkie_cli.core.backup import prune

    found = invocation().run(prune.expiries(invocation().settings().backup_dir))
    return [
        {"path": str(entry.path), "made_at": entry.made_at, "expires": expires}
        for entry, expires in found
        if entry.bytes
    ]


def _print_counts(counts: Mapping[str, int], empty: str) -> None:
    rows = list(counts.items())
    print_rows(
        (Column("TABLE", lambda row: row[0], "id"), Column("ROWS", lambda row: row[1], "number")), rows, empty=empty
    )


def _print_result(done: "Erased", backups: list[dict[str, Any]]) -> None:
    if not done.found:
        if done.nearest:
            note(f"did you mean {', '.join(map(quoted_id, done.nearest))}?")
        return
    print_line("nothing was changed; this would be deleted:" if done.dry_run else _erased(done))
    if done.shared_sessions:
        shared = plural(done.shared_sessions, "session is shared", "sessions are shared")
        note(f"{shared}: others' runs stay, and another speaker becomes the owner")
    _note_cleared(done)
    for table, count in done.elsewhere.items():
        state = "also erased" if done.whole_database else "outside the schema, unchanged (--whole-database erases them)"
        note(f"{table}: {plural(count, 'row', 'rows')} {state}")
    for sentence in done.unsearchable:
        note(f"not searched: {sentence}")
    for backup in backups:
        goes = f"expires by {backup['expires']:%Y-%m-%d}" if backup["expires"] else "no retention rule deletes it"
        note(f"backup that still contains this person ({goes}): {backup['path']}")
