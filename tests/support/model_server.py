"""A scripted model provider: a real HTTP server on 127.0.0.1 that speaks the OpenAI chat protocol.

It runs in a thread of its own, so that the same server serves async tests, sync tests and child processes::

    with ModelServer(Text("Hello Ada")) as server:          # or: async with
        run(["chat", "hi"], env=server.environment())
        assert server.requests[0].user == "hi"

What it answers, in this order: `server.script(request)` when it returns a reply; the next one queued for the main or
for the memory model (`server.queue(...)`, `server.queue_memory(...)`); the built-in rehearsal brain when `smart`; a
plain sentence. No test needs to sleep: a reply with `pause_after=n` sets `reply.paused` when n pieces are on the
wire, and goes on when the test sets `reply.go_on`; `request.gone` is set when the client hung up.
"""

import asyncio
import itertools
import json
import re
import ssl
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

MEMORY_TOOLS = frozenset({"add_memory", "update_memory", "delete_memory", "nothing_to_remember"})
EXTRACTION = "You keep notes about one user"  # how the prompt of every extraction begins, without tools, too
PATIENCE = 30.0  # seconds after which a wait for something that must happen is a failure, not slowness


class Gate:
    """An event that any thread may set, and any thread or event loop may wait for."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def is_set(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        with self._lock:
            self._event.set()
            waiting, self._waiting = self._waiting, []
        for loop, event in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    async def wait(self, timeout: float | None = PATIENCE) -> None:
        """Wait in an event loop. Raises TimeoutError."""
        event = asyncio.Event()
        with self._lock:
            if self._event.is_set():
                return
            self._waiting.append((asyncio.get_running_loop(), event))
        await asyncio.wait_for(event.wait(), timeout)

    def wait_sync(self, timeout: float = PATIENCE) -> None:
        """Wait in a plain thread. Raises TimeoutError."""
        if not self._event.wait(timeout):
            raise TimeoutError("what the test waited for did not happen")


@dataclass
class Request:
    """One request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]  # names in lower case
    body: dict[str, Any]
    peer: tuple[Any, ...]
    gone: Gate = field(default_factory=Gate)  # set when the client hung up before the answer was whole

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))

    @property
    def key(self) -> str:
        """The key that was sent, without the word Bearer; empty when there was none."""
        return self.headers.get("authorization", "").removeprefix("Bearer ").strip()

    @property
    def messages(self) -> list[dict[str, Any]]:
        return list(self.body.get("messages", ()))

    @property
    def tools(self) -> list[str]:
        return [tool["function"]["name"] for tool in self.body.get("tools", ())]

    @property
    def streams(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def is_memory(self) -> bool:
        """Whether the memory model is asked."""
        return bool(MEMORY_TOOLS.intersection(self.tools)) or self.system.startswith(EXTRACTION)

    @property
    def system(self) -> str:
        return "\n".join(str(m.get("content") or "") for m in self.messages if m["role"] in ("system", "developer"))

    @property
    def user(self) -> str:
        """The last message of the user."""
        said = [m for m in self.messages if m["role"] == "user"]
        return str(said[-1].get("content") or "") if said else ""

    @property
    def history(self) -> list[tuple[str, str]]:
        """Role and text of everything but the system prompt and the last user message."""
        talk = [(m["role"], str(m.get("content") or "")) for m in self.messages if m["role"] in ("user", "assistant")]
        return talk[:-1]


@dataclass(kw_only=True)
class Reply:
    """What to answer. `pause_after` pieces of the stream (0: before the status line) it stops until `go_on`."""

    pause_after: int | None = None
    delay: float = 0.0  # seconds between pieces
    paused: Gate = field(default_factory=Gate)
    go_on: Gate = field(default_factory=Gate)
    sent: Gate = field(default_factory=Gate)  # the reply is wholly on the wire

    async def _pause(self, pieces_sent: int) -> None:
        if self.pause_after is not None and pieces_sent == self.pause_after:
            self.paused.set()
            await self.go_on.wait(timeout=None)


@dataclass
class Text(Reply):
    """A plain answer, streamed word by word; `finish` is the finish_reason."""

    text: str = "All right."
    finish: str = "stop"
    usage: bool = True
    reasoning: str = ""
    reasoning_field: str = "reasoning"  # Groq's name; DeepSeek, vLLM say reasoning_content

    def deltas(self) -> list[dict[str, Any]]:
        thoughts = [{self.reasoning_field: piece} for piece in pieces(self.reasoning)]
        return [*thoughts, *({"content": piece} for piece in pieces(self.text))]

    def message(self) -> dict[str, Any]:
        extra = {self.reasoning_field: self.reasoning} if self.reasoning else {}
        return {"role": "assistant", "content": self.text, **extra}


def Reasoning(thought: str, text: str = "Done.", *, field_name: str = "reasoning") -> Text:
    """A thought, then the answer, as gpt-oss sends it."""
    return Text(text, reasoning=thought, reasoning_field=field_name)


def Length(text: str) -> Text:
    """An answer that was cut at the token limit."""
    return Text(text, finish="length")


def Empty() -> Text:
    """A complete answer without a word in it."""
    return Text("")


def SlowTokens(text: str, delay: float = 0.02) -> Text:
    """A plain answer with `delay` seconds between words."""
    return Text(text, delay=delay)


@dataclass
class ToolCalls(Text):
    """Tool calls, their arguments streamed in pieces; arguments may be raw text to be malformed."""

    text: str = ""
    finish: str = "tool_calls"
    calls: Sequence[tuple[str, Mapping[str, Any] | str]] = ()

    def _calls(self) -> Iterable[tuple[int, str, str]]:
        for index, (name, arguments) in enumerate(self.calls):
            yield index, name, arguments if isinstance(arguments, str) else json.dumps(arguments)

    def deltas(self) -> list[dict[str, Any]]:
        found = Text.deltas(self)
        for index, name, arguments in self._calls():
            head = {"index": index, "id": f"call_{id(self)}_{index}", "type": "function"}
            found.append({"tool_calls": [{**head, "function": {"name": name, "arguments": ""}}]})
            for start in range(0, len(arguments), 8):
                part = {"arguments": arguments[start : start + 8]}
                found.append({"tool_calls": [{"index": index, "function": part}]})
        return found

    def message(self) -> dict[str, Any]:
        calls = [
            {"id": f"call_{id(self)}_{index}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for index, name, arguments in self._calls()
        ]
        return {"role": "assistant", "content": self.text or None, "tool_calls": calls}


def calls(*found: tuple[str, Mapping[str, Any] | str]) -> ToolCalls:
    """Tool calls as a reply: `calls(("add_memory", {"memory": "User's name is Ada"}))`."""
    return ToolCalls(calls=found)


def nothing() -> ToolCalls:
    """The memory model's explicit answer that there is nothing to remember."""
    return calls(("nothing_to_remember", {}))


@dataclass
class HttpError(Reply):
    """An error status, by default with an OpenAI error object."""

    status: int
    message: str = "scripted error"
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None  # instead of the error object, for example an HTML page


@dataclass
class CutStream(Text):
    """The connection ends after `after` pieces, without finish_reason (unless `finished`) and without [DONE].

    `reset` breaks the framing as well, as a killed server does.
    """

    text: str = "one two three four five six"
    after: int = 3
    reset: bool = False
    finished: bool = False


@dataclass
class Endless(Text):
    """An answer that never ends: the same deltas again and again, until the client hangs up."""

    repeated: Sequence[dict[str, Any]] = ({"content": "and "},)

    def deltas(self) -> Any:
        return itertools.cycle(self.repeated)


@dataclass
class EndlessLine(Reply):
    """Bytes without a line break, until the client hangs up."""

    content_type: str = "text/event-stream"


@dataclass
class StreamError(Text):
    """An error object in the middle of the stream, as providers send it once the status line is out."""

    text: str = "one two three"
    after: int = 2
    error: str = "the engine overheated"


@dataclass
class Garbage(Reply):
    """Status 200 with something that is not the protocol."""

    body: str = "<html><body>It works!</body></html>"
    content_type: str = "text/html"


@dataclass
class Raw(Reply):
    """These bytes, in these pieces; `broken` when the connection is reset instead of ended."""

    chunks: Sequence[bytes] = ()
    status: int = 200
    content_type: str = "text/event-stream"
    broken: bool = False


@dataclass
class Hang(Reply):
    """Takes the request and never answers (until the client leaves, the test releases it or the server stops)."""

    pause_after: int | None = 0


@dataclass
class HangUp(Reply):
    """Closes the connection instead of answering."""


def pieces(text: str) -> list[str]:
    """`text` cut into words, white space kept: joined again they are the same text."""
    return re.findall(r"\S+\s*|\s+", text)


class ModelServer:
    """The scripted provider; `url` is its base URL (`http://127.0.0.1:PORT/v1`)."""

    def __init__(
        self,
        *replies: Reply,
        memory: Iterable[Reply] = (),
        script: Callable[[Request], Reply | None] | None = None,
        smart: bool = False,
        ssl_context: ssl.SSLContext | None = None,
        models: Sequence[str] = ("openai/gpt-oss-120b", "groq/compound"),
    ) -> None:
        self.script = script
        self.smart = smart
        self.models = list(models)
        self.models_reply: Reply | None = None  # scripted answer of GET /models, an HttpError say
        self.properties: dict[str, Any] | None = None  # what GET /props answers, as llama.cpp does
        self.key = ""  # the one key whose GET /models is answered, if there is one
        self.requests: list[Request] = []  # of chat completions, in order of arrival
        self.other_requests: list[Request] = []  # GET /models, and paths that do not exist
        self.url = ""
        self._main: deque[Reply] = deque(replies)
        self._memory: deque[Reply] = deque(memory)
        self._ssl_context = ssl_context
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._runner: web.AppRunner | None = None
        self._thread: threading.Thread | None = None

    # What tests set and ask

    def queue(self, *replies: Reply) -> None:
        """Queue replies of the main model."""
        self._main.extend(replies)

    def queue_memory(self, *replies: Reply) -> None:
        """Queue replies of the memory model."""
        self._memory.extend(replies)

    @property
    def main_requests(self) -> list[Request]:
        return [request for request in self.requests if not request.is_memory]

    @property
    def memory_requests(self) -> list[Request]:
        return [request for request in self.requests if request.is_memory]

    @property
    def connections(self) -> int:
        """How many TCP connections brought requests."""
        return len({request.peer for request in [*self.requests, *self.other_requests]})

    def wait_for_requests(self, count: int, timeout: float = PATIENCE) -> None:
        """Wait (in a plain thread) until `count` chat requests have arrived. Raises TimeoutError."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.requests) >= count, timeout):
                raise TimeoutError(f"{len(self.requests)} requests arrived, waited for {count}")

    def environment(self, *, key: str = "local-key") -> dict[str, str]:
        """Settings that make this server the custom provider, and by fallback the memory model's."""
        return {"CUSTOM_PROVIDER": self.url, "CUSTOM_PROVIDER_API_KEY": key, "CUSTOM_MODEL": "scripted-model"}

    def groq_environment(self, *, key: str = "gsk_scripted") -> dict[str, str]:
        """Settings that make this server stand in for Groq."""
        return {"GROQ_BASE_URL": self.url, "GROQ_API_KEY": key}

    # Life

    def start(self) -> Self:
        ready = threading.Event()
        failure: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, args=(ready, failure), name="model-server", daemon=True)
        self._thread.start()
        ready.wait()
        if failure:
            raise failure[0]
        return self

    def stop(self) -> None:
        """Stop now: replies that hang are cut off."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)

    def _run(self, ready: threading.Event, failure: list[BaseException]) -> None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._open())
            self._loop = loop
            ready.set()
            loop.run_forever()
            loop.run_until_complete(self._close())
        except BaseException as error:
            failure.append(error)
            ready.set()
        finally:
            loop.close()

    async def _open(self) -> None:
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_route("*", "/{rest:.*}", self._unknown)
        # Handlers end when their client leaves, so that a reply that hangs shows the test that it was left.
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._ssl_context)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"{'https' if self._ssl_context else 'http'}://127.0.0.1:{port}/v1"

    async def _close(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    # Requests

    async def _record(self, request: web.Request, into: list[Request]) -> Request:
        raw = await request.read()
        try:
            body = json.loads(raw) if raw else {}
        except ValueError:
            body = {"unreadable": raw.decode(errors="replace")}
        peer = request.transport.get_extra_info("peername") if request.transport else ()
        headers = {name.lower(): value for name, value in request.headers.items()}
        found = Request(request.method, request.path, headers, body, tuple(peer))
        with self._arrived:
            into.append(found)
            self._arrived.notify_all()
        return found

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        await self._record(request, self.other_requests)
        if request.path == "/props" and self.properties is not None:
            return web.json_response(self.properties)
        return _error_response(HttpError(404, f"Unknown request URL: {request.method} {request.path}"))

    async def _list_models(self, request: web.Request) -> web.StreamResponse:
        found = await self._record(request, self.other_requests)
        if self.models_reply is not None:
            return await self._send(request, found, self.models_reply)
        if self.key not in {"", found.key}:
            return _error_response(HttpError(401, "Invalid API Key"))
        rows = [{"id": name, "object": "model", "created": 1, "owned_by": "test"} for name in self.models]
        return web.json_response({"object": "list", "data": rows})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        found = await self._record(request, self.requests)
        reply = self._choose(found)
        try:
            response = await self._send(request, found, reply)
        except asyncio.CancelledError:
            found.gone.set()
            raise
        except ConnectionError:  # nobody is there to be answered any more: not an error of the server
            found.gone.set()
            return web.Response()
        reply.sent.set()
        return response

    def _choose(self, request: Request) -> Reply:
        scripted = self.script(request) if self.script else None
        if scripted is not None:
            return scripted
        queue = self._memory if request.is_memory else self._main
        if queue:
            return queue.popleft()
        if self.smart:
            return rehearsed(request)
        return nothing() if request.is_memory else Text("All right.")

    async def _send(self, request: web.Request, found: Request, reply: Reply) -> web.StreamResponse:
        await reply._pause(0)
        if isinstance(reply, HttpError):
            return _error_response(reply)
        if isinstance(reply, Garbage):
            return web.Response(text=reply.body, content_type=reply.content_type)
        if isinstance(reply, Raw):
            return await _raw(request, reply)
        if isinstance(reply, EndlessLine):
            return await _endless_line(request, reply)
        if not isinstance(reply, Text):  # Hang after its release, HangUp
            _abort(request)
            raise ConnectionResetError("scripted")
        if not found.streams:
            return web.json_response(_completion(found, reply))
        return await _stream(request, found, reply)


def rehearsed(request: Request) -> Text:
    """What the built-in rehearsal model answers: facts become memories, questions are answered from the context."""
    from junkie_cli.core.rehearsal.rehearsal import answer

    said = answer(request.body)
    if said.tool_calls:
        return calls(*((call.name, call.arguments) for call in said.tool_calls))
    return Text(said.text)


def _error_response(reply: HttpError) -> web.Response:
    if reply.body is not None:
        return web.Response(status=reply.status, text=reply.body, content_type="text/html", headers=reply.headers)
    error = {"message": reply.message, "type": "scripted_error", "code": reply.code}
    return web.json_response({"error": error}, status=reply.status, headers=reply.headers)


def _usage(request: Request, reply: Text) -> dict[str, int]:
    prompt, completion = len(json.dumps(request.body)) // 4, max(1, len(reply.deltas()))
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _completion(request: Request, reply: Text) -> dict[str, Any]:
    choice = {"index": 0, "message": reply.message(), "finish_reason": reply.finish}
    head = {"id": "chatcmpl-scripted", "object": "chat.completion", "created": 1, "model": request.model}
    return {**head, "choices": [choice], **({"usage": _usage(request, reply)} if reply.usage else {})}


async def _stream(request: web.Request, found: Request, reply: Text) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    sent = 0
    async for event in _events(found, reply):
        await response.write(f"data: {event}\n\n".encode())
        sent += 1
        await reply._pause(sent)
        if reply.delay:
            await asyncio.sleep(reply.delay)
    if isinstance(reply, CutStream) and reply.reset:
        _abort(request)
        raise ConnectionResetError("scripted")
    await response.write_eof()
    return response


async def _raw(request: web.Request, reply: Raw) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers={"Content-Type": reply.content_type})
    await response.prepare(request)
    for chunk in reply.chunks:
        await response.write(chunk)
    if reply.broken:
        _abort(request)
        raise ConnectionResetError("scripted")
    await response.write_eof()
    return response


async def _endless_line(request: web.Request, reply: EndlessLine) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": reply.content_type})
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65536)


async def _events(request: Request, reply: Text) -> AsyncIterator[str]:
    """The events of a stream; one per piece, so that `pause_after` counts pieces."""
    deltas = reply.deltas()
    if isinstance(reply, CutStream | StreamError):
        deltas = deltas[: reply.after]
    for delta in deltas:
        yield json.dumps(_chunk(request, delta))
    if isinstance(reply, CutStream):
        if reply.finished:
            yield json.dumps(_chunk(request, {}, reply.finish))
        return
    if isinstance(reply, StreamError):
        yield json.dumps({"error": {"message": reply.error, "type": "server_error", "code": "engine"}})
        return
    yield json.dumps(_chunk(request, {}, reply.finish))
    if reply.usage:
        yield json.dumps({**_chunk(request, {}), "choices": [], "usage": _usage(request, reply)})
    yield "[DONE]"


def _chunk(request: Request, delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": finish}
    head = {"id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1, "model": request.model}
    return {**head, "choices": [choice]}


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
