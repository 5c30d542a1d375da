"""What `retry` and `learn` report of the memory model."""

from typing import TYPE_CHECKING, Any

from junkie_cli.core.errors import JunkieError
from junkie_cli.terminal.output import warn

if TYPE_CHECKING:
    from junkie_cli.core.chat.learn import Learned
    from junkie_cli.core.chat.pending_retry import Retried


def warn_refused(count: int) -> None:
    """Warn if the memory model tried to change memories of other users."""
    if count:
        warn(f"refused {count} changes by the memory model to memories of other users; -v shows details")


def error_field(error: JunkieError | None) -> dict[str, Any]:
    """The field of a document for why a run failed or ended early; none when it did not."""
    return {} if error is None else {"error": error.document}


def left_out(done: "Retried | Learned") -> dict[str, int]:
    """How many memories were left out, by reason."""
    from junkie_cli.core.chat.pending_retry import LEFT_OUT

    return {kind: done.left_out[kind] for kind in LEFT_OUT}


def warn_left_out(done: "Retried | Learned") -> None:
    """Warn of what was left out."""
    from junkie_cli.core.chat.pending_retry import LEFT_OUT

    for kind, count in left_out(done).items():
        if count:
            warn(f"{count} {LEFT_OUT[kind]}")
