"""Row security: where its policies filter a table for this database user, no count and no list is known to be full.

PostgreSQL leaves hidden rows out without an error, so every command asks the catalogue first (`Table.row_security`,
read with the schema): reads carry a warning, and exports and changes refuse before anything is done.
"""

from junkie_cli.core.errors import DatabaseError, NotFoundError, ResultWarning
from junkie_cli.core.schema import registry
from junkie_cli.core.schema.tables import SchemaState
from junkie_cli.core.table_layout import TableRef

CODE = "row_security"
HINT = (
    "connect as a role that row security does not apply to: one with BYPASSRLS,"
    " or the tables' owner where it is not forced"
)

CHANGED_WITH_MEMORIES: tuple[TableRef, ...] = (registry.MEMORIES, *registry.own_tables())
"""What a change of memories reads and writes."""


def warnings(
    state: SchemaState, *tables: TableRef, effect: str = "this answer may be incomplete"
) -> tuple[ResultWarning, ...]:
    """The warning for an answer read from `tables` (without any: from all in the schema); empty when none is needed."""
    filtered = state.filtered(*tables)
    if not filtered:
        return ()
    return (ResultWarning(CODE, f"{_filters(state, filtered)}: {effect}", HINT),)


def require_all_rows(state: SchemaState, *tables: TableRef, undone: str = "nothing was changed") -> None:
    """Raise DatabaseError `row_security` when one of `tables` (without any: of all in the schema) is filtered."""
    if filtered := state.filtered(*tables):
        raise DatabaseError(f"{_filters(state, filtered)}; {undone}", hint=HINT, code=CODE)


def _filters(state: SchemaState, filtered: tuple[str, ...]) -> str:
    names = ", ".join(f"{state.schema}.{name}" for name in dict.fromkeys(filtered))
    return f"row security may hide rows of {names} from this database user"


def not_found(state: SchemaState, table: TableRef, message: str, *, hint: str) -> NotFoundError:
    """What to raise for a row that is not there, or that row security may hide."""
    if filtered := state.filtered(table):
        return NotFoundError(f"{message}, or it is hidden: {_filters(state, filtered)}", hint=HINT, code=CODE)
    return NotFoundError(message, hint=hint)
