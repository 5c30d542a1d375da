"""Finds the sessions of each application in a schema: those to delete with a person, and shared ones.

One database can contain tables of several applications, and those that a restore renamed. A table of sessions is
recognized by its columns; its runs by their foreign key, or by agno's default name.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from junkie_cli.core.postgres.sql import count_of
from junkie_cli.core.schema import runs
from junkie_cli.core.schema.foreign_keys import ForeignKey, Going
from junkie_cli.core.schema.tables import RUNS, SESSIONS, SchemaState
from junkie_cli.core.table_layout import Layout, default_runs
from junkie_cli.core.users import user_data

if TYPE_CHECKING:
    import asyncpg

_SESSIONS = frozenset({"session_id", "session_type", "user_id", "session_data", "created_at", "updated_at"})
_RUNS = frozenset({"run_id", "session_id", "user_id", "parent_run_id", "run_data", "run_index", "status", "created_at"})


def applications(state: SchemaState, keys: Iterable[ForeignKey] = ()) -> list[SchemaState]:
    """Return `state` once for each table of sessions in its schema, with the names of that table and of its runs.

    The one with the configured names is first.
    """
    tables = {name: set(table.columns) for name, table in state.tables.items() if not table.is_view}
    with_runs = {(key.parent, key.child[1]) for key in keys if tables.get(key.child[1], set()) >= _RUNS}
    found = [state] if state.has(SESSIONS) else []
    for name, columns in sorted(tables.items()):
        if columns >= _SESSIONS and name != state.name(SESSIONS):
            referencing = [child for parent, child in sorted(with_runs) if parent == (state.schema, name)]
            likely = (table for table in (*referencing, default_runs(name)) if tables.get(table, set()) >= _RUNS)
            found.append(_under(state, name, next(likely, "")))
    return found


def _under(state: SchemaState, sessions: str, own_runs: str) -> SchemaState:
    """Return `state` with other names; the empty name stands for missing runs."""
    layout = Layout(state.schema, state.layout.memories, sessions, own_runs)
    return SchemaState(layout, state.exists, state.may_create, state.tables, state.indexes)


@dataclass(slots=True)
class SessionTables:
    """The sessions and runs of one application during an erasure, in the caller's transaction."""

    connection: "asyncpg.Connection[Any]"
    state: SchemaState
    user_id: str
    number: int
    counts: dict[str, int] = field(default_factory=dict)
    shared: int = 0

    @property
    def names(self) -> set[str]:
        """Return the names of the tables."""
        return {self.state.name(SESSIONS), self.state.name(RUNS)}

    @property
    def _scope(self) -> str:
        return f"pg_temp.junkie_erase_{self.number}"

    @property
    def _own_runs(self) -> str:
        return f"pg_temp.junkie_erase_runs_{self.number}"

    @property
    def mine(self) -> str:
        """Return SQL for the ids of sessions to delete: nobody else owns them or spoke there."""
        return f"(SELECT c.session_id FROM {self._scope} c WHERE NOT c.shared)"

    async def find(self) -> None:
        """Find the sessions in which this person spoke, and the runs to delete: own runs and their child runs."""
        await self.connection.execute(
            f"CREATE TEMP TABLE {self._scope} ON COMMIT DROP AS SELECT * FROM {user_data.sessions(self.state)} c",
            self.user_id,
        )
        await self.connection.execute(f"ANALYZE {self._scope}")
        if not self.state.has(RUNS):
            return
        await self.connection.execute(
            f"CREATE TEMP TABLE {self._own_runs} ON COMMIT DROP AS SELECT * FROM"
            f" {user_data.own_runs(self.state, self._scope)} own",
            self.user_id,
        )
        await self.connection.execute(
            f"INSERT INTO {self._own_runs} SELECT r.run_id FROM {self._scope} c JOIN {self.state.qualified(RUNS)} r"
            f" ON r.session_id = c.session_id WHERE r.parent_run_id IN (SELECT o.run_id FROM {self._own_runs} o)"
        )
        await self.connection.execute(f"ANALYZE {self._own_runs}")

    def going(self) -> Iterator[Going]:
        """Yield the runs and the sessions to delete."""
        known = "$1::text IS NOT NULL"
        if self.state.has(RUNS):
            own = f"r.run_id IN (SELECT o.run_id FROM {self._own_runs} o) AND {known}"
            yield Going((self.state.schema, self.state.name(RUNS)), own, [self.user_id], "$1::text", "r")
        sessions = (self.state.schema, self.state.name(SESSIONS))
        yield Going(sessions, f"s.session_id IN {self.mine} AND {known}", [self.user_id], "$1::text", "s")

    async def strip_old_runs(self) -> None:
        """Remove own runs from the arrays of shared sessions; other sessions are deleted."""
        if not self.state.has_runs_column:
            return
        sessions, kind = self.state.qualified(SESSIONS), self.state.column_type(SESSIONS, "runs")
        elements, own = runs.elements(self.state, "s.runs"), user_data.own_run(self.state)
        self.counts[user_data.old_runs(self.state)] = await self.connection.fetchval(
            f"SELECT count(*) FROM {sessions} s JOIN {self._scope} c USING (session_id), LATERAL {elements}"
            f" WHERE {own}",
            self.user_id,
        )
        await self.connection.execute(
            f"UPDATE {sessions} s SET runs = (SELECT coalesce({kind}_agg(e.run ORDER BY e.position), '[]')"
            f" FROM {elements} WHERE NOT {own}) FROM {self._scope} c"
            f" WHERE c.session_id = s.session_id AND c.shared AND {kind}_typeof(s.runs) = 'array'",
            self.user_id,
        )

    async def pass_on(self) -> None:
        """Give shared sessions to another speaker, without data that could be about this person."""
        columns = self.state.table(SESSIONS).columns
        changes = ["user_id = CASE WHEN s.user_id = $1::text THEN c.heir ELSE s.user_id END"]
        if "summary" in columns:
            changes.append("summary = NULL")
        if "session_data" in columns:
            changes.append(f"session_data = {user_data.stripped(self.state, 'session_data')}")
        done = await self.connection.execute(
            f"UPDATE {self.state.qualified(SESSIONS)} s SET {', '.join(changes)} FROM {self._scope} c"
            " WHERE c.session_id = s.session_id AND c.shared",
            self.user_id,
        )
        self.shared = count_of(done)

    async def drop(self) -> None:
        """Drop the temporary tables, because the transaction can erase another person, too."""
        await self.connection.execute(f"DROP TABLE IF EXISTS {self._scope}, {self._own_runs}")
