"""Extractions that have not succeeded yet, as a person asks for them."""

from junkie_cli.core.database import connect, label
from junkie_cli.core.errors import DatabaseError, ResultWarning
from junkie_cli.core.schema import row_security, tables
from junkie_cli.core.schema.tables import PENDING
from junkie_cli.core.settings import Settings
from junkie_cli.core.turns import pending_rows
from junkie_cli.core.turns.pending_rows import Pending
from junkie_cli.core.turns.spool import Spool, identity, waiting
from junkie_cli.core.value_class import frozen


@frozen
class PendingExtractions:
    """What is pending, oldest first; those in this machine's spool last."""

    pending: tuple[Pending, ...]
    warnings: tuple[ResultWarning, ...] = ()


async def list_pending(settings: Settings, user_id: str | None = None) -> PendingExtractions:
    """Pending extractions, oldest first: of one user, or of all, with those that wait in this machine's spool.

    Empty where nothing was ever written down. Raises DatabaseError, which tells how many are in the spool.
    """
    try:
        async with connect(settings) as connection, connection.transaction():
            state = await tables.inspect(connection, settings.layout)
            found = await pending_rows.list_pending(connection, state, user_id)
            known = await identity(connection, state)
    except DatabaseError as error:
        if count := waiting(label(settings)):
            kept = f"{count} exchange(s) wait for it on this machine: junkie memories retry when it is back"
            raise DatabaseError(error.message, hint=f"{error.hint}; {kept}", code=error.code) from None
        raise
    found += Spool(known).pending(user_id) if known else []
    return PendingExtractions(tuple(found), row_security.warnings(state, PENDING))
