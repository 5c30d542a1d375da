"""The files with lines typed in chat: one for each user, readable only by its owner.

A module of the core, so that erasing a person can delete the file without importing the terminal.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from junkie_cli.core.settings import state_dir


def history_file(user_id: str, environ: Mapping[str, str] | None = None) -> Path:
    """Return the file of `user_id`; its name is a hash, so it does not reveal the user and cannot leave the folder."""
    name = hashlib.sha256(user_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return state_dir(environ) / "prompts" / f"{name}.jsonl"


def erase_history(user_id: str, environ: Mapping[str, str] | None = None) -> bool:
    """Delete the file of `user_id`; return whether it existed. Raises OSError."""
    try:
        history_file(user_id, environ).unlink()
    except FileNotFoundError:
        return False
    return True
