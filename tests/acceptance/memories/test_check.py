"""`memories check` as a process: exit codes for CI, lines, table and JSON, and a backup that was restored."""

import json
import re
from typing import Any

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.sanitize import width
from tests.support.junkie import Junkie
from tests.support.schemas import validate


@pytest.fixture
def junkie(junkie: Junkie, database: DatabaseUrl) -> Junkie:
    junkie._extra["POSTGRES_URL"] = database.libpq()
    for text in ("Is allergic to peanuts", "Lives in Turin"):
        junkie.run("memories", "add", text, "-u", "ada").ok()
    return junkie


def lines(*documents: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(document)}\n" for document in documents)


HOLDS = {"user": "ada", "question": "May I eat this?", "recalled": ["allergic"], "not_recalled": ["jazz"]}
FAILS = {"user": "ada", "question": "What do I like?", "recalled": ["jazz"], "not_recalled": ["TURIN"]}


def test_exit_codes_are_for_ci(junkie: Junkie) -> None:
    for text, code in ((lines(HOLDS), 0), (lines(HOLDS, FAILS), 1), (lines(FAILS, HOLDS) + "{\n", 2), ("", 2)):
        assert junkie.run("memories", "check", "-", input=text).exit_code == code
        assert junkie.run("memories", "check", "-", "--json", input=text).exit_code == code
    assert junkie.run("memories", "check", "absent.jsonl").exit_code == 1
    assert (
        junkie.run(
            "memories", "check", "-", input=lines(HOLDS), env={"POSTGRES_URL": "postgresql://127.0.0.1:9/x"}
        ).exit_code
        == 4
    )


def test_lines_and_json_name_what_does_not_hold(junkie: Junkie) -> None:
    path = junkie.cwd / "expected.jsonl"
    path.write_text(lines(HOLDS, FAILS) + "{\n")
    plain = junkie.run("memories", "check", str(path))
    first, second = (line.split("\t") for line in plain.stdout.splitlines())
    assert first == ["2", "ada", "What do I like?", "not stored", "jazz", ""]
    assert second[:5] == ["2", "ada", "What do I like?", "recalled", "TURIN"]
    assert "line 3 is not JSON" in plain.stderr
    assert "1 line holds, 1 do not, 1 could not be checked" in plain.stderr
    document = junkie.run("memories", "check", str(path), "--json").json()
    validate(document, "memories.check")
    assert (document["held"], document["failed"], document["bad"]) == (1, 1, 1)
    [unmet] = document["unmet"]
    assert unmet["missing"] == [{"text": "jazz", "stored": False}]
    [unwanted] = unmet["unwanted"]
    assert (unwanted["memory"], unwanted["memory_id"]) == ("Lives in Turin", second[5])
    assert unwanted["reason"]["kind"] == "all"
    validate(FAILS, "memories.check.line")


@pytest.mark.parametrize("columns", [60, 200])
def test_a_table_on_a_terminal(junkie: Junkie, columns: int) -> None:
    (junkie.cwd / "expected.jsonl").write_text(lines(FAILS, HOLDS))
    child = junkie.terminal("memories", "check", "expected.jsonl", columns=columns)
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", child.read())
    child.close()
    assert child.exitstatus == 1
    assert "not stored" in drawn and "TURIN" in drawn
    assert "1 line holds, 1 do not" in " ".join(drawn.split())
    assert all(width(line) <= columns for line in drawn.splitlines())


def test_a_restored_backup_is_checked(junkie: Junkie) -> None:
    env = {"JUNKIE_BACKUP_DIR": str(junkie.cwd / "backups")}
    junkie.run("backup", env=env).ok()
    junkie.run("memories", "clear", "-u", "ada", "--yes").ok()
    assert junkie.run("memories", "check", "-", input=lines(HOLDS)).exit_code == 1
    junkie.run("restore", "latest", "--replace", "--yes", env=env).ok()
    junkie.run("memories", "check", "-", input=lines(HOLDS)).ok()
    assert junkie.run("memories", "check", "-", input=lines(FAILS)).exit_code == 1
