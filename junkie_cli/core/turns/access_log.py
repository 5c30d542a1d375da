"""Attempts to reach another person's data: each is refused where it is made, reported to the user, and logged here.

The log is for who looks for the source of such attempts: `junkie -v` shows it on stderr. It holds ids and never text.
"""

import logging

LOGGER = logging.getLogger("junkie")


def log_refusal(user_id: str | None, what: str, target: str = "") -> None:
    """Log that `what` was refused to `user_id`; `target` is the id that was named, which may be anything."""
    LOGGER.warning("refused to user %r: %s%s", user_id, what, f" {target[:100]!r}" if target else "")
