"""The first thing on the screen: who talks with what, and a prompt that takes keys while the conversation is loaded.

Typed keys wait in the terminal's queue, unseen, until the real prompt has taken the place of this one.
"""

from junkie_cli.conversation.messages import Notices
from junkie_cli.conversation.options import Options, announcements
from junkie_cli.conversation.signals import sign
from junkie_cli.core.sanitize import shown
from junkie_cli.core.settings import Settings


def greet(notices: Notices, settings: Settings, options: Options) -> None:
    """Say who is here, and what must be told before the first word; then show a prompt, where it can be drawn over."""
    screen = notices.screen
    if not notices.quiet:
        model = "rehearsal model" if options.offline else settings.custom_model
        rest = f" {sign(screen.look, 'separator')} ".join(["", shown(settings.user), shown(model), "/help"])
        screen.print(screen.look.styled("junkie", "bold") + screen.look.styled(rest, "dim"))
    for announcement in announcements(settings, options):
        notices.announce(announcement)
    screen.draw((), ["", screen.look.styled(sign(screen.look, "prompt"), "bold") + " "])
