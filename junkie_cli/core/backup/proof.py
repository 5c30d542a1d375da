"""Proving a dump: it is restored into a scratch PostgreSQL and counted and hashed there, table by table.

The scratch server is started before the dump, so that what it lacks (an extension, a collation, the version) is known
and told before and not after. Where none can take the dump there is no proof, and the reason is kept.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from junkie_cli import figures
from junkie_cli.core import embedded
from junkie_cli.core.backup import content_hash, script
from junkie_cli.core.backup.manifest import Extension, Origin, TableContent
from junkie_cli.core.backup.script import Contents
from junkie_cli.core.backup.tools import Tools, choose, major_of
from junkie_cli.core.backup.voice import SILENT, Voice
from junkie_cli.core.database import close_connection, open_connection, translate_errors
from junkie_cli.core.errors import BackupError, DatabaseError, JunkieError
from junkie_cli.core.schema import quoted
from junkie_cli.values import frozen

if TYPE_CHECKING:
    from junkie_cli.core.url import DatabaseUrl

# Nothing here need survive a crash: the server is thrown away.
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "maintenance_work_mem": "256MB",
    "autovacuum": "off",
}


@frozen
class Scratch:
    """A server that may be written to freely, with the tools of its version; `url` leads to a maintenance database."""

    url: "DatabaseUrl"
    version: str
    tools: Tools


@frozen
class Needs:
    """What a server must have to take a dump."""

    origin: Origin
    extensions: Sequence[Extension]
    collations: Sequence[str]
    roles: Sequence[str]

    @property
    def needed_extensions(self) -> tuple[Extension, ...]:
        """Those without which something in the dump cannot be restored."""
        return tuple(extension for extension in self.extensions if extension.needed)


class Unprovable(Exception):
    """No scratch server here can take the dump; `reason` reads after "because"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@asynccontextmanager
async def open_scratch(
    available: Sequence[Tools], *, dumped_with: int, into: "DatabaseUrl | None", room: int, fallback: Path
) -> AsyncIterator[Scratch]:
    """A scratch server for dumps made by pg_dump of major version `dumped_with`; gone when the block is left.

    `into` names another server to use; `room` is how many bytes are needed, looked for in the temporary folders and
    then in `fallback`. Raises Unprovable.
    """
    if into is not None:
        yield await _foreign(into, available, dumped_with)
        return
    bundled = next((tools for tools in available if tools.folder == embedded.bin_dir()), None)
    if bundled is None or bundled.major < dumped_with:
        newest = bundled.version if bundled else "none"
        raise Unprovable(f"it is a dump of PostgreSQL {dumped_with}, and the scratch server here is {newest}")
    server = embedded.ScratchServer(_parent(room, fallback), settings=_SETTINGS)
    try:
        await _start(server)
        yield Scratch(server.url, bundled.version, bundled)
    finally:
        server.stop()


async def _start(server: embedded.ScratchServer) -> None:
    try:
        await asyncio.to_thread(server.start)
    except DatabaseError as error:
        raise Unprovable(f"no scratch server starts here: {error.message}") from error


def _parent(room: int, fallback: Path) -> Path:
    """Where the scratch server's files go: the first folder with room. Raises Unprovable when none has."""
    named = os.environ.get("TMPDIR")
    folders = [Path(folder) for folder in ([named] if named else []) + ["/var/tmp", "/tmp"]]  # noqa: S108
    folders.append(fallback)
    for folder in folders:
        if os.access(folder, os.W_OK | os.X_OK) and shutil.disk_usage(folder).free > room:
            return folder
    raise Unprovable(
        f"there is no room for it ({figures.size(room)} in {', '.join(map(str, folders))}):"
        " set TMPDIR to a larger folder"
    )


async def _foreign(into: "DatabaseUrl", available: Sequence[Tools], dumped_with: int) -> Scratch:
    connection = await open_connection(into)
    try:
        version = str(connection.get_settings().server_version)
    finally:
        await close_connection(connection)
    newer_than_dump = [tools for tools in available if tools.major >= dumped_with]
    if major_of(version) < dumped_with:
        raise Unprovable(f"it is a dump of PostgreSQL {dumped_with}, and the server of --verify-into is {version}")
    return Scratch(into, version, await choose(newer_than_dump, version, into))


async def lacking(scratch: Scratch, needs: Needs) -> str:
    """What the scratch server lacks for a dump, for people; empty when it has all."""
    connection = await open_connection(scratch.url)
    try:
        with translate_errors(scratch.url):
            async with connection.transaction():
                extensions = {row[0] for row in await connection.fetch("SELECT name FROM pg_available_extensions")}
                collations = {row[0] for row in await connection.fetch("SELECT collname FROM pg_collation")}
    finally:
        await close_connection(connection)
    missing = [f"extension {found.name}" for found in needs.needed_extensions if found.name not in extensions]
    missing += [f"collation {name}" for name in needs.collations if name not in collations]
    return f"the scratch server lacks {', '.join(missing)}" if missing else ""


async def prove(
    scratch: Scratch,
    archive: Path,
    needs: Needs,
    tables: Sequence[TableContent],
    *,
    lock: int | None = None,
    voice: Voice = SILENT,
) -> None:
    """Restore `archive` into a new database of the scratch server and compare every table with `tables`.

    Raises BackupError when it does not restore, or restores to anything else.
    """
    async with restored(scratch, archive, needs, tables, lock=lock, voice=voice):
        pass


@asynccontextmanager
async def restored(
    scratch: Scratch,
    archive: Path,
    needs: Needs,
    tables: Sequence[TableContent],
    *,
    lock: int | None = None,
    voice: Voice = SILENT,
) -> "AsyncIterator[DatabaseUrl]":
    """As `prove`, yielding the address of the restored copy, which is gone when the block is left."""
    name = f"junkie_proof_{uuid4().hex[:12]}"
    await _execute(scratch.url, [_create_database(name, needs.origin.encoding, major_of(scratch.version))])
    url = scratch.url.with_database(name)
    try:
        await _create_roles(scratch.url, needs.roles)
        contents = await script.list_contents(archive, scratch.tools)
        check_missing_data(contents, tables)
        await script.apply(
            archive,
            contents.without(script.unwanted_extensions([found.name for found in needs.needed_extensions])),
            tools=scratch.tools,
            url=url,
            server_major=major_of(scratch.version),
            before=_room_for(needs),
            after=check_sql(needs.origin, tables),
            lock=lock,
            voice=voice,
        )
        yield url
    finally:
        with suppress(JunkieError):
            await _execute(scratch.url, [f"DROP DATABASE IF EXISTS {quoted(name)}"])


def check_missing_data(contents: Contents, tables: Sequence[TableContent]) -> None:
    """Raise BackupError unless the archive holds the rows of every table."""
    missing = [table.name for table in tables if not contents.holds_data_of(table.schema, table.table)]
    if missing:
        raise BackupError(
            f"the dump lacks the rows of {', '.join(missing[:5])}",
            hint="look at the rights of the role that dumps, and try again",
            code="backup_incomplete",
        )


def check_sql(origin: Origin, tables: Sequence[TableContent]) -> str:
    """Statements that fail unless the tables hold exactly what the manifest says; they run inside the restore."""
    expected = [(table.schema, table.table, table.rows, table.hash) for table in tables]
    return content_hash.settings_sql() + content_hash.check_sql(expected, encoding=origin.encoding)


def schemas_of_extensions(needs: Needs) -> tuple[str, ...]:
    """Schemas that must be there before needed extensions can be made, beside those that the dump makes itself."""
    if needs.origin.whole_database:
        return ()
    own = {needs.origin.schema, "pg_catalog", "public"}
    return tuple(dict.fromkeys(found.schema for found in needs.needed_extensions if found.schema not in own))


def _room_for(needs: Needs) -> str:
    statements = [f"CREATE SCHEMA IF NOT EXISTS {quoted(name)};" for name in schemas_of_extensions(needs)]
    if needs.origin.schema == "public" and not needs.origin.whole_database:
        statements.append("DROP SCHEMA public;")  # a dump of this one schema makes it anew
    return "\n".join(statements)


def _create_database(name: str, encoding: str, major: int) -> str:
    provider = "LOCALE_PROVIDER libc" if major >= 15 else ""
    return (
        f"CREATE DATABASE {quoted(name)} TEMPLATE template0 ENCODING '{encoding}' {provider}"
        " LC_COLLATE 'C' LC_CTYPE 'C'"
    )


async def _create_roles(url: "DatabaseUrl", roles: Sequence[str]) -> None:
    """Roles that row security policies name, without any right."""
    connection = await open_connection(url)
    try:
        with translate_errors(url):
            async with connection.transaction():
                there = {row[0] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
                for role in roles:
                    if role not in there:
                        await connection.execute(f"CREATE ROLE {quoted(role)} NOLOGIN")
    finally:
        await close_connection(connection)


async def _execute(url: "DatabaseUrl", statements: Sequence[str]) -> None:
    connection = await open_connection(url)
    try:
        with translate_errors(url):
            for statement in statements:
                await connection.execute(statement)
    finally:
        await close_connection(connection)
