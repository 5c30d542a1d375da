"""requirements/*.txt: exact versions with hashes that fit pyproject.toml, from no named registry."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.shelf import PYPROJECT, SOURCES

PROJECT = PYPROJECT["project"]
BUILD = [line for line in (SOURCES / "requirements/build.in").read_text().splitlines() if not line.startswith("#")]
WANTED = {
    "run": [*PROJECT["dependencies"], *BUILD],
    "dev": [*PROJECT["dependencies"], *BUILD, *PROJECT["optional-dependencies"]["dev"]],
}


def locked(path: Path) -> list[tuple[Requirement, int]]:
    """Each locked requirement, and how many hashes it has."""
    entries = re.findall(r"^([a-z0-9].*?)(?: \\)?\n((?:    --hash=sha256:[0-9a-f]{64}.*\n)*)", path.read_text(), re.M)
    return [(Requirement(line), hashes.count("--hash=")) for line, hashes in entries]


@pytest.mark.parametrize("name", WANTED)
def test_the_lock_fits_the_project(name: str) -> None:
    path = SOURCES / f"requirements/{name}.txt"
    entries = locked(path)
    assert all(hashes for _, hashes in entries)
    versions = {canonicalize_name(entry.name): str(entry.specifier).removeprefix("==") for entry, _ in entries}
    for text in WANTED[name]:
        wanted = Requirement(text)
        version = versions.get(canonicalize_name(wanted.name), "")
        assert wanted.specifier.contains(version), f"run `make lock`: {path.name} has {version!r} for {text}"


@pytest.mark.parametrize("name", WANTED)
def test_the_lock_names_no_registry_and_no_file(name: str) -> None:
    assert not re.search(r"://|--index|--find-links|^-|@ ", (SOURCES / f"requirements/{name}.txt").read_text(), re.M)
