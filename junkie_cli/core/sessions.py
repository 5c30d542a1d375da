"""Lists, reads and deletes sessions. Plain SQL through asyncpg."""

from collections.abc import Mapping
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from junkie_cli.core.database import connect
from junkie_cli.core.errors import ResultWarning
from junkie_cli.core.foreign_values import as_text, as_time, document, is_text, scaled
from junkie_cli.core.formatting import plural
from junkie_cli.core.memories.model import replaced_in
from junkie_cli.core.postgres import paging
from junkie_cli.core.postgres.paging import Position
from junkie_cli.core.postgres.sql import Where, count_of, require_all_changed
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.sanitize import quoted_id
from junkie_cli.core.schema import foreign_keys, own_tables, registry, row_security, runs, spellings, tables
from junkie_cli.core.schema.foreign_keys import Going
from junkie_cli.core.schema.tables import RUNS, SESSIONS, SchemaState
from junkie_cli.core.settings import Settings
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

# Roles of messages to show, without system prompts.
_SHOWN_ROLES = frozenset({"user", "assistant", "tool"})


@frozen
class Session:
    """A session: `users` are its speakers and its owner, `runs` counts its stored runs, including those of team
    members. Times are UTC.
    """

    session_id: str
    name: str | None
    users: tuple[str, ...]
    runs: int
    created_at: datetime | None
    updated_at: datetime | None


@frozen
class SessionPage:
    """Sessions, latest first; `next` is the cursor of the next page, None on the last.

    The last `late` of them were written after the first page was read.
    """

    sessions: tuple[Session, ...]
    next: str | None
    late: int = 0
    table_missing: str = ""
    warnings: tuple[ResultWarning, ...] = ()


@frozen
class Message:
    """A message. Content other than text, for example images, is JSON."""

    role: str
    content: str


@frozen
class Run:
    """A turn of a session: `user_id` is the speaker; `status` is agno's (COMPLETED, CANCELLED, RUNNING, ...)."""

    run_id: str
    user_id: str | None
    status: str | None
    at: datetime | None
    messages: tuple[Message, ...]


@frozen
class SessionRuns:
    """The runs of a session, oldest first."""

    runs: tuple[Run, ...]
    warnings: tuple[ResultWarning, ...] = ()


@frozen
class SessionDeleted:
    """The result of a deletion, or of its dry run: rows by table (`agent_sessions.runs`: runs in agno 2's column).

    `users` are its speakers, and others whose rows foreign keys delete with it.
    """

    session_id: str
    users: tuple[str, ...]
    deleted: Mapping[str, int]
    remaining: int


async def list_sessions(
    settings: Settings,
    user_id: str | None = None,
    *,
    limit: int = 50,
    after: str | None = None,
    progress: Progress = SILENT,
) -> SessionPage:
    """Return one page of sessions: all, or those that a user owns or spoke in ("": nobody); sessions written since the
    first page come last. Raises UsageError for an invalid cursor.
    """
    async with connect(settings, read_only=True) as connection, connection.transaction():
        state = await tables.inspect(connection, settings.layout)
        if not state.has(SESSIONS):
            return SessionPage((), None, table_missing=state.name(SESSIONS))

        async def rows(place: Position, count: int) -> list[Any]:
            progress.step(f"searching {_about(state)}{' for recent changes' if place.since else ''}")
            return await _rows(connection, state, user_id, place, count)

        found = await paging.page(connection, after, (int, str), limit, rows, itemgetter("at", "session_id"))
        progress.step(f"counting speakers of {plural(len(found.rows), 'session', 'sessions')}")
        spoken = await _spoken(connection, state, [row["session_id"] for row in found.rows])
        spelled = await spellings.spelling_warnings(connection, state, user_id)
    listed = tuple(_session(row, *spoken.get(row["session_id"], ([], 0))) for row in found.rows)
    warnings = row_security.warnings(state, SESSIONS, RUNS) + spelled
    return SessionPage(listed, found.next, found.late, warnings=warnings)


def _about(state: SchemaState) -> str:
    rows = int(state.table(SESSIONS).rows)
    return f"about {plural(rows, 'session', 'sessions')}" if rows > 0 else "all sessions"


async def _rows(
    connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str | None, place: Position, count: int
) -> list[Any]:
    at = f"coalesce({scaled('s.updated_at')}, {scaled('s.created_at')}, 0)"
    where = paging.written(Where(), place, "s")
    if place.key:
        where.add(f"({at}, s.session_id) < ({{}}, {{}})", *place.key)
    if user_id is not None:
        where.add(_of_user(state, where, user_id))
    name = f"{state.safe_json('s.session_data', SESSIONS, 'session_data')} ->> 'session_name'"
    # Names are extracted only from the rows of the page, not from all sorted rows.
    return list(
        await connection.fetch(
            f"SELECT s.session_id, {name} AS name, s.user_id, s.created_at, s.updated_at, s.at"
            " FROM (SELECT s.session_id, s.session_data, s.user_id, s.created_at, s.updated_at,"
            f" {at} AS at FROM {state.versioned(SESSIONS)} s WHERE {where.sql}"
            f" ORDER BY {at} DESC, s.session_id DESC LIMIT {where.argument(count)}) s"
            " ORDER BY s.at DESC, s.session_id DESC",
            *where.arguments,
        )
    )


def _of_user(state: SchemaState, where: Where, user_id: str) -> str:
    owned, spoke = (Where(*where.arguments).owned_by(column, user_id) for column in ("o.user_id", "r.user_id"))
    where.arguments[:] = owned.arguments
    return (
        f"s.session_id IN (SELECT o.session_id FROM {state.qualified(SESSIONS)} o WHERE {owned.sql}"
        f" UNION SELECT r.session_id FROM {runs.table(state)} r WHERE {spoke.sql})"
    )


async def _spoken(
    connection: "asyncpg.Connection[Any]", state: SchemaState, ids: list[str]
) -> dict[str, tuple[list[str], int]]:
    """Return speakers and run counts of these sessions; read only their runs."""
    table = runs.table(state, sessions="s.session_id = ANY($1::text[])")
    rows = await connection.fetch(
        "SELECT session_id, array_agg(DISTINCT user_id::text) FILTER (WHERE user_id <> '') AS users,"
        f" count(*) AS runs FROM {table} r GROUP BY session_id",
        ids,
    )
    return {row["session_id"]: (row["users"] or [], row["runs"]) for row in rows}


def _session(row: Mapping[str, Any], speakers: list[str], count: int) -> Session:
    users = tuple(sorted({*speakers, *([row["user_id"]] if row["user_id"] else [])}))
    return Session(row["session_id"], row["name"], users, count, as_time(row["created_at"]), as_time(row["updated_at"]))


async def get_runs(settings: Settings, session_id: str) -> SessionRuns:
    """Read the runs of a session, oldest first; runs of members are part of their turn. Raises NotFoundError."""
    async with connect(settings, read_only=True) as connection, connection.transaction():
        state = await tables.inspect(connection, settings.layout)
        await _require(connection, state, session_id)
        table = runs.table(state, data=True, sessions="s.session_id = $1::text")
        rows = await connection.fetch(
            f"SELECT run_id, user_id, status, created_at, data FROM {table} r WHERE parent_run_id IS NULL"
            f" ORDER BY {scaled('created_at')} NULLS FIRST, position",
            session_id,
        )
    said = tuple(
        Run(row["run_id"], row["user_id"], row["status"], as_time(row["created_at"]), _messages(document(row["data"])))
        for row in rows
    )
    # Only a database without an encoding holds bytes that cannot be read, which it gives as half characters.
    damaged = [row["run_id"] for row in rows if connection.reads_bytes and not is_text(row["data"] or "")]
    warnings = (*row_security.warnings(state, SESSIONS, RUNS), *replaced_in(damaged, "run", "runs"))
    return SessionRuns(said, warnings)


async def _require(connection: "asyncpg.Connection[Any]", state: SchemaState, session_id: str) -> None:
    found = None
    if state.has(SESSIONS):
        query = f"SELECT 1 FROM {state.qualified(SESSIONS)} WHERE session_id = $1"
        found = await connection.fetchval(query, session_id)
    if found is None:
        raise row_security.not_found(
            state, SESSIONS, f"no session {quoted_id(session_id)}", hint="to list sessions: junkie sessions list"
        )


def _messages(run: Any) -> tuple[Message, ...]:
    """Return the messages of a stored run, without system prompts and messages repeated from earlier runs."""
    stored = run.get("messages") if isinstance(run, dict) else None
    own = [
        Message(message["role"], as_text(message.get("content")))
        for message in (stored if isinstance(stored, list) else [])
        if isinstance(message, dict) and _is_shown(message.get("role")) and not message.get("from_history")
    ]
    if own or not isinstance(run, dict):
        return tuple(own)
    given = run.get("input")
    asked = given.get("input_content") if isinstance(given, dict) else None
    sides = (("user", asked), ("assistant", run.get("content")))
    return tuple(Message(role, as_text(content)) for role, content in sides if content is not None)


def _is_shown(role: Any) -> bool:
    return isinstance(role, str) and role in _SHOWN_ROLES


async def delete_session(
    settings: Settings, session_id: str, *, dry_run: bool = False, progress: Progress = SILENT
) -> SessionDeleted:
    """Delete a session with all its runs and pending extractions, without undo; memories stay.

    With `dry_run` everything is done, counted and rolled back. `remaining` is counted after the commit: rows that
    another program wrote in the meantime. Raises NotFoundError.
    """
    async with connect(settings) as connection:
        state = await tables.inspect(connection, settings.layout)
        state.require_tables(SESSIONS, RUNS)
        await own_tables.require_writer(connection, state)
        row_security.require_all_rows(state, SESSIONS, *_dependent(state))
        transaction = connection.transaction()
        await transaction.start()
        try:
            await _require(connection, state, session_id)
            users, _ = (await _spoken(connection, state, [session_id])).get(session_id, ([], 0))
            deleted, others = await _delete(connection, state, session_id, progress)
        except BaseException:
            await transaction.rollback()
            raise
        await (transaction.rollback() if dry_run else transaction.commit())
        remaining = 0
        if not dry_run:
            async with connection.transaction():
                remaining = await _left(connection, state, session_id)
    counts = {name: count for name, count in deleted.items() if count}
    return SessionDeleted(session_id, tuple(sorted({*users, *others})), counts, remaining)


async def _delete(
    connection: "asyncpg.Connection[Any]", state: SchemaState, session_id: str, progress: Progress
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Delete rows; return counts by table, those deleted by foreign keys, and the owners of these."""
    progress.step("waiting for running writes")
    sessions = state.qualified(SESSIONS)
    await connection.execute(f"SELECT 1 FROM {sessions} WHERE session_id = $1 FOR UPDATE", session_id)
    deleted: dict[str, int] = {}
    if state.has_runs_column:
        elements = runs.elements(state, "s.runs")
        deleted[f"{state.name(SESSIONS)}.runs"] = await connection.fetchval(
            f"SELECT count(*) FROM {sessions} s, LATERAL {elements} WHERE s.session_id = $1", session_id
        )
    named = "t.session_id::text = $1::text"
    going = [Going((state.schema, table), named, [session_id], "NULL::text") for table in _dependent(state)]
    consequences = await foreign_keys.follow(connection, going)
    consequences.require_unblocked()
    for table in consequences.order:
        progress.step(f"{table[1]} ({plural(sum(deleted.values()), 'row', 'rows')} so far)")
        status = await connection.execute(f"DELETE FROM {foreign_keys.identifier(table)} t WHERE {named}", session_id)
        deleted[table[1]] = count_of(status)
    require_all_changed(deleted[state.name(SESSIONS)], 1)
    for name, count in consequences.counts(state.schema).items():
        deleted[name] = deleted.get(name, 0) + count
    return deleted, consequences.owners


def _dependent(state: SchemaState) -> list[str]:
    """List tables that name a session, runs first and sessions last, as foreign keys require."""
    rank = {state.name(RUNS): 0, state.name(SESSIONS): 2}
    entries = registry.by_name(state.layout)
    named = [name for name, table in state.tables.items() if registry.names_a_session(entries.get(name), table.columns)]
    return sorted(named, key=lambda name: (rank.get(name, 1), name))


async def _left(connection: "asyncpg.Connection[Any]", state: SchemaState, session_id: str) -> int:
    counts = [
        f"(SELECT count(*) FROM {state.qualified(table)} WHERE session_id::text = $1::text)"
        for table in _dependent(state)
    ]
    return int(await connection.fetchval(f"SELECT {' + '.join(counts)}", session_id))
