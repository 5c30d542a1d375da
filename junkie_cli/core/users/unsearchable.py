"""Lists what an erasure cannot find by owner, for its receipt: tables without a user column, and copies elsewhere.

Decides by columns in the catalogue, not by names: a table with text, JSON or vectors, and no column for an owner.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from junkie_cli.core.schema import registry
from junkie_cli.core.schema.foreign_keys import label
from junkie_cli.core.schema.registry import OWNER_COLUMNS
from junkie_cli.core.schema.tables import SchemaState

if TYPE_CHECKING:
    import asyncpg

_ALWAYS = (
    "runs and memories of other people that quote or mention this person",
    "metadata of shared sessions, which the bot writes",
    "exports, logs and copies outside the database",
)
_REGISTERED = tuple(entry.table for entry in registry.entries() if isinstance(entry.table, str))

# Tables of extensions contain their own data. agno's knowledge table is recognized by `linked_to` and `access_count`.
_TABLES = """
SELECT n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
  bool_or(a.attname = ANY($1::text[])) AS owned, bool_or(a.attname = 'session_id') AS of_session,
  bool_or(t.typname IN ('vector', 'halfvec', 'sparsevec'))
    OR array_agg(a.attname::text) @> ARRAY['linked_to', 'access_count'] AS knowledge,
  bool_or(a.attname = 'last_synced_message_id') AS synced,
  bool_or(t.typcategory IN ('S', 'A') OR t.typname IN ('json', 'jsonb', 'bytea', 'xml', 'vector', 'halfvec',
    'sparsevec', 'tsvector')) AS textual
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE c.relkind IN ('r', 'p', 'm', 'f') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' AND c.relname <> ALL ($2::text[])
  AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass
    AND d.objid = c.oid AND d.deptype = 'e')
GROUP BY n.nspname, c.relname, c.relkind ORDER BY n.nspname, c.relname
"""


async def sentences(connection: "asyncpg.Connection[Any]", state: SchemaState) -> tuple[str, ...]:
    """Return a sentence for each kind of table that was not searched, in the caller's transaction."""
    rows = await connection.fetch(_TABLES, list(OWNER_COLUMNS), list(_REGISTERED))
    return (*_ALWAYS, *_about(rows, state))


def _about(rows: Iterable[Any], state: SchemaState) -> Iterator[str]:
    places: dict[str, list[str]] = {}
    for row in rows:
        if kind := _kind(row, state):
            places.setdefault(kind, []).append(label((row["schema"], row["name"])))
    for kind, sentence in _SENTENCES.items():
        if kind in places:
            yield sentence.format(", ".join(places[kind]))


_SENTENCES = {
    "knowledge": "knowledge and vector tables without a user column (search them for data of this person): {}",
    "synced": "messages that were sent to the Honcho service (see {}): erase this person there, too",
    "copies": "materialized views, which contain old rows until REFRESH MATERIALIZED VIEW: {}",
    "foreign": "foreign tables, whose rows are on another server: {}",
    "others": "tables without a column that names a user: {}",
}


def _kind(row: Any, state: SchemaState) -> str:
    """Return the kind of a table; empty for one that is searched, or that contains no text."""
    if row["kind"] in ("m", "f"):
        return "copies" if row["kind"] == "m" else "foreign"
    if row["owned"] or (row["schema"] == state.schema and row["of_session"]):
        return ""
    if row["knowledge"]:
        return "knowledge"
    if row["synced"]:
        return "synced"
    return "others" if row["textual"] else ""
