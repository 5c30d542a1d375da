"""The ledger of erasures: in the schema and in a file beside the backups, so that a restore can apply them again.

It holds no user id, only its hash with a salt: who has the backup can tell whether somebody in it was erased, and
nobody can read from the ledger who that was.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from junkie_cli.core.files import append_line, converting_errors
from junkie_cli.core.postgres.sql import sha256_of
from junkie_cli.core.regular_files import read_regular
from junkie_cli.core.schema.registry import ERASURES, OWN_VERSIONS
from junkie_cli.core.schema.tables import SchemaState, transaction
from junkie_cli.core.value_class import frozen

if TYPE_CHECKING:
    import asyncpg

FILE_NAME = "erasures.jsonl"
LARGEST = 256 << 20
"""Bytes of that file: a million erasures."""


@frozen
class Erasure:
    """One erasure: `user_hash` is the sha256 of `salt` and the user id, in hex; `erased_at` is the server's, in UTC."""

    erasure_id: str
    schema: str
    salt: str
    user_hash: str
    erased_at: datetime


@frozen
class Earlier:
    """An erasure of one person that was committed before: when, and how many rows went, by table."""

    erased_at: datetime
    counts: Mapping[str, int]


def user_hash(user_id: str) -> str:
    """SQL: the hash of the user id that the SQL `user_id` gives, with the salt in `v.value`."""
    return sha256_of(f"v.value || {user_id}")


async def last_erasure(connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str) -> Earlier | None:
    """The latest erasure of this person that the schema's own table knows, None when there is none."""
    if not state.may("SELECT", ERASURES) or not state.may("SELECT", OWN_VERSIONS):
        return None
    async with transaction(connection):
        row = await connection.fetchrow(
            f"SELECT e.erased_at, e.counts::text AS counts FROM {state.qualified(ERASURES)} e"
            f" JOIN {state.qualified(OWN_VERSIONS)} v ON v.name = 'salt'"
            f" WHERE e.user_hash = {user_hash('$1::text')} ORDER BY e.erased_at DESC LIMIT 1",
            user_id,
        )
    return None if row is None else Earlier(row["erased_at"], json.loads(row["counts"]))


async def read_ledger(connection: "asyncpg.Connection[Any]", state: SchemaState) -> list[Erasure]:
    """The erasures that the schema's own table knows, oldest first; empty where it is not."""
    if not state.may("SELECT", ERASURES) or not state.may("SELECT", OWN_VERSIONS):
        return []
    async with transaction(connection):
        rows = await connection.fetch(
            "SELECT e.erasure_id::text AS erasure_id, v.value AS salt, e.user_hash, e.erased_at"
            f" FROM {state.qualified(ERASURES)} e JOIN {state.qualified(OWN_VERSIONS)} v ON v.name = 'salt'"
            " ORDER BY e.erased_at, e.erasure_id"
        )
    return [Erasure(row["erasure_id"], state.schema, row["salt"], row["user_hash"], row["erased_at"]) for row in rows]


def read_ledger_file(folder: Path) -> list[Erasure]:
    """The erasures in the file of a backup folder, oldest first; empty when there is none.

    A last line that was cut by a crash is passed over. Raises FileError when the file cannot be read.
    """
    path = folder / FILE_NAME
    with converting_errors(path):
        if not path.exists():
            return []
        lines = read_regular(path, limit=LARGEST).decode("utf-8", "replace").splitlines()
    found = [erasure for line in lines if (erasure := _parsed(line)) is not None]
    return sorted({erasure.erasure_id: erasure for erasure in found}.values(), key=lambda erasure: erasure.erased_at)


def _parsed(line: str) -> Erasure | None:
    try:
        entry = json.loads(line)
        erased_at = datetime.fromisoformat(entry["erased_at"])
        return Erasure(entry["erasure_id"], entry["schema"], entry["salt"], entry["user_hash"], erased_at)
    except (ValueError, KeyError, TypeError):
        return None


def missing_in_file(folder: Path, known: Iterable[Erasure]) -> list[Erasure]:
    """Those of `known` that the file of a backup folder lacks. Raises FileError."""
    there = {erasure.erasure_id for erasure in read_ledger_file(folder)}
    return [erasure for erasure in known if erasure.erasure_id not in there]


def complete_ledger_file(folder: Path, known: Iterable[Erasure]) -> int:
    """Append what the file lacks of `known`; how many that were. Raises FileError."""
    missing = missing_in_file(folder, known)
    if not missing:
        return 0
    path = folder / FILE_NAME
    if _is_cut(path):
        append_line(path, b"")
    for erasure in missing:
        line = {
            "erasure_id": erasure.erasure_id,
            "schema": erasure.schema,
            "salt": erasure.salt,
            "user_hash": erasure.user_hash,
            "erased_at": erasure.erased_at.isoformat(),
        }
        append_line(path, json.dumps(line).encode())
    return len(missing)


def _is_cut(path: Path) -> bool:
    """Whether the last line has no end, as a crash or a full disk leaves it: the next one would be glued to it."""
    with converting_errors(path):
        if not path.exists():
            return False
        content = read_regular(path, limit=LARGEST)
    return bool(content) and not content.endswith(b"\n")
