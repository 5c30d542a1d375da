"""Checks whether this checkout can be released as it is: `make release-check [TAG=vX.Y.Z]`.

The version and the changelog agree (with the tag, where one is named), the archives are built twice and are the same,
the long description is rendered, and the wheel runs in an empty environment.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from junkie_cli import __version__

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"


class Unfit(Exception):
    """What is in the way of a release."""


def check_changelog(text: str, version: str, tag: str) -> None:
    """Raise Unfit unless the newest section is that of `version`, with a day, and the tag, if any, names it."""
    newest = re.search(r"^## (\S+) - (.*)$", text, re.MULTILINE)
    if newest is None or newest[1] != version:
        raise Unfit(f"the newest section of CHANGELOG.md is {newest and newest[1]}, and the version is {version}")
    if tag and tag != f"v{version}":
        raise Unfit(f"the tag is {tag}, and the version is {version}")
    if tag and not re.fullmatch(r"\d{4}-\d\d-\d\d", newest[2]):
        raise Unfit(f"the section {version} of CHANGELOG.md has no day, but {newest[2]!r}")


def _run(*words: str | Path, **options: object) -> str:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode != 0:
        raise Unfit(f"{' '.join(map(str, words))} failed:\n{done.stdout}{done.stderr}")
    return str(done.stdout)


def build() -> Path:
    """Build both archives twice into dist/ and compare; the wheel."""
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory() as other:
        for folder in (DIST, Path(other)):
            _run(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
        for path in DIST.iterdir():
            if path.read_bytes() != (Path(other) / path.name).read_bytes():
                raise Unfit(f"{path.name} is another one when it is built again")
    (wheel,) = DIST.glob("*.whl")
    return wheel


def check_wheel(wheel: Path) -> None:
    """Install the wheel and the locked packages into an empty environment and start it there."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "bin/python"
        _run("uv", "venv", "--quiet", "--python", sys.executable, folder)
        install = ["uv", "pip", "install", "--quiet", "--python", python]
        _run(*install, "--require-hashes", "-r", ROOT / "requirements/run.txt")
        _run(*install, "--no-deps", wheel)
        environment = {"HOME": folder, "PATH": os.defpath, "PYTHONUNBUFFERED": "1"}
        junkie = Path(folder) / "bin/junkie"
        for words, wanted in ((["--version"], __version__), (["--help"], "Usage"), (["demo", "--help"], "Usage")):
            if wanted not in _run(junkie, *words, cwd="/", env=environment):
                raise Unfit(f"junkie {' '.join(words)} of the wheel does not print {wanted}")
        said = _run(junkie, "chat", "--offline", "I live in Lisbon.", cwd="/", env=environment)
        if not said.strip():
            raise Unfit("junkie chat --offline of the wheel answers nothing")
        if not (Path(folder) / "share/man/man1/junkie.1").is_file():
            raise Unfit("the wheel does not install the manual page")


def check_description() -> None:
    """Have the long description rendered as PyPI does."""
    _run("uv", "tool", "run", "--quiet", "twine", "check", "--strict", *sorted(DIST.iterdir()))


def main() -> int:
    """Run all checks; 1 at the first that fails."""
    tag = os.environ.get("TAG", "")
    try:
        check_changelog((ROOT / "CHANGELOG.md").read_text(), __version__, tag)
        wheel = build()
        check_description()
        check_wheel(wheel)
        if tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"] not in wheel.name.replace("_", "-"):
            raise Unfit(f"{wheel.name} has another name than the project")
    except Unfit as error:
        sys.stderr.write(f"not fit for a release: {error}\n")
        return 1
    sys.stdout.write(f"fit for a release: {', '.join(sorted(path.name for path in DIST.iterdir()))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
