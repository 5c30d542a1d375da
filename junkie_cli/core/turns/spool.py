"""The spool: exchanges that the database could not store, kept on this machine until it is back.

Each exchange is one private file (0600 in 0700 folders), synced before anything waits for the database, in a folder for
that database: `$XDG_STATE_HOME/junkie/spool/IDENTITY`. Storing an exchange twice changes nothing, so a kill may leave a
file behind at any moment. Loads nothing heavy.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from junkie_cli.core.files import complete_file, converting_errors
from junkie_cli.core.schema.registry import OWN_VERSIONS
from junkie_cli.core.schema.tables import SchemaState, transaction
from junkie_cli.core.settings import state_dir
from junkie_cli.core.turns.types import Pending
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

LOCK = ".lock"
UNREADABLE = ".unreadable"
_LEFT_BEHIND = 3600  # seconds after which an incomplete file is abandoned


def spool_folder() -> Path:
    """The folder that holds the spools of all databases."""
    return state_dir() / "spool"


async def identity(connection: "asyncpg.Connection[Any]", state: SchemaState) -> str | None:
    """An id of this schema of this database that no copy of it shares; None if it cannot be read.

    A hash of the salt of our tables, the system identifier of the cluster (which a standby shares), and the names: a
    restored or cloned database has another system identifier or another name.
    """
    if not state.may("SELECT", OWN_VERSIONS):
        return None
    async with transaction(connection):
        row = await connection.fetchrow(
            "SELECT current_database() AS name, has_function_privilege('pg_control_system()', 'EXECUTE') AS may,"
            f" (SELECT value FROM {state.qualified(OWN_VERSIONS)} WHERE name = 'salt') AS salt"
        )
        assert row is not None
        number = await connection.fetchval("SELECT system_identifier FROM pg_control_system()") if row["may"] else 0
    if not row["salt"]:
        return None
    parts = json.dumps([row["salt"], number, row["name"], state.schema])
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


@frozen
class Entry:
    """A file of the spool and its content."""

    path: Path
    document: Mapping[str, Any]

    @property
    def user_id(self) -> str:
        """The user of this exchange."""
        return str(self.document["user_id"])

    @property
    def pending(self) -> Pending | None:
        """The pending extraction of this exchange, None if there is none."""
        found = self.document.get("pending")
        if found is None:
            return None
        return Pending(**found, created_at=datetime.fromisoformat(self.document["at"]), spooled=True)


class Spool:
    """The spool of one database; `database` names it for people."""

    def __init__(self, identity: str, database: str = "", *, folder: Path | None = None) -> None:
        self.folder = (spool_folder() if folder is None else folder) / identity
        self._database = database

    def put(self, name: str, document: str) -> Path:
        """Keep `document`, a JSON object that names its `user_id`, synced under `name`. Raises FileError."""
        whole = {**json.loads(document), "at": datetime.now(UTC).isoformat(), "database": self._database}
        path = self.folder / f"{time.time_ns():020d}-{name}.json"
        with converting_errors(self.folder):
            for folder in (self.folder.parent, self.folder):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with complete_file(path) as file:
            file.write(json.dumps(whole, ensure_ascii=False).encode())
        return path

    def drop(self, path: Path) -> None:
        """Delete a file that was stored, or must not be. If deletion fails, storing it again changes nothing."""
        with suppress(OSError):
            path.unlink(missing_ok=True)

    def entries(self) -> list[Entry]:
        """All entries, oldest first; files that cannot be read as entries are renamed."""
        found = []
        for path in self._paths():
            try:
                entry = Entry(path, json.loads(path.read_bytes()))
                assert isinstance(entry.user_id, str)
                assert entry.pending is None or entry.pending.pending_id
            except OSError:
                continue  # stored by another process in the meantime
            except (ValueError, KeyError, TypeError, AssertionError, RecursionError):
                self.put_aside(path)
            else:
                found.append(entry)
        return found

    def _paths(self) -> list[Path]:
        try:
            return sorted(path for path in self.folder.iterdir() if path.suffix == ".json" and path.name[0] != ".")
        except OSError:
            return []

    def __len__(self) -> int:
        return len(self._paths())

    def pending(self, user_id: str | None = None) -> list[Pending]:
        """The pending extractions of the entries, of one user or of all, oldest first."""
        found = [entry.pending for entry in self.entries() if user_id in (None, entry.user_id)]
        return [pending for pending in found if pending is not None]

    def put_aside(self, path: Path) -> None:
        """Rename a file that cannot be read as an entry, so that it is skipped."""
        with suppress(OSError):
            path.rename(path.with_suffix(UNREADABLE))

    def of_user(self, user_id: str) -> list[Path]:
        """The files with exchanges of this user."""
        return [entry.path for entry in self.entries() if entry.user_id == user_id]

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Lock the spool for a flush; False if another process holds it, or there is no spool."""
        try:
            descriptor = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            yield False
            return
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            self._sweep()
            yield True
        finally:
            os.close(descriptor)

    def _sweep(self) -> None:
        """Remove incomplete files of killed processes: they were never reported as kept."""
        for path in self.folder.glob(".*.part"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _LEFT_BEHIND:
                    path.unlink()


def waiting(database: str) -> int:
    """How many exchanges wait for the database with this label; used when its identity cannot be read."""
    count = 0
    with suppress(OSError):
        for folder in spool_folder().iterdir():
            count += sum(entry.document.get("database") == database for entry in Spool(folder.name).entries())
    return count
