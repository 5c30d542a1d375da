"""`junkie demo`: the real commands one after another, on a throw-away database, with the rehearsal model."""

import subprocess
import sys
import time

import typer

from junkie_cli.core.demo import STEPS, Stage, Step
from junkie_cli.core.errors import ExitCode
from junkie_cli.output import colour_wanted

app = typer.Typer()

_READING_SECONDS = 1.5  # a person reads along; a pipe does not


@app.command(epilog="Example: junkie demo")
def demo() -> None:
    """Take a two-minute tour: chat, memory, backup, undo. No key needed, nothing of yours is touched."""
    with Stage() as stage:
        for step in STEPS:
            _announce(step)
            code = subprocess.run(
                [sys.executable, "-m", "junkie_cli", *step.arguments],
                env=stage.environment,
                cwd=stage.folder,
                stdin=subprocess.DEVNULL,
                check=False,
            ).returncode
            if code != ExitCode.OK:
                raise typer.Exit(code)
    _say("\nThat was a throw-away database, and it is gone. Yours begins with: junkie chat", bold=False)


def _announce(step: Step) -> None:
    _say(f"\n# {step.says}", bold=False)
    _say(f"$ junkie {_as_typed(step.arguments)}", bold=True)
    if sys.stdout.isatty():
        time.sleep(_READING_SECONDS)


def _as_typed(arguments: tuple[str, ...]) -> str:
    return " ".join(f'"{argument}"' if " " in argument else argument for argument in arguments)


def _say(line: str, *, bold: bool) -> None:
    if colour_wanted():
        line = f"\x1b[1m{line}\x1b[0m" if bold else f"\x1b[2m{line}\x1b[0m"
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
