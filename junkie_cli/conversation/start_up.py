"""Opens a conversation, and asks first if tables must be added to an older schema."""

from collections.abc import Awaitable, Callable

from junkie_cli.conversation.options import Options
from junkie_cli.core.chat import Conversation, TablesNeededError
from junkie_cli.core.errors import DeclinedError
from junkie_cli.core.progress import Progress
from junkie_cli.core.settings import Settings


async def open_conversation(
    settings: Settings,
    options: Options,
    *,
    ask: Callable[[str], Awaitable[bool]] | None,
    progress: Progress,
) -> Conversation:
    """Open the conversation, asking first if tables must be added to an older schema.

    Raises as `Conversation.open`, and DeclinedError if the answer is no; without `ask` and `--yes`, raises an error
    instead of asking.
    """

    async def attempt(may_add_tables: bool) -> Conversation:
        return await Conversation.open(
            settings,
            settings.user,
            session_id=options.session,
            continue_latest=options.continue_latest,
            offline=options.offline,
            memory=options.memory,
            database=options.database,
            may_add_tables=may_add_tables,
            progress=progress,
        )

    try:
        return await attempt(options.yes)
    except TablesNeededError as needed:
        if ask is None:
            raise
        names = ", ".join(needed.tables)
        if not await ask(
            f"An older agno created the tables in {needed.database}. Add {names}, and change nothing else?"
        ):
            raise DeclinedError(
                "no table was added; chat needs these tables", hint="use another schema: JUNKIE_SCHEMA"
            ) from None
    return await attempt(True)
