"""What a conversation is asked to be, and what must be told before its first word. Loads nothing heavy."""

from junkie_cli.core.errors import SettingsError, UsageError
from junkie_cli.core.settings import COMMON_NAMES, Settings
from junkie_cli.core.value_class import frozen

REHEARSAL = "rehearsal model: no real model answers, nothing leaves this machine"


@frozen
class Options:
    """The options of `junkie chat`."""

    message: str | None = None
    user: str | None = None
    session: str | None = None
    continue_latest: bool = False
    model: str | None = None
    offline: bool = False
    memory: bool = True
    database: bool = True
    yes: bool = False

    def check(self) -> None:
        """Raises UsageError for options that contradict each other or say nothing."""
        if self.session is not None and self.continue_latest:
            raise UsageError("--session and --continue name two different sessions", hint="give one of them")
        if self.continue_latest and not self.database:
            raise UsageError("there is no latest session with --no-database", hint="leave out --continue")
        for name, value in (("--user", self.user), ("--session", self.session), ("--model", self.model)):
            if value is not None and not value.strip():
                raise UsageError(f"{name} is empty", hint=f"give a value after {name}, or leave it out")


def require_user(settings: Settings) -> None:
    """Raises SettingsError when nothing says who is talking."""
    if not settings.user:
        raise SettingsError(
            "it is not clear whose conversation this is: this login has no name",
            hint="name a user with --user, or set JUNKIE_USER",
        )


def announcements(settings: Settings, options: Options) -> list[str]:
    """What must be told before the first word, every time, as far as the settings tell it."""
    found = [REHEARSAL] if options.offline else []
    if settings.postgres_url is None and options.database and settings.bot_variables - COMMON_NAMES:
        found.append(
            "POSTGRES_URL is empty beside the settings of the Discord bot: the bot forgets everything when it ends, "
            "while junkie remembers, in a PostgreSQL of its own"
        )
    return found
