"""Reads a line of a JSON Lines file that a person wrote."""

import json
from typing import Any

from junkie_cli.core.errors import UsageError


def object_of_line(raw: bytes) -> dict[str, Any]:
    """The JSON object of a line. Raises UsageError, whose message reads after "line N"."""
    try:
        document = json.loads(raw)
    except UnicodeDecodeError:
        raise UsageError("is not UTF-8") from None
    except (ValueError, RecursionError):
        raise UsageError("is not JSON") from None
    if not isinstance(document, dict):
        raise UsageError("is not a JSON object")
    return document
