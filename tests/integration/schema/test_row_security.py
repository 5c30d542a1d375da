"""Row security: where policies hide rows from the database user, reads warn and everything else refuses."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from junkie_cli.core import reporting, sessions, stats
from junkie_cli.core.chat import Conversation, Done
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import DatabaseError, ExitCode, NotFoundError
from junkie_cli.core.memories.edits import (
    add_memory,
    clear_memories,
    delete_memories,
    edit_memory,
    preview_clear,
    preview_delete,
)
from junkie_cli.core.memories.export import export_memories
from junkie_cli.core.memories.history import undo
from junkie_cli.core.memories.import_file import import_memories
from junkie_cli.core.memories.listing import MemoryFilter, get_memory, list_memories
from junkie_cli.core.memories.search import search_memories
from junkie_cli.core.schema import row_security
from junkie_cli.core.settings import Settings
from junkie_cli.core.users.erase import erase_user
from junkie_cli.core.users.export import export_user
from junkie_cli.core.users.listing import list_users
from tests.support.doctor import Doctor, assert_result
from tests.support.generations import Administration, Make, as_role, new_role
from tests.support.junkie import Junkie
from tests.support.schemas import validate

ROWS = "SELECT string_agg(t, '|' ORDER BY t) FROM (SELECT m::text t FROM ai.user_memories m UNION ALL SELECT s::text"
ROWS += " FROM ai.agent_sessions s UNION ALL SELECT r::text FROM ai.agent_sessions_runs r) x"


async def filter_rows(admin: Administration, url: DatabaseUrl, *tables: str, force: bool = False) -> DatabaseUrl:
    """Have `tables` show the role `filtered` the rows of bob only; returns that role's URL."""
    await admin.do(
        url,
        *new_role("filtered"),
        "GRANT ALL ON SCHEMA ai TO filtered",
        "GRANT ALL ON ALL TABLES IN SCHEMA ai TO filtered",
    )
    for table in tables:
        await admin.do(
            url,
            f"ALTER TABLE ai.{table} ENABLE ROW LEVEL SECURITY",
            f"CREATE POLICY only_bob ON ai.{table} TO filtered USING (user_id = 'bob')",
        )
        if force:
            await admin.do(
                url, f"ALTER TABLE ai.{table} OWNER TO filtered", f"ALTER TABLE ai.{table} FORCE ROW LEVEL SECURITY"
            )
    return as_role(url, "filtered")


Call = Callable[[Settings, Path], Awaitable[Any]]
READS: dict[str, Call] = {
    "list": lambda s, _: list_memories(s, MemoryFilter()),
    "search": lambda s, _: search_memories(s, "tea"),
    "users": lambda s, _: list_users(s),
    "sessions": lambda s, _: sessions.list_sessions(s),
    "runs": lambda s, _: sessions.get_runs(s, "c2"),
    "stats": lambda s, _: stats.collect_stats(s),
    "stats of one": lambda s, _: stats.collect_stats(s, user_id="ada"),
    "estimates": lambda s, _: stats.collect_stats(s, approximate=True),
}
REFUSED: dict[str, Call] = {
    "export": lambda s, folder: export_memories(s, path=folder / "x"),
    "export of a user": lambda s, folder: export_user(s, "ada", folder / "x"),
    "add": lambda s, _: add_memory(s, "ada", "x"),
    "edit": lambda s, _: edit_memory(s, "x", "y"),
    "delete": lambda s, _: delete_memories(s, ["x"]),
    "preview of delete": lambda s, _: preview_delete(s, ["x"]),
    "clear": lambda s, _: clear_memories(s, "ada"),
    "preview of clear": lambda s, _: preview_clear(s, "ada"),
    "import": lambda s, folder: import_memories(s, folder / "lines.jsonl"),
    "undo": lambda s, _: undo(s),
    "erase": lambda s, _: erase_user(s, "ada"),
    "dry run of erase": lambda s, _: erase_user(s, "ada", dry_run=True),
    "delete a session": lambda s, _: sessions.delete_session(s, "c1"),
    "dry run of it": lambda s, _: sessions.delete_session(s, "c1", dry_run=True),
}
TABLES = ("user_memories", "agent_sessions", "agent_sessions_runs")


@pytest.mark.parametrize("force", [False, True])
async def test_reads_warn(written_by: Make, admin: Administration, force: bool) -> None:
    superuser = written_by("3.1")
    url = await filter_rows(admin, superuser, *TABLES, force=force)
    for name, call in READS.items():
        found = await call(admin.settings(url), admin.folder)
        assert [warning.code for warning in found.warnings] == [row_security.CODE], name
    with pytest.raises(NotFoundError, match="or it is hidden: row security may hide rows of"):
        await get_memory(admin.settings(url), "x")
    with pytest.raises(NotFoundError, match="or it is hidden"):
        await sessions.get_runs(admin.settings(url), "c1")


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", REFUSED)
async def test_exports_and_changes_refuse(written_by: Make, admin: Administration, name: str, force: bool) -> None:
    superuser = written_by("3.1")
    url = await filter_rows(admin, superuser, *TABLES, force=force)
    before = await admin.value(superuser, ROWS)
    (admin.folder / "lines.jsonl").write_text('{"memory_id": "n", "user_id": "eve", "memory": "x", "updated_at": 1}\n')
    with pytest.raises(DatabaseError, match="row security may hide rows") as refused:
        await REFUSED[name](admin.settings(url), admin.folder)
    assert (refused.value.code, refused.value.exit_code) == ("row_security", ExitCode.DATABASE)
    assert "BYPASSRLS" in refused.value.hint
    assert await admin.value(superuser, ROWS) == before
    assert not (admin.folder / "x").exists()


async def test_chat_names_row_security(written_by: Make, admin: Administration) -> None:
    """What policies allow is done, with a warning; what they do not allow fails by that name, not as a right."""
    superuser = written_by("3.1")
    url = await filter_rows(admin, superuser, *TABLES)
    sentences: list[str] = []
    reporting.set_reporter(sentences.append)
    try:
        for user_id, code in (("bob", ""), ("eve", row_security.CODE)):
            async with await Conversation.open(admin.settings(url), user_id, offline=True) as conversation:
                done = [event async for event in conversation.send("I like tea")][-1]
            assert isinstance(done, Done)
            assert (done.error.code if done.error else "") == code
            if done.error:
                assert "BYPASSRLS" in done.error.hint
            assert any("row security may hide rows of ai.user_memories" in sentence for sentence in sentences)
    finally:
        reporting.set_reporter(None)
    await admin.do(
        superuser,
        "ALTER TABLE ai.junkie_tombstones OWNER TO CURRENT_USER",
        "GRANT ALL ON ai.junkie_tombstones TO filtered",
        "ALTER TABLE ai.junkie_tombstones ENABLE ROW LEVEL SECURITY",
    )
    with pytest.raises(DatabaseError, match=r"junkie_tombstones.*the conversation was not begun"):
        await Conversation.open(admin.settings(url), "bob", offline=True)


VIEWS = {
    "of its owner": ("", True),
    "of whoever reads it": ("WITH (security_invoker = on)", True),
    "of one whom no policy holds": ("", False),
}


@pytest.mark.parametrize("name", VIEWS)
async def test_policies_behind_a_view(written_by: Make, admin: Administration, name: str) -> None:
    """The view's owner reads the table, so that owner's policies decide; through a second view, too."""
    options, filtered = VIEWS[name]
    superuser = written_by("3.1")
    url = await filter_rows(admin, superuser, "user_memories")
    await admin.do(
        superuser,
        "ALTER TABLE ai.user_memories RENAME TO stored",
        f"CREATE VIEW ai.middle {options} AS SELECT * FROM ai.stored",
        f"CREATE VIEW ai.user_memories {options} AS SELECT * FROM ai.middle",
        "GRANT ALL ON ai.middle, ai.user_memories TO filtered",
        *(
            f"ALTER VIEW ai.{view} OWNER TO filtered"
            for view in ("middle", "user_memories")
            if filtered and not options
        ),
    )
    settings = admin.settings(url)
    page = await list_memories(settings, MemoryFilter())
    assert [warning.code for warning in page.warnings] == [row_security.CODE] * filtered
    assert {memory.user_id for memory in page.memories} == ({"bob"} if filtered else {"ada", "bob", "default"})
    if filtered:
        for call in ("export", "export of a user"):
            with pytest.raises(DatabaseError, match="row security may hide rows"):
                await REFUSED[call](settings, admin.folder)
    await admin.do(superuser, "ALTER TABLE ai.stored DISABLE ROW LEVEL SECURITY")
    assert not (await list_memories(settings, MemoryFilter())).warnings


async def test_our_own_tables_count_too(written_by: Make, admin: Administration) -> None:
    """A hidden tombstone lets an erased person come back; hidden history cannot be undone."""
    superuser = written_by("3.1")
    url = await filter_rows(admin, superuser)
    await add_memory(admin.settings(url), "ada", "x")
    for table in ("junkie_tombstones", "junkie_history", "junkie_pending"):
        await admin.do(
            superuser,
            f"ALTER TABLE ai.{table} OWNER TO CURRENT_USER",
            f"GRANT ALL ON ai.{table} TO filtered",
            f"ALTER TABLE ai.{table} ENABLE ROW LEVEL SECURITY",
        )
        for call in (REFUSED["erase"], REFUSED["add"], REFUSED["undo"]):
            with pytest.raises(DatabaseError, match=table):
                await call(admin.settings(url), admin.folder)
        await admin.do(superuser, f"ALTER TABLE ai.{table} DISABLE ROW LEVEL SECURITY")


async def test_tables_outside_the_schema(written_by: Make, admin: Administration) -> None:
    superuser = written_by("3.1")
    url = await filter_rows(admin, superuser)
    await admin.do(
        superuser,
        "CREATE TABLE public.messages (author_id text); INSERT INTO public.messages VALUES ('ada')",
        "GRANT ALL ON public.messages TO filtered; ALTER TABLE public.messages ENABLE ROW LEVEL SECURITY",
    )
    with pytest.raises(DatabaseError, match=r"public\.messages") as refused:
        await erase_user(admin.settings(url), "ada", whole_database=True)
    assert refused.value.code == "row_security"
    done = await erase_user(admin.settings(url), "ada")
    assert [sentence for sentence in done.unsearchable if "public.messages" in sentence]


async def test_whom_no_policy_filters_is_not_bothered(written_by: Make, admin: Administration) -> None:
    superuser = written_by("3.1")
    await filter_rows(admin, superuser, *TABLES)
    for call in READS.values():
        assert (await call(admin.settings(superuser), admin.folder)).warnings == ()
    assert (await erase_user(admin.settings(superuser), "ada")).remaining == 0


async def test_as_a_command(junkie: Junkie, written_by: Make, admin: Administration) -> None:
    junkie._extra["POSTGRES_URL"] = (await filter_rows(admin, written_by("3.1"), *TABLES)).libpq()
    for command, shape in {
        "memories list": "memories.list",
        "memories search tea": "memories.search",
        "memories pending": "memories.pending",
        "users list": "users.list",
        "sessions list": "sessions.list",
        "sessions show c2": "sessions.show",
        "stats": "stats",
    }.items():
        result = junkie.run(*command.split(), "--json").ok()
        validate(result.json(), shape)
        if command != "memories pending":
            assert [warning["code"] for warning in result.json()["warnings"]] == ["row_security"], command
            assert "warning: row security may hide rows of ai." in result.stderr
    assert "this answer may be incomplete" in junkie.run("memories", "list").ok().stderr
    for command in ("users erase ada --yes", "memories export", "users export ada -o x", "memories clear -u ada --yes"):
        result = junkie.run(*command.split(), "--json") if "export" not in command else junkie.run(*command.split())
        assert result.exit_code == ExitCode.DATABASE, command
        if "export" not in command:
            assert result.json()["error"]["code"] == "row_security"


def test_doctor_finds_it(written_by: Make, admin: Administration) -> None:
    doctor, superuser = Doctor(admin.folder), written_by("3.1")
    url = asyncio.run(filter_rows(admin, superuser, "user_memories"))
    found = doctor.use(url).examine("schema", "memory.owners")
    assert_result(found["schema.row_security"], "failed", "row security can hide rows of user_memories from filtered")
    assert found["schema.row_security"].hint.startswith("as a superuser: ALTER ROLE filtered BYPASSRLS")
    assert found["memory.owners"].status == "skipped"
    assert doctor.use(superuser).status("schema.row_security") == "ok"
