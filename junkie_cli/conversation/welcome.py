"""Prints the header of a conversation, and a prompt that accepts keys while the conversation is loading.

Typed keys wait in the terminal's queue until the real prompt replaces this one.
"""

from junkie_cli.conversation.messages import Notices
from junkie_cli.conversation.options import Options, announcements
from junkie_cli.conversation.signals import sign
from junkie_cli.core.sanitize import shown
from junkie_cli.core.settings import Settings


def greet(notices: Notices, settings: Settings, options: Options) -> None:
    """Print user, model and announcements; then show a prompt, if it can be overwritten later."""
    screen = notices.screen
    if not notices.quiet:
        model = "rehearsal model" if options.offline else settings.custom_model
        rest = f" {sign(screen.look, 'separator')} ".join(["", shown(settings.user), shown(model), "/help"])
        screen.print(screen.look.styled("junkie", "bold") + screen.look.styled(rest, "dim"))
    for announcement in announcements(settings, options):
        notices.announce(announcement)
    screen.draw((), ["", screen.look.styled(sign(screen.look, "prompt"), "bold") + " "])
