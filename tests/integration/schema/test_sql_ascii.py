"""A database without an encoding, with bytes that are not UTF-8: all of it is read, and what was replaced is named."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from junkie_cli.core import sessions, stats
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import JunkieError
from junkie_cli.core.memories.edits import add_memory, clear_memories, edit_memory
from junkie_cli.core.memories.export import export_memories
from junkie_cli.core.memories.history import undo
from junkie_cli.core.memories.import_file import import_memories
from junkie_cli.core.memories.listing import MemoryFilter, get_memory, list_memories
from junkie_cli.core.memories.search import search_memories
from junkie_cli.core.settings import Settings
from junkie_cli.core.users.erase import erase_user
from junkie_cli.core.users.export import export_user
from junkie_cli.core.users.listing import list_users
from tests.support.generations import FOLDER, Administration
from tests.support.junkie import Junkie
from tests.support.postgres import execute

BYTES = "convert_from('\\xe9'::bytea, 'SQL_ASCII')"  # é in Latin 1


@pytest.fixture(params=["2.9-then-3.1", "3.1"])
def settings(
    request: pytest.FixtureRequest, postgres_server: ScratchServer, admin: Administration
) -> Iterator[Settings]:
    name = f"ascii_{request.param}"
    execute(postgres_server, f"CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    try:
        execute(postgres_server, (FOLDER / f"agno-{request.param}.sql").read_text("utf-8"), name)
        execute(
            postgres_server,
            "INSERT INTO ai.user_memories (memory_id, memory, topics, user_id, input, created_at, updated_at) VALUES"
            f" ('latin', ('\"caf' || {BYTES} || '\"')::jsonb, ('[\"t' || {BYTES} || '\"]')::jsonb, 'ada',"
            f" 'in' || {BYTES}, 1, 9000000000), ('utf', '\"café 漢字\"', '[]', 'ada', 'é', 1, 9000000001),"
            f" ('id', '\"x\"', '[]', 'ren' || {BYTES}, NULL, 1, 1);"
            f"INSERT INTO ai.agent_sessions (session_id, session_type, user_id, session_data, created_at) VALUES"
            f" ('s' || {BYTES}, 'team', 'ren' || {BYTES}, ('{{\"session_name\": \"n' || {BYTES} || '\"}}')::jsonb, 1)",
            name,
        )
        yield admin.settings(postgres_server.url.with_database(name))
    finally:
        execute(postgres_server, f'DROP DATABASE "{name}" WITH (FORCE)')


async def test_memories_are_read_and_named(settings: Settings, admin: Administration) -> None:
    page = await list_memories(settings, MemoryFilter("ada"))
    found = {memory.memory_id: memory for memory in page.memories}
    assert (found["latin"].memory, found["latin"].topics, found["latin"].input) == (
        "caf\ufffd",
        ("t\ufffd",),
        "in\ufffd",
    )
    assert (found["utf"].memory, found["utf"].input) == ("café 漢字", "é")
    (warning,) = page.warnings
    assert (warning.code, warning.message.endswith("in 1 memory: latin")) == ("bytes_replaced", True)
    assert [m.memory_id for m in (await search_memories(settings, "café")).memories] == ["utf"]
    assert (await get_memory(settings, "latin")).warnings
    assert not (await get_memory(settings, "utf")).warnings
    path = admin.folder / "all.jsonl"
    done = await export_memories(settings, path=path)
    assert [warning.code for warning in done.warnings] == ["bytes_replaced"]
    lines = {row["memory_id"]: row for row in map(json.loads, path.read_text("utf-8").splitlines())}
    assert lines["latin"]["memory"] == "caf\ufffd"
    assert lines["utf"]["memory"] == "café 漢字"


async def test_everything_else_works(settings: Settings, admin: Administration) -> None:
    page = await list_users(settings, limit=2)
    names = [user.user_id for user in page.users]
    while page.next:
        page = await list_users(settings, limit=2, after=page.next)
        names += [user.user_id for user in page.users]
    odd = next(name for name in names if name and name.startswith("ren"))
    assert [m.memory_id for m in (await list_memories(settings, MemoryFilter(odd))).memories] == ["id"]
    listed = await sessions.list_sessions(settings, limit=1)
    while listed.next:
        listed = await sessions.list_sessions(settings, limit=1, after=listed.next)
    await stats.collect_stats(settings)
    await export_user(settings, odd, admin.folder / "odd.jsonl")
    assert (await add_memory(settings, "zoe", "trinkt Tee – 漢字")).memories[0].memory == "trinkt Tee – 漢字"
    assert (await edit_memory(settings, "latin", "café")).memories[0].memory == "café"
    assert (await clear_memories(settings, "ada")).remaining == 0
    await undo(settings)
    assert (await erase_user(settings, "ada")).remaining == 0


async def test_a_person_whose_id_is_not_utf_8_is_erased_and_stays_so(settings: Settings) -> None:
    odd = next(user.user_id for user in (await list_users(settings)).users if (user.user_id or "")[:3] == "ren")
    assert odd is not None
    assert (await erase_user(settings, odd, dry_run=True)).erased == {"agent_sessions": 1, "user_memories": 1}
    assert (await erase_user(settings, odd)).remaining == 0
    again = await erase_user(settings, odd)
    assert (again.found, again.earlier is not None) == (0, True)
    assert odd not in [user.user_id for user in (await list_users(settings)).users]
    with pytest.raises(JunkieError, match="no id has"):
        await add_memory(settings, odd, "tea")


async def test_exports_name_what_was_replaced(settings: Settings, admin: Administration) -> None:
    path = admin.folder / "ada.jsonl"
    [warning] = (await export_user(settings, "ada", path)).warnings
    assert (warning.code, warning.message.endswith("in 1 row: user_memories memory_id latin")) == (
        "bytes_replaced",
        True,
    )
    rows = [json.loads(line)["row"] for line in path.read_text("utf-8").splitlines()]
    assert next(row for row in rows if row.get("memory_id") == "latin")["memory"] == "caf\ufffd"
    done = await export_memories(settings, "ren\udce9", path=path)
    assert (done.memories, json.loads(path.read_text("utf-8"))["user_id"]) == (1, "ren\ufffd")


NAMES = {"JUNKIE_MEMORY_TABLE": "Was man weiß", "JUNKIE_SESSION_TABLE": "話", "JUNKIE_RUNS_TABLE": 'ré"tours'}


async def test_names_beyond_ascii(settings: Settings, admin: Administration, postgres_server: ScratchServer) -> None:
    """Statements are sent in another way than their arguments: each kind of statement names the tables."""
    assert settings.postgres_url is not None
    url = settings.postgres_url
    wanted = [NAMES[f"JUNKIE_{role}_TABLE"].replace('"', '""') for role in ("MEMORY", "SESSION", "RUNS")]
    tables = ("user_memories", "agent_sessions", "agent_sessions_runs")
    renamed = [f'ALTER TABLE ai.{old} RENAME TO "{new}";' for old, new in zip(tables, wanted, strict=True)]
    schema = 'ALTER SCHEMA ai RENAME TO "schéma"'
    column = f'ALTER TABLE ai."{wanted[0]}" ADD COLUMN "größe" text DEFAULT \'ß\''
    execute(postgres_server, f"{''.join(renamed)} {column}; {schema}", url.database_name)
    named = admin.settings(url, JUNKIE_SCHEMA="schéma", **NAMES)
    assert {each.memory_id for each in (await list_memories(named, MemoryFilter("ada"))).memories} >= {"utf"}
    assert (await search_memories(named, "café")).memories
    assert {"s\udce9", "c1"} <= {each.session_id for each in (await sessions.list_sessions(named)).sessions}
    ada = (await stats.collect_stats(named, user_id="ada")).memories
    assert ada >= 4
    path = admin.folder / "all.jsonl"
    assert (await export_memories(named, "ada", path=path)).memories == ada
    assert (await export_user(named, "ada", admin.folder / "ada.jsonl")).lines["Was man weiß"] == ada
    assert (await clear_memories(named, "ada")).deleted == ada
    assert (await undo(named)).undone == ada
    await add_memory(named, "zoë", "trinkt Tee")
    assert (await sessions.delete_session(named, "c2")).deleted["話"] == 1
    assert (await erase_user(named, "ada")).erased["Was man weiß"] == ada
    again = await list_memories(named, MemoryFilter("zoë"))
    assert [each.memory for each in again.memories] == ["trinkt Tee"]


def in_bytes(statement: str) -> str:
    """SQL that runs `statement`, in which @ is a byte that is not UTF-8."""
    return f"DO $do$ BEGIN EXECUTE replace($sql${statement}$sql$, '@', {BYTES}); END $do$"


async def test_names_that_are_not_utf_8(
    settings: Settings, admin: Administration, postgres_server: ScratchServer
) -> None:
    """No statement can name them: what would have to is refused, and undo is not promised where it cannot be done."""
    assert settings.postgres_url is not None
    database = settings.postgres_url.database_name
    execute(postgres_server, in_bytes('CREATE TABLE ai."tab@" (user_id text)'), database)
    await list_memories(settings, MemoryFilter("ada"))
    for refused in (erase_user(settings, "ada"), export_user(settings, "ada", admin.folder / "x")):
        with pytest.raises(JunkieError, match=r"is not UTF-8, so no statement can name it: tab\\xe9"):
            await refused
    execute(postgres_server, in_bytes('DROP TABLE ai."tab@"; ALTER TABLE ai.user_memories ADD "c@" text'), database)
    assert (await clear_memories(settings, "bob")).undo is None
    assert (await erase_user(settings, "ada")).remaining == 0


async def test_refusals_in_words_that_are_not_utf_8(settings: Settings, postgres_server: ScratchServer) -> None:
    assert settings.postgres_url is not None
    function = "CREATE FUNCTION ai.f() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN RAISE EXCEPTION 'x@'; END $f$;"
    trigger = "CREATE TRIGGER f BEFORE DELETE ON ai.user_memories FOR EACH ROW EXECUTE FUNCTION ai.f()"
    execute(postgres_server, in_bytes(function + trigger), settings.postgres_url.database_name)
    before = await list_memories(settings, MemoryFilter("ada"))
    with pytest.raises(JunkieError, match="with text that is not UTF-8"):
        await clear_memories(settings, "ada")
    assert await list_memories(settings, MemoryFilter("ada")) == before


def test_arguments_that_are_not_utf_8(settings: Settings, junkie: Junkie) -> None:
    """They are refused, as what would be stored is another text."""
    assert settings.postgres_url is not None
    env = {"POSTGRES_URL": settings.postgres_url.libpq()}
    for words in (("add", "caf\udce9", "-u", "ada"), ("edit", "utf", "caf\udce9")):
        done = junkie.run("memories", *words, env=env)
        assert (done.exit_code, "bytes that are not UTF-8" in done.stderr) == (2, True)


def test_what_a_session_says_is_named(settings: Settings, junkie: Junkie, postgres_server: ScratchServer) -> None:
    assert settings.postgres_url is not None
    url = settings.postgres_url
    said = f'(\'{{"input": {{"input_content": "q\' || {BYTES} || \'"}}}}\')::jsonb'
    execute(
        postgres_server,
        "INSERT INTO ai.agent_sessions_runs (run_id, session_id, run_type, user_id, run_index, status, run_data,"
        f" created_at) SELECT 'odd run', 'c1', 'team', 'ada', 9, 'COMPLETED', {said}, 1",
        url.database_name,
    )
    done = junkie.run("sessions", "show", "c1", "--json", env={"POSTGRES_URL": url.libpq()}).ok()
    [warning] = json.loads(done.stdout)["warnings"]
    assert warning["message"].endswith("in 1 run: odd run")
    assert "odd run" in done.stderr


def test_the_commands_say_so(settings: Settings, junkie: Junkie, tmp_path: Path) -> None:
    assert settings.postgres_url is not None
    env = {"POSTGRES_URL": settings.postgres_url.libpq()}
    for words in (("memories", "list"), ("memories", "export")):
        done = junkie.run(*words, env=env).ok()
        assert "caf\ufffd" in done.stdout
        assert "replaced by U+FFFD in" in done.stderr and "latin" in done.stderr
    for command in (
        "users list",
        "sessions list",
        "stats",
        "memories history",
        "memories list -n 1",
        "sessions list --json",
    ):
        junkie.run(*command.split(), env=env).ok()


@pytest.mark.parametrize("length", [600, 1500, 5000, 50_000])
async def test_long_texts_are_stored_as_they_are(settings: Settings, admin: Administration, length: int) -> None:
    """asyncpg frees what it encoded for another encoding than UTF-8 before it sends it."""
    text = ("Zoë likes tea. " * (length // 15)).strip()
    done = await add_memory(settings, "ada", text, topics=(text,))
    stored = await get_memory(settings, done.memories[0].memory_id)
    assert stored.memory.memory == text
    assert list(stored.memory.topics) == [text]


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_escapes_that_the_encoding_does_not_have(
    postgres_server: ScratchServer, admin: Administration, encoding: str
) -> None:
    """Agno 2.2 writes every character beyond ASCII as an escape, which such a server cannot translate."""
    name = f"escapes_{encoding}".lower()
    execute(postgres_server, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    try:
        execute(postgres_server, (FOLDER / "agno-2.2.sql").read_text("utf-8"), name)
        settings = admin.settings(postgres_server.url.with_database(name))
        [bob] = (await list_memories(settings, MemoryFilter("bob"))).memories
        assert bob.memory == "Bob lives in Kraków 🏰"
        assert [m.memory_id for m in (await search_memories(settings, "Bob lives")).memories] == [bob.memory_id]
        assert {"ada", "bob"} <= {user.user_id for user in (await list_users(settings)).users}
        assert {"c1", "c2"} <= {session.session_id for session in (await sessions.list_sessions(settings)).sessions}
        assert (await stats.collect_stats(settings)).memories
        path = admin.folder / f"{name}.jsonl"
        await export_user(settings, "bob", path)
        assert "Krak" in path.read_text("utf-8")
        escaped = admin.folder / "escaped.jsonl"
        escaped.write_text('{"memory_id": "new", "memory": "Krak\\u00f3w", "user_id": "bob"}\n')
        assert [(await import_memories(settings, escaped)).added for _ in range(2)] == [1, 0]
        assert (await get_memory(settings, "new")).memory.memory == "Kraków"
        assert (await erase_user(settings, "bob")).remaining == 0
    finally:
        execute(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")
