"""What a database of agno can be like: properties that can be combined, each as the SQL that gives it.

A property is applied by a superuser to a database that some agno wrote. `{m}`, `{s}` and `{r}` are the tables of
memories, sessions and runs with their schema, `{schema}` is the schema. Of each group at most one property is chosen;
a property with `needs_runs` wants agno 3's table of runs.
"""

from dataclasses import dataclass, field

from tests.support.planted import PLANT

OWNER, MEMBER, STRANGER = "zoo_owner", "zoo_member", "zoo_stranger"


@dataclass(frozen=True)
class Property:
    """One property: `sql` gives it. `env` are settings that junkie needs to find what was renamed.

    `role` is whom junkie logs in as. `refuses` lists what may be refused and why, as `add,edit:CODE,CODE clear:CODE`,
    with the commands' names of `exercise.NAMES`: all else must succeed. `ignored` are columns (`m.zoo` for one of the
    memories) whose content may change in rows that stay. `real` are the names that tables have in the end.
    """

    name: str
    group: str
    sql: str = ""
    env: tuple[tuple[str, str], ...] = ()
    role: str = ""
    needs_runs: bool = False
    encoding: str = ""
    pooler: bool = False
    refuses: str = ""
    ignored: frozenset[str] = field(default_factory=frozenset)
    real: tuple[tuple[str, str], ...] = ()

    @property
    def hides(self) -> bool:
        """Whether it refuses so much that nothing can be learned of other properties than how they are read."""
        return len({action for action, _ in self.reasons}) > 5

    @property
    def reasons(self) -> frozenset[tuple[str, str]]:
        """Each command with each code that may refuse it."""
        parts = [part.partition(":") for part in self.refuses.split()]
        return frozenset(
            (action, code) for actions, _, codes in parts for action in actions.split(",") for code in codes.split(",")
        )


_NOTES = """
CREATE TABLE {place}.notes_{name} (id serial PRIMARY KEY, user_id text, note text,
  memory_id varchar {null} REFERENCES {{m}} (memory_id) ON DELETE {action});
INSERT INTO {place}.notes_{name} (user_id, note, memory_id)
  SELECT {owner}, 'note', memory_id FROM {{m}} WHERE user_id = 'ada' LIMIT 1;
"""


def _referenced(action: str, owner: str, place: str = "{schema}", *, refuses: str = "") -> Property:
    """A table that references memories; the rows about ada's memory belong to `owner`."""
    name = f"{action.lower().replace(' ', '_')}_{owner}"
    null = "DEFAULT 'nothing'" if action == "SET DEFAULT" else ""
    sql = _NOTES.format(place=place, name=name, action=action, null=null, owner=f"'{owner}'")
    where = "" if place == "{schema}" else ", from another schema"
    return Property(
        f"referenced ON DELETE {action} by rows of {owner}{where}",
        "reference",
        sql,
        refuses=refuses,
        ignored=frozenset({f"notes_{name}.memory_id"} if action.startswith("SET") else ()),
    )


def _trigger(name: str, event: str, body: str, *, ignored: str = "", refuses: str = "") -> Property:
    return Property(
        f"trigger: {name}",
        "trigger",
        f"CREATE FUNCTION public.zoo_trigger() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN {body} END $f$;"
        f" CREATE TRIGGER zoo {event} ON {{m}} FOR EACH ROW EXECUTE FUNCTION public.zoo_trigger();",
        refuses=refuses,
        ignored=frozenset(ignored.split()),
    )


def _column(name: str, definition: str, more: str = "", *, ignored: str = "", refuses: str = "") -> Property:
    return Property(
        f"column: {name}",
        "column",
        f"ALTER TABLE {{m}} ADD COLUMN zoo {definition}; {more}",
        refuses=refuses,
        ignored=frozenset(ignored.split()),
    )


def _setting(name: str, value: str, refuses: str = "") -> Property:
    return Property(
        f"setting: {name} = {value}",
        "setting",
        f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {name} = %L', current_database(), '{value}'); END $$;",
        refuses=refuses,
    )


_OWNED = """
DO $$ DECLARE t record; BEGIN
  EXECUTE 'ALTER SCHEMA {schema} OWNER TO zoo_owner';
  FOR t IN SELECT c.oid::regclass AS name FROM pg_class c WHERE c.relnamespace = '{schema}'::regnamespace
    AND c.relkind IN ('r', 'p', 'v') LOOP EXECUTE format('ALTER TABLE %s OWNER TO zoo_owner', t.name); END LOOP;
END $$;
"""
_GRANTED = """
GRANT USAGE, CREATE ON SCHEMA {schema} TO zoo_member;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO zoo_member;
GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO zoo_member;
"""
_READ = """
GRANT USAGE ON SCHEMA {schema} TO zoo_member;
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO zoo_member;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO zoo_member;
"""
_BASE = "ALTER TABLE {m} RENAME TO zoo_base; "
_INHERITED = """
CREATE TABLE {schema}.zoo_child () INHERITS ({m});
INSERT INTO {schema}.zoo_child
  SELECT (jsonb_populate_record(m, '{{"memory_id": "child"}}')).* FROM ONLY {m} m WHERE user_id = 'bob' LIMIT 1;
"""
_EVENT = """
CREATE FUNCTION public.zoo_event() RETURNS event_trigger LANGUAGE plpgsql AS $f$
  BEGIN INSERT INTO public.zoo_audit VALUES (tg_tag); END $f$;
CREATE EVENT TRIGGER zoo_event ON ddl_command_end EXECUTE FUNCTION public.zoo_event();
"""
_KNOWLEDGE = """
CREATE TABLE {schema}.agno_knowledge (id text, metadata jsonb);
INSERT INTO {schema}.agno_knowledge VALUES ('1', '{{"participants": ["ada"]}}');
"""
_PLANTED = (
    "GRANT CREATE, USAGE ON SCHEMA public TO PUBLIC; SET LOCAL ROLE "
    + STRANGER
    + "; "
    + PLANT.replace("{", "{{").replace("}", "}}")
    + "; RESET ROLE;"
)
_HIDE_BOB = """
ALTER TABLE {m} ENABLE ROW LEVEL SECURITY;
CREATE POLICY zoo ON {m} USING (user_id <> 'bob');
"""

_CHANGES = "import,add,edit,delete,clear,undo,sessions,erase,restore"
_READ_ONLY = f"{_CHANGES}:database_rights undo:unpromised doctor:database.rights"
_UNREADABLE = f"read,export,backup,{_CHANGES}:database_rights doctor:database.rights"
_HIDDEN = f"read,export,backup,{_CHANGES}:row_security doctor:schema.row_security"
_VIEW = f"{_CHANGES}:table_is_view"
_OTHERS = "clear,erase:rows_of_others"
_IN_THE_WAY = "clear,erase:rows_referenced"

PROPERTIES = (
    # Who junkie is there.
    Property("role: owner of the tables", "role", _OWNED, role=OWNER),
    Property("role: may read and write", "role", _GRANTED, role=MEMBER),
    Property("role: may only read", "role", _READ, role=MEMBER, refuses=_READ_ONLY),
    Property(
        "role: may not read memories",
        "role",
        _GRANTED + "REVOKE SELECT ON {m} FROM zoo_member;",
        role=MEMBER,
        refuses=_UNREADABLE,
    ),
    Property("row security: a policy hides bob", "role", _GRANTED + _HIDE_BOB, role=MEMBER, refuses=_HIDDEN),
    Property(
        "row security: no policy",
        "role",
        _GRANTED + "ALTER TABLE {m} ENABLE ROW LEVEL SECURITY;",
        role=MEMBER,
        refuses=_HIDDEN,
    ),
    Property(
        "row security: sessions alone",
        "role",
        _GRANTED + "ALTER TABLE {s} ENABLE ROW LEVEL SECURITY;",
        role=MEMBER,
        refuses=_HIDDEN,
    ),
    Property(
        "row security: forced on the owner",
        "role",
        _OWNED + _HIDE_BOB + "ALTER TABLE {m} FORCE ROW LEVEL SECURITY;",
        role=OWNER,
        refuses=_HIDDEN,
    ),
    # Columns.
    _column("generated", "int GENERATED ALWAYS AS (length(memory_id)) STORED"),
    _column("identity always", "bigint GENERATED ALWAYS AS IDENTITY", ignored="m.zoo"),
    _column("identity by default", "bigint GENERATED BY DEFAULT AS IDENTITY"),
    _column("required with a default", "text NOT NULL DEFAULT 'tenant'"),
    _column(
        "required without a default",
        "text",
        "UPDATE {m} SET zoo = 'tenant'; ALTER TABLE {m} ALTER COLUMN zoo SET NOT NULL;",
        refuses="add:database_constraint",
    ),
    _column("bytes", "bytea DEFAULT '\\x00ff'"),
    _column("times", "timestamptz[] DEFAULT ARRAY['2026-01-01 00:00:00+00'::timestamptz]"),
    _column("xml and range", "int4range DEFAULT '[1,5)'", "ALTER TABLE {m} ADD COLUMN zoo_xml numeric DEFAULT 'NaN';"),
    _column("full text", "tsvector GENERATED ALWAYS AS (to_tsvector('simple'::regconfig, memory::text)) STORED"),
    _column("type from another schema", "public.zoo_kind DEFAULT 'a'"),
    # Keys and kinds of table.
    Property("no primary key", "shape", "ALTER TABLE {m} DROP CONSTRAINT IF EXISTS user_memories_pkey CASCADE;"),
    Property(
        "one id of two people",
        "shape",
        "ALTER TABLE {m} DROP CONSTRAINT IF EXISTS user_memories_pkey CASCADE;"
        ' INSERT INTO {m} SELECT (m).* FROM (SELECT jsonb_populate_record(m, \'{{"user_id": "bob"}}\') AS m FROM {m} m'
        " WHERE user_id = 'ada' LIMIT 1) x;",
        refuses="doctor:memory.ids import:import_bad_line restore:restore_ids_not_unique,left_behind"
        " edit,delete:memory_id_not_unique",
    ),
    Property(
        "a view over a table",
        "shape",
        _BASE + "CREATE VIEW {m} AS SELECT * FROM {schema}.zoo_base;",
        real=(("m", "zoo_base"),),
        refuses=_VIEW,
    ),
    Property(
        "a view that cannot be written",
        "shape",
        _BASE + "CREATE VIEW {m} AS SELECT DISTINCT * FROM {schema}.zoo_base;",
        real=(("m", "zoo_base"),),
        refuses=_VIEW,
    ),
    Property(
        "partitions",
        "shape",
        "ALTER TABLE {m} RENAME TO zoo_base; CREATE TABLE {m} (LIKE {schema}.zoo_base INCLUDING DEFAULTS)"
        " PARTITION BY HASH (memory_id); ALTER TABLE {m} ADD PRIMARY KEY (memory_id);"
        " CREATE TABLE {schema}.zoo_p0 PARTITION OF {m} FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
        " CREATE TABLE {schema}.zoo_p1 PARTITION OF {m} FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
        " INSERT INTO {m} SELECT * FROM {schema}.zoo_base; DROP TABLE {schema}.zoo_base;",
    ),
    Property(
        "a table that inherits",
        "shape",
        _INHERITED,
    ),
    Property("unlogged", "shape", "ALTER TABLE {m} SET UNLOGGED;"),
    Property("unique text of a person", "shape", "CREATE UNIQUE INDEX zoo ON {m} (user_id, md5(memory::text));"),
    Property(
        "citext user ids",
        "shape",
        "CREATE EXTENSION IF NOT EXISTS citext SCHEMA public; ALTER TABLE {m} ALTER COLUMN user_id TYPE public.citext;",
    ),
    Property(
        "text instead of JSON",
        "shape",
        "ALTER TABLE {m} ALTER COLUMN memory TYPE text USING memory #>> '{{}}';",
        refuses="doctor:schema.tables",
    ),
    # References.
    _referenced("CASCADE", "ada"),
    _referenced("CASCADE", "bob", refuses=_OTHERS),
    # Without the right to read the notes, nobody knows whose go with a memory.
    _referenced("CASCADE", "bob", "public", refuses=f"{_OTHERS} delete,clear,erase:database_rights"),
    _referenced("RESTRICT", "ada", refuses="clear:rows_referenced"),
    _referenced("RESTRICT", "bob", refuses=_IN_THE_WAY),
    _referenced("NO ACTION", "bob", refuses=_IN_THE_WAY),
    _referenced("SET NULL", "bob"),
    _referenced("SET DEFAULT", "bob", refuses="clear,erase:database_constraint"),
    Property(
        "people of another schema are referenced",
        "reference",
        "CREATE TABLE public.people (user_id text PRIMARY KEY);"
        " INSERT INTO public.people SELECT DISTINCT user_id FROM {m} WHERE user_id IS NOT NULL;"
        " ALTER TABLE {m} ADD CONSTRAINT zoo_people FOREIGN KEY (user_id) REFERENCES public.people;",
    ),
    Property(
        "notes on sessions, of other people, cascade",
        "reference",
        "CREATE TABLE {schema}.zoo_notes (id serial PRIMARY KEY, user_id text, session_id varchar"
        " REFERENCES {s} (session_id) ON DELETE CASCADE);"
        " INSERT INTO {schema}.zoo_notes (user_id, session_id) SELECT 'bob', session_id FROM {s}"
        " WHERE user_id = 'ada';",
        refuses="erase:rows_of_others",
    ),
    # Triggers and rules.
    _trigger(
        "deletions are skipped",
        "BEFORE DELETE",
        "RETURN NULL;",
        refuses="delete,clear,undo:database_trigger erase:erase_incomplete",
    ),
    _trigger(
        "one deletion is skipped",
        "BEFORE DELETE",
        "IF old.memory::text LIKE '%cello%' THEN RETURN NULL; END IF; RETURN old;",
        refuses="clear:database_trigger erase:erase_incomplete",
    ),
    _trigger(
        "deletions fail",
        "BEFORE DELETE",
        "RAISE EXCEPTION 'not here';",
        refuses="delete,clear,erase,undo:database_trigger",
    ),
    _trigger(
        "insertions are skipped",
        "BEFORE INSERT",
        "RETURN NULL;",
        refuses="add,undo:database_trigger restore:restore_conflict",
    ),
    _trigger("updates are skipped", "BEFORE UPDATE", "RETURN NULL;", refuses="edit,undo:database_trigger"),
    _trigger(
        "the time is set", "BEFORE INSERT OR UPDATE", "new.updated_at = 1700000000; RETURN new;", ignored="m.updated_at"
    ),
    _trigger(
        "an audit table",
        "AFTER INSERT OR UPDATE OR DELETE",
        "INSERT INTO public.zoo_audit VALUES (TG_OP); RETURN NULL;",
    ),
    Property(
        "rule: deletions do nothing",
        "trigger",
        "CREATE RULE zoo AS ON DELETE TO {m} DO INSTEAD NOTHING;",
        refuses="delete,clear,undo:database_trigger erase:erase_incomplete",
    ),
    Property(
        "rule: insertions are counted",
        "trigger",
        "CREATE RULE zoo AS ON INSERT TO {m} DO ALSO INSERT INTO public.zoo_audit VALUES ('INSERT');",
        refuses="import,restore:database_trigger",
    ),
    Property(
        "an event trigger",
        "trigger",
        _EVENT,
    ),
    # What is around.
    Property(
        "a view of another schema",
        "around",
        "CREATE VIEW public.zoo_view AS SELECT user_id, count(*) FROM {m} GROUP BY 1;",
    ),
    Property("a materialized view", "around", "CREATE MATERIALIZED VIEW {schema}.zoo_view AS SELECT * FROM {m};"),
    Property("a publication", "around", "CREATE PUBLICATION zoo FOR TABLE {m};"),
    Property(
        "knowledge of a whole channel",
        "around",
        _KNOWLEDGE,
    ),
    Property(
        "an older copy of the schema",
        "around",
        "CREATE SCHEMA ai_before_20260101000000;"
        " CREATE TABLE ai_before_20260101000000.user_memories AS SELECT * FROM {m};",
    ),
    Property(
        "functions that a stranger planted in public",
        "around",
        _PLANTED,
    ),
    # Settings of the database.
    _setting("quote_all_identifiers", "on"),
    _setting("client_encoding", "LATIN1"),
    _setting("search_path", "pg_catalog"),
    _setting("default_transaction_read_only", "on", f"{_CHANGES}:database_readonly doctor:database.server"),
    _setting("default_transaction_isolation", "serializable"),
    _setting("datestyle", "German"),
    _setting("intervalstyle", "iso_8601"),
    _setting("bytea_output", "escape"),
    _setting("standard_conforming_strings", "off"),
    _setting("extra_float_digits", "-15"),
    _setting("transform_null_equals", "on"),
    # Then even the checks of doctor that read rows fail where a policy hides some.
    _setting("row_security", "off", "doctor:memory.rows,schema.indexes,backup.age"),
    _setting("session_replication_role", "replica"),
    _setting("timezone", "Asia/Kathmandu"),
    _setting("array_nulls", "off"),
    # Names.
    Property(
        "names: agno's defaults",
        "names",
        "ALTER TABLE {m} RENAME TO agno_memories; ALTER TABLE {s} RENAME TO agno_sessions;"
        " ALTER TABLE {r} RENAME TO agno_runs;",
        needs_runs=True,
        real=(("m", "agno_memories"), ("s", "agno_sessions"), ("r", "agno_runs")),
    ),
    Property(
        "names: of the bot's own",
        "names",
        'ALTER TABLE {m} RENAME TO "Was man weiß"; ALTER TABLE {s} RENAME TO talks; ALTER TABLE {r} RENAME TO turns;',
        env=(
            ("JUNKIE_MEMORY_TABLE", "Was man weiß"),
            ("JUNKIE_SESSION_TABLE", "talks"),
            ("JUNKIE_RUNS_TABLE", "turns"),
        ),
        needs_runs=True,
        real=(("m", "Was man weiß"), ("s", "talks"), ("r", "turns")),
    ),
    # Encodings and ways to connect.
    # agno 2.2's columns of type json hold escapes that such a server cannot compare with the character.
    Property("encoding: SQL_ASCII", "encoding", encoding="SQL_ASCII", refuses="import:import_conflict"),
    Property(
        "encoding: SQL_ASCII with a byte that is no UTF-8",
        "encoding",
        "UPDATE {m} SET input = E'caf\\351' WHERE user_id = 'bob';",
        encoding="SQL_ASCII",
        refuses="import:import_conflict",
    ),
    # agno 2.2's columns of type json hold escapes of characters that the encoding lacks; jsonb takes none of them.
    Property("encoding: LATIN1", "encoding", encoding="LATIN1", refuses="import:database_text"),
    Property("a pooler in transaction mode", "pooler", pooler=True),
)
BY_NAME = {entry.name: entry for entry in PROPERTIES}
assert len(BY_NAME) == len(PROPERTIES)
