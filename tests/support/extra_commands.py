"""A command that does whatever a test needs, added as any command is: by a file.

`run` is the command line in this process, `start` in one of its own.
"""

import subprocess
import sys
from pathlib import Path

from tests.support.junkie import Junkie, Running

BOOM = '''
import asyncio, os, signal, sys, time
from typing import Annotated, Optional
import typer
from junkie_cli.core import errors
from junkie_cli.terminal.invocation import JsonOption, Terminated, invocation
from junkie_cli.terminal.output import note, print_line, print_rows, Column

app = typer.Typer(name="boom", help="Fail in every way.")

@app.command()
def error(kind: str, as_json: JsonOption = False) -> None:
    """Raise the kind of JunkieError."""
    raise getattr(errors, kind)("it went \\x1b[2Jwrong", hint="do this")

@app.command()
def bug(as_json: JsonOption = False) -> None:
    """Be broken."""
    password = "local-secret"
    raise KeyError(os.environ.get("GROQ_API_KEY", "somebody's text"))

@app.command()
def group(as_json: JsonOption = False) -> None:
    """Fail twice at once."""
    raise ExceptionGroup("both", [ValueError("a"), ExceptionGroup("inner", [errors.DatabaseError("gone")])])

@app.command()
def interrupt(as_json: JsonOption = False) -> None:
    """Be interrupted."""
    raise KeyboardInterrupt

@app.command()
def terminate(number: int, as_json: JsonOption = False) -> None:
    """Be terminated."""
    raise Terminated(number)

@app.command()
def leave(code: int) -> None:
    """End with a code."""
    raise typer.Exit(code)

@app.command()
def rows(count: int) -> None:
    """Print many rows."""
    print_rows([Column("N", lambda n: n, "number"), Column("TEXT", lambda n: "x" * 50)], range(count), title="Rows")

@app.command()
def pipe() -> None:
    """Break another pipe than stdout."""
    reading, writing = os.pipe()
    os.close(reading)
    os.write(writing, b"x")

@app.command()
def wait(stubborn: bool = False, as_json: JsonOption = False) -> None:
    """Wait to be ended, and roll back."""
    async def working() -> None:
        note("waiting")
        try:
            await asyncio.Event().wait()
        finally:
            note("rolling back")
            if stubborn:
                await asyncio.sleep(60)
            note("rolled back")
    invocation().run(working())
    print_line("done")

@app.command()
def asked() -> None:
    """Ask with typer's own prompt."""
    typer.confirm("really?", abort=True)
'''


def write(folder: Path) -> Path:
    """Write the commands into `folder`."""
    (folder / "boom.py").write_text(BOOM)
    return folder


def arguments(folder: Path, *words: str) -> list[str]:
    """An argument vector for the command line with the commands in `folder` beside its own."""
    program = "import sys; from junkie_cli.cli import commands; commands.__path__.append(sys.argv.pop(1)); "
    program += "from junkie_cli.cli.main import main; main()"
    return [sys.executable, "-c", program, str(write(folder)), *words]


def start(junkie: Junkie, *words: str) -> Running:
    """Start it in a process of its own."""
    process = subprocess.Popen(
        arguments(junkie.root, *words),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=junkie.environment(),
        cwd=junkie.cwd,
        start_new_session=True,
    )
    return junkie.adopt(Running(words, process))
