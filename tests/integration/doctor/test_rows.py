"""The doctor names rows of another shape, columns of another type, and ids that look the same."""

from collections.abc import Iterator

import pytest

from junkie_cli.core.embedded.scratch import ScratchServer
from tests.support import odd_rows
from tests.support.doctor import Doctor, assert_result
from tests.support.generations import ALL, Make
from tests.support.postgres import execute

pytestmark = pytest.mark.usefixtures("plain_environment")


@pytest.mark.parametrize("generation", ALL)
def test_rows_of_agno_are_as_agno_writes_them(doctor: Doctor, written_by: Make, generation: str) -> None:
    url = written_by(generation)
    assert_result(doctor.use(url).one("memory.rows"), "ok")
    assert_result(doctor.one("schema.tables"), "ok")


@pytest.mark.parametrize("generation", ["2.2", "2.9-then-3.1", "3.1"])
def test_odd_rows_are_counted_and_named(
    doctor: Doctor, written_by: Make, postgres_server: ScratchServer, generation: str
) -> None:
    url = written_by(generation)
    kind = "json" if generation == "2.2" else "jsonb"
    runs_kind = None if generation == "3.1" else kind

    def statements() -> Iterator[str]:
        yield from odd_rows.memories(kind, dated=generation != "2.2")
        yield from odd_rows.sessions(kind, runs_kind)
        if runs_kind:
            yield from odd_rows.sessions_of_odd_runs(runs_kind)
        if generation != "2.2":
            yield from odd_rows.runs()

    execute(postgres_server, ";".join(statements()), url.database or "")
    result = doctor.use(url).one("memory.rows")
    assert_result(
        result, "warning", "whose memory is not a text", "whose topics are not a list of texts", "session_data"
    )
    assert_result(result, "warning", "updated_at that is not in seconds", "odd-updated_at-largest", "/ 1000")
    if runs_kind:
        assert_result(
            result, "warning", "whose runs are not a list", "a run that is no object or is not dated in seconds"
        )
    if generation != "2.2":
        assert_result(result, "warning", "whose run_data is not an object")
    for check in ("memory.owners", "memory.sharing", "memory.size", "schema.tables"):
        assert doctor.status(check) in ("ok", "warning"), check


def test_a_column_of_another_type_is_named(doctor: Doctor, written_by: Make, postgres_server: ScratchServer) -> None:
    url = written_by("3.1")
    execute(
        postgres_server,
        "ALTER TABLE ai.agent_sessions ALTER created_at TYPE timestamptz USING to_timestamp(created_at);"
        "ALTER TABLE ai.user_memories ALTER user_id TYPE text",
        url.database or "",
    )
    result = doctor.use(url).one("schema.tables")
    assert_result(result, "failed", "agent_sessions.created_at has type timestamp with time zone", "bigint")
    assert "user_id" not in result.detail


def test_ids_that_look_the_same(doctor: Doctor, written_by: Make, postgres_server: ScratchServer) -> None:
    url = written_by("3.1")
    for number, user in enumerate(("U&'ren\\00e9'", "U&'rene\\0301'", "'zoe'", "U&'z\\200boe'", "'mia'", "'Mia '")):
        execute(
            postgres_server,
            "INSERT INTO ai.user_memories (memory_id, memory, user_id, created_at)"
            f" VALUES ('alike{number}', '\"x\"', {user}, 1)",
            url.database or "",
        )
    result = doctor.use(url).one("memory.owners")
    assert_result(result, "warning", r"'rene\u0301' / 'ren\xe9'", r"'zoe' / 'z\u200boe'", "'mia'", "'Mia '")


def test_ids_that_chat_refuses(doctor: Doctor, written_by: Make, postgres_server: ScratchServer) -> None:
    url = written_by("3.1")
    execute(
        postgres_server,
        "INSERT INTO ai.user_memories (memory_id, memory, user_id, created_at)"
        " VALUES ('u1', '\"x\"', 'zed ', 1), ('u2', '\"x\"', E'a\\nb', 1), ('u3', '\"x\"', repeat('l', 201), 1)",
        url.database or "",
    )
    result = doctor.use(url).one("memory.owners")
    assert_result(result, "warning", "ids that are not valid for new users", r"'a\nb'", "'zed '", "lll")
