"""The connections of a conversation: kept open between turns, shared by all teams of the process.

SQLAlchemy's pool is not used: its first connection needs a dozen round trips of introspection, and its pre-ping three
more for each turn. Here a kept connection is tested by the BEGIN that is sent anyway; if that fails, nothing has been
done yet, and the next connection is tried.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from junkie_cli.core.database import Database, locate, naming_origin
from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.postgres.connect import close_connection, open_connection
from junkie_cli.core.postgres.errors import translate_errors
from junkie_cli.core.progress import Progress
from junkie_cli.core.settings import Settings

if TYPE_CHECKING:
    from junkie_cli.core.postgres.connection import Connection


STATEMENT_TIMEOUT = 15.0
"""Seconds after which a statement of the conversation is cancelled: the user waits for it."""

MAX_OPEN = 8
"""Connections open at once; further transactions wait for one."""


class Connections:
    """Connections to one database, for one event loop."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self.database = database
        self._idle: list[Connection] = []
        self._places = asyncio.Semaphore(MAX_OPEN)
        self._closed = False

    @asynccontextmanager
    async def transaction(self, *, read_only: bool = False) -> "AsyncIterator[Connection]":
        """A transaction on one connection, committed at the end. Raises DatabaseError for whatever goes wrong.

        A connection on which anything went wrong is not used again: after a fail-over it may lead to a standby.
        """
        async with self._places:
            connection, transaction = await self._begin(read_only)
            async with self._used(connection):
                yield connection
                await transaction.commit()

    @asynccontextmanager
    async def statement(self) -> "AsyncIterator[Connection]":
        """A connection for a statement that reads, and needs no BEGIN and COMMIT unless a pooler stands between.

        The connection is not tested first: after `database_lost` all idle connections are closed, and the caller may
        try again. Raises DatabaseError.
        """
        async with self._places:
            connection = self._taken() or await self.open()
            try:
                async with self._used(connection), self._single(connection):
                    yield connection
            except DatabaseError as error:
                if error.code == "database_lost":
                    self._give_up_idle()
                raise

    @asynccontextmanager
    async def _used(self, connection: "Connection") -> AsyncIterator[None]:
        """Keep the connection as idle afterwards, unless the block raises."""
        with self._terminated_by_errors(connection):
            yield
        if self._closed:
            await close_connection(connection)
        else:
            self._idle.append(connection)

    @contextmanager
    def _terminated_by_errors(self, connection: "Connection") -> Iterator[None]:
        """Translate errors of the block; after any error the connection is closed."""
        try:
            with translate_errors(self.database.url):
                yield
        except BaseException:
            connection.terminate()
            raise

    def _single(self, connection: "Connection") -> AbstractAsyncContextManager[Any]:
        kept: bool = connection.keeps_statements
        return nullcontext() if kept else connection.transaction(readonly=True)

    def _taken(self) -> "Connection | None":
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return None

    def _give_up_idle(self) -> None:
        while (connection := self._taken()) is not None:
            connection.terminate()

    async def _begin(self, read_only: bool) -> "tuple[Connection, Any]":
        while (connection := self._taken()) is not None:
            with suppress(DatabaseError):
                return connection, await self._started(connection, read_only)
        connection = await self.open()
        return connection, await self._started(connection, read_only)

    async def _started(self, connection: "Connection", read_only: bool) -> Any:
        transaction = connection.transaction(readonly=read_only)
        with self._terminated_by_errors(connection):
            await transaction.start()
        return transaction

    async def warm(self) -> None:
        """Open the first connection. Raises DatabaseError."""
        self._idle.append(await self.open())

    async def open(self) -> "Connection":
        """A new connection, not kept. An embedded server that has stopped meanwhile is started again."""
        try:
            return await self._connect()
        except DatabaseError as error:
            if not self.database.embedded or not error.transient:
                raise
        self.database = await locate(self._settings)
        return await self._connect()

    async def _connect(self) -> "Connection":
        with naming_origin(self.database.origin):
            connection = await open_connection(self.database.url, statement_timeout=STATEMENT_TIMEOUT)
        with self._terminated_by_errors(connection):
            await connection.keep_statements()
        return connection

    async def close(self) -> None:
        """Close idle connections now, and those in use after their use; safe to call twice."""
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            await close_connection(connection)


async def connect_first(settings: Settings, progress: Progress) -> Connections:
    """Connections to the configured database, with one open; creates and starts the embedded database."""
    connections = Connections(settings, await locate(settings, create=True, progress=progress))
    await connections.warm()
    return connections
