"""The tour of `junkie demo`: which commands it runs, in which order, and the throw-away place they run in.

Data flow: `STEPS` (what to say and what to type) -> the command runs each one as a child process in the environment
of `Stage`, so that a tour can never touch the user's database, key or settings, and is the real program throughout.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from junkie_cli.core import embedded
from junkie_cli.core.value_class import frozen


@frozen
class Step:
    """One stop of the tour: a sentence, and the arguments of `junkie` that show it."""

    says: str
    arguments: tuple[str, ...]


USER = "ada"

_REMOVAL_SECONDS = 10.0

STEPS: tuple[Step, ...] = (
    Step(
        "Tell the team something about you. The rehearsal model answers; the team, its memory and PostgreSQL are real.",
        ("chat", "-u", USER, "--offline", "My name is Ada and I prefer tea."),
    ),
    Step(
        "Tomorrow, in a new session, it still knows you.",
        ("chat", "-u", USER, "--offline", "What do you remember about me?"),
    ),
    Step("Minds change, and memories follow.", ("chat", "-u", USER, "--offline", "I prefer coffee now.")),
    Step("Somebody else shares none of it.", ("chat", "-u", "bob", "--offline", "What do you remember about me?")),
    Step("What is remembered is rows that you can look at", ("memories", "list", "-u", USER)),
    Step("and count.", ("stats",)),
    Step("A backup is proven by restoring it on the spot.", ("backup", "--embedded")),
    Step("Forget it all", ("memories", "clear", "-u", USER, "--yes", "--embedded")),
    Step("and change your mind.", ("memories", "undo")),
    Step("Everything is back.", ("memories", "list", "-u", USER)),
)


class Stage:
    """A throw-away home for the tour: `with Stage() as stage`; `stage.environment` is what its commands run in."""

    def __init__(self) -> None:
        # Imported here and below: each `junkie --help` loads this module, and these took it 23 ms.
        import secrets
        import tempfile

        # A name that does not exist yet: as root the embedded server's own user must own it, inside a folder that
        # this user may enter.
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
        """Current folder of the commands: empty, so that no `.env` is found from there upward but the system's."""
        return self._home

    def __enter__(self) -> "Stage":
        (self._home / ".env").touch(mode=0o600)  # an empty one ends the search upward
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        import asyncio
        import shutil
        import time

        if embedded.exists(self._data_dir):
            asyncio.run(embedded.stop(self._data_dir))
        # A database that is only just being made goes on making files until it finds one of them gone.
        end = time.monotonic() + _REMOVAL_SECONDS
        while self._data_dir.exists() and time.monotonic() < end:
            shutil.rmtree(self._data_dir, ignore_errors=True)
            time.sleep(0.02)
        shutil.rmtree(self._home, ignore_errors=True)


def _plain_environment() -> dict[str, str]:
    kept = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TERM", "COLORTERM", "COLUMNS", "LINES", "NO_COLOR", "TZ", "TMPDIR")
    return {name: os.environ[name] for name in kept if os.environ.get(name)}
