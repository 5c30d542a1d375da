"""One person's conversation with the team: opened once, then turn after turn."""

from collections.abc import AsyncIterator, Callable

from junkie_cli.core.chat.events import ChatEvent, Exchange, MemoryEntry, SessionEntry, Status
from junkie_cli.core.errors import UsageError
from junkie_cli.core.settings import Settings


class TablesNeededError(UsageError):
    """The schema was written by an older agno and chat would have to add `tables` first; nothing was changed.

    Ask, and open again with `may_add_tables=True`.
    """

    default_code = "tables_needed"

    def __init__(self, tables: tuple[str, ...], database: str) -> None:
        names = ", ".join(tables)
        super().__init__(
            f"the tables in {database} were made by an older agno: chat would add {names}, and change nothing else",
            hint="say yes (--yes without a terminal), or name another JUNKIE_SCHEMA",
        )
        self.tables = tables
        self.database = database


class Conversation:
    """A conversation of `user_id`; make it with `open`, end it with `close` (or use it as `async with`).

    All of it belongs to the event loop that opened it. One turn at a time: `send` raises UsageError while another
    turn is under way.
    """

    user_id: str
    session_id: str
    notes: tuple[str, ...]
    """What the user should be told before the first answer, one sentence each (no database, rehearsal model, ...)."""

    @classmethod
    async def open(
        cls,
        settings: Settings,
        user_id: str,
        *,
        session_id: str | None = None,
        continue_latest: bool = False,
        offline: bool = False,
        memory: bool = True,
        database: bool = True,
        may_add_tables: bool = False,
        on_progress: Callable[[str], None] | None = None,
    ) -> "Conversation":
        """Load the team and make the database ready (creating the embedded one): call it while the user types.

        `session_id` goes on with that session or begins it, `continue_latest` with the user's latest (none: a new
        one, and a note says so). `memory=False` puts no memories in and extracts none; `database=False` keeps nothing.
        Raises TablesNeededError, SettingsError (no key), DatabaseError, NotFoundError (a session of somebody else).
        """
        raise NotImplementedError

    def send(self, message: str) -> AsyncIterator[ChatEvent]:
        """One turn. Never raises for a provider or database failure: `Done.error` and `Warning` tell it.

        Cancelling the task that iterates stores what was streamed so far, marked CANCELLED, before CancelledError
        goes on; during extraction the turn is already stored and the extraction stays pending.
        """
        raise NotImplementedError

    async def memories(self, text: str | None = None) -> list[MemoryEntry]:
        """The user's memories, newest first; with `text` those that contain it, in any case."""
        raise NotImplementedError

    async def remember(self, text: str) -> MemoryEntry:
        """Write a memory in these words, without a model."""
        raise NotImplementedError

    async def forget(self, memory_id: str) -> MemoryEntry:
        """Delete one memory of this user and return what went; a prefix of the id is enough when it is unique.

        Raises NotFoundError when there is none, UsageError when several begin so.
        """
        raise NotImplementedError

    def why(self) -> tuple[MemoryEntry, ...]:
        """The memories that went into the last answer's prompt."""
        raise NotImplementedError

    async def history(self) -> list[Exchange]:
        """The exchanges of this session, oldest first."""
        raise NotImplementedError

    async def sessions(self, limit: int = 20) -> list[SessionEntry]:
        """This user's sessions, newest first."""
        raise NotImplementedError

    async def resume(self, session_id: str) -> None:
        """Go on with a session of this user; a unique prefix is enough. Raises NotFoundError, UsageError."""
        raise NotImplementedError

    def new(self) -> str:
        """Begin a new session and return its id."""
        raise NotImplementedError

    async def switch_user(self, user_id: str) -> None:
        """Go on as another person, in a new session. Raises UsageError for an empty id."""
        raise NotImplementedError

    async def status(self) -> Status:
        """What this conversation stands on."""
        raise NotImplementedError

    async def close(self) -> None:
        """Give connections and clients back; safe to call twice."""
        raise NotImplementedError

    async def __aenter__(self) -> "Conversation":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
