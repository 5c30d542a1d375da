"""A real PgBouncer in front of a scratch server, in transaction mode by default.

The program is Debian's package `pgbouncer`. It must be there: a test that needs it fails without it.
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from junkie_cli.core.database_url import DatabaseUrl, Host
from junkie_cli.core.embedded.scratch import ScratchServer
from tests.support.needs import need

SERVER_SETTINGS = {"listen_addresses": "127.0.0.1"}
"""What a ScratchServer must be started with to stand behind a PgBouncer."""

SERVER_HBA = ("host all all 127.0.0.1/32 scram-sha-256",)


def program() -> str:
    """PgBouncer's path; a test that needs it says what to install when there is none."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/local/sbin")
    need(found, "PgBouncer: apt-get install pgbouncer")
    return str(found)


class PgBouncer:
    """A pooler on a free port of 127.0.0.1, for one role with its password, gone at the end of `with`.

    `server` listens on TCP and knows the role. `pool_size` server connections serve every client.
    """

    def __init__(
        self, server: ScratchServer, *, user: str, password: str, pool_size: int = 2, settings: Mapping[str, str] = {}
    ) -> None:
        self._server, self._user, self._password = server, user, password
        self._settings = {
            "pool_mode": "transaction",
            "default_pool_size": str(pool_size),
            "max_client_conn": "100",
            "auth_type": "scram-sha-256",
            "unix_socket_dir": "",
            "listen_addr": "127.0.0.1",
            **settings,
        }
        self.port = 0

    def url(self, database: str = "postgres", query: str = "") -> DatabaseUrl:
        """`database` by way of this pooler."""
        base = DatabaseUrl((Host("127.0.0.1", self.port),), self._user, self._password, database)
        return DatabaseUrl.parse(base.libpq() + query)

    def __enter__(self) -> "PgBouncer":
        self._folder = Path(tempfile.mkdtemp(prefix="junkie-pgbouncer-"))
        owner = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        for _ in range(5):
            self.port = _free_port()
            self._write(owner)
            command = [program(), str(self._folder / "pgbouncer.ini")]
            with (self._folder / "log").open("ab") as log:
                self._process = subprocess.Popen(command, stdout=log, stderr=log, user=owner, start_new_session=True)
            if self._listens():
                return self
        said = (self._folder / "log").read_text()
        self.__exit__()
        raise AssertionError(f"PgBouncer does not start:\n{said}")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder)

    def _write(self, owner: str) -> None:
        databases = f"[databases]\n* = host=127.0.0.1 port={self._server.port}\n"
        users = self._folder / "users"
        settings = {**self._settings, "listen_port": str(self.port), "auth_file": str(users)}
        lines = "".join(f"{key} = {value}\n" for key, value in settings.items())
        (self._folder / "pgbouncer.ini").write_text(f"{databases}\n[pgbouncer]\n{lines}")
        quoted = [text.replace('"', '""') for text in (self._user, self._password)]
        users.write_text(f'"{quoted[0]}" "{quoted[1]}"\n')
        for path in (self._folder, *self._folder.iterdir()):
            if os.geteuid() == 0:
                shutil.chown(path, owner)

    def _listens(self) -> bool:
        """Until it listens or has ended."""
        for _ in range(1000):
            if self._process.poll() is not None:
                return False
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return True
            time.sleep(0.01)
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
