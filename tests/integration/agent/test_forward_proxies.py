"""Proxies that work: SOCKS5, HTTP with CONNECT, and HTTP behind TLS, with and without a password."""

import logging
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from junkie_cli.core.agent.models import Patience
from junkie_cli.core.agent.network import proxy_for
from tests.support.doctor import Doctor
from tests.support.forward_proxy import ConnectProxy, SocksProxy
from tests.support.model_server import Hang, ModelServer
from tests.support.models import take_turn, team_models
from tests.support.tls import Authority

SECRET = "p@ss:w/ö%rd"
QUOTED = "p%40ss%3Aw%2F%C3%B6%25rd"
NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


class Tls:
    """Certificates for 127.0.0.1 and model.invalid, and the file of their authority."""

    def __init__(self, folder: Path) -> None:
        authority = Authority()
        certificate = authority.issue("127.0.0.1", "127.0.0.1", "model.invalid")
        (folder / "server.pem").write_bytes(certificate.pem + certificate.key)
        self.authority = folder / "authority.pem"
        self.authority.write_bytes(authority.pem)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / "server.pem")


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[Tls]:
    yield Tls(tmp_path)


def place(server: ModelServer) -> tuple[str, int]:
    """Host and port of a server."""
    host, _, port = server.url.partition("://")[2].partition("/")[0].rpartition(":")
    return host, int(port)


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks", "SOCKS5"])
@pytest.mark.parametrize("variable", ["ALL_PROXY", "http_proxy"])
async def test_a_socks_proxy_is_used_and_resolves_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, variable: str
) -> None:
    async with ModelServer() as server:
        with SocksProxy(hosts={"model.invalid": place(server)}) as proxy:
            monkeypatch.setenv(variable, f"{scheme}://{proxy.address}/")
            async with team_models(tmp_path, {"CUSTOM_PROVIDER": "http://model.invalid/v1"}) as models:
                turn = await take_turn(models)
            assert turn.log.failure() is None
            assert proxy.targets == [("model.invalid", 80)]
            assert server.requests


async def test_tls_goes_through_a_socks_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: Tls) -> None:
    async with ModelServer(ssl_context=tls.context) as server:
        with SocksProxy(hosts={"model.invalid": place(server)}) as proxy:
            monkeypatch.setenv("ALL_PROXY", f"socks5://{proxy.address}")
            monkeypatch.setenv("SSL_CERT_FILE", str(tls.authority))
            async with team_models(tmp_path, {"CUSTOM_PROVIDER": "https://model.invalid/v1"}) as models:
                turn = await take_turn(models)
            assert turn.log.failure() is None
            assert proxy.targets == [("model.invalid", 443)]


@pytest.mark.parametrize("written", [f"ada:{QUOTED}", "ada:p@ss:w", "ada:"])
@pytest.mark.parametrize("kind", ["socks", "connect", "connect behind tls"])
async def test_a_proxy_gets_its_user_name_and_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: Tls, written: str, kind: str
) -> None:
    password = {QUOTED: SECRET}.get(written[4:], written[4:])
    async with ModelServer(ssl_context=tls.context) as server:
        hosts = {"model.invalid": place(server)}
        made = (
            SocksProxy(user="ada", password=password, hosts=hosts)
            if kind == "socks"
            else ConnectProxy(
                user="ada", password=password, hosts=hosts, tls=tls.context if kind.endswith("tls") else None
            )
        )
        scheme = {"socks": "socks5", "connect": "http"}.get(kind, "https")
        with made as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://{written}@{proxy.address}")
            monkeypatch.setenv("SSL_CERT_FILE", str(tls.authority))
            async with team_models(tmp_path, {"CUSTOM_PROVIDER": "https://model.invalid/v1"}) as models:
                turn = await take_turn(models)
            assert turn.log.failure() is None
            assert proxy.targets == [("model.invalid", 443)]


@pytest.mark.parametrize("kind", ["socks", "connect"])
async def test_a_wrong_password_is_reported_and_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    caplog.set_level(logging.DEBUG)
    made = SocksProxy(user="ada", password="x") if kind == "socks" else ConnectProxy(user="ada", password="x")
    with made as proxy:
        address = f"{'socks5' if kind == 'socks' else 'http'}://ada:hunter2-sunset@{proxy.address}"
        monkeypatch.setenv("HTTPS_PROXY", address)
        async with team_models(tmp_path, {"CUSTOM_PROVIDER": "https://model.invalid/v1"}) as models:
            turn = await take_turn(models)
        doctor = Doctor(tmp_path)
        doctor.environ |= {"CUSTOM_PROVIDER": "https://model.invalid/v1", "CUSTOM_MODEL": "some-model"}
        context = doctor.context()
    failure = turn.log.failure()
    assert failure is not None
    assert failure.code == "provider_proxy"
    assert f"the proxy {proxy.address} of HTTPS_PROXY does not let the connection through" in failure.message
    found = f"{failure.message} {failure.hint} {failure!r} {turn.log!r} {caplog.text} {context!r}"
    found += repr(proxy_for("https://model.invalid/v1"))
    assert "hunter2" not in found


def test_the_label_of_a_proxy_never_holds_a_part_of_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for password in ("pass/word", "pass?word", "pass#word", "pass@word", "pass/@word", "//pass"):
        monkeypatch.setenv("ALL_PROXY", f"http://ada:{password}@proxy.example:3128/")
        proxy = proxy_for("http://model.invalid/v1")
        assert proxy is not None
        assert proxy.label == "proxy.example:3128"


# What something else than a SOCKS5 proxy answers.
NO_SOCKS = {
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "nothing": b"",
    "half": b"\x05",
    "socks4": b"\x00\x5b\x00\x00\x00\x00\x00\x00",
    "no method": b"\x05\xff",
    "noise": bytes(range(256)),
    "ssh": b"SSH-2.0-OpenSSH_9.7\r\n",
}


@pytest.mark.parametrize("case", NO_SOCKS)
async def test_a_proxy_that_speaks_no_socks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    with SocksProxy(reply=NO_SOCKS[case]) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"socks5://{proxy.address}")
        async with team_models(tmp_path, {"CUSTOM_PROVIDER": "http://model.invalid/v1"}) as models:
            failure = (await take_turn(models)).log.failure()
    assert failure is not None
    assert failure.code == "provider_proxy"
    assert "ALL_PROXY" in failure.message


@pytest.mark.parametrize(
    ("refusal", "words"), [(1, "General"), (2, "not allowed"), (4, "Host unreach"), (5, "refused")]
)
async def test_why_a_socks_proxy_refuses_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int, words: str
) -> None:
    with SocksProxy(refusal=refusal) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"socks5://{proxy.address}")
        async with team_models(tmp_path, {"CUSTOM_PROVIDER": "http://model.invalid/v1"}) as models:
            failure = (await take_turn(models)).log.failure()
    assert failure is not None
    assert failure.code == "provider_proxy"
    assert words in failure.message


# How many answers a proxy gives before it falls silent.
SILENT: dict[str, tuple[str, type[SocksProxy | ConnectProxy], int]] = {
    "at the greeting": ("socks5://", SocksProxy, 0),
    "at the request": ("socks5://", SocksProxy, 1),
    "at the password": ("socks5://ada:x@", SocksProxy, 1),
    "at the request after the password": ("socks5://ada:x@", SocksProxy, 2),
    "at CONNECT": ("http://", ConnectProxy, 0),
    "at CONNECT behind TLS": ("https://", ConnectProxy, 0),
}


@pytest.mark.parametrize(
    ("case", "url"),
    [
        *((case, "https://model.invalid/v1") for case in SILENT),
        # With an http:// address an HTTP proxy forwards the request itself.
        *((case, "http://model.invalid/v1") for case in SILENT if SILENT[case][1] is SocksProxy),
    ],
)
async def test_for_the_answers_of_a_proxy_is_waited_as_long_as_for_a_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: Tls, case: str, url: str
) -> None:
    scheme, kind, silent_from = SILENT[case]
    async with ModelServer(ssl_context=tls.context if url.startswith("https:") else None) as server:
        options: dict[str, Any] = {"hosts": {"model.invalid": place(server)}, "silent_from": silent_from}
        options |= {"user": "ada", "password": "x"} if "@" in scheme else {}
        made = kind(**options, tls=tls.context) if scheme == "https://" else kind(**options)
        with made as proxy:
            monkeypatch.setenv("ALL_PROXY", f"{scheme}{proxy.address}")
            monkeypatch.setenv("SSL_CERT_FILE", str(tls.authority))
            patience = Patience(connect=1, read=None, total=90, retries=0)
            async with team_models(tmp_path, {"CUSTOM_PROVIDER": url}, patience=patience) as models:
                failure = (await take_turn(models)).log.failure()
    assert failure is not None
    assert failure.code == "provider_proxy"
    assert "of ALL_PROXY does not make the connection in time" in failure.message
    assert server.requests == []


@pytest.mark.parametrize(
    ("scheme", "secure"), [("socks5", False), ("socks5", True), ("http", True), ("", False), ("", True)]
)
async def test_a_silent_model_is_a_timeout_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tls: Tls, scheme: str, secure: bool
) -> None:
    async with ModelServer(Hang(), ssl_context=tls.context if secure else None) as server:
        made = {"http": ConnectProxy}.get(scheme, SocksProxy)(hosts={"model.invalid": place(server)})
        with made as proxy:
            if scheme:
                monkeypatch.setenv("ALL_PROXY", f"{scheme}://{proxy.address}")
            monkeypatch.setenv("SSL_CERT_FILE", str(tls.authority))
            host = "model.invalid" if scheme else f"127.0.0.1:{place(server)[1]}"
            url = f"http{'s' if secure else ''}://{host}/v1"
            patience = Patience(connect=20, read=0.5, total=90, retries=0)
            async with team_models(tmp_path, {"CUSTOM_PROVIDER": url}, patience=patience) as models:
                failure = (await take_turn(models)).log.failure()
    assert failure is not None
    assert failure.code == "provider_timeout"
    assert "did not answer in time" in failure.message


def test_doctor_asks_through_a_socks_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ModelServer() as server, SocksProxy(hosts={"model.invalid": place(server)}) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"socks5h://{proxy.address}")
        doctor = Doctor(tmp_path)
        doctor.environ |= {"CUSTOM_PROVIDER": "http://model.invalid/v1", "CUSTOM_MODEL": "some-model"}
        assert doctor.examine("provider")["provider.accepts"].status == "ok"
        assert proxy.targets == [("model.invalid", 80)]


def test_doctor_names_a_proxy_that_speaks_no_socks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SocksProxy(reply=NO_SOCKS["http"]) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"socks5://{proxy.address}")
        doctor = Doctor(tmp_path)
        doctor.environ |= {"CUSTOM_PROVIDER": "http://model.invalid/v1", "CUSTOM_MODEL": "some-model"}
        found = doctor.examine("provider")["provider.accepts"]
    assert found.status == "failed"
    assert "ALL_PROXY" in found.detail
