"""Reads the memories, sessions and exchanges of one user."""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from junkie_cli.core.errors import NotFoundError
from junkie_cli.core.foreign_values import as_text, as_time, document, objects
from junkie_cli.core.postgres.sql import bind
from junkie_cli.core.sanitize import quoted_id
from junkie_cli.core.schema.registry import PENDING
from junkie_cli.core.schema.runs import elements
from junkie_cli.core.schema.stored_text import storable
from junkie_cli.core.schema.tables import MEMORIES, MEMORIES_BY_USER, RUNS, SESSIONS, SchemaState
from junkie_cli.core.turns.access_log import log_refusal
from junkie_cli.core.turns.connections import Connections
from junkie_cli.core.turns.history import CONTEXT_STATUSES, exchange
from junkie_cli.core.turns.types import Counts, Exchange, MemoryEntry, SessionEntry

if TYPE_CHECKING:
    from junkie_cli.core.postgres.connection import Connection


SAID = "r.run_data #>> '{input,input_content}'"
ANSWERED = "r.run_data #>> '{content}'"

ENTRY = "json_build_array(m.memory_id, {text}, m.topics::text, m.updated_at)"
"""SQL of what `memory_entry` takes. Topics are a text of their own: no other memory is lost by what nobody can read."""

_ENTRY = ENTRY.format(text="m.memory #>> '{}'")

NEWEST = "ORDER BY coalesce(m.updated_at, m.created_at, 0) DESC, m.memory_id DESC"
"""SQL that no index on updated_at alone can serve: the planner would walk it past every other user's memories."""

_NEWEST_DATED = "ORDER BY m.updated_at DESC, m.memory_id DESC"  # what our index on memories has in order


def newest_memories(state: SchemaState, limit: int | str, *, offset: int = 0, condition: str = "true") -> str:
    """SQL behind FROM: rows `m` of the memories of `:user_id` that meet `condition`, newest first.

    With our index as many as are asked for are read, without it all of the user's are sorted.
    """
    table = f"(SELECT m.* FROM {state.qualified(MEMORIES)} m WHERE m.user_id = :user_id AND {condition}"
    rows = f"{table} {NEWEST} OFFSET {offset} LIMIT {limit})"
    if state.has_index(MEMORIES, *MEMORIES_BY_USER):
        most = f"LIMIT {limit} + {offset}"
        dated = f"{table} AND m.updated_at IS NOT NULL {_NEWEST_DATED} {most})"
        undated = f"{table} AND m.updated_at IS NULL {NEWEST} {most})"
        rows = f"(SELECT m.* FROM ({dated} UNION ALL {undated}) m {NEWEST} OFFSET {offset} LIMIT {limit})"
    return f"{rows} m"


class Reads:
    """Reading one user's rows. Every statement names the user; each raises DatabaseError when it cannot be answered."""

    def __init__(self, connections: Connections, state: SchemaState) -> None:
        self.state = state
        self._connections = connections

    def _reading(self) -> "AbstractAsyncContextManager[Connection]":
        return self._connections.transaction(read_only=True)

    async def memories(self, user_id: str, *, limit: int = 1000) -> list[MemoryEntry]:
        """The user's memories, newest first, at most `limit`."""
        statement = f"SELECT {_ENTRY}::text AS found FROM {newest_memories(self.state, ':most')} {NEWEST}"
        async with self._reading() as connection:
            rows = await connection.fetch(*bind(statement, user_id=user_id, most=limit))
        return [memory_entry(json.loads(row["found"])) for row in rows]

    async def memory(self, user_id: str, memory_id: str) -> MemoryEntry | None:
        """One memory of this user, None when it is not there or not theirs."""
        statement = f"""
            SELECT {_ENTRY}::text FROM {self.state.qualified(MEMORIES)} m
            WHERE m.user_id = :user_id AND m.memory_id = :memory_id"""
        async with self._reading() as connection:
            found = await connection.fetchval(*bind(statement, user_id=user_id, memory_id=storable(memory_id)))
        return None if found is None else memory_entry(json.loads(found))

    async def memory_ids(self, user_id: str, prefix: str) -> list[str]:
        """Ids of this user's memories that begin with `prefix`, at most two; an exact one alone."""
        statement = f"""
            SELECT memory_id FROM {self.state.qualified(MEMORIES)}
            WHERE user_id = :user_id AND starts_with(memory_id, :prefix)
            ORDER BY memory_id <> :prefix, memory_id LIMIT 2"""
        async with self._reading() as connection:
            rows = await connection.fetch(*bind(statement, user_id=user_id, prefix=storable(prefix)))
        return _exact_or_all([row["memory_id"] for row in rows], prefix)

    async def session_ids(self, user_id: str, prefix: str) -> list[str]:
        """Ids of this user's sessions that begin with `prefix`, at most two; an exact one alone.

        Raises NotFoundError when `prefix` is the full id of somebody else's session.
        """
        table = self.state.qualified(SESSIONS)
        exact = f"SELECT session_id, user_id, session_type FROM {table} WHERE session_id = :prefix"
        begun = f"""
            SELECT session_id FROM {table}
            WHERE user_id = :user_id AND session_type = 'team' AND starts_with(session_id, :prefix)
            ORDER BY session_id <> :prefix, session_id LIMIT 2"""
        values = {"user_id": user_id, "prefix": storable(prefix)}
        async with self._reading() as connection:
            row = await connection.fetchrow(*bind(exact, **values))
            if row is not None:
                check_owner(row["session_id"], row["user_id"], row["session_type"], user_id)
            rows = await connection.fetch(*bind(begun, **values))
        return _exact_or_all([row["session_id"] for row in rows], prefix)

    async def sessions(self, user_id: str, *, limit: int) -> list[SessionEntry]:
        """The user's sessions with the team, newest first."""
        count, first_words = self._session_sql()
        # agno's times are whole seconds: within one, the row written by the later transaction is the newer.
        newest = "coalesce(o.updated_at, o.created_at) DESC, {written}, o.session_id"
        statement = f"""
            SELECT o.session_id, o.session_data ->> 'session_name' AS name, coalesce(o.updated_at, o.created_at) AS at,
                {count} AS runs, {first_words} AS first_words
            FROM (
                SELECT o.*, age(o.xmin) AS written FROM {self.state.qualified(SESSIONS)} o
                WHERE user_id = :user_id AND session_type = 'team'
                ORDER BY {newest.format(written="age(o.xmin)")} LIMIT :most
            ) o ORDER BY {newest.format(written="o.written")}"""
        async with self._reading() as connection:
            rows = await connection.fetch(*bind(statement, user_id=user_id, most=limit))
        return [
            SessionEntry(
                row["session_id"], row["name"] or "", row["first_words"] or "", row["runs"], as_time(row["at"])
            )
            for row in rows
        ]

    def _session_sql(self) -> tuple[str, str]:
        """SQL of how many runs `:user_id` has in session `o`, and of the first words said there."""
        runs = self.state.qualified(RUNS)
        mine = "r.session_id = o.session_id AND r.user_id = :user_id AND r.parent_run_id IS NULL"
        count = f"(SELECT count(*) FROM {runs} r WHERE {mine})"
        first = f"(SELECT left({SAID}, 200) FROM {runs} r WHERE {mine} ORDER BY r.run_index LIMIT 1)"
        if not self.state.has_runs_column:
            return count, first
        old = f"{legacy(self.state)} AND s.session_id = o.session_id"
        run = self.state.safe_json("e.run", SESSIONS, "runs")
        old_first = f"(SELECT left({run} #>> '{{input,input_content}}', 200) FROM {old} ORDER BY e.position LIMIT 1)"
        return f"(SELECT count(*) FROM {old}) + {count}", f"coalesce({old_first}, {first})"

    async def exchanges(self, user_id: str, *, session_id: str | None = None, limit: int = 200) -> list[Exchange]:
        """This user's last exchanges, oldest first: of one session or of all."""
        statement = f"""
            SELECT r.run_id, r.created_at, r.status, {SAID} AS said, {ANSWERED} AS answered
            FROM {self.state.qualified(RUNS)} r
            WHERE r.user_id = :user_id AND r.parent_run_id IS NULL
                AND (:session_id::text IS NULL OR r.session_id = :session_id)
            ORDER BY {"r.run_index" if session_id else "r.created_at"} DESC LIMIT :most"""
        async with self._reading() as connection:
            rows = await connection.fetch(*bind(statement, user_id=user_id, session_id=session_id, most=limit))
            old: list[dict[str, Any]] = []
            if session_id and self.state.has_runs_column and len(rows) < limit:
                old = await legacy_runs(connection, self.state, user_id, session_id, limit - len(rows))
        own = [exchange_of(row) for row in reversed(rows)]
        return [exchange(run) for run in old] + own

    async def counts(self, user_id: str) -> Counts:
        """How much is kept of this user."""
        pending = "0"
        if self.state.may("SELECT", PENDING):
            pending = f"(SELECT count(*) FROM {self.state.qualified(PENDING)} WHERE user_id = :user_id)"
        one = "(SELECT count(*) AS n, min(created_at) AS first FROM {table} WHERE user_id = :user_id)"
        statement = f"""
            SELECT m.n AS memories, s.n AS sessions, {pending} AS pending, least(m.first, s.first) AS first
            FROM {one.format(table=self.state.qualified(MEMORIES))} m,
                {one.format(table=self.state.qualified(SESSIONS))} s"""
        async with self._reading() as connection:
            row = await connection.fetchrow(*bind(statement, user_id=user_id))
        assert row is not None
        return Counts(row["memories"], row["sessions"], row["pending"], as_time(row["first"]))


def _exact_or_all(ids: list[str], wanted: str) -> list[str]:
    return [wanted] if wanted in ids else ids


def exchange_of(row: Mapping[str, Any]) -> Exchange:
    """The exchange in a row with the columns run_id, created_at, status, said and answered."""
    return Exchange(
        row["run_id"], as_time(row["created_at"]), row["status"] or "", row["said"] or "", row["answered"] or ""
    )


def memory_entry(found: Sequence[Any]) -> MemoryEntry:
    """A memory from its id, text, topics and time (seconds since 1970)."""
    memory_id, memory, stored, updated_at = found
    topics = document(stored)
    named = tuple(map(as_text, topics)) if isinstance(topics, list) else ()
    return MemoryEntry(memory_id, memory or "", named, as_time(updated_at))


def check_owner(session_id: str | None, owner: str | None, kind: str | None, user_id: str) -> None:
    """Refuse a session that is not a team session of this user; None in `session_id`: it does not exist.

    A session without an owner is refused as well: it may contain messages of anybody. Raises NotFoundError.
    """
    if session_id is None:
        return
    if owner != user_id:
        log_refusal(user_id, "session", session_id)
        whose = "belongs to another user" if owner else "belongs to nobody"
        raise NotFoundError(
            f"session {quoted_id(session_id)} {whose}, not to {quoted_id(user_id)}",
            hint="name another session, or start a new one",
            code="session_not_yours",
        )
    if kind != "team":
        raise NotFoundError(
            f"session {quoted_id(session_id)} belongs to an agno {kind}, not to a team",
            hint="name another session, or start a new one",
            code="session_other_kind",
        )


def legacy(state: SchemaState) -> str:
    """SQL behind FROM: runs `e.run` of `:user_id` that agno 2 kept in the row of session `s`, and that did not move.

    A run without a user belongs to the session's owner.
    """
    run = state.safe_json("e.run", SESSIONS, "runs")
    return f"""{state.qualified(SESSIONS)} s, LATERAL {elements(state, "s.runs")}
        WHERE {run} ->> 'parent_run_id' IS NULL AND coalesce({run} ->> 'user_id', s.user_id) = :user_id
            AND NOT EXISTS (SELECT 1 FROM {state.qualified(RUNS)} t WHERE t.run_id = {run} ->> 'run_id')"""


async def legacy_runs(
    connection: "Connection", state: SchemaState, user_id: str, session_id: str, limit: int
) -> list[dict[str, Any]]:
    """The last runs that agno 2 kept inside the session's row and that are in no row of their own, oldest first."""
    run = state.safe_json("e.run", SESSIONS, "runs")
    statement = f"""
        SELECT e.run::text AS run FROM {legacy(state)} AND s.session_id = :session_id
            AND coalesce({run} ->> 'status', 'COMPLETED') = ANY(:heard::text[])
        ORDER BY e.position DESC LIMIT :most"""
    values = {"user_id": user_id, "session_id": session_id, "heard": list(CONTEXT_STATUSES), "most": limit}
    return [objects(row["run"]) for row in reversed(await connection.fetch(*bind(statement, **values)))]
