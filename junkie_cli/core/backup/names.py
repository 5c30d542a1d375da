"""Checks the names in a manifest against the table of contents of the dump.

A changed letter in a table name would skip the comparison of that table; in a grant, it would drop the grant from a
restore. The checksum detects such a change, but manifests of older versions have none.
"""

from collections.abc import Iterator

from junkie_cli.core.backup import access
from junkie_cli.core.backup.access import ROUTINE, SCHEMA, SEQUENCE, TABLE, TYPE, Access
from junkie_cli.core.backup.manifest import Manifest
from junkie_cli.core.backup.script import Contents
from junkie_cli.core.errors import BackupError

_ENTRIES = {
    TABLE: ("TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE"),
    SEQUENCE: ("SEQUENCE",),
    TYPE: ("TYPE", "DOMAIN", "SHELL TYPE"),
    ROUTINE: ("FUNCTION", "PROCEDURE", "AGGREGATE"),
}
"""The names of kinds in pg_dump's table of contents."""


def check(contents: Contents, manifest: Manifest) -> None:
    """Raise BackupError unless all tables and objects in `manifest` are in the archive."""
    there = _starts(contents)
    missing = [
        f"table {table.schema}.{table.table}"
        for table in manifest.tables
        # Of a table whose rows are left out the dump holds the structure alone.
        if _entry("TABLE DATA" if table.rows else "TABLE", table.schema, table.table) not in there
    ]
    missing += [
        f"{kind.lower()} {manifest.origin.schema}.{name}"
        for kind, name in sorted(_objects(manifest))
        if not _holds(there, manifest.origin.schema, kind, _plain(kind, name))
    ]
    if missing:
        raise BackupError(
            f"{manifest.file} does not contain everything in its manifest: {', '.join(missing[:5])}",
            hint="the manifest was changed, or belongs to another dump: use an intact copy of it, or use another"
            " backup",
            code="backup_manifest",
        )


def has_table(contents: Contents, schema: str, table: str) -> bool:
    """Return whether the archive creates this table, partitioned tables included."""
    wanted = _entry("TABLE", schema, table) + " "
    return any(line.split(" ", 3)[-1].startswith(wanted) for line in contents.lines)


def _holds(there: set[str], schema: str, kind: str, name: str) -> bool:
    if any(_entry(entry, schema, name) in there for entry in _ENTRIES[kind]):
        return True
    # Older versions also recorded the constructors of range types, which are named after the type.
    return kind == ROUTINE and (_entry("TYPE", schema, name) in there or "multirange" in name)


def _objects(manifest: Manifest) -> set[tuple[str, str]]:
    """Return (kind, name) of all objects with an owner or a grant, without the schema itself."""
    if any(found.schema == manifest.origin.schema for found in manifest.extensions):
        return set()  # older versions also recorded members of extensions, which are not in a dump
    recorded = Access.from_entries(manifest.access)
    named: list[access.Owner | access.Grant] = [*recorded.owners, *recorded.grants]
    return {(each.kind, each.name) for each in named if each.kind != SCHEMA}


def _starts(contents: Contents) -> set[str]:
    """Return all prefixes of the entries, split at spaces and at a routine's arguments: names can contain spaces."""
    return {start for line in contents.lines for start in _cut(line.split(" ", 3)[-1])}


def _cut(text: str) -> Iterator[str]:
    yield text.partition("(")[0]
    for at, letter in enumerate(text):
        if letter == " ":
            yield text[:at]


def _entry(what: str, schema: str, name: str) -> str:
    return f"{what} {schema} {name}".replace("\n", " ").replace("\r", " ")


def _plain(kind: str, name: str) -> str:
    """Return the name of an object as in the table of contents: a routine's unquoted and without arguments."""
    if kind != ROUTINE:
        return name
    if not name.startswith('"'):
        return name.partition("(")[0]
    quoted, _, _ = name[1:].replace('""', "\0").partition('"')
    return quoted.replace("\0", '"').partition("(")[0]
