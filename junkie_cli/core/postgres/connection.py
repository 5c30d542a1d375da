"""The connection class of junkie. It overrides private parts of asyncpg, hence the narrow range of versions.

Five behaviors of asyncpg are unsuitable: it names the statements of cursors, needs extra round trips to set limits,
waits endlessly for the server to acknowledge a cancellation, relies on TCP to detect a dead peer, and assumes that
every peer is PostgreSQL.
"""

import codecs
import re
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import SimpleNamespace
from typing import Any

import asyncpg  # noqa: TID253  this module is loaded when the first connection is opened
from asyncpg import connect_utils, protocol  # noqa: TID253

from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.lock_watch import LockWatch

CANCEL_TIMEOUT = 3.0
"""Seconds for a server to stop a cancelled statement, before the connection is closed."""

_MOST_STATEMENTS = 100  # a conversation uses about thirty

_TRUSTED_PATH = """
 SELECT pg_catalog.set_config('search_path', COALESCE((
  SELECT pg_catalog.string_agg(pg_catalog.quote_ident(s.nspname), ', ' ORDER BY p.place)
  FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) WITH ORDINALITY AS p (name, place)
  JOIN pg_catalog.pg_namespace s ON s.nspname OPERATOR(pg_catalog.=) p.name
  JOIN pg_catalog.pg_roles me ON me.rolname OPERATOR(pg_catalog.=) current_user
  WHERE (s.nspname OPERATOR(pg_catalog.<>) me.rolname OR s.nspowner OPERATOR(pg_catalog.=) me.oid)
   AND (NOT EXISTS (SELECT FROM pg_catalog.aclexplode(s.nspacl) g
     WHERE g.privilege_type OPERATOR(pg_catalog.=) 'CREATE'::pg_catalog.text
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid OPERATOR(pg_catalog.=) g.grantee
       AND (r.rolsuper OR r.oid OPERATOR(pg_catalog.=) me.oid OR r.oid OPERATOR(pg_catalog.=) s.nspowner
        OR r.rolname OPERATOR(pg_catalog.=) 'pg_database_owner'::pg_catalog.name)))
    OR EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE e.extnamespace OPERATOR(pg_catalog.=) s.oid
     AND e.extname OPERATOR(pg_catalog.=) 'citext'::pg_catalog.name))
 ), ''), true);"""
"""Removes schemas from `search_path` for this transaction in which another role may create functions.

Such a function for `character varying`, the type of agno's columns, would be called in place of PostgreSQL's own for
`text` (CVE-2018-1058). Trusted are superusers, pg_database_owner, a schema's owner (but not of a schema with the
name of the connected role) and the connected role. A schema with the extension citext stays, because without its
operators user ids would be compared in another way.
"""

_FIRST = b"REvN"
_LONGEST_FIRST = 30_000
"""The types of a server's first message (log-in request, error, other version, notice), with libpq's limits of their
length in bytes (fe-connect.c, MAX_ERRLEN)."""


class Protocol(protocol.Protocol):  # type: ignore[misc]
    """asyncpg's protocol, after a check that the first message is PostgreSQL's.

    asyncpg trusts every length. A length below four results in an endless loop that blocks all threads and signals, so
    a peer that sends zeros would hang the process. Text, for example of a web server, looks like a length of a
    gigabyte.
    """

    def __init__(self, address: Any, connected: Any, *arguments: Any) -> None:
        super().__init__(address, connected, *arguments)
        self._connected = connected
        self._head = b""
        self._recognised = False
        self.data_received: Callable[[bytes], None] = self._check_first_message

    def _check_first_message(self, data: bytes) -> None:
        if self._recognised:  # uvloop caches the method
            super().data_received(data)
            return
        self._head += data
        length = int.from_bytes(self._head[1:5], "big")
        if self._head[0] not in _FIRST or (len(self._head) >= 5 and not 4 <= length <= _LONGEST_FIRST):
            self._refuse()
        elif len(self._head) >= 5:
            self._recognised = True
            self.data_received = super().data_received  # asyncio's loop looks it up on each call
            self.data_received(self._head)

    def _refuse(self) -> None:
        self.data_received = _ignore
        if not self._connected.done():
            self._connected.set_exception(asyncpg.InterfaceError("the first message is not PostgreSQL's"))


def _ignore(_: bytes) -> None:
    """Discard data of a rejected peer."""


connect_utils.protocol = SimpleNamespace(Protocol=Protocol)


def _from_bytes(value: Any) -> Any:
    """Decode a value of a server without an encoding as UTF-8; other bytes become surrogates."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("latin-1").decode("utf-8", "surrogateescape")
    return [_from_bytes(item) for item in value] if isinstance(value, list) else value


def _as_bytes(value: Any) -> Any:
    """Reverse `_from_bytes`: return a text whose characters are the bytes of UTF-8.

    Only for arguments: asyncpg encodes them in `client_encoding`, but statements always in UTF-8.
    """
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "surrogateescape").decode("latin-1")
    return [_as_bytes(item) for item in value] if isinstance(value, list | tuple) else value


def _literal_of_bytes(value: Any) -> str:
    """Return SQL for a text of any bytes, because statements are always UTF-8."""
    if value is None:
        return "NULL::text"
    return f"convert_from('\\x{value.encode('utf-8', 'surrogateescape').hex()}'::bytea, 'SQL_ASCII')"


_BYTES_IN_NAME = "[^\\s\"'(),.]*[\udc80-\udcff][^\\s\"'(),.]*"


@contextmanager
def _in_bytes(query: str) -> Iterator[None]:
    """Raise DatabaseError for names in a statement, or messages of the server, that are not UTF-8."""
    if not query.isascii() and (name := re.search(_BYTES_IN_NAME, query)):
        shown = name[0].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        raise DatabaseError(
            f"the name of a table or column is not UTF-8, so no statement can name it: {shown}",
            hint="the database has no encoding (SQL_ASCII): have its owner rename that, with a client that sends the"
            " same bytes",
            code="database_text",
        )
    try:
        yield
    except UnicodeDecodeError:
        raise DatabaseError(
            "the database refused a statement, or sent a message, with text that is not UTF-8",
            hint="check the server's log; the database has no encoding (SQL_ASCII)",
            code="database_error",
        ) from None


class _LastEncoded(threading.local):
    """The text that this thread encoded last."""

    encoded: Any = None


_kept = _LastEncoded()


def _keep_what_is_encoded(codec: codecs.CodecInfo) -> None:
    """Make `codec` keep a reference to the text that it encoded last.

    asyncpg frees an encoded argument before it copies it into the message, unless the client encoding is UTF-8 (asyncpg
    0.31, pgproto/codecs/text.pyx): for longer texts the server then got other contents of that memory.
    """
    encode = codec[0]

    def keep(text: str, errors: str = "strict") -> Any:
        _kept.encoded = encode(text, errors)
        return _kept.encoded

    codec.encode = keep  # type: ignore[misc]


class _ByteRecord(asyncpg.Record):  # type: ignore[misc]
    """A row of a server without an encoding."""

    def __getitem__(self, key: Any) -> Any:
        return _from_bytes(super().__getitem__(_as_bytes(key)))

    def __iter__(self) -> Any:
        return map(_from_bytes, super().__iter__())

    def get(self, key: str, default: Any = None) -> Any:
        return _from_bytes(super().get(_as_bytes(key), default))

    def keys(self) -> Any:
        return map(_from_bytes, super().keys())

    def values(self) -> Any:
        return map(_from_bytes, super().values())

    def items(self) -> Any:
        return [(_from_bytes(name), _from_bytes(value)) for name, value in super().items()]


class Connection(asyncpg.Connection):  # type: ignore[misc]
    """asyncpg's connection, restricted to what a pooler in transaction mode supports, with bounded cancellation."""

    _read_only = False
    _limits = ""
    _watch: LockWatch | None = None
    keeps_statements = False
    """Whether prepared statements are cached (`keep_statements`)."""

    reads_bytes = False
    """Whether the database has no encoding (SQL_ASCII): bytes that are not UTF-8 become surrogates."""

    @property
    def server_encoding(self) -> str:
        """The encoding of the database, for example UTF8 or SQL_ASCII."""
        return str(self.get_settings().server_encoding)

    async def read_bytes(self) -> None:
        """Exchange any bytes as text, for a server that does not validate an encoding.

        With client encoding UTF-8 such a server refuses rows with other bytes. This is the only setting that outlives a
        transaction, and poolers track it for each client, like start-up parameters.
        """
        await self.execute("SET client_encoding = 'LATIN1'")
        _keep_what_is_encoded(self._protocol.get_settings().get_text_codec())
        self.reads_bytes = True

    def hold_to(self, *, read_only: bool, statement_timeout: float | None, lock_timeout: float | None = None) -> None:
        """Make every transaction READ ONLY, and limit its statements and waits for locks (seconds).

        Every transaction also gets standard_conforming_strings, whatever the database's default, and a `search_path`
        without schemas in which others may create functions.
        """
        self._read_only = read_only
        limits = {"statement_timeout": statement_timeout, "lock_timeout": lock_timeout}
        self._limits = " SET LOCAL standard_conforming_strings = on;" + "".join(
            f" SET LOCAL {name} = {max(1, round(seconds * 1000))};" for name, seconds in limits.items() if seconds
        )
        self._limits += _TRUSTED_PATH

    def watch_locks(self, connect: "Callable[[], Awaitable[Connection]]") -> None:
        """Report who holds a lock that a statement waits for; `connect` opens a second connection."""
        self._watch = LockWatch(self.get_server_pid(), connect)

    @contextmanager
    def _watched(self, query: str) -> Iterator[None]:
        watch: AbstractContextManager[None] = self._watch.statement(query) if self._watch else nullcontext()
        with watch, _in_bytes(query) if self.reads_bytes else nullcontext():
            yield

    def transaction(self, *, isolation: Any = None, readonly: bool = False, deferrable: bool = False) -> Any:
        """As in asyncpg, but READ ONLY if the connection is."""
        readonly = readonly or self._read_only
        return super().transaction(isolation=isolation, readonly=readonly, deferrable=deferrable)

    async def execute(self, query: str, *arguments: Any, **options: Any) -> Any:
        """As in asyncpg; limits of a transaction are sent with BEGIN, without an extra round trip."""
        text = query + self._limits if query.startswith("BEGIN") and query.endswith(";") else query
        with self._watched(text):
            return await super().execute(text, *arguments, **options)

    async def _do_execute(self, query: str, *arguments: Any, **options: Any) -> Any:
        with self._watched(query):
            return await super()._do_execute(query, *arguments, **options)

    async def _execute(self, query: str, args: Any, *more: Any, **options: Any) -> Any:
        if self.reads_bytes:
            args = _as_bytes(args)
        return await super()._execute(query, args, *more, **options)

    async def _executemany(self, query: str, args: Any, *more: Any, **options: Any) -> Any:
        if self.reads_bytes:
            args = [_as_bytes(each) for each in args]
        return await super()._executemany(query, args, *more, **options)

    def cursor(self, query: str, *args: Any, **options: Any) -> Any:
        """As in asyncpg."""
        return super().cursor(query, *(_as_bytes(args) if self.reads_bytes else args), **options)

    async def _copy_in(self, statement: str, *more: Any, **options: Any) -> Any:
        with self._watched(statement):
            return await super()._copy_in(statement, *more, **options)

    async def _copy_out(self, statement: str, *more: Any, **options: Any) -> Any:
        with self._watched(statement):
            return await super()._copy_out(statement, *more, **options)

    async def copy_from_query(self, query: str, *args: Any, **options: Any) -> Any:
        """As asyncpg's, which puts the arguments into the statement."""
        if self.reads_bytes:
            query, args = re.sub(r"\$(\d+)", lambda found: _literal_of_bytes(args[int(found[1]) - 1]), query), ()
        return await super().copy_from_query(query, *args, **options)

    async def keep_statements(self) -> None:
        """Cache prepared statements, unless a pooler can run the next transaction on another server.

        Without a cache, each statement needs a round trip, two parses and a plan. If the process id is the one reported
        at log-in, there is no pooler, or it uses one server for each client; poolers report their own. The query uses
        the simple protocol, because a pooler cannot split a single message.
        """
        with suppress(asyncpg.UndefinedFunctionError):  # missing in some PostgreSQL-compatible servers
            same = await self.execute(f"SELECT 1 WHERE pg_backend_pid() = {self.get_server_pid()}")
            self.keeps_statements = same == "SELECT 1"
        if self.keeps_statements:
            self._stmt_cache_enabled = True
            self._stmt_cache.set_max_size(_MOST_STATEMENTS)

    async def _get_statement(self, query: str, *more: Any, named: Any = False, **options: Any) -> Any:
        # Even without a cache asyncpg names the statements of cursors (`__asyncpg_stmt_1__` in every process) and
        # leaves them on a server connection that another client gets next. Without a name each execution contains
        # its own parse, in the same message.
        if not self.keeps_statements and named is True:
            named = ""
        if self.reads_bytes:
            options["record_class"] = _ByteRecord
        with self._watched(query):
            return await super()._get_statement(query, *more, named=named, **options)

    def _cancel_current_command(self, *waiters: Any) -> None:
        super()._cancel_current_command(*waiters)
        self._loop.call_later(CANCEL_TIMEOUT / 3, self._insist, waiters)
        self._loop.call_later(CANCEL_TIMEOUT, self._give_up, waiters)

    def _insist(self, waiters: tuple[Any, ...]) -> None:
        # A cancel request can arrive before the statement, and has no effect on an idle server.
        if self._waits_for(waiters):
            super()._cancel_current_command(*waiters)

    def _give_up(self, waiters: tuple[Any, ...]) -> None:
        if self._waits_for(waiters):
            self.terminate()

    def _waits_for(self, waiters: tuple[Any, ...]) -> bool:
        return not self.is_closed() and not all(waiter.done() for waiter in waiters)

    def keep_alive(self) -> None:
        """Detect a dead peer within about a minute, where TCP can need hours."""
        sock = self._transport.get_extra_info("socket")
        if sock is None or sock.family == socket.AF_UNIX:
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("KEEPIDLE", 30), ("KEEPINTVL", 10), ("KEEPCNT", 3), ("USER_TIMEOUT", 60_000)):
            option = getattr(socket, f"TCP_{name}", None)  # macOS lacks some
            if option is not None:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
