"""The models of the team: agno's OpenAILike, made to tell the truth about every call.

What agno 3.1 leaves silent is a failure here: a stream that is cut, an answer that is empty, that is no answer at all
or that ended at the token limit (agno reports all four as completed). What it loses is kept: the HTTP client over a
deep copy, the status, finish_reason and usage of each call. And a retry never repeats what is already on the screen.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NoReturn

import httpx2
import openai
from agno.models.message import Message
from agno.models.openai.like import OpenAILike
from agno.models.response import ModelResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from junkie_cli.core.settings import Settings
from junkie_cli.core.team import failures, guard
from junkie_cli.core.team.endpoints import COMPOUND, Choice, Endpoint, choose
from junkie_cli.core.team.failures import ModelError
from junkie_cli.core.team.thinking import ThoughtSplitter
from junkie_cli.values import frozen

# Answers that cannot be read end in one of these, wherever in agno or openai the shape was first missed.
_UNREADABLE = (ValueError, AttributeError, TypeError, KeyError, IndexError)
# All that Groq's own client knows of a function; agno adds requires_confirmation, external_execution and strict, and
# Groq answers 400 to properties that it does not know.
_FUNCTION_KEYS = ("name", "description", "parameters")
_CHUNK_FIELDS = frozenset(ChatCompletionChunk.model_fields)
_MEMORY_TOKENS = 4096  # a few memories; a model that runs wild ends here


@frozen
class Patience:
    """How long is waited for a model, in seconds.

    `connect` and `read` are the timeouts of the connection and of silence between two bytes; no retry begins later
    than `total` after the first attempt; `retries` bounds their number.
    """

    connect: float
    read: float
    total: float
    retries: int


@frozen
class Retry:
    """An attempt failed before its first byte and is made again in `seconds`."""

    error: ModelError
    seconds: float


@dataclass(slots=True)
class Call:
    """One call of a model, as it went; `part` is `main`, `memory` or `member`.

    `status` is the HTTP status (None: no answer came), `finish_reason` what the provider said at the end (None: it
    never came to one), `error` why it failed, `warning` what is to be told of an answer that stands.
    """

    part: str
    choice: Choice
    status: int | None = None
    finish_reason: str | None = None
    retries: int = 0
    has_text: bool = False
    has_reasoning: bool = False
    has_tool_calls: bool = False
    closed: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    error: ModelError | None = None
    warning: ModelError | None = None


@dataclass(slots=True)
class CallLog:
    """The calls made while it was open, in order; `on_retry` hears of each wait before it begins."""

    calls: list[Call] = field(default_factory=list)
    on_retry: Callable[[Retry], None] | None = None

    def failure(self, part: str = "main") -> ModelError | None:
        """Why the last call of `part` failed, None when it did not."""
        of_part = [call for call in self.calls if call.part == part]
        return of_part[-1].error if of_part else None

    def warnings(self, part: str = "main") -> list[ModelError]:
        """What is to be told of answers that stand."""
        return [call.warning for call in self.calls if call.part == part and call.warning]


_log: ContextVar[CallLog | None] = ContextVar("junkie_model_calls", default=None)


@contextmanager
def record_calls(on_retry: Callable[[Retry], None] | None = None) -> Iterator[CallLog]:
    """Record every model call made in this context and in the tasks that begin in it."""
    log = CallLog(on_retry=on_retry)
    token = _log.set(log)
    try:
        yield log
    finally:
        with suppress(ValueError):  # an async generator may be closed from another context than it was begun in
            _log.reset(token)


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
        """The client of `endpoint`."""
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
        from junkie_cli.core.team.rehearsal import RehearsalTransport

        transport = RehearsalTransport()
    http_client = httpx2.AsyncClient(
        transport=transport,
        follow_redirects=False,  # what people say goes to the configured address and to no other
        event_hooks={"request": [_say_nothing_of_this_machine]},
    )
    # Retries are ours (see ProviderModel._create); key and address are always given, so that none is looked for.
    client = openai.AsyncOpenAI(api_key=endpoint.key, base_url=endpoint.url, http_client=http_client, max_retries=0)
    client.organization = client.project = client.admin_api_key = None
    return client


async def _say_nothing_of_this_machine(request: httpx2.Request) -> None:
    """The openai client tells operating system, processor and Python version in its x-stainless headers."""
    for name in [name for name in request.headers if name.lower().startswith("x-stainless")]:
        del request.headers[name]


_PATIENCE = Patience(5, 60, 60, 2)


@dataclass
class ProviderModel(OpenAILike):
    """A model behind the OpenAI chat protocol that raises ModelError when a call has failed in whatever way.

    `part` tells the main model from the memory model and the members' in the call log. The key is not here but in
    the endpoint, whose repr leaves it out: agno prints its models.
    """

    name: str = "ProviderModel"
    api_key: str | None = None
    choice: Choice | None = None
    clients: ModelClients = field(default_factory=ModelClients)
    patience: Patience = _PATIENCE
    part: str = "main"

    def get_async_client(self) -> openai.AsyncOpenAI:
        """The process' client of this endpoint."""
        return self.clients.get(self._choice.endpoint)

    def get_client(self) -> NoReturn:
        """There is none: a blocking call would stop the event loop."""
        raise NotImplementedError("this model is asynchronous only: use arun and aresponse")

    @property
    def _choice(self) -> Choice:
        assert self.choice is not None, "a ProviderModel is made by build_models"
        return self.choice

    def get_request_params(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Agno's parameters, with tools reduced to what every provider knows."""
        parameters = super().get_request_params(*args, **kwargs)
        if "tools" in parameters:
            parameters["tools"] = [_plain_tool(tool) for tool in parameters["tools"]]
        return parameters

    async def ainvoke(
        self,
        messages: list[Message],
        assistant_message: Message,
        response_format: Any = None,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: str | dict[str, Any] | None = None,
        run_response: Any = None,
        compress_tool_results: bool = False,
    ) -> ModelResponse:
        """One whole answer. Raises ModelError."""
        call = self._begin()
        request = self._request(messages, response_format, tools, tool_choice, run_response, compress_tool_results)
        with self._told(call, messages):
            metrics: Any = assistant_message.metrics
            metrics.start_timer()
            completion = await self._create(call, request, messages)
            metrics.stop_timer()
            _take_completion(call, completion)
            response = self._parse_provider_response(completion, response_format=response_format)
            self._judge(call)
        return response

    async def ainvoke_stream(
        self,
        messages: list[Message],
        assistant_message: Message,
        response_format: Any = None,
        tools: list[dict[str, Any]] | None = None,
        tool_choice: str | dict[str, Any] | None = None,
        run_response: Any = None,
        compress_tool_results: bool = False,
    ) -> AsyncIterator[ModelResponse]:
        """The pieces of an answer as they come. Raises ModelError, also when they stop before the end."""
        call = self._begin()
        request = self._request(messages, response_format, tools, tool_choice, run_response, compress_tool_results)
        request |= {"stream": True, "stream_options": {"include_usage": True}}
        thoughts = ThoughtSplitter()
        with self._told(call, messages):
            metrics: Any = assistant_message.metrics
            metrics.start_timer()
            # Closed at once when the reader leaves (Ctrl-C): the provider stops writing, and billing.
            async with await self._create(call, request, messages) as stream:
                call.status = stream.response.status_code
                async for data in stream:
                    yield _split(self._piece(call, data), thoughts)
            metrics.stop_timer()
            yield _split(ModelResponse(), thoughts, at_end=True)
            call.has_text &= thoughts.has_text
            if not call.closed and not _is_event_stream(stream.response):
                raise failures.garbage(call.choice)
            self._judge(call)

    def _piece(self, call: Call, data: Any) -> ModelResponse:
        """What one event of the stream says, as agno reads it.

        Nearly all hold a few letters of text and nothing else: making the client's objects of those, and reading them,
        takes longer than all the rest of an answer.
        """
        text = _text_alone(data)
        if text is None:
            chunk = ChatCompletionChunk.model_construct(**data)
            _take_chunk(call, chunk)
            return self._parse_provider_response_delta(chunk)
        call.has_text |= bool(text.strip())
        named = {name: data[name] for name in ("id", "system_fingerprint") if data.get(name)}
        return ModelResponse(content=text, provider_data=named)

    def _begin(self) -> Call:
        call = Call(self.part, self._choice)
        log = _log.get()
        if log is not None:
            log.calls.append(call)
        return call

    def _request(
        self,
        messages: list[Message],
        response_format: Any,
        tools: list[dict[str, Any]] | None,
        tool_choice: str | dict[str, Any] | None,
        run_response: Any,
        compress_tool_results: bool,
    ) -> dict[str, Any]:
        parameters = self.get_request_params(
            response_format=response_format, tools=tools, tool_choice=tool_choice, run_response=run_response
        )
        return {"model": self.id, "messages": self._format_all_messages(messages, compress_tool_results), **parameters}

    async def _create(self, call: Call, request: Mapping[str, Any], messages: list[Message]) -> Any:
        """Send the request, again while that can help and patience lasts: never after the first byte of an answer."""
        clock = asyncio.get_running_loop()
        last_start = clock.time() + self.patience.total
        waits = httpx2.Timeout(self.patience.read, connect=self.patience.connect)
        while True:
            try:
                answer = await self._send(request, waits)
            except (openai.APIConnectionError, openai.APIStatusError) as error:
                call.status = error.status_code if isinstance(error, openai.APIStatusError) else None
                seconds = _retry_delay(error, call)
                if seconds is None or call.retries >= self.patience.retries or clock.time() + seconds > last_start:
                    raise
                _tell_retry(Retry(failures.explain(error, call.choice, said=_said(messages)), seconds))
            else:
                call.status = 200
                return answer
            call.retries += 1
            await asyncio.sleep(seconds)

    async def _send(self, request: Mapping[str, Any], waits: httpx2.Timeout) -> Any:
        """One request, by the client's call for paths that it has no method for.

        What its `create` does besides is to walk every message for keys to rename, and there are none: 7 ms of twenty
        messages, before the first byte is sent.
        """
        return await self.get_async_client().post(
            "/chat/completions",
            body=request,
            cast_to=ChatCompletion,
            stream=bool(request.get("stream")),
            stream_cls=openai.AsyncStream[object],
            options={"timeout": waits},
        )

    @contextmanager
    def _told(self, call: Call, messages: list[Message]) -> Iterator[None]:
        """Turn whatever goes wrong inside into a ModelError, and write it into the call."""
        try:
            yield
        except ModelError as error:
            call.error = error
            raise
        except (openai.OpenAIError, httpx2.HTTPError, *_UNREADABLE) as error:
            if call.finish_reason is not None and isinstance(error, openai.APIConnectionError):
                return  # the answer had come to its end before the connection broke
            call.error = failures.explain(error, call.choice, said=_said(messages))
            raise call.error from error

    def _judge(self, call: Call) -> None:
        """Raise for an answer that came to no end or holds nothing; keep a warning for one that was cut short."""
        if not call.closed:
            raise failures.cut(call.choice)
        if call.finish_reason == "length":
            shortened = failures.length(call.choice, has_text=call.has_text)
            if self.part == "memory" or not call.has_text:  # half a tool call, or nothing at all
                raise shortened
            call.warning = shortened
        elif not call.has_text and not call.has_tool_calls and self.part != "memory":
            raise failures.empty(call.choice)


def _plain_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    if not isinstance(function, Mapping):
        return dict(tool)
    return {"type": "function", "function": {key: function[key] for key in _FUNCTION_KEYS if key in function}}


def _said(messages: Iterable[Message]) -> list[str]:
    return [message.content for message in messages if isinstance(message.content, str)]


def _split(response: ModelResponse, thoughts: ThoughtSplitter, *, at_end: bool = False) -> ModelResponse:
    """Move what the model thinks aloud from the text of a piece to its reasoning."""
    if at_end or isinstance(response.content, str):
        piece = thoughts.end() if at_end else thoughts.feed(response.content or "")
        response.content = piece.text or None
        if piece.thought:
            response.reasoning_content = piece.thought
    return response


def _is_event_stream(response: httpx2.Response) -> bool:
    return response.headers.get("content-type", "").startswith("text/event-stream")


def _text_alone(data: Any) -> str | None:
    """The text of an event that holds nothing else; None for any other."""
    if not isinstance(data, dict) or not data.keys() <= _CHUNK_FIELDS or data.get("usage") is not None:
        return None
    choices = data.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        return None
    delta = choices[0].get("delta")
    if choices[0].get("finish_reason") is not None or not isinstance(delta, dict):
        return None
    others = any(value is not None for name, value in delta.items() if name not in {"role", "content"})
    text = delta.get("content")
    return text if isinstance(text, str) and not others else None


def _take_completion(call: Call, completion: Any) -> None:
    if getattr(completion, "error", None):
        raise openai.APIError("", request=httpx2.Request("POST", ""), body=completion.error)
    choice = completion.choices[0]
    call.closed = True
    call.finish_reason = choice.finish_reason
    _take_piece(call, choice.message)
    _take_usage(call, completion.usage)


def _take_chunk(call: Call, chunk: Any) -> None:
    if chunk.choices:
        choice = chunk.choices[0]
        if choice.delta is not None:
            _take_piece(call, choice.delta)
        if choice.finish_reason is not None:
            call.finish_reason, call.closed = choice.finish_reason, True
    elif chunk.usage is not None:  # the closing chunk: some servers never name a finish_reason
        call.closed = True
    _take_usage(call, chunk.usage)


def _take_piece(call: Call, piece: Any) -> None:
    call.has_text |= bool(piece.content and piece.content.strip())
    call.has_tool_calls |= bool(piece.tool_calls)
    call.has_reasoning |= bool(getattr(piece, "reasoning", None) or getattr(piece, "reasoning_content", None))


def _take_usage(call: Call, usage: Any) -> None:
    if usage is not None:
        call.input_tokens = usage.prompt_tokens or 0
        call.output_tokens = usage.completion_tokens or 0
        call.total_tokens = usage.total_tokens or 0


def _tell_retry(retry: Retry) -> None:
    log = _log.get()
    if log is not None and log.on_retry is not None:
        log.on_retry(retry)


def _retry_delay(error: openai.APIConnectionError | openai.APIStatusError, call: Call) -> float | None:
    """Seconds to wait before another attempt, None when it would fail the same way."""
    retry_after: float | None = None
    if isinstance(error, openai.APIStatusError):
        if error.status_code not in {408, 409, 425, 429} and error.status_code < 500:
            return None
        refusal = failures.refusal_of(error)
        if refusal.code == "insufficient_quota":
            return None
        retry_after = refusal.retry_after
    elif failures.explain(error, call.choice).code in {"provider_tls", "provider_dns"}:
        return None
    if retry_after is not None:
        return retry_after
    backoff: float = min(8.0, 0.5 * 2**call.retries)
    return backoff * random.uniform(0.75, 1.0)  # noqa: S311 - spreads clients, guards nothing


@frozen
class TeamModels:
    """The models of one process and the clients that they share; close `clients` before the event loop ends."""

    main: ProviderModel
    memory: ProviderModel
    clients: ModelClients
    main_choice: Choice
    memory_choice: Choice
    settings: Settings

    @property
    def provider(self) -> str:
        """The main model's provider, for people; holds no secret."""
        return self.main_choice.endpoint.label

    @property
    def offline(self) -> bool:
        """Whether the rehearsal model answers."""
        return self.main_choice.endpoint.is_rehearsal

    def compound(self) -> ProviderModel | None:
        """A new model for a member that searches the web and runs code: Groq's compound, or None where there is none.

        It brings tools of its own and takes none of ours.
        """
        if not self.main_choice.endpoint.is_groq:
            return None
        choice = Choice(self.main_choice.endpoint, COMPOUND, "")
        return _model(choice, self.clients, self.main.patience, "member", {})

    async def close(self) -> None:
        """Close the clients."""
        await self.clients.close()


def build_models(
    settings: Settings,
    *,
    offline: bool = False,
    patience: Patience | None = None,
    memory_patience: Patience | None = None,
) -> TeamModels:
    """The main and the memory model of `settings`; with `offline` the rehearsal model, without key and network.

    Raises SettingsError (code `provider_missing`) naming the three ways when no provider is configured.
    """
    guard.protect(verbose=True if settings.debug_mode else None)
    choices = choose(settings, offline=offline)
    clients = ModelClients()
    # Between two bytes of an answer 60 s are a provider that is gone; extraction runs behind the answer and has a
    # journal to fall back on, so it gives up sooner.
    patience = patience or Patience(connect=5, read=60, total=60, retries=settings.agent_retries)
    memory_patience = memory_patience or Patience(connect=5, read=20, total=20, retries=min(1, settings.agent_retries))
    main = _model(choices.main, clients, patience, "main", _sampling(settings, choices.main))
    memory = _model(choices.memory, clients, memory_patience, "memory", _memory_arguments(settings, choices.memory))
    for choice in (choices.main, choices.memory):
        clients.get(choice.endpoint)  # loading the TLS context takes 23 ms: now, not between a message and its answer
    return TeamModels(main, memory, clients, choices.main, choices.memory, settings)


def _model(
    choice: Choice, clients: ModelClients, patience: Patience, part: str, arguments: Mapping[str, Any]
) -> ProviderModel:
    return ProviderModel(
        id=choice.model,
        name=choice.model,
        provider=choice.endpoint.label,
        choice=choice,
        clients=clients,
        patience=patience,
        part=part,
        retries=0,  # agno's would stream the broken answer first and keep its text in the final one
        **arguments,
    )


def _sampling(settings: Settings, choice: Choice) -> dict[str, Any]:
    """Temperature and top_p, except for OpenAI's reasoning models, which answer 400 to both."""
    if choice.endpoint.label == "api.openai.com" and choice.model.startswith(("o1", "o3", "o4", "gpt-5")):
        return {}
    return {"temperature": settings.model_temperature, "top_p": settings.model_top_p}


def _memory_arguments(settings: Settings, choice: Choice) -> dict[str, Any]:
    """As the main model's; at Groq bounded in tokens, and gpt-oss thinks little: its free tier is 8,000 a minute."""
    arguments = _sampling(settings, choice)
    if choice.endpoint.is_groq:
        arguments["max_completion_tokens"] = _MEMORY_TOKENS
        if choice.model.startswith("openai/gpt-oss"):
            arguments["reasoning_effort"] = "low"
    return arguments
