"""Checks of memories: whether extraction is on, what is pending, owners, duplicates, secrets."""

from typing import TYPE_CHECKING, Any
from unicodedata import normalize

from junkie_cli.core.doctor.bot import is_bots_file
from junkie_cli.core.doctor.context import Context
from junkie_cli.core.doctor.model import Check, Finding, failed, ok, together, warning
from junkie_cli.core.doctor.roundtrip import roundtrip
from junkie_cli.core.formatting import plural
from junkie_cli.core.schema import user_ids
from junkie_cli.core.schema.registry import PENDING
from junkie_cli.core.schema.tables import MEMORIES, RUNS, SESSIONS, SchemaState, quoted
from junkie_cli.core.secrets_detector import SQL_PATTERN

if TYPE_CHECKING:
    import asyncpg

PROMPT_TOKENS, LONGEST_MEMORY = 2000, 1000
"""The limits of a prompt: `core/turns/reads.py`'s budget of memories and length of one memory; a test compares them."""

_FRESH = "10 minutes"  # younger pending entries belong to a running turn or will be retried soon
_NAMED, _LISTED = 3, 10  # users named in a sentence, ids in a command


async def _enabled(context: Context) -> Finding:
    from junkie_cli.core.doctor.team import load_team

    await load_team()
    from junkie_cli.core.agent import doctor_probes

    facts = await doctor_probes.describe_team(context.settings, offline=not context.settings.names_provider)
    answers = {
        "memories enabled": facts.memories_enabled,
        "manager present": facts.manager_present,
        "database present": facts.database_present,
    }
    summary = ", ".join(f"{what}: {'yes' if there else 'no'}" for what, there in answers.items())
    if not all(answers.values()):
        return failed(summary, "reinstall junkie-cli: the installed agno builds a different team than expected")
    runs = f"the last {plural(facts.history_runs, 'run', 'runs')}" if facts.history_runs else "no runs"
    history = f", {runs} in the context"
    return ok(summary + history)


async def _pending(context: Context) -> Finding:
    state = context.schema
    if not state.may("SELECT", PENDING):
        return ok("no pending extractions")
    async with context.connection() as connection, connection.transaction():
        row = await connection.fetchrow(
            f"SELECT count(*) AS n, count(*) FILTER (WHERE set_aside) AS aside, count(*) FILTER (WHERE attempts > 0"
            f" OR set_aside OR created_at < now() - interval '{_FRESH}') AS late, min(created_at)::date AS oldest"
            f" FROM {state.qualified(PENDING)}"
        )
    assert row is not None
    if not row["late"]:
        return ok("no pending extractions" if not row["n"] else f"{row['n']} in progress")
    aside = f", {row['aside']} of them set aside after many attempts" if row["aside"] else ""
    return warning(
        f"memories of {plural(row['late'], 'message', 'messages')} are not extracted yet{aside}"
        f" (oldest: {row['oldest']})",
        "junkie memories retry --all (to see why they failed: junkie memories pending)",
    )


# --- whose ------------------------------------------------------------------------------------------------------------


async def _owners(context: Context) -> Finding:
    state = context.schema
    if not state.has(MEMORIES):
        return ok("no memories yet")
    async with context.connection() as connection, connection.transaction():
        row = await connection.fetchrow(
            "SELECT count(*) FILTER (WHERE coalesce(user_id, '') = '') AS nobody,"
            f" count(*) FILTER (WHERE user_id = 'default') AS defaults FROM {state.qualified(MEMORIES)}"
        )
        utf8 = connection.server_encoding == "UTF8"
        alike = await connection.fetch(_alike(state, utf8=utf8))
        unusual = await connection.fetch(
            f"SELECT DISTINCT u.user_id FROM ({_ids(state)}) u"
            " WHERE u.user_id ~ '^[[:space:]]|[[:space:]]$|[[:cntrl:]]'"
            f" OR length(u.user_id) > {user_ids.LONGEST_ID} ORDER BY 1 LIMIT 20"
        )
    assert row is not None
    loose = sorted(name for name in map(state.name, (MEMORIES, SESSIONS, RUNS)) if _is_loose(state, name))
    findings = []
    if row["nobody"]:
        findings.append(
            warning(
                f"{plural(row['nobody'], 'memory has', 'memories have')} no owner",
                "to list them: junkie memories list --no-owner; to delete them: junkie memories clear --no-owner",
            )
        )
    if row["defaults"]:
        findings.append(
            warning(
                f"{plural(row['defaults'], 'memory belongs', 'memories belong')} to the user 'default', which agno"
                " uses for turns without a user",
                "to list them: junkie memories list -u default; to delete them: junkie memories clear -u default",
            )
        )
    if loose:
        findings.append(_loose(state, loose))
    if unusual:
        findings.append(_unusual([found["user_id"] for found in unusual]))
    if alike:
        findings.append(_similar([list(found["ids"]) for found in alike]))
    return together(findings, ok("every memory has an owner, and all user ids look different"))


_INVISIBLE = "\u00ad\u200b-\u200f\u2060\ufeff"


async def _unique_ids(context: Context) -> Finding:
    state = context.schema
    if not state.has(MEMORIES):
        return ok("no memories yet")
    if state.has_unique_ids:
        return ok("memory ids are unique: the table has a key")
    table = state.qualified(MEMORIES)
    async with context.connection() as connection, connection.transaction():
        rows = await connection.fetch(
            "SELECT memory_id, count(*) AS n, array_agg(DISTINCT coalesce(user_id, '')) AS owners,"
            f" count(*) OVER () AS total FROM {table} GROUP BY memory_id HAVING count(*) > 1"
            f" ORDER BY memory_id LIMIT {_NAMED_IDS}"
        )
    key = f"ALTER TABLE {table} ADD PRIMARY KEY (memory_id)"
    if not rows:
        return warning(f"{state.name(MEMORIES)} has no unique key, so two memories can get the same id", key)
    named = "; ".join(
        f"{row['memory_id']} ({row['n']} of {', '.join(repr(owner) for owner in row['owners'])})" for row in rows
    )
    more = "; ..." if rows[0]["total"] > len(rows) else ""
    return failed(
        f"{plural(rows[0]['total'], 'id belongs to several memories', 'ids belong to several memories')}:"
        f" {named}{more}",
        f"give each memory its own id, then add a key: UPDATE {table} SET memory_id = gen_random_uuid()::text"
        f" WHERE memory_id = 'ID' AND user_id = 'USER'; {key}",
        blocks=False,
    )


def _alike(state: SchemaState, *, utf8: bool) -> str:
    """Return SQL for ids that differ only in case, white space, or Unicode form."""
    plain = f"regexp_replace(u.user_id, '[[:space:]{_INVISIBLE if utf8 else ''}]', '', 'g')"
    return (
        f"SELECT array_agg(DISTINCT user_id ORDER BY user_id) AS ids FROM ({_ids(state)}) u"
        f" GROUP BY lower({f'normalize({plain}, NFKC)' if utf8 else plain})"
        " HAVING count(DISTINCT user_id) > 1 ORDER BY 1 LIMIT 20"
    )


def _similar(groups: list[list[str]]) -> Finding:
    shown = ", ".join(" / ".join(_distinguishable(ids)[:_NAMED]) for ids in groups[:_NAMED])
    more = f" and {len(groups) - _NAMED} more" if len(groups) > _NAMED else ""
    return warning(
        f"ids that differ only in case, spaces or Unicode form are different users: {shown}{more}",
        "choose one: junkie users export OLD -o FILE, then junkie users erase OLD; set JUNKIE_USER to the other",
    )


def _ids(state: SchemaState) -> str:
    """Return SQL for all user ids."""
    parts = [
        # With the default collation: others can treat different spellings as equal, or refuse patterns.
        f"SELECT (user_id::text COLLATE \"default\") AS user_id FROM {state.qualified(table)} WHERE user_id <> ''"
        for table in (MEMORIES, SESSIONS, RUNS)
        if state.may("SELECT", table)
    ]
    return " UNION ".join(parts) or "SELECT NULL::text AS user_id WHERE false"


def _is_loose(state: SchemaState, name: str) -> bool:
    return name in state.tables and state.tables[name].loose_owner


def _loose(state: SchemaState, tables: list[str]) -> Finding:
    changes = "; ".join(
        f'ALTER TABLE {quoted(state.schema)}.{quoted(table)} ALTER COLUMN user_id TYPE varchar COLLATE "default"'
        for table in tables
    )
    return warning(
        f"the database treats different spellings of a user id as equal in {', '.join(tables)} (citext, or a"
        " nondeterministic collation): memories of one person can reach another",
        changes,
    )


def _unusual(ids: list[str]) -> Finding:
    shown = ", ".join(f"{one[:40]!a}" for one in ids[:_NAMED]) + (", ..." if len(ids) > _NAMED else "")
    return warning(
        f"ids that are not valid for new users (surrounding spaces, control characters, or too long): {shown}",
        "chat refuses them; find the program that writes them (memories list and users erase accept them)",
    )


def _distinguishable(ids: list[str]) -> list[str]:
    """Quote the ids, with escapes for non-ASCII characters if they would look the same."""
    looks = {normalize("NFKC", one) for one in ids}
    return list(map(repr, ids)) if len(looks) == len(ids) else list(map(ascii, ids))


async def _sharing(context: Context) -> Finding:
    state = context.schema
    if not (state.has(RUNS) or state.has_runs_column):
        return ok("no sessions yet")
    from junkie_cli.core.schema import runs

    async with context.connection() as connection, connection.transaction():
        row = await connection.fetchrow(
            "WITH spoken AS (SELECT r.session_id, nullif(r.user_id, '') AS speaker, nullif(s.user_id, '') AS owner"
            f" FROM {runs.table(state)} r JOIN {state.qualified(SESSIONS)} s USING (session_id))"
            " SELECT (SELECT count(*) FROM (SELECT session_id FROM spoken WHERE speaker IS NOT NULL GROUP BY session_id"
            " HAVING count(DISTINCT speaker) > 1) several) AS shared,"
            " (SELECT count(*) FROM spoken WHERE speaker <> owner) AS others,"
            " (SELECT min(session_id) FROM spoken WHERE speaker <> owner) AS example"
        )
    assert row is not None
    if not row["shared"] and not row["others"]:
        return ok("every session has one speaker: its owner")
    summary = (
        f"{plural(row['shared'], 'session', 'sessions')} with several users, "
        f"{plural(row['others'], 'run', 'runs')} of another user than the session's"
    )
    if is_bots_file(context):
        return ok(f"{summary}; this is expected, because the bot uses one session for each Discord channel")
    return warning(
        f"{summary}; agno 2.5 to 2.9 drops the runs of the second user",
        f"to see the speakers: junkie sessions show {row['example']};"
        f" to delete the session: junkie sessions delete {row['example']}",
    )


# --- how much ---------------------------------------------------------------------------------------------------------


async def _size(context: Context) -> Finding:
    state = context.schema
    if not state.has(MEMORIES):
        return ok("no memories yet")
    async with context.connection() as connection, connection.transaction():
        large = await connection.fetch(_large(state), PROMPT_TOKENS)
        duplicates = await connection.fetch(_duplicates(state))
        secrets = await connection.fetch(_with_secrets(state), SQL_PATTERN)
        several = await _of_several(connection, state, [*duplicates, *secrets])
    findings = []
    if large:
        findings.append(_too_many(large))
    if duplicates:
        findings.append(
            warning(
                plural(len(duplicates), "duplicate memory", "duplicate memories"),
                _deletion(duplicates, several),
            )
        )
    if secrets:
        findings.append(
            warning(
                f"{plural(len(secrets), 'memory seems', 'memories seem')} to contain a key or a password",
                f"{_deletion(secrets, several)}; replace the keys",
            )
        )
    return together(findings, ok(f"the memories of each user fit into a prompt (about {PROMPT_TOKENS:,} tokens)"))


def _deletion(rows: "list[asyncpg.Record]", several: set[str]) -> str:
    """Return the command that deletes these memories, with up to _LISTED ids, without ids shared by several memories.

    A shared id can also be that of a memory of another user.
    """
    ids = [row["memory_id"] for row in rows if row["memory_id"] not in several]
    more = " ... (then run doctor again)" if len(ids) > _LISTED else ""
    command = [f"junkie memories delete {' '.join(ids[:_LISTED])}{more}"] if ids else []
    left = len(rows) - len(ids)
    if left:
        command.append(
            f"{plural(left, 'memory shares its id with another', 'memories share their id with another')}: give each"
            " its own id first (memory.ids)"
        )
    return "; ".join(command)


async def _of_several(
    connection: "asyncpg.Connection[Any]", state: SchemaState, rows: "list[asyncpg.Record]"
) -> set[str]:
    """The ids among these rows that more than one memory has; without a key one id can belong to several people."""
    if state.has_unique_ids or not rows:
        return set()
    found = await connection.fetch(
        f"SELECT memory_id FROM {state.qualified(MEMORIES)} WHERE memory_id = ANY($1::text[])"
        " GROUP BY memory_id HAVING count(*) > 1",
        [row["memory_id"] for row in rows],
    )
    return {row["memory_id"] for row in found}


def _large(state: SchemaState) -> str:
    """Return SQL with the formula of `tokens` in `core/turns`: three bytes for each token, and four for the line."""
    tokens = f"sum(octet_length(left({state.memory_text()}, {LONGEST_MEMORY})) / 3 + 4)"
    return (
        f"SELECT m.user_id, count(*) AS n, {tokens} AS tokens"
        f" FROM {state.qualified(MEMORIES)} m WHERE m.user_id <> '' GROUP BY m.user_id"
        f" HAVING {tokens} > $1 ORDER BY tokens DESC LIMIT 100"
    )


def _too_many(rows: "list[asyncpg.Record]") -> Finding:
    named: list[Any] = [f"{row['user_id']} ({row['n']:,}, about {row['tokens']:,} tokens)" for row in rows[:_NAMED]]
    more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    return warning(
        f"more memories than fit into a prompt; the oldest are left out: {', '.join(named)}{more}",
        f"delete what is no longer true: junkie memories list -u {rows[0]['user_id']}, junkie memories delete ID",
    )


def _duplicates(state: SchemaState) -> str:
    """Return SQL for all duplicates except the newest of each."""
    return (
        f"SELECT memory_id FROM (SELECT m.memory_id, row_number() OVER (PARTITION BY m.user_id,"
        f" md5({state.memory_text()}) ORDER BY m.updated_at DESC NULLS LAST, m.memory_id) AS place"
        f" FROM {state.qualified(MEMORIES)} m) d WHERE place > 1 ORDER BY memory_id LIMIT 1000"
    )


_NAMED_IDS = 20


def _with_secrets(state: SchemaState) -> str:
    return (
        f"SELECT m.memory_id FROM {state.qualified(MEMORIES)} m"
        f" WHERE {state.memory_text()} ~ $1 OR coalesce(m.input, '') ~ $1 ORDER BY m.memory_id LIMIT 1000"
    )


_SEEN = ("schema.tables", "schema.row_security", "database.rights")
CHECKS = (
    Check(
        "memory.enabled",
        "Team configuration",
        _enabled,
        needs=("settings.values",),
        limit=12,
        about="The team, as built with the installed agno, makes memories",
        advice="Reinstall junkie: the installed agno is not a version that junkie knows",
    ),
    Check(
        "memory.roundtrip",
        "Store, recall and erase a memory",
        roundtrip,
        needs=("schema.tables", "database.rights", "memory.enabled"),
        after=("database.server", "schema.junkie", "groq.accepts", "provider.accepts"),
        deep=True,
        limit=55,
        about="A test memory can be stored, recalled and erased with the configured models",
        advice="Follow the hint of the step that failed",
    ),
    Check(
        "memory.pending",
        "Pending extractions",
        _pending,
        _SEEN,
        about="No message is still waiting for its memories to be extracted",
        advice="`junkie memories pending` shows the reasons; `junkie memories retry --all` tries again",
    ),
    Check(
        "memory.owners",
        "Owners of memories",
        _owners,
        _SEEN,
        limit=8,
        reads_all=True,
        about=(
            "Every memory belongs to exactly one user id: none without an owner, none of `default`, no ids "
            "that look the same"
        ),
        advice="`junkie memories list --no-owner`; decide on one id for each person",
    ),
    Check(
        "memory.ids",
        "Unique memory ids",
        _unique_ids,
        _SEEN,
        limit=8,
        reads_all=True,
        about="No two memories have the same id",
        advice="Give each memory an id of its own and add a primary key: both statements are shown",
    ),
    Check(
        "memory.sharing",
        "Shared sessions",
        _sharing,
        _SEEN,
        limit=8,
        reads_all=True,
        about="No session is shared by several users",
        advice="`junkie sessions show ID` shows who wrote there; in a shared channel this is expected",
    ),
    Check(
        "memory.size",
        "Contents of memories",
        _size,
        _SEEN,
        limit=8,
        reads_all=True,
        about="No duplicates, no secrets, and not more memories than fit into a prompt",
        advice="Delete the memories that are named",
    ),
)
