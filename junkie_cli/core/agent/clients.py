"""The HTTP clients of the process, one for each endpoint, with headers and size limits of answers."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai

from junkie_cli.core.agent import model_errors
from junkie_cli.core.agent.endpoints import Endpoint
from junkie_cli.core.agent.network import NetworkSettingError, client_arguments

LARGEST_ANSWER = 64 * 2**20
"""Bytes of one answer on the wire; about 200,000 tokens, each in an event of its own."""

LONGEST_LINE = 8 * 2**20
"""Bytes without a line break; an answer that is not streamed is one line."""


_REUSED = "junkie_reused"


class ModelClients:
    """The process' HTTP clients, one for each endpoint: made at first use, shared by all models, closed once.

    Belongs to the event loop that uses it first. A deep copy is the same object: the memory manager copies its model
    for each extraction, and a client of its own would cost 23 ms and a TLS handshake every time.
    """

    def __init__(self) -> None:
        self._clients: dict[Endpoint, openai.AsyncOpenAI] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "ModelClients":
        return self

    def get(self, endpoint: Endpoint) -> openai.AsyncOpenAI:
        """The client of `endpoint`. Raises ModelError when a variable of the environment keeps it from being made."""
        client = self._clients.get(endpoint)
        if client is None or client.is_closed():
            client = self._clients[endpoint] = _make_client(endpoint)
        return client

    async def close(self) -> None:
        """Close every connection; safe to call twice."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.close()


def _make_client(endpoint: Endpoint) -> openai.AsyncOpenAI:
    transport: httpx2.AsyncBaseTransport | None = None
    if endpoint.is_rehearsal:
        from junkie_cli.core.rehearsal.rehearsal import RehearsalTransport

        transport = RehearsalTransport()
    try:
        network = {"transport": transport} if transport else client_arguments(endpoint.url)
    except NetworkSettingError as error:
        raise model_errors.ModelError(str(error), hint=error.hint, code=error.code) from None
    http_client = httpx2.AsyncClient(
        **network,
        follow_redirects=False,  # what people say goes to the configured address and to no other
        event_hooks={"request": [_say_nothing_of_this_machine, _note_connection], "response": [_bound_answer]},
    )
    # Retries are ours (see ProviderModel._create); key and address are always given, so that none is looked for.
    client = openai.AsyncOpenAI(api_key=endpoint.key, base_url=endpoint.url, http_client=http_client, max_retries=0)
    client.organization = client.project = client.admin_api_key = None
    return client


async def _say_nothing_of_this_machine(request: httpx2.Request) -> None:
    """The openai client tells operating system, processor and Python version in its x-stainless headers.

    Compressed answers are not asked for: a small one could fill the memory.
    """
    for name in [name for name in request.headers if name.lower().startswith("x-stainless")]:
        del request.headers[name]
    request.headers["accept-encoding"] = "identity"


async def _note_connection(request: httpx2.Request) -> None:
    """Record in the request whether it used an existing connection."""
    request.extensions[_REUSED] = True

    async def trace(name: str, _: Any) -> None:
        if name.endswith(".started") and "connect_" in name:
            request.extensions[_REUSED] = False

    request.extensions["trace"] = trace


def was_closed_while_idle(error: openai.APIError) -> bool:
    """Whether a request got no answer because the server had closed the connection after the one before.

    llama.cpp's server and some gateways close a connection after their answer, or after seconds, without announcing it.
    """
    lost = isinstance(error, openai.APIConnectionError) and not isinstance(error, openai.APITimeoutError)
    return lost and bool(error.request.extensions.get(_REUSED))


async def _bound_answer(response: httpx2.Response) -> None:
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _BoundedStream(response.stream)


class _BoundedStream(httpx2.AsyncByteStream):
    """The bytes of an answer up to both limits: the client keeps a line in memory until it ends."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total = line = 0
        async for data in self._stream:
            total += len(data)
            newline = data.rfind(b"\n")
            line = line + len(data) if newline < 0 else len(data) - newline
            if total > LARGEST_ANSWER or line > LONGEST_LINE:
                raise model_errors.oversized(LARGEST_ANSWER if total > LARGEST_ANSWER else LONGEST_LINE)
            yield data

    async def aclose(self) -> None:
        await self._stream.aclose()
