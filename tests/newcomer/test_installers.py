"""The README's ways to install the program, each into an empty environment, and what then runs without the sources."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from junkie_cli import __version__
from junkie_cli.core.database_url import DatabaseUrl
from tests.support.embedded import end, folder_of, identity, ordinary_user, public_python
from tests.support.junkie import Junkie
from tests.support.needs import need, need_root
from tests.support.shelf import SOURCES, build

PROGRAMS = Path(sys.executable).parent
README = (SOURCES / "README.md").read_text()


def _environment(home: Path, shelf: Path, python: str) -> dict[str, str]:
    """What an installer gets: where its home is, and where packages come from."""
    return {
        "HOME": str(home),
        "PATH": f"{PROGRAMS}:/usr/bin:/bin",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": str(shelf),
        "PIP_NO_INDEX": "1",
        "PIP_NO_COMPILE": "1",
        "PIPX_DEFAULT_BACKEND": "pip",
        "PIPX_DEFAULT_PYTHON": python,
        "PIPX_DISABLE_SHARED_LIBS_AUTO_UPGRADE": "1",
        "UV_FIND_LINKS": str(shelf),
        "UV_NO_CONFIG": "1",
        "UV_NO_INDEX": "1",
        "UV_OFFLINE": "1",
        "UV_PYTHON": python,
    }


def _done(command: list[str], cwd: Path, env: Mapping[str, str], **more: object) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, **more)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


@pytest.mark.parametrize("command", ["pipx install .", "uv tool install ."])
def test_an_installer_of_the_readme(command: str, junkie: Junkie, shelf: Path, database: DatabaseUrl) -> None:
    words = command.split()
    need(shutil.which(words[0], path=str(PROGRAMS)), f"{words[0]}: make check installs it")
    assert f"\n{command}\n" in README
    _done(words, SOURCES, _environment(junkie.home, shelf, sys.executable))
    program = junkie.home / ".local/bin/junkie"
    assert _done([str(program), "--version"], Path("/"), {}) == f"junkie {__version__}\n"
    where = "import junkie_cli, sys; print(junkie_cli.__file__, *sys.path)"
    found = _done([str(program.resolve().parent / "python"), "-c", where], Path("/"), {})
    assert found.startswith(str(junkie.home))
    assert str(SOURCES) not in found
    env = {"POSTGRES_URL": database.libpq(), "JUNKIE_USER": "ada"}
    assert "tea" in _done([str(program), "chat", "--offline", "I prefer tea."], Path("/"), env)
    assert "tea" in _done([str(program), "memories", "list"], Path("/"), env)


def test_an_ordinary_user_installs_the_source_archive_and_talks(sdist: Path, shelf: Path, junkie: Junkie) -> None:
    """As in a container: no HOME, no locale, no name for the user in the environment, and nothing of root's."""
    need_root()
    need((PROGRAMS / "uv").exists(), "uv: make check installs it")
    user, python = ordinary_user(), public_python()
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    there = _done([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], Path("/"), {}).strip()
    need(here == there, f"a Python {here} that another user can run")
    place = junkie.root / "place"
    place.mkdir()
    for path in (sdist, PROGRAMS / "uv"):
        shutil.copy(path, place)
    shutil.copytree(shelf, place / "shelf")
    subprocess.run(["chmod", "-R", "a+rX", place], check=True)
    with folder_of(user) as home:
        env = _environment(home, place / "shelf", python)
        _done([str(place / "uv"), "tool", "install", str(place / sdist.name)], home, env, **identity(user))
        program, poor = str(home / ".local/bin/junkie"), {"JUNKIE_DATA_DIR": str(home / "d")}
        try:
            assert "figs" in _done([program, "chat", "--offline", "I like figs."], Path("/"), poor, **identity(user))
            listed = _done([program, "memories", "list"], Path("/"), poor, **identity(user))
        finally:
            end(home / "d")
    assert listed.split("\t")[1:3] == [user, "User likes figs"]


def test_the_source_archive_makes_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (sources,) = tmp_path.iterdir()
    brought = {path.name for path in sources.iterdir()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "Makefile", "tests", "docs"} <= brought
    build(sources, "wheel", tmp_path / "built")
    with zipfile.ZipFile(wheel) as ours, zipfile.ZipFile(tmp_path / "built" / wheel.name) as theirs:
        assert {entry.filename: entry.CRC for entry in ours.infolist()} == {
            entry.filename: entry.CRC for entry in theirs.infolist()
        }
