"""Learning from a file: at once across users, in order within one, each line once, whatever interrupts it."""

import asyncio
import fcntl
import json
import threading
from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from junkie_cli.core.agent.team import build_team
from junkie_cli.core.chat.learn import WINDOW, BadLine, Learned, learn_file, parse
from junkie_cli.core.chat.pending_retry import retry_memories
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.errors import LockedError, UsageError
from junkie_cli.core.progress import Progress
from junkie_cli.core.turns.pending_list import list_pending
from junkie_cli.core.users.erase import erase_user
from tests.support.conversations import echo, memories, rows, settings_for
from tests.support.model_server import Hang, HttpError, ModelServer, Reply, Request, Text
from tests.support.proxy import Proxy

pytestmark = pytest.mark.usefixtures("echoing_model")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("junkie_cli.core.chat.learn.PAUSES", (0.01,) * 5)


def first_asked(model: ModelServer) -> list[str]:
    return [request.user for request in model.memory_requests if request.messages[-1]["role"] == "user"]


def write(path: Path, lines: Sequence[Any]) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def line(user: str, message: str, session: str | None = "s1") -> dict[str, Any]:
    return {"user_id": user, "session_id": session, "message": message}


def counts(done: Learned) -> tuple[int, int, int, int, int]:
    assert done.read == done.learned + done.skipped + done.failed + done.pending
    return done.total, done.learned, done.skipped, done.failed, done.pending


async def test_many_users_at_once_each_in_order_and_again_changes_nothing(
    database: DatabaseUrl, model: ModelServer, tmp_path: Path
) -> None:
    users = [f"user{number}" for number in range(5)]
    path = write(tmp_path / "talk.jsonl", [line(user, f"{user} {n}") for n in range(4) for user in users])
    lock, most, order = threading.Lock(), [0], defaultdict[str, list[str]](list)
    answers: dict[str, Reply] = {}
    held: list[Reply] = []

    def watched(request: Request) -> Reply | None:
        user = request.user.split()[0]
        with lock:
            assert user not in answers or answers[user].sent.is_set(), "two lines of one user at once"
            order[user].append(request.user)
            reply = answers[user] = echo(request) or Text("Done.")
            most[0] = max(most[0], sum(not answer.sent.is_set() for answer in answers.values()))
            if len(held) < 3:  # three users are asked about before any is answered
                reply.pause_after = 0
                held.append(reply)
            if len(held) == 3:
                for waiting in held:
                    waiting.go_on.set()
        return reply

    model.script = watched
    told: list[tuple[int, ...]] = []
    settings = settings_for(database, model)
    done = await learn_file(settings, path, concurrency=3, progress=Progress(reach=lambda *now: told.append(now)))
    assert counts(done) == (20, 20, 0, 0, 0)
    assert done.memories == {"added": 20}
    assert most[0] == 3
    assert all(order[user] == [f"{user} {n}" for n in range(4)] for user in users)
    assert told[-1] == (20, 20, 0)
    assert told == sorted(told)
    assert len(await memories(database)) == 20
    asked = len(model.requests)
    assert counts(await learn_file(settings, path)) == (20, 0, 20, 0, 0)
    assert len(model.requests) == asked

    path.write_text(path.read_text() + json.dumps(line("user0", "more")) + "\n")
    assert counts(await learn_file(settings, path)) == (21, 1, 20, 0, 0)


@pytest.mark.parametrize(("most", "built"), [("10", 5), ("2", 10)], ids=["room for all", "room for two"])
async def test_the_teams_of_the_most_recent_users_are_kept(
    database: DatabaseUrl, model: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: str, built: int
) -> None:
    """The LRU cache at work: five users in turn, twice; with room for two of them each finds the own team gone."""
    teams: list[str] = []

    def build(*arguments: Any, **options: Any) -> Any:
        teams.append(arguments[4])
        return build_team(*arguments, **options)

    monkeypatch.setattr("junkie_cli.core.agent.engine.build_team", build)
    users = [f"user{number}" for number in range(5)]
    path = write(tmp_path / "talk.jsonl", [line(user, f"{user} {n}") for n in range(2) for user in users])
    settings = settings_for(database, model, MAX_AGENTS=most)
    assert counts(await learn_file(settings, path, concurrency=1)) == (10, 10, 0, 0, 0)
    assert teams == (users * 2)[:built]
    assert len(await memories(database)) == 10


async def test_bad_lines_are_named_and_set_aside_and_the_rest_is_learned(
    database: DatabaseUrl, model: ModelServer, tmp_path: Path
) -> None:
    bad = ["{", "[]", '{"user_id": "ada"}', json.dumps(line(" ", "x")), json.dumps(line("ada", "x", "s\u0001"))]
    path = write(tmp_path / "talk.jsonl", [line("ada", "tea"), *bad, "", line("ada", "rum", None)])
    path.write_bytes(path.read_bytes() + b'{"user_id": "\xff"}')
    done = await learn_file(settings_for(database, model), path)
    assert counts(done) == (8, 2, 0, 6, 0)
    assert [each.line for each in done.bad] == [2, 3, 4, 5, 6, 9]
    assert done.bad[:3] == [BadLine(2, "is not JSON"), BadLine(3, "is not a JSON object"), BadLine(4, "has no message")]
    assert done.bad[5].reason == "is not UTF-8"
    assert done.set_aside == tmp_path / "talk.jsonl.bad"
    assert done.set_aside.stat().st_mode & 0o777 == 0o600
    assert done.set_aside.read_bytes().splitlines() == [*(each.encode() for each in bad), b'{"user_id": "\xff"}']
    assert await memories(database) == [("ada", "User said: rum"), ("ada", "User said: tea")]


async def test_stopped_it_goes_on_where_it_was(database: DatabaseUrl, model: ModelServer, tmp_path: Path) -> None:
    path = write(tmp_path / "talk.jsonl", [line("ada", f"fact {n}") for n in range(6)])
    silent = Hang()
    model.script = lambda request: silent if request.user == "fact 3" else echo(request)
    settings = settings_for(database, model)
    learning = asyncio.create_task(learn_file(settings, path))
    await silent.paused.wait()
    with pytest.raises(LockedError):
        await learn_file(settings, path)
    learning.cancel()
    await asyncio.wait({learning})
    assert learning.cancelled()
    assert len(await memories(database)) == 3
    model.script = echo
    assert counts(await learn_file(settings, path)) == (6, 3, 3, 0, 0)
    assert await memories(database) == [("ada", f"User said: fact {n}") for n in range(6)]


async def test_what_fails_for_its_own_sake_is_pending_and_learned_once(
    database: DatabaseUrl, model: ModelServer, tmp_path: Path
) -> None:
    path = write(tmp_path / "talk.jsonl", [line("ada", word) for word in ("tea", "poison", "rum")])
    refused = HttpError(400, "tool_use_failed", code="tool_use_failed")
    model.script = lambda request: refused if request.user == "poison" else echo(request)
    settings = settings_for(database, model)
    assert counts(await learn_file(settings, path)) == (3, 2, 0, 0, 1)
    assert first_asked(model).count("poison") == 3
    assert [(entry.message, entry.session_id, entry.attempts) for entry in (await list_pending(settings)).pending] == [
        ("poison", "s1", 1)
    ]
    model.script = echo
    assert counts(await learn_file(settings, path)) == (3, 0, 3, 0, 0)  # it is the journal's by now
    assert (await retry_memories(settings, everything=True)).succeeded == 1
    assert counts(await learn_file(settings, path)) == (3, 0, 3, 0, 0)
    assert [memory for _, memory in await memories(database)] == [
        "User said: poison",
        "User said: rum",
        "User said: tea",
    ]


async def test_the_providers_speed_is_minded_by_all_and_nothing_is_lost(
    database: DatabaseUrl, model: ModelServer, tmp_path: Path
) -> None:
    path = write(tmp_path / "talk.jsonl", [line(f"user{n}", "tea") for n in range(6)])
    busy = iter(range(4))
    model.script = lambda request: (
        HttpError(429, headers={"Retry-After": "0.1"})
        if request.messages[-1]["role"] == "user" and next(busy, None) is not None
        else echo(request)
    )
    assert counts(await learn_file(settings_for(database, model), path)) == (6, 6, 0, 0, 0)
    assert (await list_pending(settings_for(database, model))).pending == ()


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (HttpError(429, headers={"Retry-After": "3600"}), "provider_rate_limited"),
        (HttpError(401), "provider_key"),
        (HttpError(500), "provider_unavailable"),
    ],
    ids=["an hour", "key", "broken"],
)
async def test_a_provider_that_cannot_be_asked_ends_the_run_which_goes_on_later(
    database: DatabaseUrl, model: ModelServer, tmp_path: Path, reply: Reply, code: str
) -> None:
    path = write(tmp_path / "talk.jsonl", [line("ada", f"fact {n}") for n in range(10)])
    model.script = lambda request: reply
    settings = settings_for(database, model)
    done = await learn_file(settings, path)
    assert done.error is not None
    assert done.error.code == code
    assert done.learned == 0
    assert done.read < 4
    assert len(model.requests) < 20
    model.script = echo
    again = await learn_file(settings, path)
    await retry_memories(settings, everything=True)
    assert again.error is None
    assert await memories(database) == [("ada", f"User said: fact {n}") for n in range(10)]


@pytest.mark.parametrize("passed", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("statement", [b'INSERT INTO "ai"."junkie_learned"', b"COMMIT"], ids=["mark", "commit"])
async def test_a_connection_cut_in_the_middle_duplicates_nothing(
    database: DatabaseUrl, model: ModelServer, tmp_path: Path, statement: bytes, passed: bool
) -> None:
    path = write(tmp_path / "talk.jsonl", [line("ada", f"fact {n}") for n in range(3)])
    armed = [False]
    with Proxy(database) as proxy:

        def armed_at_the_end(request: Request) -> Reply | None:
            if not armed[0]:
                armed[0] = True
                proxy.cut_when(statement, passed=passed)
            return echo(request)

        model.script = armed_at_the_end
        done = await learn_file(settings_for(proxy.url(database), model), path)
        assert proxy.cuts == 1
    assert done.error is None
    assert done.learned + done.skipped == 3
    assert await memories(database) == [("ada", f"User said: fact {n}") for n in range(3)]


async def test_two_runs_of_copies_at_once_learn_each_line_once(
    database: DatabaseUrl, model: ModelServer, tmp_path: Path
) -> None:
    lines = [line(user, f"{user} {n}") for n in range(4) for user in ("ada", "bob")]
    paths = [write(tmp_path / f"{name}.jsonl", lines) for name in ("one", "two")]
    settings = settings_for(database, model)
    both = await asyncio.gather(*(learn_file(settings, path) for path in paths))
    assert sum(done.learned for done in both) == 8
    assert len(await memories(database)) == 8


async def test_the_erased_are_not_learned_unless_somebody_says_so_and_leave_no_line(
    database: DatabaseUrl, model: ModelServer, tmp_path: Path
) -> None:
    path = write(tmp_path / "talk.jsonl", [line("ada", "tea"), line("bob", "rum")])
    settings = settings_for(database, model)
    await learn_file(settings, path)
    assert (await erase_user(settings, "ada")).erased["junkie_learned"] == 1
    asked = len(model.requests)
    done = await learn_file(settings, path)
    assert counts(done) == (2, 0, 1, 1, 0)
    assert done.bad == [BadLine(1, "belongs to a person who was erased")]
    assert len(model.requests) == asked  # the provider did not see it again
    assert await rows(database, "SELECT user_id FROM ai.junkie_learned") == [{"user_id": "bob"}]
    assert counts(await learn_file(settings, path, even_erased=True)) == (2, 1, 1, 0, 0)
    assert ("ada", "User said: tea") in await memories(database)


async def test_one_user_with_very_many_lines_does_not_fill_the_memory(
    database: DatabaseUrl, model: ModelServer, tmp_path: Path
) -> None:
    """What is read ahead is bounded; what is learned already is not even kept."""
    path = write(tmp_path / "talk.jsonl", [line("ada", f"fact {n}") for n in range(WINDOW * 3)])
    parsed = [parse(number, raw) for number, raw in enumerate(path.read_bytes().splitlines(), 1)]
    settings = settings_for(database, model)
    await learn_file(settings, write(tmp_path / "none.jsonl", []))
    await rows(
        database,
        "INSERT INTO ai.junkie_learned (line_id, user_id) SELECT i::uuid, 'ada' FROM unnest($1::text[]) i",
        [each.line_id for each in parsed[:-2]],
    )
    done = await learn_file(settings, path)
    assert counts(done) == (WINDOW * 3, 2, WINDOW * 3 - 2, 0, 0)


async def test_what_is_no_file_is_refused(database: DatabaseUrl, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        await learn_file(settings_for(database), tmp_path)


async def test_the_lock_goes_with_the_run(database: DatabaseUrl, model: ModelServer, tmp_path: Path) -> None:
    path = write(tmp_path / "talk.jsonl", [line("ada", "tea")])
    await learn_file(settings_for(database, model), path)
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\xff", "is not UTF-8"),
        (b'{"message": "m"}', "has no user_id"),
        (b'{"user_id": 7, "message": "m"}', "has no user_id"),
        (b'{"user_id": " ada", "message": "m"}', "the user id is empty, or begins or ends with white space"),
        (b'{"user_id": "ada", "session_id": 7, "message": "m"}', "has a session_id that is no text"),
        (b'{"user_id": "ada", "message": " "}', "has no message"),
        *(
            (b'{"user_id": "ada", "message": "m", "created_at": %s}' % value, "has a created_at that is no time")
            for value in (b'"tomorrow"', b'"2d"', b'""', b"true", b"[]", b"{}", b'"0001-01-01"', b'"9999-12-31"')
        ),
        *(
            (b'{"user_id": "ada", "message": "m", "created_at": %s}' % value, "has a created_at that is no time")
            for value in (b"1e999", b"-1e300", b"NaN", b"9" * 400, b'"9999999999999999999999"', b'"2026-02-30"')
        ),
    ],
)
def test_a_line_that_is_no_message_says_what_it_lacks(raw: bytes, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(1, raw)
    assert caught.value.message == reason


@pytest.mark.parametrize(
    "written",
    [
        b'"2026-03-01"',
        b'"20260301"',
        b'"2026-03-01T12:00"',
        b'"2026-03-01 12:00:00.5Z"',
        b'"2026-03-01T12:00:00+01:00"',
        b"1772366400",
        b"1772366400.25",
        b"1772366400000",
        b'"1772366400"',
    ],
)
def test_the_time_of_a_line_has_the_usual_forms(written: bytes) -> None:
    found = parse(1, b'{"user_id": "ada", "message": "m", "created_at": %s}' % written)
    assert found.created_at is not None
    assert found.created_at.astimezone().date() == date(2026, 3, 1)
    assert found.line_id == parse(1, b'{"user_id": "ada", "message": "m"}').line_id, "a line may get its time later"


async def test_words_get_their_date_from_the_time_of_the_line_alone(
    database: DatabaseUrl, model: ModelServer, tmp_path: Path
) -> None:
    dated = line("ada", "I fly to Rome tomorrow.") | {"created_at": "2026-03-01T12:00:00"}
    others = [line("bob", "I fly to Oslo tomorrow."), line("cleo", "I fly to Bern tomorrow.") | {"created_at": None}]
    path = write(tmp_path / "talk.jsonl", [dated, *others])
    settings = settings_for(database, model)
    done = await learn_file(settings, path, concurrency=1)
    assert counts(done) == (3, 3, 0, 0, 0)
    assert await memories(database) == [
        ("ada", "User said: I fly to Rome tomorrow (2026-03-02)."),
        ("bob", "User said: I fly to Oslo tomorrow."),
        ("cleo", "User said: I fly to Bern tomorrow."),
    ]
    assert ["Today is Sunday, 1 March 2026" in request.system for request in model.memory_requests] == [
        True,
        False,
        False,
    ]
    assert ["Today" in request.system for request in model.memory_requests] == [True, False, False]
    # What failed first is not dated from the day of the failure.
    path = write(tmp_path / "more.jsonl", [line("dora", "I fly to Paris tomorrow.")])
    model.script = lambda _: Text("That is prose.")
    assert counts(await learn_file(settings, path)) == (1, 0, 0, 0, 1)
    model.script = echo
    assert (await retry_memories(settings, everything=True)).succeeded == 1
    assert (await memories(database))[-1] == ("dora", "User said: I fly to Paris tomorrow.")
