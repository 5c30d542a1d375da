"""The benchmark runs, on little data and once: figures are taken and judged, and no figure fails a test."""

import asyncio
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from junkie_cli.core import embedded
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.postgres.connect import open_connection
from tests.benchmarks import data
from tests.benchmarks.measuring import Case, CaseFailed, Command, Starter, measure
from tests.support.junkie import Junkie

ROWS = 2_000


async def test_the_same_number_of_rows_gives_the_same_rows(database: DatabaseUrl) -> None:
    connection = await open_connection(database)
    try:
        await data.fill(connection, ROWS)
        counts = await connection.fetchrow(
            "SELECT (SELECT count(*) FROM ai.user_memories) AS memories, (SELECT count(*) FROM ai.agent_sessions) AS"
            " sessions, (SELECT count(*) FROM ai.agent_sessions_runs) AS runs, (SELECT count(DISTINCT user_id) FROM"
            " ai.user_memories) AS users, (SELECT md5(string_agg(memory_id || memory::text || user_id || topics::text,"
            " '' ORDER BY memory_id)) FROM ai.user_memories) AS content"
        )
        bench = data.Bench(database, ROWS)
        sizes = {
            user: await connection.fetchval("SELECT count(*) FROM ai.user_memories WHERE user_id = $1", user)
            for user in (bench.largest, bench.typical(), bench.old)
        }
        found = await connection.fetchval(
            f"SELECT count(*) FROM ai.user_memories WHERE memory::text LIKE '%{data.ABSENT}%'"
        )
    finally:
        await connection.close()
    assert dict(counts) == {
        "memories": ROWS,
        "sessions": ROWS // 25,
        "runs": 2 * ROWS // 25,
        "users": bench.users,
        "content": "f87206dd71829782ba365c8fb12b53c8",
    }
    assert sizes[bench.largest] > 5 * sizes[bench.typical()] > 0 < sizes[bench.old]
    assert found == 0


def test_a_small_run_measures_everything_and_reports_it(junkie: Junkie, tmp_path: Path) -> None:
    folder = junkie.root / "bench"
    written = [tmp_path / "bench.json", tmp_path / "bench.svg"]
    try:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.benchmarks", str(folder), "--rows", str(ROWS), "--rounds", "1"),
                *("--moved", "500", "--turns", "31", "--no-peers", "--scratch", str(junkie.root)),
                *("--json", str(written[0]), "--svg", str(written[1])),
            ],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
    finally:
        if embedded.exists(folder):
            asyncio.run(embedded.stop(folder))
    assert done.returncode == 0, done.stderr
    assert "goals reached" in done.stdout
    told = json.loads(written[0].read_text("utf-8"))
    assert told["about"]["rows"] == ROWS
    groups = {"startup", "lists", "pages", "stats", "search", "deletions", "export", "import", "backup", "restore"}
    groups |= {"embedded", "indexed pages", "indexed deletions", "indexed search", "chat"}
    assert groups == told["cases"].keys()
    for goal in told["goals"]:
        assert goal["value"] > 0, goal
        assert goal["limit"] > 0, goal
    picture = ElementTree.fromstring(written[1].read_text("utf-8"))
    assert len(picture.findall("{http://www.w3.org/2000/svg}rect")) == 1 + len(told["goals"])
    assert not list(junkie.root.glob("junkie-bench-*")), "the run left its folder behind"


def test_a_command_that_fails_is_reported_with_its_words(tmp_path: Path) -> None:
    with Starter(tmp_path, {}) as starter:
        case = Case("broken", lambda _: Command((sys.executable, "-c", "raise SystemExit('no luck')")))
        with pytest.raises(CaseFailed, match=r"broken: .*ended with 1: no luck"):
            measure(starter, [case], 1)


def test_peak_memory_is_the_programs_own(tmp_path: Path) -> None:
    ballast = bytearray(200 << 20)
    with Starter(tmp_path, {}) as starter:
        figures = measure(starter, [Case("idle", lambda _: Command((sys.executable, "-c", "pass")))], 2)
    assert len(ballast) > figures["idle"].median("peak") * 2**20 * 3
