"""A table without a key, where one id is that of two memories: no statement takes one for the other."""

from pathlib import Path

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import JunkieError
from junkie_cli.core.memories.edits import (
    clear_memories,
    delete_memories,
    edit_memory,
    preview_delete,
)
from junkie_cli.core.memories.export import export_memories
from junkie_cli.core.memories.history import undo
from junkie_cli.core.memories.import_file import import_memories
from junkie_cli.core.memories.listing import MemoryFilter, get_memory, list_memories
from tests.support.backups import sql
from tests.support.doctor import Doctor, assert_result
from tests.support.generations import Administration, Make

WHOLE = "SELECT string_agg(m::text, '|' ORDER BY m::text) FROM ai.user_memories m"
BOTHS = "both-s-id-of-one-memory"
NO_KEY = (
    "ALTER TABLE ai.user_memories DROP CONSTRAINT user_memories_pkey",
    f"INSERT INTO ai.user_memories (memory_id, memory, user_id, topics, created_at, updated_at) VALUES"
    f" ('{BOTHS}', '\"of ada\"', 'ada', '[]', 1, 1), ('{BOTHS}', '\"of bob\"', 'bob', '[]', 1, 1)",
)
TWICE = (
    "INSERT INTO ai.user_memories (memory_id, memory, user_id, created_at)"
    " SELECT 'twice-the-same-id', to_jsonb(n::text), 'eve', 1 FROM generate_series(1, 2) n"
)


@pytest.fixture
async def url(written_by: Make, admin: Administration) -> DatabaseUrl:
    url = written_by("3.1")
    await admin.do(url, *NO_KEY)
    return url


async def test_an_id_alone_is_refused(url: DatabaseUrl, admin: Administration) -> None:
    settings = admin.settings(url)
    path = admin.folder / "all.jsonl"
    await export_memories(settings, path=path)
    before = await admin.value(url, WHOLE)
    for attempt in (
        get_memory(settings, BOTHS),
        edit_memory(settings, BOTHS, "changed"),
        preview_delete(settings, [BOTHS]),
        delete_memories(settings, [BOTHS]),
    ):
        with pytest.raises(JunkieError) as caught:
            await attempt
        assert (caught.value.code, caught.value.exit_code) == ("memory_id_not_unique", 1)
        assert "'ada', 'bob'" in caught.value.message
        assert "doctor --only memory.ids" in caught.value.hint
    with pytest.raises(JunkieError):
        await import_memories(settings, path)
    assert await admin.value(url, WHOLE) == before


async def test_what_one_owner_clears_and_undoes_is_that_owners(url: DatabaseUrl, admin: Administration) -> None:
    settings = admin.settings(url)
    before = await admin.value(url, WHOLE)
    others = await admin.value(url, WHOLE + " WHERE user_id IS DISTINCT FROM 'bob'")
    cleared = await clear_memories(settings, "bob")
    assert cleared.deleted == 2
    assert await admin.value(url, WHOLE) == others
    undone = await undo(settings, cleared.undo)
    assert (undone.undone, undone.conflict_count) == (2, 0)
    assert await admin.value(url, WHOLE) == before
    again = await undo(settings, undone.batch)
    assert (again.undone, again.conflict_count) == (2, 0)
    assert await admin.value(url, WHOLE) == others


async def test_everybodys_are_put_back_each_to_its_owner(url: DatabaseUrl, admin: Administration) -> None:
    settings = admin.settings(url)
    before = await admin.value(url, WHOLE)
    cleared = await clear_memories(settings, None)
    assert (cleared.remaining, (await undo(settings, cleared.undo)).undone) == (0, 6)
    assert await admin.value(url, WHOLE) == before


async def test_undo_is_not_promised_for_two_that_nothing_tells_apart(url: DatabaseUrl, admin: Administration) -> None:
    await admin.do(url, TWICE)
    settings = admin.settings(url)
    with pytest.raises(JunkieError) as caught:
        await clear_memories(settings, "eve")
    assert caught.value.code == "memory_id_not_unique"
    assert len((await list_memories(settings, MemoryFilter("eve"))).memories) == 2
    assert (await clear_memories(settings, "eve", undo=False)).deleted == 2


def test_doctor_names_them_and_its_hint_helps(written_by: Make, tmp_path: Path) -> None:
    url = written_by("3.1")
    doctor = Doctor(tmp_path).use(url)
    assert_result(doctor.one("memory.ids"), "ok")
    sql(url, "; ".join(NO_KEY))
    found = doctor.one("memory.ids")
    assert_result(found, "failed", BOTHS, "2 of 'ada', 'bob'", "ADD PRIMARY KEY")
    _, update, key = found.hint.replace(": UPDATE", "; UPDATE").split("; ")
    sql(url, update.replace("'ID'", f"'{BOTHS}'").replace("'USER'", "'bob'"))
    assert_result(doctor.one("memory.ids"), "warning", "has no unique key")
    sql(url, key)
    assert_result(doctor.one("memory.ids"), "ok")
