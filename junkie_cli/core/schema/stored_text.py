"""What rows may hold: text that PostgreSQL can store, tombstones of erased people, and the server's time."""

from datetime import datetime
from typing import TYPE_CHECKING

from junkie_cli.core.postgres.sql import sha256_of
from junkie_cli.core.schema.own_tables import OLDEST_WRITER, number_in
from junkie_cli.core.schema.registry import OWN_VERSIONS, TOMBSTONES
from junkie_cli.core.schema.tables import SchemaState, transaction

if TYPE_CHECKING:
    from junkie_cli.core.postgres.connection import Connection


def tombstone_statement(state: SchemaState) -> str:
    """SQL that takes a user id as $1 and gives the time of that user's erasure, or no row."""
    return (
        f"SELECT t.erased_at FROM {state.qualified(TOMBSTONES)} t JOIN {state.qualified(OWN_VERSIONS)} v"
        f" ON v.name = 'salt' WHERE t.user_hash = {sha256_of('v.value || $1')}"
    )


def lock_name(state: SchemaState, user_id: str) -> str:
    """The text that stands for a user in LOCK_SHARED and LOCK_ALONE."""
    return f"junkie user {state.schema} {user_id}"


async def database_time(connection: "Connection") -> datetime:
    """The server's clock: what a turn keeps as the moment it began, for `lock_user`."""
    async with transaction(connection):
        time: datetime = await connection.fetchval("SELECT clock_timestamp()")
    return time


async def read_marks(connection: "Connection", state: SchemaState, user_id: str) -> tuple[int, datetime | None]:
    """What a writer must know, in one statement: the oldest version that may write, and when this user was erased."""
    if not state.may("SELECT", OWN_VERSIONS):
        return 0, None
    erased = f"({tombstone_statement(state)})" if state.may("SELECT", TOMBSTONES) else "NULL::timestamptz"
    row = await connection.fetchrow(
        f"SELECT (SELECT value FROM {state.qualified(OWN_VERSIONS)} WHERE name = '{OLDEST_WRITER}') AS oldest_writer,"
        f" {erased} AS erased_at FROM (SELECT $1::text) one",
        user_id,
    )
    assert row is not None
    return number_in(row["oldest_writer"]), row["erased_at"]


async def erased_at(connection: "Connection", state: SchemaState, user_id: str) -> datetime | None:
    """When this user was erased, None if never, or if that cannot be known."""
    if not user_id or not state.may("SELECT", TOMBSTONES) or not state.may("SELECT", OWN_VERSIONS):
        return None
    time: datetime | None = await connection.fetchval(tombstone_statement(state), user_id)
    return time


def storable(text: str) -> str:
    """`text` as PostgreSQL can hold it: without NUL, which no text column takes, and without lone surrogates."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()
