"""A trigger or a rule that keeps rows as they are: what was not done is not reported as done, and nothing changes."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from junkie_cli.core import sessions
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.memories.edits import (
    add_memory,
    clear_memories,
    delete_memories,
    edit_memory,
)
from junkie_cli.core.memories.history import undo
from junkie_cli.core.memories.import_file import import_memories
from junkie_cli.core.memories.search import search_memories
from junkie_cli.core.settings import Settings
from tests.support.generations import Administration, Make

TEA, CELLO = "7aa6dc81-3201-4b0d-9591-dbaa034d35bc", "7825b7a0-1726-44d4-958d-35a5b4b77508"
ROWS = "SELECT string_agg(t, '|' ORDER BY t) FROM (SELECT m::text t FROM ai.user_memories m"
ROWS += " UNION ALL SELECT h::text FROM ai.junkie_history h UNION ALL SELECT s::text FROM ai.agent_sessions s) x"
SKIP = "CREATE FUNCTION public.skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
FAIL = "CREATE FUNCTION public.skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''{}'', old; END'"

Call = Callable[[Settings, Path], Awaitable[Any]]
CHANGES: dict[str, tuple[str, Call]] = {
    "add": ("INSERT", lambda s, _: add_memory(s, "ada", "likes chess")),
    "import": ("INSERT", lambda s, path: import_memories(s, path.with_name("one.jsonl"))),
    "undo of a deletion": ("INSERT", lambda s, _: undo(s)),
    "edit": ("UPDATE", lambda s, _: edit_memory(s, TEA, "likes chess")),
    "import over what is there": ("UPDATE", lambda s, path: import_memories(s, path, overwrite=True)),
    "delete": ("DELETE", lambda s, _: delete_memories(s, [TEA])),
    "clear": ("DELETE", lambda s, _: clear_memories(s, "ada")),
    "clear without undo": ("DELETE", lambda s, _: clear_memories(s, "ada", undo=False)),
}


@pytest.fixture
async def url(written_by: Make, admin: Administration) -> DatabaseUrl:
    """A database of agno 3.1 in which a memory was deleted, which can be undone."""
    url = written_by("3.1")
    await delete_memories(admin.settings(url), [CELLO])
    return url


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """A file with a new memory and one that is there with another text; beside it `one.jsonl` with the new one."""
    path = tmp_path / "new.jsonl"
    new = {"memory_id": "new", "memory": "likes chess", "user_id": "ada"}
    (tmp_path / "one.jsonl").write_text(json.dumps(new))
    path.write_text("\n".join(json.dumps(line) for line in (new, new | {"memory_id": TEA})))
    return path


async def refused(
    admin: Administration, url: DatabaseUrl, call: Callable[[Settings], Awaitable[Any]], *statements: str
) -> DatabaseError:
    """How `call` is refused after `statements`; nothing is another than before."""
    await admin.do(url, *statements)
    before = await admin.value(url, ROWS)
    with pytest.raises(DatabaseError) as caught:
        await call(admin.settings(url))
    assert await admin.value(url, ROWS) == before
    assert caught.value.code == "database_trigger"
    assert "nothing was changed" in caught.value.message
    return caught.value


@pytest.mark.parametrize("change", CHANGES)
async def test_rows_that_a_trigger_skips(admin: Administration, url: DatabaseUrl, lines: Path, change: str) -> None:
    event, call = CHANGES[change]
    trigger = f"CREATE TRIGGER skip BEFORE {event} ON ai.user_memories FOR EACH ROW EXECUTE FUNCTION public.skip()"
    error = await refused(admin, url, lambda settings: call(settings, lines), SKIP, trigger)
    assert "a trigger or a rule prevented the change of" in error.message


@pytest.mark.parametrize("change", CHANGES)
async def test_rows_that_a_rule_skips(admin: Administration, url: DatabaseUrl, lines: Path, change: str) -> None:
    event, call = CHANGES[change]
    rule = f"CREATE RULE skip AS ON {event} TO ai.user_memories DO INSTEAD NOTHING"
    error = await refused(admin, url, lambda settings: call(settings, lines), rule)
    assert "rule" in error.message


async def test_a_trigger_that_raises_is_named_without_its_words(admin: Administration, url: DatabaseUrl) -> None:
    trigger = "CREATE TRIGGER f BEFORE DELETE ON ai.user_memories FOR EACH ROW EXECUTE FUNCTION public.skip()"
    call = CHANGES["clear"][1]
    error = await refused(admin, url, lambda s: call(s, Path()), FAIL.format("secret %"), trigger)
    assert "secret" not in error.message
    assert "tea" not in error.message


async def test_a_session_that_a_trigger_keeps(admin: Administration, url: DatabaseUrl) -> None:
    trigger = "CREATE TRIGGER skip BEFORE DELETE ON ai.agent_sessions FOR EACH ROW EXECUTE FUNCTION public.skip()"
    await refused(admin, url, lambda settings: sessions.delete_session(settings, "c1"), SKIP, trigger)


async def test_one_of_several_rows_that_a_trigger_keeps(admin: Administration, url: DatabaseUrl) -> None:
    keep = "CREATE FUNCTION public.skip() RETURNS trigger LANGUAGE plpgsql AS"
    keep += " 'BEGIN IF old.memory_id = ''new'' THEN RETURN NULL; END IF; RETURN old; END'"
    trigger = "CREATE TRIGGER skip BEFORE DELETE ON ai.user_memories FOR EACH ROW EXECUTE FUNCTION public.skip()"
    row = 'INSERT INTO ai.user_memories SELECT (jsonb_populate_record(m, \'{"memory_id": "new"}\')).* FROM'
    row += f" ai.user_memories m WHERE memory_id = '{TEA}'"
    error = await refused(admin, url, lambda s: clear_memories(s, "ada"), row, keep, trigger)
    assert "prevented the change of 1 row" in error.message


async def test_a_session_is_deleted_where_memories_are_a_view(admin: Administration, url: DatabaseUrl) -> None:
    await admin.do(
        url,
        "ALTER TABLE ai.user_memories RENAME TO stored",
        "CREATE VIEW ai.user_memories AS SELECT * FROM ai.stored",
    )
    done = await sessions.delete_session(admin.settings(url), "c1")
    assert done.remaining == 0
    assert await admin.value(url, "SELECT count(*) FROM ai.agent_sessions WHERE session_id = 'c1'") == 0


async def test_memories_that_are_stored_as_text_are_found(admin: Administration, url: DatabaseUrl) -> None:
    await admin.do(url, "ALTER TABLE ai.user_memories ALTER COLUMN memory TYPE text USING memory #>> '{}'")
    found = await search_memories(admin.settings(url), "tea")
    assert [memory.memory_id for memory in found.memories] == [TEA]
