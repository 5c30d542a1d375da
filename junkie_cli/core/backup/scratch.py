"""The server in which a dump is tried, and the role that tries it.

A dump holds code: constraints, index expressions, triggers, casts, views. Whoever owned the schema at the source wrote
it, and it runs while the dump is restored and read. So it runs as a role that owns one new database and nothing else:
no superuser, no right to run programs, to read or write the server's files, or to open connections. It has BYPASSRLS,
so that no policy hides rows from the comparison. The superuser makes that role, the database and the extensions the
dump needs, before anything is restored, and never connects to the database afterwards: settings, casts and functions
that the dump brings can be met there.

Code that never ends or fills the disk is stopped by the bounds of time and size (`bounded`).
"""

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from junkie_cli.core import embedded, formatting
from junkie_cli.core.backup.manifest import Extension, Origin
from junkie_cli.core.backup.outside import Outside
from junkie_cli.core.backup.tools import Tools, choose, for_scratch, major_of
from junkie_cli.core.errors import DatabaseError, JunkieError
from junkie_cli.core.postgres.connect import close_connection, open_connection
from junkie_cli.core.postgres.errors import translate_errors
from junkie_cli.core.schema.tables import quoted
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

    from junkie_cli.core.database_url import DatabaseUrl

# Nothing here need survive a crash: the server is thrown away.
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "1GB",
    "maintenance_work_mem": "256MB",
    "autovacuum": "off",
    "log_min_messages": "fatal",  # restored code can RAISE LOG without end
}
# Extensions that are not marked as trusted and are needed often enough; they run no programs, read no files and open
# no connections. Anything else that is not trusted is not made for a proof.
_HARMLESS = frozenset({"autoinc", "bloom", "earthdistance", "insert_username", "moddatetime"})
_BARE = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS"
WHOLE_DATABASE = "--whole-database takes everything along that the schema refers to"
_LEAST_SECONDS = 3600.0
_PACE = 5e6  # bytes a second; a restore that is slower is taken for one that does not end
_LEAST_BYTES = 2 << 30
_MEMORY = 4 << 30  # bytes that each process of the scratch server may have
_KEPT_FREE = 256 << 20  # bytes that are left to others on the disk
_LOOK, _LOOK_ELSEWHERE = 1.0, 5.0  # seconds between two looks at how much is used


@frozen
class Needs:
    """What a server must have to take a dump."""

    origin: Origin
    extensions: Sequence[Extension]
    collations: Sequence[str]
    roles: Sequence[str]
    outside: Outside

    @property
    def needed_extensions(self) -> tuple[Extension, ...]:
        """Those without which something in the dump cannot be restored."""
        return tuple(extension for extension in self.extensions if extension.needed)


@frozen
class Scratch:
    """A server that may be written to freely, with the tools of its version; `url` leads to a maintenance database.

    `folder` holds all of its files where the server is ours, None for one that was named with --verify-into.
    `makes_role` is False where the role of `url` may not make another and has no dangerous right itself. `seconds` and
    `bytes` bound what one restore may take.
    """

    url: "DatabaseUrl"
    version: str
    tools: Tools
    seconds: float
    bytes: int
    folder: Path | None = None
    makes_role: bool = True


class Unprovable(Exception):
    """No scratch server here can take the dump; `reason` reads after "because", `hint` is what to do about it."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(f"{reason}; {hint}" if hint else reason)
        self.reason = reason
        self.hint = hint


@asynccontextmanager
async def open_scratch(
    available: Sequence[Tools],
    needs: Needs,
    *,
    dumped_with: int,
    into: "DatabaseUrl | None",
    room: int,
    fallback: Path,
    seconds: float | None = None,
) -> AsyncIterator[Scratch]:
    """A scratch server for a dump made by pg_dump of major version `dumped_with`; gone when the block is left.

    `into` names another server to use; `room` is how many bytes are needed, looked for in the temporary folders and
    then in `fallback`; `seconds` is how long a restore and its comparison may take (default: by `room`). Raises
    Unprovable.
    """
    if needs.outside.obstacles:
        raise Unprovable(f"it does not restore by itself: {'; '.join(needs.outside.obstacles)}", WHOLE_DATABASE)
    allowed = seconds or _LEAST_SECONDS + room / _PACE
    limit = 4 * room + _LEAST_BYTES
    if into is not None:
        yield await _fitting(await _foreign(into, available, dumped_with, allowed, limit), needs)
        return
    chosen = for_scratch(available, dumped_with)
    if chosen is None:
        newest = max((tools.major for tools in available if tools.has_server), default="none")
        raise Unprovable(
            f"it is a dump of PostgreSQL {dumped_with}, and the newest server here is {newest}",
            f"install the server of PostgreSQL {dumped_with} (Debian, Ubuntu: postgresql-{dumped_with})"
            " or name one with --verify-into URL",
        )
    settings = _SETTINGS | {"temp_file_limit": f"{limit >> 10}kB"}
    folder = folder_with(room, fallback)
    server = embedded.ScratchServer(folder, settings=settings, memory=_MEMORY, bin_dir=chosen.folder)
    try:
        await _start(server)
        yield await _fitting(Scratch(server.url, chosen.version, chosen, allowed, limit, server.folder), needs)
    finally:
        server.stop()


async def _start(server: embedded.ScratchServer) -> None:
    try:
        await asyncio.to_thread(server.start)
    except DatabaseError as error:
        raise Unprovable(f"no scratch server starts here: {error.message}") from error


def folder_with(room: int, fallback: Path) -> Path:
    """Where the scratch server's files go: the first folder with room. Raises Unprovable when none has."""
    named = os.environ.get("TMPDIR")
    folders = [Path(folder) for folder in ([named] if named else []) + ["/var/tmp", "/tmp"]]  # noqa: S108
    folders.append(fallback)
    for folder in folders:
        if os.access(folder, os.W_OK | os.X_OK) and shutil.disk_usage(folder).free > room + _KEPT_FREE:
            return folder
    raise Unprovable(
        f"there is no room for it ({formatting.size(room + _KEPT_FREE)} in {', '.join(map(str, folders))}):"
        " set TMPDIR to a larger folder"
    )


# --- a server that was named ------------------------------------------------------------------------------------------

_RIGHTS = """
SELECT r.rolsuper AS super, current_setting('server_version') AS version,
  r.rolcreaterole OR r.rolreplication OR EXISTS (SELECT FROM pg_roles p WHERE pg_has_role(r.oid, p.oid, 'MEMBER')
    AND p.rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files',
      'pg_create_subscription', 'rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin')) AS mighty
FROM pg_roles r WHERE r.rolname = current_user
"""


async def _foreign(
    into: "DatabaseUrl", available: Sequence[Tools], dumped_with: int, seconds: float, limit: int
) -> Scratch:
    connection = await open_connection(into)
    try:
        with translate_errors(into):
            rights = await connection.fetchrow(_RIGHTS)
    finally:
        await close_connection(connection)
    assert rights is not None
    version = str(rights["version"])
    newer_than_dump = [tools for tools in available if tools.major >= dumped_with]
    if major_of(version) < dumped_with:
        raise Unprovable(f"it is a dump of PostgreSQL {dumped_with}, and the server of --verify-into is {version}")
    if rights["mighty"] and not rights["super"]:
        raise Unprovable(
            f"role {into.role} of --verify-into has rights that code in the dump must not have (to make roles,"
            " subscriptions or replicas, or to use the server's files)",
            "name a superuser, who makes a role for it, or a role with LOGIN, CREATEDB and BYPASSRLS and nothing else",
        )
    tools = await choose(newer_than_dump, version, into)
    return Scratch(into, version, tools, seconds, limit, None, bool(rights["super"]))


async def _fitting(scratch: Scratch, needs: Needs) -> Scratch:
    """The server itself. Raises Unprovable when it lacks what the dump needs, or is not to make it."""
    async with _connected(scratch.url) as connection, connection.transaction():
        rows = await connection.fetch("SELECT name, bool_or(trusted) FROM pg_available_extension_versions GROUP BY 1")
        extensions = {row[0]: row[1] for row in rows}
        collations = {row[0] for row in await connection.fetch("SELECT collname FROM pg_collation")}
    wanted = [found.name for found in needs.needed_extensions]
    missing = [f"extension {name}" for name in wanted if name not in extensions]
    missing += [f"collation {name}" for name in needs.collations if name not in collations]
    reasons = [f"the scratch server lacks {', '.join(missing)}"] if missing else []
    unsafe = [name for name in wanted if name in extensions and not (extensions[name] or name in _HARMLESS)]
    if unsafe:
        reasons.append(
            f"extension {', '.join(unsafe)} is not one that PostgreSQL marks as trusted, so it is not made for a proof"
        )
    if reasons:
        raise Unprovable(" and ".join(reasons), "name a server that has it with --verify-into URL" if missing else "")
    return scratch


# --- one database -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def fresh_database(scratch: Scratch, needs: Needs) -> "AsyncIterator[DatabaseUrl]":
    """A new database with what the dump needs, as its owner reaches it, who has no other right; gone afterwards.

    Schemas of `present_schemas` are there already. Raises Unprovable when it cannot be made.
    """
    name = f"junkie_proof_{secrets.token_hex(6)}"
    url = scratch.url.with_database(name)
    if scratch.makes_role:
        url = replace(url, user=name, password=secrets.token_hex(16))
    made: list[str] = []
    try:
        with _as_unprovable():
            await _make(scratch, needs, name, url, made)
            await _make_empty(url, needs.outside)
        yield url
    finally:
        if scratch.folder is None:
            with suppress(JunkieError):
                await _remove(scratch, name, made)


@asynccontextmanager
async def _connected(url: "DatabaseUrl") -> "AsyncIterator[asyncpg.Connection[Any]]":
    connection = await open_connection(url)
    try:
        with translate_errors(url):
            yield connection
    finally:
        await close_connection(connection)


@contextmanager
def _as_unprovable() -> Iterator[None]:
    """Turn a refusal of the scratch server into Unprovable."""
    try:
        yield
    except DatabaseError as error:
        raise Unprovable(f"the scratch server refused what the dump needs: {error.message}") from error


async def _make(scratch: Scratch, needs: Needs, name: str, url: "DatabaseUrl", made: list[str]) -> None:
    major = major_of(scratch.version)
    async with _connected(scratch.url) as connection:
        there = {row[0] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
        if scratch.makes_role:
            await connection.execute(f"CREATE ROLE {quoted(name)} {_BARE} PASSWORD '{url.password}'")
            made.append(name)
        for role in needs.roles:  # named by row security policies; without any right
            if role not in there:
                await connection.execute(f"CREATE ROLE {quoted(role)} NOLOGIN")
                made.append(role)  # not before: one that somebody else makes meanwhile is not ours to drop
        await connection.execute(_create_database(name, url.role, needs.origin.encoding, major))
    async with _connected(scratch.url.with_database(name)) as connection:
        owner = quoted(url.role)
        if scratch.makes_role and major < 15:
            await connection.execute(f"ALTER SCHEMA public OWNER TO {owner}")
        for schema in present_schemas(needs) - {"public", "pg_catalog"}:
            await connection.execute(f"CREATE SCHEMA {quoted(schema)} AUTHORIZATION {owner}")
        for found in needs.needed_extensions:
            await connection.execute(
                f"CREATE EXTENSION IF NOT EXISTS {quoted(found.name)} SCHEMA {quoted(found.schema)} CASCADE"
            )


async def _make_empty(url: "DatabaseUrl", outside: Outside) -> None:
    """What the dump refers to in other schemas, as the owner; each in its turn, whichever stands on which."""
    import asyncpg

    if not outside.statements:
        return
    async with _connected(url) as connection, connection.transaction():
        waiting = list(outside.statements)
        while waiting:
            refused: dict[str, asyncpg.PostgresError] = {}
            for statement in waiting:
                try:
                    async with connection.transaction():
                        await connection.execute(statement)
                except (asyncpg.DuplicateTableError, asyncpg.DuplicateObjectError):
                    continue  # a table and its row type are both referred to
                except asyncpg.PostgresError as error:
                    refused[statement] = error
            if len(refused) == len(waiting):
                raise Unprovable(
                    f"objects of other schemas cannot be made for it: {next(iter(refused.values()))}", WHOLE_DATABASE
                )
            waiting = list(refused)


def present_schemas(needs: Needs) -> set[str]:
    """Schemas that are there before the dump is restored: those of its extensions, and `public`."""
    return {"public", *(found.schema for found in needs.needed_extensions)}


def _create_database(name: str, owner: str, encoding: str, major: int) -> str:
    provider = "LOCALE_PROVIDER libc" if major >= 15 else ""
    return (
        f"CREATE DATABASE {quoted(name)} OWNER {quoted(owner)} TEMPLATE template0 ENCODING '{encoding}' {provider}"
        " LC_COLLATE 'C' LC_CTYPE 'C'"
    )


async def _remove(scratch: Scratch, name: str, made: Sequence[str]) -> None:
    async with _connected(scratch.url) as connection:
        await connection.execute(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")
        for role in made:
            await connection.execute(f"DROP ROLE IF EXISTS {quoted(role)}")


# --- bounds -----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def bounded(scratch: Scratch, url: "DatabaseUrl") -> AsyncIterator[None]:
    """Stop the block when it takes longer or uses more room than one restore may. Raises Unprovable then."""
    excess: list[str] = []
    try:
        async with asyncio.timeout(scratch.seconds) as limit:
            watching = asyncio.create_task(_watch(scratch, url.database_name, limit, excess))
            try:
                yield
            finally:
                watching.cancel()
                await asyncio.wait({watching})
    except TimeoutError:
        if not limit.expired():
            raise
        reason = excess[0] if excess else f"it was not done after {scratch.seconds:g} seconds"
        raise Unprovable(
            f"its restore was stopped: {reason}",
            "code in the dump may run without an end (constraints, index expressions, triggers); if the machine is just"
            " slow, give it longer with --verify-timeout",
        ) from None


async def _watch(scratch: Scratch, name: str, limit: asyncio.Timeout, excess: list[str]) -> None:
    while not limit.expired():
        await asyncio.sleep(_LOOK if scratch.folder else _LOOK_ELSEWHERE)
        reason = await _too_much(scratch, name)
        if reason:
            excess.append(reason)
            limit.reschedule(asyncio.get_running_loop().time())
            return


async def _too_much(scratch: Scratch, name: str) -> str:
    if scratch.folder is None:
        with suppress(JunkieError):
            async with _connected(scratch.url) as connection:
                used = await connection.fetchval(
                    "SELECT pg_database_size(oid) FROM pg_database WHERE datname = $1", name
                )
                return _over(used or 0, scratch.bytes)
        return ""
    with suppress(OSError):
        if shutil.disk_usage(scratch.folder).free < _KEPT_FREE:
            return f"less than {formatting.size(_KEPT_FREE)} are left on the disk of {scratch.folder.parent}"
    return _over(await asyncio.to_thread(_size, scratch.folder), scratch.bytes)


def _over(used: int, allowed: int) -> str:
    return f"it takes more than {formatting.size(allowed)}, far more than its data" if used > allowed else ""


def _size(folder: Path) -> int:
    """Bytes of all files below; files come and go meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(parent, name), follow_symlinks=False).st_blocks * 512  # noqa: PTH116, PTH118
    return total
