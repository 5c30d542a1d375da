"""What agno sees of the database: a hardened AsyncPostgresDb that can neither swallow an error nor reach another user.

Agno reads a session at the start of a run and writes it at the end, and reports every failure of both as success
(each of AsyncPostgresDb's methods swallows; the team swallows what they would raise). So nothing is left to it: our
own turn store (`core/turns/`) reads before agno begins and writes after it has ended, each in one transaction whose
errors surface; in between, agno is handed one `TeamTurn` and gives its results to it. Every other method refuses.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from agno.db.base import SessionType
from agno.db.postgres import AsyncPostgresDb
from agno.run.agent import RunOutput
from agno.run.team import TeamRunOutput
from agno.session import TeamSession
from sqlalchemy.ext.asyncio import create_async_engine

from junkie_cli.core.agent.agno_rows import run_row, session_of
from junkie_cli.core.table_layout import Layout
from junkie_cli.core.turns.access_log import log_refusal
from junkie_cli.core.turns.types import RunRow, Turn


@dataclass(slots=True)
class TeamTurn:
    """One turn as agno sees it: what was read for it, and what agno gives to be stored.

    `session` is None when agno is to begin it.
    """

    turn: Turn
    session: TeamSession | None = None
    run: TeamRunOutput | None = None
    member_runs: list[RunOutput | TeamRunOutput] = field(default_factory=list)
    closed: bool = False

    def keep_answers(self, answers: Sequence[str]) -> None:
        """Leave nothing in the run of thoughts that came as text: `answers` are the texts of the model's calls."""
        if self.run is None:
            return
        self.run.content = "".join(answers)
        own = [one for one in self.run.messages or () if one.role == "assistant" and not one.from_history]
        for message, answer in zip(reversed(own), reversed(answers), strict=False):
            message.content = answer

    def take_run(self, run: RunOutput | TeamRunOutput) -> None:
        """Keep a run that agno wants stored: the turn's own, or one of a member."""
        if self.closed:
            return  # agno's own detached write of a cancelled run, which comes after ours
        if run.run_id == self.turn.run_id and isinstance(run, TeamRunOutput):
            self.run = run
        else:
            self.member_runs.append(run)

    def rows(self) -> tuple[RunRow, ...]:
        """The rows of the turn's runs, its own first."""
        assert self.run is not None
        return tuple(run_row(run) for run in (self.run, *self.member_runs))


_turn: ContextVar[TeamTurn] = ContextVar("turn")


def team_turn(turn: Turn) -> TeamTurn:
    """A turn that agno can work on."""
    return TeamTurn(turn, session_of(turn))


@contextmanager
def under_way(turn: TeamTurn) -> Iterator[None]:
    """Make `turn` the one that this task's calls of agno read from and write to."""
    token = _turn.set(turn)
    try:
        yield
    finally:
        turn.closed = True
        _turn.reset(token)


def current_turn(user_id: str | None, session_id: str | None = None) -> TeamTurn:
    """The turn under way in this task. Raises PermissionError when agno asks for another user or session."""
    current = _turn.get()
    turn = current.turn
    if user_id != turn.user_id or (session_id is not None and session_id != turn.session_id):
        log_refusal(turn.user_id, "data of user", str(user_id))
        raise PermissionError("agno asked for another user's data than this turn's")
    return current


_Class = TypeVar("_Class", bound=type)


def _refusing_the_rest(cls: _Class) -> _Class:
    """Let every public coroutine that `cls` only inherits from AsyncPostgresDb raise instead of swallowing."""
    for name, _ in inspect.getmembers(AsyncPostgresDb, inspect.iscoroutinefunction):
        if not name.startswith("_") and name not in vars(cls):
            setattr(cls, name, _refusal(name))
    return cls


def _refusal(name: str) -> Callable[..., Any]:
    async def refuse(*_: Any, **__: Any) -> None:
        log_refusal(None, f"AsyncPostgresDb.{name}")
        raise PermissionError(f"AsyncPostgresDb.{name} is not to be used: it hides errors or reaches other users' data")

    return refuse


@_refusing_the_rest
class TeamDatabase(AsyncPostgresDb):
    """The `db` of every team. Holds no connection: what it gives and takes is the turn's."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(
            id="junkie",  # the default is derived from the URL
            db_engine=create_async_engine("postgresql+asyncpg://", creator=_refuse_to_connect),
            db_schema=layout.schema,
            session_table=layout.sessions,
            runs_table=layout.runs,
            memory_table=layout.memories,
        )

    async def get_session(
        self,
        session_id: str,
        session_type: SessionType | None = None,
        user_id: str | None = None,
        deserialize: bool | None = True,
        runs_limit: int | None = None,
    ) -> TeamSession | None:
        """The turn's session as it was read when the turn began; None lets agno begin one."""
        return current_turn(user_id, session_id).session

    async def upsert_session(self, session: Any, deserialize: bool | None = True) -> Any:
        """Nothing: the session's row is written with the turn."""
        current_turn(session.user_id, session.session_id)
        return session

    async def upsert_run(
        self, run: Any, session_id: str, user_id: str | None = None, run_index: int | None = None
    ) -> None:
        """Keep a run for the write at the end of the turn; its index is given there, under a lock."""
        current_turn(user_id, session_id).take_run(run)

    async def update_approval_run_status(self, run_id: str, run_status: Any) -> int:
        """Nothing: there are no approvals (agno would look for their table at the end of every run)."""
        return 0

    async def close(self) -> None:
        """Nothing: there is no connection."""


def _refuse_to_connect() -> NoReturn:
    raise PermissionError("agno's storage has no connection of its own")
