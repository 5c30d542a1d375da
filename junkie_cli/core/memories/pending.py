"""Extractions that have not succeeded yet, as a person asks for them."""

from junkie_cli.core import journal, schema
from junkie_cli.core.database import connect
from junkie_cli.core.journal import Pending
from junkie_cli.core.settings import Settings


async def list_pending(settings: Settings, user_id: str | None = None) -> list[Pending]:
    """Pending extractions, oldest first: of one user, or of all. Empty where nothing was ever written down."""
    async with connect(settings, read_only=True) as connection, connection.transaction():
        state = await schema.inspect(connection, settings.schema)
        return await journal.list_pending(connection, state, user_id)
