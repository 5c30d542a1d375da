"""Runs the command line, and maps errors to exit codes: the only place that does.

Each module in `commands/` is a command (see `cli/command_tree.py`): its `app` is a `typer.Typer`. An app without a
name adds top-level commands, an app with a name adds a group.
"""

import os
import sys

from junkie_cli import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing `typing` would double the time of `--version`
    from typing import TextIO

    from junkie_cli.core.errors import JunkieError

COMPLETION_VARIABLE = "_JUNKIE_COMPLETE"
SIGPIPE = 13
_SIGNALLED = 128
"""Exit codes above this number are those of signals."""


def main() -> None:
    """Run the command line of this process and exit with its code."""
    if sys.argv[1:] == ["--version"] and _print_version():
        _end(0)
    _prepare_streams()
    _hide_warnings_of_libraries()
    code = run_command_line(sys.argv[1:], listen=True)
    _let_signals_kill()
    _flush_what_is_left(ended=code > _SIGNALLED)
    _end(code)


def _print_version() -> bool:
    """Print the version without loading typer, because scripts ask for it often; False if it could not be written."""
    if sys.stdout is None:
        return False
    line = f"junkie {__version__}\n".encode()
    try:
        return os.write(sys.stdout.fileno(), line) == len(line)
    except OSError:
        return False


def _hide_warnings_of_libraries() -> None:
    """Hide Python warnings: they can quote values, such as memories.

    With -v they go to the log (`core/agent/agno_environment.py`); Python's -W and PYTHONWARNINGS show them.
    """
    import warnings

    if not sys.warnoptions:
        warnings.showwarning = _ignore


def _ignore(*_: object, **__: object) -> None:
    """Discard a warning."""


def _let_signals_kill() -> None:
    """Restore the default signal handlers, so that a second Ctrl-C ends the process without a traceback."""
    import signal

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def _end(code: int) -> None:
    """End this process without tearing down the interpreter.

    The teardown would take an eighth of the time of `memories list`, and would wait for threads that are still
    importing or resolving names.
    """
    import atexit

    atexit._run_exitfuncs()
    os._exit(code)


def run_command_line(arguments: list[str], *, listen: bool = False) -> int:
    """Run `arguments`, print any error, return the exit code; with `listen`, SIGTERM and SIGHUP raise Terminated."""
    import gc

    # Objects allocated at start-up stay alive: collecting garbage among them took a tenth of `memories list`.
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

    _print_core_notes()
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    invocation().json = "--json" in options  # set before parsing, for errors of the parser
    root = root_command()
    if COMPLETION_VARIABLE in os.environ:
        root.main(arguments, prog_name="junkie", complete_var=COMPLETION_VARIABLE)
    try:
        with root.make_context("junkie", list(arguments)) as context:
            root.invoke(context)
    except Exit as ended:
        return int(ended.exit_code)
    return 0


def _print_core_notes() -> None:
    """Print the notes of the core, unless --quiet is set."""
    from junkie_cli.core.reporting import set_reporter

    def print_note(sentence: str) -> None:
        from junkie_cli.terminal.output import note

        note(sentence)

    set_reporter(print_note)


def _exit_code(error: BaseException, arguments: list[str]) -> int:
    """Print the error and return the exit code."""
    from junkie_cli.core.errors import ExitCode
    from junkie_cli.terminal.invocation import Terminated

    if isinstance(error, BaseExceptionGroup):
        error = _error_to_report(error)
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, BrokenPipeError) and _reader_left():
        return _SIGNALLED + SIGPIPE  # silent, like a program that SIGPIPE ended (`| head`)
    if isinstance(error, KeyboardInterrupt):
        return _ended("interrupted", ExitCode.INTERRUPTED)
    if isinstance(error, Terminated):
        return _ended("terminated", _SIGNALLED + error.signal_number)
    return _report(error, arguments)


def _report(error: BaseException, arguments: list[str]) -> int:
    from typer import Abort
    from typer._click.exceptions import ClickException, NoArgsIsHelpError

    from junkie_cli.cli.command_tree import usage_error
    from junkie_cli.core.errors import DeclinedError, JunkieError, UsageError
    from junkie_cli.terminal.output import print_error
    from junkie_cli.terminal.progress import say
    from junkie_cli.terminal.style import Look, plain

    reported: JunkieError
    if isinstance(error, JunkieError):
        reported = error
    elif isinstance(error, NoArgsIsHelpError):
        say((error.message if Look.of(sys.stderr).styles else plain(error.message)) + "\n\n")
        reported = UsageError("a command is missing", hint="use one of the commands above; add -h for its help")
    elif isinstance(error, ClickException):
        reported = usage_error(error, arguments)
    elif isinstance(error, Abort | EOFError):
        reported = DeclinedError("nothing was changed")
    else:
        reported = _bug(error)
    print_error(reported)
    return int(reported.exit_code)


def _error_to_report(group: BaseException) -> BaseException:
    """Choose the error to report from a group: an expected error if there is one."""
    from junkie_cli.core.errors import JunkieError

    while isinstance(group, BaseExceptionGroup):
        expected = group.subgroup((JunkieError, KeyboardInterrupt))
        group = (expected or group).exceptions[0]
    return group


def _bug(error: BaseException) -> "JunkieError":
    """Describe a bug without the text of the exception, which may quote secrets or personal data."""
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
        f"internal error in junkie: {type(error).__name__}{where}",
        hint="run again with junkie -v for details; please report it, after removing anything private",
        code="bug",
    )


def _ended(how: str, code: int) -> int:
    """Report that a signal ended the command; with --json also as a document."""
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
    """Make the standard streams usable in every state, and writes to stdout complete.

    Closed streams become /dev/null, so that no file opened later gets their number; stdout then refuses every answer.
    Output to anything but a terminal is UTF-8 in every locale: programs read it, and JSON requires it.
    """
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115, PTH123  open as long as the process
    sys.stdout = _complete_stdout(sys.stdout)
    sys.stderr = _complete_stderr(sys.stderr)


def _complete_stdout(stdout: "TextIO | None") -> "TextIO":
    """Return a stream to stdout that writes in full or fails, also with PYTHONUNBUFFERED and on any pipe."""
    from io import BufferedWriter, TextIOWrapper

    from junkie_cli.core.files import CompleteWriter, unwritable

    # A closed stdout becomes a descriptor that cannot be written to.
    descriptor = os.open(os.devnull, os.O_RDONLY) if stdout is None else stdout.fileno()
    raw = CompleteWriter(descriptor, unwritable, closefd=False)
    if stdout is not None and stdout.isatty():
        buffered = BufferedWriter(raw)
        return TextIOWrapper(buffered, encoding=stdout.encoding, errors=stdout.errors, line_buffering=True)
    return TextIOWrapper(BufferedWriter(raw), encoding="utf-8", errors="backslashreplace")


def _complete_stderr(stderr: "TextIO | None") -> "TextIO":
    """Return a stream to stderr in which a signal interrupts a blocked write."""
    from io import BufferedWriter, TextIOWrapper

    from junkie_cli.core.files import CompleteWriter

    if stderr is None:
        return open(os.devnull, "w")  # noqa: PTH123
    raw = CompleteWriter(stderr.fileno(), lambda error: error, closefd=False)
    return TextIOWrapper(BufferedWriter(raw), encoding=stderr.encoding, errors=stderr.errors, line_buffering=True)


def _reader_left() -> bool:
    """Return whether the reader of stdout or stderr is gone; any other broken pipe is an ordinary error."""
    import select

    poll = select.poll()
    for stream in (sys.stdout, sys.stderr):
        poll.register(stream.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _has_room(stream: "TextIO") -> bool:
    """Return whether a line can be written to `stream` without blocking."""
    import select

    poll = select.poll()
    poll.register(stream.fileno(), select.POLLOUT)
    return any(event & select.POLLOUT for _, event in poll.poll(0))


def _flush_what_is_left(*, ended: bool) -> None:
    """Flush both streams, because the process ends without teardown. Failures have been reported before.

    If a signal `ended` the command, do not wait for a reader.
    """
    from junkie_cli.core.errors import JunkieError

    for stream in (sys.stdout, sys.stderr):
        try:
            if not ended or _has_room(stream):
                stream.flush()
        except (OSError, JunkieError):
            continue
