"""What doctor says of providers that answer, refuse, are slow, or are not there; made for real by a scripted server."""

import socket
import ssl
from pathlib import Path

import pytest

from junkie_cli.core.doctor import provider
from tests.support.doctor import Doctor, is_told
from tests.support.model_server import CutStream, Empty, Garbage, Hang, HttpError, ModelServer, Text
from tests.support.tls import Authority

KEY = "gsk_scripted"


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    return Doctor(tmp_path)


def test_a_groq_that_takes_the_key(doctor: Doctor) -> None:
    with ModelServer() as server:
        doctor.environ |= server.groq_environment()
        found = doctor.examine("groq", "provider", "model")
        assert {result.status for result in found.values()} == {"ok"}
        assert "takes the key (2 models" in found["groq.accepts"].detail
        assert [request.key for request in server.other_requests] == [KEY]
        assert not server.requests


def test_another_provider_alone(doctor: Doctor) -> None:
    with ModelServer(models=["scripted-model:latest"]) as server:
        doctor.environ |= server.environment()
        found = doctor.examine("groq", "provider", "model")
        assert {result.status for result in found.values()} == {"ok"}
        assert found["model.memory"].detail.startswith("scripted-model at 127.0.0.1")


REFUSALS = [
    (HttpError(401, f"Invalid API Key {KEY}"), "failed", "refuses the key (401)"),
    (HttpError(403, "Forbidden"), "failed", "(403)"),
    (HttpError(404, "no such page"), "failed", "ends with /v1"),
    (HttpError(429, "slow down", headers={"retry-after": "7"}), "warning", "wait 7 s"),
    (HttpError(503, "overloaded"), "failed", "a failure of its own (503)"),
    (HttpError(400, "what?"), "failed", "does not accept the request (400): what?"),
    (HttpError(302, headers={"location": "http://login.hotel.example/"}, body="go"), "failed", "log in on a web page"),
    (HttpError(511, body="<html>log in</html>"), "failed", "log in on a web page"),
    (HttpError(308, headers={"location": "/other/"}, body="go"), "failed", "sends to another address"),
    (Garbage(), "failed", "log in on a web page"),
    (Garbage(body='{"models": []}', content_type="application/json"), "failed", "not the OpenAI protocol"),
]


@pytest.mark.parametrize(("reply", "status", "words"), REFUSALS, ids=lambda value: str(value)[:30])
def test_refusals_are_told_apart(doctor: Doctor, reply: HttpError | Garbage, status: str, words: str) -> None:
    with ModelServer() as server:
        doctor.environ |= server.groq_environment()
        server.models_reply = reply
        found = doctor.examine("groq", "model")
        is_told(found["groq.accepts"], status, words)
        assert KEY not in found["groq.accepts"].detail + found["groq.accepts"].hint
        assert found["model.chat"].detail == "waits for groq.accepts"
        server.models_reply = None
        assert doctor.status("groq.accepts") == "ok"


def test_a_key_that_is_wanted_and_not_set(doctor: Doctor) -> None:
    with ModelServer() as server:
        doctor.environ |= server.environment(key="")
        server.models_reply = HttpError(401)
        is_told(doctor.one("provider.accepts"), "failed", "wants a key", "set CUSTOM_PROVIDER_API_KEY")


def test_no_server_no_name_no_answer(doctor: Doctor) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    doctor.environ |= {"GROQ_API_KEY": KEY, "GROQ_BASE_URL": f"http://127.0.0.1:{port}/v1"}
    is_told(doctor.one("groq.accepts"), "failed", "nothing listens", "GROQ_BASE_URL")
    doctor.environ["GROQ_BASE_URL"] = "https://api.groq.invalid/v1"
    is_told(doctor.one("groq.accepts"), "failed", "cannot be resolved")
    with ModelServer() as server:
        doctor.environ["GROQ_BASE_URL"] = server.url
        server.models_reply = Hang()
        is_told(doctor.one("groq.accepts", patience=0.1), "failed", "in time")


def test_a_certificate_that_has_expired(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority()
    certificate = authority.issue("127.0.0.1", "127.0.0.1", days=(-3, -1))
    for name, data in (("ca", authority.pem), ("crt", certificate.pem), ("key", certificate.key)):
        (doctor.folder / name).write_bytes(data)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(doctor.folder / "crt", doctor.folder / "key")
    monkeypatch.setenv("SSL_CERT_FILE", str(doctor.folder / "ca"))
    with ModelServer(ssl_context=context) as server:
        doctor.environ |= server.groq_environment()
        is_told(doctor.one("groq.accepts"), "failed", "no safe connection", "expired")


def test_models_that_are_not_offered(doctor: Doctor) -> None:
    with ModelServer(models=["openai/gpt-oss-120b", "openai/gpt-oss-20b", "whisper"]) as server:
        doctor.environ |= server.groq_environment() | {"CUSTOM_MODEL": "gpt-oss-120", "MEMORY_MODEL": "gpt-oss20b"}
        found = doctor.examine("model")
        is_told(found["model.chat"], "failed", "no model gpt-oss-120", "set CUSTOM_MODEL", "openai/gpt-oss-120b")
        is_told(found["model.memory"], "failed", "set MEMORY_MODEL", "openai/gpt-oss-20b")
        doctor.environ |= {"CUSTOM_MODEL": "openai/gpt-oss-120b", "MEMORY_MODEL": "openai/gpt-oss-20b"}
        assert {result.status for result in doctor.examine("model").values()} == {"ok"}


# --- how fast ---------------------------------------------------------------------------------------------------------


def test_latency_of_both_models(doctor: Doctor) -> None:
    with ModelServer(models=["openai/gpt-oss-120b", "small"]) as server:
        doctor.environ |= server.groq_environment() | {"MEMORY_MODEL": "small"}
        result = doctor.one("model.latency", deep=True)
        is_told(result, "ok", "openai/gpt-oss-120b: first token", "small: first token", "whole answer")
        assert sorted(request.model for request in server.requests) == ["openai/gpt-oss-120b", "small"]


def test_a_slow_model(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "FIRST_TOKEN", 0.05)
    with ModelServer(Text("ready", delay=0.0), Text("ready")) as server:
        doctor.environ |= server.groq_environment()
        slow = Text("ready", pause_after=0)
        server.script = lambda _: slow
        releasing = _release_after_a_while(slow)
        result = doctor.one("model.latency", deep=True)
        releasing.join()
        is_told(result, "warning", "slow: openai/gpt-oss-120b", "set CUSTOM_MODEL to a smaller model")
        server.script = None
        monkeypatch.setattr(provider, "FIRST_TOKEN", 5.0)
        assert doctor.status("model.latency", deep=True) == "ok"


def _release_after_a_while(reply: Text):  # type: ignore[no-untyped-def]
    """Let the reply go once its request has been waited on for longer than the limit."""
    import threading
    import time

    def release() -> None:
        reply.paused.wait_sync()
        begin = time.monotonic()
        while time.monotonic() - begin < 0.1:
            time.sleep(0.01)
        reply.go_on.set()

    thread = threading.Thread(target=release)
    thread.start()
    return thread


@pytest.mark.parametrize(
    "reply", [Empty(), CutStream(after=0), HttpError(500), Garbage()], ids=lambda r: type(r).__name__
)
def test_models_that_do_not_answer(doctor: Doctor, reply: Text | HttpError | Garbage) -> None:
    with ModelServer(reply) as server:
        doctor.environ |= server.groq_environment()
        is_told(doctor.one("model.latency", deep=True), "failed")
        assert doctor.status("model.latency", deep=True) == "ok"
