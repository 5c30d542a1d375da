"""The events of one answer as they come over the network: bytes in, JSON documents out.

Server-sent events are the protocol. Servers also send a document instead of a stream, whatever its content type; errors
in a field `error:` (llama.cpp until 2025), in an event `error`, or as an object inside of a stream that began well; a
byte that is no UTF-8; several documents in one event; and an end without the blank line that belongs there.
"""

import asyncio
import codecs
import io
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import httpx2
import openai

from junkie_cli.core.agent import wire

_REST_SECONDS = 0.5  # waited for the end of a connection after the end of the answer, so that it can be used again

_MOST_BEFORE = 50  # events without a part of the answer; who sends more may do so for ever


class EventStream(openai.AsyncStream[Any]):
    """What a server answers, document by document; `ended` is true once the server has marked the end.

    Raises openai.APIError for errors that the server reports, with what it sent as `body`; ValueError for what is no
    JSON; openai.APIConnectionError when the connection breaks.
    """

    ended = False
    _first: Sequence[Any] = ()

    async def begin(self) -> "EventStream":
        """Wait for the first part of an answer, so that what fails before it can be asked for again."""
        first: list[Any] = []
        try:
            async for document in self._iterator:
                first.append(document)
                if wire.begins_answer(document) or len(first) == _MOST_BEFORE:
                    break
        except BaseException:
            await self.close()
            raise
        self._first = first
        return self

    async def __aiter__(self) -> AsyncIterator[Any]:
        for document in self._first:
            yield document
        async for document in self._iterator:
            yield document

    async def __stream__(self) -> AsyncIterator[Any]:
        try:
            async for document in self._documents():
                self._raise_error(document)
                yield document
        except httpx2.TimeoutException as error:
            raise openai.APITimeoutError(request=self.response.request) from error
        except httpx2.RequestError as error:
            raise openai.APIConnectionError(request=self.response.request) from error
        finally:
            await self.response.aclose()

    def _raise_error(self, document: Any) -> None:
        error = wire.error_in(document)
        if error is not None:
            raise openai.APIError("", request=self.response.request, body=error)

    async def _documents(self) -> AsyncIterator[Any]:
        chunks = self.response.aiter_bytes()
        lines = _lines(chunks)
        event = _Event()
        async for line in lines:
            if event.is_first and line.lstrip()[:1] in ("{", "["):
                yield wire.as_event(_parsed("\n".join([line, *[more async for more in lines]])))
                self.ended = True
                return
            event.take(line)
            if line:
                continue
            for document in event.documents():
                yield document
            if event.ended:
                await self._finish(chunks)
                return
        with suppress(ValueError):  # cut in the middle of an event: there was no end
            for document in event.documents():
                yield document
        self.ended = event.ended

    async def _finish(self, chunks: AsyncIterator[bytes]) -> None:
        self.ended = True
        with suppress(TimeoutError, httpx2.HTTPError):
            async with asyncio.timeout(_REST_SECONDS):
                async for _ in chunks:
                    pass


class _Event:
    """The lines of one event; `ended` once the end of the stream was marked."""

    def __init__(self) -> None:
        self.is_first = True
        self.ended = False
        self._name = ""
        self._data: list[str] = []

    def take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        self.is_first &= not line.strip()
        if name == "data":
            self._data.append(value)
        elif name == "error":
            self._data.append(value)
            self._name = "error"
        elif name == "event":
            self._name = value

    def documents(self) -> Iterator[Any]:
        """What the event holds; the next begins. Raises ValueError for what is no JSON."""
        name, data, self._name, self._data = self._name, self._data, "", []
        documents = []
        for text in _texts(data):
            if text.startswith("[DONE]"):
                self.ended = True
                break
            documents.append(_parsed_error(text) if name == "error" else _parsed(text))
        yield from documents


def _texts(data: list[str]) -> Iterator[str]:
    """The documents in the data of one event: by the standard its lines are one, and some servers send one a line."""
    joined = "\n".join(data).strip()
    if len(data) > 1 and not _is_json(joined):
        yield from (line.strip() for line in data if line.strip())
    elif joined:
        yield joined


def _is_json(text: str) -> bool:
    try:
        _parsed(text)
    except ValueError:
        return False
    return True


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _parsed_error(text: str) -> dict[str, Any]:
    """The document of an error event, as a document that holds an error."""
    try:
        document = _parsed(text)
    except ValueError:
        document = text
    return document if isinstance(document, Mapping) and document.get("error") else {"error": document}  # type: ignore[return-value]


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """The lines of a text in UTF-8, broken by LF, CR or both; bytes that are none become U+FFFD."""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8-sig")("replace"), translate=True)
    held: list[str] = []
    async for chunk in chunks:
        *complete, rest = decoder.decode(chunk).split("\n")
        for line in complete:
            yield "".join([*held, line])
            held = []
        held.append(rest)
    *complete, rest = decoder.decode(b"", final=True).split("\n")
    for line in complete:
        yield "".join([*held, line])
        held = []
    if last := "".join([*held, rest]):
        yield last
