"""A person's data in one JSON Lines file: everything that erasing would delete, complete or not at all.

Each line is `{"table": TABLE, "row": {...}}`; runs inside agno 2's column are lines of `agent_sessions.runs`, and of
a session that others speak in too only what is about this person is written.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from junkie_cli.core import prompt_history
from junkie_cli.core.database import connect
from junkie_cli.core.errors import UsageError
from junkie_cli.core.files import awaited_file, told
from junkie_cli.core.progress import Tell, unheard
from junkie_cli.core.schema import foreign_keys, row_security, runs, tables, user_ids
from junkie_cli.core.schema.foreign_keys import ForeignKey
from junkie_cli.core.schema.tables import RUNS, SESSIONS, SchemaState
from junkie_cli.core.settings import Settings
from junkie_cli.core.users import user_data
from junkie_cli.core.users.erase import PROMPT_HISTORY, SPOOL, spooled
from junkie_cli.core.users.session_tables import applications
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

_PREFETCH = 500


@frozen
class ExportedUser:
    """What was written where: lines by table."""

    user_id: str
    path: Path
    lines: Mapping[str, int]


async def export_user(
    settings: Settings,
    user_id: str,
    path: Path,
    *,
    on_progress: Callable[[int], None] | None = None,
    on_step: Tell = unheard,
) -> ExportedUser:
    """Write everything of a person to `path` (`-`: stdout), in one snapshot. Raises UsageError, FileError."""
    if not user_id:
        raise UsageError("whose data?", hint="what belongs to nobody: junkie memories export --no-owner")
    async with awaited_file(path) as file:
        counts: dict[str, int] = {}
        # Not from a replica, which may lag: what is handed to a person is whole.
        async with (
            connect(settings) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            state = await tables.inspect(connection, settings.layout)
            row_security.require_all_rows(state, *user_data.searched(state), undone="nothing was exported")
            await user_ids.require_one_spelling(connection, state, user_id, undone="nothing was exported")
            for table, query in _queries(state, await foreign_keys.read(connection)):
                on_step(f"exporting {table}")
                await _write(connection, file, table, query, user_id, counts, on_progress)
            for waiting in await spooled(connection, state, user_id):
                with told(waiting):
                    _write_line(file, SPOOL, waiting.read_text(encoding="utf-8"), counts)
        for line in _typed(user_id):
            _write_line(file, PROMPT_HISTORY, json.dumps({"line": line}), counts)
    return ExportedUser(user_id, path, counts)


def _queries(state: SchemaState, keys: Iterable[ForeignKey]) -> Iterator[tuple[str, str]]:
    """Table and SQL of its rows as JSON text."""
    found = applications(state, keys)
    taken = {application.name(table) for application in found for table in (SESSIONS, RUNS)}
    for table in user_data.own_tables(state):
        if table.name not in taken:
            source = state.qualified(table.name)
            yield table.name, f"SELECT row_to_json(t)::text AS row FROM {source} t WHERE {table.condition}"
    for application in found:
        yield from _of_sessions(application)


def _of_sessions(state: SchemaState) -> Iterator[tuple[str, str]]:
    """As `_queries`, of one application's sessions and runs."""
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


async def _write(
    connection: "asyncpg.Connection[Any]",
    file: BinaryIO,
    table: str,
    query: str,
    user_id: str,
    counts: dict[str, int],
    on_progress: Callable[[int], None] | None,
) -> None:
    async for row in connection.cursor(query, user_id, prefetch=_PREFETCH):
        _write_line(file, table, row["row"], counts)
        if on_progress:
            on_progress(sum(counts.values()))


def _write_line(file: BinaryIO, table: str, row: str, counts: dict[str, int]) -> None:
    text = row.replace("\n", " ").replace("\r", " ")  # raw line ends stand between JSON's tokens only
    file.write(f'{{"table": {json.dumps(table)}, "row": {text}}}\n'.encode("utf-8", "replace"))
    counts[table] = counts.get(table, 0) + 1


def _typed(user_id: str) -> list[str]:
    """The lines typed in chat on this machine."""
    path = prompt_history.history_file(user_id)
    with told(path):
        return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
