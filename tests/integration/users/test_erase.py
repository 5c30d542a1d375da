"""Erasing a person: nothing of theirs stays, nothing of others goes."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from junkie_cli.core import prompt_history
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import DatabaseError, UsageError
from junkie_cli.core.files import FileError
from junkie_cli.core.memories.edits import edit_memory, preview_clear
from junkie_cli.core.memories.import_file import import_memories
from junkie_cli.core.schema import tables
from junkie_cli.core.schema.ledger import FILE_NAME as LEDGER_FILE
from junkie_cli.core.schema.ledger import read_ledger, read_ledger_file
from junkie_cli.core.table_layout import Layout
from junkie_cli.core.users.erase import apply_erasures, erase_user
from junkie_cli.core.users.export import export_user
from junkie_cli.core.users.receipt import check_receipt_path, write_receipt
from tests.support.generations import ALL, Administration, Make, as_role, named, new_role, reader

GENERATIONS = [generation for generation in ALL if generation != "2.3"]
OTHERS = """SELECT string_agg(t, '|' ORDER BY t) FROM (
    SELECT m::text t FROM ai.user_memories m WHERE user_id IS DISTINCT FROM 'ada'
    UNION ALL SELECT session_id || coalesce(session_data::text, '') FROM ai.agent_sessions
    WHERE session_id IN ('c2', 'nobody')) x"""


async def spoken(admin: Administration, url: DatabaseUrl) -> set[tuple[str, str | None]]:
    """(session, speaker) of every stored run."""
    from junkie_cli.core.schema import runs

    async with admin.connection(url) as connection:
        state = await tables.inspect(connection, Layout("ai"))
        rows = await connection.fetch(f"SELECT session_id, user_id FROM {runs.table(state)} r")
    return {(row["session_id"], row["user_id"]) for row in rows}


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_own_things_go_and_others_stay(written_by: Make, admin: Administration, generation: str) -> None:
    url = written_by(generation)
    settings = admin.settings(url)
    others, before = await admin.value(url, named(generation, OTHERS)), await spoken(admin, url)
    await edit_memory(settings, (await preview_clear(settings, "ada")).samples[0].memory_id, "x")
    done = await erase_user(settings, "ada")
    assert (done.remaining, done.problems) == (0, ())
    assert done.erased[named(generation, "user_memories")] == (4 if generation == "2.9-then-3.1" else 2)
    assert done.erased["junkie_history"] == 1
    assert await admin.value(url, named(generation, OTHERS)) == others
    assert await spoken(admin, url) == {(session, user) for session, user in before if user != "ada"}
    async with admin.connection(url) as connection:
        left = {
            row["session_id"]: row["user_id"]
            for row in await connection.fetch(named(generation, "SELECT * FROM ai.agent_sessions"))
        }
    shared = {"channel-7": "bob"} if ("channel-7", "bob") in before else {}
    assert left == {"c2": "bob", "nobody": None} | shared
    assert done.shared_sessions == len(shared)
    for column in await columns_with_text(admin, url):
        assert not await admin.value(url, f"SELECT count(*) FROM ai.{column[0]} t WHERE {column[1]}::text = 'ada'")


async def columns_with_text(admin: Administration, url: DatabaseUrl) -> list[tuple[str, str]]:
    async with admin.connection(url) as connection:
        rows = await connection.fetch(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'ai'"
        )
    return [(row["table_name"], row["column_name"]) for row in rows]


@pytest.mark.parametrize("generation", ["2.2", "3.1"])
async def test_a_shared_session_loses_summary_state_and_name(
    written_by: Make, admin: Administration, generation: str
) -> None:
    url = written_by(generation)
    kind = "json" if generation == "2.2" else "jsonb"
    data = '{"session_name": "Ada\'s", "session_state": {"ada": 1}, "session_metrics": {"x": 1}}'.replace("'", "''")
    await admin.do(
        url,
        f"UPDATE ai.agent_sessions SET session_data = '{data}'::{kind}, summary = '{{\"s\": \"Ada\"}}'::{kind}"
        " WHERE session_id = 'channel-7'",
    )
    await erase_user(admin.settings(url), "ada")
    async with admin.connection(url) as connection:
        row = await connection.fetchrow("SELECT * FROM ai.agent_sessions WHERE session_id = 'channel-7'")
    assert row is not None and row["summary"] is None
    assert json.loads(row["session_data"]) == {"session_metrics": {"x": 1}}


async def test_a_guest_goes_and_the_owner_stays(written_by: Make, admin: Administration) -> None:
    for generation in ("2.2", "2.9-then-3.1", "3.1"):
        url = written_by(generation)
        await erase_user(admin.settings(url), "bob")
        owner = "SELECT user_id FROM ai.agent_sessions WHERE session_id = 'channel-7'"
        assert await admin.value(url, owner) == "ada"
        assert {user for _, user in await spoken(admin, url)} == {"ada", None}


async def test_every_table_with_a_user_id_is_found(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await admin.do(
        url,
        "CREATE TABLE ai.agno_learnings (id int, user_id varchar)",
        "CREATE TABLE ai.numbers (user_id bigint)",
        "CREATE TABLE ai.notes_of_session (session_id text, note text)",
        "INSERT INTO ai.agno_learnings VALUES (1, '42'), (2, 'bob')",
        "INSERT INTO ai.numbers VALUES (42), (43)",
        "UPDATE ai.agent_sessions SET user_id = '42' WHERE session_id = 'c1'",
        "UPDATE ai.agent_sessions_runs SET user_id = '42' WHERE session_id = 'c1'",
        "INSERT INTO ai.notes_of_session VALUES ('c1', 'x'), ('c2', 'y')",
    )
    done = await erase_user(admin.settings(url), "42")
    assert done.erased == {
        "agno_learnings": 1,
        "numbers": 1,
        "notes_of_session": 1,
        "agent_sessions": 1,
        "agent_sessions_runs": 2,
    }


async def test_runs_of_team_members_go_with_their_turn(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    turn = await admin.value(
        url, "SELECT run_id FROM ai.agent_sessions_runs WHERE user_id = 'ada' AND session_id = 'channel-7'"
    )
    await admin.do(
        url,
        "INSERT INTO ai.agent_sessions_runs (run_id, session_id, run_type, parent_run_id, run_data, created_at)"
        f" VALUES ('member', 'channel-7', 'agent', '{turn}', '{{}}', 1)",
    )
    done = await erase_user(admin.settings(url), "ada")
    assert done.erased["agent_sessions_runs"] == 4
    assert await admin.value(url, "SELECT count(*) FROM ai.agent_sessions_runs WHERE run_id = 'member'") == 0


async def test_a_dry_run_counts_the_same_and_changes_nothing(written_by: Make, admin: Administration) -> None:
    for generation in ("2.2", "3.1"):
        settings = admin.settings(written_by(generation))
        dry = await erase_user(settings, "ada", dry_run=True)
        again = await erase_user(settings, "ada", dry_run=True)
        done = await erase_user(settings, "ada")
        assert dry.erased == again.erased == done.erased
        assert dry.erased_at is None
        assert done.erased_at is not None


async def test_somebody_unknown_leaves_no_trace(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    done = await erase_user(admin.settings(url), "Adda")
    assert (done.found, done.erased_at, done.nearest) == (0, None, ("ada",))
    assert await admin.value(url, "SELECT count(*) FROM ai.junkie_tombstones") == 0
    assert not (admin.settings(url).backup_dir / LEDGER_FILE).exists()
    with pytest.raises(UsageError):
        await erase_user(admin.settings(url), "")


async def test_typed_lines_go_too(written_by: Make, admin: Administration) -> None:
    typed = prompt_history.history_file("ada")
    assert typed.is_relative_to(admin.folder)
    typed.parent.mkdir(parents=True)
    typed.write_text('"hello"\n')
    done = await erase_user(admin.settings(written_by("3.1")), "ada")
    assert done.erased["prompt history"] == 1
    assert not typed.exists()


async def test_rows_outside_the_schema_are_counted_and_erased_on_demand(
    written_by: Make, admin: Administration
) -> None:
    url = written_by("3.1")
    await admin.do(
        url,
        "CREATE TABLE public.messages (message_id bigint, author_id bigint, content text)",
        "CREATE TABLE public.triggers (user_id text)",
        "CREATE SCHEMA other CREATE TABLE secrets (user_id text)",
        "INSERT INTO public.messages VALUES (1, 42, 'x'), (2, 42, 'y'), (3, 7, 'z')",
        "INSERT INTO public.triggers VALUES ('42'), ('ada')",
    )
    settings = admin.settings(url)
    done = await erase_user(settings, "ada")
    assert (done.elsewhere, done.whole_database) == ({"public.triggers": 1}, False)
    done = await erase_user(settings, "42", whole_database=True)
    assert done.elsewhere == {"public.messages": 2, "public.triggers": 1}
    assert await admin.value(url, "SELECT count(*) FROM public.messages") == 1
    await admin.do(
        url,
        *reader("half_blind"),
        "GRANT ALL ON ALL TABLES IN SCHEMA ai TO half_blind",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
    )
    done = await erase_user(admin.settings(as_role(url, "half_blind")), "bob", dry_run=True)
    assert any(sentence.startswith("other.secrets") for sentence in done.unsearchable)


@pytest.mark.parametrize("table", ["user_memories", "agent_sessions", "agent_sessions_runs"])
async def test_without_rights_on_one_table_nothing_happens(written_by: Make, admin: Administration, table: str) -> None:
    url = written_by("3.1")
    await admin.do(
        url,
        *new_role("lacking"),
        "GRANT ALL ON SCHEMA ai TO lacking",
        "GRANT ALL ON ALL TABLES IN SCHEMA ai TO lacking",
        f"REVOKE ALL ON ai.{table} FROM lacking",
        f"GRANT SELECT ON ai.{table} TO lacking",
    )
    with pytest.raises(DatabaseError) as caught:
        await erase_user(admin.settings(as_role(url, "lacking")), "ada")
    assert caught.value.code == "database_rights"
    assert await admin.value(url, "SELECT count(*) FROM ai.user_memories WHERE user_id = 'ada'") == 2
    assert await admin.value(url, "SELECT count(*) FROM ai.agent_sessions_runs WHERE user_id = 'ada'") == 3


async def test_what_is_written_back_at_once_is_not_called_erased(written_by: Make, admin: Administration) -> None:
    url = written_by("3.1")
    await admin.do(
        url,
        "CREATE FUNCTION ai.back() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO ai.user_memories SELECT OLD.*; RETURN NULL; END $$",
        "CREATE TRIGGER back AFTER DELETE ON ai.user_memories FOR EACH ROW EXECUTE FUNCTION ai.back()",
    )
    with pytest.raises(DatabaseError, match="would remain after erasing; nothing was changed"):
        await erase_user(admin.settings(url), "ada")
    assert len(await spoken(admin, url)) == 5


async def test_two_erasures_at_once(written_by: Make, admin: Administration) -> None:
    settings = admin.settings(written_by("3.1"))
    done = await asyncio.gather(*(erase_user(settings, "ada") for _ in range(2)))
    assert sorted(one.found for one in done) == [0, 6]


# --- ledger and receipt -----------------------------------------------------------------------------------------------


async def test_the_ledger_names_nobody_and_erases_again_after_a_restore(
    written_by: Make, admin: Administration
) -> None:
    url, restored = written_by("3.1"), written_by("2.9-then-3.1")
    settings = admin.settings(url)
    await erase_user(settings, "ada")
    file = settings.backup_dir / LEDGER_FILE
    assert file.stat().st_mode & 0o777 == 0o600
    # Ids, salts and hashes are random, and may well hold these three letters.
    assert "ada" not in re.sub("[0-9a-f-]{32,}", "", file.read_text())
    async with admin.connection(url) as connection:
        known = await read_ledger(connection, await tables.inspect(connection, Layout("ai")))
    with file.open("a") as cut_by_a_crash:
        cut_by_a_crash.write('{"erasure_id": "x", "sal')
    ledger = read_ledger_file(settings.backup_dir)
    assert ledger == known
    async with admin.connection(restored) as connection:
        later = datetime.now(UTC) + timedelta(days=1)
        assert await apply_erasures(connection, Layout("ai"), ledger, after=later) == {}
        done = await apply_erasures(connection, Layout("ai"), ledger)
        assert set(done) == {"ada"}
        assert done["ada"]["user_memories"] == 4
        assert await apply_erasures(connection, Layout("ai"), ledger) == {}
    assert {user for _, user in await spoken(admin, restored)} == {"bob", None}
    with pytest.raises(UsageError, match="erased"):
        await import_memories(admin.settings(restored), jsonl(admin, user_id="ada"))


def jsonl(admin: Administration, **fields: Any) -> Path:
    path = admin.folder / "memories.jsonl"
    path.write_text(json.dumps({"memory_id": "i1", "memory": "x"} | fields) + "\n")
    return path


async def test_the_ledger_file_is_completed_from_the_schema(written_by: Make, admin: Administration) -> None:
    settings = admin.settings(written_by("3.1"))
    settings.backup_dir.parent.mkdir(exist_ok=True)
    settings.backup_dir.write_text("in the way")
    done = await erase_user(settings, "ada")
    assert "ledger" in done.problems[0]
    settings.backup_dir.unlink()
    await erase_user(settings, "bob")
    assert len(read_ledger_file(settings.backup_dir)) == 2


async def test_the_receipt(written_by: Make, admin: Administration) -> None:
    done = await erase_user(admin.settings(written_by("3.1")), "ada")
    path = admin.folder / "receipt.json"
    backups = [{"path": "/b/x.dump", "made_at": datetime(2026, 1, 1, tzinfo=UTC), "expires": None}]
    write_receipt(path, done, backups)
    assert path.stat().st_mode & 0o777 == 0o600
    receipt = json.loads(path.read_text())
    assert receipt["erased"] == {"user_memories": 2, "agent_sessions": 1, "agent_sessions_runs": 3}
    assert receipt["remaining"] == 0
    assert receipt["junkie_version"] and receipt["server_version"] and receipt["unsearchable"]
    assert receipt["backups"][0]["path"] == "/b/x.dump"
    for bad in (admin.folder, admin.folder / "no folder" / "x"):
        with pytest.raises(FileError):
            check_receipt_path(bad)


async def test_the_receipt_names_what_cannot_be_found_by_owner(written_by: Make, admin: Administration) -> None:
    """Tables as agno's Knowledge and the bot make them; `vector` stands for pgvector's type of that name."""
    url = written_by("3.1")
    await admin.do(
        url,
        "CREATE DOMAIN public.vector AS float8[]",
        "CREATE TABLE ai.knowledge_vectors (id text, content text, meta_data jsonb, embedding public.vector)",
        "CREATE TABLE public.contents (id text, name text, metadata jsonb, linked_to text, access_count int)",
        "CREATE TABLE public.honcho_sync_status (channel_id bigint, last_synced_message_id bigint, last_sync_at text)",
        "CREATE TABLE public.channel_status (channel_id bigint, is_fully_backfilled boolean)",
        "CREATE TABLE public.triggers (user_id bigint, payload text)",
        "CREATE TABLE ai.session_notes (session_id text, note text)",
        "CREATE TABLE public.spans (span_id text, attributes jsonb)",
        "CREATE MATERIALIZED VIEW public.newest AS SELECT * FROM ai.user_memories",
    )
    done = await erase_user(admin.settings(url), "ada")
    told = {sentence.rpartition(": ")[2] for sentence in done.unsearchable}
    assert {"ai.knowledge_vectors, public.contents", "public.newest", "public.spans"} <= told
    text = "\n".join(done.unsearchable)
    assert "(see public.honcho_sync_status): erase this person there, too" in text
    for searched in ("channel_status", "triggers", "session_notes", "user_memories", "agno_schema_versions", "junkie_"):
        assert searched not in text
    dry = await erase_user(admin.settings(url), "bob", dry_run=True)
    assert dry.unsearchable == done.unsearchable


# --- several applications' sessions, and those that a restore moved aside ---------------------------------------------

SECOND = """
CREATE TABLE {0}.chats (LIKE ai.agent_sessions INCLUDING ALL);
CREATE TABLE {0}.turns (LIKE ai.agent_sessions_runs INCLUDING ALL);
INSERT INTO {0}.chats SELECT * FROM ai.agent_sessions;
INSERT INTO {0}.turns SELECT * FROM ai.agent_sessions_runs;
ALTER TABLE {0}.turns ADD FOREIGN KEY (session_id) REFERENCES {0}.chats ON DELETE CASCADE;
"""


def renamed(sessions: str, own_runs: str) -> str:
    return SECOND.replace("chats", sessions).replace("turns", own_runs)


@pytest.mark.parametrize("names", [("agno_sessions", "agno_runs"), ("chats", "turns")])
@pytest.mark.parametrize(("place", "whole"), [("ai", False), ("ai_before_20261201", True)])
async def test_every_shared_session_is_known_by_its_structure(
    written_by: Make, admin: Administration, names: tuple[str, str], place: str, whole: bool
) -> None:
    url = written_by("3.1")
    sessions, own_runs = names
    await admin.do(url, f"CREATE SCHEMA IF NOT EXISTS {place}", renamed(sessions, own_runs).format(place))
    others = f"SELECT count(*) FROM {place}.{own_runs} WHERE user_id IS DISTINCT FROM 'ada'"
    owner = f"SELECT user_id FROM {place}.{sessions} WHERE session_id = 'channel-7'"
    before = await admin.value(url, others)
    assert await admin.value(url, owner) == "ada"
    done = await erase_user(admin.settings(url), "ada", whole_database=whole)
    assert (done.remaining, done.problems, done.shared_sessions) == (0, (), 2)
    counts = done.erased if place == "ai" else done.elsewhere
    label = "" if place == "ai" else f"{place}."
    assert counts[f"{label}{own_runs}"] == done.erased["agent_sessions_runs"]
    assert counts[f"{label}{sessions}"] == done.erased["agent_sessions"]
    assert await admin.value(url, others) == before
    assert await admin.value(url, owner) == "bob"
    for table in names:
        assert await admin.value(url, f"SELECT count(*) FROM {place}.{table} WHERE user_id = 'ada'") == 0


@pytest.mark.parametrize("generation", ["2.2", "2.9"])
async def test_runs_in_the_old_column_of_a_schema_that_was_moved_aside(
    written_by: Make, admin: Administration, generation: str
) -> None:
    url = written_by(generation)
    await admin.do(
        url,
        "CREATE SCHEMA ai_before_1",
        "CREATE TABLE ai_before_1.agent_sessions AS SELECT * FROM ai.agent_sessions",
    )
    done = await erase_user(admin.settings(url), "ada", whole_database=True)
    assert done.elsewhere["ai_before_1.agent_sessions.runs"] == done.erased["agent_sessions.runs"]
    left = "SELECT string_agg(s::text, '|' ORDER BY session_id) FROM {}.agent_sessions s"
    assert await admin.value(url, left.format("ai_before_1")) == await admin.value(url, left.format("ai"))


async def test_an_export_has_of_other_shared_sessions_what_is_about_the_person(
    written_by: Make, admin: Administration
) -> None:
    url = written_by("3.1")
    await admin.do(url, SECOND.format("ai"))
    file = admin.folder / "ada.jsonl"
    await export_user(admin.settings(url), "ada", file)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    of = {table: sorted(str(line["row"]) for line in lines if line["table"] == table) for table in ("chats", "turns")}
    assert of["chats"] == sorted(str(line["row"]) for line in lines if line["table"] == "agent_sessions")
    assert of["turns"] == sorted(str(line["row"]) for line in lines if line["table"] == "agent_sessions_runs")
    assert of["turns"]
