"""`junkie demo`: run real commands on a temporary database, with the rehearsal model."""

import os
import pty
import subprocess
import sys
import termios
import time

import typer

from junkie_cli.core.errors import ExitCode
from junkie_cli.core.rehearsal.demo import STEPS, Stage, Step
from junkie_cli.terminal.output import colour_wanted

app = typer.Typer()

_READING_SECONDS = 1.5  # on a terminal only, so that people can read along


@app.command(epilog="Example: junkie demo")
def demo() -> None:
    """Take a two-minute tour of chat, memories, backup and undo. Needs no key and does not touch your data."""
    with Stage() as stage:
        for step in STEPS:
            _announce(step)
            code = _run(step, stage)
            if code != ExitCode.OK:
                raise typer.Exit(code)
    _print_line("\nThe tour is over; its temporary database was deleted. To start your own: junkie chat", bold=False)


def _run(step: Step, stage: Stage) -> int:
    """Run one command on this terminal, or on a pseudo-terminal whose output is copied to stdout."""
    command = [sys.executable, "-m", "junkie_cli", *step.arguments]
    if sys.stdout.isatty():
        return subprocess.run(
            command, env=stage.environment, cwd=stage.folder, stdin=subprocess.DEVNULL, check=False
        ).returncode
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 100))
    environment = {**stage.environment, "NO_COLOR": "1", "TERM": "dumb"}
    with subprocess.Popen(
        command, env=environment, cwd=stage.folder, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    ) as child:
        os.close(theirs)
        _copy(ours)
    return child.returncode


def _copy(terminal: int) -> None:
    """Copy the output of a pseudo-terminal to stdout until its last program ends."""
    with os.fdopen(terminal, "rb", buffering=0) as shown:
        while True:
            try:
                piece = shown.read(65536)
            except OSError:  # EIO: on Linux, the other end is closed
                return
            if not piece:
                return
            sys.stdout.write(piece.decode(errors="replace").replace("\r\n", "\n"))
            sys.stdout.flush()


def _announce(step: Step) -> None:
    _print_line(f"\n# {step.says}", bold=False)
    _print_line(f"$ junkie {_as_typed(step.arguments)}", bold=True)
    if sys.stdout.isatty():
        time.sleep(_READING_SECONDS)


def _as_typed(arguments: tuple[str, ...]) -> str:
    return " ".join(f'"{argument}"' if " " in argument else argument for argument in arguments)


def _print_line(line: str, *, bold: bool) -> None:
    if colour_wanted():
        line = f"\x1b[1m{line}\x1b[0m" if bold else f"\x1b[2m{line}\x1b[0m"
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
