"""PostgreSQL 15 as Debian packages it (`postgresql-15`), for tests: over TCP with SCRAM and TLS, as bots meet it."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded import wire
from tests.support.needs import need
from tests.support.tls import Authority

BIN = Path("/usr/lib/postgresql/15/bin")
AWFUL_PASSWORD = "p@ss:w/ö?r#d% '\"\\&=$(id)`x` " + "🔑"
_HBA = """
local all all trust
hostssl all all 127.0.0.1/32 scram-sha-256
host all all all reject
"""


def need_debian_postgres() -> None:
    """What a test with this server or its tools begins with."""
    need(BIN.is_dir(), "PostgreSQL 15 of Debian: apt-get install postgresql-15")


class DebianServer:
    """A server of its own in a new folder; `url(database)` leads to it over TLS with the awful password.

    `environment` adds to the variables that the server runs with.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        need_debian_postgres()
        self._environment = {**os.environ, **(environment or {})}
        self.folder = Path(tempfile.mkdtemp(prefix="jkdeb", dir="/tmp"))
        self.port = _free_port()
        self.authority_file = self.folder / "authority.crt"
        self._process: subprocess.Popen[bytes] | None = None
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            entry = pwd.getpwnam("postgres")
            self._user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        self.folder.chmod(0o755)

    def start(self) -> "DebianServer":
        """Make and start it."""
        self._give("password", AWFUL_PASSWORD.encode() + b"\n")
        self._run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "--pwfile", self.folder / "password",
                  "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")  # fmt: skip
        authority = Authority()
        certificate = authority.issue("127.0.0.1", "127.0.0.1", "localhost")
        self._give("data/server.crt", certificate.pem)
        self._give("data/server.key", certificate.key)
        self._give("data/pg_hba.conf", _HBA.encode())
        self.authority_file.write_bytes(authority.pem)
        self.authority_file.chmod(0o644)
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder}
        settings |= {"ssl": "on", "fsync": "off", "password_encryption": "scram-sha-256"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [BIN / "postgres", "-D", self.data, *options],
                stdout=log,
                stderr=log,
                cwd="/",
                env=self._environment,
                **self._user,
            )
        self._wait()
        return self

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    def url(self, database: str = "postgres") -> DatabaseUrl:
        """Over TCP, TLS verified."""
        return DatabaseUrl.parse(self.url_text(database))

    def socket_url(self, database: str = "postgres") -> DatabaseUrl:
        """By the socket, as superuser, with no password and no TLS."""
        return DatabaseUrl.socket(str(self.folder), user="postgres", database=database, port=self.port)

    def __enter__(self) -> "DebianServer":
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def url_text(self, database: str = "postgres") -> str:
        """The same, as an operator writes it."""
        return (
            f"postgresql://postgres:{quote(AWFUL_PASSWORD, safe='')}@127.0.0.1:{self.port}/{database}"
            f"?sslmode=verify-full&sslrootcert={quote(str(self.authority_file), safe='')}"
        )

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[str | None, ...]]:
        """Run SQL as superuser by the socket."""
        return wire.ask(str(self.folder), sql, user="postgres", database=database, port=self.port, timeout=60)

    def new_database(self) -> str:
        """The name of a new, empty database."""
        name = f"test_{secrets.token_hex(4)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return name

    def stop(self) -> None:
        """End it and remove everything of it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # fast shutdown: clients that hang on do not keep it
            self._process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _give(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        if self._user:
            os.chown(path, self._user["user"], self._user["group"])

    def _run(self, program: str, *arguments: object) -> None:
        words = [str(BIN / program), *map(str, arguments)]
        subprocess.run(words, check=True, capture_output=True, cwd="/", **self._user)

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            return bool(self.execute("SELECT 1"))
        except wire.WireError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def debian_server() -> Iterator[DebianServer]:
    """The worker's Debian PostgreSQL 15."""
    server = DebianServer()
    try:
        yield server.start()
    finally:
        server.stop()
