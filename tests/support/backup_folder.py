"""Backups of a folder, made without any server: a few bytes that begin like a dump, and their manifest."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from junkie_cli.core.backup import files
from junkie_cli.core.backup.manifest import Manifest, Origin, TableContent

AT = datetime(2026, 3, 15, 12, tzinfo=UTC)
ORIGIN = Origin("here", "bot", "ai", False, "7711", "17.10", "UTF8", "3")
MAGIC = b"PGDMP and more"


def manifest_of(path: Path, **more: object) -> Manifest:
    content = path.read_bytes()
    values: dict[str, object] = {
        "file": path.name,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "modified_ns": path.stat().st_mtime_ns,
        "started_at": AT,
        "seconds": 1.5,
        "origin": ORIGIN,
        "pg_dump_version": "17.10",
        "compression": "zstd:3",
        "junkie_version": "1",
        "tables": (TableContent("user_memories", "ai", "user_memories", 3, "00ff00ff00ff00ff"),),
        "verified_at": AT,
    }
    return Manifest(**(values | more))  # type: ignore[arg-type]


def make(folder: Path, name: str, **more: object) -> Path:
    final = folder / name
    partial = files.create_partial(final)
    partial.write_bytes(MAGIC + name.encode())
    manifest = manifest_of(partial, file=name, **more)
    files.commit(final, manifest)
    return final
