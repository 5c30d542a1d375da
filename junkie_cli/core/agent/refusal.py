"""What a provider reports when it refuses or fails, in whatever form: status, code, words, and how long to wait.

{"error": {"message": ..., "code" | "type" | "status": ...}}   OpenAI and most; code may be the status (llama.cpp)
{"error": "..."}                                               Ollama
{"error": {"message": ..., "metadata": {"raw": ...}}}          OpenRouter, with its provider's words in raw
{"object": "error", "message": ..., "code": 400}               vLLM before 0.10
{"detail": "..."}, {"detail": [{"msg": ...}]}                  FastAPI
[{"error": {...}}]                                             Gemini
{"message": ...}, {"errors": [{"message": ...}]}, plain text   gateways
"""

import json
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from math import isfinite
from time import time
from typing import Any

import openai

from junkie_cli.core.value_class import frozen

_WORDS = ("message", "detail", "msg", "error_description", "error_msg", "title", "reason")
_DEPTH = 6
_AGAIN = re.compile(
    r"(?:try again|retry) in (?:(?P<hours>\d+)h)?(?:(?P<minutes>\d+)m(?!s))?(?:(?P<seconds>[\d.]+)(?P<unit>ms|s))?",
    re.I,
)


@frozen
class Refusal:
    """An error as the provider worded it: HTTP status (None: it named none), code, words, seconds to wait."""

    status: int | None
    code: str
    words: str
    retry_after: float | None = None
    location: str = ""


def refusal_of(error: BaseException) -> Refusal | None:
    """The refusal in an HTTP answer, or in the middle of one; None for other errors."""
    if isinstance(error, openai.APIStatusError):
        headers = error.response.headers
        found = _read(error.body)
        retry_after = parse_retry_after(headers.get("retry-after"))
        if retry_after is None:
            retry_after = _named_wait(found.words)
        return Refusal(error.status_code, found.code, found.words, retry_after, headers.get("location", ""))
    if isinstance(error, openai.APIError) and error.body is not None:
        found = _read(error.body)
        return Refusal(found.status, found.code, found.words, _named_wait(found.words))
    return None


def parse_retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks to wait: a number, or a date; None when it is neither."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time()
        except ValueError:
            return None
    return max(0.0, seconds) if isfinite(seconds) else None


def _named_wait(words: str) -> float | None:
    """The wait in words such as Groq's: "Please try again in 1m2.5s"."""
    found = _AGAIN.search(words)
    if found is None or not any(found.groups()):
        return None
    hours, minutes, seconds, unit = found.groups()
    try:
        return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds or 0) / (1000 if unit == "ms" else 1)
    except ValueError:
        return None


def _read(body: object, depth: int = 0) -> Refusal:
    if isinstance(body, str):
        return _read_text(body, depth)
    if depth > _DEPTH:
        return Refusal(None, "", "")
    if isinstance(body, list):
        return _read(body[0], depth + 1) if body else Refusal(None, "", "")
    return _read_object(body, depth) if isinstance(body, Mapping) else Refusal(None, "", "")


def _read_text(text: str, depth: int) -> Refusal:
    """Words, or an error object that was packed into a text."""
    if text.lstrip()[:1] in ("{", "[") and depth <= _DEPTH:
        try:
            found = _read(json.loads(text), depth + 1)
        except (ValueError, RecursionError):
            return Refusal(None, "", text)
        return found if found.words else Refusal(None, found.code, text)
    return Refusal(None, "", text)


def _read_object(body: Mapping[Any, Any], depth: int) -> Refusal:
    values = [body.get(name) for name in ("code", "type", "status", "error_code")]
    inner = body.get("error") or body.get("errors")
    words = next((body[name] for name in _WORDS if body.get(name)), None)
    found = _read(inner if inner else words, depth + 1)
    status = found.status or next((number for value in values if (number := _status(value))), None)
    code = found.code or next((value for value in values if _is_code(value)), "")
    metadata = body.get("metadata")
    raw = _read(metadata.get("raw"), depth + 1).words if isinstance(metadata, Mapping) else ""
    said = found.words or (_read(words, depth + 1).words if inner else "")
    return Refusal(status, str(code), f"{said}: {raw}" if raw and raw not in said else said)


def _status(value: Any) -> int | None:
    """An HTTP status of an error, as a number or its digits."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) == 3 and 400 <= int(text) <= 599 else None


def _is_code(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and not value.isdigit() and value != "error"
