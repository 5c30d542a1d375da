"""What a check is, what it finds, and what can be done about it: plain values."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from junkie_cli.core.progress import Progress
from junkie_cli.core.value_class import field, frozen

if TYPE_CHECKING:
    from junkie_cli.core.doctor.context import Context

OK, WARNING, FAILED, SKIPPED, UNKNOWN = "ok", "warning", "failed", "skipped", "unknown"
_SEVERITY = (OK, WARNING, FAILED)


@frozen
class Fix:
    """Something that mends a finding of the check `check_id`.

    `what` says it beforehand, one sentence or statement a line; `run` tells what it is doing meanwhile and returns what
    should be known afterwards, or nothing. A `severe` one is only done when it was asked for by
    the check's id and the database's name was typed, after the sentence `caution`.
    """

    check_id: str
    what: tuple[str, ...]
    run: Callable[["Context", Progress], Awaitable[str]]
    severe: bool = False
    caution: str = "This cannot be undone but by restoring the backup."


@frozen
class Finding:
    """What a check found: a sentence, and a remedy where one is needed.

    `blocks`: checks that need this one cannot run. A fix of what is ok is one for those who ask for it. `parts` are
    the sentences and remedies that were put together, for who can show them one by one; empty for a single one.
    """

    status: str
    detail: str
    hint: str = ""
    blocks: bool = False
    fixes: tuple[Fix, ...] = ()
    parts: tuple[tuple[str, str], ...] = ()


def ok(detail: str) -> Finding:
    """All is well."""
    return Finding(OK, detail)


def warning(detail: str, hint: str, *, blocks: bool = False, fixes: Sequence[Fix] = ()) -> Finding:
    """It works, and somebody should look at it."""
    return Finding(WARNING, detail, hint, blocks, tuple(fixes))


def failed(detail: str, hint: str, *, blocks: bool = True, fixes: Sequence[Fix] = ()) -> Finding:
    """It does not work."""
    return Finding(FAILED, detail, hint, blocks, tuple(fixes))


def unknown(detail: str, hint: str, *, blocks: bool = False) -> Finding:
    """The check could not find out, for example for lack of time: nothing is known to be wrong."""
    return Finding(UNKNOWN, detail, hint, blocks)


def together(findings: Sequence[Finding], fine: Finding) -> Finding:
    """Several findings of one check as one: as bad as the worst, all that is wrong told; `fine` when there are none."""
    wrong = [finding for finding in findings if finding.status != OK]
    if not wrong:
        return fine
    return Finding(
        max((finding.status for finding in wrong), key=_SEVERITY.index),
        "; ".join(finding.detail for finding in wrong),
        "; ".join(dict.fromkeys(finding.hint for finding in wrong if finding.hint)),
        any(finding.blocks for finding in wrong),
        tuple(fix for finding in wrong for fix in finding.fixes),
        tuple((finding.detail, finding.hint) for finding in wrong) if len(wrong) > 1 else (),
    )


class Waits(Exception):
    """Raised by a check that cannot judge before `check_id` is in order; `reason` says more."""

    def __init__(self, check_id: str, reason: str = "") -> None:
        super().__init__(check_id)
        self.check_id = check_id
        self.reason = reason


@frozen
class Check:
    """One check. `limit` is in seconds, at the usual timeout.

    It runs when all of `needs` have ended without blocking and all of `after` have ended; `variables` are settings
    without which it makes no sense. A `deep` one runs with --deep only. One that `reads_all` of a table may run out of
    time where there is much, or where somebody holds a lock: others need not wait for it.
    One that `asks` whether something answers has its result when nothing does in time: a failure, where other checks
    that run out of time know nothing.
    `about` and `advice` are for the documents, in Markdown: what is in order when the check is ok, and what to do
    when it is not.
    """

    id: str
    title: str
    run: Callable[["Context"], Awaitable[Finding]]
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    deep: bool = False
    limit: float = 5.0
    reads_all: bool = False
    asks: bool = False
    about: str = ""
    advice: str = ""


@frozen
class Result:
    """How a check ended, for people and programs; secrets are taken out."""

    id: str
    title: str
    status: str
    detail: str
    hint: str = ""
    fixes: tuple[Fix, ...] = field(default=(), repr=False)
    parts: tuple[tuple[str, str], ...] = ()

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Sentence and remedy, one pair for each thing that was found."""
        return self.parts or ((self.detail, self.hint),)


@frozen
class Report:
    """The results in the order of the catalogue."""

    results: tuple[Result, ...]

    @property
    def status(self) -> str:
        """`failed`, `warning` or `ok`: the worst of all; an unknown result counts as a warning."""
        found = [
            WARNING if result.status == UNKNOWN else result.status
            for result in self.results
            if result.status != SKIPPED
        ]
        return max(found, key=_SEVERITY.index, default=OK)

    def count(self, status: str) -> int:
        """How many checks ended so."""
        return sum(result.status == status for result in self.results)

    @property
    def fixes(self) -> tuple[Fix, ...]:
        """All that is offered, in order."""
        return tuple(fix for result in self.results for fix in result.fixes)
