"""Value classes of doctor: check, finding, fix, result, report."""

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
    """A fix for a finding of the check `check_id`.

    `what` says it beforehand, one sentence or statement a line; `run` tells what it is doing meanwhile and returns what
    should be known afterwards, or nothing. A `severe` one is only done when it was asked for by
    the check's id and the database's name was typed, after the sentence `caution`.
    """

    check_id: str
    what: tuple[str, ...]
    run: Callable[["Context", Progress], Awaitable[str]]
    severe: bool = False
    caution: str = "This can be undone only by restoring the backup."


@frozen
class Finding:
    """The finding of a check: a sentence, and a hint if something is wrong.

    If it `blocks`, dependent checks cannot run. A finding that is ok can offer a fix to be requested by id. `parts` are
    the sentences and hints of a combined finding; empty for a single one.
    """

    status: str
    detail: str
    hint: str = ""
    blocks: bool = False
    fixes: tuple[Fix, ...] = ()
    parts: tuple[tuple[str, str], ...] = ()


def ok(detail: str) -> Finding:
    """Return a finding without a problem."""
    return Finding(OK, detail)


def warning(detail: str, hint: str, *, blocks: bool = False, fixes: Sequence[Fix] = ()) -> Finding:
    """Return a finding that works, but needs attention."""
    return Finding(WARNING, detail, hint, blocks, tuple(fixes))


def failed(detail: str, hint: str, *, blocks: bool = True, fixes: Sequence[Fix] = ()) -> Finding:
    """Return a finding that does not work."""
    return Finding(FAILED, detail, hint, blocks, tuple(fixes))


def unknown(detail: str, hint: str, *, blocks: bool = False) -> Finding:
    """Return a finding without a verdict, for example after a timeout."""
    return Finding(UNKNOWN, detail, hint, blocks)


def together(findings: Sequence[Finding], fine: Finding) -> Finding:
    """Combine findings of one check: the worst status, all problems; `fine` if there are none."""
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


class DependencyNotMet(Exception):
    """Raised by a check that depends on `check_id` being ok; `reason` has details."""

    def __init__(self, check_id: str, reason: str = "") -> None:
        super().__init__(check_id)
        self.check_id = check_id
        self.reason = reason


@frozen
class Check:
    """One check. `limit` is in seconds, at the usual timeout.

    It runs when all of `needs` have ended without blocking and all of `after` have ended; `variables` are the settings
    that it requires. A `deep` check runs with --deep only. A check that `reads_all` of a table can time out on large
    tables or locks; others do not wait for it. For a check that `asks` whether something responds, a timeout is a
    failure; for others it is an unknown result.
    `about` and `advice` are Markdown for the documents: what an ok result means, and what to do otherwise.
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
    """The result of a check, for people and programs, with secrets removed."""

    id: str
    title: str
    status: str
    detail: str
    hint: str = ""
    fixes: tuple[Fix, ...] = field(default=(), repr=False)
    parts: tuple[tuple[str, str], ...] = ()

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Return pairs of sentence and hint, one for each problem."""
        return self.parts or ((self.detail, self.hint),)


@frozen
class Report:
    """The results in the order of the list of checks."""

    results: tuple[Result, ...]

    @property
    def status(self) -> str:
        """Return the worst status: `failed`, `warning` or `ok`; an unknown result counts as a warning."""
        found = [
            WARNING if result.status == UNKNOWN else result.status
            for result in self.results
            if result.status != SKIPPED
        ]
        return max(found, key=_SEVERITY.index, default=OK)

    def count(self, status: str) -> int:
        """Count the results with this status."""
        return sum(result.status == status for result in self.results)

    @property
    def fixes(self) -> tuple[Fix, ...]:
        """Return all offered fixes, in order."""
        return tuple(fix for result in self.results for fix in result.fixes)
