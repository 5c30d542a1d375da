"""The tour of `junkie demo`: its commands, and the temporary environment they run in.

Data flow: `STEPS` (a sentence and a command) -> each command runs as a child process in the environment of `Stage`, so
that the tour uses the real program, but never the user's database, key or settings.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from junkie_cli.core import embedded
from junkie_cli.core.value_class import frozen


@frozen
class Step:
    """One step of the tour: a sentence, and the arguments of `junkie`."""

    says: str
    arguments: tuple[str, ...]


USER = "ada"

_REMOVAL_SECONDS = 10.0

STEPS: tuple[Step, ...] = (
    Step(
        "Tell the team something about you. A built-in model answers; the team, its memories and PostgreSQL are real.",
        ("chat", "-u", USER, "--offline", "My name is Ada and I prefer tea."),
    ),
    Step(
        "In a new session, it still knows you.",
        ("chat", "-u", USER, "--offline", "What do you remember about me?"),
    ),
    Step("When facts change, memories are updated.", ("chat", "-u", USER, "--offline", "I prefer coffee now.")),
    Step(
        "Other users do not share your memories.", ("chat", "-u", "bob", "--offline", "What do you remember about me?")
    ),
    Step("Memories are rows that you can list", ("memories", "list", "-u", USER)),
    Step("and count.", ("stats",)),
    Step("Every backup is verified by restoring it.", ("backup", "--embedded")),
    Step("Delete all memories", ("memories", "clear", "-u", USER, "--yes", "--embedded")),
    Step("and undo that.", ("memories", "undo")),
    Step("The memories are restored.", ("memories", "list", "-u", USER)),
)


class Stage:
    """A temporary home for the tour: `with Stage() as stage`; its commands run in `stage.environment`."""

    def __init__(self) -> None:
        # Imported here and below: each `junkie --help` loads this module, and these imports take 23 ms.
        import secrets
        import tempfile

        # A name that does not exist yet: as root, the user of the embedded server must own it, in a folder that this
        # user can access.
        self._data_dir = Path(tempfile.gettempdir()) / f"junkie-demo-{secrets.token_hex(4)}"
        self._home = Path(tempfile.mkdtemp(prefix="junkie-demo-home-"))
        self.environment: Mapping[str, str] = {
            **_plain_environment(),
            "HOME": str(self._home),
            "JUNKIE_DATA_DIR": str(self._data_dir),
            "JUNKIE_BACKUP_DIR": str(self._home / "backups"),
        }

    @property
    def folder(self) -> Path:
        """Return the current folder of the commands, from which no `.env` is found upward except the system's."""
        return self._home

    def __enter__(self) -> "Stage":
        (self._home / ".env").touch(mode=0o600)  # an empty file ends the search
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        import asyncio
        import shutil
        import time

        if embedded.exists(self._data_dir):
            asyncio.run(embedded.stop(self._data_dir))
        # A database that is just being created creates files until it finds one of them missing.
        end = time.monotonic() + _REMOVAL_SECONDS
        while self._data_dir.exists() and time.monotonic() < end:
            shutil.rmtree(self._data_dir, ignore_errors=True)
            time.sleep(0.02)
        shutil.rmtree(self._home, ignore_errors=True)


def _plain_environment() -> dict[str, str]:
    kept = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TERM", "COLORTERM", "COLUMNS", "LINES", "NO_COLOR", "TZ", "TMPDIR")
    return {name: os.environ[name] for name in kept if os.environ.get(name)}
