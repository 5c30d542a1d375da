"""Verifies a dump: restores it into a scratch PostgreSQL, and counts and hashes every table there.

The scratch server (`scratch`) is started before the dump, so that missing extensions, collations or versions are
reported first. If no server can restore the dump, it stays unverified, with the reason. Restored code runs as a role
without privileges: all connections here use that role.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from junkie_cli.core.backup import content_hash, script
from junkie_cli.core.backup.manifest import Origin, TableContent
from junkie_cli.core.backup.scratch import (
    WHOLE_DATABASE,
    Needs,
    Scratch,
    Unprovable,
    bounded,
    fresh_database,
    present_schemas,
)
from junkie_cli.core.backup.script import Contents
from junkie_cli.core.backup.tools import major_of
from junkie_cli.core.errors import BackupError, DatabaseError
from junkie_cli.core.formatting import plural
from junkie_cli.core.postgres.connect import close_connection, open_connection
from junkie_cli.core.postgres.errors import translate_errors
from junkie_cli.core.progress import SILENT, Progress

if TYPE_CHECKING:
    from junkie_cli.core.database_url import DatabaseUrl


async def prove(
    scratch: Scratch,
    archive: Path,
    needs: Needs,
    tables: Sequence[TableContent],
    *,
    lock: int | None = None,
    progress: Progress = SILENT,
) -> None:
    """Restore `archive` into a new database of the scratch server and compare every table with `tables`.

    Raises BackupError if the result differs, Unprovable if this server cannot restore it.
    """
    async with restored(scratch, archive, needs, tables, lock=lock, progress=progress):
        pass


@asynccontextmanager
async def restored(
    scratch: Scratch,
    archive: Path,
    needs: Needs,
    tables: Sequence[TableContent],
    *,
    lock: int | None = None,
    progress: Progress = SILENT,
) -> "AsyncIterator[DatabaseUrl]":
    """As `prove`, but yield the address of the restored copy, which is deleted at the end of the block."""
    async with fresh_database(scratch, needs) as url, bounded(scratch, url):
        contents = await script.list_contents(archive, scratch.tools, encoding=needs.origin.encoding)
        check_missing_data(contents, tables)
        await _restore(scratch, archive, _wanted(contents, needs), needs, url, lock, progress)
        await _compare(url, needs, tables)
        yield url


def _wanted(contents: Contents, needs: Needs) -> Contents:
    """Return the entries to restore: without existing objects, and event triggers, which need a superuser."""
    unwanted_extension = script.unwanted_extensions([])
    made = contents.schema_entries(present_schemas(needs))
    foreign = contents.foreign_key_entries(needs.origin.schema, needs.outside.foreign_keys)
    return contents.without(
        lambda entry: entry in made | foreign or unwanted_extension(entry) or entry.startswith("EVENT TRIGGER - ")
    )


async def _restore(
    scratch: Scratch,
    archive: Path,
    contents: Contents,
    needs: Needs,
    url: "DatabaseUrl",
    lock: int | None,
    progress: Progress,
) -> None:
    try:
        await script.apply(
            archive,
            contents,
            tools=scratch.tools,
            url=url,
            server_major=major_of(scratch.version),
            lock=lock,
            progress=progress,
        )
    except BackupError as error:
        if error.code != script.REFUSED:
            raise
        hint = "" if needs.origin.whole_database else f"if the cause is in another schema, {WHOLE_DATABASE}"
        raise Unprovable(f"it cannot be restored on its own: {error.message}", hint) from error


async def _compare(url: "DatabaseUrl", needs: Needs, tables: Sequence[TableContent]) -> None:
    """Read every table on a new connection, unaffected by what the dump did to the restoring session."""
    try:
        connection = await open_connection(url)
        try:
            with translate_errors(url):
                async with connection.transaction():
                    await connection.execute(content_hash.settings_sql())
                    for table in tables:
                        names = (table.schema, table.table)
                        found = await content_hash.read(connection, *names, encoding=needs.origin.encoding)
                        _check_same(table, *found, made_empty=needs.outside.objects)
        finally:
            await close_connection(connection)
    except DatabaseError as error:
        raise Unprovable(f"the restored tables cannot be read: {error.message}") from error


def _check_same(table: TableContent, rows: int, digits: str, *, made_empty: Sequence[str]) -> None:
    if rows == table.rows and digits == table.hash:
        return
    what = "other content" if rows == table.rows else f"{plural(rows, 'row', 'rows')}, not {table.rows}"
    if made_empty:
        raise Unprovable(
            f"{table.schema}.{table.table} has {what} where {', '.join(made_empty)} are empty", WHOLE_DATABASE
        )
    raise BackupError(
        f"{table.schema}.{table.table} has {what} after a restore",
        hint="the backup differs from the database: make another one",
        code="backup_differs",
    )


def check_missing_data(contents: Contents, tables: Sequence[TableContent]) -> None:
    """Raise BackupError unless the archive contains the rows of every non-empty table."""
    missing = [table.name for table in tables if table.rows and not contents.holds_data_of(table.schema, table.table)]
    if missing:
        raise BackupError(
            f"the dump lacks the rows of {', '.join(missing[:5])}",
            hint="check the privileges of the role that makes the dump, and try again",
            code="backup_incomplete",
        )


def check_sql(origin: Origin, tables: Sequence[TableContent]) -> str:
    """Return statements that fail unless the tables match the manifest; they run inside the restore."""
    expected = [(table.schema, table.table, table.rows, table.hash) for table in tables]
    return content_hash.settings_sql() + content_hash.check_sql(expected, encoding=origin.encoding)


def schemas_of_extensions(needs: Needs) -> tuple[str, ...]:
    """Return schemas that needed extensions require, without those that the dump creates."""
    if needs.origin.whole_database:
        return ()
    own = {needs.origin.schema, "pg_catalog", "public"}
    return tuple(dict.fromkeys(found.schema for found in needs.needed_extensions if found.schema not in own))
