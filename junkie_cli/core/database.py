"""Chooses the database, and opens connections to it.

Errors of asyncpg become DatabaseError here (by core/postgres/errors.py); no other module handles them.

Every connection works behind PgBouncer in transaction mode, where each transaction may run on another server
connection. So nothing here outlives a transaction: no named prepared statement, no session-level `SET`, no start-up
parameter except `application_name`.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from junkie_cli.core import embedded
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import DatabaseError, SettingsError
from junkie_cli.core.postgres.connect import close_connection, open_connection
from junkie_cli.core.postgres.errors import translate_errors
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.settings import Settings
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg
_EMBEDDED_ATTEMPTS = 5


@frozen
class Database:
    """The database of a command; `label` names it for people, `origin` is the file and line of its URL."""

    url: DatabaseUrl
    embedded: bool
    label: str
    origin: str = ""


# --- which database ---------------------------------------------------------------------------------------------------


async def locate(settings: Settings, *, create: bool = False, progress: Progress = SILENT) -> Database:
    """Return the database of these settings: `POSTGRES_URL`, or the embedded one, which is started if necessary.

    An embedded database is created only with `create`. Raises DatabaseError: `database_none` if there is none, and
    errors of starting it.
    """
    if settings.postgres_url is not None:
        return Database(
            settings.postgres_url, embedded=False, label=label(settings), origin=_origin(settings, "POSTGRES_URL")
        )
    if not create and not embedded.exists(settings.data_dir):
        raise DatabaseError(
            f"no database yet: POSTGRES_URL is not set, and {settings.data_dir} contains no embedded PostgreSQL",
            hint="set POSTGRES_URL, or create an embedded database: junkie chat" + _not_read(settings),
            code="database_none",
        )
    url = await embedded.ensure_running(settings.data_dir, create=create, progress=progress, pg_bin=settings.pg_bin)
    return Database(url, embedded=True, label=label(settings))


def _not_read(settings: Settings) -> str:
    """Return a note about files of other users, which root does not read and which can contain POSTGRES_URL."""
    paths = ", ".join(map(str, settings.ignored_env_files))
    return f" (not read, because it belongs to another user: {paths}; to read it: --env-file)" if paths else ""


def label(settings: Settings) -> str:
    """Return the name of the database for people, without opening or starting it."""
    if settings.postgres_url is not None:
        return settings.postgres_url.masked()
    return f"embedded PostgreSQL in {settings.data_dir}"


def require_named_database(settings: Settings, *, embedded_option: bool, interactive: bool) -> None:
    """Keep an unattended command from the wrong database: without a terminal, require that one was named.

    A cron job that runs in another folder finds no `.env`; it must not back up or erase in an embedded database that
    happens to exist. Raises SettingsError.
    """
    if embedded_option and settings.postgres_url is not None:
        raise SettingsError(
            f"--embedded was given, but POSTGRES_URL is set (by {settings.sources['POSTGRES_URL']})",
            hint="leave out --embedded, or unset POSTGRES_URL",
        )
    if settings.postgres_url is None and not embedded_option and not interactive:
        raise SettingsError(
            "POSTGRES_URL is not set, and without a terminal the embedded database is used only with --embedded",
            hint="set POSTGRES_URL (or use --env-file), or add --embedded",
        )


# --- opening ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def connect(
    settings: Settings,
    *,
    create: bool = False,
    read_only: bool = False,
    statement_timeout: float | None = None,
    progress: Progress = SILENT,
) -> "AsyncIterator[asyncpg.Connection]":
    """Open a connection for the duration of the block; convert errors inside to DatabaseError.

    With `read_only` it uses `POSTGRES_READ_URL` if set, and each transaction is READ ONLY. `statement_timeout`
    (seconds) applies to each statement inside a transaction.
    """
    url, connection = await _open_located(settings, create, read_only, statement_timeout, progress)
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
    progress: Progress,
) -> "tuple[DatabaseUrl, asyncpg.Connection]":
    replica = settings.postgres_read_url if read_only else None
    attempts = 1 if settings.postgres_url or replica else _EMBEDDED_ATTEMPTS
    while True:
        attempts -= 1
        if replica:
            url, origin = replica, _origin(settings, "POSTGRES_READ_URL")
        else:
            found = await locate(settings, create=create, progress=progress)
            url, origin = found.url, found.origin
        try:
            with naming_origin(origin):
                return url, await open_connection(url, statement_timeout=statement_timeout, read_only=read_only)
        except DatabaseError as error:
            # The last client may just be stopping the embedded server: then it is started again.
            # One that hangs is not: each attempt would take all the time that it has.
            if not attempts or not error.transient or error.code == "database_timeout":
                raise


def _origin(settings: Settings, name: str) -> str:
    source = settings.sources[name]
    return f"{name} is set by {source}" if source.path is not None else ""


@contextmanager
def naming_origin(origin: str) -> Iterator[None]:
    """Add the file and line of the URL to connection errors, because it can be the wrong file."""
    try:
        yield
    except DatabaseError as error:
        if origin:
            error.message = f"{error.message} ({origin})"
        raise
