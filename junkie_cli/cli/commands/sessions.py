"""`junkie sessions`: list, read and delete sessions."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from junkie_cli.core.errors import ExitCode
from junkie_cli.core.sanitize import quoted_id
from junkie_cli.terminal import completion
from junkie_cli.terminal.invocation import AfterOption, JsonOption, LimitOption, UserOption, YesOption, invocation
from junkie_cli.terminal.output import (
    Column,
    none_yet,
    note,
    print_json,
    print_line,
    print_next_page,
    print_rows,
    require_confirmation,
    show_warnings,
    warn,
    working,
)

if TYPE_CHECKING:
    from junkie_cli.core import documents
    from junkie_cli.core.sessions import SessionDeleted

app = typer.Typer(name="sessions", help="List, read and delete sessions.", no_args_is_help=True)

_COLUMNS = (
    Column("SESSION", lambda session: session.session_id, "id"),
    Column("NAME", lambda session: session.name),
    Column("USERS", lambda session: session.users),
    Column("RUNS", lambda session: session.runs, "number"),
    Column("CREATED", lambda session: session.created_at, "time"),
    Column("UPDATED", lambda session: session.updated_at, "time"),
)
_SAID = (
    Column("AT", lambda line: line[0].at, "time"),
    Column("WHO", lambda line: line[0].user_id if line[1].role == "user" else line[1].role),
    Column("SAID", lambda line: line[1].content),
    Column("STATUS", lambda line: line[0].status),
    Column("RUN", lambda line: line[0].run_id, "id"),
)


@app.command("list", epilog="Example: junkie sessions list -u ada")
def list_(
    user: UserOption = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
    as_json: JsonOption = False,
) -> None:
    """List sessions, latest first. With -u, list sessions that the user owns or took part in.

    Sessions that change while you page appear after the last page; none is skipped or repeated.
    """
    from junkie_cli.core import sessions

    settings = invocation().settings()
    with working("listing sessions") as shown:
        page = invocation().run(
            sessions.list_sessions(settings, user, limit=limit, after=after, progress=shown.progress)
        )
    if as_json:
        answer: documents.SessionsPage = {"sessions": page.sessions, "next": page.next}
        return print_json(answer, page.warnings)
    show_warnings(page.warnings)
    empty = none_yet("sessions", page.table_missing)
    print_rows(_COLUMNS, page.sessions, empty=empty)
    return print_next_page(page.next, page.late)


@app.command(epilog="Example: junkie sessions show channel-7")
def show(
    session_id: Annotated[str, typer.Argument(metavar="ID", autocompletion=completion.session_ids)],
    as_json: JsonOption = False,
) -> None:
    """Show the messages of a session, oldest first, without system prompts."""
    from junkie_cli.core import sessions

    settings = invocation().settings()
    with working("reading the session"):
        found = invocation().run(sessions.get_runs(settings, session_id))
    if as_json:
        answer: documents.SessionShown = {"session_id": session_id, "runs": found.runs}
        return print_json(answer, found.warnings)
    show_warnings(found.warnings)
    lines = [(run, message) for run in found.runs for message in run.messages]
    return print_rows(_SAID, lines, empty="the session has no messages")


@app.command(epilog="Example: junkie sessions delete c1")
def delete(
    session_id: Annotated[str, typer.Argument(metavar="ID", autocompletion=completion.session_ids)],
    yes: YesOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete a session with the runs of all its users. Memories stay. This cannot be undone."""
    from junkie_cli.core import sessions

    settings = invocation().settings()
    if dry_run or not yes:
        with working("counting rows", headline=True) as shown:
            counting = sessions.delete_session(settings, session_id, dry_run=True, progress=shown.progress)
            preview = invocation().run(counting)
        note(f"would be deleted: {_deleted_rows(preview)}")
        if dry_run:
            return _print_would_go(session_id, preview.deleted) if as_json else None
        require_confirmation(f"delete session {quoted_id(session_id)}? This cannot be undone.", yes=False)
    with working("deleting the session", headline=True) as shown:
        done = invocation().run(sessions.delete_session(settings, session_id, progress=shown.progress))
    if as_json:
        print_json({"session_id": session_id, "deleted": done.deleted, "remaining": done.remaining})
    else:
        print_line(f"deleted session {quoted_id(session_id)}")
        note(f"deleted: {_deleted_rows(done)}")
    if done.remaining:
        warn("a running turn stored the session again: run this command again")
        raise typer.Exit(ExitCode.FAILED)
    return None


def _deleted_rows(done: "SessionDeleted") -> str:
    """Return counts by table, and the affected users."""
    rows = ", ".join(f"{count} {table}" for table, count in done.deleted.items())
    return f"{rows}; users: {', '.join(map(quoted_id, done.users)) or 'none'}"


def _print_would_go(session_id: str, counts: Mapping[str, int]) -> None:
    print_json({"session_id": session_id, "deleted": counts, "remaining": sum(counts.values()), "dry_run": True})
