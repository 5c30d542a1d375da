"""The prompt: keys, history, completion. Loaded before the prompt is shown, so it imports nothing else that is heavy.

Enter sends, Alt-Enter or Ctrl-J inserts a line break, pasted text stays together. Ctrl-C clears the line, Ctrl-D quits.
"""

import errno
import json
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from prompt_toolkit import PromptSession  # noqa: TID253 - this module is loaded for the prompt only
from prompt_toolkit.application import in_terminal  # noqa: TID253
from prompt_toolkit.completion import CompleteEvent, Completer, Completion  # noqa: TID253
from prompt_toolkit.data_structures import Size  # noqa: TID253
from prompt_toolkit.document import Document  # noqa: TID253
from prompt_toolkit.filters import Condition  # noqa: TID253
from prompt_toolkit.formatted_text import StyleAndTextTuples  # noqa: TID253
from prompt_toolkit.history import History  # noqa: TID253
from prompt_toolkit.input import Input, create_input  # noqa: TID253
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent  # noqa: TID253
from prompt_toolkit.output import ColorDepth, Output  # noqa: TID253
from prompt_toolkit.output.vt100 import Vt100_Output  # noqa: TID253
from prompt_toolkit.styles import Style  # noqa: TID253

from junkie_cli.conversation.slash import COMMANDS
from junkie_cli.conversation.symbols import symbol
from junkie_cli.core.files import FileError, OutputError, append_line, complete_file
from junkie_cli.core.prompt_history import history_file
from junkie_cli.core.sanitize import one_line
from junkie_cli.terminal.style import Look, is_terminal, rows_of

Choices = Callable[[str], Awaitable[list[tuple[str, str]]]]
"""Returns the arguments that a command can take, each with a description."""

_KEPT_BYTES = 512 * 1024  # of a history file; older lines are dropped at the next start
_COMPLETABLE = frozenset({"resume", "forget"})


class LineHistory(History):
    """Typed lines in a file of JSON strings, one on each line, mode 0600; in memory only if there can be no file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self.trouble = ""
        """Why lines are not saved, or an empty string."""

    def load_history_strings(self) -> Iterable[str]:
        """Return the lines, latest first."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            self.trouble = f"{self._path}: {error.strerror}"
            return
        for line in reversed(lines):
            entry = _entry(line)
            if entry:
                yield entry

    def store_string(self, string: str) -> None:
        """Append a line in one write, so that two conversations at once do not mix their lines."""
        try:
            append_line(self._path, json.dumps(string).encode())
        except FileError as error:
            self.trouble = error.message

    def shorten(self) -> None:
        """Drop the oldest lines of a file that is too long."""
        try:
            if self._path.stat().st_size <= _KEPT_BYTES:
                return
            kept = self._path.read_bytes()[-_KEPT_BYTES // 2 :].partition(b"\n")[2]
            with complete_file(self._path) as file:
                file.write(kept)
        except FileNotFoundError:
            return
        except OSError as error:
            self.trouble = f"{self._path}: {error.strerror}"
        except FileError as error:
            self.trouble = error.message


def _entry(line: bytes) -> str:
    try:
        entry = json.loads(line)
    except ValueError:  # a line that a crash left incomplete
        return ""
    return entry if isinstance(entry, str) else ""


class SlashCompleter(Completer):
    """Completes `/commands` and ids."""

    def __init__(self, choices: Choices) -> None:
        self._choices = choices

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Return completions of commands; ids need the database, see `get_completions_async`."""
        text = document.text_before_cursor
        if text.startswith("/") and not text.startswith("//") and " " not in text:
            for command in COMMANDS:
                if command.name.startswith(text[1:].lower()):
                    insert = f"/{command.name} " if command.needs_argument else f"/{command.name}"
                    yield Completion(insert, -len(text), display=command.usage, display_meta=command.help)

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        """Return completions at the cursor."""
        for completion in self.get_completions(document, complete_event):
            yield completion
        name, space, typed = document.text_before_cursor.removeprefix("/").partition(" ")
        if document.text_before_cursor.startswith("/") and space and name in _COMPLETABLE and "\n" not in typed:
            for identifier, meaning in await self._choices(name):
                if identifier.startswith(typed.strip()) or typed.strip().lower() in meaning.lower():
                    yield Completion(identifier, -len(typed), display_meta=one_line(meaning))


class Prompt:
    """The prompt of one process: reads lines, and prints above the line being typed."""

    def __init__(self, stream: TextIO, look: Look, choices: Choices) -> None:
        self._look = look
        self._completer = SlashCompleter(choices)
        self._output = terminal_output(stream)
        self._input = create_input(sys.stdin)
        self._hint = ""
        self._history: LineHistory | None = None
        self._session = self._make_session()

    @property
    def trouble(self) -> str:
        """Return why typed lines are not saved, or an empty string."""
        return self._history.trouble if self._history else ""

    def belongs_to(self, user_id: str) -> None:
        """Switch to the history of `user_id`."""
        self._history = LineHistory(history_file(user_id))
        self._history.shorten()
        self._session = self._make_session()

    def _make_session(self) -> "PromptSession[str]":
        return PromptSession(
            message=self._message,
            multiline=True,
            history=self._history,
            completer=self._completer,
            complete_while_typing=Condition(lambda: self._session.default_buffer.text.startswith("/")),
            key_bindings=self._keys(),
            prompt_continuation=lambda width, line, wraps: " " * width,
            style=Style.from_dict({"sign": "bold", "hint": "dim"}),
            reserve_space_for_menu=6,
            enable_open_in_editor=True,
            input=self._input,
            output=self._output,
        )

    async def read(self, draft: str = "") -> str:
        """Return the next message. Raises EOFError when the person leaves or the terminal is closed."""
        self._hint = ""
        return await self._session.prompt_async(default=draft, handle_sigint=False, set_exception_handler=False)

    def above(self, tell: Callable[[], None]) -> None:
        """Run `tell`, which prints, above a waiting prompt."""
        if not self.waiting:
            tell()
            return
        # prompt_toolkit's run_in_terminal leaves raw mode, and a Ctrl-D typed then would be lost.
        self._session.app.renderer.erase()
        tell()
        self._session.app.invalidate()

    async def ask(self, question: str) -> bool:
        """Ask a yes-or-no question, above a waiting prompt. Ctrl-C and Ctrl-D mean no."""
        async with in_terminal():
            return await ask_yes_or_no(question, self._input, self._output)

    @property
    def waiting(self) -> bool:
        """Return whether a person can type now."""
        return self._session.app.is_running

    def interrupt(self) -> None:
        """Handle Ctrl-C: clear the line; on an empty line, show how to quit."""
        buffer = self._session.default_buffer
        self._hint = "" if buffer.text else "press Ctrl-D or type /exit to quit"
        buffer.reset()
        self._session.app.invalidate()

    def _message(self) -> StyleAndTextTuples:
        hint = "" if self._session.default_buffer.text else self._hint
        return [("class:hint", hint), ("", "\n"), ("class:sign", symbol(self._look, "prompt") + " ")]

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("enter")
        def send(event: KeyPressEvent) -> None:
            event.current_buffer.validate_and_handle()

        @keys.add("escape", "enter")
        @keys.add("c-j")
        def new_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @keys.add("c-c")
        def clear(event: KeyPressEvent) -> None:
            self.interrupt()

        return keys


class _PatientOutput(Vt100_Output):
    """Discards output to a closed terminal: the signal that follows ends the process."""

    def flush(self) -> None:
        try:
            super().flush()
        except (OSError, OutputError) as error:
            if error.errno != errno.EIO:
                raise


def terminal_output(stream: TextIO) -> Output:
    """Return the output for prompts.

    Cursor position requests are off: some terminals never answer, and nothing here needs them.
    """

    def size() -> Size:
        with suppress(OSError):  # the terminal was closed
            return Size(rows=rows_of(stream), columns=os.get_terminal_size(stream.fileno()).columns or 80)
        return Size(rows=24, columns=80)

    return _PatientOutput(
        stream, size, term=os.environ.get("TERM"), default_color_depth=ColorDepth.from_env(), enable_cpr=False
    )


async def ask_yes_or_no(question: str, input: Input | None = None, output: Output | None = None) -> bool:
    """Ask at the terminal; any answer other than yes, Ctrl-C and Ctrl-D mean no."""
    stream = sys.stdout if is_terminal(sys.stdout) else sys.stderr
    session: PromptSession[str] = PromptSession(
        input=input or create_input(sys.stdin), output=output or terminal_output(stream)
    )
    try:
        answer = await session.prompt_async(f"{question} [y/N] ", handle_sigint=False)
    except (EOFError, KeyboardInterrupt):
        return False
    return answer.strip().lower() in {"y", "yes"}
