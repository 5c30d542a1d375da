"""A streaming standby of a scratch server, made with pg_basebackup; it can be promoted."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from junkie_cli.core.database_url import DatabaseUrl, Host
from junkie_cli.core.embedded.cluster import USER
from junkie_cli.core.embedded.scratch import ScratchServer
from tests.support.postgres import execute

PRIMARY_SETTINGS = {"listen_addresses": "127.0.0.1", "wal_level": "replica", "max_wal_senders": "4"}
PRIMARY_HBA = (f"local replication {USER} peer map=junkie", "host all all 127.0.0.1/32 trust")
"""What a ScratchServer must be started with to have a standby; the standby takes over its rules."""


class Standby:
    """The standby of `primary`, on a free port of 127.0.0.1 and a socket, gone at the end of `with`.

    Without `hot` it takes no connections until it is promoted. `environment` adds to the variables that it runs with.
    """

    def __init__(
        self, primary: ScratchServer, *, hot: bool = True, environment: Mapping[str, str] | None = None
    ) -> None:
        self._primary, self._hot = primary, hot
        self._environment = dict(environment or {})
        # The programs as the server's own user can run them.
        self._programs = Path(f"/proc/{primary.pid}/exe").resolve().parent
        self.port = 0

    @property
    def socket_dir(self) -> Path:
        """The folder of its socket, as a ScratchServer's: `execute` takes either."""
        return self._folder

    @property
    def url(self) -> DatabaseUrl:
        """Its database `postgres`, by TCP, as the superuser."""
        return DatabaseUrl((Host("127.0.0.1", self.port),), USER, None, "postgres")

    def catch_up(self) -> None:
        """Return when it has replayed all that the primary holds by now."""
        self._wait_for("pg_last_wal_replay_lsn()")

    def receive(self) -> None:
        """Return when it has got all that the primary holds by now, replayed or not."""
        self._wait_for("pg_last_wal_receive_lsn()")

    def _wait_for(self, reached: str) -> None:
        there = execute(self._primary, "SELECT pg_current_wal_insert_lsn()")[0][0]
        while execute(self, f"SELECT {reached} >= '{there}'") != [("t",)]:
            time.sleep(0.01)

    def lag(self) -> None:
        """Get nothing of the primary any more but what it holds by now."""
        self.catch_up()
        execute(self, "ALTER SYSTEM SET primary_conninfo = ''")
        execute(self, "SELECT pg_reload_conf()")
        while execute(self, "SELECT 1 FROM pg_stat_wal_receiver"):
            time.sleep(0.01)

    def promote(self) -> None:
        """Make it a primary; returns when it takes writes."""
        self._run("pg_ctl", "promote", "-w", "-D", str(self._data))

    def __enter__(self) -> "Standby":
        self._folder = Path(tempfile.mkdtemp(prefix="junkie-standby-"))
        self._data = self._folder / "data"
        owner = Path(f"/proc/{self._primary.pid}").stat()
        os.chown(self._folder, owner.st_uid, owner.st_gid)
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._as = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        try:
            where = ("-h", str(self._primary.socket_dir), "-p", str(self._primary.port), "-U", USER)
            self._run("pg_basebackup", "-D", str(self._data), "-R", "-X", "stream", "-c", "fast", "-N", *where)
            self._start()
        except BaseException:
            shutil.rmtree(self._folder)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(self._data))
        finally:
            shutil.rmtree(self._folder)

    def _start(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self._folder,
            "hot_standby": "on" if self._hot else "off",
        }
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self._run("pg_ctl", "start", "-w", "-D", str(self._data), "-l", str(self._folder / "log"), "-o", options)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=self._folder,
            env={"PATH": os.environ["PATH"], **self._environment},
            timeout=60,
            **self._as,
        )
        assert done.returncode == 0, done.stderr.decode()
