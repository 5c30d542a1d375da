"""The documents: links and anchors exist, tables list what the program has, generated pages are up to date."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from docs import troubleshooting
from junkie_cli.core.doctor.checks import CHECKS
from junkie_cli.core.errors import ExitCode
from junkie_cli.core.rehearsal.demo import STEPS
from junkie_cli.core.settings import VARIABLES
from tests.support import documents
from tests.support.documents import GENERATED, README, ROOT

PACKAGE = ROOT / "junkie_cli"
DECISIONS = ROOT / "docs/decisions"


@pytest.mark.parametrize("path", documents.documents(), ids=documents.name)
def test_links_and_anchors_exist(path: Path) -> None:
    broken = []
    for target in documents.links(path):
        file, _, anchor = target.partition("#")
        other = (path.parent / file).resolve() if file else path
        there = other.exists() and other.is_relative_to(ROOT)
        if not there or (anchor and (other.suffix != ".md" or anchor not in documents.anchors(other))):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("path", documents.documents(), ids=documents.name)
def test_files_of_tests_and_docs_that_are_named_exist(path: Path) -> None:
    named = set(re.findall(r"`((?:tests|docs|requirements)/[\w./-]*\.\w+)`", path.read_text()))
    assert [each for each in sorted(named) if not (ROOT / each).exists()] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, open_ = {README}, [README]
    while open_:
        page = open_.pop()
        for target in documents.links(page):
            other = (page.parent / target.partition("#")[0]).resolve()
            if other.suffix == ".md" and other.exists() and other not in reached:
                reached.add(other)
                open_.append(other)
    pages = [path for path in documents.documents() if not path.is_relative_to(ROOT / "tests")]
    assert [documents.name(path) for path in pages if path not in reached] == []


def test_the_readme_is_short_and_has_the_two_commands() -> None:
    assert len(README.read_text().splitlines()) <= 200
    assert {"make chat", "make test"} <= set(re.findall(r"^make \w+", README.read_text(), re.MULTILINE))


def test_the_functions_of_the_python_api_exist() -> None:
    rows = [line.split("|")[2:4] for line in (ROOT / "docs/python.md").read_text().splitlines() if "`core." in line]
    assert len(rows) > 12
    for modules, functions in rows:
        loaded = [import_module(f"junkie_cli.{name}") for name in re.findall(r"`([\w.]+)`", modules)]
        for name in re.findall(r"`(\w+)`", functions):
            assert any(name in vars(module) for module in loaded), name


def test_the_readme_counts_the_packages_that_are_needed() -> None:
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert f"depends directly on {len(needed)} packages" in README.read_text()


def test_the_readme_shows_steps_of_the_tour() -> None:
    (shown,) = (text for text in documents.blocks(README, "text") if "$ junkie" in text)
    commands = {step.says: f"$ junkie {shlex.join(step.arguments)}" for step in STEPS}
    lines = shown.splitlines()
    steps = [(line[2:], lines[number + 1]) for number, line in enumerate(lines) if line.startswith("# ")]
    assert len(steps) == 2
    for sentence, command in steps:
        assert shlex.split(command) == shlex.split(commands[sentence])


def _names_in_rows(text: str, pattern: str) -> Iterator[str]:
    for row in re.findall(pattern, text, re.MULTILINE):
        yield from re.findall(r"`(\w+)`", row)


def test_the_table_of_settings_has_every_variable() -> None:
    settings = (ROOT / "docs/settings.md").read_text()
    named = set(_names_in_rows(settings, r"^\| (`[A-Z][^|]*) \|"))
    assert named == {variable.name for variable in VARIABLES}


def test_the_table_of_settings_has_the_defaults() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| `([^`]+)` \|", (ROOT / "docs/settings.md").read_text(), re.MULTILINE)
    defaults = {variable.name: variable.default for variable in VARIABLES if variable.default}
    told = {name: value for name, value in rows if name in defaults}
    assert told == {name: defaults[name] for name in told}
    assert len(told) > 12


def test_the_table_of_exit_codes_is_complete() -> None:
    rows = re.findall(r"^\| ([0-9, ]+) \|", (ROOT / "docs/scripts.md").read_text(), re.MULTILINE)
    assert {int(code) for row in rows for code in row.split(",")} == {int(code) for code in ExitCode} | {143}


def test_every_check_of_doctor_says_what_ok_means_and_what_to_do() -> None:
    assert [check.id for check in CHECKS if not check.about or not check.advice] == []
    assert [check.id for check in CHECKS if "|" in check.about + check.advice] == []


def test_the_table_of_checks_is_up_to_date() -> None:
    assert troubleshooting.TARGET.read_text() == troubleshooting.page(), "run make docs"


def _code(path: Path) -> list[str]:
    """What a reader may type: code in sentences, and blocks of commands."""
    inline = re.findall(r"`([^`\n]+)`", documents.prose(path))
    return inline + [
        text for kind in ("sh", "sh embedded", "cron", "ini", "text") for text in documents.blocks(path, kind)
    ]


OTHER_PROGRAMS = re.compile(r"^(make|pg_dump|pg_restore|systemctl|createdb|pip|git)\b")
WRITTEN = [path for path in documents.documents() if documents.name(path) not in GENERATED]


@pytest.mark.parametrize("path", WRITTEN, ids=documents.name)
def test_options_checks_and_targets_that_are_named_exist(path: Path) -> None:
    options = set(re.findall(r"--[a-z][a-z-]*", (ROOT / "docs/reference.md").read_text()))
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    checks = {check.id for check in CHECKS}
    lines = [line for text in _code(path) for line in text.splitlines()]
    for line in lines:
        assert set(re.findall(r"^make ([a-z][a-z-]*)", line)) <= targets, line
        if not OTHER_PROGRAMS.match(line):
            assert {name.rstrip("-") for name in re.findall(r"(?<![\w-])--[a-z][a-z-]*", line)} <= options | {
                "--keep"
            }, line
            assert set(re.findall(r"doctor (?:--fix )?([a-z]+\.[a-z_]+)", line)) <= checks, line


def test_decisions_are_numbered_and_listed() -> None:
    files = sorted(path.name for path in DECISIONS.glob("[0-9]*.md"))
    assert [int(name[:4]) for name in files] == list(range(1, len(files) + 1))
    listed = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (DECISIONS / "README.md").read_text())
    assert sorted(listed) == files
    for name in files:
        text = (DECISIONS / name).read_text()
        assert text.startswith(f"# {int(name[:4])}. ")
        assert {"## Context", "## Decision", "## Consequences"} <= set(re.findall(r"^## \w+", text, re.MULTILINE))


def test_comments_point_to_nothing_outside_the_repository() -> None:
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "docs").rglob("*.py")]:
        text = path.read_text() if path != Path(__file__) else ""
        assert not re.search(r"\((?:the )?facts: |facts/\w|DESIGN\.md|CLI\.md|/shared/", text), path
        for decision in re.findall(r"docs/decisions/[\w-]+\.md", text):
            assert (ROOT / decision).exists(), f"{path}: {decision}"


def test_modules_that_the_architecture_names_exist() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    named = set(re.findall(r"`((?:cli|conversation|terminal|core|schemas)/[\w/]*(?:\.py|/)?)`", text))
    assert len(named) > 40
    assert [each for each in sorted(named) if not (PACKAGE / each).exists()] == []


AVOIDED = re.compile(
    r"\b(mend(?:s|ed|ing)?|unasked|goes on with|go on with|take back|takes back|struck off|such as the|is owed"
    r"|told|doubles|for your eyes only)\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("path", WRITTEN, ids=documents.name)
def test_documents_avoid_the_words_that_readers_stumbled_over(path: Path) -> None:
    if documents.name(path) == "docs/writing.md":
        return  # lists them
    assert AVOIDED.findall(documents.prose(path)) == []
