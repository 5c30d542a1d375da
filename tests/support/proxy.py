"""A TCP proxy that misbehaves on demand: it delays, goes silent, refuses, and cuts connections where a test wants it.

It runs in a thread of its own, so that synchronous tests, asynchronous ones and started processes can all use it:

    with Proxy(server.url) as proxy:
        connection = await open_connection(proxy.url(server.url))
        proxy.cut_when(b"COMMIT", passed=True)      # the server commits, the client never hears of it
        ...
        assert proxy.cuts == 1

What it looks for (`cut_when`, `stall_when`) it sees only in connections without TLS.

It works on sockets that it opened or accepted itself, and closes each: asyncio's transports close theirs some rounds of
the loop later, or never where the loop ended before.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from junkie_cli.core.database_url import DatabaseUrl, Host

RESET = struct.pack("ii", 1, 0)  # linger for no time: closing sends RST


@dataclass
class _Trigger:
    """What to do when `pattern` goes by."""

    pattern: bytes
    from_server: bool
    passed: bool
    stall: bool
    left: int
    after: int = 0
    """How many chunks that fit go by before it strikes."""
    half: bool = False
    """Whether half of the chunk still passes."""


class _Pipe:
    """One client's connection with its own to the server, and the task that serves it."""

    def __init__(self, client: socket.socket) -> None:
        self.sockets = [client]
        self.doomed: _Trigger | None = None
        self.task: asyncio.Task[None] | None = None

    def reset(self) -> None:
        """Close both sides with a reset."""
        for sock in self.sockets:
            with contextlib.suppress(OSError):
                if sock.family != socket.AF_UNIX:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    def close(self) -> None:
        """Close what is open."""
        for sock in self.sockets:
            sock.close()


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
        self._listener = self._call(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._deafen)
        self._run(self._end_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def url(self, url: DatabaseUrl) -> DatabaseUrl:
        """`url` by way of this proxy."""
        return replace(url, hosts=(Host("127.0.0.1", self.port),))

    def cut(self) -> None:
        """Cut every connection now, with a reset."""
        self._run(self._cut_all())

    def stall(self) -> None:
        """Pass nothing more, in no direction, and still take connections: a server that never answers."""
        self._call(lambda: self._open.clear())

    def resume(self) -> None:
        """Pass on what was held back, and all that comes."""
        self._call(lambda: self._open.set())

    def refuse(self) -> None:
        """Stop listening and cut what there is: connection refused."""
        self._call(self._deafen)
        self.cut()

    def accept(self) -> None:
        """Listen again, on the same port."""
        self._listener = self._call(self._listen)

    def cut_when(self, pattern: bytes, *, passed: bool = False, from_server: bool = False, times: int = 1) -> None:
        """Cut the connection in which `pattern` goes by; so for the next `times`.

        With `passed` the other side still gets it; when the client has sent it, the server has answered, too: what was
        asked for has been done, and only the answer is lost.
        """
        self._add(_Trigger(pattern, from_server, passed, False, times))

    def cut_at(self, place: int, where: str) -> None:
        """Cut the connection of the client's message number `place`, counted from 0 and over all connections.

        `where` is `before` it (the server gets nothing of it), `in` the middle of it, or `after` it: the server has
        answered, and only the answer is lost.
        """
        self._add(_Trigger(b"", False, where == "after", False, 1, after=place, half=where == "in"))

    def forget(self) -> None:
        """Cut and stall nothing of what was asked for and has not come by."""
        self._call(self._triggers.clear)

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

    def _listen(self) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", self.port))
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        self._loop.add_reader(listener, self._accept, listener)
        return listener

    def _deafen(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except OSError:  # it has gone again
            return
        pipe = _Pipe(client)
        self._pipes.add(pipe)
        pipe.task = self._loop.create_task(self._serve(pipe))
        self.connections += 1
        self._tell()

    async def _cut_all(self) -> None:
        for pipe in self._pipes:
            self.cuts += len(pipe.sockets) > 1
            pipe.reset()
        await self._end_all()
        self._tell()

    async def _end_all(self) -> None:
        pipes = list(self._pipes)
        tasks = [pipe.task for pipe in pipes if pipe.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for pipe in pipes:  # a task that was cancelled before its first step never came to its `finally`
            pipe.close()
            self._pipes.discard(pipe)

    async def _serve(self, pipe: _Pipe) -> None:
        passing: list[asyncio.Task[None]] = []
        try:
            await self._open.wait()
            await self._connect(pipe)
            client, server = pipe.sockets
            for source, target in ((client, server), (server, client)):
                passing.append(self._loop.create_task(self._pass(source, target, pipe)))
            await asyncio.wait(passing, return_when=asyncio.FIRST_EXCEPTION)
        except OSError:
            pass  # there is no server, or it is gone
        finally:
            for task in passing:
                task.cancel()
            await asyncio.gather(*passing, return_exceptions=True)
            pipe.close()
            self._pipes.discard(pipe)
            self._tell()

    async def _connect(self, pipe: _Pipe) -> None:
        if self.target.is_socket:
            family, address = socket.AF_UNIX, str(self.target)
        else:
            found = await self._loop.getaddrinfo(self.target.name, self.target.port, type=socket.SOCK_STREAM)
            family, *_, address = found[0]
        server = socket.socket(family, socket.SOCK_STREAM)
        pipe.sockets.append(server)
        for sock in pipe.sockets:
            sock.setblocking(False)
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await self._loop.sock_connect(server, address)

    async def _pass(self, source: socket.socket, target: socket.socket, pipe: _Pipe) -> None:
        from_server = source is pipe.sockets[1]
        while chunk := await self._loop.sock_recv(source, 65536):
            if self.delay:
                await asyncio.sleep(self.delay)
            if from_server and pipe.doomed:
                self._spring(pipe.doomed, pipe)
            trigger = self._sprung(chunk, from_server)
            if trigger and trigger.half:
                await self._loop.sock_sendall(target, chunk[: len(chunk) // 2])
            if trigger and not trigger.passed:
                self._spring(trigger, pipe)
            await self._open.wait()
            await self._loop.sock_sendall(target, chunk)
            self._count(len(chunk), from_server)
            if trigger and trigger.passed and from_server:
                self._spring(trigger, pipe)
            elif trigger and trigger.passed:
                pipe.doomed = trigger
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _count(self, size: int, from_server: bool) -> None:
        if from_server:
            self.received += size
        else:
            self.sent += size
        self._tell()

    def _sprung(self, chunk: bytes, from_server: bool) -> _Trigger | None:
        for trigger in self._triggers:
            if trigger.left and trigger.from_server == from_server and trigger.pattern in chunk:
                if trigger.after:
                    trigger.after -= 1
                    continue
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
        pipe.reset()
        self._tell()
        raise ConnectionAbortedError
