"""`check_recall`: the memories that a prompt would get, compared with what a file expects."""

import json
from pathlib import Path
from typing import Any

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import DatabaseError, UsageError
from junkie_cli.core.memories.listing import MemoryFilter, list_memories
from junkie_cli.core.settings import Settings
from junkie_cli.core.turns import recall_check
from junkie_cli.core.turns.recall_check import Checked, Missing, check_recall, parse
from tests.support.conversations import rows, say, settings_for, talking
from tests.support.generations import ALL, Administration, Make, as_role
from tests.support.model_server import ModelServer

INSERT = (
    "INSERT INTO ai.user_memories (memory_id, user_id, memory, topics, created_at, updated_at)"
    " SELECT 'm' || n, $1, to_jsonb('Visited the town number ' || n || ' for several days'), '[]', n, n"
    " FROM generate_series(1, $2::int) n"
)
OLD = (
    "INSERT INTO ai.user_memories (memory_id, user_id, memory, topics, created_at, updated_at)"
    " VALUES ('old', 'ada', to_jsonb('Is allergic to Peanuts'::text), '[]', 0, 0)"
)


async def checked(settings: Settings, tmp_path: Path, *lines: dict[str, Any] | str) -> Checked:
    path = tmp_path / "expected.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return await check_recall(settings, path)


def expect(question: str, recalled: list[str] = [], not_recalled: list[str] = [], user: str = "ada") -> dict[str, Any]:  # noqa: B006
    return {"user": user, "question": question, "recalled": recalled, "not_recalled": not_recalled}


async def test_lines_that_hold_and_lines_that_do_not(database: DatabaseUrl, tmp_path: Path) -> None:
    await rows(database, INSERT, "ada", 1000)
    await rows(database, OLD)
    settings = settings_for(database)
    done = await checked(
        settings,
        tmp_path,
        expect("May I eat peanuts?", ["allergic to peanuts", "old", "m1000"], ["m2", "town number 2 "]),
        "",
        expect("How are you?", ["allergic to peanuts", "likes jazz"], ["old", "NUMBER 1000"]),
        expect("May I eat peanuts?", ["peanuts"], user="bob"),
        expect("May I eat peanuts?", [], ["peanuts"], user="bob"),
    )
    assert (done.held, done.failed, done.bad) == (2, 2, 0)
    first, second = done.unmet
    assert (first.line, first.missing) == (3, (Missing("allergic to peanuts", True), Missing("likes jazz", False)))
    [unwanted] = first.unwanted
    assert (unwanted.text, unwanted.memory_id, unwanted.reason and unwanted.reason.kind) == (
        "NUMBER 1000",
        "m1000",
        "newest",
    )
    assert (second.line, second.user, second.missing, second.chosen) == (4, "bob", (Missing("peanuts", False),), 0)


async def test_it_is_the_choice_of_a_turn(database: DatabaseUrl, model: ModelServer, tmp_path: Path) -> None:
    await rows(database, INSERT, "ada", 1000)
    await rows(database, OLD)
    settings = settings_for(database, model)
    for question in ("Are there peanuts in town 7?", "Hello", "Which town did I visit?"):
        done = await checked(settings, tmp_path, expect(question, [], ["no such text"]))
        assert done.held == 1
        every = expect(question, [f"m{number}" for number in range(1, 1001)] + ["old"])
        [unmet] = (await checked(settings, tmp_path, every)).unmet
        missing = {each.text for each in unmet.missing}
        async with talking(settings) as conversation:
            await say(conversation, question)
            used = {entry.memory_id for entry in conversation.why()}
        assert used == set(every["recalled"]) - missing
        assert unmet.chosen == len(used)


BAD = {
    "[1]": "is not a JSON object",
    "{": "is not JSON",
    "[" * 50_000: "is not JSON",
    '{"question": "x", "recalled": ["y"]}': "has no user",
    '{"user": " ", "question": "x", "recalled": ["y"]}': "has no user",
    '{"user": "a\\u0000", "question": "x", "recalled": ["y"]}': "has a user that no memory can have",
    '{"user": "a", "recalled": ["y"]}': "has no question",
    '{"user": "a", "question": "x"}': "has nothing to check: neither recalled nor not_recalled",
    '{"user": "a", "question": "x", "recalled": []}': "has nothing to check: neither recalled nor not_recalled",
    '{"user": "a", "question": "x", "recalled": "y"}': "has a recalled that is not a list of texts",
    '{"user": "a", "question": "x", "not_recalled": [""]}': "has a not_recalled that is not a list of texts",
    '{"user": "a", "question": "x", "not_recalled": ["\\u0000"]}': "has a not_recalled that is not a list of texts",
    '{"user": "a", "question": "x", "recaled": ["y"]}': "has a field that is not known: recaled",
    f'{{"user": "a", "question": "{"x" * 70_000}"}}': "is longer than 65,536 bytes",
    f"{' ' * 70_000}x": "is longer than 65,536 bytes",
}


async def test_bad_lines_are_named_and_the_others_checked(database: DatabaseUrl, tmp_path: Path) -> None:
    await rows(database, OLD)
    good = expect("peanuts?", ["old"])
    done = await checked(settings_for(database), tmp_path, *BAD, good)
    assert (done.held, done.failed, done.bad) == (1, 0, len(BAD))
    assert [(each.line, each.reason) for each in done.bad_lines] == list(enumerate(BAD.values(), 1))


async def test_only_the_first_lines_are_named_and_all_counted(
    database: DatabaseUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recall_check, "MOST_NAMED", 2)
    done = await checked(settings_for(database), tmp_path, *["{"] * 5, *[expect("x", ["y"])] * 3)
    assert (done.bad, len(done.bad_lines), done.failed, len(done.unmet)) == (5, 2, 3, 2)


def test_a_line_with_half_a_character_is_read_as_a_turn_reads_it() -> None:
    line = parse(1, b'{"user": "a", "question": "tea \\ud83d?", "recalled": ["\\ud83d"]}')
    assert (line.question, line.recalled) == ("tea ??", ("?",))
    with pytest.raises(UsageError, match="is not UTF-8"):
        parse(1, b'{"user": "\xff"}')


async def test_nothing_to_check_is_no_success(database: DatabaseUrl, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing was checked"):
        await checked(settings_for(database), tmp_path, "", " ")
    await rows(database, "DROP TABLE ai.user_memories CASCADE")
    with pytest.raises(DatabaseError, match="does not exist; nothing was checked"):
        await checked(settings_for(database), tmp_path, expect("x", [], ["y"]))


async def test_what_row_security_may_hide_is_not_checked(database: DatabaseUrl, tmp_path: Path) -> None:
    await rows(
        database,
        "DO $$ BEGIN CREATE ROLE reader_of_memories LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
    )
    await rows(database, "GRANT USAGE ON SCHEMA ai TO reader_of_memories")
    await rows(database, "GRANT SELECT ON ALL TABLES IN SCHEMA ai TO reader_of_memories")
    await rows(database, OLD)
    weak = settings_for(as_role(database, "reader_of_memories"))
    assert (await checked(weak, tmp_path, expect("x", ["old"]))).held == 1
    await rows(database, "ALTER TABLE ai.user_memories ENABLE ROW LEVEL SECURITY")
    with pytest.raises(DatabaseError) as caught:
        await checked(weak, tmp_path, expect("x", [], ["old"]))
    assert caught.value.code == "row_security"


async def test_the_server_for_reading_is_used_and_nothing_is_written(database: DatabaseUrl, tmp_path: Path) -> None:
    await rows(database, OLD)
    settings = settings_for(
        database, POSTGRES_READ_URL=database.libpq(), POSTGRES_URL="postgresql://nobody@127.0.0.1:9/x"
    )
    assert (await checked(settings, tmp_path, expect("peanuts", ["old"]))).held == 1
    assert (await rows(database, "SELECT count(*) AS count FROM ai.user_memories"))[0]["count"] == 1


@pytest.mark.parametrize("generation", ALL)
async def test_memories_of_every_agno_that_chat_can_use(
    written_by: Make, admin: Administration, tmp_path: Path, generation: str
) -> None:
    database = written_by(generation)
    settings = admin.settings(database)
    [memory, *_] = (await list_memories(settings, MemoryFilter("ada"))).memories
    expected = expect("What do I like?", [memory.memory_id])
    if generation == "2.2":
        with pytest.raises(DatabaseError) as caught:
            await checked(settings, tmp_path, expected)
        assert caught.value.code == "schema_old"
    else:
        assert (await checked(settings, tmp_path, expected)).held == 1
