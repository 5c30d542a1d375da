"""Writes the receipt of an erasure: what was deleted, what stays and why, and which backups contain the person."""

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
    """Raise FileError if the receipt cannot be written, before the erasure starts.

    Raises UsageError for stdout unless the receipt is the only output there.
    """
    if not alone and is_standard_output(path):
        raise UsageError("--json and the receipt cannot both go to stdout", hint="name a file for the receipt")
    try:
        check_writable(path)
    except FileError as error:
        raise FileError(
            f"{error.message}: the receipt cannot be written; nothing was changed", hint=error.hint
        ) from None


def write_receipt(path: Path, done: Erased, backups: Sequence[Mapping[str, Any]]) -> None:
    """Write the receipt of this erasure, or of an earlier one without a receipt, with mode 0600 (`-`: to stdout).

    Raises FileError, whose hint is the command that writes it, and OutputError.
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
            f"{error.message}: the person was erased, but the receipt was not written",
            hint=f"to write the receipt: junkie users erase {shlex.quote(done.user_id)} --receipt FILE",
        ) from None
