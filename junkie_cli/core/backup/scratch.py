"""The scratch server in which a dump is verified, and the role that restores it.

A dump contains code: constraints, index expressions, triggers, casts, views. The owner of the source schema wrote it,
and it runs while the dump is restored and read. So it runs as a role that owns one new database and nothing else: not a
superuser, unable to run programs, to read or write the server's files, or to open connections. It has BYPASSRLS, so
that no policy hides rows from the comparison. The superuser creates that role, the database and the extensions that the
dump needs before anything is restored, and does not connect to the database afterwards, where settings, casts and
functions of the dump could run.

Limits of time and size stop code that never ends or fills the disk (`bounded`).
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

from junkie_cli.core import formatting
from junkie_cli.core.backup.manifest import Extension, Origin
from junkie_cli.core.backup.outside import Outside
from junkie_cli.core.backup.tools import Tools, choose, for_scratch, major_of
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import DatabaseError, JunkieError
from junkie_cli.core.postgres.connect import close_connection, open_connection
from junkie_cli.core.postgres.errors import translate_errors
from junkie_cli.core.schema.tables import quoted
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

    from junkie_cli.core.database_url import DatabaseUrl

# Nothing here needs to survive a crash: the server is temporary.
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "1GB",
    "maintenance_work_mem": "256MB",
    "autovacuum": "off",
    "log_min_messages": "fatal",  # restored code can RAISE LOG endlessly
}
# Frequently needed extensions that are not marked as trusted; they run no programs, read no files and open no
# connections. Other untrusted extensions are not created for verification.
_HARMLESS = frozenset({"autoinc", "bloom", "earthdistance", "insert_username", "moddatetime"})
_BARE = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION BYPASSRLS"
WHOLE_DATABASE = "--whole-database includes everything that the schema references"
_LEAST_SECONDS = 3600.0
_PACE = 5e6  # bytes per second; a slower restore counts as endless
_LEAST_BYTES = 2 << 30
_MEMORY = 4 << 30  # bytes of memory for each process of the scratch server
_KEPT_FREE = 256 << 20  # bytes to leave free on the disk
_LOOK, _LOOK_ELSEWHERE = 1.0, 5.0  # seconds between two checks of the space used


@frozen
class Needs:
    """What a server needs to restore a dump."""

    origin: Origin
    extensions: Sequence[Extension]
    collations: Sequence[str]
    roles: Sequence[str]
    outside: Outside

    @property
    def needed_extensions(self) -> tuple[Extension, ...]:
        """Return the extensions that the dump requires."""
        return tuple(extension for extension in self.extensions if extension.needed)


@frozen
class Scratch:
    """A server that can be written to freely, with the tools of its version; `url` is a maintenance database.

    `folder` contains the files of a server of ours; None for the server of --verify-into. `makes_role` is False if the
    role of `url` cannot create roles and has no dangerous privilege itself. `seconds` and `bytes` limit one restore.
    """

    url: "DatabaseUrl"
    version: str
    tools: Tools
    seconds: float
    bytes: int
    folder: Path | None = None
    makes_role: bool = True


class Unprovable(Exception):
    """Raised if no scratch server can restore the dump; `reason` reads after "because", `hint` is the next step."""

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
    """Start a scratch server for a dump made by pg_dump of major version `dumped_with`, for the duration of the block.

    `into` is another server to use; `room` is the number of bytes needed, in the temporary folders or in `fallback`;
    `seconds` limits a restore and its comparison (default: depends on `room`). Raises Unprovable.
    """
    if needs.outside.obstacles:
        raise Unprovable(f"it cannot be restored on its own: {'; '.join(needs.outside.obstacles)}", WHOLE_DATABASE)
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
    server = ScratchServer(folder, settings=settings, memory=_MEMORY, bin_dir=chosen.folder)
    try:
        await _start(server)
        yield await _fitting(Scratch(server.url, chosen.version, chosen, allowed, limit, server.folder), needs)
    finally:
        server.stop()


async def _start(server: ScratchServer) -> None:
    try:
        await asyncio.to_thread(server.start)
    except DatabaseError as error:
        raise Unprovable(f"no scratch server can be started here: {error.message}") from error


def folder_with(room: int, fallback: Path) -> Path:
    """Return the first folder with enough space for the scratch server. Raises Unprovable if there is none."""
    named = os.environ.get("TMPDIR")
    folders = [Path(folder) for folder in ([named] if named else []) + ["/var/tmp", "/tmp"]]  # noqa: S108
    folders.append(fallback)
    for folder in folders:
        if os.access(folder, os.W_OK | os.X_OK) and shutil.disk_usage(folder).free > room + _KEPT_FREE:
            return folder
    raise Unprovable(
        f"there is not enough space for it ({formatting.size(room + _KEPT_FREE)} in {', '.join(map(str, folders))}):"
        " set TMPDIR to a larger folder"
    )


# --- the server of --verify-into --------------------------------------------------------------------------------------

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
            f"role {into.role} of --verify-into has privileges that code in the dump must not have (to create roles,"
            " subscriptions or replicas, or to use server files)",
            "use a superuser, who creates a role for it, or a role with only LOGIN, CREATEDB and BYPASSRLS",
        )
    tools = await choose(newer_than_dump, version, into)
    return Scratch(into, version, tools, seconds, limit, None, bool(rights["super"]))


async def _fitting(scratch: Scratch, needs: Needs) -> Scratch:
    """Return the server. Raises Unprovable if it lacks what the dump needs."""
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
            f"extension {', '.join(unsafe)} is not marked as trusted in PostgreSQL, so verification does not create it"
        )
    if reasons:
        raise Unprovable(" and ".join(reasons), "use a server that has it: --verify-into URL" if missing else "")
    return scratch


# --- one database -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def fresh_database(scratch: Scratch, needs: Needs) -> "AsyncIterator[DatabaseUrl]":
    """Create a database with what the dump needs, and an owner without other privileges; drop both afterwards.

    Schemas of `present_schemas` exist already. Raises Unprovable if it cannot be created.
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
    """Convert an error of the scratch server to Unprovable."""
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
        for role in needs.roles:  # named by row security policies; without privileges
            if role not in there:
                await connection.execute(f"CREATE ROLE {quoted(role)} NOLOGIN")
                made.append(role)  # only now: a role created by others in the meantime must not be dropped
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
    """Create referenced objects of other schemas as the owner, repeating until all dependencies are resolved."""
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
                    f"objects of other schemas cannot be created for it: {next(iter(refused.values()))}", WHOLE_DATABASE
                )
            waiting = list(refused)


def present_schemas(needs: Needs) -> set[str]:
    """Return schemas that exist before the restore: those of its extensions, and `public`."""
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
    """Stop the block if it exceeds the limits of time or space. Raises Unprovable then."""
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
            "code in the dump possibly never ends (constraints, index expressions, triggers); if the machine is slow,"
            " allow more time: --verify-timeout",
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
    """Return the bytes of all files below `folder`, which can change in the meantime."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(parent, name), follow_symlinks=False).st_blocks * 512  # noqa: PTH116, PTH118
    return total
