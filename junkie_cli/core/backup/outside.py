"""Finds what a schema references in other schemas, and how to create it, empty, on the scratch server.

A dump of one schema does not restore by itself when a column has a type of another schema, a trigger or default calls
a function there, a view reads a table there, or a foreign key leads there: the usual form on hosted platforms. For the
proof such objects are made from the source's catalogue as far as the dump needs them: a table has the columns that are
used and no rows, a function has its signature and returns NULL. Foreign keys that lead out of the schema are left out
of the proof. What cannot be made this way is named, and leaves the backup unverified.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg


@frozen
class Outside:
    """The objects in other schemas that a schema references.

    `objects` are identities, for people; `schemas` are their schemas, quoted for SQL; `statements` create them without
    rows; `foreign_keys` are (table, constraint) that reference them; `obstacles` describe what cannot be created.
    """

    objects: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ()
    statements: tuple[str, ...] = ()
    foreign_keys: tuple[tuple[str, str], ...] = ()
    obstacles: tuple[str, ...] = ()


@frozen
class _Object:
    """An object of another schema; `column` is one of its columns, or 0. `user` is the object that references it."""

    catalog: str
    oid: int
    column: int
    schema: str
    identity: str
    user: str
    user_catalog: str
    computes: bool


# Members of extensions come with their extension; built-in objects have an oid below 16384.
_DEPENDS = """
FROM {source} d
CROSS JOIN LATERAL (SELECT CASE WHEN d.refclassid = 'pg_type'::regclass THEN
  coalesce((SELECT nullif(t.typelem, 0) FROM pg_type t WHERE t.oid = d.refobjid AND t.typcategory = 'A'), d.refobjid)
  ELSE d.refobjid END) used(oid)
CROSS JOIN LATERAL pg_identify_object(d.refclassid, used.oid, 0) seen
WHERE d.deptype IN ('n', 'a') AND used.oid >= 16384 AND d.refclassid <> 'pg_namespace'::regclass
  AND seen.type <> 'index' AND seen.schema IS NOT NULL AND seen.schema <> quote_ident($1) AND seen.schema !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.refclassid AND e.objid = used.oid AND e.deptype = 'e')
"""
_SELECT = """
SELECT DISTINCT d.refclassid::regclass::text AS catalog, used.oid, d.refobjsubid AS column, seen.schema, seen.identity,
  pg_describe_object(d.classid, d.objid, 0) AS user, d.classid::regclass::text AS user_catalog,
  d.classid = 'pg_attrdef'::regclass AND EXISTS (SELECT FROM pg_attrdef f JOIN pg_attribute a
    ON a.attrelid = f.adrelid AND a.attnum = f.adnum WHERE f.oid = d.objid AND a.attgenerated <> '') AS computes
"""
# All objects in the schema that can reference others, without members of extensions.
_OF_SCHEMA = (
    """
WITH here AS (SELECT oid FROM pg_namespace WHERE nspname = $1),
own(class, object) AS (
  SELECT 'pg_class'::regclass, oid FROM pg_class WHERE relnamespace = (SELECT oid FROM here) UNION ALL
  SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typnamespace = (SELECT oid FROM here) UNION ALL
  SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace = (SELECT oid FROM here) UNION ALL
  SELECT 'pg_operator'::regclass, oid FROM pg_operator WHERE oprnamespace = (SELECT oid FROM here) UNION ALL
  SELECT 'pg_constraint'::regclass, oid FROM pg_constraint WHERE connamespace = (SELECT oid FROM here) UNION ALL
  SELECT x.class, x.object FROM (
    SELECT 'pg_attrdef'::regclass, oid, adrelid FROM pg_attrdef UNION ALL
    SELECT 'pg_rewrite'::regclass, oid, ev_class FROM pg_rewrite UNION ALL
    SELECT 'pg_trigger'::regclass, oid, tgrelid FROM pg_trigger WHERE NOT tgisinternal UNION ALL
    SELECT 'pg_policy'::regclass, oid, polrelid FROM pg_policy) x(class, object, relation)
    JOIN pg_class c ON c.oid = x.relation WHERE c.relnamespace = (SELECT oid FROM here)),
used_by AS (
  SELECT p.* FROM own JOIN pg_depend p ON p.classid = own.class AND p.objid = own.object
  WHERE NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = p.classid AND e.objid = p.objid AND e.deptype = 'e'))
"""
    + _SELECT
    + _DEPENDS.format(source="used_by")
    + "ORDER BY 4, 5, 3, 6"
)
# Dependencies of those objects: types of functions, base types of domains, types of used columns.
_OF_OBJECTS = (
    """
WITH wanted AS (SELECT * FROM unnest($2::text[], $3::oid[], $4::int[]) w(catalog, oid, part)),
used_by AS (
  SELECT p.* FROM wanted w JOIN pg_depend p ON p.classid = w.catalog::regclass AND p.objid = w.oid
  WHERE w.catalog <> 'pg_class' OR (w.part > 0 AND p.objsubid = w.part)
  UNION
  SELECT p.* FROM wanted w JOIN pg_type t ON w.catalog = 'pg_type' AND t.oid = w.oid AND t.typrelid <> 0
  JOIN pg_depend p ON p.classid = 'pg_class'::regclass AND p.objid = t.typrelid AND p.objsubid > 0)
"""
    + _SELECT
    + _DEPENDS.format(source="used_by")
)
_FOREIGN_KEYS = """
SELECT c.relname, k.conname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_class r ON r.oid = k.confrelid
WHERE k.contype = 'f' AND c.relnamespace = to_regnamespace(quote_ident($1)) AND r.relnamespace <> c.relnamespace
ORDER BY 1, 2
"""

# One statement for each object, NULL if its kind cannot be created.
_TYPES = """
SELECT t.oid, CASE t.typtype
  WHEN 'e' THEN format('CREATE TYPE %I.%I AS ENUM (%s)', n.nspname, t.typname,
    (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid))
  WHEN 'd' THEN format('CREATE DOMAIN %I.%I AS %s', n.nspname, t.typname, format_type(t.typbasetype, t.typtypmod))
  WHEN 'r' THEN (SELECT format('CREATE TYPE %I.%I AS RANGE (SUBTYPE = %s)', n.nspname, t.typname,
    format_type(rngsubtype, NULL)) FROM pg_range WHERE rngtypid = t.oid)
  WHEN 'c' THEN format(CASE c.relkind WHEN 'c' THEN 'CREATE TYPE %I.%I AS (%s)' ELSE 'CREATE TABLE %I.%I (%s)' END,
    n.nspname, t.typname, (SELECT string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', '
      ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)) END
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE t.oid = ANY($1::oid[])
"""
_FUNCTIONS = """
SELECT p.oid, CASE WHEN p.prokind = 'f' AND NOT coalesce(p.proargmodes && '{o,b}'::"char"[], false) THEN
  format('CREATE FUNCTION %I.%I(%s) RETURNS %s LANGUAGE plpgsql %s AS %L', n.nspname, p.proname,
    pg_get_function_identity_arguments(p.oid), pg_get_function_result(p.oid),
    CASE p.provolatile WHEN 'i' THEN 'IMMUTABLE' WHEN 's' THEN 'STABLE' ELSE 'VOLATILE' END,
    CASE WHEN p.prorettype = 'trigger'::regtype THEN 'BEGIN RETURN NEW; END'
         WHEN p.proretset OR p.prorettype = 'void'::regtype THEN 'BEGIN RETURN; END'
         ELSE 'BEGIN RETURN NULL; END' END) END
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = ANY($1::oid[])
"""
_RELATIONS = """
SELECT c.oid, CASE WHEN c.relkind = 'S' THEN format('CREATE SEQUENCE %I.%I', n.nspname, c.relname)
  WHEN c.relkind IN ('r', 'p', 'v', 'm', 'f') THEN format('CREATE TABLE %I.%I (%s)', n.nspname, c.relname,
    (SELECT string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum)
     FROM pg_attribute WHERE attrelid = c.oid AND NOT attisdropped AND EXISTS (
       SELECT FROM unnest($1::oid[], $2::int[]) w(id, part) WHERE w.id = c.oid AND w.part = attnum))) END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY($1::oid[])
"""
# Columns differ between versions of PostgreSQL.
_COLLATIONS = """
SELECT co.oid, format('CREATE COLLATION %I.%I (PROVIDER = %s, %s)', n.nspname, co.collname,
  CASE j ->> 'collprovider' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END,
  CASE WHEN j ->> 'collprovider' = 'c'
    THEN format('LC_COLLATE = %L, LC_CTYPE = %L', j ->> 'collcollate', j ->> 'collctype')
    ELSE format('LOCALE = %L, DETERMINISTIC = %s', coalesce(j ->> 'colllocale', j ->> 'colliculocale',
      j ->> 'collcollate'), j ->> 'collisdeterministic') END)
FROM pg_collation co JOIN pg_namespace n ON n.oid = co.collnamespace CROSS JOIN LATERAL to_jsonb(co) j
WHERE co.oid = ANY($1::oid[])
"""


async def read(connection: "asyncpg.Connection[Any]", schema: str) -> Outside:
    """Find what `schema` references in other schemas, in the caller's transaction."""
    direct = [_Object(**dict(row)) for row in await connection.fetch(_OF_SCHEMA, schema)]
    if not direct:
        return Outside()
    needed = [found for found in direct if not _is_foreign_key(found)]
    every = await _with_bases(connection, schema, needed)
    made = await _statements(connection, every)
    schemas = sorted({found.schema for found in [*direct, *every]})
    return Outside(
        tuple(dict.fromkeys(found.identity for found in direct)),
        tuple(schemas),
        tuple(dict.fromkeys(_schemas_first(every, made))),
        tuple((row[0], row[1]) for row in await connection.fetch(_FOREIGN_KEYS, schema)),
        tuple(_obstacles(needed, every, made)),
    )


def _schemas_first(every: Sequence[_Object], made: dict[tuple[str, int], str | None]) -> Iterable[str]:
    yield from (f"CREATE SCHEMA IF NOT EXISTS {schema}" for schema in sorted({found.schema for found in every}))
    yield from (statement for statement in made.values() if statement)


def _is_foreign_key(found: _Object) -> bool:
    return found.user_catalog == "pg_constraint" and found.catalog == "pg_class"


async def _with_bases(connection: "asyncpg.Connection[Any]", schema: str, needed: Sequence[_Object]) -> list[_Object]:
    every: dict[tuple[str, int, int], _Object] = {}
    latest = list(needed)
    while latest:
        fresh = {(found.catalog, found.oid, found.column): found for found in latest}
        fresh = {key: found for key, found in fresh.items() if key not in every}
        every |= fresh
        columns = [[key[part] for key in fresh] for part in range(3)]
        latest = (
            [_Object(**dict(row)) for row in await connection.fetch(_OF_OBJECTS, schema, *columns)] if fresh else []
        )
    return list(every.values())


async def _statements(
    connection: "asyncpg.Connection[Any]", every: Iterable[_Object]
) -> dict[tuple[str, int], str | None]:
    made: dict[tuple[str, int], str | None] = {}
    for catalog, query in (
        ("pg_type", _TYPES),
        ("pg_collation", _COLLATIONS),
        ("pg_class", _RELATIONS),
        ("pg_proc", _FUNCTIONS),
    ):
        of_kind = [found for found in every if found.catalog == catalog]
        arguments: list[list[int]] = [[found.oid for found in of_kind]]
        if query is _RELATIONS:
            arguments.append([found.column for found in of_kind])
        if of_kind:
            made |= {(catalog, row[0]): row[1] for row in await connection.fetch(query, *arguments)}
    return made


def _obstacles(
    needed: Sequence[_Object], every: Sequence[_Object], made: dict[tuple[str, int], str | None]
) -> Iterable[str]:
    """Describe dependencies that cannot be created: inheritance, and functions of generated columns."""
    for found in every:
        if made.get((found.catalog, found.oid)) is None:
            yield f"{found.user} needs {found.identity}"
    for found in needed:
        if found.user_catalog == "pg_class" and found.catalog == "pg_class":
            yield f"{found.user} is a part or a child of {found.identity}"
        if found.computes and found.catalog == "pg_proc":
            yield f"a generated column ({found.user}) is computed by {found.identity}"
