"""Restoring one person: what is theirs comes back, and nobody else's row changes by a byte."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.errors import BackupError, NotFoundError
from junkie_cli.core.restore import person, person_write
from junkie_cli.core.restore.person import PersonPlan
from junkie_cli.core.restore.person_write import PersonResult
from junkie_cli.core.users.erase import erase_user
from tests.support.backups import GENERATIONS, back_up, database_of, load, settings_for, sql
from tests.support.postgres import clone


@pytest.fixture
def newer(postgres_server: ScratchServer) -> Iterator[DatabaseUrl]:
    """A second database."""
    with clone(postgres_server) as url:
        yield url


async def plan(
    path: Path, user: str, url: DatabaseUrl, folder: Path, *, replace_data: bool = False, even_erased: bool = False
) -> PersonPlan:
    return await person.plan(
        path,
        user,
        database_of(url),
        settings_for(url, folder),
        replace_data=replace_data,
        even_erased=even_erased,
        verify_into=url.with_database("postgres"),
    )


async def restore(path: Path, user: str, url: DatabaseUrl, folder: Path, **options: bool) -> PersonResult:
    planned = await plan(path, user, url, folder, **options)
    even_erased = options.get("even_erased", False)
    return await person_write.carry_out(planned, database_of(url), settings_for(url, folder), even_erased=even_erased)


def actions(planned: PersonPlan) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for item in planned.items:
        found.setdefault(item.table, set()).add(item.action)
    return found


OTHERS = """
SELECT md5(string_agg(x, '|' ORDER BY x)) FROM (
  SELECT m::text FROM ai.user_memories m WHERE user_id IS DISTINCT FROM '{user}'
  UNION ALL SELECT 's' || session_id || coalesce(user_id, '') FROM ai.agent_sessions WHERE user_id <> '{user}'
  UNION ALL SELECT r::text FROM ai.agent_sessions_runs r WHERE user_id IS DISTINCT FROM '{user}') t(x)
"""
OLD_OTHERS = """
SELECT md5(string_agg(x, '|' ORDER BY x)) FROM (
  SELECT m::text FROM ai.user_memories m WHERE user_id IS DISTINCT FROM '{user}'
  UNION ALL SELECT s.session_id || (e #- '{{events}}')::text FROM ai.agent_sessions s,
    jsonb_array_elements(s.runs::jsonb) e WHERE coalesce(e ->> 'user_id', s.user_id) IS DISTINCT FROM '{user}') t(x)
"""
OF_USER = """
SELECT (SELECT count(*) FROM ai.user_memories WHERE user_id = '{user}') || ' ' ||
  (SELECT count(*) FROM ai.agent_sessions_runs WHERE user_id = '{user}')
"""
MIXED_OF_USER = """
SELECT (SELECT count(*) FROM ai.user_memories WHERE user_id = '{user}') || ' ' ||
  (SELECT count(*) FROM (SELECT run_id FROM ai.agent_sessions_runs WHERE user_id = '{user}' UNION
    SELECT e ->> 'run_id' FROM ai.agent_sessions s, jsonb_array_elements(
      CASE jsonb_typeof(s.runs) WHEN 'array' THEN s.runs ELSE '[]' END) e
    WHERE coalesce(e ->> 'user_id', s.user_id) = '{user}') r)
"""
OLD_OF_USER = """
SELECT (SELECT count(*) FROM ai.user_memories WHERE user_id = '{user}') || ' ' ||
  (SELECT count(*) FROM ai.agent_sessions s, jsonb_array_elements(s.runs::jsonb) e
    WHERE coalesce(e ->> 'user_id', s.user_id) = '{user}')
"""


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_a_person_comes_back_after_everything_of_theirs_was_deleted(
    database: DatabaseUrl, folder: Path, generation: str
) -> None:
    load(database, generation)
    new = bool(sql(database, "SELECT to_regclass('ai.agent_sessions_runs')"))
    others, of_user = (OTHERS, OF_USER) if new else (OLD_OTHERS, OLD_OF_USER)
    if (
        generation == "agno-2.9-then-3.1"
    ):  # never migrated: older runs lie in the old column, and come back in the table
        of_user = MIXED_OF_USER
    made = await back_up(database, folder, verify=False)
    before = [sql(database, query.format(user="ada")) for query in (others, of_user)]
    sql(database, "DELETE FROM ai.user_memories WHERE user_id = 'ada'; DELETE FROM ai.agent_sessions WHERE"
                  " session_id = 'c1'")  # fmt: skip
    assert sql(database, of_user.format(user="ada")) != before[1]
    result = await restore(made.path, "ada", database, folder)
    assert [sql(database, query.format(user="ada")) for query in (others, of_user)] == before
    assert sql(database, "SELECT user_id FROM ai.agent_sessions WHERE session_id = 'c1'") == "ada"
    again = await plan(made.path, "ada", database, folder)
    assert {action for found in actions(again).values() for action in found} == {person.LEAVE}
    assert result.batch


async def test_one_person_comes_back_from_a_backup_after_another_was_erased(
    database: DatabaseUrl, folder: Path
) -> None:
    """The erased one stays erased, in the session that both spoke in too."""
    load(database)
    made = await back_up(database, folder, verify=False)
    await erase_user(settings_for(database, folder, XDG_STATE_HOME=str(folder / "state")), "bob")
    sql(database, "DELETE FROM ai.user_memories WHERE user_id = 'ada'; DELETE FROM ai.agent_sessions_runs")
    sql(database, "DELETE FROM ai.agent_sessions")
    await restore(made.path, "ada", database, folder)
    assert int(sql(database, "SELECT count(*) FROM ai.user_memories WHERE user_id = 'ada'")) > 0
    assert sql(database, "SELECT string_agg(DISTINCT user_id, ' ') FROM ai.agent_sessions_runs") == "ada"
    assert sql(database, "SELECT string_agg(DISTINCT user_id, ' ') FROM ai.agent_sessions") == "ada"
    shared = "FROM ai.agent_sessions WHERE session_id = 'channel-7'"
    assert sql(database, f"SELECT summary IS NULL AND session_data IS NULL {shared}") == "t"
    with pytest.raises(BackupError) as refused:
        await plan(made.path, "bob", database, folder)
    assert refused.value.code == "restore_erased"


async def test_an_erased_person_comes_back_only_when_it_is_said_twice(database: DatabaseUrl, folder: Path) -> None:
    load(database)
    made = await back_up(database, folder, verify=False)
    used = settings_for(database, folder, XDG_STATE_HOME=str(folder / "state"))
    before = sql(database, OF_USER.format(user="ada"))
    await erase_user(used, "ada")
    with pytest.raises(BackupError):
        await plan(made.path, "ada", database, folder)
    await restore(made.path, "ada", database, folder, even_erased=True)
    assert sql(database, OF_USER.format(user="ada")) == before
    assert sql(database, "SELECT count(*) FROM ai.junkie_tombstones") == "0"


async def test_what_changed_since_is_left_alone_unless_replaced(database: DatabaseUrl, folder: Path) -> None:
    load(database)
    made = await back_up(database, folder, verify=False)
    ids = sql(database, "SELECT memory_id FROM ai.user_memories WHERE user_id = 'ada' ORDER BY 1").split()
    old = sql(database, f"SELECT memory FROM ai.user_memories WHERE memory_id = '{ids[0]}'")
    sql(database, f"UPDATE ai.user_memories SET memory = '\"newer\"' WHERE memory_id = '{ids[0]}'")
    sql(database, f"UPDATE ai.user_memories SET user_id = 'eve' WHERE memory_id = '{ids[1]}'")
    for replace_data, action in ((False, person.LEAVE), (True, person.CHANGE)):
        planned = await plan(made.path, "ada", database, folder, replace_data=replace_data)
        found = {item.id: item.action for item in planned.items}
        assert (found[ids[0]], found[ids[1]]) == (action, person.LEAVE)
    result = await restore(made.path, "ada", database, folder, replace_data=True)
    assert sql(database, f"SELECT memory FROM ai.user_memories WHERE memory_id = '{ids[0]}'") == old
    assert sql(database, f"SELECT user_id FROM ai.user_memories WHERE memory_id = '{ids[1]}'") == "eve"
    assert result.safety_backup is not None


async def test_memories_that_came_back_can_be_taken_away_again(database: DatabaseUrl, folder: Path) -> None:
    from junkie_cli.core.memories.history import undo

    load(database)
    made = await back_up(database, folder, verify=False)
    sql(database, "DELETE FROM ai.user_memories WHERE user_id = 'ada'")
    result = await restore(made.path, "ada", database, folder)
    assert result.batch
    await undo(settings_for(database, folder), result.batch)
    assert sql(database, "SELECT count(*) FROM ai.user_memories WHERE user_id = 'ada'") == "0"


@pytest.mark.parametrize("generation", ["agno-2.2", "agno-2.3", "agno-2.9", "agno-2.9-migrated"])
async def test_an_older_backup_goes_into_a_newer_database(
    database: DatabaseUrl, newer: DatabaseUrl, folder: Path, generation: str
) -> None:
    load(database, generation)
    load(newer, "agno-3.1")
    sql(newer, "DELETE FROM ai.agent_sessions; DELETE FROM ai.user_memories")
    made = await back_up(database, folder, verify=False)
    old = bool(sql(database, "SELECT to_regclass('ai.agent_sessions_runs')"))
    count = sql(database, (OF_USER if old else OLD_OF_USER).format(user="ada"))
    await restore(made.path, "ada", newer, folder)
    assert sql(newer, OF_USER.format(user="ada")) == count
    assert sql(newer, "SELECT DISTINCT run_type FROM ai.agent_sessions_runs") == "team"
    again = await plan(made.path, "ada", newer, folder)
    assert {item.action for item in again.items} == {person.LEAVE}


async def test_a_newer_backup_does_not_go_into_an_older_database(
    database: DatabaseUrl, newer: DatabaseUrl, folder: Path
) -> None:
    load(database, "agno-2.3")
    load(newer, "agno-3.1")
    made = await back_up(newer, folder, verify=False)
    with pytest.raises(BackupError) as refused:
        await plan(made.path, "ada", database, folder)
    assert refused.value.code == "restore_generation"


async def test_who_is_not_in_the_backup(database: DatabaseUrl, newer: DatabaseUrl, folder: Path) -> None:
    load(database)
    made = await back_up(database, folder, verify=False)
    with pytest.raises(NotFoundError):
        await plan(made.path, "nobody at all", database, folder)
    with pytest.raises(BackupError, match="no agno tables"):
        await plan(made.path, "ada", newer, folder)


async def test_a_row_that_appeared_after_the_plan_stops_it(database: DatabaseUrl, folder: Path) -> None:
    load(database)
    made = await back_up(database, folder, verify=False)
    sql(database, "CREATE TABLE kept AS SELECT * FROM ai.user_memories; DELETE FROM ai.user_memories")
    planned = await plan(made.path, "ada", database, folder)
    sql(database, "INSERT INTO ai.user_memories SELECT * FROM kept ORDER BY memory_id DESC LIMIT 3")
    before = sql(database, OF_USER.format(user="ada"))
    with pytest.raises(BackupError) as refused:
        await person_write.carry_out(planned, database_of(database), settings_for(database, folder))
    assert refused.value.code == "restore_conflict"
    assert sql(database, OF_USER.format(user="ada")) == before


@pytest.mark.parametrize("generation", GENERATIONS)
async def test_a_restored_person_is_undone_with_sessions_and_runs(
    database: DatabaseUrl, folder: Path, generation: str
) -> None:
    """In one batch; where agno 2 keeps runs inside sessions, of which others have a part, the memories alone."""
    from junkie_cli.core.memories.history import undo

    load(database, generation)
    made = await back_up(database, folder, verify=False)
    sql(database, "DELETE FROM ai.user_memories WHERE user_id = 'ada'")
    new = generation in ("agno-2.9-migrated", "agno-3.1")
    if new:
        sql(database, "DELETE FROM ai.agent_sessions WHERE session_id = 'c1'")
    tables = ("user_memories", *(("agent_sessions", "agent_sessions_runs") if new else ()))
    whole = " || ".join(
        f"coalesce((SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM ai.{table} t), '')" for table in tables
    )
    before = sql(database, f"SELECT {whole}")
    result = await restore(made.path, "ada", database, folder)
    assert sql(database, f"SELECT {whole}") != before
    undone = await undo(settings_for(database, folder), result.batch)
    assert sql(database, f"SELECT {whole}") == before
    assert set(undone.rows.undone) == ({"agent_sessions", "agent_sessions_runs"} if new else set())
