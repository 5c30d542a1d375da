"""Reads one person's rows from the restored copy and from the target, in a form that can be compared.

A row is JSON text of the columns that both sides have. If one side is of another agno generation, json and jsonb are
compared as jsonb, a missing `created_at` is taken from `updated_at`, and runs are read from where that generation
stores them.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from junkie_cli.core.errors import BackupError
from junkie_cli.core.schema import registry, runs
from junkie_cli.core.schema.tables import MEMORIES, RUNS, SESSIONS, SchemaState, plain_json, quoted
from junkie_cli.core.table_layout import Role
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

KEYS: Mapping[Role, str] = {role: registry.key_of(role) for role in registry.restored_for_a_user()}


@frozen
class Row:
    """A row of a table: its key, its owner, and the shared columns as JSON text."""

    id: str
    owner: str | None
    data: str


@frozen
class UserRun:
    """A run of any generation: `data` is its run object as canonical JSON, `row` the complete row in agno 3's form."""

    id: str
    session_id: str
    owner: str | None
    data: str
    row: str


@frozen
class Sides:
    """The schemas of the restored copy and of the target."""

    source: SchemaState
    target: SchemaState

    def columns(self, table: Role) -> tuple[str, ...]:
        """Return columns of the target that the source has, too, or that can be derived."""
        return tuple(
            name
            for name in self.target.table(table).writable
            if self.source.has_column(table, name) and not (table == SESSIONS and name == "runs")
        ) + (("created_at",) if self._derived(table) else ())

    def _derived(self, table: Role) -> bool:
        return (
            table == MEMORIES
            and self.target.has_column(table, "created_at")
            and not self.source.has_column(table, "created_at")
        )

    def select(self, side: SchemaState, table: Role) -> str:
        """Return SQL for (id, owner, data) of `table` as `t` on one side; the caller adds a condition on `t`."""
        inner = ", ".join(f"{self._expression(side, table, name)} AS {quoted(name)}" for name in self.columns(table))
        return (
            f"SELECT t.{KEYS[table]} AS id, t.user_id AS owner,"
            f" (SELECT row_to_json(x) FROM (SELECT {inner}) x)::text AS data FROM {side.qualified(table)} t"
        )

    def _expression(self, side: SchemaState, table: Role, name: str) -> str:
        if name == "created_at" and self._derived(table):
            return "coalesce(t.created_at, 0)" if side is self.target else "coalesce(t.updated_at, 0)"
        column = f"t.{quoted(name)}"
        if side.column_type(table, name) != "json":
            return column
        return f"{plain_json(column)}::jsonb"


async def of_user(connection: "asyncpg.Connection[Any]", sides: Sides, table: Role, user_id: str) -> list[Row]:
    """Read the user's rows of `table` in the source, by key."""
    sql = f"{sides.select(sides.source, table)} WHERE t.user_id = $1 ORDER BY 1"
    return [Row(**dict(row)) for row in await connection.fetch(sql, user_id)]


async def by_id(
    connection: "asyncpg.Connection[Any]", sides: Sides, side: SchemaState, table: Role, ids: Sequence[str]
) -> dict[str, Row]:
    """Read rows of `table` on one side by key, whatever their owner."""
    sql = f"{sides.select(side, table)} WHERE t.{KEYS[table]} = ANY($1::text[])"
    rows = await connection.fetch(sql, list(ids))
    found = {row["id"]: Row(**dict(row)) for row in rows}
    if len(found) < len(rows):
        raise BackupError(
            f"several rows of {side.schema}.{side.name(table)} have the same {KEYS[table]}",
            hint="restore the complete backup, or correct the ids first: junkie doctor --only memory.ids",
            code="restore_ids_not_unique",
        )
    return found


_RUN_ROW = """json_build_object('run_id', r.run_id, 'session_id', r.session_id,
  'run_type', CASE WHEN d.data ->> 'agent_id' IS NOT NULL THEN 'agent' WHEN d.data ->> 'team_id' IS NOT NULL THEN 'team'
    ELSE 'workflow' END,
  'agent_id', d.data ->> 'agent_id', 'team_id', d.data ->> 'team_id', 'workflow_id', d.data ->> 'workflow_id',
  'user_id', r.user_id, 'parent_run_id', r.parent_run_id, 'status', r.status, 'run_index', r.position,
  'run_data', d.data, 'created_at', coalesce(r.created_at, 0), 'updated_at', coalesce(r.created_at, 0))::text"""


def _runs_sql(state: SchemaState, condition: str) -> str:
    whole = _RUN_ROW
    join = ""
    if state.has(RUNS):  # the original row, for runs in agno 3's table
        whole = f"coalesce(row_to_json(own)::text, {_RUN_ROW})"
        join = f" LEFT JOIN {state.qualified(RUNS)} own ON own.run_id = r.run_id"
    return (
        f"SELECT r.run_id AS id, r.session_id, r.user_id AS owner, d.data::text AS data, {whole} AS row"
        f" FROM {runs.table(state, data=True)} r"
        f" CROSS JOIN LATERAL (SELECT {plain_json('r.data::json')}::jsonb) d(data)"
        f"{join} WHERE {condition} ORDER BY r.session_id, r.position, r.run_id"
    )


async def runs_of_user(connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str) -> list[UserRun]:
    """Read the user's runs of every generation, in the order of their sessions."""
    return [UserRun(**dict(row)) for row in await connection.fetch(_runs_sql(state, "r.user_id = $1"), user_id)]


async def runs_by_id(
    connection: "asyncpg.Connection[Any]", state: SchemaState, ids: Sequence[str]
) -> dict[str, UserRun]:
    """Read runs by id, whatever their owner."""
    rows = await connection.fetch(_runs_sql(state, "r.run_id = ANY($1::text[])"), list(ids))
    return {row["id"]: UserRun(**dict(row)) for row in rows}


async def shared_sessions(
    connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str, ids: Sequence[str]
) -> set[str]:
    """Return the sessions in which other users spoke, too."""
    rows = await connection.fetch(
        f"SELECT DISTINCT r.session_id FROM {runs.table(state)} r"
        " WHERE r.session_id = ANY($1::text[]) AND r.user_id IS DISTINCT FROM $2",
        list(ids),
        user_id,
    )
    return {row[0] for row in rows}
