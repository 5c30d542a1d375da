"""What a start loads: administration and help must answer like a shell tool. Lists of modules, not seconds."""

import subprocess
import sys

import pytest

from tests.support.junkie import Junkie

HEAVY = {"agno", "sqlalchemy", "openai", "pydantic", "prompt_toolkit", "httpx", "httpx2", "rich"}
RUN = """
import atexit
import sys
sys.argv = ["junkie", *sys.argv[1:]]
atexit.register(lambda: print(" ".join(sys.modules), file=sys.stderr))
from junkie_cli.cli.main import main
main()
"""


def loaded(junkie: Junkie, *arguments: str, **env: str) -> set[str]:
    """The modules that a fresh interpreter has loaded when `junkie ARGUMENTS` is done."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        env=junkie.environment(env),
        cwd=junkie.cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr, done.stdout
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    "arguments",
    [
        "--help", "chat --help", "memories --help", "memories list -h", "backup -h", "config show",
        "config path --json", "config init", "nonsense", "memories nonsense", "memories list --nonsense", "",
    ],
)  # fmt: skip
def test_help_errors_and_settings_load_nothing_heavy(junkie: Junkie, arguments: str) -> None:
    modules = loaded(junkie, *arguments.split())
    assert not modules & (HEAVY | {"asyncpg"})


@pytest.mark.parametrize("arguments", ["memories list", "memories list --json"])
def test_administration_loads_no_framework(junkie: Junkie, arguments: str) -> None:
    """Here there is no database, which is found out with all that such a command needs."""
    modules = loaded(junkie, *arguments.split())
    assert "junkie_cli.core.database" in modules
    assert not modules & HEAVY


def test_help_of_one_command_imports_no_other(junkie: Junkie) -> None:
    commands = {name for name in loaded(junkie, "config", "--help") if name.startswith("junkie_cli.cli.commands.")}
    assert commands == {"junkie_cli.cli.commands.config"}


def test_the_version_is_answered_before_anything_is_loaded(junkie: Junkie) -> None:
    idle = subprocess.run([sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True)
    more = loaded(junkie, "--version") - set(idle.stdout.split())
    assert more == {"atexit", "junkie_cli", "junkie_cli.cli", "junkie_cli.cli.main"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_loads_nothing_heavy(junkie: Junkie, shell: str) -> None:
    modules = loaded(
        junkie,
        _JUNKIE_COMPLETE=f"complete_{shell}",
        COMP_WORDS="junkie mem",
        COMP_CWORD="1",
        _TYPER_COMPLETE_ARGS="junkie mem",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert not modules & (HEAVY | {"asyncpg"})
