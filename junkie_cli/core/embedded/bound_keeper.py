"""Starts a keeper that lives no longer than this process: for a scratch server and for a migration."""

import contextlib
import json
import subprocess
from collections.abc import Mapping
from typing import Any

from junkie_cli.core.embedded.client import keeper_command, keeper_environment, ready_or_raise
from junkie_cli.core.errors import DatabaseError


class BoundKeeper:
    """A running keeper; it ends when its standard input is closed: by `end`, or because this process ended.

    It gets `order` as its first line and answers in lines of JSON. `ended` are the message and the hint of the error
    that is raised when it ends without an answer.
    """

    def __init__(self, module: str, order: Mapping[str, Any], *, ended: tuple[str, str]) -> None:
        self._ended = ended
        process = subprocess.Popen(
            keeper_command(module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=keeper_environment(),
            cwd="/",
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._stdin, self._stdout = process, process.stdin, process.stdout
        try:
            self.send(json.dumps(order))
        except BaseException:
            self.end()
            raise

    def send(self, line: str) -> None:
        """Write one line to the keeper; if it has ended, `answer` reports that."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.write(line.encode() + b"\n")
            self._stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for the answer and return it; reports of progress are skipped. Raises DatabaseError."""
        for line in self._stdout:
            message = json.loads(line)
            if "progress" not in message:
                return ready_or_raise(message)
        raise DatabaseError(self._ended[0], hint=self._ended[1], code="embedded_keeper")

    def end(self) -> None:
        """Close its standard input and wait until it has ended."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        self._process.wait()
        self._stdout.close()
