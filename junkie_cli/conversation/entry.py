"""Entry point of `junkie chat`: loads the settings, then starts the interactive loop or a one-shot."""

import gc
import sys
from contextlib import nullcontext

from junkie_cli.conversation.keyboard import typed_ahead
from junkie_cli.conversation.options import Options, require_user
from junkie_cli.core.settings import Settings
from junkie_cli.terminal.invocation import Invocation
from junkie_cli.terminal.style import is_terminal


def talk(options: Options, invocation: Invocation) -> None:
    """Run the conversation described by `options`. Raises JunkieError, and Terminated when the terminal is closed."""
    try:
        if options.message is None and not invocation.json and _person_sits_here():
            _converse(options, invocation)
        else:
            _answer(options, invocation)
    finally:
        # Garbage collection of agno's objects at exit would take 0.35 of the 0.4 seconds of leaving.
        gc.freeze()


def _person_sits_here() -> bool:
    return is_terminal(sys.stdin) and (is_terminal(sys.stdout) or is_terminal(sys.stderr))


def _converse(options: Options, invocation: Invocation) -> None:
    settings, options = _prepare(options, invocation)
    from junkie_cli.conversation.messages import Messages
    from junkie_cli.conversation.screen import main_screen
    from junkie_cli.conversation.welcome import print_header

    messages = Messages(main_screen(), quiet=invocation.quiet)
    with typed_ahead() if messages.screen.look.motion else nullcontext():
        print_header(messages, settings, options)
        from junkie_cli.conversation.loop import ChatLoop

        invocation.run(ChatLoop(settings, options, messages).run())


def _answer(options: Options, invocation: Invocation) -> None:
    from junkie_cli.conversation.json_lines import JsonView
    from junkie_cli.conversation.one_shot import answer, make_view
    from junkie_cli.conversation.standard_input import read_message

    view = make_view(invocation)
    if isinstance(view, JsonView):
        invocation.error_document = view.failure
    options.check()
    message = read_message(options.message, view.note)
    settings, options = _prepare(options, invocation)
    if isinstance(view, JsonView):
        view.user_id = settings.user
    invocation.run(answer(settings, options, message, view, interactive=invocation.interactive))


def _prepare(options: Options, invocation: Invocation) -> tuple[Settings, Options]:
    """Return the settings; ask for a provider if none is set and questions can be asked."""
    options.check()

    def load(values: dict[str, str]) -> Settings:
        return invocation.settings(**{"JUNKIE_USER": options.user, "CUSTOM_MODEL": options.model, **values})

    settings = load({})
    require_user(settings)
    if options.offline or settings.names_provider or not invocation.interactive:
        return settings, options
    from junkie_cli.conversation.first_run import choose_provider

    return choose_provider(settings, options, load)
