"""A database with chosen properties, and what a superuser sees in it before and after a command."""

import json
import random
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from junkie_cli.core.database_url import DatabaseUrl, Host
from junkie_cli.core.embedded.scratch import ScratchServer
from junkie_cli.core.embedded.wire import WireError
from tests.support.generations import FOLDER
from tests.support.pgbouncer import SERVER_HBA, SERVER_SETTINGS, PgBouncer
from tests.support.postgres import execute, scratch_server
from tests.zoo.properties import PROPERTIES, Property

Draw = tuple[str, tuple[Property, ...]]
"""A generation of agno, and what is done to its database."""

PASSWORD = "zoo"
SUPERUSER = "zoo_super"
GENERATIONS = ("2.2", "2.9", "2.9-then-3.1", "3.1", "3.1")
PERSON, OTHER = "ada", "bob"
SHARED = "channel-7"
# The order in which properties are applied: what is renamed is renamed last, after all that names it.
_ORDER = ("encoding", "column", "shape", "reference", "trigger", "around", "pooler", "role", "setting", "names")
_numbers = count(1)

_BEGIN = """
CREATE TABLE public.zoo_audit (operation text);
CREATE TYPE public.zoo_kind AS ENUM ('a', 'b');
GRANT ALL ON public.zoo_audit TO PUBLIC;
"""

# Every row of every table as (table, owner, key, content), without our own tables and what a view shows again.
_TABLES = """
SELECT n.nspname, c.relname, json_agg(a.attname ORDER BY a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname <> 'information_schema'
  AND n.nspname NOT LIKE 'pg\\_%' AND c.relname NOT LIKE 'junkie\\_%'
  AND c.relname <> 'zoo_audit' GROUP BY 1, 2 ORDER BY 1, 2
"""


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True)
class Row:
    """A row as a superuser sees it; `content` is a hash of its columns."""

    table: str
    owner: str | None
    key: str | None
    content: str


@dataclass(frozen=True)
class Snapshot:
    """All rows of a database, apart from junkie's own tables."""

    rows: Counter[Row]

    def news(self, earlier: "Snapshot") -> Counter[Row]:
        """Rows that `earlier` does not have."""
        return self.rows - earlier.rows

    def without(self, tables: Collection[str]) -> "Snapshot":
        """All but some tables."""
        return Snapshot(Counter({row: n for row, n in self.rows.items() if row.table not in tables}))

    def apart_from(self, key: str) -> "Snapshot":
        """All but the rows with this id."""
        return Snapshot(Counter({row: n for row, n in self.rows.items() if row.key != key}))

    def difference(self, other: "Snapshot") -> list[str]:
        """Rows that only one of the two has, as short texts."""
        gone, new = self.rows - other.rows, other.rows - self.rows
        return [f"gone: {row.table} of {row.owner} ({row.key})" for row in gone] + [
            f"new: {row.table} of {row.owner} ({row.key})" for row in new
        ]

    def others(self, person: str) -> "Snapshot":
        """What is not this person's; a session in which somebody else spoke may be passed on and stripped."""
        kept = {row: n for row, n in self.rows.items() if row.owner != person and row.key != SHARED}
        return Snapshot(Counter(kept))


class Specimen:
    """One database of the zoo."""

    def __init__(self, server: ScratchServer, database: str, chosen: tuple[Property, ...], generation: str) -> None:
        self.server, self.database, self.generation = server, database, generation
        self.tables = {"m": "user_memories", "s": "agent_sessions", "r": "agent_sessions_runs", "schema": "ai"}
        self.properties: tuple[Property, ...] = ()
        self.skipped: list[str] = []
        execute(server, _BEGIN, database)
        for entry in chosen:
            self._apply(entry)
        self.role = next((entry.role for entry in self.properties if entry.role), SUPERUSER)
        self.env: dict[str, str] = dict(pair for entry in self.properties for pair in entry.env)
        self.real = dict(self.tables)
        for entry in reversed(self.properties):  # under a view that was renamed is the same table
            self.real |= dict(entry.real)

    def _apply(self, entry: Property) -> None:
        """Give the database a property; one that does not go with those before it is left out."""
        schema = self.tables["schema"]
        names = {name: f"{schema}.{table}" for name, table in self.tables.items()} | {"schema": schema}
        try:
            if entry.sql:
                execute(self.server, f"BEGIN; {entry.sql.format(**names)}; COMMIT", self.database)
        except WireError as error:
            self.skipped.append(f"{entry.name}: {error}")
            return
        self.properties = (*self.properties, entry)

    @property
    def names_of_memories(self) -> set[str]:
        """What the table of memories is or was called, and the view over it."""
        return {self.tables["m"], *(dict(entry.real).get("m", "") for entry in self.properties)}

    def __str__(self) -> str:
        return title(self.generation, self.properties)

    def ask(self, sql: str) -> list[tuple[str | None, ...]]:
        """Rows of a statement, as the superuser."""
        settings = "SET client_encoding = 'UTF8'; SET row_security = off; SET search_path = pg_catalog;"
        return execute(self.server, f"{settings} {sql}", self.database)

    @property
    def url(self) -> DatabaseUrl:
        """Its address, as the role that the properties name."""
        return DatabaseUrl((Host("127.0.0.1", self.server.port),), self.role, PASSWORD, self.database)

    def snapshot(self) -> Snapshot:
        """All rows, as a superuser sees them."""
        ignored = frozenset().union(*(entry.ignored for entry in self.properties))
        parts = []
        for schema, name, columns_text in self.ask(_TABLES):
            columns = json.loads(columns_text or "[]")
            source = f"{_quoted(schema or '')}.{_quoted(name or '')}"
            owner = "user_id::text" if "user_id" in columns else "NULL"
            short = "m" if name == self.real["m"] else name
            left = [column for column in columns if f"{short}.{column}" not in ignored]
            key = next((f"{_quoted(c)}::text" for c in ("session_id", "memory_id") if c in left), "NULL")
            content = f"md5(ROW({', '.join(f't.{_quoted(column)}' for column in left)})::text)"
            parts.append(f"SELECT {_literal(f'{schema}.{name}')}, {owner}, {key}, {content} FROM {source} t")
        rows = self.ask(" UNION ALL ".join(parts)) if parts else []
        return Snapshot(Counter(Row(str(table), owner, key, str(content)) for table, owner, key, content in rows))

    def _source(self, table: str) -> str:
        return f"{self.tables['schema']}.{_quoted(self.real[table])}"

    def count(self, table: str = "m", owner: str | None = None) -> int:
        """How many memories (`m`), sessions (`s`) or runs (`r`) there are, of one owner or of all."""
        where = "true" if owner is None else f"user_id::text = {_literal(owner)}"
        return int(self.ask(f"SELECT count(*) FROM {self._source(table)} WHERE {where}")[0][0] or 0)

    def family(self, table: str) -> list[str]:
        """The names of a table and of those that are parts of it."""
        name = f"'{self._source(table)}'::regclass"
        parts = f"WITH RECURSIVE f AS (SELECT {name}::oid AS oid UNION SELECT inhrelid FROM pg_inherits, f"
        rows = self.ask(f"{parts} WHERE inhparent = f.oid) SELECT relname FROM f JOIN pg_class c ON c.oid = f.oid")
        return [str(part) for (part,) in rows]

    def keys(self, table: str, column: str, owner: str) -> Counter[str]:
        """The ids of what one owner has."""
        where = f"user_id::text = {_literal(owner)}"
        rows = self.ask(f"SELECT {column} FROM {self._source(table)} WHERE {where} ORDER BY 1")
        return Counter(str(key) for (key,) in rows)

    def by_owner(self) -> dict[str | None, int]:
        """How many memories each owner has."""
        rows = self.ask(f"SELECT user_id::text, count(*) FROM {self._source('m')} GROUP BY 1")
        return {owner: int(count or 0) for owner, count in rows}


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def choose(rng: random.Random) -> Draw:
    """A generation of agno and up to six properties, at most one of each group."""
    generation = rng.choice(GENERATIONS)
    groups = rng.sample(_ORDER, k=rng.randint(1, 6))
    chosen = [rng.choice([entry for entry in PROPERTIES if entry.group == group]) for group in groups]
    fitting = [entry for entry in chosen if not entry.needs_runs or generation == "3.1"]
    return generation, in_order(fitting)


def title(generation: str, chosen: tuple[Property, ...]) -> str:
    """A draw in words."""
    return f"agno {generation}; " + "; ".join(entry.name for entry in chosen)


def deal(rng: random.Random) -> list[Draw]:
    """Every property once, several to each database; each generation of agno comes up.

    Two of one group are never together, apart from settings. What refuses almost everything is dealt apart.
    """
    order = list(PROPERTIES)
    rng.shuffle(order)
    hands: list[list[Property]] = []
    for entry in sorted(order, key=lambda entry: (entry.group == "setting", entry.hides)):
        free = [hand for hand in hands if _fits(entry, hand)]
        if free:
            min(free, key=len).append(entry)
        else:
            hands.append([entry])
    generations = [GENERATIONS[number % len(GENERATIONS)] for number in range(len(hands))]
    return [
        ("3.1" if any(entry.needs_runs for entry in hand) else generation, in_order(hand))
        for generation, hand in zip(generations, hands, strict=True)
    ]


def _fits(entry: Property, hand: list[Property]) -> bool:
    return entry.hides == any(other.hides for other in hand) and all(
        entry.group != other.group or entry.group == "setting" for other in hand
    )


def in_order(properties: list[Property]) -> tuple[Property, ...]:
    """The order in which they are applied."""
    return tuple(sorted(properties, key=lambda entry: _ORDER.index(entry.group)))


@contextmanager
def zoo_server() -> Iterator[ScratchServer]:
    """The server in which the zoo's databases are made, with its roles."""
    with scratch_server(settings=SERVER_SETTINGS, hba=SERVER_HBA) as server:
        for role in (f"{SUPERUSER} SUPERUSER", "zoo_owner", "zoo_member", "zoo_stranger"):
            execute(server, f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
        for role in ("zoo_owner", "zoo_member"):
            execute(server, f"ALTER ROLE {role} PASSWORD '{PASSWORD}'")
        yield server


@contextmanager
def specimen(
    server: ScratchServer, generation: str, chosen: tuple[Property, ...]
) -> Iterator[tuple[Specimen, Mapping[str, Any]]]:
    """A database with these properties, and the environment with which junkie finds it."""
    name = f"zoo_{next(_numbers)}"
    encoding = next((entry.encoding for entry in chosen if entry.encoding), "UTF8")
    execute(server, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C' STRATEGY FILE_COPY")
    dump = (FOLDER / f"agno-{generation}.sql").read_text("utf-8")
    if encoding == "LATIN1":
        dump = dump.replace("🏰", "").replace("ó", "o").encode("latin-1", "replace").decode("latin-1")
    try:
        execute(server, f"SET client_encoding = 'UTF8'; {dump}", name)
        made = Specimen(server, name, chosen, generation)
        if not any(entry.pooler for entry in made.properties):
            yield made, {"POSTGRES_URL": made.url.libpq(), **made.env}
            return
        with PgBouncer(server, user=made.role, password=PASSWORD, pool_size=3) as pooler:
            yield made, {"POSTGRES_URL": pooler.url(name).libpq(), **made.env}
    finally:
        execute(server, f"DROP DATABASE {name} WITH (FORCE)")
