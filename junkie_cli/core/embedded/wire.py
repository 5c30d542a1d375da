"""Enough of PostgreSQL's protocol to ask a server of ours one question over its socket.

The keeper uses it to count clients and the tests to clone databases: a few milliseconds and no process, where psql
would cost a process each time and would be gone when the package is upgraded under a running server.
Peer and trust authentication only. https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

import socket
import struct

PROTOCOL = 196608  # 3.0
OPERATOR_INTERVENTION = "57P"  # SQLSTATEs: starting up, shutting down, recovering
SOCKET_NAME = ".s.PGSQL.{port}"
PORT = 5432  # the number in a socket's name; each server has a folder of its own


class WireError(Exception):
    """The server refused, with its SQLSTATE, or did not answer (`sqlstate` empty)."""

    def __init__(self, message: str, sqlstate: str = "") -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


def socket_path(folder: str, port: int = PORT) -> str:
    """Where the server's socket lies in its folder."""
    return f"{folder}/{SOCKET_NAME.format(port=port)}"


def takes_connections(folder: str, *, user: str, database: str, port: int = PORT) -> bool:
    """Whether a server answers on the socket in `folder` and lets clients in, or has let in as many as it can.

    A stale socket file does not count, nor a server that starts, stops or recovers.
    """
    try:
        ask(folder, "", user=user, database=database, port=port, timeout=2)
    except WireError as error:
        return bool(error.sqlstate) and not error.sqlstate.startswith(OPERATOR_INTERVENTION)
    return True


def ask(
    folder: str, sql: str, *, user: str, database: str, port: int = PORT, timeout: float = 10
) -> list[tuple[str | None, ...]]:
    """Run `sql`, one statement, several or none, and return the rows. Raises WireError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(socket_path(folder, port))
            return _converse(connection, sql, user, database)
        except OSError as error:
            raise WireError(str(error)) from None


def _converse(connection: socket.socket, sql: str, user: str, database: str) -> list[tuple[str | None, ...]]:
    words = ["user", user, "database", database, "application_name", "junkie keeper", ""]
    start = struct.pack("!i", PROTOCOL) + b"\0".join(word.encode() for word in words) + b"\0"
    connection.sendall(struct.pack("!i", len(start) + 4) + start)
    _rows(connection)
    rows = []
    if sql:
        query = sql.encode() + b"\0"
        connection.sendall(b"Q" + struct.pack("!i", len(query) + 4) + query)
        rows = _rows(connection)
    connection.sendall(b"X\0\0\0\4")
    return rows


def _rows(connection: socket.socket) -> list[tuple[str | None, ...]]:
    """Read up to the server's "ready"."""
    rows: list[tuple[str | None, ...]] = []
    while True:
        kind, body = _message(connection)
        if kind == b"Z":
            return rows
        if kind == b"D":
            rows.append(_row(body))
        elif kind == b"E":
            raise _refusal(body)
        elif kind == b"R" and body[:4] != b"\0\0\0\0":
            raise WireError("the server asks for a password", "28P01")


def _message(connection: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(connection, 5)
    return head[:1], _exactly(connection, int.from_bytes(head[1:], "big") - 4)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise WireError("the server closed the connection")
        data += more
    return data


def _row(body: bytes) -> tuple[str | None, ...]:
    columns: list[str | None] = []
    place = 2
    for _ in range(int.from_bytes(body[:2], "big")):
        size = int.from_bytes(body[place : place + 4], "big", signed=True)
        place += 4
        columns.append(None if size < 0 else body[place : place + size].decode())
        place += max(size, 0)
    return tuple(columns)


def _refusal(body: bytes) -> WireError:
    fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
    return WireError(fields.get(b"M", "the server refused"), fields.get(b"C", ""))
