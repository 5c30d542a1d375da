"""Reports who holds the lock that a statement waits for, using a second connection.

Data flows: a statement takes longer than a second -> a second connection reads `pg_blocking_pids` -> the sessions are
reported (`core/reporting.py`), and named in the error if PostgreSQL's `lock_timeout` ends the wait. Errors of the
second connection are ignored: the command does not depend on it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from junkie_cli.core.reporting import report

if TYPE_CHECKING:
    import asyncpg

FIRST_LOOK = 1.0
"""Seconds after which a running statement is checked for locks."""
_NEXT_LOOK = 2.0
_NAMED = 3

# The waiting session is found by its statement, because a pooler has its own process numbers; a role after `SET ROLE`
# cannot see statements, and uses the process id.
_BLOCKERS = """
SELECT p.pid, a.usename::text AS role, left(a.application_name, 60) AS program, a.state,
  extract(epoch FROM clock_timestamp() - a.xact_start)::bigint AS seconds
FROM (SELECT w.pid, coalesce(w.wait_event_type = 'Lock' AND left(w.query, 60) = left($2, 60), false) AS waits
    FROM pg_catalog.pg_stat_activity w WHERE w.usename = session_user AND w.datname = current_database()
      AND (w.pid = $1 OR w.wait_event_type = 'Lock' AND left(w.query, 60) = left($2, 60))
    ORDER BY 2 DESC, w.pid = $1 DESC LIMIT 1) w
CROSS JOIN LATERAL (SELECT DISTINCT unnest(pg_blocking_pids(w.pid)) AS pid) p
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = p.pid AND p.pid <> 0 ORDER BY 1
"""


class LockWatch:
    """Watches the statements of one connection. `connect` opens a second connection to the same server."""

    def __init__(self, process: int, connect: "Callable[[], Awaitable[asyncpg.Connection[Any]]]") -> None:
        self._process = process
        self._connect = connect
        self._task: asyncio.Task[None] | None = None
        self._watching = False
        self.blockers = ""
        """Description of the sessions that held the lock at the last check; empty if there were none."""

    @contextmanager
    def statement(self, query: str) -> Iterator[None]:
        """Watch the statement in the block; errors of PostgreSQL then have `blocked_by`."""
        if self._watching:  # part of a watched statement
            yield
            return
        self._watching, self.blockers = True, ""
        timer = asyncio.get_running_loop().call_later(FIRST_LOOK, self._begin, query)
        try:
            yield
        except Exception as error:
            if self.blockers:
                error.blocked_by = self.blockers  # type: ignore[attr-defined]
            raise
        finally:
            self._watching = False
            timer.cancel()
            if self._task is not None:
                self._task.cancel()
                self._task = None

    def _begin(self, query: str) -> None:
        self._task = asyncio.get_running_loop().create_task(self._find_blockers(query))

    async def _find_blockers(self, query: str) -> None:
        connection, reported = None, set[int]()
        try:
            connection = await self._connect()
            while True:
                async with connection.transaction(readonly=True):
                    rows = await connection.fetch(_BLOCKERS, self._process, query)
                if rows:
                    self.blockers = _named(rows)
                    holders = {row["pid"] for row in rows}
                    if not holders <= reported:  # the same ones, for some seconds longer, are no news
                        report(f"waiting for a lock held by {self.blockers}")
                    reported = holders
                await asyncio.sleep(_NEXT_LOOK)
        except Exception:
            return  # the statement itself reports errors of the server
        finally:
            if connection is not None:
                connection.terminate()


def _named(rows: "list[Any]") -> str:
    named = "; ".join(_session(row) for row in rows[:_NAMED])
    return named + (f"; and {len(rows) - _NAMED} more" if len(rows) > _NAMED else "")


def _session(row: Any) -> str:
    if not row["pid"]:
        return "a prepared transaction"
    facts = [f"{row['program'] or 'unnamed'} of {row['role']}" if row["role"] else "", row["state"] or ""]
    if row["seconds"] is not None:
        facts.append(f"for {row['seconds']} s")
    details = ", ".join(fact for fact in facts if fact)
    return f"process {row['pid']}" + (f" ({details})" if details else "")
