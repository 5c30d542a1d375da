"""Memories out, as JSON Lines: one row a line with every column as stored, streamed by COPY in flat memory.

COPY's CSV form with a quote and a delimiter that JSON never contains passes each line through as it is.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from junkie_cli.core.database import connect
from junkie_cli.core.errors import DatabaseError, ResultWarning
from junkie_cli.core.files import awaited_file
from junkie_cli.core.foreign_values import REPLACED, marked, objects
from junkie_cli.core.formatting import plural
from junkie_cli.core.memories.model import damage_of
from junkie_cli.core.postgres.sql import Where, count_of
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.schema import row_security, tables
from junkie_cli.core.schema.tables import MEMORIES, SchemaState
from junkie_cli.core.settings import Settings
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

UNQUOTED = {"format": "csv", "delimiter": "\x02", "quote": "\x01"}


@frozen
class Exported:
    """How many memories were written, and to which file (None: to the caller's stream)."""

    memories: int
    path: Path | None
    table_missing: str = ""
    warnings: tuple[ResultWarning, ...] = ()


async def export_memories(
    settings: Settings,
    user_id: str | None = None,
    *,
    path: Path | None = None,
    write: Callable[[bytes], Any] | None = None,
    progress: Progress = SILENT,
) -> Exported:
    """Write all memories, or one user's ("": nobody's): to `path` or, in pieces, to `write`.

    A regular file is complete or not there at all. `progress` gets lines written and the planner's guess of all.
    Raises FileError.
    """
    if path is not None:
        async with awaited_file(path) as file:
            return await _export(settings, user_id, path, file.write, progress)
    assert write is not None
    return await _export(settings, user_id, None, write, progress)


async def _export(
    settings: Settings,
    user_id: str | None,
    path: Path | None,
    write: Callable[[bytes], Any],
    progress: Progress,
) -> Exported:
    sink = _Sink(write)
    broken: list[str] = []
    try:
        async with connect(settings, read_only=True) as connection, connection.transaction():
            state = await tables.inspect(connection, settings.layout)
            if not state.has(MEMORIES):
                return Exported(0, path, table_missing=state.name(MEMORIES))
            row_security.require_all_rows(state, MEMORIES, undone="nothing was exported")
            where = Where().owned_by("m.user_id", user_id)
            query = f"SELECT {one_line('row_to_json(m)', state)} FROM {state.qualified(MEMORIES)} m WHERE {where.sql}"
            guess = max(int(state.table(MEMORIES).rows), 0) if user_id is None else 0
            progress.reach(0, guess)
            count = await _copy_lines(connection, query, where.arguments, sink, broken, progress)
    except Exception:
        if sink.failure:  # a full disk or a closed pipe also ends the connection, which is not what went wrong
            raise sink.failure from None
        raise
    return Exported(count, path, warnings=damage_of(broken))


class _Sink:
    """Where the lines go; remembers its own failure, which asyncpg answers by giving up the connection."""

    def __init__(self, write: Callable[[bytes], Any]) -> None:
        self.failure: Exception | None = None
        self._write = write

    def write(self, piece: bytes) -> None:
        try:
            self._write(piece)
        except Exception as error:
            self.failure = error
            raise


def one_line(document: str, state: SchemaState) -> str:
    """SQL of a JSON document as one line. json columns (agno 2.2) keep white space as written, newlines too."""
    if state.generation != "2.2":
        return document
    return f"translate({document}::text, E'\\n\\r', '  ')"


def _readable(piece: bytes, broken: list[str]) -> bytes:
    """Lines of a database without an encoding as UTF-8."""
    try:
        piece.decode()
    except UnicodeDecodeError:
        lines = [marked(line.decode("utf-8", "surrogateescape")) for line in piece.split(b"\n")]
        broken += [str(objects(line).get("memory_id")) for line in lines if REPLACED in line]
        return "\n".join(lines).encode()
    return piece


async def _copy_lines(
    connection: "asyncpg.Connection[Any]",
    query: str,
    arguments: list[Any],
    sink: _Sink,
    broken: list[str],
    progress: Progress,
) -> int:
    """Copy the lines that `query` selects to `sink`, and return how many there were, as the server counted them.

    Ids of memories in which bytes had to be replaced are added to `broken`.
    """
    done = 0

    async def take(piece: bytes) -> None:
        nonlocal done
        sink.write(_readable(piece, broken) if connection.reads_bytes else piece)
        done += piece.count(b"\n")
        progress.reach(done)

    status = await connection.copy_from_query(query, *arguments, output=take, **UNQUOTED)
    if count_of(status) != done:
        raise DatabaseError(
            f"the server sent {plural(done, 'line', 'lines')}, but counts {count_of(status)}", hint="try again"
        )
    return done
