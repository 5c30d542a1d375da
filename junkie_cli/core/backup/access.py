"""Reads owners, grants and default privileges of a schema, and applies them to a restored one.

A restore creates objects as the restoring role; the bot may use another. So owners, grants and default privileges are
recorded in the manifest (role names only) and applied afterwards, as far as the roles exist and the restoring role has
the privileges. If an old schema is replaced, its state takes precedence.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from junkie_cli.core.schema.tables import quoted
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

SCHEMA, TABLE, SEQUENCE, ROUTINE, TYPE = "SCHEMA", "TABLE", "SEQUENCE", "ROUTINE", "TYPE"
_KINDS = frozenset({SCHEMA, TABLE, SEQUENCE, ROUTINE, TYPE})
_DEFAULT_KINDS = {"r": "TABLES", "S": "SEQUENCES", "f": "ROUTINES", "T": "TYPES"}
_TABLE_PRIVILEGES = {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"}
_PRIVILEGES = frozenset({*_TABLE_PRIVILEGES, "USAGE", "CREATE", "EXECUTE"})
"""The privileges of each kind of object. Kinds and privileges are inserted into statements verbatim."""


@frozen
class Grant:
    """A privilege on an object, or on one of its columns; an empty grantee is PUBLIC."""

    kind: str
    name: str
    column: str
    grantee: str
    privilege: str
    grantable: bool


@frozen
class Owner:
    """The owner of an object. Names have no schema; a routine's includes its argument types."""

    kind: str
    name: str
    role: str


@frozen
class DefaultGrant:
    """A default privilege: what future objects of `role` of a kind (`TABLES`, ...) grant to `grantee`."""

    role: str
    kind: str
    grantee: str
    privilege: str
    grantable: bool


@frozen
class Access:
    """Owners, grants and default privileges of one schema."""

    owners: tuple[Owner, ...] = ()
    grants: tuple[Grant, ...] = ()
    defaults: tuple[DefaultGrant, ...] = ()

    def entries(self) -> tuple[tuple[str, ...], ...]:
        """Return rows of text for the manifest."""
        owners = [("owner", owner.kind, owner.name, owner.role) for owner in self.owners]
        grants = [("grant", g.kind, g.name, g.column, g.grantee, g.privilege, str(g.grantable)) for g in self.grants]
        defaults = [("default", d.role, d.kind, d.grantee, d.privilege, str(d.grantable)) for d in self.defaults]
        return (*owners, *grants, *defaults)

    @classmethod
    def from_entries(cls, entries: Iterable[tuple[str, ...]]) -> "Access":
        """Parse the result of `entries`. Raises ValueError for impossible rows."""
        rows = list(entries)
        for row in rows:
            _check(row)
        return cls(
            tuple(Owner(*row[1:]) for row in rows if row[0] == "owner"),
            tuple(Grant(row[1], row[2], row[3], row[4], row[5], row[6] == "True") for row in rows if row[0] == "grant"),
            tuple(
                DefaultGrant(row[1], row[2], row[3], row[4], row[5] == "True") for row in rows if row[0] == "default"
            ),
        )

    def over(self, other: "Access") -> "Access":
        """Return this access, plus that of `other` for objects that are not in this one."""
        known = {(owner.kind, owner.name) for owner in self.owners}
        return Access(
            self.owners + tuple(o for o in other.owners if (o.kind, o.name) not in known),
            self.grants + tuple(g for g in other.grants if (g.kind, g.name) not in known),
            self.defaults if known else other.defaults,
        )


def _check(row: tuple[str, ...]) -> None:
    """Raise ValueError unless `row` is safe to become a statement."""
    match row:
        case ("owner", kind, _, _) if kind in _KINDS:
            return
        case ("grant", kind, _, _, _, privilege, _) if kind in _KINDS and privilege in _PRIVILEGES:
            return
        case ("default", _, kind, _, privilege, _) if kind in _DEFAULT_KINDS.values() and privilege in _PRIVILEGES:
            return
    raise ValueError(f"an invalid owner or grant: {' '.join(row)[:100]}")


# Members of extensions and constructors of range types belong to these and are not in a dump.
_OBJECTS = """
WITH members AS MATERIALIZED (SELECT classid AS class, objid AS id FROM pg_depend
  WHERE deptype = 'e' OR deptype = 'i' AND classid = 'pg_proc'::regclass),
objects(kind, name, owner, acl, tied) AS (
  SELECT 'SCHEMA', '', nspowner, nspacl, false FROM pg_namespace WHERE nspname = $1
  UNION ALL
  SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.relname, c.relowner, c.relacl,
    EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
              AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i'))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND NOT EXISTS (SELECT FROM members m WHERE m.class = 'pg_class'::regclass AND m.id = c.oid)
  UNION ALL
  SELECT 'ROUTINE', quote_ident(p.proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')', p.proowner,
    p.proacl, false
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1
      AND NOT EXISTS (SELECT FROM members m WHERE m.class = 'pg_proc'::regclass AND m.id = p.oid)
  UNION ALL
  SELECT 'TYPE', t.typname, t.typowner, t.typacl, false
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
    WHERE n.nspname = $1 AND (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND c.relkind = 'c')
      AND NOT EXISTS (SELECT FROM members m WHERE m.class = 'pg_type'::regclass AND m.id = t.oid))
"""
_OWNERS = _OBJECTS + "SELECT kind, name, pg_get_userbyid(owner) FROM objects WHERE NOT tied ORDER BY 1, 2"
_GRANTS = (
    _OBJECTS
    + """
SELECT kind, name, '', CASE WHEN x.grantee = 0 THEN '' ELSE pg_get_userbyid(x.grantee) END, x.privilege_type,
  x.is_grantable FROM objects CROSS JOIN LATERAL aclexplode(acl) x WHERE acl IS NOT NULL AND x.grantee <> owner
UNION ALL
SELECT 'TABLE', c.relname, a.attname, CASE WHEN x.grantee = 0 THEN '' ELSE pg_get_userbyid(x.grantee) END,
  x.privilege_type, x.is_grantable
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  CROSS JOIN LATERAL aclexplode(a.attacl) x WHERE n.nspname = $1 AND a.attacl IS NOT NULL AND NOT a.attisdropped
ORDER BY 1, 2, 3, 4, 5
"""
)
_DEFAULTS = """
SELECT pg_get_userbyid(d.defaclrole), d.defaclobjtype::text,
  CASE WHEN x.grantee = 0 THEN '' ELSE pg_get_userbyid(x.grantee) END, x.privilege_type, x.is_grantable
FROM pg_default_acl d JOIN pg_namespace n ON n.oid = d.defaclnamespace CROSS JOIN LATERAL aclexplode(d.defaclacl) x
WHERE n.nspname = $1 ORDER BY 1, 2, 3, 4
"""


async def read(connection: "asyncpg.Connection[Any]", schema: str) -> Access:
    """Read the access of `schema`; empty if it does not exist. Runs in the caller's transaction."""
    defaults = await connection.fetch(_DEFAULTS, schema)
    return Access(
        tuple(Owner(*row) for row in await connection.fetch(_OWNERS, schema)),
        tuple(Grant(*row) for row in await connection.fetch(_GRANTS, schema)),
        tuple(DefaultGrant(row[0], _DEFAULT_KINDS[row[1]], *row[2:]) for row in defaults if row[1] in _DEFAULT_KINDS),
    )


async def give(connection: "asyncpg.Connection[Any]", schema: str, wanted: Access) -> list[str]:
    """Apply this access to `schema` in the caller's transaction; return messages about what failed.

    Missing objects and roles are skipped; a missing role is reported once.
    """
    import asyncpg

    roles = {row[0] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
    there = {(owner.kind, owner.name) for owner in (await read(connection, schema)).owners}
    there |= {(SEQUENCE, row[0]) for row in await connection.fetch(_SEQUENCES, schema)}
    missing: dict[str, None] = {}
    refused: dict[str, None] = {}
    for named, key, statement in _statements(schema, wanted):
        absent = [role for role in named if role and role not in roles]
        if absent or (key and key not in there):
            missing.update(dict.fromkeys(absent))
            continue
        try:
            async with connection.transaction():
                await connection.execute(statement)
        except asyncpg.InsufficientPrivilegeError:
            refused[statement] = None
    problems = [f"role {role} does not exist here: the restoring role owns its objects and grants" for role in missing]
    return problems + [f"missing privilege; ask an owner or superuser to run: {statement}" for statement in refused]


_SEQUENCES = """
SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = $1 AND relkind = 'S'
"""


def _statements(schema: str, wanted: Access) -> Iterator[tuple[tuple[str, ...], tuple[str, str] | None, str]]:
    """(roles named, object concerned, statement); grants before owners, while the restoring role still owns all."""
    opened = {(grant.kind, grant.name) for grant in wanted.grants if not grant.column}
    for kind, name in sorted(opened):
        if kind in {ROUTINE, TYPE}:  # PUBLIC has default privileges on these kinds
            yield (), (kind, name), f"REVOKE ALL ON {kind} {_object(schema, kind, name)} FROM PUBLIC"
    for grant in wanted.grants:
        column = f" ({quoted(grant.column)})" if grant.column else ""
        yield (
            (grant.grantee,),
            (grant.kind, grant.name),
            f"GRANT {grant.privilege}{column} ON {grant.kind} {_object(schema, grant.kind, grant.name)}"
            f" TO {_role(grant.grantee)}{_option(grant.grantable)}",
        )
    for default in wanted.defaults:
        yield (
            (default.role, default.grantee),
            None,
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {quoted(default.role)} IN SCHEMA {quoted(schema)}"
            f" GRANT {default.privilege} ON {default.kind} TO {_role(default.grantee)}{_option(default.grantable)}",
        )
    for owner in sorted(wanted.owners, key=lambda owner: owner.kind == SCHEMA):
        target = _object(schema, owner.kind, owner.name)
        yield (owner.role,), (owner.kind, owner.name), f"ALTER {owner.kind} {target} OWNER TO {quoted(owner.role)}"


def _object(schema: str, kind: str, name: str) -> str:
    if kind == SCHEMA:
        return quoted(schema)
    return f"{quoted(schema)}.{name if kind == ROUTINE else quoted(name)}"


def _role(name: str) -> str:
    return quoted(name) if name else "PUBLIC"


def _option(grantable: bool) -> str:
    return " WITH GRANT OPTION" if grantable else ""
