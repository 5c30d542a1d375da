"""The command reference says what the program says."""

import os

import pytest

from docs.reference import TARGET, commands, reference
from tests.support.junkie import Junkie


def test_the_reference_is_what_help_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", os.environ.get("COLUMNS", ""))  # put back afterwards
    assert TARGET.read_text() == reference(), "docs/reference.md is old: make docs"


def test_it_is_the_help_that_people_get(junkie: Junkie, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", os.environ.get("COLUMNS", ""))
    told = dict(commands())
    assert {"junkie", "junkie chat", "junkie memories list", "junkie backup verify"} <= told.keys()
    for path in ("junkie", "junkie memories clear", "junkie doctor"):
        helped = junkie.run(*path.split()[1:], "--help", env={"COLUMNS": "80"}).ok().stdout
        assert helped == told[path]


def test_every_help_has_an_example() -> None:
    assert [path for path, text in commands() if "Example" not in text] == []
