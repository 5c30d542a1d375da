"""What a provider's failure means, in a sentence and what to do about it.

`explain` turns whatever the openai client raises, and `Outcome` tells of calls that failed without an exception, into
one `ModelError` with a stable code. Sentences never hold a key and never quote the conversation.
"""

import re
import socket
import ssl
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

import openai

from junkie_cli.core.agent.endpoints import Choice
from junkie_cli.core.agent.network import Proxy, certificate_variables, proxy_for
from junkie_cli.core.agent.refusal import Refusal, refusal_of
from junkie_cli.core.errors import ProviderError, causes
from junkie_cli.core.sanitize import one_line
from junkie_cli.core.value_class import frozen

_KEY_LIKE = re.compile(r"\b(?:(?:gsk|sk|key)[-_]|Bearer )[\w*.-]{4,}", re.IGNORECASE)
_OVERFLOW = (
    *("context_length", "context length", "context window", "context size", "context_size", "maximum context"),
    *("prompt is too long", "context the overflows", "number of tokens allowed", "reduce the length of the messages"),
)
_TOO_LARGE = (*_OVERFLOW, "too large", "too long")
# The window in the words of OpenAI, vLLM, llama.cpp and LM Studio; Mistral; Anthropic; Gemini.
_WINDOW = re.compile(
    r"context (?:length|size|window)[^0-9]{0,30}(?P<a>[0-9,]{3,9})|(?P<b>[0-9,]{3,9}) maximum context"
    r"|> (?P<c>[0-9,]{3,9}) maximum|tokens allowed \((?P<d>[0-9,]{3,9})",
    re.IGNORECASE,
)


_LIMIT = re.compile(r"Limit (?P<limit>\d+).{0,40}Requested (?P<requested>\d+)")
_OFF = "or set JUNKIE_TOOLS=off"
# How servers refuse tools, with the setting of that server: vLLM, llama.cpp, Ollama, OpenRouter, others.
_NO_TOOLS = {
    "enable-auto-tool-choice": "start vLLM with --enable-auto-tool-choice and the --tool-call-parser of the model,",
    "--jinja": "start llama-server with --jinja,",
    "does not support tools": "use a model for which `ollama show` lists tools,",
    "support tool use": "use a model that OpenRouter lists with tools,",
    "does not support tool": "use a model that takes tools,",
    "does not support function calling": "use a model that takes tools,",
    "tool calling is not supported": "use a model that takes tools,",
    "tools are not supported": "use a model that takes tools,",
}
_TRANSIENT = frozenset(
    {"provider_unavailable", "provider_rate_limited", "provider_loading", "provider_tool_use_failed"}
)


class ModelError(ProviderError):
    """A model call that failed, as every part of the program sees it.

    Agno passes it on untouched when a model is called by the memory manager; from a team's stream it survives as
    `error_type` (the code) and in the call log. `retry_after` is in seconds, None when the provider named no time.
    """

    def __init__(self, message: str, *, hint: str = "", code: str, retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint, code=code)
        self.retry_after = retry_after

    @property
    def type(self) -> str:
        """The name under which agno puts it into an error event."""
        return self.code


def explain(error: BaseException, choice: Choice, *, said: Iterable[str] = ()) -> ModelError:
    """`error`, raised while `choice` was asked, as a ModelError; `said` is the conversation that must not be quoted."""
    if isinstance(error, ModelError):
        return error
    refusal = refusal_of(error)
    if refusal is not None:
        return _refused(refusal, choice, said)
    if isinstance(error, openai.APIConnectionError):
        return _unreachable(error, choice)
    return garbage(choice)


# What the provider said


def is_loading(error: Exception) -> bool:
    """Whether the server answered that it is still loading the model: llama.cpp does, with status 503."""
    refusal = refusal_of(error)
    return refusal is not None and _reports_loading(refusal)


@frozen
class Overflow:
    """A prompt was longer than the model's context window, of `window` tokens where the server named it."""

    window: int | None


def overflow_of(error: Exception) -> Overflow | None:
    """The refusal of a prompt that is too long for the model; None for any other, a limit by the minute too."""
    refusal = refusal_of(error)
    if refusal is None:
        return None
    text = f"{refusal.code} {refusal.words}".lower()
    if "per minute" in text or not any(sign in text for sign in _OVERFLOW):
        return None
    named = _WINDOW.search(refusal.words)
    return Overflow(int(next(filter(None, named.groups())).replace(",", "") or 0) or None if named else None)


def _reports_loading(refusal: Refusal) -> bool:
    return refusal.status == 503 and "loading" in refusal.words.lower()


def _refused(refusal: Refusal, choice: Choice, said: Iterable[str]) -> ModelError:
    if refusal.code == "tool_use_failed":
        return _tool_use_failed(refusal, choice, said)
    server = _server_without_tools(refusal)
    if server is not None:
        return _no_tools(server, refusal, choice, said)
    if refusal.status == 413 and "tokens per minute" in refusal.words:
        return _too_many_tokens(refusal, choice, said)
    if _is_too_large(refusal):
        return _too_large(refusal, choice, said)
    if _is_quota(refusal):
        return _quota(refusal, choice, said)
    if refusal.code in {"model_not_found", "model_decommissioned"}:
        return _no_model(refusal, choice, said)
    if refusal.status is None and "rate_limit" in refusal.code:
        return _rate_limited(refusal, choice, said)
    if refusal.status is None:
        return _broke_off(refusal, choice, said)
    return _BY_STATUS.get(refusal.status, _by_class)(refusal, choice, said)


def _server_without_tools(refusal: Refusal) -> str | None:
    """What the refusal of tools is known by; None for every other refusal."""
    words = refusal.words.lower()
    return next((sign for sign in _NO_TOOLS if sign in words), None)


def is_transient(refusal: Refusal, choice: Choice) -> bool:
    """Whether the same request may be accepted a little later."""
    return refusal.status in {408, 409, 425} or _refused(refusal, choice, ()).code in _TRANSIENT


def _is_too_large(refusal: Refusal) -> bool:
    if refusal.status == 413:
        return True
    text = f"{refusal.code} {refusal.words}".lower()
    signs = _TOO_LARGE if refusal.status in {400, 422, None} else _OVERFLOW
    return any(sign in text for sign in signs) and "per minute" not in text


def _is_quota(refusal: Refusal) -> bool:
    return refusal.status == 402 or refusal.code == "insufficient_quota"


def _by_class(refusal: Refusal, choice: Choice, said: Iterable[str]) -> ModelError:
    status = refusal.status or 0
    if status >= 500:
        return _unavailable(refusal, choice, said)
    if 300 <= status < 400:
        return _redirected(refusal, choice, said)
    return _bad_request(refusal, choice, said)


def _key(_: Refusal, choice: Choice, __: Iterable[str]) -> ModelError:
    endpoint = choice.endpoint
    if not endpoint.has_key:
        return ModelError(
            f"{endpoint.label} wants a key and none is set (401)",
            hint=f"set {endpoint.key_variable}",
            code="provider_key",
        )
    where = f" (set by {endpoint.key_source})" if endpoint.key_source else ""
    fresh = "; make a new one at https://console.groq.com/keys" if endpoint.is_groq else ""
    return ModelError(
        f"{endpoint.label} refused the key (401)",
        hint=f"check {endpoint.key_variable}{where}{fresh}",
        code="provider_key",
    )


def _forbidden(refusal: Refusal, choice: Choice, said: Iterable[str]) -> ModelError:
    return ModelError(
        f"{choice.endpoint.label} does not allow this (403){_words(refusal, choice, said)}",
        hint=f"see whether the key of {choice.endpoint.key_variable} may use {choice.model}, and whether a proxy or "
        "the provider blocks this network",
        code="provider_forbidden",
    )


def _not_found(refusal: Refusal, choice: Choice, said: Iterable[str]) -> ModelError:
    if "model" in refusal.words.lower():
        return _no_model(refusal, choice, said)
    return ModelError(
        f"{choice.endpoint.label} has no chat at that address (404)",
        hint=f"check {choice.endpoint.url_variable}: the base URL of most servers ends with /v1",
        code="provider_address",
    )


def _no_model(refusal: Refusal, choice: Choice, said: Iterable[str]) -> ModelError:
    return ModelError(
        f"{choice.endpoint.label} has no model {choice.model}{_words(refusal, choice, said)}",
        hint=f"set {choice.model_variable} to a model that it offers",
        code="provider_model",
    )


def _too_large(refusal: Refusal, choice: Choice, said: Iterable[str]) -> ModelError:
    return ModelError(
        f"the message with its history and memories is too large for {choice.model}{_words(refusal, choice, said)}",
        hint="send less at once, begin a new session, or lower AGENT_HISTORY_RUNS",
        code="provider_too_large",
        retry_after=refusal.retry_after,
    )


def _too_many_tokens(refusal: Refusal, choice: Choice, said: Iterable[str]) -> ModelError:
    """Groq's 413: this request alone is near the tokens of a minute, or above them."""
    seconds = refusal.retry_after if refusal.retry_after is not None else 60.0
    label = choice.endpoint.label
    numbers = _LIMIT.search(refusal.words)
    limit, requested = (int(numbers["limit"]), int(numbers["requested"])) if numbers else (0, 0)
    if requested <= limit:
        return ModelError(
            f"{label} takes no more tokens in this minute (413){_words(refusal, choice, said)}",
            hint=f"wait {seconds:.0f} s and try again; fewer history runs (AGENT_HISTORY_RUNS) use fewer tokens",
            code="provider_rate_limited",
            retry_after=seconds,
        )
    return ModelError(
        f"the request takes {requested:,} tokens, and {label} allows {limit:,} a minute (413)",
        hint=f"wait {seconds:.0f} s, then send less at once, begin a new session, or lower AGENT_HISTORY_RUNS",
        code="provider_too_large",
        retry_after=seconds,
    )


def _no_tools(sign: str, refusal: Refusal, choice: Choice, said: Iterable[str]) -> ModelError:
    return ModelError(
        f"{choice.model} at {choice.endpoint.label} takes no tools{_words(refusal, choice, said)}",
        hint=f"{_NO_TOOLS[sign]} {_OFF}",
        code="provider_no_tools",
    )


def _no_capacity(refusal: Refusal, choice: Choice, said: Iterable[str]) -> ModelError:
    return ModelError(
        f"{choice.endpoint.label} has no capacity for this now ({refusal.status}){_words(refusal, choice, said)}",
        hint="try again in a while",
        code="provider_unavailable",
        retry_after=refusal.retry_after,
    )


def _quota(refusal: Refusal, choice: Choice, said: Iterable[str]) -> ModelError:
    return ModelError(
        f"the account at {choice.endpoint.label} has no credit left{_words(refusal, choice, said)}",
        hint="look at the account's billing, or use another key",
        code="provider_quota",
    )


def _rate_limited(refusal: Refusal, choice: Choice, said: Iterable[str]) -> ModelError:
    seconds = refusal.retry_after
    when = f"; it says to wait {seconds:.0f} s" if seconds is not None else ""
    wait = f"wait {seconds:.0f} s and try again" if seconds is not None else "wait a minute and try again"
    return ModelError(
        f"{choice.endpoint.label} takes no more requests for now (429){when}",
        hint=f"{wait}; fewer history runs (AGENT_HISTORY_RUNS) use fewer tokens",
        code="provider_rate_limited",
        retry_after=seconds,
    )


def _unavailable(refusal: Refusal, choice: Choice, said: Iterable[str]) -> ModelError:
    if _reports_loading(refusal):
        return ModelError(
            f"{choice.endpoint.label} is still loading {choice.model}{_words(refusal, choice, said)}",
            hint="try again when it is loaded, or raise MODEL_TIMEOUT",
            code="provider_loading",
        )
    return ModelError(
        f"{choice.endpoint.label} has a failure of its own ({refusal.status}){_words(refusal, choice, said)}",
        hint="try again in a while" + ("; https://groqstatus.com tells more" if choice.endpoint.is_groq else ""),
        code="provider_unavailable",
        retry_after=refusal.retry_after,
    )


def _broke_off(refusal: Refusal, choice: Choice, said: Iterable[str]) -> ModelError:
    return ModelError(
        f"{choice.endpoint.label} failed in the middle of the answer{_words(refusal, choice, said)}",
        hint="try again",
        code="provider_unavailable",
    )


def _redirected(refusal: Refusal, choice: Choice, _: Iterable[str]) -> ModelError:
    return ModelError(
        f"{choice.endpoint.label} sends to another address ({refusal.status}), which is not followed",
        hint=f"set {choice.endpoint.url_variable} to the address that it really has",
        code="provider_address",
    )


def _tool_use_failed(refusal: Refusal, choice: Choice, _: Iterable[str]) -> ModelError:
    return ModelError(
        f"{choice.model} wrote a tool call that {choice.endpoint.label} could not read",
        hint="try again: this happens now and then",
        code="provider_tool_use_failed",
    )


def _bad_request(refusal: Refusal, choice: Choice, said: Iterable[str]) -> ModelError:
    return ModelError(
        f"{choice.endpoint.label} did not accept the request ({refusal.status}){_words(refusal, choice, said)}",
        hint=f"see whether {choice.model} takes temperature, top_p and tools",
        code="provider_bad_request",
    )


_Teller = Callable[[Refusal, Choice, Iterable[str]], ModelError]
_BY_STATUS: dict[int, _Teller] = {401: _key, 403: _forbidden, 404: _not_found, 429: _rate_limited, 498: _no_capacity}


def _words(refusal: Refusal, choice: Choice, said: Iterable[str]) -> str:
    """The provider's own words as a part of a sentence: short, on one line, without keys; none that quote people."""
    words = one_line(refusal.words)
    if choice.endpoint.has_key:
        words = words.replace(choice.endpoint.key, "********")
    words = _KEY_LIKE.sub("********", words)
    if not words or words.startswith("<") or _quotes(words, said):
        return ""
    return f": {words[:197]}..." if len(words) > 200 else f": {words}"


def _quotes(words: str, said: Iterable[str]) -> bool:
    """Whether four words in a row of `words` stand in what was said."""
    parts = words.lower().split()
    runs = [" ".join(parts[start : start + 4]) for start in range(max(1, len(parts) - 3))]
    texts = [" ".join(text.lower().split()) for text in said]
    return any(run in text for text in texts for run in runs)


# What happened on the way


def _unreachable(error: openai.APIConnectionError, choice: Choice) -> ModelError:
    label, variable = choice.endpoint.label, choice.endpoint.url_variable
    reasons = list(causes(error))
    names = {type(cause).__name__ for cause in reasons}
    tls = next((cause for cause in reasons if isinstance(cause, ssl.SSLError)), None)
    if tls is not None:
        return _tls(tls, choice)
    proxy = proxy_for(choice.endpoint.url)
    if proxy is not None and names & {"ConnectError", "ConnectTimeout", "ProxyError"}:
        return _no_proxy(proxy, reasons, choice)
    if isinstance(error, openai.APITimeoutError):
        connecting = "ConnectTimeout" in names
        what = "does not take the connection in time" if connecting else "did not answer in time"
        return ModelError(f"{label} {what}", hint="try again; see whether the network is slow", code="provider_timeout")
    if any(isinstance(cause, socket.gaierror) for cause in reasons):
        return ModelError(
            f"the name {label} cannot be resolved", hint=f"check {variable} and the network", code="provider_dns"
        )
    if any(isinstance(cause, ConnectionRefusedError) for cause in reasons):
        return ModelError(
            f"nothing listens at {label}", hint=f"start the server, or check {variable}", code="provider_refused"
        )
    if names & {"RemoteProtocolError", "ReadError", "WriteError"}:
        return ModelError(f"{label} closed the connection", hint="try again", code="provider_cut")
    return ModelError(
        f"{label} cannot be reached", hint=f"check the network, a proxy and {variable}", code="provider_unreachable"
    )


def _no_proxy(proxy: Proxy, causes: list[BaseException], choice: Choice) -> ModelError:
    """The proxy is not there, or does not let the connection through."""
    host = urlsplit(choice.endpoint.url).hostname
    return ModelError(
        f"the proxy {one_line(proxy.label)} of {proxy.variable} {what_a_proxy_did(causes)}",
        hint=f"start the proxy, correct or unset {proxy.variable}, or add {host} to NO_PROXY",
        code="provider_proxy",
    )


def what_a_proxy_did(causes: Iterable[BaseException]) -> str:
    """Why a connection by a proxy failed, as a verb."""
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return "cannot be found: its name does not resolve"
        if isinstance(cause, ConnectionRefusedError):
            return "cannot be reached: nothing listens there"
        if type(cause).__name__ == "ProxyError":
            return f"does not let the connection through: {one_line(str(cause))[:100]}"
        if "Timeout" in type(cause).__name__:
            return "does not take the connection in time"
    return "cannot be reached"


def _tls(error: ssl.SSLError, choice: Choice) -> ModelError:
    reason = getattr(error, "verify_message", "") or (error.reason or "TLS failed").replace("_", " ").lower()
    named = " and ".join(certificate_variables())
    own = f"; {named} decides which authorities are believed" if named else ""
    return ModelError(
        f"no safe connection to {choice.endpoint.label}: {reason}",
        hint=f"check that {choice.endpoint.url_variable} begins with the right http:// or https://; a private "
        f"authority goes into SSL_CERT_FILE, a bare container lacks the package ca-certificates{own}",
        code="provider_tls",
    )


# Answers that are none


def cut(choice: Choice, reason: str | None = None) -> ModelError:
    """The stream ended before the answer did; `reason` is the provider's word for it."""
    why = f" (finish_reason {one_line(reason)[:40]})" if reason else ""
    return ModelError(
        f"{choice.endpoint.label} broke off in the middle of the answer{why}",
        hint="what was said so far stays; try again",
        code="provider_cut",
    )


def withheld(choice: Choice, reason: str | None) -> ModelError:
    """A filter of the provider ended the answer; `reason` is the provider's word for it."""
    return ModelError(
        f"a filter of {choice.endpoint.label} ended the answer (finish_reason {one_line(reason or '')[:40]})",
        hint="what was said so far stays; say it in other words, or use another model",
        code="provider_filtered",
    )


def garbage(choice: Choice) -> ModelError:
    """Status 200, and something that is not the protocol."""
    return ModelError(
        f"what {choice.endpoint.label} answers is not the OpenAI chat protocol",
        hint=f"check {choice.endpoint.url_variable}: it must be the base URL of an OpenAI-compatible server",
        code="provider_garbage",
    )


def empty(choice: Choice) -> ModelError:
    """A complete answer without a word in it."""
    return ModelError(
        f"{choice.model} gave an empty answer", hint="try again, or say it in other words", code="provider_empty"
    )


def length(choice: Choice, *, has_text: bool) -> ModelError:
    """The answer was cut at the model's limit; a warning when `has_text`, a failure when nothing was said."""
    what = "was cut at the limit of" if has_text else "used up, by thinking alone, the limit of"
    return ModelError(
        f"the answer {what} {choice.model}", hint="ask for a shorter answer, or for the rest", code="provider_length"
    )


def oversized(most: int) -> ModelError:
    """An answer of more bytes than anybody reads, or one line of it."""
    return ModelError(
        f"the answer is larger than {most // 2**20} MB",
        hint="see what the server sends, for example with curl",
        code="provider_garbage",
    )
