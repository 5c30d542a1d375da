"""`junkie memories retry`."""

from typing import TYPE_CHECKING, Annotated

import typer

from junkie_cli.cli.commands.memories._extraction import error_field, left_out, warn_left_out, warn_refused
from junkie_cli.cli.commands.memories._options import OfflineOption
from junkie_cli.terminal.invocation import JsonOption, UserOption, invocation
from junkie_cli.terminal.output import note, print_json, print_line, progress, warn

if TYPE_CHECKING:
    from junkie_cli.core.chat.pending_retry import Retried


app = typer.Typer()


@app.command(epilog="Example: junkie memories retry -u ada --all")
def retry(
    user: UserOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Include entries not yet due and those set aside.")] = False,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
) -> None:
    """Retry pending extractions that are due. Suitable for cron."""
    from junkie_cli.core.chat import pending_retry

    with progress("retrying", unit="extractions") as shown:
        done = invocation().run(
            pending_retry.retry_memories(
                invocation().settings(), user, everything=everything, offline=offline, progress=shown.progress
            )
        )
    if as_json:
        counts = ("tried", "succeeded", "failed", "set_aside", "remaining", "memories")
        found = {name: getattr(done, name) for name in counts}
        print_json({**found, "left_out": left_out(done), **error_field(done.error)})
    else:
        _print_retried(done)
    warn_refused(done.refused)
    warn_left_out(done)
    if done.error is not None:
        warn(done.error.message)
        raise typer.Exit(done.error.exit_code)


def _print_retried(done: "Retried") -> None:
    made = ", ".join(f"{count} {action}" for action, count in done.memories.items())
    print_line(f"{done.succeeded} of {done.tried} extractions succeeded: memories {made}" if done.tried else "none due")
    if done.set_aside:
        note(f"{done.set_aside} failed too often and were set aside; to see why: junkie memories pending")
    if done.remaining:
        note(f"{done.remaining} still pending (junkie memories pending); to retry now: junkie memories retry --all")
