"""Checks for rows in an unusual form, written by other programs. All commands can read them; this check lists them."""

from junkie_cli.core.doctor.context import Context
from junkie_cli.core.doctor.model import Check, Finding, ok, together, warning
from junkie_cli.core.foreign_values import FIRST_BEYOND, beyond
from junkie_cli.core.formatting import plural
from junkie_cli.core.postgres.sql import EPOCH_NOW
from junkie_cli.core.schema import registry, runs
from junkie_cli.core.schema.tables import MEMORIES, RUNS, SESSIONS, SchemaState
from junkie_cli.core.table_layout import Role
from junkie_cli.core.value_class import frozen

_NAMED = 3
_DAY = 86_400
_SECONDS = "'^[0-9]{1,11}$'"


@frozen
class _Kind:
    """One way in which a row can be unusual: a condition on the row `t`, a description, and a hint."""

    condition: str
    what: str
    hint: str


async def _rows(context: Context) -> Finding:
    state = context.schema
    tables = [(table, registry.key_of(table), _kinds(state, table)) for table in Role if state.may("SELECT", table)]
    findings = []
    async with context.connection() as connection, connection.transaction():
        for table, column, kinds in tables:
            rows = await connection.fetch(_statement(state, table, column, kinds)) if kinds else []
            findings += [_found(state.name(table), kinds[row["kind"]], row["n"], list(row["ids"])) for row in rows]
    return together(findings, ok("all rows have the form that agno writes"))


def _statement(state: SchemaState, table: Role, column: str, kinds: list[_Kind]) -> str:
    """Return SQL for the number of rows and the first ids of each kind."""
    tests = ", ".join(f"CASE WHEN {kind.condition} THEN {number} END" for number, kind in enumerate(kinds))
    return (
        f"SELECT kind, count(*) AS n, (array_agg(id ORDER BY id))[1:{_NAMED}] AS ids FROM"
        f" (SELECT t.{column}::text AS id, unnest(ARRAY[{tests}]) AS kind FROM {state.qualified(table)} t) odd"
        " WHERE kind IS NOT NULL GROUP BY kind ORDER BY kind"
    )


def _found(table: str, kind: _Kind, count: int, ids: list[str]) -> Finding:
    named = ", ".join(ids) + (", ..." if count > len(ids) else "")
    return warning(f"{plural(count, 'row', 'rows')} of {table} {kind.what}: {named}", kind.hint)


def _kinds(state: SchemaState, table: Role) -> list[_Kind]:
    shapes = {MEMORIES: _memories, SESSIONS: _sessions, RUNS: _runs}[table](state)
    return [*shapes, *(kind for column in ("created_at", "updated_at") for kind in _times(state, table, column))]


def _times(state: SchemaState, table: Role, column: str) -> list[_Kind]:
    if not state.has_column(table, column) or state.column_type(table, column) != "bigint":
        return []
    time = f"t.{column}"
    correct = (
        f"UPDATE {state.qualified(table)} SET {column} = {column} / 1000 WHERE {column} >= {FIRST_BEYOND},"
        " once for each three digits too many"
    )
    return [
        _Kind(beyond(time), f"with a {column} that is not in seconds", correct),
        _Kind(
            f"{time} > {EPOCH_NOW} + {_DAY} AND NOT {beyond(time)}",
            f"with a {column} in the future",
            "correct them: rows dated in the future are always listed first",
        ),
    ]


def _memories(state: SchemaState) -> list[_Kind]:
    kinds = []
    look = "junkie memories show ID"
    if kind := _json(state, MEMORIES, "memory"):
        is_text = f"{kind}_typeof(t.memory) = 'string'"
        kinds.append(
            _Kind(f"NOT {is_text}", "whose memory is not a text", f"{look}, then: junkie memories edit ID TEXT")
        )
    if kind := _json(state, MEMORIES, "topics"):
        items = f"{kind}_array_elements(CASE {kind}_typeof(t.topics) WHEN 'array' THEN t.topics ELSE '[]' END)"
        odd = (
            f"{kind}_typeof(t.topics) NOT IN ('array', 'null')"
            f" OR EXISTS (SELECT 1 FROM {items} topic WHERE {kind}_typeof(topic) <> 'string')"
        )
        kinds.append(_Kind(odd, "whose topics are not a list of texts", f"{look}; correct the column topics"))
    return kinds


def _sessions(state: SchemaState) -> list[_Kind]:
    kinds = []
    look = "junkie sessions show ID"
    if kind := _json(state, SESSIONS, "session_data"):
        odd = f"{kind}_typeof(t.session_data) NOT IN ('object', 'null')"
        kinds.append(_Kind(odd, "whose session_data is not an object", "set the column session_data to '{}'"))
    if state.has_runs_column:
        kind = state.column_type(SESSIONS, "runs")
        odd = f"{kind}_typeof(t.runs) NOT IN ('array', 'null')"
        kinds.append(_Kind(odd, "whose runs are not a list", f"{look} lists none of them; correct the column runs"))
        run = state.safe_json("e.run", SESSIONS, "runs")
        odd = (
            f"EXISTS (SELECT 1 FROM {runs.elements(state, 't.runs')} WHERE {kind}_typeof(e.run) <> 'object'"
            f" OR coalesce({run} ->> 'created_at', '0') !~ {_SECONDS})"
        )
        kinds.append(_Kind(odd, "with a run that is no object or is not dated in seconds", f"{look}; correct it"))
    return kinds


def _runs(state: SchemaState) -> list[_Kind]:
    kind = _json(state, RUNS, "run_data")
    if kind is None:
        return []
    odd = f"t.run_data IS NULL OR {kind}_typeof(t.run_data) <> 'object'"
    return [_Kind(odd, "whose run_data is not an object", "correct them: no messages can be read from these rows")]


def _json(state: SchemaState, table: Role, column: str) -> str | None:
    """Return `json` or `jsonb`, or None for a column of another type."""
    kind = state.column_type(table, column) if state.has_column(table, column) else None
    return kind if kind in ("json", "jsonb") else None


CHECKS = (
    Check(
        "memory.rows",
        "Form of rows",
        _rows,
        ("schema.tables",),
        limit=8,
        reads_all=True,
        about="All rows have the form and time unit that agno writes",
        advice="Correct the rows that are named",
    ),
)
