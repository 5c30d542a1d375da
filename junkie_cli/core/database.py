"""Connections to PostgreSQL: opening them, and every way in which that fails in the operator's words.

This is the border of asyncpg. Its errors, and the operating system's, become DatabaseError here and are named in an
`except` nowhere else. A message names the server, the database and the role, never a password, and never what a row
holds: PostgreSQL quotes values in its details and in the messages of whole classes of errors, which are dropped.

Every connection works behind PgBouncer in transaction mode, where each transaction may run on another server
connection. That is why nothing here outlives a transaction: no named prepared statement, no session-level `SET`, no
start-up parameter beside `application_name`.
"""

import asyncio
import errno
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from junkie_cli.core import embedded
from junkie_cli.core.errors import DatabaseError, SettingsError
from junkie_cli.core.settings import Settings
from junkie_cli.core.url import DatabaseUrl, Host

if TYPE_CHECKING:
    import asyncpg

CONNECT_TIMEOUT = 10.0
"""Seconds that one host may take, TLS and log-in included, unless the URL's connect_timeout says otherwise."""

# Failures after which another host of the URL is worth trying. As in libpq, a refused password is final.
_TRY_NEXT_HOST = frozenset(
    {"database_dns", "database_refused", "database_timeout", "database_starting", "database_lost"}
)
# What a server that is just being stopped, or just starting, answers with.
_PASSING = frozenset({"database_refused", "database_starting", "database_lost"})
_EMBEDDED_ATTEMPTS = 5

_UNFIT = "database_unfit"
_ATTRS = {
    "read-write": "a server that takes writes",
    "read-only": "a read-only server",
    "primary": "a primary",
    "standby": "a standby",
}

# The client gives up on a statement only when the server has had the time to do so itself, and to say so.
_GRACE = 5.0


@dataclass(frozen=True, slots=True)
class Database:
    """The database that a command works on; `label` names it for people."""

    url: DatabaseUrl
    embedded: bool
    label: str


# --- which database ---------------------------------------------------------------------------------------------------


async def locate(
    settings: Settings, *, create: bool = False, on_progress: Callable[[str], None] | None = None
) -> Database:
    """The database of these settings: `POSTGRES_URL`'s, else the embedded one, which is started when it is not running.

    Only with `create` is an embedded database made. Raises DatabaseError: `database_none` when there is none, and
    what starting it may raise.
    """
    if settings.postgres_url is not None:
        return Database(settings.postgres_url, embedded=False, label=label(settings))
    if not create and not embedded.exists(settings.data_dir):
        raise DatabaseError(
            f"there is no database yet: POSTGRES_URL is not set, and no embedded PostgreSQL is in {settings.data_dir}",
            hint="set POSTGRES_URL, or make an embedded database by talking: junkie chat",
            code="database_none",
        )
    url = await embedded.ensure_running(settings.data_dir, create=create, on_progress=on_progress)
    return Database(url, embedded=True, label=label(settings))


def label(settings: Settings) -> str:
    """The database of these settings, named for people; nothing is opened or started for it."""
    if settings.postgres_url is not None:
        return settings.postgres_url.masked()
    return f"embedded PostgreSQL in {settings.data_dir}"


def require_named_database(settings: Settings, *, embedded_option: bool, interactive: bool) -> None:
    """Keep an unattended command from the wrong database: without a terminal somebody must have named one.

    A cron job that runs in another folder finds no `.env`; it must not back up or erase in an embedded database
    that happens to be there. Raises SettingsError.
    """
    if embedded_option and settings.postgres_url is not None:
        raise SettingsError(
            f"--embedded was given, but POSTGRES_URL is set (by {settings.sources['POSTGRES_URL']})",
            hint="leave out --embedded, or unset POSTGRES_URL",
        )
    if settings.postgres_url is None and not embedded_option and not interactive:
        raise SettingsError(
            "POSTGRES_URL is not set, and without a terminal the embedded database is not taken unasked",
            hint="set POSTGRES_URL (or name its file with --env-file), or say --embedded",
        )


# --- opening ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def connect(
    settings: Settings,
    *,
    create: bool = False,
    read_only: bool = False,
    statement_timeout: float | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> "AsyncIterator[asyncpg.Connection]":
    """A connection to the database of these settings, closed at the end; errors inside become DatabaseError.

    With `read_only` it goes to `POSTGRES_READ_URL` when that is set, and each of its transactions is READ ONLY.
    `statement_timeout` (seconds) holds for each statement inside a transaction.
    """
    url, connection = await _open_located(settings, create, read_only, statement_timeout, on_progress)
    try:
        with translate_errors(url):
            yield connection
    finally:
        await close_connection(connection)


async def _open_located(
    settings: Settings,
    create: bool,
    read_only: bool,
    statement_timeout: float | None,
    on_progress: Callable[[str], None] | None,
) -> "tuple[DatabaseUrl, asyncpg.Connection]":
    replica = settings.postgres_read_url if read_only else None
    attempts = 1 if settings.postgres_url or replica else _EMBEDDED_ATTEMPTS
    while True:
        attempts -= 1
        url = replica or (await locate(settings, create=create, on_progress=on_progress)).url
        try:
            return url, await open_connection(url, statement_timeout=statement_timeout, read_only=read_only)
        except DatabaseError as error:
            # The last one out may be stopping the embedded server at this very moment: then it is started again.
            if not attempts or error.code not in _PASSING:
                raise


async def open_connection(
    url: DatabaseUrl,
    *,
    timeout: float | None = None,  # noqa: ASYNC109  it holds for each host, not for the call
    statement_timeout: float | None = None,
    read_only: bool = False,
    application_name: str = "junkie",
) -> "asyncpg.Connection":
    """Connect to the first host of `url` that answers and fits its `target_session_attrs`.

    `timeout` (seconds; default: the URL's connect_timeout, else 10) bounds each host, from the look-up of its name to
    the end of the log-in. `statement_timeout` (seconds) is set in each transaction and bounds each statement. Raises
    DatabaseError with one of the codes in this module.
    """
    budget = timeout or url.connect_timeout or CONNECT_TIMEOUT
    options = {
        "statement_cache_size": 0,
        "command_timeout": statement_timeout + _GRACE if statement_timeout else None,
        "connection_class": _connection_class(),
    }
    wanted = url.target_session_attrs
    passes = ("standby", "any") if wanted == "prefer-standby" else (wanted,)
    failures: dict[str, DatabaseError] = {}
    for attrs in passes:
        for host in url.hosts:
            arguments = _arguments(url, host, application_name) | options
            try:
                connection = await _open_host(url, host, arguments, attrs, budget)
            except DatabaseError as error:
                if error.code not in _TRY_NEXT_HOST | {_UNFIT}:
                    raise
                failures[str(host)] = error
                continue
            connection.hold_to(read_only=read_only, statement_timeout=statement_timeout)
            return connection
    raise _none_answered(url, failures)


def _arguments(url: DatabaseUrl, host: Host, application_name: str) -> dict[str, Any]:
    _check_files(url)
    arguments = url.asyncpg_arguments(host)
    server = {"application_name": application_name, **arguments.get("server_settings", {})}
    # asyncpg's own check of these runs statements outside a transaction, which a pooler may spread over two servers.
    return arguments | {"server_settings": server, "target_session_attrs": "any"}


async def _open_host(
    url: DatabaseUrl, host: Host, arguments: Mapping[str, Any], attrs: str, budget: float
) -> "asyncpg.Connection":
    import asyncpg

    connection = None
    try:
        async with asyncio.timeout(budget):
            connection = await asyncpg.connect(timeout=None, **arguments)
            fits = attrs == "any" or await _fits(connection, attrs)
    except Exception as error:
        if connection is not None:
            connection.terminate()
        raise _while_connecting(error, url, host, budget) from None
    except BaseException:
        if connection is not None:
            connection.terminate()
        raise
    if fits:
        return connection
    await close_connection(connection)
    raise DatabaseError(f"{host} is not {_ATTRS[attrs]}", code=_UNFIT)


async def _fits(connection: "asyncpg.Connection", attrs: str) -> bool:
    async with connection.transaction():
        standby, read_only = await connection.fetchrow(
            "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on'"
        )
    wanted = {
        "read-write": not (standby or read_only),
        "read-only": standby or read_only,
        "primary": not standby,
        "standby": standby,
    }
    return bool(wanted[attrs])


async def close_connection(connection: "asyncpg.Connection") -> None:
    """Close politely within two seconds, else at once; never raises for a connection that is broken already."""
    try:
        await connection.close(timeout=2)
    except Exception:
        connection.terminate()


@cache
def _connection_class() -> type:
    """asyncpg's connection, held to what a pooler in transaction mode can do; made late, asyncpg is slow to load."""
    import asyncpg
    from asyncpg.transaction import Transaction

    class TimedTransaction(Transaction):  # type: ignore[misc]
        async def start(self) -> None:
            await super().start()
            if not self._nested:
                await self._connection.set_limits()

    class PoolerSafeConnection(asyncpg.Connection):  # type: ignore[misc]
        _read_only = False
        _limits = ""

        def hold_to(self, *, read_only: bool, statement_timeout: float | None) -> None:
            self._read_only = read_only
            if statement_timeout:
                self._limits = f"SET LOCAL statement_timeout = {max(1, round(statement_timeout * 1000))}"

        async def set_limits(self) -> None:
            if self._limits:
                await self.execute(self._limits)

        def transaction(self, *, isolation: Any = None, readonly: bool = False, deferrable: bool = False) -> Any:
            self._check_open()
            return TimedTransaction(self, isolation, readonly or self._read_only, deferrable)

        async def set_type_codec(self, *args: Any, **kwargs: Any) -> None:
            # SQLAlchemy calls this on each new connection; it looks the type up in two round trips.
            async with self.transaction():
                await super().set_type_codec(*args, **kwargs)

    return PoolerSafeConnection


# --- SQLAlchemy -------------------------------------------------------------------------------------------------------


def statement_name() -> str:
    """A name for a prepared statement that no other client of the same pooler uses."""
    return f"__junkie_{uuid4().hex}__"


def engine_options(
    url: DatabaseUrl, *, timeout: float | None = None, statement_timeout: float | None = None
) -> dict[str, Any]:
    """What `create_async_engine(url.sqlalchemy(), **engine_options(url))` needs to work as `open_connection` does.

    The engine opens its connections here, so that hosts, TLS, timeouts and errors are the same on both lanes.
    SQLAlchemy prepares every statement by name: behind a pooler the names must be unique and none may be kept
    (https://docs.sqlalchemy.org/en/20/dialects/postgresql.html#prepared-statement-name-with-pgbouncer).
    """

    async def open_for_engine(**_: Any) -> "asyncpg.Connection":
        return await open_connection(url, timeout=timeout, statement_timeout=statement_timeout)

    return {
        "connect_args": {
            "async_creator_fn": open_for_engine,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": statement_name,
        }
    }


# --- errors -----------------------------------------------------------------------------------------------------------


@contextmanager
def translate_errors(url: DatabaseUrl | None = None) -> Iterator[None]:
    """Turn asyncpg's errors into DatabaseError; whatever else is raised inside passes unchanged.

    Of the system's errors only those of a lost or silent connection are taken: a full disk or a closed pipe inside
    the block is not the database's.
    """
    import asyncpg

    try:
        yield
    except asyncpg.PostgresError as error:
        raise _refused(error, url) from None
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise _client_error(error, url) from None
    except (ConnectionResetError, ConnectionAbortedError):
        raise _lost(url) from None
    except TimeoutError:
        raise DatabaseError(
            f"{_place(url)} did not finish a statement in time",
            hint="look at what else runs there (junkie doctor), and try again",
            code="database_timeout",
        ) from None


def _place(url: DatabaseUrl | None) -> str:
    return f"the database {_target(url)}" if url else "the database"


def _target(url: DatabaseUrl) -> str:
    return f"{url.database_name} at {', '.join(str(host) for host in url.hosts)}"


def _lost(url: DatabaseUrl | None) -> DatabaseError:
    return DatabaseError(
        f"the connection to {_place(url)} was lost",
        hint="what was not yet committed is undone; look whether the server runs (junkie doctor), and try again",
        code="database_lost",
    )


def _client_error(error: Exception, url: DatabaseUrl | None) -> DatabaseError:
    """Errors that asyncpg finds itself. Their texts may quote a value, so none of it is passed on."""
    import asyncpg

    if isinstance(error, asyncpg.DataError):
        return DatabaseError("a value does not fit the type of its column", hint="nothing was changed")
    if "closed" in str(error):
        return _lost(url)
    return DatabaseError(
        f"the conversation with {_place(url)} went wrong ({type(error).__name__})",
        hint="look what stands between this program and the server (junkie doctor)",
        code="database_error",
    )


# What PostgreSQL refuses, by SQLSTATE: (code, sentence, hint). {place} names the database, {role} the role, {host} the
# server. https://www.postgresql.org/docs/current/errcodes-appendix.html
_SENTENCES: Mapping[str, tuple[str, str, str]] = {
    "28P01": (
        "database_password",
        "{host} refuses the password of role {role}",
        "correct the password in POSTGRES_URL (percent-encoded), in PGPASSWORD or in ~/.pgpass",
    ),
    "28000": (
        "database_password",
        "{host} does not let role {role} in",
        "the server's pg_hba.conf has to allow this role, database, address and kind of connection",
    ),
    "3D000": (
        "database_missing",
        "there is no database {database} at {host}",
        "correct the name in POSTGRES_URL, or create it: CREATE DATABASE",
    ),
    "53300": (
        "database_connections",
        "{host} takes no more connections for role {role}",
        "wait or close other programs' connections; raise max_connections, or put a pooler in front",
    ),
    "57P01": ("database_lost", "the server ended the connection to {place}: it is shutting down", "try again soon"),
    "57P02": ("database_lost", "the server ended the connection to {place}: it crashed", "look at the server's log"),
    "57P05": ("database_lost", "the server ended the connection to {place}: it was idle for too long", "try again"),
    "25P03": ("database_lost", "the server ended the connection to {place}: a transaction was idle", "try again"),
    "57P04": ("database_missing", "the database {database} at {host} was dropped", "restore it from a backup"),
    "57014": (
        "database_timeout",
        "{place} did not finish a statement in time",
        "look at what else runs there (junkie doctor), and try again",
    ),
    "55P03": (
        "database_locked",
        "another program holds a lock that is needed in {place}",
        "wait for it to finish (junkie doctor names long transactions), and try again",
    ),
    "40P01": ("database_conflict", "another program changed the same rows in {place} at once", "try again"),
    "40001": ("database_conflict", "another program changed the same rows in {place} at once", "try again"),
    "25006": (
        "database_readonly",
        "{place} is read-only: a standby, or set so",
        "name the primary in POSTGRES_URL, or both hosts with target_session_attrs=read-write",
    ),
    "53100": (
        "database_full",
        "the disk of {place} is full",
        "free space on the server; nothing of this was stored",
    ),
    "53200": ("database_error", "the server of {place} is out of memory", "look at the server's log"),
    "42P01": (
        "database_table",
        "a table that is needed is not in {place}",
        "check JUNKIE_SCHEMA and the database's name; junkie doctor tells what is there",
    ),
    "3F000": (
        "database_table",
        "the schema is not in {place}",
        "check JUNKIE_SCHEMA and the database's name; junkie doctor tells what is there",
    ),
    "42703": (
        "database_table",
        "a table in {place} lacks a column that is needed",
        "it was made by another version of agno: junkie doctor --only schema.version",
    ),
    "22021": ("database_text", "the text has a character that PostgreSQL cannot store", "remove it (a zero byte?)"),
    "22P05": ("database_text", "the text has a character that PostgreSQL cannot store", "remove it (a zero byte?)"),
    "0A000": ("database_error", "{place} lacks a feature that is needed", "PostgreSQL 13 or newer is needed"),
    "XX001": (
        "database_error",
        "data of {place} is damaged",
        "restore a backup beside it",
    ),
    "XX002": ("database_error", "an index of {place} is damaged", "REINDEX it, and look at the server's disk"),
}

# PgBouncer says almost everything with one SQLSTATE (08P01), in English.
_POOLER_SENTENCES: tuple[tuple[str, tuple[str, str, str]], ...] = (
    (
        r"unsupported startup parameter",
        (
            "database_pooler",
            "the pooler at {host} refuses a parameter of POSTGRES_URL",
            "take options out of POSTGRES_URL, or add it to the pooler's ignore_startup_parameters",
        ),
    ),
    (
        r"no such database",
        ("database_missing", "the pooler at {host} has no database {database}", "correct its name"),
    ),
    (
        r"no such user|auth(entication)? failed",
        (
            "database_password",
            "the pooler at {host} refuses role {role} or its password",
            "correct POSTGRES_URL, or the pooler's user list",
        ),
    ),
    (
        r"no more connections allowed",
        ("database_connections", "the pooler at {host} takes no more connections", "raise its max_client_conn"),
    ),
    (
        r"query_wait_timeout",
        (
            "database_connections",
            "the pooler at {host} had no free connection to the server in time",
            "raise its pool size, or look for long transactions",
        ),
    ),
    (
        r"server_login_retry|server login|cannot connect to server|server conn crashed|login rejected",
        ("database_refused", "the pooler at {host} cannot reach its server", "look whether the server runs"),
    ),
    (
        r"shut ?ting down|pgbouncer is (paused|suspended)",
        ("database_starting", "the pooler at {host} is shutting down", "try again soon"),
    ),
)


def _refused(error: Any, url: DatabaseUrl | None, host: Host | None = None) -> DatabaseError:
    """A server's ErrorResponse in our words."""
    sentence = _sentence(error)
    if sentence is None:
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
        return DatabaseError(
            f"{_place(url)} refused a statement ({error.sqlstate}, {name})",
            hint="junkie doctor looks for the cause",
            code="database_error",
        )
    code, text, hint = sentence
    return DatabaseError(_filled(text, url, host), hint=hint, code=code)


def _filled(text: str, url: DatabaseUrl | None, host: Host | None) -> str:
    server = str(host) if host else ", ".join(map(str, url.hosts)) if url else "the server"
    return text.format(
        place=_place(url),
        host=server,
        role=url.role if url else "of this connection",
        database=url.database_name if url else "of this connection",
    )


def _sentence(error: Any) -> tuple[str, str, str] | None:
    message = str(error.args[0]) if error.args else ""
    if error.sqlstate == "42501":
        return _rights(message)
    if error.sqlstate == "57P03":
        return _not_now(message)
    if error.sqlstate == "28000" and error.server_source_function == "InitializeSessionUserId":
        return (
            "database_role",
            "there is no role {role} at {host}, or it may not log in",
            "correct the user in POSTGRES_URL, or create it: CREATE ROLE ... LOGIN",
        )
    if error.sqlstate.startswith("08"):
        return next((sentence for pattern, sentence in _POOLER_SENTENCES if re.search(pattern, message)), None)
    return _SENTENCES.get(error.sqlstate)


def _rights(message: str) -> tuple[str, str, str]:
    """PostgreSQL names what it guards ("permission denied for table x"): the name of an object, of no person."""
    match = re.search(r"for (table|schema|sequence|database|view|relation|function) (\S+)$", message)
    what = f"{match[1]} {match[2]}".replace("{", "{{").replace("}", "}}") if match else "something it needs"
    return (
        "database_rights",
        f"role {{role}} has no right to {what} in {{place}}",
        "have its owner GRANT it (junkie doctor --only database.rights names what is missing)",
    )


def _not_now(message: str) -> tuple[str, str, str]:
    states = (("starting up", "is starting up"), ("shutting down", "is shutting down"), ("recovery", "is recovering"))
    state = next((said for word, said in states if word in message), "takes no connections at the moment")
    return "database_starting", f"the server at {{host}} {state}", "try again in a few seconds"


# --- errors while connecting ------------------------------------------------------------------------------------------


def _while_connecting(error: Exception, url: DatabaseUrl, host: Host, budget: float) -> Exception:
    """What a failed attempt at one host means. An error that is not of the connection is returned as it is."""
    import asyncpg

    if isinstance(error, DatabaseError):
        return error
    if isinstance(error, asyncpg.PostgresError) and not isinstance(error, asyncpg.ConnectionDoesNotExistError):
        return _refused(error, url, host)
    for kinds, tell in _CONNECT_FAILURES:
        if isinstance(error, kinds):
            return tell(error, url, host, budget)
    if isinstance(error, asyncpg.ConnectionDoesNotExistError):
        return _closed_early(host)
    if isinstance(error, asyncpg.exceptions.ClientConfigurationError):
        return _misconfigured(error)
    if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError | ValueError | UnicodeError):
        return _not_postgres(error, host)
    return error


def _misconfigured(error: Any) -> DatabaseError:
    """asyncpg refuses its arguments: a TLS file that it looks for by default is missing, or a PG... variable is off."""
    if "root certificate" in str(error):
        return DatabaseError(
            "there is no certificate authority to verify the server's certificate with (~/.postgresql/root.crt)",
            hint="add sslrootcert=FILE to POSTGRES_URL, or sslrootcert=system for a certificate that browsers accept",
            code="database_tls",
        )
    return DatabaseError(
        "the settings of the connection cannot be used",
        hint="look at the parameters of POSTGRES_URL, and at variables that begin with PG",
        code="database_error",
    )


def _closed_early(host: Host) -> DatabaseError:
    return DatabaseError(
        f"{host} accepted the connection and closed it",
        hint="look at the server's log; is it PostgreSQL, and does it take connections from here?",
        code="database_lost",
    )


def _not_postgres(error: Exception, host: Host) -> DatabaseError:
    return DatabaseError(
        f"what answers at {host} does not speak PostgreSQL's protocol as expected ({type(error).__name__})",
        hint="correct host and port in POSTGRES_URL",
        code="database_error",
    )


def _dns(error: Exception, url: DatabaseUrl, host: Host, budget: float) -> DatabaseError:
    return DatabaseError(
        f"the host name {host.name} cannot be resolved",
        hint="correct the host in POSTGRES_URL, or mend this machine's DNS",
        code="database_dns",
    )


def _silent(error: Exception, url: DatabaseUrl, host: Host, budget: float) -> DatabaseError:
    return DatabaseError(
        f"{host} did not answer within {budget:g} seconds",
        hint="look for a firewall in between, or a server that hangs; connect_timeout in POSTGRES_URL sets the limit",
        code="database_timeout",
    )


def _certificate(error: Any, url: DatabaseUrl, host: Host, budget: float) -> DatabaseError:
    reasons = {
        9: "is not valid yet",
        10: "has expired",
        23: "was revoked",
        62: f"is not for {host.name}",
        64: f"is not for {host.name}",
    }
    reason = reasons.get(error.verify_code, "is not signed by an authority that is trusted here")
    hint = {
        62: "use the name that the certificate holds, or sslmode=verify-ca",
        64: "use the name that the certificate holds, or sslmode=verify-ca",
    }.get(error.verify_code, "renew the server's certificate, or name its authority with sslrootcert=FILE")
    return DatabaseError(f"the TLS certificate of {host} {reason}", hint=hint, code="database_tls")


def _handshake(error: Any, url: DatabaseUrl, host: Host, budget: float) -> DatabaseError:
    reason = (error.reason or "").replace("_", " ").lower()
    return DatabaseError(
        f"no TLS connection to {host} came about" + (f" ({reason})" if reason else ""),
        hint="look at sslmode, sslcert and sslkey in POSTGRES_URL, and at the server's log",
        code="database_tls",
    )


def _connection_failed(error: Any, url: DatabaseUrl, host: Host, budget: float) -> DatabaseError:
    if "rejected SSL upgrade" in str(error):
        return DatabaseError(
            f"{host} offers no TLS, which POSTGRES_URL demands",
            hint="switch TLS on at the server; only where the network is your own, use sslmode=prefer",
            code="database_tls",
        )
    return _closed_early(host)


def _unreachable(error: Any, url: DatabaseUrl, host: Host, budget: float) -> DatabaseError:
    if host.is_socket:
        return _no_socket(error, host)
    # When a name has several addresses, asyncio joins their errors into one without a number.
    refused = error.errno == errno.ECONNREFUSED or f"[Errno {errno.ECONNREFUSED}]" in str(error)
    reason = "refuses the connection: no server listens there" if refused else "cannot be reached"
    return DatabaseError(
        f"{host} {reason}",
        hint="start PostgreSQL, or correct host and port in POSTGRES_URL",
        code="database_refused",
    )


def _no_socket(error: OSError, host: Host) -> DatabaseError:
    if isinstance(error, PermissionError):
        return DatabaseError(
            f"the socket {host} may not be used by this account",
            hint="run as a user who may, or have the folder's permissions changed",
            code="database_rights",
        )
    return DatabaseError(
        f"no server listens at the socket {host}",
        hint="start PostgreSQL, or correct the folder and port in POSTGRES_URL",
        code="database_refused",
    )


_CONNECT_FAILURES: tuple[tuple[Any, Callable[..., DatabaseError]], ...] = (
    (socket.gaierror, _dns),
    (TimeoutError, _silent),
    (ssl.SSLCertVerificationError, _certificate),
    (ssl.SSLError, _handshake),
    (ConnectionRefusedError, _unreachable),
    (ConnectionError, _connection_failed),
    (OSError, _unreachable),
)


def _none_answered(url: DatabaseUrl, failures: Mapping[str, DatabaseError]) -> DatabaseError:
    errors = list(failures.values())
    codes = {error.code for error in errors}
    code = codes.pop() if len(codes) == 1 else next(c for c in (e.code for e in reversed(errors)) if c != _UNFIT)
    if code == _UNFIT:
        return DatabaseError(
            f"no server of {_target(url)} is {_ATTRS.get(url.target_session_attrs, 'fit')}",
            hint="promote a standby, or change target_session_attrs in POSTGRES_URL",
            code="database_readonly",
        )
    if len(errors) == 1:
        return errors[0]
    return DatabaseError(
        f"no server of {len(errors)} could be used: {'; '.join(error.message for error in errors)}",
        hint=errors[-1].hint,
        code=code,
    )


def _check_files(url: DatabaseUrl) -> None:
    """Name a TLS file that cannot be read; asyncpg's error for it holds no name."""
    if url.is_local_socket:
        return
    for key in ("sslrootcert", "sslcert", "sslkey", "sslcrl"):
        path = url.query.get(key)
        if not path or (key == "sslrootcert" and path == "system"):
            continue
        try:
            with Path(path).open("rb"):
                pass
        except OSError as error:
            raise DatabaseError(
                f"the {key} of POSTGRES_URL cannot be read: {path}: {error.strerror}",
                hint="correct the path or its permissions",
                code="database_tls",
            ) from None
