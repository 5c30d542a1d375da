"""A TCP proxy that misbehaves on demand: it delays, goes silent, refuses, and cuts connections where it is told to.

It runs in a thread of its own, so that synchronous tests, asynchronous ones and started processes can all use it:

    with Proxy(server.url) as proxy:
        connection = await open_connection(proxy.url(server.url))
        proxy.cut_when(b"COMMIT", passed=True)      # the server commits, the client never hears of it
        ...
        assert proxy.cuts == 1

What it looks for (`cut_when`, `stall_when`) it sees only in connections without TLS.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from junkie_cli.core.url import DatabaseUrl, Host

RESET = struct.pack("ii", 1, 0)  # linger for no time: closing sends RST


@dataclass
class _Trigger:
    """What to do when `pattern` goes by."""

    pattern: bytes
    from_server: bool
    passed: bool
    stall: bool
    left: int


class _Pipe:
    """One client's connection with its own to the server."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.writers = (client, server)
        self.doomed: _Trigger | None = None

    def cut(self) -> None:
        for writer in self.writers:
            sock: Any = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                if sock is not None and sock.family != socket.AF_UNIX:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()


class Proxy:
    """Listens on a free port of 127.0.0.1 and passes everything to the first host of `target`.

    `delay` (seconds) is added to each chunk in each direction, the network's round trip being twice that.
    `connections` counts all there ever were, `cuts` those that were cut, `stalls` how often `stall_when` struck;
    `sent` and `received` count bytes from and to clients.
    """

    def __init__(self, target: DatabaseUrl, *, delay: float = 0) -> None:
        self.target = target.hosts[0]
        self.delay = delay
        self.connections = self.cuts = self.stalls = self.sent = self.received = 0
        self.port = 0
        self._triggers: list[_Trigger] = []
        self._pipes: set[_Pipe] = set()
        self._something = threading.Condition()

    def __enter__(self) -> "Proxy":
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._open = self._call(asyncio.Event)
        self._open.set()
        self._server = self._run(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def url(self, url: DatabaseUrl) -> DatabaseUrl:
        """`url` by way of this proxy."""
        return replace(url, hosts=(Host("127.0.0.1", self.port),))

    def cut(self) -> None:
        """Cut every connection now, with a reset."""
        self._call(self._cut_all)

    def stall(self) -> None:
        """Pass nothing more, in no direction, and still take connections: a server that never answers."""
        self._call(lambda: self._open.clear())

    def resume(self) -> None:
        """Pass on what was held back, and all that comes."""
        self._call(lambda: self._open.set())

    def refuse(self) -> None:
        """Stop listening and cut what there is: connection refused."""
        self._call(self._server.close)
        self.cut()

    def accept(self) -> None:
        """Listen again, on the same port."""
        self._server = self._run(self._listen())

    def cut_when(self, pattern: bytes, *, passed: bool = False, from_server: bool = False, times: int = 1) -> None:
        """Cut the connection in which `pattern` goes by; so for the next `times`.

        With `passed` the other side still gets it; when the client has sent it, the server has answered, too: what was
        asked for has been done, and only the answer is lost.
        """
        self._add(_Trigger(pattern, from_server, passed, False, times))

    def stall_when(self, pattern: bytes, *, passed: bool = False, from_server: bool = False) -> None:
        """Fall silent in all connections when `pattern` goes by in one, until `resume`."""
        self._add(_Trigger(pattern, from_server, passed, True, 1))

    def wait(self, condition: Callable[["Proxy"], bool], timeout: float = 30) -> None:
        """Until `condition` holds, looked at whenever something happens here. Blocks: from a coroutine, in a thread."""
        with self._something:
            assert self._something.wait_for(lambda: condition(self), timeout), "the proxy waited in vain"

    # --- in the thread of the proxy -----------------------------------------------------------------------------------

    def _call(self, function: Callable[[], Any]) -> Any:
        async def call() -> Any:
            return function()

        return self._run(call())

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def _add(self, trigger: _Trigger) -> None:
        self._call(lambda: self._triggers.append(trigger))

    def _tell(self) -> None:
        with self._something:
            self._something.notify_all()

    async def _listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _close(self) -> None:
        self._server.close()
        self._cut_all()
        for _ in range(3):  # whoever was taken in a moment ago (a cancel request, say) gets a task that can end it
            await asyncio.sleep(0)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # for the transports, which are closed a round after they were aborted

    def _cut_all(self) -> None:
        self.cuts += len(self._pipes)
        for pipe in list(self._pipes):
            pipe.cut()
        self._tell()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._tell()
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._open.wait()
                server_reader, server_writer = await self._connect()
                pipe = _Pipe(writer, server_writer)
                self._pipes.add(pipe)
                try:
                    await asyncio.gather(
                        self._pass(reader, server_writer, pipe, from_server=False),
                        self._pass(server_reader, writer, pipe, from_server=True),
                    )
                finally:
                    self._pipes.discard(pipe)
                    server_writer.transport.abort()
        finally:
            writer.transport.abort()
        self._tell()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.target.is_socket:
            return await asyncio.open_unix_connection(str(self.target))
        return await asyncio.open_connection(self.target.name, self.target.port)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pipe: _Pipe, *, from_server: bool
    ) -> None:
        while chunk := await reader.read(65536):
            if self.delay:
                await asyncio.sleep(self.delay)
            if from_server and pipe.doomed:
                self._spring(pipe.doomed, pipe)
            trigger = self._sprung(chunk, from_server)
            if trigger and not trigger.passed:
                self._spring(trigger, pipe)
            await self._open.wait()
            writer.write(chunk)
            await writer.drain()
            self._count(len(chunk), from_server)
            if trigger and trigger.passed and from_server:
                self._spring(trigger, pipe)
            elif trigger and trigger.passed:
                pipe.doomed = trigger
        with contextlib.suppress(OSError):
            writer.write_eof()

    def _count(self, size: int, from_server: bool) -> None:
        if from_server:
            self.received += size
        else:
            self.sent += size
        self._tell()

    def _sprung(self, chunk: bytes, from_server: bool) -> _Trigger | None:
        for trigger in self._triggers:
            if trigger.left and trigger.from_server == from_server and trigger.pattern in chunk:
                trigger.left -= 1
                return trigger
        return None

    def _spring(self, trigger: _Trigger, pipe: _Pipe) -> None:
        if trigger.stall:
            self._open.clear()
            self.stalls += 1
            pipe.doomed = None
            self._tell()
            return
        self.cuts += 1
        pipe.cut()
        self._tell()
        raise ConnectionAbortedError
