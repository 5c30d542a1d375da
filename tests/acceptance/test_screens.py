"""The main screens as a terminal shows them, held against `screens/`: `SCREENS=write` writes them anew.

Times are long ago, so that they are dates; what differs from run to run (sizes, names of folders) is masked.
"""

import json
import os
import re
from pathlib import Path

import pytest

from junkie_cli import __version__
from junkie_cli.core.database_url import DatabaseUrl
from tests.support.junkie import Junkie
from tests.support.person import person

FOLDER = Path(__file__).parent / "screens"
MEMORIES = (
    ("ada", "Prefers coffee", ("drinks",)),
    (
        "ada",
        "Reads 김영하 in Korean, and would rather have a sentence too long for the line than a cut one",
        ("books",),
    ),
    ("grace", "Keeps a parrot 🦜 called Cobol", ("animals", "names", "programming languages")),
    ("linus", "Hostile: \x1b[31mred\x1b[0m [bold]bold[/bold] \u202egnirts", ()),
    ("", "Belongs to nobody", ()),
)
# name, arguments, columns
SCREENS = [
    ("welcome", "", 80),
    *((f"help-{columns}", "--help", columns) for columns in (60, 80, 120)),
    ("help-list", "memories list --help", 80),
    *((f"memories-list-{columns}", "memories list", columns) for columns in (60, 80, 120, 200)),
    ("memories-show", "memories show 00000000-0000-4000-8000-000000000001", 80),
    ("users-list", "users list", 80),
    ("stats-60", "stats", 60),
    ("stats-120", "stats", 120),
    ("nothing-found", "memories list -u nobody-at-all", 80),
    ("no-such-memory", "memories show 00000000-0000-4000-8000-00000000000f", 80),
    ("did-you-mean", "memories lst", 80),
    ("doctor", "doctor --only settings,schema,memory.owners,memory.size", 100),
]

VARYING = (
    (re.escape(__version__), "VERSION"),
    (r"postgresql://\S+", "DATABASE"),
    (r"just now|\d+ (s|min) ago", "LATELY"),
    (r"agno 3\.[\d.]+", "agno 3.X"),
    (r"[\d.]+ s\n", "X s\n"),
)


@pytest.fixture
def env(junkie: Junkie, database: DatabaseUrl) -> dict[str, str]:
    """A database with these memories, each a day younger than the one before; and a terminal's environment."""
    env = {"POSTGRES_URL": database.libpq(), "TZ": "UTC", "LANG": "C.UTF-8"}
    junkie.run("chat", "--offline", "-s", "s", "-u", "ada", "hello", env=env).ok()  # makes the tables
    lines = [
        {
            "memory_id": f"00000000-0000-4000-8000-{number:012}", "user_id": user or None, "memory": text,
            "topics": topics, "input": None, "agent_id": None, "team_id": None, "feedback": None,
            "created_at": 1_600_000_000 + 86_400 * number, "updated_at": 1_600_000_000 + 86_400 * number,
        }
        for number, (user, text, topics) in enumerate(MEMORIES)
    ]  # fmt: skip
    file = junkie.cwd / "memories.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    junkie.run("memories", "import", str(file), env=env).ok()
    return env


def masked(lines: list[str]) -> str:
    """The screen without what is another in each run."""
    text = "".join(f"{line.rstrip()}\n" for line in lines)
    text = re.sub(r" {1,4}[\d.]+ (B|kB|MB)\b", lambda match: "X".rjust(len(match[0])), text)
    for varying, word in VARYING:
        text = re.sub(varying, word, text)
    return text


def test_the_screens(junkie: Junkie, env: dict[str, str]) -> None:
    shown = {}
    for name, arguments, columns in SCREENS:
        somebody = person(junkie, *arguments.split(), columns=columns, lines=60, env=env)
        somebody.ended()
        shown[name] = masked(somebody.picture.everything)
        assert max(map(len, shown[name].splitlines()), default=0) <= columns
    if os.environ.get("SCREENS") == "write":
        FOLDER.mkdir(exist_ok=True)
        for name, text in shown.items():
            (FOLDER / f"{name}.txt").write_text(text)
    assert shown == {name: (FOLDER / f"{name}.txt").read_text() for name, _, _ in SCREENS}


def test_there_is_no_screen_that_nobody_looks_at() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == {name for name, _, _ in SCREENS}
