"""No row of a foreign program stops a reader: every field holds every kind of value, and all of it is read."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from junkie_cli.core import completion_values, sessions, stats
from junkie_cli.core.chat import Conversation
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import DatabaseError, NotFoundError
from junkie_cli.core.foreign_values import as_time, in_seconds, seconds, seconds_of
from junkie_cli.core.memories.edits import clear_memories, delete_memories, edit_memory
from junkie_cli.core.memories.history import list_history, undo
from junkie_cli.core.memories.listing import MemoryFilter, get_memory, list_memories
from junkie_cli.core.memories.model import Memory
from junkie_cli.core.memories.search import search_memories
from junkie_cli.core.schema.tables import MEMORIES, MEMORIES_BY_USER, inspect
from junkie_cli.core.settings import Settings
from junkie_cli.core.users.erase import erase_user
from junkie_cli.core.users.export import export_user
from junkie_cli.core.users.listing import list_users
from tests.support import odd_rows
from tests.support.debian_postgres import DebianServer
from tests.support.doctor import Doctor
from tests.support.generations import FOLDER, Administration, Make
from tests.support.postgres import execute

GENERATIONS = ("2.2", "2.9", "2.9-then-3.1", "3.1")
_NOW = 1_764_547_200


def statements(generation: str) -> Iterator[str]:
    """All odd rows that this generation's tables can hold."""
    kind = "json" if generation == "2.2" else "jsonb"
    runs_kind = None if generation == "3.1" else kind
    yield from odd_rows.memories(kind, dated=generation != "2.2")
    yield from odd_rows.sessions(kind, runs_kind)
    if runs_kind:
        yield from odd_rows.sessions_of_odd_runs(runs_kind)
    if "3.1" in generation:
        yield from odd_rows.runs()


@pytest.fixture(params=GENERATIONS)
def odd(
    request: pytest.FixtureRequest, written_by: Make, postgres_server: ScratchServer, admin: Administration
) -> Settings:
    """Settings of a database full of odd rows."""
    url = written_by(request.param)
    assert url.database
    execute(postgres_server, ";".join(statements(request.param)), url.database)
    return admin.settings(url)


async def _all(settings: Settings, wanted: MemoryFilter, limit: int = 37) -> list[Memory]:
    found: list[Memory] = []
    cursor = None
    while True:
        page = await list_memories(settings, wanted, limit=limit, after=cursor)
        found += page.memories
        if (cursor := page.next) is None:
            return found


async def test_every_memory_is_listed_found_and_shown(odd: Settings, admin: Administration) -> None:
    assert odd.postgres_url is not None
    count = await admin.value(odd.postgres_url, "SELECT count(*) FROM ai.user_memories")
    found = await _all(odd, MemoryFilter())
    assert len(found) == len({memory.memory_id for memory in found}) == count
    for wanted in (
        MemoryFilter("ada", topic="x"),
        MemoryFilter("ada", search="text"),
        MemoryFilter(since="2025-12-01", until="2025-12-02"),
        MemoryFilter("", until="2100-01-01"),
    ):
        await _all(odd, wanted)
    await search_memories(odd, "a text")
    await search_memories(odd, "fine", user_id="ada")
    for memory in found:
        assert (await get_memory(odd, memory.memory_id)).memory == memory


async def test_every_session_is_listed_and_shown(odd: Settings) -> None:
    found: list[sessions.Session] = []
    cursor = None
    while True:
        page = await sessions.list_sessions(odd, limit=200, after=cursor)
        found += page.sessions
        if (cursor := page.next) is None:
            break
    assert len(found) == len({session.session_id for session in found}) > 200
    for session in found[::7]:
        await sessions.get_runs(odd, session.session_id)
    await sessions.list_sessions(odd, "ada", limit=1000)
    for session in found:
        assert all(user for user in session.users)


async def test_users_and_figures(odd: Settings, tmp_path: Path) -> None:
    page = await list_users(odd, limit=1000)
    counted = await stats.collect_stats(odd)
    assert counted.memories == sum(user.memories for user in page.users)
    assert counted.runs == sum(user.runs for user in page.users)
    assert counted.newest
    assert next(user.last_active for user in page.users if user.user_id == "ada")
    await stats.collect_stats(odd, user_id="ada")
    await stats.collect_stats(odd, approximate=True)
    done = await export_user(odd, "ada", tmp_path / "ada.jsonl")
    assert sum(done.lines.values()) == len((tmp_path / "ada.jsonl").read_bytes().splitlines())
    for line in (tmp_path / "ada.jsonl").read_bytes().splitlines():
        with suppress(ValueError, RecursionError):  # numbers and depths that Python itself does not read
            assert json.loads(line)["table"]
    await completion_values.user_ids(odd, "", 10)
    await completion_values.session_ids(odd, "o", 10)
    await completion_values.memory_ids(odd, "", 10, "ada")


async def test_what_changes_rows_can_be_tried_and_done(odd: Settings) -> None:
    tried = await erase_user(odd, "ada", dry_run=True)
    assert tried.erased["user_memories"] > 90
    for session_id in ("odd-session_data-text", "odd-summary-deep"):
        await sessions.delete_session(odd, session_id)
        with pytest.raises(NotFoundError):
            await sessions.get_runs(odd, session_id)
    done = await delete_memories(odd, ["odd-memory-digits", "odd-topics-deep"])
    history = await list_history(odd)
    assert {change.memory_id for change in history.changes} >= {"odd-memory-digits", "odd-topics-deep"}
    assert (await undo(odd, done.undo)).undone == 2
    assert (await edit_memory(odd, "odd-topics-digits", "now fine")).memories[0].memory == "now fine"
    await clear_memories(odd, "ada")
    assert (await erase_user(odd, "ada")).remaining == 0


# --- times ------------------------------------------------------------------------------------------------------------

TIMES: list[tuple[Any, int | None]] = [
    (_NOW, _NOW),
    (_NOW * 1000 + 999, _NOW),
    (_NOW * 10**6, _NOW),
    (_NOW * 10**9, _NOW),
    (-_NOW * 1000 - 999, -_NOW),
    (10**20, None),
    (10**30, None),
    (1.9, 1),
    (str(_NOW), _NOW),
    (f"{_NOW}.75", _NOW),
    ("1e3", 1000),
    ("1e99", None),
    ("2025-12-01", _NOW),
    ("2025-12-01T00:00", _NOW),
    ("2025-12-01T00:00:00Z", _NOW),
    ("2025-12-01T00:00:00.999Z", _NOW),
    ("2025-12-01 05:30:00+05:30", _NOW),
    ("2025-11-30T16:00:00-0800", _NOW),
    ("2025-13-01", None),
    ("yesterday", None),
    ("", None),
    (True, None),
    ([1], None),
    ({"a": 1}, None),
    (None, None),
]


@pytest.mark.parametrize(("value", "expected"), TIMES, ids=[str(value) for value, _ in TIMES])
async def test_python_and_sql_read_the_same_times(
    database: DatabaseUrl, admin: Administration, value: Any, expected: int | None
) -> None:
    assert seconds_of(value) == expected
    statement = f"SELECT {seconds('d.x ->> 0')} FROM (SELECT jsonb_build_array($1::text::jsonb) AS x) d"
    if not isinstance(value, bool | list | dict):
        assert await admin.value(database, statement, json.dumps(value)) == expected


async def test_times_that_no_calendar_holds(database: DatabaseUrl, admin: Administration) -> None:
    statement = f"SELECT {seconds('d.x')} FROM (SELECT $1::text AS x) d"
    for text in ("2025-02-31", "0000-01-01", "9999-12-31T23:59:60+14:00"):
        await admin.value(database, statement, text)  # the day that was meant, or another; never an error
    assert as_time(10**11 - 1) is not None
    assert as_time("nonsense") is as_time(float("nan")) is as_time(float("inf")) is in_seconds(10**21) is None


async def test_times_in_other_units_are_in_their_range_and_in_the_figures(
    written_by: Make, admin: Administration
) -> None:
    url = written_by("3.1")
    day = 86_400
    await admin.do(
        url,
        "DELETE FROM ai.user_memories",
        *(
            "INSERT INTO ai.user_memories (memory_id, memory, user_id, created_at, updated_at)"
            f" VALUES ('{factor}-{age}', '\"x\"', 'eve', {(_NOW - age * day) * factor}, {(_NOW - age * day) * factor})"
            for factor in (1, 1000, 10**6, 10**9)
            for age in (0, 10, 400)
        ),
    )
    settings = admin.settings(url)
    whole = {memory.memory_id for memory in await _all(settings, MemoryFilter(), limit=2)}
    assert len(whole) == 12
    for since, until, ages in (
        ("2025-11-25T00:00:00Z", None, {"0"}),
        (None, "2025-11-25T00:00:00Z", {"10", "400"}),
        ("2025-11-20T00:00:00Z", "2025-11-25T00:00:00Z", {"10"}),
    ):
        for user in (None, "eve"):
            found = await _all(settings, MemoryFilter(user, since=since, until=until), limit=3)
            assert {memory.memory_id.split("-")[1] for memory in found} == ages
            assert len(found) == 4 * len(ages)
    figures = await stats.collect_stats(settings)
    assert figures.newest == as_time(_NOW)
    assert figures.oldest == as_time(_NOW - 400 * day)
    active = {user.user_id: user.last_active for user in (await list_users(settings)).users}
    assert active["eve"] == as_time(_NOW)


# --- databases that are set in another way ----------------------------------------------------------------------------


OWNERS = ("user_memories", "agent_sessions", "agent_sessions_runs")
CITEXT = "CREATE EXTENSION citext;" + ";".join(f"ALTER TABLE ai.{table} ALTER user_id TYPE citext" for table in OWNERS)
LOOSE = "CREATE COLLATION ai.loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);" + ";".join(
    f"ALTER TABLE ai.{table} ALTER user_id TYPE text COLLATE ai.loose" for table in OWNERS
)


@pytest.mark.parametrize("generation", ["3.1", "2.9-then-3.1"])
async def test_an_owner_of_type_citext(
    written_by: Make, admin: Administration, postgres_server: ScratchServer, generation: str
) -> None:
    url = written_by(generation)
    execute(postgres_server, CITEXT, url.database or "")
    await _two_spellings(url, admin)


@pytest.mark.parametrize("generation", ["3.1", "2.9-then-3.1"])
async def test_a_collation_that_is_not_deterministic(admin: Administration, generation: str) -> None:
    with DebianServer() as server:  # the embedded one is built without ICU
        url = server.socket_url()
        await admin.do(url, (FOLDER / f"agno-{generation}.sql").read_text("utf-8"), LOOSE)
        await _two_spellings(url, admin)


async def _two_spellings(url: DatabaseUrl, admin: Administration) -> None:
    """Users whose ids are equal to the database alone are listed and counted, the doctor reports it, and nothing
    final is done to one of them before the database's owner has decided who they are."""
    await admin.do(
        url,
        "INSERT INTO ai.user_memories (memory_id, memory, user_id, created_at, updated_at)"
        " SELECT 'loose' || n, '\"x\"', CASE n % 2 WHEN 0 THEN 'Ada' ELSE 'ada' END, n, n FROM generate_series(1, 6) n",
    )
    settings = admin.settings(url)
    total = await admin.value(url, "SELECT count(*) FROM ai.user_memories")
    page = await list_users(settings)
    assert sum(user.memories for user in page.users) == total
    assert sum(user.memories for user in page.users if user.user_id in ("Ada", "ada")) >= 6
    assert len(await _all(settings, MemoryFilter(), limit=2)) == total
    assert {memory.user_id for memory in await _all(settings, MemoryFilter("ada"))} <= {"Ada", "ada"}
    for shown in (
        await list_memories(settings, MemoryFilter("ada")),
        await search_memories(settings, "x", user_id="ada"),
        await sessions.list_sessions(settings, "ada"),
        await stats.collect_stats(settings, user_id="ada"),
    ):
        [warning] = shown.warnings
        assert (warning.code, "to the database Ada and ada are one user id" in warning.message) == (
            "user_spellings",
            True,
        )
    for shown in (await list_memories(settings, MemoryFilter()), await stats.collect_stats(settings)):
        assert not shown.warnings
    for user_id, noted in (("ada", True), ("bob", False)):
        async with await Conversation.open(settings, user_id, offline=True, may_add_tables=True) as conversation:
            assert any("are one user id" in note for note in conversation.notes) is noted
    for spelling in ("ada", "Ada", "ADA"):
        with pytest.raises(DatabaseError, match=r"are one user id in .*user_memories.*nothing was exported"):
            await export_user(settings, spelling, admin.folder / "ada.jsonl")
        for change in (erase_user, clear_memories):
            with pytest.raises(
                DatabaseError, match=r"are one user id in .*user_memories.*nothing was changed"
            ) as caught:
                await change(settings, spelling)
            assert caught.value.code == "user_spellings"
    assert await admin.value(url, "SELECT count(*) FROM ai.user_memories") == total
    await erase_user(settings, "bob", dry_run=True)
    doctor = Doctor(admin.folder).use(url)
    result = await doctor._examine(doctor.context(), ("memory.owners",), False, 60)
    assert "treats different spellings of a user id as equal in" in result["memory.owners"].detail


async def test_a_database_that_quotes_all_identifiers(
    written_by: Make, admin: Administration, postgres_server: ScratchServer
) -> None:
    url = written_by("3.1")
    execute(postgres_server, f'ALTER DATABASE "{url.database}" SET quote_all_identifiers = on', url.database or "")
    async with admin.connection(url) as connection:
        assert await connection.fetchval("SHOW quote_all_identifiers") == "on"
        state = await inspect(connection, admin.settings(url).layout)
    assert state.has_index(MEMORIES, "user_id")
    assert state.has_index(MEMORIES, "updated_at")
    assert not state.has_index(MEMORIES, *MEMORIES_BY_USER)


async def test_a_database_in_which_a_backslash_escapes(
    written_by: Make, admin: Administration, postgres_server: ScratchServer
) -> None:
    """agno 2.2's json is read by patterns that have backslashes."""
    url = written_by("2.2")
    name = url.database or ""
    execute(postgres_server, f'ALTER DATABASE "{name}" SET standard_conforming_strings = off', name)
    settings = admin.settings(url)
    [found] = (await search_memories(settings, "cello")).memories
    await delete_memories(settings, [found.memory_id])
    assert (await undo(settings)).restored == 1
    assert (await search_memories(settings, "cello")).memories == (found,)
