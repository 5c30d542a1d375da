"""Exports a person's data to one JSON Lines file: everything that erasing would delete.

Each line is `{"table": TABLE, "row": {...}}`; runs inside agno 2's column are lines of `agent_sessions.runs`. Of a
shared session only the parts about this person are exported.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from junkie_cli.core import prompt_history
from junkie_cli.core.database import connect
from junkie_cli.core.errors import ResultWarning, UsageError
from junkie_cli.core.files import awaited_file, converting_errors
from junkie_cli.core.foreign_values import is_text, marked, objects
from junkie_cli.core.memories.model import replaced_in
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.schema import foreign_keys, row_security, runs, spellings, tables
from junkie_cli.core.schema.foreign_keys import ForeignKey
from junkie_cli.core.schema.tables import MEMORIES, RUNS, SESSIONS, SchemaState
from junkie_cli.core.settings import Settings
from junkie_cli.core.table_layout import VARIABLES, Role
from junkie_cli.core.users import user_data
from junkie_cli.core.users.erase import PROMPT_HISTORY, SPOOL, spooled
from junkie_cli.core.users.session_tables import applications
from junkie_cli.core.users.user_data import OwnTable
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

_PREFETCH = 500


@frozen
class ExportedUser:
    """The result: path, and lines by table. `warnings`: what is missing in the file, or differs from the database."""

    user_id: str
    path: Path
    lines: Mapping[str, int]
    warnings: tuple[ResultWarning, ...] = ()


class _Lines:
    """Writes the lines, counts them by table, and remembers those in which bytes had to be replaced."""

    def __init__(self, file: BinaryIO, progress: Progress) -> None:
        self.counts: dict[str, int] = {}
        self.replaced: list[str] = []
        self._file, self._progress = file, progress

    def write(self, table: str, row: str) -> None:
        text = marked(row.replace("\n", " ").replace("\r", " "))  # raw line breaks occur only between JSON tokens
        if not is_text(row):
            self.replaced.append(f"{table} {_key(text)}".rstrip())
        self._file.write(f'{{"table": {json.dumps(table)}, "row": {text}}}\n'.encode())
        self.counts[table] = self.counts.get(table, 0) + 1
        self._progress.reach(sum(self.counts.values()))

    async def write_rows(self, connection: "asyncpg.Connection[Any]", table: str, query: str, user_id: str) -> None:
        async for row in connection.cursor(query, user_id, prefetch=_PREFETCH):
            self.write(table, row["row"])


async def export_user(
    settings: Settings,
    user_id: str,
    path: Path,
    *,
    progress: Progress = SILENT,
) -> ExportedUser:
    """Write all data of a person to `path` (`-`: stdout), in one snapshot. Raises UsageError, FileError."""
    if not user_id:
        raise UsageError("no user given", hint="to export memories without an owner: junkie memories export --no-owner")
    async with awaited_file(path) as file:
        lines = _Lines(file, progress)
        # Not from a replica, which can lag: the export must be complete.
        async with (
            connect(settings) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            state = await tables.inspect(connection, settings.layout)
            row_security.require_all_rows(state, *user_data.searched(state), undone="nothing was exported")
            await spellings.require_one_spelling(connection, state, user_id, undone="nothing was exported")
            for table, query in _queries(state, await foreign_keys.read(connection)):
                progress.step(f"exporting {table}")
                await lines.write_rows(connection, table, query, user_id)
            for waiting in await spooled(connection, state, user_id):
                with converting_errors(waiting):
                    lines.write(SPOOL, waiting.read_text(encoding="utf-8"))
        for line in _typed(user_id):
            lines.write(PROMPT_HISTORY, json.dumps({"line": line}))
    return ExportedUser(user_id, path, lines.counts, (*_of_views(state), *replaced_in(lines.replaced, "row", "rows")))


def _queries(state: SchemaState, keys: Iterable[ForeignKey]) -> Iterator[tuple[str, str]]:
    """Yield tables, with SQL for their rows as JSON text."""
    found = applications(state, keys)
    taken = {application.name(table) for application in found for table in (SESSIONS, RUNS)}
    for table in (*user_data.own_tables(state), *_view_of_memories(state)):
        if table.name not in taken:
            source = state.qualified(table.name)
            yield table.name, f"SELECT row_to_json(t)::text AS row FROM {source} t WHERE {table.condition}"
    for application in found:
        yield from _of_sessions(application)


def _view_of_memories(state: SchemaState) -> tuple[OwnTable, ...]:
    """The view that stands for the table of memories: the table behind it may be in another schema.

    What is in both is written twice, under both names; erasing refuses a view.
    """
    if not state.has(MEMORIES) or not state.table(MEMORIES).is_view:
        return ()
    view = state.table(MEMORIES)
    condition = user_data.is_user("user_id", view.columns["user_id"], loose=view.loose_owner)
    return (OwnTable(state.name(MEMORIES), condition),)


def _of_sessions(state: SchemaState) -> Iterator[tuple[str, str]]:
    """As `_queries`, for the sessions and runs of one application."""
    sessions, scope = state.qualified(SESSIONS), user_data.sessions(state)
    own = ("session_id", "user_id", "session_data", "summary")
    shared = ", ".join(f"s.{name}" for name in own if state.has_column(SESSIONS, name))
    yield (
        state.name(SESSIONS),
        f"SELECT row_to_json(s)::text AS row FROM {sessions} s JOIN {scope} c USING (session_id) WHERE NOT c.shared",
    )
    yield (
        state.name(SESSIONS),
        f"SELECT row_to_json(t)::text AS row FROM (SELECT {shared} FROM {sessions} s JOIN {scope} c USING (session_id)"
        " WHERE c.shared) t",
    )
    if state.has(RUNS):
        yield (
            state.name(RUNS),
            f"SELECT row_to_json(r)::text AS row FROM {state.qualified(RUNS)} r"
            f" WHERE r.run_id IN {user_data.own_runs(state, scope)}",
        )
    if state.has_runs_column:
        yield (
            user_data.old_runs(state),
            f"SELECT json_build_object('session_id', s.session_id, 'run', e.run)::text AS row FROM {sessions} s"
            f" JOIN {scope} c USING (session_id), LATERAL {runs.elements(state, 's.runs')}"
            f" WHERE c.shared AND {user_data.own_run(state)}",
        )


def _key(line: str) -> str:
    """The id of the row in a line, for people; empty where it has none."""
    ids = (f"{name} {value}" for name, value in objects(line).items() if name.endswith("_id") and name != "user_id")
    return next(ids, "")


def _of_views(state: SchemaState) -> tuple[ResultWarning, ...]:
    """A view decides itself what it shows: an export through one may lack rows of the table behind it."""
    views = [role for role in Role if state.has(role) and state.table(role).is_view]
    if not views:
        return ()
    names = ", ".join(f"{state.schema}.{state.name(role)}" for role in views)
    return (
        ResultWarning(
            "table_is_view",
            f"exported through a view: {names}; rows that it leaves out are not in the file",
            f"to export the table behind it, name it with {', '.join(VARIABLES[role] for role in views)}, and its"
            " schema with JUNKIE_SCHEMA",
        ),
    )


def _typed(user_id: str) -> list[str]:
    """Return the lines typed in chat on this machine."""
    path = prompt_history.history_file(user_id)
    with converting_errors(path):
        return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
