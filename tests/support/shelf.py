"""What installers are given in tests: the project's own archives, and a shelf of wheels in place of a package index.

The shelf holds what the running environment has installed, packed up again: installers resolve, unpack and build as
they do anywhere, and nothing is fetched. All of it is made once a test run, whichever worker comes first.
"""

import fcntl
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

SOURCES = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((SOURCES / "pyproject.toml").read_text())
_OF_ONE_INSTALLATION = {"INSTALLER", "RECORD", "REQUESTED", "direct_url.json"}


def once_a_run(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name` of this test run, filled by `make` when it is first asked for; other workers wait."""
    mine = factory.getbasetemp()
    folder = (mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine) / name
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            half = Path(f"{folder}.half")
            half.mkdir()
            make(half)
            half.rename(folder)
    return folder


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel."""
    return _built(tmp_path_factory, "wheel")


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's source archive."""
    return _built(tmp_path_factory, "sdist")


def _built(factory: pytest.TempPathFactory, kind: str) -> Path:
    (made,) = once_a_run(factory, kind, lambda folder: build(SOURCES, kind, folder)).iterdir()
    return made


def build(sources: Path, kind: str, folder: Path) -> None:
    """Build the `kind` of archive, `wheel` or `sdist`, of `sources` into `folder`."""
    words = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    subprocess.run(words, cwd=sources, check=True, capture_output=True)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wheels: all that the project needs to run and to be built."""
    needed = [*PYPROJECT["project"]["dependencies"], *PYPROJECT["build-system"]["requires"]]

    def fill(folder: Path) -> None:
        for distribution in _with_their_needs(needed):
            _pack(distribution, folder)

    return once_a_run(tmp_path_factory, "shelf", fill)


def _with_their_needs(requirements: Iterable[str]) -> list[metadata.Distribution]:
    """The installed distributions that these requirements name, and all that those need in turn."""
    found: dict[str, metadata.Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    to_do = [Requirement(line) for line in requirements]
    while to_do:
        wanted = to_do.pop()
        name = canonicalize_name(wanted.name)
        if (name, frozenset(wanted.extras)) in seen:
            continue
        seen.add((name, frozenset(wanted.extras)))
        found[name] = metadata.distribution(name)
        extras = ("", *wanted.extras)
        to_do += [need for need in map(Requirement, found[name].requires or ()) if _applies(need, extras)]
    return list(found.values())


def _applies(need: Requirement, extras: Iterable[str]) -> bool:
    return need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras)


def _pack(distribution: metadata.Distribution, folder: Path) -> None:
    """Make a wheel of an installed distribution. Its programs are made anew from its entry points."""
    told = distribution.read_text("WHEEL")
    assert told and distribution.files
    tags = [line.removeprefix("Tag: ").split("-") for line in told.splitlines() if line.startswith("Tag: ")]
    compressed = "-".join(".".join(dict.fromkeys(tag[part] for tag in tags)) for part in range(3))
    name = canonicalize_name(distribution.name).replace("-", "_")
    files = [
        path
        for path in distribution.files
        if path.parts[0] != ".." and path.suffix != ".pyc" and path.name not in _OF_ONE_INSTALLATION
    ]
    (record,) = (path for path in distribution.files if path.name == "RECORD")
    with zipfile.ZipFile(folder / f"{name}-{distribution.version}-{compressed}.whl", "w") as archive:
        for path in files:
            archive.write(str(path.locate()), str(path))
        archive.writestr(str(record), "".join(f"{path},,\n" for path in [*files, record]))
