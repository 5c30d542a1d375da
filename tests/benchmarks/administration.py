"""The commands of administration beside psql on the same server: what is measured, and how good it should be."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from junkie_cli.core.backup import content_hash
from junkie_cli.core.postgres.sql import encode_cursor
from tests.benchmarks.data import ABSENT, COMMON, RARE
from tests.benchmarks.goals import Goal
from tests.benchmarks.measuring import Case, Command
from tests.benchmarks.place import Place

MEMORIES = "ai.user_memories"
BEST_STATS = (
    "SELECT user_id, n, sum(n) OVER (), count(*) OVER () FROM (SELECT user_id, count(*) n FROM ai.user_memories"
    " GROUP BY user_id) u ORDER BY n DESC, user_id LIMIT 10"
)

# What stats reports in addition: the same figures, each asked for in the fastest way known.
SAME_STATS = (
    f"BEGIN; {BEST_STATS}; SELECT count(*) FROM ai.agent_sessions; SELECT count(*) FROM ai.agent_sessions_runs;"
    " SELECT min(created_at), max(created_at) FROM ai.user_memories; SELECT count(*) FROM ai.junkie_pending;"
    " SELECT (created_at / 86400), count(*) FROM ai.user_memories WHERE created_at >= extract(epoch FROM now())::bigint"
    " / 86400 * 86400 - 29 * 86400 GROUP BY 1; SELECT relname, pg_total_relation_size(oid) FROM pg_class"
    " WHERE relkind = 'r' AND relnamespace = 'ai'::regnamespace; COMMIT"
)

# What `users list` shows on its first page, each figure asked for in the fastest way known.
_PAGE = "ANY(ARRAY(SELECT id FROM page))"
SAME_USERS = (
    "BEGIN; CREATE TEMP TABLE page ON COMMIT DROP AS WITH RECURSIVE p AS ((SELECT min(user_id) AS id FROM"
    " ai.user_memories) UNION ALL SELECT (SELECT min(user_id) FROM ai.user_memories WHERE user_id > p.id) FROM p"
    " WHERE p.id IS NOT NULL) SELECT id FROM p LIMIT 50; SELECT user_id, count(*) FROM ai.user_memories"
    f" WHERE user_id = {_PAGE} GROUP BY 1; SELECT user_id, max(updated_at) FROM (SELECT user_id, updated_at"
    " FROM ai.user_memories ORDER BY updated_at DESC NULLS FIRST LIMIT 5000) n GROUP BY 1; SELECT user_id, session_id,"
    f" count(*), max(created_at) FROM ai.agent_sessions_runs WHERE user_id = {_PAGE} GROUP BY 1, 2; SELECT user_id,"
    f" session_id, updated_at FROM ai.agent_sessions WHERE user_id = {_PAGE}; COMMIT"
)

# No index of agno's, nor any that doctor offers, gives the latest sessions of all.
SAME_SESSIONS = (
    "SELECT session_id, user_id, created_at, updated_at FROM ai.agent_sessions"
    " ORDER BY coalesce(updated_at, created_at, 0) DESC, session_id DESC LIMIT 51"
)


def _page(condition: str, columns: str = "*", count: int = 51) -> str:
    return f"SELECT {columns} FROM {MEMORIES} WHERE {condition} ORDER BY updated_at DESC, memory_id DESC LIMIT {count}"


# --- lists ------------------------------------------------------------------------------------------------------------


def lists(place: Place) -> list[Case]:
    """Tables on a terminal, lines in a pipe, JSON."""
    bench = place.bench
    typical, largest = bench.typical(), bench.largest
    return [
        place.floor(),
        place.psql("psql list -u typical", _page(f"user_id = '{typical}'")),
        place.junkie("list -u typical", "memories", "list", "-u", typical, tty=True),
        place.junkie("list", "memories", "list", tty=True),
        place.psql("psql same users", SAME_USERS),
        place.junkie("users list", "users", "list", tty=True),
        place.psql("psql same sessions", SAME_SESSIONS),
        place.junkie("sessions list", "sessions", "list", tty=True),
        place.junkie("list -u typical, pipe", "memories", "list", "-u", typical),
        place.junkie("list -u typical --json", "memories", "list", "-u", typical, "--json"),
        place.junkie("list 2000 rows, pipe", "memories", "list", "-n", "2000"),
        place.agno("agno list largest", "list", largest, rounds=3),
        place.junkie("doctor, one check", "doctor", "--only", "database.reachable", "--json"),
    ]


def lists_goals() -> Iterator[Goal]:
    for name in ("list -u typical", "list", "users list", "sessions list"):
        yield Goal(name, ("F",), 1.15)
    yield Goal("users list", ("F", "psql same users"), 1.15)
    yield Goal("sessions list", ("F", "psql same sessions"), 1.15)
    for name in ("list -u typical, pipe", "list -u typical --json"):
        yield Goal(name, ("F",), 0.85)
    yield Goal("list 2000 rows, pipe", ("F",), 1.3)
    yield Goal("doctor, one check", ("F",), 1.0, plus=0.02)
    yield Goal("list -u typical", ("F",), 1.1, what="peak")


# --- pages ------------------------------------------------------------------------------------------------------------


def pages(place: Place, suffix: str = "") -> list[Case]:
    """First pages and deep ones of several users, with and without our index."""
    bench = place.bench
    deep = min(bench.rows // 50, 100_000)

    def listed(name: str, *arguments: str) -> Case:
        return place.junkie(name + suffix, "memories", "list", "--json", *arguments)

    return [
        place.floor(),
        listed("first page, typical", "-u", bench.typical()),
        listed("first page, largest", "-u", bench.largest),
        listed("first page, old rows", "-u", bench.old),
        listed("deep page, largest", "-u", bench.largest, "--after", _cursor(place, deep, bench.largest)),
        listed("deep page, all", "--after", _cursor(place, deep * 5)),
    ]


def _cursor(place: Place, depth: int, user: str | None = None) -> str:
    condition = f"user_id = '{user}'" if user else "true"
    row = place.rows(
        f"SELECT updated_at, memory_id FROM {MEMORIES} WHERE {condition}"
        f" ORDER BY updated_at DESC, memory_id DESC OFFSET {depth} LIMIT 1"
    )[0]
    return encode_cursor([row["updated_at"], row["memory_id"]])


def pages_goals(suffix: str = "") -> Iterator[Goal]:
    names = ("first page, largest", "first page, old rows", "deep page, largest", "deep page, all")
    for name in names:
        if suffix:
            yield Goal(name + suffix, ("first page, typical" + suffix,), 1.25)
        else:
            yield Goal(name, ("first page, typical",), 1.0, plus=0.05)


# --- stats ------------------------------------------------------------------------------------------------------------


def stats(place: Place) -> list[Case]:
    """The figures, beside the one best statement."""
    return [
        place.floor(),
        place.psql("psql best stats", BEST_STATS),
        place.psql("psql same figures", SAME_STATS),
        place.junkie("stats", "stats", tty=True),
        place.junkie("stats --json", "stats", "--json"),
        place.junkie("stats --approximate", "stats", "--approximate", "--json"),
        place.agno("agno stats", "stats", rounds=3),
    ]


def stats_goals() -> Iterator[Goal]:
    yield Goal("stats", ("F", "psql best stats"), 1.05)
    yield Goal("stats --json", ("F", "psql best stats"), 1.05)
    yield Goal("stats --json", ("F", "psql same figures"), 1.05)
    yield Goal("stats --approximate", ("F",), 1.15)
    yield Goal("stats", ("F",), 1.1, what="peak")


# --- search -----------------------------------------------------------------------------------------------------------


def search(place: Place) -> list[Case]:
    """Words that are nowhere, seldom and often, without an index of ours."""
    plain = (
        f"SELECT * FROM {MEMORIES} WHERE memory #>> '{{}}' ILIKE '%{ABSENT}%'"
        " ORDER BY updated_at DESC, memory_id LIMIT 20"
    )
    return [
        place.floor(),
        place.psql("psql ILIKE, absent", plain),
        # The fastest that finds a text anywhere, in any case: most of it goes into reading five million texts.
        place.psql("psql ILIKE in C, absent", plain.replace("ILIKE", 'COLLATE "C" ILIKE').replace("BY u", "BY 0 + u")),
        *_searches(place, ""),
        place.agno("agno search, absent", "search", ABSENT, rounds=3),
    ]


def indexed_search(place: Place) -> list[Case]:
    """The same with the full-text index."""
    rare = (
        f"SELECT * FROM {MEMORIES} WHERE to_tsvector('simple', memory #>> '{{}}') @@ to_tsquery('simple', '{RARE}:*')"
        " ORDER BY updated_at + 0 DESC NULLS LAST LIMIT 80"
    )
    return [place.floor(), place.psql("psql full text, rare", rare), *_searches(place, ", indexed")]


def _searches(place: Place, suffix: str) -> list[Case]:
    words = {"absent": ABSENT, "rare": RARE, "common": COMMON}
    return [
        place.junkie(f"search, {name}{suffix}", "memories", "search", word, "--json") for name, word in words.items()
    ]


def search_goals() -> Iterator[Goal]:
    yield Goal("search, absent", ("psql ILIKE, absent",), 0.2)
    yield Goal("search, absent", ("F", "psql ILIKE in C, absent"), 1.05)
    yield Goal("search, common", ("F",), 1.0, plus=0.075)
    yield Goal("search, common", ("F",), 1.1, what="peak")


def indexed_search_goals() -> Iterator[Goal]:
    for name in ("absent", "rare", "common"):
        yield Goal(f"search, {name}, indexed", ("F",), 1.0, plus=0.075 if name == "common" else 0.01)
    yield Goal("search, rare, indexed", ("F", "psql full text, rare"), 1.0, plus=0.01)


# --- clear and erase --------------------------------------------------------------------------------------------------

_CLEAR = "BEGIN; DELETE FROM ai.user_memories WHERE user_id = '{0}'; COMMIT"
_ERASE = (
    "BEGIN; DELETE FROM ai.user_memories WHERE user_id = '{0}';"
    " DELETE FROM ai.agent_sessions_runs WHERE user_id = '{0}';"
    " DELETE FROM ai.agent_sessions WHERE user_id = '{0}'; COMMIT"
)
_LEFT = "".join(
    f"SELECT count(*) FROM ai.{table} WHERE user_id = '{{0}}'; "
    for table in ("user_memories", "agent_sessions_runs", "agent_sessions")
)
# What a receipt rests on beside that: recounted before the commit, and again after it.
_ERASE_COUNTED = _ERASE.replace("COMMIT", _LEFT + "COMMIT") + f"; {_LEFT}"


def deletions(place: Place, suffix: str = "") -> list[Case]:
    """Another user of middling size is cleared or erased each time."""
    users = place.victims()

    def each(name: str, *arguments: str) -> Case:
        return place.junkie_each(name + suffix, lambda: (*arguments, next(users), "--yes"))

    return [
        place.floor(),
        place.psql_each("psql delete memories" + suffix, lambda: _CLEAR.format(next(users))),
        each("clear -u typical", "memories", "clear", "-u"),
        each("clear -u typical --no-undo", "memories", "clear", "--no-undo", "-u"),
        place.psql_each("psql delete all" + suffix, lambda: _ERASE.format(next(users))),
        place.psql_each("psql delete all, recounted" + suffix, lambda: _ERASE_COUNTED.format(next(users))),
        each("users erase typical", "users", "erase"),
    ]


def deletions_goals(suffix: str = "") -> Iterator[Goal]:
    memories, everything = f"psql delete memories{suffix}", f"psql delete all{suffix}"
    yield Goal(f"clear -u typical{suffix}", ("F", memories), (1.0, 1.2))
    yield Goal(f"clear -u typical --no-undo{suffix}", ("F", memories), (1.0, 1.2))
    yield Goal(f"users erase typical{suffix}", ("F", everything), (1.0, 1.2))
    yield Goal(f"users erase typical{suffix}", ("F", f"psql delete all, recounted{suffix}"), (1.0, 1.2))


# --- export and import ------------------------------------------------------------------------------------------------


def transfers(place: Place) -> list[Case]:
    """All memories out, beside psql doing the same."""
    out = place.folder / "export.jsonl"
    moved = {"database": place.moved.url, "after": out.unlink}
    copy = f"\\copy (SELECT row_to_json(m) FROM {MEMORIES} m) TO '{out}'"
    synced = place.folder / "synced.sql"  # the file is on the disk when the command ends, as ours is
    synced.write_text(f"{copy}\n\\! sync {out}\n", "utf-8")
    return [
        place.floor(),
        place.psql_script("psql \\copy out", copy, **moved),
        place.psql_script("psql \\copy out, synced", f"\\i {synced}", **moved),
        place.junkie("export", "memories", "export", "-o", str(out), **moved),
    ]


def transfers_goals() -> Iterator[Goal]:
    yield Goal("export", ("psql \\copy out",), 1.0)
    yield Goal("export", ("F", "psql \\copy out, synced"), 1.0)
    yield Goal("export", ("F",), 1.1, what="peak")


_STAGE = "CREATE TEMP TABLE staged (line jsonb);\n"
_STAGE += "\\copy staged FROM '{0}' WITH (FORMAT csv, QUOTE e'\\x01', DELIMITER e'\\x02')\n"
_MERGE = (
    "INSERT INTO ai.user_memories SELECT r.* FROM staged, jsonb_populate_record(NULL::ai.user_memories, line) r"
    " WHERE NOT EXISTS (SELECT 1 FROM ai.user_memories o WHERE o.memory_id = line ->> 'memory_id');\n"
)


# What undo needs beside: an entry a memory, in the table that junkie keeps them in.
_HISTORY = (
    "CREATE TABLE ai.history (change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, batch uuid NOT NULL,"
    " at timestamptz NOT NULL DEFAULT now(), by text NOT NULL, action text NOT NULL, memory_id text NOT NULL,"
    " user_id text, before json, after json, undo_of uuid); CREATE INDEX ON ai.history (at);"
    " CREATE INDEX ON ai.history (batch); CREATE INDEX ON ai.history (memory_id);"
    " CREATE INDEX ON ai.history (user_id, change_id DESC);\n"
)
_MERGE_KEPT = (
    f"WITH new AS ({_MERGE.rstrip().rstrip(';')} RETURNING memory_id, user_id, row_to_json(ai.user_memories.*) AS row)"
    " INSERT INTO ai.history (batch, by, action, memory_id, user_id, after) SELECT gen_random_uuid(), 'psql', 'added',"
    " memory_id, user_id, row FROM new;\n"
)


def imports(place: Place) -> list[Case]:
    """The same memories into an empty database, by COPY and one INSERT in psql, too."""
    lines = place.exported_lines()
    script, kept = place.folder / "import.sql", place.folder / "kept.sql"
    script.write_text("BEGIN;\n" + _STAGE.format(lines) + _MERGE + "COMMIT;\n", "utf-8")
    kept.write_text("BEGIN;\n" + _HISTORY + _STAGE.format(lines) + _MERGE_KEPT + "COMMIT;\n", "utf-8")
    empty = place.empty_database
    return [
        place.floor(),
        place.psql_script("psql \\copy in", f"\\i {script}", database=empty, before=place.empty),
        place.psql_script("psql \\copy in, history kept", f"\\i {kept}", database=empty, before=place.empty),
        place.junkie("import", "memories", "import", str(lines), database=empty, before=place.empty),
        place.junkie(
            "import --no-undo", "memories", "import", str(lines), "--no-undo", database=empty, before=place.empty
        ),
    ]


def imports_goals() -> Iterator[Goal]:
    yield Goal("import", ("psql \\copy in",), 1.25)
    yield Goal("import", ("psql \\copy in, history kept",), 1.25)
    yield Goal("import --no-undo", ("psql \\copy in",), 1.25)
    yield Goal("import", ("F",), 1.1, what="peak")


# --- backup -----------------------------------------------------------------------------------------------------------


# What a proof rests on: each table's content hashed by the server, and the file's own digest.
_HASH = (
    "for table in user_memories agent_sessions agent_sessions_runs; do "
    + content_hash.table_sql("ai", "$table", encoding="UTF8").replace('"', '\\"').join(('psql -XqAtc "', '"; '))
    + "done"
)
_DUMP_HASHED = f"{_HASH} & pg_dump -Fc -Z zstd:3 --no-sync -n ai -f {{0}} && wait $! && sync {{0}} && sha256sum {{0}}"
_RESTORE_HASHED = f"sha256sum {{0}}; pg_restore -1 -d $PGDATABASE {{0}}; {_HASH}"


def backups(place: Place) -> list[Case]:
    """pg_dump alone, and a backup with and without its proof."""
    dump = place.folder / "dump"

    def raw(name: str, *options: str) -> Case:
        return place.tool(
            name, "pg_dump", "-Fc", *options, "-n", "ai", "-f", str(dump), database=place.moved.url, after=dump.unlink
        )

    def made(name: str, *options: str) -> Case:
        folder = place.folder / "backups"
        return place.junkie(
            name,
            "backup",
            "-o",
            str(folder),
            *options,
            database=place.moved.url,
            after=lambda: place.remove(folder),
        )

    return [
        place.floor(),
        raw("pg_dump -Fc (gzip)"),
        raw("pg_dump -Fc -Z zstd:3", "-Z", "zstd:3"),
        place.shell(
            "pg_dump -Fc -Z zstd:3, hashed", _DUMP_HASHED.format(dump), database=place.moved.url, after=dump.unlink
        ),
        made("backup --no-verify", "--no-verify"),
        made("backup"),
    ]


def backups_goals() -> Iterator[Goal]:
    yield Goal("backup --no-verify", ("F", "pg_dump -Fc -Z zstd:3"), 1.02)
    yield Goal("backup --no-verify", ("F", "pg_dump -Fc -Z zstd:3, hashed"), 1.02)
    yield Goal("backup --no-verify", ("pg_dump -Fc (gzip)",), 0.25)
    yield Goal("backup", ("backup --no-verify",), 3.0)
    # With the proof it is the scratch PostgreSQL whose memory is measured.
    yield Goal("backup --no-verify", ("F",), 1.1, what="peak")


# --- the embedded server ----------------------------------------------------------------------------------------------


def restores(place: Place) -> list[Case]:
    """A backup of them back into an empty database, beside pg_restore and the same hashing."""
    dump = place.backup()
    empty: dict[str, Any] = {
        "database": place.empty_database,
        "before": lambda: place.new_database("bench_empty"),
    }
    return [
        place.floor(),
        place.shell("pg_restore", f"pg_restore -1 -d $PGDATABASE {dump}", **empty),
        place.shell("pg_restore, hashed", _RESTORE_HASHED.format(dump), **empty),
        place.junkie("restore", "restore", str(dump), "--yes", **empty),
    ]


def restores_goals() -> Iterator[Goal]:
    yield Goal("restore", ("F", "pg_restore, hashed"), 1.05)
    yield Goal("restore", ("F",), 1.1, what="peak")


def embedded(place: Place) -> list[Case]:
    """The first start, a start later on, and a command that meets the running server; each in its own folder."""
    line = place.folder / "one.jsonl"
    line.write_text(json.dumps({"memory_id": "m1", "memory": "likes tea", "user_id": "ada"}) + "\n", "utf-8")
    listing: tuple[str, ...] = ("memories", "list")

    def own(name: str, *arguments: str, before: Callable[[], None]) -> Case:
        env = {"POSTGRES_URL": "", "JUNKIE_DATA_DIR": str(place.own_server)}
        return Case(name, lambda _: Command((place.script, *arguments), env, before=before), rounds=5)

    return [
        place.floor(),
        own("embedded, first start", "memories", "import", str(line), before=place.drop_own_server),
        own("embedded, later start", *listing, before=place.stop_own_server),
        own("embedded, running", *listing, before=lambda: None),
    ]


def embedded_goals() -> Iterator[Goal]:
    yield Goal("embedded, first start", (), 0, plus=3.0)
    yield Goal("embedded, later start", ("embedded, running",), 1.0, plus=0.5)
    yield Goal("embedded, running", ("F",), 1.0)


def startup(place: Place) -> list[Case]:
    """What loads nothing from a database, and the peers that are installed."""
    tree = place.help_tree()
    return [
        place.python("P0", "-c", "pass"),
        place.empty_script("PS"),
        place.junkie("--version", "--version"),
        place.python("FH", tree, "--help"),
        place.junkie("--help", "--help"),
        place.python("FH memories list", tree, "memories", "list", "--help"),
        place.junkie("memories list --help", "memories", "list", "--help"),
        place.floor(),
        *place.peers(),
    ]


def startup_goals() -> Iterator[Goal]:
    yield Goal("--version", ("P0",), 1.3)
    yield Goal("--version", ("PS",), 1.1)
    yield Goal("--help", ("FH",), 1.1)
    yield Goal("memories list --help", ("FH memories list",), 1.1)
