"""Every command that reads, on what each generation of agno wrote, in a schema with a quoted name: lines, JSON, table.

And with a database user who may read all but one table: each command answers, or names that table in a sentence.
"""

import re

import pytest

from junkie_cli.core.sanitize import width
from tests.support.generations import Administration, Make, as_role, reader
from tests.support.junkie import Junkie
from tests.support.schemas import validate

COMMANDS = {
    "memories list": "memories.list",
    "memories search ada": "memories.search",
    "users list": "users.list",
    "sessions list": "sessions.list",
    "sessions show channel-7": "sessions.show",
    "stats": "stats",
    "users erase ada --dry-run": "users.erase",
    "memories clear -u ada --dry-run": "memories.clear",
}


@pytest.mark.parametrize("generation", ["2.2", "2.3", "2.9-then-3.1", "3.1", "os-3.1"])
def test_lines_json_and_table_agree(junkie: Junkie, written_by: Make, generation: str) -> None:
    url = written_by(generation, schema="My Schema")
    env = {"POSTGRES_URL": url.libpq(), "JUNKIE_SCHEMA": "My Schema"}
    for command, name in COMMANDS.items():
        document = junkie.run(*command.split(), "--json", env=env).ok().json()
        validate(document, name)
        lines = junkie.run(*command.split(), env=env).ok().stdout.splitlines()
        assert lines, command
        if command.endswith(" list"):
            assert len(lines) == len(document[command.split()[0]])
        assert not any("\x1b" in line for line in lines)
    assert document["would_delete"] == len(document["memories"]) > 0
    for command in ("memories list", "users list", "sessions list"):
        screen = junkie.terminal(*command.split(), env=env, columns=100)
        shown = re.sub(r"[^\n]*\r\x1b\[2K|\x1b\[[0-9;]*m", "", screen.read())
        screen.wait()
        assert screen.exitstatus == 0
        assert "ada" in shown
        assert all(width(line) <= 100 for line in shown.replace("\r", "").split("\n"))


@pytest.mark.parametrize("table", ["user_memories", "agent_sessions", "agent_sessions_runs"])
async def test_without_rights_on_one_table(junkie: Junkie, written_by: Make, admin: Administration, table: str) -> None:
    url = written_by("3.1")
    await admin.do(url, *reader("plain"), f"REVOKE SELECT ON ai.{table} FROM plain")
    env = {"POSTGRES_URL": as_role(url, "plain").libpq()}
    refused = 0
    for command in (*COMMANDS, "memories export", "users export ada -o x.jsonl"):
        done = junkie.run(*command.split(), env=env)
        assert "Traceback" not in done.stderr
        if done.exit_code:
            refused += 1
            assert (done.exit_code, done.stdout) == (4, ""), (command, done)
            assert "no privilege" in done.stderr, (command, done)
    assert refused >= 4


CHANGES = (
    ("memories add Likes-chess -u ada --topic games", "memories.add"),
    ("memories edit {added} Plays-chess", "memories.edit"),
    ("memories undo --yes", "memories.undo"),
    ("memories delete {added} --yes", "memories.delete"),
    ("memories clear -u ada --yes", "memories.clear"),
    ("memories undo --yes", "memories.undo"),
    ("memories import all.jsonl --overwrite", "memories.import"),
    ("sessions delete c1 --yes", "sessions.delete"),
    ("users erase ada --yes", "users.erase"),
)


@pytest.mark.parametrize(
    ("generation", "first"), [("2.2", 0), ("2.3", 1), ("2.9-then-3.1", 2), ("3.1", 0), ("os-3.1", 1)]
)
def test_every_change_on_what_each_generation_wrote(
    junkie: Junkie, written_by: Make, generation: str, first: int
) -> None:
    """As JSON, in a pipe and on a terminal in turn; in each generation another command begins."""
    env = {"POSTGRES_URL": written_by(generation, schema="My Schema").libpq(), "JUNKIE_SCHEMA": "My Schema"}

    def listed() -> dict[str, str]:
        found = junkie.run("memories", "list", "-u", "ada", "--json", env=env).ok().json()["memories"]
        return {memory["memory_id"]: memory["memory"] for memory in found}

    before, added = listed(), ""
    junkie.run("memories", "export", "-o", "all.jsonl", env=env).ok()
    for number, (command, name) in enumerate(CHANGES, first):
        words = [word.format(added=added) for word in command.split()]
        if name == "sessions.delete" and generation == "2.3":
            continue  # that dump has another session
        if number % 3 == 0:
            validate(junkie.run(*words, "--json", env=env).ok().json(), name)
        elif number % 3 == 1:
            junkie.run(*words, env=env).ok()
        else:
            screen = junkie.terminal(*words, env=env)
            shown = screen.read()
            screen.wait()
            assert screen.exitstatus == 0, (words, shown)
        if not added:
            [added] = listed().keys() - before.keys()
        if name == "memories.edit":
            assert listed() == before | {added: "Plays-chess"}
        if name == "memories.import":
            assert listed() == before
    assert listed() == {}
