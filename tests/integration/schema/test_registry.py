"""The table registry: what it says of each table is so in a database, and every command goes by it."""

import re

import pytest

from junkie_cli.core.schema import own_tables, registry, row_security
from junkie_cli.core.schema.registry import Erase, Merge, Restore, TableEntry
from junkie_cli.core.table_layout import Layout, Role
from junkie_cli.core.users.erase import erase_user
from junkie_cli.core.users.export import export_user
from tests.support.backups import back_up
from tests.support.documents import ROOT
from tests.support.generations import Administration, Make

ENTRIES = {str(entry.table): entry for entry in registry.entries()}


@pytest.mark.parametrize("name", ENTRIES)
async def test_a_table_is_as_the_registry_says(written_by: Make, admin: Administration, name: str) -> None:
    entry = ENTRIES[name]
    async with admin.connection(written_by("3.1")) as connection:
        state = await own_tables.prepare(connection, Layout("ai"))
    assert state.has(entry.table)
    columns = state.table(entry.table).columns
    assert set(entry.key) <= set(columns)
    assert entry.owner in ("user_id", None)
    assert (entry.owner in columns) is entry.personal is ("user_id" in columns)
    offered = [definition for table, _, definition in state.missing_indexes() if table == state.name(entry.table)]
    found = state.has_index(entry.table, *entry.owned_by_index)
    assert not entry.personal or found or any(each.startswith(f"({entry.owner},") for each in offered)
    assert entry.of_session is ("session_id" in columns)
    assert entry.is_own is (entry.feature is not None)


def test_what_is_personal_is_erased_exported_and_merged() -> None:
    for entry in registry.entries():
        assert (entry.erase is not Erase.KEEP) is entry.personal is (entry.merge is Merge.OWNER)
        # What is derived from other rows is in no backup, and in no export.
        assert entry.exported is (entry.personal and entry.data_in_backups)
        assert entry.personal or entry.restore_user is Restore.LEAVE


async def test_every_table_of_ours_is_registered(written_by: Make, admin: Administration) -> None:
    async with admin.connection(written_by("3.1")) as connection:
        state = await own_tables.prepare(connection, Layout("ai"))
    made = {name for name in state.tables if name.startswith("junkie_")}
    assert made == set(registry.own_tables()) <= set(row_security.CHANGED_WITH_MEMORIES)


def test_no_other_module_names_a_table_of_ours() -> None:
    named = re.compile(r"\b(" + "|".join(registry.own_tables()) + r")\b")
    # content_hash has a variable of psql that is called so.
    allowed = {"core/schema/registry.py", "core/schema/migrations/__init__.py", "core/backup/content_hash.py"}
    code = ROOT / "junkie_cli"
    for path in code.rglob("*.py"):
        if str(path.relative_to(code)) in allowed:
            continue
        # What stands in quotation marks; documentation may name a table, and the trigger has its table's name.
        strings = re.sub(r'""".*?"""|_TRIGGER = .*', "", path.read_text("utf-8"), flags=re.DOTALL)
        found = [match for line in strings.splitlines() for match in named.findall(line.partition("#")[0])]
        assert not found, path


# --- those who read it ------------------------------------------------------------------------------------------------


def with_a_table(patch: pytest.MonkeyPatch, entry: TableEntry) -> None:
    """The registry has one table more, which no code knows."""
    entries = (*registry.entries(), entry)
    patch.setattr(registry, "entries", lambda: entries)


NOTES = "CREATE TABLE ai.junkie_notes (note_id text PRIMARY KEY, about text, note text)"
ROWS = "INSERT INTO ai.junkie_notes VALUES ('1', 'ada', 'x'), ('2', 'bob', 'y')"


async def test_a_new_table_is_erased_and_exported_by_its_owner_column(
    written_by: Make, admin: Administration, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = written_by("3.1")
    await admin.do(url, NOTES, ROWS)
    entry = TableEntry("junkie_notes", ("note_id",), "about", ("about",), erase=Erase.ROWS, exported=True)
    with_a_table(monkeypatch, entry)
    settings = admin.settings(url)
    exported = await export_user(settings, "ada", admin.folder / "ada.jsonl")
    assert exported.lines["junkie_notes"] == 1
    assert (await erase_user(settings, "ada")).erased["junkie_notes"] == 1
    assert await admin.value(url, "SELECT string_agg(about, ',') FROM ai.junkie_notes") == "bob"


async def test_a_table_whose_rows_name_nobody_is_kept(
    written_by: Make, admin: Administration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even with a column of that name: the registry decides, not the name."""
    url = written_by("3.1")
    await admin.do(url, "CREATE TABLE ai.junkie_notes (user_id text, session_id text)")
    await admin.do(url, "INSERT INTO ai.junkie_notes SELECT 'ada', session_id FROM ai.agent_sessions")
    with_a_table(monkeypatch, TableEntry("junkie_notes", ("user_id",)))
    before = await admin.value(url, "SELECT count(*) FROM ai.junkie_notes")
    assert "junkie_notes" not in (await erase_user(admin.settings(url), "ada")).erased
    assert await admin.value(url, "SELECT count(*) FROM ai.junkie_notes") == before


async def test_a_backup_holds_the_structure_alone_where_the_registry_says_so(
    written_by: Make, admin: Administration, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = written_by("3.1")
    await admin.do(url, NOTES, ROWS)
    with_a_table(monkeypatch, TableEntry("junkie_notes", ("note_id",), data_in_backups=False))
    made = await back_up(url, admin.folder / "backups")
    assert made.manifest.verified_at is not None
    (notes,) = [table for table in made.manifest.tables if table.name == "junkie_notes"]
    assert notes.rows == 0
    assert sum(table.rows for table in made.manifest.tables) > 0


def test_restoring_a_person_writes_agnos_tables() -> None:
    assert set(registry.restored_for_a_user()) == set(Role)
