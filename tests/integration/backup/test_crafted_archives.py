"""Archives that were altered so that psql would meet commands of its own in them: none is carried out.

The manifest beside them is made to match: whoever can alter the file can write that too. What such a file holds of SQL
is another matter: that runs as a role without rights (test_hostile_dumps.py).
"""

import hashlib
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from junkie_cli.core.backup import catalogue, manifest, tools
from junkie_cli.core.backup.verify import verify
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded import bin_dir
from junkie_cli.core.errors import BackupError
from junkie_cli.core.restore import whole
from tests.support.backups import back_up, database_of, settings_for, sql

_LENGTH = 400
COMMANDS = {
    "shell": r"\! touch {mark}",
    "output": r"\o |touch {mark}",
    "query": r"select 1 \g |touch {mark}",
    "write": r"\w {mark}",
    "copy": r"\copy (select 1) to program 'touch {mark}'",
    "copy file": r"\copy (select 1) to '{mark}'",
    "include": r"\i {script}",
    "relative": r"\ir {script}",
    "backquote": r"\set x `touch {mark}`",
    "connect": '\\connect -reuse-previous=on "host=/nonexistent"\n\\! touch {mark}',
    "environment": "\\setenv PAGER 'touch {mark}'\nselect 1;",
    "generated": r"select 'copy (select 1) to program ''touch {mark}''' \gexec",
    "unrestrict": "\\unrestrict x\n\\! touch {mark}",
    "end": "\\q",
}
# Where the filler stands, and what closes the place first. The rest of the line becomes a comment.
PLACES = {
    "rows": ("DATA", "x\n\\.\n"),
    "comment": ("TEXT", "x';\n"),
    "function": ("BODY", "x'$$;\n"),
}


@pytest.fixture
def marked(tmp_path: Path) -> Path:
    return tmp_path / "mark"


@pytest.fixture
def source(database: DatabaseUrl) -> DatabaseUrl:
    """A schema with fillers in the rows, in a comment and in a function's body."""
    fillers = {place: f"{place}{'.' * (_LENGTH - len(place))}" for place in ("DATA", "TEXT", "BODY")}
    sql(
        database,
        f"create schema ai; create table ai.notes (note text); insert into ai.notes values ('{fillers['DATA']}');"
        f" comment on table ai.notes is '{fillers['TEXT']}';"
        f" create function ai.f() returns text language sql as $_$select '{fillers['BODY']}'$_$",
    )
    return database


def craft(archive: Path, place: str, command: str) -> Path:
    """Put the command where the filler is, byte for byte as long, and make the manifest match."""
    word, closing = PLACES[place]
    content = archive.read_bytes()
    payload = f"{closing}{command}\n-- ".encode()
    assert len(payload) <= _LENGTH
    filler = re.compile(re.escape(word.encode()) + rb"\.{%d}" % (_LENGTH - len(word)))
    altered, found = filler.subn(lambda _: payload.ljust(_LENGTH, b"."), content)
    assert found == 1
    archive.write_bytes(altered)
    path = manifest.path_for(archive)
    changed = replace(
        manifest.load(path), sha256=hashlib.sha256(altered).hexdigest(), modified_ns=archive.stat().st_mtime_ns
    )
    path.write_text(manifest.to_text(changed))
    return archive


@pytest.mark.parametrize(
    ("place", "name"),
    [("rows", name) for name in COMMANDS] + [(place, "shell") for place in PLACES if place != "rows"],
)
async def test_a_command_of_psql_in_an_archive_is_not_carried_out(
    source: DatabaseUrl, folder: Path, marked: Path, tmp_path: Path, place: str, name: str
) -> None:
    script = tmp_path / "script.sql"
    script.write_text(f"\\! touch {marked}\n")
    made = await back_up(source, folder, compress="none", verify=False)
    archive = craft(made.path, place, COMMANDS[name].format(mark=marked, script=script))
    assert (await catalogue.inspect(archive, thorough=True)).good
    with pytest.raises(BackupError) as refused:
        await verify(archive, into=source.with_database("postgres"))
    assert refused.value.code == "backup_unprovable"
    sql(source, "drop schema ai cascade")
    settings = settings_for(source, folder)
    planned = await whole.plan(archive, database_of(source), settings, replace_data=False)
    with pytest.raises(BackupError):
        await whole.restore(planned, database_of(source), settings)
    assert not marked.exists()
    assert sql(source, "select nspname from pg_namespace where nspname like 'ai%'") == ""


@pytest.mark.parametrize("place", PLACES)
async def test_without_the_restriction_it_would_be(source: DatabaseUrl, folder: Path, marked: Path, place: str) -> None:
    """Without this the test above would show nothing."""
    made = await back_up(source, folder, compress="none", verify=False)
    craft(made.path, place, COMMANDS["shell"].format(mark=marked))
    sql(source, "drop schema ai cascade")
    script = subprocess.run([bin_dir() / "pg_restore", "-f", "-", made.path], capture_output=True, check=True).stdout
    bare = b"\n".join(line for line in script.split(b"\n") if not re.match(rb"\\(un)?restrict ", line))
    subprocess.run([bin_dir() / "psql", "-X", "-q"], input=bare, env=source.tool_environment(), capture_output=True)
    assert marked.exists()


def older(folder: Path, *lacking: str) -> Path:
    """A folder of tools as they were before the restriction: the named ones do not know it."""
    folder.mkdir()
    for name in ("pg_dump", "pg_restore", "psql"):
        path = folder / name
        filtered = " | grep -v restrict" if name in lacking else ""
        path.write_text(f'#!/bin/sh\n"{bin_dir() / name}" "$@"{filtered}\n')
        path.chmod(0o755)
    return folder


@pytest.mark.parametrize("lacking", ["pg_restore", "psql"])
async def test_tools_without_the_restriction_are_refused(
    tmp_path: Path, lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = older(tmp_path / "old", lacking)
    with pytest.raises(BackupError) as refused:
        await tools.discover(old)
    assert refused.value.code == "backup_tools"
    assert "17.6" in str(refused.value.hint)
    monkeypatch.setenv("PATH", f"{old}{os.pathsep}{os.environ['PATH']}")
    assert old not in {found.folder for found in await tools.discover(None)}
    assert (await tools.discover(older(tmp_path / "new"))) != []
