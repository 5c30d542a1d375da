"""Reading memories: pages by keyset, one by its id, and where it came from.

Data flows settings -> connection -> `SchemaState` -> one page query -> `MemoryPage`. Which form of a query is fast
depends on the indexes that are there, so the catalogue is read first. For a user whose rows are old, a page takes
441 ms when the planner walks the index on updated_at past the rows of everybody else, and 1 ms with our index
(docs/decisions/0015-pages-by-keyset-and-version.md).
"""

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from junkie_cli.core import memory_ids
from junkie_cli.core.database import connect
from junkie_cli.core.errors import ResultWarning
from junkie_cli.core.foreign_values import FIRST_BEYOND, scaled
from junkie_cli.core.memories.model import Memory, columns, damaged, memory_of
from junkie_cli.core.postgres import paging
from junkie_cli.core.postgres.paging import Position
from junkie_cli.core.postgres.sql import Where, like
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.sanitize import quoted_id
from junkie_cli.core.schema import row_security, runs, tables
from junkie_cli.core.schema.estimates import all_memories
from junkie_cli.core.schema.tables import MEMORIES, RUNS, SESSIONS, SchemaState, quoted
from junkie_cli.core.settings import Settings
from junkie_cli.core.time_parsing import since, until
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

# Rows that a search looks at first, newest first: a frequent word is found there in a few milliseconds.
NEWEST = 20_000
_MANY = 2_000  # rows of one user that are sorted in some ten milliseconds


@frozen
class MemoryFilter:
    """What to list: all fields are optional; `user_id` "" is what belongs to nobody; times as people give them."""

    user_id: str | None = None
    topic: str | None = None
    search: str | None = None
    since: str | None = None
    until: str | None = None


@frozen
class MemoryPage:
    """A page of memories, newest first; `next` is the cursor of the page after, None on the last.

    The last `late` of them were written after the first page was read. `table_missing` names the table that agno
    has not made yet, which is not the same as an empty one.
    """

    memories: tuple[Memory, ...]
    next: str | None
    late: int = 0
    table_missing: str = ""
    warnings: tuple[ResultWarning, ...] = ()


@frozen
class MemoryDetail:
    """A memory and the run whose message it was taken from, when that run is still there."""

    memory: Memory
    origin: runs.RunKey | None
    warnings: tuple[ResultWarning, ...] = ()


async def list_memories(
    settings: Settings,
    wanted: MemoryFilter,
    *,
    limit: int = 50,
    after: str | None = None,
    replica: bool = True,
    progress: Progress = SILENT,
) -> MemoryPage:
    """One page of memories, by `updated_at` and id, newest first; then what was written since the first page.

    Raises UsageError for a bad time or cursor. `replica` lets POSTGRES_READ_URL answer; what is about to be changed
    must not be read there.
    """
    times = _times(wanted)
    async with connect(settings, read_only=replica) as connection, connection.transaction():
        state = await tables.inspect(connection, settings.layout)
        if not state.has(MEMORIES):
            return MemoryPage((), None, table_missing=state.name(MEMORIES))

        async def rows(place: Position, count: int) -> list[Any]:
            progress.step(_looking(state, place))
            return await _rows(connection, state, wanted, times, place, count)

        found = await paging.page(connection, after, (int, str), limit, rows, itemgetter("updated_at", "memory_id"))
        spelled = await _spelled(connection, state, wanted.user_id)
    memories = tuple(memory_of(row) for row in found.rows)
    warnings = row_security.warnings(state, MEMORIES) + spelled + damaged(connection, memories)
    return MemoryPage(memories, found.next, found.late, warnings=warnings)


async def _spelled(
    connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str | None
) -> tuple[ResultWarning, ...]:
    if not user_id:
        return ()
    from junkie_cli.core.schema import spellings  # few lists are of one user, and each module costs all of them

    return await spellings.spelling_warnings(connection, state, user_id)


def _looking(state: SchemaState, place: Position) -> str:
    if place.since is not None:
        return f"looking through {all_memories(state)} for those written since the first page"
    return f"looking through {all_memories(state)}, newest first"


def _times(wanted: MemoryFilter) -> tuple[int | None, int | None]:
    """The first and the last second that are wanted."""
    return (
        None if wanted.since is None else since(wanted.since),
        None if wanted.until is None else until(wanted.until),
    )


async def _rows(
    connection: "asyncpg.Connection[Any]",
    state: SchemaState,
    wanted: MemoryFilter,
    times: tuple[int | None, int | None],
    place: Position,
    count: int,
) -> list[Any]:
    updated_at, memory_id = place.key or (None, None)
    rows: list[Any] = []
    if not place.key or updated_at is not None:
        for where in _spans(*times):
            if place.key:
                where.add("(m.updated_at, m.memory_id) < ({}, {})", updated_at, memory_id)
            rows += await _dated(connection, state, wanted, where, place, count - len(rows))
            if len(rows) == count:
                break
    if len(rows) < count and times == (None, None):
        last = memory_id if place.key and updated_at is None else None
        rows += await _undated(connection, state, wanted, place, last, count - len(rows))
    return rows


def _spans(first: int | None, last: int | None) -> list[Where]:
    """The dated rows from second `first` to second `last`, in one span of the index on updated_at or in two.

    Times in other units than seconds stand above all seconds there.
    """
    spans = [Where().add("m.updated_at IS NOT NULL")]
    if last is not None:
        other_units = Where().add("m.updated_at >= {}", FIRST_BEYOND).add(f"{scaled('m.updated_at')} <= {{}}", last)
        spans = [other_units, Where().add("m.updated_at <= {}", last)]
    if first is not None:
        for where in spans:
            where.add("m.updated_at >= {}", first).add(f"{scaled('m.updated_at')} >= {{}}", first)
    return spans


async def _dated(
    connection: "asyncpg.Connection[Any]",
    state: SchemaState,
    wanted: MemoryFilter,
    where: Where,
    place: Position,
    count: int,
) -> list[Any]:
    table = state.versioned(MEMORIES)
    paging.committed(where, place, "m")
    content = _content(state, wanted, Where(*where.arguments).owned_by("m.user_id", wanted.user_id))
    paging.late(content, place, "m")
    every_column = ", ".join(f"m.{quoted(name)}" for name in state.table(MEMORIES).columns)
    if await _newest_first(connection, state, wanted, place, content):
        newest = (
            f"SELECT {columns(state)} FROM (SELECT {every_column}, m.xmin FROM {table} m WHERE {where.sql}"
            f" ORDER BY m.updated_at DESC, m.memory_id DESC LIMIT {NEWEST}) m WHERE {content.sql}"
            f" ORDER BY m.updated_at DESC, m.memory_id DESC LIMIT {content.argument(count)}"
        )
        rows = await connection.fetch(newest, *content.arguments)
        if len(rows) == count:
            return list(rows)
        content.arguments.pop()
    order = "m.updated_at" if _walks_index(state, wanted, place) else "(m.updated_at + 0)"
    query = (
        f"SELECT {columns(state)} FROM {table} m WHERE {content.sql} AND {where.sql}"
        f" ORDER BY {order} DESC, m.memory_id DESC LIMIT {content.argument(count)}"
    )
    return list(await connection.fetch(query, *content.arguments))


async def _newest_first(
    connection: "asyncpg.Connection[Any]", state: SchemaState, wanted: MemoryFilter, place: Position, content: Where
) -> bool:
    """Whether the newest rows of all are worth a look: for a word, for what is new, for a user with very many rows.

    At 5 million rows without our index sorting what the largest user has takes 2.8 s, and the first page of it is
    among the newest thousand rows of all.
    """
    if wanted.user_id is None:
        return content.sql != "true"
    if not wanted.user_id or _walks_index(state, wanted, place):
        return False
    query = f"SELECT count(*) FROM (SELECT 1 FROM {state.qualified(MEMORIES)} WHERE user_id = $1 LIMIT {_MANY}) m"
    count: int = await connection.fetchval(query, wanted.user_id)
    return count == _MANY


def _walks_index(state: SchemaState, wanted: MemoryFilter, place: Position) -> bool:
    """Whether the order may come from an index on updated_at, rather than from sorting what the conditions leave."""
    if place.since is not None:
        return False
    if wanted.user_id is None:
        return wanted.topic is None and wanted.search is None
    return bool(wanted.user_id) and state.has_index(MEMORIES, *tables.MEMORIES_BY_USER)


def _content(state: SchemaState, wanted: MemoryFilter, where: Where) -> Where:
    """With the conditions on what a memory says, which no index of agno's answers."""
    if wanted.topic is not None:
        where.add(topic_condition(state), wanted.topic)
    if wanted.search is not None:
        where.add(contains(state, wanted.search), like(wanted.search))
    return where


def topic_condition(state: SchemaState) -> str:
    """A condition that holds where one of the topics is `{}`, in any case."""
    kind, topics = state.column_type(MEMORIES, "topics"), state.safe_json("m.topics", MEMORIES, "topics")
    return (
        f"EXISTS (SELECT 1 FROM {kind}_array_elements_text(CASE {kind}_typeof({topics}) WHEN 'array' THEN {topics}"
        " ELSE '[]' END) AS topic WHERE lower(topic) = lower("
        "{}))"
    )


def contains(state: SchemaState, text: str) -> str:
    """A condition that holds where the memory's text holds the pattern `{}`, in any case.

    For plain ASCII the C collation finds the same in half the time.
    """
    collation = ' COLLATE "C"' if text.isascii() else ""
    return f"{state.memory_text()}{collation} ILIKE " + "{}"


async def _undated(
    connection: "asyncpg.Connection[Any]",
    state: SchemaState,
    wanted: MemoryFilter,
    place: Position,
    last: str | None,
    count: int,
) -> list[Any]:
    """Memories without a time come last, by their id; agno writes none, but its column allows it."""
    where = Where().owned_by("m.user_id", wanted.user_id).add("m.updated_at IS NULL")
    paging.written(where, place, "m")
    if last is not None:
        where.add("m.memory_id < {}", last)
    where = _content(state, wanted, where)
    query = (
        f"SELECT {columns(state)} FROM {state.versioned(MEMORIES)} m WHERE {where.sql}"
        f" ORDER BY m.memory_id DESC LIMIT {where.argument(count)}"
    )
    return list(await connection.fetch(query, *where.arguments))


async def get_memory(settings: Settings, memory_id: str) -> MemoryDetail:
    """One memory, with the run that it came from. Raises NotFoundError."""
    async with connect(settings, read_only=True) as connection, connection.transaction():
        state = await tables.inspect(connection, settings.layout)
        memory = await find_memory(connection, state, memory_id)
        origin = await runs.find_by_message(connection, state, memory.user_id, memory.input)
        warnings = row_security.warnings(state, MEMORIES, SESSIONS, RUNS) + damaged(connection, [memory])
        return MemoryDetail(memory, origin, warnings)


async def find_memory(connection: "asyncpg.Connection[Any]", state: SchemaState, memory_id: str) -> Memory:
    """The memory with this id. Raises NotFoundError, also without a table, and JunkieError when several have it."""
    rows: list[Any] = []
    if state.has(MEMORIES):
        query = f"SELECT {columns(state)} FROM {state.qualified(MEMORIES)} m WHERE m.memory_id = $1"
        rows = await connection.fetch(query, memory_id)
    if len(rows) > 1:
        raise memory_ids.not_unique(memory_id, [row["user_id"] for row in rows])
    if not rows:
        raise row_security.not_found(
            state, MEMORIES, f"no memory {quoted_id(memory_id)}", hint="to list memories: junkie memories list"
        )
    return memory_of(rows[0])
