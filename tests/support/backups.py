"""Helpers for the tests of backup and restore: databases with something in them, and runs of the real command."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from junkie_cli.core.backup.dump import BackupOptions, BackupResult, make_backup
from junkie_cli.core.database import Database
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.embedded import bin_dir
from junkie_cli.core.progress import SILENT, Progress
from junkie_cli.core.settings import Settings, load_settings

DATA = Path(__file__).parents[1] / "data"
GENERATIONS = ("agno-2.2", "agno-2.3", "agno-2.9", "agno-2.9-migrated", "agno-2.9-then-3.1", "agno-3.1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The backup folder of this test, not made yet."""
    return tmp_path / "backups"


def psql(url: DatabaseUrl, *arguments: str, input: str | None = None) -> str:
    """Run the bundled psql; its stdout, unaligned and without headers."""
    words = [str(bin_dir() / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *arguments]
    done = subprocess.run(
        words, env=url.tool_environment(dict(os.environ)), input=input, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def sql(url: DatabaseUrl, statement: str) -> str:
    """Run SQL and return its rows as text, columns separated by `|`."""
    return psql(url, "-c", statement)


def load(url: DatabaseUrl, generation: str = "agno-3.1") -> None:
    """Fill an empty database with what a real agno of that generation wrote."""
    psql(url, "-f", str(DATA / f"{generation}.sql"))


MANY = """
CREATE SCHEMA ai;
CREATE TABLE ai.user_memories (memory_id varchar PRIMARY KEY, memory jsonb NOT NULL, feedback text, input text,
  agent_id varchar, team_id varchar, user_id varchar, topics jsonb, created_at bigint NOT NULL, updated_at bigint);
INSERT INTO ai.user_memories SELECT 'm' || n, to_jsonb(md5(n::text) || md5((n * 7)::text) || md5((n * 11)::text)), NULL,
  md5((n * 3)::text), NULL, NULL, 'u' || n % 50, '["a"]', n, n FROM generate_series(1, {rows}) n;
"""


def fill(url: DatabaseUrl, rows: int) -> None:
    """Many memories that hardly compress: about 130 bytes of dump each."""
    psql(url, input=MANY.format(rows=rows))


def settings_for(url: DatabaseUrl, folder: Path, **more: str) -> Settings:
    """Settings as from an environment that names the database and the backup folder."""
    environment = {"POSTGRES_URL": url.libpq(), "JUNKIE_BACKUP_DIR": str(folder), "HOME": str(folder), **more}
    return load_settings(environ=environment, cwd=Path("/"))


def database_of(url: DatabaseUrl) -> Database:
    """The database as the core wants it."""
    return Database(url, embedded=False, label=url.masked())


async def back_up(url: DatabaseUrl, folder: Path, *, progress: Progress = SILENT, **options: Any) -> BackupResult:
    """Make a backup in this process; by default it is proven on the server it comes from, which is quicker
    than starting another.
    """
    if options.get("verify", True):
        options.setdefault("verify_into", url.with_database("postgres"))
    return await make_backup(database_of(url), settings_for(url, folder), BackupOptions(**options), progress)


def environment(url: DatabaseUrl | str, folder: Path, **more: str) -> Mapping[str, str]:
    """Variables that make a started `junkie` work on this database and folder."""
    text = url if isinstance(url, str) else url.libpq()
    return {"POSTGRES_URL": text, "JUNKIE_BACKUP_DIR": str(folder), **more}


def names(folder: Path) -> list[str]:
    """The files of a backup folder, without the lock."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".junkie-backup.lock")


def dumps(folder: Path) -> list[Path]:
    """The dump files that bear a final name, oldest first."""
    return sorted(path for path in folder.iterdir() if path.suffix == ".dump")
