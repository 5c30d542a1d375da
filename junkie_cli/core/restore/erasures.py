"""Applies erasures to restored data: those listed in the schema and next to the backups.

The erasures that a backup does not contain yet are found by comparing lists, not by clocks. All entries of the file
next to the backups apply: one erasure too many in restored data is better than one too few.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from junkie_cli.core.errors import BackupError
from junkie_cli.core.restore.staging import Names
from junkie_cli.core.schema import stored_text
from junkie_cli.core.schema.ledger import (
    Erasure,
    complete_ledger_file,
    read_ledger,
    read_ledger_file,
    user_hash,
)
from junkie_cli.core.schema.registry import OWN_VERSIONS, TOMBSTONES
from junkie_cli.core.schema.tables import SchemaState, inspect
from junkie_cli.core.users.erase import apply_erasures

if TYPE_CHECKING:
    import asyncpg

    from junkie_cli.core.settings import Settings


async def apply(connection: "asyncpg.Connection[Any]", found: Names, backup: Path, settings: "Settings") -> int:
    """Erase people in the staged schema, in the caller's transaction; return how many were found there.

    First adds the old schema's erasures to the file next to the backups, because the old schema can be dropped later.
    """
    live = await read_ledger(connection, await inspect(connection, settings.layout.within(found.schema)))
    if live:
        complete_ledger_file(settings.backup_dir, live)
    ledger = {erasure.erasure_id: erasure for erasure in (*_from_files(backup, settings), *live)}
    staged = settings.layout.within(found.staging)
    known = {erasure.erasure_id for erasure in await read_ledger(connection, await inspect(connection, staged))}
    wanted = [erasure for erasure in ledger.values() if erasure.erasure_id not in known]
    return len(await apply_erasures(connection, staged, wanted))


def _from_files(backup: Path, settings: "Settings") -> list[Erasure]:
    folders = dict.fromkeys([settings.backup_dir, backup.parent])
    entries = [erasure for folder in folders for erasure in read_ledger_file(folder)]
    return [erasure for erasure in entries if erasure.schema == settings.schema]


async def refuse_erased(
    connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str, backup: Path, settings: "Settings"
) -> None:
    """Raise BackupError if this person was erased, by the tombstones of the schema or a list next to the backups."""
    listed = any(
        hashlib.sha256((erasure.salt + user_id).encode("utf-8", "surrogateescape")).hexdigest() == erasure.user_hash
        for erasure in _from_files(backup, settings)
    )
    if listed or await stored_text.erased_at(connection, state, user_id):
        raise BackupError(
            "this person was erased; nothing was changed",
            hint="only if the person agrees to be stored again: --even-erased",
            code="restore_erased",
        )


async def delete_tombstone(connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str) -> None:
    """Delete this person's tombstone, in the caller's transaction. The list of erasures keeps the entry."""
    if state.may("DELETE", TOMBSTONES) and state.may("SELECT", OWN_VERSIONS):
        await connection.execute(
            f"DELETE FROM {state.qualified(TOMBSTONES)} t USING {state.qualified(OWN_VERSIONS)} v WHERE v.name = 'salt'"
            f" AND t.user_hash = {user_hash('$1')}",
            user_id,
        )
