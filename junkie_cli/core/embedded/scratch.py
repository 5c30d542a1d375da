"""A temporary PostgreSQL: for verifying backups by restoring them, for `junkie demo`, and for tests."""

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded.bound_keeper import BoundKeeper
from junkie_cli.core.embedded.client import absolute
from junkie_cli.core.embedded.cluster import USER
from junkie_cli.core.embedded.installations import Folder, Installation, candidates, installations, look
from junkie_cli.core.errors import DatabaseError

_ENDED = (
    "the process that starts a scratch PostgreSQL was ended",
    "try again; if it fails again, check what ends processes here (for example memory limits)",
)


class ScratchServer:
    """A server of its own in a new folder under `parent` (default: the temporary folder), gone when it is stopped.

    It also goes, folder and all, when this process dies, however it dies. Its superuser is `junkie`, with `password`
    when one is given; it listens on a socket only, unless `settings` names `listen_addresses`: then on `port`, a free
    one by default. `hba` lines come before the rules that let in by socket root, the server's own user, and roles named
    `junkie_proof_...` with their password; `files` are put into its data folder, names to bytes, readable for the
    server (certificates); `initdb` are more arguments for initdb; `memory` is how many bytes each of its processes may
    have; `bin_dir` names another installation's programs. As
    root it is run by an unprivileged user.

    `with` and `async with` start and stop it. Raises DatabaseError when it does not start.
    """

    def __init__(
        self,
        parent: Path | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        hba: Sequence[str] = (),
        files: Mapping[str, bytes] | None = None,
        initdb: Sequence[str] = (),
        password: str = "",
        port: int = 0,
        memory: int | None = None,
        bin_dir: Path | None = None,
    ) -> None:
        installation = installations()[0] if bin_dir is None else _named(bin_dir)
        self.bin_dir = installation.path
        self._order: dict[str, Any] = {
            "folder": absolute(parent or Path(tempfile.gettempdir())),
            "installation": installation.order(),
            "settings": dict(settings or {}),
            "hba": list(hba),
            "files": {name: data.hex() for name, data in (files or {}).items()},
            "initdb": list(initdb),
            "password": password,
            "port": port,
            "memory": memory,
        }
        self._keeper: BoundKeeper | None = None
        self.port = port
        self.socket_dir = Path()
        self.folder = Path()
        self.pid = 0

    @property
    def url(self) -> DatabaseUrl:
        """The address of its database `postgres`, by socket."""
        return DatabaseUrl.socket(str(self.socket_dir), user=USER, database="postgres", port=self.port)

    def start(self) -> "ScratchServer":
        """Start it, in about half a second. Raises DatabaseError."""
        self._keeper = BoundKeeper("scratch_keeper", self._order, ended=_ENDED)
        try:
            ready = self._keeper.answer()
        except BaseException:
            self.stop()
            raise
        self.socket_dir, self.port, self.pid = Path(ready["socket"]), int(ready["port"]), int(ready["pid"])
        self.folder = Path(ready["folder"])
        return self

    def stop(self) -> None:
        """End it and remove everything of it. Doing so twice is no error."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.end()

    def __enter__(self) -> "ScratchServer":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> "ScratchServer":
        return await asyncio.to_thread(self.start)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)


def _named(bin_dir: Path) -> Installation:
    """The server in this folder. Raises DatabaseError when none runs there."""
    known = next((folder for folder in candidates(None) if folder.path == bin_dir), None)
    found = look(known or Folder(bin_dir, str(bin_dir), bin_dir.parent))
    if found is None:
        raise DatabaseError(
            f"{bin_dir}/postgres does not run",
            hint="install PostgreSQL again from where it came, or name another folder with --pg-bin",
            code="embedded_programs",
        )
    return found
