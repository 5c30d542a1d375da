"""Erases a person: all of their data, in one transaction, verified by a count, without changing data of others.

Data flows: user id -> lock and tombstone (junkie's writers wait, then refuse) -> own rows of every table -> own runs ->
sessions without other speakers -> shared sessions, stripped and given to another speaker -> count -> list of erasures
-> commit -> count again.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from junkie_cli.core import prompt_history
from junkie_cli.core.database import connect
from junkie_cli.core.errors import DatabaseError, JunkieError, UsageError
from junkie_cli.core.files import converting_errors
from junkie_cli.core.formatting import plural
from junkie_cli.core.memories import change_log
from junkie_cli.core.memories.batches import delete_empty_batches
from junkie_cli.core.postgres.locks import LOCK_ALONE
from junkie_cli.core.postgres.sql import count_of, sha256_of
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.schema import foreign_keys, own_tables, row_security, runs, spellings, stored_text, user_ids
from junkie_cli.core.schema import tables as schema
from junkie_cli.core.schema.foreign_keys import Consequences, Going, label
from junkie_cli.core.schema.ledger import Earlier, Erasure, complete_ledger_file, last_erasure, read_ledger, user_hash
from junkie_cli.core.schema.registry import BATCHES, ERASURES, OWN_VERSIONS, TOMBSTONES, Feature
from junkie_cli.core.schema.tables import RUNS, SESSIONS, SchemaState
from junkie_cli.core.settings import Settings
from junkie_cli.core.table_layout import Layout
from junkie_cli.core.turns import spool
from junkie_cli.core.users import outside_schema, unsearchable, user_data
from junkie_cli.core.users.session_tables import SessionTables, applications
from junkie_cli.core.value_class import field as value_field
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

PROMPT_HISTORY = "prompt history"
SPOOL = "spool"


@frozen
class Erased:
    """The result of an erasure, or of its `dry_run`.

    `erased` counts rows by table (`agent_sessions.runs`: runs inside agno 2's column; `prompt history`: files).
    `remaining` is the count after the commit: rows that other programs wrote in the meantime. `elsewhere` counts rows
    outside the schema, which are also erased with `whole_database`. `references_cleared` counts rows of others that
    stay without their reference to deleted rows (ON DELETE SET NULL), by table. `problems` are sentences about failures
    after the commit. `erased_at` is None if nothing was found or done; `earlier` is then the previous erasure, if any.
    """

    user_id: str
    erased: Mapping[str, int]
    shared_sessions: int
    remaining: int
    elsewhere: Mapping[str, int]
    whole_database: bool
    unsearchable: tuple[str, ...]
    nearest: tuple[str, ...]
    server_version: str
    database: str
    erased_at: datetime | None
    dry_run: bool
    problems: tuple[str, ...] = ()
    references_cleared: Mapping[str, int] = value_field(default_factory=dict)
    earlier: Earlier | None = None

    @property
    def found(self) -> int:
        """Return the number of rows and files of this person."""
        return sum(self.erased.values()) + (sum(self.elsewhere.values()) if self.whole_database else 0)


@dataclass(slots=True)
class _Work:
    """A running erasure, in one transaction."""

    connection: "asyncpg.Connection[Any]"
    state: SchemaState
    user_id: str
    progress: Progress = SILENT
    outside: Sequence[Going] = ()
    others: list[SchemaState] = field(default_factory=list)
    erased: dict[str, int] = field(default_factory=dict)
    elsewhere: dict[str, int] = field(default_factory=dict)
    references: dict[str, int] = field(default_factory=dict)
    shared_sessions: int = 0

    def say(self, doing: str) -> None:
        """Report the current step and the number of rows so far."""
        self.progress.step(f"{doing} ({plural(sum(self.erased.values()), 'row', 'rows')} so far)")

    async def run(self) -> None:
        """Delete rows, strip shared sessions and give them to another speaker; keep the counts in this object.

        Counts what foreign keys would do before anything is deleted. Raises DatabaseError if they would delete rows of
        other people, or prevent the deletion.
        """
        await change_log.mark_writer(self.connection, "erase")
        keys = await foreign_keys.read(self.connection)
        sessions = [
            SessionTables(self.connection, application, self.user_id, place)
            for place, application in enumerate(
                application for state in (self.state, *self.others) for application in applications(state, keys)
            )
        ]
        self.say("finding sessions in which this person spoke")
        for each in sessions:
            await each.find()
        going = list(self._going(sessions))
        self.say("finding rows that reference deleted rows")
        consequences = await foreign_keys.follow(self.connection, going, keys)
        consequences.require_unblocked()
        consequences.require_own()
        for each in sessions:
            await each.strip_old_runs()
        await self._delete(going, consequences)
        self.say("updating shared sessions")
        for each in sessions:
            await each.pass_on()
            self.shared_sessions += each.shared
            for name, count in each.counts.items():
                self._add((each.state.schema, name), count)
            await each.drop()

    def _add(self, table: tuple[str, str], count: int) -> None:
        inside = table[0] == self.state.schema
        counts, name = (self.erased, table[1]) if inside else (self.elsewhere, label(table))
        counts[name] = counts.get(name, 0) + count

    async def _delete(self, going: Sequence[Going], consequences: Consequences) -> None:
        """Delete the rows, referencing ones first, and check that no others were deleted."""
        rows, planned = {each.table: each for each in going}, consequences.planned
        before = await foreign_keys.deleted(self.connection)
        for table in consequences.order:
            self.say(label(table))
            statement = f"DELETE FROM {rows[table].sql} WHERE {rows[table].condition}"
            done = count_of(await self.connection.execute(statement, *rows[table].arguments))
            planned[table] = planned.get(table, 0) + max(done, consequences.direct.get(table, 0))
        after = await foreign_keys.deleted(self.connection)
        gone = {table: count - before.get(table, 0) for table, count in after.items()}
        foreign_keys.require_planned(gone, planned)
        for table, count in planned.items():
            self._add(table, count)
        self.references = consequences.references(self.state.schema)

    def _going(self, sessions: Sequence[SessionTables]) -> Iterator[Going]:
        """Return this person's rows: sessions, runs, rows that name such a session and no user, and rows elsewhere."""
        arguments, taken = [self.user_id], {(each.state.schema, name) for each in sessions for name in each.names}
        for each in sessions:
            yield from each.going()
        for state in (self.state, *self.others):
            mine = [each.mine for each in sessions if each.state.schema == state.schema]
            named = " OR ".join(f"t.session_id::text IN {ids}" for ids in mine)
            for name in user_data.of_sessions(state) if mine else ():
                yield Going((state.schema, name), f"({named}) AND $1::text IS NOT NULL", arguments, "$1::text")
        for own_table in user_data.own_tables(self.state):
            if (self.state.schema, own_table.name) not in taken:
                yield Going((self.state.schema, own_table.name), own_table.condition, arguments, "$1::text")
        yield from (each for each in self.outside if each.table not in taken)


# --- one person -------------------------------------------------------------------------------------------------------


async def erase_user(
    settings: Settings,
    user_id: str,
    *,
    whole_database: bool = False,
    dry_run: bool = False,
    progress: Progress = SILENT,
) -> Erased:
    """Erase a person, without undo or copy. With `dry_run` everything is done, counted and rolled back.

    If the person is not found, nothing is written, and similar ids are returned. Raises UsageError for an empty id,
    and DatabaseError, without changes, if the final count finds rows.
    """
    if not user_id:
        raise UsageError(
            "no user given; nothing was changed",
            hint="to delete memories without an owner: junkie memories clear --no-owner",
        )
    async with connect(settings) as connection:
        state = await own_tables.prepare(connection, settings.layout)
        row_security.require_all_rows(state, *user_data.searched(state))
        await spellings.require_one_spelling(connection, state, user_id, undone="nothing was changed")
        transaction = connection.transaction()
        await transaction.start()
        try:
            done = await _erase(connection, state, user_id, whole_database, dry_run, progress)
        except BaseException:
            await transaction.rollback()
            raise
        if dry_run or not done.found:
            await transaction.rollback()
            done = replace(done, erased_at=None)
            if done.found:
                return done
            problems = () if dry_run else await _complete_file(settings, connection, state, user_id)
            return replace(await _nothing_found(connection, state, done), problems=problems)
        await transaction.commit()
        progress.step(f"{plural(sum(done.erased.values()), 'row', 'rows')} erased; counting the rest")
        async with connection.transaction():
            remaining = await _remaining(connection, state, user_id)
        problems = await _after(settings, connection, state, user_id)
    return replace(done, remaining=remaining, problems=problems)


async def _nothing_found(connection: "asyncpg.Connection[Any]", state: SchemaState, done: Erased) -> Erased:
    """Add an earlier erasure, or similar ids, to the result for a person who was not found."""
    if earlier := await last_erasure(connection, state, done.user_id):
        return replace(done, earlier=earlier)
    return replace(done, nearest=await user_ids.nearest(connection, state, done.user_id))


async def finish_erasure(settings: Settings, done: Erased) -> Erased:
    """Repeat the steps after the commit, for an erasure that finds nothing to erase.

    An earlier run may have been interrupted. Changes nothing in the database.
    """
    async with connect(settings) as connection:
        state = await schema.inspect(connection, settings.layout)
        problems = await _complete_file(settings, connection, state, done.user_id)
    return replace(done, dry_run=False, problems=(*done.problems, *problems))


async def _erase(
    connection: "asyncpg.Connection[Any]",
    state: SchemaState,
    user_id: str,
    whole_database: bool,
    dry_run: bool,
    progress: Progress,
) -> Erased:
    progress.step("waiting for running writes for this person")
    erased_at = await _mark_erased(connection, state, user_id)
    progress.step("searching tables outside the schema")
    outside = await outside_schema.find(connection, state.schema, user_id, delete=whole_database)
    work = _Work(connection, state, user_id, progress)
    if whole_database:
        work.outside = outside.rows
        for name in sorted({each.table[0] for each in outside.rows}):
            other = await schema.inspect(connection, state.layout.within(name))
            row_security.require_all_rows(other, *user_data.searched(other))
            await spellings.require_one_spelling(connection, other, user_id, undone="nothing was changed")
            work.others.append(other)
    await work.run()
    if not whole_database:
        work.elsewhere |= await outside_schema.count(connection, outside.rows)
    counts = {table: count for table, count in work.erased.items() if count}
    if prompt_history.history_file(user_id).exists():
        counts[PROMPT_HISTORY] = 1
    if waiting := await spooled(connection, state, user_id):
        counts[SPOOL] = len(waiting)
    work.say("counting again")
    remaining = await _remaining(connection, state, user_id)
    if remaining:
        raise DatabaseError(
            f"{plural(remaining, 'row', 'rows')} of this person would remain after erasing; nothing was changed",
            hint="a trigger or a rule may write them back: look at the tables' triggers",
            code="erase_incomplete",
        )
    await _clean_batches(connection, state, user_id)
    if state.keeps(Feature.ERASURES):
        await _write_ledger(connection, state, user_id, erased_at, counts)
    return Erased(
        user_id,
        counts,
        work.shared_sessions,
        remaining,
        {table: count for table, count in work.elsewhere.items() if count},
        whole_database,
        (*await unsearchable.sentences(connection, state), *outside.unreadable),
        (),
        str(connection.get_settings().server_version),
        await connection.fetchval("SELECT current_database()"),
        erased_at,
        dry_run,
        references_cleared=work.references,
    )


async def _clean_batches(connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str) -> None:
    """Delete batches of which no change is left, and blank the login of an actor whose login is this person's id."""
    await delete_empty_batches(connection, state)
    if state.may("UPDATE", BATCHES):
        await connection.execute(
            f"UPDATE {state.qualified(BATCHES)} SET actor_name = NULL WHERE actor_name = $1::text", user_id
        )


async def _mark_erased(connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str) -> datetime:
    """Lock the user and write the tombstone first: junkie's imports and turns wait for the lock, then see it."""
    await connection.execute(LOCK_ALONE, stored_text.lock_name(state, user_id))
    erased_at = await stored_text.database_time(connection)
    if state.keeps(Feature.ERASURES):
        await connection.execute(
            f"INSERT INTO {state.qualified(TOMBSTONES)} (user_hash, erased_at) SELECT {user_hash('$1::text')}, $2"
            f" FROM {state.qualified(OWN_VERSIONS)} v WHERE v.name = 'salt'"
            " ON CONFLICT (user_hash) DO UPDATE SET erased_at = excluded.erased_at",
            user_id,
            erased_at,
        )
    return erased_at


async def _write_ledger(
    connection: "asyncpg.Connection[Any]",
    state: SchemaState,
    user_id: str,
    erased_at: datetime,
    counts: Mapping[str, int],
) -> None:
    await connection.execute(
        f"INSERT INTO {state.qualified(ERASURES)} (erasure_id, user_hash, erased_at, counts)"
        f" SELECT $1::text::uuid, {user_hash('$2::text')}, $3, $4::text::json FROM {state.qualified(OWN_VERSIONS)} v"
        " WHERE v.name = 'salt'",
        str(uuid4()),
        user_id,
        erased_at,
        json.dumps(counts),
    )


async def _remaining(connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str) -> int:
    """Count rows and runs of this person in the schema, by the same definitions that erase them."""
    parts = [
        f"(SELECT count(*) FROM {state.qualified(table.name)} WHERE {table.condition})"
        for table in user_data.own_tables(state)
    ]
    if state.has(SESSIONS):
        parts.append(f"(SELECT count(*) FROM {state.qualified(SESSIONS)} s WHERE s.user_id = $1::text)")
    if state.has(RUNS):
        parts.append(f"(SELECT count(*) FROM {state.qualified(RUNS)} r WHERE r.user_id = $1::text)")
    if state.has_runs_column:
        elements = runs.elements(state, "s.runs")
        parts.append(
            f"(SELECT count(*) FROM {state.qualified(SESSIONS)} s, LATERAL {elements} WHERE {user_data.own_run(state)})"
        )
    return int(await connection.fetchval(f"SELECT {' + '.join(parts)}", user_id)) if parts else 0


async def spooled(connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str) -> list[Path]:
    """Return spool files of this person for this database; each contains one JSON object."""
    known = await spool.identity(connection, state)
    return spool.Spool(known).of_user(user_id) if known else []


async def _after(
    settings: Settings, connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str
) -> tuple[str, ...]:
    """Do the steps after the commit: prompt history, spool, and the list of erasures next to the backups."""
    problems = []
    try:
        with converting_errors(prompt_history.history_file(user_id)):
            prompt_history.erase_history(user_id)
    except JunkieError as error:
        problems.append(f"the prompt history was not deleted: {error.message}")
    try:
        for path in await spooled(connection, state, user_id):
            with converting_errors(path):
                path.unlink(missing_ok=True)
    except JunkieError as error:
        problems.append(f"messages in the spool were not deleted: {error.message}")
    if not state.keeps(Feature.ERASURES):
        problems.append("no tombstone was written: this role cannot create or use junkie's tables")
    return (*problems, *await _complete_file(settings, connection, state, user_id))


async def _complete_file(
    settings: Settings, connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str
) -> tuple[str, ...]:
    """Add missing erasures of the schema to the list next to the backups; return a problem if that fails."""
    try:
        complete_ledger_file(settings.backup_dir, await read_ledger(connection, state))
    except JunkieError as error:
        return (
            "the list of erasures next to the backups is incomplete, so a restore could restore the person:"
            f" {error.message}; then run again: junkie users erase {user_id}",
        )
    return ()


# --- after a restore --------------------------------------------------------------------------------------------------


async def apply_erasures(
    connection: "asyncpg.Connection[Any]", layout: Layout, ledger: Iterable[Erasure], *, after: datetime | None = None
) -> dict[str, Mapping[str, int]]:
    """Erase everybody in `ledger` (erased later than `after`, if given) from restored data.

    Runs in the caller's transaction, or a new one. Each person gets a tombstone with this schema's salt. Returns counts
    by user id and table, only of people in the data.
    """
    wanted = [erasure for erasure in ledger if after is None or erasure.erased_at > after]
    if not wanted:
        return {}
    async with schema.transaction(connection):
        state = await own_tables.prepare(connection, layout)
        done: dict[str, Mapping[str, int]] = {}
        for user_id in await _named_in(connection, state, wanted):
            await _mark_erased(connection, state, user_id)
            work = _Work(connection, state, user_id)
            await work.run()
            done[user_id] = {table: count for table, count in work.erased.items() if count}
        await _keep_ledger(connection, state, wanted)
    return done


async def _named_in(connection: "asyncpg.Connection[Any]", state: SchemaState, wanted: list[Erasure]) -> list[str]:
    """Find user ids whose hash is in the list of erasures; each id is hashed once for each salt."""
    sources = [f"SELECT user_id::text FROM {state.qualified(table.name)}" for table in user_data.own_tables(state)]
    if state.has(SESSIONS):
        sources += [
            f"SELECT user_id FROM {state.qualified(SESSIONS)}",
            f"SELECT r.user_id FROM {runs.table(state)} r",
        ]
    if not sources:
        return []
    rows = await connection.fetch(
        f"SELECT DISTINCT i.user_id FROM ({' UNION '.join(sources)}) i(user_id)"
        " CROSS JOIN (SELECT DISTINCT salt FROM unnest($1::text[]) salt) s"
        " JOIN unnest($1::text[], $2::text[]) l(salt, hash) ON l.salt = s.salt"
        f" AND l.hash = {sha256_of('s.salt || i.user_id')} WHERE i.user_id <> ''",
        [erasure.salt for erasure in wanted],
        [erasure.user_hash for erasure in wanted],
    )
    return [row["user_id"] for row in rows]


async def _keep_ledger(connection: "asyncpg.Connection[Any]", state: SchemaState, wanted: list[Erasure]) -> None:
    """Add later erasures with the same salt to the restored schema."""
    if not state.keeps(Feature.ERASURES):
        return
    salt = await connection.fetchval(f"SELECT value FROM {state.qualified(OWN_VERSIONS)} WHERE name = 'salt'")
    same = [erasure for erasure in wanted if erasure.salt == salt]
    await connection.executemany(
        f"INSERT INTO {state.qualified(ERASURES)} (erasure_id, user_hash, erased_at, counts)"
        " VALUES ($1::text::uuid, $2, $3, '{}') ON CONFLICT DO NOTHING",
        [(erasure.erasure_id, erasure.user_hash, erasure.erased_at) for erasure in same],
    )
    await connection.executemany(
        f"INSERT INTO {state.qualified(TOMBSTONES)} (user_hash, erased_at) VALUES ($1, $2)"
        " ON CONFLICT (user_hash) DO UPDATE SET erased_at = greatest(excluded.erased_at,"
        f" {state.qualified(TOMBSTONES)}.erased_at)",
        [(erasure.user_hash, erasure.erased_at) for erasure in same],
    )
