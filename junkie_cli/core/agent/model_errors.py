"""What a provider's failure means, in a sentence and what to do about it.

`explain` turns whatever the openai client raises, and `Outcome` describes calls that failed without an exception, into
one `ModelError` with a stable code. Sentences never hold a key and never quote the conversation.
"""

import re
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any
from urllib.parse import urlsplit

import openai

from junkie_cli.core.agent.endpoints import Choice
from junkie_cli.core.agent.network import certificate_variables, proxy_for, tls_failure
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
TRANSIENT = frozenset(
    {
        *("provider_unavailable", "provider_rate_limited", "provider_loading", "provider_tool_use_failed"),
        *("provider_refused", "provider_unreachable", "provider_timeout", "provider_proxy", "provider_cut"),
    }
)
"""Codes of failures after which the same request may succeed a little later."""


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


# What the server answered


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


# Codes, sentences and hints. {label} names the server, {model} the model, {url}, {key} and {setting} the variables of
# its address, its key and the model, {words} what the server answered. Other names belong to one sentence.
_SENTENCES: Mapping[str, tuple[str, str, str]] = {
    # refusals of the server
    "no_key": ("provider_key", "{label} requires an API key, and none is set (401)", "set {key}"),
    "bad_key": ("provider_key", "{label} refused the key (401)", "check {key}{source}{fresh}"),
    "forbidden": (
        "provider_forbidden",
        "{label} denied the request (403){words}",
        "check whether the key in {key} may use {model}, and whether a proxy or the provider blocks this network",
    ),
    "no_chat": (
        "provider_address",
        "{label} has no chat API at that address (404)",
        "check {url}: the base URL of most servers ends with /v1",
    ),
    "redirected": (
        "provider_address",
        "{label} redirects to another address ({status}), which is not followed",
        "set {url} to its actual address",
    ),
    "no_model": (
        "provider_model",
        "{label} has no model {model}{words}",
        "set {setting} to a model that the server offers",
    ),
    "too_large": (
        "provider_too_large",
        "the message with its history and memories is too large for {model}{words}",
        "send a shorter message, start a new session, or lower AGENT_HISTORY_RUNS",
    ),
    "above_the_minute": (
        "provider_too_large",
        "the request needs {requested:,} tokens, and {label} allows {limit:,} per minute (413)",
        "wait {seconds:.0f} s, then send a shorter message, start a new session, or lower AGENT_HISTORY_RUNS",
    ),
    "minute_used_up": (
        "provider_rate_limited",
        "{label} accepts no more tokens in this minute (413){words}",
        "wait {seconds:.0f} s and try again; fewer history runs (AGENT_HISTORY_RUNS) use fewer tokens",
    ),
    "rate_limited": (
        "provider_rate_limited",
        "{label} accepts no more requests for now (429)",
        "wait a minute and try again; fewer history runs (AGENT_HISTORY_RUNS) use fewer tokens",
    ),
    "rate_limited_until": (
        "provider_rate_limited",
        "{label} accepts no more requests for now (429), and asks to wait {seconds:.0f} s",
        "wait {seconds:.0f} s and try again; fewer history runs (AGENT_HISTORY_RUNS) use fewer tokens",
    ),
    "no_tools": (
        "provider_no_tools",
        "{model} at {label} does not support tools{words}",
        "{remedy} or set JUNKIE_TOOLS=off",
    ),
    "tool_use_failed": (
        "provider_tool_use_failed",
        "{model} wrote a tool call that {label} could not read",
        "try again: this error is usually temporary",
    ),
    "quota": (
        "provider_quota",
        "the account at {label} has no credit left{words}",
        "check the billing of the account, or use another key",
    ),
    "no_capacity": (
        "provider_unavailable",
        "{label} has no capacity at the moment ({status}){words}",
        "try again in a while",
    ),
    "loading": (
        "provider_loading",
        "{label} is still loading {model}{words}",
        "try again when it is loaded, or raise MODEL_TIMEOUT",
    ),
    "unavailable": (
        "provider_unavailable",
        "{label} reports an internal error ({status}){words}",
        "try again in a while{news}",
    ),
    "broke_off": ("provider_unavailable", "{label} failed in the middle of the answer{words}", "try again"),
    "bad_request": (
        "provider_bad_request",
        "{label} did not accept the request ({status}){words}",
        "check whether {model} supports temperature, top_p and tools",
    ),
    # failures on the way there
    "no_connection_in_time": (
        "provider_timeout",
        "{label} did not accept the connection in time",
        "try again; see whether the network is slow",
    ),
    "no_answer_in_time": (
        "provider_timeout",
        "{label} did not answer in time",
        "try again; see whether the network is slow",
    ),
    "dns": ("provider_dns", "the host name {label} cannot be resolved", "check {url} and the network"),
    "refused": ("provider_refused", "nothing listens at {label}", "start the server, or check {url}"),
    "closed": ("provider_cut", "{label} closed the connection", "try again"),
    "unreachable": ("provider_unreachable", "{label} cannot be reached", "check the network, a proxy and {url}"),
    "proxy": (
        "provider_proxy",
        "the proxy {proxy} of {variable} {what}",
        "start the proxy, correct or unset {variable}, or add {host} to NO_PROXY",
    ),
    "tls": (
        "provider_tls",
        "no safe connection to {label}: {reason}",
        "check that {url} begins with the right http:// or https://; name a private authority in SSL_CERT_FILE; in a"
        " minimal container, install the package ca-certificates{own}",
    ),
    # answers that cannot be used
    "cut": (
        "provider_cut",
        "{label} ended the answer before it was complete{why}",
        "the text so far is kept; try again",
    ),
    "withheld": (
        "provider_filtered",
        "a filter of {label} ended the answer (finish_reason {reason})",
        "the text so far is kept; use other words, or another model",
    ),
    "garbage": (
        "provider_garbage",
        "the answer of {label} does not follow the OpenAI chat protocol",
        "check {url}: it must be the base URL of an OpenAI-compatible server",
    ),
    "empty": ("provider_empty", "{model} gave an empty answer", "try again, or use other words"),
    "cut_at_the_limit": (
        "provider_length",
        "the answer was cut at the limit of {model}",
        "ask for a shorter answer, or for the rest",
    ),
    "only_thoughts": (
        "provider_length",
        "the reasoning alone used up the output limit of {model}",
        "ask for a shorter answer, or for the rest",
    ),
}


def _error(kind: str, choice: Choice, *, retry_after: float | None = None, **fields: Any) -> ModelError:
    code, sentence, hint = _SENTENCES[kind]
    endpoint = choice.endpoint
    fields = {
        "label": endpoint.label,
        "model": choice.model,
        "url": endpoint.url_variable,
        "key": endpoint.key_variable,
        "setting": choice.model_variable,
        **fields,
    }
    return ModelError(sentence.format(**fields), hint=hint.format(**fields), code=code, retry_after=retry_after)


# Which sentence a refusal gets: the first whose condition holds.
_REFUSALS: tuple[tuple[Callable[[Refusal], bool], str], ...] = (
    (lambda refusal: refusal.code == "tool_use_failed", "tool_use_failed"),
    (lambda refusal: bool(_sign_of_no_tools(refusal)), "no_tools"),
    (lambda refusal: refusal.status == 413 and "tokens per minute" in refusal.words, "minute_used_up"),
    (lambda refusal: _is_too_large(refusal), "too_large"),
    (lambda refusal: refusal.status == 402 or refusal.code == "insufficient_quota", "quota"),
    (lambda refusal: refusal.code in {"model_not_found", "model_decommissioned"}, "no_model"),
    (lambda refusal: refusal.status is None and "rate_limit" in refusal.code, "rate_limited"),
    (lambda refusal: refusal.status is None, "broke_off"),
    (lambda refusal: refusal.status == 401, "bad_key"),
    (lambda refusal: refusal.status == 403, "forbidden"),
    (lambda refusal: refusal.status == 404 and "model" in refusal.words.lower(), "no_model"),
    (lambda refusal: refusal.status == 404, "no_chat"),
    (lambda refusal: refusal.status == 429, "rate_limited"),
    (lambda refusal: refusal.status == 498, "no_capacity"),
    (lambda refusal: _reports_loading(refusal), "loading"),
    (lambda refusal: (refusal.status or 0) >= 500, "unavailable"),
    (lambda refusal: (refusal.status or 0) >= 300 and (refusal.status or 0) < 400, "redirected"),
    (lambda refusal: True, "bad_request"),
)
_WITH_TIME = frozenset({"too_large", "no_capacity", "unavailable"})
"""Sentences of which `retry_after` is the server's, where it named one."""


def _refused(refusal: Refusal, choice: Choice, said: Iterable[str]) -> ModelError:
    kind = next(kind for applies, kind in _REFUSALS if applies(refusal))
    retry_after = refusal.retry_after if kind in _WITH_TIME else None
    fields: dict[str, Any] = {"retry_after": retry_after}
    if kind in _DETAILS:
        kind, fields = _DETAILS[kind](refusal, choice)
    if "{words}" in _SENTENCES[kind][1]:
        fields["words"] = _words(refusal, choice, said)
    return _error(kind, choice, status=refusal.status, **fields)


def _sign_of_no_tools(refusal: Refusal) -> str:
    """What the refusal of tools is known by; empty for every other refusal."""
    words = refusal.words.lower()
    return next((sign for sign in _NO_TOOLS if sign in words), "")


def is_transient(error: BaseException, choice: Choice) -> bool:
    """Whether the same request may succeed a little later."""
    refusal = refusal_of(error)
    return (refusal is not None and refusal.status in {408, 409, 425}) or explain(error, choice).code in TRANSIENT


def _is_too_large(refusal: Refusal) -> bool:
    if refusal.status == 413:
        return True
    text = f"{refusal.code} {refusal.words}".lower()
    signs = _TOO_LARGE if refusal.status in {400, 422, None} else _OVERFLOW
    return any(sign in text for sign in signs) and "per minute" not in text


def _key(_: Refusal, choice: Choice) -> tuple[str, dict[str, Any]]:
    endpoint = choice.endpoint
    if not endpoint.has_key:
        return "no_key", {}
    source = f" (set by {endpoint.key_source})" if endpoint.key_source else ""
    fresh = "; make a new one at https://console.groq.com/keys" if endpoint.is_groq else ""
    return "bad_key", {"source": source, "fresh": fresh}


def _minute(refusal: Refusal, _: Choice) -> tuple[str, dict[str, Any]]:
    """Groq's 413: this request alone is near the tokens of a minute, or above them."""
    seconds = refusal.retry_after if refusal.retry_after is not None else 60.0
    numbers = _LIMIT.search(refusal.words)
    limit, requested = (int(numbers["limit"]), int(numbers["requested"])) if numbers else (0, 0)
    kind = "minute_used_up" if requested <= limit else "above_the_minute"
    return kind, {"limit": limit, "requested": requested, "seconds": seconds, "retry_after": seconds}


def _rate(refusal: Refusal, _: Choice) -> tuple[str, dict[str, Any]]:
    seconds = refusal.retry_after
    if seconds is None:
        return "rate_limited", {}
    return "rate_limited_until", {"seconds": seconds, "retry_after": seconds}


def _remedy(refusal: Refusal, _: Choice) -> tuple[str, dict[str, Any]]:
    return "no_tools", {"remedy": _NO_TOOLS[_sign_of_no_tools(refusal)]}


def _news(refusal: Refusal, choice: Choice) -> tuple[str, dict[str, Any]]:
    news = "; see https://groqstatus.com" if choice.endpoint.is_groq else ""
    return "unavailable", {"news": news, "retry_after": refusal.retry_after}


_DETAILS: Mapping[str, Callable[[Refusal, Choice], tuple[str, dict[str, Any]]]] = {
    "bad_key": _key,
    "minute_used_up": _minute,
    "rate_limited": _rate,
    "no_tools": _remedy,
    "unavailable": _news,
}
"""What some sentences need in addition, and which of two it is."""


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
    reasons = list(causes(error))
    names = {type(cause).__name__ for cause in reasons}
    tls = tls_failure(reasons)
    if tls is not None:
        return _tls(tls, choice)
    proxy = proxy_for(choice.endpoint.url)
    if proxy is not None and names & {"ConnectError", "ConnectTimeout", "ProxyError"}:
        host = urlsplit(choice.endpoint.url).hostname
        label, what = one_line(proxy.label), what_a_proxy_did(reasons)
        return _error("proxy", choice, proxy=label, variable=proxy.variable, what=what, host=host)
    return _error(_on_the_way(error, reasons, names), choice)


def _on_the_way(error: Exception, reasons: Sequence[BaseException], names: Set[str]) -> str:
    if isinstance(error, openai.APITimeoutError):
        return "no_connection_in_time" if "ConnectTimeout" in names else "no_answer_in_time"
    if any(isinstance(cause, socket.gaierror) for cause in reasons):
        return "dns"
    if any(isinstance(cause, ConnectionRefusedError) for cause in reasons):
        return "refused"
    return "closed" if names & {"RemoteProtocolError", "ReadError", "WriteError"} else "unreachable"


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
            return "does not make the connection in time"
    return "cannot be reached"


def _tls(error: ssl.SSLError, choice: Choice) -> ModelError:
    reason = getattr(error, "verify_message", "") or (error.reason or "TLS failed").replace("_", " ").lower()
    named = " and ".join(certificate_variables())
    own = f"; {named} decides which authorities are believed" if named else ""
    return _error("tls", choice, reason=reason, own=own)


# Answers that are none


def cut(choice: Choice, reason: str | None = None) -> ModelError:
    """The stream ended before the answer did; `reason` is the provider's word for it."""
    return _error("cut", choice, why=f" (finish_reason {one_line(reason)[:40]})" if reason else "")


def withheld(choice: Choice, reason: str | None) -> ModelError:
    """A filter of the provider ended the answer; `reason` is the provider's word for it."""
    return _error("withheld", choice, reason=one_line(reason or "")[:40])


def garbage(choice: Choice) -> ModelError:
    """Status 200, and something that is not the protocol."""
    return _error("garbage", choice)


def empty(choice: Choice) -> ModelError:
    """A complete answer without a word in it."""
    return _error("empty", choice)


def length(choice: Choice, *, has_text: bool) -> ModelError:
    """The answer was cut at the model's limit; a warning when `has_text`, a failure when nothing was said."""
    return _error("cut_at_the_limit" if has_text else "only_thoughts", choice)


def oversized(most: int) -> ModelError:
    """An answer of more bytes than anybody reads, or one line of it."""
    return ModelError(
        f"the answer is larger than {most // 2**20} MB",
        hint="see what the server sends, for example with curl",
        code="provider_garbage",
    )
