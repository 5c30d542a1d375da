"""The interactive loop: reads a message, shows the answer, extracts memories while the next message is typed.

The prompt is shown first; agno is loaded and the database is opened in the background. One turn runs at a time. When
its answer is complete the prompt returns, and the extraction of memories continues in the background.
"""

import asyncio
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from junkie_cli.conversation.actions import Actions, help_lines, short
from junkie_cli.conversation.keyboard import is_gone, silence_gone_terminal
from junkie_cli.conversation.messages import Messages
from junkie_cli.conversation.options import Options
from junkie_cli.conversation.plain_prompt import PlainPrompt
from junkie_cli.conversation.slash import ChatMessage, CommandCall, InvalidCommand, parse
from junkie_cli.conversation.start_up import open_conversation
from junkie_cli.conversation.symbols import symbol
from junkie_cli.conversation.turns import TurnTask
from junkie_cli.conversation.view import PlainView, TerminalView, View
from junkie_cli.core.chat import ChatEvent, Conversation, Done, MemoryEvent, Waiting, Warning
from junkie_cli.core.errors import JunkieError
from junkie_cli.core.formatting import plural
from junkie_cli.core.progress import Progress
from junkie_cli.core.reporting import set_reporter
from junkie_cli.core.settings import Settings
from junkie_cli.terminal.invocation import Terminated

if TYPE_CHECKING:
    from junkie_cli.conversation.prompt import Prompt

_CHOICES = 50  # completions of one kind
_AFTER_TURN = frozenset({"new", "resume", "user", "why"})  # commands that wait for the end of the previous turn


class ChatLoop:
    """The conversation of one process with a person at a terminal, after `conversation/welcome.py`."""

    def __init__(self, settings: Settings, options: Options, messages: Messages) -> None:
        self._settings = settings
        self._options = options
        self._messages = messages
        self._screen = messages.screen
        self._prompt = self._make_prompt()
        self._open_task: asyncio.Task[Conversation | None] | None = None
        self._turn: TurnTask | None = None
        self._stop: Callable[[], object] | None = None
        self._waiting_view: View | None = None
        self._saving_view: View | None = None
        self._memory_model: Waiting | None = None
        """What the running extraction waits for."""
        self._draft = ""
        self._trouble_told = False
        self._choices_known: dict[str, list[tuple[str, str]]] = {}

    def _make_prompt(self) -> "Prompt | PlainPrompt":
        if not self._screen.look.motion:
            return PlainPrompt(self._screen.stream, self._screen.look)
        from junkie_cli.conversation.prompt import Prompt

        return Prompt(self._screen.stream, self._screen.look, self._choices)

    async def run(self) -> None:
        """Read and answer until the person leaves. Raises Terminated when the terminal is closed."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._interrupted)
        self._prompt.belongs_to(self._settings.user)
        self._open_task = asyncio.create_task(self._open())
        try:
            while (line := await self._read()) is not None and await self._execute(line):
                pass
            await self._memories_made("Ctrl-C to quit now")
            self._show_how_to_continue()
        finally:
            await self._close()

    # Opening

    async def _open(self) -> Conversation | None:
        """Open the conversation and show its status, or why it cannot be opened."""
        loop = asyncio.get_running_loop()

        def report(message: str) -> None:  # may be called from a thread
            loop.call_soon_threadsafe(self._prompt.above, lambda: self._messages.note(message))

        set_reporter(report)
        drawing = asyncio.create_task(asyncio.to_thread(_load_drawing))
        try:
            await asyncio.to_thread(_load_driver)
            conversation = await open_conversation(
                self._settings,
                self._options,
                ask=self._ask,
                progress=Progress(step=report),
            )
            await self._show_status(conversation)
        except JunkieError as error:
            self._prompt.above(partial(self._messages.error, error))
            return None
        finally:
            await drawing
        return conversation

    async def _ask(self, question: str) -> bool:
        if self._waiting_view is not None:
            self._waiting_view.settle()
        return await self._prompt.ask(question)

    async def _show_status(self, conversation: Conversation) -> None:
        status = await conversation.status()
        continued = self._options.session is not None or self._options.continue_latest
        last = await self._actions(conversation).last_exchange() if continued else []
        remembered = plural(status.memories, "memory", "memories")
        if status.pending:
            remembered += f", {status.pending:,} pending"
        if not status.memory:
            remembered = "memory is off"
        session = f"{'session' if continued else 'new session'} {short(conversation.session_id)}"
        facts = f" {symbol(self._screen.look, 'separator')} ".join([remembered, session])

        def tell() -> None:
            if status.database:
                self._messages.note(facts)
                self._messages.note(status.database)
            for note in conversation.notes:
                self._messages.announce(note)
            self._screen.print(*last)

        self._prompt.above(tell)

    def _retry(self, conversation: Conversation) -> None:
        """Retry pending extractions in the background, and show the results above the prompt."""
        conversation.retry_behind(lambda event: self._prompt.above(lambda: self._messages.memory(event)))

    async def _ready(self) -> Conversation | None:
        """Return the conversation once it is open; retry if opening failed before."""
        if self._open_task is None or (self._open_task.done() and self._open_task.result() is None):
            self._open_task = asyncio.create_task(self._open())
        view = self._waiting_view = self._view()
        with self._stoppable(self._open_task.cancel):
            if not self._open_task.done():
                view.busy("starting")
            await asyncio.wait({self._open_task})
        view.settle()
        self._waiting_view = None
        if self._open_task.cancelled():
            self._open_task = None
            return None
        return self._open_task.result()

    # A line

    async def _read(self) -> str | None:
        """Return the next line, or None when the person leaves. Raises Terminated when the terminal is closed."""
        draft, self._draft = self._draft, ""
        self._choices_known.clear()
        self._screen.give_way()
        try:
            return await self._prompt.read(draft)
        except EOFError:
            if is_gone():
                raise Terminated(signal.SIGHUP) from None
            return None
        finally:
            self._screen.blank = self._screen.after_text = False
            self._report_unsaved_lines()

    def _report_unsaved_lines(self) -> None:
        """Report once if typed lines cannot be saved."""
        if self._prompt.trouble and not self._trouble_told:
            self._trouble_told = True
            self._messages.note(f"typed lines are not saved: {self._prompt.trouble}")

    async def _execute(self, line: str) -> bool:
        """Execute `line`; return False if it asks to leave."""
        asked = parse(line.encode("utf-8", "replace").decode().replace("\x00", ""))
        if isinstance(asked, CommandCall) and asked.command.name == "exit":
            return False
        if asked is not None:
            self._screen.separate()
        match asked:
            case ChatMessage(text):
                await self._send(text, line)
            case InvalidCommand(advice):
                self._messages.warn(advice)
            case CommandCall(command, argument):
                await self._act(command.name, argument)
        return True

    async def _send(self, text: str, line: str) -> None:
        conversation = await self._ready()
        if conversation is None:
            self._draft = line
            return
        await self._memories_made("Ctrl-C to continue without waiting")
        view = self._view()
        view.busy("thinking")
        self._memory_model = None
        turn = self._turn = TurnTask(conversation, text, view, self._after_answer)
        with self._stoppable(turn.stop):
            await turn.answered()
        view.settle()
        if turn.stopped:
            self._messages.note("stopped; the partial answer was saved" if self._options.database else "stopped")
        elif turn.done and turn.done.error:
            self._messages.error(turn.done.error)

    async def _after_answer(self, event: ChatEvent) -> None:
        """Show the results of an extraction above the next prompt."""
        match event:
            case MemoryEvent(action="pending"):
                waiting = await self._pending()
                self._prompt.above(lambda: self._messages.memory(event, waiting))
            case MemoryEvent():
                self._prompt.above(lambda: self._messages.memory(event))
            case Waiting():
                self._memory_model = event
                if self._saving_view is not None:
                    self._saving_view.show(event)
            case Warning(message):
                self._prompt.above(lambda: self._messages.warn(message))
            case Done(error=JunkieError() as error):
                self._prompt.above(lambda: self._messages.error(error))
        if isinstance(event, Done) and (conversation := self._opened()) is not None:
            self._retry(conversation)

    async def _pending(self) -> int:
        conversation = self._opened()
        try:
            return (await conversation.status()).pending if conversation else 0
        except JunkieError:
            return 0

    async def _memories_made(self, hint: str) -> None:
        """Wait for the extraction of the last turn, showing progress; Ctrl-C leaves it pending."""
        turn = self._turn
        if turn is None:
            return
        if not turn.running:
            await turn.over()
            return
        view = self._view()
        with self._stoppable(turn.stop):
            view.busy("saving memories", hint)
            if self._memory_model is not None:
                view.show(self._memory_model)
            self._saving_view = view
            try:
                await turn.over()
            finally:
                self._saving_view = None
        view.settle()
        if turn.stopped:
            self._messages.memory(MemoryEvent("pending", None, None))

    async def _act(self, name: str, argument: str) -> None:
        if name == "help":
            self._screen.print(*help_lines(self._screen.look, self._screen.columns))
            return
        conversation = await self._ready()
        if conversation is None:
            return
        if name in _AFTER_TURN:
            await self._memories_made("Ctrl-C to continue without waiting")
        before = conversation.user_id
        work = asyncio.ensure_future(self._actions(conversation).run(name, argument))
        with self._stoppable(work.cancel):
            await asyncio.wait({work})
        if work.cancelled():
            self._messages.note("stopped")
            return
        try:
            self._screen.print(*work.result())
        except JunkieError as error:
            self._messages.error(error)
        if conversation.user_id != before:
            self._prompt.belongs_to(conversation.user_id)

    def _actions(self, conversation: Conversation) -> Actions:
        return Actions(conversation, self._screen.look, self._screen.columns)

    async def _choices(self, name: str) -> list[tuple[str, str]]:
        """Return completions for `/forget` and `/resume`; none before the database is open."""
        conversation = self._opened()
        if conversation is None:
            return []
        if name not in self._choices_known:
            try:
                self._choices_known[name] = await _choices_of(conversation, name)
            except JunkieError:
                return []  # the command itself reports the error
        return self._choices_known[name]

    # Stopping and leaving

    def _view(self) -> View:
        if self._screen.look.motion and self._screen.stream is sys.stdout:
            return TerminalView(self._screen, self._messages)
        return PlainView(sys.stdout, self._messages)

    @contextmanager
    def _stoppable(self, stop: Callable[[], object]) -> Iterator[None]:
        """Make Ctrl-C call `stop` inside the block."""
        self._stop = stop
        try:
            yield
        finally:
            self._stop = None

    def _interrupted(self) -> None:
        if self._stop is not None:
            self._stop()
        elif self._prompt.waiting:
            self._prompt.interrupt()

    def _show_how_to_continue(self) -> None:
        """Show how to continue this session, if anything of it was stored."""
        conversation = self._opened()
        if self._turn is None or conversation is None or not self._options.database:
            return
        other = conversation.user_id != self._settings.user or self._options.user is not None
        again = "junkie chat -c" + (" --offline" if self._options.offline else "")
        again += f" -u {shlex.quote(conversation.user_id)}" if other else ""
        self._screen.separate()
        self._messages.note(f"to continue session {short(conversation.session_id)}: {again}")

    def _opened(self) -> Conversation | None:
        """Return the conversation if it is open."""
        if self._open_task is None or not self._open_task.done() or self._open_task.cancelled():
            return None
        return self._open_task.result()

    async def _close(self) -> None:
        """Close everything, even while a turn is running; Ctrl-C interrupts that."""
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        silence_gone_terminal()
        if self._turn is not None and self._turn.running:
            self._turn.stop()
            await self._turn.over()
        if self._open_task is not None and not self._open_task.done():
            self._open_task.cancel()
            await asyncio.wait({self._open_task})
        conversation = self._opened()
        if conversation is not None:
            await conversation.close()


async def _choices_of(conversation: Conversation, name: str) -> list[tuple[str, str]]:
    if name == "forget":
        return [(short(memory.memory_id), memory.memory) for memory in (await conversation.memories())[:_CHOICES]]
    sessions = await conversation.sessions(_CHOICES)
    return [(short(session.session_id), session.name or session.first_words) for session in sessions]


def _load_drawing() -> None:
    """Load the Markdown renderer in the background: it takes a tenth of a second."""
    from junkie_cli.conversation import markdown

    markdown.MarkdownStream.warm_up()


def _load_driver() -> None:
    """Load the PostgreSQL driver in a thread: it would block the keyboard for a tenth of a second."""
    import junkie_cli.core.postgres.connection  # noqa: F401
