"""Every form of a URL really connects, and to the same place with the same rights: asyncpg, SQLAlchemy, libpq.

One server with TLS, SCRAM, client certificates, IPv6 and a unix socket; a few more with certificates that must be
refused. What a client sees of itself is asked of the server.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import pytest

from junkie_cli.core.database_url import DatabaseUrl, Host
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import DatabaseError
from tests.support.lanes import agreed, by_asyncpg, by_psql, in_all_lanes
from tests.support.postgres import execute, scratch_server
from tests.support.tls import SERVER_SETTINGS, Authority, Certificate, server_files

pytestmark = pytest.mark.usefixtures("plain_environment")

USER = "o'dd@us/er%20:#"
PASSWORD = "p@ss/w%rd:# \"'\\🔑&=+?é"
DATABASE = "a/b c%d@e?f&g"
HBA = (
    "local all all scram-sha-256",
    "hostnossl all tls_only all reject",
    "hostssl all certified all cert",
    "host all all all scram-sha-256",
)


@dataclass(frozen=True)
class Ground:
    """The servers of this module, and files that clients need."""

    server: ScratchServer
    folder: Path

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def url(self, rest: str, *, user: str = USER, password: str = PASSWORD) -> DatabaseUrl:
        """A URL of `rest`: {port}, {socket}, {ca} and other files are filled in."""
        port, socket = self.server.port, self.server.socket_dir
        files = {path.stem: quote(str(path), safe="/") for path in self.folder.iterdir()}
        where = rest.format(port=port, socket=socket, coded=quote(str(socket), safe=""), **files)
        credentials = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
        return DatabaseUrl.parse(f"postgresql://{credentials}@{where}")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("tls")
    authority, stranger = Authority(), Authority("Somebody else")
    good = authority.issue("localhost", "localhost", "127.0.0.1", "::1")
    client = authority.issue("certified")
    files = {"ca": authority.pem, "stranger": stranger.pem, "client": client.pem, "key": client.key}
    files |= {"revoked": authority.revoke(good), "unrevoked": authority.revoke(client), "other": b"not a certificate"}
    for name, content in files.items():
        (folder / f"{name}.pem").write_bytes(content)
        (folder / f"{name}.pem").chmod(0o600)
    with _server(good, authority) as server:
        roles = "".join(
            f"CREATE ROLE {name} LOGIN PASSWORD {_literal(PASSWORD)};"
            for name in (_quoted(USER), "tls_only", "certified")
        )
        execute(server, roles)
        execute(server, f"CREATE DATABASE {_quoted(DATABASE)}")
        yield Ground(server, folder)


def _server(certificate: Certificate, authority: Authority) -> ScratchServer:
    settings = {"listen_addresses": "127.0.0.1,::1", **SERVER_SETTINGS}
    # The rule for the tests' own superuser has to come before those of the clients.
    hba = ("local all junkie peer map=junkie", *HBA)
    return scratch_server(settings=settings, hba=hba, files=server_files(certificate, authority))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


# --- ways in ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rest", "tls"),
    [
        ("localhost:{port}/postgres", True),
        ("127.0.0.1:{port}/postgres?sslmode=disable", False),
        ("127.0.0.1:{port}/postgres?sslmode=allow", False),
        ("127.0.0.1:{port}/postgres?sslmode=prefer", True),
        ("127.0.0.1:{port}/postgres?sslmode=require", True),
        ("127.0.0.1:{port}/postgres?ssl=require", True),
        ("127.0.0.1:{port}/postgres?sslmode=require&sslnegotiation=direct", True),
        ("127.0.0.1:{port}/postgres?sslmode=require&sslrootcert={ca}", True),
        ("127.0.0.1:{port}/postgres?sslmode=verify-ca&sslrootcert={ca}", True),
        ("127.0.0.1:{port}/postgres?sslmode=verify-full&sslrootcert={ca}", True),
        ("localhost:{port}/postgres?sslmode=verify-full&sslrootcert={ca}&sslcrl={unrevoked}", True),
        ("localhost:{port}/postgres?sslmode=verify-full&sslrootcert={ca}&ssl_min_protocol_version=TLSv1.3", True),
        ("localhost:{port}/postgres?sslmode=verify-full&sslrootcert={ca}&channel_binding=require", True),
        ("localhost:{port}/postgres?sslrootcert={ca}&channel_binding=require", True),
        ("[::1]:{port}/postgres?sslmode=verify-full&sslrootcert={ca}", True),
        ("/postgres?host=::1&port={port}&sslmode=disable", False),
        ("/postgres?host={socket}&port={port}", False),
        ("/postgres?host={socket}&port={port}&sslmode=verify-full&sslrootcert={ca}", False),
        ("{coded}:{port}/postgres", False),
        ("localhost:{port}/postgres?host={socket}", False),
        ("127.0.0.1:1,127.0.0.1:{port}/postgres?sslmode=require", True),
        ("[::1]:1,{coded}:{port}/postgres", False),
        ("/postgres?host=/nowhere,127.0.0.1&port=5432,{port}&sslmode=disable", False),
        ("127.0.0.1:{port}/postgres?pgbouncer=true&sslmode=disable&prepared_statement_cache_size=0", False),
        ("127.0.0.1:{port}/postgres?sslmode=disable&connect_timeout=9&keepalives=1&gssencmode=disable", False),
    ],
)
async def test_every_way_in_leads_to_the_same_place(ground: Ground, rest: str, tls: bool) -> None:
    told = await agreed(ground.url(rest), ground.server)
    assert (told["user"], told["database"], told["tls"]) == (USER, "postgres", tls)


async def test_names_and_passwords_with_every_awkward_character(ground: Ground) -> None:
    url = ground.url("127.0.0.1:{port}/postgres").with_database(DATABASE)
    told = await agreed(url, ground.server)
    assert (told["user"], told["database"]) == (USER, DATABASE)
    assert (await agreed(DatabaseUrl.parse(url.libpq()), ground.server))["database"] == DATABASE


async def test_options_and_application_name_arrive(ground: Ground) -> None:
    name = quote("my+app & co=1 %", safe="")
    url = ground.url("127.0.0.1:{port}/postgres?options=-c%20work_mem%3D7MB&application_name=" + name)
    told = await agreed(url, ground.server)
    assert told["work_mem"] == "7MB"
    assert told["names"] == {"my+app & co=1 %"}


async def test_without_a_name_of_its_own_a_connection_is_junkies(ground: Ground) -> None:
    assert (await by_asyncpg(ground.url("127.0.0.1:{port}/postgres")))["name"] == "junkie"


async def test_client_certificate(ground: Ground) -> None:
    url = "localhost:{port}/postgres?sslmode=verify-full&sslrootcert={ca}&sslcert={client}&sslkey={key}"
    told = await agreed(ground.url(url, user="certified", password=""), ground.server)
    assert told["user"] == "certified"


async def test_certificates_in_the_home_folder_are_found_as_by_libpq(ground: Ground, tmp_path: Path) -> None:
    (tmp_path / ".postgresql").mkdir()
    for name, found in (("ca", "root.crt"), ("client", "postgresql.crt"), ("key", "postgresql.key")):
        target = tmp_path / ".postgresql" / found
        target.write_bytes((ground.folder / f"{name}.pem").read_bytes())
        target.chmod(0o600)
    url = ground.url("localhost:{port}/postgres?sslmode=verify-full", user="certified", password="")
    assert (await agreed(url, ground.server))["tls"] is True


async def test_certificates_of_the_system(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", ground.file("ca.pem"))
    url = ground.url("localhost:{port}/postgres?sslrootcert=system")
    told = await in_all_lanes(url, ground.server)
    told.pop("psql, URL")  # it has no SSL_CERT_FILE in its environment, and that is the point of tool_environment
    assert [one["tls"] for one in told.values()] == [True] * 4, told
    neon = ground.url("localhost:{port}/postgres?sslmode=require&channel_binding=require")
    assert (await agreed(neon, ground.server))["tls"] is True


async def test_password_from_the_environment_and_from_the_password_file(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = ground.url("127.0.0.1:{port}/postgres", password="")
    escaped = [part.replace("\\", "\\\\").replace(":", "\\:") for part in (USER, PASSWORD)]
    file = tmp_path / ".pgpass"
    file.write_text(f"127.0.0.1:{ground.server.port}:*:{escaped[0]}:{escaped[1]}\n")
    file.chmod(0o600)
    assert (await agreed(url, ground.server))["user"] == USER
    elsewhere = file.rename(tmp_path / "elsewhere")
    named = ground.url(f"127.0.0.1:{{port}}/postgres?passfile={quote(str(elsewhere))}", password="")
    assert (await agreed(named, ground.server))["user"] == USER
    monkeypatch.setenv("PGPASSFILE", str(elsewhere))
    assert (await by_asyncpg(url))["user"] == USER
    monkeypatch.delenv("PGPASSFILE")
    with pytest.raises(DatabaseError) as caught:
        await by_asyncpg(url)
    assert caught.value.code == "database_password"
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert (await by_asyncpg(url))["user"] == USER


async def test_user_and_database_as_libpq_chooses_them(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGUSER", USER)
    monkeypatch.setenv("PGDATABASE", DATABASE)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    url = DatabaseUrl((Host("127.0.0.1", ground.server.port),))
    told = await in_all_lanes(url, ground.server)
    told.pop("psql, URL")  # started with an empty environment
    assert {(one["user"], one["database"]) for one in told.values()} == {(USER, DATABASE)}


async def test_tools_go_where_the_url_says_whatever_the_environment(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGSERVICE": "x", "PGHOSTADDR": "192.0.2.1", "PGHOST": "x", "PGOPTIONS": "-c x=1"}.items():
        monkeypatch.setenv(name, value)
    url = ground.url("127.0.0.1:{port}/postgres")
    told = await by_psql([], url.tool_environment(), ground.server)
    assert told["port"] == ground.server.port


# --- ways that are closed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("sslmode=verify-full&sslrootcert={stranger}", "is not signed by a trusted authority"),
        ("sslmode=verify-ca&sslrootcert={stranger}", "is not signed by a trusted authority"),
        ("sslmode=require&sslrootcert={stranger}", "is not signed by a trusted authority"),
        ("sslmode=verify-full&sslrootcert={ca}&sslcrl={revoked}", "was revoked"),
        (
            "sslmode=verify-full&sslrootcert={ca}&ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2",
            "the TLS connection",
        ),
        ("sslmode=verify-full&sslrootcert=/none.pem", "/none.pem"),
        ("sslmode=verify-full&sslrootcert={other}", "the TLS connection"),
        ("sslmode=verify-full", "root.crt"),
        ("sslmode=require&sslcert={client}&sslkey={ca}", "the TLS connection"),
        ("sslmode=require&channel_binding=require", "is not signed by a trusted authority"),
    ],
)
async def test_tls_that_must_not_be(ground: Ground, query: str, sentence: str) -> None:
    url = ground.url("localhost:{port}/postgres?" + query)
    told = await in_all_lanes(url, ground.server)
    if "channel_binding" in query:  # libpq does bind the channel, and may go on without a verified certificate
        told = {lane: one for lane, one in told.items() if not lane.startswith("psql")}
    assert all(isinstance(one, Exception) for one in told.values()), told
    for lane in ("asyncpg", "engine, our connections"):
        error = told[lane]
        assert isinstance(error, DatabaseError), error
        assert error.code == "database_tls"
        assert sentence in error.message, error.message
        assert error.hint


async def test_tls_that_variables_ask_for(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    url = ground.url("localhost:{port}/postgres")
    home = {"HOME": os.environ["HOME"], "PATH": os.environ["PATH"]}
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGSSLROOTCERT", ground.file("ca.pem"))
    assert (await agreed(url, ground.server))["tls"] is True
    for name, value, code, word in (
        ("PGSSLROOTCERT", "/none.pem", "database_tls", "/none.pem"),
        ("PGSSLROOTCERT", ground.file("stranger.pem"), "database_tls", "authority"),
        ("PGSSLMODE", "nonsense", "database_error", "settings"),
    ):
        monkeypatch.setenv(name, value)
        with pytest.raises(DatabaseError) as caught:
            await by_asyncpg(url)
        assert caught.value.code == code
        assert word in caught.value.message
        with pytest.raises(ConnectionError):
            await by_psql([], {**url.tool_environment(), **home}, ground.server)
        over_socket = ground.url("/postgres?host={socket}&port={port}")
        assert (await by_asyncpg(over_socket))["tls"] is False
        assert (await by_psql([], over_socket.tool_environment(), ground.server))["tls"] is False


@pytest.mark.parametrize(
    ("names", "days", "sentence"),
    [
        (("localhost",), (-9.0, -1.0), "has expired"),
        (("db.example",), (-1.0, 9.0), "is not for localhost"),
        (("localhost",), (1.0, 9.0), "is not valid yet"),
    ],
)
async def test_certificates_that_must_not_be_accepted(
    ground: Ground, names: tuple[str, ...], days: tuple[float, float], sentence: str
) -> None:
    authority = Authority()
    (ground.folder / "own.pem").write_bytes(authority.pem)
    async with _server(authority.issue("server", *names, days=days), authority) as server:
        there = replace(ground, server=server)
        told = await in_all_lanes(
            there.url("localhost:{port}/postgres?sslmode=verify-full&sslrootcert={own}", user="junkie"), server
        )
    assert all(isinstance(one, Exception) for one in told.values()), told
    assert told["asyncpg"].code == "database_tls"
    assert f"the TLS certificate of localhost:{server.port} {sentence}" == told["asyncpg"].message
    assert told["asyncpg"].message == told["engine, our connections"].message


async def test_a_role_that_must_use_tls(ground: Ground) -> None:
    told = await agreed(ground.url("127.0.0.1:{port}/postgres", user="tls_only"), ground.server)
    assert told["tls"] is True
    told = await agreed(ground.url("127.0.0.1:{port}/postgres?sslmode=allow", user="tls_only"), ground.server)
    assert told["tls"] is True
    with pytest.raises(DatabaseError) as caught:
        await by_asyncpg(ground.url("127.0.0.1:{port}/postgres?sslmode=disable", user="tls_only"))
    assert caught.value.code == "database_password"


async def test_a_wrong_password_is_final_in_every_lane(ground: Ground) -> None:
    url = ground.url("127.0.0.1:{port},127.0.0.1:{port}/postgres", password="hunter2")
    told = await in_all_lanes(url, ground.server)
    assert all(isinstance(one, Exception) for one in told.values())
    for one in told.values():
        assert "hunter2" not in str(one)
    assert told["asyncpg"].code == "database_password"
    assert told["asyncpg"].message == told["engine, our connections"].message
