"""What each command loads in a fresh interpreter while it does its work, on a real database. Lists, not seconds."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from junkie_cli.core.database_url import DatabaseUrl
from tests.acceptance.test_startup import HEAVY, loaded
from tests.benchmarks.floors import help_tree
from tests.support.generations import Make
from tests.support.junkie import Junkie

FLOOR = Path(help_tree.__file__).parent / "one_query.py"
MORE_THAN_FLOOR = 10  # modules, docs/decisions/0013-two-lanes-and-start-up-time.md


@pytest.fixture
def agno(written_by: Make) -> DatabaseUrl:
    """A small database that agno 3 wrote."""
    return written_by("3.1")


COMMANDS = [
    "memories list",
    "memories list -u ada --json",
    "memories show 7aa6dc81-3201-4b0d-9591-dbaa034d35bc",
    "memories search tea",
    "memories check /dev/null",
    "memories add tea -u ada",
    "memories clear -u ada --dry-run",
    "memories clear -u ada --yes",
    "memories undo --json",
    "memories history",
    "memories export",
    "memories pending",
    "users list",
    "users export ada -o ada.jsonl",
    "users erase ada --yes",
    "sessions list",
    "sessions show c1 --json",
    "sessions delete c1 --yes",
    "stats",
    "stats --approximate --json",
    "backup --no-verify -o backups",
    "backup list",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_administration_does_its_work_without_a_framework(junkie: Junkie, agno: DatabaseUrl, command: str) -> None:
    if "undo" in command:
        junkie.run("memories", "add", "tea", "-u", "ada", env={"POSTGRES_URL": agno.libpq()}).ok()
    modules = loaded(junkie, *command.split(), POSTGRES_URL=agno.libpq())
    assert not modules & HEAVY
    assert not any(name.startswith("junkie_cli.core.agent.") for name in modules)
    assert "junkie_cli.conversation" not in modules
    assert "junkie_cli.core.database" in modules or "backup list" in command


@pytest.mark.parametrize(
    ("command", "others"),
    [
        ("memories list", {"edits", "export", "import_file", "search", "history"}),
        ("memories search tea", {"edits", "export", "import_file", "history"}),
        ("memories export", {"edits", "import_file", "search", "history"}),
        ("users list", {"erase", "export", "receipt", "session_tables"}),
    ],
)
def test_a_command_loads_only_its_own_part_of_the_core(
    junkie: Junkie, agno: DatabaseUrl, command: str, others: set[str]
) -> None:
    group = f"junkie_cli.core.{command.split()[0]}"
    assert all(find_spec(f"{group}.{name}") for name in others)
    modules = loaded(junkie, *command.split(), POSTGRES_URL=agno.libpq())
    assert not {f"{group}.{name}" for name in others} & modules


def test_a_list_loads_hardly_more_than_its_floor(junkie: Junkie, agno: DatabaseUrl) -> None:
    """The floor's module list is taken in the same way: all that typer, asyncpg, rich and one query load."""
    program = (
        "import sys\n"
        f"try:\n exec(open({str(FLOOR)!r}).read(), {{'__name__': '__main__'}})\n"
        "finally:\n print(' '.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=junkie.environment({"POSTGRES_URL": agno.libpq()}),
        cwd=junkie.cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    floor = set(done.stderr.splitlines()[-1].split())
    assert "rich.table" in floor
    modules = loaded(junkie, "memories", "list", POSTGRES_URL=agno.libpq())
    assert len(modules) <= len(floor) + MORE_THAN_FLOOR, sorted(modules - floor)
    theirs = {name for name in modules - floor if not name.startswith("junkie_cli")}
    assert len(theirs) <= MORE_THAN_FLOOR, sorted(theirs)


@pytest.mark.parametrize("command", ["--help", "memories --help", "backup --help", "demo --help"])
def test_help_loads_no_event_loop(junkie: Junkie, command: str) -> None:
    idle = [sys.executable, "-c", "import sys; print(*sys.modules)"]  # coverage, where it measures, loads some
    told = subprocess.run(idle, env=junkie.environment(), capture_output=True, text=True, check=True)
    more = loaded(junkie, *command.split()) - set(told.stdout.split())
    assert not more & {"asyncio", "ssl", "socket", "secrets", "tempfile"}
