"""Opening a conversation, and the one question that may have to be asked first."""

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
    """Open the conversation that `options` name, asking first when tables have to be added to an older schema.

    Raises what `Conversation.open` raises, and DeclinedError when the person said no; without `ask` and without
    `--yes` the question is the error.
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
        if not await ask(f"An older agno made the tables in {needed.database}. Add {names}, and change nothing else?"):
            raise DeclinedError(
                "no table was added; chat cannot go on without", hint="or name another schema with JUNKIE_SCHEMA"
            ) from None
    return await attempt(True)
