"""The manifest beside a dump: what is in it, how it was made, and whether it was proven.

JSON, so that people and other tools can read it; `load` trusts nothing of it that it did not check. It holds no
secret and nobody's text: table names, counts, hashes, versions, role names.

Its `checksum` is the SHA-256 of the rest, in a form that does not depend on spaces or the order of names: it shows what
a disk or an editor has changed. It proves nothing about who wrote it. Manifests of older versions have none.
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
"""Bytes of a manifest; one of a thousand tables with ten grants each has less than a megabyte."""
GENERATIONS = ("none", "2.2", "2.3", "3")
"""Values of `Origin.generation`, oldest first (see `core/schema/tables.py`)."""
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
    outside: Outside = field(default_factory=Outside)
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


class ManifestError(BackupError):
    """A file is not a manifest that this version can read; `reason` is the part of the message that says why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} is not a manifest that this junkie can read: {reason}",
            hint="the dump next to it cannot be verified without its manifest: restore an intact copy of both, or make"
            " another backup",
            code="backup_manifest",
        )
        self.reason = reason


def to_text(manifest: Manifest) -> str:
    """The manifest as the JSON document that is stored. Raises BackupError when it is larger than `load` reads."""
    document = json.loads(json.dumps({"junkie_backup": FORMAT} | asdict(manifest), default=_json_value))
    document["checksum"] = _checksum(document)
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    if len(text.encode()) > LARGEST:
        raise BackupError(
            f"the list of what is in this backup has more than {LARGEST >> 20} MB",
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
    """Read the manifest at `path`, a regular file. Raises ManifestError when it is not one this version can read."""
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
    """The manifest in this JSON document. Raises ValueError or RecursionError for everything else."""
    import msgspec  # a command that reads no manifest does without it

    document = json.loads(content.decode("utf-8"), parse_constant=_refuse)
    if not isinstance(document, dict) or document.get("junkie_backup") != FORMAT:
        raise ValueError("it was not made by junkie, or by another version of it")
    checksum = _checksum(document)  # fails for what cannot be written as UTF-8, too
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
    """Raise ValueError for values of the right type that no backup can have."""
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
        raise ValueError(f"{wrong[0]} in it is impossible")
    Access.from_entries(manifest.access)


def _is_possible(at: datetime) -> bool:
    """Whether a time has a zone, and stays a time in every other zone."""
    return at.tzinfo is not None and 1970 <= at.year <= 9998
