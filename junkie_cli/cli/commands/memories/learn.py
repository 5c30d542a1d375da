"""`junkie memories learn`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from junkie_cli.cli.commands.memories._extraction import error_field, left_out, warn_left_out, warn_refused
from junkie_cli.cli.commands.memories._options import OfflineOption
from junkie_cli.core.errors import ExitCode
from junkie_cli.core.formatting import plural
from junkie_cli.terminal.invocation import JsonOption, invocation
from junkie_cli.terminal.output import note, print_json, print_line, progress, warn

if TYPE_CHECKING:
    from junkie_cli.core.chat.learn import Learned


app = typer.Typer()


@app.command(epilog="Example: junkie memories learn conversations.jsonl --concurrency 8")
def learn(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help='JSON Lines: {"user_id": "ada", "session_id": "s1", "message": "..."}.'),
    ],
    concurrency: Annotated[
        int, typer.Option("--concurrency", metavar="N", min=1, max=64, help="Number of users processed at once.")
    ] = 4,
    even_erased: Annotated[bool, typer.Option("--even-erased", help="Also learn about erased people.")] = False,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
) -> None:
    """Extract memories from conversations of many users. An interrupted run resumes where it stopped."""
    from junkie_cli.core.chat import learn as learning

    with progress("learning", unit="lines") as shown:
        done = invocation().run(
            learning.learn_file(
                invocation().settings(),
                file,
                concurrency=concurrency,
                offline=offline,
                even_erased=even_erased,
                progress=shown.progress,
            )
        )
    if as_json:
        print_json(_learned_document(done))
    _print_learned(done, as_json=as_json)
    if code := _learned_code(done):
        raise typer.Exit(code)


def _learned_document(done: "Learned") -> dict[str, Any]:
    counts = ("total", "read", "learned", "skipped", "failed", "pending", "seconds")
    return {
        **{name: getattr(done, name) for name in counts},
        "memories": {action: done.memories[action] for action in ("added", "updated", "deleted")},
        "left_out": left_out(done),
        "bad": done.bad,
        "set_aside": str(done.set_aside) if done.set_aside else None,
        **error_field(done.error),
    }


def _print_learned(done: "Learned", *, as_json: bool) -> None:
    if not as_json:
        made = ", ".join(f"{done.memories[action]} {action}" for action in ("added", "updated", "deleted"))
        print_line(
            f"{done.learned} learned (memories {made}), {done.skipped} skipped, {done.failed} failed,"
            f" {done.pending} pending, of {plural(done.total, 'line')}"
        )
    for bad in done.bad[:20]:
        warn(f"line {bad.line} {bad.reason}")
    if done.failed > 20:
        warn(f"{plural(done.failed - 20, 'more line', 'more lines')} failed")
    if done.set_aside:
        note(f"failed lines were written to {done.set_aside}")
    warn_refused(done.refused)
    warn_left_out(done)
    if done.pending:
        note("to retry pending lines: junkie memories retry")
    if done.error is not None:
        warn(f"stopped early: {done.error.message}; run the same command again to continue")


def _learned_code(done: "Learned") -> int:
    if done.error is not None:
        return int(done.error.exit_code)
    if done.failed:
        return int(ExitCode.USAGE)
    return int(ExitCode.PROVIDER) if done.pending else 0
