"""Checks of the model providers: connection, key, models, speed.

Uses plain HTTP, because the openai client takes half a second to load. Answers that do not follow the protocol are
rejected, because a log-in page of a network answers everything with 200.
"""

import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from junkie_cli.core.agent.endpoints import Choice, Choices, Endpoint, choose, window_of
from junkie_cli.core.agent.network import (
    NetworkSettingError,
    certificate_variables,
    client_arguments,
    proxy_for,
    tls_failure,
)
from junkie_cli.core.doctor.context import Context
from junkie_cli.core.doctor.model import OK, Check, DependencyNotMet, Finding, failed, ok, together, warning
from junkie_cli.core.doctor.settings import KEY_CHECK
from junkie_cli.core.errors import causes
from junkie_cli.core.extraction.methods import METHOD_NAMES, MethodStore
from junkie_cli.core.formatting import plural
from junkie_cli.core.sanitize import one_line
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import httpx2

FIRST_TOKEN, WHOLE_ANSWER = 5.0, 15.0
"""Seconds after which a model is slow: people wait for the first token, the extraction for the last."""

_SECONDS = 4.0  # for each step of a request; two timeouts exceed the limit of the check
_PORTAL = "another server answers instead of {label}: this network may require a log-in on a web page"
_PORTAL_HINT = "open a web page and log in to the network, or check the proxy and {variable}"


def _client(seconds: float, endpoint: Endpoint) -> "httpx2.AsyncClient":
    import httpx2

    return httpx2.AsyncClient(timeout=seconds, follow_redirects=False, **client_arguments(endpoint.url))


def _headers(endpoint: Endpoint) -> dict[str, str]:
    return {"authorization": f"Bearer {endpoint.key}", "accept": "application/json"}


# --- GET /models ------------------------------------------------------------------------------------------------------


async def _groq_accepts(context: Context) -> Finding:
    if not context.settings.groq_api_key:
        return ok("Groq is not used")
    used = choose(context.settings)
    found = next(choice for choice in (used.main, used.memory) if choice.endpoint.is_groq)
    return await _accepts(context, found.endpoint)


async def _provider_accepts(context: Context) -> Finding:
    if context.settings.custom_provider == "groq":
        return ok("CUSTOM_PROVIDER is groq; no other server is used")
    return await _accepts(context, choose(context.settings).main.endpoint)


async def _accepts(context: Context, endpoint: Endpoint) -> Finding:
    import httpx2

    context.models.pop(endpoint.url, None)
    began = time.monotonic()
    try:
        async with _client(_SECONDS * context.patience, endpoint) as client:
            response = await client.get(f"{endpoint.url}/models", headers=_headers(endpoint))
    except httpx2.InvalidURL:
        return failed(f"{endpoint.url_variable} is not a usable address", f"correct {endpoint.url_variable}")
    except (NetworkSettingError, httpx2.HTTPError, OSError, ssl.SSLError) as error:
        return _unreachable(error, endpoint)
    refusal = _refusal(response, endpoint)
    if refusal is not None:
        return refusal
    ids = _model_ids(response)
    if ids is None:
        return _foreign(response, endpoint)
    context.models[endpoint.url] = ids
    context.windows.update({(endpoint.url, model): window for model, window in _windows(response)})
    seconds = time.monotonic() - began
    key = "accepts the key" if endpoint.has_key else "works without a key"
    return ok(f"{endpoint.label} {key} ({len(ids)} models, {seconds:.1f} s)")


def _model_ids(response: "httpx2.Response") -> tuple[str, ...] | None:
    """Return the ids of a list of models, or None for any other answer."""
    try:
        rows = response.json()["data"]
        return tuple(str(row["id"]) for row in rows)
    except (ValueError, KeyError, TypeError):
        return None


def _windows(response: "httpx2.Response") -> Iterator[tuple[str, int]]:
    """Return the context windows in a list of models, as far as the server reports them."""
    for row in response.json()["data"]:
        window = window_of(row)
        if window is not None:
            yield str(row["id"]), window


def _refusal(response: "httpx2.Response", endpoint: Endpoint) -> Finding | None:
    status = response.status_code
    if status == 200:
        return None
    if 300 <= status < 400 or status == 511:
        return _foreign(response, endpoint)
    return _BY_STATUS.get(status, _other)(response, endpoint)


def _foreign(response: "httpx2.Response", endpoint: Endpoint) -> Finding:
    """Describe an answer that does not follow the protocol: a log-in page, or another kind of server."""
    location = response.headers.get("location", "")
    html = "html" in response.headers.get("content-type", "") or response.text.lstrip()[:1] == "<"
    elsewhere = location.startswith("http") and not location.startswith(endpoint.url.rsplit("/", 1)[0])
    if elsewhere or (html and not location) or response.status_code == 511:
        return failed(
            _PORTAL.format(label=endpoint.label),
            f"{_PORTAL_HINT.format(variable=endpoint.url_variable)}; if {endpoint.url_variable} is a web page, "
            "set it to the base URL of the API",
        )
    if location:
        return failed(
            f"{endpoint.label} redirects to another address ({response.status_code}), which is not followed",
            f"set {endpoint.url_variable} to its final address",
        )
    return failed(
        f"{endpoint.label} does not answer with the OpenAI protocol",
        f"set {endpoint.url_variable} to the base URL of an OpenAI-compatible server",
    )


def _words(response: "httpx2.Response", endpoint: Endpoint) -> str:
    """Return the provider's own message, shortened and without the key; empty for a web page."""
    try:
        error = response.json()["error"]
        words = one_line(str(error["message"] if isinstance(error, dict) else error))
    except (ValueError, KeyError, TypeError):
        return ""
    words = words.replace(endpoint.key, "********") if endpoint.has_key else words
    return f": {words[:117]}..." if len(words) > 120 else f": {words}" if words else ""


def _key_refused(response: "httpx2.Response", endpoint: Endpoint) -> Finding:
    if not endpoint.has_key:
        return failed(f"{endpoint.label} requires a key, and none is set (401)", f"set {endpoint.key_variable}")
    fresh = "; create a new one at https://console.groq.com/keys" if endpoint.is_groq else ""
    return failed(
        f"{endpoint.label} rejects the key (401)",
        f"correct {endpoint.key_variable}, which is set by {endpoint.key_source}{fresh}",
    )


def _forbidden(response: "httpx2.Response", endpoint: Endpoint) -> Finding:
    return failed(
        f"{endpoint.label} blocks this key or this network (403){_words(response, endpoint)}",
        f"check the permissions of the key in {endpoint.key_variable} at the provider; some providers block countries, "
        "data centers and proxies: try another network",
    )


def _no_list(response: "httpx2.Response", endpoint: Endpoint) -> Finding:
    return failed(
        f"{endpoint.label} has no list of models at that address (404)",
        f"correct {endpoint.url_variable}: the base URL of most servers ends with /v1",
    )


def _busy(response: "httpx2.Response", endpoint: Endpoint) -> Finding:
    after = response.headers.get("retry-after", "")
    wait = f"wait {after} s and try again" if after.isdigit() else "wait a minute and try again"
    return warning(
        f"{endpoint.label} has reached a rate limit (429)",
        f"{wait}; check the limits of the account at the provider",
        blocks=True,
    )


def _other(response: "httpx2.Response", endpoint: Endpoint) -> Finding:
    status = response.status_code
    if status >= 500:
        where = "; see https://groqstatus.com" if endpoint.is_groq else ""
        return failed(f"{endpoint.label} has a server error ({status})", f"try again later{where}")
    return failed(
        f"{endpoint.label} does not accept the request ({status}){_words(response, endpoint)}",
        f"check that {endpoint.url_variable} is an OpenAI-compatible server",
    )


_BY_STATUS: dict[int, Callable[["httpx2.Response", Endpoint], Finding]] = {
    401: _key_refused,
    403: _forbidden,
    404: _no_list,
    429: _busy,
}


def _unreachable(error: Exception, endpoint: Endpoint) -> Finding:
    if isinstance(error, NetworkSettingError):
        return failed(str(error), error.hint)
    label, variable = endpoint.label, endpoint.url_variable
    reasons = list(causes(error))
    certificate = tls_failure(reasons)
    if certificate is not None:
        reason = getattr(certificate, "verify_message", "") or (certificate.reason or "TLS failed").lower()
        return failed(
            f"no TLS connection to {label}: {one_line(reason.replace('_', ' '))}",
            f"check http:// or https:// in {variable}, and whether a proxy or a log-in page of this network "
            "intercepts the connection; for a private certificate authority set SSL_CERT_FILE"
            + "".join(f"; {name} is set" for name in certificate_variables()),
        )
    proxy = proxy_for(endpoint.url)
    if proxy is not None and {type(cause).__name__ for cause in reasons} & {
        "ConnectError",
        "ConnectTimeout",
        "ProxyError",
    }:
        return failed(
            f"the proxy {one_line(proxy.label)} from {proxy.variable} cannot be reached, or refuses {label}",
            f"start the proxy, correct or unset {proxy.variable}, or add the server to NO_PROXY",
        )
    if any(isinstance(cause, socket.gaierror) for cause in reasons):
        return failed(
            f"the host name {label} cannot be resolved: no network, or a wrong name",
            f"check the network and DNS of this machine, and {variable}",
        )
    if any(isinstance(cause, ConnectionRefusedError) for cause in reasons):
        return failed(f"no server is listening at {label}", f"start the server, or correct {variable}")
    if any("Timeout" in type(cause).__name__ for cause in reasons):
        return failed(
            f"{label} did not answer in time", f"check for a firewall or a slow network, and check {variable}"
        )
    return failed(f"{label} cannot be reached", f"check the network, a proxy, and {variable}")


# --- the models -------------------------------------------------------------------------------------------------------


def _choices(context: Context) -> Choices:
    if not context.settings.names_provider:
        raise DependencyNotMet("groq.key")
    return choose(context.settings)


async def _chat_model(context: Context) -> Finding:
    choice = _choices(context).main
    found = _offered(context, choice)
    if found.status == OK and context.settings.tools and _writes_calls(choice):
        return warning(
            f"{found.detail}: the model writes tool calls into its text, where they are not executed",
            "set JUNKIE_TOOLS=off, or use a server that supports the tool format of the model",
        )
    return found


def _writes_calls(choice: Choice) -> bool:
    """Return whether the model wrote tool calls into the text of an answer or of an extraction."""
    store, server = MethodStore(), (choice.endpoint.url, choice.model)
    known = store.get(*server)
    return store.has_calls_in_answers(*server) or (known is not None and known.in_text)


async def _memory_model(context: Context) -> Finding:
    choice = _choices(context).memory
    found = _offered(context, choice)
    known = MethodStore().get(choice.endpoint.url, choice.model)
    if found.status != OK:
        return found
    if known is None:
        return ok(f"{found.detail}; no successful extraction yet")
    where = ", written into its text" if known.in_text and known.method == "tools" else ""
    failures = f"; {plural(known.failures, 'reply', 'replies')} unusable since then" if known.failures else ""
    return ok(f"{found.detail}; extraction by {METHOD_NAMES[known.method]}{where}{failures}")


def _offered(context: Context, choice: Choice) -> Finding:
    endpoint = choice.endpoint
    ids = context.models.get(endpoint.url)
    if ids is None:
        raise DependencyNotMet("groq.accepts" if endpoint.is_groq else "provider.accepts")
    # Ollama lists llama3:latest and accepts llama3.
    if choice.model in ids or f"{choice.model}:latest" in ids:
        return ok(f"{choice.model} at {endpoint.label}")
    near = get_close_matches(choice.model, ids, n=3, cutoff=0.4) or sorted(ids)[:3]
    others = f"an available model: {', '.join(one_line(name) for name in near)}" if near else "an available model"
    return failed(f"{endpoint.label} has no model {choice.model}", f"set {choice.model_variable} to {others}")


# --- how fast ---------------------------------------------------------------------------------------------------------


@frozen
class Latency:
    """Seconds from the request to the first token, and to the end."""

    first: float
    whole: float


async def _latency(context: Context) -> Finding:
    choices = _choices(context)
    # A model that both settings name is called once.
    wanted = {(choice.endpoint.url, choice.model): choice for choice in (choices.memory, choices.main)}
    for choice in reversed(wanted.values()):
        if choice.endpoint.url not in context.models:
            raise DependencyNotMet("groq.accepts" if choice.endpoint.is_groq else "provider.accepts")
    findings, summaries = [], []
    for choice in reversed(wanted.values()):
        measured = await _measured(context, choice)
        if isinstance(measured, Finding):
            findings.append(measured)
            continue
        said = f"{choice.model}: first token {measured.first:.1f} s, complete answer {measured.whole:.1f} s"
        summaries.append(said)
        if measured.first > FIRST_TOKEN or measured.whole > WHOLE_ANSWER:
            findings.append(
                warning(
                    f"slow: {said}",
                    f"set {choice.model_variable} to a smaller model (Groq: openai/gpt-oss-20b), or check the load "
                    f"of {choice.endpoint.label}",
                )
            )
    return together(findings, ok("; ".join(summaries)))


async def _measured(context: Context, choice: Choice) -> Latency | Finding:
    import httpx2

    began = time.monotonic()
    try:
        async with _client(30 * context.patience, choice.endpoint) as client, _asked(client, choice) as response:
            if response.status_code != 200:
                await response.aread()
                return _refusal(response, choice.endpoint) or _foreign(response, choice.endpoint)
            return await _timed(response, choice, began)
    except (NetworkSettingError, httpx2.HTTPError, OSError, ssl.SSLError) as error:
        return _unreachable(error, choice.endpoint)


@asynccontextmanager
async def _asked(client: "httpx2.AsyncClient", choice: Choice) -> "AsyncIterator[httpx2.Response]":
    body = {
        "model": choice.model,
        "messages": [{"role": "user", "content": "Answer with the one word: ready"}],
        "stream": True,
    }
    url = f"{choice.endpoint.url}/chat/completions"
    async with client.stream("POST", url, json=body, headers=_headers(choice.endpoint)) as response:
        yield response


async def _timed(response: "httpx2.Response", choice: Choice, began: float) -> Latency | Finding:
    first = None
    async for line in response.aiter_lines():
        if first is None and line.startswith("data:") and _contains_text(line[5:].strip()):
            first = time.monotonic() - began
    if first is None:
        return failed(
            f"{choice.model} returned no answer",
            f"try again; if it happens again, set {choice.model_variable} to another model",
            blocks=False,
        )
    return Latency(first, time.monotonic() - began)


def _contains_text(event: str) -> bool:
    """Return whether an event of the stream contains text of the answer or of the reasoning."""
    try:
        delta: dict[str, Any] = json.loads(event)["choices"][0]["delta"]
    except (ValueError, KeyError, IndexError, TypeError):
        return False
    return any(delta.get(name) for name in ("content", "reasoning", "reasoning_content"))


_GROQ = ("GROQ_API_KEY", "GROQ_BASE_URL")
_CUSTOM = ("CUSTOM_PROVIDER", "CUSTOM_PROVIDER_API_KEY")
_ANSWERS = ("groq.accepts", "provider.accepts")
CHECKS = (
    KEY_CHECK,
    Check(
        "groq.accepts",
        "Groq",
        _groq_accepts,
        ("groq.key",),
        variables=_GROQ,
        limit=6,
        asks=True,
        about="Groq answers and accepts the key",
        advice=(
            "401: create a new key. 403: network or country is blocked. 429: wait. Otherwise check network, "
            "DNS and proxy"
        ),
    ),
    Check(
        "provider.accepts",
        "Other provider",
        _provider_accepts,
        needs=("settings.values",),
        variables=_CUSTOM,
        limit=6,
        asks=True,
        about="The server in `CUSTOM_PROVIDER` answers and accepts the key",
        advice="Start the server; check the base URL, which usually ends with `/v1`",
    ),
    Check(
        "model.chat",
        "Chat model",
        _chat_model,
        ("settings.values",),
        _ANSWERS,
        ("CUSTOM_MODEL",),
        about="The chat model exists at its provider",
        advice="Set `CUSTOM_MODEL` to one of the models that are listed",
    ),
    Check(
        "model.memory",
        "Memory model",
        _memory_model,
        ("settings.values",),
        _ANSWERS,
        ("MEMORY_MODEL",),
        about="The memory model exists at its provider",
        advice="Set `MEMORY_MODEL` to one of the models that are listed",
    ),
    Check(
        "model.latency",
        "Speed of the models",
        _latency,
        needs=("model.chat", "model.memory"),
        deep=True,
        limit=45,
        about="Both models answer fast enough",
        advice="Use a smaller model, or check the load of the server",
    ),
)
