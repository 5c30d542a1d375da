"""Restores a dump: pg_restore converts it to a script, psql runs it in one transaction with additional statements.

Every restore, including verification, uses this way, so that verification tests the real procedure. Compared with
letting pg_restore connect, a script has three advantages: other statements run in the same transaction, the `SET
transaction_timeout` that servers before 17 refuse can be removed, and COMMIT is sent only after pg_restore has read the
complete file without errors.

pg_restore puts its script between `\\restrict` and `\\unrestrict` with a random key, so that psql executes no
meta-commands hidden in rows, names or texts (`tools` accepts only such versions).
"""

import asyncio
import codecs
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from junkie_cli.core.backup import process
from junkie_cli.core.backup.tools import Tools
from junkie_cli.core.errors import BackupError
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    from junkie_cli.core.database_url import DatabaseUrl

REFUSED = "restore_refused"
"""The error code if the server refuses a statement of the script."""
_HEAD = 1 << 16  # bytes; the SET lines are at the beginning
_CHUNK = 1 << 17  # bytes; larger ones are no faster
_NEW_SETTING = re.compile(rb"^SET transaction_timeout = 0;\n", re.MULTILINE)
_RESTORE_OPTIONS = (
    "--no-owner",
    "--no-privileges",
    "--no-tablespaces",
    "--no-publications",
    "--no-subscriptions",
    "--no-security-labels",
)
# These messages quote values of rows after the colon.
_QUOTING = re.compile(r"((?:invalid|malformed|out of range|too long)[^:]*): .*")


@frozen
class Contents:
    """The table of contents of an archive, one line for each entry, as printed by `pg_restore --list`."""

    lines: tuple[str, ...]

    def holds_data_of(self, schema: str, table: str) -> bool:
        """Return whether the archive contains the rows of a table."""
        wanted = f" TABLE DATA {_one_line(schema)} {_one_line(table)} "
        return any(wanted in line for line in self.lines)

    def schema_entries(self, names: Iterable[str]) -> frozenset[str]:
        """Return the texts of the entries that create these schemas."""
        texts = [line.split(" ", 3)[-1] for line in self.lines]
        found = ([text for text in texts if text.startswith(f"SCHEMA - {_one_line(name)} ")] for name in names)
        return frozenset(
            min(matching, key=len) for matching in found if matching
        )  # an owner or a name can contain spaces

    def foreign_key_entries(self, schema: str, keys: Iterable[tuple[str, str]]) -> frozenset[str]:
        """Return the texts of the entries that create these foreign keys, given as (table, constraint)."""
        starts = tuple(
            f"FK CONSTRAINT {_one_line(schema)} {_one_line(table)} {_one_line(name)} " for table, name in keys
        )
        return frozenset(text for text in (line.split(" ", 3)[-1] for line in self.lines) if text.startswith(starts))

    def without(self, unwanted: Callable[[str], bool]) -> "Contents":
        """Return the entries without those for which `unwanted`, given the text after the numbers, is true."""
        return Contents(tuple(line for line in self.lines if not unwanted(line.split(" ", 3)[-1])))


def _one_line(name: str) -> str:
    return name.replace("\n", " ").replace("\r", " ")


def unwanted_extensions(keep: Sequence[str]) -> Callable[[str], bool]:
    """Return a filter for `Contents.without`: extensions that the dump does not need, and comments on extensions.

    Only the owner of an extension can comment on it, and an unneeded extension may not exist at the target.
    """

    def unwanted(entry: str) -> bool:
        if entry.startswith("COMMENT - EXTENSION "):
            return True
        return entry.startswith("EXTENSION - ") and entry.removeprefix("EXTENSION - ").strip() not in keep

    return unwanted


async def list_contents(archive: Path, tools: Tools, *, encoding: str) -> Contents:
    """Read the table of contents of an archive in PostgreSQL's `encoding`. Raises BackupError if it is unreadable."""
    listed = await process.run(
        [tools.pg_restore, "--list", archive], env=process.environment(), capture=True, watch=process.Watch(60)
    )
    if listed.exit_code != 0:
        raise BackupError(
            f"{archive} cannot be read by pg_restore of {tools}: {listed.words}",
            hint="use another backup, or newer tools: --pg-bin",
            code="backup_unreadable",
        )
    text = listed.stdout.decode(codec(encoding), "replace")
    return Contents(tuple(line for line in text.splitlines() if line and not line.startswith(";")))


def codec(encoding: str) -> str:
    """Return Python's name of an encoding; UTF-8 for unknown ones, which still reads ASCII names correctly."""
    name = encoding.replace("WIN", "cp").replace("KOI8", "koi8-")
    try:
        return codecs.lookup("utf-8" if encoding == "SQL_ASCII" else name).name
    except LookupError:
        return "utf-8"


async def apply(
    archive: Path,
    contents: Contents,
    *,
    tools: Tools,
    url: "DatabaseUrl",
    server_major: int,
    only_schema: str | None = None,
    before: str = "",
    after: str = "",
    lock: int | None = None,
    progress: Progress = SILENT,
) -> None:
    """Restore the entries of `contents` into `url`, between the statements `before` and `after`, in one transaction.

    `only_schema` restricts them to the objects of one schema, without the schema itself; `progress` gets the position
    in the file. Raises BackupError; the database is then unchanged.
    """
    with _unnamed() as listing:
        listing.write("".join(f"{line}\n" for line in contents.lines).encode())
        listing.seek(0)
        read = _reading(archive, listing.fileno(), tools, only_schema)
        async with (
            _pair(read, listing.fileno(), tools, url, lock) as (reader, writer),
            process.reading_told(reader.pid, archive, progress),
        ):
            await _pass_on(reader, writer, server_major, before, after)


def _unnamed() -> IO[bytes]:
    """Create an unnamed file, in memory if possible, because there may be no writable temporary folder."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("junkie-contents", os.MFD_CLOEXEC), "w+b")
    return tempfile.TemporaryFile()


def _reading(archive: Path, listing: int, tools: Tools, only_schema: str | None) -> list[str | Path]:
    chosen = [] if only_schema is None else ["-n", only_schema]  # a name, not a pattern as for pg_dump
    return [tools.pg_restore, *_RESTORE_OPTIONS, *chosen, "-L", f"/dev/fd/{listing}", "-f", "-", archive]


@asynccontextmanager
async def _pair(
    read: list[str | Path], listing: int, tools: Tools, url: "DatabaseUrl", lock: int | None
) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.subprocess.Process]]:
    write: list[str | Path] = [tools.psql, "-X", "-q", "-w", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=terse"]
    write += ["-f", "-", "-d", process.connection_option(url)]
    async with (
        process.start(read, env=process.environment(), stdout=process.PIPE, inherit=(listing, lock)) as reader,
        process.start(
            write,
            env=process.environment(url, PGCLIENTENCODING="UTF8"),
            stdin=process.PIPE,
            stdout=process.DEVNULL,
            inherit=(lock,),
        ) as writer,
    ):
        yield reader, writer


async def _pass_on(
    reader: asyncio.subprocess.Process,
    writer: asyncio.subprocess.Process,
    server_major: int,
    before: str,
    after: str,
) -> None:
    async with process.gathered(process.read_tail(reader.stderr), process.read_tail(writer.stderr)) as complaints:
        read_code, write_code = await _converse(reader, writer, server_major, before, after)
        said_reader, said_writer = await complaints
    if read_code:
        raise BackupError(
            f"pg_restore could not read the file: {process.Finished(read_code, b'', said_reader).words}",
            hint="it is damaged: use another backup",
            code="backup_damaged",
        )
    if write_code or read_code is None:
        raise _refusal(process.Finished(write_code, b"", said_writer))


async def _converse(
    reader: asyncio.subprocess.Process,
    writer: asyncio.subprocess.Process,
    server_major: int,
    before: str,
    after: str,
) -> tuple[int | None, int]:
    """Return the exit codes of pg_restore (None: psql ended first) and psql."""
    read_code: int | None = None
    with suppress(BrokenPipeError, ConnectionResetError):  # psql has ended early, and reports why
        await _send(writer, f"BEGIN;\nSET client_min_messages = warning;\n{before}".encode())
        await _copy_script(reader, writer, server_major)
        read_code = await reader.wait()
        if read_code == 0:
            await _send(writer, f"SET client_encoding = 'UTF8';\n{after}\nCOMMIT;\n".encode())
    assert writer.stdin is not None
    writer.stdin.close()
    write_code = await writer.wait()
    if read_code is None:
        process.kill(reader)
    return read_code, write_code


def _refusal(ended: process.Finished) -> BackupError:
    words = re.sub(r"psql:<stdin>:\d+: ", "", ended.words)
    words = _QUOTING.sub(r"\1", words)
    return BackupError(
        f"the restore was refused: {words}",
        hint="nothing was changed",
        code="backup_differs" if "junkie: " in words else REFUSED,
    )


async def _copy_script(
    reader: asyncio.subprocess.Process, writer: asyncio.subprocess.Process, server_major: int
) -> None:
    assert reader.stdout is not None
    head = b""
    while len(head) < _HEAD and (piece := await reader.stdout.read(_CHUNK)):
        head += piece
    if server_major < 17:
        head = _NEW_SETTING.sub(b"", head, count=1)
    await _send(writer, head)
    while piece := await reader.stdout.read(_CHUNK):
        await _send(writer, piece)


async def _send(writer: asyncio.subprocess.Process, piece: bytes) -> None:
    assert writer.stdin is not None
    writer.stdin.write(piece)
    await writer.stdin.drain()
