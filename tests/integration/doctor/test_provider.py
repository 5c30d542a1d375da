"""What doctor says of providers that answer, refuse, are slow, or are not there; made for real by a scripted server."""

import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

from junkie_cli.core.doctor.provider import FIRST_TOKEN
from tests.support.doctor import Doctor, assert_result
from tests.support.model_server import CutStream, Empty, Garbage, Hang, HangUp, HttpError, ModelServer, Text
from tests.support.tls import Authority

KEY = "gsk_scripted"


def test_a_groq_that_takes_the_key(doctor: Doctor) -> None:
    with ModelServer() as server:
        doctor.environ |= server.groq_environment()
        found = doctor.examine("groq", "provider", "model")
        assert {result.status for result in found.values()} == {"ok"}
        assert "accepts the key (2 models" in found["groq.accepts"].detail
        assert [request.key for request in server.other_requests] == [KEY]
        assert not server.requests


def test_another_provider_alone(doctor: Doctor) -> None:
    with ModelServer(models=["scripted-model:latest"]) as server:
        doctor.environ |= server.environment()
        found = doctor.examine("groq", "provider", "model")
        assert {result.status for result in found.values()} == {"ok"}
        assert found["model.memory"].detail.startswith("scripted-model at 127.0.0.1")


REFUSALS = [
    (HttpError(401, f"Invalid API Key {KEY}"), "failed", "rejects the key (401)"),
    (HttpError(403, "Forbidden"), "failed", "(403)"),
    (HttpError(404, "no such page"), "failed", "ends with /v1"),
    (HttpError(429, "slow down", headers={"retry-after": "7"}), "warning", "wait 7 s"),
    (HttpError(503, "overloaded"), "failed", "has a server error (503)"),
    (HttpError(400, "what?"), "failed", "does not accept the request (400): what?"),
    (HttpError(302, headers={"location": "http://login.hotel.example/"}, body="go"), "failed", "log-in on a web page"),
    (HttpError(511, body="<html>log in</html>"), "failed", "log-in on a web page"),
    (HttpError(308, headers={"location": "/other/"}, body="go"), "failed", "redirects to another address"),
    (Garbage(), "failed", "log-in on a web page"),
    (
        Garbage(body='{"models": []}', content_type="application/json"),
        "failed",
        "does not answer with the OpenAI protocol",
    ),
]


@pytest.mark.parametrize(("reply", "status", "words"), REFUSALS, ids=lambda value: str(value)[:30])
def test_refusals_are_distinguished(doctor: Doctor, reply: HttpError | Garbage, status: str, words: str) -> None:
    with ModelServer() as server:
        doctor.environ |= server.groq_environment()
        server.models_reply = reply
        found = doctor.examine("groq", "model")
        assert_result(found["groq.accepts"], status, words)
        assert KEY not in found["groq.accepts"].detail + found["groq.accepts"].hint
        assert found["model.chat"].detail == "waits for groq.accepts"
        server.models_reply = None
        assert doctor.status("groq.accepts") == "ok"


def test_a_key_that_is_wanted_and_not_set(doctor: Doctor) -> None:
    with ModelServer() as server:
        doctor.environ |= server.environment(key="")
        server.models_reply = HttpError(401)
        assert_result(doctor.one("provider.accepts"), "failed", "requires a key", "set CUSTOM_PROVIDER_API_KEY")
        doctor.environ["CUSTOM_PROVIDER_API_KEY"] = "the-key"
        server.models_reply = None
        assert_result(doctor.one("provider.accepts"), "ok", "accepts the key")
        assert server.other_requests[-1].key == "the-key"


def test_a_key_that_was_replaced(doctor: Doctor) -> None:
    with ModelServer() as server:
        server.key = "gsk_new"
        doctor.environ |= server.groq_environment(key="gsk_old")
        result = doctor.one("groq.accepts")
        assert_result(
            result, "failed", "rejects the key (401)", "correct GROQ_API_KEY, which is set by the environment"
        )
        doctor.environ |= server.groq_environment(key="gsk_new")
        assert doctor.status("groq.accepts") == "ok"


def test_addresses_that_are_nearly_right(doctor: Doctor) -> None:
    with ModelServer() as server:
        doctor.environ |= server.groq_environment() | {"GROQ_BASE_URL": server.url.removesuffix("/v1")}
        assert_result(
            doctor.one("groq.accepts"), "failed", "(404)", "GROQ_BASE_URL: the base URL of most servers ends with /v1"
        )
        doctor.environ["GROQ_BASE_URL"] = f"{server.url.replace('http:', 'https:')}"
        assert_result(doctor.one("groq.accepts"), "failed", "no TLS connection", "http:// or https://")
        doctor.environ["GROQ_BASE_URL"] = server.url
        assert doctor.status("groq.accepts") == "ok"


def test_a_server_that_moved(doctor: Doctor) -> None:
    with ModelServer() as old, ModelServer() as new:
        doctor.environ |= old.groq_environment()
        old.models_reply = HttpError(308, headers={"location": f"{new.url}/models"}, body="go")
        result = doctor.one("groq.accepts")
        assert_result(result, "failed", "GROQ_BASE_URL")
        doctor.environ["GROQ_BASE_URL"] = new.url
        assert doctor.status("groq.accepts") == "ok"


def test_a_refusal_to_wait_for(doctor: Doctor) -> None:
    """The same command once more, as the hint says, when the server takes requests again."""
    with ModelServer() as server:
        doctor.environ |= server.groq_environment()
        server.models_reply = HttpError(429, "slow down", headers={"retry-after": "7"})
        assert_result(doctor.one("groq.accepts"), "warning", "has reached a rate limit (429)", "wait 7 s and try again")
        server.models_reply = HttpError(503, "overloaded")
        assert_result(doctor.one("groq.accepts"), "failed", "has a server error (503)", "try again later")
        server.models_reply = None
        assert {result.status for result in doctor.examine("groq", "model").values()} == {"ok"}


def test_no_server_no_name_no_answer(doctor: Doctor) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    doctor.environ |= {"GROQ_API_KEY": KEY, "GROQ_BASE_URL": f"http://127.0.0.1:{port}/v1"}
    assert_result(doctor.one("groq.accepts"), "failed", "no server is listening", "start the server", "GROQ_BASE_URL")
    doctor.environ["GROQ_BASE_URL"] = "https://api.groq.invalid/v1"
    assert_result(doctor.one("groq.accepts"), "failed", "cannot be resolved", "GROQ_BASE_URL")
    with ModelServer() as server:
        doctor.environ["GROQ_BASE_URL"] = server.url
        server.models_reply = HangUp()
        assert_result(doctor.one("groq.accepts"), "failed", "cannot be reached", "GROQ_BASE_URL")
        server.models_reply = Hang()
        assert_result(doctor.one("groq.accepts", patience=3), "failed", "in time", "firewall or a slow network")
        server.models_reply = None
        assert doctor.status("groq.accepts") == "ok"


def test_a_certificate_that_has_expired(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority()
    (doctor.folder / "ca").write_bytes(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(doctor.folder / "ca"))
    with ModelServer(ssl_context=_identity(doctor.folder, authority, days=(-3, -1))) as server:
        doctor.environ |= server.groq_environment()
        assert_result(doctor.one("groq.accepts"), "failed", "no TLS connection", "expired")
    with ModelServer(ssl_context=_identity(doctor.folder, authority, days=(-1, 10))) as server:  # it was renewed
        doctor.environ |= server.groq_environment()
        assert doctor.status("groq.accepts") == "ok"


def test_a_private_authority(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority()
    (doctor.folder / "ca").write_bytes(authority.pem)
    with ModelServer(ssl_context=_identity(doctor.folder, authority, days=(-1, 10))) as server:
        doctor.environ |= server.groq_environment()
        assert_result(
            doctor.one("groq.accepts"),
            "failed",
            "no TLS connection",
            "for a private certificate authority set SSL_CERT_FILE",
        )
        monkeypatch.setenv("SSL_CERT_FILE", str(doctor.folder / "ca"))
        assert doctor.status("groq.accepts") == "ok"


def _identity(folder: Path, authority: Authority, *, days: tuple[float, float]) -> ssl.SSLContext:
    """What a server on this machine shows, valid from and to so many days from now."""
    certificate = authority.issue("127.0.0.1", "127.0.0.1", days=days)
    (folder / "crt").write_bytes(certificate.pem)
    (folder / "key").write_bytes(certificate.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "crt", folder / "key")
    return context


def test_models_that_are_not_offered(doctor: Doctor) -> None:
    with ModelServer(models=["openai/gpt-oss-120b", "openai/gpt-oss-20b", "whisper"]) as server:
        doctor.environ |= server.groq_environment() | {"CUSTOM_MODEL": "gpt-oss-120", "MEMORY_MODEL": "gpt-oss20b"}
        found = doctor.examine("model")
        assert_result(found["model.chat"], "failed", "no model gpt-oss-120", "set CUSTOM_MODEL", "openai/gpt-oss-120b")
        assert_result(found["model.memory"], "failed", "set MEMORY_MODEL", "openai/gpt-oss-20b")
        doctor.environ |= {"CUSTOM_MODEL": "openai/gpt-oss-120b", "MEMORY_MODEL": "openai/gpt-oss-20b"}
        assert {result.status for result in doctor.examine("model").values()} == {"ok"}


# --- how fast ---------------------------------------------------------------------------------------------------------


def test_one_model_for_both_is_asked_once(doctor: Doctor) -> None:
    with ModelServer() as server:
        doctor.environ |= server.groq_environment()
        result = doctor.one("model.latency", deep=True)
        assert (result.status, result.detail.count("first token"), len(server.requests)) == ("ok", 1, 1)


def test_latency_of_both_models(doctor: Doctor) -> None:
    with ModelServer(models=["openai/gpt-oss-120b", "small"]) as server:
        doctor.environ |= server.groq_environment() | {"MEMORY_MODEL": "small"}
        result = doctor.one("model.latency", deep=True)
        assert_result(result, "ok", "openai/gpt-oss-120b: first token", "small: first token", "complete answer")
        assert sorted(request.model for request in server.requests) == ["openai/gpt-oss-120b", "small"]


def test_a_slow_model(doctor: Doctor) -> None:
    slow = Text("ready", pause_after=0)
    with ModelServer(models=["openai/gpt-oss-120b", "openai/gpt-oss-20b"]) as server:
        server.script = lambda request: slow if request.model.endswith("120b") else Text("ready")
        doctor.environ |= server.groq_environment() | {"MEMORY_MODEL": "openai/gpt-oss-20b"}
        answering = threading.Thread(target=_answer_too_late, args=(slow,))
        answering.start()
        result = doctor.one("model.latency", deep=True)
        answering.join()
        assert_result(
            result, "warning", "slow: openai/gpt-oss-120b: first token ", "set CUSTOM_MODEL to a smaller model"
        )
        assert "openai/gpt-oss-20b)" in result.hint
        doctor.environ["CUSTOM_MODEL"] = "openai/gpt-oss-20b"
        assert doctor.status("model.latency", deep=True) == "ok"


def _answer_too_late(reply: Text) -> None:
    """Let the reply go once its request has waited for longer than people like to."""
    reply.paused.wait_sync()
    time.sleep(FIRST_TOKEN + 0.2)
    reply.go_on.set()


@pytest.mark.parametrize(
    "reply", [Empty(), CutStream(after=0), HttpError(500), Garbage()], ids=lambda r: type(r).__name__
)
def test_models_that_do_not_answer(doctor: Doctor, reply: Text | HttpError | Garbage) -> None:
    with ModelServer(reply) as server:
        doctor.environ |= server.groq_environment()
        assert_result(doctor.one("model.latency", deep=True), "failed")
        assert doctor.status("model.latency", deep=True) == "ok"
