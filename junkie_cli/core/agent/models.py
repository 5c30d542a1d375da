"""The models of the team: agno's OpenAILike, made to tell the truth about every call.

What agno 3.1 leaves silent is a failure here: a stream that is cut, an answer that is empty, that is no answer at all
or that ended at the token limit (agno reports all four as completed). What it loses is kept: the HTTP client over a
deep copy, the status, finish_reason and usage of each call. And a retry never repeats what is already on the screen.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from typing import Any, NoReturn

import httpx2
import openai
from agno.models.message import Message
from agno.models.openai.like import OpenAILike
from agno.models.response import ModelResponse
from openai.types.chat import ChatCompletion

from junkie_cli.core.agent import agno_environment, context_window, model_errors, wire
from junkie_cli.core.agent.bounds import current_budget
from junkie_cli.core.agent.call_log import Call, HistoryCut, ModelWait, Retry, begin_call, report
from junkie_cli.core.agent.clients import ModelClients, was_closed_while_idle
from junkie_cli.core.agent.context_window import ContextWindow
from junkie_cli.core.agent.endpoints import COMPOUND, Choice, Offline, choose
from junkie_cli.core.agent.model_errors import ModelError
from junkie_cli.core.agent.reasoning_parser import ThoughtSplitter
from junkie_cli.core.agent.refusal import refusal_of
from junkie_cli.core.agent.stream import EventStream
from junkie_cli.core.extraction.methods import MethodStore
from junkie_cli.core.settings import Settings
from junkie_cli.core.value_class import frozen

# Answers that cannot be read end in one of these, wherever in agno or openai the shape was first missed.
_UNREADABLE = (ValueError, AttributeError, TypeError, KeyError, IndexError)
# All that Groq's own client knows of a function; agno adds requires_confirmation, external_execution and strict, and
# Groq answers 400 to properties that it does not know.
_FUNCTION_KEYS = ("name", "description", "parameters")
_MEMORY_TOKENS = 4096  # a few memories; a model that runs wild ends here


@frozen
class Patience:
    """How long is waited for a model, in seconds.

    `connect` and `read` are the timeouts of the connection and of silence before the first byte and between two (None:
    no limit); no retry begins later than `total` after the first attempt; `retries` bounds their number.
    """

    connect: float
    read: float | None
    total: float
    retries: int


_AFTER_THE_END = 5.0  # seconds waited for the count of tokens, which some servers send last
_LOADING_PAUSE = 0.5  # seconds between two questions whether a model is loaded
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
    window: ContextWindow = field(default_factory=ContextWindow)

    @property
    def _habits(self) -> MethodStore:
        return MethodStore()

    def get_async_client(self) -> openai.AsyncOpenAI:
        """The process' client of this endpoint."""
        return self.clients.get(self.chosen.endpoint)

    def get_client(self) -> NoReturn:
        """There is none: a blocking call would stop the event loop."""
        raise NotImplementedError("this model is asynchronous only: use arun and aresponse")

    @property
    def chosen(self) -> Choice:
        """What is asked, and where."""
        assert self.choice is not None, "a ProviderModel is made by build_models"
        return self.choice

    def get_request_params(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Agno's parameters, with tools reduced to what every provider knows."""
        parameters = super().get_request_params(*args, **kwargs)
        if "tools" in parameters:
            parameters["tools"] = [_plain_tool(tool) for tool in parameters["tools"]]
        return parameters

    async def ainvoke(  # type: ignore[override]  # the options are those of ainvoke_stream
        self, messages: list[Message], assistant_message: Message, **options: Any
    ) -> ModelResponse:
        """One whole answer; streamed as well, so that silence is measured between its bytes. Raises ModelError."""
        whole = ModelResponse(role="assistant", content=None)
        deltas: list[Any] = []
        async for piece in self.ainvoke_stream(messages, assistant_message, **options):
            wire.add(whole, piece)
            deltas += piece.tool_calls or ()
        if deltas:
            whole.tool_calls = self.parse_tool_calls(deltas)
        return whole

    def ainvoke_stream(
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
        parameters = self.get_request_params(
            response_format=response_format, tools=tools, tool_choice=tool_choice, run_response=run_response
        )
        call = begin_call(self.part, self.chosen)
        return self.pieces(call, messages, parameters, assistant_message.metrics, compressed=compress_tool_results)

    async def pieces(
        self,
        call: Call,
        messages: list[Message],
        parameters: Mapping[str, Any],
        metrics: Any = None,
        *,
        compressed: bool = False,
    ) -> AsyncGenerator[ModelResponse, None]:
        """As `ainvoke_stream`, charged to the budget that is being spent; `call` holds what was found out about it."""
        thoughts = self._thought_splitter()
        with self._told(call, messages), current_budget().call(call, sum(map(len, _said(messages)))) as charge:
            if metrics is not None:
                metrics.start_timer()
            report(ModelWait(self.part, call.choice))
            reader = wire.Reader(call)
            try:
                # Closed at once when the reader leaves (Ctrl-C): the provider stops writing, and billing.
                async with await self._open(call, messages, parameters, compressed) as stream:
                    async for document in _until_complete(stream, call):
                        piece = wire.split(reader.read(document), thoughts, call)
                        yield piece
                        charge.take(piece)
            except (openai.OpenAIError, httpx2.HTTPError, ModelError, *_UNREADABLE):
                held = wire.split(reader.end(), thoughts, call, at_end=True, broken=True)
                if held.content or held.reasoning_content:
                    yield held
                raise
            if metrics is not None:
                metrics.stop_timer()
            yield wire.split(reader.end(), thoughts, call, at_end=True)
            if call.retracted:
                self._habits.note_unmarked_thoughts(*self._server)
            call.has_text &= thoughts.has_text
            self._judge(call, is_stream=wire.is_event_stream(stream.response))
            self.window.learn(call.prompt_bytes, call.input_tokens)
            charge.end()

    @property
    def _server(self) -> tuple[str, str]:
        return self.chosen.endpoint.url, self.id

    def _thought_splitter(self) -> ThoughtSplitter:
        """Do not hold text of an extraction: nobody reads it, and `calling.ask` removes reasoning."""
        return ThoughtSplitter(holds=self.part != "memory" and self._habits.has_unmarked_thoughts(*self._server))

    async def _open(self, call: Call, messages: list[Message], parameters: Mapping[str, Any], compressed: bool) -> Any:
        """Send the messages, without the oldest exchanges where the model cannot read them all."""
        tools = context_window.size_of_tools(parameters)
        if context_window.has_history(messages):
            size = tools + context_window.size_of(messages)
            await self.window.look_up(self.get_async_client(), call.choice, size)
        while True:
            kept, left_out = self.window.fit(messages, tools)
            if left_out:
                report(HistoryCut(left_out, self.window.tokens or 0, self.id))
            call.prompt_bytes = tools + context_window.size_of(kept)
            request = {"model": self.id, "messages": self._format_all_messages(kept, compressed), **parameters}
            request |= {"stream": True, "stream_options": {"include_usage": True}}
            try:
                return await self._create(call, request, messages)
            except openai.APIError as error:
                overflow = model_errors.overflow_of(error)
                if overflow is None or not context_window.has_history(kept):
                    raise
                self.window.refused(call.prompt_bytes, overflow.window)

    async def _create(self, call: Call, request: Mapping[str, Any], messages: list[Message]) -> Any:
        """Send the request, again while that can help and patience lasts: never after the first byte of an answer.

        A server that reports that it is loading the model is waited for as long as one that is silent. A connection
        that the server closed since the last answer is no attempt: the request goes over a new one.
        """
        clock = asyncio.get_running_loop()
        last_start = clock.time() + self.patience.total
        loaded = clock.time() + (self.patience.read or inf)
        waits = httpx2.Timeout(self.patience.read, connect=self.patience.connect)
        reopened = False
        while True:
            stream = None
            try:
                stream = await self._send(request, waits)
                call.status = stream.response.status_code
                await stream.begin()
            except openai.APIError as error:
                call.status = error.status_code if isinstance(error, openai.APIStatusError) else call.status
                if stream is None and not reopened and was_closed_while_idle(error):
                    reopened = True
                    continue
                if model_errors.is_loading(error) and clock.time() < loaded:
                    await self._loading(call)
                    continue
                seconds = _retry_delay(error, call)
                if seconds is None or call.retries >= self.patience.retries or clock.time() + seconds > last_start:
                    raise
                report(Retry(model_errors.explain(error, call.choice, said=_said(messages)), seconds))
            else:
                return stream
            call.retries += 1
            await asyncio.sleep(seconds)

    async def _loading(self, call: Call) -> None:
        report(ModelWait(self.part, call.choice, loading=True))
        await asyncio.sleep(_LOADING_PAUSE)

    async def _send(self, request: Mapping[str, Any], waits: httpx2.Timeout) -> EventStream:
        """One request, by the client's call for paths that it has no method for.

        What its `create` does besides is to walk every message for keys to rename, and there are none: 7 ms of twenty
        messages, before the first byte is sent.
        """
        stream: EventStream = await self.get_async_client().post(
            "/chat/completions",
            body=request,
            cast_to=ChatCompletion,
            stream=True,
            stream_cls=EventStream,
            options={"timeout": waits},
        )
        return stream

    @contextmanager
    def _told(self, call: Call, messages: list[Message]) -> Iterator[None]:
        """Turn whatever goes wrong inside into a ModelError, and write it into the call."""
        try:
            yield
        except ModelError as error:
            call.error = error
            raise
        except (openai.OpenAIError, httpx2.HTTPError, *_UNREADABLE) as error:
            call.error = model_errors.explain(error, call.choice, said=_said(messages))
            raise call.error from error

    def _judge(self, call: Call, *, is_stream: bool) -> None:
        """Raise for an answer that came to no end or holds nothing; keep a warning for one that was cut short."""
        end = wire.how_it_ended(call)
        if end == wire.BROKEN_OFF:
            raise model_errors.cut(call.choice, call.finish_reason) if is_stream else model_errors.garbage(call.choice)
        if end == wire.WITHHELD:
            raise model_errors.withheld(call.choice, call.finish_reason)
        if end == wire.SHORTENED:
            shortened = model_errors.length(call.choice, has_text=call.has_text)
            if self.part == "memory" or not call.has_text:  # half a tool call, or nothing at all
                raise shortened
            call.warning = shortened
        elif not call.has_text and not call.has_tool_calls and self.part != "memory":
            raise model_errors.empty(call.choice)


def _plain_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    if not isinstance(function, Mapping):
        return dict(tool)
    return {"type": "function", "function": {key: function[key] for key in _FUNCTION_KEYS if key in function}}


def _said(messages: Iterable[Message]) -> list[str]:
    return [message.content for message in messages if isinstance(message.content, str)]


async def _until_complete(stream: EventStream, call: Call) -> AsyncIterator[Any]:
    """What the server sends, document by document; what goes wrong after the end of the answer changes nothing."""
    documents = aiter(stream)
    while True:
        try:
            async with asyncio.timeout(None if call.finish_reason is None else _AFTER_THE_END):
                document = await anext(documents)
        except StopAsyncIteration:
            break
        except (openai.OpenAIError, httpx2.HTTPError, TimeoutError, *_UNREADABLE):
            if call.finish_reason is None:
                raise
            break
        yield document
    call.end_marked |= stream.ended


def _retry_delay(error: openai.APIError, call: Call) -> float | None:
    """Seconds to wait before another attempt, None when it would fail the same way."""
    if not model_errors.is_transient(error, call.choice):
        return None
    refusal = refusal_of(error)
    if refusal is not None and refusal.retry_after is not None:
        return refusal.retry_after
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
    offline: Offline = False,
    patience: Patience | None = None,
    memory_patience: Patience | None = None,
) -> TeamModels:
    """The main and the memory model of `settings`; with `offline` the rehearsal model, without key and network.

    Raises SettingsError (code `provider_missing`) naming the three ways when no provider is configured.
    """
    agno_environment.protect(verbose=True if settings.debug_mode else None)
    choices = choose(settings, offline=offline)
    clients = ModelClients()
    patience = patience or Patience(5, settings.model_timeout or None, 60, settings.agent_retries)
    # Extraction runs behind the answer and has a journal to fall back on.
    memory_patience = memory_patience or Patience(
        5, settings.memory_timeout or None, 20, min(1, settings.agent_retries)
    )
    main = _model(choices.main, clients, patience, "main", _sampling(settings, choices.main))
    main.window = ContextWindow(settings.context_window)
    memory = _model(choices.memory, clients, memory_patience, "memory", _memory_arguments(settings, choices.memory))
    for choice in (choices.main, choices.memory):
        with suppress(ModelError):  # of the first request, where it is reported
            clients.get(choice.endpoint)  # loading the TLS context takes 23 ms: now, not before the first answer
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
