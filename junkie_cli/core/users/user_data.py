"""What belongs to a person, as SQL: rows of every table with a user_id, own runs wherever they are, and sessions.

Erase and export read the same definitions, so that what the one deletes the other has written. `$1` is the user id in
all of them. A run that names nobody was spoken by its session's owner.
"""

from junkie_cli.core.schema import registry, runs
from junkie_cli.core.schema.tables import RUNS, SESSIONS, SchemaState, plain_json, quoted
from junkie_cli.core.table_layout import Role
from junkie_cli.core.value_class import frozen

_TEXTS = frozenset({"character varying", "text", "character", "name", '"char"'})


@frozen
class OwnTable:
    """A table whose rows with this person's user id are this person's; `condition` is SQL over it."""

    name: str
    condition: str


def own_tables(state: SchemaState) -> list[OwnTable]:
    """List tables whose rows have an owner; sessions and runs have their own rules."""
    for role in Role:  # one whose owner stands in another column would pass for a table of nobody
        state.require_columns(role)
    entries = registry.by_name(state.layout)
    found = []
    for name, table in sorted(state.tables.items()):
        owner = registry.owner_column(entries.get(name), table.columns)
        if owner is not None and not table.is_view:
            found.append(OwnTable(name, is_user(quoted(owner), table.columns[owner], loose=table.loose_owner)))
    return found


def of_sessions(state: SchemaState) -> list[str]:
    """Tables of the schema whose rows name a session and no user: they go with the session."""
    entries = registry.by_name(state.layout)
    return [
        name
        for name, table in sorted(state.tables.items())
        if registry.names_a_session(entries.get(name), table.columns)
        and "user_id" not in table.columns
        and not table.is_view
    ]


def searched(state: SchemaState) -> tuple[str, ...]:
    """Every table in which rows of a person may be: those that name a user or a session, and our own."""
    naming = (name for name, table in state.tables.items() if {"user_id", "session_id"} & set(table.columns))
    return tuple(sorted({*naming, *registry.own_tables()}))


def old_runs(state: SchemaState) -> str:
    """What the runs inside agno 2's column are called in counts and exports."""
    return f"{state.name(SESSIONS)}.runs"


def is_user(column: str, kind: str, *, loose: bool = False) -> str:
    """SQL: `column` of type `kind` holds the user id $1, in this spelling where the column is `loose`."""
    if loose:
        return f'{column}::text COLLATE "C" = $1::text'
    return f"{column} = $1::text" if kind in _TEXTS else f"{column}::text = $1::text"


def own_run(state: SchemaState) -> str:
    """SQL: the element `e.run` of a session `s` in the old column is this person's."""
    return f"coalesce(nullif({state.safe_json('e.run', SESSIONS, 'runs')} ->> 'user_id', ''), s.user_id, '') = $1::text"


def sessions(state: SchemaState) -> str:
    """SQL of the sessions with anything of this person: session_id, owner, shared, heir.

    `shared` sessions stay: somebody else spoke there, or owns them. `heir` is who else spoke, of the named the first.
    """
    others = (
        f"SELECT r.session_id, r.user_id FROM {runs.table(state, sessions='s.session_id = i.session_id')} r"
        " WHERE coalesce(nullif(r.user_id, ''), i.owner, '') <> $1::text"
        " ORDER BY nullif(r.user_id, '') IS NULL, r.created_at LIMIT 1"
    )
    return (
        "(SELECT i.session_id, i.owner, nullif(o.user_id, '') AS heir,"
        " o.session_id IS NOT NULL OR coalesce(nullif(i.owner, ''), $1::text) <> $1::text AS shared"
        f" FROM {_involved(state)} i LEFT JOIN LATERAL ({others}) o ON true)"
    )


def _involved(state: SchemaState) -> str:
    """SQL of session_id and owner; one branch each way of being involved, for an OR would keep indexes out."""
    table = state.qualified(SESSIONS)
    parts = [f"SELECT s.session_id, s.user_id AS owner FROM {table} s WHERE s.user_id = $1::text"]
    if state.has(RUNS):
        parts.append(
            f"SELECT s.session_id, s.user_id FROM {table} s WHERE s.session_id IN"
            f" (SELECT r.session_id FROM {state.qualified(RUNS)} r WHERE r.user_id = $1::text)"
        )
    if state.has_runs_column:
        parts.append(
            f"SELECT s.session_id, s.user_id FROM {table} s"
            f" WHERE EXISTS (SELECT 1 FROM {runs.elements(state, 's.runs')} WHERE {own_run(state)})"
        )
    return "(" + " UNION ".join(parts) + ")"


def own_runs(state: SchemaState, scope: str) -> str:
    """SQL of the run_ids of this person in the runs table; `scope` is SQL of `sessions`' columns.

    Two branches, each by its own index: one condition with an OR reads every run there is.
    """
    table = state.qualified(RUNS)
    return (
        f"(SELECT r.run_id FROM {table} r WHERE r.user_id = $1::text UNION SELECT r.run_id FROM {scope} c"
        f" JOIN {table} r ON r.session_id = c.session_id WHERE c.owner = $1::text AND coalesce(r.user_id, '') = '')"
    )


def stripped(state: SchemaState, column: str) -> str:
    """SQL: a shared session's `column` without what may speak of this person."""
    kind = state.column_type(SESSIONS, column)
    document = f"s.{column}" if kind == "jsonb" else f"{plain_json(f's.{column}')}::jsonb"
    return (
        f"(CASE WHEN jsonb_typeof({document}) = 'object' THEN {document} - 'session_state'"
        f" - CASE WHEN s.user_id = $1::text THEN 'session_name' ELSE 'session_state' END ELSE {document} END)::{kind}"
    )
