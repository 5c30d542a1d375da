"""The manifest next to a dump: its contents, how it was made, and whether it is verified.

JSON, so that people and other tools can read it; `load` checks everything in it. It contains no secrets and no
personal text: only table names, counts, hashes, versions, role names.

Its `checksum` is the SHA-256 of the rest, independent of spaces and the order of keys. It detects changes by a disk or
an editor, and says nothing about the author. Manifests of older versions have none.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from junkie_cli.core.backup.access import Access
from junkie_cli.core.backup.outside import Outside
from junkie_cli.core.backup.retention import Policy
from junkie_cli.core.errors import BackupError
from junkie_cli.core.regular_files import read_regular
from junkie_cli.core.table_layout import Role
from junkie_cli.core.value_class import field, frozen

FORMAT = 1
LARGEST = 32 << 20
"""Maximum bytes of a manifest; a thousand tables with ten grants each need less than a megabyte."""
GENERATIONS = ("none", "2.2", "2.3", "3")
"""Values of `Origin.generation`, oldest first (see `core/schema/tables.py`)."""
REGULAR = "backup"
"""The reason of ordinary backups; a restore makes safety backups with another reason."""
SUFFIX = ".json"


@frozen
class TableContent:
    """A table in the snapshot: rows, and a content hash (see `content_hash`; 16 hexadecimal digits).

    `name` is the table's own name in the backed-up schema, `schema.table` for tables outside it.
    """

    name: str
    schema: str
    table: str
    rows: int
    hash: str


@frozen
class Extension:
    """An extension of the source; `needed` if the dump cannot be restored without it."""

    name: str
    schema: str
    version: str
    needed: bool


@frozen
class Origin:
    """The source of a dump. `system_identifier` identifies the cluster; empty if the server does not report it.

    `names` are the names of agno's tables by role (memories, sessions, runs); empty in older manifests.
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
        """Return what two comparable backups have in common: cluster, database, schema and extent."""
        return (self.system_identifier, self.database, self.schema, self.whole_database)


@frozen
class Manifest:
    """The description of a dump file. Times are UTC; sizes bytes; `modified_ns` is the mtime when it was named.

    `keep` is the retention policy of the run, from which expiry dates are computed.
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
    outside: Outside = field(default_factory=Outside)
    reason: str = REGULAR
    keep: Policy = field(default_factory=Policy)
    verified_at: datetime | None = None
    verified_with: str = ""
    unverified_because: str = ""

    @property
    def rows(self) -> int:
        """Return the total number of rows."""
        return sum(table.rows for table in self.tables)

    def proven(self, *, at: datetime, by: str) -> "Manifest":
        """Return this manifest marked as verified by a restore into a server of version `by`."""
        return replace(self, verified_at=at, verified_with=by, unverified_because="")


def path_for(dump: Path) -> Path:
    """Return the path of the manifest of `dump`."""
    return dump.with_name(dump.name + SUFFIX)


class ManifestError(BackupError):
    """Raised for a file that is not a readable manifest; `reason` is part of the message."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} is not a manifest that this junkie can read: {reason}",
            hint="a dump cannot be verified without its manifest: use an intact copy of both, or make another backup",
            code="backup_manifest",
        )
        self.reason = reason


def to_text(manifest: Manifest) -> str:
    """Return the JSON document to store. Raises BackupError if it is larger than `load` accepts."""
    document = json.loads(json.dumps({"junkie_backup": FORMAT} | asdict(manifest), default=_json_value))
    document["checksum"] = _checksum(document)
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    if len(text.encode()) > LARGEST:
        raise BackupError(
            f"the manifest of this backup exceeds {LARGEST >> 20} MB",
            hint="back up a smaller schema, or use pg_dump",
            code="backup_manifest",
        )
    return text


def _json_value(value: Any) -> str:
    assert isinstance(value, datetime)
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _checksum(document: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in document.items() if name != "checksum"}
    text = json.dumps(rest, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def load(path: Path) -> Manifest:
    """Read the manifest at `path`, a regular file. Raises ManifestError if this version cannot read it."""
    try:
        return from_bytes(read_regular(path, limit=LARGEST))
    except OSError as error:
        raise ManifestError(path, error.strerror or "it cannot be read") from error
    except RecursionError as error:
        raise ManifestError(path, "it is nested too deeply") from error
    except ValueError as error:
        raise ManifestError(path, _in_one_line(error)) from error


def _in_one_line(error: ValueError) -> str:
    return " ".join(str(error).split())[:200]


def from_bytes(content: bytes) -> Manifest:
    """Parse a manifest. Raises ValueError or RecursionError for anything else."""
    import msgspec  # only for commands that read manifests

    document = json.loads(content.decode("utf-8"), parse_constant=_refuse)
    if not isinstance(document, dict) or document.get("junkie_backup") != FORMAT:
        raise ValueError("it was not created by junkie, or by another version of it")
    checksum = _checksum(document)  # also fails for text that is not valid UTF-8
    if document.get("checksum", checksum) != checksum:
        raise ValueError("it was changed: its checksum does not match")
    manifest = msgspec.convert(document, Manifest)
    _check(manifest)
    return manifest


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")


_WORD = re.compile(r"[A-Za-z0-9_]{1,63}")
_DIGITS = re.compile(r"[0-9a-f]+")
_LARGEST_NUMBER = 2**63 - 1


def _check(manifest: Manifest) -> None:
    """Raise ValueError for impossible values."""
    origin, keep = manifest.origin, manifest.keep
    numbers = [manifest.bytes, manifest.modified_ns, *(table.rows for table in manifest.tables)]
    numbers += [keep.last, keep.daily, keep.weekly, keep.monthly]
    names = [manifest.file, origin.schema, origin.database, *manifest.roles, *manifest.collations]
    names += [part for table in manifest.tables for part in (table.schema, table.table)]
    names += [part for found in manifest.extensions for part in (found.name, found.schema)]
    names += [part for entry in manifest.access for part in entry]
    names += origin.names.values()
    right = {
        "a number": all(0 <= number <= _LARGEST_NUMBER for number in numbers) and 0 <= manifest.seconds < 1e12,
        "a name": "/" not in manifest.file and not any("\0" in name for name in names),
        "the sha256": len(manifest.sha256) == 64 and _DIGITS.fullmatch(manifest.sha256),
        "a table's hash": all(len(table.hash) == 16 and _DIGITS.fullmatch(table.hash) for table in manifest.tables),
        "the encoding": _WORD.fullmatch(origin.encoding),
        "the names of tables": not origin.names or set(origin.names) == {role.value for role in Role},
        "the generation": origin.generation in GENERATIONS,
        "a time": all(_is_possible(at) for at in (manifest.started_at, manifest.verified_at) if at is not None),
    }
    wrong = [what for what, fine in right.items() if not fine]
    if wrong:
        raise ValueError(f"{wrong[0]} in it is invalid")
    Access.from_entries(manifest.access)


def _is_possible(at: datetime) -> bool:
    """Return whether a time has a zone, and is valid in every zone."""
    return at.tzinfo is not None and 1970 <= at.year <= 9998
