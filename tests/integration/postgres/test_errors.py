"""Each way in which PostgreSQL fails has its own code and one plain sentence, and none shows a secret.

All of them are made for real: by servers, proxies, signals, limits.
"""

import asyncio
import os
import shutil
import signal
import socket
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from junkie_cli.core.database_url import DatabaseUrl, Host
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import DatabaseError, ExitCode
from junkie_cli.core.postgres.connect import close_connection, open_connection
from junkie_cli.core.postgres.errors import translate_errors
from tests.support.lanes import failure
from tests.support.postgres import execute, scratch_server
from tests.support.proxy import Proxy
from tests.support.tls import SERVER_SETTINGS, Authority, server_files

pytestmark = pytest.mark.usefixtures("plain_environment")

SECRET = "hunter2"
NOBODY = 65534


@pytest.fixture(scope="module")
def server() -> Iterator[ScratchServer]:
    """Listens on TCP without TLS; `guarded` needs a password, `open_...` none, others have no rule there."""
    hba = (
        "host all guarded 127.0.0.1/32 scram-sha-256",
        "host all all 127.0.0.1/32 trust",
        "local all /^open_ trust",
    )
    settings = {"listen_addresses": "127.0.0.1,::1", "max_connections": "20"}
    with scratch_server(settings=settings, hba=hba, initdb=["--wal-segsize=1"]) as server:
        execute(
            server,
            f"""CREATE ROLE guarded LOGIN PASSWORD '{SECRET}'; CREATE ROLE open_user LOGIN; CREATE ROLE no_login;
            CREATE ROLE open_one LOGIN CONNECTION LIMIT 1; CREATE TABLE "my table" (id int PRIMARY KEY, word text);
            CREATE TABLE seen (id int PRIMARY KEY, word varchar(8) NOT NULL CHECK (word <> 'no'), data jsonb);
            GRANT ALL ON seen TO open_user; CREATE SCHEMA closed; CREATE SEQUENCE numbers;
            CREATE TABLE closed.inside (id int)""",
        )
        execute(server, "CREATE DATABASE private")
        execute(server, "REVOKE ALL ON DATABASE private FROM PUBLIC")
        yield server


@pytest.fixture
def url(server: ScratchServer) -> DatabaseUrl:
    return DatabaseUrl((Host("127.0.0.1", server.port),), "open_user", None, "postgres")


@asynccontextmanager
async def connected(url: DatabaseUrl, **options: Any) -> AsyncIterator[Any]:
    connection = await open_connection(url, **options)
    try:
        yield connection
    finally:
        await close_connection(connection)


async def refusal(url: DatabaseUrl, sql: str, *arguments: object, **options: Any) -> DatabaseError:
    """How one statement in a transaction fails."""
    async with connected(url, **options) as connection:
        with pytest.raises(DatabaseError) as caught, translate_errors(url):
            async with connection.transaction():
                await connection.fetch(sql, *arguments)
    assert caught.value.hint
    return caught.value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- not reached ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["nowhere.invalid", "x" * 64 + ".invalid"])
async def test_unknown_host(host: str) -> None:
    error = await failure(DatabaseUrl.parse(f"postgresql://u:{SECRET}@{host}/d"))
    assert (error.code, error.message) == ("database_dns", f"the host name {host} cannot be resolved")
    assert error.exit_code == ExitCode.DATABASE


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
async def test_nothing_listens(host: str) -> None:
    place = Host(host, free_port())
    error = await failure(DatabaseUrl((place,), "u", SECRET, "d"))
    assert (error.code, error.message) == (
        "database_refused",
        f"{place} refuses the connection: no server is listening there",
    )


async def test_no_socket(tmp_path: Path) -> None:
    error = await failure(DatabaseUrl.socket(tmp_path, user="u", database="d"))
    assert error.code == "database_refused"
    assert str(tmp_path) in error.message


def test_socket_that_others_may_not_use(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("closed")
    url = DatabaseUrl.socket(folder, user="open_user", database="postgres")
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(f"{folder}/.s.PGSQL.5432")
        listener.listen()
        (folder / ".s.PGSQL.5432").chmod(0)
        for path in (folder, *folder.parents[:-2]):
            path.chmod(0o755)
        told = as_user(NOBODY, NOBODY, lambda: told_by(url))
    assert told == f"database_rights: this user cannot access the socket {url.hosts[0]}"


def told_by(url: DatabaseUrl) -> str:
    try:
        asyncio.run(open_connection(url))
    except DatabaseError as error:
        return f"{error.code}: {error.message}"
    return "connected"


def as_user(uid: int, gid: int, function: Callable[[], str]) -> str:
    """What `function` returns in a process of its own, which belongs to `uid` when we are root."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(gid, gid, gid)
                os.setresuid(uid, uid, uid)
            os.write(writing, function().encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read().decode()
    os.waitpid(child, 0)
    assert told, "the child failed"
    return told


async def test_an_address_without_a_way() -> None:
    # 240.0.0.0/4 is reserved: the system itself knows no way there.
    error = await failure(DatabaseUrl((Host("255.255.255.255"),), "u", SECRET, "d"))
    assert error.code == "database_refused"
    assert "cannot be reached" in error.message


# --- no answer --------------------------------------------------------------------------------------------------------


async def test_a_server_that_accepts_and_never_answers(url: DatabaseUrl) -> None:
    with Proxy(url) as proxy:
        proxy.stall()
        error = await failure(proxy.url(url), timeout=0.3)
        assert error.code == "database_timeout"
        assert error.message == f"127.0.0.1:{proxy.port} did not answer within 0.3 seconds"
        with pytest.raises(DatabaseError) as caught:
            await open_connection(DatabaseUrl.parse(proxy.url(url).libpq() + "?connect_timeout=1"))
        assert caught.value.message.endswith("within 1 seconds")


async def test_a_server_that_falls_silent_while_passwords_are_checked(url: DatabaseUrl) -> None:
    guarded = replace(url, user="guarded", password=SECRET)
    with Proxy(url) as proxy:
        proxy.stall_when(b"SCRAM-SHA-256")
        assert (await failure(proxy.url(guarded), timeout=0.5)).code == "database_timeout"
        proxy.resume()
        await close_connection(await open_connection(proxy.url(guarded)))


async def test_a_server_that_falls_silent_while_tls_is_agreed() -> None:
    authority = Authority()
    files = server_files(authority.issue("localhost", "127.0.0.1"), authority)
    settings = {"listen_addresses": "127.0.0.1", **SERVER_SETTINGS}
    hello = b"\x16\x03"  # the beginning of a TLS handshake
    with scratch_server(settings=settings, files=files, hba=["host all all all trust"]) as server:
        there = DatabaseUrl.parse(f"postgresql://junkie@127.0.0.1:{server.port}/postgres?sslmode=require")
        with Proxy(there) as proxy:
            proxy.stall_when(hello)
            assert (await failure(proxy.url(there), timeout=0.5)).code == "database_timeout"


async def test_giving_up_early_leaves_nothing_open(url: DatabaseUrl) -> None:
    with Proxy(url) as proxy:
        proxy.stall()
        attempt = asyncio.create_task(open_connection(proxy.url(url)))
        await asyncio.to_thread(proxy.wait, lambda p: p.connections == 1)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt


# --- something else answers -------------------------------------------------------------------------------------------


@contextmanager
def impostor(answer: bytes) -> Iterator[int]:
    """A server that sends `answer` to every request, and closes."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.recv(4096)
                    client.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("mode", ["disable", "prefer", "require"])
@pytest.mark.parametrize(
    "answer",
    [
        *(b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n", b"N", b"S", b"", b"SSH-2.0-OpenSSH_9.2\r\n"),
        # lengths that are none, with which asyncpg alone would never end and let nobody else run
        *(bytes(64), b"R" + bytes(64), b"E\0\0\0\3", b"R\xff\xff\xff\xff" + bytes(8)),
    ],
)
async def test_what_answers_is_not_postgresql(mode: str, answer: bytes) -> None:
    with impostor(answer) as port:
        url = DatabaseUrl.parse(f"postgresql://u:{SECRET}@127.0.0.1:{port}/d?sslmode={mode}&connect_timeout=2")
        error = await failure(url)
    assert error.code in {"database_error", "database_lost", "database_tls", "database_timeout"}
    assert f"127.0.0.1:{port}" in error.message
    assert ("no TLS" in error.message) <= (mode == "require")


async def test_a_server_without_tls(url: DatabaseUrl) -> None:
    error = await failure(DatabaseUrl.parse(url.libpq() + "?sslmode=require"))
    assert (error.code, error.message) == (
        "database_tls",
        f"{url.hosts[0]} offers no TLS, which the database URL requires",
    )


# --- not let in -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("password", ["wrong", None])
async def test_wrong_or_missing_password(url: DatabaseUrl, password: str | None) -> None:
    error = await failure(replace(url, user="guarded", password=password))
    assert (error.code, error.message) == (
        "database_password",
        f"{url.hosts[0]} rejects the password of role guarded",
    )


@pytest.mark.parametrize("role", ["nobody_knows", "no_login"])
async def test_no_such_role(url: DatabaseUrl, role: str) -> None:
    error = await failure(replace(url, user=role))
    assert error.code == "database_role"
    assert role in error.message


async def test_no_rule_for_this_connection(url: DatabaseUrl) -> None:
    error = await failure(replace(url, hosts=(Host("::1", url.hosts[0].port),)))
    assert error.code == "database_password"
    assert "pg_hba.conf" in error.hint


async def test_no_such_database(url: DatabaseUrl) -> None:
    error = await failure(url.with_database("nowhere {x}"))
    assert (error.code, error.message) == (
        "database_missing",
        f"database nowhere {{x}} does not exist at {url.hosts[0]}",
    )


async def test_no_right_to_connect(url: DatabaseUrl) -> None:
    error = await failure(url.with_database("private"))
    assert error.code == "database_rights"
    assert "database" in error.message


async def test_too_many_connections(url: DatabaseUrl) -> None:
    async with connected(replace(url, user="open_one")):
        error = await failure(replace(url, user="open_one"))
        assert error.code == "database_connections"
    taken = []
    with pytest.raises(DatabaseError) as caught:
        while True:
            taken.append(await open_connection(url))
    assert caught.value.code == "database_connections"
    for connection in taken:
        await close_connection(connection)


async def test_shutting_down() -> None:
    with scratch_server() as server:
        async with connected(server.url):
            os.kill(server.pid, signal.SIGTERM)  # smart: it waits for those who are there, and takes nobody else
            error = await failure(server.url)
            while error.code != "database_starting":  # the signal is on its way
                error = await failure(server.url)
    assert error.message.endswith("is shutting down")


# --- lost on the way --------------------------------------------------------------------------------------------------


async def test_connection_cut_before_in_and_after_a_statement(url: DatabaseUrl) -> None:
    with Proxy(url) as proxy:
        for cut in ("before", "in", "after"):
            async with connected(proxy.url(url)) as connection:
                if cut != "before":
                    proxy.cut_when(b"SELECT 4711", passed=cut == "after")
                with pytest.raises(DatabaseError) as caught, translate_errors(url):
                    async with connection.transaction():
                        if cut == "before":
                            proxy.cut()
                        await connection.fetchval("SELECT 4711")
                assert caught.value.code == "database_lost", cut
                assert str(url.hosts[0]) in caught.value.message
        assert proxy.cuts == 3


async def test_a_lost_commit_is_called_unknown(server: ScratchServer, url: DatabaseUrl) -> None:
    with Proxy(url) as proxy:
        async with connected(proxy.url(url)) as connection:
            proxy.cut_when(b"COMMIT", passed=True)
            with pytest.raises(DatabaseError) as caught, translate_errors(url):
                async with connection.transaction():
                    await connection.execute("INSERT INTO seen VALUES (99, 'word')")
    assert caught.value.code == "database_lost"
    assert "is unknown" in caught.value.hint
    assert execute(server, "DELETE FROM seen WHERE id = 99 RETURNING id") == [("99",)]


async def test_ended_by_an_administrator(server: ScratchServer, url: DatabaseUrl) -> None:
    async with connected(url) as connection:
        pid = connection.get_server_pid()
        with pytest.raises(DatabaseError) as caught, translate_errors(url):
            async with connection.transaction():
                execute(server, f"SELECT pg_terminate_backend({pid}, 10000)")
                await connection.fetchval("SELECT 1")
    assert caught.value.code == "database_lost"


async def test_server_killed() -> None:
    with scratch_server() as server:
        async with connected(server.url) as connection:
            pid = connection.get_server_pid()
            with pytest.raises(DatabaseError) as caught, translate_errors(server.url):
                async with connection.transaction():
                    os.kill(pid, signal.SIGKILL)
                    await connection.fetchval("SELECT pg_sleep(60)")
    assert caught.value.code == "database_lost"


async def test_a_server_that_falls_silent_in_a_statement(url: DatabaseUrl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("junkie_cli.core.postgres.connect.GRACE", 0.2)
    with Proxy(url) as proxy:
        async with connected(proxy.url(url), statement_timeout=0.2) as connection:
            with pytest.raises(DatabaseError) as caught, translate_errors(url):
                async with connection.transaction():
                    proxy.stall()
                    await connection.fetchval("SELECT 1")
    assert caught.value.code == "database_timeout"


@pytest.mark.parametrize("statement_timeout", [None, 60])
async def test_whoever_interrupts_does_not_wait_for_a_silent_server(
    url: DatabaseUrl, statement_timeout: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("junkie_cli.core.postgres.connection.CANCEL_TIMEOUT", 0.2)
    with Proxy(url) as proxy:
        proxy.stall_when(b"SELECT 4711")

        async def work() -> None:
            async with connected(proxy.url(url), statement_timeout=statement_timeout) as connection:
                with translate_errors(url):
                    async with connection.transaction():
                        await connection.fetchval("SELECT 4711")

        task = asyncio.create_task(work())
        await asyncio.to_thread(proxy.wait, lambda p: p.stalls == 1)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=30)
    assert done
    assert task.cancelled()


async def test_whoever_works_on_after_an_interruption_is_reported_of_errors(url: DatabaseUrl) -> None:
    async def work() -> str:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            return (await refusal(url, "SELECT * FROM nowhere")).code
        return "slept"

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == "database_table"


async def test_a_connection_that_was_closed_before(url: DatabaseUrl) -> None:
    async with connected(url) as connection:
        await connection.close()
        with pytest.raises(DatabaseError) as caught, translate_errors(url):
            await connection.fetchval("SELECT 1")
    assert caught.value.code == "database_lost"


async def test_a_peer_that_vanishes_is_noticed(url: DatabaseUrl) -> None:
    async with connected(url) as connection:
        sock = connection._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30


# --- refused statements -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ('SELECT * FROM "my table"', "table my table"),
        ("SELECT * FROM closed.inside", "schema closed"),
        ("SELECT nextval('numbers')", "sequence numbers"),
        ("CREATE TABLE public.own (id int)", "schema public"),
        ("SELECT pg_read_file('/etc/hostname')", "function pg_read_file"),
        ("COPY seen TO '/tmp/x'", "a required object"),
    ],
)
async def test_rights(url: DatabaseUrl, sql: str, what: str) -> None:
    error = await refusal(url, sql)
    assert error.code == "database_rights"
    assert error.message == f"role open_user has no privilege on {what} in the database postgres at {url.hosts[0]}"


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT * FROM nowhere", "database_table"),
        ("SELECT * FROM nowhere.nothing", "database_table"),
        ("CREATE TABLE nowhere.nothing (id int)", "database_table"),
        ("SELECT nothing FROM seen", "database_table"),
    ],
)
async def test_tables_that_are_not_there(url: DatabaseUrl, sql: str, code: str) -> None:
    assert (await refusal(url, sql)).code == code


async def test_read_only(url: DatabaseUrl) -> None:
    insert = "INSERT INTO seen VALUES (1, 'word')"
    assert (await refusal(url, insert, read_only=True)).code == "database_readonly"
    readonly = DatabaseUrl.parse(url.libpq() + "?options=-c%20default_transaction_read_only%3Don")
    assert (await refusal(readonly, insert)).code == "database_readonly"


async def test_disk_full(small_disk: Path) -> None:
    with ScratchServer(small_disk) as server:
        execute(server, "CREATE UNLOGGED TABLE wide (word text)")
        with (small_disk / "ballast").open("wb") as ballast:
            ballast.write(b"x" * (shutil.disk_usage(small_disk).free - 1024 * 1024))
        pages = "string_agg(md5(i::text || j::text), '') FROM generate_series(1, 2000) j, generate_series(1, 60) i"
        error = await refusal(server.url, f"INSERT INTO wide SELECT {pages} GROUP BY j")
        (small_disk / "ballast").unlink()
        assert execute(server, "SELECT count(*) FROM wide") == [("0",)]
    assert (error.code, error.message) == (
        "database_full",
        f"the disk of the database postgres at {server.url.hosts[0]} is full",
    )


async def test_statement_and_lock_timeouts(server: ScratchServer, url: DatabaseUrl) -> None:
    assert (await refusal(url, "SELECT pg_sleep(60)", statement_timeout=0.1)).code == "database_timeout"
    async with connected(url) as holder, holder.transaction():
        await holder.execute("LOCK TABLE seen IN ACCESS EXCLUSIVE MODE")
        async with connected(url) as connection:
            with pytest.raises(DatabaseError) as caught, translate_errors(url):
                async with connection.transaction():
                    await connection.execute("SET LOCAL lock_timeout = 50")
                    await connection.fetch("SELECT * FROM seen")
    assert caught.value.code == "database_locked"


async def test_two_who_change_the_same(server: ScratchServer, url: DatabaseUrl) -> None:
    execute(server, "INSERT INTO seen VALUES (1, 'word') ON CONFLICT DO NOTHING")
    async with connected(url) as first, connected(url) as second:
        with pytest.raises(DatabaseError) as caught, translate_errors(url):
            async with first.transaction(isolation="repeatable_read"):
                await first.fetch("SELECT * FROM seen")
                await second.execute("UPDATE seen SET word = 'other' WHERE id = 1")
                await first.execute("UPDATE seen SET word = 'third' WHERE id = 1")
    assert caught.value.code == "database_conflict"
    execute(server, "DELETE FROM seen")


# --- no message shows personal data or secrets ------------------------------------------------------------------------

QUOTING = [
    ("INSERT INTO seen VALUES (7, 'hunter2'), (7, 'hunter2')", ()),
    ("INSERT INTO seen VALUES ('hunter2', 'x')", ()),
    ("INSERT INTO seen VALUES (1, 'x', '{hunter2')", ()),
    ("INSERT INTO seen VALUES (1, 'hunter2 is too long')", ()),
    ("INSERT INTO seen (id, data) VALUES (1, '\"hunter2\"')", ()),
    ("INSERT INTO seen VALUES (1, 'no', '\"hunter2\"')", ()),
    ("SELECT 'hunter2'::timestamptz", ()),
    ("SELECT FROM hunter2 hunter2 hunter2", ()),
    ("SELECT hunter2(1)", ()),
    ("DO $$ BEGIN RAISE EXCEPTION 'hunter2' USING DETAIL = 'hunter2', HINT = 'hunter2'; END $$", ()),
    ("DO $$ BEGIN RAISE EXCEPTION 'for table hunter2 of x' USING ERRCODE = '42501'; END $$", ()),
    ("INSERT INTO seen VALUES ($1, 'x')", ("hunter2",)),
    ("INSERT INTO seen VALUES (1, $1)", (b"hunter2",)),
    ("SELECT $1::text", ("hunter2\x00",)),
    ("SELECT $1::int", (2**70,)),
]


@pytest.mark.parametrize(("sql", "arguments"), QUOTING)
async def test_values_are_never_quoted(url: DatabaseUrl, sql: str, arguments: tuple[object, ...]) -> None:
    error = await refusal(replace(url, user="guarded", password=SECRET) if "seen" not in sql else url, sql, *arguments)
    told = "".join(traceback.format_exception(error))
    for text in (error.message, error.hint, error.code, repr(error), str(error.args)):
        assert SECRET not in text
    # The statement stands in this file; nothing of asyncpg's own words follows it.
    assert "DETAIL" not in told
    assert "asyncpg.exceptions" not in told


async def test_a_character_that_cannot_be_stored_is_named_as_such(url: DatabaseUrl) -> None:
    assert (await refusal(url, "SELECT $1::text", "a\x00b")).code == "database_text"


REQUIRED = [
    ("INSERT INTO seen VALUES (1, 'no')", "the check seen_word_check of table seen"),
    ("INSERT INTO seen (id) VALUES (1)", "a value in column word of table seen"),
    ("INSERT INTO seen VALUES (1, 'a'), (1, 'b')", "the unique key seen_pkey of table seen"),
    (
        "CREATE TEMP TABLE child (id int REFERENCES parent) ON COMMIT DROP; INSERT INTO child VALUES (1)",
        "the foreign key child_id_fkey of table child",
    ),
    ("SELECT 'no'::pg_temp.yes", "the check yes_check of type yes"),
]


@pytest.mark.parametrize(("sql", "what"), REQUIRED)
async def test_what_a_constraint_requires_is_named(url: DatabaseUrl, sql: str, what: str) -> None:
    async with connected(url) as connection:
        with pytest.raises(DatabaseError) as caught, translate_errors(url):
            async with connection.transaction():
                await connection.execute("CREATE TEMP TABLE parent (id int PRIMARY KEY) ON COMMIT DROP")
                await connection.execute("CREATE DOMAIN pg_temp.yes AS text CHECK (value <> 'no')")
                await connection.execute(sql)
    assert caught.value.code == "database_constraint"
    assert f"requires {what}; nothing was changed" in caught.value.message


@pytest.mark.parametrize("state", ["P0001", "23502", "23514"])
async def test_what_a_function_raises_is_not_repeated(url: DatabaseUrl, state: str) -> None:
    fields = "TABLE = 'hunter2', COLUMN = 'hunter2', CONSTRAINT = 'hunter2'"
    error = await refusal(url, f"DO $$ BEGIN RAISE EXCEPTION 'hunter2' USING ERRCODE = '{state}', {fields}; END $$")
    assert error.code == "database_trigger"
    assert SECRET not in error.message


# What can hardly be made on purpose is said by a server all the same: in the words and with the code of the real thing.
RARE = [
    ("57P03", "the database system is starting up", "database_starting", "is starting up"),
    ("57P03", "the database system is in recovery mode", "database_starting", "is recovering"),
    ("57P02", "terminating connection because of crash of another server process", "database_lost", "crashed"),
    ("57P05", "terminating connection due to idle-session timeout", "database_lost", "idle"),
    ("25P03", "terminating connection due to idle-in-transaction timeout", "database_lost", "idle"),
    ("57P04", "database dropped", "database_missing", "was dropped"),
    ("53100", "could not extend file", "database_full", "disk"),
    ("53100", 'could not resize shared memory segment "/PostgreSQL.7" to 9 bytes', "database_full", "shared memory"),
    ("53200", "out of memory", "database_error", "out of memory"),
    ("40P01", "deadlock detected", "database_conflict", "at once"),
    ("XX001", "invalid page in block 0", "database_error", "damaged"),
    ("XX002", "index is corrupted", "database_error", "damaged"),
    ("0A000", "not supported", "database_error", "lacks a required feature"),
    ("99999", "who knows", "database_error", "(99999,"),
]


@pytest.mark.parametrize(("state", "message", "code", "words"), RARE)
async def test_rare_refusals(url: DatabaseUrl, state: str, message: str, code: str, words: str) -> None:
    error = await refusal(url, f"DO $$ BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = '{state}'; END $$")
    assert error.code == code
    assert words in error.message


async def test_without_a_url_the_sentences_still_read(url: DatabaseUrl) -> None:
    async with connected(url) as connection:
        with pytest.raises(DatabaseError) as caught, translate_errors():
            await connection.execute('SELECT * FROM "my table"')
    assert caught.value.message == "role of this connection has no privilege on table my table in the database"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), BrokenPipeError(), KeyError("x")])
def test_errors_of_others_pass_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, translate_errors():
        raise error
    assert caught.value is error
