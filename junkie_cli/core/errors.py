"""The error classes: every error that leaves the core is one of these.

Each class has an exit code and a stable `code` for `--json`; the message says what happened, the hint what to do next.
Neither contains secrets or personal text. Only `cli/main.py` converts them to an exit code.
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import ClassVar

from junkie_cli.core.value_class import frozen


class ExitCode(IntEnum):
    """The exit codes of the process, as documented in docs/scripts.md."""

    OK = 0
    FAILED = 1
    USAGE = 2
    SETTINGS = 3
    DATABASE = 4
    BACKUP = 5
    PROVIDER = 6
    LOCKED = 7
    INTERRUPTED = 130
    TERMINATED = 143


@frozen
class ResultWarning:
    """A warning about an answer, for example that it can be incomplete: a stable `code`, a sentence, and a hint."""

    code: str
    """row_security: policies may hide rows from this database user"""
    message: str
    hint: str = ""


class JunkieError(Exception):
    """An error that is reported to the user.

    `message` is one sentence without a final period; `hint` the next step, or empty; `code` a stable word for
    scripts (`{"error": {"code", "message", "hint"}}`).
    """

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED
    default_code: ClassVar[str] = "failed"

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.default_code

    @property
    def document(self) -> dict[str, str]:
        """The object for scripts."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


def causes(error: BaseException) -> Iterator[BaseException]:
    """`error` and everything that it was raised from, or while handling; the members of groups, too. Each once."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        waiting += [found.__cause__, found.__context__]
        if isinstance(found, BaseExceptionGroup):
            waiting += found.exceptions


class NotFoundError(JunkieError):
    """Raised if a memory, session, run or backup does not exist."""

    default_code = "not_found"


class DeclinedError(JunkieError):
    """Raised if the answer to a confirmation is no; nothing was changed."""

    default_code = "declined"


class UsageError(JunkieError):
    """Raised for an invalid command line or input file."""

    exit_code = ExitCode.USAGE
    default_code = "usage"


class SettingsError(JunkieError):
    """Raised for a missing or invalid setting; the message names the variable and its source."""

    exit_code = ExitCode.SETTINGS
    default_code = "settings"


class DatabaseError(JunkieError):
    """Raised if PostgreSQL cannot be reached, or refuses a request."""

    exit_code = ExitCode.DATABASE
    default_code = "database"

    @property
    def transient(self) -> bool:
        """Return whether a retry can succeed: after a restart, a failover, a lock of another session."""
        return self.code in _TRANSIENT


_TRANSIENT = frozenset(
    {
        "database_conflict",
        "database_connections",
        "database_dns",
        "database_locked",
        "database_lost",
        "database_refused",
        "database_starting",
        "database_timeout",
    }
)


class BackupError(JunkieError):
    """Raised if a backup or restore fails, or a backup file is invalid."""

    exit_code = ExitCode.BACKUP
    default_code = "backup"


class ProviderError(JunkieError):
    """Raised if the model provider cannot be reached, or refuses a request."""

    exit_code = ExitCode.PROVIDER
    default_code = "provider"


class DatabaseLockedError(DatabaseError):
    """Raised if another database session holds a lock for too long; nothing was changed."""

    exit_code = ExitCode.LOCKED
    default_code = "database_locked"


class LockedError(JunkieError):
    """Raised if another run holds the lock."""

    exit_code = ExitCode.LOCKED
    default_code = "locked"
