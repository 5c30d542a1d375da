"""Erased people do not come back: the ledger, from the schema and from beside the backups, is applied to what returns.

Which erasures a backup does not know yet is told by the erasures that the backup itself lists, not by clocks. The
file beside the backups counts as a whole: better one erasure too many in restored data than one too few.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from junkie_cli.core.errors import BackupError
from junkie_cli.core.restore.staging import Names
from junkie_cli.core.schema import stored_text
from junkie_cli.core.schema.ledger import user_hash
from junkie_cli.core.schema.registry import OWN_VERSIONS, TOMBSTONES
from junkie_cli.core.schema.tables import SchemaState, inspect
from junkie_cli.core.users import Erasure, apply_erasures, complete_ledger_file, read_ledger, read_ledger_file

if TYPE_CHECKING:
    import asyncpg

    from junkie_cli.core.settings import Settings


async def apply(connection: "asyncpg.Connection[Any]", found: Names, backup: Path, settings: "Settings") -> int:
    """In the caller's transaction: erase again in the staged schema; how many people were found there.

    The old schema's ledger is first completed in the file beside the backups: the old schema may be dropped one day.
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
    """Raise BackupError when this person was erased, by the schema's tombstones or by a ledger beside the backups."""
    listed = any(
        hashlib.sha256((erasure.salt + user_id).encode("utf-8", "surrogateescape")).hexdigest() == erasure.user_hash
        for erasure in _from_files(backup, settings)
    )
    if listed or await stored_text.erased_at(connection, state, user_id):
        raise BackupError(
            "this person was erased; nothing was changed",
            hint="only if the person wants to be remembered again: --even-erased",
            code="restore_erased",
        )


async def take_back(connection: "asyncpg.Connection[Any]", state: SchemaState, user_id: str) -> None:
    """In the caller's transaction: this person may be remembered again. The ledger keeps that there was an erasure."""
    if state.may("DELETE", TOMBSTONES) and state.may("SELECT", OWN_VERSIONS):
        await connection.execute(
            f"DELETE FROM {state.qualified(TOMBSTONES)} t USING {state.qualified(OWN_VERSIONS)} v WHERE v.name = 'salt'"
            f" AND t.user_hash = {user_hash('$1')}",
            user_id,
        )
