"""Making agno's table of memories where a memory is added before the first turn."""

import re
from typing import TYPE_CHECKING, Any

from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.schema import own_tables
from junkie_cli.core.schema.registry import MEMORIES
from junkie_cli.core.schema.tables import SchemaState, inspect, literal, quoted, transaction
from junkie_cli.core.table_layout import Layout

if TYPE_CHECKING:
    import asyncpg


async def ensure_memories_table(connection: "asyncpg.Connection[Any]", layout: Layout) -> None:
    """Make the table of memories as agno 3 does, where it is missing: a memory may be added before the first turn."""
    async with transaction(connection):
        state = await inspect(connection, layout)
        if state.has(MEMORIES):
            return
        await own_tables.require_writer(connection, state)
        if state.generation == "2.2":
            raise DatabaseError(
                f"schema {state.schema} was made by agno 2.2, which has not made its table {state.name(MEMORIES)} yet",
                hint="let the bot remember something first, or have the schema migrated: junkie doctor",
                code="memories_missing",
            )
        await own_tables.lock(connection, layout)
        if not state.exists:
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(state.schema)}")
        await connection.execute(_memories_3(state))


# As agno 3.1 makes it; a contract test compares the two.
_MEMORIES_3 = """
CREATE TABLE IF NOT EXISTS @table (
  memory_id varchar NOT NULL PRIMARY KEY, memory jsonb NOT NULL, feedback text, input text, agent_id varchar,
  team_id varchar, user_id varchar, topics jsonb, created_at bigint NOT NULL, updated_at bigint);
CREATE INDEX IF NOT EXISTS @by_user ON @table (user_id);
CREATE INDEX IF NOT EXISTS @by_created ON @table (created_at);
CREATE INDEX IF NOT EXISTS @by_updated ON @table (updated_at);
CREATE TABLE IF NOT EXISTS @schema.agno_schema_versions (
  table_name varchar NOT NULL PRIMARY KEY, version varchar NOT NULL, created_at varchar NOT NULL, updated_at varchar);
CREATE INDEX IF NOT EXISTS idx_agno_schema_versions_created_at ON @schema.agno_schema_versions (created_at);
INSERT INTO @schema.agno_schema_versions (table_name, version, created_at, updated_at)
  SELECT @name, '3.0.0', t, t FROM to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') t
  ON CONFLICT DO NOTHING;
"""


def _memories_3(state: SchemaState) -> str:
    name = state.name(MEMORIES)
    values = {
        "table": state.identifier(MEMORIES),
        "schema": quoted(state.schema),
        "name": literal(name),
        "by_user": quoted(f"idx_{name}_user_id"),
        "by_created": quoted(f"idx_{name}_created_at"),
        "by_updated": quoted(f"idx_{name}_updated_at"),
    }
    return re.sub(r"@(\w+)", lambda match: values[match[1]], _MEMORIES_3)
