"""Servers that close a connection after an answer, just when the next request is on its way."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.models import take_turn, team_models

ANSWER = json.dumps({"choices": [{"message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}]})
HEAD = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(ANSWER)}\r\n\r\n"


class ClosingServer:
    """Answers `answers` requests of each connection, and closes it when the next one has come."""

    def __init__(self, answers: int) -> None:
        self.requests = 0
        self.connections = 0
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                with client, suppress(OSError, EOFError):
                    for number in range(self._answers + 1):
                        self._read_request(client)
                        if number < self._answers:
                            client.sendall((HEAD + ANSWER).encode())

    def _read_request(self, client: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._some(client)
        head, _, body = data.partition(b"\r\n\r\n")
        [length] = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line]
        while len(body) < length:
            body += self._some(client)
        self.requests += 1

    def _some(self, client: socket.socket) -> bytes:
        data = client.recv(65536)
        if not data:
            raise EOFError
        return data


@pytest.fixture
def server() -> Iterator[ClosingServer]:
    server = ClosingServer(1)
    yield server
    server.close()


async def test_a_connection_that_was_closed_while_idle_is_opened_again(tmp_path: Path, server: ClosingServer) -> None:
    async with team_models(tmp_path, {"CUSTOM_PROVIDER": server.url}) as models:
        for _ in range(4):
            turn = await take_turn(models)
            assert turn.log.failure() is None
            assert turn.streamed == "Hi."
            assert turn.log.calls[-1].retries == 0
    assert (server.requests, server.connections) == (4 + 3, 4)


async def test_a_new_connection_that_is_closed_is_a_failure(tmp_path: Path) -> None:
    server = ClosingServer(0)
    async with team_models(tmp_path, {"CUSTOM_PROVIDER": server.url}) as models:
        failure = (await take_turn(models)).log.failure()
    server.close()
    assert failure is not None
    assert failure.code == "provider_cut"
    assert server.requests == 1
