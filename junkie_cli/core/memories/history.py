"""What changed, and taking it back. The history is written by `core/memories/change_log.py` beside each change.

A batch is what one command or one extraction changed. Undoing a batch writes its own batch, which can be undone too.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from junkie_cli.core.actor import Actor
from junkie_cli.core.database import connect
from junkie_cli.core.errors import DatabaseError, NotFoundError, ResultWarning
from junkie_cli.core.foreign_values import as_text, objects
from junkie_cli.core.formatting import plural
from junkie_cli.core.memories import batches, change_log
from junkie_cli.core.memories.batch_rows import UndoneRows, undo_rows
from junkie_cli.core.memories.batches import Batch
from junkie_cli.core.postgres import paging
from junkie_cli.core.postgres.locks import LOCK_MOVING
from junkie_cli.core.postgres.paging import Position
from junkie_cli.core.postgres.sql import Where, count_of, require_all_changed
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.schema import own_tables, row_security
from junkie_cli.core.schema import tables as schema
from junkie_cli.core.schema.registry import CASCADES, HISTORY, Feature
from junkie_cli.core.schema.tables import MEMORIES, SchemaState, as_agno_stores, literal, plain_json, quoted
from junkie_cli.core.settings import Settings
from junkie_cli.core.value_class import field, frozen

if TYPE_CHECKING:
    import asyncpg

# A memory of which only the time changed counts as unchanged.
_NOT_CONTENT = frozenset({"memory_id", "updated_at"})
_SHOWN_CONFLICTS = 100


@frozen
class Change:
    """One recorded change; `before` and `after` are full rows as stored, None if there was or is no row.

    `by` is `junkie`, `team` or `other` (another program, seen by the trigger). `at` is UTC. `actor` is who made the
    change, None where that was not recorded.
    """

    batch: str
    at: datetime
    by: Literal["junkie", "team", "other"]
    action: Literal["added", "updated", "deleted"]
    memory_id: str
    user_id: str | None
    before: Mapping[str, Any] | None
    """the whole row, as stored"""
    after: Mapping[str, Any] | None
    actor: Actor | None = None
    """who made the change; null: not recorded, as for other programs"""


@frozen
class HistoryPage:
    """Changes, newest first, and the cursor of the page after; `kept` is False where no history is kept at all.

    The last `late` of them were made after the first page was read.
    """

    changes: tuple[Change, ...]
    next: str | None
    kept: bool
    late: int = 0
    warnings: tuple[ResultWarning, ...] = ()


@frozen
class Conflict:
    """A memory that was changed again since: its text `now`, and the text that undo would have restored (`then`)."""

    memory_id: str
    now: str | None
    """its text; null: it does not exist"""
    then: str | None
    """the text that undo would have restored; null: undo would have deleted it"""


@frozen
class Undone:
    """What an undo did: how many memories are as before, those it refused (the first hundred), and its own batch.

    `restored`, `removed` and `reverted` are the parts of `undone`; `already` counts those that were as before anyway.
    `change` is the batch that was undone, `batch` the one that undoes the undo (None: nothing was changed). `lost`
    counts rows of other tables, by table, that foreign keys deleted with the memories of the batch: they cannot be
    restored. `cascaded` counts those that went now, with memories which the undo deleted. `rows` are rows of other
    tables than memories that the batch had changed too, and what became of them.
    """

    restored: int
    removed: int
    reverted: int
    already: int
    conflicts: tuple[Conflict, ...]
    conflict_count: int
    change: Batch
    batch: str | None
    lost: Mapping[str, int] = field(default_factory=dict)
    cascaded: Mapping[str, int] = field(default_factory=dict)
    rows: UndoneRows = field(default_factory=UndoneRows)

    @property
    def undone(self) -> int:
        """How many memories were changed back."""
        return self.restored + self.removed + self.reverted


def text_in(row: Mapping[str, Any] | None) -> str | None:
    """The memory's text in a stored row."""
    return None if row is None else as_text(row.get("memory"))


async def list_history(
    settings: Settings,
    memory_id: str | None = None,
    user_id: str | None = None,
    *,
    limit: int = 50,
    after: str | None = None,
) -> HistoryPage:
    """One page of the changes of memories: all, of one memory, of one user ("": of nobody); then those made since."""
    async with connect(settings, read_only=True) as connection, connection.transaction():
        state = await schema.inspect(connection, settings.layout)
        if not state.has(HISTORY):
            return HistoryPage((), None, kept=False)

        async def rows(place: Position, count: int) -> list[Any]:
            where = paging.written(Where().owned_by("h.user_id", user_id), place, "h")
            if memory_id is not None:
                where.add("h.memory_id = {}", memory_id)
            if place.key:
                where.add("h.change_id < {}", *place.key)
            query = (
                "SELECT change_id, batch::text AS batch, at, by, action, memory_id, user_id, before::text AS before,"
                f" after::text AS after, {batches.actor_sql(state, 'h.batch')} AS actor"
                f" FROM {state.qualified(HISTORY)} h WHERE {where.sql}"
                f" ORDER BY change_id DESC LIMIT {where.argument(count)}"
            )
            return list(await connection.fetch(query, *where.arguments))

        found = await paging.page(connection, after, (int,), limit, rows, lambda row: [row["change_id"]])
    warnings = row_security.warnings(state, HISTORY)
    changes = tuple(_change(row) for row in found.rows)
    return HistoryPage(changes, found.next, kept=True, late=found.late, warnings=warnings)


def _stored(row: str | None) -> dict[str, Any] | None:
    return None if row is None else objects(row)


def _change(row: Mapping[str, Any]) -> Change:
    before, after = _stored(row["before"]), _stored(row["after"])
    made = row["batch"], row["at"], row["by"], row["action"]
    return Change(*made, row["memory_id"], row["user_id"], before, after, batches.actor_of(row["actor"]))


# --- undo -------------------------------------------------------------------------------------------------------------


async def preview_undo(settings: Settings) -> Batch:
    """The newest change of ours that was not undone yet: what `undo` with its batch would undo.

    Raises NotFoundError when there is nothing to undo.
    """
    async with connect(settings) as connection:
        state = await own_tables.prepare(connection, settings.layout)
        _require_history(state)
        async with connection.transaction():
            return await batches.summary(connection, state, await batches.newest_not_undone(connection, state))


async def undo(settings: Settings, batch: str | None = None, *, progress: Progress = SILENT) -> Undone:
    """Undo a batch: the named one, or the newest change of ours, which is undone once.

    Each memory and each row of another table in the batch returns to its earlier state; one that was changed again
    is left as it is and reported. One transaction; concurrent undos run one after the other. Raises NotFoundError if
    there is nothing to undo or it was undone already, UsageError for a malformed batch, LockedError if another program
    stored the same memories.
    """
    async with connect(settings) as connection:
        state = await own_tables.prepare(connection, settings.layout)
        _require_history(state)
        with change_log.refusing_rows_that_are_there():
            # After waiting for another each statement has to see what that one committed.
            async with connection.transaction(isolation="read_committed"):
                progress.step("waiting for other writers of memories")
                await connection.execute(LOCK_MOVING, state.schema)
                await change_log.hold_off_erasures(connection, state)
                change = await batches.summary(
                    connection, state, await batches.newest(connection, state) if batch is None else batch
                )
                return await _undo(connection, state, change, settings.history_days, progress)


def _require_history(state: SchemaState) -> None:
    if not state.keeps(Feature.HISTORY):
        raise NotFoundError(
            "no history is kept here, so nothing can be undone", hint="to find the cause: junkie doctor"
        )
    row_security.require_all_rows(state, *row_security.CHANGED_WITH_MEMORIES)


# First and last state of each memory in the batch, in one pass: history that was just written has no statistics yet,
# and a join of two such passes was planned as a nested loop (27,000 memories: nine minutes).
_NET = """
SELECT * FROM (
  SELECT DISTINCT ON ({key}) memory_id, user_id, first_value(before) OVER w AS before,
    last_value(after) OVER w AS after
  FROM {history} WHERE batch = $1::text::uuid WINDOW w AS
    (PARTITION BY {key} ORDER BY change_id ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)) net
WHERE before IS NOT NULL OR after IS NOT NULL
"""


_SAME_MEMORY = "m.memory_id = u.memory_id AND coalesce(m.user_id, '') = coalesce(u.user_id, '')"


async def _undo(
    connection: "asyncpg.Connection[Any]", state: SchemaState, change: Batch, keep_days: int, progress: Progress
) -> Undone:
    progress.step("reading what was changed")
    await change_log.mark_writer(connection, "junkie")
    await _compare(connection, state, change.batch, progress)
    new_batch = str(uuid4())
    lost = await _lost(connection, state, change.batch)
    made = await connection.fetch(
        f"WITH made AS (INSERT INTO {state.qualified(HISTORY)}"
        " (batch, by, action, memory_id, user_id, before, after, undo_of)"
        " SELECT $1::text::uuid, 'junkie', CASE WHEN now IS NULL THEN 'added' WHEN before IS NULL THEN 'deleted'"
        " ELSE 'updated' END, memory_id, user_id, now, before, $2::text::uuid FROM pg_temp.junkie_undo WHERE unchanged"
        " AND (now IS NOT NULL OR before IS NOT NULL) RETURNING action)"
        " SELECT action, count(*) AS count FROM made GROUP BY 1",
        new_batch,
        change.batch,
    )
    counts = {row["action"]: row["count"] for row in made}
    added = "m.memory_id IN (SELECT memory_id FROM pg_temp.junkie_undo WHERE unchanged AND before IS NULL)"
    cascaded = await change_log.cascades(connection, state, added, []) if "deleted" in counts else {}
    progress.step(f"putting back {plural(sum(counts.values()), 'memory', 'memories')}")
    require_all_changed(await _put_back(connection, state), sum(counts.values()))
    rows = await undo_rows(connection, state, change.batch, new_batch)
    await change_log.record_cascades(connection, state, new_batch, cascaded)
    own_batch = new_batch if counts or rows.undone else None
    await change_log.close_batch(connection, state, own_batch, max(keep_days, 1), undo_of=change.batch)
    already = await connection.fetchval("SELECT count(*) FROM pg_temp.junkie_undo WHERE already")
    conflicts, count = await _conflicts(connection)
    already += rows.already
    if already and not (own_batch or count or rows.conflicts):
        raise await batches.already_undone(connection, state, change.batch)
    restored, removed, reverted = (counts.get(action, 0) for action in ("added", "deleted", "updated"))
    return Undone(restored, removed, reverted, already, conflicts, count, change, own_batch, lost, cascaded, rows)


async def _lost(connection: "asyncpg.Connection[Any]", state: SchemaState, batch: str) -> dict[str, int]:
    """Rows of other tables that went with the memories of `batch`, by table."""
    if not state.may("SELECT", CASCADES):
        return {}
    rows = await connection.fetch(
        f"SELECT table_name, sum(rows)::bigint AS rows FROM {state.qualified(CASCADES)} WHERE batch = $1::text::uuid"
        " GROUP BY 1 ORDER BY 1",
        batch,
    )
    return {row["table_name"]: row["rows"] for row in rows}


async def _compare(connection: "asyncpg.Connection[Any]", state: SchemaState, batch: str, progress: Progress) -> None:
    """Fill `junkie_undo`: each memory of the batch before and after it, and now; `unchanged` since is what may go back.

    `already` are those that were changed since to what they were before. A temporary table of this transaction, for
    the batch may hold every memory there is.
    """
    memories, columns = state.qualified(MEMORIES), state.table(MEMORIES).writable
    # Where ids are unique, a memory that has another owner now is in the way; elsewhere both may have the id.
    unique = state.has_unique_ids
    key, same = ("memory_id", "m.memory_id = u.memory_id") if unique else ("memory_id, user_id", _SAME_MEMORY)
    before, after = (plain_json(side) if "json" in columns.values() else side for side in ("before", "after"))
    changed = await connection.execute(
        f"CREATE TEMP TABLE junkie_undo ON COMMIT DROP AS SELECT memory_id, user_id, {before} AS before,"
        f" {after} AS after, NULL::json AS now, true AS unchanged, false AS already"
        f" FROM ({_NET.format(history=state.qualified(HISTORY), key=key)}) net",
        batch,
    )
    progress.step(f"comparing {plural(count_of(changed), 'memory', 'memories')} with what is there now")
    await connection.execute("ANALYZE pg_temp.junkie_undo")
    await connection.execute(
        f"WITH m AS MATERIALIZED (SELECT m.* FROM {memories} m JOIN pg_temp.junkie_undo u ON {same}"
        " FOR UPDATE OF m) UPDATE pg_temp.junkie_undo u SET now = row_to_json(m),"
        f" unchanged = u.after IS NOT NULL AND {_same_content('u.after', columns)},"
        f" already = u.before IS NOT NULL AND {_same_content('u.before', columns)} FROM m"
        f" WHERE {same}"
    )
    await connection.execute(
        "UPDATE pg_temp.junkie_undo SET unchanged = false, already = before IS NULL"
        " WHERE now IS NULL AND after IS NOT NULL"
    )
    await connection.execute("UPDATE pg_temp.junkie_undo SET already = false WHERE already AND unchanged")


async def _put_back(connection: "asyncpg.Connection[Any]", state: SchemaState) -> int:
    """Restore each memory to its state before the batch; return how many were changed."""
    memories, columns = state.qualified(MEMORIES), state.table(MEMORIES).writable
    removed = await connection.execute(
        f"DELETE FROM {memories} m USING pg_temp.junkie_undo u WHERE u.unchanged AND u.now IS NOT NULL"
        f" AND u.before IS NULL AND {_SAME_MEMORY}"
    )
    # A json column's text is taken as it stands: a record would write its escapes in another way.
    raw = {name: f"coalesce(u.before -> {literal(name)}, 'null')" for name, kind in columns.items() if kind == "json"}
    values = as_agno_stores("r", columns) | raw
    stored = (
        "(SELECT memory_id, user_id, before, now FROM pg_temp.junkie_undo WHERE unchanged AND before IS NOT NULL) u,"
        f" json_populate_record(NULL::{memories}, u.before) r"
    )
    # Changed in place, not deleted and inserted: what other tables reference it is not touched.
    changed = ", ".join(f"{quoted(name)} = {value}" for name, value in values.items() if name != "memory_id")
    reverted = await connection.execute(
        f"UPDATE {memories} m SET {changed} FROM {stored} WHERE u.now IS NOT NULL AND {_SAME_MEMORY}"
    )
    # An identity is the row's own number, which something outside may have kept: it returns with the row.
    numbers = {name: f"r.{quoted(name)}" for name in state.table(MEMORIES).identities}
    inserted = values | numbers
    restored = await connection.execute(
        f"INSERT INTO {memories} ({', '.join(map(quoted, inserted))}) OVERRIDING SYSTEM VALUE"
        f" SELECT {', '.join(inserted.values())} FROM {stored} WHERE u.now IS NULL"
    )
    return count_of(removed) + count_of(reverted) + count_of(restored)


def _same_content(side: str, columns: Mapping[str, str]) -> str:
    """SQL: the row `m` equals `side`, for example `u.after`, in every column that both have."""
    stored = {
        name: plain_json(f"m.{quoted(name)}") if kind == "json" else f"to_json(m.{quoted(name)})"
        for name, kind in columns.items()
        if name not in _NOT_CONTENT
    }
    return " AND ".join(
        f"(({side} -> {literal(name)}) IS NULL OR ({side} -> {literal(name)})::text = coalesce({value}::text, 'null'))"
        for name, value in stored.items()
    )


async def _conflicts(connection: "asyncpg.Connection[Any]") -> tuple[tuple[Conflict, ...], int]:
    rows = await connection.fetch(
        "SELECT memory_id, now::text AS now, before::text AS before, count(*) OVER () AS total"
        f" FROM pg_temp.junkie_undo WHERE NOT unchanged AND NOT already ORDER BY memory_id LIMIT {_SHOWN_CONFLICTS}"
    )
    conflicts = tuple(
        Conflict(row["memory_id"], text_in(_stored(row["now"])), text_in(_stored(row["before"]))) for row in rows
    )
    return conflicts, rows[0]["total"] if rows else 0


# --- changes by other programs ----------------------------------------------------------------------------------------

_FUNCTION = "junkie_record_change"
_TRIGGER = "junkie_history"

# SECURITY DEFINER: the bot's role needs no right on our table. Whatever goes wrong here, its statement goes through.
_RECORD = """
CREATE OR REPLACE FUNCTION @schema.junkie_record_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
  BEGIN
    IF coalesce(current_setting('junkie.writer', true), '') <> '' THEN
      RETURN NULL;
    END IF;
    INSERT INTO @history (batch, by, action, memory_id, user_id, before, after)
    VALUES (md5(txid_current()::text || pg_catalog.statement_timestamp()::text)::uuid, 'other',
      CASE TG_OP WHEN 'INSERT' THEN 'added' WHEN 'UPDATE' THEN 'updated' ELSE 'deleted' END,
      CASE TG_OP WHEN 'DELETE' THEN OLD.memory_id ELSE NEW.memory_id END,
      CASE TG_OP WHEN 'DELETE' THEN OLD.user_id ELSE NEW.user_id END,
      CASE TG_OP WHEN 'INSERT' THEN NULL ELSE row_to_json(OLD) END,
      CASE TG_OP WHEN 'DELETE' THEN NULL ELSE row_to_json(NEW) END);
  EXCEPTION WHEN OTHERS THEN
    NULL;
  END;
  RETURN NULL;
END $body$;
REVOKE ALL ON FUNCTION @schema.junkie_record_change() FROM PUBLIC;
DROP TRIGGER IF EXISTS junkie_history ON @table;
CREATE TRIGGER junkie_history AFTER INSERT OR UPDATE OR DELETE ON @table
  FOR EACH ROW EXECUTE FUNCTION @schema.junkie_record_change();
"""


def _record(state: SchemaState) -> str:
    names = {
        "schema": quoted(state.schema),
        "table": state.qualified(MEMORIES),
        "history": state.qualified(HISTORY),
    }
    return re.sub(r"@(\w+)", lambda match: names[match[1]], _RECORD)


async def record_others(settings: Settings, *, on: bool) -> bool:
    """Record changes by other programs too, or stop it; returns whether it was so before.

    Raises DatabaseError when the table is missing or our tables cannot be made; the owner's rights are needed.
    """
    async with connect(settings) as connection:
        state = await own_tables.prepare(connection, settings.layout)
        if not state.has(MEMORIES):
            raise NotFoundError(
                f"the table {state.name(MEMORIES)} does not exist yet", hint="to create it: junkie chat"
            )
        if on and not state.keeps(Feature.HISTORY):
            raise DatabaseError(
                f"the junkie tables cannot be created in schema {state.schema}",
                hint=f"GRANT CREATE ON SCHEMA {state.schema} to this database user",
                code="database_rights",
            )
        async with connection.transaction():
            was_on = await records_others(connection, state)
            if on:
                await connection.execute(_record(state))
            else:
                await connection.execute(f"DROP TRIGGER IF EXISTS {_TRIGGER} ON {state.qualified(MEMORIES)}")
                await connection.execute(f"DROP FUNCTION IF EXISTS {state.qualified(_FUNCTION)}()")
        return was_on


async def records_others(connection: "asyncpg.Connection[Any]", state: SchemaState) -> bool:
    """Whether the trigger exists and is enabled."""
    found = await connection.fetchval(
        "SELECT 1 FROM pg_catalog.pg_trigger WHERE tgname = $1 AND tgrelid = $2::text::regclass AND tgenabled <> 'D'",
        _TRIGGER,
        state.qualified(MEMORIES),
    )
    return found is not None
