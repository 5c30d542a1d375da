"""The program as a process: streams, signals, terminals, completion, wherever and however it is started."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from junkie_cli import __version__
from tests.support import extra_commands
from tests.support.junkie import SCRIPT, Junkie
from tests.support.pipes import wait_until_full
from tests.support.schemas import validate

# --- starting ---------------------------------------------------------------------------------------------------------


def test_version_and_help(junkie: Junkie) -> None:
    for arguments in (["--version"], ["-q", "--version"]):
        assert junkie.run(*arguments).ok().stdout == f"junkie {__version__}\n"
    for option in ("-h", "--help"):
        helped = junkie.run("config", "show", option).ok()
        assert helped.stdout.startswith("Usage: junkie config show")
        assert helped.stderr == ""


def test_it_runs_as_a_module(junkie: Junkie) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "junkie_cli", "config", "path", "--json"],
        env=junkie.environment(), cwd=junkie.cwd, capture_output=True, text=True, check=True,
    )  # fmt: skip
    validate(json.loads(done.stdout), "config.path")


def test_it_runs_in_an_empty_environment(junkie: Junkie) -> None:
    done = subprocess.run([SCRIPT, "config", "show"], env={}, cwd="/", capture_output=True, check=True)
    assert b"GROQ_BASE_URL\thttps://api.groq.com/openai/v1\tdefault\n" in done.stdout


@pytest.mark.parametrize("locale", ["C", "POSIX", "en_US.ISO-8859-1", "C.UTF-8", "no_SUCH"])
def test_pipes_are_utf8_in_every_locale(junkie: Junkie, locale: str) -> None:
    shown = junkie.run("config", "show", "--json", env={"LANG": locale, "LC_ALL": locale, "JUNKIE_USER": "Zoë 漢"}).ok()
    user = next(entry for entry in shown.json()["settings"] if entry["name"] == "JUNKIE_USER")
    assert user["value"] == "Zoë 漢"
    assert "Zoë 漢" in junkie.run("config", "show", env={"PYTHONIOENCODING": "ascii", "JUNKIE_USER": "Zoë 漢"}).stdout


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("arguments", ["--version", "config show"])
def test_closed_streams_do_no_harm_and_an_answer_needs_stdout(junkie: Junkie, arguments: str, closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"$0" {arguments} {closed}', SCRIPT], env=junkie.environment(), cwd=junkie.cwd,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    error = "error: the answer could not be written: stdout is closed\n  write to another file or free some space\n"
    assert done.returncode == (1 if closed in (">&-", "<&- >&- 2>&-") else 0)
    assert done.stderr == ("" if "2>&-" in closed or done.returncode == 0 else error)


def test_a_folder_that_is_gone_does_no_harm(junkie: Junkie) -> None:
    gone = junkie.home / "gone"
    gone.mkdir()
    script = 'rmdir "$1" && exec "$0" config path --json'
    done = subprocess.run(
        ["sh", "-c", script, SCRIPT, gone], env=junkie.environment(), cwd=gone, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


# --- pipes ------------------------------------------------------------------------------------------------------------


def test_a_reader_that_leaves_ends_it_quietly(junkie: Junkie) -> None:
    command = extra_commands.arguments(junkie.root, "boom", "rows", "200000")
    script = '"$0" "$@" | head -1; echo ${PIPESTATUS[0]}'
    done = subprocess.run(
        ["bash", "-c", script, *command], env=junkie.environment(), cwd=junkie.cwd, capture_output=True, text=True
    )
    assert done.stdout == f"0\t{'x' * 50}\n141\n"
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", ["--version", "--help", "config show"])
def test_an_answer_that_finds_no_room_is_a_failure(junkie: Junkie, arguments: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [SCRIPT, *arguments.split()], env=junkie.environment(), cwd=junkie.cwd, stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: the answer could not be written: No space left on device\n")
    assert b"Traceback" not in done.stderr


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"), (signal.SIGHUP, 129, "terminated")],
)
def test_a_signal_rolls_back_and_has_its_code(junkie: Junkie, number: signal.Signals, code: int, word: str) -> None:
    running = extra_commands.start(junkie, "boom", "wait")
    running.wait_for("waiting", stream="stderr")
    running.send(number)
    done = running.wait()
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr == f"waiting\nrolling back\nrolled back\n{word}\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_wait(junkie: Junkie, number: signal.Signals) -> None:
    running = extra_commands.start(junkie, "boom", "wait", "--stubborn")
    running.wait_for("waiting", stream="stderr")
    running.send(number)
    running.wait_for("rolling back", stream="stderr")
    running.send(number)
    assert running.wait(20).exit_code in (130, -number)


# A signal that comes just before a system call begins to wait does not end that wait. Here it is another thread that
# gets the signal: to the main thread the two are the same, and this one can be had at will.
MISSED = """
import asyncio, signal, sys, threading
from junkie_cli.core.files import CompleteWriter
from junkie_cli.terminal.invocation import end_by_signals, invocation

threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
end_by_signals()

async def wait():
    if sys.argv[1] == "write":
        CompleteWriter(1, lambda error: error, closefd=False).write(b"x" * 1_000_000)
    print("waiting", file=sys.stderr, flush=True)
    await asyncio.Event().wait()

try:
    invocation().run(wait())
except BaseException as error:
    print(type(error).__name__, file=sys.stderr, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("what", ["loop", "write"])
def test_a_signal_that_comes_just_before_a_wait(number: signal.Signals, what: str) -> None:
    readable, writable = os.pipe()
    try:
        process = subprocess.Popen([sys.executable, "-c", MISSED, what], stdout=writable, stderr=subprocess.PIPE)
        assert process.stderr is not None
        if what == "loop":
            assert process.stderr.readline() == b"waiting\n"
        else:
            wait_until_full(writable)
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
        assert told == {signal.SIGINT: b"KeyboardInterrupt\n", signal.SIGTERM: b"Terminated\n"}[number]
    finally:
        process.kill()
        os.close(readable)
        os.close(writable)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_terminal_is_left_as_it_was(junkie: Junkie, number: signal.Signals, code: int) -> None:
    child = junkie.terminal("config", "init")
    child.expect_exact("Model provider")
    child.sendline("")
    child.expect_exact("API key")
    child.waitnoecho()
    child.kill(number)
    child.expect_exact("terminated")
    assert child.getecho()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == code


def test_with_json_the_end_is_a_document_too(junkie: Junkie) -> None:
    running = extra_commands.start(junkie, "boom", "wait", "--json")
    running.wait_for("waiting", stream="stderr")
    running.send(signal.SIGTERM)
    done = running.wait()
    assert done.exit_code == 143
    validate(done.json(), "error")


def test_nohup_is_heeded(junkie: Junkie) -> None:
    command = extra_commands.arguments(junkie.root, "boom", "wait")
    process = subprocess.Popen(
        ["sh", "-c", 'trap "" HUP; exec "$0" "$@"', *command],
        env=junkie.environment(), cwd=junkie.cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline() == "waiting\n"
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (143, "rolling back\nrolled back\nterminated\n")


# --- terminals --------------------------------------------------------------------------------------------------------


def screen(child: "pexpect.spawn[str]") -> str:
    child.expect(pexpect.EOF)
    child.close()
    return str(child.before).replace("\r\n", "\n")


def test_a_terminal_gets_a_table_in_colour(junkie: Junkie) -> None:
    text = screen(junkie.terminal("config", "show", columns=100))
    assert text.startswith("\x1b[1mSettings\x1b[0m\n\n\x1b[1mVARIABLE ")
    assert "\x1b[36mMODEL_TEMPERATURE      \x1b[0m  0.3" in text
    assert "no .env file here or in a parent folder; to create one: junkie config init" in text


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_it_is_not_wanted(junkie: Junkie, env: dict[str, str]) -> None:
    text = screen(junkie.terminal("config", "show", env=env))
    assert "\x1b[36m" not in text
    assert ("\x1b" in text) == ("NO_COLOR" in env)  # bold is no colour, but nothing at all for a dumb terminal
    assert "\x1b[36m" not in screen(junkie.terminal("--help", env=env))


def test_columns_are_respected(junkie: Junkie) -> None:
    text = screen(junkie.terminal("config", "show", env={"COLUMNS": "60", "NO_COLOR": "1"}, columns=200))
    assert max(map(len, text.splitlines())) < 70


def test_a_long_table_goes_through_the_pager_that_was_named(junkie: Junkie) -> None:
    text = screen(junkie.terminal("config", "show", env={"PAGER": "sed s/^/PAGED:/"}, lines=10))
    assert text.count("PAGED:") > 15
    assert "PAGED:" not in screen(junkie.terminal("config", "show", env={"PAGER": "sed s/^/PAGED:/"}, lines=60))
    assert "Settings" in screen(junkie.terminal("config", "show", env={"PAGER": "no-such-pager"}, lines=10))
    assert "PAGED:" not in junkie.run("config", "show", env={"PAGER": "sed s/^/PAGED:/"}).stdout


def test_ctrl_c_in_a_terminal(junkie: Junkie) -> None:
    command = extra_commands.arguments(junkie.root, "boom", "wait")
    child = pexpect.spawn(command[0], command[1:], env=junkie.environment(), encoding="utf-8", timeout=60)
    child.expect("waiting")
    child.sendintr()
    child.expect("interrupted")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130


# --- completion -------------------------------------------------------------------------------------------------------


def complete(junkie: Junkie, line: str) -> list[str]:
    env = {"_JUNKIE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    return junkie.run(env=env).ok().stdout.split()


def test_completion_in_bash(junkie: Junkie) -> None:
    assert complete(junkie, "junkie conf") == ["config"]
    assert {"show", "path", "init"} <= set(complete(junkie, "junkie config "))
    assert "--json" in complete(junkie, "junkie config show --")
    assert complete(junkie, "junkie zzz") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_shown(junkie: Junkie, shell: str) -> None:
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # else it is looked for among the parents of make
    assert "_JUNKIE_COMPLETE" in junkie.run("--show-completion", shell, env=named).ok().stdout


# --- as an ordinary user ----------------------------------------------------------------------------------------------


def test_root_and_people_have_their_own_folders(junkie: Junkie) -> None:
    env = {"JUNKIE_DATA_DIR": None, "JUNKIE_BACKUP_DIR": None}
    shown = {entry["name"]: entry for entry in junkie.run("config", "show", "--json", env=env).json()["settings"]}
    root = os.geteuid() == 0
    assert shown["JUNKIE_DATA_DIR"]["value"] == ("/var/lib/junkie" if root else f"{junkie.home}/data/junkie")
    assert shown["JUNKIE_BACKUP_DIR"]["value"] == (
        "/var/backups/junkie" if root else f"{junkie.home}/data/junkie-backups"
    )


@pytest.mark.parametrize(("options", "shown"), [([], False), (["-W", "always"], True)])
def test_warnings_of_libraries_stay_off_stderr(junkie: Junkie, options: list[str], shown: bool) -> None:
    program = """
import warnings
from junkie_cli.cli import main as app
def run(*_, **__):
    warnings.warn("Expected `str` but got `int` - input_value='the safe opens with 4711'")
    return 0
app.run_command_line = run
app.main()
"""
    done = subprocess.run(
        [sys.executable, *options, "-c", program, "config", "path"],
        env=junkie.environment(), cwd=junkie.cwd, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ("4711" in done.stderr) is shown
    assert shown or done.stderr == ""
