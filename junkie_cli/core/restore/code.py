"""Lists the code in a backup, before it is restored.

A dump contains functions, triggers and rules of the owner of the schema. In a scratch server they run without
privileges; restored into a real database they run with the privileges of everyone who restores, reads or writes there.
So they are listed first, from the text of the archive. A file that a stranger altered can run any SQL during a restore,
whatever is listed: check untrusted files with `backup verify`, not with `restore`.
"""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from junkie_cli.core.backup import process, script
from junkie_cli.core.backup.script import Contents
from junkie_cli.core.backup.tools import Tools
from junkie_cli.core.errors import BackupError
from junkie_cli.core.value_class import frozen

_KINDS = ("FUNCTION", "PROCEDURE", "AGGREGATE", "TRIGGER", "EVENT TRIGGER", "RULE", "PROCEDURAL LANGUAGE")
# The comment of pg_restore before each entry; line breaks in names are spaces there.
_HEADER = re.compile(r"^-- Name: (.*); Type: ([A-Z ]+); Schema: (.*); Owner: -$", re.MULTILINE)
_SECONDS = 60.0


@frozen
class Code:
    """A piece of code: its kind (`function`, `trigger`, ...), its schema (can be empty), its name with arguments or
    table, and whether it runs with the privileges of its owner (SECURITY DEFINER).
    """

    kind: str
    schema: str
    name: str
    security_definer: bool

    def __str__(self) -> str:
        where = f"{self.schema}." if self.schema else ""
        return f"{self.kind} {where}{self.name}" + (" (SECURITY DEFINER)" if self.security_definer else "")


async def read(
    archive: Path, contents: Contents, tools: Tools, *, encoding: str, only_schema: str | None
) -> tuple[Code, ...]:
    """Return the code among the entries to restore. Raises BackupError if pg_restore cannot read the file."""
    wanted = contents.without(lambda entry: not entry.startswith(tuple(f"{kind} " for kind in _KINDS)))
    if not wanted.lines:
        return ()
    with tempfile.TemporaryFile() as listing:
        listing.write("".join(f"{line}\n" for line in wanted.lines).encode())
        listing.seek(0)
        words: list[str | Path] = [
            tools.pg_restore,
            "--no-owner",
            "--no-privileges",
            "-L",
            f"/dev/fd/{listing.fileno()}",
        ]
        words += [] if only_schema is None else ["-n", only_schema]
        written = await process.run(
            [*words, "-f", "-", archive],
            env=process.environment(),
            lock=listing.fileno(),
            capture=True,
            watch=process.Watch(_SECONDS),
        )
    if written.exit_code != 0:
        raise BackupError(
            f"{archive} cannot be read by pg_restore of {tools}: {written.words}",
            hint="use another backup, or newer tools: --pg-bin",
            code="backup_unreadable",
        )
    return tuple(_parts(written.stdout.decode(script.codec(encoding), "replace")))


def _parts(text: str) -> Iterator[Code]:
    """Parse the text; a fake header inside a function's body can add an entry, but hide none."""
    headers = [found for found in _HEADER.finditer(text) if found[2] in _KINDS]
    ends = [*(found.start() for found in headers), len(text)][1:]
    for header, end in zip(headers, ends, strict=True):
        schema = "" if header[3] == "-" else header[3]
        yield Code(header[2].lower(), schema, header[1], "SECURITY DEFINER" in text[header.end() : end])
