"""What can go wrong, in the user's words: every failure that leaves the core is one of these.

Each kind carries the exit code of the command line and a stable `code` for `--json`; the message says what happened,
the hint what to do next. Neither ever holds a secret or somebody's text. `cli/main.py` alone turns them into an exit.
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
    """Why an answer may be incomplete, or is not what was asked for: a stable `code`, a sentence, and what to do."""

    code: str
    """row_security: policies may hide rows from this database user"""
    message: str
    hint: str = ""


class JunkieError(Exception):
    """A failure that the user is told about.

    `message` is one sentence without a full stop needed; `hint` the next step, or empty; `code` a stable word for
    scripts (`{"error": {"code", "message", "hint"}}`).
    """

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED
    default_code: ClassVar[str] = "failed"

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.default_code


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
    """No such memory, session, run or backup."""

    default_code = "not_found"


class DeclinedError(JunkieError):
    """The person was asked and said no; nothing was changed."""

    default_code = "declined"


class UsageError(JunkieError):
    """The command line, or the file given to it, cannot be carried out as it stands."""

    exit_code = ExitCode.USAGE
    default_code = "usage"


class SettingsError(JunkieError):
    """A setting is missing or has a bad value; names the variable and where it came from."""

    exit_code = ExitCode.SETTINGS
    default_code = "settings"


class DatabaseError(JunkieError):
    """PostgreSQL cannot be reached, or refused."""

    exit_code = ExitCode.DATABASE
    default_code = "database"

    @property
    def transient(self) -> bool:
        """Whether the same may succeed soon without anybody's help: a restart, a failover, a lock of somebody else."""
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
    """A backup or restore failed, or a backup file is not valid."""

    exit_code = ExitCode.BACKUP
    default_code = "backup"


class ProviderError(JunkieError):
    """The model provider cannot be reached, or refused."""

    exit_code = ExitCode.PROVIDER
    default_code = "provider"


class DatabaseLockedError(DatabaseError):
    """Another session of the database held a lock for too long; nothing was changed."""

    exit_code = ExitCode.LOCKED
    default_code = "database_locked"


class LockedError(JunkieError):
    """Another run holds the lock."""

    exit_code = ExitCode.LOCKED
    default_code = "locked"
