"""The password file of libpq (https://www.postgresql.org/docs/current/libpq-pgpass.html). A leaf."""

import re
from pathlib import Path

from junkie_cli.core.os_account import home_file


def password_entries(named: str | None) -> list[list[str]]:
    """The entries of a password file, each of five fields still escaped; none when others can read the file."""
    try:
        path = Path(named) if named else home_file(".pgpass")
        if path is None or not path.is_file() or path.stat().st_mode & 0o077:
            return []
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except OSError:
        return []
    entries = [re.findall(r"((?:\\.|[^:])*)(?::|$)", line.rstrip("\r")) for line in lines if not line.startswith("#")]
    return [entry[:5] for entry in entries if len(entry) > 5]


def unescape(field_text: str) -> str:
    """A field without its backslashes."""
    return re.sub(r"\\(.)", r"\1", field_text)
