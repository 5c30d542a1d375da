"""Where the benchmark runs: the filled database, a folder for files, and how each kind of process is started."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg

from junkie_cli.core import embedded
from junkie_cli.core.database_url import DatabaseUrl
from junkie_cli.core.postgres.connect import open_connection
from tests.benchmarks.data import Bench
from tests.benchmarks.floors import help_tree
from tests.benchmarks.measuring import Case, Command

FLOORS = Path(help_tree.__file__).parent
COLUMNS = 120
PEERS = {"llm --help": ("llm", "--help"), "pgcli --version": ("pgcli", "--version")}


class Place:
    """The database `bench`, its server's tools, the installed script, and `folder` for whatever is written.

    `moved` is the database whose rows are all moved, out, in and into backups: a smaller one where that would take
    an hour.
    """

    def __init__(self, bench: Bench, moved: Bench, folder: Path, *, peers: Path | None) -> None:
        self.bench = bench
        self.moved = moved
        self.folder = folder
        self.script = str(Path(sys.executable).parent / "junkie")
        self.bin_dir = embedded.bin_dir()
        self.own_server = folder / "own"
        self.empty_database = bench.url.with_database("bench_empty")
        self._peers = peers
        self._connection = asyncio.Runner()

    def environment(self) -> dict[str, str]:
        """The whole environment of what is measured; nothing of this machine's settings gets in."""
        folders = {
            name: str(self.folder / "home" / path)
            for name, path in {
                "HOME": ".",
                "XDG_CONFIG_HOME": "config",
                "XDG_DATA_HOME": "data",
                "XDG_STATE_HOME": "state",
                "XDG_CACHE_HOME": "cache",
            }.items()
        }
        (self.folder / "home").mkdir(exist_ok=True)
        return {
            **folders,
            **{name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},  # another checkout
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "JUNKIE_USER": "bench",
            "JUNKIE_BACKUP_DIR": str(self.folder / "backups"),
            "POSTGRES_URL": self.bench.url.libpq(),
        }

    # --- kinds of cases -----------------------------------------------------------------------------------------------

    def junkie(
        self,
        name: str,
        *arguments: str,
        tty: bool = False,
        database: DatabaseUrl | None = None,
        before: Callable[[], Any] | None = None,
        after: Callable[[], Any] | None = None,
    ) -> Case:
        """The installed script."""
        env = {"POSTGRES_URL": database.libpq()} if database else {}
        command = Command((self.script, *arguments), env, tty=COLUMNS if tty else 0, before=before, after=after)
        return Case(name, lambda _: command)

    def junkie_each(self, name: str, arguments: Callable[[], tuple[str, ...]]) -> Case:
        """The installed script with other arguments in each round."""
        return Case(name, lambda _: Command((self.script, *arguments())))

    def floor(self) -> Case:
        """F: typer, one row by asyncpg, a table by rich."""
        argv = (sys.executable, str(FLOORS / "one_query.py"))
        return Case("F", lambda _: Command(argv, tty=COLUMNS))

    def python(self, name: str, *arguments: str, env: dict[str, str] | None = None) -> Case:
        """The same interpreter."""
        return Case(name, lambda _: Command((sys.executable, *arguments), env or {}))

    def empty_script(self, name: str) -> Case:
        """A script as pip installs it, of a program that does nothing: what the installer's own lines cost."""
        script = self.folder / "nothing"
        installed = Path(self.script).read_text("utf-8")
        script.write_text(installed.replace("from junkie_cli.cli.main import main", "main = int"), "utf-8")
        script.chmod(0o755)
        return Case(name, lambda _: Command((str(script),)))

    def agno(self, name: str, *arguments: str, rounds: int) -> Case:
        """Agno's own method for the same thing."""
        argv = (sys.executable, str(FLOORS / "agno_methods.py"), *arguments)
        return Case(name, lambda _: Command(argv), rounds)

    def tool(
        self,
        name: str,
        program: str,
        *arguments: str,
        database: DatabaseUrl | None = None,
        before: Callable[[], Any] | None = None,
        after: Callable[[], Any] | None = None,
    ) -> Case:
        """One of PostgreSQL's own programs."""
        env = (database or self.bench.url).libpq_environment()
        command = Command((str(self.bin_dir / program), *arguments), env, before=before, after=after)
        return Case(name, lambda _: command)

    def psql(self, name: str, sql: str) -> Case:
        """One statement in psql."""
        return self.psql_each(name, lambda: sql)

    def psql_each(self, name: str, sql: Callable[[], str]) -> Case:
        """Another statement in psql in each round."""
        env = self.bench.url.libpq_environment()
        return Case(name, lambda _: Command((str(self.bin_dir / "psql"), "-XqAtc", sql()), env))

    def psql_script(self, name: str, line: str, **more: Any) -> Case:
        """A line of psql's own commands."""
        return self.tool(name, "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", line, **more)

    def shell(self, name: str, script: str, *, database: DatabaseUrl, **more: Any) -> Case:
        """A script of sh that finds PostgreSQL's own programs."""
        env = {**database.libpq_environment(), "PATH": f"{self.bin_dir}:/usr/bin:/bin"}
        command = Command(("/bin/sh", "-ec", script), env, **more)
        return Case(name, lambda _: command)

    def peers(self) -> list[Case]:
        """Programs of others, installed into a throw-away environment; reported and left out where that fails."""
        if self._peers is None:
            return []
        if not (self._peers / "bin" / "pgcli").exists():
            made = subprocess.run(
                f"{sys.executable} -m venv {self._peers} && {self._peers}/bin/pip install -q llm pgcli",
                shell=True,
                capture_output=True,
                text=True,
                check=False,
            )
            if made.returncode:
                print(f"skipped: llm and pgcli could not be installed: {made.stderr.strip()[-300:]}", file=sys.stderr)
                return []
        commands = {name: (str(self._peers / "bin" / argv[0]), *argv[1:]) for name, argv in PEERS.items()}
        return [Case(name, lambda _, argv=argv: Command(argv)) for name, argv in commands.items()]

    # --- the database -------------------------------------------------------------------------------------------------

    def rows(self, sql: str, url: DatabaseUrl | None = None) -> list[asyncpg.Record]:
        """What a statement gives."""

        async def fetch() -> list[asyncpg.Record]:
            connection = await open_connection(url or self.bench.url)
            try:
                found: list[asyncpg.Record] = await connection.fetch(sql)
                return found
            finally:
                await connection.close()

        return self._connection.run(fetch())

    def victims(self) -> Iterator[str]:
        """Users of middling size who still have memories."""
        middle = self.bench.users // 2
        for number in range(max(middle - 500, 1), self.bench.users):
            user = self.bench.typical(number - middle)
            if user != self.bench.typical() and self.rows(
                f"SELECT 1 FROM ai.user_memories WHERE user_id = '{user}' LIMIT 1"
            ):
                yield user

    def new_database(self, name: str) -> DatabaseUrl:
        """An empty database, made anew."""
        self.rows(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.rows(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.bench.url.with_database(name)

    def empty(self) -> None:
        """Make the empty database anew, with agno's table of memories."""
        self._run_sql(
            "CREATE SCHEMA ai; CREATE TABLE ai.user_memories (memory_id varchar PRIMARY KEY, memory jsonb NOT NULL,"
            " feedback text, input text, agent_id varchar, team_id varchar, user_id varchar, topics jsonb,"
            " created_at bigint NOT NULL, updated_at bigint); CREATE INDEX ON ai.user_memories (user_id);"
            " CREATE INDEX ON ai.user_memories (created_at); CREATE INDEX ON ai.user_memories (updated_at)",
            self.new_database("bench_empty"),
        )

    def give_memories(self, url: DatabaseUrl, users: dict[str, int]) -> None:
        """Put as many memories of these users into the tables of `url`."""
        for user, count in users.items():
            self._run_sql(
                "INSERT INTO ai.user_memories (memory_id, memory, user_id, topics, created_at, updated_at)"
                f" SELECT gen_random_uuid()::text, to_jsonb('User told us of thing number ' || n), '{user}',"
                f" '[\"things\"]', n, n FROM generate_series(1, {count}) n",
                url,
            )
        self._run_sql("ANALYZE", url)

    def _run_sql(self, script: str, url: DatabaseUrl) -> None:
        env = url.libpq_environment()
        subprocess.run([str(self.bin_dir / "psql"), "-Xqc", script], env=env, check=True)

    def add_indexes(self) -> None:
        """The indexes that `doctor --fix` offers."""
        self._run_sql(
            "SET maintenance_work_mem = '512MB';"
            " CREATE INDEX IF NOT EXISTS junkie_memories_user_updated ON ai.user_memories"
            " (user_id, updated_at DESC, memory_id DESC);"
            " CREATE INDEX IF NOT EXISTS junkie_sessions_user_updated ON ai.agent_sessions (user_id, updated_at DESC);"
            " CREATE INDEX IF NOT EXISTS junkie_memories_text ON ai.user_memories"
            " USING gin (to_tsvector('simple', memory #>> '{}')); ANALYZE ai.user_memories",
            self.bench.url,
        )

    def drop_indexes(self) -> None:
        """Back to the indexes that agno makes, vacuumed."""
        self._run_sql(
            "SET client_min_messages = warning; DROP INDEX IF EXISTS"
            " ai.junkie_memories_user_updated, ai.junkie_sessions_user_updated,"
            " ai.junkie_memories_text",
            self.bench.url,
        )
        self._run_sql("VACUUM ANALYZE", self.bench.url)

    def exported_lines(self) -> Path:
        """A file of all memories to be moved, as `export` writes them."""
        lines = self.folder / "lines.jsonl"
        if not lines.exists():
            query = "SELECT row_to_json(m) FROM ai.user_memories m"
            copy = f"\\copy ({query}) TO '{lines}' WITH (FORMAT csv, QUOTE e'\\x01', DELIMITER e'\\x02')"
            self._run_sql(copy, self.moved.url)
        return lines

    def backup(self) -> Path:
        """A backup of all memories to be moved, made once."""
        folder = self.folder / "kept"
        env = self.environment() | {"POSTGRES_URL": self.moved.url.libpq()}
        made = [self.script, "backup", "--no-verify", "-o", str(folder)]
        subprocess.run(made, env=env, cwd=self.folder, check=True, capture_output=True)
        return next(folder.glob("*.dump"))

    # --- files and the second server ----------------------------------------------------------------------------------

    def help_tree(self) -> str:
        """The script that shows the floor of help."""
        folder = self.folder / "help"
        folder.mkdir(exist_ok=True)
        return str(help_tree.write(folder))

    def remove(self, folder: Path) -> None:
        """Remove a folder with all that is in it."""
        shutil.rmtree(folder, ignore_errors=True)

    def stop_own_server(self) -> None:
        """Stop the embedded server that the start-up cases use."""
        if embedded.exists(self.own_server):
            self._connection.run(embedded.stop(self.own_server))

    def drop_own_server(self) -> None:
        """Stop it and remove its data."""
        self.stop_own_server()
        self.remove(self.own_server)

    def close(self) -> None:
        """Leave nothing running but the server of the data, which lingers."""
        self.drop_own_server()
        for name in ("bench_empty", "bench_chat"):
            self.rows(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self._connection.close()
