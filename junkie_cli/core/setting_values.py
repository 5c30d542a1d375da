"""Parses the text of settings: one function for each kind of value.

Each takes a non-empty text and raises ValueError with a message that reads after the variable's name.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit


def text(value: str) -> str:
    """Parse printable text."""
    if not value.isprintable():
        raise ValueError("has control characters in it")
    return value


def _quoted(value: str) -> str:
    return repr(value if len(value) <= 40 else value[:40] + "...")


def number(low: float, high: float) -> Callable[[str], float]:
    """Return a parser for decimal numbers from `low` to `high`."""

    def parse(value: str) -> float:
        if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)", value.strip()):
            raise ValueError(f"must be a number, not {_quoted(value)}")
        number = float(value)
        if not low <= number <= high:
            raise ValueError(f"must be between {low:g} and {high:g}, not {_quoted(value)}")
        return number

    return parse


def integer(low: int, high: int) -> Callable[[str], int]:
    """Return a parser for whole numbers from `low` to `high`."""

    def parse(value: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", value.strip()):
            raise ValueError(f"must be a whole number, not {_quoted(value)}")
        number = int(value)
        if not low <= number <= high:
            raise ValueError(f"must be between {low} and {high}, not {_quoted(value)}")
        return number

    return parse


def languages(value: str) -> tuple[str, ...]:
    """Names of languages that have a stemmer, separated by spaces or commas."""
    from junkie_cli.core.ranking.languages import LANGUAGES

    names = tuple(dict.fromkeys(value.lower().replace(",", " ").split()))
    unknown = [name for name in names if name not in LANGUAGES]
    if unknown or not names:
        raise ValueError(
            f"has no stemmer for {_quoted(' '.join(unknown))}; english, german and others are in docs/settings.md"
        )
    return names


def boolean(value: str) -> bool:
    """Parse true or false, in the usual spellings."""
    word = value.strip().lower()
    if word in {"true", "1", "yes", "on"}:
        return True
    if word in {"false", "0", "no", "off"}:
        return False
    raise ValueError(f"must be true or false, not {_quoted(value)}")


def switch(value: str) -> bool:
    """Parse on or off, and the values of `boolean`."""
    try:
        return boolean(value)
    except ValueError:
        raise ValueError(f"must be on or off, not {_quoted(value)}") from None


def web_address(value: str) -> str:
    """Parse an http or https base URL; remove a final slash."""
    value = value.strip()
    if not value.startswith(("http://", "https://")) or not value.isprintable() or " " in value:
        raise ValueError("must be an address that begins with http:// or https://")
    try:
        parts = urlsplit(value)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("must be an address with a host name and, if any, a port up to 65535")
    if parts.path.rstrip("/").endswith("/chat/completions"):
        raise ValueError("must be the base URL: leave out /chat/completions")
    return value.rstrip("/")


def provider(value: str) -> str:
    """Parse the word groq, or a base URL."""
    if value.strip().lower() == "groq":
        return "groq"
    if "://" not in value:
        raise ValueError("must be the word groq or the base URL of an OpenAI-compatible server")
    return web_address(value)


def key(value: str) -> str:
    """Parse an API key."""
    if any(c.isspace() for c in value) or value[0] in "'\"":
        raise ValueError("has spaces or quotes in or around it")
    if not value.isascii() or not value.isprintable():
        raise ValueError("has characters that no key has")
    return value


def table_name(value: str) -> str:
    """Parse the name of a table, without its schema."""
    if len(value.encode()) > 63:
        raise ValueError("must be a table name of at most 63 bytes")
    if "." in value:
        raise ValueError("must be a table name without its schema, which is set by JUNKIE_SCHEMA")
    if value.startswith("junkie_") or value == "agno_schema_versions":
        raise ValueError("is the name of a table that holds something else")
    return text(value)


def schema_name(value: str) -> str:
    """Parse the name of a schema."""
    if len(value.encode()) > 63:
        raise ValueError("must be a schema name of at most 63 bytes")
    return text(value)


def path(value: str) -> Path:
    """Parse an absolute path, with ~ expanded."""
    try:
        path = Path(value).expanduser()
    except RuntimeError:
        raise ValueError("begins with ~, but that home folder does not exist") from None
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return Path(os.path.normpath(path))


_LOCAL_ENDINGS = (".localhost", ".local", ".internal", ".lan", ".home.arpa")


def is_local_address(url: str) -> bool:
    """Return whether `url` is on this machine or a private network, by its host, without resolving names."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if ":" in host or host.replace(".", "").isdigit():
        return _is_private(host)
    return "." not in host or host.endswith(_LOCAL_ENDINGS)


def _is_private(host: str) -> bool:
    from ipaddress import ip_address, ip_network

    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    shared = address.version == 4 and address in ip_network("100.64.0.0/10")  # also used by private overlay networks
    return address.is_private or address.is_loopback or address.is_link_local or shared
