"""Logs attempts to read or change another person's data; each is also refused and reported to the user.

`junkie -v` shows the log on stderr. It contains ids and never text.
"""

import logging

LOGGER = logging.getLogger("junkie")


def log_refusal(user_id: str | None, what: str, target: str = "") -> None:
    """Log that `what` was refused to `user_id`; `target` is the id that was named, which may be anything."""
    LOGGER.warning("refused to user %r: %s%s", user_id, what, f" {target[:100]!r}" if target else "")
