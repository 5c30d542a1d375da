"""Checks of the database: address, connection, server, privileges, locks, clock, replica."""

import shlex
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from junkie_cli.core.database import label, locate
from junkie_cli.core.doctor.context import NAME, Context
from junkie_cli.core.doctor.model import Check, Finding, failed, ok, together, warning
from junkie_cli.core.errors import BackupError, DatabaseError
from junkie_cli.core.formatting import duration, plural
from junkie_cli.core.postgres.connect import CONNECT_TIMEOUT, close_connection, open_connection
from junkie_cli.core.postgres.releases import KNOWN_SINCE, LAST_RELEASES
from junkie_cli.core.schema import registry
from junkie_cli.core.schema.tables import SchemaState, inspect, quoted

if TYPE_CHECKING:
    import asyncpg

    from junkie_cli.core.database_url import DatabaseUrl

OLDEST = min(LAST_RELEASES)
FREE_SLOTS = 5  # a chat, an administration command, a backup with its two, and one for diagnosis
BOT_SLOTS = 25  # asyncpg's pool of 10 and SQLAlchemy's of 5 + 10: docs/decisions/0002-the-bot-owns-its-tables.md
LONG_TRANSACTION = 600.0
"""Seconds after which an open transaction is reported: it blocks vacuum and other sessions."""

CLOCK_SKEW = 5.0
"""Clock difference in seconds from which ages of backups and memories are misleading."""


# --- the address ------------------------------------------------------------------------------------------------------


async def _url(context: Context) -> Finding:
    problem = context.problem("POSTGRES_URL", "JUNKIE_DATA_DIR")
    if problem is not None:
        return failed(problem.error.message, problem.error.hint)
    settings = context.settings
    if settings.postgres_url is None:
        return ok(f"POSTGRES_URL is not set: {label(settings)}")
    url = settings.postgres_url
    hosts = f", {len(url.hosts)} hosts" if len(url.hosts) > 1 else ""
    notes = f"; {'; '.join(url.notes)}" if url.notes else ""
    return ok(f"{url.masked()} (role {url.role}, database {url.database_name}{hosts}){notes}")


async def _reachable(context: Context) -> Finding:
    try:
        located = await locate(context.settings)
        seconds = 5 * context.patience / len(located.url.hosts)
        connection = await open_connection(located.url, timeout=seconds, application_name=NAME)
    except DatabaseError as error:
        return _not_reached(context, error)
    await close_connection(connection)
    context.located = located
    return ok(f"answers: {located.label if located.embedded else _place(located.url)}")


def _place(url: "DatabaseUrl") -> str:
    return ", ".join(str(host) for host in url.hosts)


def _not_reached(context: Context, error: DatabaseError) -> Finding:
    if error.code == "database_none":
        return warning(
            f"no database yet: {context.settings.data_dir} contains no embedded PostgreSQL",
            "create one: junkie chat; or set POSTGRES_URL to an existing database",
            blocks=True,
        )
    hint = error.hint or "check whether the server is running"
    return failed(error.message, f"{hint}; its log: {log_place(context)}")


def log_place(context: Context) -> str:
    """Return where the server's log is, or how to show it."""
    settings = context.settings
    if settings.postgres_url is None:
        return str(settings.data_dir / "server.log")
    host = settings.postgres_url.hosts[0]
    here = host.is_socket or host.name in {"localhost", "127.0.0.1", "::1"}
    if (here or "." not in host.name) and (compose := _compose_file(context)):
        return f"docker compose -f {shlex.quote(str(compose))} logs"
    if not here:
        return f"on {host.name} (a hosted database shows it on its provider's pages)"
    logs = [path for pattern in _LOGS for path in sorted(Path("/").glob(pattern), key=_changed)]
    return str(logs[-1]) if logs else "journalctl -u postgresql, or docker logs of its container"


_LOGS = (
    "opt/homebrew/var/log/postgresql*.log",
    "var/lib/pgsql/*/data/log/*.log",
    "var/lib/pgsql/data/log/*.log",
    "var/log/postgresql/*.log",
)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0


def _compose_file(context: Context) -> Path | None:
    """Find a compose file with PostgreSQL next to the `.env` or in the current folder."""
    folders = [context.env_file.path.parent] if context.env_file else []
    folders.append(context.cwd or Path.cwd())
    for folder in folders:
        for name in ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"):
            try:
                if "postgres" in (folder / name).read_text(encoding="utf-8", errors="replace"):
                    return folder / name
            except OSError:
                continue
    return None


async def _async_url(context: Context) -> Finding:
    from junkie_cli.core.doctor.team import load_team

    url = context.database.url
    masked = "postgresql+asyncpg" + url.masked().removeprefix("postgresql")
    await load_team()
    from junkie_cli.core.agent import doctor_probes

    async def connect() -> None:
        await doctor_probes.connect_by_sqlalchemy(url, seconds=5 * context.patience, application_name=NAME)

    try:
        async with context.place():
            await context.patiently(connect)
    except DatabaseError as error:
        return failed(f"SQLAlchemy cannot connect with {masked}: {error.message}", error.hint, blocks=False)
    return ok(f"connects with {masked}")


# --- the server -------------------------------------------------------------------------------------------------------

_SERVER = """
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS number,
  pg_is_in_recovery() AS standby, current_setting('default_transaction_read_only') = 'on' AS read_only,
  pg_backend_pid() AS pid
"""


async def _server(context: Context) -> Finding:
    async with context.connection() as connection:
        told_pid = connection.get_server_pid()
        async with connection.transaction():
            row = await connection.fetchrow(_SERVER)
    assert row is not None
    findings = [_version(row["number"] // 10000, datetime.fromtimestamp(context.clock(), UTC).date())]
    if row["standby"]:
        findings.append(
            failed(
                "the server is a standby: it accepts only reads",
                "use the primary in POSTGRES_URL, or both hosts with target_session_attrs=read-write",
                blocks=False,
            )
        )
    elif row["read_only"]:
        findings.append(
            failed(
                "the database is read-only: nothing can be stored",
                "switch default_transaction_read_only off: ALTER DATABASE ... RESET default_transaction_read_only, "
                "ALTER ROLE ... RESET default_transaction_read_only, or the server's configuration",
                blocks=False,
            )
        )
    # A pooler reports its own process id at log-in, which differs from the one that runs the statement.
    pooler = ", through a pooler" if told_pid != row["pid"] else ""
    return together(findings, ok(f"PostgreSQL {row['version'].partition(' ')[0]}{pooler}"))


def _version(major: int, today: date) -> Finding:
    if major < OLDEST:
        return failed(f"PostgreSQL {major} is too old", f"upgrade the server to {max(LAST_RELEASES)}", blocks=False)
    ended = LAST_RELEASES.get(major)
    if ended is not None and ended < today:
        return warning(
            f"PostgreSQL {major} is no longer supported: its last release was on {ended}",
            f"upgrade the server to {max(LAST_RELEASES)}",
        )
    return ok("")


async def _release(context: Context) -> Finding:
    from junkie_cli.core.backup import checks, tools

    async with context.connection() as connection, connection.transaction():
        version = str(await connection.fetchval("SELECT current_setting('server_version')"))
    available = await tools.discover(None, context.settings.pg_bin)
    chosen = proving = None
    with suppress(BackupError):  # the check of the tools reports that
        chosen = await tools.choose(available, version, context.database.url)
        proving = tools.for_scratch(available, chosen.major)
    found = checks.old_programs(version, chosen, [proving] if proving else [], embedded=context.database.embedded)
    return together([warning(old.detail, old.hint) for old in found], ok(f"up to date (as known on {KNOWN_SINCE})"))


_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE")


async def _rights(context: Context) -> Finding:
    schema = context.settings.schema
    async with context.connection() as connection:
        state = await inspect(connection, context.settings.layout)
        async with connection.transaction():
            row = await connection.fetchrow(
                "SELECT current_user AS role, current_database() AS database, to_regnamespace(quote_ident($1)) IS NULL"
                " OR has_schema_privilege(to_regnamespace(quote_ident($1)), 'USAGE') AS usage",
                schema,
            )
    assert row is not None
    role = quoted(row["role"])
    if not row["usage"]:
        return failed(f"role {row['role']} has no USAGE privilege on schema {schema}", _all_of_it(schema, role))
    findings = _missing(state, role)
    if not state.may_create and (state.tables_agno_3_adds() or state.missing_own_tables()):
        findings.append(_no_create(state, role, row["database"]))
    create = "" if state.may_create else "; it cannot create tables, which is not needed"
    return together(findings, ok(f"role {row['role']} can select, insert, update and delete{create}"))


def _missing(state: SchemaState, role: str) -> list[Finding]:
    findings = []
    for table in (entry.table for entry in registry.entries()):
        lacking = [privilege for privilege in _PRIVILEGES if state.has(table) and not state.may(privilege, table)]
        if lacking:
            findings.append(
                failed(
                    f"missing privilege on {state.name(table)}: {', '.join(lacking)}",
                    f"GRANT {', '.join(lacking)} ON {state.identifier(table)} TO {role}",
                    blocks="SELECT" in lacking,
                )
            )
    return findings


def _no_create(state: SchemaState, role: str, database: str) -> Finding:
    if state.exists:
        missing = [table for table in registry.agno_tables() if not state.has(table)]
        grant = f"GRANT CREATE, USAGE ON SCHEMA {quoted(state.schema)} TO {role}"
        tell = failed if missing else warning
        what = "agno's tables" if missing else "junkie's own tables, needed for undo,"
        return tell(
            f"no privilege to create tables in schema {state.schema}: {what} cannot be created", grant, blocks=False
        )
    return failed(
        f"schema {state.schema} does not exist, and this role cannot create it",
        f"GRANT CREATE ON DATABASE {quoted(database)} TO {role}",
        blocks=False,
    )


def _all_of_it(schema: str, role: str) -> str:
    name = quoted(schema)
    return (
        f"GRANT USAGE, CREATE ON SCHEMA {name} TO {role}; "
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {name} TO {role}"
    )


# Each limit with its name and the number of connections that count against it, without doctor's own.
_SLOTS = """
WITH others AS (SELECT datname, usename FROM pg_stat_activity
  WHERE datid IS NOT NULL AND application_name IS DISTINCT FROM $1)
SELECT 'the server (max_connections)' AS what,
  current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true)::int, 0) AS most, (SELECT count(*) FROM others) AS used
UNION ALL
SELECT 'role ' || current_user, rolconnlimit, (SELECT count(*) FROM others WHERE usename = current_user)
  FROM pg_roles WHERE rolname = current_user AND rolconnlimit >= 0 AND NOT rolsuper
UNION ALL
SELECT 'database ' || datname, datconnlimit, (SELECT count(*) FROM others WHERE datname = current_database())
  FROM pg_database WHERE datname = current_database() AND datconnlimit >= 0
"""


async def _connections(context: Context) -> Finding:
    async with context.connection() as connection, connection.transaction():
        rows = await connection.fetch(_SLOTS, NAME)
        pooled = connection.get_server_pid() != await connection.fetchval("SELECT pg_backend_pid()")
    # Behind a pooler the bot's connections share a few server connections.
    needed = BOT_SLOTS if "DISCORD_TOKEN" in context.settings.bot_variables and not pooled else FREE_SLOTS
    why = "the bot opens up to 25" if needed == BOT_SLOTS else f"at least {FREE_SLOTS} should be free"
    findings = [
        warning(
            f"{row['most'] - row['used']} of {row['most']} connections are free for {row['what']}: {why}",
            _more_slots(row["what"]),
        )
        for row in rows
        if row["most"] - row["used"] < needed
    ]
    tightest = min(rows, key=lambda row: row["most"] - row["used"])
    free = tightest["most"] - tightest["used"]
    return together(findings, ok(f"{free} of {tightest['most']} are free for {tightest['what']}"))


def _more_slots(what: str) -> str:
    kind, _, name = what.partition(" ")
    if kind in {"role", "database"}:
        return f"ALTER {kind.upper()} {quoted(name)} CONNECTION LIMIT 100 (-1: no limit), or stop other programs"
    return "raise max_connections, use a pooler, or close connections of other programs"


# Sessions that block others, hold a lock on a table for more than a moment, or have a long transaction.
_ACTIVITY = """
WITH blockers AS (SELECT b.pid, count(DISTINCT l.pid) AS waiting
    FROM pg_locks l CROSS JOIN LATERAL unnest(pg_blocking_pids(l.pid)) b(pid) WHERE NOT l.granted GROUP BY b.pid),
  holders AS (SELECT DISTINCT l.pid FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE l.granted AND l.mode = 'AccessExclusiveLock' AND c.relkind IN ('r', 'p') AND n.nspname = $1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
SELECT a.pid, a.usename AS role, coalesce(a.application_name, '') AS application, coalesce(a.state, '') AS state,
  coalesce(b.waiting, 0) AS waiting, h.pid IS NOT NULL AS holds,
  coalesce(extract(epoch FROM now() - a.xact_start), 0)::float8 AS seconds
FROM pg_stat_activity a LEFT JOIN blockers b ON b.pid = a.pid LEFT JOIN holders h ON h.pid = a.pid
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.application_name IS DISTINCT FROM $2
  AND (b.pid IS NOT NULL OR h.pid IS NOT NULL AND a.xact_start < now() - interval '1 second'
    OR a.xact_start < now() - make_interval(secs => $3))
ORDER BY waiting DESC, seconds DESC LIMIT 5
"""


async def _activity(context: Context) -> Finding:
    async with context.connection() as connection, connection.transaction():
        rows = await connection.fetch(_ACTIVITY, context.settings.schema, NAME, LONG_TRANSACTION)
    findings = [
        warning(
            f"process {row['pid']} of role {row['role']}{_named(row['application'])} {_deed(row)}",
            f"wait for it, or end it: SELECT pg_terminate_backend({row['pid']})",
        )
        for row in rows
    ]
    return together(findings, ok("no session holds a table lock or a transaction for long"))


def _named(application: str) -> str:
    return f" ({application})" if application else ""


def _deed(row: "asyncpg.Record") -> str:
    since = f"in a transaction of {duration(row['seconds'])}{', idle' * row['state'].startswith('idle')}"
    if row["waiting"]:
        return f"blocks {plural(row['waiting'], 'other session', 'other sessions')}, {since}"
    return f"{'holds a table lock' if row['holds'] else 'is open for long'}, {since}"


async def _time(context: Context) -> Finding:
    async with context.connection() as connection, connection.transaction():
        before = context.clock()
        there: datetime = await connection.fetchval("SELECT clock_timestamp()")
        after = context.clock()
    skew = there.timestamp() - (before + after) / 2
    if abs(skew) > CLOCK_SKEW + (after - before) / 2:
        which = "ahead of" if skew > 0 else "behind"
        return warning(
            f"the server's clock is {abs(skew):.0f} s {which} this machine's",
            "synchronize both with NTP (timedatectl set-ntp true)",
        )
    return ok(f"both clocks agree ({skew:+.1f} s)")


async def _replica(context: Context) -> Finding:
    problem = context.problem("POSTGRES_READ_URL")
    if problem is not None:
        return failed(problem.error.message, problem.error.hint)
    url = context.settings.postgres_read_url
    if url is None:
        return ok("POSTGRES_READ_URL is not set: reads use the main database")
    try:
        seconds = min(CONNECT_TIMEOUT, 4 * context.patience)
        connection = await open_connection(url, timeout=seconds, statement_timeout=seconds, application_name=NAME)
    except DatabaseError as error:
        return failed(f"POSTGRES_READ_URL: {error.message}", error.hint.replace("POSTGRES_URL", "POSTGRES_READ_URL"))
    try:
        return await _lag(connection, url)
    finally:
        await close_connection(connection)


# An idle primary sends nothing to replay: while connected, a replica that replayed all it received is up to date.
_LAG = """
SELECT CASE WHEN NOT pg_is_in_recovery() THEN 0
  WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() AND EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 0
  ELSE coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 0) END::float8
"""


async def _lag(connection: "asyncpg.Connection[Any]", url: "DatabaseUrl") -> Finding:
    async with connection.transaction(readonly=True):
        lag = await connection.fetchval(_LAG)
    if lag > 60:
        return warning(
            f"the replica {_place(url)} is {lag:.0f} s behind: lists and exports lack the newest rows",
            "check the replication of that server, or unset POSTGRES_READ_URL",
        )
    return ok(f"{_place(url)} answers, {lag:.0f} s behind")


_REACHED = ("database.reachable",)
CHECKS = (
    Check(
        "database.url",
        "Database address",
        _url,
        needs=("settings.values",),
        about="`POSTGRES_URL` can be parsed",
        advice="Percent-encode special characters in the password",
    ),
    Check(
        "database.reachable",
        "Database connection",
        _reachable,
        ("database.url",),
        limit=7,
        asks=True,
        about="The database accepts a connection within seconds",
        advice="Start the server; check host, port, firewall, password and TLS as reported",
    ),
    Check(
        "database.async_url",
        "SQLAlchemy connects",
        _async_url,
        _REACHED,
        limit=12,
        about="agno's own connection (SQLAlchemy) works as well",
        advice="Follow the hint; the cause is usually a TLS parameter of the URL",
    ),
    Check(
        "database.server",
        "The server",
        _server,
        _REACHED,
        about="The server is a supported PostgreSQL version and accepts writes",
        advice="Upgrade it, or name the primary: a standby only accepts reads",
    ),
    Check(
        "database.release",
        "Minor releases of PostgreSQL",
        _release,
        _REACHED,
        limit=10,
        about="The server and `pg_dump` have the latest minor release, the embedded PostgreSQL has no known fault that"
        " can be reached",
        advice="Install the update; for the embedded PostgreSQL install it with the system's packages, or set"
        " `JUNKIE_PG_BIN`",
    ),
    Check(
        "database.rights",
        "Rights",
        _rights,
        _REACHED,
        (),
        ("JUNKIE_SCHEMA",),
        about="The database role has the privileges that junkie needs",
        advice="Run the GRANT statement that is shown",
    ),
    Check(
        "database.connections",
        "Free connections",
        _connections,
        _REACHED,
        about="The server has free connections",
        advice="Use a pooler, or stop programs that hold connections",
    ),
    Check(
        "database.activity",
        "Locks and long transactions",
        _activity,
        _REACHED,
        about="No session holds a lock or a transaction for long",
        advice="Wait for the session that is named, or end it",
    ),
    Check(
        "database.time",
        "Clocks",
        _time,
        _REACHED,
        about="The clocks of this machine and of the server agree",
        advice="Synchronize both with NTP",
    ),
    Check(
        "database.replica",
        "The replica",
        _replica,
        needs=("settings.values",),
        asks=True,
        about="The server in `POSTGRES_READ_URL` answers; shows how far it lags behind",
        advice="Check the replication, or unset the variable",
    ),
)
