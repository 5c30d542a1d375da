"""Variables of the environment that decide how a model server is reached: used, or named in the failure."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from junkie_cli.core.agent.network import proxy_for
from tests.support.doctor import Doctor
from tests.support.model_server import ModelServer
from tests.support.models import take_turn, team_models

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@contextmanager
def unused_port() -> Iterator[int]:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]


# Variable, value, the code of the failure (None: it does not matter to an http:// server), a part of the sentence.
WRONG = {
    "socks": ("ALL_PROXY", "socks5://127.0.0.1:9", "provider_proxy", "127.0.0.1:9 of ALL_PROXY"),
    "socks4": ("ALL_PROXY", "socks4://127.0.0.1:9", "provider_proxy", "ALL_PROXY is not the address"),
    "another scheme": ("ALL_PROXY", "ftp://127.0.0.1:9", "provider_proxy", "ALL_PROXY is not the address"),
    "a port of letters": ("HTTP_PROXY", "http://127.0.0.1:abc", "provider_proxy", "HTTP_PROXY is not the address"),
    "a port too high": ("http_proxy", "http://127.0.0.1:99999", "provider_proxy", "http_proxy is not the address"),
    "no host": ("HTTP_PROXY", "http://", "provider_proxy", "HTTP_PROXY is not the address"),
    "a host that is none": ("HTTP_PROXY", "http://[", "provider_proxy", "HTTP_PROXY is not the address"),
    "dead": ("HTTP_PROXY", "http://name:secret@127.0.0.1:9", "provider_proxy", "127.0.0.1:9 of HTTP_PROXY"),
    "without a name": ("HTTP_PROXY", "http://no-such-proxy.invalid:80", "provider_proxy", "HTTP_PROXY cannot be found"),
    "for other addresses": ("HTTPS_PROXY", "socks5://127.0.0.1:9", None, ""),
    "no file": ("SSL_CERT_FILE", "/no/such/file.pem", None, ""),
    "a folder": ("SSL_CERT_FILE", "/", None, ""),
    "no certificates": ("SSL_CERT_FILE", __file__, None, ""),
    "no folder": ("SSL_CERT_DIR", "/no/such/folder", None, ""),
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_variable_that_is_wrong_is_named_where_it_matters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    variable, value, code, words = WRONG[case]
    monkeypatch.setenv(variable, value)
    async with ModelServer() as server, team_models(tmp_path, server.environment()) as models:
        turn = await take_turn(models)
        assert len(server.requests) == (0 if code else 1)
    failure = turn.log.failure()
    assert (failure and failure.code) == code
    if failure is not None:
        assert words in failure.message
        assert "NO_PROXY" in failure.hint
        assert "secret" not in f"{failure.message} {failure.hint}"


@pytest.mark.parametrize("excluded", ["127.0.0.1", "*", "127.0.0.0/8", "localhost,127.0.0.1", "http://127.0.0.1"])
@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "http://127.0.0.1:9"])
async def test_no_proxy_is_used_for_what_no_proxy_covers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, excluded: str, proxy: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.setenv("NO_PROXY", excluded)
    async with ModelServer() as server, team_models(tmp_path, server.environment()) as models:
        turn = await take_turn(models)
    assert turn.log.failure() is None


@pytest.mark.parametrize(
    ("entry", "url", "covered"),
    [
        ("example.com", "https://example.com/v1", True),
        ("example.com", "https://api.example.com/v1", True),
        (".example.com", "https://api.example.com/v1", True),
        ("*.example.com", "https://api.example.com/v1", True),
        ("example.com", "https://notexample.com/v1", False),
        ("EXAMPLE.com:443", "https://example.com/v1", True),
        ("example.com:80", "https://example.com/v1", False),
        ("::1", "http://[::1]:8080/v1", True),
        ("[::1]:8080", "http://[::1]:8080/v1", True),
        ("10.0.0.0/8", "http://10.1.2.3/v1", True),
        ("10.0.0.0/8", "http://11.1.2.3/v1", False),
        (",", "http://example.com/v1", False),
        ("localhost example.com", "http://example.com/v1", True),
        ("localhost, example.com ,", "http://example.com/v1", True),
        ("example.com.", "http://example.com/v1", True),
        ("example.com", "http://example.com./v1", True),
        ("fd00::/8", "http://[fd12::1]/v1", True),
        ("[fd00::/8]", "http://[fd12::1]/v1", True),
        ("*", "http://[fd12::1]/v1", True),
        ("127.0.0.1/33", "http://127.0.0.1/v1", False),
    ],
)
def test_what_no_proxy_covers(monkeypatch: pytest.MonkeyPatch, entry: str, url: str, covered: bool) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", entry)
    assert (proxy_for(url) is None) == covered


@pytest.mark.parametrize(
    ("value", "words"),
    [("/no/such/file.pem", "does not exist"), ("/", "is a folder"), (__file__, "holds no certificate")],
)
async def test_a_file_of_certificates_is_named_for_a_server_with_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, words: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", value)
    async with team_models(tmp_path, {"CUSTOM_PROVIDER": "https://127.0.0.1:9/v1"}) as models:
        turn = await take_turn(models)
    failure = turn.log.failure()
    assert failure is not None
    assert failure.code == "provider_tls"
    assert words in failure.message
    assert "SSL_CERT_FILE" in failure.message


async def test_a_proxy_that_refuses_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
        async with team_models(tmp_path, {"CUSTOM_PROVIDER": "https://127.0.0.1:9/v1"}) as models:
            turn = await take_turn(models)
        thread.join()
    failure = turn.log.failure()
    assert failure is not None
    assert failure.code == "provider_proxy"
    assert "407" in failure.message


async def test_a_proxy_that_works_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ModelServer() as server:
        monkeypatch.setenv("HTTP_PROXY", server.url.removesuffix("/v1"))
        async with team_models(tmp_path, {"CUSTOM_PROVIDER": "http://model.invalid/v1"}) as models:
            turn = await take_turn(models)
        assert turn.log.failure() is None
        assert server.requests[0].headers["host"] == "model.invalid"


@pytest.mark.parametrize(
    ("variable", "value", "url"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:9", "http://127.0.0.1:9/v1"),
        ("HTTP_PROXY", "http://127.0.0.1:9", "http://127.0.0.1:8/v1"),
        ("HTTPS_PROXY", "http://127.0.0.1:x", "https://127.0.0.1:9/v1"),
        ("SSL_CERT_FILE", "/no/such/file.pem", "https://127.0.0.1:9/v1"),
    ],
)
def test_doctor_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, url: str
) -> None:
    monkeypatch.setenv(variable, value)
    doctor = Doctor(tmp_path)
    doctor.environ |= {"CUSTOM_PROVIDER": url, "CUSTOM_MODEL": "some-model"}
    found = doctor.examine("provider")["provider.accepts"]
    assert found.status == "failed"
    assert variable in found.detail
    assert variable in found.hint
