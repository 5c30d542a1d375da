"""Users, sessions and figures in every generation."""

import json
from typing import Any

import pytest

from junkie_cli.core import prompt_history, sessions, stats
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import DatabaseError, NotFoundError, UsageError
from junkie_cli.core.schema import own_tables
from junkie_cli.core.table_layout import Layout
from junkie_cli.core.turns import spool
from junkie_cli.core.users.erase import erase_user
from junkie_cli.core.users.export import export_user
from junkie_cli.core.users.listing import list_users
from tests.support.generations import ALL, Administration, Make, as_role, named, reader
from tests.support.proxy import Proxy

# user: memories, sessions, runs; None is what belongs to nobody
USERS = {
    "2.2": {"ada": (2, 2, 3), "bob": (1, 2, 3), "default": (1, 0, 0), None: (0, 1, 1)},
    "2.9": {"ada": (2, 2, 3), "bob": (1, 1, 1), "default": (1, 0, 0), None: (0, 1, 1)},
    "2.9-then-3.1": {"ada": (4, 2, 6), "bob": (2, 2, 4), "default": (2, 0, 0), None: (0, 1, 2)},
}
USERS |= {"3.1": USERS["2.2"], "os-3.1": USERS["2.2"], "2.9-migrated": USERS["2.9"]}
USERS["2.3"] = {"ada": (2, 2, 3), "bob": (2, 2, 3)}


@pytest.mark.parametrize("generation", ALL)
async def test_users_and_sessions_and_figures_agree(written_by: Make, admin: Administration, generation: str) -> None:
    settings = admin.settings(written_by(generation, schema="My Schema"), JUNKIE_SCHEMA="My Schema")
    page = await list_users(settings)
    assert {user.user_id: (user.memories, user.sessions, user.runs) for user in page.users} == USERS[generation]
    assert [user.user_id for user in page.users][-1] == (None if None in USERS[generation] else "bob")
    assert all(user.last_active for user in page.users)
    listed = await sessions.list_sessions(settings)
    found = await stats.collect_stats(settings)
    assert found.memories == sum(user.memories for user in page.users)
    assert found.runs == sum(user.runs for user in page.users) == sum(session.runs for session in listed.sessions)
    assert found.sessions == len(listed.sessions)
    assert found.users == len([user for user in page.users if user.user_id and user.memories])
    assert found.top_users[0].user_id == "ada"
    assert found.oldest and found.newest and found.oldest <= found.newest
    assert {table.name: table.rows for table in found.tables}[named(generation, "user_memories")] == found.memories
    one = await stats.collect_stats(settings, user_id="ada")
    assert (one.memories, one.sessions, one.runs) == USERS[generation]["ada"]


async def test_pages_of_users(written_by: Make, admin: Administration) -> None:
    url = written_by("2.9-then-3.1")
    await admin.do(
        url,
        "INSERT INTO ai.user_memories (memory_id, memory, user_id, created_at, updated_at)"
        " SELECT n::text, '\"x\"', 'u' || n / 2, n, n FROM generate_series(1, 40) n",
        "INSERT INTO ai.user_memories (memory_id, memory, user_id, created_at) VALUES ('e', '\"x\"', '', 1)",
    )
    settings = admin.settings(url)
    for limit in (1, 4, 8, 12, 100):
        seen: list[str | None] = []
        page = await list_users(settings, limit=limit)
        seen += [user.user_id for user in page.users]
        while page.next:
            page = await list_users(settings, limit=limit, after=page.next)
            assert page.users
            seen += [user.user_id for user in page.users]
        assert len(seen) == len(set(seen)) == 3 + 21 + 1
        assert seen[-1] is None
    assert page.users[-1].memories == 1
    with pytest.raises(UsageError):
        await list_users(settings, after="x")


async def test_who_spoke_is_the_runs_word(written_by: Make, admin: Administration) -> None:
    for generation in ("2.2", "2.3", "2.9-then-3.1", "3.1"):
        settings = admin.settings(written_by(generation))
        shared = {session.session_id: session for session in (await sessions.list_sessions(settings, "bob")).sessions}
        assert shared["channel-7"].users == ("ada", "bob")
        runs = (await sessions.get_runs(settings, "channel-7")).runs
        assert [run.user_id for run in runs][-2:] == ["bob", "bob"]
        assert runs[0].user_id == "ada"
        assert {message.role for run in runs for message in run.messages} == {"user", "assistant"}


async def test_nobodys_sessions(written_by: Make, admin: Administration) -> None:
    for generation in ("2.2", "3.1"):
        page = await sessions.list_sessions(admin.settings(written_by(generation)), "")
        assert [session.session_id for session in page.sessions] == ["nobody"]


async def test_pages_of_sessions(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await admin.do(
        url,
        "INSERT INTO ai.agent_sessions (session_id, session_type, user_id, created_at, updated_at)"
        " SELECT 's' || n, 'team', 'u', 100 + n / 5, CASE WHEN n % 3 = 0 THEN NULL ELSE 100 + n / 5 END"
        " FROM generate_series(1, 50) n",
    )
    settings = admin.settings(url)
    page = await sessions.list_sessions(settings, "u", limit=7)
    seen = [session.session_id for session in page.sessions]
    while page.next:
        page = await sessions.list_sessions(settings, "u", limit=7, after=page.next)
        seen += [session.session_id for session in page.sessions]
    assert len(seen) == len(set(seen)) == 50


async def test_odd_messages(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    rows: list[Any] = [
        {"messages": [{"role": "user", "content": [{"type": "image"}]}, {"role": "tool", "content": None}, "x", 7]},
        {"messages": [{"role": "user", "content": "old", "from_history": True}], "input": {"input_content": "asked"}},
        {"input": "text", "content": {"a": 1}},
        [],
        {"messages": {}},
    ]
    for number, row in enumerate(rows):
        await admin.do(
            url,
            "INSERT INTO ai.agent_sessions_runs (run_id, session_id, run_type, run_data, created_at)"
            f" VALUES ('odd{number}', 'c2', 'team', '{json.dumps(row)}', {number})",
        )
    runs = (await sessions.get_runs(admin.settings(url), "c2")).runs
    assert [[(m.role, m.content) for m in run.messages] for run in runs][:5] == [
        [("user", '[{"type": "image"}]'), ("tool", "")],
        [("user", "asked")],
        [("assistant", '{"a": 1}')],
        [],
        [],
    ]


@pytest.mark.parametrize("generation", ["2.2", "2.9-then-3.1", "3.1"])
async def test_deleting_a_session(written_by: Make, admin: Administration, generation: str) -> None:
    url = written_by(generation)
    settings = admin.settings(url)
    dry = await sessions.delete_session(settings, "channel-7", dry_run=True)
    assert len((await sessions.list_sessions(settings)).sessions) == 4
    done = await sessions.delete_session(settings, "channel-7")
    assert done.deleted == dry.deleted
    assert (done.users, done.remaining) == (("ada", "bob"), 0)
    assert sum(done.deleted.values()) == (5 if generation == "2.9-then-3.1" else 4)
    assert await admin.value(url, "SELECT count(*) FROM ai.user_memories WHERE user_id = 'ada'") in (2, 4)
    with pytest.raises(NotFoundError):
        await sessions.delete_session(settings, "channel-7")
    with pytest.raises(NotFoundError):
        await sessions.get_runs(settings, "channel-7")


# --- figures ----------------------------------------------------------------------------------------------------------


async def test_figures_of_nothing(database: DatabaseUrl, admin: Administration) -> None:
    settings = admin.settings(database)
    for approximate in (False, True):
        found = await stats.collect_stats(settings, approximate=approximate)
        assert (found.memories, found.sessions, found.pending, found.tables) == (0, 0, 0, ())
    assert (await list_users(settings)).tables_missing
    assert (await sessions.list_sessions(settings)).table_missing
    with pytest.raises(NotFoundError):
        await sessions.get_runs(settings, "x")


async def test_figures_of_many(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await admin.do(
        url,
        "INSERT INTO ai.user_memories (memory_id, memory, user_id, created_at, updated_at)"
        " SELECT n::text, '\"x\"', CASE WHEN n % 10 = 0 THEN NULL ELSE 'u' || n % 3 END, t, t"
        " FROM generate_series(1, 3000) n, LATERAL (SELECT extract(epoch FROM now())::bigint - n % 40 * 86400 AS t) x",
        "ANALYZE ai.user_memories",
    )
    settings = admin.settings(url)
    found = await stats.collect_stats(settings, top=2)
    assert (found.memories, found.users) == (3004, 6)
    assert found.average_per_user == round(2704 / 6, 2)
    assert [(user.user_id, user.memories) for user in found.top_users] == [("u0", 900), ("u1", 900)]
    assert len(found.per_day) == 30
    assert sum(day.memories for day in found.per_day) in range(2250, 2260)
    assert found.per_day[0].day < found.per_day[-1].day
    rough = await stats.collect_stats(settings, approximate=True)
    assert (rough.users, rough.average_per_user, rough.approximate) == (None, None, True)
    assert abs(rough.memories - 3004) < 300
    assert {user.user_id for user in rough.top_users} >= {"u0", "u1", "u2"}


async def test_one_pass_over_the_memories(
    written_by: Make, admin: Administration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The grouped count reads an index alone, once; nothing else scans the table."""
    url = written_by("3.1")
    await admin.do(
        url,
        "SET synchronous_commit = on",  # else VACUUM cannot yet know the rows as visible to all
        "INSERT INTO ai.user_memories (memory_id, memory, user_id, created_at, updated_at)"
        " SELECT n::text, to_jsonb(repeat('x', 1500)), 'u' || n % 100, n, n FROM generate_series(1, 20000) n",
        "VACUUM ANALYZE ai.user_memories",
    )
    monkeypatch.setattr(stats, "_NEWEST", 100)
    scans = "SELECT seq_scan FROM pg_stat_all_tables WHERE schemaname = 'ai' AND relname = 'user_memories'"
    before = await admin.counted(url, scans)
    await stats.collect_stats(admin.settings(url))
    assert await admin.counted(url, scans) == before


# --- a person's data --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", [one for one in ALL if one != "2.3"])
async def test_the_export_holds_what_erasing_deletes(written_by: Make, admin: Administration, generation: str) -> None:
    settings, path = admin.settings(written_by(generation)), admin.folder / "ada.jsonl"
    typed = prompt_history.history_file("ada")
    typed.parent.mkdir(parents=True)
    typed.write_text('"hello"\n')
    done = await export_user(settings, "ada", path)
    assert path.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == sum(done.lines.values())
    tables: dict[str, list[Any]] = {}
    for line in lines:
        tables.setdefault(line["table"], []).append(line["row"])
    memory, session, run = (
        named(generation, name) for name in ("user_memories", "agent_sessions", "agent_sessions_runs")
    )
    assert tables["prompt history"] == [{"line": '"hello"'}]
    erased = await erase_user(settings, "ada")
    assert len(tables[memory]) == erased.erased[memory]
    assert len(tables.get(run, [])) == erased.erased.get(run, 0)
    assert len(tables[session]) == erased.erased[session] + erased.shared_sessions
    inside = sum(len(row.get("runs") or []) for row in tables[session])
    assert inside + len(tables.get("agent_sessions.runs", [])) == erased.erased.get("agent_sessions.runs", 0)
    assert "Nice, Ada" not in path.read_text(), "bob's words are bob's"


async def test_what_waits_in_the_spool_is_exported_and_erased(written_by: Make, admin: Administration) -> None:
    url, path = written_by("3.1"), admin.folder / "ada.jsonl"
    async with admin.connection(url) as connection:
        known = await spool.identity(connection, await own_tables.prepare(connection, Layout("ai")))
    assert known is not None
    waiting = [spool.Spool(known).put(user, json.dumps({"user_id": user, "pending": None})) for user in ("ada", "bob")]
    done = await export_user(admin.settings(url), "ada", path)
    assert done.lines["spool"] == 1
    assert json.loads(path.read_text().splitlines()[-1])["row"]["user_id"] == "ada"
    assert (await erase_user(admin.settings(url), "ada")).erased["spool"] == 1
    assert [file.exists() for file in waiting] == [False, True]


async def test_a_lost_connection_leaves_no_file(written_by: Make, admin: Administration) -> None:
    url, path = written_by("3.1"), admin.folder / "ada.jsonl"
    with Proxy(url) as proxy:
        proxy.cut_when(b"junkie_none")
        proxy.cut_when(b"run_data", from_server=True)
        with pytest.raises(DatabaseError):
            await export_user(admin.settings(proxy.url(url)), "ada", path)
    assert not path.exists()
    assert not [entry for entry in admin.folder.iterdir() if entry.is_file()]
    with pytest.raises(UsageError):
        await export_user(admin.settings(url), "", path)


@pytest.mark.parametrize(
    "pattern", [b'DELETE FROM "ai"."agent_sessions"', b'DELETE FROM "ai"."user_memories"', b'junkie_erasures" (era']
)
async def test_an_erasure_cut_in_the_middle_leaves_all(written_by: Make, admin: Administration, pattern: bytes) -> None:
    url = written_by("3.1")
    before = await list_users(admin.settings(url))
    with Proxy(url) as proxy:
        proxy.cut_when(pattern)
        with pytest.raises(DatabaseError):
            await erase_user(admin.settings(proxy.url(url)), "ada")
        assert proxy.cuts == 1
    assert await list_users(admin.settings(url)) == before
    assert await admin.value(url, "SELECT count(*) FROM ai.junkie_tombstones") == 0


async def test_a_reader_may_look(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await admin.do(url, *reader("plain"))
    settings = admin.settings(as_role(url, "plain"))
    assert (await stats.collect_stats(settings)).memories == 4
    assert len((await list_users(settings)).users) == 4
    assert len((await sessions.list_sessions(settings)).sessions) == 4
    assert (await export_user(settings, "ada", admin.folder / "x")).lines
    for change in (erase_user(settings, "ada"), sessions.delete_session(settings, "c1")):
        with pytest.raises(DatabaseError) as caught:
            await change
        assert caught.value.code == "database_rights"
    await admin.do(url, "REVOKE SELECT ON ai.agent_sessions_runs FROM plain")
    for look in (list_users(settings), sessions.list_sessions(settings)):
        with pytest.raises(DatabaseError, match="agent_sessions_runs"):
            await look
