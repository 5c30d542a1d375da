"""Migrates the data folder to another major version, from the starter's side: see migration_keeper.py."""

import asyncio
from pathlib import Path
from typing import Any

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded.bound_keeper import BoundKeeper
from junkie_cli.core.embedded.client import absolute, short_folder
from junkie_cli.core.embedded.cluster import DATABASE, USER
from junkie_cli.core.embedded.installations import Installation

_ENDED = (
    "the process that migrates the embedded PostgreSQL was ended",
    "the data are as they were; try again, and if it stays so, find what ends processes here",
)


def data_major(data_dir: Path) -> int | None:
    """The major version of PostgreSQL that wrote the data; None when there are none or this user may not look."""
    try:
        text = Path(absolute(data_dir), "data/PG_VERSION").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return int(text) if text.strip().isdigit() else None


class MajorMigration:
    """Both servers of a data folder, the old one and a new, empty one, while nobody else can use either.

    `async with` starts them, and ends them without a change unless `commit` was called. Raises DatabaseError.
    """

    def __init__(self, data_dir: Path, old: Installation, new: Installation) -> None:
        folder = absolute(data_dir)
        self._order = {"folder": folder, "old": old.order(), "new": new.order(), "short": short_folder(folder)}
        self._keeper: BoundKeeper | None = None
        self._sockets: dict[str, str] = {}

    @property
    def old(self) -> DatabaseUrl:
        """The address of the database as it is."""
        return DatabaseUrl.socket(self._sockets["old"], user=USER, database=DATABASE)

    @property
    def new(self) -> DatabaseUrl:
        """The address of the new and empty one."""
        return DatabaseUrl.socket(self._sockets["new"], user=USER, database=DATABASE)

    async def commit(self) -> str:
        """Stop both and put the new data in the place of the old ones; under which name these are kept."""
        return str((await asyncio.to_thread(self._commit))["kept"])

    def _commit(self) -> dict[str, Any]:
        assert self._keeper is not None
        self._keeper.send("commit")
        return self._keeper.answer()

    def _start(self) -> None:
        self._keeper = BoundKeeper("migration_keeper", self._order, ended=_ENDED)
        try:
            self._sockets = self._keeper.answer()
        except BaseException:
            self._end()
            raise

    def _end(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.end()

    async def __aenter__(self) -> "MajorMigration":
        await asyncio.to_thread(self._start)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._end)
