"""Chooses pg_dump, pg_restore and psql: preferably the major version of the server, never an older one.

An older pg_dump refuses a newer server; a newer one dumps an older server, but its pg_restore writes statements that
the older server does not understand (`script` removes them). The order is: the same major version, else the next newer
one with a warning; of those the newest minor version; of those the one that supports TLS as the URL requires and the
compression.

Tools without `\\restrict` are not used: with them, a dump can contain lines that psql executes as meta-commands, among
them `\\!` (CVE-2025-8714, CVE-2025-8715).
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from junkie_cli.core.backup import process
from junkie_cli.core.embedded.account import PROGRAMS
from junkie_cli.core.embedded.installations import candidates
from junkie_cli.core.errors import BackupError, UsageError
from junkie_cli.core.postgres.releases import faults_of
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    from junkie_cli.core.database_url import DatabaseUrl

_NAMES = ("pg_dump", "pg_restore", "psql")
RESTRICTED_SINCE = "18.0, 17.6, 16.10, 15.14, 14.19 or 13.22"
"""The first minor versions whose tools support `\\restrict`."""
_METHODS = ("none", "gzip", "lz4", "zstd")


@frozen
class Tools:
    """A folder with pg_dump, pg_restore and psql of one version; `source` describes where it was found."""

    folder: Path
    version: str
    source: str

    @property
    def major(self) -> int:
        """Return the major version, for example 17."""
        return major_of(self.version)

    @property
    def minor(self) -> int:
        """The minor version, for example 10; -1 of a test version."""
        found = re.match(r"\d+\.(\d+)", self.version)
        return int(found[1]) if found else -1

    @property
    def has_server(self) -> bool:
        """Whether a server of the same version lies beside them."""
        return all(os.access(self.folder / name, os.X_OK) for name in PROGRAMS)

    @property
    def pg_dump(self) -> Path:
        """Return the path of pg_dump."""
        return self.folder / "pg_dump"

    @property
    def pg_restore(self) -> Path:
        """Return the path of pg_restore."""
        return self.folder / "pg_restore"

    @property
    def psql(self) -> Path:
        """Return the path of psql."""
        return self.folder / "psql"

    def __str__(self) -> str:
        return f"PostgreSQL {self.version} ({self.source})"


@frozen
class Compression:
    """A compression: `argument` for -Z of this pg_dump; `label` for people (`zstd:3`)."""

    argument: str
    label: str


def major_of(version: str) -> int:
    """Return the major version in a text such as `17.10`, `15.18 (Debian ...)` or `18beta1`; 0 if there is none."""
    found = re.match(r"\d+", version)
    return int(found[0]) if found else 0


async def discover(pg_bin: Path | None, preferred: Path | None = None) -> list[Tools]:
    """The tools of this machine, in the order of embedded/installations.py; or those of `pg_bin` alone.

    `preferred` (JUNKIE_PG_BIN) is a folder that comes first. Raises BackupError if `pg_bin` does not contain them.
    """
    if pg_bin is not None:
        found = await _look(pg_bin, "--pg-bin")
        if found and await _restricts(found):
            return [found]
        if found:
            raise BackupError(
                f"the pg_restore and psql of {found} in {pg_bin} execute commands that are hidden in a dump",
                hint=f"update them to at least PostgreSQL {RESTRICTED_SINCE}, which support \\restrict",
                code="backup_tools",
            )
        raise BackupError(
            f"{pg_bin} does not contain a working pg_dump, pg_restore and psql",
            hint="use the folder that contains them, for example /usr/lib/postgresql/17/bin",
            code="backup_tools",
        )
    looked = [await _look(folder.path, folder.source) for folder in candidates(preferred)]
    return [tools for tools in looked if tools and await _restricts(tools)]


async def _restricts(tools: Tools) -> bool:
    """Return whether the tools support `\\restrict`, from their help, because old versions get patched."""
    written = await process.run([tools.pg_restore, "--help"], env=process.environment(), capture=True)
    obeyed = await process.run([tools.psql, "--help=commands"], env=process.environment(), capture=True)
    return b"--restrict-key" in written.stdout and b"\\restrict" in obeyed.stdout


def for_scratch(available: Sequence[Tools], dumped_with: int) -> Tools | None:
    """Those of `available` whose server tries a dump of major version `dumped_with`; None when none can.

    What is restored there may be hostile: so first those without a fault that it can reach; then the nearest version.
    """
    able = [tools for tools in available if tools.major >= dumped_with and tools.has_server]
    return min(able, key=lambda tools: (bool(faults_of(tools.version)), tools.major, -tools.minor), default=None)


async def _look(folder: Path, source: str) -> Tools | None:
    paths = [folder / name for name in _NAMES]
    # Debian's /usr/bin/pg_dump is a wrapper that chooses a version itself; the real tools are found in other folders.
    if not all(os.access(path, os.X_OK) for path in paths) or paths[0].resolve().name == "pg_wrapper":
        return None
    try:
        said = await process.run([paths[0], "--version"], env=process.environment(), capture=True)
    except BackupError:
        return None
    found = re.search(r"\) (\S+)", said.stdout.decode("utf-8", "replace"))
    return Tools(folder, found[1], source) if found else None


async def choose(available: Sequence[Tools], server_version: str, url: "DatabaseUrl") -> Tools:
    """Choose the tools for a server. Raises BackupError (exit 5), with what to install, if none fits."""
    major = major_of(server_version)
    usable = [tools for tools in available if tools.major >= major and await _has_tls_for(tools, url)]
    if not usable:
        raise _none_fits(available, major)
    nearest = min(tools.major for tools in usable)
    newest = max(tools.minor for tools in usable if tools.major == nearest)
    equals = [tools for tools in usable if tools.major == nearest and tools.minor == newest]
    for tools in equals:
        if await _can_compress(tools, "zstd:3"):
            return tools
    return equals[0]


def _none_fits(available: Sequence[Tools], major: int) -> BackupError:
    enough = [tools for tools in available if tools.major >= major]
    if enough:
        problem = f"{enough[0]} is built without the TLS support that this URL requires"
    elif available:
        newest = max(available, key=lambda tools: tools.major)
        problem = f"the newest pg_dump here is {newest}, and an older one cannot dump a newer server"
    else:
        problem = f"no pg_dump here is recent enough (at least {RESTRICTED_SINCE})"
    return BackupError(
        f"the server is PostgreSQL {major}: {problem}",
        hint=f"install its client (Debian, Ubuntu: postgresql-client-{major}; Fedora, RHEL: postgresql{major};"
        f" Alpine: postgresql{major}-client; macOS: brew install postgresql@{major}), or add its folder to PATH"
        " (junkie backup and restore also accept --pg-bin)",
        code="backup_tools",
    )


def mismatch(tools: Tools, server_version: str) -> str:
    """Return a warning if the tools are newer than the server; empty if they match."""
    major = major_of(server_version)
    if tools.major == major:
        return ""
    return (
        f"the server is PostgreSQL {major}, dumped with {tools} because its own pg_dump is missing:"
        f" pg_restore {tools.major} cannot restore this into PostgreSQL {major}, but junkie restore can; with"
        f" postgresql-client-{major}"
        " both work"
    )


async def _has_tls_for(tools: Tools, url: "DatabaseUrl") -> bool:
    """Return whether this build supports the URL's TLS settings, by trying a host that does not exist."""
    wanted = {name: value for name, value in url.libpq_environment().items() if name.startswith(("PGSSL", "PGCHANNEL"))}
    if not wanted:
        return True
    said = await _probe(tools, ["-Fc"], wanted)
    return not ("not compiled in" in said or "invalid" in said)


async def _can_compress(tools: Tools, argument: str) -> bool:
    said = await _probe(tools, ["-Fc", "-Z", argument], {})
    return "compress" not in said


async def _probe(tools: Tools, arguments: Sequence[str], variables: dict[str, str]) -> str:
    """Return pg_dump's messages for `arguments` before it fails to connect: option errors come first (measured)."""
    nowhere = {"PGHOST": "/nonexistent", "PGUSER": "nobody", "PGDATABASE": "nobody"}
    ended = await process.run(
        [tools.pg_dump, *arguments, "-w", "-f", os.devnull], env=process.environment() | variables | nowhere
    )
    return ended.stderr


async def compression(tools: Tools, wanted: str | None) -> Compression:
    """Choose the compression: `wanted` (METHOD or METHOD:DETAIL), zstd level 3, or gzip level 1.

    Raises UsageError for an unknown method, BackupError for one that these tools do not support.
    """
    if wanted is None:
        return Compression("zstd:3", "zstd:3") if await _can_compress(tools, "zstd:3") else _spelled(tools, "gzip:1")
    if wanted.partition(":")[0] not in _METHODS:
        raise UsageError(
            f"--compress {wanted}: unknown method", hint=f"use one of {', '.join(_METHODS)}; for example zstd:3"
        )
    spelled = _spelled(tools, wanted)
    if not await _can_compress(tools, spelled.argument):
        raise BackupError(
            f"pg_dump of {tools} cannot compress with {wanted}",
            hint="use --compress gzip:1, or another pg_dump: --pg-bin",
            code="backup_compression",
        )
    return spelled


def _spelled(tools: Tools, label: str) -> Compression:
    method, _, detail = label.partition(":")
    if tools.major >= 16 or method not in {"none", "gzip"}:
        return Compression(label, label)
    return Compression("0" if method == "none" else detail or "6", label)  # before 16, -Z accepts only gzip's level


async def choose_for_restore(
    available: Sequence[Tools], dumped_with: int, server_version: str, url: "DatabaseUrl | None"
) -> Tools:
    """Choose the tools for a restore: not older than the pg_dump that wrote the file, close to the server's version.

    Without `url` they connect by socket.
    Raises BackupError (exit 5), with what to install, if none can read the file.
    """
    major = major_of(server_version)
    readers = [tools for tools in available if tools.major >= dumped_with]
    readers = [tools for tools in readers if url is None or await _has_tls_for(tools, url)]
    if not readers:
        raise _none_fits(available, dumped_with)
    newer = [tools for tools in readers if tools.major >= major]
    return min(newer, key=lambda tools: tools.major) if newer else max(readers, key=lambda tools: tools.major)
