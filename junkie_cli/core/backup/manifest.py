"""The manifest beside a dump: what is in it, how it was made, and whether it was proven.

JSON, so that people and other tools can read it; `load` trusts nothing of it that it did not check. It holds no
secret and nobody's text: table names, counts, hashes, versions, role names.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from junkie_cli.core.backup.retention import Policy
from junkie_cli.core.errors import BackupError
from junkie_cli.core.layout import Role
from junkie_cli.values import field, frozen

FORMAT = 1
REGULAR = "backup"
"""Why an ordinary backup was made; a restore makes others, of what it is about to replace."""
SUFFIX = ".json"


@frozen
class TableContent:
    """A table as the snapshot saw it: rows, and a content hash (see `content_hash`; 16 hexadecimal digits).

    `name` is the table's own name in the backed-up schema, `schema.table` for tables outside it.
    """

    name: str
    schema: str
    table: str
    rows: int
    hash: str


@frozen
class Extension:
    """An extension of the source; `needed` when something in the dump cannot be restored without it."""

    name: str
    schema: str
    version: str
    needed: bool


@frozen
class Origin:
    """Where a dump comes from. `system_identifier` names the cluster; empty where the server would not tell.

    `names` are those of agno's tables by role (memories, sessions, runs); empty in manifests that are older than that.
    """

    label: str
    database: str
    schema: str
    whole_database: bool
    system_identifier: str
    server_version: str
    encoding: str
    generation: str
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def job(self) -> tuple[str, str, str, bool]:
        """What makes two backups comparable: the same cluster, database, schema and extent."""
        return (self.system_identifier, self.database, self.schema, self.whole_database)


@frozen
class Manifest:
    """All that is known of a dump file. Times are UTC; sizes bytes; `modified_ns` is the file's mtime at its naming.

    `keep` is the retention that the run was told to apply: what tells when older backups will go.
    """

    file: str
    bytes: int
    sha256: str
    modified_ns: int
    started_at: datetime
    seconds: float
    origin: Origin
    pg_dump_version: str
    compression: str
    junkie_version: str
    tables: tuple[TableContent, ...]
    extensions: tuple[Extension, ...] = ()
    collations: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    access: tuple[tuple[str, ...], ...] = ()
    left_out: tuple[str, ...] = ()
    reason: str = REGULAR
    keep: Policy = field(default_factory=Policy)
    verified_at: datetime | None = None
    verified_with: str = ""
    unverified_because: str = ""

    @property
    def rows(self) -> int:
        """Rows of all tables together."""
        return sum(table.rows for table in self.tables)

    def proven(self, *, at: datetime, by: str) -> "Manifest":
        """This manifest, marked as proven by a restore into server `by` (its version)."""
        return replace(self, verified_at=at, verified_with=by, unverified_because="")


def path_for(dump: Path) -> Path:
    """Where the manifest of `dump` lies."""
    return dump.with_name(dump.name + SUFFIX)


def to_text(manifest: Manifest) -> str:
    """The manifest as the JSON document that is stored."""
    document = {"junkie_backup": FORMAT} | asdict(manifest)
    return json.dumps(document, indent=1, ensure_ascii=False, default=_json_value) + "\n"


def _json_value(value: Any) -> str:
    assert isinstance(value, datetime)
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def load(path: Path) -> Manifest:
    """Read the manifest at `path`. Raises BackupError when it is not one that this version can read."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return _from_document(document)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BackupError(
            f"{path} is not a manifest that this junkie can read",
            hint="the backup beside it cannot be proven: take another one",
            code="backup_manifest",
        ) from error


def _from_document(document: Mapping[str, Any]) -> Manifest:
    if document["junkie_backup"] != FORMAT:
        raise ValueError("made by another version of junkie")
    known = {known.name for known in fields(Manifest)}
    values = {name: value for name, value in document.items() if name in known}
    values |= {
        "origin": _checked_origin(values["origin"]),
        "tables": tuple(_checked_table(table) for table in values["tables"]),
        "extensions": tuple(Extension(**extension) for extension in values["extensions"]),
        "collations": tuple(str(name) for name in values["collations"]),
        "roles": tuple(str(role) for role in values["roles"]),
        "access": tuple(tuple(str(part) for part in entry) for entry in values["access"]),
        "left_out": tuple(str(name) for name in values["left_out"]),
        "keep": Policy(**values.get("keep", {})),
        "started_at": _time(values["started_at"]),
        "verified_at": _time(values["verified_at"]) if values["verified_at"] else None,
    }
    manifest = Manifest(**values)
    if manifest.bytes < 0 or len(manifest.sha256) != 64 or "/" in manifest.file:
        raise ValueError("impossible values")
    return manifest


def _checked_origin(values: Mapping[str, Any]) -> Origin:
    names = values.get("names", {})
    if names and (
        set(names) != {role.value for role in Role} or not all(isinstance(name, str) for name in names.values())
    ):
        raise ValueError("impossible names of tables")
    return Origin(**values)


def _checked_table(values: Mapping[str, Any]) -> TableContent:
    table = TableContent(**values)
    if not isinstance(table.rows, int) or table.rows < 0:
        raise ValueError("impossible row count")
    int(table.hash, 16)
    return table


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    return at
