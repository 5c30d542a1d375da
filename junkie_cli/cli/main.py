"""The installed script, and THE table from error to exit code: the only place that maps one to the other.

A module in `commands/` is a command by being there (see `cli/command_tree.py`): its `app` is a `typer.Typer`; one
without a name adds top-level commands, one with a name a group.
"""

import os
import sys

from junkie_cli import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing `typing` for this would double what `--version` takes
    from typing import TextIO

    from junkie_cli.core.errors import JunkieError

COMPLETION_VARIABLE = "_JUNKIE_COMPLETE"
SIGPIPE = 13
_SIGNALLED = 128
"""Above this an exit code is that of a signal."""


def main() -> None:
    """Run the command line of this process and exit with its code."""
    if sys.argv[1:] == ["--version"] and _tells_version():
        _end(0)
    _prepare_streams()
    _hide_warnings_of_libraries()
    code = run_command_line(sys.argv[1:], listen=True)
    _let_signals_kill()
    _flush_what_is_left(ended=code > _SIGNALLED)
    _end(code)


def _tells_version() -> bool:
    """Tell the version before typer is loaded: scripts ask often. False where the usual way must say why it cannot."""
    if sys.stdout is None:
        return False
    line = f"junkie {__version__}\n".encode()
    try:
        return os.write(sys.stdout.fileno(), line) == len(line)
    except OSError:
        return False


def _hide_warnings_of_libraries() -> None:
    """Keep them off stderr: they quote values, memories among them.

    -v writes them to the log (`core.team.guard`); Python's -W and PYTHONWARNINGS show them.
    """
    import warnings

    if not sys.warnoptions:
        warnings.showwarning = _ignore


def _ignore(*_: object, **__: object) -> None:
    """Takes a warning and shows it to nobody."""


def _let_signals_kill() -> None:
    """From here on an impatient second Ctrl-C ends the process, without a traceback."""
    import signal

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def _end(code: int) -> None:
    """End this process at once.

    Taking the interpreter apart would be an eighth of `memories list`, and nobody waits for it: what a thread is still
    loading or looking up is not waited for either, nor torn down under it.
    """
    import atexit

    atexit._run_exitfuncs()
    os._exit(code)


def run_command_line(arguments: list[str], *, listen: bool = False) -> int:
    """Run `arguments`, tell any failure, and return the exit code; with `listen` SIGTERM and SIGHUP are failures."""
    import gc

    # What a start allocates stays: looking for garbage among it, each 700 objects, took a tenth of `memories list`.
    gc.set_threshold(50_000)
    try:
        if listen:
            _listen()
        code = _run(arguments)
        sys.stdout.flush()
    except BaseException as error:
        return _exit_code(error, arguments)
    return code


def _listen() -> None:
    from junkie_cli.terminal.invocation import end_by_signals

    end_by_signals()


def _run(arguments: list[str]) -> int:
    from typer import Exit

    from junkie_cli.cli.command_tree import root_command
    from junkie_cli.terminal.invocation import invocation

    _hear_the_core()
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    invocation().json = "--json" in options  # known before the command line is parsed, for errors in it
    root = root_command()
    if COMPLETION_VARIABLE in os.environ:
        root.main(arguments, prog_name="junkie", complete_var=COMPLETION_VARIABLE)
    try:
        with root.make_context("junkie", list(arguments)) as context:
            root.invoke(context)
    except Exit as ended:
        return int(ended.exit_code)
    return 0


def _hear_the_core() -> None:
    """Print what the core reports while it works, unless --quiet."""
    from junkie_cli.core.reporting import set_reporter

    def print_note(sentence: str) -> None:
        from junkie_cli.terminal.output import note

        note(sentence)

    set_reporter(print_note)


def _exit_code(error: BaseException, arguments: list[str]) -> int:
    """Tell what happened and say how the process ends."""
    from junkie_cli.core.errors import ExitCode
    from junkie_cli.terminal.invocation import Terminated

    if isinstance(error, BaseExceptionGroup):
        error = _telling(error)
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, BrokenPipeError) and _reader_left():
        return _SIGNALLED + SIGPIPE  # as a program that the signal ended, with `| head`: no word about it
    if isinstance(error, KeyboardInterrupt):
        return _ended("interrupted", ExitCode.INTERRUPTED)
    if isinstance(error, Terminated):
        return _ended("terminated", _SIGNALLED + error.signal_number)
    return _tell(error, arguments)


def _tell(error: BaseException, arguments: list[str]) -> int:
    from typer import Abort
    from typer._click.exceptions import ClickException, NoArgsIsHelpError

    from junkie_cli.cli.command_tree import usage_error
    from junkie_cli.core.errors import DeclinedError, JunkieError, UsageError
    from junkie_cli.terminal.output import print_error
    from junkie_cli.terminal.progress import say
    from junkie_cli.terminal.style import Look, plain

    told: JunkieError
    if isinstance(error, JunkieError):
        told = error
    elif isinstance(error, NoArgsIsHelpError):
        say((error.message if Look.of(sys.stderr).styles else plain(error.message)) + "\n\n")
        told = UsageError("a command is missing", hint="say one of those above; -h after it tells more")
    elif isinstance(error, ClickException):
        told = usage_error(error, arguments)
    elif isinstance(error, Abort | EOFError):
        told = DeclinedError("nothing was changed")
    else:
        told = _bug(error)
    print_error(told)
    return int(told.exit_code)


def _telling(group: BaseException) -> BaseException:
    """Of errors that were raised together the one to tell: an expected one, rather than a bug."""
    from junkie_cli.core.errors import JunkieError

    while isinstance(group, BaseExceptionGroup):
        expected = group.subgroup((JunkieError, KeyboardInterrupt))
        group = (expected or group).exceptions[0]
    return group


def _bug(error: BaseException) -> "JunkieError":
    """A bug in one sentence, without the error's own words, which may quote a secret or a person."""
    import traceback

    from junkie_cli.core.errors import JunkieError
    from junkie_cli.core.sanitize import shown
    from junkie_cli.core.settings import redact
    from junkie_cli.terminal.invocation import invocation
    from junkie_cli.terminal.progress import say

    if invocation().debug:
        say(shown(redact("".join(traceback.format_exception(error)), invocation().loaded)))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "junkie_cli" in frame.filename]
    where = f" ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})" if frames else ""  # noqa: PTH119
    return JunkieError(
        f"something unexpected went wrong inside junkie: {type(error).__name__}{where}",
        hint="junkie -v ... shows where; please report it, after a look for what is private in it",
        code="bug",
    )


def _ended(how: str, code: int) -> int:
    """Say that a signal ended the command; with --json as a document too."""
    from junkie_cli.core.errors import JunkieError
    from junkie_cli.terminal.invocation import invocation
    from junkie_cli.terminal.output import print_error_document
    from junkie_cli.terminal.progress import say
    from junkie_cli.terminal.style import is_terminal

    if invocation().json and _has_room(sys.stdout):
        print_error_document(JunkieError(how, code=how))
    if _has_room(sys.stderr):
        say(f"\n{how}\n" if is_terminal(sys.stderr) else f"{how}\n")
    return int(code)


# --- the standard streams ---------------------------------------------------------------------------------------------


def _prepare_streams() -> None:
    """Make the streams usable whatever they were started as, and no write to stdout short.

    Closed ones become /dev/null, so that no file opened later takes their number; stdout then refuses every answer.
    What is not a terminal is written as UTF-8 in every locale: programs read it, and JSON is nothing else.
    """
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115, PTH123  open as long as the process
    sys.stdout = _complete_stdout(sys.stdout)
    sys.stderr = _complete_stderr(sys.stderr)


def _complete_stdout(stdout: "TextIO | None") -> "TextIO":
    """A stream to stdout's descriptor that writes in full or fails, with PYTHONUNBUFFERED and on any pipe."""
    from io import BufferedWriter, TextIOWrapper

    from junkie_cli.core.files import CompleteWriter, unwritable

    # A descriptor that cannot be written to is what a closed stdout is.
    descriptor = os.open(os.devnull, os.O_RDONLY) if stdout is None else stdout.fileno()
    raw = CompleteWriter(descriptor, unwritable, closefd=False)
    if stdout is not None and stdout.isatty():
        buffered = BufferedWriter(raw)
        return TextIOWrapper(buffered, encoding=stdout.encoding, errors=stdout.errors, line_buffering=True)
    return TextIOWrapper(BufferedWriter(raw), encoding="utf-8", errors="backslashreplace")


def _complete_stderr(stderr: "TextIO | None") -> "TextIO":
    """A stream to stderr's descriptor in which a write that waits for its reader ends with a signal."""
    from io import BufferedWriter, TextIOWrapper

    from junkie_cli.core.files import CompleteWriter

    if stderr is None:
        return open(os.devnull, "w")  # noqa: PTH123
    raw = CompleteWriter(stderr.fileno(), lambda error: error, closefd=False)
    return TextIOWrapper(BufferedWriter(raw), encoding=stderr.encoding, errors=stderr.errors, line_buffering=True)


def _reader_left() -> bool:
    """Whether nobody reads our stdout or stderr any more; another pipe that broke is an error like any."""
    import select

    poll = select.poll()
    for stream in (sys.stdout, sys.stderr):
        poll.register(stream.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _has_room(stream: "TextIO") -> bool:
    """Whether a line can be written to `stream` without waiting for its reader."""
    import select

    poll = select.poll()
    poll.register(stream.fileno(), select.POLLOUT)
    return any(event & select.POLLOUT for _, event in poll.poll(0))


def _flush_what_is_left(*, ended: bool) -> None:
    """Nobody does it at the end: the process is left, not taken apart. What cannot be written has been told.

    When a signal `ended` the command, no reader is waited for.
    """
    from junkie_cli.core.errors import JunkieError

    for stream in (sys.stdout, sys.stderr):
        try:
            if not ended or _has_room(stream):
                stream.flush()
        except (OSError, JunkieError):
            continue
