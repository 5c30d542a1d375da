"""Runs checks: independent ones at the same time, each in its own thread with a time limit, all within a deadline."""

import asyncio
import traceback
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import PurePath

from junkie_cli.core.doctor.context import Context
from junkie_cli.core.doctor.model import (
    FAILED,
    OK,
    SKIPPED,
    Check,
    DependencyNotMet,
    Finding,
    Report,
    Result,
    failed,
    unknown,
)
from junkie_cli.core.doctor.worker import Worker
from junkie_cli.core.errors import DatabaseError, JunkieError, UsageError
from junkie_cli.core.settings import redact

TIMEOUT, DEEP_TIMEOUT = 15.0, 60.0
"""Total seconds, without and with the deep checks."""

_GRACE = 1.5  # seconds at most for cancelled checks to clean up


def choose(checks: Sequence[Check], only: Sequence[str], *, deep: bool) -> tuple[Check, ...]:
    """Return the checks to report: all, or those in `only` (ids, or the word before the dot for a group).

    Raises UsageError for unknown ids, and for a deep check without `deep`.
    """
    if not only:
        return tuple(check for check in checks if deep or not check.deep)
    wanted: set[str] = set()
    for name in only:
        found = [check for check in checks if name in (check.id, check.id.partition(".")[0])]
        if not found:
            raise _unknown(name, checks)
        if not deep and all(check.deep for check in found):
            raise UsageError(f"{name} runs only with --deep", hint=f"junkie doctor --deep --only {name}")
        wanted |= {check.id for check in found if deep or not check.deep}
    return tuple(check for check in checks if check.id in wanted)


def _unknown(name: str, checks: Sequence[Check]) -> UsageError:
    near = get_close_matches(name, [check.id for check in checks], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "to list all checks: junkie doctor --json"
    return UsageError(f"unknown check {name}", hint=hint)


_TOO_SLOW = frozenset({"database_timeout", "database_locked"})


async def examine(
    checks: Sequence[Check],
    context: Context,
    *,
    report: Sequence[Check] | None = None,
    timeout: float = TIMEOUT,
    on_result: Callable[[Result], None] = lambda _: None,
    on_running: Callable[[Sequence[str]], None] = lambda _: None,
) -> Report:
    """Run `report` (default: all of `checks`) and their dependencies; end within `timeout` seconds in any case.

    `on_result` gets the results in the order of the list, each as soon as it and all before it are known; `on_running`
    gets the ids of running checks on every change.
    """
    shown = tuple(checks if report is None else report)
    run = _CheckRun(_with_needs(checks, shown), context, timeout, on_running)
    results: dict[str, Result] = {}
    waiting = list(shown)
    async with aclosing(run.results()) as found:
        async for result in found:
            results[result.id] = result
            while waiting and waiting[0].id in results:
                on_result(results[waiting.pop(0).id])
    return Report(tuple(results[check.id] for check in shown))


def _with_needs(checks: Sequence[Check], wanted: Sequence[Check]) -> tuple[Check, ...]:
    """Return `wanted` and all their dependencies, without those that they would only wait for."""
    by_id = {check.id: check for check in checks}
    found: set[str] = set()
    open_ = [check.id for check in wanted]
    while open_:
        check = by_id[open_.pop()]
        if check.id not in found:
            found.add(check.id)
            open_ += [*check.needs, *check.after]
    return tuple(check for check in checks if check.id in found)


@dataclass(slots=True)
class _Running:
    worker: Worker
    timer: asyncio.TimerHandle


class _CheckRun:
    """One run of checks."""

    def __init__(
        self,
        checks: Sequence[Check],
        context: Context,
        timeout: float,
        on_running: Callable[[Sequence[str]], None],
    ) -> None:
        self._checks = {check.id: check for check in checks}
        self._context = context
        self._on_running = on_running
        self._loop = asyncio.get_running_loop()
        self._grace = min(_GRACE, timeout / 5)
        self._deadline = self._loop.time() + timeout - self._grace
        self._timeout = timeout
        self._results: dict[str, Result] = {}
        self._blocked: dict[str, str] = {}  # a blocking check, and the check that caused it
        self._running: dict[str, _Running] = {}
        self._left: list[Worker] = []
        self._over = False
        self._ended: set[Worker] = set()
        self._news: asyncio.Queue[tuple[str, Finding | BaseException]] = asyncio.Queue()

    async def results(self) -> AsyncGenerator[Result, None]:
        """Yield results as they arrive."""
        over = self._loop.call_at(self._deadline, self._end_of_time)
        try:
            while len(self._results) < len(self._checks):
                for result in self._begin():
                    yield result
                if len(self._results) == len(self._checks):
                    break
                self._on_running(list(self._running))
                check_id, outcome = await self._news.get()
                if check_id in self._results:
                    continue
                if check_id in self._running:
                    self._running.pop(check_id).timer.cancel()
                yield self._ended_with(self._checks[check_id], outcome)
        finally:
            over.cancel()
            await self._cancel_running()

    def _begin(self) -> list[Result]:
        """Start checks that can start; return results of those that never will."""
        skipped: list[Result] = []
        again = True
        while again:
            again = False
            for check in self._checks.values():
                if check.id in self._results or check.id in self._running:
                    continue
                if waits := self._waits_for(check):
                    skipped.append(self._ended_with(check, waits))
                    again = True
                elif all(other in self._results for other in (*check.needs, *check.after)):
                    self._start(check)
        return skipped

    def _waits_for(self, check: Check) -> DependencyNotMet | None:
        blocking = next((other for other in check.needs if other in self._blocked), None)
        if blocking is not None:
            return DependencyNotMet(self._blocked[blocking])
        if self._over:
            others = [other for other in (*check.needs, *check.after) if other not in self._results]
            return DependencyNotMet(others[0] if others else check.id, "no time left")
        problem = self._context.problem(*check.variables)
        if problem is not None and "settings.values" in self._results:
            return DependencyNotMet("settings.values", f"{problem.name} cannot be used")
        return None

    def _start(self, check: Check) -> None:
        limit = check.limit * self._context.patience

        def ended(result: Finding | None, error: BaseException | None) -> None:
            outcome = error if error is not None else result
            assert outcome is not None
            try:
                self._loop.call_soon_threadsafe(lambda: self._take(check.id, worker, outcome))
            except RuntimeError:
                return  # the run has ended

        timer = self._loop.call_later(limit, self._out_of_time, check, limit)
        worker = Worker(_judged(check, self._context), ended)
        self._running[check.id] = _Running(worker, timer)

    def _take(self, check_id: str, worker: Worker, outcome: Finding | BaseException) -> None:
        self._ended.add(worker)
        self._news.put_nowait((check_id, outcome))

    def _out_of_time(self, check: Check, limit: float) -> None:
        running = self._running.get(check.id)
        if running is None:
            return
        running.worker.cancel()
        self._left.append(running.worker)
        self._news.put_nowait((check.id, self._too_slow(check, f"timed out after {limit:g} seconds")))

    def _too_slow(self, check: Check, detail: str) -> Finding:
        deep = " --deep" if check.deep else ""
        hint = f"try again with more time: junkie doctor{deep} --only {check.id} --timeout {4 * self._timeout:g}"
        return failed(detail, hint) if check.asks else unknown(detail, hint, blocks=not check.reads_all)

    def _end_of_time(self) -> None:
        """Report running checks as unknown, and waiting checks as skipped."""
        self._over = True
        for check_id in list(self._running):
            self._out_of_time(self._checks[check_id], self._timeout)

    def _ended_with(self, check: Check, outcome: Finding | BaseException) -> Result:
        if isinstance(outcome, DatabaseError) and outcome.code in _TOO_SLOW and self._is_reachable():
            why = "a large table, or a lock" if outcome.code == "database_timeout" else outcome.message
            outcome = self._too_slow(check, f"timed out: {why}")
        result, blocks = _result(check, outcome)
        if blocks:
            self._blocked[check.id] = outcome.check_id if isinstance(outcome, DependencyNotMet) else check.id
        hide = self._hide
        parts = tuple((hide(detail), hide(hint)) for detail, hint in result.parts)
        result = replace(result, detail=hide(result.detail), hint=hide(result.hint), parts=parts)
        self._results[check.id] = result
        return result

    def _is_reachable(self) -> bool:
        """Return whether the database responds: then a single statement is slow."""
        found = self._results.get("database.reachable")
        return found is not None and found.status == OK

    def _hide(self, text: str) -> str:
        return redact(text, self._context.settings_in_force, self._context.environ)

    async def _cancel_running(self) -> None:
        """Cancel running checks, and wait a moment for them."""
        for running in self._running.values():
            running.timer.cancel()
            running.worker.cancel()
            self._left.append(running.worker)
        end = self._loop.time() + self._grace
        while any(worker not in self._ended for worker in self._left) and self._loop.time() < end:
            await asyncio.sleep(0.02)


async def _judged(check: Check, context: Context) -> Finding:
    return await check.run(context)


def _result(check: Check, outcome: Finding | BaseException) -> tuple[Result, bool]:
    """Return the result, and whether it blocks dependent checks."""
    if isinstance(outcome, Finding):
        fields = (outcome.status, outcome.detail, outcome.hint, outcome.fixes, outcome.parts)
        return Result(check.id, check.title, *fields), outcome.blocks
    if isinstance(outcome, DependencyNotMet):
        reason = f": {outcome.reason}" if outcome.reason else ""
        return Result(check.id, check.title, SKIPPED, f"waits for {outcome.check_id}{reason}"), True
    if isinstance(outcome, JunkieError):
        return Result(check.id, check.title, FAILED, outcome.message, outcome.hint), True
    return (
        Result(
            check.id,
            check.title,
            FAILED,
            f"internal error in this check: {type(outcome).__name__}{_where(outcome)}",
            "please report it as a bug",
        ),
        True,
    )


def _where(error: BaseException) -> str:
    """Return the file and line that raised; the message of the error can quote secrets or personal data."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "junkie_cli" in frame.filename]
    return f" ({PurePath(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
