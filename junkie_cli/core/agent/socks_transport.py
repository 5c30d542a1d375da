"""Requests through a SOCKS5 proxy: the HTTP client's own transport, and what it leaves undone when the greeting fails.

It passes on the errors of `socksio` and assertions as they are, and leaves the connection to the proxy open.
"""

from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import httpcore2
import httpx2
from socksio.exceptions import SOCKSError

_opened: ContextVar[list[httpcore2.AsyncNetworkStream]] = ContextVar("junkie_opened_streams")


class SocksTransport(httpx2.AsyncHTTPTransport):
    """Asks by `proxy`, an httpx2.Proxy for SOCKS5; every failure is a TransportError, and leaves nothing open."""

    def __init__(self, *, proxy: httpx2.Proxy, verify: Any) -> None:
        super().__init__(proxy=proxy, verify=verify, trust_env=False)
        self._pool._network_backend = _Backend(self._pool._network_backend)

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

    def __init__(self, backend: httpcore2.AsyncNetworkBackend) -> None:
        self._backend = backend

    async def connect_tcp(self, *place: Any, **options: Any) -> httpcore2.AsyncNetworkStream:
        """Connect to the proxy."""
        stream = await self._backend.connect_tcp(*place, **options)
        _opened.get().append(stream)
        return stream
