"""Connections to PostgreSQL: which database, and how to open it.

This is the border of asyncpg: its errors become DatabaseError here (by database_errors.py), and are named in an
`except` nowhere else.

Every connection works behind PgBouncer in transaction mode, where each transaction may run on another server
connection. That is why nothing here outlives a transaction: no named prepared statement, no session-level `SET`, no
start-up parameter beside `application_name`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from junkie_cli.core import embedded
from junkie_cli.core.database_errors import (
    UNFIT,
    check_files,
    none_answered,
    translate_errors,
    unfit,
    while_connecting,
)
from junkie_cli.core.errors import DatabaseError, SettingsError
from junkie_cli.core.settings import Settings
from junkie_cli.core.url import DatabaseUrl, Host
from junkie_cli.values import frozen

if TYPE_CHECKING:
    import asyncpg

__all__ = [
    "CONNECT_TIMEOUT",
    "Database",
    "close_connection",
    "connect",
    "engine_options",
    "locate",
    "naming_origin",
    "open_connection",
    "require_named_database",
    "translate_errors",
]

CONNECT_TIMEOUT = 10.0
"""Seconds that one host may take, TLS and log-in included, unless the URL's connect_timeout says otherwise."""

# Failures after which another host of the URL is worth trying. As in libpq, a refused password is final.
_TRY_NEXT_HOST = frozenset(
    {"database_dns", "database_refused", "database_timeout", "database_starting", "database_lost"}
)
# What a server that is just being stopped, or just starting, answers with.
_PASSING = frozenset({"database_refused", "database_starting", "database_lost"})
_EMBEDDED_ATTEMPTS = 5
_LOOK_TIMEOUT = 5.0

LOCK_TIMEOUT = 30.0
"""Seconds that a statement waits for a lock, unless the URL's `options` set lock_timeout."""

# The client gives up on a statement only when the server has had the time to do so itself, and to say so.
GRACE = 5.0


@frozen
class Database:
    """The database that a command works on; `label` names it for people, `origin` the file and line of its URL."""

    url: DatabaseUrl
    embedded: bool
    label: str
    origin: str = ""


# --- which database ---------------------------------------------------------------------------------------------------


async def locate(
    settings: Settings, *, create: bool = False, on_progress: Callable[[str], None] | None = None
) -> Database:
    """The database of these settings: `POSTGRES_URL`'s, else the embedded one, which is started when it is not running.

    Only with `create` is an embedded database made. Raises DatabaseError: `database_none` when there is none, and
    what starting it may raise.
    """
    if settings.postgres_url is not None:
        return Database(
            settings.postgres_url, embedded=False, label=label(settings), origin=_origin(settings, "POSTGRES_URL")
        )
    if not create and not embedded.exists(settings.data_dir):
        raise DatabaseError(
            f"there is no database yet: POSTGRES_URL is not set, and no embedded PostgreSQL is in {settings.data_dir}",
            hint="set POSTGRES_URL, or make an embedded database by talking: junkie chat" + _not_read(settings),
            code="database_none",
        )
    url = await embedded.ensure_running(settings.data_dir, create=create, on_progress=on_progress)
    return Database(url, embedded=True, label=label(settings))


def _not_read(settings: Settings) -> str:
    """The files that POSTGRES_URL may well be in, for root, who does not read what belongs to somebody else."""
    paths = ", ".join(map(str, settings.ignored_env_files))
    return f" (not read, as somebody else's: {paths}; --env-file reads it)" if paths else ""


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
        if replica:
            url, origin = replica, _origin(settings, "POSTGRES_READ_URL")
        else:
            found = await locate(settings, create=create, on_progress=on_progress)
            url, origin = found.url, found.origin
        try:
            with naming_origin(origin):
                return url, await open_connection(url, statement_timeout=statement_timeout, read_only=read_only)
        except DatabaseError as error:
            # The last one out may be stopping the embedded server at this very moment: then it is started again.
            if not attempts or error.code not in _PASSING:
                raise


def _origin(settings: Settings, name: str) -> str:
    source = settings.sources[name]
    return f"{name} is set by {source}" if source.path is not None else ""


@contextmanager
def naming_origin(origin: str) -> Iterator[None]:
    """Add to an error of opening a database the file and line that its URL came from: it may be the wrong file."""
    try:
        yield
    except DatabaseError as error:
        if origin:
            error.message = f"{error.message} ({origin})"
        raise


async def open_connection(
    url: DatabaseUrl,
    *,
    timeout: float | None = None,  # noqa: ASYNC109  it holds for each host, not for the call
    statement_timeout: float | None = None,
    read_only: bool = False,
    application_name: str = "junkie",
    watch_locks: bool = True,
) -> "asyncpg.Connection":
    """Connect to the first host of `url` that answers and fits its `target_session_attrs`.

    `timeout` (seconds; default: the URL's connect_timeout, else 10) bounds each host, from the look-up of its name to
    the end of the log-in. `statement_timeout` (seconds) is set in each transaction and bounds each statement; so is
    LOCK_TIMEOUT for each wait for a lock, and with `watch_locks` whoever holds it is reported. Raises DatabaseError
    with one of the codes in this module.
    """
    from junkie_cli.core.database_connection import Connection

    budget = timeout or url.connect_timeout or CONNECT_TIMEOUT
    options = {
        "statement_cache_size": 0,
        "command_timeout": statement_timeout + GRACE if statement_timeout else None,
        "connection_class": Connection,
    }
    wanted = url.target_session_attrs
    passes = ("standby", "any") if wanted == "prefer-standby" else (wanted,)
    failures: dict[str, DatabaseError] = {}
    for attrs in passes:
        for host in url.hosts:
            if str(host) in failures and failures[str(host)].code != UNFIT:
                continue  # it did not answer in the first pass either
            arguments = _arguments(url, host, application_name) | options
            try:
                connection = await _open_host(url, host, arguments, attrs, budget)
            except DatabaseError as error:
                if error.code not in _TRY_NEXT_HOST | {UNFIT}:
                    raise
                failures[str(host)] = error
                continue
            lock_timeout = None if "lock_timeout" in dict(url.parameters).get("options", "") else LOCK_TIMEOUT
            connection.hold_to(read_only=read_only, statement_timeout=statement_timeout, lock_timeout=lock_timeout)
            connection.keep_alive()
            if watch_locks:
                connection.watch_locks(partial(_second, replace(url, hosts=(host,)), application_name))
            return connection
    raise none_answered(url, failures)


async def _second(url: DatabaseUrl, application_name: str) -> "asyncpg.Connection":
    """A connection next to one that may wait for a lock."""
    return await open_connection(
        url,
        timeout=_LOOK_TIMEOUT,
        statement_timeout=_LOOK_TIMEOUT,
        read_only=True,
        application_name=application_name,
        watch_locks=False,
    )


def _arguments(url: DatabaseUrl, host: Host, application_name: str) -> dict[str, Any]:
    check_files(url)
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
            if connection.get_settings().server_encoding == "SQL_ASCII":
                await connection.read_bytes()
            fits = attrs == "any" or await _fits(connection, attrs)
    except Exception as error:
        if connection is not None:
            connection.terminate()
        raise while_connecting(error, url, host, budget) from None
    except BaseException:
        if connection is not None:
            connection.terminate()
        raise
    if fits:
        return connection
    await close_connection(connection)
    raise unfit(host, attrs)


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


# --- SQLAlchemy -------------------------------------------------------------------------------------------------------


def engine_options(
    url: DatabaseUrl, *, timeout: float | None = None, statement_timeout: float | None = None
) -> dict[str, Any]:
    """What `create_async_engine(url.sqlalchemy(), **engine_options(url))` needs to work as `open_connection` does.

    The engine opens its connections here, so that hosts, TLS, timeouts and errors are the same on both lanes, and so
    that its statements have no names. It must not keep what it has prepared: behind a pooler the next transaction may
    find another server
    (https://docs.sqlalchemy.org/en/20/dialects/postgresql.html#prepared-statement-name-with-pgbouncer). Further
    `connect_args` may be added to these; `async_creator` must not.
    """

    async def open_for_engine(**_: Any) -> "asyncpg.Connection":
        return await open_connection(url, timeout=timeout, statement_timeout=statement_timeout)

    return {"connect_args": {"async_creator_fn": open_for_engine, "prepared_statement_cache_size": 0}}
