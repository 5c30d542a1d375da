"""Requests through a proxy that is asked for a connection first: SOCKS5, and HTTP with CONNECT.

The HTTP client's own transport, and what it leaves undone: it waits for the proxy's answers as long as for the model's,
passes on the errors of `socksio` and assertions as they are, and leaves the connection to the proxy open.
"""

import time
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import httpcore2
import httpx2
from socksio.exceptions import SOCKSError

_opened: ContextVar[list[httpcore2.AsyncNetworkStream]] = ContextVar("junkie_opened_streams")


class ProxyTransport(httpx2.AsyncHTTPTransport):
    """Asks by `proxy`, an httpx2.Proxy; every failure is a TransportError, and leaves nothing open.

    All of the proxy's answers must come within the time for a connection. With CONNECT for https:// addresses alone:
    where a proxy forwards requests itself, its answer is the model's.
    """

    def __init__(self, *, proxy: httpx2.Proxy, verify: Any) -> None:
        super().__init__(proxy=proxy, verify=verify, trust_env=False)
        self._pool._network_backend = _Backend(self._pool._network_backend, proxy)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request. Raises httpx2.TransportError."""
        opened: list[httpcore2.AsyncNetworkStream] = []
        token = _opened.set(opened)
        try:
            return await super().handle_async_request(request)
        except BaseException as error:
            for stream in opened:
                with suppress(Exception):
                    await stream.aclose()
            if isinstance(error, SOCKSError | AssertionError):
                raise httpx2.ProxyError("it does not speak SOCKS5", request=request) from error
            raise
        finally:
            _opened.reset(token)


class _Backend(httpcore2.AsyncNetworkBackend):
    """Connects as `backend` does, and keeps what one request opened."""

    def __init__(self, backend: httpcore2.AsyncNetworkBackend, proxy: httpx2.Proxy) -> None:
        self._backend = backend
        is_socks = proxy.url.scheme.startswith("socks")
        # Answers of a SOCKS5 proxy: to the greeting, to the password where there is one, to the request.
        self._answers = (2 if proxy.auth is None else 3) if is_socks else None
        self._handshakes = 2 if proxy.url.scheme == "https" else 1

    async def connect_tcp(self, *place: Any, **options: Any) -> httpcore2.AsyncNetworkStream:
        """Connect to the proxy."""
        began = time.monotonic()
        stream = await self._backend.connect_tcp(*place, **options)
        _opened.get().append(stream)
        seconds = options.get("timeout")
        if seconds is None:
            return stream
        return _Greeting(stream, began + seconds, self._answers, self._handshakes)


class _Greeting(httpcore2.AsyncNetworkStream):
    """`stream` while the proxy is asked: until `deadline`, for so many `answers`, or until so many TLS `handshakes`."""

    def __init__(
        self, stream: httpcore2.AsyncNetworkStream, deadline: float, answers: int | None, handshakes: int
    ) -> None:
        self._stream = stream
        self._deadline = deadline
        self._answers = answers
        self._handshakes = handshakes

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  # httpcore's protocol
        """Read what the proxy answers. Raises httpcore2.ConnectTimeout when that does not come in time."""
        if self._answers == 0:
            return await self._stream.read(max_bytes, timeout)
        try:
            data = await self._stream.read(max_bytes, max(self._deadline - time.monotonic(), 0.001))
        except httpcore2.ReadTimeout as error:
            raise httpcore2.ConnectTimeout("the proxy does not answer") from error
        if self._answers is not None:
            self._answers -= 1
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Write as the stream does."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()

    async def start_tls(self, *context: Any, **options: Any) -> httpcore2.AsyncNetworkStream:
        """Start TLS: with the proxy, or with the server, and then the proxy has given its answers."""
        secure = await self._stream.start_tls(*context, **options)
        if self._answers is not None or self._handshakes == 1:
            return secure
        return _Greeting(secure, self._deadline, None, self._handshakes - 1)

    def get_extra_info(self, info: str) -> Any:
        """Information on the stream."""
        return self._stream.get_extra_info(info)
