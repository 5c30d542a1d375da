"""THE table: which error ends the process with which code, and what is said on each stream."""

import ast
import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from junkie_cli.cli import commands, main
from junkie_cli.core import errors
from junkie_cli.core.errors import ExitCode, JunkieError
from junkie_cli.terminal import invocation
from tests.support import extra_commands
from tests.support.schemas import validate

KINDS = {
    "JunkieError": (1, "failed"),
    "NotFoundError": (1, "not_found"),
    "DeclinedError": (1, "declined"),
    "UsageError": (2, "usage"),
    "SettingsError": (3, "settings"),
    "DatabaseError": (4, "database"),
    "DatabaseLockedError": (7, "database_locked"),
    "BackupError": (5, "backup"),
    "ProviderError": (6, "provider"),
    "LockedError": (7, "locked"),
}


@pytest.fixture(autouse=True)
def boom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(extra_commands.write(tmp_path))])
    monkeypatch.setattr(invocation, "_current", invocation.Invocation())
    monkeypatch.delenv("DEBUG_MODE", raising=False)


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    invocation.invocation().json = False
    code = main.run_command_line(list(arguments))
    told = capfd.readouterr()
    return code, told.out, told.err


def test_the_table_is_complete() -> None:
    kinds = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, JunkieError)}
    assert kinds == set(KINDS)
    assert {code.value for code in ExitCode} == {0, 1, 2, 3, 4, 5, 6, 7, 130, 143}


TRANSIENT = {"conflict", "connections", "dns", "locked", "lost", "refused", "starting", "timeout"}
LASTING = {
    *("constraint", "error", "full", "missing", "none", "password", "pooler", "readonly", "rights", "role"),
    *("table", "text", "tls", "trigger", "unfit"),
}


def test_every_code_of_the_database_is_transient_or_not() -> None:
    sources = "".join(path.read_text() for path in Path(errors.__file__).parent.rglob("*.py"))
    codes = set(re.findall(r'"database_([a-z]+)"', sources))
    assert codes == TRANSIENT | LASTING
    assert {code for code in codes if errors.DatabaseError("", code=f"database_{code}").transient} == TRANSIENT
    assert errors.DatabaseLockedError("").transient


def test_causes_are_named_once_whatever_the_circle() -> None:
    inner, outer = ValueError("inner"), ExceptionGroup("outer", [KeyError("member")])
    outer.__cause__, inner.__context__ = inner, outer
    assert sorted(type(error).__name__ for error in errors.causes(outer)) == [
        "ExceptionGroup",
        "KeyError",
        "ValueError",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_exit_code(capfd: pytest.CaptureFixture[str], kind: str) -> None:
    code, word = KINDS[kind]
    assert run(capfd, "boom", "error", kind) == (code, "", "error: it went \\x1b[2Jwrong\n  do this\n")
    ended, out, err = run(capfd, "boom", "error", kind, "--json")
    assert (ended, err) == (code, "error: it went \\x1b[2Jwrong\n  do this\n")
    assert json.loads(out) == {"error": {"code": word, "message": "it went \x1b[2Jwrong", "hint": "do this"}}
    validate(json.loads(out), "error")


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["bom"], "no such command 'bom'", "did you mean boom? see: junkie --help"),
        (["boom", "eror"], "no such command 'eror'", "did you mean error? see: junkie boom --help"),
        (["zzzzz"], "no such command 'zzzzz'", "see: junkie --help"),
        (
            ["boom", "rows", "many"],
            "invalid value for 'count': 'many' is not a valid int",
            "see: junkie boom rows -",
        ),
        (["boom", "rows"], "missing argument 'count'", "see: junkie boom rows --help"),
        (["boom", "rows", "1", "2"], "got unexpected extra argument(s) (2)", "see: junkie boom rows --help"),
        (["boom", "wait", "--stuborn"], "no such option: --stuborn", "did you mean --stubborn?"),
        (["boom", "bug", "-v"], "no such option: -v", "write it before the command: junkie -v boom ..."),
        (["boom", "bug", "--env-file", "x"], "no such option: --env-file", "junkie --env-file FILE boom ..."),
    ],
)
def test_wrong_usage(capfd: pytest.CaptureFixture[str], arguments: list[str], message: str, hint: str) -> None:
    code, out, err = run(capfd, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}\n")
    assert hint in err
    code, out, err = run(capfd, *arguments, "--json")
    assert code == 2
    document = json.loads(out)
    validate(document, "error")
    assert document["error"]["code"] == "usage"


def test_an_option_without_its_value(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(capfd, "--env-file") == (
        2,
        "",
        "error: option '--env-file' requires an argument\n  see: junkie --help\n",
    )


def test_a_group_alone_is_wrong_usage_and_shows_its_help(capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capfd, "boom")
    assert (code, out) == (2, "")
    assert err.startswith("Usage: junkie boom")
    assert "error: a command is missing\n" in err


def test_words_behind_two_dashes_are_no_options(capfd: pytest.CaptureFixture[str]) -> None:
    run(capfd, "boom", "error", "--", "--json")
    assert not invocation.invocation().json


def test_a_bug_is_one_sentence_without_its_words(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk_secret")
    code, out, err = run(capfd, "boom", "bug", "--json")
    assert code == 1
    assert json.loads(out)["error"]["code"] == "bug"
    assert "gsk_secret" not in out + err
    assert re.match(r"error: internal error in junkie: KeyError", err)
    assert len(err.splitlines()) == 2


@pytest.mark.parametrize("how", ["-v", "DEBUG_MODE"])
def test_a_bug_shows_its_place_when_asked_but_no_secret(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk_secret")
    if how == "DEBUG_MODE":
        monkeypatch.setenv("DEBUG_MODE", "true")
    _, _, err = run(capfd, *(["-v"] if how == "-v" else []), "boom", "bug")
    assert "Traceback" in err
    assert "boom.py" in err
    assert "KeyError: '********'" in err
    assert "gsk_secret" not in err
    assert err.count("local-secret") == err.count('password = "local-secret"')  # source lines, never values


def test_of_errors_together_the_expected_one_is_reported(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(capfd, "boom", "group") == (4, "", "error: gone\n")


def test_signals(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(capfd, "boom", "interrupt") == (130, "", "interrupted\n")
    assert run(capfd, "boom", "terminate", "15") == (143, "", "terminated\n")
    assert run(capfd, "boom", "terminate", "1") == (129, "", "terminated\n")
    code, out, _ = run(capfd, "boom", "terminate", "15", "--json")
    assert code == 143
    validate(json.loads(out), "error")


def test_a_no_to_typers_own_question(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/null").open(encoding="utf-8") as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        code, _, err = run(capfd, "boom", "asked")
    assert code == 1
    assert err.endswith("error: nothing was changed\n")


def test_a_command_may_choose_its_code(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(capfd, "boom", "leave", "1") == (1, "", "")


def test_another_pipe_that_breaks_is_a_bug(capfd: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capfd, "boom", "pipe")
    assert code == 1
    assert "BrokenPipeError" in err


# --- the next step ----------------------------------------------------------------------------------------------------

TOLD_BY_ANOTHER = {
    *(
        "learn.py:parse",
        "learn.py:_time_of",
        "learn.py:_refuse_erased",
        "main.py:_ended",
        "json_lines.py:object_of_line",
    ),
    *("recall_check.py:parse", "recall_check.py:_text", "recall_check.py:_texts"),
}
"""Whose sentence becomes part of another error, which has the hint; and a signal, after which nothing is to do."""


def kinds_without_a_hint_of_their_own(trees: Iterable[ast.Module]) -> set[str]:
    """The names of the error classes, but for those that say the hint themselves, and what a person declined."""
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    found = {"JunkieError"}
    while more := {each.name for each in classes if {ast.unparse(base) for base in each.bases} & found} - found:
        found |= more
    own = {each.name for each in classes if each.name != "JunkieError" and "super().__init__(" in ast.unparse(each)}
    return found - own - {"DeclinedError"}


def test_every_error_ends_with_the_next_step() -> None:
    trees = {path: ast.parse(path.read_text()) for path in Path(main.__file__).parents[1].rglob("*.py")}
    kinds = kinds_without_a_hint_of_their_own(trees.values())
    silent = {
        f"{path.name}:{function.name}"
        for path, tree in trees.items()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] in kinds
        if not {keyword.arg for keyword in call.keywords} & {"hint", None}
    }
    assert silent == TOLD_BY_ANOTHER
