"""Completion as shells ask for it: real ids and backup files, and silence whenever something is wrong."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pexpect
import pytest

from junkie_cli.core.doctor.checks import CHECKS
from junkie_cli.core.embedded.scratch import ScratchServer
from tests.support.junkie import SCRIPT, Junkie
from tests.support.postgres import clone, execute

PATIENT = {"JUNKIE_COMPLETION_SECONDS": "30"}  # the machine that tests may be busy
SHELLS = [shell for shell in ("bash", "zsh", "fish") if shutil.which(shell)]


def offered(junkie: Junkie, line: str, **env: str) -> list[str]:
    """What bash is offered for the last word of `line`."""
    words = line.split(" ")
    asked = {"_JUNKIE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = junkie.run(env=asked | PATIENT | env)
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout.split()  # the shells split it, too: no id that is offered has a space in it


SESSION = (
    "INSERT INTO ai.agent_sessions (session_id, session_type, user_id, created_at)"
    " VALUES ('channel-7', 'team', 'ada', 1)"
)


@pytest.fixture
def filled(junkie: Junkie, postgres_server: ScratchServer, conversation_template: str) -> Iterator[dict[str, str]]:
    """Memories of four people, one of them with a hostile id, and a session; the environment that names them."""
    with clone(postgres_server, conversation_template) as url:
        execute(postgres_server, SESSION, url.database_name)
        yield _imported(junkie, {"POSTGRES_URL": url.libpq()})


def _imported(junkie: Junkie, env: dict[str, str]) -> dict[str, str]:
    people = (("ada", "Prefers tea"), ("adam", "Likes pears"), ("bob", "Rows"), ("x$(touch owned)", "Evil"))
    lines = [
        {"memory_id": f"0{number}ab-memory", "user_id": user, "memory": text, "updated_at": 1767322800 + number}
        for number, (user, text) in enumerate(people)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (junkie.cwd / "memories.jsonl").write_text(text)
    junkie.run("memories", "import", "memories.jsonl", env=env).ok()
    return env


def test_ids_of_the_database(junkie: Junkie, filled: dict[str, str]) -> None:
    assert offered(junkie, "junkie memories list -u ", **filled) == ["ada", "adam", "bob"]
    assert offered(junkie, "junkie memories add x --user ad", **filled) == ["ada", "adam"]
    assert offered(junkie, "junkie chat -u ada", **filled) == ["ada", "adam"]
    assert offered(junkie, "junkie users erase b", **filled) == ["bob"]
    listed = junkie.run("memories", "list", "--json", env=filled).ok().json()["memories"]
    ids = {memory["memory_id"]: memory["user_id"] for memory in listed}
    assert set(offered(junkie, "junkie memories show ", **filled)) == set(ids)
    (bobs,) = [each for each, user in ids.items() if user == "bob"]
    assert offered(junkie, f"junkie memories edit {bobs[:12]}", **filled) == [bobs]
    assert offered(junkie, f"junkie memories delete {bobs} {bobs[:12]}", **filled) == [bobs]
    assert offered(junkie, "junkie memories history -u bob ", **filled) == ["on", "off"]
    assert offered(junkie, f"junkie memories history -u bob {bobs[:3]}", **filled) == [bobs]
    assert offered(junkie, "junkie sessions show ", **filled) == ["channel-7"]
    assert offered(junkie, "junkie chat -u bob -s ", **filled) == []
    batches = {change["batch"] for change in junkie.run("memories", "history", "--json", env=filled).json()["changes"]}
    assert set(offered(junkie, "junkie memories undo ", **filled)) == batches != set()


def test_backups_of_the_folder(junkie: Junkie) -> None:
    assert offered(junkie, "junkie restore ") == []
    junkie.backup_dir.mkdir()
    for name in ("a-20260101.dump", "a-20260102.dump", ".a.dump", "a-20260102.dump.manifest.json", "a;b.dump"):
        (junkie.backup_dir / name).touch()
    assert offered(junkie, "junkie restore ") == ["latest", "a-20260102.dump", "a-20260101.dump"]
    assert offered(junkie, "junkie backup verify a-20260101") == ["a-20260101.dump"]
    assert offered(junkie, "junkie restore ./") == []  # a path is the shell's own business


def test_checks_of_the_doctor(junkie: Junkie) -> None:
    assert offered(junkie, "junkie doctor privacy.") == [each.id for each in CHECKS if each.id.startswith("privacy.")]
    assert offered(junkie, "junkie doctor --only groq.key,privacy.t") == ["groq.key,privacy.telemetry"]


@pytest.mark.parametrize(
    "url", ["postgresql://127.0.0.1:1/x", "postgresql://192.0.2.1/x", "postgresql://no.invalid/x", "nonsense"]
)
def test_a_database_that_is_away_is_passed_over(junkie: Junkie, url: str) -> None:
    """Refused, unreachable, unknown and misspelt; with the patience that people have."""
    env = {"POSTGRES_URL": url, "JUNKIE_COMPLETION_SECONDS": ""}
    assert offered(junkie, "junkie memories show ", **env) == []


def test_the_embedded_server_is_used_but_never_started_or_made(junkie: Junkie) -> None:
    assert offered(junkie, "junkie memories list -u ") == []
    assert not junkie.data_dir.exists()
    junkie.run("chat", "--offline", "-u", "ada", "I prefer tea.").ok()
    stop = "import asyncio, pathlib, sys; from junkie_cli.core import embedded"
    stop += "; asyncio.run(embedded.stop(pathlib.Path(sys.argv[1])))"
    subprocess.run([sys.executable, "-c", stop, str(junkie.data_dir)], check=True)
    assert offered(junkie, "junkie memories list -u ") == []
    assert not (junkie.data_dir / "data/postmaster.pid").exists()
    junkie.run("memories", "list").ok()
    assert offered(junkie, "junkie memories list -u ") == ["ada"]


def test_options_that_were_typed_count(junkie: Junkie, filled: dict[str, str]) -> None:
    (junkie.cwd / "other.env").write_text(f"POSTGRES_URL={filled['POSTGRES_URL']}\n")
    assert offered(junkie, "junkie --env-file other.env memories list -u b") == ["bob"]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes(shell: str, junkie: Junkie, filled: dict[str, str]) -> None:
    """The script that `junkie` prints, in the shell itself, with a person's Tab."""
    script = junkie.cwd / "completion"
    script.write_text(junkie.run(env={"_JUNKIE_COMPLETE": f"source_{shell}"}).ok().stdout)
    env = junkie.environment(filled | PATIENT | {"TERM": "dumb"})
    env["PATH"] = f"{SCRIPT.parent}:{env['PATH']}"
    if shell == "fish":
        told = subprocess.run(
            ["fish", "--no-config", "-c", f"source {script}; complete -C 'junkie memories list -u b'"],
            env=env, cwd=junkie.cwd, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert told.stdout.split() == ["bob"]
        return
    start = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"]}[shell]
    child = pexpect.spawn(shell, [*start, "-i"], env=env, cwd=str(junkie.cwd), encoding="utf-8", timeout=60)
    child.delaybeforesend = None
    try:
        ready = "autoload -U compinit && compinit -u && " if shell == "zsh" else ""
        child.sendline(f"{ready}source {script} && echo rea''dy")
        child.expect("ready")
        child.send("echo; junkie memories list -u b\t")
        child.expect("-u bob")
        child.sendline("")
        child.expect("Rows")
    finally:
        child.close(force=True)
    assert not (junkie.cwd / "owned").exists()
