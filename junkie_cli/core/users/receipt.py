"""The receipt of an erasure: what went, what stayed and why, and which backups still hold the person."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from junkie_cli import __version__
from junkie_cli.core.files import FileError, complete_file
from junkie_cli.core.users.erasing import Erased


def check_receipt_path(path: Path) -> None:
    """Raise FileError when no receipt can be written there: better known before than after an erasure."""
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise FileError(
            f"no receipt can be written to {path}; nothing was changed", hint="name a file in a folder of yours"
        )


def write_receipt(path: Path, done: Erased, backups: Sequence[Mapping[str, Any]]) -> None:
    """Write the receipt, 0600. Raises FileError."""
    document = {
        "user_id": done.user_id,
        "erased_at": done.erased_at.isoformat() if done.erased_at else None,
        "database": done.database,
        "erased": done.erased,
        "shared_sessions_stripped": done.shared_sessions,
        "remaining": done.remaining,
        "elsewhere": done.elsewhere,
        "elsewhere_erased": done.whole_database,
        "unsearchable": done.unsearchable,
        "backups": list(backups),
        "problems": done.problems,
        "junkie_version": __version__,
        "server_version": done.server_version,
    }
    with complete_file(path) as file:
        file.write(json.dumps(document, ensure_ascii=False, indent=1, default=str).encode() + b"\n")
