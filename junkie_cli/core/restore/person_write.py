"""Executes the plan for one person: one transaction, read back before the commit; it can be undone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from junkie_cli.core.errors import BackupError, DatabaseError
from junkie_cli.core.formatting import plural
from junkie_cli.core.memories import batch_rows, change_log
from junkie_cli.core.memories.batch_rows import RowChange
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.restore import erasures, safety
from junkie_cli.core.restore.person import ADD, CHANGE, Item, PersonPlan, old_runs_column
from junkie_cli.core.restore.rows import KEYS
from junkie_cli.core.restore.target import open_target
from junkie_cli.core.sanitize import quoted_id
from junkie_cli.core.schema import runs, stored_text
from junkie_cli.core.schema.own_tables import prepare
from junkie_cli.core.schema.registry import HISTORY
from junkie_cli.core.schema.tables import MEMORIES, RUNS, SESSIONS, SchemaState, inspect, quoted
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

    from junkie_cli.core.database import Database
    from junkie_cli.core.settings import Settings


@frozen
class PersonResult:
    """The result: (table, added, changed, left unchanged), the batch for undo (with agno 2's tables, of the memories
    alone), and the backup made before rows were overwritten.
    """

    plan: PersonPlan
    counts: tuple[tuple[str, int, int, int], ...]
    batch: str | None
    safety_backup: Path | None


async def carry_out(
    planned: PersonPlan,
    database: "Database",
    settings: "Settings",
    *,
    even_erased: bool = False,
    progress: Progress = SILENT,
) -> PersonResult:
    """Write the plan's rows in one transaction, after a backup when any row is overwritten.

    Raises BackupError, without changes, if the database changed since the plan was made, and ErasedError if the person
    was erased, unless `even_erased`.
    """
    kept = await safety.make(database, settings, planned.safety, progress) if _overwrites(planned) else None
    async with open_target(database) as (_, connection):
        state = await prepare(connection, settings.layout)
        began = await stored_text.database_time(connection)
        async with connection.transaction():
            if even_erased:
                await erasures.delete_tombstone(connection, state, planned.user_id)
            await change_log.lock_user(connection, state, planned.user_id, began=began if even_erased else None)
            await change_log.mark_writer(connection, "junkie")
            batch = str(uuid4()) if change_log.records_history(state, settings.history_days) else None
            written = []
            for item in planned.to_do():
                if item.role is RUNS and old_runs_column(state):
                    continue
                written.append(await _write(connection, state, planned.user_id, item, batch))
            if old_runs_column(state):
                await _append_runs(connection, state, planned)
            await _check(connection, state, planned)
            if batch:
                batch = await _close(connection, state, written, batch, settings.history_days)
    return PersonResult(planned, tuple(planned.counts()), batch, kept)


async def _close(
    connection: "asyncpg.Connection[Any]", state: SchemaState, written: Sequence[RowChange], batch: str, keep_days: int
) -> str | None:
    """Record the rows of sessions and runs next to the memories, and end the batch; None where it holds nothing.

    Where runs lie inside their sessions, these rows hold other people's words, too, and only memories can be undone.
    """
    others = [] if old_runs_column(state) else [row for row in written if row.table is not MEMORIES]
    recorded = await batch_rows.record_rows(connection, state, batch, others)
    if not any(row.table is MEMORIES for row in written) and not (others and recorded):
        return None
    await change_log.close_batch(connection, state, batch, keep_days)
    return batch


def _overwrites(planned: PersonPlan) -> bool:
    return any(item.action == CHANGE for item in planned.items)


async def check(
    planned: PersonPlan, database: "Database", settings: "Settings", *, progress: Progress = SILENT
) -> None:
    """Do the checks of `carry_out` that `plan` has not done; change nothing. Raises as `carry_out`."""
    async with open_target(database) as (_, connection):
        state = await inspect(connection, settings.layout)
    lacking = [
        f"{privilege} on {item.table}"
        for item in planned.to_do()
        if state.has(item.role) and not state.may(privilege := _PRIVILEGE[item.action], item.role)
    ]
    if lacking:
        raise DatabaseError(
            f"this role lacks privileges ({', '.join(dict.fromkeys(lacking))}, which restoring"
            f" {quoted_id(planned.user_id)} needs",
            hint="restore as the owner of the tables, or have the owner grant these privileges",
            code="database_rights",
        )
    if _overwrites(planned):
        await safety.check(database, settings, planned.safety, progress)


_PRIVILEGE = {ADD: "INSERT", CHANGE: "UPDATE"}


async def _write(
    connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str, item: Item, batch: str | None
) -> RowChange:
    table, key = state.qualified(item.role), KEYS[item.role]
    columns = await _columns_in(connection, state, item)
    names = ", ".join(quoted(name) for name in columns)
    values = f"SELECT {names} FROM json_populate_record(NULL::{table}, $1::text::json)"
    if item.action == ADD:
        sql = f"INSERT INTO {table} AS t ({names}) {values} ON CONFLICT DO NOTHING RETURNING row_to_json(t)::text"
        after = await connection.fetchval(sql, item.data)
        before = None
    else:
        sql = f"SELECT row_to_json(t)::text FROM {table} t WHERE {key} = $1 AND user_id = $2 FOR UPDATE"
        before = await connection.fetchval(sql, item.id, user_id)
        sql = (
            f"UPDATE {table} t SET ({names}) = ({values}) WHERE {key} = $2 AND user_id = $3"
            " RETURNING row_to_json(t)::text"
        )
        after = await connection.fetchval(sql, item.data, item.id, user_id)
    if after is None:
        raise _changed_meanwhile(item)
    if item.role is MEMORIES and batch:
        await _record(connection, state, user_id, item, batch, before, after)
    return RowChange(item.role, {key: item.id}, user_id, before, after)


async def _columns_in(connection: "asyncpg.Connection[Any]", state: SchemaState, item: Item) -> Sequence[str]:
    """Return the columns in the row; others get their defaults."""
    brought = await connection.fetch("SELECT json_object_keys($1::text::json)", item.data)
    known: Mapping[str, str] = state.table(item.role).writable
    return [row[0] for row in brought if row[0] in known]


async def _record(
    connection: "asyncpg.Connection[Any]",
    state: SchemaState,
    user_id: str,
    item: Item,
    batch: str,
    before: str | None,
    after: str,
) -> None:
    await connection.execute(
        f"INSERT INTO {state.qualified(HISTORY)} (batch, by, action, memory_id, user_id, before, after)"
        " VALUES ($1::text::uuid, 'junkie', $2, $3, $4, $5::text::json, $6::text::json)",
        batch,
        "added" if item.action == ADD else "updated",
        item.id,
        user_id,
        before,
        after,
    )


async def _append_runs(connection: "asyncpg.Connection[Any]", state: SchemaState, planned: PersonPlan) -> None:
    """Add runs to the arrays of their sessions (agno 2), in the order of time; existing runs stay unchanged."""
    kind = state.column_type(SESSIONS, "runs")
    by_session: dict[str, list[Item]] = {}
    for item in planned.to_do():
        if item.role is RUNS:
            by_session.setdefault(item.session_id, []).append(item)
    for session_id, items in by_session.items():
        element = state.safe_json("e.run", SESSIONS, "runs")
        done = await connection.execute(
            f"UPDATE {state.qualified(SESSIONS)} s SET runs = (SELECT {kind}_agg(e.run ORDER BY"
            f" ({element} ->> 'created_at')::numeric NULLS FIRST, e.part, e.position) FROM ("
            f"SELECT run, 1 AS part, position FROM {runs.elements(state, 's.runs')} UNION ALL"
            f" SELECT run, 2, position FROM {kind}_array_elements($2::text::{kind}) WITH ORDINALITY n(run, position)"
            ") e) WHERE s.session_id = $1",
            session_id,
            "[" + ", ".join(item.run_data for item in items) + "]",
        )
        if done != "UPDATE 1":
            raise _changed_meanwhile(items[0])


async def _check(connection: "asyncpg.Connection[Any]", state: SchemaState, planned: PersonPlan) -> None:
    """Read the rows back before success is reported."""
    for role in {item.role for item in planned.to_do()}:
        if role is RUNS and old_runs_column(state):
            continue
        wanted = [item.id for item in planned.to_do() if item.role is role]
        found = await connection.fetchval(
            f"SELECT count(*) FROM {state.qualified(role)} WHERE {KEYS[role]} = ANY($1::text[]) AND user_id = $2",
            wanted,
            planned.user_id,
        )
        if found != len(wanted):
            raise BackupError(
                f"of {plural(len(wanted), 'row', 'rows')} of {state.name(role)}, {found} could be read back; nothing"
                " was changed",
                hint="a trigger or a rule keeps them out: look at the table",
                code="restore_incomplete",
            )


def _changed_meanwhile(item: Item) -> BackupError:
    return BackupError(
        f"{item.table} {item.id} was changed by another program during planning; nothing was restored",
        hint="run the restore again",
        code="restore_conflict",
    )
