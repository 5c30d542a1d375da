"""Checks run side by side, wait for what they need, and end in time whatever hangs."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from junkie_cli.core.doctor import runner
from junkie_cli.core.doctor.checks import CHECKS
from junkie_cli.core.doctor.context import Context
from junkie_cli.core.doctor.model import Check, DependencyNotMet, Finding, Report, Result, failed, ok, together, warning
from junkie_cli.core.errors import DatabaseError, UsageError

Run = Callable[[Context], Awaitable[Finding]]


def saying(finding: Finding) -> Run:
    async def run(_: Context) -> Finding:
        return finding

    return run


def raising(error: Exception) -> Run:
    async def run(_: Context) -> Finding:
        raise error

    return run


def check(check_id: str, run: Run | None = None, **more: Any) -> Check:
    return Check(check_id, check_id.title(), run or saying(ok("fine")), **more)


async def examined(checks: Sequence[Check], **options: Any) -> Report:
    return await runner.examine(checks, Context({}), **options)


def by_id(report: Report) -> dict[str, Result]:
    return {result.id: result for result in report.results}


# --- the catalogue ----------------------------------------------------------------------------------------------------

IDS = """settings.file settings.values settings.unknown settings.permissions settings.conflicts groq.key groq.accepts
provider.accepts model.chat model.memory model.latency database.url database.reachable database.async_url
database.server database.release database.rights database.connections database.activity database.time database.replica
embedded.major schema.tables schema.version schema.row_security
schema.junkie schema.indexes schema.bloat schema.location memory.enabled memory.roundtrip memory.pending memory.owners
memory.ids memory.sharing memory.size memory.rows backup.tools backup.age backup.space backup.ledger
backup.permissions bot.compatibility privacy.telemetry privacy.keys"""


def test_the_ids_are_those_that_scripts_know() -> None:
    assert [check.id for check in CHECKS] == IDS.split()
    assert {check.id for check in CHECKS if check.deep} == {"model.latency", "memory.roundtrip"}


def test_each_check_comes_after_what_it_needs() -> None:
    seen: set[str] = set()
    for each in CHECKS:
        assert {*each.needs} <= seen, each.id
        assert {*each.after} <= seen, each.id
        assert each.title
        seen.add(each.id)


def test_what_waits_in_a_chain_fits_into_the_time() -> None:
    needed: dict[str, float] = {}
    for each in CHECKS:
        before = max((needed[other] for other in (*each.needs, *each.after)), default=0.0)
        needed[each.id] = each.limit + before
    # A hanging server is given up by its own check long before the whole is; only chains of hangs are cut by that.
    assert needed["database.reachable"] - needed["database.url"] < runner.TIMEOUT / 2


def test_choosing() -> None:
    checks = [check("a.one"), check("a.two", deep=True), check("b.one")]
    assert [each.id for each in runner.choose(checks, [], deep=False)] == ["a.one", "b.one"]
    assert [each.id for each in runner.choose(checks, [], deep=True)] == ["a.one", "a.two", "b.one"]
    assert [each.id for each in runner.choose(checks, ["b.one", "a"], deep=False)] == ["a.one", "b.one"]
    with pytest.raises(UsageError, match=r"unknown check a\.ome") as caught:
        runner.choose(checks, ["a.ome"], deep=False)
    assert caught.value.hint == "did you mean a.one?"
    with pytest.raises(UsageError, match="runs only with --deep"):
        runner.choose(checks, ["a.two"], deep=False)


# --- running ----------------------------------------------------------------------------------------------------------


async def test_independent_checks_run_side_by_side() -> None:
    both = threading.Barrier(2, timeout=30)

    async def meets(_: Context) -> Finding:
        both.wait()  # blocks: each has a thread of its own
        return ok("met")

    report = await examined([check("a", meets), check("b", meets)])
    assert [result.detail for result in report.results] == ["met", "met"]


async def test_results_are_reported_in_order_as_soon_as_they_can_be() -> None:
    told: list[str] = []
    first = threading.Event()

    async def waits(_: Context) -> Finding:
        await asyncio.to_thread(first.wait, 30)
        return ok("late")

    async def frees(_: Context) -> Finding:
        first.set()
        return ok("early")

    checks = [check("a"), check("b", waits), check("c", frees)]
    await examined(checks, on_result=lambda result: told.append(result.id))
    assert told == ["a", "b", "c"]


async def test_a_failure_keeps_the_others_waiting_and_is_named() -> None:
    checks = [
        check("a", saying(failed("no", "mend it"))),
        check("b", needs=("a",)),
        check("c", needs=("b",)),
        check("d", after=("a",)),
        check("e", saying(failed("no", "mend it", blocks=False))),
        check("f", needs=("e",)),
        check("g", saying(warning("not there", "make it", blocks=True))),
        check("h", needs=("g",)),
        check("i", raising(DependencyNotMet("a", "because"))),
    ]
    found = by_id(await examined(checks))
    assert {key: result.status for key, result in found.items()} == {
        "a": "failed",
        "b": "skipped",
        "c": "skipped",
        "d": "ok",
        "e": "failed",
        "f": "ok",
        "g": "warning",
        "h": "skipped",
        "i": "skipped",
    }
    assert found["c"].detail == "waits for a"
    assert found["i"].detail == "waits for a: because"


async def test_only_what_was_asked_is_reported_but_what_it_needs_runs() -> None:
    ran: list[str] = []

    def noting(name: str) -> Run:
        async def run(_: Context) -> Finding:
            ran.append(name)
            return ok("")

        return run

    checks = [check("a", noting("a")), check("b", noting("b"), needs=("a",)), check("c", noting("c"))]
    report = await examined(checks, report=checks[1:2])
    assert ran == ["a", "b"]
    assert [result.id for result in report.results] == ["b"]


async def test_errors_become_results() -> None:
    error = DatabaseError("the server is away", hint="start it")
    found = by_id(await examined([check("a", raising(error)), check("b", raising(KeyError("secret")))]))
    assert (found["a"].status, found["a"].detail, found["a"].hint) == ("failed", "the server is away", "start it")
    assert found["b"].status == "failed"
    assert "KeyError" in found["b"].detail
    assert "secret" not in found["b"].detail


async def test_secrets_are_taken_out() -> None:
    context = Context({"GROQ_API_KEY": "gsk_very_secret"})
    checks = [check("a", saying(failed("it said gsk_very_secret", "not gsk_very_secret")))]
    (result,) = (await runner.examine(checks, context)).results
    assert "very_secret" not in result.detail + result.hint
    several = together([failed("gsk_very_secret", "x"), failed("b", "not gsk_very_secret")], ok(""))
    (result,) = (await runner.examine([check("a", saying(several))], context)).results
    assert len(result.pairs) == 2
    assert "very_secret" not in f"{result}"


async def test_a_check_that_hangs_is_given_up_and_gives_back_what_it_holds() -> None:
    given_back = threading.Event()

    async def hangs(_: Context) -> Finding:
        try:
            await asyncio.Event().wait()
        finally:
            given_back.set()
        return ok("")

    found = by_id(await examined([check("a", hangs, limit=0.1), check("b", needs=("a",)), check("c")]))
    assert found["a"].status == "unknown"
    assert "timed out" in found["a"].detail
    assert found["b"].detail == "waits for a"
    assert found["c"].status == "ok"
    assert given_back.wait(10)


async def test_the_whole_ends_in_time() -> None:
    async def hangs(_: Context) -> Finding:
        await asyncio.Event().wait()
        return ok("")

    checks = [check("a", hangs, limit=1000), check("b", needs=("a",)), check("c", after=("a",))]
    found = by_id(await examined(checks, timeout=0.3))
    assert [found[key].status for key in "abc"] == ["unknown", "skipped", "skipped"]
    assert "--timeout" in found["a"].hint


async def test_being_cancelled_lets_checks_clean_up() -> None:
    begun, cleaned = threading.Event(), threading.Event()

    async def hangs(_: Context) -> Finding:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()
        return ok("")

    task = asyncio.create_task(examined([check("a", hangs)]))
    await asyncio.to_thread(begun.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned.is_set()


HANGING = """
import asyncio, sys, threading
from junkie_cli.core.doctor import runner
from junkie_cli.core.doctor.context import Context
from junkie_cli.core.doctor.model import Check, ok

async def blocks(_):
    threading.Event().wait()

async def blocks_in_a_thread(_):
    await asyncio.to_thread(threading.Event().wait)

async def fine(_):
    return ok("fine")

checks = [Check("a", "A", blocks, limit=0.2), Check("b", "B", blocks_in_a_thread, limit=0.2), Check("c", "C", fine)]
report = asyncio.run(runner.examine(checks, Context({}), timeout=1))
print(*[result.status for result in report.results])
"""


def test_threads_that_hang_for_good_do_not_hold_up_the_end() -> None:
    done = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "unknown unknown ok\n", "")


# --- values -----------------------------------------------------------------------------------------------------------


def test_several_findings_are_as_bad_as_the_worst() -> None:
    fine = ok("fine")
    assert together([], fine) is fine
    assert together([ok("a")], fine) is fine
    whole = together([warning("a", "do x"), failed("b", "do y"), warning("c", "do x")], fine)
    assert (whole.status, whole.detail, whole.hint, whole.blocks) == ("failed", "a; b; c", "do x; do y", True)


def test_the_report_is_as_bad_as_its_worst() -> None:
    def report(*statuses: str) -> str:
        return Report(tuple(Result(str(n), "", status, "") for n, status in enumerate(statuses))).status

    assert report() == "ok"
    assert report("ok", "skipped") == "ok"
    assert report("ok", "unknown") == "warning"
    assert report("unknown", "failed") == "failed"
    assert report("warning", "ok") == "warning"
    assert report("warning", "failed", "skipped") == "failed"
