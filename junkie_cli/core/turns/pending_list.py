"""Lists and counts pending extractions, also those in the spool of this machine."""

from junkie_cli.core.database import connect, label
from junkie_cli.core.errors import DatabaseError, ResultWarning
from junkie_cli.core.formatting import plural
from junkie_cli.core.schema import row_security, runs, stored_text, tables
from junkie_cli.core.schema.registry import PENDING
from junkie_cli.core.settings import Settings
from junkie_cli.core.turns import pending_rows
from junkie_cli.core.turns.spool import Spool, identity, waiting
from junkie_cli.core.turns.types import Pending
from junkie_cli.core.value_class import frozen


@frozen
class PendingExtractions:
    """Pending extractions, oldest first; those in the spool of this machine last."""

    pending: tuple[Pending, ...]
    warnings: tuple[ResultWarning, ...] = ()


async def list_pending(settings: Settings, user_id: str | None = None) -> PendingExtractions:
    """Pending extractions, oldest first: of one user, or of all, with those that wait in this machine's spool.

    Empty where nothing was ever pending. Raises DatabaseError, which reports how many are in the spool.
    """
    try:
        async with connect(settings) as connection, connection.transaction():
            state = await tables.inspect(connection, settings.layout)
            found = await pending_rows.list_pending(connection, state, user_id)
            known = await identity(connection, state)
    except DatabaseError as error:
        if count := waiting(label(settings)):
            waits = plural(count, "exchange waits", "exchanges wait")
            kept = f"{waits} on this machine: junkie memories retry when the database is back"
            raise DatabaseError(error.message, hint=f"{error.hint}; {kept}", code=error.code) from None
        raise
    found += Spool(known).pending(user_id) if known else []
    return PendingExtractions(tuple(found), row_security.warnings(state, PENDING))


async def count_due(settings: Settings, user_id: str | None, *, everything: bool) -> tuple[int, int]:
    """How many extractions a retry would try now, and how many are pending; with `everything` it tries all.

    Turns whose process ended before their answer was complete are marked first. Raises DatabaseError.
    """
    async with connect(settings) as connection:
        state = await tables.inspect(connection, settings.layout)
        await runs.settle(connection, state, user_id)
        pending = await pending_rows.list_pending(connection, state, user_id)
        now = await stored_text.database_time(connection)
        known = await identity(connection, state)
    due = [entry for entry in pending if everything or (not entry.set_aside and (entry.next_try or now) <= now)]
    spooled = len(Spool(known)) if known else 0
    return len(due) + spooled, len(pending) + spooled
