"""Administration behind a real PgBouncer in transaction mode, where each transaction may have another server."""

import asyncio
from collections.abc import Iterator

import pytest

from junkie_cli.core import sessions, stats
from junkie_cli.core.memories.edits import add_memory, clear_memories
from junkie_cli.core.memories.export import export_memories
from junkie_cli.core.memories.history import list_history, record_others, undo
from junkie_cli.core.memories.import_file import import_memories
from junkie_cli.core.memories.listing import MemoryFilter, list_memories
from junkie_cli.core.memories.search import search_memories
from junkie_cli.core.users.erase import erase_user
from junkie_cli.core.users.export import export_user
from tests.support.generations import FOLDER, Administration
from tests.support.pgbouncer import SERVER_HBA, SERVER_SETTINGS, PgBouncer
from tests.support.postgres import execute, scratch_server


@pytest.fixture
def pooler() -> Iterator[PgBouncer]:
    with scratch_server(settings=SERVER_SETTINGS, hba=SERVER_HBA) as server:
        execute(server, "CREATE ROLE pooled LOGIN SUPERUSER PASSWORD 'secret'")
        execute(server, (FOLDER / "agno-2.9-then-3.1.sql").read_text("utf-8"))
        with PgBouncer(server, user="pooled", password="secret", pool_size=2) as pooler:
            yield pooler


async def test_every_command_works_behind_a_pooler(pooler: PgBouncer, admin: Administration) -> None:
    settings, path = admin.settings(pooler.url()), admin.folder / "all.jsonl"
    pages = await asyncio.gather(*(list_memories(settings, MemoryFilter("ada")) for _ in range(8)))
    assert {len(page.memories) for page in pages} == {4}
    assert (await export_memories(settings, path=path)).memories == 8
    cleared = await clear_memories(settings, "ada")
    assert (cleared.deleted, cleared.remaining) == (4, 0)
    assert (await undo(settings)).undone == 4
    assert (await import_memories(settings, path)).unchanged == 8
    assert await record_others(settings, on=True) is False
    await add_memory(settings, "ada", "new")
    assert [change.by for change in (await list_history(settings, user_id="ada", limit=1)).changes] == ["junkie"]
    assert (await search_memories(settings, "new")).memories
    assert (await stats.collect_stats(settings)).memories == 9
    assert len((await sessions.list_sessions(settings)).sessions) == 4
    assert (await export_user(settings, "ada", admin.folder / "ada.jsonl")).lines
    assert (await erase_user(settings, "ada")).remaining == 0
    assert (await sessions.delete_session(settings, "c2")).remaining == 0
