"""Answers one question for pipes and scripts: only the answer on stdout, or JSON Lines with `--json`."""

import asyncio
import sys
from collections.abc import Awaitable, Callable

from junkie_cli.conversation.json_lines import JsonView
from junkie_cli.conversation.messages import Messages
from junkie_cli.conversation.options import Options, announcements
from junkie_cli.conversation.plain_prompt import PlainPrompt
from junkie_cli.conversation.screen import main_screen
from junkie_cli.conversation.start_up import open_conversation
from junkie_cli.conversation.view import PlainView, TerminalView, View
from junkie_cli.core.chat import AnswerComplete, ChatEvent, Conversation, Done, MemoryEvent
from junkie_cli.core.errors import JunkieError
from junkie_cli.core.progress import Progress
from junkie_cli.core.settings import Settings
from junkie_cli.terminal.invocation import Invocation
from junkie_cli.terminal.style import Look


async def answer(settings: Settings, options: Options, message: str, view: View, *, interactive: bool) -> None:
    """Answer `message`, extract its memories, and end. Raises the error that ended the turn."""
    for announcement in announcements(settings, options):
        view.announce(announcement)
    view.busy("starting")
    try:
        progress = Progress(step=_from_any_thread(view.note))
        conversation = await open_conversation(
            settings, options, ask=_asking(view) if interactive else None, progress=progress
        )
        async with conversation:
            done, extracted = await _turn(conversation, message, view)
            if done.error is None and extracted:
                await _retry_earlier(conversation, view)
    finally:
        view.settle()
    if done.error is not None:
        raise done.error


async def _turn(conversation: Conversation, message: str, view: View) -> tuple[Done, bool]:
    """Run the turn until it ends, even if the reader is gone: the message must be remembered.

    Returns the `Done` event, and whether the memory model could be called.
    """
    if isinstance(view, JsonView):
        view.session_id = conversation.session_id
    for note in conversation.notes:
        view.announce(note)
    view.busy("thinking")
    lost: Exception | None = None
    answered, extracted = False, True
    ended: Done | None = None
    try:
        async for event in conversation.send(message, hold=True):
            answered = answered or isinstance(event, AnswerComplete)
            extracted = extracted and not (isinstance(event, MemoryEvent) and event.action == "pending")
            ended = event if isinstance(event, Done) else None
            if lost is None:
                lost = _show(view, event)
    except asyncio.CancelledError:
        view.broken("memory not saved yet; will retry" if answered else "the answer is incomplete")
        raise
    if lost is not None:
        raise lost
    assert ended is not None  # the last event of every turn
    return ended, extracted


async def _retry_earlier(conversation: Conversation, view: View) -> None:
    """Retry due extractions of earlier messages, after the answer, to avoid delaying it."""
    view.busy("saving memories of earlier messages", "Ctrl-C to leave them pending")
    conversation.retry_behind()
    await conversation.retried()


def _show(view: View, event: ChatEvent) -> Exception | None:
    """Show `event`; return the error if it cannot be written, for example because the reader is gone."""
    try:
        view.show(event)
        if isinstance(event, AnswerComplete):
            view.busy("saving memories")
    except (OSError, JunkieError) as error:
        return error
    return None


def _asking(view: View) -> Callable[[str], Awaitable[bool]]:
    async def ask(question: str) -> bool:
        view.settle()
        look = Look.of(sys.stderr)
        if not look.motion:
            return await PlainPrompt(sys.stderr, look).ask(question)
        from junkie_cli.conversation.prompt import ask_yes_or_no

        return await ask_yes_or_no(question)

    return ask


def _from_any_thread(tell: Callable[[str], None]) -> Callable[[str], None]:
    loop = asyncio.get_running_loop()

    def report_later(message: str) -> None:
        loop.call_soon_threadsafe(tell, message)

    return report_later


def make_view(invocation: Invocation) -> View:
    """Choose the view for stdout: JSON Lines, Markdown on a terminal, or plain text."""
    screen = main_screen()
    messages = Messages(screen, quiet=invocation.quiet)
    if invocation.json:
        return JsonView(messages)
    if screen.stream is sys.stdout and screen.look.motion:
        return TerminalView(screen, messages)
    return PlainView(sys.stdout, messages)
