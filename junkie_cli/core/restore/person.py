"""Plans the restore of one person: compares the person's rows in a backup with those in the database.

The plan contains everything to be written, so that it can be shown; `person_write` executes it. No rows of others are
written: of a shared session only this person's runs are restored, and a session that must be created for them has no
summary.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from junkie_cli.core.backup import catalogue, names, proof, script, tools, trust
from junkie_cli.core.backup.dump import BackupOptions
from junkie_cli.core.backup.manifest import Manifest
from junkie_cli.core.backup.scratch import Unprovable, open_scratch
from junkie_cli.core.backup.tools import major_of
from junkie_cli.core.backup.verify import needs_of
from junkie_cli.core.errors import BackupError, NotFoundError
from junkie_cli.core.postgres.connect import close_connection, open_connection
from junkie_cli.core.postgres.errors import translate_errors
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.restore import erasures, rows, safety
from junkie_cli.core.restore.rows import Row, Sides, UserRun
from junkie_cli.core.restore.target import open_target
from junkie_cli.core.sanitize import quoted_id
from junkie_cli.core.schema import row_security
from junkie_cli.core.schema.tables import MEMORIES, RUNS, SESSIONS, SchemaState, inspect
from junkie_cli.core.table_layout import Layout, Role
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

    from junkie_cli.core.database import Database
    from junkie_cli.core.database_url import DatabaseUrl
    from junkie_cli.core.settings import Settings

ADD, CHANGE, LEAVE = "added", "changed", "left alone"
_EXPANSION = 12  # see verify


@frozen
class Item:
    """One row of the backup and the planned action. `data` is the row as JSON text, `session_id` that of a run.

    `table` is the name of the target table.
    """

    role: Role
    id: str
    action: str
    why: str
    data: str
    session_id: str = ""
    run_data: str = ""
    table: str = ""

    @property
    def text(self) -> str:
        """Return the text of a memory; empty for other rows."""
        if self.role is not MEMORIES:
            return ""
        memory = json.loads(self.data).get("memory")
        return memory if isinstance(memory, str) else json.dumps(memory)


@frozen
class PersonPlan:
    """The plan to restore `user_id`: memories first, then sessions, then runs.

    `safety` are the options of the backup made before rows are overwritten.
    """

    path: Path
    user_id: str
    label: str
    items: tuple[Item, ...]
    safety: BackupOptions

    def to_do(self) -> tuple[Item, ...]:
        """Return the items to write."""
        return tuple(item for item in self.items if item.action != LEAVE)

    def counts(self) -> list[tuple[str, int, int, int]]:
        """Return (table, added, changed, left unchanged) for each table."""
        tables = dict.fromkeys(item.table for item in self.items)
        count = Counter((item.table, item.action) for item in self.items)
        return [(table, count[table, ADD], count[table, CHANGE], count[table, LEAVE]) for table in tables]


async def plan(
    path: Path,
    user_id: str,
    database: "Database",
    settings: "Settings",
    *,
    replace_data: bool,
    even_erased: bool = False,
    pg_bin: Path | None = None,
    verify_into: "DatabaseUrl | None" = None,
    verify_timeout: float | None = None,
    wait_lock: float = 0,
    trust_owner: bool = False,
    progress: Progress = SILENT,
) -> PersonPlan:
    """Restore the backup into a scratch server and compare this person's rows with the database; change nothing.

    With `replace_data` the plan overwrites rows that differ. Raises BackupError if the file cannot be trusted or
    restored, if its generation does not fit, or if the person was erased, unless `even_erased`; NotFoundError if the
    backup contains no data of this person.
    """
    for doubt in trust.check(path, trust_owner=trust_owner):
        progress.warn(doubt)
    if not even_erased:
        await _refuse_erased(path, user_id, database, settings)
    entry = await catalogue.require_good(path, progress)
    manifest = entry.manifest
    assert manifest is not None
    available = await tools.discover(None, settings.pg_bin) + (await tools.discover(pg_bin) if pg_bin else [])
    needs = needs_of(manifest)
    dumped_with = major_of(manifest.pg_dump_version)
    try:
        async with open_scratch(
            available,
            needs,
            dumped_with=dumped_with,
            into=verify_into,
            room=_EXPANSION * manifest.bytes,
            fallback=settings.backup_dir,
            seconds=verify_timeout,
        ) as server:
            contents = await script.list_contents(path, server.tools, encoding=manifest.origin.encoding)
            names.check(contents, manifest)
            progress.step(f"restoring into a scratch PostgreSQL {server.version}")
            async with proof.restored(server, path, needs, manifest.tables, progress=progress) as copy:
                progress.step(f"comparing the data of {quoted_id(user_id)}")
                items = await _compare(copy, manifest, database, settings, user_id, replace_data)
    except Unprovable as unprovable:
        raise BackupError(
            f"restoring one person needs a copy on a scratch server, but {unprovable.reason}",
            hint=unprovable.hint or "use another server for the copy: --verify-into URL",
            code="backup_unprovable",
        ) from None
    if not items:
        raise NotFoundError(
            f"the backup contains no data of user {quoted_id(user_id)}", hint="try an older backup: junkie backup list"
        )
    options = safety.options_for(manifest, pg_bin=pg_bin, wait_lock=wait_lock, trust_owner=trust_owner)
    return PersonPlan(path, user_id, database.label, tuple(items), options)


async def _refuse_erased(path: Path, user_id: str, database: "Database", settings: "Settings") -> None:
    async with open_target(database) as (_, connection):
        state = await inspect(connection, settings.layout)
        row_security.require_all_rows(state, *row_security.CHANGED_WITH_MEMORIES, SESSIONS, RUNS)
        async with connection.transaction():
            await erasures.refuse_erased(connection, state, user_id, path, settings)


async def _compare(
    copy: "DatabaseUrl",
    manifest: Manifest,
    database: "Database",
    settings: "Settings",
    user_id: str,
    replace_data: bool,
) -> list[Item]:
    source = await open_connection(copy)
    try:
        with translate_errors(copy):
            async with open_target(database) as (_, target), source.transaction(), target.transaction():
                held = await inspect(source, _layout_of(manifest, settings))
                sides = Sides(held, await inspect(target, settings.layout))
                _check_generations(sides)
                return [
                    replace(item, table=sides.target.name(item.role))
                    async for item in _items(source, target, sides, user_id, replace_data)
                ]
    finally:
        await close_connection(source)


def _layout_of(manifest: Manifest, settings: "Settings") -> Layout:
    """Return the names of agno's tables in the backup; older manifests do not contain them, so use the settings."""
    origin = manifest.origin
    return Layout.of_document(origin.schema, origin.names) if origin.names else settings.layout.within(origin.schema)


def _check_generations(sides: Sides) -> None:
    source, target = sides.source, sides.target
    if target.generation == "none":
        raise BackupError(
            f"schema {target.schema} has no agno tables yet, so one person cannot be restored into it",
            hint="restore the complete backup, or create the tables: junkie chat",
            code="restore_generation",
        )
    if source.has(RUNS) and not target.has(RUNS) and target.has(SESSIONS):
        raise BackupError(
            f"the backup contains runs in the form of agno 3, but the database has tables of agno {target.generation}",
            hint="migrate the database first: junkie doctor --fix schema.version",
            code="restore_generation",
        )


async def _items(
    source: "asyncpg.Connection[Any]",
    target: "asyncpg.Connection[Any]",
    sides: Sides,
    user_id: str,
    replace_data: bool,
) -> AsyncIterator[Item]:
    if sides.source.has(MEMORIES) and sides.target.has(MEMORIES):
        found = await rows.of_user(source, sides, MEMORIES, user_id)
        there = await rows.by_id(target, sides, sides.target, MEMORIES, [row.id for row in found])
        for row in found:
            yield _judge(MEMORIES, row, there.get(row.id), user_id, replace_data)
    if sides.source.has(SESSIONS) and sides.target.has(SESSIONS):
        spoken = await rows.runs_of_user(source, sides.source, user_id)
        for item in await _sessions(source, target, sides, user_id, spoken, replace_data):
            yield item
        present = await rows.runs_by_id(target, sides.target, [run.id for run in spoken])
        for run in spoken:
            yield _judge_run(run, present.get(run.id), user_id, replace_data and sides.target.has(RUNS))


def _judge(role: Role, row: Row, there: Row | None, user_id: str, replace_data: bool) -> Item:
    if there is None:
        return Item(role, row.id, ADD, "missing", row.data)
    if there.owner != user_id:
        return Item(role, row.id, LEAVE, "now belongs to another user", row.data)
    if there.data == row.data:
        return Item(role, row.id, LEAVE, "identical", row.data)
    if replace_data:
        return Item(role, row.id, CHANGE, "replaced by the backup's version", row.data)
    return Item(role, row.id, LEAVE, "changed since; --replace uses the backup's version", row.data)


def _judge_run(run: UserRun, there: UserRun | None, user_id: str, replace_data: bool) -> Item:
    pair = None if there is None else Row(there.id, there.owner, there.data)
    judged = _judge(RUNS, Row(run.id, run.owner, run.data), pair, user_id, replace_data)
    return Item(RUNS, run.id, judged.action, judged.why, run.row, run.session_id, run.data)


async def _sessions(
    source: "asyncpg.Connection[Any]",
    target: "asyncpg.Connection[Any]",
    sides: Sides,
    user_id: str,
    spoken: Sequence[UserRun],
    replace_data: bool,
) -> list[Item]:
    own = await rows.of_user(source, sides, SESSIONS, user_id)
    ids = list(dict.fromkeys([row.id for row in own] + [run.session_id for run in spoken]))
    found = await rows.by_id(source, sides, sides.source, SESSIONS, ids)
    there = await rows.by_id(target, sides, sides.target, SESSIONS, ids)
    shared = await rows.shared_sessions(source, sides.source, user_id, ids)
    return list(_judged_sessions(ids, found, there, shared, user_id, replace_data))


def _judged_sessions(
    ids: Sequence[str],
    found: dict[str, Row],
    there: dict[str, Row],
    shared: set[str],
    user_id: str,
    replace_data: bool,
) -> Iterator[Item]:
    for session_id in ids:
        if session_id not in found:
            continue
        row = found[session_id]
        if session_id in there and (session_id in shared or row.owner != user_id):
            yield Item(SESSIONS, session_id, LEAVE, "shared: only runs are added", row.data)
            continue
        item = _judge(SESSIONS, row, there.get(session_id), user_id, replace_data)
        if item.action == ADD and (session_id in shared or row.owner != user_id):
            item = Item(SESSIONS, session_id, ADD, "shared: without summary and state", _bare(row.data, user_id))
        yield item


def _bare(data: str, user_id: str) -> str:
    """Return a shared session recreated for one person, without content of others."""
    row = json.loads(data)
    emptied = {name: None for name in ("summary", "session_data", "metadata") if name in row}
    return json.dumps(row | emptied | {"user_id": user_id})


def old_runs_column(state: SchemaState) -> bool:
    """Return whether this database keeps runs only in the column of the sessions, as agno 2 does."""
    return state.has_runs_column and not state.has(RUNS)
