"""Opens connections: tries the hosts of a URL in order, with connection, statement and lock timeouts."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from junkie_cli.core.database_url import DatabaseUrl, Host
from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.postgres.errors import UNFIT, check_files, none_answered, unfit, while_connecting

if TYPE_CHECKING:
    from junkie_cli.core.postgres.connection import Connection

CONNECT_TIMEOUT = 10.0
"""Time limit for each host in seconds, including TLS and log-in, unless the URL sets connect_timeout."""

_LOOK_TIMEOUT = 5.0

LOCK_TIMEOUT = 30.0
"""Seconds that a statement waits for a lock, unless the URL's `options` set lock_timeout."""

# The client's timeout is longer, so that the server can report its own first.
GRACE = 5.0


async def open_connection(
    url: DatabaseUrl,
    *,
    timeout: float | None = None,  # noqa: ASYNC109  it applies to each host, not to the call
    statement_timeout: float | None = None,
    read_only: bool = False,
    application_name: str = "junkie",
    watch_locks: bool = True,
) -> "Connection":
    """Connect to the first host of `url` that answers and matches its `target_session_attrs`.

    `timeout` (seconds; default: the URL's connect_timeout, or 10) limits each host, from name resolution to log-in.
    `statement_timeout` (seconds) is set in each transaction and limits each statement; LOCK_TIMEOUT limits each wait
    for a lock, and with `watch_locks` the holder is reported. Raises DatabaseError with one of the codes in this
    module.
    """
    from junkie_cli.core.postgres.connection import Connection

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
                continue  # it did not answer in the first pass
            arguments = _arguments(url, host, application_name) | options
            try:
                connection = await _open_host(url, host, arguments, attrs, budget)
            except DatabaseError as error:
                if not _is_next_host_worth_trying(error):
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


def _is_next_host_worth_trying(error: DatabaseError) -> bool:
    """As in libpq, a refused password is final, and so is a server that accepts no more connections."""
    return error.code == UNFIT or (error.transient and error.code != "database_connections")


async def _second(url: DatabaseUrl, application_name: str) -> "Connection":
    """Open a second connection, for use while the first waits for a lock."""
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
    # asyncpg's own check runs statements outside a transaction, which a pooler can send to two servers.
    return arguments | {"server_settings": server, "target_session_attrs": "any"}


async def _open_host(
    url: DatabaseUrl, host: Host, arguments: Mapping[str, Any], attrs: str, budget: float
) -> "Connection":
    import asyncpg

    connection: Connection | None = None
    try:
        async with asyncio.timeout(budget):
            connection = await asyncpg.connect(timeout=None, **arguments)
            if connection.server_encoding == "SQL_ASCII":
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


async def _fits(connection: "Connection", attrs: str) -> bool:
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


async def close_connection(connection: "Connection") -> None:
    """Close gracefully within two seconds, or abort; never raise for a broken connection."""
    try:
        await connection.close(timeout=2)
    except Exception:
        connection.terminate()


# --- SQLAlchemy -------------------------------------------------------------------------------------------------------


def engine_options(
    url: DatabaseUrl, *, timeout: float | None = None, statement_timeout: float | None = None
) -> dict[str, Any]:
    """Return options for `create_async_engine(url.sqlalchemy(), **engine_options(url))` to match `open_connection`.

    The engine opens its connections here, so that hosts, TLS, timeouts and errors are the same for both, and so that
    its statements have no names. It must not cache prepared statements: behind a pooler the next transaction can run on
    another server (https://docs.sqlalchemy.org/en/20/dialects/postgresql.html#prepared-statement-name-with-pgbouncer).
    Further `connect_args` can be added to these; `async_creator` must not.
    """

    async def open_for_engine(**_: Any) -> "Connection":
        return await open_connection(url, timeout=timeout, statement_timeout=statement_timeout)

    return {"connect_args": {"async_creator_fn": open_for_engine, "prepared_statement_cache_size": 0}}
