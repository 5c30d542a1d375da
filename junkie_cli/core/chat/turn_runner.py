"""Runs one turn: calls the model, streams the answer, stores the turn, then extracts memories.

The run and its pending extraction are committed in one transaction and read back before the answer is reported as
complete. The memories and the deletion of the pending extraction are committed in another one. An interruption (Ctrl-C,
a signal, a lost database) leaves either the pending extraction or the memories.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import ceil
from typing import Any
from uuid import uuid4

from junkie_cli.core.agent import call_log
from junkie_cli.core.agent.agno_adapter import TeamTurn, team_turn, under_way
from junkie_cli.core.agent.agno_rows import opening, unended_run
from junkie_cli.core.agent.bounds import Bounds, Budget, spending
from junkie_cli.core.agent.call_log import CallEvent, CallLog, HistoryCut, Retry, record_calls
from junkie_cli.core.agent.engine import TeamEngine
from junkie_cli.core.agent.memory_manager import MOST_CHANGES, Extraction
from junkie_cli.core.agent.model_errors import ModelError
from junkie_cli.core.agent.team import HeroTeam
from junkie_cli.core.chat.answer_habits import AnswerHabits
from junkie_cli.core.chat.events import (
    AnswerComplete,
    ChatEvent,
    Delta,
    Done,
    Failed,
    MemoryEvent,
    Provisional,
    Reasoning,
    Tool,
    Usage,
    Waiting,
    Warning,
    memory_event,
)
from junkie_cli.core.chat.heartbeat import Heartbeat
from junkie_cli.core.chat.pending_retry import ABOUT_THIS_MESSAGE, leased, note_failure
from junkie_cli.core.errors import DatabaseError, JunkieError
from junkie_cli.core.memories.change_log import ErasedError
from junkie_cli.core.schema.runs import LEASE
from junkie_cli.core.schema.stored_text import storable
from junkie_cli.core.turns.history import TEAM_ID
from junkie_cli.core.turns.memory_choice import MEMORY_BUDGET
from junkie_cli.core.turns.types import Pending, Reading, Turn, TurnRecord

_TOOL_STATUS = {
    "TeamToolCallStarted": "started",
    "TeamToolCallCompleted": "completed",
    "TeamToolCallError": "failed",
}

Emit = Callable[[ChatEvent], None]


class TurnRunner:
    """Runs one turn and passes its events to `emit`. `turn` is None until it has begun.

    With `report_left_out` a warning reports that not all memories fit into the prompt, with `report_history_cut` that
    the history does not fit; `history_cut` is set in that case. With `hold` the text of an unknown model is emitted
    when it is known not to be reasoning.
    """

    def __init__(
        self,
        engine: TeamEngine,
        emit: Emit,
        *,
        report_left_out: bool,
        report_history_cut: bool = True,
        hold: bool = False,
    ) -> None:
        self._engine = engine
        self._turns = engine.turns
        self._emit = emit
        self._report_left_out = report_left_out
        self._report_history_cut = report_history_cut
        self.history_cut = False
        self._answer: list[str] = []
        self._begins: list[int] = []  # the position in the answer where each call of the main model begins
        self._retracted = 0  # number of the last call whose text turned out to be reasoning
        self._habits = AnswerHabits(engine.models.main_choice)
        self._holds = hold and not self._habits.are_known
        self._given = 0  # pieces of the answer that were emitted
        self._error: JunkieError | None = None
        self._complete = False
        self._usage: Usage | None = None
        self.turn: Turn | None = None

    async def run(self, user_id: str, session_id: str, message: str) -> None:
        """Run the turn. Never raises for failures of a provider or the database: `Done` reports them."""
        try:
            async with self._engine.teams.lease(user_id) as hero:
                budget = MEMORY_BUDGET if hero.memory else 0
                reading = Reading(
                    self._engine.settings.agent_history_runs, budget, count_left_out=self._report_left_out
                )
                self.turn = await self._turns.begin(user_id, session_id, storable(message), reading)
                self._warn_left_out(self.turn)
                await self._answered_and_stored(hero, self.turn)
        except JunkieError as error:
            self._fail(error)
        except asyncio.CancelledError:
            pass  # what arrived is stored; `Done` reports that the answer is incomplete
        self.done(user_id, session_id)

    def done(self, user_id: str, session_id: str) -> None:
        """Emit the end of the turn."""
        run_id = self.turn.run_id if self.turn else ""
        answer = "".join(self._answer)
        memories = self.turn.memories if self.turn else ()
        self._emit(Done(session_id, run_id, user_id, answer, self._complete, self._usage, self._error, memories))

    def _fail(self, error: JunkieError) -> None:
        self._give_out()  # what came before it
        self._error = error
        self._emit(Failed(error))

    def _warn_left_out(self, turn: Turn) -> None:
        if self._report_left_out and turn.memories_left_out:
            whole = len(turn.memories) + turn.memories_left_out
            self._emit(
                Warning(
                    f"{len(turn.memories)} of {whole} memories go into the prompt, the nearest and the newest: "
                    f"it has room for about {MEMORY_BUDGET} tokens of them"
                )
            )

    # -- the answer ----------------------------------------------------------------------------------------------------

    async def _answered_and_stored(self, hero: HeroTeam, turn: Turn) -> None:
        current, model = team_turn(turn), self._engine.models.main.id
        pending = self._pending(hero, turn)
        record = opening(turn, model=model, team_data=hero.team_data(), pending=pending)
        heartbeat = Heartbeat(self._turns, record)
        try:
            shortened = await self._stream(hero, current)
        except asyncio.CancelledError:
            current.run = unended_run(turn, "".join(self._answer), status="CANCELLED", model=model)
            if await self._store(current, heartbeat) and pending is not None:
                self._emit(MemoryEvent("pending", None, None))
            raise
        if self._error is not None:
            current.run = unended_run(turn, "".join(self._answer), status="ERROR", model=model)
        elif shortened is not None:  # stored as the answer that it is: the next turn can ask for the rest
            self._fail(shortened)
        if not await self._store(current, heartbeat):
            return
        if self._error is None:
            self._emit(AnswerComplete())
        if hero.memory is not None:
            await self._remember(hero, turn, pending)

    def _pending(self, hero: HeroTeam, turn: Turn) -> Pending | None:
        if hero.memory is None or not self._turns.keeps_pending:
            return None
        return Pending(
            str(uuid4()),
            turn.user_id,
            turn.session_id,
            turn.run_id,
            turn.message,
            turn.context,
            team_id=TEAM_ID,
            created_at=turn.began,
        )

    async def _stream(self, hero: HeroTeam, turn: TeamTurn) -> JunkieError | None:
        """Emit the answer as it arrives; return why it is incomplete, None if it is complete."""
        budget = Budget(Bounds.of(self._engine.settings))
        with under_way(turn), record_calls(self._report) as log, spending(budget):
            try:
                async with budget.time_limit():
                    async for event in hero.events(turn):
                        self._retract(log)
                        self._take(event, log, budget)
                        await asyncio.sleep(0)  # the reader gets each piece, not all pieces of one packet together
            except JunkieError as error:
                self._fail(error)
            except Exception as error:  # a bug in agno must not lose the text so far
                self._fail(_team_error(type(error).__name__))
            finally:
                self._usage = _usage(log)
                self._give_out()
        if self._error is None and turn.run is None:
            self._fail(_team_error("it gave no run"))
        if self._retracted:
            ends = [*self._begins[1:], len(self._answer)]
            turn.keep_answers(["".join(self._answer[begin:end]) for begin, end in zip(self._begins, ends, strict=True)])
        shortened = next(iter(log.warnings()), None)
        self._complete = self._error is None and shortened is None
        if self._complete:
            self._note_habits(hero)
        return shortened

    def _note_habits(self, hero: HeroTeam) -> None:
        """Keep what this answer shows of the model, and report a tool call that nothing answers."""
        self._habits.note(retracted=bool(self._retracted))
        if self._habits.writes_calls("".join(self._answer), hero.tool_names):
            self._emit(
                Warning(
                    "the answer contains a tool call that the model wrote as text, so it was not made; with "
                    "JUNKIE_TOOLS=off the model answers without tools"
                )
            )

    def _give_out(self) -> None:
        """Emit the part of the answer that was held."""
        for text in self._answer[self._given :]:
            self._emit(Delta(text))
        self._given = len(self._answer)
        self._holds = False

    def _take(self, event: Any, log: CallLog, budget: Budget) -> None:
        kind = event.event
        if kind == "TeamRunContent":
            self._take_content(event)
        elif kind in _TOOL_STATUS:
            self._emit(Tool(event.tool.tool_name or "", _TOOL_STATUS[kind]))
        elif kind == "TeamRunError":
            self._fail(budget.reached or log.failure() or _team_error(event.error_type or "error"))

    def _retract(self, log: CallLog) -> None:
        """Remove text from the answer that turned out to be reasoning."""
        calls = [call for call in log.calls if call.part == "main"]
        self._begins += [len(self._answer)] * (len(calls) - len(self._begins))
        if calls and calls[-1].retracted and self._retracted < len(calls):
            self._retracted = len(calls)
            if self._given > self._begins[-1]:
                self._emit(Warning("the text so far was the model's reasoning; its answer begins here"))
            del self._answer[self._begins[-1] :]
            self._given = min(self._given, len(self._answer))
            self._give_out()

    def _take_content(self, event: Any) -> None:
        if event.reasoning_content:
            if not self._answer:  # the server separates reasoning from text
                self._holds = False
            self._emit(Reasoning(storable(event.reasoning_content)))
        if isinstance(event.content, str) and event.content:
            text = storable(event.content)
            self._answer.append(text)
            if self._holds:
                self._emit(Provisional(text))
            else:
                self._give_out()

    def _report(self, event: CallEvent) -> None:
        if isinstance(event, Retry):
            soon = "" if event.seconds <= 1 else f" in {ceil(event.seconds)} s"
            self._emit(Warning(f"{event.error.message}; trying again{soon}"))
        elif isinstance(event, HistoryCut):
            self._report_cut(event)
        else:
            self._report_wait(event)

    def _report_cut(self, cut: HistoryCut) -> None:
        if self._report_history_cut and not self.history_cut:
            exchanges = "oldest exchange does" if cut.exchanges == 1 else f"{cut.exchanges} oldest exchanges do"
            self._emit(
                Warning(
                    f"the {exchanges} not fit into the {cut.tokens:,} tokens that {cut.model} can read, and were left "
                    "out of this conversation's history"
                )
            )
        self.history_cut = True

    def _report_wait(self, event: CallEvent) -> None:
        if isinstance(event, call_log.ModelWait):
            endpoint = event.choice.endpoint
            self._emit(Waiting(event.choice.model, endpoint.label, endpoint.is_local, event.loading))

    # -- storing -------------------------------------------------------------------------------------------------------

    async def _store(self, current: TeamTurn, heartbeat: Heartbeat) -> bool:
        record = heartbeat.ended(current.rows())
        try:
            await heartbeat.over()
            record = heartbeat.ended(record.runs)
            await self._turns.complete(record, lease=LEASE)
        except JunkieError as error:
            self._not_stored(record, error)
            return False
        except asyncio.CancelledError:
            stopped = DatabaseError(
                "the chat was stopped before this exchange was stored",
                hint="send the message again in the next conversation",
                code="database_lost",
            )
            self._not_stored(record, stopped)
            raise
        return True

    def _not_stored(self, record: TurnRecord, error: JunkieError) -> None:
        sentence = "this exchange is not stored"
        if isinstance(error, DatabaseError):
            kept = self._turns.keep(record)
            sentence += f" yet{kept}" if kept else ""
        if self._error is None:
            self._error = error
        else:
            sentence += f": {error.message}"
        self._emit(Warning(sentence))

    # -- memories ------------------------------------------------------------------------------------------------------

    async def _remember(self, hero: HeroTeam, turn: Turn, pending: Pending | None) -> None:
        if self._error is not None and self._would_fail_again(self._error):
            await self._put_off(pending, self._error)
            return
        try:
            await asyncio.sleep(0)  # whoever waits for the answer learns first that it is complete
            await self._extract(hero, turn, pending)
        except ErasedError as error:
            self._emit(Warning(f"this message left no memories: {error.message}"))
        except JunkieError as error:
            await self._put_off(pending, error)
        except asyncio.CancelledError:
            if pending is not None:
                self._emit(MemoryEvent("pending", None, None))
            raise

    def _would_fail_again(self, error: JunkieError) -> bool:
        """Whether the memory model uses the provider that has just failed, and would fail as well."""
        models = self._engine.models
        same = models.main_choice.endpoint == models.memory_choice.endpoint
        return same and isinstance(error, ModelError) and error.code not in ABOUT_THIS_MESSAGE

    async def _extract(self, hero: HeroTeam, turn: Turn, pending: Pending | None) -> None:
        assert hero.memory is not None
        async with hero.extracting:
            pending_id = pending.pending_id if pending else None
            async with leased(self._turns, pending_id):
                with record_calls(self._report_wait):
                    extraction = await hero.memory.extract(
                        turn.user_id, turn.message, turn.context, turn.memories, turn.began
                    )
            completed = pending_id if extraction.error is None else None
            made = await self._turns.commit_memories(extraction.changes, completed, by="team", began=turn.began)
            await self._turns.refresh_search(turn.user_id)
        for change in made or ():
            self._emit(memory_event(change))
        for sentence in _reached_bounds(extraction):
            self._emit(Warning(sentence))
        if extraction.error is not None:
            raise extraction.error

    async def _put_off(self, pending: Pending | None, error: JunkieError) -> None:
        if pending is None:
            self._emit(Warning(f"this message was not searched for memories, and will not be: {error.message}"))
            return
        self._emit(MemoryEvent("pending", None, None))
        if error is not self._error:
            self._emit(Warning(f"the memories of this message are pending: {error.message}"))
        with suppress(DatabaseError):  # the entry is there; only its count of attempts is behind
            await note_failure(self._turns, pending.pending_id, error)


def _reached_bounds(extraction: Extraction) -> Sequence[str]:
    found = []
    if extraction.bounded:
        found.append(f"the memory model requested too many changes; only the first {MOST_CHANGES} were made")
    if extraction.refused:
        found.append(f"the memory model named a memory that is not this user's ({extraction.refused} times): refused")
    if extraction.refused_clears:
        found.append(f"the memory model requested to delete all memories ({extraction.refused_clears} times): refused")
    if extraction.secrets:
        found.append(f"{extraction.secrets} memories contained what looks like a password or a key: not stored")
    if extraction.from_questions:
        made = "memory was" if extraction.from_questions == 1 else "memories were"
        found.append(f"{extraction.from_questions} {made} made of what is only a question or a greeting: not kept")
    if extraction.left_unread:
        found.append(f"the last {extraction.left_unread} characters of the message were not searched for memories")
    return found


def _usage(log: CallLog) -> Usage | None:
    calls = [call for call in log.calls if call.part != "memory"]
    usage = Usage(
        sum(call.input_tokens for call in calls),
        sum(call.output_tokens for call in calls),
        sum(call.total_tokens for call in calls),
    )
    return usage if usage != Usage(0, 0, 0) else None


def _team_error(what: str) -> JunkieError:
    return JunkieError(f"the team could not answer ({what})", hint="junkie -v shows what agno logged", code="team")
