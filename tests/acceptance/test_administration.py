"""The administration commands as a person and a script meet them: table, lines, JSON, exit codes, questions."""

import json
import os
import pwd
import re
import subprocess
import sys
from pathlib import Path

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.sanitize import width
from tests.support.generations import Administration, Make, as_role, reader
from tests.support.junkie import Junkie
from tests.support.schemas import validate

HOSTILE = (
    "\x1b[31mred\x1b]8;;http://x\x07link\x1b]52;c;eA==\x07 \x9b31m \u202egnp.exe \u200b[/] [link=x] 漢字 🏰\n\ttwo\\n"
)


@pytest.fixture
def bot(junkie: Junkie, written_by: Make) -> Junkie:
    """`junkie` on a database that agno 3.1 wrote."""
    return on(junkie, written_by("3.1"))


def on(junkie: Junkie, url: DatabaseUrl) -> Junkie:
    junkie._extra["POSTGRES_URL"] = url.libpq()
    return junkie


def an_id(junkie: Junkie, user: str = "ada") -> str:
    found = junkie.run("memories", "list", "-u", user, "--json").ok().json()
    return str(found["memories"][0]["memory_id"])


def test_a_search_is_explained(bot: Junkie) -> None:
    for text in ("Likes green tea", "Steam engines are a hobby"):
        bot.run("memories", "add", text, "-u", "eve").ok()
    search = ("memories", "search", "Green tea?", "-u", "eve")
    plain, explained = (bot.run(*search, *more, "--json").ok().json() for more in ([], ["--explain"]))
    validate(explained, "memories.search")
    reasons = explained.pop("reasons")
    assert explained == plain
    assert [(reason["rank"], reason["words"]) for reason in reasons] == [(1, ["green", "tea"]), (2, ["tea"])]
    first, second = bot.run(*search, "--explain").ok().stdout.splitlines()
    assert first.split("\t")[5:] == ["1", str(reasons[0]["score"]), "words: green, tea"]
    assert second.split("\t")[:5] == bot.run(*search).ok().stdout.splitlines()[1].split("\t")
    for columns in (60, 200):
        child = bot.terminal(*search, "--explain", columns=columns)
        child.expect("words: green, tea")
        drawn = child.before + child.read()
        assert all(width(re.sub(r"\x1b\[[0-9;]*m", "", line)) <= columns for line in drawn.splitlines())
        assert ("rank" in drawn.lower()) and ("score" in drawn.lower())


# --- every --json is what is written down -----------------------------------------------------------------------------


def test_every_json_document(bot: Junkie) -> None:
    for command in ("memories list", "memories search tea", "memories history", "memories pending"):
        validate(bot.run(*command.split(), "--json").ok().json(), " ".join(command.split()[:2]).replace(" ", "."))
    for command in ("users list", "sessions list", "stats", "stats --approximate", "stats -u ada"):
        name = ".".join(word for word in command.split()[:2] if word in ("users", "sessions", "list", "stats"))
        validate(bot.run(*command.split(), "--json").ok().json(), name)
    memory_id = an_id(bot)
    validate(bot.run("memories", "show", memory_id, "--json").ok().json(), "memories.show")
    validate(bot.run("memories", "add", "x", "-u", "eve", "--json").ok().json(), "memories.add")
    validate(bot.run("memories", "edit", memory_id, "y", "--json").ok().json(), "memories.edit")
    validate(bot.run("memories", "delete", memory_id, "--dry-run", "--json").ok().json(), "memories.delete")
    validate(bot.run("memories", "delete", memory_id, "--yes", "--json").ok().json(), "memories.delete")
    validate(bot.run("memories", "undo", "--json").ok().json(), "memories.undo")
    validate(bot.run("memories", "history", "on", "--json").ok().json(), "memories.history.switch")
    validate(bot.run("memories", "history", "--json").ok().json(), "memories.history")
    validate(bot.run("memories", "export", "-o", "all.jsonl", "--json").ok().json(), "memories.export")
    for line in (bot.cwd / "all.jsonl").read_text().splitlines():
        validate(json.loads(line), "memories.export.line")
    validate(bot.run("memories", "import", "all.jsonl", "--json").ok().json(), "memories.import")
    validate(bot.run("memories", "clear", "-u", "ada", "--dry-run", "--json").ok().json(), "memories.clear")
    validate(bot.run("memories", "clear", "-u", "ada", "--yes", "--json").ok().json(), "memories.clear")
    validate(bot.run("sessions", "show", "channel-7", "--json").ok().json(), "sessions.show")
    validate(bot.run("sessions", "delete", "c2", "--dry-run", "--json").ok().json(), "sessions.delete")
    validate(bot.run("sessions", "delete", "c2", "--yes", "--json").ok().json(), "sessions.delete")
    preview = bot.run("sessions", "delete", "channel-7", "--dry-run").ok().stderr
    counts = "3 agent_sessions_runs, 1 agent_sessions; users: ada, bob"
    assert counts in preview
    assert counts in bot.run("sessions", "delete", "channel-7", "--yes").ok().stderr
    validate(bot.run("users", "export", "ada", "-o", "ada.jsonl", "--json").ok().json(), "users.export")
    validate(bot.run("users", "erase", "ada", "--dry-run", "--json").ok().json(), "users.erase")
    erased = bot.run("users", "erase", "ada", "--yes", "--receipt", "r.json", "--json").ok().json()
    validate(erased, "users.erase")
    assert json.loads((bot.cwd / "r.json").read_text())["erased"] == erased["erased"]


# --- three nothings, and errors ---------------------------------------------------------------------------------------


def test_no_table_no_rows_no_server_no_database(junkie: Junkie, database: DatabaseUrl, written_by: Make) -> None:
    none = junkie.run("memories", "list")
    assert (none.exit_code, none.stdout) == (4, "")
    assert "no database yet" in none.stderr
    missing = on(junkie, database).run("memories", "list").ok()
    assert (missing.stdout, missing.stderr) == (
        "",
        "no memories: table user_memories does not exist in schema ai yet\n",
    )
    on(junkie, written_by("3.1"))
    assert junkie.run("memories", "list", "-u", "nobody").ok().stderr == "no memories\n"
    away = junkie.run("memories", "list", "--json", env={"POSTGRES_URL": "postgresql://u:secret@127.0.0.1:1/x"})
    assert away.exit_code == 4
    validate(away.json(), "error")
    assert "secret" not in away.stdout + away.stderr


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("memories show nope", 1),
        ("memories delete nope --yes", 1),
        ("memories undo", 1),
        ("memories edit nope x", 1),
        ("sessions show nope", 1),
        ("sessions delete nope --yes", 1),
        ("memories clear", 2),
        ("memories clear -u ada", 2),
        ("memories clear -u ada --expect 9 --yes", 2),
        ("memories clear --all-users --yes", 2),
        ("memories clear --all-users --yes --confirm wrong", 2),
        ("memories clear -u ada --all-users", 2),
        ("memories list -u ada --no-owner", 2),
        ("memories list --since soon", 2),
        ("memories list --after x", 2),
        ("memories import nowhere.jsonl", 1),
        ("memories export --json", 2),
        ("users erase ada", 2),
        ("users erase ada --yes --receipt /no/such/folder/r", 1),
        ("sessions delete c1", 2),
        ("memories delete {id}", 2),
    ],
)
def test_exit_codes_and_nothing_happens(bot: Junkie, command: str, code: int) -> None:
    before = bot.run("users", "list", "--json").ok().stdout
    words = [an_id(bot) if word == "{id}" else word for word in command.split()]
    done = bot.run(*words)
    assert done.exit_code == code, done
    assert done.stdout == "" or "--json" in command
    assert done.stderr.startswith("error: ") or "\nerror: " in done.stderr
    assert bot.run("users", "list", "--json").ok().stdout == before


@pytest.mark.parametrize("command", ["memories clear -u ada --yes", "users erase ada --yes"])
def test_unattended_somebody_must_name_the_database(junkie: Junkie, command: str) -> None:
    done = junkie.run(*command.split())
    assert done.exit_code == 3
    assert "POSTGRES_URL" in done.stderr


# --- what a script sees -----------------------------------------------------------------------------------------------


def test_lines_in_a_pipe(bot: Junkie) -> None:
    lines = [line.split("\t") for line in bot.run("memories", "list", "-u", "ada").ok().stdout.splitlines()]
    assert [line[1:4] for line in lines] == [
        ["ada", "Ada plays the cello", "music"],
        ["ada", "Ada is called Ada and prefers tea", "name, drinks"],
    ]
    assert bot.run("users", "list").ok().stdout.splitlines()[-1].startswith("\t0\t1\t1\t")
    figures = dict(line.split("\t")[:2] for line in bot.run("stats").ok().stdout.splitlines()[:5])
    assert figures == {"memories": "4", "users": "3", "average_per_user": "1.33", "sessions": "4", "runs": "7"}


def test_hostile_text_acts_nowhere(bot: Junkie) -> None:
    added = bot.run("memories", "add", HOSTILE, "-u", "ada", "--topic", HOSTILE, "--json").ok()
    assert added.json()["memory"]["memory"] == HOSTILE
    line = {"memory_id": HOSTILE, "user_id": HOSTILE, "memory": HOSTILE, "updated_at": 1}
    bot.run("memories", "import", "-", input=json.dumps(line)).ok()
    for command in ("memories list", "memories search link", "memories history", "users list", "stats"):
        for form in ([], ["--json"]):
            said = bot.run(*command.split(), *form).ok()
            assert not {"\x1b", "\x07", "\x9b", "\u202e", "\u200b"} & set(said.stdout + said.stderr)
    assert bot.run("memories", "list", "--json").ok().json()["memories"][0]["memory"] == HOSTILE
    big = "é" * 1_000_000
    (bot.cwd / "big.jsonl").write_text(json.dumps({"memory_id": "big", "memory": big, "user_id": "big"}) + "\n")
    bot.run("memories", "import", "big.jsonl").ok()
    assert bot.run("memories", "list", "-u", "big").ok().stdout.split("\t")[2] == big
    screen = bot.terminal("memories", "list", columns=80)
    shown = screen.read()
    screen.wait()
    assert screen.exitstatus == 0
    assert "\x1b]" not in shown and "\u202e" not in shown and "\x9b" not in shown
    assert len(shown) < 20_000


def test_a_reader_that_leaves_early_is_no_error(bot: Junkie) -> None:
    line = json.dumps({"memory_id": "{}", "memory": "x" * 500, "user_id": "u"})
    lines = "".join(line.replace("{}", str(n)) + "\n" for n in range(5000))
    bot.run("memories", "import", "/dev/stdin", input=lines).ok()
    script = f"{sys.executable} -m junkie_cli memories export | head -1"
    done = subprocess.run(
        ["bash", "-c", script], env=bot.environment(), capture_output=True, text=True, cwd=bot.cwd, check=False
    )
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr and "error" not in done.stderr


def test_export_import_undo_in_a_row(bot: Junkie) -> None:
    exported = bot.run("memories", "export").ok()
    assert len(exported.stdout.splitlines()) == 4
    assert exported.stderr == "exported 4 memories\n"
    bot.run("memories", "clear", "-u", "ada", "--yes").ok()
    (bot.cwd / "all.jsonl").write_text(exported.stdout)
    assert bot.run("memories", "import", "all.jsonl", "--dry-run").ok().stdout.startswith("2 would be added")
    assert bot.run("memories", "import", "all.jsonl").ok().stdout == "2 added, 0 updated, 2 unchanged\n"
    undone = bot.run("memories", "undo").ok()
    assert undone.stdout == "2 memories removed\n"
    assert "undone: 2 memories added of user 'ada', by login " in undone.stderr
    assert bot.run("memories", "list", "-u", "ada").ok().stderr == "no memories\n"
    again = bot.run("memories", "undo")
    assert (again.exit_code, again.stdout) == (1, "")
    cleared = re.search(r"of 'ada': junkie memories undo (\S+)", again.stderr)
    assert cleared, again.stderr
    assert bot.run("memories", "undo", cleared[1]).ok().stdout == "2 memories restored\n"


def test_undo_at_a_terminal_names_the_change_and_asks(bot: Junkie) -> None:
    bot.run("memories", "add", "likes tea", "-u", "eve").ok()
    bot.run("memories", "clear", "-u", "ada", "--yes").ok()
    for answer, code, said in (("n", 1, "nothing was changed"), ("y", 0, "2 memories restored")):
        child = bot.terminal("memories", "undo", columns=200)
        child.expect_exact("2 memories deleted of user 'ada', by login ")
        child.expect_exact("undo it? [y/N]")
        child.sendline(answer)
        child.expect_exact(said)
        child.wait()
        assert child.exitstatus == code
    child = bot.terminal("memories", "undo", "--yes", columns=200)
    child.expect_exact("1 memory added of user 'eve'")
    child.expect_exact("1 memory removed")


def test_what_list_search_and_show_print_can_be_imported(bot: Junkie) -> None:
    memory_id = an_id(bot)
    printed = [
        bot.run("memories", *words, "--json").ok().stdout
        for words in (("list", "-n", "2"), ("list",), ("search", "tea"), ("show", memory_id))
    ]
    again = bot.run("memories", "import", "-", input="".join(printed)).ok()
    assert again.stdout == "0 added, 0 updated, 8 unchanged\n", again
    bot.run("memories", "clear", "-u", "ada", "--yes").ok()
    before = printed[1]
    assert bot.run("memories", "import", "-", input=before).ok().stdout == "2 added, 0 updated, 2 unchanged\n"
    after = bot.run("memories", "list", "--json").ok().stdout
    by_id = [{m["memory_id"]: m for m in json.loads(text)["memories"]} for text in (before, after)]
    assert by_id[0] == by_id[1]
    changed = before.replace("cello", "viola")
    refused = bot.run("memories", "import", "-", input=changed)
    assert refused.exit_code == 2
    assert re.search(r"memory \d of line 1: \S+ says something else", refused.stderr), refused


def test_an_id_that_chat_refuses_gets_no_memories_and_can_be_erased(bot: Junkie) -> None:
    for odd in ("zed ", " zed", "a\nb", "x" * 201, "a\x1b[31m"):
        refused = bot.run("memories", "add", "x", "-u", odd)
        assert (refused.exit_code, refused.stdout) == (2, ""), refused
        line = json.dumps({"memory_id": f"m-{len(odd)}", "memory": "x", "user_id": odd})
        bot.run("memories", "import", "-", input=line).ok()  # another program's row: it is carried on as it is
        assert "x" in bot.run("memories", "list", "-u", odd).ok().stdout
        erased = bot.run("users", "erase", odd, "--yes").ok()
        assert "0 rows remain" in erased.stdout
    assert 'no data found for user "zed "' in bot.run("users", "erase", "zed ", "--yes").stderr


def test_a_conflict_of_undo_shows_both_texts(bot: Junkie) -> None:
    memory_id = an_id(bot)
    first = bot.run("memories", "edit", memory_id, "second text", "--json").ok().json()["undo"]
    bot.run("memories", "edit", memory_id, "third text").ok()
    done = bot.run("memories", "undo", first)
    assert done.exit_code == 1
    assert "now:  third text" in done.stderr and "then: Ada plays the cello" in done.stderr
    assert "1 memory was changed again since: not undone\n" in done.stderr
    assert "changed changed" not in done.stderr


def test_a_cursor_is_on_one_line_to_be_copied(bot: Junkie) -> None:
    page = bot.run("memories", "list", "-n", "1")
    (line,) = [line for line in page.stderr.splitlines() if "--after" in line]
    cursor = line.removeprefix("  --after ")
    assert len(cursor) > 40
    child = bot.terminal("memories", "list", "-n", "1", columns=40)
    child.expect("--after ")
    child.expect("\r\n")
    assert child.before.strip() == cursor
    assert bot.run("memories", "list", "-n", "1", "--after", cursor).ok().stdout


def test_clear_names_counts_samples_and_the_way_back(bot: Junkie) -> None:
    done = bot.run("memories", "clear", "-u", "ada", "--yes").ok()
    assert done.stdout == "deleted 2 memories\n"
    assert "2 memories of ada in postgresql://" in done.stderr
    assert "  Ada plays the cello\n" in done.stderr
    assert "undo is possible for 30 days" in done.stderr
    nothing = bot.run("memories", "clear", "-u", "adda", "--yes").ok()
    assert nothing.stderr == "nothing to clear\ndid you mean bob?\n" or "nothing to clear" in nothing.stderr
    final = bot.run("memories", "clear", "-u", "bob", "--yes", "--no-undo").ok()
    assert "no copy is kept" in final.stderr


def test_everybodys_memories_by_the_databases_name(bot: Junkie, written_by: Make) -> None:
    url = written_by("2.2")
    name = url.database or ""
    done = on(bot, url).run("memories", "clear", "--all-users", "--confirm", name, "--json").ok().json()
    assert (done["user_id"], done["deleted"]) == (None, 4)


def test_a_replica_answers_what_only_reads(bot: Junkie, written_by: Make) -> None:
    other = written_by("2.3")
    env = {"POSTGRES_READ_URL": other.libpq()}
    assert len(bot.run("memories", "list", "-u", "bob", env=env).ok().stdout.splitlines()) == 2
    assert bot.run("stats", "--json", env=env).ok().json()["users"] == 2
    assert len(bot.run("sessions", "list", env=env).ok().stdout.splitlines()) == 3
    bot.run("memories", "clear", "-u", "bob", "--yes", env=env).ok()
    assert bot.run("memories", "list", "-u", "bob").ok().stdout == ""
    assert bot.run("memories", "list", "-u", "bob", env=env).ok().stdout != ""


def test_a_read_only_role_is_reported_in_a_sentence(bot: Junkie, written_by: Make, admin: Administration) -> None:
    import asyncio

    url = written_by("3.1")
    asyncio.run(admin.do(url, *reader("plain")))
    on(bot, as_role(url, "plain"))
    assert len(bot.run("memories", "list").ok().stdout.splitlines()) == 4
    for command in ("memories clear -u ada --yes", "users erase ada --yes", "memories add x -u ada"):
        done = bot.run(*command.split())
        assert done.exit_code == 4
        assert "no privilege" in done.stderr
        assert "Traceback" not in done.stderr


# --- what a person sees -----------------------------------------------------------------------------------------------


def test_a_person_is_asked_and_may_say_no(bot: Junkie) -> None:
    for command, question in (
        ("memories clear -u ada", "clear 2 memories of ada?"),
        ("users erase ada", "erase ada? This cannot be undone."),
        ("sessions delete c1", "delete session c1? This cannot be undone."),
    ):
        screen = bot.terminal(*command.split())
        screen.expect_exact(question)
        screen.sendline("n")
        screen.expect("nothing was changed")
        screen.wait()
        assert screen.exitstatus == 1
    screen = bot.terminal("memories", "clear", "-u", "ada")
    screen.expect_exact("[y/N]")
    screen.sendline("y")
    screen.expect_exact("deleted 2 memories")
    screen.wait()
    assert screen.exitstatus == 0


@pytest.mark.parametrize("columns", [80, 200])
def test_figures_and_lists_fit_the_screen(bot: Junkie, columns: int) -> None:
    for command in ("stats", "memories list", "users list", "sessions list"):
        screen = bot.terminal(*command.split(), columns=columns)
        said = re.sub(r"[^\n]*\r\x1b\[2K", "", screen.read())  # lines of progress, on a machine that is busy
        screen.wait()
        lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in said.replace("\r", "").split("\n")]
        assert len(lines) < 60
        assert all(width(line) <= columns for line in lines if "postgresql://" not in line)
        if command == "stats":
            assert "█" in said and "▁" in said


# --- the lane ---------------------------------------------------------------------------------------------------------

HEAVY = {"agno", "sqlalchemy", "openai", "pydantic", "prompt_toolkit", "httpx", "httpx2", "rich"}


@pytest.mark.parametrize(
    "command", ["memories list", "memories clear -u ada --yes", "users erase ada --yes", "stats", "sessions list"]
)
def test_administration_loads_nothing_heavy(bot: Junkie, command: str) -> None:
    code = (
        "import sys; from junkie_cli.cli.main import run_command_line; code = run_command_line(sys.argv[1:]);"
        f" print(code, sorted({HEAVY!r} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command.split()],
        env=bot.environment(),
        capture_output=True,
        text=True,
        cwd=Path(bot.cwd),
        check=False,
    )
    assert done.stderr.splitlines()[-1] == "0 []"


def test_the_history_names_who_made_a_change_and_with_which_command(bot: Junkie) -> None:
    bot.run("memories", "add", "I like chess.", "-u", "eve").ok()
    [change, *_] = bot.run("memories", "history", "--json").ok().json()["changes"]
    login = pwd.getpwuid(os.geteuid()).pw_name
    assert change["actor"] == {"kind": "login", "name": login, "command": "memories add"}
    assert f"login {login} (memories add)" in bot.run("memories", "history").ok().stdout
    undone = bot.run("memories", "undo", "--yes").ok()
    assert f"by login {login} (memories add)" in undone.stderr
    document = bot.run("memories", "undo", change["batch"], "--json")
    assert document.json()["error"]["code"] == "already_undone"
    validate(bot.run("memories", "history", "--json").ok().json(), "memories.history")
