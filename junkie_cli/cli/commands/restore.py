"""`junkie restore`: restore a complete backup, or one person's memories and sessions."""

import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from junkie_cli.cli.url_option import parse_url
from junkie_cli.core.errors import UsageError
from junkie_cli.core.formatting import plural
from junkie_cli.core.sanitize import quoted_id
from junkie_cli.core.value_class import frozen
from junkie_cli.terminal import completion
from junkie_cli.terminal.invocation import JsonOption, YesOption, invocation
from junkie_cli.terminal.output import (
    Column,
    confirm_typed,
    note,
    print_json,
    print_record,
    print_rows,
    require_confirmation,
    warn,
    working,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from junkie_cli.core.database import Database
    from junkie_cli.core.database_url import DatabaseUrl
    from junkie_cli.core.progress import Progress
    from junkie_cli.core.restore.person import Item, PersonPlan
    from junkie_cli.core.restore.person_write import PersonResult
    from junkie_cli.core.restore.whole import WholePlan, WholeResult
    from junkie_cli.core.settings import Settings

app = typer.Typer()


@frozen
class _Options:
    file: str
    user: str | None
    replace: bool
    dry_run: bool
    yes: bool
    even_erased: bool
    pg_bin: Path | None
    verify_into: "DatabaseUrl | None"
    verify_timeout: float | None
    wait_lock: float
    trust_owner: bool


@app.command(epilog="Examples:\n\n  junkie restore latest --dry-run\n  junkie restore latest --user ada")
def restore(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE|latest",
            help="A file, a name in the folder, or latest.",
            autocompletion=completion.backups,
        ),
    ],
    user: Annotated[
        str | None,
        typer.Option(
            "--user",
            "-u",
            metavar="USER",
            help="Restore only this person's memories and sessions.",
            autocompletion=completion.user_ids,
        ),
    ] = None,
    into: Annotated[
        str | None, typer.Option("--into", metavar="URL", help="Restore into this database instead of POSTGRES_URL.")
    ] = None,
    replace_data: Annotated[
        bool, typer.Option("--replace", help="Replace existing data, after backing it up and renaming its schema.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    even_erased: Annotated[bool, typer.Option("--even-erased", help="Restore a person who was erased.")] = False,
    pg_bin: Annotated[
        Path | None, typer.Option("--pg-bin", metavar="DIR", help="Folder that contains pg_dump, pg_restore and psql.")
    ] = None,
    verify_into: Annotated[
        str | None, typer.Option("--verify-into", metavar="URL", help="With --user: read the backup with this server.")
    ] = None,
    verify_timeout: Annotated[
        float | None,
        typer.Option(
            "--verify-timeout", min=1, metavar="S", help="With --user: stop reading the backup after S seconds."
        ),
    ] = None,
    wait_lock: Annotated[
        float, typer.Option("--wait-lock", min=0, metavar="S", help="Wait up to S seconds for another run to end.")
    ] = 0,
    trust_owner: Annotated[
        bool, typer.Option("--trust-owner", help="Accept a backup that another user could have changed.")
    ] = False,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Allow the embedded database when not run from a terminal.")
    ] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Restore a complete backup into an empty schema, or one person's data into existing tables.

    Existing data is replaced only with --replace, which first makes a backup and keeps the old schema under another
    name.
    """
    settings = _settings(into, embedded=embedded)
    options = _Options(
        file,
        user,
        replace_data,
        dry_run,
        yes,
        even_erased,
        pg_bin.absolute() if pg_bin else None,
        parse_url("--verify-into", verify_into) if verify_into is not None else None,
        verify_timeout,
        wait_lock,
        trust_owner,
    )
    if user is not None:
        return _restore_person(options, settings, as_json=as_json)
    if even_erased:
        raise UsageError("--even-erased needs --user", hint="restoring a complete backup never restores erased people")
    return _restore_whole(options, settings, as_json=as_json)


def _settings(into: str | None, *, embedded: bool) -> "Settings":
    from junkie_cli.core.database import require_named_database

    settings = invocation().settings()
    if into is None:
        require_named_database(settings, embedded_option=embedded, interactive=invocation().interactive)
        return settings
    if embedded:
        raise UsageError("--into and --embedded exclude each other", hint="leave one of them out")
    return replace(settings, postgres_url=parse_url("--into", into))


@contextmanager
def _progress(title: str) -> "Iterator[Progress]":
    from junkie_cli.core.progress import Progress

    with working(title) as activity:
        yield Progress(step=activity.say, reach=activity.reach, note=note, warn=warn)


# --- the whole --------------------------------------------------------------------------------------------------------


def _restore_whole(options: _Options, settings: "Settings", *, as_json: bool) -> None:
    from junkie_cli.core.restore import whole

    with _progress("reading the backup") as progress:
        planned, database = invocation().run(_plan_whole(options, settings, progress))
    if options.dry_run or database is None:
        return print_json(_planned(planned)) if as_json else _show(planned)
    if invocation().interactive:
        _show(planned)
    else:
        _warn_of_code(planned)
    _ask_whole(planned, options, database)
    with _progress("restoring") as progress:
        result = invocation().run(whole.restore(planned, database, settings, progress=progress))
    for warning in result.warnings:
        warn(warning)
    return print_json(_done(result) | {"code": _code(planned)}) if as_json else _print_result(result)


async def _plan_whole(
    options: _Options, settings: "Settings", progress: "Progress"
) -> "tuple[WholePlan, Database | None]":
    from junkie_cli.core import embedded
    from junkie_cli.core.backup import catalogue, trust
    from junkie_cli.core.database import locate
    from junkie_cli.core.restore import whole

    path = await catalogue.find(options.file, settings.backup_dir)
    if settings.postgres_url is None and not embedded.exists(settings.data_dir):
        if options.dry_run:
            return await whole.plan_into_new(
                path, settings, pg_bin=options.pg_bin, trust_owner=options.trust_owner, progress=progress
            ), None
        trust.check(path, trust_owner=options.trust_owner)
        await catalogue.require_good(path, progress)  # before an embedded database is created for it
    database = await locate(settings, create=True, progress=progress)
    planned = await whole.plan(
        path,
        database,
        settings,
        replace_data=options.replace,
        pg_bin=options.pg_bin,
        wait_lock=options.wait_lock,
        trust_owner=options.trust_owner,
        progress=progress,
    )
    if options.dry_run:
        await whole.check(planned, database, settings, progress=progress)
    return planned, database


def _ask_whole(planned: "WholePlan", options: _Options, database: "Database") -> None:
    if options.yes:
        return
    if planned.replaces:
        if not invocation().interactive:
            raise UsageError(
                "--replace needs --yes without a terminal", hint="add --yes, or use --dry-run for a preview"
            )
        name = database.url.database_name
        confirm_typed(f"This replaces schema {planned.schema} of {planned.target.label}.", name, option="--yes")
    elif invocation().interactive:
        require_confirmation(f"Restore into {planned.target.label}?", yes=False)


def _planned(planned: "WholePlan") -> dict[str, Any]:
    existing = dict(planned.existing)
    return {
        "dry_run": True,
        "path": str(planned.entry.path),
        "made_at": planned.entry.made_at,
        "database": planned.target.label,
        "schema": planned.schema,
        "replace": planned.replaces,
        "tables": [
            {"name": table.name, "rows": table.rows, "existing": existing.get(table.table)} for table in planned.tables
        ],
        "left_alone": list(planned.left_alone),
        "code": _code(planned),
        "warnings": list(planned.warnings),
    }


def _show(planned: "WholePlan") -> None:
    existing = dict(planned.existing)
    columns = (
        Column("TABLE", lambda table: table.name, "id"),
        Column("ROWS IN BACKUP", lambda table: table.rows, "number"),
        Column("ROWS NOW", lambda table: existing.get(table.table), "number"),
    )
    print_rows(columns, planned.tables, title=planned.entry.path.name, database=planned.target.label)
    gone = [f"{name} ({plural(rows, 'row', 'rows')})" for name, rows in planned.existing if name not in _names(planned)]
    if gone:
        note(f"not in the backup, only in the renamed old schema: {', '.join(gone)}")
    if planned.left_alone:
        note(f"not restored, because the database already has data there: schema {', '.join(planned.left_alone)}")
    for warning in planned.warnings:
        warn(warning)
    _warn_of_code(planned)


_SHOWN_CODE = 20


def _warn_of_code(planned: "WholePlan") -> None:
    """List the code in the backup before anything is restored."""
    if not planned.code:
        return
    shown = "; ".join(str(code) for code in planned.code[:_SHOWN_CODE])
    more = len(planned.code) - _SHOWN_CODE
    warn(
        f"this backup adds code to the database, which runs with the privileges of all users of the tables: {shown}"
        + (f"; and {more} more (--dry-run --json lists all)" if more > 0 else "")
    )
    if planned.target.superuser:
        warn("this role is a superuser, so this code can also run programs and read files on the database server")


def _code(planned: "WholePlan") -> list[dict[str, Any]]:
    return [
        {"kind": code.kind, "schema": code.schema, "name": code.name, "security_definer": code.security_definer}
        for code in planned.code
    ]


def _names(planned: "WholePlan") -> set[str]:
    return {table.table for table in planned.tables}


def _done(result: "WholeResult") -> dict[str, Any]:
    return {
        "dry_run": False,
        "path": str(result.path),
        "database": result.label,
        "schema": result.schema,
        "tables": [{"name": name, "rows": rows} for name, rows in result.tables],
        "replaced": result.aside or None,
        "safety_backup": str(result.safety_backup) if result.safety_backup else None,
        "erased_again": result.erased_again,
        "warnings": list(result.warnings),
    }


def _print_result(result: "WholeResult") -> None:
    columns = (Column("TABLE", lambda row: row[0], "id"), Column("ROWS", lambda row: row[1], "number"))
    print_rows(columns, result.tables, title=f"restored {result.path.name}", database=result.label)
    if result.erased_again:
        people = plural(result.erased_again, "person who was", "people who were")
        note(f"not restored: {people} erased since this backup")
    if result.safety_backup:
        note(f"backup of the previous data: {result.safety_backup}")
    if result.aside:
        note(f'the old schema is now {result.aside}; to delete it: DROP SCHEMA "{result.aside}" CASCADE')


# --- one person -------------------------------------------------------------------------------------------------------


def _restore_person(options: _Options, settings: "Settings", *, as_json: bool) -> None:
    from junkie_cli.core.restore import person_write

    with _progress("reading the backup") as progress:
        planned, database = invocation().run(_plan_person(options, settings, progress))
    if options.dry_run or not planned.to_do():
        return print_json(_person(planned, dry_run=options.dry_run)) if as_json else _show_person(planned)
    if not as_json and sys.stderr.isatty():
        _show_person(planned)
    _ask_person(planned, options)
    with _progress("restoring") as progress:
        progress.step(f"restoring {quoted_id(planned.user_id)}")
        work = person_write.carry_out(planned, database, settings, even_erased=options.even_erased, progress=progress)
        result = invocation().run(work)
    return print_json(_person(planned, dry_run=False, result=result)) if as_json else _print_person_result(result)


async def _plan_person(options: _Options, settings: "Settings", progress: "Progress") -> "tuple[PersonPlan, Database]":
    from junkie_cli.core.backup import catalogue
    from junkie_cli.core.database import locate
    from junkie_cli.core.restore import person, person_write

    path = await catalogue.find(options.file, settings.backup_dir)
    database = await locate(settings, progress=progress)
    assert options.user is not None
    planned = await person.plan(
        path,
        options.user,
        database,
        settings,
        replace_data=options.replace,
        even_erased=options.even_erased,
        pg_bin=options.pg_bin,
        verify_into=options.verify_into,
        verify_timeout=options.verify_timeout,
        wait_lock=options.wait_lock,
        trust_owner=options.trust_owner,
        progress=progress,
    )
    if options.dry_run:
        await person_write.check(planned, database, settings, progress=progress)
    return planned, database


def _ask_person(planned: "PersonPlan", options: _Options) -> None:
    changes = any(changed for _, _, changed, _ in planned.counts())
    if invocation().interactive or changes or options.even_erased:
        require_confirmation(f"Restore {quoted_id(planned.user_id)} in {planned.label}?", yes=options.yes)


def _person(planned: "PersonPlan", *, dry_run: bool, result: "PersonResult | None" = None) -> dict[str, Any]:
    tables = [
        {"name": name, "rows": added + changed, "added": added, "changed": changed, "left": left}
        for name, added, changed, left in planned.counts()
    ]
    return {
        "dry_run": dry_run,
        "path": str(planned.path),
        "database": planned.label,
        "user_id": planned.user_id,
        "tables": tables,
        "items": [_item(item) for item in planned.items],
        "undo": result.batch if result else None,
        "safety_backup": str(result.safety_backup) if result and result.safety_backup else None,
    }


def _item(item: "Item") -> dict[str, str]:
    return {"table": item.table, "id": item.id, "action": item.action, "why": item.why}


_ITEMS = (
    Column("TABLE", lambda item: item.table, "id"),
    Column("ID", lambda item: item.id, "id"),
    Column("WHAT", lambda item: item.action, "id"),
    Column("WHY", lambda item: item.why),
    Column("MEMORY", lambda item: item.text),
)


def _show_person(planned: "PersonPlan") -> None:
    print_rows(
        _ITEMS, planned.items, title=f"{quoted_id(planned.user_id)} in {planned.path.name}", database=planned.label
    )
    if not planned.to_do():
        note("nothing to restore: everything exists already, or is left unchanged")


def _print_person_result(result: "PersonResult") -> None:
    pairs: list[tuple[Any, ...]] = [("User", result.plan.user_id, "id")]
    if result.safety_backup:
        pairs.append(("Backup before", str(result.safety_backup), "id"))
    pairs += [
        (name, f"{added} added, {changed} changed, {left} left unchanged")
        for name, added, changed, left in result.counts
    ]
    if result.batch:
        pairs.append(("Undo", f"junkie memories undo {result.batch}"))
    print_record(pairs, database=result.plan.label)
