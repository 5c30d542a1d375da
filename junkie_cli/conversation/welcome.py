"""Prints the header of a conversation, and a prompt that accepts keys while the conversation is loading.

Typed keys wait in the terminal's queue until the real prompt replaces this one.
"""

from junkie_cli.conversation.messages import Messages
from junkie_cli.conversation.options import Options, announcements
from junkie_cli.conversation.symbols import symbol
from junkie_cli.core.sanitize import shown
from junkie_cli.core.settings import Settings


def print_header(messages: Messages, settings: Settings, options: Options) -> None:
    """Print user, model and announcements; then show a prompt, if it can be overwritten later."""
    screen = messages.screen
    if not messages.quiet:
        model = "rehearsal model" if options.offline else settings.custom_model
        rest = f" {symbol(screen.look, 'separator')} ".join(["", shown(settings.user), shown(model), "/help"])
        screen.print(screen.look.styled("junkie", "bold") + screen.look.styled(rest, "dim"))
    for announcement in announcements(settings, options):
        messages.announce(announcement)
    screen.draw((), ["", screen.look.styled(symbol(screen.look, "prompt"), "bold") + " "])
