"""Every connection that a child process opens, recorded from inside its interpreter.

A `sitecustomize` on the child's PYTHONPATH installs an audit hook before anything else runs, in its own Python
children as well: it sees each `connect` and each name lookup of Python, whichever library asks for it::

    recorder = NetworkRecorder(tmp_path)
    run([...], env={**env, **recorder.environment()})
    assert recorder.addresses() == {("127.0.0.1", server_port)}

Programs that are not Python (pg_dump) are not seen.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HOOK = """
import json, os, sys

def _install(log):
    sends = {"socket.connect", "socket.sendto", "socket.sendmsg"}
    lookups = {"socket.getaddrinfo", "socket.gethostbyname"}

    def hook(event, arguments):
        if event in sends:
            where = arguments[1]
        elif event in lookups:
            where = arguments[0]
        else:
            return
        if isinstance(where, (bytes, bytearray)):
            where = where.decode(errors="replace")
        line = json.dumps({"event": event, "where": where, "pid": os.getpid()}, default=str) + "\\n"
        handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)

    sys.addaudithook(hook)

_install(os.environ["JUNKIE_TEST_NETWORK_LOG"])
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """One event: `where` is (host, port), the path of a unix socket, or a name that was looked up."""

    event: str
    where: Any
    pid: int


class NetworkRecorder:
    """Records the connections of child processes into a file in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._hook = folder / "network-hook"
        self._hook.mkdir(parents=True, exist_ok=True)
        (self._hook / "sitecustomize.py").write_text(_HOOK)
        self._log = folder / "network.jsonl"
        self._log.touch(mode=0o666)

    def environment(self) -> dict[str, str]:
        """What the child's environment needs."""
        return {"PYTHONPATH": str(self._hook), "JUNKIE_TEST_NETWORK_LOG": str(self._log)}

    def seen(self) -> list[Seen]:
        """Everything that was recorded so far."""
        return [Seen(**json.loads(line)) for line in self._log.read_text().splitlines()]

    def addresses(self) -> set[tuple[str, int]]:
        """Hosts and ports that were connected to by IP; unix sockets are left out."""
        return {(seen.where[0], seen.where[1]) for seen in self.seen() if isinstance(seen.where, list)}

    def unix_sockets(self) -> set[str]:
        """Paths of the unix sockets that were connected to."""
        return {s.where for s in self.seen() if s.event == "socket.connect" and isinstance(s.where, str)}

    def names(self) -> set[str]:
        """Host names that were looked up, addresses included."""
        return {str(seen.where) for seen in self.seen() if seen.event in {"socket.getaddrinfo", "socket.gethostbyname"}}
