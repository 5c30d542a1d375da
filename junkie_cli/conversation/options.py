"""The options of `junkie chat`, and the announcements before the first message. Loads nothing heavy."""

from junkie_cli.core.errors import SettingsError, UsageError
from junkie_cli.core.settings import COMMON_NAMES, Settings
from junkie_cli.core.value_class import frozen

REHEARSAL = "rehearsal model: answers come from built-in rules; nothing leaves this machine"


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
        """Raise UsageError for options that are contradictory or empty."""
        if self.session is not None and self.continue_latest:
            raise UsageError("--session and --continue exclude each other", hint="give one of them")
        if self.continue_latest and not self.database:
            raise UsageError("--continue needs a database", hint="leave out --continue or --no-database")
        for name, value in (("--user", self.user), ("--session", self.session), ("--model", self.model)):
            if value is not None and not value.strip():
                raise UsageError(f"{name} is empty", hint=f"give a value after {name}, or leave it out")


def require_user(settings: Settings) -> None:
    """Raise SettingsError if the user is unknown."""
    if not settings.user:
        raise SettingsError(
            "the user is unknown: the current login has no name",
            hint="name a user with --user, or set JUNKIE_USER",
        )


def announcements(settings: Settings, options: Options) -> list[str]:
    """Return what must be announced before the first message, as far as the settings show it."""
    found = [REHEARSAL] if options.offline else []
    if settings.postgres_url is None and options.database and settings.bot_variables - COMMON_NAMES:
        found.append(
            "POSTGRES_URL is empty in the settings of the Discord bot: the bot loses everything when it stops, "
            "while junkie stores data in its own PostgreSQL"
        )
    return found
