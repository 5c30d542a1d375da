"""Proxies of the kind that HTTP_PROXY and ALL_PROXY name, which work: SOCKS5, and HTTP with CONNECT, also over TLS.

Each runs in threads of its own and records what it was asked for::

    with SocksProxy(user="ada", password="secret") as proxy:
        monkeypatch.setenv("ALL_PROXY", f"socks5://ada:secret@{proxy.address}")
        ...
    assert proxy.targets == [("model.invalid", 80)]

Names in `hosts` lead to the address given there, so that a test shows who resolved a name. With `reply` a SOCKS5 proxy
answers the first message with these bytes and closes. With `silent_from` a proxy gives only so many answers, and then
none, until the client leaves.
"""

import base64
import selectors
import socket
import ssl
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Self

_SECONDS = 30.0  # a connection that is silent for longer than any test lasts


class _Refused(Exception):
    """The client is refused and was sent the refusal."""


class _ForwardProxy:
    """A listener with a thread for each connection."""

    def __init__(
        self,
        *,
        user: str = "",
        password: str = "",
        hosts: Mapping[str, tuple[str, int]] | None = None,
        tls: ssl.SSLContext | None = None,
        silent_from: int | None = None,
    ) -> None:
        self._silent_from = silent_from
        self.targets: list[tuple[str, int]] = []
        self._credentials = (user, password) if user else None
        self._hosts = dict(hosts or {})
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in list(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_SECONDS)

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.settimeout(_SECONDS)
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        self._open.add(client)
        with client, suppress(OSError, EOFError, _Refused):
            if self._tls is not None:
                with self._tls.wrap_socket(client, server_side=True) as wrapped:
                    self._forward(wrapped)
            else:
                self._forward(client)
        self._open.discard(client)

    def _forward(self, client: socket.socket) -> None:
        raise NotImplementedError

    def _answer(self, client: socket.socket, number: int, data: bytes) -> None:
        """Send the answer with this number, counted from 0."""
        if self._silent_from is not None and number >= self._silent_from:
            _some(client)
            raise EOFError
        client.sendall(data)

    def _connect(self, host: str, port: int) -> socket.socket:
        self.targets.append((host, port))
        return socket.create_connection(self._hosts.get(host, (host, port)), timeout=_SECONDS)


class SocksProxy(_ForwardProxy):
    """SOCKS5 (RFC 1928) with CONNECT; with `user` only by name and password (RFC 1929)."""

    def __init__(
        self,
        *,
        user: str = "",
        password: str = "",
        hosts: Mapping[str, tuple[str, int]] | None = None,
        reply: bytes | None = None,
        refusal: int = 0,
        silent_from: int | None = None,
    ) -> None:
        super().__init__(user=user, password=password, hosts=hosts, silent_from=silent_from)
        self._reply = reply
        self._refusal = refusal

    def _forward(self, client: socket.socket) -> None:
        _, count = _exactly(client, 2)
        methods = _exactly(client, count)
        if self._reply is not None:
            client.sendall(self._reply)
            return
        self._authenticate(client, methods)
        _, _, _, kind = _exactly(client, 4)
        host = _host(client, kind)
        (port,) = struct.unpack("!H", _exactly(client, 2))
        if self._refusal:
            self.targets.append((host, port))
            client.sendall(bytes([5, self._refusal, 0, 1, 0, 0, 0, 0, 0, 0]))
            return
        with self._connect(host, port) as server:
            self._answer(client, 2 if self._credentials else 1, bytes([5, 0, 0, 1, 127, 0, 0, 1, 0, 0]))
            _relay(client, server)

    def _authenticate(self, client: socket.socket, methods: bytes) -> None:
        method = 2 if self._credentials else 0
        if method not in methods:
            client.sendall(b"\x05\xff")
            raise _Refused
        self._answer(client, 0, bytes([5, method]))
        if self._credentials is None:
            return
        _, length = _exactly(client, 2)
        user = _exactly(client, length).decode()
        password = _exactly(client, _exactly(client, 1)[0]).decode()
        right = (user, password) == self._credentials
        self._answer(client, 1, bytes([1, 0 if right else 1]))
        if not right:
            raise _Refused


class ConnectProxy(_ForwardProxy):
    """An HTTP proxy that takes CONNECT alone; with `user` only with Basic credentials; with `tls` behind TLS."""

    def _forward(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += _some(client)
        lines = head.decode("latin-1").split("\r\n")
        if not self._may_pass(lines):
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
            return
        host, _, port = lines[0].split(" ")[1].rpartition(":")
        with self._connect(host, int(port)) as server:
            self._answer(client, 0, b"HTTP/1.1 200 Connection established\r\n\r\n")
            _relay(client, server)

    def _may_pass(self, lines: list[str]) -> bool:
        if self._credentials is None:
            return True
        wanted = base64.b64encode(":".join(self._credentials).encode()).decode()
        return any(line.lower() == f"proxy-authorization: basic {wanted}".lower() for line in lines)


def _some(sock: socket.socket, most: int = 65536) -> bytes:
    data = sock.recv(most)
    if not data:
        raise EOFError
    return data


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += _some(sock, count - len(data))
    return data


def _host(client: socket.socket, kind: int) -> str:
    if kind == 3:
        return _exactly(client, _exactly(client, 1)[0]).decode()
    family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
    return socket.inet_ntop(family, _exactly(client, size))


def _relay(client: socket.socket, server: socket.socket) -> None:
    """Pass on what either side sends until one of them closes."""
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ, server)
        selector.register(server, selectors.EVENT_READ, client)
        while True:
            for key, _ in selector.select(_SECONDS):
                source: socket.socket = key.fileobj  # type: ignore[assignment]
                data = source.recv(65536)
                while isinstance(source, ssl.SSLSocket) and source.pending():
                    data += source.recv(source.pending())
                if not data:
                    return
                key.data.sendall(data)
