"""Every command that reads, on what each generation of agno wrote, in a schema with a quoted name: lines, JSON, table.

And with a database user who may read all but one table: each command answers, or names that table in a sentence.
"""

import re

import pytest

from junkie_cli.text import width
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


@pytest.mark.parametrize("generation", ["2.2", "2.3", "2.9-then-3.1", "3.1"])
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
            assert "no right" in done.stderr, (command, done)
    assert refused >= 4
