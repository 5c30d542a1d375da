"""Where the lines that a person typed into the conversation are kept: one file a user, for that user's eyes.

Its own module in the core, so that erasing a person can remove the file without loading a terminal.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from junkie_cli.core.settings import state_dir


def history_file(user_id: str, environ: Mapping[str, str] | None = None) -> Path:
    """The file of `user_id`; its name does not tell the user, and no user id can lead out of the folder."""
    name = hashlib.sha256(user_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return state_dir(environ) / "prompts" / f"{name}.jsonl"


def erase_history(user_id: str, environ: Mapping[str, str] | None = None) -> bool:
    """Remove the file of `user_id`; True when there was one. Raises OSError when it cannot be removed."""
    try:
        history_file(user_id, environ).unlink()
    except FileNotFoundError:
        return False
    return True
