"""Every way in which a provider fails, made on the wire and met through the real client and agno."""

import datetime
import ipaddress
import socket
import ssl
from pathlib import Path

import pytest
from agno.models.message import Message
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from junkie_cli.core.agent.call_log import CallEvent, Retry, record_calls
from junkie_cli.core.agent.models import ModelError, Patience
from junkie_cli.core.errors import ExitCode
from tests.support.model_server import (
    CutStream,
    Empty,
    Garbage,
    Hang,
    HangUp,
    HttpError,
    Length,
    ModelServer,
    Reply,
    StreamError,
    Text,
)
from tests.support.models import extract, take_turn, team_models

REFUSALS: dict[str, HttpError] = {
    "provider_key": HttpError(401, "Invalid API Key: gsk_secretsecret"),
    "provider_forbidden": HttpError(403, "Forbidden"),
    "provider_model": HttpError(404, "The model `scripted-model` does not exist", code="model_not_found"),
    "provider_address": HttpError(404, body="<html>not here</html>"),
    "provider_too_large": HttpError(413, "Request too large", code="rate_limit_exceeded"),
    "provider_rate_limited": HttpError(429, "Rate limit reached", headers={"Retry-After": "300"}),
    "provider_unavailable": HttpError(502, body="<html>bad gateway</html>"),
    "provider_tool_use_failed": HttpError(400, "Failed to call a function.", code="tool_use_failed"),
    "provider_quota": HttpError(429, "You exceeded your current quota", code="insufficient_quota"),
    "provider_bad_request": HttpError(400, "property 'top_p' is unsupported"),
    "provider_cut": HangUp(),  # type: ignore[dict-item]
    "provider_garbage": Garbage(),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("code", REFUSALS)
async def test_a_refusal_before_the_first_word(tmp_path: Path, code: str) -> None:
    async with ModelServer(REFUSALS[code]) as server, team_models(tmp_path, server.environment()) as models:
        turn = await take_turn(models)
    assert (turn.last.event, turn.last.error_type) == ("TeamRunError", code)
    assert turn.streamed == ""
    failure = turn.log.failure()
    assert failure is not None
    assert (failure.code, failure.exit_code) == (code, ExitCode.PROVIDER)
    assert failure.hint
    assert turn.last.content == failure.message
    assert "gsk_secret" not in f"{failure.message} {failure.hint}"


@pytest.mark.parametrize("code", REFUSALS)
async def test_the_memory_model_fails_as_loudly(tmp_path: Path, code: str) -> None:
    always = ModelServer(script=lambda _: REFUSALS[code])
    async with always as server, team_models(tmp_path, server.environment()) as models:
        with pytest.raises(ModelError) as caught:
            await extract(models)
    assert caught.value.code == code
    # What may be the fault of the tools is asked for without them; every other failure is one with each method.
    about_the_tools = {"provider_bad_request", "provider_tool_use_failed"}
    assert len(server.requests) == (3 if code in about_the_tools else 1)


STREAMS: dict[str, tuple[Reply, str, str]] = {
    "ends without a reason": (CutStream(after=3), "provider_cut", "one two three "),
    "breaks": (CutStream(after=3, reset=True), "provider_cut", "one two three "),
    "ends before the first word": (CutStream(after=0), "provider_cut", ""),
    "turns into an error": (StreamError(after=2), "provider_unavailable", "one two "),
    "says nothing": (Empty(), "provider_empty", ""),
    "thinks until the limit": (Text("", finish="length", reasoning="well well"), "provider_length", ""),
    "is no JSON": (Garbage("data: {nonsense\n\n", "text/event-stream"), "provider_garbage", ""),
    "is JSON of another shape": (Garbage('data: ["a"]\n\n', "text/event-stream"), "provider_garbage", ""),
    "is a whole answer instead": (Garbage('{"choices": []}', "application/json"), "provider_garbage", ""),
}


@pytest.mark.parametrize("case", STREAMS)
async def test_a_stream_that_is_no_answer(tmp_path: Path, case: str) -> None:
    reply, code, streamed = STREAMS[case]
    patience = Patience(connect=2, read=5, total=10, retries=2)
    async with ModelServer(reply) as server, team_models(tmp_path, server.environment(), patience=patience) as models:
        turn = await take_turn(models)
        assert len(server.requests) == 1, "what has begun is never asked for again"
    assert (turn.last.event, turn.last.error_type) == ("TeamRunError", code)
    assert turn.streamed == streamed, "what was said stays"
    assert turn.log.calls[0].status == 200


async def test_a_connection_lost_after_the_last_word_costs_nothing(tmp_path: Path) -> None:
    reply = CutStream("one two", after=2, reset=True, finished=True)
    async with ModelServer(reply) as server, team_models(tmp_path, server.environment()) as models:
        turn = await take_turn(models)
    assert (turn.last.event, turn.last.content) == ("TeamRunCompleted", "one two")
    assert turn.log.failure() is None


async def test_an_error_inside_the_stream_keeps_its_kind(tmp_path: Path) -> None:
    error = 'data: {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}\n\n'
    async with (
        ModelServer(Garbage(error, "text/event-stream")) as server,
        team_models(tmp_path, server.environment()) as models,
    ):
        turn = await take_turn(models)
    assert turn.last.error_type == "provider_rate_limited"


async def test_an_answer_cut_at_the_limit_stands_with_a_warning(tmp_path: Path) -> None:
    async with ModelServer(Length("Once upon a")) as server, team_models(tmp_path, server.environment()) as models:
        turn = await take_turn(models)
    assert (turn.last.event, turn.last.content) == ("TeamRunCompleted", "Once upon a")
    assert [warning.code for warning in turn.log.warnings()] == ["provider_length"]
    assert turn.log.failure() is None


async def test_an_extraction_cut_at_the_limit_is_a_failure(tmp_path: Path) -> None:
    async with (
        ModelServer(memory=[Length("I will now")] * 3) as server,
        team_models(tmp_path, server.environment()) as models,
    ):
        with pytest.raises(ModelError, match="limit") as caught:
            await extract(models)
    assert caught.value.code == "provider_length"


@pytest.mark.parametrize(
    "body", ["[]", '{"choices": []}', '{"choices": null}', "no json", '"word"', '{"error": {"message": "m"}}']
)
async def test_a_whole_answer_that_is_none(tmp_path: Path, body: str) -> None:
    async with (
        ModelServer(memory=[Garbage(body, "application/json")]) as server,
        team_models(tmp_path, server.environment()) as models,
    ):
        with pytest.raises(ModelError) as caught:
            await extract(models)
    assert caught.value.code == ("provider_unavailable" if "error" in body else "provider_garbage")


async def test_silence_ends(tmp_path: Path) -> None:
    patience = Patience(connect=2, read=0.2, total=0.1, retries=2)
    async with ModelServer(Hang()) as server, team_models(tmp_path, server.environment(), patience=patience) as models:
        turn = await take_turn(models)
        await server.requests[0].gone.wait()
        assert len(server.requests) == 1, "patience is over: no retry begins"
    assert turn.last.error_type == "provider_timeout"


async def test_silence_in_the_middle_ends_and_keeps_the_words(tmp_path: Path) -> None:
    patience = Patience(connect=20, read=3, total=90, retries=2)  # time for the two pieces that do come
    reply = Text("one two three", pause_after=2)
    async with ModelServer(reply) as server, team_models(tmp_path, server.environment(), patience=patience) as models:
        turn = await take_turn(models)
        await server.requests[0].gone.wait()
    assert (turn.last.error_type, turn.streamed) == ("provider_timeout", "one two ")


async def test_nothing_listens(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        async with team_models(tmp_path, {"CUSTOM_PROVIDER": url}) as models:
            turn = await take_turn(models)
    failure = turn.log.failure()
    assert failure is not None
    assert failure.code == "provider_refused"
    assert url.split("/")[2] in failure.message
    assert "CUSTOM_PROVIDER" in failure.hint


async def test_a_name_that_does_not_exist(tmp_path: Path) -> None:
    async with team_models(tmp_path, {"CUSTOM_PROVIDER": "http://no-such-host.invalid/v1"}) as models:
        turn = await take_turn(models)
    assert turn.last.error_type == "provider_dns"


async def test_https_where_http_is_spoken(tmp_path: Path) -> None:
    async with ModelServer() as server:
        url = server.url.replace("http:", "https:")
        async with team_models(tmp_path, {"CUSTOM_PROVIDER": url}) as models:
            turn = await take_turn(models)
    assert turn.last.error_type == "provider_tls"


async def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    async with (
        ModelServer(ssl_context=_self_signed(tmp_path)) as server,
        team_models(tmp_path, server.environment()) as models,
    ):
        turn = await take_turn(models)
        assert server.requests == []
    failure = turn.log.failure()
    assert failure is not None
    assert failure.code == "provider_tls"
    assert "self-signed" in failure.message or "self signed" in failure.message


def _self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def test_a_redirect_is_reported_and_not_followed(tmp_path: Path) -> None:
    async with ModelServer() as other:
        moved = HttpError(307, headers={"Location": f"{other.url}/chat/completions"})
        async with ModelServer(moved) as server, team_models(tmp_path, server.environment()) as models:
            turn = await take_turn(models)
        assert other.requests == []
    assert turn.last.error_type == "provider_address"


# Retries


def retrying(retries: int = 2, total: float = 10) -> Patience:
    return Patience(connect=2, read=5, total=total, retries=retries)


NOW = {"Retry-After": "0"}


async def test_a_failure_before_the_first_byte_is_tried_again(tmp_path: Path) -> None:
    replies = [HttpError(500, headers=NOW), HttpError(429, headers=NOW), Text("Hello Ada")]
    async with (
        ModelServer(*replies) as server,
        team_models(tmp_path, server.environment(), patience=retrying()) as models,
    ):
        turn = await take_turn(models)
    assert (turn.last.event, turn.last.content, turn.streamed) == ("TeamRunCompleted", "Hello Ada", "Hello Ada")
    assert turn.log.calls[0].retries == 2


async def test_retries_are_bounded_by_number(tmp_path: Path) -> None:
    replies = [HttpError(500, headers=NOW) for _ in range(5)]
    async with (
        ModelServer(*replies) as server,
        team_models(tmp_path, server.environment(), patience=retrying()) as models,
    ):
        turn = await take_turn(models)
        assert len(server.requests) == 3
    assert turn.last.error_type == "provider_unavailable"


async def test_a_wait_longer_than_patience_is_not_begun(tmp_path: Path) -> None:
    limited = HttpError(429, headers={"Retry-After": "300"})
    async with (
        ModelServer(limited) as server,
        team_models(tmp_path, server.environment(), patience=retrying()) as models,
    ):
        turn = await take_turn(models)
        assert len(server.requests) == 1
    failure = turn.log.failure()
    assert failure is not None
    assert failure.retry_after == 300
    assert "300 s" in failure.message


async def test_a_wait_is_reported_before_it_begins(tmp_path: Path) -> None:
    told: list[CallEvent] = []
    replies = [HttpError(429, headers={"Retry-After": "0.1"}), Text("Hello")]
    async with (
        ModelServer(*replies) as server,
        team_models(tmp_path, server.environment(), patience=retrying()) as models,
    ):
        with record_calls(told.append) as log:
            await models.main.aresponse([Message(role="user", content="hi")])
    assert [(event.error.code, event.seconds) for event in told if isinstance(event, Retry)] == [
        ("provider_rate_limited", 0.1)
    ]
    assert log.failure() is None


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, ""), (401, ""), (403, ""), (404, ""), (413, ""), (422, ""), (429, "insufficient_quota")],
)
async def test_what_would_fail_the_same_way_is_asked_once(tmp_path: Path, status: int, code: str) -> None:
    async with (
        ModelServer(HttpError(status, code=code)) as server,
        team_models(tmp_path, server.environment(), patience=retrying()) as models,
    ):
        await take_turn(models)
        assert len(server.requests) == 1


# Words


async def test_a_sentence_never_quotes_the_conversation(tmp_path: Path) -> None:
    secret = "my doctor says that it is serious"
    for words, told in ((f"cannot parse '{secret}'", False), ("temperature must be 1", True)):
        async with ModelServer(HttpError(400, words)) as server, team_models(tmp_path, server.environment()) as models:
            turn = await take_turn(models, f"Listen: {secret}.")
        failure = turn.log.failure()
        assert failure is not None
        assert "doctor" not in failure.message
        assert ("temperature must be 1" in failure.message) is told


async def test_a_sentence_never_holds_a_key(tmp_path: Path) -> None:
    refusal = HttpError(400, "local-key cannot use this, gsk_abcdefgh1234 can")
    async with ModelServer(refusal) as server, team_models(tmp_path, server.environment()) as models:
        turn = await take_turn(models)
    failure = turn.log.failure()
    assert failure is not None
    assert failure.message.endswith(": ******** cannot use this, ******** can")


async def test_a_missing_key_is_asked_for_by_its_name(tmp_path: Path) -> None:
    async with ModelServer(HttpError(401)) as server:
        async with team_models(tmp_path, {"CUSTOM_PROVIDER": server.url}) as models:
            turn = await take_turn(models)
        failure = turn.log.failure()
        assert failure is not None
        assert "set CUSTOM_PROVIDER_API_KEY" in failure.hint
        server.queue(HttpError(401))
        async with team_models(tmp_path, server.groq_environment()) as models:
            turn = await take_turn(models)
        failure = turn.log.failure()
        assert failure is not None
        assert "GROQ_API_KEY (set by the environment)" in failure.hint
