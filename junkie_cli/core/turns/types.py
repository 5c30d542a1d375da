"""What a turn reads and what is stored of it, as plain frozen values that load nothing."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from junkie_cli.core.errors import UsageError
from junkie_cli.core.ranking.reason import Reason
from junkie_cli.core.schema.runs import RUNNING
from junkie_cli.core.value_class import frozen


@frozen
class MemoryEntry:
    """One memory of the user; `updated_at` in UTC, None when the table has none.

    `reason` is why it was chosen, where it was chosen for a prompt.
    """

    memory_id: str
    memory: str
    topics: tuple[str, ...]
    updated_at: datetime | None
    reason: Reason | None = None


# --- what a turn reads ------------------------------------------------------------------------------------------------


@frozen
class Reading:
    """How much a turn reads: the last `history_runs` runs, and memories of about `memory_budget` tokens (0: none).

    Memories left out for lack of room are counted only if `count_left_out`: that reads all of them.
    """

    history_runs: int
    memory_budget: int
    count_left_out: bool = True


@frozen
class SessionRow:
    """A session as it was read."""

    session_id: str
    user_id: str
    team_id: str | None = None
    data: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] | None = None
    created_at: int | None = None


@frozen
class Turn:
    """One exchange as it begins: the message, and what was read for it.

    `session` is None when it does not exist yet; `runs` are its last ones that go into the context, oldest first, as
    JSON objects. `context` holds the assistant's words that `message` answers. `began` is the database's clock, which
    an erasure and a changed memory are compared with; `timeline` is the server's, "" where it is not known: a server
    that took over has another one, and lacks what had not reached it.
    """

    user_id: str
    session_id: str
    run_id: str
    message: str
    began: datetime | None = None
    timeline: str = ""
    session: SessionRow | None = None
    runs: tuple[Mapping[str, Any], ...] = ()
    context: str = ""
    memories: tuple[MemoryEntry, ...] = ()
    memories_left_out: int = 0


# --- what is stored of a turn -----------------------------------------------------------------------------------------


@frozen
class RunRow:
    """A run as its row holds it: `run_type` is `team` or `agent`, `data` the run as JSON without its system prompt."""

    run_id: str
    run_type: str
    agent_id: str | None
    team_id: str | None
    parent_run_id: str | None
    status: str
    created_at: int
    data: str


@frozen
class Pending:
    """An extraction that has not succeeded yet: the user's message, and the assistant's words it answers (or "").

    Times are the server's, in UTC; `created_at` is when the message was said. `set_aside` once it has failed too often
    to be tried again by default.
    """

    pending_id: str
    user_id: str
    session_id: str | None
    run_id: str | None
    message: str
    context: str = ""
    """the assistant's words that the message answers"""
    team_id: str | None = None
    attempts: int = 0
    last_error: str | None = None
    created_at: datetime | None = None
    next_try: datetime | None = None
    set_aside: bool = False
    """failed too often: tried again only by memories retry --all"""
    spooled: bool = False
    """Whether it lies in this machine's spool because the database could not take it yet."""


@frozen
class TurnRecord:
    """What is stored of a turn: its runs (its own first, then those of members) and its pending extraction.

    `session_exists` once the database has had the session: missing later, it was deleted. `team_data` is what a new
    session's row holds of the team, as JSON.
    """

    user_id: str
    session_id: str
    run_id: str
    message: str
    began: datetime | None
    timeline: str
    session_exists: bool
    team_data: str | None
    runs: tuple[RunRow, ...]
    pending: Pending | None

    @property
    def run(self) -> RunRow:
        """The turn's own run."""
        return self.runs[0]

    @property
    def is_running(self) -> bool:
        """Whether the answer is not there yet."""
        return self.run.status == RUNNING


@frozen
class Flushed:
    """What became of turns that had been kept until the database is back.

    `stored` counts those that it has taken now, `in_memory` those that only this process still has.
    """

    stored: int = 0
    in_memory: int = 0


# --- what a person reads ----------------------------------------------------------------------------------------------


@frozen
class Exchange:
    """One run of a session: what the user said, what was answered; `at` in UTC.

    `status` is COMPLETED, CANCELLED, ERROR, or RUNNING: being answered, or its process was killed a moment ago.
    """

    run_id: str
    at: datetime | None
    status: str
    message: str
    answer: str


@frozen
class SessionEntry:
    """A session of the user: its name (or ""), the first words said in it, its runs, and when it was last used, UTC."""

    session_id: str
    name: str
    first_words: str
    runs: int
    updated_at: datetime | None


@frozen
class Counts:
    """What the database holds of one user; `first_seen` in UTC, None when there is nothing."""

    memories: int
    sessions: int
    pending: int
    first_seen: datetime | None


class TablesNeededError(UsageError):
    """The schema was written by an older agno and `tables` would have to be added to it; nothing was changed.

    Ask, and open again with `may_add_tables=True`.
    """

    default_code = "tables_needed"

    def __init__(self, tables: tuple[str, ...], database: str) -> None:
        super().__init__(
            f"the tables in {database} were created by an older agno: chat would add {', '.join(tables)}, "
            "and change no existing table",
            hint="agree (without a terminal: --yes), or name another schema with JUNKIE_SCHEMA",
        )
        self.tables = tables
        self.database = database
