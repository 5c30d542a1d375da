"""The receipt of an erasure: what went, what stayed and why, and which backups still hold the person."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from junkie_cli import __version__
from junkie_cli.core.errors import UsageError
from junkie_cli.core.files import FileError, check_writable, complete_file, is_standard_output
from junkie_cli.core.users.erase import Erased


def check_receipt_path(path: Path, *, alone: bool = True) -> None:
    """Raise FileError when no receipt can be written there: better known before than after an erasure.

    Raises UsageError for stdout unless the receipt is `alone` there.
    """
    if not alone and is_standard_output(path):
        raise UsageError("--json and the receipt cannot both go to stdout", hint="name a file for the receipt")
    try:
        check_writable(path)
    except FileError as error:
        raise FileError(
            f"{error.message}: no receipt can be written there; nothing was changed", hint=error.hint
        ) from None


def write_receipt(path: Path, done: Erased, backups: Sequence[Mapping[str, Any]]) -> None:
    """Write the receipt (`-`: to stdout), 0600: of this erasure, or of an earlier one that was left without.

    Raises FileError, which names the command that writes it, OutputError.
    """
    earlier = done.earlier if done.erased_at is None else None
    erased_at = earlier.erased_at if earlier else done.erased_at
    document = {
        "user_id": done.user_id,
        "erased_at": erased_at.isoformat() if erased_at else None,
        "database": done.database,
        "erased": earlier.counts if earlier else done.erased,
        "shared_sessions_stripped": None if earlier else done.shared_sessions,
        "remaining": done.remaining,
        "elsewhere": done.elsewhere,
        "elsewhere_erased": done.whole_database,
        "references_cleared": done.references_cleared,
        "unsearchable": done.unsearchable,
        "backups": list(backups),
        "problems": done.problems,
        "junkie_version": __version__,
        "server_version": done.server_version,
    }
    try:
        with complete_file(path) as file:
            file.write(json.dumps(document, ensure_ascii=False, indent=1, default=str).encode() + b"\n")
    except FileError as error:
        raise FileError(
            f"{error.message}: the person is erased, and the receipt is not written",
            hint=f"for the receipt run this again: junkie users erase {shlex.quote(done.user_id)} --receipt FILE",
        ) from None
