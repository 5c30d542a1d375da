"""The roundtrip remembers, recalls and erases for real, and leaves nothing, however it ends."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.postgres.connect import close_connection, open_connection
from tests.support.backups import sql
from tests.support.doctor import Doctor, assert_result
from tests.support.generations import FOLDER, Make, as_role
from tests.support.junkie import Junkie
from tests.support.model_server import HttpError, ModelServer, Reply, Request, Text, calls
from tests.support.pgbouncer import SERVER_HBA, SERVER_SETTINGS, PgBouncer
from tests.support.postgres import execute, scratch_server

ROUNDTRIP = "memory.roundtrip"


@pytest.fixture
def ready(doctor: Doctor, written_by: Make) -> DatabaseUrl:
    """A database of agno 3 with our tables; `doctor` uses it."""
    url = written_by("3.1")
    doctor.use(url).fix("schema.junkie")
    return url


def everything(url: DatabaseUrl) -> dict[str, str]:
    """A hash of the rows of each table."""
    tables = sql(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'ai' ORDER BY 1").split()
    return {
        table: sql(url, f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM ai.{table} t") for table in tables
    }


def scratch_rows(url: DatabaseUrl) -> int:
    tables = ("user_memories", "agent_sessions", "agent_sessions_runs", "junkie_history", "junkie_pending")
    counts = [f"(SELECT count(*) FROM ai.{table} WHERE user_id LIKE 'junkie-doctor-%')" for table in tables]
    return int(sql(url, f"SELECT {' + '.join(counts)}"))


def test_it_leaves_no_trace(doctor: Doctor, ready: DatabaseUrl) -> None:
    before = everything(ready)
    assert_result(doctor.one(ROUNDTRIP, deep=True), "ok", "second connection", "second team", "erased completely")
    assert everything(ready) == before
    assert not (doctor.folder / "data").exists()


def test_without_deep_nothing_is_written(doctor: Doctor, ready: DatabaseUrl) -> None:
    sql(ready, "ALTER DATABASE " + str(ready.database) + " SET default_transaction_read_only = on")
    found = doctor.examine()
    assert ROUNDTRIP not in found
    assert found["memory.owners"].status == "warning"


def test_it_waits_for_tables_and_makes_none(doctor: Doctor, written_by: Make, database: DatabaseUrl) -> None:
    for url, other in (
        (database, "schema.tables"),
        (written_by("2.9"), "schema.tables"),
        (written_by("3.1"), "schema.junkie"),
    ):
        before = everything(url)
        result = doctor.use(url).one(ROUNDTRIP, deep=True)
        assert result.status == "skipped"
        assert result.detail.startswith(f"waits for {other}: ")
        assert everything(url) == before


def test_memories_that_the_database_drops(doctor: Doctor, ready: DatabaseUrl) -> None:
    sql(
        ready,
        "CREATE FUNCTION ai.drop_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER drop_it BEFORE INSERT ON ai.user_memories FOR EACH ROW EXECUTE FUNCTION ai.drop_it()",
    )
    assert_result(doctor.one(ROUNDTRIP, deep=True), "failed", "resulted in no memory")
    assert not scratch_rows(ready)
    sql(ready, "DROP TRIGGER drop_it ON ai.user_memories")
    assert doctor.status(ROUNDTRIP, deep=True) == "ok"


def test_memories_that_the_database_changes(doctor: Doctor, ready: DatabaseUrl) -> None:
    """Somebody's trigger masks them at the commit: what a second connection sees is something else."""
    sql(
        ready,
        "CREATE FUNCTION ai.mask() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " UPDATE ai.user_memories SET memory = '\"(masked)\"' WHERE memory_id = NEW.memory_id; RETURN NULL; END $$;"
        "CREATE CONSTRAINT TRIGGER mask AFTER INSERT ON ai.user_memories DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION ai.mask()",
    )
    assert_result(
        doctor.one(ROUNDTRIP, deep=True), "failed", "a memory was stored, but a second connection does not see it"
    )
    assert not scratch_rows(ready)
    sql(ready, "DROP TRIGGER mask ON ai.user_memories")
    assert doctor.status(ROUNDTRIP, deep=True) == "ok"


def test_memories_that_the_team_may_not_see(doctor: Doctor, ready: DatabaseUrl) -> None:
    """Row-level security hides from the team what it has written."""
    sql(
        ready,
        "CREATE ROLE hidden_from LOGIN; GRANT USAGE, CREATE ON SCHEMA ai TO hidden_from;"
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ai TO hidden_from;"
        "ALTER TABLE ai.user_memories ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY others ON ai.user_memories USING (current_setting('application_name') = 'junkie doctor')"
        " WITH CHECK (true)",
    )
    doctor.use(as_role(ready, "hidden_from"))
    try:
        assert_result(doctor.one(ROUNDTRIP, deep=True), "failed", "resulted in no memory", "row-level security of")
        assert not scratch_rows(ready)
        sql(ready, "ALTER TABLE ai.user_memories DISABLE ROW LEVEL SECURITY")
        assert doctor.status(ROUNDTRIP, deep=True) == "ok"
    finally:
        sql(ready, "DROP OWNED BY hidden_from; DROP ROLE hidden_from")


def test_rows_that_come_back(doctor: Doctor, ready: DatabaseUrl) -> None:
    sql(
        ready,
        "CREATE FUNCTION ai.keep_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER keep_it BEFORE DELETE ON ai.user_memories FOR EACH ROW EXECUTE FUNCTION ai.keep_it()",
    )
    assert_result(doctor.one(ROUNDTRIP, deep=True), "failed", "remained after the deletion", "trigger")
    sql(ready, "DROP TRIGGER keep_it ON ai.user_memories")
    assert_result(doctor.one(ROUNDTRIP, deep=True), "ok", "deleted leftovers")
    assert not scratch_rows(ready)


def test_what_a_killed_one_left_is_swept_by_the_next(doctor: Doctor, ready: DatabaseUrl, junkie: Junkie) -> None:
    before = everything(ready)
    # It stops at the deletion: the row that it wants to delete is locked by us.
    sql(
        ready,
        "CREATE FUNCTION ai.wait() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN OLD; END';"
        "CREATE TRIGGER wait BEFORE DELETE ON ai.user_memories FOR EACH ROW EXECUTE FUNCTION ai.wait()",
    )
    asyncio.run(_kill_while_it_waits(ready, junkie))
    assert scratch_rows(ready) > 0
    sql(ready, "DROP TRIGGER wait ON ai.user_memories; DROP FUNCTION ai.wait()")
    assert_result(doctor.one(ROUNDTRIP, deep=True), "ok", "deleted leftovers of 1 interrupted run")
    assert everything(ready) == before


async def _kill_while_it_waits(url: DatabaseUrl, junkie: Junkie) -> None:
    holder = await open_connection(url)
    try:
        async with holder.transaction():
            await holder.execute("SELECT pg_advisory_xact_lock(42)")
            running = junkie.start(
                "doctor", "--deep", "--only", ROUNDTRIP, "--timeout", "100", env={"POSTGRES_URL": url.libpq()}
            )
            async with asyncio.timeout(100):
                while not await holder.fetchval("SELECT count(*) FROM pg_locks WHERE objid = 42 AND NOT granted"):
                    await asyncio.sleep(0.02)
            # A run that lives is left alone by another one.
            assert await holder.fetchval("SELECT count(*) FROM ai.user_memories WHERE user_id LIKE 'junkie-doctor-%'")
            running.kill()
            await holder.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE objid = 42 AND NOT granted")
    finally:
        await close_connection(holder)


async def test_one_that_lives_is_left_alone(doctor: Doctor, ready: DatabaseUrl) -> None:
    user = "junkie-doctor-alive"
    sql(ready, f"INSERT INTO ai.user_memories VALUES ('m', '\"x\"', NULL, NULL, NULL, NULL, '{user}', NULL, 1, 1)")
    holder = await open_connection(ready)
    async with holder.transaction():
        await holder.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 7318))", user)
        found = await doctor._examine(doctor.context(), (ROUNDTRIP,), True, 60)
        assert found[ROUNDTRIP].detail.endswith("erased completely")
        assert scratch_rows(ready) == 1
    await close_connection(holder)
    found = await doctor._examine(doctor.context(), (ROUNDTRIP,), True, 60)
    assert found[ROUNDTRIP].status == "ok"
    assert scratch_rows(ready) == 0


@pytest.fixture
def pooled(doctor: Doctor) -> Iterator[DatabaseUrl]:
    """A database of agno 3 behind a pooler in transaction mode."""
    dump = (FOLDER / "agno-3.1.sql").read_text("utf-8")
    with scratch_server(settings=SERVER_SETTINGS, hba=SERVER_HBA) as server:
        execute(server, "CREATE ROLE pooled LOGIN SUPERUSER PASSWORD 'word'")
        execute(server, dump)
        with PgBouncer(server, user="pooled", password="word", pool_size=5) as pooler:
            yield pooler.url()


def test_behind_a_pooler(doctor: Doctor, pooled: DatabaseUrl) -> None:
    doctor.use(pooled).fix("schema.junkie")
    doctor.fix("schema.indexes")
    found = doctor.examine("memory", "schema", deep=True)
    assert found[ROUNDTRIP].status == "ok", found[ROUNDTRIP]
    assert found["schema.indexes"].status == "ok"


# --- the configured model ---------------------------------------------------------------------------------------------


@pytest.fixture
def remembering(model: ModelServer, state: Path) -> ModelServer:
    """A memory model that remembers the name."""
    model.script = remembers
    return model


def remembers(request: Request) -> Reply:
    name = request.user.removeprefix("My name is ").rstrip(".")
    return calls(("add_memory", {"memory": f"User is called {name}"}))


def test_the_configured_model_makes_the_memory(doctor: Doctor, ready: DatabaseUrl, remembering: ModelServer) -> None:
    doctor.use(ready, **remembering.environment(), JUNKIE_CONTEXT_WINDOW="8192", MEMORY_TIMEOUT="90")
    assert_result(
        doctor.one(ROUNDTRIP, deep=True),
        "ok",
        "scripted-model extracted the memory by tool calls in",
        "(MEMORY_TIMEOUT: 90 s)",
        "prompt tokens of a window of 8,192",
    )
    assert len(remembering.memory_requests) == 1
    assert remembering.main_requests == []
    assert not scratch_rows(ready)
    assert_result(doctor.one("model.memory"), "ok", "extraction by tool calls")
    assert_result(doctor.one(ROUNDTRIP, deep=True, offline=True), "ok", "with the rehearsal model")
    assert len(remembering.memory_requests) == 1


def test_a_model_without_tools_is_reported_as_it_was_asked(
    doctor: Doctor, ready: DatabaseUrl, remembering: ModelServer
) -> None:
    def script(request: Request) -> Reply:
        name = request.user.removeprefix("My name is ").rstrip(".")
        if request.tools:
            return HttpError(400, "this model does not support tools")
        return Text(json.dumps({"facts": [f"User's name is {name}"]}))

    remembering.script = script
    doctor.use(ready, **remembering.environment())
    assert_result(doctor.one(ROUNDTRIP, deep=True), "ok", "scripted-model extracted the memory by a JSON schema")
    assert_result(doctor.one("model.memory"), "ok", "extraction by a JSON schema")


def test_a_model_that_writes_its_calls_into_the_text_should_talk_without_tools(
    doctor: Doctor, ready: DatabaseUrl, remembering: ModelServer
) -> None:
    def script(request: Request) -> Reply:
        name = request.user.removeprefix("My name is ").rstrip(".")
        return Text(f'```json\n{{"name": "add_memory", "arguments": {{"memory": "User is called {name}"}}}}\n```')

    remembering.script = script
    doctor.use(ready, **remembering.environment())
    assert_result(doctor.one(ROUNDTRIP, deep=True), "ok", "by tool calls, written into its text")
    assert_result(doctor.one("model.chat"), "warning", "writes tool calls into its text", "JUNKIE_TOOLS=off")
    doctor.use(ready, JUNKIE_TOOLS="off")
    assert_result(doctor.one("model.chat"), "ok")


def test_a_chat_model_that_writes_its_calls_into_an_answer_should_talk_without_tools(
    doctor: Doctor, ready: DatabaseUrl, remembering: ModelServer, junkie: Junkie
) -> None:
    """Also where another model makes the memories."""
    state = {"XDG_STATE_HOME": os.environ["XDG_STATE_HOME"]}
    remembering.script = lambda _: Text('{"name": "calculate", "arguments": {"expression": "6 * 7"}}')
    answer = junkie.run("chat", "--no-database", "6 * 7?", env=remembering.environment() | state).ok()
    assert "JUNKIE_TOOLS=off" in answer.stderr
    doctor.use(ready, **remembering.environment())
    assert_result(doctor.one("model.chat"), "warning", "writes tool calls into its text", "JUNKIE_TOOLS=off")


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (
            HttpError(
                400, "request (9000 tokens) exceeds the available context size", code="exceed_context_size_error"
            ),
            "request (9000 tokens) exceeds the available context size",
        ),
        (HttpError(404, "The model `scripted-model` does not exist", code="model_not_found"), "has no model"),
        (Text("I have noted that."), "cannot be used"),
        (HttpError(503, "Loading model"), "Loading model"),
        (calls(("nothing_to_remember", {})), "nothing to remember"),
        (calls(("add_memory", {"memory": "User likes tea"})), "extracted another memory"),
    ],
    ids=["overflow", "unknown model", "prose", "loading", "nothing", "something else"],
)
def test_why_the_configured_model_made_no_memory(
    doctor: Doctor, ready: DatabaseUrl, remembering: ModelServer, reply: Reply, words: str
) -> None:
    remembering.script = lambda _: reply
    doctor.use(ready, **remembering.environment(), AGENT_RETRIES="0")
    assert_result(doctor.one(ROUNDTRIP, deep=True), "failed", words, "MEMORY_MODEL" if words != "Loading model" else "")
    assert not scratch_rows(ready)
